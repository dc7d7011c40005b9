//! SELinux and AppArmor: whether they are on, what they know, and the labels that
//! a process asks for.
//!
//! A label is written to a file of procfs. Whoever could put another file there
//! would run unlabelled, or have a file of the kernel written instead
//! (CVE-2019-16884, CVE-2025-52881). So `/proc` must be the root of a procfs, and
//! the file must lie on the same mount: nothing is laid over any part of the way.

use crate::procfs;
use rustix::fs::{Dir, Mode, OFlags, StatVfsMountFlags, XattrFlags};
use rustix::io::Errno;
use std::ffi::CStr;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

const SELINUXFS: u64 = 0xf97c_ff8c;

const SELINUX: &str = "/sys/fs/selinux";
const SELINUX_XATTR: &str = "security.selinux";
const APPARMOR_ENABLED: &str = "/sys/module/apparmor/parameters/enabled";
/// One line for each profile that is loaded: `name (mode)`.
const APPARMOR_PROFILES: &str = "/sys/kernel/security/apparmor/profiles";

/// A policy is loaded, enforcing or not. A selinuxfs that is mounted read-only
/// is a container's, to which SELinux is to look switched off.
pub fn selinux_on() -> bool {
    if !rustix::fs::statfs(SELINUX).is_ok_and(|stat| stat.f_type as u64 == SELINUXFS) {
        return false;
    }
    let read_only = rustix::fs::statvfs(SELINUX)
        .is_ok_and(|stat| stat.f_flag.contains(StatVfsMountFlags::RDONLY));
    // Without a policy every process is the kernel's.
    !read_only && own_context().is_some_and(|context| context != "kernel")
}

/// The context that this process runs in.
fn own_context() -> Option<String> {
    let text = std::fs::read_to_string("/proc/thread-self/attr/current").ok()?;
    Some(text.trim_end_matches(['\0', '\n']).to_string())
}

/// Does SELinux forbid, or only report? `None` where it does not say.
pub fn selinux_enforces() -> Option<bool> {
    let text = std::fs::read_to_string(format!("{SELINUX}/enforce")).ok()?;
    Some(text.trim() != "0")
}

/// Is this context one of the loaded policy's? `None` where this process may not ask.
pub fn selinux_knows(context: &str) -> Option<bool> {
    let flags = OFlags::RDWR | OFlags::CLOEXEC;
    let file = rustix::fs::open(format!("{SELINUX}/context"), flags, Mode::empty()).ok()?;
    match rustix::io::write(&file, context.as_bytes()) {
        Ok(_) => Some(true),
        Err(Errno::INVAL) => Some(false),
        Err(_) => None,
    }
}

pub fn apparmor_on() -> bool {
    std::fs::read_to_string(APPARMOR_ENABLED).is_ok_and(|text| text.starts_with('Y'))
}

/// The profiles that are loaded; an error where this process may not know them.
pub fn apparmor_profiles() -> io::Result<Vec<String>> {
    Ok(profiles(&std::fs::read_to_string(APPARMOR_PROFILES)?))
}

fn profiles(text: &str) -> Vec<String> {
    let name = |line: &str| Some(line.rsplit_once(" (")?.0.to_string());
    text.lines().filter_map(name).collect()
}

/// The SELinux context of this thread from its next exec on. EINVAL where the
/// policy does not have it, or SELinux is off.
pub fn selinux_at_exec(context: &str) -> io::Result<()> {
    write_attribute("exec", context)
}

/// The SELinux context of keyrings that this thread makes, until its next exec.
pub fn selinux_for_keys(context: &str) -> io::Result<()> {
    write_attribute("keycreate", context)
}

/// The AppArmor profile of this thread from its next exec on. ENOENT where it is
/// not loaded, EINVAL where AppArmor is off.
pub fn apparmor_at_exec(profile: &str) -> io::Result<()> {
    let order = format!("exec {profile}");
    match write_attribute("apparmor/exec", &order) {
        // The directory came with Linux 5.8. Without AppArmor's own file, a kernel
        // that has the directory of another module still has the common one.
        Err(err) if is(&err, Errno::NOENT) && !has_own_attributes() => {
            write_attribute("exec", &order)
        }
        other => other,
    }
}

fn has_own_attributes() -> bool {
    rustix::fs::access(
        "/proc/thread-self/attr/apparmor",
        rustix::fs::Access::EXISTS,
    )
    .is_ok()
}

fn is(err: &io::Error, errno: Errno) -> bool {
    err.raw_os_error() == Some(errno.raw_os_error())
}

fn write_attribute(name: &str, text: &str) -> io::Result<()> {
    let file = open_attribute(name)?;
    let written = rustix::io::write(&file, text.as_bytes())?;
    if written == text.len() {
        Ok(())
    } else {
        Err(Errno::IO.into())
    }
}

