//! What is in a tar and where, without unpacking it: an archive of images is
//! read by parts, in the order in which they are needed.
//!
//! A file that is not compressed is passed over from header to header; anything
//! else streams by once. Nothing is created, and no name is followed.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::FileExt;

use model::fault::{Fault, Result};

use crate::decode::Decoder;
use crate::entry::{Entries, Entry, Kind, Tee};
use crate::tape::{Chunk, Feed, Tape, cut_short, padding};

/// More entries than an archive of images has.
const MAX_MEMBERS: usize = 100_000;
/// Bytes of all their names, link targets and beginnings, which are kept in
/// memory: a name may have a megabyte, and compresses well.
const MAX_TABLE: u64 = 64 << 20;
/// Bytes of a member that tell what it is.
const HEAD: usize = 512;
/// A header and what usually describes it.
const STEP: usize = 4 << 10;
const CHUNK: usize = 64 << 10;

/// One entry of a tar.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// As the archive has it: hostile.
    pub name: Vec<u8>,
    pub content: Content,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// So many bytes from there on in the uncompressed tar; how they begin.
    File {
        offset: u64,
        size: u64,
        head: Vec<u8>,
    },
    Symlink(Vec<u8>),
    Hardlink(Vec<u8>),
    Dir,
    /// Devices, sparse files and the like.
    Other,
}

/// Hears of the members in their order. For a small file it may take the whole
/// content; a `false` ends the pass.
pub trait Visit {
    /// Whether the content of a file of this name and size is wanted.
    fn wants(&mut self, name: &[u8], size: u64) -> bool;
    fn member(&mut self, member: Member, content: Option<Vec<u8>>) -> Result<bool>;
}

/// Passes over a tar that is not compressed, reading headers alone.
pub fn members_of_file(file: &File, visit: &mut dyn Visit) -> Result<()> {
    let end = file
        .metadata()
        .map_err(|err| Fault::io("stat", "archive", err))?
        .len();
    let mut entries = Entries::default();
    let mut table = 0;
    let mut at = 0;
    for _ in 0..MAX_MEMBERS {
        let mut feed = FromFile { file, at };
        let mut counter = Counter(0);
        let Some(entry) = entries.next(&mut Tape::new(&mut feed), &mut counter)? else {
            return Ok(());
        };
        let offset = at + counter.0;
        at = offset
            .checked_add(entry.stored)
            .and_then(|at| at.checked_add(padding(entry.stored)))
            .ok_or_else(cut_short)?;
        if at > end {
            return Err(cut_short());
        }
        let read = |len: u64| {
            let mut bytes = vec![0; len as usize];
            file.read_exact_at(&mut bytes, offset)
                .map_err(|err| Fault::io("read", "archive", err))?;
            Ok(bytes)
        };
        charge(&mut table, &entry)?;
        let head = match entry.kind {
            Kind::File => read(entry.stored.min(HEAD as u64))?,
            _ => Vec::new(),
        };
        let content = match entry.kind == Kind::File && visit.wants(&entry.name, entry.stored) {
            true => Some(read(entry.stored)?),
            false => None,
        };
        if !visit.member(member(entry, offset, head), content)? {
            return Ok(());
        }
    }
    Err(too_many())
}

/// Passes over a tar of any compression.
pub fn members_of_stream(source: impl Read, visit: &mut dyn Visit) -> Result<()> {
    let mut feed = FromStream {
        decoder: Decoder::new(source)?,
    };
    let mut tape = Tape::new(&mut feed);
    let mut entries = Entries::default();
    let mut table = 0;
    let mut at = 0;
    for _ in 0..MAX_MEMBERS {
        let mut counter = Counter(0);
        let Some(entry) = entries.next(&mut tape, &mut counter)? else {
            return Ok(());
        };
        let offset = at + counter.0;
        at = offset
            .checked_add(entry.stored)
            .and_then(|at| at.checked_add(padding(entry.stored)))
            .ok_or_else(cut_short)?;
        charge(&mut table, &entry)?;
        let wanted = entry.kind == Kind::File && visit.wants(&entry.name, entry.stored);
        let keep = if wanted { usize::MAX } else { HEAD };
        let mut kept = Vec::new();
        tape.each(entry.stored, |piece| {
            let room = keep.saturating_sub(kept.len()).min(piece.len());
            kept.extend_from_slice(&piece[..room]);
            Ok(())
        })?;
        tape.each(padding(entry.stored), |_| Ok(()))?;
        let head = kept[..kept.len().min(HEAD)].to_vec();
        let content = wanted.then_some(kept);
        if !visit.member(member(entry, offset, head), content)? {
            return Ok(());
        }
    }
    Err(too_many())
}

