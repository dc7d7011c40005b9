//! The entries of a tar, one after the other, from a stream.
//!
//! Headers that only describe the next entry (PAX, GNU long names, sparse maps)
//! are folded into it. Every block that is read goes to a `Tee` as it is, so
//! that the exact bytes can be made again. What an entry may bring before its
//! content is bounded, however many headers it is spread over.
//!
//! Where writers disagree this follows Go's `archive/tar`, which is what rkt
//! read images with: links, directories, devices and FIFOs have no content
//! whatever their size field says; a GNU long name wins over a PAX path.

use std::collections::BTreeMap;

use model::fault::{Fault, Result};

use crate::header::{self, RawHeader, invalid, until_nul};
use crate::name::PATH_MAX;
use crate::pax::{Records, decimal};
use crate::sparse::{self, MAX_SEGMENTS, Segment};
use crate::tape::{BLOCK, Tape, cut_short, padding};

/// Bytes of one extended header.
const MAX_PAX: u64 = 1 << 20;
/// Bytes of global headers that all entries together may have looked at: one is
/// sent once and counts for each that follows, a day's work in a megabyte.
const MAX_GLOBAL: u64 = 1 << 30;
/// Headers that describe one entry.
const MAX_DESCRIBING: u32 = 32;

/// Takes every raw byte that is not a file's content.
pub(crate) trait Tee {
    fn literal(&mut self, bytes: &[u8]) -> Result<()>;
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    File,
    HardLink(Vec<u8>),
    Symlink(Vec<u8>),
    Char(u32, u32),
    Block(u32, u32),
    Dir,
    Fifo,
    /// A type that we know nothing of; it may have content.
    Other(u8),
}

#[derive(Debug)]
pub(crate) struct Entry {
    /// As the archive has it: hostile until cleaned.
    pub(crate) name: Vec<u8>,
    pub(crate) kind: Kind,
    pub(crate) mode: u32,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    /// Seconds and nanoseconds.
    pub(crate) mtime: (i64, u32),
    /// Bytes of content that follow in the archive, without padding.
    pub(crate) stored: u64,
    /// The file's real size: more than `stored` only when it is sparse.
    pub(crate) size: u64,
    pub(crate) sparse: Option<Vec<Segment>>,
    pub(crate) xattrs: Vec<(Vec<u8>, Vec<u8>)>,
}

/// What the headers in front of an entry said.
#[derive(Default)]
struct Described {
    local: Records,
    long_name: Option<Vec<u8>>,
    long_link: Option<Vec<u8>>,
}

/// Reads entries. The caller takes `stored` bytes of content and the padding
/// off the tape before it asks for the next one.
#[derive(Default)]
pub(crate) struct Entries {
    global: Records,
    global_size: u64,
    /// Of global headers, over all entries.
    looked_at: u64,
}

impl Entries {
    /// None at the end of the archive: two blocks of zeros, or the end of the
    /// stream between two entries.
    pub(crate) fn next(&mut self, tape: &mut Tape<'_>, tee: &mut dyn Tee) -> Result<Option<Entry>> {
        let mut described = Described::default();
        for count in 0..MAX_DESCRIBING {
            let Some(block) = tape.block()? else {
                return if count == 0 {
                    Ok(None)
                } else {
                    Err(cut_short())
                };
            };
            tee.literal(&block)?;
            if block.iter().all(|&b| b == 0) {
                if count > 0 {
                    return Err(invalid());
                }
                return match tape.block()? {
                    None => Ok(None),
                    Some(second) => {
                        tee.literal(&second)?;
                        // A lone block of zeros: readers disagree on what comes after.
                        if second.iter().all(|&b| b == 0) {
                            Ok(None)
                        } else {
                            Err(invalid())
                        }
                    }
                };
            }
            let header = RawHeader::parse(&block)?;
            match header.kind() {
                b'x' => described.local = Records::parse(&body(&header, MAX_PAX, tape, tee)?)?,
                b'g' => {
                    self.global = Records::parse(&body(&header, MAX_PAX, tape, tee)?)?;
                    self.global_size = header.size()?;
                }
                b'L' => described.long_name = Some(long_name(&header, tape, tee)?),
                b'K' => described.long_link = Some(long_name(&header, tape, tee)?),
                _ => {
                    self.looked_at += self.global_size;
                    if self.looked_at > MAX_GLOBAL {
                        return Err(Fault::refused(
                            "a global header is too long for that many entries",
                        ));
                    }
                    return self.entry(&header, described, tape, tee).map(Some);
                }
            }
        }
        Err(invalid())
    }

