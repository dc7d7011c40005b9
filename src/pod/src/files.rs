//! Small verbs over files below a directory fd: bounded reads, whole-file
//! writes, atomic replacement, and a walk that follows no symlink.
//!
//! A pod directory belongs to root, but `S` may have been filled from an
//! image, so whatever lies in there is reached by [`walk`] only.

use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{self, AtFlags, CWD, FileType, Mode, OFlags, Stat};
use rustix::io::{Errno, Result};
use std::path::Path;

const DIR: OFlags = OFlags::RDONLY
    .union(OFlags::DIRECTORY)
    .union(OFlags::CLOEXEC)
    .union(OFlags::NOFOLLOW);
/// NONBLOCK: a fifo that somebody put here must not stop us.
const READ: OFlags = OFlags::RDONLY
    .union(OFlags::CLOEXEC)
    .union(OFlags::NOFOLLOW)
    .union(OFlags::NONBLOCK);

/// Opens a directory; symlinks are followed up to the last component.
pub(crate) fn open_dir_path(path: &Path) -> Result<OwnedFd> {
    fs::openat(CWD, path, DIR & !OFlags::NOFOLLOW, Mode::empty())
}

/// Opens the directory `name` in `dir`, no symlink.
pub(crate) fn open_dir(dir: impl AsFd, name: &str) -> Result<OwnedFd> {
    fs::openat(dir, name, DIR, Mode::empty())
}

/// Opens a directory below `dir` without following a symlink anywhere. Goes
/// step by step instead of by openat2, so it works on every kernel.
pub(crate) fn walk(dir: impl AsFd, path: &str) -> Result<OwnedFd> {
    let mut parts = path.split('/').filter(|part| !part.is_empty());
    let first = parts.next().ok_or(Errno::INVAL)?;
    let mut at = step(dir, first)?;
    for part in parts {
        at = step(&at, part)?;
    }
    Ok(at)
}

fn step(dir: impl AsFd, part: &str) -> Result<OwnedFd> {
    if part == ".." {
        Err(Errno::INVAL)
    } else {
        open_dir(dir, part)
    }
}

/// As [`walk`], making what is missing.
pub(crate) fn walk_creating(dir: impl AsFd, path: &str, mode: u32) -> Result<OwnedFd> {
    let mut at = dir.as_fd().try_clone_to_owned().map_err(io_errno)?;
    for part in path.split('/').filter(|part| !part.is_empty()) {
        at = match step(&at, part) {
            Err(Errno::NOENT) => {
                ignore_existing(fs::mkdirat(&at, part, Mode::from_raw_mode(mode)))?;
                step(&at, part)?
            }
            other => other?,
        };
    }
    Ok(at)
}

/// The errno of an `io::Error` that came from the kernel.
pub(crate) fn io_errno(err: std::io::Error) -> Errno {
    Errno::from_io_error(&err).unwrap_or(Errno::IO)
}

pub(crate) fn ignore_existing(result: Result<()>) -> Result<()> {
    match result {
        Err(Errno::EXIST) => Ok(()),
        other => other,
    }
}

/// Reads at most `buf.len()` bytes of a regular file. A full buffer means that
/// there may be more.
pub(crate) fn read_into<'a>(dir: impl AsFd, name: &str, buf: &'a mut [u8]) -> Result<&'a [u8]> {
    let file = fs::openat(dir, name, READ, Mode::empty())?;
    let mut len = 0;
    // A regular file gives a short read only at its end.
    while len < buf.len() {
        let want = buf.len() - len;
        let got = rustix::io::retry_on_intr(|| rustix::io::read(&file, &mut buf[len..]))?;
        len += got;
        if got < want {
            break;
        }
    }
    Ok(&buf[..len])
}

/// Reads a whole regular file of at most `max` bytes; a larger one is `EFBIG`.
pub(crate) fn read(dir: impl AsFd, name: &str, max: usize) -> Result<Vec<u8>> {
    let file = fs::openat(dir, name, READ, Mode::empty())?;
    let stat = fs::fstat(&file)?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Err(Errno::INVAL);
    }
    let size = usize::try_from(stat.st_size).unwrap_or(usize::MAX);
    if size > max {
        return Err(Errno::FBIG);
    }
    // One byte more than expected, so that the end shows in the first read.
    let mut bytes = vec![0; size + 1];
    let mut len = 0;
    loop {
        if len == bytes.len() {
            if len > max {
                return Err(Errno::FBIG);
            }
            bytes.resize((len * 2).min(max + 1), 0);
        }
        match rustix::io::retry_on_intr(|| rustix::io::read(&file, &mut bytes[len..]))? {
            0 => break,
            got => len += got,
        }
    }
    bytes.truncate(len);
    if len > max {
        Err(Errno::FBIG)
    } else {
        Ok(bytes)
    }
}

/// Writes a whole file in place, in one write where the kernel lets us.
pub(crate) fn write(dir: impl AsFd, name: &str, mode: u32, bytes: &[u8]) -> Result<()> {
    let flags =
        OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let file = fs::openat(dir, name, flags, Mode::from_raw_mode(mode))?;
    write_all(&file, bytes)
}

pub(crate) fn write_all(file: impl AsFd, mut bytes: &[u8]) -> Result<()> {
    while !bytes.is_empty() {
        match rustix::io::retry_on_intr(|| rustix::io::write(&file, bytes))? {
            0 => return Err(Errno::IO),
            done => bytes = &bytes[done..],
        }
    }
    Ok(())
}

/// Replaces a file so that a reader sees the old or the new content, never a
/// part, also after a power cut. There is one writer at a time: it holds the
/// lock that guards the file.
pub(crate) fn replace(dir: impl AsFd, name: &str, mode: u32, bytes: &[u8]) -> Result<()> {
    let dir = dir.as_fd();
    let temp = format!("{name}.new");
    let flags =
        OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let done = fs::openat(dir, &*temp, flags, Mode::from_raw_mode(mode)).and_then(|file| {
        write_all(&file, bytes)?;
        fs::fsync(&file)?;
        fs::renameat(dir, &*temp, dir, name)
    });
    if done.is_err() {
        // Nothing half-written stays; the first error is the one to report.
        let _ = fs::unlinkat(dir, &*temp, AtFlags::empty());
    }
    done
}

/// Metadata of a file, no symlink followed; `None` if it does not exist.
pub(crate) fn stat(dir: impl AsFd, name: &str) -> Result<Option<Stat>> {
    match fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => Ok(Some(stat)),
        Err(Errno::NOENT) => Ok(None),
        Err(err) => Err(err),
    }
}

/// The first integer of a text, as rkt reads pids and exit codes.
pub(crate) fn first_integer(bytes: &[u8]) -> Option<i32> {
    let text = std::str::from_utf8(bytes).ok()?;
    text.split_whitespace().next()?.parse().ok()
}
