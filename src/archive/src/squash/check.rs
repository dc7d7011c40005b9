//! One layer's directory against its index: is everything there as it was
//! unpacked, and nothing else?
//!
//! Content is not read: who wants to know that hashes the merged tree. Whiteouts
//! and opaque marks are right in overlay's form. Only a difference that somebody
//! made counts: what this file system cannot hold (attributes, far-off times,
//! fractions of a second) is passed over.

use std::collections::HashMap;
use std::os::fd::{AsFd, BorrowedFd};

use model::fault::Result;
use rustix::fs::{AtFlags, Dir, FileType, OFlags, Stat, fgetxattr, flistxattr, readlinkat, statat};
use rustix::io::Errno;

use super::links::fits;
use super::places::{Places, broken};
use super::view::join;
use crate::layer::{Index, Node, NodeKind};
use crate::metadata::xattr_allowed;
use crate::name::shown;
use crate::options::{Form, Marks};

/// Times that every file system holds: 32 bits of seconds.
const TIMES: std::ops::RangeInclusive<i64> = -0x8000_0000..=0x7fff_ffff;
/// What the kernel allows an attribute, and a list of their names, to have.
const MAX_XATTR: usize = 64 << 10;

/// Names and values.
type Xattrs = Vec<(Vec<u8>, Vec<u8>)>;

/// Compares a layer's `rootfs` with its index. The first difference in byte
/// order as a text, None if there is none. Needs the rights that the layer was
/// unpacked with, which `form` says: owners and overlay's marks are compared.
pub fn check(index: &Index, root: BorrowedFd<'_>, form: Form) -> Result<Option<String>> {
    let mut check = Check {
        places: Places::new(&[root])?,
        index,
        form,
        inodes: HashMap::new(),
    };
    for node in &index.nodes {
        if let Some(wrong) = check.node(node)? {
            let path = match node.path.as_slice() {
                b"" => "/".to_string(),
                path => shown(path),
            };
            return Ok(Some(format!("\"{path}\" {wrong}")));
        }
        if let NodeKind::Dir { .. } = node.kind
            && let Some(path) = check.stranger(node)?
        {
            return Ok(Some(format!("\"{}\" does not belong to it", shown(&path))));
        }
    }
    // Names of one inode: the file may sort after its links.
    for node in &index.nodes {
        if let NodeKind::Hardlink { target } = &node.kind
            && check.inodes.get(node.path.as_slice()) != check.inodes.get(target.as_slice())
        {
            let (path, target) = (shown(&node.path), shown(target));
            return Ok(Some(format!("\"{path}\" is no hard link to \"{target}\"")));
        }
    }
    Ok(None)
}

struct Check<'i> {
    places: Places,
    index: &'i Index,
    form: Form,
    /// Of hard links and of what has several names.
    inodes: HashMap<&'i [u8], (u64, u64)>,
}

impl<'i> Check<'i> {
    /// What is wrong with one node.
    fn node(&mut self, node: &'i Node) -> Result<Option<String>> {
        let wrong = |text: String| Ok(Some(text));
        let absent = self.may_be_absent(node);
        let (dir, name) = self.places.parent(0, &node.path)?;
        let stat = match statat(dir, name, AtFlags::SYMLINK_NOFOLLOW) {
            Err(Errno::NOENT) if absent => return Ok(None),
            Err(Errno::NOENT) => return wrong("is missing".into()),
            stat => stat.map_err(|err| broken(0, &node.path, "stat", err))?,
        };
        if matches!(node.kind, NodeKind::LowerLink { .. }) {
            return wrong("does not belong to it".into());
        }
        let kind = FileType::from_raw_mode(stat.st_mode);
        if !fits(&node.kind, kind, stat.st_rdev) {
            return wrong(format!("is of another type ({kind:?})"));
        }
        let is_link = matches!(node.kind, NodeKind::Hardlink { .. });
        if is_link || stat.st_nlink > 1 && kind != FileType::Directory {
            let inode = (stat.st_dev, stat.st_ino);
            self.inodes.insert(&node.path, inode);
        }
        match &node.kind {
            // Its attributes mean nothing, or are those of its target.
            NodeKind::Whiteout | NodeKind::Hardlink { .. } => return Ok(None),
            NodeKind::Symlink { target } => {
                let there = readlinkat(dir, name, Vec::new())
                    .map_err(|err| broken(0, &node.path, "readlink", err))?;
                if there.as_bytes() != target.as_slice() {
                    return wrong(format!("leads to \"{}\"", shown(there.as_bytes())));
                }
            }
            NodeKind::File { size } if stat.st_size.unsigned_abs() != *size => {
                return wrong(format!("has {} bytes instead of {size}", stat.st_size));
            }
            _ => {}
        }
        if let Some(text) = attributes(node, &stat, self.form) {
            return wrong(text);
        }
        match node.kind {
            NodeKind::File { .. } | NodeKind::Dir { .. } => self.xattrs(node),
            _ => Ok(None),
        }
    }

