//! Netlink messages as bytes, of whatever family.
//!
//! `Batch` builds requests one after the other for one send: header, the
//! family's fixed part, attributes, nested ones. `messages` and `attributes`
//! read what comes back; they end at the first thing that is malformed and
//! never read past their bytes. Numbers are in the machine's order unless the
//! name says `be`.

use model::{Fault, fault::Result};

pub const NLM_F_REQUEST: u16 = 1;
pub const NLM_F_ACK: u16 = 4;
pub const NLM_F_DUMP_INTR: u16 = 0x10;
pub const NLM_F_DUMP: u16 = 0x300;
pub const NLM_F_REPLACE: u16 = 0x100;
pub const NLM_F_EXCL: u16 = 0x200;
pub const NLM_F_CREATE: u16 = 0x400;

pub const NLMSG_NOOP: u16 = 1;
pub const NLMSG_ERROR: u16 = 2;
pub const NLMSG_DONE: u16 = 3;
pub const NLMSG_OVERRUN: u16 = 4;

/// Set on the type of nested attributes by families that ask for it.
pub const NLA_F_NESTED: u16 = 1 << 15;

const HEADER: usize = 16;
const NLM_F_CAPPED: u16 = 0x100;
const NLM_F_ACK_TLVS: u16 = 0x200;
const NLMSGERR_ATTR_MSG: u16 = 1;

/// Requests for one send.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    bytes: Vec<u8>,
    /// Where each message begins, and what it is to do, for messages.
    starts: Vec<(usize, String)>,
    oversized: bool,
}

/// An attribute whose end is not known yet.
#[derive(Debug)]
#[must_use = "an attribute has to be ended"]
pub struct Nest(usize);

impl Batch {
    pub fn new() -> Batch {
        Batch::default()
    }

    /// Begins the next message. `what` is what an error says could not be done:
    /// `create link "cni0"`.
    pub fn request(&mut self, kind: u16, flags: u16, what: impl Into<String>) {
        self.starts.push((self.bytes.len(), what.into()));
        self.bytes.extend_from_slice(&[0; 4]);
        self.bytes.extend_from_slice(&kind.to_ne_bytes());
        self.bytes
            .extend_from_slice(&(flags | NLM_F_REQUEST).to_ne_bytes());
        self.bytes.extend_from_slice(&[0; 8]);
    }

    /// The family's fixed part.
    pub fn fixed(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
        self.pad();
    }

    pub fn attr(&mut self, kind: u16, value: &[u8]) {
        let nest = self.nest(kind);
        self.bytes.extend_from_slice(value);
        self.end(nest);
    }

    pub fn u8(&mut self, kind: u16, value: u8) {
        self.attr(kind, &[value]);
    }

    pub fn u16(&mut self, kind: u16, value: u16) {
        self.attr(kind, &value.to_ne_bytes());
    }

    pub fn u32(&mut self, kind: u16, value: u32) {
        self.attr(kind, &value.to_ne_bytes());
    }

    pub fn be32(&mut self, kind: u16, value: u32) {
        self.attr(kind, &value.to_be_bytes());
    }

    /// With the NUL that the kernel wants.
    pub fn text(&mut self, kind: u16, value: &str) {
        let nest = self.nest(kind);
        self.bytes.extend_from_slice(value.as_bytes());
        self.bytes.push(0);
        self.end(nest);
    }

    /// What is put until `end` lies inside this attribute.
    pub fn nest(&mut self, kind: u16) -> Nest {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(&[0; 2]);
        self.bytes.extend_from_slice(&kind.to_ne_bytes());
        Nest(start)
    }

    pub fn end(&mut self, nest: Nest) {
        match u16::try_from(self.bytes.len() - nest.0) {
            Ok(len) => self.bytes[nest.0..nest.0 + 2].copy_from_slice(&len.to_ne_bytes()),
            Err(_) => self.oversized = true,
        }
        self.pad();
    }

    fn pad(&mut self) {
        self.bytes.resize(aligned(self.bytes.len()), 0);
    }

    pub fn len(&self) -> usize {
        self.starts.len()
    }

    pub fn is_empty(&self) -> bool {
        self.starts.is_empty()
    }

    /// What request `index` is to do.
    pub fn what(&self, index: usize) -> &str {
        self.starts.get(index).map_or("", |(_, what)| what)
    }

