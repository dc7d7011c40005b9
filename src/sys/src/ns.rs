//! Namespaces: leaving the shared ones, joining others'.

use crate::check;
use crate::clone::Namespaces;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

/// Moves this (single-threaded) process into fresh namespaces.
pub fn unshare(namespaces: Namespaces) -> io::Result<()> {
    // SAFETY: no memory is involved.
    check(unsafe { libc::unshare(namespaces.0 as libc::c_int) }).map(drop)
}

/// Joins the namespace behind a `/proc/<pid>/ns/*` fd.
pub fn set(fd: BorrowedFd<'_>, kind: Namespaces) -> io::Result<()> {
    // SAFETY: no memory is involved.
    check(unsafe { libc::setns(fd.as_raw_fd(), kind.0 as libc::c_int) }).map(drop)
}

/// Whose the user namespace behind an fd is: the uid, as it is seen from here, of
/// who made it (Linux 4.11).
pub fn owner(userns: BorrowedFd<'_>) -> io::Result<u32> {
    const NS_GET_OWNER_UID: u32 = 0xb704;
    let mut uid: libc::uid_t = 0;
    // SAFETY: NS_GET_OWNER_UID writes one uid_t.
    check(unsafe { libc::ioctl(userns.as_raw_fd(), NS_GET_OWNER_UID as _, &raw mut uid) })?;
    Ok(uid)
}

/// Sets the host name of the current uts namespace.
pub fn set_hostname(name: &str) -> io::Result<()> {
    // SAFETY: pointer and length describe `name`, which the kernel copies.
    check(unsafe { libc::sethostname(name.as_ptr().cast(), name.len()) }).map(drop)
}

/// Does `work` in another network namespace, which must not start a thread.
/// When the way back fails the process ends: it would go on in the wrong one.
pub fn within_net<T>(netns: BorrowedFd<'_>, work: impl FnOnce() -> T) -> io::Result<T> {
    let own = std::fs::File::open("/proc/thread-self/ns/net")?;
    set(netns, Namespaces::NET)?;
    let done = work();
    match set(own.as_fd(), Namespaces::NET) {
        Ok(()) => Ok(done),
        Err(err) => {
            eprintln!("cannot return to the host's network namespace: {err}");
            std::process::abort()
        }
    }
}
