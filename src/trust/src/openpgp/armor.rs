//! From a file as people keep it to OpenPGP packets: ASCII armor taken off, the
//! packets cut apart.
//!
//! Only whole packets of a known length come out; what is inside them is not
//! looked at here.

use model::fault::{Fault, Result};
use pgp::armor::{BlockType, Dearmor, DearmorOptions};
use pgp::packet::PacketHeader;
use pgp::ser::Serialize;
use pgp::types::{PacketLength, Tag};
use std::io::Read;

/// Blocks in one file, and packets in one block.
const MAX_BLOCKS: usize = 64;
const MAX_PACKETS: usize = 20_000;

/// What a file has to hold.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Signature,
    PublicKey,
}

impl Kind {
    fn label(self) -> &'static str {
        match self {
            Kind::Signature => "SIGNATURE",
            Kind::PublicKey => "PUBLIC KEY BLOCK",
        }
    }

    fn block(self) -> BlockType {
        match self {
            Kind::Signature => BlockType::Signature,
            Kind::PublicKey => BlockType::PublicKey,
        }
    }

    fn noun(self) -> &'static str {
        match self {
            Kind::Signature => "a detached OpenPGP signature",
            Kind::PublicKey => "an OpenPGP public key",
        }
    }
}

/// One packet: its header as read, its body, and both as they stood in the file.
pub(super) struct Packet<'a> {
    pub(super) header: PacketHeader,
    pub(super) body: &'a [u8],
    pub(super) raw: &'a [u8],
}

impl Packet<'_> {
    pub(super) fn tag(&self) -> Tag {
        self.header.tag()
    }
}

/// Whether the first octet is that of a packet; all of them have the high bit set.
pub(super) fn is_binary(bytes: &[u8]) -> bool {
    bytes.first().is_some_and(|byte| byte & 0x80 != 0)
}

/// The binary content of a file: itself, or each of its armored blocks.
pub(super) fn blocks(bytes: &[u8], kind: Kind, max: usize) -> Result<Vec<Vec<u8>>> {
    if bytes.is_empty() {
        return Err(Fault::invalid(format!(
            "expected {}, found an empty file",
            kind.noun()
        )));
    }
    if bytes.len() > max {
        return Err(Fault::invalid(format!(
            "expected {}, found more than {max} bytes",
            kind.noun()
        )));
    }
    if is_binary(bytes) {
        return Ok(vec![bytes.to_vec()]);
    }
    let mut found = Vec::new();
    let mut from = None;
    for (start, line) in lines(bytes) {
        if let Some(label) = armor_line(line, b"-----BEGIN PGP ") {
            if label != kind.label().as_bytes() {
                return Err(wrong_block(label, kind));
            }
            from = Some(start);
        } else if let Some(label) = armor_line(line, b"-----END PGP ")
            && label == kind.label().as_bytes()
            && let Some(from) = from.take()
        {
            found.push(dearmor(&bytes[from..start + line.len()], kind, max)?);
            if found.len() > MAX_BLOCKS {
                return Err(Fault::invalid(format!(
                    "more than {MAX_BLOCKS} armored blocks in one file"
                )));
            }
        }
    }
    match from {
        Some(_) => Err(Fault::invalid("the armored block has no end: truncated?")),
        None if found.is_empty() => Err(Fault::invalid(format!(
            "expected {}, found something else",
            kind.noun()
        ))),
        None => Ok(found),
    }
}

/// Lines with their line ends, and where each begins.
fn lines(bytes: &[u8]) -> impl Iterator<Item = (usize, &[u8])> {
    let mut at = 0;
    bytes
        .split_inclusive(|byte| *byte == b'\n')
        .map(move |line| {
            let start = at;
            at += line.len();
            (start, line)
        })
}

/// The label of `-----BEGIN PGP <label>-----`.
fn armor_line<'a>(line: &'a [u8], start: &[u8]) -> Option<&'a [u8]> {
    line.trim_ascii_end()
        .strip_prefix(start)?
        .strip_suffix(b"-----")
}

