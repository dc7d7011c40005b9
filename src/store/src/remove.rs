//! Removing images. The record goes at once, and with it the image; the bytes
//! follow when no pod holds them and no tree is made of them. Only unlink and
//! rmdir are used, so that a full disk can be cleared.

use crate::files;
use crate::inbox::{Inbox, packed_path};
use crate::key::{self, Key};
use crate::lookup::{name_path, no_ids};
use crate::record::ImageRecord;
use crate::render::{MadeOf, Sources};
use crate::shelf::{Reaped, Shelf};
use crate::store::{IMAGES, Store, TREES, URLS, manifest_path, record_path};
use model::digest::Digest;
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
    pub layers: Vec<String>,
    pub faults: Vec<Fault>,
}

/// What nobody may remove.
struct Named {
    layers: BTreeSet<String>,
    /// There are records that cannot be read: they may name any layer of several.
    unknown: bool,
}

impl Named {
    fn has(&self, layer: &str) -> bool {
        self.layers.contains(layer) || self.unknown && key::diff_of(layer).is_some()
    }
}

impl Store {
    /// Removes an image. Pods that were made of it keep its files.
    pub fn remove(&self, id: &ImageId) -> Result<Removal> {
        let root = self.required_root()?;
        self.check_writable()?;
        let unpacked = self.is_stored(root, id)?;
        let mut stale = Vec::new();
        let mut record = None;
        if unpacked {
            let _images = self.lock_images(root)?;
            record = self.read_record(root, id).ok().flatten();
            let path = record_path(id);
            match rustix::fs::unlinkat(root, &path, AtFlags::empty()) {
                Ok(()) => {}
                Err(Errno::NOENT) => return Err(no_ids()),
                Err(err) => return Err(self.fault("unlink", &path, err.into())),
            }
            let mut note = |done: io::Result<()>| {
                if let Err(err) = done {
                    stale.push(self.fault("remove", &format!("{IMAGES}/{}", id.as_str()), err));
                }
            };
            // Before any of its layers goes: after a power cut a record without its
            // layers would be a broken image.
            note(files::sync_dir(root, &format!("{IMAGES}/{}", id.as_str())));
            note(self.remove_folder(root, id));
            if let Some(record) = &record {
                note(self.forget_name(root, &name_path(&record.name), id));
            }
        }
        let packed = self.remove_packed(root, id)?;
        if !unpacked && !packed {
            return Err(no_ids());
        }
        let forgotten = self.forget_urls(root, &|noted| noted == id);
        // Of who may write only to `packed/`: an entry without an image is none.
        if self.unpacks
            && let Err(err) = forgotten
        {
            stale.push(self.fault("remove", URLS, err));
        }
        if unpacked {
            match self.reap_image(root, id, record.as_ref()) {
                Ok(gone) => stale.extend(gone.faults),
                Err(fault) => stale.push(fault),
            }
        }
        Ok(Removal::of(&stale))
    }

