//! Small verbs over directory fds that the rest of the store is written in:
//! bounded reads, durable small files, sorted listings, locks that survive
//! signals.

use rustix::fs::{AtFlags, Dir, FileType, FlockOperation, Gid, Mode, OFlags};
use rustix::io::Errno;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use sys::fs::InRoot;

/// Records, sources and references are small; whatever is larger is not ours.
pub(crate) const SMALL: u64 = 16 << 20;

pub(crate) fn open_dir(at: BorrowedFd<'_>, path: impl rustix::path::Arg) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(rustix::fs::openat(at, path, flags, Mode::empty())?)
}

pub(crate) fn open_file(at: BorrowedFd<'_>, path: impl rustix::path::Arg) -> io::Result<File> {
    // A pipe that a stranger has put there must not stop us.
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    Ok(File::from(rustix::fs::openat(
        at,
        path,
        flags,
        Mode::empty(),
    )?))
}

/// Reads a whole file of at most [`SMALL`] bytes.
pub(crate) fn read_small(at: BorrowedFd<'_>, path: impl rustix::path::Arg) -> io::Result<Vec<u8>> {
    read_bounded(&open_file(at, path)?)
}

pub(crate) fn read_bounded(file: &File) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.take(SMALL + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > SMALL {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "file is too large",
        ));
    }
    Ok(bytes)
}

/// Creates a file that must not exist yet. The mode is exact, whatever the umask.
pub(crate) fn create(
    at: BorrowedFd<'_>,
    path: impl rustix::path::Arg,
    mode: u32,
) -> io::Result<File> {
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mode = Mode::from_raw_mode(mode);
    let file = rustix::fs::openat(at, path, flags, mode)?;
    rustix::fs::fchmod(&file, mode)?;
    Ok(File::from(file))
}

pub(crate) fn write_new(
    at: BorrowedFd<'_>,
    path: impl rustix::path::Arg,
    mode: u32,
    bytes: &[u8],
) -> io::Result<()> {
    create(at, path, mode)?.write_all(bytes)
}

/// Gives a file the group of a directory that it will not be made in but moved
/// to. A user who is no member of that group keeps what he has, and so does one
/// in a user namespace that the group does not exist in.
pub(crate) fn share(at: BorrowedFd<'_>, name: &str, like: BorrowedFd<'_>) -> io::Result<()> {
    /// As which the kernel shows a group that does not exist here.
    const OVERFLOW: u32 = 65534;
    let group = rustix::fs::fstat(like)?.st_gid;
    if group == OVERFLOW && sys::userns::confined() {
        return Ok(());
    }
    let group = Gid::from_raw(group);
    let flags = AtFlags::SYMLINK_NOFOLLOW;
    match rustix::fs::chownat(at, name, None, Some(group), flags) {
        Ok(()) | Err(Errno::PERM | Errno::INVAL) => Ok(()),
        Err(err) => Err(err.into()),
    }
}

/// Makes a directory unless it stands already. A new one gets exactly `mode`,
/// plus the setgid bit where the parent hands it down.
pub(crate) fn ensure_dir(at: BorrowedFd<'_>, name: &str, mode: u32) -> io::Result<()> {
    match rustix::fs::mkdirat(at, name, Mode::from_raw_mode(mode)) {
        Ok(()) => {
            let dir = open_dir(at, name)?;
            let inherited = rustix::fs::fstat(&dir)?.st_mode & 0o2000;
            rustix::fs::fchmod(&dir, Mode::from_raw_mode(mode | inherited))?;
            Ok(())
        }
        Err(Errno::EXIST) => Ok(()),
        Err(err) => Err(err.into()),
    }
}

pub(crate) fn exists(at: BorrowedFd<'_>, path: impl rustix::path::Arg) -> io::Result<bool> {
    match rustix::fs::statat(at, path, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(_) => Ok(true),
        Err(Errno::NOENT | Errno::NOTDIR) => Ok(false),
        Err(err) => Err(err.into()),
    }
}

/// Unlinks a file; one that is gone already is no failure.
pub(crate) fn unlink(at: BorrowedFd<'_>, path: impl rustix::path::Arg) -> io::Result<()> {
    match rustix::fs::unlinkat(at, path, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(err) => Err(err.into()),
    }
}

