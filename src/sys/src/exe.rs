//! Our own binary, executed again where no one can write it.
//!
//! A process that joins a hostile pod must not lead from `/proc/<pid>/exe` to
//! the file on the host (CVE-2019-5736). So it runs from a read-only bind that
//! is attached nowhere: 0.04 ms, and the page cache is shared. Where the
//! kernel has no such thing, from a sealed copy in memory. Where it lacks both,
//! from a classic bind whose mount namespace is gone. There is no way that runs
//! the host's file itself.

use crate::clone::{Forked, Namespaces, fork_into};
use crate::mount::{self, Flags};
use crate::{check_long, process, scm};
use rustix::fs::{CWD, Mode, OFlags, StatVfsMountFlags, fstat, fstatvfs, openat, readlinkat};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use std::ffi::CString;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

/// How our binary can be protected here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// open_tree + mount_setattr (Linux 5.12).
    DetachedBind,
    /// A memfd sealed against writing: a copy in memory.
    SealedCopy,
    /// mount(2) in a mount namespace that was made for it and has ended.
    ClassicBind,
}

const OWN: &str = "/proc/self/exe";
/// To work on a file without opening it.
const PATH: OFlags = OFlags::PATH.union(OFlags::CLOEXEC);

/// An fd to execute our own binary from, and how it is protected.
pub fn protected() -> io::Result<(OwnedFd, Way)> {
    let bind = clone_of_own().and_then(|fd| {
        mount::make_read_only(fd.as_fd(), false)?;
        Ok(fd)
    });
    if let Ok(fd) = bind {
        return Ok((fd, Way::DetachedBind));
    }
    match sealed_copy() {
        Ok(fd) => Ok((fd, Way::SealedCopy)),
        Err(no_copy) => match classic_bind() {
            Ok(fd) => Ok((fd, Way::ClassicBind)),
            Err(err) if no_copy.raw_os_error() == Some(libc::ENOSYS) => Err(err),
            Err(_) => Err(no_copy),
        },
    }
}

/// A detached bind of our binary. A process that has changed its mount namespace
/// runs from a mount of the former one, which cannot be cloned: there the name
/// is tried, which leads to the same file or is not believed.
fn clone_of_own() -> io::Result<OwnedFd> {
    let own = openat(CWD, OWN, PATH, Mode::empty())?;
    let cloned = mount::clone_tree(own.as_fd(), false);
    if !matches!(&cloned, Err(err) if err.raw_os_error() == Some(libc::EINVAL)) {
        return cloned;
    }
    match by_name(own.as_fd())? {
        Some((named, _)) => mount::clone_tree(named.as_fd(), false),
        None => cloned,
    }
}

/// Our binary by the name that it has, and that name; none if that leads elsewhere.
fn by_name(own: BorrowedFd<'_>) -> io::Result<Option<(OwnedFd, CString)>> {
    let name = readlinkat(CWD, OWN, Vec::new())?;
    let Ok(named) = openat(CWD, &name, PATH | OFlags::NOFOLLOW, Mode::empty()) else {
        return Ok(None);
    };
    let (ours, there) = (fstat(own)?, fstat(&named)?);
    let same = (ours.st_dev, ours.st_ino) == (there.st_dev, there.st_ino);
    Ok(same.then_some((named, name)))
}

/// A bind that no namespace has any more: a child makes it read-only in mounts of
/// its own, hands it over and ends. What is left is the mount behind the fd, which
/// nobody can reach to change it. A process that runs from such a bind goes on
/// with it: its file has no name to bind again.
fn classic_bind() -> io::Result<OwnedFd> {
    let own = openat(CWD, OWN, PATH, Mode::empty())?;
    if by_name(own.as_fd())?.is_none() {
        read_only(own.as_fd())?;
        return Ok(own);
    }
    let flags = SocketFlags::CLOEXEC;
    let (ours, theirs) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?;
    match fork_into(Namespaces::MOUNT, None)? {
        Forked::Child => {
            let made = bind_by_name(own.as_fd())
                .and_then(|bind| scm::send(theirs.as_fd(), b"x", &[bind.as_fd()]));
            process::exit_now(match made {
                Ok(_) => 0,
                Err(err) => err.raw_os_error().unwrap_or(libc::EIO),
            })
        }
        Forked::Parent(pid) => {
            drop(theirs);
            let received = scm::receive(ours.as_fd(), &mut [0; 1]);
            match process::wait(pid)? {
                process::Ended::Exited(0) => {}
                process::Ended::Exited(errno) => return Err(io::Error::from_raw_os_error(errno)),
                process::Ended::Signalled(_) => return Err(Errno::IO.into()),
            }
            let bind = received?.1.pop().ok_or(Errno::IO)?;
            read_only(bind.as_fd())?;
            Ok(bind)
        }
    }
}