    /// Whether there was one.
    fn remove_packed(&self, root: BorrowedFd<'_>, id: &ImageId) -> Result<bool> {
        let removed = || -> io::Result<bool> {
            let Some(inbox) = Inbox::open(root)? else {
                return Ok(false);
            };
            let there = files::exists(inbox.dir(), id.as_str())?;
            inbox.remove(id)?;
            Ok(there)
        };
        removed().map_err(|err| self.fault("remove", &packed_path(id), err))
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

    /// The image's trees, its layers, and those that only its trees needed.
    pub(crate) fn reap_image(
        &self,
        root: BorrowedFd<'_>,
        id: &ImageId,
        record: Option<&ImageRecord>,
    ) -> Result<Gone> {
        let mut keys = vec![Key::Layer(id.as_str().to_string())];
        let layers = record.iter().flat_map(|record| &record.layers);
        keys.extend(layers.map(|layer| Key::Layer(layer.file_name())));
        for (tree, sources) in self.trees(root)? {
            if sources.is_none_or(|sources| sources.image == *id) {
                keys.push(Key::Tree(tree));
            }
        }
        self.reap_keys(root, keys)
    }

    /// Removes those of the given layers and trees that nothing names. Trees come
    /// first; the layers of those that go are looked at as well.
    pub(crate) fn reap_keys(&self, root: BorrowedFd<'_>, keys: Vec<Key>) -> Result<Gone> {
        let mut gone = Gone::default();
        let mut layers = BTreeSet::new();
        for key in keys {
            match key {
                Key::Layer(layer) => {
                    layers.insert(layer);
                }
                Key::Tree(tree) => match self.reap_tree(root, &tree, &mut layers) {
                    Ok(true) => gone.trees.push(tree),
                    Ok(false) => {}
                    Err(fault) => gone.faults.push(fault),
                },
            }
        }
        // Most layers are in use: these are told apart without locking them, and
        // most of them without reading every record.
        let mut unnamed = BTreeSet::new();
        for layer in layers {
            if !self.is_surely_named(root, &layer)? {
                unnamed.insert(layer);
            }
        }
        if unnamed.is_empty() {
            return Ok(gone);
        }
        let named = self.named_layers(root)?;
        for layer in unnamed {
            if named.has(&layer) {
                continue;
            }
            let mut named = || -> Result<bool> {
                Ok(self.is_held(root, &layer)? || self.named_layers(root)?.has(&layer))
            };
            match Shelf::layers(root).reap(&layer, &mut named) {
                Ok(Reaped::Gone) => gone.layers.push(layer),
                Ok(Reaped::Kept) => {}
                Err(fault) => gone.faults.push(fault),
            }
        }
        Ok(gone)
    }

    /// By a pod, or as the only layer of its image.
    fn is_surely_named(&self, root: BorrowedFd<'_>, layer: &str) -> Result<bool> {
        if !self.holders(root, layer)?.is_empty() {
            return Ok(true);
        }
        let Some(id) = key::image_of(layer) else {
            return Ok(false);
        };
        // One that cannot be read names it all the same.
        let record = self.read_record(root, &id);
        Ok(record.map_or(true, |record| record.is_some_and(|r| r.layers.is_empty())))
    }

    fn reap_tree(
        &self,
        root: BorrowedFd<'_>,
        tree: &str,
        layers: &mut BTreeSet<String>,
    ) -> Result<bool> {
        let sources = self.read_sources(root, tree);
        let mut named = || self.is_tree_named(root, tree, sources.as_ref());
        if Shelf::trees(root).reap(tree, &mut named)? == Reaped::Kept {
            return Ok(false);
        }
        if let Some(sources) = sources {
            if matches!(sources.made_of, MadeOf::Images(_)) {
                self.note_tree_size(root, &sources.image, 0);
            }
            layers.extend(sources.layers());
        }
        Ok(true)
    }

    /// The layers that images and trees are made of.
    fn named_layers(&self, root: BorrowedFd<'_>) -> Result<Named> {
        let trees = self.trees(root)?.into_iter();
        let mut named = Named {
            layers: trees
                .filter_map(|(_, sources)| sources)
                .flat_map(|sources| sources.layers())
                .collect(),
            unknown: false,
        };
        for id in self.ids(root)? {
            match self.read_record(root, &id) {
                Ok(None) => {}
                Ok(Some(record)) if record.layers.is_empty() => {
                    named.layers.insert(id.as_str().to_string());
                }
                Ok(Some(record)) => {
                    named
                        .layers
                        .extend(record.layers.iter().map(Digest::file_name));
                }
                Err(_) => {
                    named.layers.insert(id.as_str().to_string());
                    named.unknown = true;
                }
            }
        }
        Ok(named)
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
        match &sources.made_of {
            MadeOf::Layers(layers) => match self.read_record(root, &sources.image) {
                Ok(record) => Ok(record.is_some_and(|record| record.layers == *layers)),
                Err(_) => Ok(true),
            },
            MadeOf::Images(_) => {
                // A dependency that is missing makes the tree unreachable.
                let now = self.sources(&sources.image);
                Ok(now.is_ok_and(|list| crate::flatten::tree_id(&list) == tree))
            }
        }
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
