//! Garbage collection, in the order of `rkt image gc`: trees that nothing names,
//! then images that were not used within the grace period; around these, what
//! killed processes and dead pods have left.
//!
//! One thing that cannot be removed does not save the others: failures are
//! collected, and the next gc tries again.

use crate::files;
use crate::inbox::Inbox;
use crate::key::{self, Key};
use crate::remove::{Gone, Removal};
use crate::shelf::Shelf;
use crate::staging;
use crate::store::{IMAGES, LAYERS, NAMES, PACKED, Store, TMP, URLS};
use model::{Fault, ImageId, PodUuid, fault::Result};
use std::collections::BTreeSet;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

/// What a garbage collection has removed.
#[derive(Debug, Default)]
pub struct Swept {
    /// IDs of rendered trees, in the order removed.
    pub trees: Vec<String>,
    /// Images past the grace period, least recently used first.
    pub images: Vec<(ImageId, Removal)>,
    /// Names of layers that went without an image, or after it.
    pub layers: Vec<String>,
    /// References of pods that no longer exist.
    pub holds: usize,
    /// Directories of imports and renderings that were killed.
    pub staging: usize,
    /// What failed.
    pub faults: Vec<Fault>,
}

impl Swept {
    fn absorb(&mut self, gone: Gone) {
        self.trees.extend(gone.trees);
        self.layers.extend(gone.layers);
        self.faults.extend(gone.faults);
    }

    fn note<T>(&mut self, done: Result<T>) -> Option<T> {
        done.map_err(|fault| self.faults.push(fault)).ok()
    }
}

impl Store {
    /// Removes what nobody needs. Images that were used less than `grace` before
    /// `now_ns` stay, and those that a running pod names. `live_pods` must look
    /// at the disk when it is asked: a pod that is just being made is alive.
    pub fn gc(
        &self,
        now_ns: i64,
        grace: Duration,
        running_images: &[ImageId],
        live_pods: &dyn Fn(&PodUuid) -> bool,
    ) -> Result<Swept> {
        let mut swept = Swept::default();
        self.check_writable()?;
        let Some(root) = self.root()? else {
            return Ok(swept);
        };
        let (count, failure) = staging::sweep(root);
        swept.staging = count;
        swept
            .faults
            .extend(failure.map(|err| self.fault("remove", "tmp", err)));
        let inbox = self.sweep_inbox(root, &mut swept);
        swept.note(inbox);
        let held = self.drop_dead_holds(root, live_pods, &mut swept);
        swept.note(held);
        let unnamed = self.reap_unnamed(root);
        if let Some(gone) = swept.note(unnamed) {
            swept.absorb(gone);
        }
        let aged = self.remove_aged(now_ns, grace, running_images, &mut swept);
        swept.note(aged);
        let tidied = self.tidy_indices(root);
        swept.note(tidied);
        Ok(swept)
    }

    fn drop_dead_holds(
        &self,
        root: BorrowedFd<'_>,
        live_pods: &dyn Fn(&PodUuid) -> bool,
        swept: &mut Swept,
    ) -> Result<()> {
        for key in self.held_keys(root)? {
            for pod in self.holders(root, &key)? {
                if PodUuid::new(&pod).is_ok_and(|pod| live_pods(&pod)) {
                    continue;
                }
                self.drop_hold(root, &key, &pod)?;
                swept.holds += 1;
            }
        }
        Ok(())
    }

    /// What killed processes of others have left, and what is no packed image.
    fn sweep_inbox(&self, root: BorrowedFd<'_>, swept: &mut Swept) -> Result<()> {
        let failed = |err| self.fault("remove", PACKED, err);
        let Some(inbox) = Inbox::open(root).map_err(failed)? else {
            return Ok(());
        };
        let (count, failure) = staging::sweep_area(inbox.tmp().map_err(failed)?.as_fd());
        swept.staging += count;
        swept.faults.extend(failure.map(failed));
        for entry in files::entries(inbox.dir()).map_err(failed)? {
            let stays = match entry.name.to_str().map(|name| (name, key::image_of(name))) {
                Some((_, Some(id))) => {
                    self.packed_record(root, &id)?.is_some() && !self.is_stored(root, &id)?
                }
                Some((name, None)) => [TMP, URLS].contains(&name),
                None => false,
            };
            if stays {
                continue;
            }
            // One that a member has made to resist does not save the others.
            if let Err(err) = files::remove_tree(inbox.dir(), &entry.name) {
                swept.faults.push(failed(err));
            }
        }
        Ok(())
    }

    fn reap_unnamed(&self, root: BorrowedFd<'_>) -> Result<Gone> {
        let trees = self
            .trees(root)?
            .into_iter()
            .map(|(tree, _)| Key::Tree(tree));
        let layers = Shelf::layers(root)
            .names()
            .map_err(|err| self.fault("open", LAYERS, err))?;
        let layers = layers.into_iter().filter(|name| is_layer(name));
        let keys = trees.chain(layers.map(Key::Layer)).collect();
        self.reap_keys(root, keys)
    }

    fn remove_aged(
        &self,
        now_ns: i64,
        grace: Duration,
        running_images: &[ImageId],
        swept: &mut Swept,
    ) -> Result<()> {
        let mut images = Vec::new();
        for record in self.list()? {
            images.extend(swept.note(record));
        }
        images.sort_by_key(|record| record.last_used_ns);
        for record in images {
            let unused = i128::from(now_ns) - i128::from(record.last_used_ns);
            if unused <= i128::try_from(grace.as_nanos()).unwrap_or(i128::MAX) {
                break;
            }
            if running_images.contains(&record.id) {
                continue;
            }
            match self.remove(&record.id) {
                Ok(removal) => swept.images.push((record.id, removal)),
                // Somebody was faster.
                Err(fault) if fault.kind == model::Kind::NotFound => {}
                Err(fault) => swept.faults.push(fault),
            }
        }
        Ok(())
    }

    /// Folders without a record, and index entries that lead to none: what is
    /// left when an import or a removal is killed between two steps.
    fn tidy_indices(&self, root: BorrowedFd<'_>) -> Result<()> {
        if !files::exists(root, IMAGES).map_err(|err| self.fault("stat", IMAGES, err))? {
            return Ok(());
        }
        let _images = self.lock_images(root)?;
        let mut stored = BTreeSet::new();
        for id in self.ids(root)? {
            if self.is_stored(root, &id)? {
                stored.insert(id);
            } else {
                // Packed ones have no folder here.
                self.remove_folder(root, &id)
                    .map_err(|err| self.fault("remove", id.as_str(), err))?;
            }
        }
        let failed = |err| self.fault("remove", NAMES, err);
        for name in files::names(root, NAMES).map_err(failed)? {
            let by_name = format!("{NAMES}/{name}");
            for id in files::names(root, &by_name).map_err(failed)? {
                match ImageId::new(&id) {
                    Ok(id) if !stored.contains(&id) => {
                        self.forget_name(root, &by_name, &id).map_err(failed)?;
                    }
                    _ => {}
                }
            }
            files::rmdir_if_empty(root, &by_name).map_err(failed)?;
        }
        stored.extend(self.packed_ids(root)?);
        self.forget_urls(root, &|id| !stored.contains(id))
            .map_err(failed)
    }
}

fn is_layer(name: &str) -> bool {
    key::image_of(name).is_some() || key::diff_of(name).is_some()
}
