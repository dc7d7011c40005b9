//! A forwarded TCP connection: accepted from the host, connected in the pod,
//! and a relay each way. A half that is closed is closed on the other side;
//! one that breaks, or a target that refuses, resets the other side.

use super::relay::Relay;
use rustix::event::PollFlags;
use rustix::io::Errno;
use rustix::net::{self, AddressFamily, SocketFlags, SocketType, sockopt};
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

const FLAGS: SocketFlags = SocketFlags::CLOEXEC.union(SocketFlags::NONBLOCK);

#[derive(Debug)]
pub(super) struct Connection {
    pub(super) client: OwnedFd,
    pub(super) target: OwnedFd,
    connecting: bool,
    there: Relay,
    back: Relay,
    /// Hung up for good while the other side still reads: poll would report
    /// that without end.
    client_hung: bool,
    target_hung: bool,
}

/// What has become of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    Open,
    Finished,
    Broken,
}

impl Connection {
    /// The next that waits, on its way to `target`; `None` when none waits. A
    /// failure would come again at once: mostly the kernel has run out of something.
    pub(super) fn accept(
        listener: BorrowedFd<'_>,
        target: SocketAddr,
    ) -> Result<Option<Connection>, Errno> {
        let client = loop {
            match net::accept_with(listener, FLAGS) {
                Ok(client) => break client,
                Err(Errno::AGAIN) => return Ok(None),
                // Of this one connection alone, as accept(2) warns: the next.
                Err(
                    Errno::INTR
                    | Errno::CONNABORTED
                    | Errno::PROTO
                    | Errno::NETDOWN
                    | Errno::NETUNREACH
                    | Errno::HOSTDOWN
                    | Errno::HOSTUNREACH,
                ) => {}
                Err(err) => return Err(err),
            }
        };
        match Connection::join(&client, target) {
            Ok((target, there, back)) => Ok(Some(Connection {
                client,
                target,
                connecting: true,
                there,
                back,
                client_hung: false,
                target_hung: false,
            })),
            Err(err) => {
                abort(client);
                Err(err)
            }
        }
    }

    fn join(client: &OwnedFd, to: SocketAddr) -> Result<(OwnedFd, Relay, Relay), Errno> {
        let (there, back) = (Relay::new()?, Relay::new()?);
        let family = match to {
            SocketAddr::V4(_) => AddressFamily::INET,
            SocketAddr::V6(_) => AddressFamily::INET6,
        };
        let target = net::socket_with(family, SocketType::STREAM, FLAGS, None)?;
        // Whether to wait for more is for the two ends to decide; and a client
        // that has vanished must not keep its place.
        for end in [client, &target] {
            let _ = sockopt::set_tcp_nodelay(end, true);
            let _ = sockopt::set_socket_keepalive(end, true);
        }
        // EINPROGRESS, or a failure: the socket then polls as hung up, and has
        // no peer.
        let _ = net::connect(&target, &to);
        Ok((target, there, back))
    }

    /// What to wait for on the client's side; `None` leaves it out.
    pub(super) fn client_events(&self) -> Option<PollFlags> {
        if self.connecting {
            return (!self.client_hung).then_some(PollFlags::empty());
        }
        events(&self.there, &self.back, self.client_hung)
    }

    pub(super) fn target_events(&self) -> Option<PollFlags> {
        if self.connecting {
            return Some(PollFlags::OUT);
        }
        events(&self.back, &self.there, self.target_hung)
    }

    pub(super) fn client_ready(&mut self, events: PollFlags) -> State {
        if events.contains(PollFlags::ERR) {
            return State::Broken;
        }
        self.client_hung |= events.contains(PollFlags::HUP);
        if self.connecting {
            return State::Open;
        }
        self.pump()
    }

    pub(super) fn target_ready(&mut self, events: PollFlags) -> State {
        if self.connecting {
            match sockopt::socket_error(&self.target) {
                Ok(Ok(())) if net::getpeername(&self.target).is_ok() => self.connecting = false,
                _ => return State::Broken,
            }
        } else if events.contains(PollFlags::ERR) {
            return State::Broken;
        }
        self.target_hung |= events.contains(PollFlags::HUP);
        self.pump()
    }

    fn pump(&mut self) -> State {
        let (client, target) = (self.client.as_fd(), self.target.as_fd());
        let moved = self.there.pump(client, target);
        if moved.and(self.back.pump(target, client)).is_err() {
            return State::Broken;
        }
        if self.there.finished() && self.back.finished() {
            return State::Finished;
        }
        State::Open
    }

    /// Ends it so that both sides see a failure, not an end.
    pub(super) fn reset(self) {
        abort(self.client);
        abort(self.target);
    }
}

fn events(out: &Relay, into: &Relay, hung: bool) -> Option<PollFlags> {
    let mut events = PollFlags::empty();
    if out.wants_input() {
        events |= PollFlags::IN;
    }
    if into.wants_output() {
        events |= PollFlags::OUT;
    }
    // With nothing to wait for, an error is still worth knowing.
    (!events.is_empty() || !hung).then_some(events)
}

/// Closes with a reset instead of an end.
fn abort(socket: OwnedFd) {
    let _ = sockopt::set_socket_linger(&socket, Some(Duration::ZERO));
}
