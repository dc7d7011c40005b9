//! A socket to the kernel's rtnetlink: batches out, answers in.
//!
//! rtnetlink works while the request is being sent, so an answer lies ready
//! when `send` is back, and nothing here ever waits. A socket belongs to the
//! network namespace that it was opened in.

use super::message::{self, Batch, NLM_F_DUMP_INTR, Received};
use model::{Fault, fault::Result, fault::errno_text};
use rustix::io::Errno;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType};
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};

/// What the kernel puts into one datagram at most.
const DATAGRAM: usize = 32 << 10;
/// Answers to one batch; a table of a million routes fits.
const MAX_DATAGRAMS: usize = 20_000;
/// A table that changes while it is read has to be read again.
const MAX_DUMPS: usize = 8;

#[derive(Debug)]
pub struct Socket {
    fd: OwnedFd,
    next: u32,
    buffer: Vec<u8>,
}

impl Socket {
    /// In the current network namespace.
    pub fn open() -> Result<Socket> {
        open().map_err(failed)
    }

    /// In that network namespace, by way of a visit there: this process must
    /// have one thread. Not to come back would mean to work on the wrong
    /// network from then on, so that ends the process.
    pub fn open_in(netns: BorrowedFd<'_>) -> Result<Socket> {
        sys::ns::within_net(netns, open)
            .map_err(|err| Fault::io("join", "network namespace", err))?
            .map_err(failed)
    }

    /// Sends all requests and reads what each gave: messages of the answer go
    /// to `on` with the request's index.
    pub fn exchange(
        &mut self,
        batch: &mut Batch,
        on: &mut dyn FnMut(usize, &Received<'_>),
    ) -> Result<Vec<Result<()>>> {
        let first = self.next;
        let count = batch.len();
        if count == 0 {
            return Ok(Vec::new());
        }
        self.next = first.wrapping_add(count as u32);
        self.send(batch.seal(first)?)?;
        let mut results: Vec<Result<()>> = (0..count).map(|_| Ok(())).collect();
        for _ in 0..MAX_DATAGRAMS {
            let len = self.receive()?;
            for message in message::messages(&self.buffer[..len]) {
                // What an earlier exchange left unread is not ours.
                let index = message.seq.wrapping_sub(first) as usize;
                if index >= count {
                    continue;
                }
                match message.kind {
                    message::NLMSG_NOOP => {}
                    message::NLMSG_OVERRUN => return Err(lost()),
                    message::NLMSG_ERROR | message::NLMSG_DONE => {
                        let (errno, text) = message::verdict(&message).ok_or_else(lost)?;
                        if errno != 0 {
                            results[index] = Err(refused(batch.what(index), errno, &text));
                        }
                        if index + 1 == count {
                            return Ok(results);
                        }
                    }
                    _ => on(index, &message),
                }
            }
        }
        Err(Fault::invalid("the kernel's answer has no end"))
    }

    /// All requests; the first one that was refused is the error.
    pub fn run(&mut self, batch: &mut Batch) -> Result<()> {
        self.exchange(batch, &mut |_, _| {})?.into_iter().collect()
    }

    /// All entries of a table. `batch` holds the one request that asks for it.
    pub fn dump<T>(
        &mut self,
        batch: &mut Batch,
        parse: fn(&Received<'_>) -> Option<T>,
    ) -> Result<Vec<T>> {
        for _ in 0..MAX_DUMPS {
            let mut entries = Vec::new();
            let mut interrupted = false;
            let results = self.exchange(batch, &mut |_, message| {
                interrupted |= message.flags & NLM_F_DUMP_INTR != 0;
                entries.extend(parse(message));
            })?;
            results.into_iter().collect::<Result<()>>()?;
            if !interrupted {
                return Ok(entries);
            }
        }
        Err(Fault::invalid(format!(
            "{}: it keeps changing while it is read",
            batch.what(0)
        )))
    }

    fn send(&self, bytes: &[u8]) -> Result<()> {
        loop {
            match rustix::net::send(&self.fd, bytes, SendFlags::empty()) {
                Err(Errno::INTR) => {}
                Err(err) => return Err(Fault::io("send", "to netlink", err)),
                Ok(_) => return Ok(()),
            }
        }
    }

    fn receive(&mut self) -> Result<usize> {
        let flags = RecvFlags::DONTWAIT | RecvFlags::TRUNC;
        loop {
            match rustix::net::recv(&self.fd, &mut self.buffer[..], flags) {
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return Err(lost()),
                Err(err) => return Err(Fault::io("receive", "from netlink", err)),
                Ok((len, whole)) if len < whole => return Err(lost()),
                Ok((len, _)) => return Ok(len),
            }
        }
    }
}

fn open() -> io::Result<Socket> {
    let fd = rustix::net::socket_with(
        AddressFamily::NETLINK,
        SocketType::RAW,
        SocketFlags::CLOEXEC,
        None,
    )?;
    sys::net::netlink_options(&fd)?;
    Ok(Socket {
        fd,
        next: 1,
        buffer: vec![0; DATAGRAM],
    })
}

fn failed(err: io::Error) -> Fault {
    Fault::io("open", "netlink socket", err)
}

fn lost() -> Fault {
    Fault::invalid("the kernel's answer over netlink is incomplete")
}

fn refused(what: &str, errno: i32, text: &str) -> Fault {
    let err = io::Error::from_raw_os_error(errno);
    let mut cause = format!("{what}: {}", errno_text(&err));
    if !text.is_empty() {
        cause.push_str(&format!(" ({})", text.trim_end_matches('.')));
    }
    Fault::new(model::fault::Kind::Os(errno), cause)
}
