//! A folder of directories that are complete or count as absent: `layers` and
//! `trees`.
//!
//! Each directory carries a seal file. It is renamed into place with its seal,
//! and its removal begins with unlinking it, so whatever a killed process leaves
//! under a final name has no seal. Users hold a shared flock on the directory
//! itself, removers need the exclusive one; there are no lock files to clean up.

use crate::files;
use crate::key;
use model::Fault;
use rustix::fs::FlockOperation;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// One shelf of a store.
#[derive(Clone, Copy)]
pub(crate) struct Shelf<'a> {
    root: BorrowedFd<'a>,
    area: &'static str,
}

/// A complete directory that cannot go while this value lives.
#[derive(Debug)]
pub(crate) struct Held(OwnedFd);

impl Held {
    pub(crate) fn dir(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// What came of an attempt to remove a directory.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Reaped {
    /// It is gone, or was not there.
    Gone,
    /// Somebody uses it right now, or something names it.
    Kept,
}

impl<'a> Shelf<'a> {
    /// The unpacked layers. The seal is what the archive is made of again: of
    /// an ACI the recipe of its tar, of others the index.
    pub(crate) fn layers(root: BorrowedFd<'a>) -> Shelf<'a> {
        let area = crate::store::LAYERS;
        Shelf { root, area }
    }

    /// The rendered trees; the list of what went into them is the seal.
    pub(crate) fn trees(root: BorrowedFd<'a>) -> Shelf<'a> {
        let area = crate::store::TREES;
        Shelf { root, area }
    }

    fn seal(&self, name: &str) -> &'static str {
        if self.area == crate::store::TREES {
            "sources"
        } else if key::diff_of(name).is_some() {
            "index"
        } else {
            "recipe"
        }
    }

    fn path(&self, name: &str) -> String {
        format!("{}/{name}", self.area)
    }

    pub(crate) fn names(&self) -> io::Result<Vec<String>> {
        files::names(self.root, self.area)
    }

    /// Takes a directory for use, if it is there and complete.
    pub(crate) fn claim(&self, name: &str) -> io::Result<Option<Held>> {
        loop {
            let dir = match files::open_dir(self.root, self.path(name)) {
                Ok(dir) => dir,
                Err(err) if err.kind() == io::ErrorKind::NotFound => return Ok(None),
                Err(err) => return Err(err),
            };
            files::lock(dir.as_fd(), FlockOperation::LockShared)?;
            if files::exists(dir.as_fd(), self.seal(name))? {
                return Ok(Some(Held(dir)));
            }
            // It was removed while we waited for the lock: look again, another
            // one may stand there by now. Or it is a leftover of a killed removal.
            if files::is_linked(self.root, self.path(name), dir.as_fd())? {
                return Ok(None);
            }
        }
    }

    /// Moves a finished directory from a staging directory to its final name and
    /// takes it for use. If one stands there already, that one is taken and the
    /// staged one stays where it is. [`Shelf::sync`] makes it last.
    pub(crate) fn place(&self, staged: BorrowedFd<'_>, from: &str, name: &str) -> io::Result<Held> {
        let dir = files::open_dir(staged, from)?;
        // Before the rename: no remover may get hold of it in between.
        files::lock(dir.as_fd(), FlockOperation::LockShared)?;
        loop {
            match rustix::fs::renameat(staged, from, self.root, self.path(name)) {
                Ok(()) => return Ok(Held(dir)),
                Err(rustix::io::Errno::EXIST | rustix::io::Errno::NOTEMPTY) => {
                    match self.claim(name)? {
                        Some(held) => return Ok(held),
                        None => self.clear_leftover(name)?,
                    }
                }
                Err(err) => return Err(err.into()),
            }
        }
    }

    /// Makes what was placed survive a power cut.
    pub(crate) fn sync(&self) -> io::Result<()> {
        files::sync_dir(self.root, self.area)
    }

    /// Removes a directory unless somebody uses it or `named` says that it is
    /// still needed. `named` is asked under the exclusive lock.
    pub(crate) fn reap(
        &self,
        name: &str,
        named: &mut dyn FnMut() -> Result<bool, Fault>,
    ) -> Result<Reaped, Fault> {
        let fault = |err| Fault::io("remove", self.path(name), err);
        let dir = match files::open_dir(self.root, self.path(name)) {
            Ok(dir) => dir,
            Err(err) if err.kind() == io::ErrorKind::NotFound => return Ok(Reaped::Gone),
            Err(err) => return Err(fault(err)),
        };
        if !files::try_lock_exclusive(dir.as_fd()).map_err(fault)? || named()? {
            return Ok(Reaped::Kept);
        }
        // The link first: afterwards the name may be somebody else's already.
        crate::short::unlink(self.root, self.area, name).map_err(fault)?;
        self.erase(dir.as_fd(), name).map_err(fault)?;
        Ok(Reaped::Gone)
    }

    /// Removes what a killed removal has left under a final name.
    fn clear_leftover(&self, name: &str) -> io::Result<()> {
        let dir = match files::open_dir(self.root, self.path(name)) {
            Ok(dir) => dir,
            Err(err) if err.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(err) => return Err(err),
        };
        files::lock(dir.as_fd(), FlockOperation::LockExclusive)?;
        if files::exists(dir.as_fd(), self.seal(name))? {
            return Ok(());
        }
        self.erase(dir.as_fd(), name)
    }

    /// The seal first, and on the disk, so that no crash can leave a directory
    /// that looks complete; then through the fd, so that a new directory which
    /// has taken the name is not hurt.
    fn erase(&self, dir: BorrowedFd<'_>, name: &str) -> io::Result<()> {
        files::unlink(dir, self.seal(name))?;
        rustix::fs::fsync(dir)?;
        for entry in files::entries(dir)? {
            files::remove_tree(dir, &entry.name)?;
        }
        files::rmdir_if_empty(self.root, self.path(name))
    }
}
