//! The line between PID 1 and the outer process: a pair of seqpacket sockets.
//!
//! PID 1 tells what happens and never waits for a reader; that the other end
//! closes is news by itself, in both directions.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::event::{PollFd, PollFlags};
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType};

/// What PID 1 has to say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message<'a> {
    /// There is more in the apps' logs.
    Output,
    /// An app's process was started, with this pid in the pod.
    Started(usize, i32),
    /// Every app has executed its program.
    Ready,
    /// rkt could not build the sandbox.
    Broken(&'a str),
    /// Why an app's program cannot be executed; rkt prints it on stdout.
    Diagnostic(&'a str),
    /// Something for stderr.
    Complaint(&'a str),
    /// The app's terminal comes along as an fd.
    Terminal,
}

/// Longest message; one read takes a whole one.
pub const MAX: usize = 8192;

#[derive(Debug)]
pub struct Channel(OwnedFd);

impl Channel {
    pub fn pair() -> io::Result<(Channel, Channel)> {
        let (one, other) = rustix::net::socketpair(
            AddressFamily::UNIX,
            SocketType::SEQPACKET,
            SocketFlags::CLOEXEC | SocketFlags::NONBLOCK,
            None,
        )?;
        Ok((Channel(one), Channel(other)))
    }

    /// Sends, or forgets it: a full queue holds what wakes the reader anyway. False where it may be worth another try.
    pub fn send(&self, message: &Message<'_>) -> bool {
        let started;
        let (tag, text) = match message {
            Message::Started(app, pid) => {
                started = format!("{app} {pid}");
                (b's', started.as_str())
            }
            Message::Output => (b'o', ""),
            Message::Ready => (b'r', ""),
            Message::Broken(text) => (b'b', *text),
            Message::Diagnostic(text) => (b'd', *text),
            Message::Complaint(text) => (b'c', *text),
            Message::Terminal => (b't', ""),
        };
        let mut bytes = Vec::with_capacity(1 + text.len().min(MAX));
        bytes.push(tag);
        bytes.extend(text.bytes().take(MAX - 1));
        rustix::net::send(&self.0, &bytes, SendFlags::NOSIGNAL) != Err(rustix::io::Errno::AGAIN)
    }

    pub fn send_terminal(&self, master: BorrowedFd<'_>) -> io::Result<()> {
        sys::scm::send(self.0.as_fd(), b"t", &[master]).map(drop)
    }

    /// The next message; `Ok(None)` once the other end is closed, WouldBlock
    /// when nothing waits.
    pub fn receive<'b>(
        &self,
        buffer: &'b mut [u8; MAX],
    ) -> io::Result<Option<(Message<'b>, Option<OwnedFd>)>> {
        let (length, fds) = sys::scm::receive(self.0.as_fd(), buffer)?;
        let Some((tag, text)) = buffer[..length].split_first() else {
            return Ok(None);
        };
        let text = std::str::from_utf8(text).unwrap_or("(a message that is not UTF-8)");
        let message = match tag {
            b'o' => Message::Output,
            b'r' => Message::Ready,
            b'b' => Message::Broken(text),
            b'd' => Message::Diagnostic(text),
            b't' => Message::Terminal,
            b's' => {
                let mut numbers = text.split(' ');
                let mut number = || {
                    numbers
                        .next()
                        .and_then(|number| number.parse().ok())
                        .unwrap_or(0)
                };
                let app = number();
                Message::Started(app as usize, number())
            }
            _ => Message::Complaint(text),
        };
        Ok(Some((message, fds.into_iter().next())))
    }

    /// What outer says once: the network is there.
    pub fn tell_network(&self, text: &str) -> io::Result<()> {
        if text.len() >= MAX {
            return Err(rustix::io::Errno::MSGSIZE.into());
        }
        let mut bytes = Vec::with_capacity(1 + text.len());
        bytes.push(b'n');
        bytes.extend_from_slice(text.as_bytes());
        let sent = rustix::net::send(&self.0, &bytes, SendFlags::NOSIGNAL);
        sent.map(drop).map_err(Into::into)
    }

    /// Waits for that; `None` when outer is gone, or wants the pod's end.
    pub fn wait_for_network(&self) -> io::Result<Option<String>> {
        let mut buffer = [0; MAX];
        loop {
            let mut fds = [PollFd::new(&self.0, PollFlags::IN)];
            let _ = rustix::event::poll(&mut fds, None);
            match rustix::net::recv(&self.0, &mut buffer, RecvFlags::DONTWAIT) {
                Ok((_, 0)) => return Ok(None),
                Ok((length, _)) if buffer[0] == b'n' => {
                    let text = std::str::from_utf8(&buffer[1..length]);
                    let text = text.map_err(|_| rustix::io::Errno::BADMSG)?;
                    return Ok(Some(text.to_string()));
                }
                Ok(_) => return Ok(None),
                Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => {}
                Err(err) => return Err(err.into()),
            }
        }
    }

    /// Outer's only word from then on.
    pub fn ask_to_stop(&self) {
        let _ = rustix::net::send(&self.0, b"q", SendFlags::NOSIGNAL);
    }

    /// What outer has said: to stop, or nothing any more.
    pub fn hear_outer(&self) -> Outer {
        let mut byte = [0; 1];
        match rustix::net::recv(&self.0, &mut byte, RecvFlags::DONTWAIT) {
            Ok((_, 0)) => Outer::Gone,
            Ok(_) => Outer::AsksToStop,
            Err(_) => Outer::Silent,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outer {
    Silent,
    AsksToStop,
    Gone,
}

impl AsFd for Channel {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
