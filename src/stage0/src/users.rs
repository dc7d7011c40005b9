//! `--private-users`: which ids of the host a pod's users are, and whether its
//! files can be shown with them.
//!
//! A range is 65536 ids that no other pod has, that no line of `/etc/subuid` and
//! `/etc/subgid` gives to somebody, and that no account or group of the host has.
//! It is chosen under a lock and written down before anything else of the pod
//! depends on it.
//!
//! Where the store's file system and overlay take idmapped mounts the pod's files
//! stay on disk as the image has them; else they are copied with owners moved by
//! the first id.

use crate::env::Env;
use crate::stage1_image::{Flavor, Selected};
use model::{Fault, fault::Result};
use pod::{Place, Pod, layout};
use rustix::fs::{Mode, OFlags};
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, fsmount, fsopen};
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use sys::clone::{Forked, Namespaces, fork_into};
use sys::mount::{Flags, clone_tree, idmap, move_tree, propagation};
use sys::userns::{self, IdMap};

/// Ids of a pod, from 0 on inside, from `first` on outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Range {
    pub(crate) first: u32,
    pub(crate) count: u32,
}

/// Ids of a range; ranges start at multiples of it.
const COUNT: u32 = 1 << 16;
/// Ids end below 2^31: many programs keep them as signed numbers.
const SLOTS: usize = 1 << 15;

/// Whether pods can have users of their own here.
pub(crate) fn check(stage1: &Selected) -> Result<()> {
    if !Path::new("/proc/self/uid_map").exists() {
        return Err(Fault::unsupported(
            "--private-users is not supported, kernel compiled without user namespace support",
        ));
    }
    if userns::confined() {
        return Err(Fault::refused(
            "--private-users: rkt runs in a user namespace, and so does the pod in any case",
        )
        .hint("leave the flag away"));
    }
    match stage1 {
        Selected::BuiltIn(Flavor::Fly) => Err(Fault::usage(
            "--private-users is unknown to stage1 fly, whose pods have the host's users",
        )
        .exit(2)),
        _ => Ok(()),
    }
}

/// Chooses a range for the pod and writes it down.
pub(crate) fn claim(data_dir: &Path, pod: &Pod) -> Result<Range> {
    let path = &beside_locks(data_dir, "private-users");
    let failed = |verb| move |err| Fault::io(verb, path.display(), err);
    // Nobody else may open it, or hold the lock for ever.
    let lock = File::options()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)
        .map_err(failed("open"))?;
    lock.lock().map_err(failed("lock"))?;
    let mut taken = of_pods(data_dir)?;
    taken.extend(of_host(Path::new("/etc"))?);
    let mut random = [0; 4];
    crate::random::fill(&mut random)?;
    let first = pick(&taken, u32::from_ne_bytes(random)).ok_or_else(|| {
        Fault::conflict("no range of user IDs is left for the pod").hint("rkt gc removes old pods")
    })?;
    let text = format!("{first}:{COUNT}");
    pod.write_file(layout::PRIVATE_USERS_PREPARED, text.as_bytes())?;
    Ok(Range {
        first,
        count: COUNT,
    })
}

fn beside_locks(data_dir: &Path, name: &str) -> PathBuf {
    layout::locks(data_dir).join(name)
}

/// First id and number of ids.
type Taken = (u32, u32);

/// What the pods of this data directory have. One that goes meanwhile needs none;
/// one that does not say may have any.
fn of_pods(data_dir: &Path) -> Result<Vec<Taken>> {
    let mut taken = Vec::new();
    for uuid in pod::list::names(data_dir, &Place::ALL)? {
        match Pod::open(data_dir, &uuid).and_then(|pod| pod.private_users()) {
            Ok(users) => taken.extend(users),
            Err(fault) if fault.kind == model::Kind::NotFound => {}
            Err(fault) => {
                return Err(
                    fault.hint("remove that pod (rkt rm, rkt gc), or run without --private-users")
                );
            }
        }
    }
    Ok(taken)
}

/// What the host's accounts have, or may give themselves.
fn of_host(etc: &Path) -> Result<Vec<Taken>> {
    let mut taken = Vec::new();
    for name in ["subuid", "subgid"] {
        for line in read(&etc.join(name))?.lines() {
            let mut fields = line.split(':').skip(1).map(number);
            if let (Some(Some(first)), Some(Some(count))) = (fields.next(), fields.next()) {
                taken.push((first, count));
            }
        }
    }
    for (name, fields) in [("passwd", 2), ("group", 1)] {
        for line in read(&etc.join(name))?.lines() {
            let ids = line.split(':').skip(2).take(fields).filter_map(number);
            taken.extend(ids.map(|id| (id, 1)));
        }
    }
    Ok(taken)
}

fn number(field: &str) -> Option<u32> {
    field.trim().parse().ok()
}

/// A file of the administrator's; none is an empty one.
fn read(path: &Path) -> Result<String> {
    const MOST: u64 = 16 << 20;
    let mut bytes = Vec::new();
    let done = File::open(path).and_then(|file| file.take(MOST).read_to_end(&mut bytes));
    match done {
        Err(err) if err.kind() != io::ErrorKind::NotFound => {
            Err(Fault::io("read", path.display(), err))
        }
        _ => Ok(String::from_utf8_lossy(&bytes).into_owned()),
    }
}

