//! Locks: all are `flock(2)`, so they belong to an open file, are inherited
//! over exec, and are dropped by the kernel with the last holder. That is how a
//! pod's end is noticed, whatever killed it.
//!
//! The test of a pod's lock is a shared attempt that does not wait. Two tests
//! at once do not disturb each other, and neither looks like a holder.

use model::{Fault, fault::Result};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{self, CWD, FlockOperation, Mode, OFlags};
use rustix::io::{Errno, FdFlags};
use std::path::Path;
use std::time::Duration;

use crate::{files, layout};

/// Whether another open file holds the lock exclusively. `file` must be a file
/// that does not hold the lock itself: the attempt would downgrade it.
pub(crate) fn is_held(file: impl AsFd) -> rustix::io::Result<bool> {
    match fs::flock(&file, FlockOperation::NonBlockingLockShared) {
        Ok(()) => {
            fs::flock(&file, FlockOperation::Unlock)?;
            Ok(false)
        }
        Err(Errno::WOULDBLOCK) => Ok(true),
        Err(err) => Err(err),
    }
}

/// As [`is_held`] for a file that is closed right afterwards, which drops the
/// shared lock just as well: one system call less.
pub(crate) fn is_held_briefly(file: impl AsFd) -> rustix::io::Result<bool> {
    match fs::flock(&file, FlockOperation::NonBlockingLockShared) {
        Ok(()) => Ok(false),
        Err(Errno::WOULDBLOCK) => Ok(true),
        Err(err) => Err(err),
    }
}

pub(crate) fn exclusive(file: impl AsFd) -> rustix::io::Result<()> {
    rustix::io::retry_on_intr(|| fs::flock(&file, FlockOperation::LockExclusive))
}

/// Takes the lock exclusively without waiting for a holder. A passing test
/// (shared, held for microseconds) is waited out, up to 20 ms.
pub(crate) fn try_exclusive(file: impl AsFd) -> rustix::io::Result<bool> {
    for _ in 0..20 {
        match fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(true),
            Err(Errno::WOULDBLOCK) => {}
            Err(err) => return Err(err),
        }
        if is_held(&file)? {
            return Ok(false);
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    Ok(false)
}

/// Sets or clears CLOEXEC.
pub(crate) fn set_cloexec(file: impl AsFd, on: bool) -> rustix::io::Result<()> {
    let flags = if on {
        FdFlags::CLOEXEC
    } else {
        FdFlags::empty()
    };
    rustix::io::fcntl_setfd(file, flags)
}

/// `locks/prepareLock`: shared while a pod is prepared, exclusive while layers
/// that no pod names are removed. Dropping it unlocks.
#[derive(Debug)]
pub struct PrepareLock(OwnedFd);

impl PrepareLock {
    /// Waits until nobody collects layers.
    pub fn shared(data_dir: &Path) -> Result<PrepareLock> {
        PrepareLock::take(data_dir, FlockOperation::LockShared)
    }

    /// Waits until nobody prepares.
    pub fn exclusive(data_dir: &Path) -> Result<PrepareLock> {
        PrepareLock::take(data_dir, FlockOperation::LockExclusive)
    }

    /// The same if nobody prepares a pod just now.
    pub fn try_exclusive(data_dir: &Path) -> Result<Option<PrepareLock>> {
        match PrepareLock::take(data_dir, FlockOperation::NonBlockingLockExclusive) {
            Ok(lock) => Ok(Some(lock)),
            Err(fault) if fault.errno() == Some(Errno::AGAIN.raw_os_error()) => Ok(None),
            Err(fault) => Err(fault),
        }
    }

    fn take(data_dir: &Path, how: FlockOperation) -> Result<PrepareLock> {
        let path = layout::prepare_lock(data_dir);
        let open = || {
            let flags = OFlags::RDONLY | OFlags::CREATE | OFlags::CLOEXEC | OFlags::NOFOLLOW;
            fs::openat(CWD, &path, flags, Mode::from_raw_mode(layout::FILE_MODE))
        };
        let file = match open() {
            Err(Errno::NOENT) => {
                let locks = layout::locks(data_dir);
                // The one above it is `pods` where the data directory is read-only.
                for dir in [data_dir, locks.parent().unwrap_or(data_dir), &locks] {
                    make_dir(data_dir, dir)?;
                }
                open()
            }
            other => other,
        };
        let file = file.map_err(|err| unwritable(data_dir, "open", &path, err))?;
        rustix::io::retry_on_intr(|| fs::flock(&file, how))
            .map_err(|err| Fault::io("lock", path.display(), err))?;
        Ok(PrepareLock(file))
    }
}

impl AsFd for PrepareLock {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Makes a directory of a data directory, or the latter itself.
pub(crate) fn make_dir(data_dir: &Path, path: &Path) -> Result<()> {
    files::ignore_existing(fs::mkdirat(
        CWD,
        path,
        Mode::from_raw_mode(layout::DIR_MODE),
    ))
    .map_err(|err| unwritable(data_dir, "mkdir", path, err))
}

/// The failure to make something below a data directory. A read-only one is told
/// what it lacks: a file system of its own for `pods`.
pub(crate) fn unwritable(data_dir: &Path, verb: &str, path: &Path, err: Errno) -> Fault {
    if err != Errno::ROFS {
        return Fault::io(verb, path.display(), err);
    }
    let (dir, pods) = (data_dir.display(), layout::pods(data_dir));
    let fault = Fault::refused(format!(
        "\"{dir}\" is read-only, and no file system that takes pods is mounted on \"{}\"",
        pods.display()
    ));
    let mount = format!("mount -t tmpfs -o mode=0750 tmpfs {}", pods.display());
    match (data_dir.exists(), pods.exists()) {
        (true, true) => fault.hint(mount),
        (true, false) => fault.hint(format!(
            "where \"{dir}\" is made, make the empty directory \"pods\" in it; then {mount}"
        )),
        (false, _) => Fault::io(verb, path.display(), err)
            .hint("--dir names a data directory that can be written"),
    }
}

/// `P/pod.lck`, held exclusively while a mutable pod's manifest is edited.
/// Dropping it unlocks.
#[derive(Debug)]
pub struct EditLock(#[expect(dead_code, reason = "held for its lock")] OwnedFd);

impl EditLock {
    pub(crate) fn take(dir: BorrowedFd<'_>) -> Result<EditLock> {
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let file = fs::openat(dir, layout::POD_LOCK, flags, Mode::from_raw_mode(0o600))
            .map_err(|err| Fault::io("open", layout::POD_LOCK, err))?;
        exclusive(&file).map_err(|err| Fault::io("lock", layout::POD_LOCK, err))?;
        Ok(EditLock(file))
    }
}
