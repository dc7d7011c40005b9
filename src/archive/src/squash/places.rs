//! Files below the layers' roots, by layer and path, without following a link.
//!
//! A path of an index has no link in it, so one that is met on the way means that
//! the directory is not what was unpacked: damaged, never followed. The last few
//! parents are kept open, since paths come sorted.

use std::collections::VecDeque;
use std::ffi::OsStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;

use model::fault::{Fault, Result};
use rustix::fs::{Mode, OFlags, openat};
use rustix::io::Errno;
use sys::fs::InRoot;

use super::view::{name, parent};
use crate::name::shown;

/// Parents that are kept open.
const KEPT: usize = 8;

pub(super) struct Places {
    roots: Vec<InRoot>,
    parents: VecDeque<(usize, Vec<u8>, OwnedFd)>,
}

impl Places {
    pub(super) fn new(roots: &[BorrowedFd<'_>]) -> Result<Places> {
        let own = |root: &BorrowedFd<'_>| root.try_clone_to_owned().map(InRoot::new);
        let roots: std::io::Result<_> = roots.iter().map(own).collect();
        Ok(Places {
            roots: roots.map_err(|err| Fault::io("dup", "rootfs", err))?,
            parents: VecDeque::with_capacity(KEPT),
        })
    }

    /// The directory that a path is in, and the path's last component ("." for
    /// the root).
    pub(super) fn parent<'p>(
        &mut self,
        layer: usize,
        path: &'p [u8],
    ) -> Result<(BorrowedFd<'_>, &'p OsStr)> {
        let dir = parent(path);
        let known = self
            .parents
            .iter()
            .position(|(of, at, _)| *of == layer && at == dir);
        let known = match known {
            Some(known) => known,
            None => {
                let fd = self.open_dir(layer, dir)?;
                if self.parents.len() == KEPT {
                    self.parents.pop_front();
                }
                self.parents.push_back((layer, dir.to_vec(), fd));
                self.parents.len() - 1
            }
        };
        let name = match name(path) {
            b"" => OsStr::new("."),
            name => OsStr::from_bytes(name),
        };
        Ok((self.parents[known].2.as_fd(), name))
    }

    fn open_dir(&self, layer: usize, dir: &[u8]) -> Result<OwnedFd> {
        let root = self.roots.get(layer).ok_or_else(|| {
            Fault::corrupt(format!("there is no layer {} to take files of", layer + 1))
        })?;
        let at = match dir {
            b"" => OsStr::new("."),
            dir => OsStr::from_bytes(dir),
        };
        let found = root.directory(at).map_err(|err| {
            let fault = Fault::io("open", format!("\"{}\"", shown(dir)), err);
            damaged(layer, dir, &fault.cause)
        })?;
        if found.path.as_os_str().as_bytes() != dir {
            return Err(damaged(layer, dir, "leads through a symbolic link"));
        }
        Ok(found.fd)
    }

    /// A file or directory open for reading.
    pub(super) fn open(&mut self, layer: usize, path: &[u8], flags: OFlags) -> Result<OwnedFd> {
        let flags = flags | OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let (dir, name) = self.parent(layer, path)?;
        // NONBLOCK: what should be a file may be a FIFO.
        openat(
            dir,
            name,
            flags | OFlags::NONBLOCK | OFlags::NOCTTY,
            Mode::empty(),
        )
        .map_err(|err| broken(layer, path, "open", err))
    }
}

/// What a layer's directory does not have as its index says.
pub(super) fn damaged(layer: usize, path: &[u8], why: &str) -> Fault {
    Fault::corrupt(format!(
        "layer {} is damaged: \"{}\": {why}",
        layer + 1,
        shown(path)
    ))
    .hint("remove the image and fetch it again")
}

/// A failed call: missing or of another type is damage, the rest the system's.
pub(super) fn broken(layer: usize, path: &[u8], verb: &str, errno: Errno) -> Fault {
    let fault = Fault::io(verb, format!("\"{}\"", shown(path)), errno);
    match errno {
        Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::ISDIR | Errno::NXIO => {
            damaged(layer, path, &model::fault::errno_text(&errno.into()))
        }
        _ => fault.link(format!("reading layer {}", layer + 1)),
    }
}
