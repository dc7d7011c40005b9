//! Small control files, by the fd of their directory.
//!
//! Every value of cgroupfs is read with one bounded read loop and written with
//! exactly one write(2): the kernel takes each write as one command.

use rustix::fs::{Mode, OFlags, openat};
use rustix::io::Errno;
use std::io;
use std::os::fd::{AsFd, OwnedFd};

/// A list of processes is the longest thing that cgroupfs has to tell.
const LONGEST: usize = 1 << 20;

pub(crate) fn read(dir: impl AsFd, name: &str) -> io::Result<String> {
    let fd = openat(
        dir,
        name,
        OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW,
        Mode::empty(),
    )?;
    let mut bytes = Vec::new();
    let mut chunk = [0u8; 4096];
    loop {
        match rustix::io::read(&fd, &mut chunk) {
            Ok(0) => break,
            Ok(count) => bytes.extend_from_slice(&chunk[..count]),
            Err(Errno::INTR) => continue,
            Err(err) => return Err(err.into()),
        }
        if bytes.len() > LONGEST {
            return Err(Errno::FBIG.into());
        }
    }
    String::from_utf8(bytes).map_err(|_| Errno::ILSEQ.into())
}

/// One value of a file of `key value` lines.
pub(crate) fn field(text: &str, key: &str) -> Option<u64> {
    text.lines()
        .filter_map(|line| line.split_once(' '))
        .find(|(name, _)| *name == key)
        .and_then(|(_, value)| value.trim().parse().ok())
}

/// A file that holds one number.
pub(crate) fn number(dir: impl AsFd, name: &str) -> Option<u64> {
    read(dir, name).ok()?.trim().parse().ok()
}

pub(crate) fn write(dir: impl AsFd, name: &str, value: &str) -> io::Result<()> {
    put(open_for_write(dir, name)?, value)
}

pub(crate) fn open_for_write(dir: impl AsFd, name: &str) -> io::Result<OwnedFd> {
    Ok(openat(
        dir,
        name,
        OFlags::WRONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW,
        Mode::empty(),
    )?)
}

pub(crate) fn put(fd: impl AsFd, value: &str) -> io::Result<()> {
    loop {
        match rustix::io::write(&fd, value.as_bytes()) {
            Ok(count) if count == value.len() => return Ok(()),
            Ok(_) => return Err(Errno::IO.into()),
            Err(Errno::INTR) => continue,
            Err(err) => return Err(err.into()),
        }
    }
}

/// A real directory, never through a symlink.
pub(crate) fn open_dir(dir: impl AsFd, name: &str) -> io::Result<OwnedFd> {
    Ok(openat(
        dir,
        name,
        OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NOFOLLOW,
        Mode::empty(),
    )?)
}
