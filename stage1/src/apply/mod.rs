//! Building what the plan says: the pod's small root first, then each app's
//! own root in a mount namespace cloned from it. Stops at the first error.

pub mod app_root;
pub mod devices;
pub mod guest;
pub mod label;
pub mod pod_root;
pub mod rootfs;
pub mod sysctl;
mod volumes;

use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

use model::Fault;
use rustix::fs::{CWD, Mode, OFlags};

/// Names what was being built when the kernel said no.
pub(crate) fn building(what: impl std::fmt::Display) -> impl FnOnce(std::io::Error) -> Fault {
    move |err| Fault::io("cannot set up", what, err)
}

/// The same for rustix' errors.
pub(crate) fn building_rx(what: impl std::fmt::Display) -> impl FnOnce(rustix::io::Errno) -> Fault {
    move |err| Fault::io("cannot set up", what, err)
}

fn open_directory(at: BorrowedFd<'_>, path: &str) -> Result<OwnedFd, Fault> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::openat(at, path, flags, Mode::empty()).map_err(|err| Fault::io("open", path, err))
}

fn open_directory_or_file(path: &str) -> Result<OwnedFd, Fault> {
    rustix::fs::openat(CWD, path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())
        .map_err(|err| Fault::io("open", path, err))
}

fn mkdir(path: &str, mode: u32) -> Result<(), Fault> {
    rustix::fs::mkdir(path, Mode::from_raw_mode(mode)).map_err(building_rx(path))
}

/// An empty file to bind something over.
fn touch(path: &str, mode: u32) -> Result<(), Fault> {
    let flags = OFlags::CREATE | OFlags::WRONLY | OFlags::CLOEXEC;
    rustix::fs::open(path, flags, Mode::from_raw_mode(mode))
        .map(drop)
        .map_err(building_rx(path))
}

/// An fd as a path: through the host's `/proc`, and after the move through the
/// pod's.
fn through_proc(fd: BorrowedFd<'_>) -> String {
    format!("/proc/self/fd/{}", fd.as_raw_fd())
}
