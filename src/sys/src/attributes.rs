//! What a file is besides its content: owner, mode, extended attributes, times.
//!
//! They are set in this order, because a change of owner clears setuid bits and
//! file capabilities. A user other than root keeps what he makes: only root can
//! give files away, and only root sets `security.` and `trusted.` attributes.

use rustix::fs::{Gid, Mode, Stat, Timespec, Timestamps, Uid, XattrFlags};
use rustix::io::Errno;
use std::ffi::CString;
use std::io;
use std::os::fd::BorrowedFd;

/// The owner to set; `None` leaves the maker of the file in place.
pub(crate) fn owner(uid: u32, gid: u32) -> Option<(Uid, Gid)> {
    let root = rustix::process::geteuid().is_root();
    root.then(|| (Uid::from_raw(uid), Gid::from_raw(gid)))
}

pub(crate) fn mode(stat: &Stat) -> Mode {
    Mode::from_raw_mode(stat.st_mode & 0o7777)
}

pub(crate) fn times(stat: &Stat) -> Timestamps {
    let time = |seconds, nanoseconds| Timespec {
        tv_sec: seconds,
        tv_nsec: nanoseconds,
    };
    Timestamps {
        last_access: time(stat.st_atime, stat.st_atime_nsec as _),
        last_modification: time(stat.st_mtime, stat.st_mtime_nsec as _),
    }
}

/// Everything from one open directory to another, the owner as it is.
pub fn copy_dir(from: BorrowedFd<'_>, to: BorrowedFd<'_>) -> io::Result<()> {
    let stat = rustix::fs::fstat(from)?;
    copy_all(from, to, &stat, owner(stat.st_uid, stat.st_gid))
}

/// Everything from one open regular file or directory, whose `stat` is known, to
/// another.
pub(crate) fn copy_all(
    from: BorrowedFd<'_>,
    to: BorrowedFd<'_>,
    stat: &Stat,
    owner: Option<(Uid, Gid)>,
) -> io::Result<()> {
    if let Some((uid, gid)) = owner {
        rustix::fs::fchown(to, Some(uid), Some(gid))?;
    }
    rustix::fs::fchmod(to, mode(stat))?;
    copy_xattrs(from, to)?;
    Ok(rustix::fs::futimens(to, &times(stat))?)
}

fn copy_xattrs(from: BorrowedFd<'_>, to: BorrowedFd<'_>) -> io::Result<()> {
    let root = rustix::process::geteuid().is_root();
    for name in xattr_names(from)? {
        let bytes = name.as_bytes();
        // Labels are the policy's to give, by path and by pod.
        let foreign = bytes == b"security.selinux"
            || !root && (bytes.starts_with(b"security.") || bytes.starts_with(b"trusted."));
        if foreign {
            continue;
        }
        let value = grown(|buffer| rustix::fs::fgetxattr(from, &name, buffer))?;
        match rustix::fs::fsetxattr(to, &name, &value, XattrFlags::empty()) {
            // The target's file system has none, as with `cp -a`.
            Ok(()) | Err(Errno::OPNOTSUPP) => {}
            Err(err) => return Err(err.into()),
        }
    }
    Ok(())
}

fn xattr_names(of: BorrowedFd<'_>) -> io::Result<Vec<CString>> {
    let list = match grown(|buffer| rustix::fs::flistxattr(of, buffer)) {
        Err(Errno::OPNOTSUPP) => return Ok(Vec::new()),
        list => list?,
    };
    let names = list
        .split(|&byte| byte == 0)
        .filter(|name| !name.is_empty());
    Ok(names.filter_map(|name| CString::new(name).ok()).collect())
}

/// Reads a value whose length may change between asking and reading. The kernel
/// bounds it to 64 KiB.
fn grown(read: impl Fn(&mut [u8]) -> Result<usize, Errno>) -> Result<Vec<u8>, Errno> {
    let mut buffer = vec![0; 256];
    loop {
        match read(&mut buffer) {
            Ok(length) => {
                buffer.truncate(length);
                return Ok(buffer);
            }
            Err(Errno::RANGE) if buffer.len() < 128 << 10 => buffer.resize(buffer.len() * 4, 0),
            Err(err) => return Err(err),
        }
    }
}
