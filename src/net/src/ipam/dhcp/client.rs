//! A DHCP client as a state machine (RFC 2131, 4.4): time and packets in,
//! packets and news out. Pure; `device` and `tenant` carry it out.
//!
//! ```text
//! select ──OFFER──► request ──ACK──► bound ──T1──► renew ──T2──► rebind
//!    ▲                  │NAK           ▲────────────┴──ACK─────────┤
//!    └──────────────────┴──────────────────── lost: NAK, expiry ◄──┘
//! ```
//!
//! Times count from an instant that goes on while the machine sleeps.

use super::message::{self, Message, option};
use super::terms::{Terms, Times};
use crate::Cidr;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

const FIRST: Duration = Duration::from_millis(500);
const LONGEST: Duration = Duration::from_secs(64);
/// However short a lease is, it is not asked for more often.
const SHORTEST: Duration = Duration::from_secs(1);
/// Requests for one offer; then another is looked for.
const REQUESTS: u32 = 4;
/// Classless routes first, as RFC 3442 wants it.
const WANTED: [u8; 11] = [
    option::MASK,
    option::ROUTES,
    option::ROUTER,
    option::STATIC_ROUTES,
    option::DNS,
    option::DOMAIN,
    option::SEARCH,
    option::MTU,
    option::LEASE_TIME,
    option::RENEW_TIME,
    option::REBIND_TIME,
];

/// A lease, and when it began.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Held {
    pub(super) address: Cidr,
    pub(super) server: Ipv4Addr,
    pub(super) since: Duration,
    pub(super) times: Option<Times>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Phase {
    Select,
    Request(Box<Terms>),
    Bound(Held),
    Renew(Held),
    Rebind(Held),
}

/// What is to be done now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Task {
    Nothing,
    Send(Vec<u8>, To),
    /// The address must not be used any more.
    Drop(Cidr),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum To {
    /// Everyone, from no address.
    Link,
    /// Everyone, from the leased address.
    All,
    Server(Ipv4Addr),
}

/// What an answer meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum News {
    None,
    Granted(Box<Terms>, Held),
    Renewed,
    Lost(Cidr),
}

/// By which kind of socket answers come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ear {
    Packet,
    Datagram,
}

#[derive(Debug)]
pub(super) struct Client {
    chaddr: [u8; 6],
    /// Option 61, its type in front.
    id: Vec<u8>,
    random: fn() -> u32,
    phase: Phase,
    xid: u32,
    /// When this exchange began, and how often something was sent in it.
    began: Duration,
    sent: u32,
    next: Duration,
    /// Why the last answer that was for us was of no use.
    complaint: Option<String>,
}

impl Client {
    pub(super) fn new(chaddr: [u8; 6], id: Vec<u8>, random: fn() -> u32, now: Duration) -> Client {
        Client {
            chaddr,
            id,
            random,
            phase: Phase::Select,
            xid: random(),
            began: now,
            sent: 0,
            next: now,
            complaint: None,
        }
    }

    /// Goes on with a lease that was granted to this client.
    pub(super) fn holding(mut self, held: Held) -> Client {
        self.phase = Phase::Bound(held);
        self
    }

    pub(super) fn complaint(&self) -> Option<&str> {
        self.complaint.as_deref()
    }

    pub(super) fn ear(&self) -> Option<Ear> {
        match self.phase {
            Phase::Select | Phase::Request(_) => Some(Ear::Packet),
            Phase::Bound(_) => None,
            Phase::Renew(_) | Phase::Rebind(_) => Some(Ear::Datagram),
        }
    }

    /// When [`Client::tick`] has something to do; `None`: never.
    pub(super) fn due(&self) -> Option<Duration> {
        match &self.phase {
            Phase::Select | Phase::Request(_) => Some(self.next),
            Phase::Bound(held) => Some(held.since + held.times?.renew),
            Phase::Renew(held) => Some(self.next.min(held.since + held.times?.rebind)),
            Phase::Rebind(held) => Some(self.next.min(held.since + held.times?.expire)),
        }
    }

