//! Messages to and from nfnetlink, as bytes.
//!
//! `Batch` strings messages together, each with its header, its family and its
//! attributes; whole transactions stand between a begin and an end message.
//! `replies` takes apart what the kernel answers. Pure: nothing here talks to
//! a socket.
//!
//! Message n of a batch has the sequence number n, so that an answer tells
//! which message it is about. Lengths from outside are checked before use.

/// Netfilter's numbers of the address families.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    V4 = 2,
    V6 = 10,
}

/// Subsystems of nfnetlink, the high byte of a message's type.
pub const CTNETLINK: u16 = 1 << 8;
pub const NFTABLES: u16 = 10 << 8;

pub const REQUEST: u16 = 0x1;
pub const ACK: u16 = 0x4;
pub const DUMP: u16 = 0x300;
pub const EXCLUSIVE: u16 = 0x200;
pub const CREATE: u16 = 0x400;
pub const APPEND: u16 = 0x800;

const BATCH_BEGIN: u16 = 0x10;
const BATCH_END: u16 = 0x11;
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const NESTED: u16 = 0x8000;
/// netlink's header, and with nfnetlink's family, version and resource.
const HEADER: usize = 16;
const FULL_HEADER: usize = 20;

/// Messages that are sent together.
#[derive(Debug, Default)]
pub struct Batch {
    pub bytes: Vec<u8>,
    count: u32,
    start: usize,
}

/// Where a nested attribute began.
#[derive(Debug)]
#[must_use]
pub struct Nest(usize);

impl Batch {
    /// Opens a transaction of nf_tables.
    pub fn begin_transaction(&mut self) {
        self.header(BATCH_BEGIN, REQUEST, 0, 10);
        self.finish();
    }

    pub fn end_transaction(&mut self) {
        self.header(BATCH_END, REQUEST, 0, 10);
        self.finish();
    }

    /// Starts a message, which the next `finish` closes; returns its number.
    pub fn start(&mut self, kind: u16, flags: u16, family: Family) -> u32 {
        self.header(kind, REQUEST | flags, family as u8, 0)
    }

    fn header(&mut self, kind: u16, flags: u16, family: u8, resource: u16) -> u32 {
        self.start = self.bytes.len();
        let number = self.count;
        self.count += 1;
        self.bytes.extend_from_slice(&0u32.to_ne_bytes());
        self.bytes.extend_from_slice(&kind.to_ne_bytes());
        self.bytes.extend_from_slice(&flags.to_ne_bytes());
        self.bytes.extend_from_slice(&number.to_ne_bytes());
        self.bytes.extend_from_slice(&0u32.to_ne_bytes());
        self.bytes.extend_from_slice(&[family, 0]);
        self.bytes.extend_from_slice(&resource.to_be_bytes());
        number
    }

    pub fn finish(&mut self) {
        let len = (self.bytes.len() - self.start) as u32;
        self.bytes[self.start..self.start + 4].copy_from_slice(&len.to_ne_bytes());
    }

    pub fn put(&mut self, kind: u16, value: &[u8]) {
        let len = (value.len() + 4) as u16;
        self.bytes.extend_from_slice(&len.to_ne_bytes());
        self.bytes.extend_from_slice(&kind.to_ne_bytes());
        self.bytes.extend_from_slice(value);
        self.align();
    }

    /// nfnetlink's numbers are big endian.
    pub fn put_u32(&mut self, kind: u16, value: u32) {
        self.put(kind, &value.to_be_bytes());
    }

    /// With the NUL that the kernel wants.
    pub fn put_text(&mut self, kind: u16, text: &str) {
        let mut value = text.as_bytes().to_vec();
        value.push(0);
        self.put(kind, &value);
    }

    pub fn nest(&mut self, kind: u16) -> Nest {
        let at = self.bytes.len();
        self.put(kind | NESTED, &[]);
        Nest(at)
    }

    pub fn close(&mut self, nest: Nest) {
        let len = (self.bytes.len() - nest.0) as u16;
        self.bytes[nest.0..nest.0 + 2].copy_from_slice(&len.to_ne_bytes());
    }

    fn align(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }
}

/// One message from the kernel.
#[derive(Debug, PartialEq, Eq)]
pub enum Reply<'a> {
    /// What became of message `number`; 0 is success.
    Status {
        number: u32,
        errno: i32,
    },
    /// The end of a dump.
    Done,
    Data {
        kind: u16,
        attributes: &'a [u8],
    },
}

