//! The merged tree, or its fixups, as a directory: new directories, and for
//! everything else hard links to what lies in the layers.
//!
//! Directories are 0700 until all that is in them is there; owner, attributes,
//! mode and times are set at the end, the deepest first, because making entries
//! changes a directory's time. Where the file system refuses a link (too many of
//! them, another file system, a protected file), the file is copied with its
//! attributes, and its further names are links to the copy.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use model::fault::{Fault, Result};
use rustix::fs::{
    AtFlags, FileType, Gid, Mode, OFlags, Uid, XattrFlags, chownat, fchmod, fchown, fsetxattr,
    futimens, linkat, makedev, mkdirat, mknodat, openat, statat, symlinkat, utimensat,
};
use rustix::io::Errno;
use sys::fs::chmod_nofollow;

use super::Shown;
use super::places::{Places, broken, damaged};
use crate::layer::{Node, NodeKind};
use crate::metadata::{mode, not_given, times, xattr_allowed};
use crate::name::shown;
use crate::options::Form;

/// Builds the merged tree, or its fixups, in the empty directory `dest`. Returns
/// what the log should know: which files had to be copied, which attributes this
/// file system refused.
pub fn build_links(
    shown: &[Shown],
    roots: &[BorrowedFd<'_>],
    dest: BorrowedFd<'_>,
    form: Form,
) -> Result<Vec<String>> {
    let mut build = Build {
        layers: Places::new(roots)?,
        tree: Places::new(&[dest])?,
        form,
        copied: HashMap::new(),
        notes: Vec::new(),
    };
    for entry in shown.iter().filter(|entry| !entry.path.is_empty()) {
        match entry.node.kind {
            NodeKind::Dir { .. } => build.dir(entry)?,
            _ => build.link(entry)?,
        }
    }
    // From the leaves up: a directory's final mode might forbid the way down.
    for entry in shown.iter().rev() {
        if let NodeKind::Dir { .. } = entry.node.kind {
            build.finish_dir(entry)?;
        }
    }
    Ok(build.notes)
}

struct Build<'s> {
    layers: Places,
    /// The new directory, as its only root.
    tree: Places,
    form: Form,
    /// Where the copy of a file went that could not be linked.
    copied: HashMap<(usize, &'s [u8]), &'s [u8]>,
    notes: Vec<String>,
}

impl<'s> Build<'s> {
    fn dir(&mut self, entry: &Shown) -> Result<()> {
        let (dir, name) = self.tree.parent(0, &entry.path)?;
        mkdirat(dir, name, Mode::RWXU).map_err(|err| failed("mkdir", &entry.path, err))
    }

    fn link(&mut self, entry: &'s Shown) -> Result<()> {
        let source = (entry.layer, entry.source.as_slice());
        let (to, to_name) = self.tree.parent(0, &entry.path)?;
        let (from, from_name) = self.layers.parent(source.0, source.1)?;
        let stat = match statat(from, from_name, AtFlags::SYMLINK_NOFOLLOW) {
            Err(Errno::NOENT) if entry.node.may_be_absent(self.form) => return Ok(()),
            stat => stat.map_err(|err| broken(source.0, source.1, "stat", err))?,
        };
        if !fits(
            &entry.node.kind,
            FileType::from_raw_mode(stat.st_mode),
            stat.st_rdev,
        ) {
            return Err(damaged(source.0, source.1, "is of another type"));
        }
        if let Some(copy) = self.copied.get(&source) {
            let to = to.try_clone_to_owned();
            let to = to.map_err(|err| Fault::io("dup", "a directory", err))?;
            let (from, from_name) = self.tree.parent(0, copy)?;
            match linkat(from, from_name, &to, to_name, AtFlags::empty()) {
                Err(Errno::MLINK) => {}
                linked => return linked.map_err(|err| failed("link", &entry.path, err)),
            }
        } else {
            match linkat(from, from_name, to, to_name, AtFlags::empty()) {
                Ok(()) => return Ok(()),
                Err(
                    errno @ (Errno::MLINK
                    | Errno::XDEV
                    | Errno::PERM
                    | Errno::OPNOTSUPP
                    | Errno::NOSYS),
                ) => self.notes.push(format!(
                    "\"{}\" is a copy: it cannot be linked: {}",
                    shown(&entry.path),
                    model::fault::errno_text(&errno.into())
                )),
                Err(err) => return Err(failed("link", &entry.path, err)),
            }
        }
        self.copied.insert(source, &entry.path);
        self.copy(entry)
    }

    fn copy(&mut self, entry: &Shown) -> Result<()> {
        let (path, node) = (entry.path.as_slice(), &entry.node);
        let fail = |verb| move |err: Errno| failed(verb, path, err);
        let (dir, name) = self.tree.parent(0, path)?;
        let (kind, device) = match &node.kind {
            NodeKind::File { .. } | NodeKind::Hardlink { .. } => {
                let from = self
                    .layers
                    .open(entry.layer, &entry.source, OFlags::empty())?;
                let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
                let to = openat(dir, name, flags, Mode::RUSR | Mode::WUSR);
                let to = File::from(to.map_err(fail("create"))?);
                io::copy(&mut File::from(from), &mut &to)
                    .map_err(|err| Fault::io("copy", format!("\"{}\"", shown(path)), err))?;
                return self.finish(to.as_fd(), path, node);
            }
            NodeKind::Symlink { target } => {
                symlinkat(target.as_slice(), dir, name).map_err(fail("symlink"))?;
                (FileType::Symlink, 0)
            }
            NodeKind::Char { major, minor } => (FileType::CharacterDevice, makedev(*major, *minor)),
            NodeKind::Block { major, minor } => (FileType::BlockDevice, makedev(*major, *minor)),
            NodeKind::Fifo => (FileType::Fifo, 0),
            NodeKind::Dir { .. } | NodeKind::LowerLink { .. } | NodeKind::Whiteout => {
                let path = shown(path);
                return Err(Fault::invalid(format!("\"{path}\" is not merged")));
            }
        };
        if kind != FileType::Symlink {
            mknodat(dir, name, kind, Mode::RUSR, device).map_err(fail("mknod"))?;
        }
        if self.form.owners {
            let (uid, gid) = (Uid::from_raw(node.uid), Gid::from_raw(node.gid));
            chownat(dir, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)
                .map_err(|err| not_given(path, (node.uid, node.gid), err))?;
        }
        if kind != FileType::Symlink {
            chmod_nofollow(dir, name, mode(node.mode, self.form))
                .map_err(|err| Fault::io("chmod", format!("\"{}\"", shown(path)), err))?;
        }
        utimensat(dir, name, &times(node.mtime), AtFlags::SYMLINK_NOFOLLOW)
            .map_err(fail("set times of"))
    }

    fn finish_dir(&mut self, entry: &Shown) -> Result<()> {
        let fd = self.tree.open(0, &entry.path, OFlags::DIRECTORY)?;
        self.finish(fd.as_fd(), &entry.path, &entry.node)
    }

    /// The order matters: chown clears setuid and capabilities, attributes need
    /// the write permission that the mode may lack.
    fn finish(&mut self, fd: BorrowedFd<'_>, path: &[u8], node: &Node) -> Result<()> {
        if self.form.owners {
            let (uid, gid) = (Uid::from_raw(node.uid), Gid::from_raw(node.gid));
            fchown(fd, Some(uid), Some(gid))
                .map_err(|err| not_given(path, (node.uid, node.gid), err))?;
        }
        for (name, value) in &node.xattrs {
            if !xattr_allowed(name) {
                continue;
            }
            match fsetxattr(fd, name.as_slice(), value, XattrFlags::empty()) {
                Ok(()) => {}
                Err(errno @ (Errno::NOTSUP | Errno::PERM | Errno::INVAL)) => {
                    self.notes.push(format!(
                        "attribute \"{}\" of \"{}\" is left out: {}",
                        shown(name),
                        shown(path),
                        model::fault::errno_text(&errno.into())
                    ));
                }
                Err(err) => return Err(failed("setxattr", path, err)),
            }
        }
        fchmod(fd, mode(node.mode, self.form)).map_err(|err| failed("chmod", path, err))?;
        futimens(fd, &times(node.mtime)).map_err(|err| failed("set times of", path, err))
    }
}

/// Whether what lies on disk is what the index says, as far as its type goes.
pub(super) fn fits(kind: &NodeKind, on_disk: FileType, rdev: u64) -> bool {
    match kind {
        NodeKind::Dir { .. } => on_disk == FileType::Directory,
        NodeKind::File { .. } | NodeKind::LowerLink { .. } => on_disk == FileType::RegularFile,
        // Links, devices and FIFOs may have several names too.
        NodeKind::Hardlink { .. } => on_disk != FileType::Directory,
        NodeKind::Symlink { .. } => on_disk == FileType::Symlink,
        NodeKind::Fifo => on_disk == FileType::Fifo,
        NodeKind::Whiteout => on_disk == FileType::CharacterDevice && rdev == 0,
        NodeKind::Char { major, minor } => {
            on_disk == FileType::CharacterDevice && rdev == makedev(*major, *minor)
        }
        NodeKind::Block { major, minor } => {
            on_disk == FileType::BlockDevice && rdev == makedev(*major, *minor)
        }
    }
}

fn failed(verb: &str, path: &[u8], errno: Errno) -> Fault {
    Fault::io(verb, format!("\"{}\"", shown(path)), errno)
}
