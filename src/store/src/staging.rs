//! Where things are made: `tmp/<random>`, flocked by the process that works in
//! it. The kernel drops the lock when that process dies, however it dies, so a
//! directory that can be locked is rubbish and swept by the next import or gc.

use crate::files;
use crate::store::TMP;
use rustix::fs::{FlockOperation, Mode};
use rustix::rand::GetRandomFlags;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// A private directory; removed with all its content when dropped.
pub(crate) struct Staging<'a> {
    root: BorrowedFd<'a>,
    path: String,
    dir: OwnedFd,
}

impl<'a> Staging<'a> {
    pub(crate) fn new(root: BorrowedFd<'a>) -> io::Result<Staging<'a>> {
        loop {
            let mut random = [0u8; 8];
            rustix::rand::getrandom(&mut random, GetRandomFlags::empty())?;
            let path = format!("{TMP}/{:016x}", u64::from_ne_bytes(random));
            match rustix::fs::mkdirat(root, &path, Mode::from_raw_mode(0o700)) {
                Ok(()) => {}
                Err(rustix::io::Errno::EXIST) => continue,
                Err(err) => return Err(err.into()),
            }
            // A sweeper may come between mkdir and flock, and be right to.
            let dir = match files::open_dir(root, &path) {
                Ok(dir) => dir,
                Err(err) if err.kind() == io::ErrorKind::NotFound => continue,
                Err(err) => return Err(err),
            };
            files::lock(dir.as_fd(), FlockOperation::LockExclusive)?;
            if files::is_linked(root, &path, dir.as_fd())? {
                // Without the setgid bit that the data directory hands down: it
                // would spread into every directory of the image.
                rustix::fs::fchmod(&dir, Mode::from_raw_mode(0o700))?;
                return Ok(Staging { root, path, dir });
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

impl Drop for Staging<'_> {
    fn drop(&mut self) {
        // What cannot be removed now is swept later.
        let _ = files::remove_tree(self.root, &self.path);
    }
}

/// Removes staging directories whose process is gone. Returns how many, and the
/// first failure; one that resists does not save the others.
pub(crate) fn sweep(root: BorrowedFd<'_>) -> (usize, Option<io::Error>) {
    let mut swept = 0;
    let mut failure = None;
    let names = files::names(root, TMP).unwrap_or_else(|err| {
        failure = Some(err);
        Vec::new()
    });
    for name in names {
        match sweep_one(root, &format!("{TMP}/{name}")) {
            Ok(true) => swept += 1,
            Ok(false) => {}
            Err(err) => {
                failure.get_or_insert(err);
            }
        }
    }
    (swept, failure)
}

fn sweep_one(root: BorrowedFd<'_>, path: &str) -> io::Result<bool> {
    let dir = match files::open_dir(root, path) {
        Ok(dir) => dir,
        Err(err) if err.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(err) => return Err(err),
    };
    if !files::try_lock_exclusive(dir.as_fd())? {
        return Ok(false);
    }
    files::remove_tree(root, path)?;
    Ok(true)
}
