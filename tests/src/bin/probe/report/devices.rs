//! `/dev` by node, and what becomes of nodes that the process makes itself.

use super::say;
use crate::facts::{name, open, outcome};
use rustix::fs::{FileType, Mode, OFlags};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

pub(super) fn all() {
    let mut names = Vec::new();
    nodes(Path::new("/dev"), "", &mut names);
    names.sort();
    say("dev", names.join(" "));
    for (label, kind, major, minor) in [
        ("mem", FileType::CharacterDevice, 1, 1),
        ("kmsg", FileType::CharacterDevice, 1, 11),
        ("loop-control", FileType::CharacterDevice, 10, 237),
        ("fuse", FileType::CharacterDevice, 10, 229),
        ("loop0", FileType::BlockDevice, 7, 0),
        ("sda", FileType::BlockDevice, 8, 0),
        ("dm-0", FileType::BlockDevice, 253, 0),
        ("nvme0n1", FileType::BlockDevice, 259, 0),
    ] {
        say(
            &format!("node.{label}"),
            own_node(label, kind, major, minor),
        );
    }
}

/// Names of what is below `/dev`, device nodes with kind, number and mode as lines of their own.
fn nodes(dir: &Path, prefix: &str, names: &mut Vec<String>) {
    let Ok(entries) = std::fs::read_dir(dir) else {
        return;
    };
    for entry in entries.flatten() {
        let shown = format!("{prefix}{}", entry.file_name().to_string_lossy());
        let Ok(meta) = std::fs::symlink_metadata(entry.path()) else {
            continue;
        };
        let kind = meta.file_type();
        if kind.is_dir() {
            if ["net", "mapper", "block", "char", "input"].contains(&shown.as_str()) {
                nodes(&entry.path(), &format!("{shown}/"), names);
            } else {
                names.push(format!("{shown}/"));
            }
            continue;
        }
        if kind.is_char_device() || kind.is_block_device() {
            let letter = if kind.is_block_device() { 'b' } else { 'c' };
            let (major, minor) = (
                rustix::fs::major(meta.rdev()),
                rustix::fs::minor(meta.rdev()),
            );
            // A terminal's number is the next that is free.
            let number = if major == 136 {
                "136:*".to_owned()
            } else {
                format!("{major}:{minor}")
            };
            let opened = open(
                &entry.path().to_string_lossy(),
                OFlags::RDWR | OFlags::NOCTTY,
            );
            say(
                "node",
                format!(
                    "{shown} {letter} {number} {:04o} {}",
                    meta.mode() & 0o7777,
                    opened_as(opened)
                ),
            );
        }
        names.push(shown);
    }
}

/// `ENXIO` is said by `/dev/tty` to those without a terminal.
fn opened_as<T>(result: std::io::Result<T>) -> String {
    result.map_or_else(|e| name(&e), |_| "opens".to_owned())
}

/// Makes a node where any directory takes it, and opens it.
fn own_node(label: &str, kind: FileType, major: u32, minor: u32) -> String {
    let mut refused = String::new();
    for dir in ["/tmp", "/dev", "/dev/shm", "/"] {
        let path = format!("{}/node-{label}", dir.trim_end_matches('/'));
        let _ = std::fs::remove_file(&path);
        let made = rustix::fs::mknodat(
            rustix::fs::CWD,
            &path,
            kind,
            Mode::from_bits_truncate(0o600),
            rustix::fs::makedev(major, minor),
        );
        if let Err(e) = made {
            // That the process may not is said, rather than that the place is read-only.
            if refused.is_empty() || e == rustix::io::Errno::PERM {
                refused = format!("mknod {}", name(&e.into()));
            }
            continue;
        }
        let opened = outcome(open(&path, OFlags::RDONLY));
        let _ = std::fs::remove_file(&path);
        return format!("open {opened}");
    }
    refused
}
