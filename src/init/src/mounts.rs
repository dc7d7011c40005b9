//! The file systems that every program expects, where they are missing.
//!
//! A table, in order, and the step that carries out one line of it: a directory
//! that is a mount point already is left alone, whoever made it. A kernel without
//! one of them costs a complaint.

use model::Fault;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use sys::mount::Flags;

struct Mount {
    fstype: &'static str,
    target: &'static str,
    flags: Flags,
    data: &'static str,
}

const QUIET: Flags = Flags::NOSUID.and(Flags::NODEV).and(Flags::NOEXEC);

/// /run and /tmp are no part of `/`, even where that is memory: there they would have no bound.
const MOUNTS: &[Mount] = &[
    Mount {
        fstype: "proc",
        target: "/proc",
        flags: QUIET,
        data: "",
    },
    Mount {
        fstype: "sysfs",
        target: "/sys",
        flags: QUIET,
        data: "",
    },
    Mount {
        fstype: "devtmpfs",
        target: "/dev",
        flags: Flags::NOSUID,
        data: "mode=0755",
    },
    Mount {
        fstype: "devpts",
        target: "/dev/pts",
        flags: Flags::NOSUID.and(Flags::NOEXEC),
        data: "gid=5,mode=0620,ptmxmode=0666",
    },
    Mount {
        fstype: "tmpfs",
        target: "/dev/shm",
        flags: Flags::NOSUID.and(Flags::NODEV),
        data: "mode=1777",
    },
    Mount {
        fstype: "tmpfs",
        target: "/run",
        flags: Flags::NOSUID.and(Flags::NODEV),
        data: "mode=0755",
    },
    Mount {
        fstype: "tmpfs",
        target: "/tmp",
        flags: Flags::NOSUID.and(Flags::NODEV),
        data: "mode=1777",
    },
];

/// Names that programs use for their own descriptors.
const LINKS: &[(&str, &str)] = &[
    ("/proc/self/fd", "/dev/fd"),
    ("/proc/self/fd/0", "/dev/stdin"),
    ("/proc/self/fd/1", "/dev/stdout"),
    ("/proc/self/fd/2", "/dev/stderr"),
];

/// Mounts what is missing.
pub(crate) fn all() -> Vec<Fault> {
    let mut complaints: Vec<Fault> = MOUNTS.iter().filter_map(|line| one(line).err()).collect();
    for (target, link) in LINKS {
        match symlink(target, link) {
            Err(err) if err.kind() != std::io::ErrorKind::AlreadyExists => {
                complaints.push(Fault::io("link", link, err));
            }
            _ => {}
        }
    }
    complaints
}

fn one(line: &Mount) -> Result<(), Fault> {
    directory(line.target)?;
    if is_mount_point(line.target) {
        return Ok(());
    }
    mount(line.fstype, line.fstype, line.target, line.flags, line.data)
        .map_err(|fault| fault.hint(format!("this kernel needs {}", line.fstype)))
}

/// mount(2) that says what could not be mounted where.
pub(crate) fn mount(
    source: &str,
    fstype: &str,
    target: &str,
    flags: Flags,
    data: &str,
) -> Result<(), Fault> {
    sys::mount::mount(source, target, fstype, flags, data)
        .map_err(|err| Fault::io("mount", format!("{source} on {target}"), err))
}

/// Makes a mount point, and what is missing above it.
pub(crate) fn directory(path: &str) -> Result<(), Fault> {
    if Path::new(path).is_dir() {
        return Ok(());
    }
    std::fs::create_dir_all(path).map_err(|err| {
        Fault::io("mkdir", path, err)
            .hint("a read-only root file system needs this directory from the start")
    })?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755))
        .map_err(|err| Fault::io("chmod", path, err))
}

/// Whether another file system lies at `path` than around it.
pub(crate) fn is_mount_point(path: &str) -> bool {
    let device = |path: &Path| std::fs::metadata(path).ok().map(|found| found.dev());
    let path = Path::new(path);
    match path.parent() {
        Some(parent) => device(path) != device(parent),
        None => true,
    }
}

#[cfg(test)]
mod tests {
    use super::is_mount_point;

    #[test]
    fn a_mount_point_is_told_from_a_directory() {
        assert!(is_mount_point("/proc"));
        assert!(!is_mount_point("/proc/self"));
        assert!(is_mount_point("/"));
    }
}
