//! Runs one program with its input, a deadline and bounded output.
//!
//! The program is over when its process has ended, whoever still holds its
//! streams: what it left running is neither waited for nor killed. Only when
//! it is given up is everything of its process group killed.

use crate::attach::{LOOK, interrupted};
use model::{Fault, fault::Result};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{MemfdFlags, OFlags, fcntl_setfl, memfd_create};
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, fcntl_getpipe_size, fcntl_setpipe_size, pipe_with};
use rustix::process::{
    Pid, PidfdFlags, Signal, WaitOptions, kill_process_group, pidfd_open, waitpid,
};
use std::ffi::CString;
use std::fs::File;
use std::io::{Seek, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::{Duration, Instant};
use sys::process::Program;

/// Longest result.
pub(super) const MAX_STDOUT: usize = 1 << 20;
/// What is kept of stderr; the rest is read and forgotten.
const MAX_STDERR: usize = 16 << 10;
/// How often the end is looked for where there is no pidfd (before Linux 5.3).
const TICK: Duration = Duration::from_millis(10);
/// How long a killed process may take to go, before it is left alone.
const GRACE: Duration = Duration::from_secs(2);
/// How long a program that somebody has open for writing is tried again.
const BUSY: Duration = Duration::from_secs(5);

/// More patience than this is none of a clock's numbers.
const MOST: Duration = Duration::from_secs(24 * 60 * 60);

/// How it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    Exited(i32),
    Signalled(i32),
    /// Killed: no end in time.
    TimedOut,
    /// Killed: more than `MAX_STDOUT`.
    TooMuch,
    /// Killed: the user wants the pod's end.
    Interrupted,
}

#[derive(Debug)]
pub(super) struct Ran {
    pub(super) end: End,
    pub(super) stdout: Vec<u8>,
    pub(super) stderr: Vec<u8>,
}

/// How long to wait, and whether a signal ends it: what undoes something must
/// go on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wait {
    pub(super) patience: Duration,
    pub(super) interruptible: bool,
}

pub(super) fn run(path: &Path, input: &[u8], env: &[CString], wait: Wait) -> Result<Ran> {
    let deadline = Instant::now() + wait.patience.min(MOST);
    let fault = |err: std::io::Error| Fault::io("exec", path.display(), err);
    let (stdin, (stdout, out), (stderr, err)) = streams(input).map_err(fault)?;
    let text = CString::new(path.as_os_str().as_bytes()).map_err(|_| fault(Errno::INVAL.into()))?;
    let program = Program {
        path: &text,
        argv: std::slice::from_ref(&text),
        env,
        streams: [stdin.as_fd(), out.as_fd(), err.as_fd()],
    };
    let mut child = start(&program, deadline).map_err(fault)?;
    drop((out, err));
    let mut stdout = Stream::new(stdout, MAX_STDOUT + 1);
    let mut stderr = Stream::new(stderr, MAX_STDERR);
    let until = (deadline, wait.interruptible);
    let end = follow(&mut child, &mut stdout, &mut stderr, until).map_err(fault)?;
    Ok(Ran {
        end,
        stdout: stdout.bytes,
        stderr: stderr.bytes,
    })
}

type Pipe = (OwnedFd, OwnedFd);

/// The input ready to be read, so that nobody has to write while others read; and a
/// pipe for each output, only our end of which does not block.
fn streams(input: &[u8]) -> std::io::Result<(OwnedFd, Pipe, Pipe)> {
    let stdin = match in_memory(input) {
        Err(err) if err.raw_os_error() == Some(Errno::NOSYS.raw_os_error()) => in_pipe(input)?,
        stdin => stdin?,
    };
    let pipe = || -> std::io::Result<Pipe> {
        let (ours, theirs) = pipe_with(PipeFlags::CLOEXEC)?;
        fcntl_setfl(&ours, OFlags::NONBLOCK)?;
        Ok((ours, theirs))
    };
    Ok((stdin, pipe()?, pipe()?))
}

fn in_memory(input: &[u8]) -> std::io::Result<OwnedFd> {
    let flags = MemfdFlags::CLOEXEC;
    let file = match memfd_create("cni", flags | MemfdFlags::NOEXEC_SEAL) {
        // Before Linux 6.3.
        Err(Errno::INVAL) => memfd_create("cni", flags)?,
        other => other?,
    };
    let mut file = File::from(file);
    file.write_all(input)?;
    file.rewind()?;
    Ok(file.into())
}

