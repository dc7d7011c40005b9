//! The service's one loop: signals, two listeners, and the connections.
//!
//! Everything is done in one thread that never waits for a client. A peer has
//! at most `PER_PEER` connections: a further one takes the place of its own
//! oldest. When all places are taken, the peer that holds most of them gives
//! one up. So a pod can starve nobody but itself.

use super::connection::{Connection, Peer, Turn};
use super::key::Key;
use super::listen::Listeners;
use super::pods::Pods;
use super::reply::Reply;
use super::request::Request;
use super::routes;
use model::Fault;
use model::fault::Result;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{SocketAddrV4, SocketFlags, acceptfrom_with};
use std::cmp::Reverse;
use std::net::Ipv4Addr;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};
use sys::signal::{self, Signals};

const ALL: usize = 64;
const PER_PEER: usize = 16;
/// Accepted in a row; fewer than a peer may have, so that each connection is
/// looked at before another can take its place.
const IN_A_ROW: usize = 8;
/// A manifest, as large as manifests may be.
const REGISTRATION_BODY: usize = 16 << 20;
const PUBLIC_BODY: usize = 1 << 20;
/// Of a request's target, in the log.
const SHOWN: usize = 256;

/// Serves until a signal ends it. `log` gets the lines that tell of it.
pub fn serve(port: u16, log: &dyn Fn(&str)) -> Result<()> {
    log("metadata service starting...");
    let signals = Signals::take(&[signal::INT, signal::TERM, signal::HUP])
        .map_err(|e| Fault::io("cannot read", "signals", e))?;
    let mut service = Service {
        pods: Pods::default(),
        key: Key::random()?,
        log,
    };
    let listeners = Listeners::open(port)?;
    log("metadata service running...");
    let mut connections: Vec<Connection> = Vec::new();
    loop {
        let ready = wait(&signals, &listeners, &connections)?;
        if signals.next().is_some() {
            break;
        }
        let now = Instant::now();
        let mut at = ready.connections.iter();
        connections.retain_mut(|connection| {
            let turn = match at.next() {
                Some(true) => {
                    let peer = connection.peer;
                    connection.turn(now, &mut |request| service.answer(peer, request))
                }
                _ => Turn::Stay,
            };
            turn == Turn::Stay && connection.deadline() > now
        });
        if ready.registration {
            accept(&listeners.registration, true, &mut connections, now);
        }
        if ready.public {
            accept(&listeners.public, false, &mut connections, now);
        }
    }
    log("metadata service exiting...");
    Ok(())
}

struct Service<'a> {
    pods: Pods,
    key: Key,
    log: &'a dyn Fn(&str),
}

impl Service<'_> {
    fn answer(&mut self, peer: Peer, request: &Request) -> Reply {
        let reply = match peer {
            Peer::Root => routes::registration(&mut self.pods, request),
            Peer::Address(_) => routes::public(&self.pods, &self.key, request),
        };
        let target = masked(&request.target);
        let method: String = request.method.chars().take(SHOWN).collect();
        (self.log)(&format!("{method} {target} - {}", reply.status));
        reply
    }
}

struct Ready {
    public: bool,
    registration: bool,
    connections: Vec<bool>,
}

/// Until something can be done, or somebody's time is over.
fn wait(signals: &Signals, listeners: &Listeners, connections: &[Connection]) -> Result<Ready> {
    let mut fds = vec![
        PollFd::new(signals, PollFlags::IN),
        PollFd::new(&listeners.public, PollFlags::IN),
        PollFd::new(&listeners.registration, PollFlags::IN),
    ];
    fds.extend(
        connections
            .iter()
            .map(|connection| PollFd::new(connection, connection.wants())),
    );
    let first = connections.iter().map(Connection::deadline).min();
    let left = first.map(|end| end.saturating_duration_since(Instant::now()));
    // A deadline that is almost there must not turn into a busy loop.
    let left = left.and_then(|left| Timespec::try_from(left + Duration::from_millis(1)).ok());
    match poll(&mut fds, left.as_ref()) {
        Ok(_) => {}
        Err(Errno::INTR) => fds.iter_mut().for_each(PollFd::clear_revents),
        Err(e) => return Err(Fault::io("poll", "connections", e)),
    }
    let came: Vec<bool> = fds.iter().map(|fd| !fd.revents().is_empty()).collect();
    Ok(Ready {
        public: came[1],
        registration: came[2],
        connections: came[3..].to_vec(),
    })
}

/// The host itself is one peer, whichever of its loopback addresses it takes.
fn one(ip: Ipv4Addr) -> Ipv4Addr {
    if ip.is_loopback() {
        Ipv4Addr::LOCALHOST
    } else {
        ip
    }
}

