//! Disks, and a place for rkt's data.
//!
//! A disk is waited for, since the kernel finds them in its own time, and mounted as
//! it was told, or as the first file system that the kernel knows and that fits. One
//! that cannot be mounted, or not be written, ends the start: pods that write to memory
//! what should last would be worse. Read-only is what was told to be so, and what nobody
//! writes anyway. Where the data directory could not be written, memory takes its
//! place, unless images lie there: a store may be read-only.

use crate::mounts::{directory, mount};
use crate::settings::{Disk, Settings};
use model::Fault;
use rustix::fs::StatVfsMountFlags;
use rustix::io::Errno;
use rustix::mount::UnmountFlags;
use std::path::Path;
use std::time::{Duration, Instant};
use sys::mount::Flags;

/// Where data lies when there is no other place that can be written.
const IN_MEMORY: &str = "/run/rkt-data";
/// File systems that are read-only by their nature, and so without a word of it.
const NEVER_WRITTEN: [&str; 5] = ["squashfs", "erofs", "iso9660", "cramfs", "romfs"];
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
    mount_first(disk, &types, |fstype, flags| attempt(disk, fstype, flags))
}

/// Mounts the first that fits. A disk that is write-protected refuses every one that would write, whether it fits or
/// not, so the others come before the verdict.
fn mount_first(
    disk: &Disk,
    types: &[&str],
    attempt: impl Fn(&str, Flags) -> Result<(), Fault>,
) -> Result<(), Fault> {
    let mut refused = None;
    let mut last = None;
    for fstype in types {
        let fault = match mount_as(disk, fstype, &attempt) {
            Ok(()) => return Ok(()),
            Err(fault) => fault,
        };
        if cannot_be_written(&fault) {
            refused.get_or_insert(fault);
        } else {
            last = Some(fault);
        }
    }
    if let Some(fault) = refused {
        return Err(fault.hint(format!(
            "a switch on it, or damage that the kernel's messages name, keeps it from being written; \
             rkt.disk={}:{}:{}:ro mounts it read-only",
            disk.device, disk.target, disk.fstype
        )));
    }
    let fault = last.unwrap_or_else(|| {
        Fault::unsupported(format!(
            "mount {}: this kernel knows no file system",
            disk.device
        ))
    });
    Err(fault.hint("the file system's module must be in the kernel or in rkt.modules="))
}

fn mount_as(
    disk: &Disk,
    fstype: &str,
    attempt: impl Fn(&str, Flags) -> Result<(), Fault>,
) -> Result<(), Fault> {
    if disk.read_only {
        return attempt(fstype, Flags::RDONLY);
    }
    attempt(fstype, Flags::NONE).or_else(|fault| {
        match NEVER_WRITTEN.contains(&fstype) && cannot_be_written(&fault) {
            true => attempt(fstype, Flags::RDONLY),
            false => Err(fault),
        }
    })
}

/// One mount(2) that does what its flags say. A file system may make itself read-only without a word, as hfsplus does
/// after a crash.
fn attempt(disk: &Disk, fstype: &str, flags: Flags) -> Result<(), Fault> {
    mount(&disk.device, fstype, &disk.target, flags, "")?;
    if flags == Flags::NONE && is_read_only(Path::new(&disk.target)) {
        // Whoever cannot unmount it has it read-only, which is what is complained of.
        let _ = rustix::mount::unmount(&disk.target, UnmountFlags::empty());
        let what = format!("{} on {}", disk.device, disk.target);
        return Err(Fault::io("mount", what, Errno::ROFS));
    }
    Ok(())
}

/// The kernel's words for a write-protected disk.
fn cannot_be_written(fault: &Fault) -> bool {
    let errno = fault.errno().map(Errno::from_raw_os_error);
    matches!(errno, Some(Errno::ROFS | Errno::ACCESS))
}

