//! Can pods of this data directory be overlays? The test of rkt 1.30, with its
//! reasons word for word, so that `disabling overlay support: "…"` reads as ever.
//!
//! A kernel with overlay as a module that nobody loaded yet is asked to load it
//! by naming the file system to it; no external program takes part.

use rustix::fs::{Mode, OFlags};
use std::path::Path;

const AUFS: u64 = 0x6175_6673;
const ZFS: u64 = 0x2fc1_2fc1;

/// Why overlays cannot be used below `dir`, or `None` when they can.
pub fn unsupported(dir: &Path) -> Option<String> {
    let mut listed = match kernel_lists_overlay() {
        Ok(listed) => listed,
        Err(e) => return Some(cannot("open /proc/filesystems", "/proc/filesystems", &e)),
    };
    if !listed {
        ask_for_module(dir);
        listed = kernel_lists_overlay().unwrap_or(false);
    }
    if !listed {
        return Some("overlay entry not present in /proc/filesystems".into());
    }
    let stat = match rustix::fs::statfs(dir) {
        Ok(stat) => stat,
        Err(e) => {
            return Some(cannot(
                "stat file system of",
                &dir.display().to_string(),
                &e.into(),
            ));
        }
    };
    // The field's type differs by architecture; the magic is its low 32 bits.
    match stat.f_type as u64 & 0xffff_ffff {
        AUFS => return Some("unsupported filesystem: aufs".into()),
        ZFS => return Some("unsupported filesystem: zfs".into()),
        _ => {}
    }
    match entries_have_types(dir) {
        Ok(true) => None,
        Ok(false) => Some("unsupported filesystem: missing d_type support".into()),
        Err(e) => Some(cannot("read directory", &dir.display().to_string(), &e)),
    }
}

fn cannot(verb: &str, what: &str, err: &std::io::Error) -> String {
    format!(
        "cannot {verb}: open {what}: {}",
        model::fault::errno_text(err)
    )
}

fn kernel_lists_overlay() -> std::io::Result<bool> {
    let text = std::fs::read_to_string("/proc/filesystems")?;
    Ok(text.lines().any(|line| line == "nodev\toverlay"))
}

/// Naming a file system makes the kernel load its module. An overlay without a
/// lower directory is refused, so the classic call mounts nothing.
fn ask_for_module(dir: &Path) {
    use rustix::mount::{FsOpenFlags, MountFlags, fsopen, mount};
    if matches!(
        fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC),
        Err(rustix::io::Errno::NOSYS)
    ) {
        let _refused = mount("overlay", dir, "overlay", MountFlags::empty(), None);
    }
}

/// One buffer of entries is the sample, as in 1.30.
fn entries_have_types(dir: &Path) -> std::io::Result<bool> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let fd = rustix::fs::open(dir, flags, Mode::empty())?;
    let mut buffer = [std::mem::MaybeUninit::uninit(); 4096];
    let mut entries = rustix::fs::RawDir::new(fd, &mut buffer);
    while let Some(entry) = entries.next() {
        if entry?.file_type() == rustix::fs::FileType::Unknown {
            return Ok(false);
        }
        if entries.is_buffer_empty() {
            break;
        }
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proc_never_passes_for_a_missing_directory() {
        let reason = unsupported(Path::new("/nonexistent/data"));
        assert!(
            reason.is_some(),
            "a directory that does not exist supports nothing"
        );
    }

    #[test]
    fn the_temp_directory_reports_types() {
        assert!(entries_have_types(&std::env::temp_dir()).is_ok_and(|typed| typed));
    }
}
