//! References of pods: an empty file `holds/<layer or tree>/<pod uuid>` keeps a
//! layer or tree until the pod is gone, whatever becomes of the image's record.
//! An image of several layers has one for each of them.
//!
//! A hold is taken while the [`Tree`] keeps the files locked, so there is no
//! moment in which neither protects them.

use crate::files;
use crate::key::Key;
use crate::put::mark;
use crate::render::Tree;
use crate::store::{HOLDS, Store};
use model::{PodUuid, fault::Result};
use rustix::fs::AtFlags;
use rustix::io::Errno;
use std::io;
use std::os::fd::BorrowedFd;

fn holders_path(key: &str) -> String {
    format!("{HOLDS}/{key}")
}

fn hold_path(key: &str, pod: &str) -> String {
    format!("{HOLDS}/{key}/{pod}")
}

impl Store {
    /// Keeps a tree's files for a pod until [`Store::release`], or until gc finds
    /// that there is no such pod. The pod's directory must exist already.
    pub fn hold(&self, tree: &Tree, pod: &PodUuid) -> Result<()> {
        let root = self.required_root()?;
        for key in &tree.keys {
            let path = hold_path(key.name(), pod.as_str());
            let made = || loop {
                files::ensure_dir(root, &holders_path(key.name()), 0o700)?;
                match mark(root, &path, 0o600) {
                    // The last of the other holders went, and took the folder along.
                    Err(err) if err.kind() == io::ErrorKind::NotFound => continue,
                    made => return made,
                }
            };
            made().map_err(|err| self.fault("create", &path, err))?;
        }
        Ok(())
    }

    /// Drops all holds of a pod; layers and trees that nothing names any more go.
    pub fn release(&self, pod: &PodUuid) -> Result<()> {
        let Some(root) = self.root()? else {
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
