//! One 512-byte tar header: its checksum and its fields.
//!
//! ustar, GNU and old headers are read alike; numbers are octal or base-256,
//! and one that is neither is an error, never a zero. The layout comes from
//! the `tar` crate, the numbers are read here because of the sign.

use model::fault::{Fault, Result};
use tar::Header;

use crate::sparse::Segment;
use crate::tape::BLOCK;

/// Where the checksum stands.
const CHECKSUM: std::ops::Range<usize> = 148..156;

pub(crate) struct RawHeader<'b> {
    header: &'b Header,
    block: &'b [u8; BLOCK],
}

impl<'b> RawHeader<'b> {
    /// Verifies the checksum: of unsigned bytes, or of signed ones as some old
    /// writers made it.
    pub(crate) fn parse(block: &'b [u8; BLOCK]) -> Result<RawHeader<'b>> {
        let told = number(&block[CHECKSUM]).ok_or_else(invalid)?;
        let (mut unsigned, mut signed) = (0_i64, 0_i64);
        for (at, &byte) in block.iter().enumerate() {
            let byte = if CHECKSUM.contains(&at) { b' ' } else { byte };
            unsigned += i64::from(byte);
            signed += i64::from(byte.cast_signed());
        }
        if told != unsigned && told != signed {
            return Err(invalid());
        }
        Ok(RawHeader {
            header: Header::from_byte_slice(block),
            block,
        })
    }

    pub(crate) fn kind(&self) -> u8 {
        self.block[156]
    }

    /// Prefix and name joined, as the format at hand has it.
    pub(crate) fn path(&self) -> Vec<u8> {
        self.header.path_bytes().into_owned()
    }

    pub(crate) fn link(&self) -> Vec<u8> {
        until_nul(&self.header.as_old().linkname).to_vec()
    }

    pub(crate) fn size(&self) -> Result<u64> {
        let size = number(&self.header.as_old().size).ok_or_else(invalid)?;
        u64::try_from(size).map_err(|_| invalid())
    }

    /// The permission bits with setuid, setgid and sticky.
    pub(crate) fn mode(&self) -> Result<u32> {
        let mode = number(&self.header.as_old().mode).ok_or_else(invalid)?;
        Ok((mode & 0o7777) as u32)
    }

    pub(crate) fn uid(&self) -> Result<i64> {
        number(&self.header.as_old().uid).ok_or_else(invalid)
    }

    pub(crate) fn gid(&self) -> Result<i64> {
        number(&self.header.as_old().gid).ok_or_else(invalid)
    }

    pub(crate) fn mtime(&self) -> Result<i64> {
        number(&self.header.as_old().mtime).ok_or_else(invalid)
    }

    pub(crate) fn device(&self) -> Result<(u32, u32)> {
        let field = |at: usize| {
            let value = number(&self.block[at..at + 8]).ok_or_else(invalid)?;
            u32::try_from(value).map_err(|_| invalid())
        };
        Ok((field(329)?, field(337)?))
    }

    /// Old GNU sparse: the real size, the segments that fit into the header,
    /// and whether extension blocks follow.
    pub(crate) fn sparse(&self) -> Result<(u64, Vec<Segment>, bool)> {
        let gnu = self.header.as_gnu().ok_or_else(invalid)?;
        let size = number(&gnu.realsize)
            .and_then(|n| u64::try_from(n).ok())
            .ok_or_else(invalid)?;
        let mut segments = Vec::new();
        for raw in &gnu.sparse {
            push_segment(&mut segments, &raw.offset, &raw.numbytes)?;
        }
        Ok((size, segments, gnu.isextended[0] != 0))
    }
}

/// The segments of an extension block, and whether another follows.
pub(crate) fn extension(block: &[u8; BLOCK], segments: &mut Vec<Segment>) -> Result<bool> {
    for raw in block[..504].chunks_exact(24) {
        push_segment(segments, &raw[..12], &raw[12..])?;
    }
    Ok(block[504] != 0)
}

fn push_segment(segments: &mut Vec<Segment>, offset: &[u8], len: &[u8]) -> Result<()> {
    if offset[0] == 0 || len[0] == 0 {
        return Ok(());
    }
    let field = |bytes| {
        number(bytes)
            .and_then(|n| u64::try_from(n).ok())
            .ok_or_else(invalid)
    };
    segments.push(Segment {
        offset: field(offset)?,
        len: field(len)?,
    });
    Ok(())
}

/// Octal with spaces or NULs around it, or base-256 (two's complement, GNU's
/// extension for what octal cannot hold). An empty field is 0.
pub(crate) fn number(field: &[u8]) -> Option<i64> {
    let first = *field.first()?;
    if first & 0x80 != 0 {
        // A negative number is the complement of what its inverted bits say.
        let flip = if first & 0x40 != 0 { 0xff } else { 0 };
        let mut value = 0_u64;
        for (at, byte) in field.iter().enumerate() {
            let byte = if at == 0 {
                (byte ^ flip) & 0x7f
            } else {
                byte ^ flip
            };
            if value >> 55 != 0 {
                return None;
            }
            value = value << 8 | u64::from(byte);
        }
        let value = value.cast_signed();
        return Some(if flip == 0 { value } else { !value });
    }
    let start = field
        .iter()
        .position(|b| !matches!(b, b' ' | 0))
        .unwrap_or(field.len());
    let field = &field[start..];
    let end = field
        .iter()
        .position(|b| matches!(b, b' ' | 0))
        .unwrap_or(field.len());
    let (digits, rest) = field.split_at(end);
    if rest.iter().any(|b| !matches!(b, b' ' | 0)) {
        return None;
    }
    let mut value = 0_i64;
    for digit in digits {
        let digit = digit.checked_sub(b'0').filter(|d| *d < 8)?;
        value = value.checked_mul(8)?.checked_add(i64::from(digit))?;
    }
    Some(value)
}

pub(crate) fn until_nul(bytes: &[u8]) -> &[u8] {
    bytes.split(|&b| b == 0).next().unwrap_or(bytes)
}

/// Go's `archive/tar` words, which rkt printed.
pub(crate) fn invalid() -> Fault {
    Fault::invalid("archive/tar: invalid tar header")
}