    fn entry(
        &self,
        header: &RawHeader<'_>,
        described: Described,
        tape: &mut Tape<'_>,
        tee: &mut dyn Tee,
    ) -> Result<Entry> {
        let Described {
            local,
            long_name,
            long_link,
        } = described;
        // A path or a size for every entry is nothing that an honest archive says.
        let either = |key| local.get(key).or_else(|| self.global.get(key));
        let id = |key, field: Result<i64>| -> Result<u32> {
            let id = match either(key) {
                Some(text) => decimal(text).and_then(|id| i64::try_from(id).ok()),
                None => Some(field?),
            };
            // 0xffffffff would mean "leave the owner as it is" to chown.
            id.and_then(|id| u32::try_from(id).ok())
                .filter(|&id| id != u32::MAX)
                .ok_or_else(invalid)
        };
        let name = long_name
            .or_else(|| local.get("path").map(<[u8]>::to_vec))
            .unwrap_or_else(|| header.path());
        let link = || {
            long_link
                .clone()
                .or_else(|| local.get("linkpath").map(<[u8]>::to_vec))
                .unwrap_or_else(|| header.link())
        };
        let kind = match header.kind() {
            // BSD's old way to write a directory.
            0 | b'0' | b'7' if name.ends_with(b"/") => Kind::Dir,
            0 | b'0' | b'7' | b'S' => Kind::File,
            b'1' => Kind::HardLink(link()),
            b'2' => Kind::Symlink(link()),
            b'3' => header
                .device()
                .map(|(major, minor)| Kind::Char(major, minor))?,
            b'4' => header
                .device()
                .map(|(major, minor)| Kind::Block(major, minor))?,
            b'5' => Kind::Dir,
            b'6' => Kind::Fifo,
            other => Kind::Other(other),
        };
        let stored = match header.kind() {
            b'1'..=b'6' => 0,
            _ => match local.number("size")? {
                Some(size) => size,
                None => header.size()?,
            },
        };
        let mtime = match local.time("mtime")?.or(self.global.time("mtime")?) {
            Some(mtime) => mtime,
            None => (header.mtime()?, 0),
        };
        let mut entry = Entry {
            name,
            kind,
            mode: header.mode()?,
            uid: id("uid", header.uid())?,
            gid: id("gid", header.gid())?,
            mtime,
            stored,
            size: stored,
            sparse: None,
            xattrs: xattrs(&self.global, &local),
        };
        if entry.kind == Kind::File {
            sparse_map(&mut entry, header, &local, tape, tee)?;
        }
        Ok(entry)
    }
}

/// The content of a describing header, teed with its padding.
fn body(
    header: &RawHeader<'_>,
    max: u64,
    tape: &mut Tape<'_>,
    tee: &mut dyn Tee,
) -> Result<Vec<u8>> {
    let size = header.size()?;
    if size > max {
        return Err(Fault::refused(format!(
            "an extended header of {size} bytes is too long"
        )));
    }
    let mut bytes = vec![0; (size + padding(size)) as usize];
    if tape.fill(&mut bytes)? != bytes.len() {
        return Err(cut_short());
    }
    tee.literal(&bytes)?;
    bytes.truncate(size as usize);
    Ok(bytes)
}

fn long_name(header: &RawHeader<'_>, tape: &mut Tape<'_>, tee: &mut dyn Tee) -> Result<Vec<u8>> {
    let name = body(header, PATH_MAX as u64 + 1, tape, tee)?;
    Ok(until_nul(&name).to_vec())
}

