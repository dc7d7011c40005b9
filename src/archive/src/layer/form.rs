//! How an index lies on disk.
//!
//! ```text
//! index   = "rktidx1\n" count node* sha256
//! node    = shared suffix kind flags mode uid gid seconds nanoseconds xattrs?
//! ```
//!
//! Numbers are LEB128 (at most 64 bits); `seconds` is the difference to the node
//! before, zigzag. Byte strings are a length and the bytes. A path is the number
//! of bytes that it shares with the path before and the rest. `kind` is a byte:
//! 0 directory, 1 file + size, 2 symlink + target, 3 hard link + target, 4 link
//! into a lower layer + target, 5 character device + major + minor, 6 block
//! device + the same, 7 FIFO, 8 whiteout. `flags` is a byte: 1 listed, 2 opaque,
//! 4 attributes follow: their number, then name and value of each. `sha256` is
//! that of everything before it.
//!
//! Reading trusts nothing: paths are clean, ascending and below directories of
//! the index, links lead to files of the index, every bound holds, and nothing
//! follows. What is read was written by `write`, byte for byte.

use std::io::{self, Read, Write};

use model::fault::{Fault, Kind, Result};
use sha2::{Digest, Sha256};

use super::name::split;
use super::{Index, Node, NodeKind};
use crate::name::PATH_MAX;

const MAGIC: &[u8; 8] = b"rktidx1\n";
const SUM: usize = 32;
/// Of the file; `Options::max_names` and `max_entries` stay below it.
const MAX_BYTES: u64 = 1 << 30;

const LISTED: u8 = 1;
const OPAQUE: u8 = 2;
const XATTRS: u8 = 4;

impl Index {
    /// Writes the index. The nodes have to be as the type says; the caller syncs.
    pub fn write(&self, out: &mut dyn Write) -> Result<()> {
        let mut sha = Sha256::new();
        let mut flush = |bytes: &mut Vec<u8>| {
            sha.update(bytes.as_slice());
            let done = out.write_all(bytes);
            bytes.clear();
            done.map_err(|err| Fault::io("write", "the index of a layer", err))
        };
        let mut bytes = MAGIC.to_vec();
        put(&mut bytes, self.nodes.len() as u64);
        let (mut path, mut seconds) = (&[][..], 0_i64);
        for node in &self.nodes {
            put_node(&mut bytes, node, path, seconds);
            (path, seconds) = (&node.path, node.mtime.0);
            if bytes.len() >= 64 << 10 {
                flush(&mut bytes)?;
            }
        }
        flush(&mut bytes)?;
        out.write_all(&sha.finalize())
            .map_err(|err| Fault::io("write", "the index of a layer", err))
    }

    /// Reads what `write` wrote, to the end of `source`. Fails with
    /// `Kind::Corrupt` on anything else.
    pub fn read(source: &mut dyn Read) -> Result<Index> {
        let mut bytes = Vec::new();
        source
            .take(MAX_BYTES + 1)
            .read_to_end(&mut bytes)
            .map_err(|err: io::Error| Fault::io("read", "the index of a layer", err))?;
        parse(&bytes).ok_or_else(|| {
            Fault::new(Kind::Corrupt, "the index of a layer is damaged")
                .hint("remove the image and fetch it again")
        })
    }
}

fn put_node(to: &mut Vec<u8>, node: &Node, before: &[u8], seconds: i64) {
    let shared = node.path.iter().zip(before).take_while(|(a, b)| a == b);
    let shared = shared.count();
    put(to, shared as u64);
    put_bytes(to, &node.path[shared..]);
    let link = |to: &mut Vec<u8>, kind, target: &[u8]| {
        to.push(kind);
        put_bytes(to, target);
    };
    let device = |to: &mut Vec<u8>, kind, (major, minor): (u32, u32)| {
        to.push(kind);
        put(to, u64::from(major));
        put(to, u64::from(minor));
    };
    let mut opaque = 0;
    match &node.kind {
        NodeKind::Dir { opaque: is } => {
            to.push(0);
            opaque = if *is { OPAQUE } else { 0 };
        }
        NodeKind::File { size } => {
            to.push(1);
            put(to, *size);
        }
        NodeKind::Symlink { target } => link(to, 2, target),
        NodeKind::Hardlink { target } => link(to, 3, target),
        NodeKind::LowerLink { target } => link(to, 4, target),
        NodeKind::Char { major, minor } => device(to, 5, (*major, *minor)),
        NodeKind::Block { major, minor } => device(to, 6, (*major, *minor)),
        NodeKind::Fifo => to.push(7),
        NodeKind::Whiteout => to.push(8),
    }
    let listed = if node.listed { LISTED } else { 0 };
    let xattrs = if node.xattrs.is_empty() { 0 } else { XATTRS };
    to.push(listed | opaque | xattrs);
    for number in [node.mode, node.uid, node.gid] {
        put(to, u64::from(number));
    }
    let step = node.mtime.0.wrapping_sub(seconds);
    put(to, ((step << 1) ^ (step >> 63)).cast_unsigned());
    put(to, u64::from(node.mtime.1));
    if !node.xattrs.is_empty() {
        put(to, node.xattrs.len() as u64);
        for (name, value) in &node.xattrs {
            put_bytes(to, name);
            put_bytes(to, value);
        }
    }
}

fn put(to: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        to.push(number as u8 | 0x80);
        number >>= 7;
    }
    to.push(number as u8);
}

fn put_bytes(to: &mut Vec<u8>, bytes: &[u8]) {
    put(to, bytes.len() as u64);
    to.extend_from_slice(bytes);
}

