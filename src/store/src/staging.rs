//! Where things are made: `tmp/<random>`, flocked by the process that works in
//! it. The kernel drops the lock when that process dies, however it dies, so a
//! directory that can be locked is rubbish and swept by the next import or gc.

use crate::files;
use crate::store::TMP;
use rustix::fs::{FlockOperation, Mode};
use rustix::rand::GetRandomFlags;
use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// A private directory; removed with all its content when dropped.
pub(crate) struct Staging {
    area: OwnedFd,
    name: String,
    dir: OwnedFd,
}

impl Staging {
    pub(crate) fn new(root: BorrowedFd<'_>) -> io::Result<Staging> {
        Staging::inside(files::open_dir(root, TMP)?)
    }

    /// In a directory of this kind that is open already.
    pub(crate) fn inside(area: OwnedFd) -> io::Result<Staging> {
        loop {
            let mut random = [0u8; 8];
            rustix::rand::getrandom(&mut random, GetRandomFlags::empty())?;
            let name = format!("{:016x}", u64::from_ne_bytes(random));
            match rustix::fs::mkdirat(&area, &name, Mode::from_raw_mode(0o700)) {
                Ok(()) => {}
                Err(rustix::io::Errno::EXIST) => continue,
                Err(err) => return Err(err.into()),
            }
            // A sweeper may come between mkdir and flock, and be right to.
            let dir = match files::open_dir(area.as_fd(), &name) {
                Ok(dir) => dir,
                Err(err) if err.kind() == io::ErrorKind::NotFound => continue,
                Err(err) => return Err(err),
            };
            files::lock(dir.as_fd(), FlockOperation::LockExclusive)?;
            if files::is_linked(area.as_fd(), &name, dir.as_fd())? {
                // Without the setgid bit that the data directory hands down: it
                // would spread into every directory of the image.
                rustix::fs::fchmod(&dir, Mode::from_raw_mode(0o700))?;
                return Ok(Staging { area, name, dir });
            }
        }
    }

    pub(crate) fn dir(&self) -> BorrowedFd<'_> {
        self.dir.as_fd()
    }

    /// Makes a directory inside and opens it.
    pub(crate) fn make_dir(&self, name: &str, mode: u32) -> io::Result<OwnedFd> {
        rustix::fs::mkdirat(&self.dir, name, Mode::from_raw_mode(mode))?;
        let dir = files::open_dir(self.dir(), name)?;
        rustix::fs::fchmod(&dir, Mode::from_raw_mode(mode))?;
        Ok(dir)
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        // What cannot be removed now is swept later.
        let _ = files::remove_tree(self.area.as_fd(), &self.name);
    }
}

/// Removes staging directories whose process is gone. Returns how many, and the
/// first failure; one that resists does not save the others.
pub(crate) fn sweep(root: BorrowedFd<'_>) -> (usize, Option<io::Error>) {
    match files::open_dir(root, TMP) {
        Ok(area) => sweep_area(area.as_fd()),
        Err(err) if err.kind() == io::ErrorKind::NotFound => (0, None),
        Err(err) => (0, Some(err)),
    }
}

/// The same for any directory of staging directories. Others may write to it:
/// nothing is reached but by the fd and one name.
pub(crate) fn sweep_area(area: BorrowedFd<'_>) -> (usize, Option<io::Error>) {
    let mut swept = 0;
    let mut failure = None;
    let entries = files::entries(area).unwrap_or_else(|err| {
        failure = Some(err);
        Vec::new()
    });
    for entry in entries {
        match sweep_one(area, &entry.name) {
            Ok(true) => swept += 1,
            Ok(false) => {}
            Err(err) => {
                failure.get_or_insert(err);
            }
        }
    }
    (swept, failure)
}

fn sweep_one(area: BorrowedFd<'_>, name: &OsStr) -> io::Result<bool> {
    let dir = match files::open_dir(area, name) {
        Ok(dir) => dir,
        Err(err) if err.kind() == io::ErrorKind::NotFound => return Ok(false),
        // Nobody works in what is no directory.
        Err(err) if err.kind() == io::ErrorKind::NotADirectory => {
            files::unlink(area, name)?;
            return Ok(true);
        }
        Err(err) => return Err(err),
    };
    if !files::try_lock_exclusive(dir.as_fd())? {
        return Ok(false);
    }
    files::remove_tree(area, name)?;
    Ok(true)
}
