//! References of pods: an empty file `holds/<layer or tree>/<pod uuid>` keeps a
//! layer or tree until the pod is gone, whatever becomes of the image's record.
//! An image of several layers has one for each of them.
//!
//! A hold is taken while the [`Tree`] keeps the files locked, so there is no
//! moment in which neither protects them.

use crate::files;
use crate::key::{self, Key};
use crate::put::mark;
use crate::render::Tree;
use crate::shelf::Shelf;
use crate::store::{HOLDS, LAYERS, SHORT, Store, TREES};
use model::{PodUuid, fault::Result};
use rustix::fs::AtFlags;
use rustix::io::Errno;
use std::io;
use std::os::fd::BorrowedFd;
use std::path::Path;

fn holders_path(key: &str) -> String {
    format!("{HOLDS}/{key}")
}

fn hold_path(key: &str, pod: &str) -> String {
    format!("{HOLDS}/{key}/{pod}")
}

impl Store {
    /// Keeps a tree's files for a pod until [`Store::release`], or until gc finds
    /// that there is no such pod. The pod's directory must exist already. `false`
    /// in a read-only store: nothing goes from there, so nothing is noted.
    pub fn hold(&self, tree: &Tree, pod: &PodUuid) -> Result<bool> {
        if self.is_read_only() {
            return Ok(false);
        }
        let root = self.required_root()?;
        for key in &tree.keys {
            self.hold_key(root, key, pod)?;
        }
        Ok(true)
    }

    fn hold_key(&self, root: BorrowedFd<'_>, key: &Key, pod: &PodUuid) -> Result<()> {
        let path = hold_path(key.name(), pod.as_str());
        let made = || loop {
            files::ensure_dir(root, &holders_path(key.name()), 0o700)?;
            match mark(root, &path, 0o600) {
                // The last of the other holders went, and took the folder along.
                Err(err) if err.kind() == io::ErrorKind::NotFound => continue,
                made => return made,
            }
        };
        made().map_err(|err| self.fault("create", &path, err))
    }

    /// Holds by the lower directories of an overlay, as [`Tree::lowers`] gave
    /// them: for a pod that was made while the store could not be written. What
    /// is no layer or tree of this store is passed over.
    pub fn hold_lowers(&self, lowers: &[String], pod: &PodUuid) -> Result<()> {
        let Some(root) = self.root()? else {
            return Ok(());
        };
        for lower in lowers {
            let Some(key) = self.key_of_lower(root, lower) else {
                continue;
            };
            let shelf = match &key {
                Key::Layer(_) => Shelf::layers(root),
                Key::Tree(_) => Shelf::trees(root),
            };
            // As in `hold`, it is in use until it is held.
            let claimed = shelf.claim(key.name());
            if let Some(_in_use) = claimed.map_err(|err| self.fault("open", key.name(), err))? {
                self.hold_key(root, &key, pod)?;
            }
        }
        Ok(())
    }

    fn key_of_lower(&self, root: BorrowedFd<'_>, lower: &str) -> Option<Key> {
        let inside = Path::new(lower).strip_prefix(self.path()).ok()?.to_str()?;
        let target = match inside.strip_prefix(SHORT) {
            Some(_) => rustix::fs::readlinkat(root, inside, Vec::new()).ok()?,
            None => std::ffi::CString::new(format!("../{inside}")).ok()?,
        };
        let mut parts = target.to_str().ok()?.strip_prefix("../")?.split('/');
        let (area, name) = (parts.next()?, parts.next()?);
        let key = Key::parse(name);
        let known = match &key {
            Key::Layer(_) => area == LAYERS,
            Key::Tree(name) => area == TREES && key::is_tree(name),
        };
        known.then_some(key)
    }

    /// Makes the holds of a pod outlive a power cut, where the pod lies on another
    /// file system than the store and its own sync does not do so.
    pub fn sync_holds(&self, pod: BorrowedFd<'_>) -> Result<()> {
        let Some(root) = self.root()?.filter(|_| !self.is_read_only()) else {
            return Ok(());
        };
        let synced = || -> io::Result<()> {
            if rustix::fs::fstat(root)?.st_dev != rustix::fs::fstat(pod)?.st_dev {
                rustix::fs::syncfs(root)?;
            }
            Ok(())
        };
        synced().map_err(|err| self.fault("sync", HOLDS, err))
    }

    /// Drops all holds of a pod; layers and trees that nothing names any more go.
    pub fn release(&self, pod: &PodUuid) -> Result<()> {
        let Some(root) = self.root()?.filter(|_| !self.is_read_only()) else {
            return Ok(());
        };
        let mut dropped = Vec::new();
        for key in self.held_keys(root)? {
            let path = hold_path(&key, pod.as_str());
            match rustix::fs::unlinkat(root, &path, AtFlags::empty()) {
                Ok(()) => dropped.push(Key::parse(&key)),
                Err(Errno::NOENT) => {}
                Err(err) => return Err(self.fault("unlink", &path, err.into())),
            }
        }
        // The holds are gone; what could not be removed after them is told, and
        // tried again by gc.
        self.reap_keys(root, dropped)?
            .faults
            .into_iter()
            .next()
            .map_or(Ok(()), Err)
    }

    /// The layers and trees that have a folder of holds.
    pub(crate) fn held_keys(&self, root: BorrowedFd<'_>) -> Result<Vec<String>> {
        files::names(root, HOLDS).map_err(|err| self.fault("open", HOLDS, err))
    }

    pub(crate) fn holders(&self, root: BorrowedFd<'_>, key: &str) -> Result<Vec<String>> {
        let path = holders_path(key);
        files::names(root, &path).map_err(|err| self.fault("open", &path, err))
    }

    pub(crate) fn drop_hold(&self, root: BorrowedFd<'_>, key: &str, pod: &str) -> Result<()> {
        let path = hold_path(key, pod);
        files::unlink(root, &path).map_err(|err| self.fault("unlink", &path, err))
    }

    /// Whether any pod holds a layer or tree. Asked under its exclusive lock,
    /// when nobody can take a new hold; the empty folder goes in the same call.
    pub(crate) fn is_held(&self, root: BorrowedFd<'_>, key: &str) -> Result<bool> {
        let path = holders_path(key);
        match rustix::fs::unlinkat(root, &path, AtFlags::REMOVEDIR) {
            Ok(()) | Err(Errno::NOENT) => Ok(false),
            Err(Errno::NOTEMPTY | Errno::EXIST) => Ok(true),
            Err(err) => Err(self.fault("rmdir", &path, err.into())),
        }
    }
}
