//! A pod with ids of its own (`--private-users`), as it is built from outside:
//! what is made for it belongs to its root, what is shown to it has its ids.
//!
//! Files on disk keep the owners that the image or the host gave them. The pod
//! sees them through idmapped mounts, which only the host's root can make; so
//! all of this is done before PID 1 enters its user namespace.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use model::Fault;
use rustix::fs::{AtFlags, CWD, Gid, Uid};
use rustix::io::Errno;
use sys::mount;
use sys::userns::{self, IdMap};

use super::{building, building_rx};
use crate::plan::Users;

/// Who the pod's root is on the host.
#[derive(Debug)]
pub struct Guest {
    root: u32,
    count: u32,
    /// A namespace with the pod's map, for the mounts.
    userns: OwnedFd,
}

impl Guest {
    /// None for a pod that has the ids of whoever runs it.
    pub fn of(users: Users) -> Result<Option<Guest>, Fault> {
        let Users::Private { first, count } = users else {
            return Ok(None);
        };
        let map = IdMap::from_zero(first, count);
        let userns = userns::empty(&map, &map).map_err(|err| {
            Fault::io("cannot make", "the pod's user namespace", err)
                .hint("rkt doctor tells what this kernel allows; or run without --private-users")
        })?;
        Ok(Some(Guest {
            root: first,
            count,
            userns,
        }))
    }

    /// For tmpfs: its root directory belongs to the pod's root.
    pub fn mount_options(&self) -> String {
        format!(",uid={0},gid={0}", self.root)
    }

    /// Gives the file at `path` to the pod's root.
    pub fn own(&self, path: &str) -> Result<(), Fault> {
        self.chown(CWD, path, AtFlags::SYMLINK_NOFOLLOW)
    }

    /// Gives what is open to the pod's root.
    pub fn own_open(&self, fd: BorrowedFd<'_>) -> Result<(), Fault> {
        self.chown(fd, "", AtFlags::EMPTY_PATH)
    }

    fn chown(&self, at: BorrowedFd<'_>, path: &str, flags: AtFlags) -> Result<(), Fault> {
        let (uid, gid) = (Uid::from_raw(self.root), Gid::from_raw(self.root));
        rustix::fs::chownat(at, path, Some(uid), Some(gid), flags)
            .map_err(building_rx("what belongs to the pod's root"))
    }

    /// Does something as the pod's root would, but with the rights of the host's.
    pub fn as_root<T>(&self, work: impl FnOnce() -> Result<T, Fault>) -> Result<T, Fault> {
        sys::creds::with_fs_ids(self.root, self.root, work)
            .map_err(building("the pod's root's identity"))?
    }

    /// The host's number of an id of the pod's.
    pub fn outside(&self, id: u32) -> Result<u32, Fault> {
        if id >= self.count {
            return Err(Fault::invalid(format!(
                "id {id} is none of the {} that a pod with --private-users has",
                self.count
            )));
        }
        Ok(self.root + id)
    }

    /// Mounts `source` at `target` with the pod's ids. `false`: its file system
    /// cannot do that or the kernel is older than 5.12, and nothing is mounted.
    pub fn show(
        &self,
        source: BorrowedFd<'_>,
        target: &str,
        recursive: bool,
    ) -> Result<bool, Fault> {
        let shown = mount::clone_tree(source, recursive).and_then(|tree| {
            mount::idmap(tree.as_fd(), self.userns.as_fd(), recursive)?;
            Ok(tree)
        });
        let tree = match shown {
            Ok(tree) => tree,
            Err(err)
                if [Errno::INVAL, Errno::NOSYS]
                    .map(|errno| Some(errno.raw_os_error()))
                    .contains(&err.raw_os_error()) =>
            {
                return Ok(false);
            }
            Err(err) => return Err(Fault::io("cannot show to the pod", target, err)),
        };
        let place = super::open_directory_or_file(target)?;
        mount::move_tree(tree.as_fd(), place.as_fd()).map_err(building(target))?;
        Ok(true)
    }
}
