//! DHCP messages (RFC 2131, 2132) as bytes. Pure.
//!
//! What comes is hostile: every length is checked, an option that is given
//! several times is one (RFC 3396), the fields `sname` and `file` are never
//! read, neither as names nor as more options (option 52).

use std::net::Ipv4Addr;

pub(super) const DISCOVER: u8 = 1;
pub(super) const OFFER: u8 = 2;
pub(super) const REQUEST: u8 = 3;
pub(super) const ACK: u8 = 5;
pub(super) const NAK: u8 = 6;
pub(super) const RELEASE: u8 = 7;
pub(super) const INFORM: u8 = 8;

/// Numbers of options.
pub(super) mod option {
    pub(in super::super) const MASK: u8 = 1;
    pub(in super::super) const ROUTER: u8 = 3;
    pub(in super::super) const DNS: u8 = 6;
    pub(in super::super) const DOMAIN: u8 = 15;
    pub(in super::super) const MTU: u8 = 26;
    pub(in super::super) const STATIC_ROUTES: u8 = 33;
    pub(in super::super) const WANTED_ADDRESS: u8 = 50;
    pub(in super::super) const LEASE_TIME: u8 = 51;
    pub(in super::super) const KIND: u8 = 53;
    pub(in super::super) const SERVER: u8 = 54;
    pub(in super::super) const WANTED_OPTIONS: u8 = 55;
    pub(in super::super) const MAX_SIZE: u8 = 57;
    pub(in super::super) const RENEW_TIME: u8 = 58;
    pub(in super::super) const REBIND_TIME: u8 = 59;
    pub(in super::super) const CLIENT_ID: u8 = 61;
    pub(in super::super) const SEARCH: u8 = 119;
    pub(in super::super) const ROUTES: u8 = 121;
}

const COOKIE: [u8; 4] = [99, 130, 83, 99];
/// Where options begin: behind the fixed fields and the cookie.
const OPTIONS: usize = 240;
/// Relays of old drop what is shorter (RFC 1542, 2.1).
const SHORTEST: usize = 300;
/// Answers go to everyone: a client without an address gets no other.
const BROADCAST: u16 = 0x8000;
const REQUEST_OP: u8 = 1;
const REPLY_OP: u8 = 2;

/// A message of either direction, as far as a client uses it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Message {
    pub(super) xid: u32,
    /// Seconds since the client began.
    pub(super) secs: u16,
    pub(super) broadcast: bool,
    /// The client's address, if it has one.
    pub(super) ciaddr: Ipv4Addr,
    /// The address that it gets.
    pub(super) yiaddr: Ipv4Addr,
    pub(super) chaddr: [u8; 6],
    /// In order; none longer than 255 bytes when it is to be encoded.
    pub(super) options: Vec<(u8, Vec<u8>)>,
}

impl Message {
    /// As a client sends it.
    pub(super) fn encode(&self) -> Vec<u8> {
        self.bytes(REQUEST_OP)
    }

    fn bytes(&self, op: u8) -> Vec<u8> {
        let mut bytes = vec![op, 1, 6, 0];
        bytes.extend(self.xid.to_be_bytes());
        bytes.extend(self.secs.to_be_bytes());
        bytes.extend(if self.broadcast { BROADCAST } else { 0 }.to_be_bytes());
        bytes.extend(self.ciaddr.octets());
        bytes.extend(self.yiaddr.octets());
        bytes.extend([0; 8]);
        bytes.extend(self.chaddr);
        bytes.resize(OPTIONS - COOKIE.len(), 0);
        bytes.extend(COOKIE);
        for (code, value) in &self.options {
            let value = &value[..value.len().min(255)];
            bytes.extend([*code, value.len() as u8]);
            bytes.extend(value);
        }
        bytes.push(255);
        bytes.resize(bytes.len().max(SHORTEST), 0);
        bytes
    }

