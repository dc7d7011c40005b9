//! Can pods of this data directory be overlays? The test of rkt 1.30, with its
//! reasons word for word, so that `disabling overlay support: "…"` reads as ever.
//!
//! A kernel with overlay as a module that nobody loaded yet is asked to load it
//! by naming the file system to it; no external program takes part.
//!
//! In a user namespace these reasons do not tell: there overlay needs Linux 5.11,
//! and the file system `user.` attributes and whiteouts. So one is made for real,
//! below the data directory, mounted nowhere.

use rustix::fs::{AtFlags, FileType, FlockOperation, Mode, OFlags, XattrFlags, makedev};
use rustix::mount::{FsOpenFlags, fsconfig_create, fsconfig_set_flag, fsconfig_set_string, fsopen};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
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
        Ok(true) => refused_to_user_namespace(dir),
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
    use rustix::mount::{MountFlags, mount};
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

fn refused_to_user_namespace(dir: &Path) -> Option<String> {
    if !sys::userns::confined() {
        return None;
    }
    let note = pod::layout::locks(dir).join("overlay-in-user-namespace");
    // Where upper directories come to lie.
    let pods = pod::layout::pods(dir);
    let place = if pods.exists() { &pods } else { dir };
    let err = crate::proven::once(&note, &[place], || try_in_user_namespace(place)).err()?;
    let cause = model::fault::errno_text(&err);
    Some(format!("overlay in a user namespace: {cause}"))
}

/// Where the test is made, one at a time.
const TEST: &str = ".overlay-test";

fn try_in_user_namespace(dir: &Path) -> io::Result<()> {
    let above = open_dir(rustix::fs::CWD, dir)?;
    let test = lock_test(above.as_fd())?;
    for name in ["lower", "upper", "work"] {
        // A test that was killed may have left one.
        sys::fs::remove_tree(test.as_fd(), name)?;
        rustix::fs::mkdirat(&test, name, Mode::RWXU)?;
    }
    let tried = marked(test.as_fd()).and_then(|()| mounted(test.as_fd(), &dir.join(TEST)));
    let removed = sys::fs::remove_tree(above.as_fd(), TEST);
    tried.and(removed)
}

/// The kernel drops the lock with the process.
fn lock_test(above: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    loop {
        match rustix::fs::mkdirat(above, TEST, Mode::RWXU) {
            Ok(()) | Err(rustix::io::Errno::EXIST) => {}
            Err(err) => return Err(err.into()),
        }
        let test = match open_dir(above, TEST) {
            // Whoever was here has just removed it.
            Err(err) if err.kind() == io::ErrorKind::NotFound => continue,
            test => test?,
        };
        rustix::io::retry_on_intr(|| rustix::fs::flock(&test, FlockOperation::LockExclusive))?;
        let ours = rustix::fs::fstat(&test)?;
        let there = rustix::fs::statat(above, TEST, AtFlags::SYMLINK_NOFOLLOW);
        if there.is_ok_and(|there| there.st_ino == ours.st_ino) {
            return Ok(test);
        }
    }
}

/// What deletions leave in an upper directory.
fn marked(test: BorrowedFd<'_>) -> io::Result<()> {
    let kind = FileType::CharacterDevice;
    rustix::fs::mknodat(test, "upper/gone", kind, Mode::empty(), makedev(0, 0))?;
    let upper = open_dir(test, "upper")?;
    let opaque = archive::Marks::User.opaque().unwrap_or_default();
    Ok(rustix::fs::fsetxattr(
        &upper,
        opaque,
        b"y",
        XattrFlags::empty(),
    )?)
}

const DIRECTORIES: [(&str, &str); 3] = [
    ("lowerdir", "lower"),
    ("upperdir", "upper"),
    ("workdir", "work"),
];

fn mounted(test: BorrowedFd<'_>, path: &Path) -> io::Result<()> {
    let overlay = match fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC) {
        Err(rustix::io::Errno::NOSYS) => return mounted_classic(path),
        overlay => overlay?,
    };
    let number = test.as_raw_fd();
    for (key, name) in DIRECTORIES {
        let path = format!("/proc/self/fd/{number}/{name}");
        fsconfig_set_string(overlay.as_fd(), key, path)?;
    }
    fsconfig_set_flag(overlay.as_fd(), "userxattr")?;
    // Else its end would sync the whole file system.
    fsconfig_set_flag(overlay.as_fd(), "volatile")?;
    Ok(fsconfig_create(overlay.as_fd())?)
}

/// By mount(2), which has to mount it somewhere: in a process with mounts of its own,
/// where layers are those that have been opened there.
fn mounted_classic(test: &Path) -> io::Result<()> {
    let options = DIRECTORIES.map(|(key, name)| format!("{key}={name}"));
    let options = format!("userxattr,{}", options.join(","));
    crate::users::in_child(|| {
        sys::mount::propagation("/", sys::mount::Flags::PRIVATE)?;
        std::env::set_current_dir(test)?;
        sys::mount::mount("overlay", ".", "overlay", sys::mount::Flags::NONE, &options)
    })
}

fn open_dir(at: BorrowedFd<'_>, path: impl rustix::path::Arg) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    Ok(rustix::fs::openat(at, path, flags, Mode::empty())?)
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