    /// Call it again after anything but [`Task::Nothing`].
    pub(super) fn tick(&mut self, now: Duration) -> Task {
        if self.due().is_none_or(|due| now < due) {
            return Task::Nothing;
        }
        match &self.phase {
            Phase::Select => {
                let message = self.message(message::DISCOVER, now, None);
                self.send(message, To::Link, now, self.pause())
            }
            Phase::Request(_) if self.sent >= REQUESTS => {
                self.start(Phase::Select, now);
                self.tick(now)
            }
            Phase::Request(terms) => {
                let message = self.request(terms, now);
                self.send(message, To::Link, now, self.pause())
            }
            Phase::Bound(held) | Phase::Renew(held) | Phase::Rebind(held) => {
                let held = held.clone();
                self.keep(held, now)
            }
        }
    }

    /// A lease past its T1.
    fn keep(&mut self, held: Held, now: Duration) -> Task {
        let Some(times) = held.times else {
            return Task::Nothing;
        };
        let (expire, rebind) = (held.since + times.expire, held.since + times.rebind);
        if now >= expire {
            self.start(Phase::Select, now);
            return Task::Drop(held.address);
        }
        let message = |client: &Client| client.message(message::REQUEST, now, Some(held.address));
        let (limit, to) = if now >= rebind {
            if !matches!(self.phase, Phase::Rebind(_)) {
                self.start(Phase::Rebind(held.clone()), now);
            }
            (expire, To::All)
        } else {
            if !matches!(self.phase, Phase::Renew(_)) {
                self.start(Phase::Renew(held.clone()), now);
            }
            (rebind, To::Server(held.server))
        };
        let message = message(self);
        let pause = ((limit - now) / 2).max(SHORTEST);
        self.send(message, to, now, pause)
    }

    fn start(&mut self, phase: Phase, now: Duration) {
        self.phase = phase;
        self.xid = (self.random)();
        self.began = now;
        self.sent = 0;
        self.next = now;
    }

    fn send(&mut self, message: Message, to: To, now: Duration, pause: Duration) -> Task {
        self.sent = self.sent.saturating_add(1);
        self.next = now + pause;
        Task::Send(message.encode(), to)
    }

    /// Doubled each time, and a little uneven: many pods start together.
    fn pause(&self) -> Duration {
        let doubled = FIRST * (1 << self.sent.min(10));
        doubled.min(LONGEST) + Duration::from_millis(u64::from((self.random)() % 256))
    }

    fn message(&self, kind: u8, now: Duration, own: Option<Cidr>) -> Message {
        let own = own.and_then(|own| match own.ip {
            IpAddr::V4(ip) => Some(ip),
            IpAddr::V6(_) => None,
        });
        let mut options = vec![
            (option::KIND, vec![kind]),
            (option::CLIENT_ID, self.id.clone()),
        ];
        if kind != message::RELEASE {
            options.push((option::WANTED_OPTIONS, WANTED.to_vec()));
            options.push((option::MAX_SIZE, 1500u16.to_be_bytes().to_vec()));
        }
        Message {
            xid: self.xid,
            secs: now.saturating_sub(self.began).as_secs().min(0xffff) as u16,
            broadcast: own.is_none(),
            ciaddr: own.unwrap_or(Ipv4Addr::UNSPECIFIED),
            yiaddr: Ipv4Addr::UNSPECIFIED,
            chaddr: self.chaddr,
            options,
        }
    }

    fn request(&self, terms: &Terms, now: Duration) -> Message {
        let mut message = self.message(message::REQUEST, now, None);
        if let IpAddr::V4(ip) = terms.address.ip {
            let wanted = (option::WANTED_ADDRESS, ip.octets().to_vec());
            message.options.push(wanted);
        }
        let server = (option::SERVER, terms.server.octets().to_vec());
        message.options.push(server);
        message
    }