    /// The bytes to be sent, an acknowledgement asked for the last message. The
    /// kernel works in order, so that acknowledges all that it has not refused
    /// before.
    pub fn seal(&mut self, first: u32) -> Result<&[u8]> {
        if let Some((start, _)) = self.starts.last() {
            let flags = &mut self.bytes[*start + 6..*start + 8];
            let acked = u16::from_ne_bytes([flags[0], flags[1]]) | NLM_F_ACK;
            flags.copy_from_slice(&acked.to_ne_bytes());
        }
        self.number(first)
    }

    /// The bytes as they are: lengths filled in, sequence numbers counted from
    /// `first`.
    pub fn number(&mut self, first: u32) -> Result<&[u8]> {
        if self.oversized {
            return Err(Fault::invalid("a netlink attribute is larger than 64 KiB"));
        }
        let mut end = self.bytes.len();
        for (index, (start, _)) in self.starts.iter().enumerate().rev() {
            let len = u32::try_from(end - start)
                .map_err(|_| Fault::invalid("a netlink message is larger than 4 GiB"))?;
            let head = &mut self.bytes[*start..*start + HEADER];
            head[..4].copy_from_slice(&len.to_ne_bytes());
            head[8..12].copy_from_slice(&first.wrapping_add(index as u32).to_ne_bytes());
            end = *start;
        }
        Ok(&self.bytes)
    }
}

/// A message as it came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Received<'a> {
    pub kind: u16,
    pub flags: u16,
    pub seq: u32,
    /// The family's fixed part and the attributes.
    pub body: &'a [u8],
}

/// An attribute as it came; `kind` without its flags.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attribute<'a> {
    pub kind: u16,
    pub value: &'a [u8],
}

pub fn messages(bytes: &[u8]) -> impl Iterator<Item = Received<'_>> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        let head = rest.get(..HEADER)?;
        let len = usize::try_from(u32_at(head, 0)?).ok()?;
        let body = rest.get(HEADER..len)?;
        rest = rest.get(aligned(len)..).unwrap_or_default();
        Some(Received {
            kind: u16_at(head, 4)?,
            flags: u16_at(head, 6)?,
            seq: u32_at(head, 8)?,
            body,
        })
    })
}

pub fn attributes(bytes: &[u8]) -> impl Iterator<Item = Attribute<'_>> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        let len = usize::from(u16_at(rest, 0)?);
        let kind = u16_at(rest, 2)? & 0x3fff;
        let value = rest.get(4..len)?;
        rest = rest.get(aligned(len)..).unwrap_or_default();
        Some(Attribute { kind, value })
    })
}

/// The attribute at the end of a path of nested ones.
pub fn find<'a>(bytes: &'a [u8], path: &[u16]) -> Option<&'a [u8]> {
    path.iter().try_fold(bytes, |bytes, kind| {
        attributes(bytes)
            .find(|one| one.kind == *kind)
            .map(|one| one.value)
    })
}

impl<'a> Attribute<'a> {
    pub fn u32(&self) -> Option<u32> {
        u32_at(self.value, 0)
    }

    /// Without what follows the first NUL.
    pub fn text(&self) -> String {
        text(self.value)
    }
}

pub fn text(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|byte| *byte == 0);
    String::from_utf8_lossy(&bytes[..end.unwrap_or(bytes.len())]).into_owned()
}

pub fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

pub fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

/// The errno of an acknowledgement or of a dump's end, 0 for success, and the
/// kernel's explanation where it has one. None when it is malformed.
pub fn verdict(message: &Received<'_>) -> Option<(i32, String)> {
    let errno = u32_at(message.body, 0)?.cast_signed().wrapping_neg();
    if message.flags & NLM_F_ACK_TLVS == 0 {
        return Some((errno, String::new()));
    }
    // An error repeats the request, or only its header, before the attributes.
    let skip = match (message.kind, message.flags & NLM_F_CAPPED) {
        (NLMSG_DONE, _) => 4,
        (_, 0) => aligned(usize::try_from(u32_at(message.body, 4)?).ok()?).checked_add(4)?,
        _ => 4 + HEADER,
    };
    let explained = message.body.get(skip..).unwrap_or_default();
    let text = find(explained, &[NLMSGERR_ATTR_MSG]).map(text);
    Some((errno, text.unwrap_or_default()))
}

fn aligned(len: usize) -> usize {
    len.saturating_add(3) & !3
}

#[cfg(test)]
mod tests;