/// One of the ranges that overlap with nothing.
fn pick(taken: &[Taken], random: u32) -> Option<u32> {
    let mut free = [true; SLOTS];
    // The system's own.
    free[0] = false;
    for &(first, count) in taken.iter().filter(|(_, count)| *count > 0) {
        let last = (u64::from(first) + u64::from(count) - 1) / u64::from(COUNT);
        let last = usize::try_from(last).unwrap_or(SLOTS).min(SLOTS - 1);
        let slots = free.get_mut((first / COUNT) as usize..=last);
        slots.into_iter().flatten().for_each(|slot| *slot = false);
    }
    let left = free.iter().filter(|slot| **slot).count();
    let wanted = random as usize % left.max(1);
    let mut slots = free.iter().enumerate().filter(|(_, slot)| **slot);
    let (slot, _) = slots.nth(wanted)?;
    Some(slot as u32 * COUNT)
}

/// Why the pod's files cannot be shown with its ids by idmapped layers of an
/// overlay. Tried for real, in a process with mounts of its own.
pub(crate) fn no_idmapped_overlay(env: &Env, pod: &Pod, range: Range) -> Option<String> {
    let (note, store) = (
        beside_locks(&env.dir, "idmapped-layers"),
        env.dir.join("store"),
    );
    let place = pod.path();
    let tried = || try_idmapped_overlay(pod, &store, range);
    let err = crate::proven::once(&note, &[&store, &place], tried).err()?;
    let cause = model::fault::errno_text(&err);
    Some(format!("idmapped layers are refused: {cause}"))
}

fn try_idmapped_overlay(pod: &Pod, store: &Path, range: Range) -> io::Result<()> {
    let map = IdMap::from_zero(range.first, range.count);
    let users = userns::empty(&map, &map)?;
    let place = pod.path().join(TEST);
    for dir in ["", LOWER, UPPER, "upper", "work"] {
        std::fs::create_dir(place.join(dir))?;
    }
    let tried = in_child(|| show(&place, store, users.as_fd(), range.first));
    sys::fs::remove_tree(pod.dir(), TEST)?;
    tried
}

/// Below the pod's directory, for as long as the test takes.
const TEST: &str = "idmap-test";
/// Where the store and [`TEST`] itself are shown with the pod's ids.
const LOWER: &str = "lower";
const UPPER: &str = "shown";

/// Does something in a child with a mount namespace of its own.
pub(crate) fn in_child(work: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
    match fork_into(Namespaces::MOUNT, None)? {
        Forked::Child => sys::process::exit_now(match work() {
            Ok(()) => 0,
            Err(err) => err.raw_os_error().unwrap_or(EIO),
        }),
        Forked::Parent(pid) => match sys::process::wait(pid)? {
            sys::process::Ended::Exited(0) => Ok(()),
            sys::process::Ended::Exited(errno) => Err(io::Error::from_raw_os_error(errno)),
            sys::process::Ended::Signalled(_) => Err(io::Error::from_raw_os_error(EIO)),
        },
    }
}

const EIO: i32 = rustix::io::Errno::IO.raw_os_error();

/// An overlay as the pod would have it: whose is a directory of root's in it?
fn show(place: &Path, store: &Path, users: BorrowedFd<'_>, first: u32) -> io::Result<()> {
    propagation("/", Flags::PRIVATE)?;
    // Layers have to be attached: before Linux 6.15 overlay refuses others.
    let lower = attached(store, &place.join(LOWER), users)?;
    let upper = attached(place, &place.join(UPPER), users)?;
    let overlay = fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC)?;
    let (lower, upper) = (lower.as_raw_fd(), upper.as_raw_fd());
    for (key, path) in [
        ("lowerdir", format!("/proc/self/fd/{lower}")),
        ("upperdir", format!("/proc/self/fd/{upper}/upper")),
        ("workdir", format!("/proc/self/fd/{upper}/work")),
    ] {
        rustix::mount::fsconfig_set_string(overlay.as_fd(), key, path)?;
    }
    // Else its end would sync the whole file system.
    rustix::mount::fsconfig_set_flag(overlay.as_fd(), "volatile")?;
    rustix::mount::fsconfig_create(overlay.as_fd())?;
    let flags = FsMountFlags::FSMOUNT_CLOEXEC;
    let mounted = fsmount(overlay.as_fd(), flags, MountAttrFlags::empty())?;
    if rustix::fs::fstat(&mounted)?.st_uid != first {
        return Err(rustix::io::Errno::OPNOTSUPP.into());
    }
    Ok(())
}

/// Shows a directory at a place with the ids of `users`.
fn attached(dir: &Path, at: &Path, users: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    let open = |path: &Path| {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        rustix::fs::open(path, flags, Mode::empty())
    };
    let tree = clone_tree(open(dir)?.as_fd(), false)?;
    idmap(tree.as_fd(), users, false)?;
    move_tree(tree.as_fd(), open(at)?.as_fd())?;
    Ok(open(at)?)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests;
