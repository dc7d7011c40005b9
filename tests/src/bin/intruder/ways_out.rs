//! The classic ways out of a root directory: names that lead up, descriptors from before, other processes' roots, and a
//! second chroot around the first. A file of the host that none of them may reach tells whether one did.

use rustix::fs::{CWD, Mode, OFlags};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

/// More than any path has parts.
const UP: usize = 64;

/// Tries them all; `canary` is the absolute path of a file on the host.
pub(crate) fn all(canary: &str) {
    let inside = canary.trim_start_matches('/');
    let mut tried = 0;
    let mut check = |way: &str| {
        tried += 1;
        for path in [Path::new(inside), Path::new(canary)] {
            if path.exists() {
                println!("reached={} by {way}", path.display());
            }
        }
    };
    check("name");
    climb();
    check("chdir");
    for number in 0..256 {
        if into(format!("/proc/self/fd/{number}")) {
            climb();
            check("fchdir");
        }
    }
    for process in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
        for link in ["root", "cwd"] {
            let path = process.path().join(link);
            if into(path.join(".")) {
                check(&format!("{}", path.display()));
                climb();
                check(&format!("{} and up", path.display()));
            }
        }
    }
    match chroots() {
        Ok(()) => check("a second chroot"),
        Err(err) => println!("chroot: {err}"),
    }
    println!("ways-tried={tried}");
}

fn directory(path: impl AsRef<Path>) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::openat(CWD, path.as_ref(), flags, Mode::empty())
}

/// By a descriptor, so that what the path leads to is entered and not a name.
fn into(path: impl AsRef<Path>) -> bool {
    directory(path).is_ok_and(|found| enter(found.as_fd()))
}

fn enter(directory: BorrowedFd<'_>) -> bool {
    rustix::process::fchdir(directory).is_ok()
}

fn climb() {
    for _ in 0..UP {
        let _ = rustix::process::chdir("..");
    }
}

/// A working directory outside of the root knows no root to stop at.
fn chroots() -> rustix::io::Result<()> {
    let _ = rustix::process::chdir("/");
    let _ = std::fs::create_dir("/chroot");
    let outside = directory("/")?;
    rustix::process::chroot("/chroot")?;
    rustix::process::fchdir(&outside)?;
    climb();
    rustix::process::chroot(".")
}
