//! New processes, born in new namespaces and (cgroup v2) in their cgroup.
//!
//! `clone3` where the kernel has it (5.3; into a cgroup 5.7), else `clone`.
//! Both without a stack: the child goes on with a copy of the caller's, as
//! after fork.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

/// Namespace flags for [`fork_into`], `ns::unshare` and `ns::set`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Namespaces(pub(crate) u64);

impl Namespaces {
    pub const NONE: Namespaces = Namespaces(0);
    pub const MOUNT: Namespaces = Namespaces(libc::CLONE_NEWNS as u64);
    pub const PID: Namespaces = Namespaces(libc::CLONE_NEWPID as u64);
    pub const UTS: Namespaces = Namespaces(libc::CLONE_NEWUTS as u64);
    pub const IPC: Namespaces = Namespaces(libc::CLONE_NEWIPC as u64);
    pub const NET: Namespaces = Namespaces(libc::CLONE_NEWNET as u64);
    pub const CGROUP: Namespaces = Namespaces(libc::CLONE_NEWCGROUP as u64);
    pub const USER: Namespaces = Namespaces(libc::CLONE_NEWUSER as u64);
    /// Not a namespace, but a flag of the same call: the child's parent is the
    /// caller's own.
    pub const SIBLING: Namespaces = Namespaces(libc::CLONE_PARENT as u64);

    pub fn and(self, other: Namespaces) -> Namespaces {
        Namespaces(self.0 | other.0)
    }
    pub fn has(self, other: Namespaces) -> bool {
        self.0 & other.0 == other.0
    }
}

/// Which side of the fork this is.
#[derive(Debug)]
pub enum Forked {
    Child,
    /// The child's pid as the caller's pid namespace knows it.
    Parent(i32),
}

const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;

#[repr(C)]
#[derive(Default)]
struct CloneArgs {
    flags: u64,
    pidfd: u64,
    child_tid: u64,
    parent_tid: u64,
    exit_signal: u64,
    stack: u64,
    stack_size: u64,
    tls: u64,
    set_tid: u64,
    set_tid_size: u64,
    cgroup: u64,
}

/// True while this process has one thread: `unshare(CLONE_THREAD)` is refused
/// to any other (and does nothing for a single-threaded one).
pub fn single_threaded() -> bool {
    // SAFETY: plain system call; CLONE_THREAD is a no-op or an error here.
    unsafe { libc::unshare(libc::CLONE_THREAD) == 0 }
}

/// Forks into new namespaces, and into the cgroup v2 directory `cgroup`.
///
/// Refuses with EINVAL where other threads run: the child would inherit their
/// locks. With `cgroup` given there is no fallback: ENOSYS, E2BIG or EINVAL
/// tell the caller to write `cgroup.procs` instead.
pub fn fork_into(namespaces: Namespaces, cgroup: Option<BorrowedFd<'_>>) -> io::Result<Forked> {
    if !single_threaded() {
        return Err(io::Error::from_raw_os_error(libc::EINVAL));
    }
    fork(namespaces, cgroup)
}

/// The same for tests, whose harness has a thread that does nothing but wait for
/// the one which calls this.
#[cfg(any(test, feature = "attempt"))]
pub fn fork_in_test(namespaces: Namespaces) -> io::Result<Forked> {
    fork(namespaces, None)
}

fn fork(namespaces: Namespaces, cgroup: Option<BorrowedFd<'_>>) -> io::Result<Forked> {
    let mut args = CloneArgs {
        flags: namespaces.0,
        exit_signal: exit_signal(namespaces),
        ..CloneArgs::default()
    };
    let size = match cgroup {
        Some(fd) => {
            args.flags |= CLONE_INTO_CGROUP;
            args.cgroup = fd.as_raw_fd() as u64;
            size_of::<CloneArgs>()
        }
        // 64 bytes is the first version, which every clone3 understands.
        None => 64,
    };
    // SAFETY: no CLONE_VM and no stack, so the child runs on a copy of this
    // one's memory; the callers see to it that no other thread holds a lock.
    let pid = unsafe { libc::syscall(libc::SYS_clone3, &raw const args, size) };
    let pid = match check_pid(pid) {
        Err(err) if cgroup.is_none() && err.raw_os_error() == Some(libc::ENOSYS) => {
            let flags = namespaces.0 | exit_signal(namespaces);
            // SAFETY: as above, through the older call (before Linux 5.3).
            check_pid(unsafe {
                libc::syscall(libc::SYS_clone, flags, 0usize, 0usize, 0usize, 0usize)
            })?
        }
        other => other?,
    };
    Ok(if pid == 0 {
        Forked::Child
    } else {
        Forked::Parent(pid)
    })
}

/// A sibling ends with the signal of whoever forks it, which must not be named.
fn exit_signal(namespaces: Namespaces) -> u64 {
    if namespaces.has(Namespaces::SIBLING) {
        0
    } else {
        libc::SIGCHLD as u64
    }
}

fn check_pid(result: libc::c_long) -> io::Result<i32> {
    crate::check_long(result).map(|pid| pid as i32)
}
