//! Rows about system calls that are younger than Linux 4.4: each is made for real,
//! harmlessly, and beside each stands the older way that is taken without it.
//!
//! The same rows tell `--debug` what it has to say: no older way is taken in silence.

use super::{Health, Row, known, row, text};
use crate::env::Env;
use rustix::fs::{CWD, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;
use std::os::fd::AsFd;
use sys::clone::{Forked, Namespaces};
use sys::exe::Way;

/// In the order of the table.
pub(super) fn rows() -> Vec<Row> {
    let mut rows = vec![openat2(), clone3(), pidfd(), mount_api()];
    rows.extend(PLAIN.iter().map(Plain::row));
    rows
}

/// What is missing here, one remark each.
pub(crate) fn tell(env: &Env) {
    if env.debug {
        rows().iter().for_each(|row| remark(env, row));
    }
}

/// The same for how our own binary is protected, which only pods have use for.
pub(crate) fn tell_own_binary(env: &Env) {
    if env.debug {
        remark(env, &own_binary(own_binary_way()));
    }
}

fn remark(env: &Env, row: &Row) {
    if row.status != Health::Ok {
        let Row { name, way, why, .. } = row;
        env.debug_note("kernel", &format!("{name}: {way} ({why})"));
    }
}

/// Calls of which there is nothing to tell but whether the kernel knows them.
struct Plain {
    name: &'static str,
    known: fn() -> bool,
    way: &'static str,
    older: &'static str,
    since: &'static str,
}

impl Plain {
    fn row(&self) -> Row {
        if (self.known)() {
            row(self.name, Health::Ok, self.way, "")
        } else {
            row(self.name, Health::Fallback, self.older, self.since)
        }
    }
}

const PLAIN: [Plain; 7] = [
    Plain {
        name: "open_tree",
        known: || known_to_sys(sys::mount::clone_tree(CWD, false)),
        way: "binds are made first and attached then",
        older: "mount, and a look at what it mounted",
        since: "needs Linux 5.2",
    },
    Plain {
        name: "mount_setattr",
        known: sys::mount::knows_attributes,
        way: "owners are shown as --private-users needs them; trees become read-only in one call",
        older: "--private-users copies images and writes to no host volume; trees become read-only mount by mount",
        since: "needs Linux 5.12",
    },
    Plain {
        name: "close_range",
        known: sys::process::knows_close_range,
        way: "descriptors are closed in one call",
        older: "descriptors are closed one by one",
        since: "needs Linux 5.9",
    },
    Plain {
        name: "statx",
        known: || {
            let none = rustix::fs::StatxFlags::MNT_ID;
            known(&rustix::fs::statx(
                CWD,
                "/",
                rustix::fs::AtFlags::empty(),
                none,
            ))
        },
        way: "mounts are told apart by statx",
        older: "mounts are told apart by /proc/self/fdinfo",
        since: "needs Linux 4.11",
    },
    Plain {
        name: "copy_file_range",
        known: copy_file_range,
        way: "files are copied inside the kernel",
        older: "files are copied by reading and writing",
        since: "needs Linux 4.5",
    },
    Plain {
        name: "fchmodat2",
        known: || {
            let nowhere = std::ffi::OsStr::new("");
            known_to_sys(sys::fs::fchmodat2(CWD, nowhere, Mode::empty()))
        },
        way: "modes are set without following links",
        older: "modes are set through /proc/self/fd",
        since: "needs Linux 6.6",
    },
    Plain {
        name: "memfd_create",
        known: || {
            let flags = rustix::fs::MemfdFlags::CLOEXEC;
            known(&rustix::fs::memfd_create("rkt", flags))
        },
        way: "CNI programs read from memory",
        older: "CNI programs read from a pipe",
        since: "needs Linux 3.17",
    },
];

fn known_to_sys<T>(result: std::io::Result<T>) -> bool {
    !matches!(result, Err(e) if e.raw_os_error() == Some(Errno::NOSYS.raw_os_error()))
}

/// Nothing is copied: a directory has no content.
fn copy_file_range() -> bool {
    match rustix::fs::open("/", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()) {
        Ok(slash) => known(&rustix::fs::copy_file_range(&slash, None, &slash, None, 0)),
        Err(_) => true,
    }
}

fn openat2() -> Row {
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    let tried = rustix::fs::openat2(CWD, "/", flags, Mode::empty(), ResolveFlags::IN_ROOT);
    if known(&tried) {
        row(
            "openat2",
            Health::Ok,
            "paths are confined by the kernel",
            "",
        )
    } else {
        row(
            "openat2",
            Health::Fallback,
            "paths are walked step by step",
            "needs Linux 5.6",
        )
    }
}

/// `/` is no cgroup: a kernel that knows clone3 into a cgroup says so (EBADF)
/// before it makes a process.
fn clone3() -> Row {
    let slash = match rustix::fs::open("/", OFlags::PATH | OFlags::CLOEXEC, Mode::empty()) {
        Ok(slash) => slash,
        Err(e) => return row("clone3", Health::Missing, "", text(e)),
    };
    match sys::clone::fork_into(Namespaces::NONE, Some(slash.as_fd())) {
        Ok(Forked::Child) => sys::process::exit_now(0),
        Ok(Forked::Parent(pid)) => {
            let _reaped = sys::process::wait(pid);
            row(
                "clone3",
                Health::Ok,
                "processes are born in their namespaces",
                "",
            )
        }
        Err(e) => match e.raw_os_error().map(Errno::from_raw_os_error) {
            Some(Errno::BADF) => row(
                "clone3",
                Health::Ok,
                "processes are born in their namespaces and cgroup",
                "",
            ),
            Some(Errno::NOSYS | Errno::PERM) => row(
                "clone3",
                Health::Fallback,
                "clone; the cgroup is joined afterwards",
                "needs Linux 5.3",
            ),
            Some(Errno::TOOBIG | Errno::INVAL) => row(
                "clone3",
                Health::Fallback,
                "clone3; the cgroup is joined afterwards",
                "birth in a cgroup needs Linux 5.7",
            ),
            _ => row(
                "clone3",
                Health::Fallback,
                "clone",
                model::fault::errno_text(&e),
            ),
        },
    }
}

fn pidfd() -> Row {
    use rustix::process::{PidfdFlags, getpid, pidfd_open};
    if known(&pidfd_open(getpid(), PidfdFlags::empty())) {
        row("pidfd", Health::Ok, "processes are named by fd", "")
    } else {
        row(
            "pidfd",
            Health::Fallback,
            "processes are named by pid",
            "needs Linux 5.3",
        )
    }
}

fn mount_api() -> Row {
    use rustix::mount::{FsOpenFlags, fsopen};
    if known(&fsopen("tmpfs", FsOpenFlags::FSOPEN_CLOEXEC)) {
        row("mount API", Health::Ok, "fsopen", "")
    } else {
        row("mount API", Health::Fallback, "mount", "needs Linux 5.2")
    }
}

pub(super) fn own_binary_way() -> Option<Way> {
    Some(sys::exe::protected().ok()?.1)
}

pub(super) fn own_binary(way: Option<Way>) -> Row {
    const NAME: &str = "own binary";
    match way {
        Some(Way::DetachedBind) => row(NAME, Health::Ok, "run from a detached read-only bind", ""),
        Some(Way::SealedCopy) => row(
            NAME,
            Health::Fallback,
            "run from a sealed copy in memory",
            "open_tree or mount_setattr refused; they need root and Linux 5.12",
        ),
        Some(Way::ClassicBind) => row(
            NAME,
            Health::Fallback,
            "run from a read-only bind of an ended mount namespace",
            "neither open_tree and mount_setattr (Linux 5.12) nor memfd_create (3.17)",
        ),
        None => row(
            NAME,
            Health::Missing,
            "none",
            "neither a bind nor a copy in memory can be had",
        ),
    }
}