    /// Asks for options alone, from `own`.
    pub(super) fn inform(&self, own: Ipv4Addr) -> Vec<u8> {
        let own = Cidr::host(own.into());
        self.message(message::INFORM, self.began, Some(own))
            .encode()
    }

    /// Gives `own` back.
    pub(super) fn release(&self, own: Ipv4Addr, server: Ipv4Addr) -> Vec<u8> {
        let own = Cidr::host(own.into());
        let mut message = self.message(message::RELEASE, self.began, Some(own));
        let server = (option::SERVER, server.octets().to_vec());
        message.options.push(server);
        message.encode()
    }

    /// The server behind an acknowledgement of [`Client::inform`].
    pub(super) fn informed(&self, bytes: &[u8]) -> Option<Ipv4Addr> {
        let message = self.ours(bytes)?;
        (message.kind() == Some(message::ACK)).then_some(())?;
        message.address(option::SERVER)
    }

    /// An answer to this exchange.
    fn ours(&self, bytes: &[u8]) -> Option<Message> {
        let message = Message::parse(bytes).ok()?;
        (message.xid == self.xid && message.chaddr == self.chaddr).then_some(message)
    }

    pub(super) fn receive(&mut self, now: Duration, bytes: &[u8]) -> News {
        let Some(message) = self.ours(bytes) else {
            return News::None;
        };
        let Some(kind) = message.kind() else {
            return News::None;
        };
        let server = message.address(option::SERVER);
        match (&self.phase, kind) {
            (Phase::Select, message::OFFER) => {
                if let Some(terms) = self.read(&message) {
                    // The same xid: a server may know the offer by it.
                    self.phase = Phase::Request(Box::new(terms));
                    (self.began, self.sent, self.next) = (now, 0, now);
                }
                News::None
            }
            (Phase::Request(offer), message::ACK) if server == Some(offer.server) => {
                match self.read(&message) {
                    Some(terms) => self.grant(terms),
                    None => News::None,
                }
            }
            (Phase::Request(offer), message::NAK) if server == Some(offer.server) => {
                self.complaint = Some("the server took its offer back".into());
                self.start(Phase::Select, now);
                // Not at once: a server that goes on like this is not to be
                // asked as fast as it answers.
                self.next = now + SHORTEST;
                News::None
            }
            (Phase::Renew(held), message::ACK) if server == Some(held.server) => {
                self.renewed(held.clone(), &message)
            }
            (Phase::Rebind(held), message::ACK) => self.renewed(held.clone(), &message),
            (Phase::Renew(held) | Phase::Rebind(held), message::NAK)
                if server == Some(held.server) || matches!(self.phase, Phase::Rebind(_)) =>
            {
                let address = held.address;
                self.start(Phase::Select, now);
                News::Lost(address)
            }
            _ => News::None,
        }
    }

    fn grant(&mut self, terms: Terms) -> News {
        let held = Held {
            address: terms.address,
            server: terms.server,
            since: self.began,
            times: terms.times,
        };
        self.phase = Phase::Bound(held.clone());
        News::Granted(Box::new(terms), held)
    }

    /// The same address for longer; anything else is no answer to what was asked.
    fn renewed(&mut self, held: Held, message: &Message) -> News {
        match self.read(message) {
            Some(terms) if terms.address.ip == held.address.ip => {
                self.phase = Phase::Bound(Held {
                    address: held.address,
                    server: terms.server,
                    since: self.began,
                    times: terms.times,
                });
                News::Renewed
            }
            _ => News::None,
        }
    }

    fn read(&mut self, message: &Message) -> Option<Terms> {
        Terms::read(message)
            .inspect_err(|why| self.complaint = Some(format!("an answer was of no use: {why}")))
            .ok()
    }
}

#[cfg(test)]
#[path = "client_tests.rs"]
mod tests;