fn is_read_only(path: &Path) -> bool {
    rustix::fs::statvfs(path).is_ok_and(|stat| stat.f_flag.contains(StatVfsMountFlags::RDONLY))
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

/// The data directory: what was set, where that can be written or holds something. Mounts what room is lacking.
pub(crate) fn data_directory(settings: &Settings) -> Result<String, Fault> {
    let dir = Path::new(&settings.dir);
    let there = dir
        .ancestors()
        .find(|path| path.exists())
        .unwrap_or(Path::new("/"));
    let empty = std::fs::read_dir(dir).map_or(true, |mut entries| entries.next().is_none());
    if !is_read_only(there) {
        return Ok(settings.dir.clone());
    }
    if !empty {
        // A store that cannot be written serves as it is, and its pods need room.
        let pods = format!("{}/pods", settings.dir);
        if Path::new(&pods).is_dir() && is_read_only(Path::new(&pods)) {
            mount("rkt", "tmpfs", &pods, Flags::NONE, "mode=0750")?;
        }
        return Ok(settings.dir.clone());
    }
    let place = match dir.is_dir() {
        true => settings.dir.as_str(),
        false => IN_MEMORY,
    };
    directory(place)?;
    // A file system of its own, since /run is nosuid and nodev: a pod without overlay has its root bound from here, and
    // a bind keeps these flags. Nobody but root comes to the files of images by another way.
    mount("rkt", "tmpfs", place, Flags::NONE, "mode=0750")?;
    Ok(place.to_string())
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use std::cell::RefCell;

    fn disk(text: &str) -> Disk {
        let (settings, complaints) = Settings::parse(&format!("rkt.disk={text}"));
        assert!(complaints.is_empty(), "{complaints:?}");
        settings.disks[0].clone()
    }

    /// Tries these on a disk that answers so; what was mounted, with its flags.
    fn tried(
        disk: &Disk,
        types: &[&str],
        answer: impl Fn(&str, Flags) -> Result<(), Errno>,
    ) -> Result<(String, Flags), Fault> {
        let mounted = RefCell::new(None);
        mount_first(disk, types, |fstype, flags| {
            answer(fstype, flags).map_err(|err| Fault::io("mount", "it", err))?;
            mounted.replace(Some((fstype.to_string(), flags)));
            Ok(())
        })?;
        Ok(mounted.into_inner().unwrap())
    }

    /// A disk of `found` whose switch is on.
    fn protected(found: &str) -> impl Fn(&str, Flags) -> Result<(), Errno> {
        move |fstype, flags| match (flags == Flags::RDONLY, fstype == found) {
            (false, _) => Err(Errno::ACCESS),
            (true, false) => Err(Errno::INVAL),
            (true, true) => Ok(()),
        }
    }

    #[test]
    fn a_write_protected_disk_is_an_error_and_not_silently_read_only() {
        for (text, types) in [
            ("vda:/data", &["ext3", "squashfs", "vfat"][..]),
            ("vda:/data:ext4", &["ext4"]),
        ] {
            for found in ["ext4", "vfat"] {
                let fault = tried(&disk(text), types, protected(found)).unwrap_err();
                assert!(cannot_be_written(&fault), "{fault}");
                let hint = fault.hint.unwrap();
                assert!(hint.contains("rkt.disk=/dev/vda:/data:"), "{hint}");
                assert!(hint.contains(":ro "), "{hint}");
            }
        }
    }

    #[test]
    fn a_disk_that_was_told_to_be_read_only_may_be_protected() {
        for text in ["vda:/data::ro", "vda:/data:ext4:ro"] {
            let mounted = tried(&disk(text), &["vfat", "ext4"], protected("ext4")).unwrap();
            assert_eq!(mounted, ("ext4".to_string(), Flags::RDONLY));
        }
    }

    #[test]
    fn what_nobody_writes_is_read_only_by_itself() {
        for fstype in NEVER_WRITTEN {
            let types = ["ext4", fstype, "vfat"];
            let mounted = tried(&disk("vda:/data"), &types, protected(fstype)).unwrap();
            assert_eq!(mounted, (fstype.to_string(), Flags::RDONLY));
        }
    }

    #[test]
    fn a_file_system_of_no_module_is_told_from_a_protected_disk() {
        let fault = tried(&disk("vda:/data"), &["ext4"], |_, _| Err(Errno::INVAL)).unwrap_err();
        assert!(fault.hint.unwrap().contains("rkt.modules="));
        let fault = tried(&disk("vda:/data"), &[], |_, _| Ok(())).unwrap_err();
        assert!(fault.to_string().contains("no file system"), "{fault}");
    }

    #[test]
    fn a_disk_that_can_be_written_is_mounted_so() {
        let found = |fstype: &str, _| match fstype {
            "vfat" => Ok(()),
            _ => Err(Errno::INVAL),
        };
        let mounted = tried(&disk("vda:/data"), &["ext4", "vfat"], found).unwrap();
        assert_eq!(mounted, ("vfat".to_string(), Flags::NONE));
    }

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
