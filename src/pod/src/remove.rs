//! Deleting a pod's directory: no symlink is followed, no other file system is
//! entered, and the order lets a killed gc be done again.

use model::{Fault, fault::Result};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{self, AtFlags, FileType, Mode, OFlags, RawDir};
use rustix::io::Errno;
use std::ffi::CString;
use std::mem::MaybeUninit;

use crate::state::Place;
use crate::{Pod, layout};

impl Pod {
    /// Deletes a pod in one of the garbage places whose lock is held here.
    /// What stage1 filled goes first, the manifest last: a pod that still has
    /// it can be collected once more. Mounts must be gone; one that is left is
    /// an error, and nothing on it is touched.
    pub fn delete(self) -> Result<()> {
        let marked = matches!(self.state().place(), Place::ExitedGarbage | Place::Garbage);
        if !marked || self.lock_fd().is_none() {
            return Err(Fault::conflict(format!(
                "non-garbage pod {:?} (status {:?}), skipped",
                self.uuid().as_str(),
                self.state().to_string()
            )));
        }
        let unable = |what: &str, err: Errno| {
            let pod = format!("pod {:?}", self.uuid().as_str());
            Fault::io("remove", pod, err).message(format!("unable to remove {what}"))
        };
        for name in [layout::STAGE1, layout::OVERLAY] {
            remove_tree(self.dir(), name).map_err(|err| unable("pod rootfs", err))?;
        }
        for (name, _) in entries(&self).map_err(|err| unable("pod", err))? {
            if name.as_bytes() != layout::POD.as_bytes() {
                remove_tree(self.dir(), &name).map_err(|err| unable("pod", err))?;
            }
        }
        remove_tree(self.dir(), layout::POD).map_err(|err| unable("pod", err))?;
        match fs::unlinkat(fs::CWD, self.path(), AtFlags::REMOVEDIR) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(err) => Err(unable("pod", err)),
        }
    }
}

/// Removes `name` in `dir` and all below it; missing is fine. Needs a constant
/// number of fds however deep an app has nested its directories: it goes up by
/// `..`, which leads back because nobody else moves things in here.
pub(crate) fn remove_tree(
    dir: BorrowedFd<'_>,
    name: impl rustix::path::Arg,
) -> rustix::io::Result<()> {
    let name = name.into_c_str()?.into_owned();
    match fs::unlinkat(dir, &name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => return Ok(()),
        Err(Errno::ISDIR | Errno::PERM) => {}
        Err(err) => return Err(err),
    }
    let device = fs::fstat(dir)?.st_dev;
    let mut path = vec![name];
    let mut at = enter(dir, &path[0], device)?;
    loop {
        match empty(&at, device)? {
            Some((name, child)) => {
                path.push(name);
                at = child;
            }
            None => {
                let Some(done) = path.pop() else {
                    return Ok(());
                };
                if path.is_empty() {
                    return fs::unlinkat(dir, &done, AtFlags::REMOVEDIR);
                }
                at = fs::openat(&at, "..", DIR, Mode::empty())?;
                fs::unlinkat(&at, &done, AtFlags::REMOVEDIR)?;
            }
        }
    }
}

const DIR: OFlags = OFlags::RDONLY
    .union(OFlags::DIRECTORY)
    .union(OFlags::CLOEXEC)
    .union(OFlags::NOFOLLOW);

/// Removes what can be unlinked or is an empty directory; returns the first
/// directory that must be emptied before, opened.
fn empty(dir: &OwnedFd, device: u64) -> rustix::io::Result<Option<(CString, OwnedFd)>> {
    loop {
        let found = entries(dir)?;
        if found.is_empty() {
            return Ok(None);
        }
        if let Some(child) = empty_some(dir, found, device)? {
            return Ok(Some(child));
        }
    }
}

fn empty_some(
    dir: &OwnedFd,
    found: Vec<(CString, FileType)>,
    device: u64,
) -> rustix::io::Result<Option<(CString, OwnedFd)>> {
    for (name, kind) in found {
        if kind != FileType::Directory {
            match fs::unlinkat(dir, &name, AtFlags::empty()) {
                Ok(()) | Err(Errno::NOENT) => continue,
                // The file system did not tell that it is a directory.
                Err(Errno::ISDIR | Errno::PERM) if kind == FileType::Unknown => {}
                Err(err) => return Err(err),
            }
        }
        match fs::unlinkat(dir, &name, AtFlags::REMOVEDIR) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(Errno::NOTEMPTY | Errno::EXIST | Errno::BUSY) => {
                let child = enter(dir.as_fd(), &name, device)?;
                return Ok(Some((name, child)));
            }
            Err(err) => return Err(err),
        }
    }
    Ok(None)
}

/// Opens a directory to empty it; one that is a mount point is `EBUSY`.
fn enter(dir: BorrowedFd<'_>, name: &CString, device: u64) -> rustix::io::Result<OwnedFd> {
    let open = || fs::openat(dir, name, DIR, Mode::empty());
    let child = match open() {
        // Ours, but its mode shuts us out when we are not root.
        Err(Errno::ACCESS) => {
            fs::chmodat(dir, name, Mode::from_raw_mode(0o700), AtFlags::empty())?;
            open()?
        }
        other => other?,
    };
    if fs::fstat(&child)?.st_dev == device {
        Ok(child)
    } else {
        Err(Errno::BUSY)
    }
}

/// Names and kinds, without the two dots. A huge directory comes in pieces:
/// the caller removes what it got and asks again, so memory stays bounded.
fn entries(dir: impl AsFd) -> rustix::io::Result<Vec<(CString, FileType)>> {
    // An own open file: the offset of a shared one would be moved.
    let dir = fs::openat(dir, ".", DIR, Mode::empty())?;
    let mut buf = [MaybeUninit::uninit(); 16 << 10];
    let mut found = Vec::new();
    let mut list = RawDir::new(dir, &mut buf);
    while let Some(entry) = list.next() {
        let entry = entry?;
        let name = entry.file_name();
        if name.to_bytes() != b"." && name.to_bytes() != b".." {
            found.push((name.to_owned(), entry.file_type()));
        }
        if found.len() >= 4096 {
            break;
        }
    }
    Ok(found)
}