fn open_attribute(name: &str) -> io::Result<OwnedFd> {
    procfs::own_file(&format!("attr/{name}"))
}

/// Labels what is open, an O_PATH fd too.
pub fn selinux_label(file: BorrowedFd<'_>, context: &str) -> io::Result<()> {
    let path = format!("/proc/self/fd/{}", file.as_raw_fd());
    Ok(rustix::fs::setxattr(
        path,
        SELINUX_XATTR,
        context.as_bytes(),
        XattrFlags::empty(),
    )?)
}

/// How deep a tree is labelled: each level takes an fd.
const DEEPEST: usize = 400;

/// Labels a directory and everything in it; links are not followed, other file
/// systems left alone. What cannot be labelled is passed over, and the first
/// reason is returned in the end.
pub fn selinux_label_tree(directory: BorrowedFd<'_>, context: &str) -> io::Result<()> {
    selinux_label(directory, context)?;
    let device = rustix::fs::fstat(directory)?.st_dev;
    let mut first = Ok(());
    let mut levels = vec![Dir::read_from(directory)?];
    while let Some(level) = levels.last_mut() {
        let Some(entry) = level.read() else {
            levels.pop();
            continue;
        };
        let (entry, here) = (entry?, level.fd()?);
        let name = entry.file_name();
        if name == c"." || name == c".." {
            continue;
        }
        let entered = label_entry(here, name, context, device);
        match entered {
            Ok(None) => {}
            Ok(Some(_)) if levels.len() == DEEPEST => first = first.and(Err(Errno::MFILE.into())),
            Ok(Some(below)) => levels.push(below),
            Err(err) => first = first.and(Err(err)),
        }
    }
    first
}

/// Labels one entry; a directory of the same file system is then to be entered.
fn label_entry(
    parent: BorrowedFd<'_>,
    name: &CStr,
    context: &str,
    device: u64,
) -> io::Result<Option<Dir>> {
    let mut path = format!("/proc/self/fd/{}/", parent.as_raw_fd()).into_bytes();
    path.extend(name.to_bytes());
    let value = context.as_bytes();
    rustix::fs::lsetxattr(path.as_slice(), SELINUX_XATTR, value, XattrFlags::empty())?;
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let below = match rustix::fs::openat(parent, name, flags, Mode::empty()) {
        Err(Errno::NOTDIR | Errno::LOOP) => return Ok(None),
        opened => opened?,
    };
    let same = rustix::fs::fstat(&below)?.st_dev == device;
    Ok(same.then(|| Dir::new(below)).transpose()?)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use std::os::fd::AsFd;

    /// CVE-2021-43816: what a link in the tree points to keeps its label.
    #[test]
    fn a_tree_is_labelled_and_nothing_outside_of_it() {
        let dir = std::env::temp_dir().join(format!("rkt-test-label-{}", std::process::id()));
        let (tree, outside) = (dir.join("tree"), dir.join("outside"));
        std::fs::create_dir_all(tree.join("a/b")).unwrap();
        std::fs::write(tree.join("a/b/file"), "").unwrap();
        std::fs::create_dir(&outside).unwrap();
        std::os::unix::fs::symlink(&outside, tree.join("a/link")).unwrap();
        let opened = std::fs::File::open(&tree).unwrap();
        let done = selinux_label_tree(opened.as_fd(), "u:r:t:s0");
        let label = |path: &std::path::Path| {
            let mut value = [0; 64];
            let length = rustix::fs::getxattr(path, SELINUX_XATTR, &mut value).unwrap_or(0);
            String::from_utf8_lossy(&value[..length]).into_owned()
        };
        let found = ["", "a", "a/b", "a/b/file"].map(|path| label(&tree.join(path)));
        let not_outside = label(&outside);
        std::fs::remove_dir_all(&dir).unwrap();
        assert_ne!(not_outside, "u:r:t:s0");
        match done {
            Ok(()) => assert_eq!(found, ["u:r:t:s0"; 4]),
            Err(err) => println!("skipped: cannot set labels here: {err}"),
        }
    }

    #[test]
    fn profiles_are_told_from_their_modes() {
        let text = "rkt-app (enforce)\na b (c) (complain)\n:ns:x//child (kill)\nnonsense\n\n";
        assert_eq!(profiles(text), ["rkt-app", "a b (c)", ":ns:x//child"]);
    }

    /// The file must be there whether or not a module is on; what is written is
    /// another matter.
    #[test]
    fn an_attribute_is_looked_for_in_procfs_alone() {
        assert!(open_attribute("exec").is_ok());
        for bad in ["../../../../../etc/passwd", "nonsense"] {
            assert!(open_attribute(bad).is_err(), "{bad}");
        }
    }
}
