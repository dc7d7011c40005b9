//! A rendered tree as a farm of hard links: directories are made anew, every
//! other entry is a link to the file of the layer it was selected from. No data
//! is copied, and nothing of a layer is changed but its link counts.

use crate::files;
use crate::flatten::Source;
use crate::select::{Filter, Selection, Taken};
use crate::shelf::Held;
use crate::store::Store;
use archive::Form;
use archive::layer::Node;
use model::{ImageManifest, fault::Result};
use rustix::fs::{AtFlags, FileType, Mode};
use rustix::io::Errno;
use std::collections::{BTreeMap, HashMap};
use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use sys::attributes::{self, Rights};

/// The layers of a tree, held, and what is taken from each.
pub(crate) struct Farm {
    rootfs: Vec<OwnedFd>,
    map: BTreeMap<Vec<u8>, Taken>,
    _held: Vec<Held>,
}

impl Farm {
    /// Takes the layers of a list for use and selects their files.
    pub(crate) fn plan(store: &Store, root: BorrowedFd<'_>, list: &[Source]) -> Result<Farm> {
        let mut selection = Selection::default();
        let mut filters: Vec<Filter> = Vec::new();
        let mut held = Vec::new();
        let mut rootfs = Vec::new();
        for (image, source) in list.iter().enumerate() {
            let (layer, manifest) = store.claim_files(root, &source.id)?;
            let failed = |err| store.fault("read", source.id.as_str(), err);
            let whitelist = ImageManifest::parse(&manifest)?.path_whitelist;
            let above = source.parent.and_then(|parent| filters.get(parent));
            let filter = Filter::below(above, &whitelist);
            let files = files::open_dir(layer.dir(), "rootfs").map_err(failed)?;
            walk(files.as_fd(), &mut |path, is_dir| {
                selection.offer(image, &filter, path, is_dir)
            })
            .map_err(failed)?;
            filters.push(filter);
            rootfs.push(files);
            held.push(layer);
        }
        Ok(Farm {
            rootfs,
            map: selection.finish(),
            _held: held,
        })
    }

    fn entries(&self) -> impl DoubleEndedIterator<Item = (&Path, Taken)> {
        self.map.iter().map(|(path, taken)| (as_path(path), *taken))
    }

    fn layer(&self, taken: Taken) -> BorrowedFd<'_> {
        self.rootfs[taken.image].as_fd()
    }

    /// Renders into an empty directory; returns the bytes of its files.
    pub(crate) fn build(&self, tree: BorrowedFd<'_>) -> io::Result<u64> {
        let mut bytes = 0;
        let rights = Rights::own();
        for (path, taken) in self.entries() {
            if taken.is_dir {
                rustix::fs::mkdirat(tree, path, Mode::RWXU)?;
            } else {
                bytes += link(self.layer(taken), tree, path)?;
            }
        }
        // Last and from the leaves up: making entries changes a directory's
        // mtime, and its final mode might forbid it.
        for (path, taken) in self.entries().rev().filter(|(_, taken)| taken.is_dir) {
            attributes::copy_dir(
                files::open_dir(self.layer(taken), path)?.as_fd(),
                files::open_dir(tree, path)?.as_fd(),
                rights,
            )?;
        }
        // The list is never empty, and its first image lends the root.
        attributes::copy_dir(self.rootfs[0].as_fd(), tree, rights)?;
        Ok(bytes)
    }

    /// Says what is wrong with a rendered tree, if anything is.
    pub(crate) fn compare(&self, tree: BorrowedFd<'_>) -> io::Result<Option<String>> {
        let mut there = HashMap::new();
        walk(tree, &mut |path, is_dir| {
            there.insert(path.to_vec(), is_dir);
        })?;
        for (path, taken) in self.entries() {
            let wrong = match there.remove(path.as_os_str().as_bytes()) {
                None => Some("is missing"),
                Some(is_dir) if is_dir != taken.is_dir => Some("has another type"),
                Some(_) if taken.is_dir => {
                    let same = same_dir(self.layer(taken), tree, path)?;
                    (!same).then_some("has another owner or mode")
                }
                Some(_) => {
                    let same = same_file(self.layer(taken), path, tree, path)?;
                    (!same).then_some("differs from its layer")
                }
            };
            if let Some(wrong) = wrong {
                return Ok(Some(format!("{path:?} {wrong}")));
            }
        }
        let left = there.into_keys().min();
        Ok(left.map(|path| format!("{:?} does not belong to it", as_path(&path))))
    }
}

fn as_path(path: &[u8]) -> &Path {
    Path::new(OsStr::from_bytes(path))
}

