//! One client: reads requests, writes answers, one at a time, without blocking.
//!
//! Each phase has its end in time, from its beginning and not from the last
//! byte, so that a client which sends or reads ever so slowly is gone in time.
//! Nothing is read while an answer is being written: what a client may have
//! buffered here is one read beyond its request.

use super::reply::{CONTINUE, Reply};
use super::request::{Progress, Reader, Request};
use rustix::event::PollFlags;
use rustix::io::Errno;
use rustix::net::{SendFlags, Shutdown, send, shutdown};
use std::net::Ipv4Addr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::rc::Rc;
use std::time::{Duration, Instant};

/// Between requests.
const IDLE: Duration = Duration::from_secs(30);
/// From the first byte of a request to its last.
const REQUEST: Duration = Duration::from_secs(10);
/// To take an answer.
const ANSWER: Duration = Duration::from_secs(10);
/// After the last answer, for what the client still sends.
const LINGER: Duration = Duration::from_secs(2);
/// At once, from one client.
const READ: usize = 16 << 10;
/// Bodies up to this size go out together with their head.
const SMALL: usize = 16 << 10;

/// Who is at the other end: an address, or root at the unix socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Peer {
    Address(Ipv4Addr),
    Root,
}

pub(super) struct Connection {
    stream: OwnedFd,
    pub peer: Peer,
    reader: Reader,
    phase: Phase,
    deadline: Instant,
}

enum Phase {
    Idle,
    Request,
    Answer(Answer),
    /// Everything is said; what still comes is thrown away, since closing over
    /// unread bytes would take the answer back.
    Linger,
}

struct Answer {
    head: Vec<u8>,
    body: Rc<[u8]>,
    sent: usize,
    keep_alive: bool,
}

/// What a turn leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    Stay,
    Over,
}

impl Connection {
    pub fn new(stream: OwnedFd, peer: Peer, max_body: usize, now: Instant) -> Connection {
        Connection {
            stream,
            peer,
            reader: Reader::new(max_body),
            phase: Phase::Idle,
            deadline: now + IDLE,
        }
    }

    pub fn wants(&self) -> PollFlags {
        match self.phase {
            Phase::Answer(_) => PollFlags::OUT,
            _ => PollFlags::IN,
        }
    }

    pub fn deadline(&self) -> Instant {
        self.deadline
    }

    /// No request of this client is under way.
    pub fn is_idle(&self) -> bool {
        matches!(self.phase, Phase::Idle | Phase::Linger)
    }

    /// The client has sent something or can take more.
    pub fn turn(&mut self, now: Instant, answer: &mut dyn FnMut(&Request) -> Reply) -> Turn {
        let mut bytes = [0; READ];
        match &self.phase {
            Phase::Answer(_) => return self.write(now, answer),
            Phase::Linger => {
                return match rustix::io::read(&self.stream, &mut bytes) {
                    Ok(0) => Turn::Over,
                    Ok(_) | Err(Errno::AGAIN | Errno::INTR) => Turn::Stay,
                    Err(_) => Turn::Over,
                };
            }
            Phase::Idle | Phase::Request => {}
        }
        match rustix::io::read(&self.stream, &mut bytes) {
            Ok(0) => Turn::Over,
            Ok(count) => {
                self.reader.feed(&bytes[..count]);
                self.advance(now, answer)
            }
            Err(Errno::AGAIN | Errno::INTR) => Turn::Stay,
            Err(_) => Turn::Over,
        }
    }

    /// Answers what has come, as far as the client takes the answers.
    fn advance(&mut self, now: Instant, answer: &mut dyn FnMut(&Request) -> Reply) -> Turn {
        loop {
            match self.reader.next() {
                Progress::More => {
                    if self.reader.is_idle() {
                        self.enter(Phase::Idle, now + IDLE);
                    } else {
                        self.enter(Phase::Request, now + REQUEST);
                    }
                    return Turn::Stay;
                }
                Progress::Continue => {
                    self.enter(Phase::Request, now + REQUEST);
                    // A client that cannot take this line never asked for it.
                    return match send(&self.stream, CONTINUE, SendFlags::NOSIGNAL) {
                        Ok(count) if count == CONTINUE.len() => Turn::Stay,
                        _ => Turn::Over,
                    };
                }
                Progress::Whole(request) => {
                    let reply = answer(&request);
                    let bodiless = request.method == "HEAD";
                    self.begin(&reply, request.keep_alive, bodiless, now);
                }
                Progress::Refused(reply) => self.begin(&reply, false, false, now),
            }
            match self.send(now) {
                Sent::All => {}
                Sent::Part => return Turn::Stay,
                Sent::Last => return Turn::Stay,
                Sent::Broken => return Turn::Over,
            }
        }
    }

    fn write(&mut self, now: Instant, answer: &mut dyn FnMut(&Request) -> Reply) -> Turn {
        match self.send(now) {
            // The next request may be here already.
            Sent::All => self.advance(now, answer),
            Sent::Part | Sent::Last => Turn::Stay,
            Sent::Broken => Turn::Over,
        }
    }

    /// A phase that goes on keeps its end.
    fn enter(&mut self, phase: Phase, deadline: Instant) {
        let goes_on = matches!(
            (&self.phase, &phase),
            (Phase::Idle, Phase::Idle) | (Phase::Request, Phase::Request)
        );
        if !goes_on {
            self.phase = phase;
            self.deadline = deadline;
        }
    }

    fn begin(&mut self, reply: &Reply, keep_alive: bool, bodiless: bool, now: Instant) {
        let mut head = reply.head(keep_alive);
        let mut body: Rc<[u8]> = match bodiless {
            true => Rc::new([]),
            false => reply.body.clone(),
        };
        if body.len() <= SMALL {
            head.extend_from_slice(&body);
            body = Rc::new([]);
        }
        let answer = Answer {
            head,
            body,
            sent: 0,
            keep_alive,
        };
        self.enter(Phase::Answer(answer), now + ANSWER);
    }

    fn send(&mut self, now: Instant) -> Sent {
        let Phase::Answer(answer) = &mut self.phase else {
            return Sent::All;
        };
        while let rest @ [_, ..] = answer.rest() {
            match send(&self.stream, rest, SendFlags::NOSIGNAL) {
                Ok(count) => answer.sent += count,
                Err(Errno::AGAIN | Errno::INTR) => return Sent::Part,
                Err(_) => return Sent::Broken,
            }
        }
        if answer.keep_alive {
            self.enter(Phase::Idle, now + IDLE);
            return Sent::All;
        }
        if shutdown(&self.stream, Shutdown::Write).is_err() {
            return Sent::Broken;
        }
        self.enter(Phase::Linger, now + LINGER);
        Sent::Last
    }
}

impl Answer {
    fn rest(&self) -> &[u8] {
        match self.sent.checked_sub(self.head.len()) {
            None => &self.head[self.sent..],
            Some(sent) => &self.body[sent..],
        }
    }
}

/// How far the answer is.
enum Sent {
    All,
    Part,
    /// All, and there will be no other.
    Last,
    Broken,
}

impl AsFd for Connection {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}
