//! Disks, and a place for rkt's data.
//!
//! A disk is waited for, since the kernel finds them in its own time, and mounted as
//! it was told, or as the first file system that the kernel knows and that fits. One
//! that cannot be mounted ends the start: pods that write to memory what should last
//! would be worse. Where the data directory could not be written, memory takes its
//! place, unless images lie there: a store may be read-only.

use crate::mounts::{directory, mount};
use crate::settings::{Disk, Settings};
use model::Fault;
use rustix::fs::StatVfsMountFlags;
use std::path::Path;
use std::time::{Duration, Instant};
use sys::mount::Flags;

/// Where data lies when there is no other place that can be written.
const IN_MEMORY: &str = "/run/rkt-data";
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// Mounts one disk.
pub(crate) fn mount_disk(disk: &Disk, wait: Duration) -> Result<(), Fault> {
    let begun = Instant::now();
    while !Path::new(&disk.device).exists() {
        if begun.elapsed() >= wait {
            return Err(Fault::not_found(format!(
                "disk \"{}\" did not appear within {} s",
                disk.device,
                wait.as_secs()
            ))
            .hint(
                "its driver must be in the kernel or in rkt.modules=; rkt.wait= gives it more time",
            ));
        }
        std::thread::sleep(LOOK_AGAIN);
    }
    directory(&disk.target)?;
    let table;
    let types: Vec<&str> = if disk.fstype.is_empty() {
        table = std::fs::read_to_string("/proc/filesystems").unwrap_or_default();
        on_disks(&table)
    } else {
        vec![&disk.fstype]
    };
    let mut last = None;
    for fstype in types {
        match mount_as(disk, fstype) {
            Ok(()) => return Ok(()),
            Err(fault) => last = Some(fault),
        }
    }
    let fault = last.unwrap_or_else(|| {
        Fault::unsupported(format!(
            "mount {}: this kernel knows no file system",
            disk.device
        ))
    });
    Err(fault.hint("the file system's module must be in the kernel or in rkt.modules="))
}

fn mount_as(disk: &Disk, fstype: &str) -> Result<(), Fault> {
    let as_told = |flags| mount(&disk.device, fstype, &disk.target, flags, "");
    if disk.read_only {
        return as_told(Flags::RDONLY);
    }
    // Of squashfs, or of a disk that is write-protected, the kernel says so.
    as_told(Flags::NONE).or_else(|fault| match fault.errno() {
        Some(errno)
            if matches!(
                rustix::io::Errno::from_raw_os_error(errno),
                rustix::io::Errno::ROFS | rustix::io::Errno::ACCESS
            ) =>
        {
            as_told(Flags::RDONLY)
        }
        _ => Err(fault),
    })
}

/// The file systems of /proc/filesystems that need a disk.
fn on_disks(table: &str) -> Vec<&str> {
    table
        .lines()
        .filter(|line| !line.starts_with("nodev"))
        .map(str::trim)
        .filter(|name| !name.is_empty())
        .collect()
}

/// The data directory: what was set, where that can be written or holds something.
pub(crate) fn data_directory(settings: &Settings) -> Result<String, Fault> {
    let dir = Path::new(&settings.dir);
    let there = dir
        .ancestors()
        .find(|path| path.exists())
        .unwrap_or(Path::new("/"));
    let read_only = rustix::fs::statvfs(there)
        .is_ok_and(|stat| stat.f_flag.contains(StatVfsMountFlags::RDONLY));
    let empty = std::fs::read_dir(dir).map_or(true, |mut entries| entries.next().is_none());
    if !read_only || !empty {
        return Ok(settings.dir.clone());
    }
    if dir.is_dir() {
        mount(
            "rkt",
            "tmpfs",
            &settings.dir,
            Flags::NOSUID.and(Flags::NODEV),
            "mode=0755",
        )?;
        return Ok(settings.dir.clone());
    }
    directory(IN_MEMORY)?;
    Ok(IN_MEMORY.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_systems_that_need_a_disk() {
        assert_eq!(
            on_disks("nodev\tsysfs\n\text4\nnodev\ttmpfs\n\tsquashfs\n"),
            ["ext4", "squashfs"]
        );
    }

    #[test]
    fn a_disk_that_does_not_come_is_given_up() {
        let (settings, _) = Settings::parse("rkt.disk=rkt-test-no-such-disk:/rkt-test rkt.wait=0");
        let fault =
            mount_disk(&settings.disks[0], settings.wait).expect_err("there is no such disk");
        assert!(
            fault.to_string().contains("/dev/rkt-test-no-such-disk"),
            "{fault}"
        );
        assert!(!Path::new("/rkt-test").exists());
    }
}
