//! Removing a pod's cgroups, the deepest first.
//!
//! The kernel lets a cgroup go only once the last process has left it, which
//! takes a moment after a SIGKILL: busy ones are tried again, for a second in
//! all. Whatever an app nested in its own cgroup goes too, to any
//! depth, with two descriptors open.

use crate::file;
use rustix::fs::{AtFlags, Dir, FileType, unlinkat};
use rustix::io::Errno;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

/// 1 + 2 + 4 + … + 512 ms.
const TRIES: u32 = 10;

/// Removes `name` below `parent` with all that is below; gone already is good.
pub(crate) fn remove(parent: impl AsFd, name: &str) -> io::Result<()> {
    let parent = parent.as_fd();
    let mut result = Ok(());
    for attempt in 0..TRIES {
        // Most have no children any more: try before looking.
        result = match rmdir(parent, name) {
            Err(Errno::BUSY | Errno::NOTEMPTY) => {
                empty(parent, name).and_then(|()| Ok(rmdir(parent, name)?))
            }
            other => other.map_err(io::Error::from),
        };
        match &result {
            Err(err) if err.raw_os_error() == Some(Errno::BUSY.raw_os_error()) => {
                std::thread::sleep(Duration::from_millis(1 << attempt));
            }
            _ => return result,
        }
    }
    result
}

fn rmdir(parent: impl AsFd, name: &str) -> rustix::io::Result<()> {
    match unlinkat(parent, name, AtFlags::REMOVEDIR) {
        Err(Errno::NOENT) => Ok(()),
        other => other,
    }
}

/// Removes the children of a cgroup: down to a leaf, remove it, up again.
fn empty(parent: impl AsFd, name: &str) -> io::Result<()> {
    let mut names: Vec<String> = Vec::new();
    let mut here = match file::open_dir(parent, name) {
        Err(err) if err.kind() == io::ErrorKind::NotFound => return Ok(()),
        other => other?,
    };
    loop {
        match children(&here)?.into_iter().next() {
            Some(child) => match file::open_dir(&here, &child) {
                Ok(dir) => {
                    names.push(child);
                    here = dir;
                }
                Err(err) if err.kind() == io::ErrorKind::NotFound => {}
                Err(err) => return Err(err),
            },
            None => match names.pop() {
                Some(leaf) => {
                    here = file::open_dir(&here, "..")?;
                    rmdir(&here, &leaf)?;
                }
                None => return Ok(()),
            },
        }
    }
}

/// The cgroups directly below one.
pub(crate) fn children(dir: &OwnedFd) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in Dir::read_from(dir)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy();
        if entry.file_type() == FileType::Directory && name != "." && name != ".." {
            names.push(name.into_owned());
        }
    }
    Ok(names)
}
