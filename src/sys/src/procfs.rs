//! Files of procfs about this process, found past whatever else lies at `/proc`.
//!
//! Who writes to `/proc/self/…` by that path trusts everyone who could change what
//! is mounted or linked there: in an app's root that is the app (CVE-2019-16884,
//! CVE-2025-52881). So `/proc` must be the root of a procfs, no part of the way is
//! a link, and the file lies on the same mount: nothing covers any part of it.

use crate::fs::mount_of;
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// What statfs says of a procfs.
pub const MAGIC: u64 = 0x9fa0;
const ROOT_INODE: u64 = 1;

/// Whether this is a file of some procfs.
pub fn is_procfs(file: BorrowedFd<'_>) -> bool {
    rustix::fs::fstatfs(file).is_ok_and(|stat| stat.f_type as u64 == MAGIC)
}

/// Whether this is the root directory of one.
pub fn is_root(directory: BorrowedFd<'_>) -> bool {
    is_procfs(directory) && rustix::fs::fstat(directory).is_ok_and(|stat| stat.st_ino == ROOT_INODE)
}

/// Opens `/proc/<pid>/task/<tid>/<name>` of the calling thread for writing. EXDEV:
/// that is not where it leads.
pub fn own_file(name: &str) -> io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let proc = rustix::fs::open("/proc", flags, Mode::empty())?;
    if !is_root(proc.as_fd()) {
        return Err(Errno::XDEV.into());
    }
    // By numbers, since `self` is a link. A procfs of another pid namespace has
    // other numbers, and shows this process under none of them or a wrong one.
    let process = rustix::process::getpid().as_raw_nonzero();
    let thread = rustix::thread::gettid().as_raw_nonzero();
    let path = format!("{process}/task/{thread}/{name}");
    let flags = OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = rustix::fs::openat(&proc, path, flags, Mode::empty())?;
    if mount_of(file.as_fd())? != mount_of(proc.as_fd())? {
        return Err(Errno::XDEV.into());
    }
    Ok(file)
}

/// The numbers of this process' descriptors, where `/proc` is one.
pub fn own_fds() -> io::Result<Vec<i32>> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let listing = rustix::fs::open("/proc/self/fd", flags, Mode::empty())?;
    if !is_procfs(listing.as_fd()) {
        return Err(Errno::XDEV.into());
    }
    let mut numbers = Vec::new();
    for entry in rustix::fs::Dir::new(listing)? {
        numbers.extend(
            entry?
                .file_name()
                .to_str()
                .ok()
                .and_then(|name| name.parse::<i32>().ok()),
        );
    }
    Ok(numbers)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::own_file;

    #[test]
    fn the_threads_own_file_is_written() {
        let score = "/proc/thread-self/oom_score_adj";
        let before = std::fs::read_to_string(score).unwrap();
        let file = own_file("oom_score_adj").unwrap();
        rustix::io::write(&file, before.trim().as_bytes()).unwrap();
        assert_eq!(std::fs::read_to_string(score).unwrap(), before);
        assert!(own_file("no-such-file").is_err());
        // A link of procfs is none of its files.
        assert!(own_file("cwd").is_err());
    }
}
