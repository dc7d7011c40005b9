//! Forwarded UDP: a table of flows. What comes from a new address gets a socket
//! of its own, connected to the target, whose answers go back to that address
//! from the address that it asked.
//!
//! Datagrams are dropped where a network would drop them: when a queue is full
//! or nobody listens.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::net::{self, AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType};

/// A flow that was silent for so long is over.
const IDLE: Duration = Duration::from_secs(90);
/// How often the silent ones are looked for.
const SWEEP: Duration = Duration::from_secs(5);
/// Datagrams of one socket before it is another's turn.
const BATCH: usize = 64;

/// Who talks to which port, and by which of the host's addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Flow {
    pub(super) port: usize,
    client: SocketAddr,
    local: Option<IpAddr>,
}

#[derive(Debug)]
struct End {
    socket: OwnedFd,
    used: Instant,
}

#[derive(Debug)]
pub(super) struct Flows {
    ends: BTreeMap<Flow, End>,
    most: usize,
    swept: Option<Instant>,
    /// As large as any datagram.
    buffer: Vec<u8>,
}

impl Flows {
    pub(super) fn new(most: usize) -> Flows {
        Flows {
            ends: BTreeMap::new(),
            most,
            swept: None,
            buffer: Vec::new(),
        }
    }

    pub(super) fn sockets(&self) -> impl Iterator<Item = (Flow, BorrowedFd<'_>)> {
        self.ends
            .iter()
            .map(|(flow, end)| (*flow, end.socket.as_fd()))
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.ends.len()
    }

    pub(super) fn due(&self) -> Option<Instant> {
        self.swept.filter(|_| !self.ends.is_empty())
    }

    pub(super) fn sweep(&mut self, now: Instant) {
        if self.swept.is_none_or(|at| at <= now) {
            self.ends
                .retain(|_, end| now.saturating_duration_since(end.used) < IDLE);
            self.swept = Some(now + SWEEP);
        }
    }

    /// Passes on what came in by a port of the host.
    pub(super) fn arrival(
        &mut self,
        port: usize,
        socket: BorrowedFd<'_>,
        target: SocketAddr,
        now: Instant,
    ) {
        self.buffer.resize(1 << 16, 0);
        for _ in 0..BATCH {
            let Ok(arrival) = sys::datagram::receive(socket, &mut self.buffer) else {
                return;
            };
            let flow = Flow {
                port,
                client: arrival.from,
                local: arrival.to,
            };
            if !self.ends.contains_key(&flow) {
                self.make_room();
                let Ok(socket) = connect(target) else {
                    continue;
                };
                self.ends.insert(flow, End { socket, used: now });
            }
            let Some(end) = self.ends.get_mut(&flow) else {
                continue;
            };
            end.used = now;
            let bytes = &self.buffer[..arrival.len];
            // ECONNREFUSED here tells of an earlier datagram, and takes the
            // place of sending this one.
            if let Err(Errno::CONNREFUSED) = net::send(&end.socket, bytes, SendFlags::NOSIGNAL) {
                let _ = net::send(&end.socket, bytes, SendFlags::NOSIGNAL);
            }
        }
    }

    /// The one that was silent for longest goes.
    fn make_room(&mut self) {
        while self.ends.len() >= self.most {
            let oldest = self.ends.iter().min_by_key(|(_, end)| end.used);
            let Some(flow) = oldest.map(|(flow, _)| *flow) else {
                return;
            };
            self.ends.remove(&flow);
        }
    }

    /// Passes on what the target answered.
    pub(super) fn answer(&mut self, flow: Flow, port: BorrowedFd<'_>, now: Instant) {
        self.buffer.resize(1 << 16, 0);
        let Some(end) = self.ends.get_mut(&flow) else {
            return;
        };
        for _ in 0..BATCH {
            match net::recv(&end.socket, &mut self.buffer[..], RecvFlags::empty()) {
                Ok((len, _)) => {
                    end.used = now;
                    let bytes = &self.buffer[..len];
                    let _ = sys::datagram::send(port, bytes, flow.client, flow.local);
                }
                // Nobody listens now; perhaps somebody will.
                Err(Errno::CONNREFUSED) => {}
                Err(_) => return,
            }
        }
    }
}

fn connect(target: SocketAddr) -> Result<OwnedFd, Errno> {
    let family = match target {
        SocketAddr::V4(_) => AddressFamily::INET,
        SocketAddr::V6(_) => AddressFamily::INET6,
    };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = net::socket_with(family, SocketType::DGRAM, flags, None)?;
    net::connect(&socket, &target)?;
    Ok(socket)
}
