//! Entries become files, confined to one directory.
//!
//! Every entry is made by `(fd of its parent, last name)`, the parent resolved
//! inside the root, and what is made is always new: an existing name is removed
//! first, so nothing is written or chmod'ed through a link, hard or symbolic
//! (CVE-2021-32760, CVE-2025-47290). Links that the archive itself brings may
//! lead elsewhere inside the root, as they did under rkt's chroot.
//!
//! Directories are 0700 until `finish`, which sets their modes and times.

use std::collections::{HashMap, HashSet};
use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;

use model::fault::{Fault, Result};
use rustix::fs::{
    AtFlags, FileType, Mode, OFlags, fstat, linkat, makedev, mkdirat, mknodat, openat, statat,
    symlinkat, unlinkat,
};
use rustix::io::Errno;
use sys::fs::{InRoot, Located, chmod_nofollow};

use crate::entry::{Entry, Kind, Tee};
use crate::metadata::{self, Born, DirAttributes, failed};
use crate::name::{Place, cleaned, placed, shown};
use crate::notes::Notes;
use crate::options::Options;
use crate::recipe::Recipe;
use crate::sparse::{Segment, Segments};
use crate::tape::Tape;

pub(crate) const ENTER: OFlags = OFlags::RDONLY
    .union(OFlags::DIRECTORY)
    .union(OFlags::NOFOLLOW)
    .union(OFlags::CLOEXEC);

/// What is set on a directory when nothing changes in it any more.
struct Finish {
    /// Below the root, without links; empty for the root.
    path: Vec<u8>,
    mode: u32,
    owner: Option<(u32, u32)>,
    mtime: Option<(i64, u32)>,
    xattrs: Vec<(Vec<u8>, Vec<u8>)>,
}

/// The content of a file that the recipe only refers to.
struct Referred {
    number: u32,
    segments: Option<Vec<Segment>>,
}

pub(crate) struct Tree<'o> {
    root: InRoot,
    options: &'o Options,
    born: Born,
    /// The parent of the last entry, by the name that the archive used.
    above: Option<(Vec<u8>, Located)>,
    finishes: Vec<Finish>,
    referred: HashMap<u64, Referred>,
    /// A directory was replaced, so its finish may meet something else.
    replaced: bool,
    claimed: u64,
    notes: Notes,
    /// Paths of devices that could not be made, and of hard links to them.
    refused: HashSet<Vec<u8>>,
}

/// What was made.
pub(crate) struct Grown {
    pub(crate) bytes: u64,
    pub(crate) notes: Vec<String>,
}