fn wrong_block(label: &[u8], kind: Kind) -> Fault {
    let found = match label {
        b"SIGNED MESSAGE" | b"MESSAGE" => "a message with its signature inside",
        b"PRIVATE KEY BLOCK" => "a private key",
        b"PUBLIC KEY BLOCK" => "a public key",
        b"SIGNATURE" => "a signature",
        _ => "another kind of armored block",
    };
    let hint = match label {
        b"SIGNED MESSAGE" | b"MESSAGE" => Some("sign with `gpg --armor --detach-sign FILE`"),
        b"PRIVATE KEY BLOCK" => Some("give the public key: `gpg --armor --export KEY`"),
        _ => None,
    };
    let fault = Fault::invalid(format!("expected {}, found {found}", kind.noun()));
    match hint {
        Some(hint) => fault.hint(hint),
        None => fault,
    }
}

fn dearmor(block: &[u8], kind: Kind, max: usize) -> Result<Vec<u8>> {
    let bad = || Fault::invalid("the ASCII armor is damaged");
    let mut reader = Dearmor::with_options(block, DearmorOptions::new().set_limit(max));
    let mut binary = Vec::new();
    reader.read_to_end(&mut binary).map_err(|_| bad())?;
    let sum = reader
        .checksum
        .is_none_or(|sum| sum == u64::from(crc24(&binary)));
    if reader.typ != Some(kind.block()) || !sum {
        return Err(bad());
    }
    Ok(binary)
}

/// The checksum of ASCII armor (RFC 9580, 6.1.1). It proves nothing, but gpg
/// insists on it where it is there.
fn crc24(bytes: &[u8]) -> u32 {
    let mut crc = 0x00b7_04ce;
    for byte in bytes {
        crc ^= u32::from(*byte) << 16;
        for _ in 0..8 {
            crc <<= 1;
            if crc & 0x0100_0000 != 0 {
                crc ^= 0x0186_4cfb;
            }
        }
    }
    crc
}

/// Bytes in ASCII armor with the checksum that old readers insist on.
pub(super) fn armored_key(bytes: &[u8]) -> Vec<u8> {
    let mut text = Vec::new();
    pgp::armor::write(&Raw(bytes), BlockType::PublicKey, &mut text, None, true)
        .expect("writing into memory does not fail");
    text
}

struct Raw<'a>(&'a [u8]);

impl Serialize for Raw<'_> {
    fn to_writer<W: std::io::Write>(&self, writer: &mut W) -> pgp::errors::Result<()> {
        Ok(writer.write_all(self.0)?)
    }
    fn write_len(&self) -> usize {
        self.0.len()
    }
}

/// Cuts packets apart.
pub(super) fn packets(bytes: &[u8]) -> Result<Vec<Packet<'_>>> {
    let cut = || Fault::invalid("the last packet is truncated");
    let mut packets = Vec::new();
    let mut rest = bytes;
    while !rest.is_empty() {
        if packets.len() == MAX_PACKETS {
            return Err(Fault::invalid(format!(
                "more than {MAX_PACKETS} packets in one file"
            )));
        }
        let start = rest;
        let header = PacketHeader::try_from_reader(&mut rest).map_err(|e| match e.kind() {
            std::io::ErrorKind::UnexpectedEof => cut(),
            _ => Fault::invalid("this is no OpenPGP packet"),
        })?;
        let PacketLength::Fixed(len) = header.packet_length() else {
            // Only data comes in pieces: a message, compressed or not.
            return Err(Fault::invalid(
                "expected a packet of a known length, found a message",
            ));
        };
        let len = usize::try_from(len).map_err(|_| cut())?;
        let (body, after) = rest.split_at_checked(len).ok_or_else(cut)?;
        rest = after;
        packets.push(Packet {
            header,
            body,
            raw: &start[..start.len() - rest.len()],
        });
    }
    Ok(packets)
}
