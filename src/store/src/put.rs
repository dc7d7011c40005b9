//! Import: a stream of ACI bytes becomes a layer and an image record.
//!
//! Everything is made in a staging directory and synced once; then the layer is
//! renamed to its place, and last the record, with which the image exists. A
//! process killed at any step leaves a staging directory that nobody holds, or a
//! layer that no record names: the next import or gc removes either.

use crate::files;
use crate::lookup::{name_path, url_entry, url_path};
use crate::record::{ImageRecord, set_last_used};
use crate::shelf::{Held, Shelf};
use crate::short;
use crate::staging::{self, Staging};
use crate::store::{IMAGES, LAYERS, Store, manifest_path, record_path};
use model::{ImageId, ImageManifest, fault::Result};
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{SystemTime, UNIX_EPOCH};

/// Where an image comes from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Origin {
    /// The exact URL it was fetched by; [`Store::by_url`] finds it again.
    pub url: Option<String>,
    /// Asked for without an explicit version.
    pub latest: bool,
    /// What the server called this version of the URL's content.
    pub etag: Option<String>,
    /// Unix seconds: until then nobody needs to ask the server again.
    pub fresh_until: Option<i64>,
    /// Of the manifest that a registry's tag stood for: `sha256:…`.
    pub digest: Option<String>,
}

/// Name of the staged layer inside the staging directory.
const LAYER: &str = "layer";

impl Store {
    /// Stores an image, compressed or not. The bytes are always read and
    /// unpacked, for only they tell the ID; if the image is stored already, its
    /// layer is kept and its record is renewed.
    pub fn put_aci(&self, src: &mut (dyn Read + Send), origin: &Origin) -> Result<ImageRecord> {
        let root = self.make()?;
        // Rubbish that resists is the business of gc, not of this image.
        staging::sweep(root);
        let staging = Staging::new(root).map_err(|err| self.fault("mkdir", "tmp", err))?;
        let (unpacked, manifest) = self.unpack(&staging, src)?;
        let id = ImageId::from_digest(&unpacked.digest);
        let plain = manifest.dependencies.is_empty() && manifest.path_whitelist.is_empty();
        let now = now_ns();
        let record = ImageRecord {
            id: id.clone(),
            name: manifest.name,
            labels: manifest.labels,
            import_time_ns: now,
            last_used_ns: now,
            size: unpacked.size,
            tree_size: if plain { unpacked.rootfs_bytes } else { 0 },
            latest: origin.latest,
            notes: unpacked.notes,
            plain,
        };
        let layer = self.place_layer(root, &staging, &id)?;
        self.publish(root, &staging, &layer, record, origin.url.as_deref())
    }

    /// Unpacks into the staging directory: `layer/{rootfs,recipe,manifest}`.
    fn unpack(
        &self,
        staging: &Staging<'_>,
        src: &mut (dyn Read + Send),
    ) -> Result<(archive::Unpacked, ImageManifest)> {
        let failed = |err| self.fault("create", "tmp", err);
        let layer = staging.make_dir(LAYER, 0o700).map_err(failed)?;
        let recipe = files::create(staging.dir(), "recipe", 0o600).map_err(failed)?;
        let options = archive::Options::default();
        let unpacked = archive::unpack_aci(src, layer.as_fd(), recipe, &options)?;
        let manifest = ImageManifest::parse(&unpacked.manifest)?;
        files::write_new(layer.as_fd(), "manifest", 0o640, &unpacked.manifest).map_err(failed)?;
        rustix::fs::renameat(staging.dir(), "recipe", &layer, "recipe")
            .map_err(|err| failed(err.into()))?;
        Ok((unpacked, manifest))
    }

    /// If the layer is there already, or somebody else is faster, that one is
    /// taken, and the staged one is dropped with the staging directory.
    fn place_layer(
        &self,
        root: BorrowedFd<'_>,
        staging: &Staging<'_>,
        id: &ImageId,
    ) -> Result<Held> {
        let shelf = Shelf::layers(root);
        let placed = || -> io::Result<Held> {
            if let Some(held) = shelf.claim(id.as_str())? {
                return Ok(held);
            }
            // The one sync: what gets its final name is on the disk.
            rustix::fs::syncfs(root)?;
            shelf.place(staging.dir(), LAYER, id.as_str())
        };
        let held = placed().map_err(|err| self.fault("rename", LAYERS, err))?;
        // For the overlay mount of a later run; it does without where need be.
        short::link(root, LAYERS, id.as_str());
        Ok(held)
    }

    /// Writes or renews the record, the index entry of the name and that of the
    /// URL. The layer is held meanwhile, so it cannot go.
    fn publish(
        &self,
        root: BorrowedFd<'_>,
        staging: &Staging<'_>,
        layer: &Held,
        mut record: ImageRecord,
        url: Option<&str>,
    ) -> Result<ImageRecord> {
        let id = record.id.clone();
        let _images = self.lock_images(root)?;
        if let Ok(Some(old)) = self.read_record(root, &id) {
            // The tree of dependencies stays rendered.
            record.tree_size = record.tree_size.max(old.tree_size);
        }
        let written = || -> io::Result<()> {
            let dir = staging.dir();
            files::write_new(dir, "record", 0o640, &record.to_bytes())?;
            files::ensure_dir(root, &format!("{IMAGES}/{}", id.as_str()), 0o750)?;
            let by_name = name_path(&record.name);
            files::ensure_dir(root, &by_name, 0o750)?;
            mark(root, &format!("{by_name}/{}", id.as_str()), 0o640)?;
            if let Some(url) = url {
                files::write_new(dir, "url", 0o640, &url_entry(url, &id))?;
                rustix::fs::renameat(dir, "url", root, url_path(url))?;
            }
            self.adopt_manifest(root, dir, layer, &id)?;
            set_last_used(dir, "record", record.last_used_ns)?;
            rustix::fs::fsync(files::open_file(dir, "record")?)?;
            rustix::fs::renameat(dir, "record", root, record_path(&id))?;
            files::sync_dir(root, &format!("{IMAGES}/{}", id.as_str()))?;
            files::sync_dir(root, IMAGES)
        };
        written().map_err(|err| self.fault("write", &record_path(&id), err))?;
        Ok(record)
    }

    /// The image's manifest is the layer's, by hard link: a layer must be able to
    /// rebuild its ACI even when the image that brought it is removed.
    fn adopt_manifest(
        &self,
        root: BorrowedFd<'_>,
        staging: BorrowedFd<'_>,
        layer: &Held,
        id: &ImageId,
    ) -> io::Result<()> {
        let flags = rustix::fs::AtFlags::empty();
        if rustix::fs::linkat(layer.dir(), "manifest", staging, "manifest", flags).is_err() {
            // A file system without hard links.
            let bytes = files::read_small(layer.dir(), "manifest")?;
            files::write_new(staging, "manifest", 0o640, &bytes)?;
        }
        rustix::fs::renameat(staging, "manifest", root, manifest_path(id))?;
        // Renaming a link onto another one of the same file does nothing, by POSIX.
        files::unlink(staging, "manifest")
    }
}

/// Makes an empty file unless it stands already.
pub(crate) fn mark(at: BorrowedFd<'_>, path: &str, mode: u32) -> io::Result<()> {
    match files::create(at, path, mode) {
        Err(err) if err.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        made => made.map(|_| ()),
    }
}

pub(crate) fn now_ns() -> i64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .ok()
        .and_then(|age| i64::try_from(age.as_nanos()).ok())
        .unwrap_or(0)
}
