//! Checking images against their IDs. The tar of every layer is made again and
//! hashed; a rendered tree is compared with the layers it was made of. Nothing
//! is trusted but the ID.

use crate::farm::Farm;
use crate::files;
use crate::flatten::tree_id;
use crate::render::Sources;
use crate::shelf::{Reaped, Shelf};
use crate::store::{Store, TREES};
use model::{Fault, ImageId, Kind, fault::Result};
use std::collections::BTreeSet;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};

/// What a check has found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Integrity {
    /// Every byte is what the ID says.
    Verified,
    /// The image's own layer is; it was not merged with its dependencies yet.
    NotRendered,
    /// What is wrong.
    Broken(String),
}

impl Store {
    /// Checks an image and, if it is rendered, everything its tree is made of.
    pub fn verify(&self, id: &ImageId) -> Result<Integrity> {
        let root = self.required_root()?;
        let record = self.require(root, id)?;
        if let Some(reason) = self.check_layer(root, id)? {
            return Ok(Integrity::Broken(reason));
        }
        if record.plain {
            return Ok(Integrity::Verified);
        }
        let list = self.sources(id)?;
        let tree_id = tree_id(&list);
        let Some(tree) = self.claim_tree(root, &tree_id)? else {
            return Ok(Integrity::NotRendered);
        };
        let failed = |err| self.fault("read", &format!("{TREES}/{tree_id}"), err);
        if !Sources::read(tree.dir()).is_some_and(|noted| noted.list == list) {
            return Ok(Integrity::Broken(
                "the list of the tree's layers is damaged".into(),
            ));
        }
        let others: BTreeSet<&ImageId> = list
            .iter()
            .map(|source| &source.id)
            .filter(|other| *other != id)
            .collect();
        for other in others {
            if let Some(reason) = self.check_layer(root, other)? {
                let reason = format!("layer {:?}: {reason}", other.as_str());
                return Ok(Integrity::Broken(reason));
            }
        }
        let farm = Farm::plan(self, root, &list)?;
        let rootfs = match files::open_dir(tree.dir(), "rootfs") {
            Ok(rootfs) => rootfs,
            Err(err) if err.kind() == io::ErrorKind::NotFound => {
                return Ok(Integrity::Broken("\"rootfs\" is missing".into()));
            }
            Err(err) => return Err(failed(err)),
        };
        Ok(match farm.compare(rootfs.as_fd()).map_err(failed)? {
            None => Integrity::Verified,
            Some(difference) => Integrity::Broken(difference),
        })
    }

    /// Renders a broken tree anew. A broken layer cannot be repaired, for it is
    /// the only copy; nor a tree that pods are using.
    pub fn repair(&self, id: &ImageId) -> Result<()> {
        let root = self.required_root()?;
        let record = self.require(root, id)?;
        let list = self.sources(id)?;
        for layer in list
            .iter()
            .map(|source| &source.id)
            .collect::<BTreeSet<_>>()
        {
            if let Some(reason) = self.check_layer(root, layer)? {
                return Err(Fault::corrupt(reason).hint(format!(
                    "remove image {:?} and fetch it again",
                    layer.as_str()
                )));
            }
        }
        if record.plain {
            return Ok(());
        }
        let tree_id = tree_id(&list);
        let mut in_use = || self.is_held(root, &tree_id);
        if Shelf::trees(root).reap(&tree_id, &mut in_use)? == Reaped::Kept {
            return Err(Fault::conflict(format!(
                "tree {tree_id:?} is in use by a pod"
            )));
        }
        self.render(id).map(|_| ())
    }

    /// Whether a layer is what its ID says; the reason if not.
    fn check_layer(&self, root: BorrowedFd<'_>, id: &ImageId) -> Result<Option<String>> {
        match self.rebuild_layer(root, id, &mut io::sink()) {
            Ok(()) => Ok(None),
            Err(fault) if fault.kind == Kind::Corrupt => Ok(Some(fault.cause)),
            // A file of the image that is not there any more is damage as well.
            Err(fault) if fault.errno() == Some(rustix::io::Errno::NOENT.raw_os_error()) => {
                Ok(Some(fault.cause))
            }
            Err(fault) => Err(fault),
        }
    }
}
