//! Images back out of the store: the exact ACI bytes, or files in a directory.

use crate::copy::copy_tree;
use crate::files;
use crate::put::check_id;
use crate::record::ImageRecord;
use crate::store::Store;
use model::{Fault, ImageId, fault::Result};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use std::fs::DirBuilder;
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

/// Mode of the manifest beside an extracted rootfs, and beside a rendered one as
/// rkt writes it.
const EXTRACTED: u32 = 0o644;
const RENDERED: u32 = 0o700;

impl Store {
    /// Writes the uncompressed ACI, byte for byte as it was imported; of an image
    /// of several layers the archive that its ID is the hash of. If a file of a
    /// layer was changed, fails with `Kind::Corrupt`; bytes may be written by then.
    pub fn export(&self, id: &ImageId, out: &mut dyn Write) -> Result<()> {
        let root = self.required_root()?;
        let record = self.require(root, id)?;
        if record.packed {
            return self.export_packed(root, &record, out);
        }
        self.rebuild(root, &record, out)?;
        self.touch(root, id);
        Ok(())
    }

    /// Copies one image, without its dependencies, to a directory that does not
    /// exist or is empty: `manifest` and `rootfs/`, or what is in the rootfs.
    pub fn extract(&self, id: &ImageId, dir: &Path, rootfs_only: bool) -> Result<()> {
        let root = self.required_root()?;
        let record = self.require(root, id)?;
        if record.packed {
            return self.with_packed(root, &record, &mut |rootfs, manifest| {
                let manifest = (!rootfs_only).then(|| (manifest.to_vec(), EXTRACTED));
                copy_out(rootfs, manifest, dir)
            });
        }
        let (held, manifest) = self.claim_files(root, id)?;
        let files = files::open_dir(held.dir(), "rootfs")
            .map_err(|err| self.fault("open", &format!("{}/rootfs", id.as_str()), err))?;
        let manifest = (!rootfs_only).then_some((manifest, EXTRACTED));
        copy_out(files.as_fd(), manifest, dir)?;
        self.touch(root, id);
        Ok(())
    }

    /// The same for an image merged with its dependencies.
    pub fn render_to(&self, id: &ImageId, dir: &Path, rootfs_only: bool) -> Result<()> {
        let root = self.required_root()?;
        let record = self.require(root, id)?;
        if record.packed && record.plain {
            return self.with_packed(root, &record, &mut |rootfs, manifest| {
                let manifest = (!rootfs_only).then(|| (manifest.to_vec(), RENDERED));
                copy_out(rootfs, manifest, dir)
            });
        }
        let tree = self.render_flat(id)?;
        let [held] = tree.held.as_slice() else {
            return Err(Fault::unsupported("a tree of several directories"));
        };
        let files = files::open_dir(held.dir(), "rootfs")
            .map_err(|err| self.fault("open", &tree.tree_id, err))?;
        let manifest = if rootfs_only {
            None
        } else {
            Some((self.manifest_bytes(id)?, RENDERED))
        };
        copy_out(files.as_fd(), manifest, dir)
    }

    /// Makes the archive of an unpacked image anew, and checks that it is it.
    pub(crate) fn rebuild(
        &self,
        root: BorrowedFd<'_>,
        record: &ImageRecord,
        out: &mut dyn Write,
    ) -> Result<()> {
        if record.layers.is_empty() {
            return self.rebuild_layer(root, &record.id, out);
        }
        let layered = self.open_layers(root, &record.layers)?;
        self.write_canonical(root, &record.id, &layered, out)
    }

    /// Feeds the tar of an image's layer to a writer.
    pub(crate) fn rebuild_layer(
        &self,
        root: BorrowedFd<'_>,
        id: &ImageId,
        out: &mut dyn Write,
    ) -> Result<()> {
        let layer = self.claim_layer(root, id)?;
        let recipe = files::open_file(layer.dir(), "recipe")
            .map_err(|err| self.fault("open", &format!("layers/{}/recipe", id.as_str()), err))?;
        let rebuilt = archive::rebuild(&recipe, layer.dir(), out)?;
        check_id(&ImageId::from_digest(&rebuilt.digest), Some(id))
    }
}

/// A target that fails is emptied again, and removed if it was made here.
fn copy_out(rootfs: BorrowedFd<'_>, manifest: Option<(Vec<u8>, u32)>, dir: &Path) -> Result<()> {
    let failed = |err| Fault::io("mkdir", dir.display(), err);
    let made = match DirBuilder::new().mode(0o755).create(dir) {
        Ok(()) => true,
        Err(err) if err.kind() == io::ErrorKind::AlreadyExists => false,
        Err(err) => return Err(failed(err)),
    };
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let target = rustix::fs::open(dir, flags, Mode::empty()).map_err(|err| match err {
        Errno::NOTDIR => exists(),
        err => failed(err.into()),
    })?;
    if !files::entries(target.as_fd()).map_err(failed)?.is_empty() {
        return Err(exists());
    }
    let copied = match manifest {
        None => copy_tree(rootfs, target.as_fd()),
        Some((bytes, mode)) => copy_both(rootfs, &bytes, mode, &target, dir),
    };
    if copied.is_err() {
        for entry in files::entries(target.as_fd()).unwrap_or_default() {
            let _ = files::remove_tree(target.as_fd(), &entry.name);
        }
        if made {
            let _ = std::fs::remove_dir(dir);
        }
    }
    copied
}

fn copy_both(
    rootfs: BorrowedFd<'_>,
    manifest: &[u8],
    mode: u32,
    target: &OwnedFd,
    dir: &Path,
) -> Result<()> {
    files::write_new(target.as_fd(), "manifest", mode, manifest)
        .map_err(|err| Fault::io("write", dir.join("manifest").display(), err))?;
    let below = files::ensure_dir(target.as_fd(), "rootfs", 0o700)
        .and_then(|()| files::open_dir(target.as_fd(), "rootfs"))
        .map_err(|err| Fault::io("mkdir", dir.join("rootfs").display(), err))?;
    copy_tree(rootfs, below.as_fd())
}

fn exists() -> Fault {
    Fault::conflict("output directory exists (try --overwrite)")
}
