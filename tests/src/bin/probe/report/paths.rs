//! The kernel's files: which of the known secrets can be read, and what of `/proc`, `/sys` and `/dev` can be opened for
//! writing.

use super::say;
use crate::facts::{name, open, outcome, text};
use rustix::fs::{FileType, OFlags};
use rustix::io::Errno;
use std::collections::BTreeSet;
use std::path::Path;

/// What runtimes hide.
const HIDDEN: [&str; 24] = [
    "/proc/acpi",
    "/proc/asound",
    "/proc/config.gz",
    "/proc/dynamic_debug",
    "/proc/interrupts",
    "/proc/kallsyms",
    "/proc/kcore",
    "/proc/keys",
    "/proc/kmem",
    "/proc/kpagecount",
    "/proc/latency_stats",
    "/proc/mem",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/sysrq-trigger",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/sys/devices/virtual/powercap",
    "/sys/firmware",
    "/sys/fs/selinux",
    "/sys/hypervisor",
    "/sys/kernel/debug",
    "/sys/module",
    "/sys/power",
];

/// Settings that are written as they are.
const SETTINGS: [&str; 10] = [
    "/proc/sys/fs/binfmt_misc/status",
    "/proc/sys/fs/file-max",
    "/proc/sys/kernel/core_pattern",
    "/proc/sys/kernel/domainname",
    "/proc/sys/kernel/hostname",
    "/proc/sys/kernel/modprobe",
    "/proc/sys/kernel/shm_rmid_forced",
    "/proc/sys/net/ipv4/ip_forward",
    "/proc/sys/vm/overcommit_memory",
    "/proc/sys/vm/panic_on_oom",
];

/// Entries that one walk looks at.
const BOUND: usize = 100_000;

pub(super) fn all() {
    for path in HIDDEN {
        say(&format!("path.{path}"), state(path));
    }
    for path in SETTINGS {
        say(&format!("setting.{path}"), rewrite(path));
    }
    for root in ["/proc", "/sys", "/dev"] {
        let mut walk = Walk {
            left: BOUND,
            found: BTreeSet::new(),
        };
        walk.directory(Path::new(root), 0);
        for found in &walk.found {
            say("raw.writable", found);
        }
        let tops: BTreeSet<&str> = walk.found.iter().map(|f| top(f)).collect();
        let tops: Vec<&str> = tops.into_iter().collect();
        let told = if tops.is_empty() {
            "none".to_owned()
        } else {
            tops.join(" ")
        };
        say(&format!("writable.{root}"), told);
        if walk.left == 0 {
            say("writable.unseen", root);
        }
    }
    say("cgroup.files", cgroup_files());
    let probe = "/probe-was-here";
    say("root.write", outcome(std::fs::write(probe, "x")));
    let _ = std::fs::remove_file(probe);
    let in_dev = "/dev/probe-was-here";
    say("dev.write", outcome(std::fs::write(in_dev, "x")));
    let _ = std::fs::remove_file(in_dev);
}

/// `absent`, `empty` (how a masked one looks), `readable`, `writable`, or the error.
fn state(path: &str) -> String {
    let Ok(meta) = std::fs::metadata(path) else {
        return "absent".to_owned();
    };
    if meta.is_dir() {
        return match std::fs::read_dir(path).map(Iterator::count) {
            Ok(0) => "empty".to_owned(),
            Ok(_) => "readable".to_owned(),
            Err(e) => name(&e),
        };
    }
    let read =
        open(path, OFlags::RDONLY).and_then(|file| Ok(rustix::io::read(&file, &mut [0_u8; 16])?));
    match read {
        Ok(0) => "empty".to_owned(),
        Ok(_) => "readable".to_owned(),
        // One that is for writing only.
        Err(_) if open(path, OFlags::WRONLY).is_ok() => "writable".to_owned(),
        Err(e) => name(&e),
    }
}

fn rewrite(path: &str) -> String {
    if !Path::new(path).exists() {
        return "absent".to_owned();
    }
    outcome(std::fs::write(path, text(path)))
}

/// Whether the control groups can be seen, and joined.
fn cgroup_files() -> String {
    let root = Path::new("/sys/fs/cgroup");
    let Ok(entries) = std::fs::read_dir(root) else {
        return "not in sight".to_owned();
    };
    let mut dirs: Vec<_> = entries
        .flatten()
        .map(|e| e.path())
        .filter(|p| p.is_dir())
        .collect();
    dirs.push(root.to_owned());
    let files: Vec<_> = dirs
        .iter()
        .map(|d| d.join("cgroup.procs"))
        .filter(|f| f.exists())
        .collect();
    if files.is_empty() {
        return "not in sight".to_owned();
    }
    let writable = files
        .iter()
        .any(|f| open(&f.to_string_lossy(), OFlags::WRONLY).is_ok());
    (if writable { "writable" } else { "read-only" }).to_owned()
}

/// The second component, or `…/` of a process.
fn top(path: &str) -> &str {
    path.trim_start_matches('/').split('/').nth(1).unwrap_or("")
}

struct Walk {
    left: usize,
    found: BTreeSet<String>,
}

impl Walk {
    fn directory(&mut self, dir: &Path, depth: usize) {
        let Ok(entries) = std::fs::read_dir(dir) else {
            return;
        };
        for entry in entries.flatten() {
            let Some(left) = self.left.checked_sub(1) else {
                return;
            };
            self.left = left;
            let (path, name) = (entry.path(), entry.file_name());
            // Processes are their own affair, and so are the streams.
            let own = dir == Path::new("/proc")
                && (name.to_string_lossy().parse::<u32>().is_ok()
                    || name == "self"
                    || name == "thread-self");
            let Ok(kind) = entry.file_type() else {
                continue;
            };
            if own || kind.is_symlink() {
                continue;
            }
            if kind.is_dir() {
                if depth < 24 {
                    self.directory(&path, depth + 1);
                }
            } else if kind.is_file() && self.opens(&path) {
                self.found.insert(path.display().to_string());
            }
        }
    }

    /// Regular files alone: what a device answers is told elsewhere. Root may open all of procfs for writing; the files
    /// that cannot be written answer so to a write of nothing.
    fn opens(&self, path: &Path) -> bool {
        let flags = OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::NOCTTY;
        let Ok(file) = open(&path.to_string_lossy(), flags) else {
            return false;
        };
        // A null device lies over it.
        let plain = rustix::fs::fstat(&file)
            .is_ok_and(|s| FileType::from_raw_mode(s.st_mode) == FileType::RegularFile);
        if !plain || !path.starts_with("/proc") || path == Path::new("/proc/sysrq-trigger") {
            return plain;
        }
        !matches!(
            rustix::io::write(&file, b""),
            Err(Errno::IO | Errno::PERM | Errno::ACCESS)
        )
    }
}