/// Where there are no files in memory: a pipe that has room for all of it.
fn in_pipe(input: &[u8]) -> std::io::Result<OwnedFd> {
    let (reader, writer) = pipe_with(PipeFlags::CLOEXEC)?;
    if fcntl_getpipe_size(&writer)? < input.len() {
        fcntl_setpipe_size(&writer, input.len())?;
    }
    // It has room, or this is an error instead of a wait for ever.
    fcntl_setfl(&writer, OFlags::NONBLOCK)?;
    File::from(writer).write_all(input)?;
    Ok(reader)
}

/// A program that is just being written (ETXTBSY) is tried again for a while.
fn start(program: &Program<'_>, deadline: Instant) -> std::io::Result<Child> {
    let give_up = deadline.min(Instant::now() + BUSY);
    let pid = loop {
        match sys::process::spawn(program) {
            Err(err)
                if err.raw_os_error() == Some(Errno::TXTBSY.raw_os_error())
                    && Instant::now() < give_up =>
            {
                std::thread::sleep(TICK);
            }
            other => break other?,
        }
    };
    let pid = Pid::from_raw(pid).ok_or(Errno::SRCH)?;
    Ok(Child {
        pid,
        fd: pidfd_open(pid, PidfdFlags::empty()).ok(),
        reaped: false,
    })
}

/// Reads until the child has ended. What it wrote before is in the pipe by
/// then, so the end is looked for first and the pipe is emptied after.
fn follow(
    child: &mut Child,
    stdout: &mut Stream,
    stderr: &mut Stream,
    (deadline, interruptible): (Instant, bool),
) -> std::io::Result<End> {
    loop {
        let end = child.ended()?;
        stdout.read()?;
        stderr.read()?;
        if stdout.bytes.len() > MAX_STDOUT {
            return Ok(End::TooMuch);
        }
        if let Some(end) = end {
            return Ok(end);
        }
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(End::TimedOut);
        }
        if interruptible && interrupted() {
            return Ok(End::Interrupted);
        }
        let left = match (child.fd.is_some(), interruptible) {
            (false, _) => left.min(TICK),
            (true, true) => left.min(LOOK),
            (true, false) => left,
        };
        let fds = [stdout.fd.as_ref(), stderr.fd.as_ref(), child.fd.as_ref()];
        let mut fds: Vec<PollFd<'_>> = fds
            .into_iter()
            .flatten()
            .map(|fd| PollFd::new(fd, PollFlags::IN))
            .collect();
        // Longer than a time can be is for ever.
        let left = Timespec::try_from(left).ok();
        match poll(&mut fds, left.as_ref()) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
}

/// Our end of one of its outputs.
struct Stream {
    fd: Option<OwnedFd>,
    bytes: Vec<u8>,
    limit: usize,
}

impl Stream {
    fn new(fd: OwnedFd, limit: usize) -> Stream {
        Stream {
            fd: Some(fd),
            bytes: Vec::new(),
            limit,
        }
    }

    /// Takes what is there now, once around the limit at most: one that writes
    /// without end must not keep us from looking at the clock.
    fn read(&mut self) -> std::io::Result<()> {
        let Some(fd) = &self.fd else {
            return Ok(());
        };
        let mut buffer = [0; 16 << 10];
        let mut taken = 0;
        while taken <= self.limit {
            match rustix::io::read(fd, &mut buffer) {
                Ok(0) => {
                    self.fd = None;
                    return Ok(());
                }
                Ok(count) => {
                    taken += count;
                    let room = self.limit - self.bytes.len();
                    self.bytes.extend_from_slice(&buffer[..count.min(room)]);
                }
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return Ok(()),
                Err(errno) => return Err(errno.into()),
            }
        }
        Ok(())
    }
}

/// The process; killed with its group when it is dropped before its end.
struct Child {
    pid: Pid,
    fd: Option<OwnedFd>,
    reaped: bool,
}

impl Child {
    fn ended(&mut self) -> std::io::Result<Option<End>> {
        let Some((_, status)) = waitpid(Some(self.pid), WaitOptions::NOHANG)? else {
            return Ok(None);
        };
        self.reaped = true;
        Ok(Some(match status.exit_status() {
            Some(status) => End::Exited(status),
            None => End::Signalled(status.terminating_signal().unwrap_or_default()),
        }))
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        if self.reaped {
            return;
        }
        // Not reaped, so the number still is this process's and its group's.
        let _ = kill_process_group(self.pid, Signal::KILL);
        let give_up = Instant::now() + GRACE;
        while matches!(self.ended(), Ok(None)) && Instant::now() < give_up {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}
