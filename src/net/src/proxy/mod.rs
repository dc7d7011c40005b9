//! Forwards ports in user space, where the kernel cannot: everything when there
//! is neither nf_tables nor xtables, else only what came to `::1`.
//!
//! The sockets were bound in the host's network namespace: what comes in by
//! them goes on to a socket that is made here, in the pod's. One thread waits
//! for all of them; nothing blocks, every buffer is bounded, and what goes
//! wrong with one connection ends that one only.

mod relay;
mod tcp;
mod udp;

use crate::Protocol;
use crate::ports::Reserved;
use rustix::event::{PollFd, PollFlags};
use rustix::process::{Resource, getrlimit, setrlimit};
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};
use tcp::Connection;
use udp::{Flow, Flows};

/// TCP connections at most, and as many UDP flows beside them: neither can
/// push the other out.
const MOST: usize = 1024;
/// Descriptors of a connection: two sockets and two pipes.
const PER_CONNECTION: usize = 6;
/// Left over for everything else.
const SPARE: usize = 32;
/// How long nothing is accepted when the kernel ran out of something.
const PAUSE: Duration = Duration::from_millis(200);

/// What a descriptor in the poll set belongs to.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Token {
    Port(usize),
    Client(u64),
    Target(u64),
    Flow(Flow),
}

#[derive(Debug)]
pub(crate) struct Proxy {
    ports: Vec<Port>,
    connections: std::collections::BTreeMap<u64, Connection>,
    next: u64,
    flows: Flows,
    /// Nothing is accepted before.
    paused: Option<Instant>,
    most: usize,
}

/// A port of the host and where it leads.
#[derive(Debug)]
struct Port {
    socket: OwnedFd,
    protocol: Protocol,
    target: SocketAddr,
}

impl Proxy {
    /// Without any target a port is not served.
    pub(crate) fn new(reserved: Vec<Reserved>, targets: &[IpAddr]) -> Proxy {
        let most = room(reserved.len());
        let ports = reserved
            .into_iter()
            .filter_map(|reserved| Port::new(reserved, targets))
            .collect();
        Proxy {
            ports,
            connections: Default::default(),
            next: 0,
            flows: Flows::new(most),
            paused: None,
            most,
        }
    }

