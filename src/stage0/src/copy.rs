//! A rendered image, in one directory ([`store::Store::render_flat`]), copied: into a pod that cannot be an overlay, or to where a
//! user wants it.

use crate::users::Range;
use model::{Fault, fault::Result};
use rustix::fs::{Mode, OFlags};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use store::Tree;

/// Copies to an empty directory.
pub(crate) fn copy(tree: &Tree, dir: &Path) -> Result<()> {
    copy_into(tree, open(dir)?.as_fd(), None)
}

/// The same for a pod, whose users may be a range of the host's.
pub(crate) fn copy_into(tree: &Tree, target: BorrowedFd<'_>, users: Option<Range>) -> Result<()> {
    let [lower] = tree.lowers.as_slice() else {
        // Who copies asks for a flat tree.
        return Err(Fault::unsupported(format!(
            "image tree {:?} has several layers and cannot be copied",
            tree.tree_id
        )));
    };
    let from = open(lower)?;
    match users {
        None => store::copy::copy_tree(from.as_fd(), target),
        Some(Range { first, count }) => {
            store::copy::copy_tree_shifted(from.as_fd(), target, first, count)
        }
    }
}

fn open(path: &Path) -> Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::open(path, flags, Mode::empty()).map_err(|e| Fault::io("open", path.display(), e))
}
