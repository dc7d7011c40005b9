//! The user's terminal joined to the app's: bytes both ways, window sizes, and
//! the three `^]` within a second that kill the pod.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use model::{Fault, fault::Result};
use rustix::event::{PollFd, PollFlags};
use rustix::fs::OFlags;
use rustix::io::Errno;
use sys::tty::{self, Raw};

use super::sink::{self, Sink, Taken};

const ESCAPE: u8 = 0x1d;
const ESCAPE_TIMES: usize = 3;
const ESCAPE_WITHIN_NS: i64 = 1_000_000_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wish {
    GoOn,
    Kill,
}

pub struct Screen {
    /// None once no process of the app holds the other end.
    master: Option<OwnedFd>,
    output: Sink,
    raw: Option<Raw>,
    escapes: Escapes,
    input_open: bool,
}

/// How much of the app's last output is waited for, in reads.
const LAST_READS: usize = 64;

/// Times of the last presses of `^]`, with nothing else typed between.
#[derive(Debug, Default)]
struct Escapes {
    times: Vec<i64>,
}

impl Escapes {
    /// True with the press that completes the three.
    fn typed(&mut self, byte: u8, now_ns: i64) -> bool {
        if byte != ESCAPE {
            self.times.clear();
            return false;
        }
        self.times.retain(|time| now_ns - time < ESCAPE_WITHIN_NS);
        self.times.push(now_ns);
        self.times.len() >= ESCAPE_TIMES
    }
}

impl Screen {
    pub fn take(master: OwnedFd) -> Result<Screen> {
        let fail = |err: std::io::Error| Fault::io("cannot use", "the terminal", err);
        rustix::fs::fcntl_setfl(&master, OFlags::NONBLOCK).map_err(|err| fail(err.into()))?;
        let screen = Screen {
            output: Sink::new(rustix::stdio::stdout())?,
            raw: Some(Raw::enter(rustix::stdio::stdin()).map_err(fail)?),
            master: Some(master),
            escapes: Escapes::default(),
            input_open: true,
        };
        screen.resize();
        Ok(screen)
    }

    /// What to wait for. Output that nobody takes holds the app back, as a
    /// terminal does, and never us.
    pub fn poll_fds<'a>(&'a self, fds: &mut Vec<PollFd<'a>>) {
        if self.input_open {
            fds.push(PollFd::from_borrowed_fd(
                rustix::stdio::stdin(),
                PollFlags::IN,
            ));
        }
        if let Some(master) = self.master.as_ref().filter(|_| self.output.has_room()) {
            fds.push(PollFd::new(master, PollFlags::IN));
        }
        if self.output.is_waiting() {
            fds.push(PollFd::new(&self.output, PollFlags::OUT));
        }
    }

    pub fn resize(&self) {
        if let Some(master) = &self.master {
            // A terminal without a size is still a terminal.
            let _ = tty::copy_size(rustix::stdio::stdin(), master.as_fd());
        }
    }

    pub fn restore(&mut self) {
        self.raw = None;
    }

    /// Passes on a little of what waits on either side, keys first.
    pub fn relay(&mut self) -> Wish {
        if self.input_open && has_input(rustix::stdio::stdin()) {
            let mut bytes = [0; 4096];
            match rustix::io::read(rustix::stdio::stdin(), &mut bytes) {
                Ok(0) | Err(Errno::IO) => self.input_open = false,
                Ok(length) => {
                    let now = sys::time::monotonic_ns();
                    if bytes[..length]
                        .iter()
                        .any(|byte| self.escapes.typed(*byte, now))
                    {
                        return Wish::Kill;
                    }
                    if let Some(master) = &self.master {
                        // An app that does not read loses what its terminal cannot hold.
                        let _ = rustix::io::write(master, &bytes[..length]);
                    }
                }
                Err(_) => {}
            }
        }
        self.read();
        self.output.write();
        Wish::GoOn
    }

    /// One read of the app's output; true when there was some.
    fn read(&mut self) -> bool {
        let Some(master) = self.master.as_ref().filter(|_| self.output.has_room()) else {
            return false;
        };
        match sink::take(master.as_fd(), self.output.buffer()) {
            Taken::Some => true,
            Taken::Nothing => false,
            Taken::End => {
                self.master = None;
                false
            }
        }
    }

    /// The last output of a command that has ended, bounded: others in the pod
    /// may go on writing.
    pub fn drain(&mut self) {
        for _ in 0..LAST_READS {
            if !self.read() {
                break;
            }
            self.output.write();
        }
        self.output.finish();
    }
}

fn has_input(fd: BorrowedFd<'_>) -> bool {
    use rustix::event::Timespec;
    let mut fds = [PollFd::from_borrowed_fd(fd, PollFlags::IN)];
    let now = Timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    rustix::event::poll(&mut fds, Some(&now)).is_ok_and(|ready| ready > 0)
}

#[cfg(test)]
mod tests {
    use super::{ESCAPE, Escapes};

    #[test]
    fn three_escapes_within_a_second_kill() {
        let second = 1_000_000_000;
        let mut escapes = Escapes::default();
        assert!(!escapes.typed(ESCAPE, 0));
        assert!(!escapes.typed(ESCAPE, second / 2));
        assert!(!escapes.typed(b'x', second / 2));
        assert!(!escapes.typed(ESCAPE, second / 2));
        assert!(!escapes.typed(ESCAPE, second));
        assert!(!escapes.typed(ESCAPE, 2 * second));
        assert!(!escapes.typed(ESCAPE, 2 * second + 1));
        assert!(escapes.typed(ESCAPE, 2 * second + 2));
    }
}
