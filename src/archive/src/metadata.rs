//! Owner, permissions, attributes and times of what is extracted.
//!
//! The order is content, owner, attributes, permissions, times: chown clears
//! setuid and file capabilities, and setting attributes needs the write
//! permission that the file's own mode may lack.
//!
//! An image has tens of thousands of files, nearly all of them root's with a
//! mode that the umask leaves alone. What a new file has by itself is asked once
//! (`Born`), and calls that would change nothing are not made.

use std::ffi::OsStr;
use std::fs::File;
use std::io::Write;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::FileExt;

use model::fault::{Fault, Result};
use rustix::fs::{
    AtFlags, Gid, Mode, OFlags, Timespec, Timestamps, UTIME_OMIT, Uid, XattrFlags, fstat, openat,
    unlinkat, utimensat,
};
use rustix::io::Errno;

use crate::entry::Entry;
use crate::name::shown;
use crate::options::{Form, LARGER_RANGE};
use crate::tape::Tape;

/// Names and values of extended attributes.
pub(crate) type Xattrs = [(Vec<u8>, Vec<u8>)];

/// What an image may set: not what overlayfs or a security module reads.
pub(crate) fn xattr_allowed(name: &[u8]) -> bool {
    name == b"security.capability"
        || name.starts_with(b"user.") && !name.starts_with(b"user.overlay.")
}

pub(crate) fn failed(verb: &str, entry: &Entry, errno: Errno) -> Fault {
    failed_at(verb, &entry.name, errno)
}

pub(crate) fn failed_at(verb: &str, name: &[u8], errno: Errno) -> Fault {
    Fault::io(verb, format!("\"{}\"", shown(name)), errno)
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

pub(crate) fn mode(bits: u32, form: Form) -> Mode {
    Mode::from_raw_mode(form.mode(bits))
}

/// A change of owner that failed. The kernel's answer to an id that does not
/// exist in this user namespace is EINVAL.
pub(crate) fn not_given(name: &[u8], (uid, gid): (u32, u32), errno: Errno) -> Fault {
    if errno != Errno::INVAL {
        return failed_at("chown", name, errno);
    }
    let name = shown(name);
    Fault::unsupported(format!(
        "\"{name}\" belongs to user {uid} and group {gid}, which do not both exist in this user \
         namespace"
    ))
    .hint(LARGER_RANGE)
}

/// What a new file in this tree has by itself: owner and group, and the bits
/// that the umask (or a default ACL) takes away. Directories keep their owners
/// until the end, so that it holds everywhere, also where a group is inherited.
pub(crate) struct Born {
    uid: u32,
    gid: u32,
    mask: u32,
    form: Form,
}

impl Born {
    /// Makes a file in the empty directory `dir`, looks at it, removes it.
    pub(crate) fn probe(dir: BorrowedFd<'_>, form: Form) -> Result<Born> {
        let name = c".new";
        let all = Mode::from_raw_mode(0o777);
        let probe = || -> rustix::io::Result<Born> {
            let stat = fstat(openat(dir, name, NEW, all)?)?;
            unlinkat(dir, name, AtFlags::empty())?;
            Ok(Born {
                uid: stat.st_uid,
                gid: stat.st_gid,
                mask: 0o777 & !stat.st_mode,
                form,
            })
        };
        probe().map_err(|err| Fault::io("create", "a file", err))
    }

    fn owned(&self, uid: u32, gid: u32) -> bool {
        !self.form.owners || (uid, gid) == (self.uid, self.gid)
    }

    /// Whether `create` gives the final mode already. Attributes need a mode
    /// that lets their owner write.
    fn exact(&self, entry: &Entry) -> bool {
        mode(entry.mode, self.form).bits() & (0o7000 | self.mask) == 0 && entry.xattrs.is_empty()
    }

    /// A new and empty regular file, open for writing.
    pub(crate) fn create(
        &self,
        dir: BorrowedFd<'_>,
        name: &OsStr,
        entry: &Entry,
    ) -> rustix::io::Result<File> {
        let mode = if self.exact(entry) {
            mode(entry.mode, self.form)
        } else {
            Mode::RUSR | Mode::WUSR
        };
        openat(dir, name, NEW, mode).map(File::from)
    }

    /// Everything of a regular file that `create` made and that has its content.
    pub(crate) fn finish_file(
        &self,
        file: &File,
        entry: &Entry,
        xattrs: &Xattrs,
        note: &mut dyn FnMut(String),
    ) -> Result<()> {
        let fd = file.as_fd();
        if !self.owned(entry.uid, entry.gid) {
            let (uid, gid) = (Uid::from_raw(entry.uid), Gid::from_raw(entry.gid));
            rustix::fs::fchown(fd, Some(uid), Some(gid))
                .map_err(|e| not_given(&entry.name, (entry.uid, entry.gid), e))?;
        }
        set_xattrs(fd, &entry.name, xattrs, note)?;
        if !self.exact(entry) {
            rustix::fs::fchmod(fd, mode(entry.mode, self.form))
                .map_err(|e| failed("chmod", entry, e))?;
        }
        rustix::fs::futimens(fd, &times(entry.mtime)).map_err(|e| failed("set times of", entry, e))
    }

    /// The owner of what is no regular file and new.
    pub(crate) fn chown(&self, dir: BorrowedFd<'_>, name: &OsStr, entry: &Entry) -> Result<()> {
        if self.owned(entry.uid, entry.gid) {
            return Ok(());
        }
        let (uid, gid) = (Uid::from_raw(entry.uid), Gid::from_raw(entry.gid));
        rustix::fs::chownat(dir, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)
            .map_err(|errno| not_given(&entry.name, (entry.uid, entry.gid), errno))
    }
}

const NEW: OFlags = OFlags::WRONLY
    .union(OFlags::CREATE)
    .union(OFlags::EXCL)
    .union(OFlags::NOFOLLOW)
    .union(OFlags::CLOEXEC);

/// What is set on a directory when nothing changes in it any more.
pub(crate) struct DirAttributes<'a> {
    pub(crate) mode: u32,
    /// None: it stays its maker's.
    pub(crate) owner: Option<(u32, u32)>,
    pub(crate) mtime: Option<(i64, u32)>,
    pub(crate) xattrs: &'a Xattrs,
}

