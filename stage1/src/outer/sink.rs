//! Bytes for one of our own streams, written so that we never wait for whoever
//! reads it: there are signals to serve.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use model::{Fault, fault::Result};
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

/// What waits for a reader at the most.
pub const ROOM: usize = 64 << 10;
/// A pipe that is ready takes so much without blocking (PIPE_BUF).
const CHUNK: usize = 4096;
/// A reader that takes nothing for so long gets no more of what is left.
const PATIENCE: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 300_000_000,
};

#[derive(Debug)]
pub struct Sink {
    fd: OwnedFd,
    pending: Vec<u8>,
    /// Nobody reads any more; the pod goes on without.
    closed: bool,
}

impl Sink {
    /// A terminal is opened anew for this, because even a ready one may block
    /// in the middle of a write, and O_NONBLOCK on the stream that we were
    /// given would be the caller's as well.
    pub fn new(stream: BorrowedFd<'_>) -> Result<Sink> {
        let fail = |err: std::io::Error| Fault::io("cannot use", "an output stream", err);
        let own = || stream.try_clone_to_owned();
        let fd = if sys::tty::is_terminal(stream) {
            let flags = OFlags::WRONLY | OFlags::NOCTTY | OFlags::NONBLOCK | OFlags::CLOEXEC;
            let name = format!("/proc/self/fd/{}", stream.as_raw_fd());
            rustix::fs::open(name, flags, Mode::empty())
                .or_else(|_| own())
                .map_err(fail)?
        } else {
            own().map_err(fail)?
        };
        Ok(Sink {
            fd,
            pending: Vec::new(),
            closed: false,
        })
    }

    pub fn has_room(&self) -> bool {
        self.pending.len() < ROOM
    }

    /// Something waits for the reader.
    pub fn is_waiting(&self) -> bool {
        !self.pending.is_empty()
    }

    /// Where to put more.
    pub fn buffer(&mut self) -> &mut Vec<u8> {
        &mut self.pending
    }

    /// Writes what is taken at once.
    pub fn write(&mut self) {
        let mut done = 0;
        while done < self.pending.len() && !self.closed && self.is_ready(&NOW) {
            let end = self.pending.len().min(done + CHUNK);
            match rustix::io::write(&self.fd, &self.pending[done..end]) {
                Ok(written) => done += written,
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => break,
                Err(_) => self.closed = true,
            }
        }
        if self.closed {
            done = self.pending.len();
        }
        self.pending.drain(..done);
    }

    /// The same, waiting a little for a slow reader.
    pub fn finish(&mut self) {
        while self.is_waiting() && self.is_ready(&PATIENCE) {
            self.write();
        }
    }

    fn is_ready(&self, wait: &Timespec) -> bool {
        let mut fds = [PollFd::new(&self.fd, PollFlags::OUT)];
        rustix::event::poll(&mut fds, Some(wait)).is_ok_and(|ready| ready > 0)
    }
}

impl AsFd for Sink {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

const NOW: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 0,
};

/// What a process in the pod writes, carried to a stream of ours that is a
/// terminal: the terminal itself is not handed out, since whoever holds it can
/// read what is typed there, also when we are long gone.
#[derive(Debug)]
pub struct Carrier {
    from: Option<OwnedFd>,
    to: Sink,
}

impl Carrier {
    /// The end for the pod, and the carrier to our `stream`.
    pub fn to(stream: BorrowedFd<'_>) -> Result<(OwnedFd, Carrier)> {
        let fail = |err: Errno| Fault::io("cannot make", "a pipe", err);
        let (from, end) =
            rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).map_err(fail)?;
        rustix::fs::fcntl_setfl(&from, OFlags::NONBLOCK).map_err(fail)?;
        Ok((
            end,
            Carrier {
                from: Some(from),
                to: Sink::new(stream)?,
            },
        ))
    }

    pub fn poll_fds<'a>(&'a self, fds: &mut Vec<PollFd<'a>>) {
        fds.extend(
            self.from
                .as_ref()
                .filter(|_| self.to.has_room())
                .map(|from| PollFd::new(from, PollFlags::IN)),
        );
        if self.to.is_waiting() {
            fds.push(PollFd::new(&self.to, PollFlags::OUT));
        }
    }

    pub fn carry(&mut self) {
        if let Some(from) = &self.from
            && self.to.has_room()
        {
            match take(from.as_fd(), self.to.buffer()) {
                Taken::Some | Taken::Nothing => {}
                Taken::End => self.from = None,
            }
        }
        self.to.write();
    }

    pub fn finish(&mut self) {
        self.carry();
        self.to.finish();
    }
}

/// A stream that goes into the pod as it is. Not a directory: paths of the pod
/// would lead through it to the host.
pub fn for_the_pod(stream: BorrowedFd<'_>) -> Result<OwnedFd> {
    let fail = |err: std::io::Error| Fault::io("cannot pass on", "a standard stream", err);
    let stat = rustix::fs::fstat(stream).map_err(|err| fail(err.into()))?;
    if rustix::fs::FileType::from_raw_mode(stat.st_mode) == rustix::fs::FileType::Directory {
        return Err(
            Fault::refused("a standard stream is a directory of the host")
                .hint("redirect it from /dev/null"),
        );
    }
    stream.try_clone_to_owned().map_err(fail)
}

/// Our streams for a process in the pod, where stdin is no terminal; what of
/// them is one all the same is written by us.
pub fn own_streams() -> Result<([OwnedFd; 3], Vec<Carrier>)> {
    let stdin = for_the_pod(rustix::stdio::stdin())?;
    let mut carriers = Vec::new();
    let mut output = |stream: BorrowedFd<'_>| -> Result<OwnedFd> {
        if !sys::tty::is_terminal(stream) {
            return for_the_pod(stream);
        }
        let (end, carrier) = Carrier::to(stream)?;
        carriers.push(carrier);
        Ok(end)
    };
    let stdout = output(rustix::stdio::stdout())?;
    let stderr = output(rustix::stdio::stderr())?;
    Ok(([stdin, stdout, stderr], carriers))
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    Some,
    Nothing,
    End,
}

/// Reads once from an fd that does not block.
pub fn take(from: BorrowedFd<'_>, to: &mut Vec<u8>) -> Taken {
    let mut bytes = [0; CHUNK];
    match rustix::io::read(from, &mut bytes) {
        Ok(0) => Taken::End,
        Ok(length) => {
            to.extend_from_slice(&bytes[..length]);
            Taken::Some
        }
        Err(Errno::AGAIN | Errno::INTR) => Taken::Nothing,
        // EIO of a terminal: no process of the app holds its end.
        Err(_) => Taken::End,
    }
}
