//! Import: a stream of ACI bytes becomes a layer and an image record.
//!
//! Everything is made in a staging directory and synced once; then the layer is
//! renamed to its place, and last the record, with which the image exists. A
//! process killed at any step leaves a staging directory that nobody holds, or a
//! layer that no record names: the next import or gc removes either.

use crate::files;
use crate::lookup::name_path;
use crate::record::{ImageRecord, Top, set_last_used};
use crate::shelf::{Held, Shelf};
use crate::short;
use crate::staging::{self, Staging};
use crate::store::{IMAGES, LAYERS, NAMES, Store, URLS, manifest_path, record_path};
use crate::urls::UrlEntry;
use model::{Fault, ImageId, ImageManifest, fault::Result};
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

/// Whether an image that was read is to be taken in.
pub(crate) type Judge<'j> = &'j mut dyn FnMut(&ImageRecord) -> Result<()>;

/// Name of the staged layer inside the staging directory.
const LAYER: &str = "layer";

impl Store {
    /// Stores an image, compressed or not. The bytes are always read to their end
    /// and unpacked, for only they tell the ID; if the image is stored already,
    /// its layer is kept and its record is renewed.
    pub fn put_aci(&self, src: &mut (dyn Read + Send), origin: &Origin) -> Result<ImageRecord> {
        self.put_aci_if(src, origin, &mut |_| Ok(()))
    }

    /// The same, unless `judge` refuses: it is shown the record once the source
    /// was read to its end, before anything is published.
    pub fn put_aci_if(
        &self,
        src: &mut (dyn Read + Send),
        origin: &Origin,
        judge: Judge<'_>,
    ) -> Result<ImageRecord> {
        if self.unpacks {
            self.unpack_aci(src, origin, judge)
        } else {
            self.pack_aci(src, origin, judge)
        }
    }

    pub(crate) fn unpack_aci(
        &self,
        src: &mut (dyn Read + Send),
        origin: &Origin,
        judge: Judge<'_>,
    ) -> Result<ImageRecord> {
        let root = self.make()?;
        // Rubbish that resists is the business of gc, not of this image.
        staging::sweep(root);
        let staging = Staging::new(root).map_err(|err| self.fault("mkdir", "tmp", err))?;
        let (unpacked, manifest) = self.stage_aci(&staging, src)?;
        let record = aci_record(&unpacked, manifest, origin);
        judge(&record)?;
        let layer = self.place_layer(root, &staging, &record.id)?;
        self.publish(root, &staging, Manifest::Of(&layer), record, origin)
    }

    /// Unpacks into the staging directory: `layer/{rootfs,recipe,manifest}`.
    pub(crate) fn stage_aci(
        &self,
        staging: &Staging,
        src: &mut (dyn Read + Send),
    ) -> Result<(archive::Unpacked, ImageManifest)> {
        let failed = |err| self.fault("create", "tmp", err);
        let layer = staging.make_dir(LAYER, 0o700).map_err(failed)?;
        let recipe = files::create(staging.dir(), "recipe", 0o600).map_err(failed)?;
        let options = archive::Options {
            form: self.settle_form()?,
            ..archive::Options::default()
        };
        let unpacked = archive::unpack_aci(&mut *src, layer.as_fd(), recipe, &options)?;
        drain(src)?;
        let manifest = ImageManifest::parse(&unpacked.manifest)?;
        files::write_new(layer.as_fd(), "manifest", 0o640, &unpacked.manifest).map_err(failed)?;
        rustix::fs::renameat(staging.dir(), "recipe", &layer, "recipe")
            .map_err(|err| failed(err.into()))?;
        Ok((unpacked, manifest))
    }

    /// If the layer is there already, or somebody else is faster, that one is
    /// taken, and the staged one is dropped with the staging directory.
    fn place_layer(&self, root: BorrowedFd<'_>, staging: &Staging, id: &ImageId) -> Result<Held> {
        let shelf = Shelf::layers(root);
        let placed = || -> io::Result<Held> {
            if let Some(held) = shelf.claim(id.as_str())? {
                // Whoever placed it may have been killed before this.
                shelf.sync()?;
                return Ok(held);
            }
            // The one sync: what gets its final name is on the disk.
            rustix::fs::syncfs(root)?;
            let held = shelf.place(staging.dir(), LAYER, id.as_str())?;
            shelf.sync()?;
            Ok(held)
        };
        let held = placed().map_err(|err| self.fault("rename", LAYERS, err))?;
        // For the overlay mount of a later run; it does without where need be.
        short::link(root, LAYERS, id.as_str());
        Ok(held)
    }

