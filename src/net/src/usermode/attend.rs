//! The process that stays with the program for as long as the pod lives.
//!
//! It is forked from the one that made the pod, into a pid namespace of its own,
//! whose init it is: what it started dies with it. It starts the program with an
//! empty environment and nothing open but the pod's network namespace and the
//! streams, tells when that is ready, and then waits for the pod's end, which is
//! the end of the leash. Signals do not reach an init, so a ^C or a service
//! manager's SIGTERM leaves the network to a pod that is just stopping.

use super::links;
use super::program::{Ask, Found, Program};
use model::{Fault, fault::Result};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, pipe_with};
use std::ffi::CString;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::time::Duration;
use sys::clone::Namespaces;
use sys::process::{self, Ended};

/// What is kept of stderr until the program is ready, and told of it.
const MAX_STDERR: usize = 4 << 10;
const MAX_TOLD: usize = 600;
/// When the kernel cannot even wait.
const PAUSE: Duration = Duration::from_millis(100);

/// What the process was forked for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Job<'a> {
    pub(super) found: &'a Found,
    pub(super) netns: BorrowedFd<'a>,
    pub(super) leash: BorrowedFd<'a>,
    pub(super) ask: Ask<'a>,
}

/// A program that runs.
struct Child {
    pid: i32,
    /// None at its end.
    stderr: Option<OwnedFd>,
    said: Vec<u8>,
}

/// The life of the process; its exit status.
pub(super) fn attend(job: &Job<'_>, reporter: &OwnedFd) -> i32 {
    let mut child = match bring_up(job, reporter) {
        Ok((child, addresses)) => {
            tell(reporter, &format!("ready\n{addresses}"));
            child
        }
        Err(fault) => {
            tell(reporter, &fault.to_string());
            return 1;
        }
    };
    // Killing one's own takes none.
    let _ = sys::caps::set(0);
    child.wait_for_end(job.leash);
    let _ = sys::signal::send(child.pid, sys::signal::KILL);
    let _ = process::wait(child.pid);
    0
}

fn tell(reporter: &OwnedFd, text: &str) {
    let mut bytes = text.replace('\0', " ").into_bytes();
    bytes.push(0);
    let mut rest = &bytes[..];
    while let Ok(count @ 1..) = rustix::io::write(reporter, rest) {
        rest = &rest[count..];
    }
}

/// Starts the program, waits until it is ready, and looks at what it has done:
/// the pod's addresses line by line.
fn bring_up(job: &Job<'_>, reporter: &OwnedFd) -> Result<(Child, String)> {
    let fail = |err: Errno| Fault::io("cannot start", "it", err);
    // Away from the user's terminal.
    rustix::process::setsid().map_err(fail)?;
    rustix::process::chdir("/").map_err(fail)?;
    sys::creds::set_name(c"rkt-net").map_err(|err| Fault::io("cannot start", "it", err))?;
    process::close_all_except(&[reporter.as_fd(), job.netns, job.leash]);
    let null = rustix::fs::open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())
        .map_err(|err| Fault::io("open", "/dev/null", err))?;
    for number in 0..3 {
        process::become_std(null.as_fd(), number)
            .map_err(|err| Fault::io("cannot start", "it", err))?;
    }
    let (mut child, ready) = spawn(job, &null)?;
    child.wait_until_ready(&ready, job.leash)?;
    // Where the pod's link can be seen; there is no way back.
    sys::ns::set(job.netns, Namespaces::NET)
        .map_err(|err| Fault::io("join", "the pod's network namespace", err))?;
    let (program, v6) = (job.found.program, job.ask.families.v6);
    let addresses = links::settle(program, v6, job.ask.if_name)?;
    if addresses.is_empty() {
        return Err(Fault::invalid("gave the pod no address"));
    }
    let lines = addresses.iter().map(|address| format!("{address}\n"));
    Ok((child, lines.collect()))
}

/// The program, and the pipe that it tells its readiness on.
fn spawn(job: &Job<'_>, null: &OwnedFd) -> Result<(Child, OwnedFd)> {
    let path = job.found.path.as_os_str();
    let fail = |err: std::io::Error| Fault::io("exec", job.found.path.display(), err);
    let pipe = || pipe_with(PipeFlags::CLOEXEC).map_err(|err| fail(err.into()));
    let (ready, ready_end) = pipe()?;
    let (stderr, stderr_end) = pipe()?;
    rustix::fs::fcntl_setfl(&stderr, OFlags::NONBLOCK).map_err(|err| fail(err.into()))?;
    // Open across exec under this number; what slirp4netns prints is not on it.
    let passed = match job.found.program {
        Program::Slirp4netns => Some(rustix::io::dup(&ready_end).map_err(|err| fail(err.into()))?),
        Program::Pasta => None,
    };
    let ask = Ask {
        ready: passed.as_ref().map_or(1, AsRawFd::as_raw_fd),
        ..job.ask
    };
    let stdout = match &passed {
        Some(_) => null,
        None => &ready_end,
    };
    let text = |bytes: &[u8]| CString::new(bytes).map_err(|_| fail(Errno::INVAL.into()));
    let words = job.found.program.words(&ask);
    let argv = words.iter().map(|word| text(word.as_bytes()));
    let pid = process::spawn(&process::Program {
        path: &text(path.as_bytes())?,
        argv: &argv.collect::<Result<Vec<_>>>()?,
        env: &[],
        streams: [job.netns, stdout.as_fd(), stderr_end.as_fd()],
    })
    .map_err(fail)?;
    let child = Child {
        pid,
        stderr: Some(stderr),
        said: Vec::new(),
    };
    Ok((child, ready))
}

