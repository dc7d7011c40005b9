//! A layer's entries become files, confined to one directory, and nodes.
//!
//! What a name means is decided by the tree in memory; on disk each thing is
//! made by `(fd of its parent, last name)`, the parent opened inside the root
//! without following any link, and always new: nothing is written or changed
//! through a link (CVE-2021-32760, CVE-2025-47290). Directories are 0700 until
//! the end, when they get their owners, modes and times, whiteouts their
//! devices, and hard links to later entries their file.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;

use model::fault::{Fault, Result};
use rustix::fs::{
    AtFlags, FileType, Mode, XattrFlags, linkat, makedev, mkdirat, mknodat, openat, symlinkat,
    unlinkat,
};
use rustix::io::Errno;
use sys::fs::{InRoot, chmod_nofollow, remove_tree};

use super::name::{Meaning, cleaned, joined, meaning, split};
use super::tree::{Gone, Tree, to_directory};
use super::{Index, Node, NodeKind};
use crate::entry::{Entry, Kind};
use crate::extract::{ENTER, make_root};
use crate::metadata::{self, Born, DirAttributes, Xattrs, failed, failed_at, xattr_allowed};
use crate::name::shown;
use crate::notes::Notes;
use crate::options::{Form, Marks, Options};
use crate::tape::Tape;

pub(super) struct Grower<'o> {
    root: InRoot,
    options: &'o Options,
    born: Born,
    tree: Tree<'o>,
    /// The parent of the last entry: by the name that the archive used, by its
    /// real path, and open.
    above: Option<Above>,
    claimed: u64,
    notes: Notes,
    /// Names of attributes that were left out: one note for each.
    unset: BTreeSet<Vec<u8>>,
}

struct Above {
    named: Vec<u8>,
    real: Vec<u8>,
    fd: OwnedFd,
}

