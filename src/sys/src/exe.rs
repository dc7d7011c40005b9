//! Our own binary, executed again where no one can write it.
//!
//! A process that joins a hostile pod must not lead from `/proc/<pid>/exe` to
//! the file on the host (CVE-2019-5736). So it runs from a read-only bind that
//! is attached nowhere: 0.04 ms, and the page cache is shared. Where the
//! kernel has no such thing, from a sealed copy in memory.

use crate::{check_long, mount, process};
use std::ffi::CString;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

/// How our binary can be protected here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// open_tree + mount_setattr (Linux 5.12).
    DetachedBind,
    /// A memfd sealed against writing: a copy in memory.
    SealedCopy,
}

/// An fd to execute our own binary from, and how it is protected.
pub fn protected() -> io::Result<(OwnedFd, Way)> {
    let bind = clone_of_own().and_then(|fd| {
        mount::make_read_only(fd.as_fd(), false)?;
        Ok(fd)
    });
    match bind {
        Ok(fd) => Ok((fd, Way::DetachedBind)),
        Err(_) => Ok((sealed_copy()?, Way::SealedCopy)),
    }
}

/// A detached bind of our binary. A process that has changed its mount namespace
/// runs from a mount of the former one, which cannot be cloned: there the name
/// is tried, which leads to the same file or is not believed.
fn clone_of_own() -> io::Result<OwnedFd> {
    use rustix::fs::{CWD, Mode, OFlags, fstat, openat, readlinkat};
    const OWN: &str = "/proc/self/exe";
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    let own = openat(CWD, OWN, flags, Mode::empty())?;
    let cloned = mount::clone_tree(own.as_fd(), false);
    if !matches!(&cloned, Err(err) if err.raw_os_error() == Some(libc::EINVAL)) {
        return cloned;
    }
    let name = readlinkat(CWD, OWN, Vec::new())?;
    let named = openat(CWD, name, flags | OFlags::NOFOLLOW, Mode::empty())?;
    let (ours, there) = (fstat(&own)?, fstat(&named)?);
    if (ours.st_dev, ours.st_ino) != (there.st_dev, there.st_ino) {
        return cloned;
    }
    mount::clone_tree(named.as_fd(), false)
}

fn sealed_copy() -> io::Result<OwnedFd> {
    // SAFETY: a NUL-terminated text and plain flags.
    let fd = check_long(unsafe {
        libc::syscall(
            libc::SYS_memfd_create,
            c"rkt".as_ptr(),
            libc::MFD_CLOEXEC | libc::MFD_ALLOW_SEALING,
        )
    })?;
    // SAFETY: the kernel just gave this fd to us alone.
    let mut copy = std::fs::File::from(unsafe { OwnedFd::from_raw_fd(fd as i32) });
    let mut own = std::fs::File::open("/proc/self/exe")?;
    // By plain writes: what io::copy uses where copy_file_range is missing
    // (sendfile) lets pages pass through a pipe, and the kernel seals none
    // that anyone still holds.
    let mut buffer = vec![0; 128 << 10];
    loop {
        match own.read(&mut buffer) {
            Ok(0) => break,
            Ok(length) => copy.write_all(&buffer[..length])?,
            Err(err) if err.kind() == io::ErrorKind::Interrupted => {}
            Err(err) => return Err(err),
        }
    }
    seal(copy.as_fd())?;
    Ok(copy.into())
}

/// Page reclaim and compaction hold pages for a moment too; the kernel waits
/// some 150 ms for them, then says EBUSY. Asking again is all there is to do.
fn seal(copy: BorrowedFd<'_>) -> io::Result<()> {
    let seals = libc::F_SEAL_SEAL | libc::F_SEAL_SHRINK | libc::F_SEAL_GROW | libc::F_SEAL_WRITE;
    let mut left = 20;
    loop {
        // SAFETY: no memory is involved.
        match crate::check(unsafe { libc::fcntl(copy.as_raw_fd(), libc::F_ADD_SEALS, seals) }) {
            Err(err) if err.raw_os_error() == Some(libc::EBUSY) && left > 0 => left -= 1,
            sealed => return sealed.map(drop),
        }
    }
}

/// Executes our own binary with these arguments and this environment; returns
/// only the reason why it could not.
pub fn reexec(argv: &[CString], env: &[CString]) -> io::Error {
    match protected() {
        Ok((fd, _)) => process::exec_fd(fd.as_fd(), argv, env),
        Err(err) => err,
    }
}
