//! The canonical image: `manifest`, then `rootfs` and everything in it.
//!
//! Entries come in byte order of their full paths without the slash that marks
//! directories: `a`, `a-b`, `a/b`. So a directory comes before what is in it (its
//! path is a prefix), and a hard link after its file (the first name in that very
//! order). Attributes are the index's: times with their nanoseconds, owners as
//! numbers. Nothing depends on the machine, the user or how layers were packed.
//!
//! One thread reads and lays out the bytes, the caller's hashes and writes them:
//! recycled buffers go round through a bounded channel, each byte of content is
//! read into the place that it is hashed at.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::BorrowedFd;
use std::sync::mpsc::{Receiver, SyncSender, channel, sync_channel};
use std::thread;

use model::fault::{Fault, Result};
use rustix::fs::{FileType, OFlags, fstat};
use sha2::{Digest, Sha512};

use super::places::{Places, damaged};
use super::{Merged, Shown, Squashed};
use crate::head::{self, Head};
use crate::layer::NodeKind;
use crate::name::shown;
use crate::tape::{BLOCK, padding};

/// Bytes of a buffer: it should fit into the L2 cache with what it is read from.
const CHUNK: usize = 256 << 10;
/// Filled buffers that may wait.
const AHEAD: usize = 8;

/// Writes `manifest` and the merged tree as the canonical image. `roots` are the
/// layers' `rootfs` directories, lowest first. Fails with `Kind::Corrupt` if a
/// file is not what the index says; `out` then holds part of the image.
pub fn write_squashed(
    manifest: &[u8],
    merged: &Merged,
    roots: &[BorrowedFd<'_>],
    out: &mut dyn Write,
) -> Result<Squashed> {
    let places = Places::new(roots)?;
    thread::scope(|scope| {
        let (full, filled) = sync_channel(AHEAD);
        let (used, empty) = channel();
        let reader = thread::Builder::new()
            .name("squash".into())
            .spawn_scoped(scope, move || {
                let mut laying = Laying {
                    places,
                    chunk: vec![0; CHUNK],
                    len: 0,
                    head: Vec::new(),
                    full,
                    empty,
                };
                laying.image(manifest, &merged.shown)
            })
            .map_err(|err| Fault::io("start", "a thread", err))?;
        let mut sha = Sha512::new();
        let mut size = 0;
        let mut written = Ok(());
        for (chunk, len) in filled.iter() {
            let bytes: &[u8] = &chunk[..len];
            sha.update(bytes);
            size += len as u64;
            written = out.write_all(bytes);
            if written.is_err() {
                break;
            }
            // The reader may be gone already: nobody needs the buffer then.
            let _ = used.send(chunk);
        }
        // Hang up: a reader that waits for room must not wait for ever.
        drop(filled);
        let read = reader
            .join()
            .map_err(|_| Fault::invalid("the thread that reads the layers crashed"))?;
        written
            .and_then(|()| out.flush())
            .map_err(|err| Fault::io("write", "the archive", err))?;
        read?;
        Ok(Squashed {
            digest: sha.finalize().into(),
            size,
        })
    })
}

/// The reader's side: bytes go into the chunk, full chunks away.
struct Laying {
    places: Places,
    chunk: Vec<u8>,
    len: usize,
    /// The header at hand.
    head: Vec<u8>,
    full: SyncSender<(Vec<u8>, usize)>,
    empty: Receiver<Vec<u8>>,
}

impl Laying {
    fn image(&mut self, manifest: &[u8], tree: &[Shown]) -> Result<()> {
        self.put(&head::manifest(manifest.len() as u64))?;
        self.put(manifest)?;
        self.pad(manifest.len() as u64)?;
        for entry in tree {
            self.entry(entry)?;
        }
        self.put(&[0; 2 * BLOCK])?;
        self.ship()
    }

    /// Sends the chunk away and takes another.
    fn ship(&mut self) -> Result<()> {
        let next = self.empty.try_recv().unwrap_or_else(|_| vec![0; CHUNK]);
        let chunk = std::mem::replace(&mut self.chunk, next);
        let len = std::mem::take(&mut self.len);
        // Only a failed write hangs up, and that failure is the one reported.
        self.full
            .send((chunk, len))
            .map_err(|_| Fault::invalid("the archive could not be written"))
    }

    fn put(&mut self, mut bytes: &[u8]) -> Result<()> {
        while !bytes.is_empty() {
            if self.len == CHUNK {
                self.ship()?;
            }
            let n = bytes.len().min(CHUNK - self.len);
            self.chunk[self.len..self.len + n].copy_from_slice(&bytes[..n]);
            self.len += n;
            bytes = &bytes[n..];
        }
        Ok(())
    }

    fn pad(&mut self, size: u64) -> Result<()> {
        self.put(&[0; BLOCK][..padding(size) as usize])
    }

    fn entry(&mut self, entry: &Shown) -> Result<()> {
        let node = &entry.node;
        let mut name = head::in_rootfs(&entry.path);
        let mut link = Vec::new();
        let (mut size, mut device) = (0, (0, 0));
        let mut xattrs = node.xattrs.as_slice();
        let kind = match &node.kind {
            NodeKind::Dir { .. } => {
                name.push(b'/');
                b'5'
            }
            NodeKind::File { size: bytes } => {
                size = *bytes;
                b'0'
            }
            NodeKind::Hardlink { target } => {
                link = head::in_rootfs(target);
                // The file has told them.
                xattrs = &[];
                b'1'
            }
            NodeKind::Symlink { target } => {
                link.clone_from(target);
                b'2'
            }
            NodeKind::Char { major, minor } => {
                device = (*major, *minor);
                b'3'
            }
            NodeKind::Block { major, minor } => {
                device = (*major, *minor);
                b'4'
            }
            NodeKind::Fifo => b'6',
            NodeKind::LowerLink { .. } | NodeKind::Whiteout => {
                let path = shown(&entry.path);
                return Err(Fault::invalid(format!("\"{path}\" is not merged")));
            }
        };
        let head = Head {
            name: &name,
            kind,
            mode: node.mode & 0o7777,
            uid: node.uid,
            gid: node.gid,
            mtime: node.mtime,
            size,
            device,
            link: &link,
            xattrs,
        };
        let mut blocks = std::mem::take(&mut self.head);
        blocks.clear();
        head.write(&mut blocks);
        self.put(&blocks)?;
        self.head = blocks;
        if kind == b'0' {
            self.content(entry, size)?;
        }
        Ok(())
    }

    fn content(&mut self, entry: &Shown, size: u64) -> Result<()> {
        let (layer, path) = (entry.layer, entry.source.as_slice());
        let fd = self.places.open(layer, path, OFlags::empty())?;
        let stat = fstat(&fd).map_err(|err| Fault::io("stat", shown(path), err))?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Err(damaged(layer, path, "is no regular file"));
        }
        let has = stat.st_size.unsigned_abs();
        if has != size {
            let why = format!("has {has} bytes instead of {size}");
            return Err(damaged(layer, path, &why));
        }
        let mut file = File::from(fd);
        let mut left = size;
        while left > 0 {
            if self.len == CHUNK {
                self.ship()?;
            }
            let room = CHUNK - self.len;
            let want = usize::try_from(left).map_or(room, |left| left.min(room));
            match file.read(&mut self.chunk[self.len..self.len + want]) {
                Ok(0) => return Err(damaged(layer, path, "ends too early")),
                Ok(n) => {
                    self.len += n;
                    left -= n as u64;
                }
                Err(err) if err.kind() == io::ErrorKind::Interrupted => {}
                Err(err) => return Err(Fault::io("read", format!("\"{}\"", shown(path)), err)),
            }
        }
        self.pad(size)
    }
}
