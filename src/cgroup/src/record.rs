//! The cgroups of a pod found again by another process: from the record that
//! was kept with the pod.
//!
//! The record is only believed as far as it can do no harm: each line must be
//! an absolute path that ends in this pod's own `rkt-<uuid>`, be reached without
//! a symlink or `..`, and lie on a cgroup filesystem. Directories that are gone
//! are no error.

use crate::controller::{Controller, Controllers};
use crate::file;
use crate::hierarchy::{Version, version_of};
use crate::plan::POD_PREFIX;
use crate::pod::{Made, PodCgroup};
use model::{Fault, PodUuid, fault::Result};
use rustix::fs::{Mode, OFlags, ResolveFlags, openat, openat2};
use rustix::io::Errno;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;

/// One line to a hierarchy: more than any kernel has.
const MOST: usize = 32;

/// Opens what is left of the cgroups in `record`.
pub fn open(record: &str, uuid: &PodUuid) -> Result<PodCgroup> {
    let name = format!("{POD_PREFIX}{}", uuid.as_str());
    let mut trees = Vec::new();
    for line in record.lines().take(MOST) {
        let bad =
            |why: &str| Fault::corrupt(format!("the pod's cgroup record names {line:?}, {why}"));
        let Some((parent_path, last)) = line.rsplit_once('/') else {
            return Err(bad("which is no path"));
        };
        let inner = parent_path
            .strip_prefix('/')
            .ok_or_else(|| bad("which is not absolute"))?;
        if last != name
            || inner
                .split('/')
                .any(|part| part.is_empty() || part == "." || part == "..")
        {
            return Err(bad("which is not this pod's"));
        }
        let parent = match open_straight(inner) {
            Ok(parent) => parent,
            Err(err) if err.kind() == io::ErrorKind::NotFound => continue,
            Err(err) => return Err(Fault::io("open", format!("/{inner}"), err)),
        };
        let magic = rustix::fs::fstatfs(&parent)
            .map_err(|err| Fault::io("statfs", format!("/{inner}"), err))?;
        let version = version_of(magic.f_type as u64)
            .ok_or_else(|| bad("which is on no cgroup filesystem"))?;
        let dir = match file::open_dir(&parent, &name) {
            Ok(dir) => dir,
            Err(err) if err.kind() == io::ErrorKind::NotFound => continue,
            Err(err) => return Err(Fault::io("open", line, err)),
        };
        let controllers = controllers(version, &dir);
        let counts = version == Version::V2 || controllers.contains(Controller::Devices);
        trees.push(Made {
            version,
            controllers,
            counts,
            parent,
            path: PathBuf::from(line),
            dir,
            left: None,
        });
    }
    let devices_confined = trees.iter().any(confined);
    Ok(PodCgroup {
        name,
        trees,
        notes: Vec::new(),
        devices_confined,
    })
}

/// A list of devices is in force in `tree`; not known is no.
fn confined(tree: &Made) -> bool {
    match tree.version {
        // A cgroup that nothing was denied shows one line for everything.
        Version::V1 => file::read(&tree.dir, "devices.list")
            .is_ok_and(|list| list.lines().all(|line| line != "a *:* rwm")),
        Version::V2 => sys::bpf::device_filters(tree.dir.as_fd()).is_ok_and(|filters| filters > 0),
    }
}

/// The controllers of a directory that we did not just make, by their files.
fn controllers(version: Version, dir: &OwnedFd) -> Controllers {
    match version {
        Version::V2 => file::read(dir, "cgroup.subtree_control")
            .map_or(Controllers::EMPTY, |names| Controllers::among(&names, ' ')),
        Version::V1 => [
            (Controller::Memory, "memory.limit_in_bytes"),
            (Controller::Cpu, "cpu.shares"),
            (Controller::Pids, "pids.max"),
            (Controller::Devices, "devices.list"),
        ]
        .into_iter()
        .filter(|(_, name)| {
            rustix::fs::accessat(
                dir,
                *name,
                rustix::fs::Access::EXISTS,
                rustix::fs::AtFlags::empty(),
            )
            .is_ok()
        })
        .map(|(controller, _)| controller)
        .collect(),
    }
}

/// `/` and then `inner`, with no symlink on the way.
fn open_straight(inner: &str) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let root = openat(rustix::fs::CWD, "/", flags, Mode::empty())?;
    let straight = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    match openat2(&root, inner, flags, Mode::empty(), straight) {
        // Before Linux 5.6: one name at a time.
        Err(Errno::NOSYS) => inner.split('/').try_fold(root, |dir, part| {
            Ok(openat(dir.as_fd(), part, flags, Mode::empty())?)
        }),
        other => Ok(other?),
    }
}
