//! Room for bytes that cannot be judged yet: a file without a name on the store's
//! own disk. It is gone when it is closed, whatever becomes of the process.

use crate::files;
use crate::inbox::Inbox;
use crate::staging::Staging;
use crate::store::{Store, TMP};
use model::fault::Result;
use rustix::fs::{Mode, OFlags};
use std::fs::File;
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};

impl Store {
    /// An empty file to write and to read again.
    pub fn aside(&self) -> Result<File> {
        let root = self.make()?;
        let failed = |err: io::Error| self.fault("create", TMP, err);
        let tmp = self.workshop(root).map_err(failed)?;
        let flags = OFlags::RDWR | OFlags::TMPFILE | OFlags::CLOEXEC;
        if let Ok(file) = rustix::fs::openat(&tmp, ".", flags, Mode::from_raw_mode(0o600)) {
            return Ok(File::from(file));
        }
        // A file system without O_TMPFILE.
        let staging = Staging::inside(tmp).map_err(failed)?;
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let file = rustix::fs::openat(staging.dir(), "aside", flags, Mode::from_raw_mode(0o600))
            .map_err(|err| failed(err.into()))?;
        Ok(File::from(file))
    }

    /// Where this user may make things.
    fn workshop(&self, root: BorrowedFd<'_>) -> io::Result<OwnedFd> {
        if self.unpacks {
            return files::open_dir(root, TMP);
        }
        match Inbox::open(root)? {
            Some(inbox) => inbox.tmp(),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }
}