/// `name` is for messages.
pub(crate) fn finish_dir(
    fd: BorrowedFd<'_>,
    name: &[u8],
    want: &DirAttributes<'_>,
    born: &Born,
    note: &mut dyn FnMut(String),
) -> Result<()> {
    if let Some((uid, gid)) = want.owner.filter(|&(uid, gid)| !born.owned(uid, gid)) {
        rustix::fs::fchown(fd, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)))
            .map_err(|e| not_given(name, (uid, gid), e))?;
    }
    set_xattrs(fd, name, want.xattrs, note)?;
    rustix::fs::fchmod(fd, mode(want.mode, born.form)).map_err(|e| failed_at("chmod", name, e))?;
    match want.mtime {
        Some(mtime) => {
            rustix::fs::futimens(fd, &times(mtime)).map_err(|e| failed_at("set times of", name, e))
        }
        None => Ok(()),
    }
}

/// The time of what is no regular file.
pub(crate) fn set_times(dir: BorrowedFd<'_>, name: &OsStr, entry: &Entry) -> Result<()> {
    utimensat(dir, name, &times(entry.mtime), AtFlags::SYMLINK_NOFOLLOW)
        .map_err(|err| failed("set times of", entry, err))
}

/// Sets what is allowed. What this file system or user cannot have is told in
/// `note`, not an error: an image should not fail for a `user.` attribute.
pub(crate) fn set_xattrs(
    fd: BorrowedFd<'_>,
    file: &[u8],
    xattrs: &Xattrs,
    note: &mut dyn FnMut(String),
) -> Result<()> {
    for (name, value) in xattrs {
        if !xattr_allowed(name) {
            continue;
        }
        match rustix::fs::fsetxattr(fd, name.as_slice(), value, XattrFlags::empty()) {
            Ok(()) => {}
            Err(errno @ (Errno::NOTSUP | Errno::PERM | Errno::INVAL)) => note(format!(
                "attribute \"{}\" of \"{}\" is left out: {}",
                shown(name),
                shown(file),
                model::fault::errno_text(&errno.into())
            )),
            Err(errno) => return Err(failed_at("setxattr", file, errno)),
        }
    }
    Ok(())
}

/// Takes a file's content off the tape.
pub(crate) fn fill(mut file: &File, entry: &Entry, tape: &mut Tape<'_>) -> Result<()> {
    let fail = |err| Fault::io("write", format!("\"{}\"", shown(&entry.name)), err);
    let Some(segments) = &entry.sparse else {
        return tape.each(entry.stored, |bytes| file.write_all(bytes).map_err(fail));
    };
    file.set_len(entry.size).map_err(fail)?;
    for segment in segments {
        let mut at = segment.offset;
        tape.each(segment.len, |bytes| {
            file.write_all_at(bytes, at).map_err(fail)?;
            at += bytes.len() as u64;
            Ok(())
        })?;
    }
    Ok(())
}