impl Child {
    fn wait_until_ready(&mut self, ready: &OwnedFd, leash: BorrowedFd<'_>) -> Result<()> {
        loop {
            let [told, gone] = self.wait([ready.as_fd(), leash]);
            if gone {
                return Err(Fault::conflict("the pod is gone"));
            }
            if !told {
                continue;
            }
            match rustix::io::read(ready, &mut [0; 64]) {
                Ok(0) => return Err(self.explain()),
                Ok(_) => return Ok(()),
                Err(Errno::INTR) => {}
                Err(err) => return Err(Fault::io("read", "its readiness", err)),
            }
        }
    }

    fn wait_for_end(&mut self, leash: BorrowedFd<'_>) {
        loop {
            let [gone] = self.wait([leash]);
            if gone {
                return;
            }
            // Heard out, so that the program never waits, and forgotten.
            self.said.clear();
        }
    }

    /// Waits once, for one of these or for stderr: which of these have news.
    fn wait<const N: usize>(&mut self, watched: [BorrowedFd<'_>; N]) -> [bool; N] {
        let news = {
            let in_any = |fd| PollFd::from_borrowed_fd(fd, PollFlags::IN);
            let mut fds: Vec<PollFd<'_>> = watched.into_iter().map(in_any).collect();
            fds.extend(self.stderr.as_ref().map(|fd| in_any(fd.as_fd())));
            match poll(&mut fds, None) {
                Ok(_) => std::array::from_fn(|index| !fds[index].revents().is_empty()),
                Err(Errno::INTR) => [false; N],
                Err(_) => {
                    std::thread::sleep(PAUSE);
                    [false; N]
                }
            }
        };
        self.listen();
        news
    }

    /// Takes what there is on stderr.
    fn listen(&mut self) {
        let mut buffer = [0; 4096];
        while let Some(fd) = &self.stderr {
            match rustix::io::read(fd, &mut buffer) {
                Ok(count @ 1..) => {
                    let room = MAX_STDERR - self.said.len();
                    self.said.extend_from_slice(&buffer[..count.min(room)]);
                    if room == 0 {
                        return;
                    }
                }
                Err(Errno::AGAIN | Errno::INTR) => return,
                Ok(0) | Err(_) => self.stderr = None,
            }
        }
    }

    /// Why it has ended: its own words, else its status.
    fn explain(&mut self) -> Fault {
        let ended = process::wait(self.pid);
        self.listen();
        match (told(&self.said), ended) {
            (text, _) if !text.is_empty() => Fault::invalid(text),
            (_, Ok(Ended::Exited(status))) => {
                Fault::invalid(format!("ended with exit status {status}"))
            }
            (_, Ok(Ended::Signalled(signal))) => {
                Fault::invalid(format!("was ended by signal {signal}"))
            }
            (_, Err(err)) => Fault::io("wait for", "its end", err),
        }
    }
}

/// The last lines of stderr as one, without what pasta says about a missing
/// system logger.
fn told(said: &[u8]) -> String {
    let text = String::from_utf8_lossy(said);
    let lines: Vec<&str> = text
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.ends_with("bytes to syslog"))
        .collect();
    let lines = lines[lines.len().saturating_sub(5)..].join("; ");
    let printable = |c: char| if c.is_control() { ' ' } else { c };
    lines.chars().map(printable).take(MAX_TOLD).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_program_said_is_one_printable_line() {
        let said =
            b"Failed to send 45 bytes to syslog\nFailed to open tun socket\x1b[2J in namespace\n\n";
        assert_eq!(told(said), "Failed to open tun socket [2J in namespace");
        assert_eq!(told(b"a\nb\nc\nd\ne\nf\n"), "b; c; d; e; f");
        assert_eq!(
            told("\u{e4}".repeat(4000).as_bytes()).chars().count(),
            MAX_TOLD
        );
        assert_eq!(told(b""), "");
    }
}