    /// What the index has and the directory need not.
    fn may_be_absent(&self, node: &Node) -> bool {
        match node.kind {
            NodeKind::LowerLink { .. } => true,
            NodeKind::Whiteout => self.form.marks == Marks::Absent,
            _ => node.may_be_absent(self.form),
        }
    }

    fn xattrs(&mut self, node: &Node) -> Result<Option<String>> {
        let fd = self.places.open(0, &node.path, OFlags::empty())?;
        let opaque = self.form.marks.opaque().unwrap_or("").as_bytes();
        let Some(mut there) = xattrs(fd.as_fd(), &node.path, opaque)? else {
            return Ok(None);
        };
        let mark = there.iter().position(|(name, _)| name == opaque);
        let mark = mark.map(|at| there.remove(at).1);
        let is_opaque = mark.as_deref() == Some(b"y");
        let should_be =
            self.form.marks != Marks::Absent && node.kind == NodeKind::Dir { opaque: true };
        if mark.is_some() != is_opaque || is_opaque != should_be {
            return Ok(Some(match is_opaque {
                true => "is opaque".into(),
                false => "is not opaque".into(),
            }));
        }
        let listed = node.xattrs.iter().filter(|(name, _)| xattr_allowed(name));
        for (name, value) in listed {
            let at = there.iter().position(|(known, _)| known == name);
            let same = at.map(|at| there.swap_remove(at).1 == *value);
            // A file system without attributes may list none instead of refusing.
            let lost = || fgetxattr(&fd, name.as_slice(), &mut [0; 0]) == Err(Errno::NOTSUP);
            if !same.unwrap_or_else(lost) {
                let name = shown(name);
                return Ok(Some(format!("has another value of attribute \"{name}\"")));
            }
        }
        Ok(there
            .first()
            .map(|(name, _)| format!("has the attribute \"{}\"", shown(name))))
    }

    /// A name in a directory that the index does not have.
    fn stranger(&mut self, node: &Node) -> Result<Option<Vec<u8>>> {
        let fd = self.places.open(0, &node.path, OFlags::DIRECTORY)?;
        let fail = |err| broken(0, &node.path, "read", err);
        let mut strangers = Vec::new();
        for entry in Dir::new(fd).map_err(fail)? {
            let entry = entry.map_err(fail)?;
            let name = entry.file_name().to_bytes();
            if matches!(name, b"." | b"..") {
                continue;
            }
            let path = join(&node.path, name);
            let nodes = &self.index.nodes;
            if nodes.binary_search_by(|node| node.path.cmp(&path)).is_err() {
                strangers.push(path);
            }
        }
        Ok(strangers.into_iter().min())
    }
}

/// Owner, mode and time.
fn attributes(node: &Node, stat: &Stat, form: Form) -> Option<String> {
    if form.owners && (stat.st_uid, stat.st_gid) != (node.uid, node.gid) {
        return Some(format!(
            "belongs to {}:{} instead of {}:{}",
            stat.st_uid, stat.st_gid, node.uid, node.gid
        ));
    }
    // Linux gives every symbolic link mode 0777.
    let mode = stat.st_mode & 0o7777;
    let wanted = form.mode(node.mode);
    if !matches!(node.kind, NodeKind::Symlink { .. }) && mode != wanted {
        return Some(format!("has mode {mode:04o} instead of {wanted:04o}"));
    }
    let (secs, nanos) = (stat.st_mtime, stat.st_mtime_nsec as u32);
    let same = secs == node.mtime.0 && (nanos == node.mtime.1 || nanos == 0);
    if !same && TIMES.contains(&node.mtime.0) {
        return Some("has another modification time".into());
    }
    None
}

/// The attributes that a layer may have, and overlay's mark. None: this file
/// system has none at all.
fn xattrs(fd: BorrowedFd<'_>, path: &[u8], mark: &[u8]) -> Result<Option<Xattrs>> {
    let fail = |err| broken(0, path, "listxattr", err);
    let mut list = vec![0; MAX_XATTR];
    let len = match flistxattr(fd, &mut list) {
        Err(Errno::NOTSUP) => return Ok(None),
        len => len.map_err(fail)?,
    };
    let mut found = Vec::new();
    let names = list[..len].split(|&b| b == 0);
    let known = |name: &&[u8]| !name.is_empty() && (xattr_allowed(name) || *name == mark);
    for name in names.filter(known) {
        let mut value = vec![0; MAX_XATTR];
        let len = fgetxattr(fd, name, &mut value).map_err(fail)?;
        value.truncate(len);
        found.push((name.to_vec(), value));
    }
    Ok(Some(found))
}
