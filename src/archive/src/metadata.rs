//! Owner, permissions, attributes and times of what was extracted.
//!
//! The order is content, owner, attributes, permissions, times: chown clears
//! setuid and file capabilities, and setting attributes needs the write
//! permission that the file's own mode may lack.

use std::ffi::OsStr;
use std::os::fd::{AsFd, BorrowedFd};

use model::fault::{Fault, Result};
use rustix::fs::{AtFlags, Gid, Mode, Timespec, Timestamps, UTIME_OMIT, Uid, XattrFlags};
use rustix::io::Errno;

use crate::entry::Entry;
use crate::name::shown;

/// What an image may set: not what overlayfs or a security module reads.
pub(crate) fn xattr_allowed(name: &[u8]) -> bool {
    name == b"security.capability"
        || name.starts_with(b"user.") && !name.starts_with(b"user.overlay.")
}

pub(crate) fn failed(verb: &str, entry: &Entry, errno: Errno) -> Fault {
    Fault::io(verb, format!("\"{}\"", shown(&entry.name)), errno)
}

/// Only the modification time; the access time is that of the extraction.
pub(crate) fn times((secs, nanos): (i64, u32)) -> Timestamps {
    Timestamps {
        last_access: Timespec {
            tv_sec: 0,
            tv_nsec: UTIME_OMIT,
        },
        last_modification: Timespec {
            tv_sec: secs,
            tv_nsec: i64::from(nanos),
        },
    }
}

/// Without owners the bits that would lend another user's rights mean nothing.
pub(crate) fn mode(entry: &Entry, owners: bool) -> Mode {
    Mode::from_raw_mode(if owners {
        entry.mode
    } else {
        entry.mode & 0o1777
    })
}

pub(crate) fn chown(dir: BorrowedFd<'_>, name: &OsStr, entry: &Entry) -> Result<()> {
    let (uid, gid) = (Uid::from_raw(entry.uid), Gid::from_raw(entry.gid));
    rustix::fs::chownat(dir, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)
        .map_err(|errno| failed("chown", entry, errno))
}

/// Sets what is allowed. What this file system or user cannot have is told in
/// `note`, not an error: an image should not fail for a `user.` attribute.
pub(crate) fn set_xattrs(
    fd: BorrowedFd<'_>,
    entry: &Entry,
    note: &mut dyn FnMut(String),
) -> Result<()> {
    for (name, value) in &entry.xattrs {
        if !xattr_allowed(name) {
            continue;
        }
        match rustix::fs::fsetxattr(fd, name.as_slice(), value, XattrFlags::empty()) {
            Ok(()) => {}
            Err(errno @ (Errno::NOTSUP | Errno::PERM | Errno::INVAL)) => note(format!(
                "attribute \"{}\" of \"{}\" is left out: {}",
                shown(name),
                shown(&entry.name),
                model::fault::errno_text(&errno.into())
            )),
            Err(errno) => return Err(failed("setxattr", entry, errno)),
        }
    }
    Ok(())
}

/// Everything of a regular file that is open for writing.
pub(crate) fn finish_file(
    file: impl AsFd,
    entry: &Entry,
    owners: bool,
    note: &mut dyn FnMut(String),
) -> Result<()> {
    let fd = file.as_fd();
    if owners {
        let (uid, gid) = (Uid::from_raw(entry.uid), Gid::from_raw(entry.gid));
        rustix::fs::fchown(fd, Some(uid), Some(gid)).map_err(|e| failed("chown", entry, e))?;
    }
    set_xattrs(fd, entry, note)?;
    rustix::fs::fchmod(fd, mode(entry, owners)).map_err(|e| failed("chmod", entry, e))?;
    rustix::fs::futimens(fd, &times(entry.mtime)).map_err(|e| failed("set times of", entry, e))
}