/// Takes a datagram apart; stops at what is no message.
pub fn replies(datagram: &[u8]) -> impl Iterator<Item = Reply<'_>> {
    let mut rest = datagram;
    std::iter::from_fn(move || {
        let len = u32::from_ne_bytes(word(rest, 0)?) as usize;
        if len < HEADER || len > rest.len() {
            return None;
        }
        let (message, after) = rest.split_at(len);
        rest = after.get(len.next_multiple_of(4) - len..).unwrap_or(&[]);
        reply(message)
    })
}

fn reply(message: &[u8]) -> Option<Reply<'_>> {
    let kind = u16::from_ne_bytes([*message.get(4)?, *message.get(5)?]);
    match kind {
        // The errno is followed by the header of the message that it is about.
        NLMSG_ERROR => Some(Reply::Status {
            number: u32::from_ne_bytes(word(message, 8)?),
            errno: i32::from_ne_bytes(word(message, HEADER)?).saturating_neg(),
        }),
        NLMSG_DONE => Some(Reply::Done),
        _ => Some(Reply::Data {
            kind,
            attributes: message.get(FULL_HEADER..)?,
        }),
    }
}

/// The attributes' types, without flags, and values; stops at what is none.
pub fn attributes(bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        let head = word(rest, 0)?;
        let len = usize::from(u16::from_ne_bytes([head[0], head[1]]));
        let kind = u16::from_ne_bytes([head[2], head[3]]) & 0x3fff;
        let value = rest.get(4..len)?;
        rest = rest.get(len.next_multiple_of(4)..).unwrap_or(&[]);
        Some((kind, value))
    })
}

/// The first attribute of a type.
pub fn attribute(bytes: &[u8], wanted: u16) -> Option<&[u8]> {
    attributes(bytes).find_map(|(kind, value)| (kind == wanted).then_some(value))
}

fn word(bytes: &[u8], at: usize) -> Option<[u8; 4]> {
    bytes.get(at..at + 4)?.try_into().ok()
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn a_message_has_its_length_its_number_and_aligned_attributes() {
        let mut batch = Batch::default();
        batch.begin_transaction();
        let number = batch.start(NFTABLES, ACK, Family::V6);
        batch.put_text(1, "abc");
        let nest = batch.nest(4);
        batch.put(2, &[7]);
        batch.close(nest);
        batch.finish();
        assert_eq!(number, 1);
        assert_eq!(batch.bytes.len(), 20 + 20 + 8 + 4 + 8);
        let second = &batch.bytes[20..];
        assert_eq!(second[..4], 40u32.to_ne_bytes());
        assert_eq!(second[8..12], 1u32.to_ne_bytes());
        assert_eq!(second[16..20], [10, 0, 0, 0]);
        let found: Vec<_> = attributes(&second[20..]).collect();
        assert_eq!(found[0], (1, &b"abc\0"[..]));
        assert_eq!(found[1].0, 4);
        assert_eq!(attribute(found[1].1, 2).unwrap(), [7]);
    }

    #[test]
    fn an_answer_tells_the_message_and_the_errno() {
        let mut bytes = Vec::new();
        bytes.extend_from_slice(&36u32.to_ne_bytes());
        bytes.extend_from_slice(&NLMSG_ERROR.to_ne_bytes());
        bytes.extend_from_slice(&[0, 0]);
        bytes.extend_from_slice(&5u32.to_ne_bytes());
        bytes.extend_from_slice(&[0; 4]);
        bytes.extend_from_slice(&(-2i32).to_ne_bytes());
        bytes.extend_from_slice(&[0; 16]);
        let status = Reply::Status {
            number: 5,
            errno: 2,
        };
        assert_eq!(replies(&bytes).collect::<Vec<_>>(), [status]);
        for cut in 0..bytes.len() {
            assert_eq!(replies(&bytes[..cut]).count(), 0);
        }
    }

    #[test]
    fn garbage_ends_the_parse() {
        let mut state = 1u32;
        for round in 0..2000 {
            let bytes: Vec<u8> = (0..round % 90)
                .map(|_| {
                    state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                    // Small numbers, so that lengths are near the truth.
                    (state >> 24) as u8 & if state & 0x800 == 0 { 0x1f } else { 0xff }
                })
                .collect();
            assert!(replies(&bytes).count() <= bytes.len());
            assert!(attributes(&bytes).count() <= bytes.len());
        }
        assert_eq!(attributes(&[0, 0, 1, 0, 9, 9, 9, 9]).count(), 0);
        assert_eq!(attributes(&[3, 0, 1, 0, 9, 9, 9, 9]).count(), 0);
    }
}
