//! An image of several layers comes into the store: each layer is unpacked once,
//! by whichever thread has its bytes; the image is published when all are there.
//!
//! The layers wait in one staging directory. Publishing syncs once, computes the
//! image ID meanwhile, and renames: layers, then the tree that goes with them,
//! the record last. What fails before that leaves the store as it was.

use crate::files;
use crate::key::Key;
use crate::layered::{rootfs_bytes, seal_tree, shown_in, top_name, top_of};
use crate::pack::{Packing, Tee};
use crate::put::{Manifest, Origin, check_id, drain, now_ns};
use crate::record::{ImageRecord, Top};
use crate::shelf::{Held, Shelf};
use crate::short;
use crate::staging::{self, Staging};
use crate::store::{LAYERS, Store, TREES};
use archive::layer::{Index, unpack_layer};
use archive::squash::{self, Merged, Squashed};
use model::digest::{Algorithm, Digest};
use model::{Fault, ImageId, ImageManifest, fault::Result};
use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Layers of an image. Two fds are open for each.
pub const MOST_LAYERS: usize = 400;

/// An image in the making. Layers that are in the store already and that it
/// claimed cannot go while it lives; what it has unpacked goes with it, unless it
/// is published. Threads may share it.
pub struct Assembly<'s> {
    store: &'s Store,
    root: BorrowedFd<'s>,
    staging: Staging,
    /// Of a user who may not unpack: where the blobs are collected.
    packing: Option<Packing>,
    ready: Mutex<BTreeMap<Digest, Layer>>,
    /// Names of staged things.
    count: AtomicU32,
    used: Used,
}

/// What the layers of the image have used so far: all together are bounded as if
/// they were one.
#[derive(Default)]
struct Used {
    bytes: AtomicU64,
    entries: AtomicU64,
    names: AtomicU64,
}

impl Used {
    fn left(&self) -> archive::Options {
        let all = archive::Options::default();
        let left = |all: u64, used: &AtomicU64| all.saturating_sub(used.load(Ordering::Relaxed));
        archive::Options {
            max_bytes: left(all.max_bytes, &self.bytes),
            max_entries: left(all.max_entries, &self.entries),
            max_names: left(all.max_names, &self.names),
            ..all
        }
    }

    fn add(&self, bytes: u64, index: &Index) {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        let entries = index.nodes.len() as u64;
        self.entries.fetch_add(entries, Ordering::Relaxed);
        let names = index.nodes.iter().map(|node| node.path.len() as u64);
        self.names.fetch_add(names.sum(), Ordering::Relaxed);
    }
}

/// A layer that need not be fetched any more.
struct Layer {
    place: Place,
    index: Index,
    rootfs: OwnedFd,
    notes: Vec<String>,
}

enum Place {
    Stored {
        _held: Held,
    },
    /// By its name in the staging directory.
    Staged(String),
}

impl Store {
    pub fn assemble(&self) -> Result<Assembly<'_>> {
        let root = self.make()?;
        let failed = |err| self.fault("mkdir", "tmp", err);
        let (staging, packing) = if self.unpacks {
            staging::sweep(root);
            (Staging::new(root).map_err(failed)?, None)
        } else {
            let (staging, packing) = Packing::new(self, root)?;
            (staging, Some(packing))
        };
        Ok(Assembly {
            store: self,
            root,
            staging,
            packing,
            ready: Mutex::default(),
            count: AtomicU32::new(0),
            used: Used::default(),
        })
    }
}