/// Extended attributes as every writer but libarchive's own dialect has them,
/// sorted by name; of two with one name the later counts.
fn xattrs(global: &Records, local: &Records) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut found: BTreeMap<&[u8], &[u8]> = BTreeMap::new();
    for (key, value) in global.iter().chain(local.iter()) {
        if let Some(name) = key.strip_prefix(b"SCHILY.xattr.") {
            found.insert(name, value);
        }
    }
    found
        .into_iter()
        .map(|(name, value)| (name.to_vec(), value.to_vec()))
        .collect()
}

fn sparse_map(
    entry: &mut Entry,
    header: &RawHeader<'_>,
    pax: &Records,
    tape: &mut Tape<'_>,
    tee: &mut dyn Tee,
) -> Result<()> {
    let (size, segments) = if header.kind() == b'S' {
        let (size, mut segments, mut more) = header.sparse()?;
        while more {
            let block = tape.block()?.ok_or_else(cut_short)?;
            tee.literal(&block)?;
            more = header::extension(&block, &mut segments)?;
            if segments.len() > MAX_SEGMENTS {
                return Err(invalid());
            }
        }
        (size, segments)
    } else if pax.get("GNU.sparse.major") == Some(b"1") && pax.get("GNU.sparse.minor") == Some(b"0")
    {
        let segments = map_in_content(entry, tape, tee)?;
        (
            pax.number("GNU.sparse.realsize")?.ok_or_else(invalid)?,
            segments,
        )
    } else if let Some(map) = pax.get("GNU.sparse.map") {
        let numbers = map
            .split(|&b| b == b',')
            .map(|n| decimal(n).ok_or_else(invalid));
        let segments = sparse::paired(&numbers.collect::<Result<Vec<_>>>()?)?;
        (
            pax.number("GNU.sparse.size")?.ok_or_else(invalid)?,
            segments,
        )
    } else if pax.get("GNU.sparse.numblocks").is_some() {
        let numbers = pax
            .iter()
            .filter(|(key, _)| matches!(*key, b"GNU.sparse.offset" | b"GNU.sparse.numbytes"))
            .map(|(_, value)| decimal(value).ok_or_else(invalid));
        let segments = sparse::paired(&numbers.collect::<Result<Vec<_>>>()?)?;
        (
            pax.number("GNU.sparse.size")?.ok_or_else(invalid)?,
            segments,
        )
    } else {
        return Ok(());
    };
    if let Some(name) = pax.get("GNU.sparse.name") {
        entry.name = name.to_vec();
    }
    entry.sparse = Some(sparse::checked(segments, size, entry.stored)?);
    entry.size = size;
    Ok(())
}

/// PAX 1.0 writes the map as decimal lines in front of the content, padded to
/// a block; what is left is the content proper.
fn map_in_content(
    entry: &mut Entry,
    tape: &mut Tape<'_>,
    tee: &mut dyn Tee,
) -> Result<Vec<Segment>> {
    let (mut wanted, mut numbers) = (None, Vec::new());
    let (mut digits, mut done) = (Vec::new(), false);
    while !done {
        entry.stored = entry.stored.checked_sub(BLOCK as u64).ok_or_else(invalid)?;
        let block = tape.block()?.ok_or_else(cut_short)?;
        tee.literal(&block)?;
        for &byte in &block {
            if byte != b'\n' {
                digits.push(byte);
                if digits.len() > 20 {
                    return Err(invalid());
                }
                continue;
            }
            let number = decimal(&digits).ok_or_else(invalid)?;
            digits.clear();
            match wanted {
                None if number > MAX_SEGMENTS as u64 => return Err(invalid()),
                None => wanted = Some(2 * number as usize),
                Some(_) => numbers.push(number),
            }
            if wanted == Some(numbers.len()) {
                done = true;
                break;
            }
        }
    }
    sparse::paired(&numbers)
}
