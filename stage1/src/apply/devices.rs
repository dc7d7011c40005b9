//! Devices: what the apps of a pod share, and the nodes that each has.
//!
//! The first user namespace's root makes nodes. In any other one there is nothing
//! to be made: the host's own are bound, after a look that they are what their
//! names say, and kept below `/devices` of the pod's root.

use std::os::fd::{AsFd, BorrowedFd};

use model::Fault;
use rustix::fs::{CWD, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;
use sys::mount::{self, Flags};

use super::{building, building_rx, label, mkdir, through_proc, touch};
use crate::plan::MountLabel;

/// Character devices of every app: name, major, minor.
pub const NODES: [(&str, u32, u32); 7] = [
    ("null", 1, 3),
    ("zero", 1, 5),
    ("full", 1, 7),
    ("random", 1, 8),
    ("urandom", 1, 9),
    ("tty", 5, 0),
    (TUN, 10, 200),
];

/// Of no use without CAP_NET_ADMIN, and not on every host.
const TUN: &str = "net/tun";

/// Where a pod that cannot make nodes has them.
const BOUND: &str = "devices";

/// What the apps of a pod share, since they share its ipc namespace. `gid`: the
/// group of terminals exists in the pod.
pub fn shared(tight: Flags, gid: bool, host_ipc: bool, label: &MountLabel) -> Result<(), Fault> {
    let no_exec = Flags::NOSUID | Flags::NOEXEC;
    let options = "newinstance,ptmxmode=0666,mode=0620,gid=5";
    let options = match gid {
        true => options,
        false => options.trim_end_matches(",gid=5"),
    };
    let options = label.options(options);
    mount::mount("devpts", "dev/pts", "devpts", no_exec, &options).map_err(building("/dev/pts"))?;
    let options = label.options("mode=1777,size=65536k");
    mount::mount("shm", "dev/shm", "tmpfs", tight, &options).map_err(building("/dev/shm"))?;
    match mount::mount("mqueue", "dev/mqueue", "mqueue", tight, "") {
        // A kernel without POSIX message queues.
        Err(err) if is(&err, Errno::NODEV) => Ok(()),
        // The host's queues are the host's root's to show.
        Err(err) if host_ipc && is(&err, Errno::PERM) => Ok(()),
        Err(err) => Err(building("/dev/mqueue")(err)),
        // The namespace has one of these, whose label is no option.
        Ok(()) if !host_ipc => {
            label::file(super::open_directory(CWD, "dev/mqueue")?.as_fd(), label);
            Ok(())
        }
        Ok(()) => Ok(()),
    }
}

fn is(err: &std::io::Error, errno: Errno) -> bool {
    err.raw_os_error() == Some(errno.raw_os_error())
}

/// Binds the host's nodes below `devices` of the current directory.
pub fn bind_nodes() -> Result<(), Fault> {
    mkdir(BOUND, 0o755)?;
    mkdir("devices/net", 0o755)?;
    for (name, major, minor) in NODES {
        let host = format!("/dev/{name}");
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let node = match rustix::fs::open(host.as_str(), flags, Mode::empty()) {
            Ok(node) => node,
            Err(Errno::NOENT | Errno::NOTDIR) if name == TUN => continue,
            Err(err) => return Err(Fault::io("open", host, err)),
        };
        let stat = rustix::fs::fstat(&node).map_err(building_rx(&host))?;
        if !is_node(&stat, major, minor) {
            return Err(
                Fault::refused(format!("\"{host}\" is not the device {major}:{minor}"))
                    .hint("pods in a user namespace are given the host's own devices"),
            );
        }
        let target = format!("{BOUND}/{name}");
        touch(&target, 0o666)?;
        mount::bind(through_proc(node.as_fd()), &target, false).map_err(building(&host))?;
        // The host's mounts may be shared, and its `/dev` is none of the pod's business.
        mount::propagation(&target, Flags::PRIVATE).map_err(building(&host))?;
    }
    Ok(())
}

fn is_node(stat: &Stat, major: u32, minor: u32) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice
        && stat.st_rdev == rustix::fs::makedev(major, minor)
}

/// Puts a node into an app's `/dev`; `bound`: one of [`bind_nodes`].
pub fn put(at: BorrowedFd<'_>, name: &str, of: &str, bound: bool) -> Result<(), Fault> {
    let Some((_, major, minor)) = NODES.iter().find(|(known, ..)| *known == of) else {
        return Err(Fault::not_found(format!("no device \"{of}\"")));
    };
    let mode = Mode::from_raw_mode(0o666);
    if !bound {
        let number = rustix::fs::makedev(*major, *minor);
        return rustix::fs::mknodat(at, name, FileType::CharacterDevice, mode, number)
            .map_err(building_rx(format!("/dev/{name}")));
    }
    let source = format!("/{BOUND}/{of}");
    if of == TUN && rustix::fs::access(source.as_str(), rustix::fs::Access::EXISTS).is_err() {
        return Ok(());
    }
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
    let file =
        rustix::fs::openat(at, name, flags, mode).map_err(building_rx(format!("/dev/{name}")))?;
    mount::bind(source, through_proc(file.as_fd()), false).map_err(building(format!("/dev/{name}")))
}

/// What masked files show: `/null` of the pod's root.
pub fn cover(bound: bool) -> Result<(), Fault> {
    if bound {
        touch("null", 0o666)?;
        return mount::bind("devices/null", "null", false).map_err(building("/null"));
    }
    // A node where devices do not work, which not even root can open.
    let number = rustix::fs::makedev(1, 3);
    rustix::fs::mknodat(
        CWD,
        "null",
        FileType::CharacterDevice,
        Mode::empty(),
        number,
    )
    .map_err(building_rx("/null"))
}