    /// Adds what is waited for; `tokens` goes along with `fds`.
    pub(crate) fn watch<'a>(&'a self, fds: &mut Vec<PollFd<'a>>, tokens: &mut Vec<Token>) {
        let accepting = self.paused.is_none() && self.connections.len() < self.most;
        for (at, port) in self.ports.iter().enumerate() {
            if port.protocol == Protocol::Udp || accepting {
                fds.push(PollFd::new(&port.socket, PollFlags::IN));
                tokens.push(Token::Port(at));
            }
        }
        for (id, connection) in &self.connections {
            if let Some(events) = connection.client_events() {
                fds.push(PollFd::new(&connection.client, events));
                tokens.push(Token::Client(*id));
            }
            if let Some(events) = connection.target_events() {
                fds.push(PollFd::new(&connection.target, events));
                tokens.push(Token::Target(*id));
            }
        }
        for (flow, socket) in self.flows.sockets() {
            fds.push(PollFd::from_borrowed_fd(socket, PollFlags::IN));
            tokens.push(Token::Flow(flow));
        }
    }

    /// When [`Proxy::sweep`] has something to do.
    pub(crate) fn due(&self) -> Option<Instant> {
        self.paused.into_iter().chain(self.flows.due()).min()
    }

    /// Ends what has been idle, and a pause.
    pub(crate) fn sweep(&mut self, now: Instant) {
        if self.paused.is_some_and(|until| until <= now) {
            self.paused = None;
        }
        self.flows.sweep(now);
    }

    /// Something happened to one of the descriptors.
    pub(crate) fn ready(&mut self, token: Token, events: PollFlags, now: Instant) {
        match token {
            Token::Port(at) => self.arrival(at, now),
            Token::Client(id) => self.progress(id, |connection| connection.client_ready(events)),
            Token::Target(id) => self.progress(id, |connection| connection.target_ready(events)),
            Token::Flow(flow) => {
                if let Some(port) = self.ports.get(flow.port) {
                    self.flows.answer(flow, port.socket.as_fd(), now);
                }
            }
        }
    }

    fn arrival(&mut self, at: usize, now: Instant) {
        let Some(port) = self.ports.get(at) else {
            return;
        };
        match port.protocol {
            Protocol::Udp => self
                .flows
                .arrival(at, port.socket.as_fd(), port.target, now),
            Protocol::Tcp => self.accept(at, now),
        }
    }

    /// Takes what waits, a few at a time so that others get their turn.
    fn accept(&mut self, at: usize, now: Instant) {
        for _ in 0..16 {
            let Some(port) = self.ports.get(at) else {
                return;
            };
            if self.connections.len() >= self.most {
                return;
            }
            match Connection::accept(port.socket.as_fd(), port.target) {
                Ok(Some(connection)) => {
                    self.connections.insert(self.next, connection);
                    self.next += 1;
                }
                Ok(None) => return,
                // Out of descriptors or memory: the backlog stays readable, so
                // asking at once again would spin.
                Err(_) => {
                    self.paused = Some(now + PAUSE);
                    return;
                }
            }
        }
    }

    fn progress(&mut self, id: u64, step: impl FnOnce(&mut Connection) -> tcp::State) {
        // Gone, if its other end was ready as well and ended it.
        let Some(connection) = self.connections.get_mut(&id) else {
            return;
        };
        match step(connection) {
            tcp::State::Open => {}
            tcp::State::Finished => {
                self.connections.remove(&id);
            }
            tcp::State::Broken => {
                if let Some(connection) = self.connections.remove(&id) {
                    connection.reset();
                }
            }
        }
    }

    /// The pod has another address now.
    pub(crate) fn retarget(&mut self, old: IpAddr, new: IpAddr) {
        // Their sockets are connected to the old one.
        self.flows = Flows::new(self.most);
        for port in &mut self.ports {
            if port.target.ip() == old {
                port.target.set_ip(new);
            }
        }
    }

    #[cfg(test)]
    pub(crate) fn limit(&mut self, most: usize) {
        self.most = most;
        self.flows = Flows::new(most);
    }

    #[cfg(test)]
    pub(crate) fn counts(&self) -> (usize, usize) {
        (self.connections.len(), self.flows.len())
    }
}

impl Port {
    fn new(reserved: Reserved, targets: &[IpAddr]) -> Option<Port> {
        let same = targets.iter().find(|ip| ip.is_ipv6() == reserved.v6);
        let ip = *same.or(targets.first())?;
        if reserved.protocol == Protocol::Udp {
            // Without it, answers come from the address that the route names.
            let _ = sys::datagram::tell_local(reserved.socket.as_fd(), reserved.v6);
        }
        // A listener that blocks would stop everything else.
        let _ = rustix::io::ioctl_fionbio(&reserved.socket, true);
        Some(Port {
            socket: reserved.socket,
            protocol: reserved.protocol,
            target: SocketAddr::new(ip, reserved.pod_port),
        })
    }
}

/// How many of each there may be, with as many descriptors as this process may
/// get: the soft limit is usually 1024.
fn room(ports: usize) -> usize {
    let mut limit = getrlimit(Resource::Nofile);
    if limit.current != limit.maximum {
        limit.current = limit.maximum;
        let _ = setrlimit(Resource::Nofile, limit);
    }
    let may = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    let may = usize::try_from(may).unwrap_or(usize::MAX);
    let rest = may.saturating_sub(ports + SPARE);
    (rest / (PER_CONNECTION + 1)).clamp(1, MOST)
}
