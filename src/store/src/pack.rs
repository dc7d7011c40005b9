//! What a user who is not root fetches: the verified blobs are kept as they came,
//! for root to unpack. The image ID is computed all the same, from a private copy
//! that is unpacked without owners and dropped.

use crate::files;
use crate::inbox::{Inbox, open_blob, packed_path};
use crate::put::{Judge, Origin, aci_record, check_id};
use crate::record::ImageRecord;
use crate::staging::{self, Staging};
use crate::store::{PACKED, Store};
use crate::urls::UrlEntry;
use model::{Fault, ImageId, fault::Result};
use rustix::io::Errno;
use sha2::{Digest as _, Sha512};
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// Name of the blob of an ACI.
pub(crate) const ACI: &str = "aci";
/// Name of the image in its staging directory.
const IMAGE: &str = "image";

/// A packed image in the making.
pub(crate) struct Packing {
    inbox: Inbox,
    /// In the staging directory until it is published.
    image: OwnedFd,
}

impl Packing {
    pub(crate) fn new(store: &Store, root: BorrowedFd<'_>) -> Result<(Staging, Packing)> {
        let failed = |err| store.unmade(&format!("{PACKED}/tmp"), err);
        let inbox = Inbox::open(root)
            .map_err(failed)?
            .ok_or_else(|| failed(io::ErrorKind::NotFound.into()))?;
        let tmp = inbox.tmp().map_err(failed)?;
        staging::sweep_area(tmp.as_fd());
        let staging = Staging::inside(tmp).map_err(failed)?;
        let image = staging.make_dir(IMAGE, 0o700).map_err(failed)?;
        inbox.adorn(image.as_fd()).map_err(failed)?;
        Ok((staging, Packing { inbox, image }))
    }

    /// A new file for a blob.
    pub(crate) fn create(&self, name: &str) -> io::Result<File> {
        files::create(self.image.as_fd(), name, 0o640)
    }

    /// Gives a finished blob its name.
    pub(crate) fn keep(&self, from: &str, name: &str) -> io::Result<()> {
        Ok(rustix::fs::renameat(&self.image, from, &self.image, name)?)
    }

    /// Everything is renamed to its place at once.
    pub(crate) fn publish(
        self,
        store: &Store,
        root: BorrowedFd<'_>,
        staging: &Staging,
        manifest: &[u8],
        mut record: ImageRecord,
        origin: &Origin,
    ) -> Result<ImageRecord> {
        let id = record.id.clone();
        record.packed = true;
        if let Some(unpacked) = store.read_record(root, &id)? {
            // Root has it, and with it the files.
            record = unpacked;
        } else {
            let written = || -> io::Result<()> {
                files::write_new(self.image.as_fd(), "manifest", 0o640, manifest)?;
                files::write_new(self.image.as_fd(), "record", 0o640, &record.to_bytes())?;
                rustix::fs::syncfs(root)?;
                self.rename(staging, &id)?;
                Ok(rustix::fs::fsync(self.inbox.dir())?)
            };
            written().map_err(|err| store.fault("write", &packed_path(&id), err))?;
        }
        if let Some(entry) = UrlEntry::of(origin, &id) {
            let noted = self.inbox.urls().and_then(|urls| {
                entry.put(staging.dir(), urls.as_fd())?;
                Ok(rustix::fs::fsync(&urls)?)
            });
            noted.map_err(|err| store.fault("write", &format!("{PACKED}/urls"), err))?;
        }
        Ok(record)
    }

    /// An image of the same ID that is there already makes way.
    fn rename(&self, staging: &Staging, id: &ImageId) -> io::Result<()> {
        loop {
            let to = self.inbox.dir();
            match rustix::fs::renameat(staging.dir(), IMAGE, to, id.as_str()) {
                Ok(()) => return Ok(()),
                Err(Errno::EXIST | Errno::NOTEMPTY | Errno::NOTDIR) => self.inbox.remove(id)?,
                Err(err) => return Err(err.into()),
            }
        }
    }
}

/// Keeps a copy of what is read.
pub(crate) struct Tee<'a> {
    from: &'a mut (dyn Read + Send),
    copy: File,
}

impl<'a> Tee<'a> {
    pub(crate) fn new(from: &'a mut (dyn Read + Send), copy: File) -> Tee<'a> {
        Tee { from, copy }
    }
}

impl Read for Tee<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let length = self.from.read(buf)?;
        self.copy
            .write_all(&buf[..length])
            .map_err(|err| io::Error::other(Fault::io("write", "the packed image", err)))?;
        Ok(length)
    }
}