impl<'o> Tree<'o> {
    /// Makes `rootfs` in `dest`, which must not have it.
    pub(crate) fn new(dest: BorrowedFd<'_>, options: &'o Options) -> Result<Tree<'o>> {
        let (root, born) = make_root(dest, options)?;
        Ok(Tree {
            root,
            options,
            born,
            above: None,
            finishes: Vec::new(),
            referred: HashMap::new(),
            replaced: false,
            claimed: 0,
            notes: Notes::default(),
            refused: HashSet::new(),
        })
    }

    fn note(&mut self, text: String) {
        self.notes.add(text);
    }

    /// The entry for the root itself.
    pub(crate) fn top(&mut self, entry: &Entry) {
        self.finish_later(Vec::new(), entry);
    }

    /// Makes one entry at `path` (cleaned, below the root) and takes its
    /// content off the tape. Content that the tree does not keep goes to the
    /// recipe as it is.
    pub(crate) fn grow(
        &mut self,
        path: &[u8],
        entry: &Entry,
        tape: &mut Tape<'_>,
        recipe: &mut Recipe<'_>,
    ) -> Result<()> {
        let (dir, name) = match path.iter().rposition(|&b| b == b'/') {
            Some(at) => (&path[..at], &path[at + 1..]),
            None => (&path[..0], path),
        };
        let name = OsStr::from_bytes(name);
        let above = match self.above.take() {
            Some((known, above)) if known == dir => above,
            _ => self.parent(dir, entry)?,
        };
        let mut real = above.path.as_os_str().as_bytes().to_vec();
        if !real.is_empty() {
            real.push(b'/');
        }
        real.extend_from_slice(name.as_bytes());
        let new = New {
            dir: above.fd.as_fd(),
            name,
            real: &real,
            entry,
        };
        match &entry.kind {
            Kind::File => self.file(&new, tape, recipe)?,
            Kind::Dir => self.dir(&new, recipe)?,
            Kind::Symlink(target) => self.symlink(&new, target, recipe)?,
            Kind::HardLink(target) => self.hard_link(&new, target, recipe)?,
            Kind::Fifo => self.node(&new, FileType::Fifo, 0, recipe)?,
            Kind::Char(major, minor) => {
                self.device(&new, FileType::CharacterDevice, (*major, *minor), recipe)?;
            }
            Kind::Block(major, minor) => {
                self.device(&new, FileType::BlockDevice, (*major, *minor), recipe)?;
            }
            Kind::Other(kind) => self.note(format!(
                "\"{}\" is left out: unsupported type: {}",
                shown(&entry.name),
                kind.escape_ascii()
            )),
        }
        if entry.kind != Kind::File {
            tape.each(entry.stored, |bytes| recipe.literal(bytes))?;
        }
        // A replaced directory or link may have changed what names mean.
        if !self.replaced {
            self.above = Some((dir.to_vec(), above));
        }
        Ok(())
    }

    /// Resolves the directory that an entry goes to; makes what is missing.
    fn parent(&mut self, dir: &[u8], entry: &Entry) -> Result<Located> {
        let path = |len: usize| match len {
            0 => OsStr::new("."),
            len => OsStr::from_bytes(&dir[..len]),
        };
        let fail = |err| Fault::io("open", format!("parent of \"{}\"", shown(&entry.name)), err);
        match self.root.directory(path(dir.len())) {
            Err(err) if err.kind() == io::ErrorKind::NotFound => {}
            found => return found.map_err(fail),
        }
        let ends = dir
            .iter()
            .enumerate()
            .filter(|(_, b)| **b == b'/')
            .map(|(at, _)| at);
        let mut here = self.root.directory(".").map_err(fail)?;
        let mut start = 0;
        for end in ends.chain([dir.len()]) {
            let name = OsStr::from_bytes(&dir[start..end]);
            start = end + 1;
            match self.root.directory(path(end)) {
                Err(err) if err.kind() == io::ErrorKind::NotFound => {}
                found => {
                    here = found.map_err(fail)?;
                    continue;
                }
            }
            // A dangling link stands there: EEXIST.
            mkdirat(&here.fd, name, Mode::RWXU).map_err(|err| failed("mkdir", entry, err))?;
            let fd = openat(&here.fd, name, ENTER, Mode::empty())
                .map_err(|err| failed("open", entry, err))?;
            here = Located {
                fd,
                path: here.path.join(name),
            };
            self.finishes.push(Finish {
                path: here.path.as_os_str().as_bytes().to_vec(),
                mode: 0o755,
                owner: None,
                mtime: None,
                xattrs: Vec::new(),
            });
        }
        Ok(here)
    }

    fn file(&mut self, new: &New<'_>, tape: &mut Tape<'_>, recipe: &mut Recipe<'_>) -> Result<()> {
        let entry = new.entry;
        self.claimed = self.claimed.saturating_add(entry.size);
        if self.claimed > self.options.max_bytes {
            let max = self.options.max_bytes;
            return Err(Fault::refused(format!(
                "the image's files have more than {max} bytes"
            )));
        }
        let file = self.make_file(new, recipe)?;
        if entry.stored > 0 {
            let inode = fstat(&file)
                .map_err(|err| failed("stat", entry, err))?
                .st_ino;
            let number = recipe.file(new.real, entry.size, entry.sparse.as_deref())?;
            self.referred.insert(
                inode,
                Referred {
                    number,
                    segments: entry.sparse.clone(),
                },
            );
        }
        metadata::fill(&file, entry, tape)?;
        self.born
            .finish_file(&file, entry, &entry.xattrs, &mut |note| {
                self.notes.add(note)
            })
    }

    fn make_file(&mut self, new: &New<'_>, recipe: &mut Recipe<'_>) -> Result<File> {
        let create = |this: &Self| this.born.create(new.dir, new.name, new.entry);
        match create(self) {
            Err(Errno::EXIST) => {
                self.make_room(new, recipe)?;
                create(self)
            }
            made => made,
        }
        .map_err(|err| failed("create", new.entry, err))
    }

    fn dir(&mut self, new: &New<'_>, recipe: &mut Recipe<'_>) -> Result<()> {
        match mkdirat(new.dir, new.name, Mode::RWXU) {
            Ok(()) => {}
            Err(Errno::EXIST) => {
                let stat = statat(new.dir, new.name, AtFlags::SYMLINK_NOFOLLOW)
                    .map_err(|err| failed("stat", new.entry, err))?;
                if FileType::from_raw_mode(stat.st_mode) != FileType::Directory {
                    self.make_room(new, recipe)?;
                    mkdirat(new.dir, new.name, Mode::RWXU)
                        .map_err(|err| failed("mkdir", new.entry, err))?;
                }
            }
            Err(err) => return Err(failed("mkdir", new.entry, err)),
        }
        self.finish_later(new.real.to_vec(), new.entry);
        Ok(())
    }

    fn finish_later(&mut self, path: Vec<u8>, entry: &Entry) {
        self.finishes.push(Finish {
            path,
            mode: entry.mode,
            owner: Some((entry.uid, entry.gid)),
            mtime: Some(entry.mtime),
            xattrs: entry.xattrs.clone(),
        });
    }

    fn symlink(&mut self, new: &New<'_>, target: &[u8], recipe: &mut Recipe<'_>) -> Result<()> {
        self.make(new, recipe, "symlink", |new| {
            symlinkat(target, new.dir, new.name)
        })?;
        self.born.chown(new.dir, new.name, new.entry)?;
        metadata::set_times(new.dir, new.name, new.entry)
    }

    /// The target is an entry's name, not a path of the running system.
    fn hard_link(&mut self, new: &New<'_>, target: &[u8], recipe: &mut Recipe<'_>) -> Result<()> {
        let entry = new.entry;
        let outside = || {
            Fault::refused(format!(
                "hard link \"{}\" to \"{}\" leads out of the root file system",
                shown(&entry.name),
                shown(target)
            ))
        };
        let clean = cleaned(target).map_err(|_| outside())?;
        let Ok(Place::Inside(target)) = placed(&clean) else {
            return Err(outside());
        };
        let (dir, name) = match target.iter().rposition(|&b| b == b'/') {
            Some(at) => (&target[..at], &target[at + 1..]),
            None => (b".".as_slice(), target),
        };
        let fail = |err| Fault::io("link", format!("\"{}\"", shown(&entry.name)), err);
        let from = self.root.directory(OsStr::from_bytes(dir)).map_err(fail)?;
        if !self.refused.is_empty() {
            let target = from.path.join(OsStr::from_bytes(name));
            if self.refused.contains(target.as_os_str().as_bytes()) {
                self.refuse(new);
                return Ok(());
            }
        }
        let same = |dir: BorrowedFd<'_>, name: &OsStr| {
            statat(dir, name, AtFlags::SYMLINK_NOFOLLOW).map(|stat| (stat.st_dev, stat.st_ino))
        };
        let source = same(from.fd.as_fd(), OsStr::from_bytes(name))
            .map_err(|err| failed("link", entry, err))?;
        if same(new.dir, new.name) == Ok(source) {
            return Ok(());
        }
        self.make(new, recipe, "link", |new| {
            linkat(&from.fd, name, new.dir, new.name, AtFlags::empty())
        })
    }

    fn device(
        &mut self,
        new: &New<'_>,
        kind: FileType,
        number: (u32, u32),
        recipe: &mut Recipe<'_>,
    ) -> Result<()> {
        let name = shown(&new.entry.name);
        if kind == FileType::CharacterDevice && number == (0, 0) {
            // overlayfs would hide a file of the layer below.
            self.note(format!("\"{name}\" is left out: it is an overlay whiteout"));
            return Ok(());
        }
        if !self.options.devices {
            self.note(format!("\"{name}\" is left out: it is a device"));
            return Ok(());
        }
        match self.node(new, kind, makedev(number.0, number.1), recipe) {
            Err(fault) if fault.errno() == Some(Errno::PERM.raw_os_error()) => {
                self.refuse(new);
                Ok(())
            }
            made => made,
        }
    }

    /// A device that the kernel does not let us make, or a link to one. The
    /// recipe has it all the same.
    fn refuse(&mut self, new: &New<'_>) {
        self.refused.insert(new.real.to_vec());
        self.notes.refused_devices += 1;
    }

    fn node(
        &mut self,
        new: &New<'_>,
        kind: FileType,
        dev: u64,
        recipe: &mut Recipe<'_>,
    ) -> Result<()> {
        let mode = metadata::mode(new.entry.mode, self.options.form);
        self.make(new, recipe, "mknod", |new| {
            mknodat(new.dir, new.name, kind, Mode::RUSR, dev)
        })?;
        self.born.chown(new.dir, new.name, new.entry)?;
        chmod_nofollow(new.dir, new.name, mode)
            .map_err(|err| Fault::io("chmod", format!("\"{}\"", shown(&new.entry.name)), err))?;
        metadata::set_times(new.dir, new.name, new.entry)
    }

    /// Makes something new; where the name is taken, makes room and tries once more.
    fn make<T>(
        &mut self,
        new: &New<'_>,
        recipe: &mut Recipe<'_>,
        verb: &str,
        how: impl Fn(&New<'_>) -> rustix::io::Result<T>,
    ) -> Result<T> {
        match how(new) {
            Err(Errno::EXIST) => {
                self.make_room(new, recipe)?;
                how(new).map_err(|err| failed(verb, new.entry, err))
            }
            made => made.map_err(|err| failed(verb, new.entry, err)),
        }
    }

    /// Removes what an earlier entry made under this name. Its content, if the
    /// recipe refers to it, is moved into the recipe.
    fn make_room(&mut self, new: &New<'_>, recipe: &mut Recipe<'_>) -> Result<()> {
        let entry = new.entry;
        let stat = statat(new.dir, new.name, AtFlags::SYMLINK_NOFOLLOW)
            .map_err(|err| failed("stat", entry, err))?;
        let kind = FileType::from_raw_mode(stat.st_mode);
        self.note(format!(
            "duplicate file entry in archive: {}",
            shown(&entry.name)
        ));
        let flags = match kind {
            FileType::Directory => AtFlags::REMOVEDIR,
            _ => AtFlags::empty(),
        };
        if let Some(referred) = self.referred.remove(&stat.st_ino) {
            let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let fd = openat(new.dir, new.name, flags, Mode::empty())
                .map_err(|err| failed("open", entry, err))?;
            let mut content = Segments::new(File::from(fd), referred.segments);
            recipe.lost(referred.number, &mut content)?;
        }
        self.replaced |= matches!(kind, FileType::Directory | FileType::Symlink);
        unlinkat(new.dir, new.name, flags).map_err(|err| failed("replace", entry, err))
    }

    /// Sets modes and times of the directories, the deepest first.
    pub(crate) fn finish(mut self) -> Result<Grown> {
        let mut finishes = std::mem::take(&mut self.finishes);
        // Stable: of two entries for one directory the later one counts.
        finishes.sort_by(|a, b| b.path.cmp(&a.path));
        for finish in &finishes {
            let path = if finish.path.is_empty() {
                b".".as_slice()
            } else {
                &finish.path
            };
            let fail =
                |verb, err| Fault::io(verb, format!("\"rootfs/{}\"", shown(&finish.path)), err);
            let dir = match self
                .root
                .open(OsStr::from_bytes(path), ENTER, Mode::empty())
            {
                Ok(dir) => dir,
                Err(err) if self.replaced && !is_dir_error(&err) => return Err(fail("open", err)),
                Err(_) if self.replaced => continue,
                Err(err) => return Err(fail("open", err)),
            };
            let want = DirAttributes {
                mode: finish.mode,
                owner: finish.owner,
                mtime: finish.mtime,
                xattrs: &finish.xattrs,
            };
            let name = [b"rootfs/", finish.path.as_slice()].concat();
            let note = &mut |note| self.notes.add(note);
            metadata::finish_dir(dir.as_fd(), &name, &want, &self.born, note)?;
        }
        Ok(Grown {
            bytes: self.claimed,
            notes: self.notes.finish(),
        })
    }
}

/// Makes `rootfs` in `dest`, which must not have it.
pub(crate) fn make_root(dest: BorrowedFd<'_>, options: &Options) -> Result<(InRoot, Born)> {
    mkdirat(dest, c"rootfs", Mode::RWXU).map_err(|err| Fault::io("mkdir", "rootfs", err))?;
    let root = openat(dest, c"rootfs", ENTER, Mode::empty())
        .map_err(|err| Fault::io("open", "rootfs", err))?;
    let born = Born::probe(root.as_fd(), options.form)?;
    Ok((InRoot::new(root), born))
}

/// Something else than a directory stands there now.
fn is_dir_error(err: &io::Error) -> bool {
    matches!(Errno::from_io_error(err), Some(Errno::NOTDIR | Errno::LOOP))
}

/// An entry and the place where it goes.
struct New<'a> {
    dir: BorrowedFd<'a>,
    name: &'a OsStr,
    /// The path below the root, free of links.
    real: &'a [u8],
    entry: &'a Entry,
}
