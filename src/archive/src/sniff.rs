//! What an archive is, by its first bytes; a file's name is never asked.
//!
//! The order and the messages are those of the appc reference tool, plus zstd.
//! A tar without the `ustar` magic (pre-POSIX) is none.

use model::fault::{Fault, Result};

/// Bytes that a decision may need.
pub const SNIFF_LEN: usize = 512;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    Gzip,
    Bzip2,
    Xz,
    Zstd,
    Tar,
}

impl Format {
    pub fn name(self) -> &'static str {
        match self {
            Format::Gzip => "gzip",
            Format::Bzip2 => "bzip2",
            Format::Xz => "xz",
            Format::Zstd => "zstd",
            Format::Tar => "tar",
        }
    }
}

/// Decides on the first `SNIFF_LEN` bytes (fewer, if there are no more).
pub fn sniff(head: &[u8]) -> Result<Format> {
    if head.starts_with(&[0x1f, 0x8b]) {
        Ok(Format::Gzip)
    } else if head.starts_with(b"BZh") {
        Ok(Format::Bzip2)
    } else if head.starts_with(&[0xfd, b'7', b'z', b'X', b'Z', 0]) {
        Ok(Format::Xz)
    } else if head.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]) || is_skippable(head) {
        Ok(Format::Zstd)
    } else if head.get(257..262) == Some(b"ustar") {
        Ok(Format::Tar)
    } else if is_text(head) {
        // rkt's own words for an empty file and for text.
        Err(Fault::invalid("no type returned from DetectFileType?")
            .hint("an image is a tar archive, plain or compressed with gzip, bzip2, xz or zstd"))
    } else {
        Err(Fault::invalid("error: unknown image filetype"))
    }
}

/// How a kind of archive is told.
pub(crate) type Sniff = fn(&[u8]) -> Result<Format>;

/// As `sniff`, for layers: what nothing else is, is a tar. An empty one has no
/// magic, and old ones have none either; the headers are checked later.
pub(crate) fn sniff_layer(head: &[u8]) -> Result<Format> {
    Ok(sniff(head).unwrap_or(Format::Tar))
}

/// A zstd frame that holds no data, as seekable files begin with.
fn is_skippable(head: &[u8]) -> bool {
    matches!(head, [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..])
}

/// As the MIME sniffing standard sees it: no byte that only binary data has.
fn is_text(head: &[u8]) -> bool {
    let head = &head[..head.len().min(SNIFF_LEN)];
    !head
        .iter()
        .any(|b| matches!(b, 0..=0x08 | 0x0b | 0x0e..=0x1a | 0x1c..=0x1f))
}