/// Links one file; where the file system refuses (too many links, none at all),
/// copies it. Returns its size.
fn link(layer: BorrowedFd<'_>, tree: BorrowedFd<'_>, path: &Path) -> io::Result<u64> {
    let stat = rustix::fs::statat(layer, path, AtFlags::SYMLINK_NOFOLLOW)?;
    match rustix::fs::linkat(layer, path, tree, path, AtFlags::empty()) {
        Ok(()) => {}
        Err(Errno::MLINK | Errno::PERM | Errno::OPNOTSUPP | Errno::XDEV) => {
            sys::copy::copy_entry(layer, tree, path)?;
        }
        Err(err) => return Err(err.into()),
    }
    let counts = FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile;
    Ok(if counts {
        stat.st_size.unsigned_abs()
    } else {
        0
    })
}

/// Whether a directory has the owner and mode of another one.
fn same_dir(a: BorrowedFd<'_>, b: BorrowedFd<'_>, path: &Path) -> io::Result<bool> {
    let a = rustix::fs::statat(a, path, AtFlags::SYMLINK_NOFOLLOW)?;
    let b = rustix::fs::statat(b, path, AtFlags::SYMLINK_NOFOLLOW)?;
    let is_dir = FileType::from_raw_mode(b.st_mode) == FileType::Directory;
    Ok(is_dir && (a.st_mode, a.st_uid, a.st_gid) == (b.st_mode, b.st_uid, b.st_gid))
}

/// Whether a directory has the mode of a node and, where owners are set, its owner.
pub(crate) fn same_attributes(
    tree: BorrowedFd<'_>,
    path: &Path,
    node: &Node,
    form: Form,
) -> io::Result<bool> {
    let stat = rustix::fs::statat(tree, path, AtFlags::SYMLINK_NOFOLLOW)?;
    let owner = !form.owners || (stat.st_uid, stat.st_gid) == (node.uid, node.gid);
    Ok(owner && stat.st_mode & 0o7777 == form.mode(node.mode))
}

/// Normally one inode; a copy must be equal in all that counts.
pub(crate) fn same_file(
    layer: BorrowedFd<'_>,
    from: &Path,
    tree: BorrowedFd<'_>,
    path: &Path,
) -> io::Result<bool> {
    let a = rustix::fs::statat(layer, from, AtFlags::SYMLINK_NOFOLLOW)?;
    let b = rustix::fs::statat(tree, path, AtFlags::SYMLINK_NOFOLLOW)?;
    if (a.st_dev, a.st_ino) == (b.st_dev, b.st_ino) {
        return Ok(true);
    }
    if (a.st_mode, a.st_uid, a.st_gid, a.st_size, a.st_rdev)
        != (b.st_mode, b.st_uid, b.st_gid, b.st_size, b.st_rdev)
    {
        return Ok(false);
    }
    match FileType::from_raw_mode(a.st_mode) {
        FileType::RegularFile => same_content(
            &files::open_file(layer, from)?,
            &files::open_file(tree, path)?,
        ),
        FileType::Symlink => Ok(rustix::fs::readlinkat(layer, from, Vec::new())?
            == rustix::fs::readlinkat(tree, path, Vec::new())?),
        _ => Ok(true),
    }
}

/// Whether two files of one length have the same bytes.
fn same_content(a: &File, b: &File) -> io::Result<bool> {
    let (mut left, mut right) = (vec![0; 1 << 16], vec![0; 1 << 16]);
    let mut at = 0;
    loop {
        let length = a.read_at(&mut left, at)?;
        if length == 0 {
            return Ok(b.read_at(&mut right, at)? == 0);
        }
        match b.read_exact_at(&mut right[..length], at) {
            Ok(()) if left[..length] == right[..length] => at += length as u64,
            Ok(()) => return Ok(false),
            Err(err) if err.kind() == io::ErrorKind::UnexpectedEof => return Ok(false),
            Err(err) => return Err(err),
        }
    }
}

/// Visits everything below a directory, sorted, parents before what is in them.
/// One fd is open at a time, however deep the tree.
pub(crate) fn walk(top: BorrowedFd<'_>, visit: &mut dyn FnMut(&[u8], bool)) -> io::Result<()> {
    let mut todo: Vec<(PathBuf, bool)> = vec![(PathBuf::new(), true)];
    while let Some((path, is_dir)) = todo.pop() {
        let at_top = path.as_os_str().is_empty();
        if !at_top {
            visit(path.as_os_str().as_bytes(), is_dir);
        }
        if is_dir {
            let dir = files::open_dir(top, if at_top { Path::new(".") } else { &path })?;
            let below = files::entries(dir.as_fd())?;
            todo.extend(
                below
                    .into_iter()
                    .rev()
                    .map(|e| (path.join(e.name), e.is_dir)),
            );
        }
    }
    Ok(())
}
