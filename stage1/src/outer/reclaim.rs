//! Addresses of pods that are over, for a network that has none left.
//!
//! A pod that was killed, or detached, keeps its addresses until gc comes. A
//! network that runs out of them need not wait for that: nobody lives at an
//! address whose pod's lock is free.

use std::os::fd::OwnedFd;

use model::PodUuid;
use pod::{Place, layout};
use rustix::fs::{CWD, Dir, FlockOperation, Mode, OFlags};

use super::leave;
use crate::load;

/// Takes down the networks of one ended pod in this data directory that was on
/// `wanted`; whether there was one. The current directory is the pod's.
pub fn reclaim(wanted: &str, local_config: Option<&str>, debug: bool) -> bool {
    for place in [Place::Run, Place::ExitedGarbage] {
        // <data>/pods/run/<uuid>
        let siblings = format!("../../{}", place.name());
        for uuid in pods(&siblings) {
            let Some(dir) = ended(&format!("{siblings}/{uuid}")) else {
                continue;
            };
            if !was_on(&dir, wanted) {
                continue;
            }
            match leave::tear_down(&dir, &uuid, local_config, debug) {
                Ok(()) => return true,
                Err(fault) if debug => {
                    crate::say::err(format_args!("networking: pod {uuid}: {fault}"));
                }
                Err(_) => {}
            }
        }
    }
    false
}

fn pods(place: &str) -> Vec<String> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let opened = rustix::fs::openat(CWD, place, flags, Mode::empty()).and_then(Dir::read_from);
    let Ok(entries) = opened else {
        return Vec::new();
    };
    let names = entries.filter_map(Result::ok);
    names
        .filter_map(|entry| Some(entry.file_name().to_str().ok()?.to_string()))
        .filter(|name| PodUuid::new(name).is_ok())
        .collect()
}

/// The directory of a pod that nobody holds, locked as by somebody who looks:
/// until it is closed the pod is not removed.
fn ended(path: &str) -> Option<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let dir = rustix::fs::openat(CWD, path, flags, Mode::empty()).ok()?;
    rustix::fs::flock(&dir, FlockOperation::NonBlockingLockShared).ok()?;
    Some(dir)
}

fn was_on(dir: &OwnedFd, wanted: &str) -> bool {
    use std::os::fd::AsFd;
    let infos = load::read_if_there(dir.as_fd(), layout::NET_INFO)
        .ok()
        .flatten()
        .and_then(|bytes| pod::netinfo::parse(&bytes).ok());
    infos.is_some_and(|infos| infos.iter().any(|info| info.name == wanted))
}
