//! Checking images against their IDs. The tar of every layer is made again and
//! hashed; a rendered tree is compared with the layers it was made of. Nothing
//! is trusted but the ID.

use crate::farm::Farm;
use crate::files;
use crate::flatten::tree_id;
use crate::layered::{compare, shown_in, top_name};
use crate::record::{ImageRecord, Top};
use crate::render::{MadeOf, Sources};
use crate::shelf::{Held, Reaped, Shelf};
use crate::store::{Store, TREES};
use model::{Fault, ImageId, Kind, fault::Result};
use std::collections::BTreeSet;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

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
        if record.packed {
            let checked = self.export_packed(root, &record, &mut io::sink());
            return Ok(broken(checked)?.map_or(Integrity::Verified, Integrity::Broken));
        }
        if let Some(reason) = self.check_image(root, &record)? {
            return Ok(Integrity::Broken(reason));
        }
        if !record.layers.is_empty() {
            let wrong = self.wrong_tree(root, &record)?;
            return Ok(match wrong {
                None => Integrity::Verified,
                Some((_, difference)) => Integrity::Broken(difference),
            });
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
        let same = |noted: Sources| matches!(noted.made_of, MadeOf::Images(noted) if noted == list);
        if !Sources::read(tree.dir()).is_some_and(same) {
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
            let record = self.require(root, other)?;
            if let Some(reason) = self.check_image(root, &record)? {
                let reason = format!("layer {:?}: {reason}", other.as_str());
                return Ok(Integrity::Broken(reason));
            }
        }
        let farm = Farm::plan(self, root, &list)?;
        let rootfs = match open_rootfs(&tree).map_err(failed)? {
            Some(rootfs) => rootfs,
            None => return Ok(Integrity::Broken(NO_ROOTFS.into())),
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
        self.check_writable()?;
        let record = self.require(root, id)?;
        if record.packed {
            return Err(lost(id, "the packed image is damaged".into()));
        }
        let list = if record.layers.is_empty() {
            self.sources(id)?
        } else {
            Vec::new()
        };
        let others = list.iter().map(|source| &source.id);
        for image in others.chain([id]).collect::<BTreeSet<_>>() {
            let record = self.require(root, image)?;
            if let Some(reason) = self.check_image(root, &record)? {
                return Err(lost(image, reason));
            }
        }
        if !record.layers.is_empty() {
            while let Some((tree, _)) = self.wrong_tree(root, &record)? {
                self.drop_tree(root, &tree)?;
            }
            return self.render(id).map(|_| ());
        }
        if record.plain {
            return Ok(());
        }
        self.drop_tree(root, &tree_id(&list))?;
        self.render(id).map(|_| ())
    }

    fn drop_tree(&self, root: BorrowedFd<'_>, tree: &str) -> Result<()> {
        let mut in_use = || self.is_held(root, tree);
        match Shelf::trees(root).reap(tree, &mut in_use)? {
            Reaped::Gone => Ok(()),
            Reaped::Kept => Err(Fault::conflict(format!("tree {tree:?} is in use by a pod"))),
        }
    }

    /// The first of the trees of an image of several layers that is not what it
    /// should be, and what is wrong with it.
    fn wrong_tree(
        &self,
        root: BorrowedFd<'_>,
        record: &ImageRecord,
    ) -> Result<Option<(String, String)>> {
        let layered = self.open_layers(root, &record.layers)?;
        for top in [Top::Fixups, Top::Flat] {
            let Some(name) = top_name(&record.id, top) else {
                continue;
            };
            let Some(tree) = self.claim_tree(root, &name)? else {
                continue;
            };
            let failed = |err| self.fault("read", &format!("{TREES}/{name}"), err);
            let wrong = match open_rootfs(&tree).map_err(failed)? {
                None => Some(NO_ROOTFS.to_string()),
                Some(rootfs) => {
                    let shown = shown_in(&layered.merged, top);
                    let form = self.form()?;
                    compare(shown, &layered.roots(), rootfs.as_fd(), form).map_err(failed)?
                }
            };
            if let Some(wrong) = wrong {
                return Ok(Some((name, wrong)));
            }
        }
        Ok(None)
    }

    /// Whether an image's own files are what its ID says; the reason if not.
    fn check_image(&self, root: BorrowedFd<'_>, record: &ImageRecord) -> Result<Option<String>> {
        if record.layers.is_empty() {
            return broken(self.rebuild(root, record, &mut io::sink()));
        }
        broken(self.check_layers(root, record))
    }

    fn check_layers(&self, root: BorrowedFd<'_>, record: &ImageRecord) -> Result<()> {
        let layered = self.open_layers(root, &record.layers)?;
        let form = self.form()?;
        let parts = layered.indices.iter().zip(&layered.roots);
        for ((index, rootfs), layer) in parts.zip(&record.layers) {
            if let Some(wrong) = archive::squash::check(index, rootfs.as_fd(), form)? {
                return Err(Fault::corrupt(format!("layer {layer}: {wrong}")));
            }
        }
        self.write_canonical(root, &record.id, &layered, &mut io::sink())
    }
}

const NO_ROOTFS: &str = "\"rootfs\" is missing";

fn open_rootfs(tree: &Held) -> io::Result<Option<OwnedFd>> {
    match files::open_dir(tree.dir(), "rootfs") {
        Ok(rootfs) => Ok(Some(rootfs)),
        Err(err) if err.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(err) => Err(err),
    }
}

fn lost(id: &ImageId, reason: String) -> Fault {
    Fault::corrupt(reason).hint(format!("remove image {:?} and fetch it again", id.as_str()))
}

/// Tells damage from a failure to look.
fn broken(checked: Result<()>) -> Result<Option<String>> {
    match checked {
        Ok(()) => Ok(None),
        Err(fault) if fault.kind == Kind::Corrupt => Ok(Some(fault.cause)),
        // A file of the image that is not there any more is damage as well.
        Err(fault) if fault.errno() == Some(rustix::io::Errno::NOENT.raw_os_error()) => {
            Ok(Some(fault.cause))
        }
        Err(fault) => Err(fault),
    }
}