    /// Writes or renews the record, the index entry of the name and that of the
    /// URL. The layers are held meanwhile, so they cannot go.
    pub(crate) fn publish(
        &self,
        root: BorrowedFd<'_>,
        staging: &Staging,
        manifest: Manifest<'_>,
        mut record: ImageRecord,
        origin: &Origin,
    ) -> Result<ImageRecord> {
        let id = record.id.clone();
        let images = self.lock_images(root)?;
        let old = self.read_record(root, &id).ok().flatten();
        let (same, displaced) = match old {
            Some(old) if old.layers == record.layers => (Some(old), None),
            other => (None, other),
        };
        if let Some(same) = same {
            // The tree of dependencies stays rendered.
            record.tree_size = record.tree_size.max(same.tree_size);
        }
        let written = || -> io::Result<()> {
            let dir = staging.dir();
            files::write_new(dir, "record", 0o640, &record.to_bytes())?;
            files::share(dir, "record", root)?;
            files::ensure_dir(root, &format!("{IMAGES}/{}", id.as_str()), 0o750)?;
            let by_name = name_path(&record.name);
            files::ensure_dir(root, &by_name, 0o750)?;
            mark(root, &format!("{by_name}/{}", id.as_str()), 0o640)?;
            if let Some(entry) = UrlEntry::of(origin, &id) {
                entry.put(dir, files::open_dir(root, URLS)?.as_fd())?;
            }
            manifest.stage(dir)?;
            files::share(dir, "manifest", root)?;
            rustix::fs::renameat(dir, "manifest", root, manifest_path(&id))?;
            // Renaming a link onto another one of the same file does nothing, by POSIX.
            files::unlink(dir, "manifest")?;
            set_last_used(dir, "record", record.last_used_ns)?;
            rustix::fs::fsync(files::open_file(dir, "record")?)?;
            // An image that is there is found by its name. With a common log, as of ext4 and xfs, this is done by now.
            files::sync_dir(root, &by_name)?;
            files::sync_dir(root, NAMES)?;
            rustix::fs::renameat(dir, "record", root, record_path(&id))?;
            files::sync_dir(root, &format!("{IMAGES}/{}", id.as_str()))?;
            files::sync_dir(root, IMAGES)
        };
        written().map_err(|err| self.fault("write", &record_path(&id), err))?;
        drop(images);
        if let Some(displaced) = displaced {
            // One archive came as an ACI and as layers. What is left is gc's.
            let _ = self.reap_image(root, &id, Some(&displaced));
        }
        Ok(record)
    }
}

/// Where an image's manifest is taken from.
pub(crate) enum Manifest<'a> {
    /// By hard link from the layer: that must be able to rebuild its ACI even
    /// when the image that brought it is removed.
    Of(&'a Held),
    Bytes(&'a [u8]),
}

impl Manifest<'_> {
    fn stage(&self, staging: BorrowedFd<'_>) -> io::Result<()> {
        match self {
            Manifest::Of(layer) => {
                let flags = rustix::fs::AtFlags::empty();
                if rustix::fs::linkat(layer.dir(), "manifest", staging, "manifest", flags).is_err()
                {
                    // A file system without hard links.
                    let bytes = files::read_small(layer.dir(), "manifest")?;
                    files::write_new(staging, "manifest", 0o640, &bytes)?;
                }
                Ok(())
            }
            Manifest::Bytes(bytes) => {
                files::write_new(staging, "manifest", 0o640, bytes)?;
                Ok(rustix::fs::fsync(files::open_file(staging, "manifest")?)?)
            }
        }
    }
}

/// The record of an ACI that was unpacked just now.
pub(crate) fn aci_record(
    unpacked: &archive::Unpacked,
    manifest: ImageManifest,
    origin: &Origin,
) -> ImageRecord {
    let plain = manifest.dependencies.is_empty() && manifest.path_whitelist.is_empty();
    let now = now_ns();
    ImageRecord {
        id: ImageId::from_digest(&unpacked.digest),
        name: manifest.name,
        labels: manifest.labels,
        import_time_ns: now,
        last_used_ns: now,
        size: unpacked.size,
        tree_size: if plain { unpacked.rootfs_bytes } else { 0 },
        latest: origin.latest,
        notes: unpacked.notes.clone(),
        plain,
        layers: Vec::new(),
        top: Top::Nothing,
        packed: false,
    }
}

/// Whoever packed an image has said what its ID is; that is not believed.
pub(crate) fn check_id(found: &ImageId, expected: Option<&ImageId>) -> Result<()> {
    match expected {
        Some(expected) if found != expected => Err(Fault::corrupt(format!(
            "image hash does not match expected ({} != {})",
            found.as_str(),
            expected.as_str()
        ))),
        _ => Ok(()),
    }
}

/// Reads a source to its end, where it says whether all of it was right. A
/// `Fault` that it fails with comes back as it is.
pub(crate) fn drain(src: &mut (dyn Read + Send)) -> Result<()> {
    match io::copy(src, &mut io::sink()) {
        Ok(_) => Ok(()),
        Err(err) => Err(match err.get_ref().and_then(|inner| inner.downcast_ref()) {
            Some(fault) => Fault::clone(fault),
            None => Fault::io("read", "image", err),
        }),
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