impl Store {
    pub(crate) fn pack_aci(
        &self,
        src: &mut (dyn Read + Send),
        origin: &Origin,
        judge: Judge<'_>,
    ) -> Result<ImageRecord> {
        let root = self.make()?;
        let (staging, packing) = Packing::new(self, root)?;
        let copy = packing
            .create(ACI)
            .map_err(|err| self.fault("create", PACKED, err))?;
        let (unpacked, manifest) = self.stage_aci(&staging, &mut Tee::new(src, copy))?;
        let record = aci_record(&unpacked, manifest, origin);
        judge(&record)?;
        packing.publish(self, root, &staging, &unpacked.manifest, record, origin)
    }

    /// Writes the archive of a packed image, and checks that it is the image.
    pub(crate) fn export_packed(
        &self,
        root: BorrowedFd<'_>,
        record: &ImageRecord,
        out: &mut dyn Write,
    ) -> Result<()> {
        if record.layers.is_empty() {
            let blob = self.packed_blob(root, &record.id, ACI)?;
            let digest = copy_plain(blob, out)?;
            return check_id(&ImageId::from_digest(&digest), Some(&record.id));
        }
        let assembly = self.reassemble(root, record)?;
        let manifest = self.packed_manifest(root, &record.id)?;
        let squashed = assembly.write(&manifest, &record.layers, out)?;
        check_id(&ImageId::from_digest(&squashed.digest), Some(&record.id))
    }

    /// Lends the files of a packed image, from a private copy, and its manifest.
    pub(crate) fn with_packed(
        &self,
        root: BorrowedFd<'_>,
        record: &ImageRecord,
        use_it: &mut dyn FnMut(BorrowedFd<'_>, &[u8]) -> Result<()>,
    ) -> Result<()> {
        if record.layers.is_empty() {
            let mut blob = self.packed_blob(root, &record.id, ACI)?;
            let (staging, _packing) = Packing::new(self, root)?;
            let (unpacked, manifest) = self.stage_aci(&staging, &mut blob)?;
            let found = aci_record(&unpacked, manifest, &Origin::default());
            check_id(&found.id, Some(&record.id))?;
            let rootfs = files::open_dir(staging.dir(), "layer")
                .and_then(|layer| files::open_dir(layer.as_fd(), "rootfs"))
                .map_err(|err| self.fault("open", PACKED, err))?;
            return use_it(rootfs.as_fd(), &unpacked.manifest);
        }
        let assembly = self.reassemble(root, record)?;
        let manifest = self.packed_manifest(root, &record.id)?;
        let squashed = assembly.write(&manifest, &record.layers, &mut io::sink())?;
        check_id(&ImageId::from_digest(&squashed.digest), Some(&record.id))?;
        let rootfs = assembly.flat(&record.layers)?;
        use_it(rootfs.as_fd(), &manifest)
    }

    pub(crate) fn packed_blob(
        &self,
        root: BorrowedFd<'_>,
        id: &ImageId,
        name: &str,
    ) -> Result<File> {
        let image = self.packed_image(root, id)?;
        open_blob(image.as_fd(), name)
            .map_err(|err| self.fault("open", &format!("{}/{name}", packed_path(id)), err))
    }

    /// Unpacks the layers of a packed image, each checked against its diff ID.
    pub(crate) fn reassemble(
        &self,
        root: BorrowedFd<'_>,
        record: &ImageRecord,
    ) -> Result<crate::Assembly<'_>> {
        let assembly = self.assemble()?;
        for layer in &record.layers {
            if !self.unpacks || !assembly.claim(layer)? {
                let mut blob = self.packed_blob(root, &record.id, &layer.file_name())?;
                assembly.unpack(Some(layer), layer, &mut blob)?;
            }
        }
        Ok(assembly)
    }
}

/// The uncompressed bytes, and their SHA-512. What they are is not looked at, so
/// only who may be trusted with the room for them writes them anywhere.
fn copy_plain(blob: File, out: &mut dyn Write) -> Result<[u8; 64]> {
    let mut plain = archive::Decoder::new(blob)?;
    let mut hash = Sha512::new();
    let mut buffer = vec![0; 1 << 16];
    let mut left = archive::Options::default().max_bytes;
    loop {
        let length = match plain.read(&mut buffer) {
            Ok(0) => return Ok(hash.finalize().into()),
            Ok(length) => length,
            Err(err) if err.kind() == io::ErrorKind::Interrupted => continue,
            Err(err) => return Err(plain.fault(err)),
        };
        left = left
            .checked_sub(length as u64)
            .ok_or_else(|| Fault::refused("the image is too large"))?;
        hash.update(&buffer[..length]);
        out.write_all(&buffer[..length])
            .map_err(|err| Fault::io("write", "the image", err))?;
    }
}
