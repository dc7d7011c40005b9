//! Copying a rendered tree or a layer: the work is [`sys::copy`]'s, the words of a
//! failure are rkt's. The source must stand still, the target must be empty.

use model::{Fault, fault::Result};
use std::os::fd::BorrowedFd;
use sys::copy::{Cause, Error};

/// Copies what is in a directory, and the directory's own attributes, to an
/// empty one.
pub fn copy_tree(src: BorrowedFd<'_>, dst: BorrowedFd<'_>) -> Result<()> {
    sys::copy::copy_tree(src, dst).map_err(fault)
}

/// The same for a pod in a user namespace of `count` IDs that starts at `shift`:
/// owners are moved by as much, and one beyond the count is refused.
pub fn copy_tree_shifted(
    src: BorrowedFd<'_>,
    dst: BorrowedFd<'_>,
    shift: u32,
    count: u32,
) -> Result<()> {
    sys::copy::copy_tree_shifted(src, dst, shift, count).map_err(fault)
}

fn fault(Error { path, cause }: Error) -> Fault {
    match cause {
        Cause::Io(err) => Fault::io("copy", path.display(), err),
        cause @ Cause::OutOfRange { .. } => {
            Fault::invalid(format!("copy {}: {cause}", path.display()))
        }
        cause @ Cause::NotMapped { .. } => {
            Fault::unsupported(format!("copy {}: {cause}", path.display()))
                .hint(archive::LARGER_RANGE)
        }
    }
}
