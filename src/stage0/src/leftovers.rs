//! Mounts that a dead pod left below its directory: found in mountinfo, made
//! private (so that nothing travels to the host's own mounts), then unmounted
//! deepest first; a busy one is detached.
//!
//! Each mount point is reached from the pod directory's fd without following a
//! symlink: whatever an app left there cannot lead the unmount elsewhere.

use crate::env::Env;
use model::{Fault, fault::Result};
use rustix::fs::{AtFlags, CWD, Mode, OFlags, ResolveFlags};
use rustix::mount::UnmountFlags;
use std::ffi::OsStr;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

#[derive(Debug, PartialEq, Eq)]
struct Mounted {
    point: PathBuf,
    shared: bool,
}

/// Of this thread: one that has left the others' mount namespace sees its own.
const MOUNTS: &str = "/proc/thread-self/mountinfo";

/// Unmounts everything below `dir` in this mount namespace.
pub fn unmount(env: &Env, dir: &Path) -> Result<()> {
    // A pod that mounts faster than we look is not dead; a few rounds suffice.
    for _round in 0..8 {
        let info = std::fs::read(MOUNTS).map_err(|e| Fault::io("open", MOUNTS, e))?;
        let mut mounts = below(&info, dir);
        if mounts.is_empty() {
            return Ok(());
        }
        let root = rustix::fs::open(dir, DIRECTORY, Mode::empty())
            .map_err(|e| Fault::io("open", dir.display(), e))?;
        let here = WorkingDirectory::keep()?;
        for mount in mounts.iter().filter(|mount| mount.shared) {
            if let Err(e) = make_private(&root, dir, &mount.point) {
                let text = model::fault::errno_text(&e.into());
                env.note(
                    "",
                    &format!(
                        "skipping \"{}\", not marked as private: {text}",
                        mount.point.display()
                    ),
                );
            }
        }
        // Later lines lie on top of earlier ones at the same point.
        mounts.reverse();
        mounts.sort_by_key(|mount| std::cmp::Reverse(mount.point.components().count()));
        for mount in &mounts {
            unmount_one(env, &root, dir, &mount.point)?;
        }
        drop(here);
    }
    Err(Fault::conflict(format!(
        "mounts keep appearing below {}",
        dir.display()
    )))
}

/// True while something is mounted below `dir`.
pub fn any(dir: &Path) -> Result<bool> {
    let info = std::fs::read(MOUNTS).map_err(|e| Fault::io("open", MOUNTS, e))?;
    Ok(!below(&info, dir).is_empty())
}

const DIRECTORY: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

/// umount(2) knows no directory fd, so the parent becomes the working directory
/// for a moment; this returns to where we were.
struct WorkingDirectory(OwnedFd);

impl WorkingDirectory {
    fn keep() -> Result<WorkingDirectory> {
        rustix::fs::open(".", DIRECTORY, Mode::empty())
            .map(WorkingDirectory)
            .map_err(|e| Fault::io("open", "the working directory", e))
    }
}

impl Drop for WorkingDirectory {
    fn drop(&mut self) {
        // If it went away meanwhile, `/` pins nothing.
        if rustix::process::fchdir(&self.0).is_err() {
            let _at_root = rustix::process::chdir("/");
        }
    }
}

/// Steps into the directory that holds the mount point; the name in it remains.
fn step_to_parent<'p>(
    root: &OwnedFd,
    dir: &Path,
    point: &'p Path,
) -> rustix::io::Result<&'p OsStr> {
    let relative = point
        .strip_prefix(dir)
        .map_err(|_| rustix::io::Errno::INVAL)?;
    let name = point.file_name().ok_or(rustix::io::Errno::INVAL)?;
    let parent = match relative.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => open_below(root, parent)?,
        _ => root.try_clone().map_err(|_| rustix::io::Errno::MFILE)?,
    };
    rustix::process::fchdir(parent)?;
    Ok(name)
}

/// Opens `path` below `root` without following any symlink, over mount points.
fn open_below(root: &OwnedFd, path: &Path) -> rustix::io::Result<OwnedFd> {
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
    match rustix::fs::openat2(root, path, DIRECTORY, Mode::empty(), resolve) {
        Err(rustix::io::Errno::NOSYS) => {}
        done => return done,
    }
    // Before Linux 5.6: one component at a time.
    let mut at = root.try_clone().map_err(|_| rustix::io::Errno::MFILE)?;
    for name in path.components() {
        at = rustix::fs::openat(
            &at,
            name.as_os_str(),
            DIRECTORY | OFlags::NOFOLLOW,
            Mode::empty(),
        )?;
    }
    Ok(at)
}

