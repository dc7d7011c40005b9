//! `packed/`: images that were fetched by somebody who may not unpack them.
//!
//! Members of the data directory's group may write here and nowhere else in the
//! store, so whatever root finds here is a stranger's: each step is one name
//! below an fd, no link is followed, what is read is bounded, and an image is
//! used only after its ID was computed anew. `packed/<image id>` holds `record`,
//! `manifest` and the blobs: `aci`, or one per layer, named by its diff ID.
//! `packed/urls` is to these what `urls` is to the others; `packed/tmp` is where
//! they are made.

use crate::files;
use crate::record::{ImageRecord, nanoseconds};
use crate::store::{PACKED, Store, TMP, URLS};
use model::{Fault, ImageId, fault::Result};
use rustix::fs::{FileType, Gid, Mode};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

pub(crate) struct Inbox(OwnedFd);

impl Inbox {
    /// Makes the directories where they are missing. The group may write if the
    /// data directory hands its group down.
    pub(crate) fn make(root: BorrowedFd<'_>) -> io::Result<()> {
        let shared = rustix::fs::fstat(root)?.st_mode & 0o2000 != 0;
        let mode = if shared { 0o770 } else { 0o750 };
        files::ensure_dir(root, PACKED, mode)?;
        let dir = files::open_dir(root, PACKED)?;
        for name in [TMP, URLS] {
            files::ensure_dir(dir.as_fd(), name, mode)?;
        }
        Ok(())
    }

    /// `None` if there is none, as in a store that an older rkt has made.
    pub(crate) fn open(root: BorrowedFd<'_>) -> io::Result<Option<Inbox>> {
        optional(files::open_dir(root, PACKED).map(Inbox))
    }

    pub(crate) fn dir(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }

    pub(crate) fn tmp(&self) -> io::Result<OwnedFd> {
        files::open_dir(self.dir(), TMP)
    }

    pub(crate) fn urls(&self) -> io::Result<OwnedFd> {
        files::open_dir(self.dir(), URLS)
    }

    pub(crate) fn image(&self, id: &ImageId) -> io::Result<Option<OwnedFd>> {
        optional(files::open_dir(self.dir(), id.as_str()))
    }

    pub(crate) fn remove(&self, id: &ImageId) -> io::Result<()> {
        files::remove_tree(self.dir(), id.as_str())
    }

    /// Lets a directory take part: the group of the others, and their mode.
    pub(crate) fn adorn(&self, dir: BorrowedFd<'_>) -> io::Result<()> {
        let ours = rustix::fs::fstat(&self.0)?;
        // Of a group that this user is no member of: then nobody shares it.
        let _ = rustix::fs::fchown(dir, None, Some(Gid::from_raw(ours.st_gid)));
        Ok(rustix::fs::fchmod(
            dir,
            Mode::from_raw_mode(ours.st_mode & 0o7777),
        )?)
    }
}

fn optional<T>(opened: io::Result<T>) -> io::Result<Option<T>> {
    match opened {
        Ok(opened) => Ok(Some(opened)),
        Err(err) if err.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(err) => Err(err),
    }
}

/// A blob of a packed image, if it is a file.
pub(crate) fn open_blob(image: BorrowedFd<'_>, name: &str) -> io::Result<File> {
    let file = files::open_file(image, name)?;
    let stat = rustix::fs::fstat(&file)?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Err(io::Error::other("it is no file"));
    }
    Ok(file)
}

impl Store {
    fn inbox(&self, root: BorrowedFd<'_>) -> Result<Option<Inbox>> {
        Inbox::open(root).map_err(|err| self.fault("open", PACKED, err))
    }

    /// The directory of a packed image.
    pub(crate) fn packed_image(&self, root: BorrowedFd<'_>, id: &ImageId) -> Result<OwnedFd> {
        let opened = match self.inbox(root)? {
            Some(inbox) => inbox.image(id),
            None => Ok(None),
        };
        opened
            .map_err(|err| self.fault("open", &packed_path(id), err))?
            .ok_or_else(crate::lookup::no_ids)
    }

    /// The packed images, or what calls itself so.
    pub(crate) fn packed_ids(&self, root: BorrowedFd<'_>) -> Result<Vec<ImageId>> {
        let Some(inbox) = self.inbox(root)? else {
            return Ok(Vec::new());
        };
        let entries = files::entries(inbox.dir()).map_err(|err| self.fault("open", PACKED, err))?;
        Ok(entries
            .iter()
            .filter_map(|entry| crate::key::image_of(entry.name.to_str()?))
            .collect())
    }

    /// The record of a packed image. What is not one of ours is overlooked.
    pub(crate) fn packed_record(
        &self,
        root: BorrowedFd<'_>,
        id: &ImageId,
    ) -> Result<Option<ImageRecord>> {
        let read = || -> io::Result<Option<ImageRecord>> {
            let Some(image) = Inbox::open(root)?.map(|inbox| inbox.image(id)) else {
                return Ok(None);
            };
            let Some(image) = image? else {
                return Ok(None);
            };
            let file = open_blob(image.as_fd(), "record")?;
            let last_used = nanoseconds(&rustix::fs::fstat(&file)?);
            let record = ImageRecord::parse(id, &files::read_bounded(&file)?, last_used);
            Ok(record.ok().filter(|record| record.packed))
        };
        let now = crate::put::now_ns();
        Ok(read().ok().flatten().map(|record| ImageRecord {
            // A time to come would make it the newest for ever.
            import_time_ns: record.import_time_ns.min(now),
            last_used_ns: record.last_used_ns.min(now),
            notes: Vec::new(),
            ..record
        }))
    }

    pub(crate) fn packed_manifest(&self, root: BorrowedFd<'_>, id: &ImageId) -> Result<Vec<u8>> {
        let image = self.packed_image(root, id)?;
        open_blob(image.as_fd(), "manifest")
            .and_then(|file| files::read_bounded(&file))
            .map_err(|err| self.fault("open", &format!("{}/manifest", packed_path(id)), err))
    }
}

pub(crate) fn packed_path(id: &ImageId) -> String {
    format!("{PACKED}/{}", id.as_str())
}

/// Of an image that only root can lay out.
pub(crate) fn needs_root(id: &ImageId) -> Fault {
    Fault::refused(format!("image {:?} is not unpacked yet", id.as_str()))
        .hint("run it as root: only root can give files their owners")
}