fn member(entry: Entry, offset: u64, head: Vec<u8>) -> Member {
    Member {
        name: entry.name,
        content: match entry.kind {
            Kind::File if entry.sparse.is_none() => Content::File {
                offset,
                size: entry.stored,
                head,
            },
            Kind::Symlink(target) => Content::Symlink(target),
            Kind::HardLink(target) => Content::Hardlink(target),
            Kind::Dir => Content::Dir,
            _ => Content::Other,
        },
    }
}

/// Counts what of a member stays in memory.
fn charge(table: &mut u64, entry: &Entry) -> Result<()> {
    let rest = match &entry.kind {
        Kind::Symlink(target) | Kind::HardLink(target) => target.len() as u64,
        Kind::File => entry.stored.min(HEAD as u64),
        _ => 0,
    };
    *table += entry.name.len() as u64 + rest;
    match *table > MAX_TABLE {
        true => Err(Fault::refused(format!(
            "the names of the archive's members take more than {MAX_TABLE} bytes"
        ))),
        false => Ok(()),
    }
}

fn too_many() -> Fault {
    Fault::invalid(format!("the archive has more than {MAX_MEMBERS} members"))
}

/// Every byte in front of a content goes through here.
struct Counter(u64);

impl Tee for Counter {
    fn literal(&mut self, bytes: &[u8]) -> Result<()> {
        self.0 += bytes.len() as u64;
        Ok(())
    }
}

struct FromFile<'f> {
    file: &'f File,
    at: u64,
}

impl Feed for FromFile<'_> {
    fn next(&mut self, used: Option<Chunk>) -> Result<Option<Chunk>> {
        let mut chunk = used.unwrap_or_else(|| Chunk {
            bytes: vec![0; STEP].into_boxed_slice(),
            len: 0,
        });
        loop {
            match self.file.read_at(&mut chunk.bytes, self.at) {
                Ok(0) => return Ok(None),
                Ok(n) => {
                    chunk.len = n;
                    self.at += n as u64;
                    return Ok(Some(chunk));
                }
                Err(err) if err.kind() == std::io::ErrorKind::Interrupted => {}
                Err(err) => return Err(Fault::io("read", "archive", err)),
            }
        }
    }
}

struct FromStream<R: Read> {
    decoder: Decoder<R>,
}

impl<R: Read> Feed for FromStream<R> {
    fn next(&mut self, used: Option<Chunk>) -> Result<Option<Chunk>> {
        let mut chunk = used.unwrap_or_else(|| Chunk {
            bytes: vec![0; CHUNK].into_boxed_slice(),
            len: 0,
        });
        loop {
            match self.decoder.read(&mut chunk.bytes) {
                Ok(0) => return Ok(None),
                Ok(n) => {
                    chunk.len = n;
                    return Ok(Some(chunk));
                }
                Err(err) if err.kind() == std::io::ErrorKind::Interrupted => {}
                Err(err) => return Err(self.decoder.fault(err)),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::Tar;

    struct Nothing;

    impl Visit for Nothing {
        fn wants(&mut self, _: &[u8], _: u64) -> bool {
            false
        }

        fn member(&mut self, _: Member, _: Option<Vec<u8>>) -> Result<bool> {
            Ok(true)
        }
    }

    fn refused(tar: Tar) -> String {
        let passed = members_of_stream(tar.end().as_slice(), &mut Nothing);
        passed.err().map(|fault| fault.cause).unwrap_or_default()
    }

    #[test]
    fn names_of_a_megabyte_do_not_fill_the_memory() {
        let name = vec![b'n'; 1 << 19];
        let named = |count| {
            (0..count).fold(Tar::default(), |tar, _| {
                tar.pax(b'x', &[("path", &name)]).file("f", b"")
            })
        };
        assert_eq!(refused(named(2)), "");
        assert!(refused(named(129)).contains("take more than"));
    }

    #[test]
    fn a_global_header_that_counts_for_every_entry_is_no_time_bomb() {
        let remark = vec![b'r'; 1_000_000];
        let after = |count| {
            let global = Tar::default().pax(b'g', &[("comment", &remark)]);
            (0..count).fold(global, |tar, _| tar.file("f", b""))
        };
        assert_eq!(refused(after(1000)), "");
        assert!(refused(after(1100)).contains("too long for that many entries"));
    }
}