/// In a mount namespace of this process' own, over the name that the binary has.
fn bind_by_name(own: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    mount::propagation("/", Flags::PRIVATE)?;
    let (named, name) = by_name(own)?.ok_or(Errno::NOENT)?;
    let place = format!("/proc/self/fd/{}", named.as_raw_fd());
    mount::bind(&place, &place, false)?;
    // The fd is of what lies beneath. By its name the bind is found, and proved by what
    // follows: the same file, and the root of a mount (EINVAL), which it was not before.
    let bind = openat(CWD, &name, PATH | OFlags::NOFOLLOW, Mode::empty())?;
    let (ours, there) = (fstat(own)?, fstat(&bind)?);
    if (ours.st_dev, ours.st_ino) != (there.st_dev, there.st_ino) {
        return Err(Errno::XDEV.into());
    }
    mount::remount_read_only(&format!("/proc/self/fd/{}", bind.as_raw_fd()))?;
    Ok(bind)
}

fn read_only(file: BorrowedFd<'_>) -> io::Result<()> {
    if fstatvfs(file)?.f_flag.contains(StatVfsMountFlags::RDONLY) {
        Ok(())
    } else {
        Err(Errno::NOSYS.into())
    }
}

fn sealed_copy() -> io::Result<OwnedFd> {
    // SAFETY: a NUL-terminated text and plain flags.
    let fd = check_long(unsafe {
        libc::syscall(
            libc::SYS_memfd_create,
            c"rkt".as_ptr(),
            libc::MFD_CLOEXEC | libc::MFD_ALLOW_SEALING,
        )
    })?;
    // SAFETY: the kernel just gave this fd to us alone.
    let mut copy = std::fs::File::from(unsafe { OwnedFd::from_raw_fd(fd as i32) });
    let mut own = std::fs::File::open("/proc/self/exe")?;
    // By plain writes: what io::copy uses where copy_file_range is missing
    // (sendfile) lets pages pass through a pipe, and the kernel seals none
    // that anyone still holds.
    let mut buffer = vec![0; 128 << 10];
    loop {
        match own.read(&mut buffer) {
            Ok(0) => break,
            Ok(length) => copy.write_all(&buffer[..length])?,
            Err(err) if err.kind() == io::ErrorKind::Interrupted => {}
            Err(err) => return Err(err),
        }
    }
    seal(copy.as_fd())?;
    Ok(copy.into())
}

/// Page reclaim and compaction hold pages for a moment too; the kernel waits
/// some 150 ms for them, then says EBUSY. Asking again is all there is to do.
fn seal(copy: BorrowedFd<'_>) -> io::Result<()> {
    let seals = libc::F_SEAL_SEAL | libc::F_SEAL_SHRINK | libc::F_SEAL_GROW | libc::F_SEAL_WRITE;
    let mut left = 20;
    loop {
        // SAFETY: no memory is involved.
        match crate::check(unsafe { libc::fcntl(copy.as_raw_fd(), libc::F_ADD_SEALS, seals) }) {
            Err(err) if err.raw_os_error() == Some(libc::EBUSY) && left > 0 => left -= 1,
            sealed => return sealed.map(drop),
        }
    }
}

/// Executes our own binary with these arguments and this environment; returns
/// only the reason why it could not.
pub fn reexec(argv: &[CString], env: &[CString]) -> io::Error {
    match protected() {
        Ok((fd, _)) => process::exec_fd(fd.as_fd(), argv, env),
        Err(err) => err,
    }
}
