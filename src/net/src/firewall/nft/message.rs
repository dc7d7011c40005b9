//! What nfnetlink adds to netlink's messages: a family behind the header,
//! transactions between a begin and an end, what its answers mean. Pure.
//!
//! Message n of a batch has the sequence number n, so that an answer tells
//! which message it is about. Numbers in attributes are big endian.

use crate::netlink::message::{self, Batch, Nest, Received};

/// Netfilter's numbers of the address families.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    V4 = 2,
    V6 = 10,
}

/// Subsystems of nfnetlink, the high byte of a message's type.
pub const CTNETLINK: u16 = 1 << 8;
pub const NFTABLES: u16 = 10 << 8;

/// A rule behind those that there are.
pub const APPEND: u16 = 0x800;

const BATCH_BEGIN: u16 = 0x10;
const BATCH_END: u16 = 0x11;

pub fn begin_transaction(batch: &mut Batch) {
    batch.request(BATCH_BEGIN, 0, "");
    of_tables(batch);
}

pub fn end_transaction(batch: &mut Batch) {
    batch.request(BATCH_END, 0, "");
    of_tables(batch);
}

/// Family and version, then the subsystem that the transaction is for.
fn of_tables(batch: &mut Batch) {
    let [high, low] = (NFTABLES >> 8).to_be_bytes();
    batch.fixed(&[0, 0, high, low]);
}

/// Begins the next message.
pub fn start(batch: &mut Batch, kind: u16, flags: u16, family: Family) {
    batch.request(kind, flags, "");
    batch.fixed(&[family as u8, 0, 0, 0]);
}

pub fn nest(batch: &mut Batch, kind: u16) -> Nest {
    batch.nest(kind | message::NLA_F_NESTED)
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
    message::messages(datagram).map_while(reply)
}

fn reply(message: Received<'_>) -> Option<Reply<'_>> {
    match message.kind {
        message::NLMSG_ERROR => Some(Reply::Status {
            number: message.seq,
            errno: message::verdict(&message)?.0,
        }),
        message::NLMSG_DONE => Some(Reply::Done),
        kind => Some(Reply::Data {
            kind,
            attributes: message.body.get(4..)?,
        }),
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use crate::netlink::message::{NLM_F_ACK, find};

    #[test]
    fn a_message_has_its_length_its_number_and_its_family() {
        let mut batch = Batch::new();
        begin_transaction(&mut batch);
        start(&mut batch, NFTABLES, NLM_F_ACK, Family::V6);
        batch.text(1, "abc");
        let nested = nest(&mut batch, 4);
        batch.attr(2, &[7]);
        batch.end(nested);
        end_transaction(&mut batch);
        let bytes = batch.number(0).unwrap();
        assert_eq!(bytes.len(), 20 + 20 + 8 + 4 + 8 + 20);
        assert_eq!(bytes[16..20], [0, 0, 0, 10]);
        let second = &bytes[20..];
        assert_eq!(second[..4], 40u32.to_ne_bytes());
        assert_eq!(second[6..8], 5u16.to_ne_bytes());
        assert_eq!(second[8..12], 1u32.to_ne_bytes());
        assert_eq!(second[16..20], [10, 0, 0, 0]);
        assert_eq!(second[30..32], (4u16 | 0x8000).to_ne_bytes());
        // The end is not acknowledged.
        assert_eq!(second[46..48], 1u16.to_ne_bytes());
        let mut replies = replies(bytes);
        let Some(Reply::Data { attributes, .. }) = replies.nth(1) else {
            panic!("a message with attributes");
        };
        assert_eq!(find(attributes, &[1]).unwrap(), b"abc\0");
        assert_eq!(find(attributes, &[4, 2]).unwrap(), [7]);
    }

    #[test]
    fn an_answer_tells_the_message_and_the_errno() {
        let mut bytes = Vec::new();
        bytes.extend_from_slice(&36u32.to_ne_bytes());
        bytes.extend_from_slice(&message::NLMSG_ERROR.to_ne_bytes());
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
}