fn make_private(root: &OwnedFd, dir: &Path, point: &Path) -> rustix::io::Result<()> {
    use rustix::mount::{MountPropagationFlags, mount_change};
    let name = step_to_parent(root, dir, point)?;
    // mount(2) would follow a symlink in the last place: look first. The place
    // is a mount point, which cannot be replaced while it is one.
    let stat = rustix::fs::statat(CWD, name, AtFlags::SYMLINK_NOFOLLOW)?;
    if rustix::fs::FileType::from_raw_mode(stat.st_mode) == rustix::fs::FileType::Symlink {
        return Err(rustix::io::Errno::LOOP);
    }
    mount_change(
        name,
        MountPropagationFlags::PRIVATE | MountPropagationFlags::REC,
    )
}

fn unmount_one(env: &Env, root: &OwnedFd, dir: &Path, point: &Path) -> Result<()> {
    let failed = |e: rustix::io::Errno| Fault::io("unmount", format!("\"{}\"", point.display()), e);
    let name = match step_to_parent(root, dir, point) {
        Ok(name) => name,
        // Gone together with a mount that was above it.
        Err(rustix::io::Errno::NOENT) => return Ok(()),
        Err(e) => return Err(failed(e)),
    };
    let done = match rustix::mount::unmount(name, UnmountFlags::NOFOLLOW) {
        Err(rustix::io::Errno::BUSY) => {
            env.note(
                "",
                &format!(
                    "mount \"{}\" is busy, marking for lazy detach",
                    point.display()
                ),
            );
            rustix::mount::unmount(name, UnmountFlags::NOFOLLOW | UnmountFlags::DETACH)
        }
        done => done,
    };
    match done {
        // Not a mount (any more): unmounted together with another.
        Ok(()) | Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOENT) => Ok(()),
        Err(e) => Err(failed(e)),
    }
}

/// The mounts strictly below `dir`, in the kernel's order (parents first).
fn below(info: &[u8], dir: &Path) -> Vec<Mounted> {
    info.split(|&b| b == b'\n')
        .filter_map(|line| parse(line, dir))
        .collect()
}

/// `36 35 98:0 /mnt1 /mnt2 rw,noatime shared:1 master:2 - ext3 /dev/root rw`
fn parse(line: &[u8], dir: &Path) -> Option<Mounted> {
    let mut fields = line.split(|&b| b == b' ');
    let point = sys::mount::unescape(fields.nth(4)?);
    let point = Path::new(OsStr::from_bytes(&point)).to_path_buf();
    if point == dir || !point.starts_with(dir) {
        return None;
    }
    let shared = fields
        .skip(1)
        .take_while(|field| *field != b"-")
        .any(|field| field.starts_with(b"shared:"));
    Some(Mounted { point, shared })
}

#[cfg(test)]
mod tests {
    use super::*;

    const INFO: &[u8] = b"\
22 1 8:1 / / rw - ext4 /dev/sda1 rw\n\
40 22 0:5 / /d/pods/run/u rw shared:7 - tmpfs t rw\n\
41 22 0:5 / /d/pods/run/u/stage1/rootfs rw,nosuid shared:7 - tmpfs t rw\n\
42 41 0:6 / /d/pods/run/u/stage1/rootfs/a\\040b\\134c rw master:1 - proc p rw\n\
43 22 0:6 / /d/pods/run/uu/x rw - proc p rw\n";

    #[test]
    fn only_what_lies_strictly_below_is_found() {
        let found = below(INFO, Path::new("/d/pods/run/u"));
        assert_eq!(
            found,
            [
                Mounted {
                    point: "/d/pods/run/u/stage1/rootfs".into(),
                    shared: true
                },
                Mounted {
                    point: "/d/pods/run/u/stage1/rootfs/a b\\c".into(),
                    shared: false
                },
            ]
        );
    }

    #[test]
    fn a_truncated_line_is_no_mount() {
        assert!(below(b"1 2 3\n\n", Path::new("/")).is_empty());
    }

    #[test]
    fn a_symlink_on_the_way_stops_the_walk() {
        let base = crate::testing::TempDir::new();
        std::fs::create_dir_all(base.path().join("real/deep")).expect("mkdir");
        std::os::unix::fs::symlink("real", base.path().join("link")).expect("symlink");
        let root = rustix::fs::open(base.path(), DIRECTORY, Mode::empty()).expect("open");
        assert!(open_below(&root, Path::new("real/deep")).is_ok());
        assert!(open_below(&root, Path::new("link/deep")).is_err());
    }
}