impl<'o> Grower<'o> {
    /// Makes `rootfs` in `dest`, which must not have it.
    pub(super) fn new(dest: BorrowedFd<'_>, options: &'o Options) -> Result<Grower<'o>> {
        let (root, born) = make_root(dest, options)?;
        Ok(Grower {
            root,
            options,
            born,
            tree: Tree::new(options),
            above: None,
            claimed: 0,
            notes: Notes::default(),
            unset: BTreeSet::new(),
        })
    }

    /// Makes one entry and takes its content off the tape.
    pub(super) fn grow(&mut self, entry: &mut Entry, tape: &mut Tape<'_>) -> Result<()> {
        match meaning(&entry.name)? {
            Meaning::Entry(path) if path.is_empty() => self.top(entry)?,
            Meaning::Entry(path) => {
                self.entry(&path, entry, tape)?;
                if entry.kind == Kind::File {
                    return Ok(());
                }
            }
            Meaning::Whiteout(path) => {
                let (dir, name) = split(&path);
                let above = self.parent(dir, entry)?;
                self.tree.whiteout(joined(&above.real, name))?;
                self.above = Some(above);
            }
            Meaning::Opaque(dir) => {
                let above = self.parent(&dir, entry)?;
                self.tree.opaque(&above.real);
                self.above = Some(above);
            }
            Meaning::Reserved => self.notes.add_once(
                "entries with names that begin with \".wh..wh.\" are left out".to_owned(),
            ),
        }
        tape.each(entry.stored, |_| Ok(()))
    }

    fn top(&mut self, entry: &mut Entry) -> Result<()> {
        if entry.kind != Kind::Dir {
            return Err(Fault::invalid(format!(
                "\"{}\" is not a directory",
                shown(&entry.name)
            )));
        }
        self.keep_allowed(entry);
        let node = listed(entry, NodeKind::Dir { opaque: false });
        self.tree.insert(Vec::new(), node)
    }

    fn entry(&mut self, path: &[u8], entry: &mut Entry, tape: &mut Tape<'_>) -> Result<()> {
        let (dir, name) = split(path);
        let above = self.parent(dir, entry)?;
        let real = joined(&above.real, name);
        let new = (above.fd.as_fd(), OsStr::from_bytes(name));
        match &entry.kind {
            Kind::File => {
                self.keep_allowed(entry);
                self.file(new, real, entry, tape)?;
            }
            Kind::Dir => {
                self.keep_allowed(entry);
                self.dir(new, real, entry)?;
            }
            Kind::Symlink(target) => {
                self.make_room(new, &real, entry)?;
                symlinkat(target.as_slice(), new.0, new.1)
                    .map_err(|err| failed("symlink", entry, err))?;
                self.born.chown(new.0, new.1, entry)?;
                metadata::set_times(new.0, new.1, entry)?;
                let target = target.clone();
                self.tree
                    .insert(real, listed(entry, NodeKind::Symlink { target }))?;
            }
            Kind::HardLink(target) => self.hard_link(&above, name, real, target, entry)?,
            Kind::Fifo => {
                self.make_room(new, &real, entry)?;
                self.node(new, FileType::Fifo, 0, entry)?;
                self.tree.insert(real, listed(entry, NodeKind::Fifo))?;
            }
            &Kind::Char(major, minor) => {
                let kind = NodeKind::Char { major, minor };
                self.device(new, real, entry, kind, (major, minor))?;
            }
            &Kind::Block(major, minor) => {
                let kind = NodeKind::Block { major, minor };
                self.device(new, real, entry, kind, (major, minor))?;
            }
            Kind::Other(kind) => self.notes.add(format!(
                "\"{}\" is left out: unsupported type: {}",
                shown(&entry.name),
                kind.escape_ascii()
            )),
        }
        self.above = Some(above);
        Ok(())
    }

    /// Drops the attributes that a layer may not set.
    fn keep_allowed(&mut self, entry: &mut Entry) {
        let Grower { notes, unset, .. } = self;
        entry.xattrs.retain(|(name, _)| {
            let allowed = xattr_allowed(name);
            // A hostile archive has any number of names.
            if !allowed && unset.len() < 16 && unset.insert(name.clone()) {
                notes.add(format!(
                    "attribute \"{}\" of \"{}\" is left out, and wherever else it is",
                    shown(name),
                    shown(&entry.name)
                ));
            }
            allowed
        });
    }

    /// The directory that an entry goes to; makes what is missing.
    fn parent(&mut self, dir: &[u8], entry: &Entry) -> Result<Above> {
        match self.above.take() {
            Some(above) if above.named == dir => return Ok(above),
            _ => {}
        }
        let real = self.tree.resolve(dir)?;
        let mut have = real.as_slice();
        while !self.tree.is_dir(have) {
            have = split(have).0;
        }
        let mut fd = self.open(have, entry)?;
        let mut here = have.to_vec();
        let missing = real[have.len()..]
            .split(|&b| b == b'/')
            .filter(|name| !name.is_empty());
        for name in missing {
            mkdirat(&fd, name, Mode::RWXU).map_err(|err| failed("mkdir", entry, err))?;
            fd = openat(&fd, name, ENTER, Mode::empty())
                .map_err(|err| failed("open", entry, err))?;
            here = joined(&here, name);
            self.tree.imply(here.clone())?;
        }
        Ok(Above {
            named: dir.to_vec(),
            real,
            fd,
        })
    }

    /// Opens a directory of the tree by its real path.
    fn open(&self, real: &[u8], entry: &Entry) -> Result<OwnedFd> {
        self.root
            .directory(OsStr::from_bytes(if real.is_empty() { b"." } else { real }))
            .map(|found| found.fd)
            .map_err(|err| Fault::io("open", format!("parent of \"{}\"", shown(&entry.name)), err))
    }

    fn file(
        &mut self,
        new: (BorrowedFd<'_>, &OsStr),
        real: Vec<u8>,
        entry: &Entry,
        tape: &mut Tape<'_>,
    ) -> Result<()> {
        self.claimed = self.claimed.saturating_add(entry.size);
        if self.claimed > self.options.max_bytes {
            let max = self.options.max_bytes;
            return Err(Fault::refused(format!(
                "the layer's files have more than {max} bytes"
            )));
        }
        self.make_room(new, &real, entry)?;
        let file = self
            .born
            .create(new.0, new.1, entry)
            .map_err(|err| failed("create", entry, err))?;
        metadata::fill(&file, entry, tape)?;
        let xattrs = settable(&entry.xattrs, self.options.form);
        let note = &mut |note| self.notes.add(note);
        self.born.finish_file(&file, entry, xattrs, note)?;
        let kind = NodeKind::File { size: entry.size };
        self.tree.insert(real, listed(entry, kind))
    }

    fn dir(&mut self, new: (BorrowedFd<'_>, &OsStr), real: Vec<u8>, entry: &Entry) -> Result<()> {
        let mut opaque = false;
        if !self.tree.is_dir(&real) {
            // What it replaces hid the directory of a lower layer already.
            opaque = self.make_room(new, &real, entry)?;
            mkdirat(new.0, new.1, Mode::RWXU).map_err(|err| failed("mkdir", entry, err))?;
        }
        self.tree
            .insert(real, listed(entry, NodeKind::Dir { opaque }))
    }

    fn hard_link(
        &mut self,
        above: &Above,
        name: &[u8],
        real: Vec<u8>,
        target: &[u8],
        entry: &Entry,
    ) -> Result<()> {
        let new = (above.fd.as_fd(), OsStr::from_bytes(name));
        let outside = |_| {
            Fault::refused(format!(
                "hard link \"{}\" to \"{}\" leads out of the root file system",
                shown(&entry.name),
                shown(target)
            ))
        };
        let target = cleaned(target).map_err(outside)?;
        let target = self.tree.place(&target);
        if self.tree.get(&target).is_some() && self.tree.same(&target, &real) {
            return Ok(());
        }
        if self.tree.is_dir(&target) {
            return Err(to_directory(&entry.name, &target));
        }
        self.make_room(new, &real, entry)?;
        match self.tree.get(&target).map(|node| &node.kind) {
            Some(NodeKind::LowerLink { .. }) => self.tree.link(&target, real),
            None => {
                let node = listed(entry, NodeKind::LowerLink { target });
                self.tree.insert(real, node)
            }
            Some(_) => {
                let (dir, _) = split(&target);
                if dir == above.real {
                    self.link(above.fd.as_fd(), &target, new)?;
                } else {
                    let from = self.open(dir, entry)?;
                    self.link(from.as_fd(), &target, new)?;
                }
                self.tree.link(&target, real)
            }
        }
    }

    /// On disk; `from` is the directory of `target`.
    fn link(
        &self,
        from: BorrowedFd<'_>,
        target: &[u8],
        new: (BorrowedFd<'_>, &OsStr),
    ) -> Result<()> {
        match linkat(from, split(target).1, new.0, new.1, AtFlags::empty()) {
            // A device that we were not allowed to make.
            Err(Errno::NOENT) if self.is_device(target) => Ok(()),
            made => made.map_err(|err| failed_at("link", target, err)),
        }
    }

    fn is_device(&self, path: &[u8]) -> bool {
        matches!(
            self.tree.get(path).map(|node| &node.kind),
            Some(NodeKind::Char { .. } | NodeKind::Block { .. })
        )
    }

    fn device(
        &mut self,
        new: (BorrowedFd<'_>, &OsStr),
        real: Vec<u8>,
        entry: &Entry,
        kind: NodeKind,
        number: (u32, u32),
    ) -> Result<()> {
        let name = shown(&entry.name);
        if kind == (NodeKind::Char { major: 0, minor: 0 }) {
            // It would silently delete what a lower layer has.
            return Err(Fault::refused(format!(
                "\"{name}\" is a character device 0:0, which overlay takes for a deletion"
            ))
            .hint("a layer deletes with \".wh.\" names"));
        }
        // The kernel has 12 bits and 20 bits.
        if number.0 >= 1 << 12 || number.1 >= 1 << 20 {
            return Err(Fault::invalid(format!(
                "\"{name}\" has a device number that does not exist"
            )));
        }
        if !self.options.devices {
            self.notes
                .add(format!("\"{name}\" is left out: it is a device"));
            return Ok(());
        }
        self.make_room(new, &real, entry)?;
        let block = matches!(kind, NodeKind::Block { .. });
        self.tree.insert(real, listed(entry, kind))?;
        if !self.options.form.root {
            return Ok(());
        }
        let kind = if block {
            FileType::BlockDevice
        } else {
            FileType::CharacterDevice
        };
        match self.node(new, kind, makedev(number.0, number.1), entry) {
            Err(fault) if fault.errno() == Some(Errno::PERM.raw_os_error()) => {
                self.notes.refused_devices += 1;
                Ok(())
            }
            made => made,
        }
    }

    fn node(
        &self,
        new: (BorrowedFd<'_>, &OsStr),
        kind: FileType,
        dev: u64,
        entry: &Entry,
    ) -> Result<()> {
        mknodat(new.0, new.1, kind, Mode::RUSR, dev).map_err(|err| failed("mknod", entry, err))?;
        self.born.chown(new.0, new.1, entry)?;
        chmod_nofollow(new.0, new.1, metadata::mode(entry.mode, self.options.form))
            .map_err(|err| Fault::io("chmod", format!("\"{}\"", shown(&entry.name)), err))?;
        metadata::set_times(new.0, new.1, entry)
    }

    /// Removes what an earlier entry made at this path; whether there was
    /// something.
    fn make_room(
        &mut self,
        new: (BorrowedFd<'_>, &OsStr),
        real: &[u8],
        entry: &Entry,
    ) -> Result<bool> {
        let device = self.is_device(real);
        let Some(gone) = self.tree.remove(real) else {
            return Ok(false);
        };
        self.notes.add(format!(
            "duplicate file entry in archive: {}",
            shown(&entry.name)
        ));
        match gone {
            Gone::Absent => {}
            Gone::Dir => remove_tree(new.0, OsString::from(new.1))
                .map_err(|err| Fault::io("replace", format!("\"{}\"", shown(&entry.name)), err))?,
            Gone::Other => match unlinkat(new.0, new.1, AtFlags::empty()) {
                Err(Errno::NOENT) if device => {}
                removed => removed.map_err(|err| failed("replace", entry, err))?,
            },
        }
        Ok(true)
    }

    /// Links that waited, whiteouts, and what directories get last.
    pub(super) fn finish(mut self) -> Result<(Index, Vec<String>)> {
        for (path, target) in self.tree.late_links()? {
            let open = |path: &[u8]| {
                let dir = split(path).0;
                self.root
                    .directory(OsStr::from_bytes(if dir.is_empty() { b"." } else { dir }))
                    .map_err(|err| Fault::io("open", format!("\"{}\"", shown(dir)), err))
            };
            let (from, to) = (open(&target)?, open(&path)?);
            let new = (to.fd.as_fd(), OsStr::from_bytes(split(&path).1));
            self.link(from.fd.as_fd(), &target, new)?;
            self.tree.link(&target, path)?;
        }
        let Grower {
            root,
            options,
            born,
            tree,
            mut notes,
            ..
        } = self;
        let index = tree.finish();
        // Backwards: what is in a directory before the directory, whose time it
        // would change, and whose mode may shut us out.
        for node in index.nodes.iter().rev() {
            match node.kind {
                NodeKind::Dir { opaque } => finish_dir(&root, node, opaque, options, &born, |n| {
                    notes.add(n);
                })?,
                NodeKind::Whiteout if options.form.marks != Marks::Absent => {
                    whiteout(&root, &node.path)?;
                }
                _ => {}
            }
        }
        Ok((index, notes.finish()))
    }
}

fn finish_dir(
    root: &InRoot,
    node: &Node,
    opaque: bool,
    options: &Options,
    born: &Born,
    mut note: impl FnMut(String),
) -> Result<()> {
    let path: &[u8] = if node.path.is_empty() {
        b"."
    } else {
        &node.path
    };
    let fd = root
        .open(OsStr::from_bytes(path), ENTER, Mode::empty())
        .map_err(|err| Fault::io("open", format!("\"{}\"", shown(path)), err))?;
    if let Some(mark) = options.form.marks.opaque().filter(|_| opaque) {
        let flags = XattrFlags::empty();
        rustix::fs::fsetxattr(&fd, mark, b"y", flags)
            .map_err(|err| failed_at("setxattr", path, err))?;
    }
    let want = DirAttributes {
        mode: node.mode,
        owner: Some((node.uid, node.gid)),
        mtime: Some(node.mtime),
        xattrs: settable(&node.xattrs, options.form),
    };
    metadata::finish_dir(fd.as_fd(), path, &want, born, &mut note)
}

/// Those that this user may set: of the allowed ones, which are sorted, all but
/// the first need no privilege.
fn settable(xattrs: &Xattrs, form: Form) -> &Xattrs {
    match form.root {
        true => xattrs,
        false => &xattrs[xattrs.partition_point(|(name, _)| !name.starts_with(b"user."))..],
    }
}

/// As overlay has them. Whoever may mount an overlay may make one.
fn whiteout(root: &InRoot, path: &[u8]) -> Result<()> {
    let (dir, name) = split(path);
    let dir = root
        .directory(OsStr::from_bytes(if dir.is_empty() { b"." } else { dir }))
        .map_err(|err| Fault::io("open", format!("\"{}\"", shown(dir)), err))?;
    mknodat(
        &dir.fd,
        name,
        FileType::CharacterDevice,
        Mode::empty(),
        makedev(0, 0),
    )
    .map_err(|err| failed_at("mknod", path, err))
}

/// A node with the attributes of its entry.
fn listed(entry: &Entry, kind: NodeKind) -> Node {
    let (mode, xattrs) = match kind {
        NodeKind::File { .. } | NodeKind::Dir { .. } => (entry.mode, entry.xattrs.clone()),
        // A link's own mode means nothing and reads as this everywhere.
        NodeKind::Symlink { .. } => (0o777, Vec::new()),
        _ => (entry.mode, Vec::new()),
    };
    Node {
        path: Vec::new(),
        kind,
        mode,
        uid: entry.uid,
        gid: entry.gid,
        mtime: entry.mtime,
        xattrs,
        listed: true,
    }
}