impl Assembly<'_> {
    fn ready(&self) -> MutexGuard<'_, BTreeMap<Digest, Layer>> {
        // What is in the map is whole, whatever became of a thread.
        self.ready.lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[cfg(test)]
    pub(crate) fn left(&self) -> archive::Options {
        self.used.left()
    }

    /// Whether the layer is here and need not be fetched.
    pub fn claim(&self, diff_id: &Digest) -> Result<bool> {
        if self.ready().contains_key(diff_id) {
            return Ok(true);
        }
        if self.packing.is_some() {
            return self.claim_packed(diff_id);
        }
        let Some(held) = self.store.claim_diff(self.root, diff_id)? else {
            return Ok(false);
        };
        let (index, rootfs) = match self.store.read_layer(&held, diff_id) {
            Ok(read) => read,
            Err(fault) => {
                // It is damaged. One that nothing names makes way for another.
                drop(held);
                let key = Key::Layer(diff_id.file_name());
                let gone = self.store.reap_keys(self.root, vec![key])?;
                return if gone.layers.is_empty() {
                    Err(fault)
                } else {
                    Ok(false)
                };
            }
        };
        self.used.add(0, &index);
        let layer = Layer {
            place: Place::Stored { _held: held },
            index,
            rootfs,
            notes: Vec::new(),
        };
        self.ready().entry(diff_id.clone()).or_insert(layer);
        Ok(true)
    }

    /// The blob of another packed image does as well, if it is what it says.
    fn claim_packed(&self, diff_id: &Digest) -> Result<bool> {
        for id in self.store.packed_ids(self.root)? {
            let record = self.store.packed_record(self.root, &id)?;
            if !record.is_some_and(|record| record.layers.contains(diff_id)) {
                continue;
            }
            let image = self.store.packed_image(self.root, &id)?;
            let Ok(mut blob) = crate::inbox::open_blob(image.as_fd(), &diff_id.file_name()) else {
                continue;
            };
            if self.unpack(Some(diff_id), diff_id, &mut blob).is_ok() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Unpacks a layer from its blob, compressed or not, which is read to its
    /// end; the source itself checks that it is `blob`. Fails if the content is
    /// not `diff_id`. Gives the diff ID.
    pub fn unpack(
        &self,
        diff_id: Option<&Digest>,
        blob: &Digest,
        source: &mut (dyn Read + Send),
    ) -> Result<Digest> {
        let name = format!("layer{}", self.count.fetch_add(1, Ordering::Relaxed));
        let unpacked = self.stage(&name, diff_id, blob, source);
        if unpacked.is_err() {
            // Other layers may still come; what is of no use needs no room.
            let _ = files::remove_tree(self.staging.dir(), &name);
        }
        let (diff_id, layer) = unpacked?;
        if let Some(packing) = &self.packing {
            let failed = |err| self.store.fault("rename", "packed", err);
            packing.keep(&name, &diff_id.file_name()).map_err(failed)?;
        }
        let mut ready = self.ready();
        // Somebody else may have had the same one.
        if ready.contains_key(&diff_id) {
            drop(ready);
            let _ = files::remove_tree(self.staging.dir(), &name);
        } else {
            ready.insert(diff_id.clone(), layer);
        }
        Ok(diff_id)
    }

    fn stage(
        &self,
        name: &str,
        diff_id: Option<&Digest>,
        blob: &Digest,
        source: &mut (dyn Read + Send),
    ) -> Result<(Digest, Layer)> {
        let failed = |err| self.store.fault("create", "tmp", err);
        let dir = self.staging.make_dir(name, 0o700).map_err(failed)?;
        let options = archive::Options {
            form: self.store.settle_form()?,
            ..self.used.left()
        };
        let algorithm = diff_id.map_or(Algorithm::Sha256, Digest::algorithm);
        let layer = match &self.packing {
            None => {
                let layer = unpack_layer(&mut *source, dir.as_fd(), algorithm, &options)?;
                drain(source)?;
                layer
            }
            Some(packing) => {
                let mut tee = Tee::new(source, packing.create(name).map_err(failed)?);
                let layer = unpack_layer(&mut tee, dir.as_fd(), algorithm, &options)?;
                drain(&mut tee)?;
                layer
            }
        };
        self.used.add(layer.size, &layer.index);
        if let Some(expected) = diff_id
            && *expected != layer.diff_id
        {
            return Err(Fault::invalid(format!(
                "layer {blob} is not what the image says: its content has the digest {}, \
                 not {expected}",
                layer.diff_id
            ))
            .hint("the image is damaged at its origin; tell whoever publishes it"));
        }
        let index = files::create(dir.as_fd(), "index", 0o600).map_err(failed)?;
        layer.index.write(&mut &index)?;
        let layer = (
            layer.diff_id,
            Layer {
                place: Place::Staged(name.to_string()),
                rootfs: files::open_dir(dir.as_fd(), "rootfs").map_err(failed)?,
                index: layer.index,
                notes: layer.notes,
            },
        );
        Ok(layer)
    }

    /// Names the image of these layers, lowest first, all claimed or unpacked.
    /// Its ID is the hash of its canonical archive.
    pub fn publish(
        self,
        manifest: &ImageManifest,
        layers: &[Digest],
        origin: &Origin,
    ) -> Result<ImageRecord> {
        self.publish_as(manifest.compact().as_bytes(), layers, origin, None)
    }

    /// `expected` is the ID that somebody else has given the image.
    pub(crate) fn publish_as(
        mut self,
        manifest: &[u8],
        layers: &[Digest],
        origin: &Origin,
        expected: Option<&ImageId>,
    ) -> Result<ImageRecord> {
        let ready = std::mem::take(&mut *self.ready());
        let stack = stacked(&ready, layers)?;
        let indices: Vec<&Index> = stack.iter().map(|layer| &layer.index).collect();
        let roots: Vec<BorrowedFd<'_>> = stack.iter().map(|layer| layer.rootfs.as_fd()).collect();
        let merged = squash::merge(&indices)?;
        let mut top = top_of(&merged, layers);
        if self.packing.is_some() {
            // Root decides when it unpacks.
            top = Top::Nothing;
        }
        let tree = match top {
            Top::Nothing => None,
            top => {
                let shown = shown_in(&merged, top);
                Some(self.store.stage_tree(&self.staging, shown, &roots)?)
            }
        };
        let hash = || squash::write_squashed(manifest, &merged, &roots, &mut io::sink());
        let squashed = self.sync_while(hash)?;
        let id = ImageId::from_digest(&squashed.digest);
        check_id(&id, expected)?;
        let mut record = record(&id, manifest, &squashed, origin)?;
        record.layers = layers.to_vec();
        record.top = top;
        let mut once: Vec<&Digest> = layers.iter().collect();
        once.sort();
        once.dedup();
        let of_each = once.iter().filter_map(|layer| ready.get(*layer));
        for layer in of_each {
            let bytes = rootfs_bytes(&layer.index);
            record.tree_size = record.tree_size.saturating_add(bytes);
            record.notes.extend(layer.notes.iter().cloned());
        }
        if let Some(packing) = self.packing.take() {
            drop(ready);
            return packing.publish(
                self.store,
                self.root,
                &self.staging,
                manifest,
                record,
                origin,
            );
        }
        let mut placed = Vec::new();
        let published = self
            .place(&ready, &once, &record, tree, &mut placed)
            .and_then(|_in_use| {
                let manifest = Manifest::Bytes(manifest);
                let (store, root) = (self.store, self.root);
                store.publish(root, &self.staging, manifest, record, origin)
            });
        if published.is_err() {
            drop(ready);
            // What nothing names goes again.
            let _ = self.store.reap_keys(self.root, placed);
        }
        published
    }

    /// Writes the canonical archive of what is here, publishing nothing.
    pub(crate) fn write(
        &self,
        manifest: &[u8],
        layers: &[Digest],
        out: &mut dyn Write,
    ) -> Result<Squashed> {
        self.with_merged(layers, |merged, roots| {
            squash::write_squashed(manifest, merged, roots, out)
        })
    }

    /// The files of what is here as one directory, which goes with this value.
    pub(crate) fn flat(&self, layers: &[Digest]) -> Result<OwnedFd> {
        let tree = self.with_merged(layers, |merged, roots| {
            let store = self.store;
            store.stage_tree(&self.staging, &merged.shown, roots)
        })?;
        files::open_dir(tree.as_fd(), "rootfs").map_err(|err| self.store.fault("open", "tmp", err))
    }

    fn with_merged<T>(
        &self,
        layers: &[Digest],
        act: impl FnOnce(&Merged, &[BorrowedFd<'_>]) -> Result<T>,
    ) -> Result<T> {
        let ready = self.ready();
        let stack = stacked(&ready, layers)?;
        let indices: Vec<&Index> = stack.iter().map(|layer| &layer.index).collect();
        let roots: Vec<BorrowedFd<'_>> = stack.iter().map(|layer| layer.rootfs.as_fd()).collect();
        act(&squash::merge(&indices)?, &roots)
    }

    /// Writes all that was staged to the disk, and computes the ID meanwhile.
    fn sync_while(&self, hash: impl FnOnce() -> Result<Squashed> + Send) -> Result<Squashed> {
        std::thread::scope(|scope| {
            let hash = scope.spawn(hash);
            let synced = rustix::fs::syncfs(self.root);
            let squashed = match hash.join() {
                Ok(squashed) => squashed?,
                Err(panic) => std::panic::resume_unwind(panic),
            };
            synced.map_err(|err| self.store.fault("sync", "tmp", err.into()))?;
            Ok(squashed)
        })
    }

    /// Moves what was staged to its places. It cannot go while the result lives.
    fn place(
        &self,
        ready: &BTreeMap<Digest, Layer>,
        layers: &[&Digest],
        record: &ImageRecord,
        tree: Option<OwnedFd>,
        placed: &mut Vec<Key>,
    ) -> Result<Vec<Held>> {
        let shelf = Shelf::layers(self.root);
        let mut held = Vec::new();
        for layer in layers {
            let Some(Place::Staged(from)) = ready.get(*layer).map(|layer| &layer.place) else {
                continue;
            };
            let name = layer.file_name();
            let failed = |err| self.store.fault("rename", &format!("{LAYERS}/{name}"), err);
            placed.push(Key::Layer(name.clone()));
            held.push(
                shelf
                    .place(self.staging.dir(), from, &name)
                    .map_err(failed)?,
            );
            short::link(self.root, LAYERS, &name);
        }
        shelf
            .sync()
            .map_err(|err| self.store.fault("sync", LAYERS, err))?;
        if let (Some(tree), Some(name)) = (tree, top_name(&record.id, record.top)) {
            let failed = |err| self.store.fault("write", &format!("{TREES}/{name}"), err);
            seal_tree(tree.as_fd(), &record.id, &record.layers).map_err(failed)?;
            placed.push(Key::Tree(name.clone()));
            held.push(self.store.place_tree(self.root, &self.staging, &name)?);
            Shelf::trees(self.root).sync().map_err(failed)?;
            short::link(self.root, TREES, &name);
        }
        Ok(held)
    }
}

/// The layers in their order; one may be there several times.
fn stacked<'r>(ready: &'r BTreeMap<Digest, Layer>, layers: &[Digest]) -> Result<Vec<&'r Layer>> {
    if layers.is_empty() {
        return Err(Fault::invalid("the image has no layers"));
    }
    if layers.len() > MOST_LAYERS {
        return Err(Fault::refused(format!(
            "the image has {} layers, more than {MOST_LAYERS}",
            layers.len()
        )));
    }
    let find = |layer: &Digest| {
        let found = ready.get(layer);
        found.ok_or_else(|| Fault::invalid(format!("layer {layer} of the image was not fetched")))
    };
    layers.iter().map(find).collect()
}

fn record(
    id: &ImageId,
    manifest: &[u8],
    squashed: &Squashed,
    origin: &Origin,
) -> Result<ImageRecord> {
    let manifest = ImageManifest::parse(manifest)?;
    if !manifest.dependencies.is_empty() || !manifest.path_whitelist.is_empty() {
        return Err(Fault::unsupported(
            "an image of layers with dependencies or a path whitelist",
        ));
    }
    let now = now_ns();
    Ok(ImageRecord {
        id: id.clone(),
        name: manifest.name,
        labels: manifest.labels,
        import_time_ns: now,
        last_used_ns: now,
        size: squashed.size,
        tree_size: 0,
        latest: origin.latest,
        notes: Vec::new(),
        plain: true,
        layers: Vec::new(),
        top: Top::Nothing,
        packed: false,
    })
}
