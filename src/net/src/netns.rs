//! A network namespace's file below `/var/run/netns`, where `ip netns` and CNI
//! programs find it.
//!
//! Named after the attachment's ID, so that nothing has to be read to find it
//! again. The directory is made a shared mount first, as `ip netns` does: a
//! mount namespace that somebody copied meanwhile would otherwise keep the
//! network alive after it was unmounted here.

use model::{Fault, fault::Result};
use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::{MountPropagationFlags, UnmountFlags};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

const DIR: &str = "/var/run/netns";

/// `/var/run/netns/cni-<id>`.
pub fn path(id: &str) -> String {
    format!("{DIR}/cni-{id}")
}

/// Mounts it; the path. What a killed attempt left there is replaced.
pub fn mount(netns: BorrowedFd<'_>, id: &str) -> Result<String> {
    share_dir()?;
    let path = path(id);
    unmount(id)?;
    let flags = OFlags::RDONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
    rustix::fs::open(&path, flags, Mode::from_raw_mode(0o444))
        .map_err(|err| Fault::io("create", &path, err))?;
    let source = format!("/proc/self/fd/{}", netns.as_raw_fd());
    let mounted = rustix::mount::mount_bind(&source, &path);
    mounted.map_err(|err| {
        let _ = rustix::fs::unlink(&path);
        Fault::io("mount", &path, err)
    })?;
    Ok(path)
}

/// Removes it; that it is gone already is no failure.
pub fn unmount(id: &str) -> Result<()> {
    let path = path(id);
    match rustix::mount::unmount(&path, UnmountFlags::NOFOLLOW | UnmountFlags::DETACH) {
        // Not mounted (after a reboot), or gone.
        Ok(()) | Err(Errno::INVAL | Errno::NOENT) => {}
        Err(err) => return Err(Fault::io("unmount", &path, err)),
    }
    match rustix::fs::unlink(&path) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(err) => Err(Fault::io("remove", &path, err)),
    }
}

/// The namespace that is mounted for this ID. None also when only the file is
/// there, after a reboot or where a kill came between: programs take a path
/// that leads to no namespace for a failure, not for one that is gone.
pub fn open(id: &str) -> Option<OwnedFd> {
    const NSFS: u64 = 0x6e73_6673;
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let fd = rustix::fs::open(path(id), flags, Mode::empty()).ok()?;
    let kind = rustix::fs::fstatfs(&fd).ok()?.f_type;
    (kind as u64 == NSFS).then_some(fd)
}

fn share_dir() -> Result<()> {
    let fail = |err: Errno| Fault::io("share", DIR, err);
    let share = || {
        rustix::mount::mount_change(
            DIR,
            MountPropagationFlags::SHARED | MountPropagationFlags::REC,
        )
    };
    match share() {
        Err(Errno::NOENT) => {
            for dir in ["/var", "/var/run", DIR] {
                match rustix::fs::mkdir(dir, Mode::from_raw_mode(0o755)) {
                    Ok(()) | Err(Errno::EXIST) => {}
                    Err(err) => return Err(Fault::io("mkdir", dir, err)),
                }
            }
        }
        Err(Errno::INVAL) => {}
        other => return other.map_err(fail),
    }
    // No mount of its own yet. Two pods may come here at once.
    let dir = rustix::fs::openat(
        CWD,
        DIR,
        OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC,
        Mode::empty(),
    )
    .map_err(fail)?;
    wait_for(&dir);
    if share().is_err() {
        rustix::mount::mount_bind_recursive(DIR, DIR).map_err(fail)?;
        share().map_err(fail)?;
    }
    Ok(())
}

/// Anybody can lock what anybody can open, so the wait is short; two mounts on
/// top of each other would do no harm either.
fn wait_for(dir: impl AsFd) {
    for _ in 0..100 {
        let operation = rustix::fs::FlockOperation::NonBlockingLockExclusive;
        if rustix::fs::flock(&dir, operation) != Err(Errno::WOULDBLOCK) {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
}