    /// A server's answer.
    pub(super) fn parse(bytes: &[u8]) -> Result<Message, &'static str> {
        let (fixed, options) = bytes
            .split_at_checked(OPTIONS)
            .ok_or("it is cut off within its fixed fields")?;
        if fixed[0] != REPLY_OP {
            return Err("it is no reply");
        }
        if fixed[1..3] != [1, 6] {
            return Err("it is not for Ethernet");
        }
        if fixed[OPTIONS - COOKIE.len()..] != COOKIE {
            return Err("it is BOOTP, not DHCP");
        }
        let word = |at: usize| u32::from_be_bytes([0, 1, 2, 3].map(|i| fixed[at + i]));
        Ok(Message {
            xid: word(4),
            secs: (word(8) >> 16) as u16,
            broadcast: word(8) & u32::from(BROADCAST) != 0,
            ciaddr: word(12).into(),
            yiaddr: word(16).into(),
            chaddr: [0, 1, 2, 3, 4, 5].map(|i| fixed[28 + i]),
            options: parse_options(options)?,
        })
    }

    /// All of an option's instances as one.
    pub(super) fn get(&self, code: u8) -> Option<Vec<u8>> {
        let mut found = None::<Vec<u8>>;
        for (_, value) in self.options.iter().filter(|(other, _)| *other == code) {
            found.get_or_insert_default().extend(value);
        }
        found
    }

    pub(super) fn kind(&self) -> Option<u8> {
        match self.get(option::KIND)?[..] {
            [kind] => Some(kind),
            _ => None,
        }
    }

    /// One address, no more and no less.
    pub(super) fn address(&self, code: u8) -> Option<Ipv4Addr> {
        self.number(code).map(Ipv4Addr::from)
    }

    /// Addresses without a break; `None` when the length is odd.
    pub(super) fn addresses(&self, code: u8) -> Option<Vec<Ipv4Addr>> {
        let value = self.get(code)?;
        let (addresses, rest) = value.as_chunks::<4>();
        rest.is_empty()
            .then(|| addresses.iter().map(|four| (*four).into()).collect())
    }

    pub(super) fn number(&self, code: u8) -> Option<u32> {
        let value: [u8; 4] = self.get(code)?.try_into().ok()?;
        Some(u32::from_be_bytes(value))
    }
}

fn parse_options(mut rest: &[u8]) -> Result<Vec<(u8, Vec<u8>)>, &'static str> {
    const CUT: &str = "one of its options is cut off";
    let mut options = Vec::new();
    loop {
        match rest {
            [] | [255, ..] => return Ok(options),
            [0, tail @ ..] => rest = tail,
            [code, len, tail @ ..] => {
                let (value, tail) = tail.split_at_checked(usize::from(*len)).ok_or(CUT)?;
                options.push((*code, value.to_vec()));
                rest = tail;
            }
            [_] => return Err(CUT),
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    /// What a server would send.
    pub(in super::super) fn reply(message: &Message) -> Vec<u8> {
        message.bytes(REPLY_OP)
    }

    fn sample() -> Message {
        Message {
            xid: 0x1234_5678,
            secs: 7,
            broadcast: true,
            ciaddr: Ipv4Addr::new(10, 0, 0, 1),
            yiaddr: Ipv4Addr::new(10, 0, 0, 2),
            chaddr: [2, 3, 4, 5, 6, 7],
            options: vec![(53, vec![5]), (3, vec![10, 0, 0, 1, 10, 0, 0, 9])],
        }
    }

    #[test]
    fn the_fields_stand_where_the_rfc_puts_them() {
        let bytes = sample().encode();
        assert_eq!(bytes.len(), 300);
        assert_eq!(
            bytes[..12],
            [1, 1, 6, 0, 0x12, 0x34, 0x56, 0x78, 0, 7, 0x80, 0]
        );
        assert_eq!(bytes[12..20], [10, 0, 0, 1, 10, 0, 0, 2]);
        assert_eq!(bytes[28..34], [2, 3, 4, 5, 6, 7]);
        assert_eq!(bytes[236..243], [99, 130, 83, 99, 53, 1, 5]);
        assert_eq!(bytes[243..254], [3, 8, 10, 0, 0, 1, 10, 0, 0, 9, 255]);
    }

    #[test]
    fn a_reply_reads_back() {
        let message = Message::parse(&reply(&sample())).unwrap();
        assert_eq!(message, sample());
        assert_eq!(message.kind(), Some(ACK));
        assert_eq!(message.addresses(3).unwrap().len(), 2);
        assert_eq!(message.address(3), None, "two are not one");
        assert_eq!(message.get(4), None);
    }

    #[test]
    fn split_options_are_one() {
        let mut message = sample();
        message.options = vec![(121, vec![1; 255]), (53, vec![2]), (121, vec![2; 20])];
        let message = Message::parse(&reply(&message)).unwrap();
        let long = message.get(121).unwrap();
        assert_eq!((long.len(), long[254], long[255]), (275, 1, 2));
    }

    #[test]
    fn what_is_cut_off_or_foreign_is_refused() {
        let good = reply(&sample());
        for len in 0..OPTIONS {
            assert!(Message::parse(&good[..len]).is_err(), "{len}");
        }
        assert!(Message::parse(&good[..242]).is_err());
        assert!(Message::parse(&good[..250]).is_err());
        assert!(Message::parse(&good[..241]).is_err());
        let with = |at: usize, byte: u8| {
            let mut bytes = good.clone();
            bytes[at] = byte;
            Message::parse(&bytes)
        };
        for (at, byte) in [(0, 1), (1, 6), (2, 16), (236, 0), (244, 255)] {
            assert!(with(at, byte).is_err(), "{at}");
        }
    }

    #[test]
    fn an_overload_of_other_fields_is_not_read() {
        let mut message = sample();
        message.options = vec![(52, vec![3]), (53, vec![2])];
        let mut bytes = reply(&message);
        bytes[44..49].copy_from_slice(&[6, 3, 1, 2, 3]);
        assert_eq!(Message::parse(&bytes).unwrap().options, message.options);
    }
}