/// Tokens stand in targets, and logs are read by others than pods.
fn masked(target: &str) -> String {
    const TOKEN: usize = 32;
    let mut shown = String::new();
    let mut digits = String::new();
    for c in target.chars().chain(['\0']) {
        if c.is_ascii_hexdigit() {
            digits.push(c);
            continue;
        }
        match digits.len() {
            TOKEN => shown.push_str("TOKEN"),
            _ => shown.push_str(&digits),
        }
        digits.clear();
        if c != '\0' {
            shown.push(c);
        }
    }
    shown.chars().take(SHOWN).collect()
}

fn accept(listener: &OwnedFd, root: bool, connections: &mut Vec<Connection>, now: Instant) {
    for _ in 0..IN_A_ROW {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        match acceptfrom_with(listener, flags) {
            Ok((stream, address)) => {
                let address = address.and_then(|any| SocketAddrV4::try_from(any).ok());
                let (peer, max_body) = match (root, address) {
                    (true, _) => (Peer::Root, REGISTRATION_BODY),
                    (false, Some(address)) => (Peer::Address(one(*address.ip())), PUBLIC_BODY),
                    // It is gone already.
                    (false, None) => continue,
                };
                make_room(connections, peer);
                connections.push(Connection::new(stream, peer, max_body, now));
            }
            Err(Errno::MFILE | Errno::NFILE | Errno::NOMEM | Errno::NOBUFS) => {
                // The client stays in the queue; trying at once would only burn time.
                std::thread::sleep(Duration::from_millis(20));
                return;
            }
            Err(Errno::AGAIN) => return,
            // One that gave up meanwhile.
            Err(_) => {}
        }
    }
}

/// Root has places of its own.
fn make_room(connections: &mut Vec<Connection>, new: Peer) {
    let held = |peer: Peer| connections.iter().filter(|c| c.peer == peer).count();
    let loser = if held(new) >= PER_PEER {
        Some(new)
    } else if new != Peer::Root && connections.len() - held(Peer::Root) >= ALL {
        // Of several the one that came first.
        let peers = connections.iter().map(|connection| connection.peer);
        peers
            .filter(|peer| *peer != Peer::Root)
            .min_by_key(|peer| Reverse(held(*peer)))
    } else {
        None
    };
    let Some(loser) = loser else {
        return;
    };
    let mut of_loser = connections
        .iter()
        .enumerate()
        .filter(|(_, connection)| connection.peer == loser);
    let oldest = of_loser.clone().next();
    if let Some((at, _)) = of_loser
        .find(|(_, connection)| connection.is_idle())
        .or(oldest)
    {
        connections.remove(at);
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use std::os::unix::net::UnixStream;

    fn from(peer: Peer) -> Connection {
        let (stream, _) = UnixStream::pair().unwrap();
        Connection::new(stream.into(), peer, 0, Instant::now())
    }

    fn pod(last: u8) -> Peer {
        Peer::Address(Ipv4Addr::new(172, 16, 28, last))
    }

    fn come(connections: &mut Vec<Connection>, peer: Peer) {
        make_room(connections, peer);
        connections.push(from(peer));
    }

    fn count(connections: &[Connection], peer: Peer) -> usize {
        connections.iter().filter(|c| c.peer == peer).count()
    }

    #[test]
    fn a_peer_pushes_out_itself_alone() {
        let mut all = Vec::new();
        come(&mut all, pod(2));
        for _ in 0..100 {
            come(&mut all, pod(3));
        }
        assert_eq!((count(&all, pod(2)), count(&all, pod(3))), (1, PER_PEER));
    }

    #[test]
    fn who_holds_most_gives_way_and_root_never_does() {
        let mut all = Vec::new();
        come(&mut all, Peer::Root);
        for peer in [3, 4, 5] {
            (0..20).for_each(|_| come(&mut all, pod(peer)));
        }
        for peer in 10..=200 {
            come(&mut all, pod(peer));
            assert_eq!(count(&all, pod(peer)), 1);
            assert!(all.len() <= ALL + 1);
        }
        assert_eq!(count(&all, Peer::Root), 1);
        // Everybody holds one place: the newest is not the one to go.
        come(&mut all, pod(2));
        (0..20).for_each(|_| come(&mut all, pod(3)));
        assert_eq!(count(&all, pod(2)), 1);
        for _ in 0..100 {
            come(&mut all, Peer::Root);
        }
        assert_eq!(count(&all, Peer::Root), PER_PEER);
        assert_eq!(all.len(), ALL + PER_PEER);
    }
}