/// Removes an empty directory; one that is gone or has content is left as it is.
pub(crate) fn rmdir_if_empty(at: BorrowedFd<'_>, path: impl rustix::path::Arg) -> io::Result<()> {
    match rustix::fs::unlinkat(at, path, AtFlags::REMOVEDIR) {
        Ok(()) | Err(Errno::NOENT | Errno::NOTEMPTY | Errno::EXIST) => Ok(()),
        Err(err) => Err(err.into()),
    }
}

/// Names in a directory, sorted, without the dots; empty if the directory is not there.
pub(crate) fn names(at: BorrowedFd<'_>, path: &str) -> io::Result<Vec<String>> {
    let dir = match open_dir(at, path) {
        Ok(dir) => dir,
        Err(err) if err.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(err) => return Err(err),
    };
    // All names of ours are plain text; anything else is not ours.
    Ok(entries(dir.as_fd())?
        .into_iter()
        .filter_map(|entry| entry.name.into_string().ok())
        .collect())
}

/// One entry of a directory.
pub(crate) struct Entry {
    pub name: OsString,
    pub is_dir: bool,
}

/// The entries of an open directory, sorted by name, without the dots.
pub(crate) fn entries(dir: BorrowedFd<'_>) -> io::Result<Vec<Entry>> {
    let mut found = Vec::new();
    for entry in Dir::read_from(dir)? {
        let entry = entry?;
        let name = OsStr::from_bytes(entry.file_name().to_bytes());
        if name == "." || name == ".." {
            continue;
        }
        let is_dir = match entry.file_type() {
            // Some filesystems do not tell (xfs without ftype).
            FileType::Unknown => {
                let stat = rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW)?;
                FileType::from_raw_mode(stat.st_mode) == FileType::Directory
            }
            kind => kind == FileType::Directory,
        };
        found.push(Entry {
            name: name.to_os_string(),
            is_dir,
        });
    }
    found.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(found)
}

/// Removes a file or a whole tree; what is gone already is no failure. A user
/// other than root may own directories without write permission in it.
pub(crate) fn remove_tree(at: BorrowedFd<'_>, path: impl AsRef<OsStr>) -> io::Result<()> {
    let path = path.as_ref();
    match sys::fs::remove_tree(at, path) {
        Err(err) if err.kind() == io::ErrorKind::PermissionDenied => {
            open_up(at, Path::new(path))?;
            sys::fs::remove_tree(at, path)
        }
        done => done,
    }
}

/// Gives the owner all rights on the directories of a tree, as far as they are ours.
/// Somebody else may write to the tree meanwhile: no path leads out of `at`, and no
/// link is changed.
fn open_up(at: BorrowedFd<'_>, top: &Path) -> io::Result<()> {
    let inside = InRoot::new(at.try_clone_to_owned()?);
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW;
    let mut todo = vec![top.to_path_buf()];
    while let Some(path) = todo.pop() {
        let (dir, name) = inside.parent(&path)?;
        sys::fs::chmod_nofollow(dir.as_fd(), &name, Mode::RWXU)?;
        let below = entries(inside.open(&path, flags, Mode::empty())?.as_fd())?;
        todo.extend(
            below
                .into_iter()
                .filter(|entry| entry.is_dir)
                .map(|e| path.join(e.name)),
        );
    }
    Ok(())
}

pub(crate) fn lock(fd: BorrowedFd<'_>, operation: FlockOperation) -> io::Result<()> {
    Ok(rustix::io::retry_on_intr(|| {
        rustix::fs::flock(fd, operation)
    })?)
}

/// `false` if somebody else holds it.
pub(crate) fn try_lock_exclusive(fd: BorrowedFd<'_>) -> io::Result<bool> {
    match lock(fd, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(true),
        Err(err) if err.kind() == io::ErrorKind::WouldBlock => Ok(false),
        Err(err) => Err(err),
    }
}

/// Whether `path` still leads to the object that `fd` is.
pub(crate) fn is_linked(
    at: BorrowedFd<'_>,
    path: impl rustix::path::Arg,
    fd: BorrowedFd<'_>,
) -> io::Result<bool> {
    let ours = rustix::fs::fstat(fd)?;
    match rustix::fs::statat(at, path, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(there) => Ok((there.st_dev, there.st_ino) == (ours.st_dev, ours.st_ino)),
        Err(Errno::NOENT) => Ok(false),
        Err(err) => Err(err.into()),
    }
}

/// Makes renames inside a directory survive a power cut.
pub(crate) fn sync_dir(at: BorrowedFd<'_>, path: &str) -> io::Result<()> {
    Ok(rustix::fs::fsync(open_dir(at, path)?)?)
}
