//! Removing images. The record goes at once, and with it the image; the bytes
//! follow when no pod holds them and no tree is made of them. Only unlink and
//! rmdir are used, so that a full disk can be cleared.

use crate::files;
use crate::lookup::name_path;
use crate::render::Sources;
use crate::shelf::{Reaped, Shelf};
use crate::store::{IMAGES, Store, TREES, manifest_path, record_path};
use model::{Fault, ImageId, fault::Result};
use rustix::fs::AtFlags;
use rustix::io::Errno;
use std::collections::BTreeSet;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};

/// What came of removing an image. It is removed in any case.
#[derive(Clone, Debug)]
pub enum Removal {
    Clean,
    /// Files were left that should have gone; the next gc tries again.
    Stale(Fault),
}

impl Removal {
    fn of(faults: &[Fault]) -> Removal {
        let Some(first) = faults.first() else {
            return Removal::Clean;
        };
        let causes: String = faults
            .iter()
            .map(|fault| format!("[{}]", fault.cause))
            .collect();
        let text = format!("some aci disk entries cannot be removed: {causes}");
        Removal::Stale(Fault::new(first.kind, text))
    }
}

/// What [`Store::reap_keys`] has done.
#[derive(Debug, Default)]
pub(crate) struct Gone {
    pub trees: Vec<String>,
    pub layers: Vec<ImageId>,
    pub faults: Vec<Fault>,
}

impl Store {
    /// Removes an image. Pods that were made of it keep its files.
    pub fn remove(&self, id: &ImageId) -> Result<Removal> {
        let root = self.required_root()?;
        let mut stale = Vec::new();
        {
            let _images = self.lock_images(root)?;
            let record = self.read_record(root, id).ok().flatten();
            let path = record_path(id);
            match rustix::fs::unlinkat(root, &path, AtFlags::empty()) {
                Ok(()) => {}
                Err(Errno::NOENT) => return Err(Fault::not_found("no image IDs found")),
                Err(err) => return Err(self.fault("unlink", &path, err.into())),
            }
            let mut note = |done: io::Result<()>| {
                if let Err(err) = done {
                    stale.push(self.fault("remove", &format!("{IMAGES}/{}", id.as_str()), err));
                }
            };
            note(self.remove_folder(root, id));
            if let Some(record) = record {
                note(self.forget_name(root, &name_path(&record.name), id));
            }
            note(self.forget_urls(root, &|noted| noted == id));
        }
        match self.reap_image(root, id) {
            Ok(gone) => stale.extend(gone.faults),
            Err(fault) => stale.push(fault),
        }
        Ok(Removal::of(&stale))
    }

    /// What is left in an image's folder when its record is gone. The caller
    /// holds the lock on images.
    pub(crate) fn remove_folder(&self, root: BorrowedFd<'_>, id: &ImageId) -> io::Result<()> {
        files::unlink(root, manifest_path(id))?;
        files::rmdir_if_empty(root, format!("{IMAGES}/{}", id.as_str()))
    }

    pub(crate) fn forget_name(
        &self,
        root: BorrowedFd<'_>,
        by_name: &str,
        id: &ImageId,
    ) -> io::Result<()> {
        files::unlink(root, format!("{by_name}/{}", id.as_str()))?;
        files::rmdir_if_empty(root, by_name)
    }

    /// The image's trees, its layer, and the layers that only its trees needed.
    fn reap_image(&self, root: BorrowedFd<'_>, id: &ImageId) -> Result<Gone> {
        let mut keys = vec![id.as_str().to_string()];
        for (tree, sources) in self.trees(root)? {
            if sources.is_none_or(|sources| sources.image == *id) {
                keys.push(tree);
            }
        }
        self.reap_keys(root, keys)
    }

    /// Removes those of the given layers and trees that nothing names. Trees come
    /// first; the layers of those that go are looked at as well.
    pub(crate) fn reap_keys(&self, root: BorrowedFd<'_>, keys: Vec<String>) -> Result<Gone> {
        let mut gone = Gone::default();
        let mut layers = BTreeSet::new();
        for key in keys {
            match ImageId::new(&key) {
                Ok(layer) => {
                    layers.insert(layer);
                }
                Err(_) => match self.reap_tree(root, &key, &mut layers) {
                    Ok(true) => gone.trees.push(key),
                    Ok(false) => {}
                    Err(fault) => gone.faults.push(fault),
                },
            }
        }
        // Most layers are in use: these are told apart without locking them.
        let in_trees = self.layers_of_trees(root)?;
        for layer in layers {
            if in_trees.contains(&layer) || self.is_stored(root, &layer)? {
                continue;
            }
            let mut named = || self.is_layer_named(root, &layer);
            match Shelf::layers(root).reap(layer.as_str(), &mut named) {
                Ok(Reaped::Gone) => gone.layers.push(layer),
                Ok(Reaped::Kept) => {}
                Err(fault) => gone.faults.push(fault),
            }
        }
        Ok(gone)
    }

    fn reap_tree(
        &self,
        root: BorrowedFd<'_>,
        tree: &str,
        layers: &mut BTreeSet<ImageId>,
    ) -> Result<bool> {
        let sources = self.read_sources(root, tree);
        let mut named = || self.is_tree_named(root, tree, sources.as_ref());
        if Shelf::trees(root).reap(tree, &mut named)? == Reaped::Kept {
            return Ok(false);
        }
        if let Some(sources) = sources {
            self.note_tree_size(root, &sources.image, 0);
            layers.extend(sources.list.into_iter().map(|source| source.id));
        }
        Ok(true)
    }

    fn is_layer_named(&self, root: BorrowedFd<'_>, layer: &ImageId) -> Result<bool> {
        if self.is_stored(root, layer)? || self.is_held(root, layer.as_str())? {
            return Ok(true);
        }
        Ok(self.layers_of_trees(root)?.contains(layer))
    }

    fn layers_of_trees(&self, root: BorrowedFd<'_>) -> Result<BTreeSet<ImageId>> {
        let sources = self
            .trees(root)?
            .into_iter()
            .filter_map(|(_, sources)| sources);
        Ok(sources
            .flat_map(|sources| sources.list)
            .map(|source| source.id)
            .collect())
    }

    /// A tree is named by pods, and by its image as long as the image would be
    /// rendered to it. One that a newer rkt has made is its own affair, except
    /// that a damaged one looks the same: it goes when no pod holds it.
    fn is_tree_named(
        &self,
        root: BorrowedFd<'_>,
        tree: &str,
        sources: Option<&Sources>,
    ) -> Result<bool> {
        if self.is_held(root, tree)? {
            return Ok(true);
        }
        let Some(sources) = sources else {
            return Ok(false);
        };
        if !self.is_stored(root, &sources.image)? {
            return Ok(false);
        }
        // A dependency that is missing makes the tree unreachable.
        let now = self.sources(&sources.image);
        Ok(now.is_ok_and(|list| crate::flatten::tree_id(&list) == tree))
    }

    pub(crate) fn trees(&self, root: BorrowedFd<'_>) -> Result<Vec<(String, Option<Sources>)>> {
        let names = Shelf::trees(root)
            .names()
            .map_err(|err| self.fault("open", TREES, err))?;
        Ok(names
            .into_iter()
            .map(|name| {
                let sources = self.read_sources(root, &name);
                (name, sources)
            })
            .collect())
    }

    fn read_sources(&self, root: BorrowedFd<'_>, tree: &str) -> Option<Sources> {
        let dir = files::open_dir(root, format!("{TREES}/{tree}")).ok()?;
        Sources::read(dir.as_fd())
    }
}
