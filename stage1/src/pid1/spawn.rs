//! One process of an app: streams, a report pipe, the fork, and on into
//! `child`.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use model::Fault;
use model::options::Readiness;
use pod::log::Stream;
use rustix::fs::{Mode, OFlags};
use rustix::pipe::PipeFlags;
use sys::clone::{Forked, Namespaces, fork_into};

use super::Supplies;
use super::machine::{AppId, Stage};
use super::output::Output;
use super::teller::Teller;
use crate::child::{self, Command, Given, Streams};
use crate::plan::{AppPlan, Handler};

/// Forks into a mount namespace of its own; the pid, the pipe that tells
/// how far it came, and where it says that it is ready.
pub fn spawn(
    plan: &AppPlan,
    app: AppId,
    stage: Stage,
    supplies: &Supplies,
    output: Option<&mut Output>,
) -> Result<(i32, OwnedFd, Option<Teller>), Fault> {
    let (teller, ready) = match stage {
        Stage::Main => Teller::make(&plan.name, plan.readiness)?.unzip(),
        Stage::PreStart | Stage::PostStop => (None, None),
    };
    let ready = ready.flatten();
    let sockets = supplies.sockets.get(app);
    let given = Given {
        sockets: sockets.map(|sockets| (&sockets.fds[..], &sockets.names[..])),
        ready: ready.as_ref().map(|(fd, number)| (fd.as_fd(), *number)),
        notify: plan.readiness == Readiness::Notify,
    };
    let command = command(plan, stage, &given).ok_or_else(|| {
        Fault::invalid(format!("app \"{}\" has no such event handler", plan.name))
    })?;
    let fail = |err| Fault::io("cannot start app", format!("\"{}\"", plan.name), err);
    let (report, reporter) =
        rustix::pipe::pipe_with(PipeFlags::CLOEXEC).map_err(|err| fail(err.into()))?;
    let owned = Owned::make(supplies, output)?;
    let streams = owned.streams(supplies);
    let group = supplies.groups.get(app).filter(|group| !group.is_none());

    // Born in its cgroup where the kernel can do that (v2, Linux 5.7).
    let born_into = group.and_then(|group| group.born_into());
    let (forked, born) = match born_into.map(|dir| fork_into(Namespaces::MOUNT, Some(dir))) {
        Some(Ok(forked)) => (forked, true),
        _ => (fork_into(Namespaces::MOUNT, None).map_err(fail)?, false),
    };
    match forked {
        Forked::Parent(pid) => Ok((pid, report, teller)),
        Forked::Child => {
            drop(report);
            child::enter_and_execute(
                plan,
                command,
                group.map(|group| (group, born)),
                &streams,
                reporter,
            )
        }
    }
}

fn command<'a>(plan: &'a AppPlan, stage: Stage, given: &'a Given<'a>) -> Option<Command<'a>> {
    match stage {
        Stage::Main => Some(Command {
            exec: &plan.exec,
            as_root: false,
            die_with_parent: false,
            given,
        }),
        Stage::PreStart => plan.pre_start.as_ref().map(as_root),
        Stage::PostStop => plan.post_stop.as_ref().map(as_root),
    }
}

fn as_root(handler: &Handler) -> Command<'_> {
    Command {
        exec: &handler.exec,
        as_root: true,
        die_with_parent: false,
        given: &Given::NOTHING,
    }
}

/// Ends of pipes and terminals that this process closes after the fork.
enum Owned {
    Pipes(OwnedFd, OwnedFd),
    Terminal(OwnedFd, u32),
    Inherited,
}

impl Owned {
    fn make(supplies: &Supplies, output: Option<&mut Output>) -> Result<Owned, Fault> {
        if supplies.terminal {
            let fail = |err| Fault::io("cannot open", "a terminal for the app", err);
            let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
            let pts = rustix::fs::open("/dev/pts", flags, Mode::empty())
                .map_err(|err| fail(err.into()))?;
            let (master, slave, number) = sys::tty::open_pair(pts.as_fd()).map_err(fail)?;
            if let Some(window) = supplies.window {
                // A terminal without a size is still a terminal.
                let _ = rustix::termios::tcsetwinsize(&master, window);
            }
            supplies
                .channel
                .send_terminal(master.as_fd())
                .map_err(|err| Fault::io("cannot pass on", "the app's terminal", err))?;
            return Ok(Owned::Terminal(slave, number));
        }
        match output {
            Some(output) => Ok(Owned::Pipes(
                output.pipe(Stream::Stdout)?,
                output.pipe(Stream::Stderr)?,
            )),
            None => Ok(Owned::Inherited),
        }
    }

    fn streams<'a>(&'a self, supplies: &'a Supplies) -> Streams<'a> {
        let null = supplies.null.as_fd();
        match self {
            Owned::Pipes(stdout, stderr) => Streams {
                stdin: null,
                stdout: stdout.as_fd(),
                stderr: stderr.as_fd(),
                terminal: None,
            },
            Owned::Terminal(slave, number) => {
                let slave = slave.as_fd();
                Streams {
                    stdin: slave,
                    stdout: slave,
                    stderr: slave,
                    terminal: Some(*number),
                }
            }
            Owned::Inherited => match &supplies.streams {
                Some([stdin, stdout, stderr]) => Streams {
                    stdin: stdin.as_fd(),
                    stdout: stdout.as_fd(),
                    stderr: stderr.as_fd(),
                    terminal: None,
                },
                None => Streams {
                    stdin: null,
                    stdout: null,
                    stderr: null,
                    terminal: None,
                },
            },
        }
    }
}

/// The report pipe was closed by exec: its last word is that the process came so far.
pub fn executed(report: BorrowedFd<'_>) -> bool {
    use rustix::event::{PollFd, PollFlags, Timespec};
    let mut fds = [PollFd::from_borrowed_fd(report, PollFlags::IN)];
    let now = Timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    match rustix::event::poll(&mut fds, Some(&now)) {
        Ok(0) | Err(_) => false,
        // A failure behind it is read when the process is reaped.
        Ok(_) => {
            fds[0].revents().contains(PollFlags::HUP) && rustix::io::ioctl_fionread(report) == Ok(1)
        }
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::child::{ABOUT_TO_EXECUTE, Failure};

    #[test]
    fn only_who_came_so_far_was_executed() {
        let told = |bytes: &[u8], open: bool| {
            let (report, reporter) = rustix::pipe::pipe().unwrap();
            rustix::io::write(&reporter, bytes).unwrap();
            let kept = open.then_some(reporter);
            let executed = executed(report.as_fd());
            drop(kept);
            executed
        };
        assert!(told(&[ABOUT_TO_EXECUTE], false));
        assert!(!told(&[ABOUT_TO_EXECUTE], true), "it is about to");
        assert!(!told(&[], false), "it was killed before");
        assert!(!told(b"!XError", false));
        assert!(!told(b"Sno", false));
        for bytes in [&b"!XError"[..], b"XError"] {
            let failure = Failure::receive(bytes);
            assert_eq!(failure, Some(Failure::Execute("Error".to_string())));
        }
        assert_eq!(Failure::receive(&[ABOUT_TO_EXECUTE]), None);
    }
}