fn parse(bytes: &[u8]) -> Option<Index> {
    if bytes.len() as u64 > MAX_BYTES {
        return None;
    }
    let (body, sum) = bytes.split_at(bytes.len().checked_sub(SUM)?);
    if Sha256::digest(body).as_slice() != sum {
        return None;
    }
    let mut rest = Rest(body.strip_prefix(MAGIC)?);
    let count = rest.number()?;
    let mut index = Index::default();
    for at in 0..count {
        let node = rest.node(index.nodes.last())?;
        let is_dir = |node: &Node| matches!(node.kind, NodeKind::Dir { .. });
        let placed = match at {
            0 => node.path.is_empty() && is_dir(&node),
            _ => index.find(split(&node.path).0).is_some_and(is_dir),
        };
        if !placed || !(node.listed || is_dir(&node)) {
            return None;
        }
        index.nodes.push(node);
    }
    if !rest.0.is_empty() {
        return None;
    }
    let linked = index.nodes.iter().all(|node| match &node.kind {
        NodeKind::Hardlink { target } => {
            let file = index.find(target).map(|node| &node.kind);
            *target < node.path && matches!(file, Some(NodeKind::File { .. }))
        }
        _ => true,
    });
    linked.then_some(index)
}

/// What is left to read. None: it is not there, or not what it must be.
struct Rest<'b>(&'b [u8]);

impl<'b> Rest<'b> {
    fn take(&mut self, n: usize) -> Option<&'b [u8]> {
        let (taken, rest) = self.0.split_at_checked(n)?;
        self.0 = rest;
        Some(taken)
    }

    fn byte(&mut self) -> Option<u8> {
        self.take(1).map(|byte| byte[0])
    }

    /// In its shortest form only.
    fn number(&mut self) -> Option<u64> {
        let mut number = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7f);
            if bits << shift >> shift != bits || (byte == 0 && shift > 0) {
                return None;
            }
            number |= bits << shift;
            if byte & 0x80 == 0 {
                return Some(number);
            }
        }
        None
    }

    fn number32(&mut self) -> Option<u32> {
        self.number()?.try_into().ok()
    }

    fn bytes(&mut self) -> Option<&'b [u8]> {
        let len = self.number()?.try_into().ok()?;
        self.take(len)
    }

    fn path(&mut self) -> Option<Vec<u8>> {
        self.bytes().filter(|path| clean(path)).map(<[u8]>::to_vec)
    }

    fn node(&mut self, before: Option<&Node>) -> Option<Node> {
        let known = before.map_or(&[][..], |node| &node.path);
        let shared: usize = self.number()?.try_into().ok()?;
        let suffix = self.bytes()?;
        let path = [known.get(..shared)?, suffix].concat();
        // More would have been shared otherwise.
        let longest = known.get(shared) != suffix.first() || suffix.is_empty();
        let ascends = before.is_none_or(|before| before.path < path);
        if !longest || !ascends || !(path.is_empty() || clean(&path)) {
            return None;
        }
        let mut kind = match self.byte()? {
            0 => NodeKind::Dir { opaque: false },
            1 => NodeKind::File {
                size: self.number()?,
            },
            2 => NodeKind::Symlink {
                target: self.bytes().filter(|t| !t.contains(&0))?.to_vec(),
            },
            3 => NodeKind::Hardlink {
                target: self.path()?,
            },
            4 => NodeKind::LowerLink {
                target: self.path()?,
            },
            5 => NodeKind::Char {
                major: self.number32()?,
                minor: self.number32()?,
            },
            6 => NodeKind::Block {
                major: self.number32()?,
                minor: self.number32()?,
            },
            7 => NodeKind::Fifo,
            8 => NodeKind::Whiteout,
            _ => return None,
        };
        let flags = self.byte()?;
        if flags & !(LISTED | OPAQUE | XATTRS) != 0 {
            return None;
        }
        if flags & OPAQUE != 0 {
            match &mut kind {
                NodeKind::Dir { opaque } => *opaque = true,
                _ => return None,
            }
        }
        let mode = self.number32().filter(|mode| *mode <= 0o7777)?;
        let (uid, gid) = (self.number32()?, self.number32()?);
        let step = self.number()?;
        let step = (step >> 1).cast_signed() ^ -(step & 1).cast_signed();
        let seconds = before.map_or(0, |node| node.mtime.0).wrapping_add(step);
        let nanos = self.number32().filter(|nanos| *nanos < 1_000_000_000)?;
        let mut xattrs: Vec<(Vec<u8>, Vec<u8>)> = Vec::new();
        if flags & XATTRS != 0 {
            let count = self.number().filter(|count| *count > 0)?;
            for _ in 0..count {
                let (name, value) = (self.bytes()?, self.bytes()?);
                if name.is_empty()
                    || xattrs
                        .last()
                        .is_some_and(|(last, _)| last.as_slice() >= name)
                {
                    return None;
                }
                xattrs.push((name.to_vec(), value.to_vec()));
            }
        }
        Some(Node {
            path,
            kind,
            mode,
            uid,
            gid,
            mtime: (seconds, nanos),
            xattrs,
            listed: flags & LISTED != 0,
        })
    }
}

/// Components that are names, joined by one `/`.
fn clean(path: &[u8]) -> bool {
    path.len() <= PATH_MAX
        && !path.contains(&0)
        && path
            .split(|&b| b == b'/')
            .all(|part| !matches!(part, b"" | b"." | b".."))
}
