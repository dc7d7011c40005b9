//! Mounts: the classic call, and the newer ones where they do what it cannot.

use crate::fs::{MountOf, mount_of};
use crate::{check, check_long, cstring};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

/// Flags of mount(2), combined with `|`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flags(libc::c_ulong);

impl Flags {
    pub const NONE: Flags = Flags(0);
    pub const RDONLY: Flags = Flags(libc::MS_RDONLY);
    pub const NOSUID: Flags = Flags(libc::MS_NOSUID);
    pub const NODEV: Flags = Flags(libc::MS_NODEV);
    pub const NOEXEC: Flags = Flags(libc::MS_NOEXEC);
    pub const BIND: Flags = Flags(libc::MS_BIND);
    pub const REC: Flags = Flags(libc::MS_REC);
    pub const REMOUNT: Flags = Flags(libc::MS_REMOUNT);
    pub const MOVE: Flags = Flags(libc::MS_MOVE);
    pub const SLAVE: Flags = Flags(libc::MS_SLAVE);
    pub const PRIVATE: Flags = Flags(libc::MS_PRIVATE);
    pub const STRICTATIME: Flags = Flags(libc::MS_STRICTATIME);

    /// `|`, for constants.
    pub const fn and(self, other: Flags) -> Flags {
        Flags(self.0 | other.0)
    }
}

impl std::ops::BitOr for Flags {
    type Output = Flags;
    fn bitor(self, other: Flags) -> Flags {
        self.and(other)
    }
}

/// mount(2).
pub fn mount(
    source: impl AsRef<OsStr>,
    target: impl AsRef<OsStr>,
    fstype: &str,
    flags: Flags,
    data: &str,
) -> io::Result<()> {
    let (source, target) = (cstring(source)?, cstring(target)?);
    let (fstype, data) = (cstring(fstype)?, cstring(data)?);
    // SAFETY: four NUL-terminated texts that live through the call.
    check(unsafe {
        libc::mount(
            source.as_ptr(),
            target.as_ptr(),
            fstype.as_ptr(),
            flags.0,
            data.as_ptr().cast(),
        )
    })
    .map(drop)
}

/// A bind mount; `recursive` takes what is mounted below along.
pub fn bind(
    source: impl AsRef<OsStr>,
    target: impl AsRef<OsStr>,
    recursive: bool,
) -> io::Result<()> {
    let flags = if recursive {
        Flags::BIND | Flags::REC
    } else {
        Flags::BIND
    };
    mount(source, target, "", flags, "")
}

/// Changes how mount events travel at and below `target`.
pub fn propagation(target: impl AsRef<OsStr>, kind: Flags) -> io::Result<()> {
    mount("", target, "", kind | Flags::REC, "")
}

/// Detaches `target` and everything below it.
pub fn detach(target: impl AsRef<OsStr>) -> io::Result<()> {
    let target = cstring(target)?;
    // SAFETY: a NUL-terminated text that lives through the call.
    check(unsafe { libc::umount2(target.as_ptr(), libc::MNT_DETACH) }).map(drop)
}

/// Makes the mount at the current directory the root of this mount namespace
/// and leaves the old one behind, detached.
pub fn pivot_to_cwd() -> io::Result<()> {
    // SAFETY: two NUL-terminated texts. With "." for both, the old root comes
    // to lie over the new one, from where it is detached.
    check_long(unsafe { libc::syscall(libc::SYS_pivot_root, c".".as_ptr(), c".".as_ptr()) })?;
    detach(".")?;
    chdir("/")
}

/// The way for a ramfs root, which cannot be pivoted away: the mount at the
/// current directory is moved over `/`, and everything resolves in it.
pub fn move_cwd_to_root() -> io::Result<()> {
    mount(".", "/", "", Flags::MOVE, "")?;
    // SAFETY: a NUL-terminated text.
    check(unsafe { libc::chroot(c".".as_ptr()) })?;
    chdir("/")
}

pub fn chdir(path: &str) -> io::Result<()> {
    rustix::process::chdir(path).map_err(Into::into)
}

/// A bind of the file or directory `fd`, attached nowhere (Linux 5.2).
pub fn clone_tree(fd: BorrowedFd<'_>, recursive: bool) -> io::Result<OwnedFd> {
    let mut flags = libc::OPEN_TREE_CLONE | libc::OPEN_TREE_CLOEXEC | libc::AT_EMPTY_PATH as u32;
    if recursive {
        flags |= libc::AT_RECURSIVE as u32;
    }
    // SAFETY: an empty NUL-terminated text and plain numbers.
    let fd = check_long(unsafe {
        libc::syscall(libc::SYS_open_tree, fd.as_raw_fd(), c"".as_ptr(), flags)
    })?;
    // SAFETY: the kernel just gave this fd to us alone.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as i32) })
}

#[repr(C)]
struct MountAttr {
    set: u64,
    clear: u64,
    propagation: u64,
    userns_fd: u64,
}

const ATTR_RDONLY: u64 = 1;
const ATTR_IDMAP: u64 = 0x10_0000;

/// Makes the mount behind `fd` read-only, with all below it when `recursive`. It
/// becomes private as well: what the host mounts below later would be writable.
///
/// Before Linux 5.12 each mount is remounted on its own; `fd` must be the root of
/// one that is attached here then.
pub fn make_read_only(fd: BorrowedFd<'_>, recursive: bool) -> io::Result<()> {
    match set_read_only(fd, recursive) {
        Err(err) if err.raw_os_error() == Some(libc::ENOSYS) => {
            make_read_only_classic(fd, recursive)
        }
        done => done,
    }
}

fn set_read_only(fd: BorrowedFd<'_>, recursive: bool) -> io::Result<()> {
    set_attributes(
        fd,
        recursive,
        &MountAttr {
            set: ATTR_RDONLY,
            clear: 0,
            propagation: libc::MS_PRIVATE,
            userns_fd: 0,
        },
    )
}

/// Shows the files below the detached mount `tree` with the ids that `userns`
/// maps theirs to, and stores what is made there the other way round (Linux 5.12,
/// and a file system that can: EINVAL).
pub fn idmap(tree: BorrowedFd<'_>, userns: BorrowedFd<'_>, recursive: bool) -> io::Result<()> {
    set_attributes(
        tree,
        recursive,
        &MountAttr {
            set: ATTR_IDMAP,
            clear: 0,
            propagation: 0,
            userns_fd: userns.as_raw_fd() as u64,
        },
    )
}

/// Whether the kernel has mount_setattr, asked by changing nothing.
pub fn knows_attributes() -> bool {
    let nothing = MountAttr {
        set: 0,
        clear: 0,
        propagation: 0,
        userns_fd: 0,
    };
    let asked = set_attributes(rustix::fs::CWD, false, &nothing);
    !matches!(asked, Err(err) if err.raw_os_error() == Some(libc::ENOSYS))
}

fn set_attributes(fd: BorrowedFd<'_>, recursive: bool, attr: &MountAttr) -> io::Result<()> {
    let mut flags = libc::AT_EMPTY_PATH;
    if recursive {
        flags |= libc::AT_RECURSIVE;
    }
    // SAFETY: pointer and size describe `attr`.
    check_long(unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            fd.as_raw_fd(),
            c"".as_ptr(),
            flags,
            std::ptr::from_ref(attr),
            size_of::<MountAttr>(),
        )
    })
    .map(drop)
}

/// Remounts the bind at `target` read-only, keeping the flags that are locked
/// on it (nosuid, nodev, noexec).
pub fn remount_read_only(target: &str) -> io::Result<()> {
    let stat = rustix::fs::statvfs(target)?;
    let locked = [
        (rustix::fs::StatVfsMountFlags::NOSUID, Flags::NOSUID),
        (rustix::fs::StatVfsMountFlags::NODEV, Flags::NODEV),
        (rustix::fs::StatVfsMountFlags::NOEXEC, Flags::NOEXEC),
    ];
    let mut flags = Flags::REMOUNT | Flags::BIND | Flags::RDONLY;
    for (bit, flag) in locked {
        if stat.f_flag.contains(bit) {
            flags = flags | flag;
        }
    }
    mount("", target, "", flags, "")
}

/// Binds `source`, `recursive` with all below it, onto `target`, read-only
/// throughout when asked. Both are fds, so no path is walked a second time.
///
/// Before Linux 5.12 by classic binds through `/proc/self/fd`; then each
/// mount below `source` is remounted on its own.
pub fn attach(
    source: BorrowedFd<'_>,
    target: BorrowedFd<'_>,
    recursive: bool,
    read_only: bool,
) -> io::Result<()> {
    let detached = clone_tree(source, recursive).and_then(|tree| {
        if read_only {
            set_read_only(tree.as_fd(), recursive)?;
        }
        Ok(tree)
    });
    match detached {
        Ok(tree) => move_tree(tree.as_fd(), target),
        Err(err) if err.raw_os_error() == Some(libc::ENOSYS) => {
            attach_classic(source, target, recursive, read_only)
        }
        Err(err) => Err(err),
    }
}

/// Attaches the detached mount `tree` at `target`, which may be of another mount
/// namespace than the one where `tree` was made (Linux 5.2).
pub fn move_tree(tree: BorrowedFd<'_>, target: BorrowedFd<'_>) -> io::Result<()> {
    const FROM_EMPTY_PATH: u32 = 0x4;
    const TO_EMPTY_PATH: u32 = 0x40;
    // SAFETY: two empty NUL-terminated texts and plain numbers.
    check_long(unsafe {
        libc::syscall(
            libc::SYS_move_mount,
            tree.as_raw_fd(),
            c"".as_ptr(),
            target.as_raw_fd(),
            c"".as_ptr(),
            FROM_EMPTY_PATH | TO_EMPTY_PATH,
        )
    })
    .map(drop)
}

fn attach_classic(
    source: BorrowedFd<'_>,
    target: BorrowedFd<'_>,
    recursive: bool,
    read_only: bool,
) -> io::Result<()> {
    let before = all_mounts()?;
    bind(by_fd(source), by_fd(target), recursive)?;
    if !read_only {
        return Ok(());
    }
    let mut new = all_mounts()?;
    new.retain(|mount| before.iter().all(|known| known.id != mount.id));
    if new.is_empty() {
        return Err(Errno::XDEV.into());
    }
    lock_each(&new)
}

fn make_read_only_classic(fd: BorrowedFd<'_>, recursive: bool) -> io::Result<()> {
    // The mount itself is at hand; mount(2) says EINVAL if this is not its root.
    lock_one(fd)?;
    if !recursive {
        return Ok(());
    }
    let MountOf::Id(top) = mount_of(fd)? else {
        return Err(Errno::NOSYS.into());
    };
    let all = all_mounts()?;
    lock_each(&below(&all, top))
}

/// These are reached by their names only, which somebody may exchange meanwhile. So
/// each is known by its id.
fn lock_each(mounts: &[Mount]) -> io::Result<()> {
    for mount in mounts {
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let there = rustix::fs::open(mount.point.as_str(), flags, Mode::empty())?;
        let MountOf::Id(found) = mount_of(there.as_fd())? else {
            return Err(Errno::NOSYS.into());
        };
        if mounts.iter().all(|mount| mount.id != found) {
            return Err(Errno::XDEV.into());
        }
        lock_one(there.as_fd())?;
    }
    Ok(())
}

fn lock_one(fd: BorrowedFd<'_>) -> io::Result<()> {
    let name = by_fd(fd);
    mount("", &name, "", Flags::PRIVATE, "")?;
    remount_read_only(&name)
}

fn by_fd(fd: BorrowedFd<'_>) -> String {
    format!("/proc/self/fd/{}", fd.as_raw_fd())
}

/// A line of `/proc/<pid>/mountinfo`.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Mount {
    id: u64,
    parent: u64,
    point: String,
}

fn all_mounts() -> io::Result<Vec<Mount>> {
    std::fs::read_to_string("/proc/self/mountinfo").map(|table| mounts(&table))
}

/// Each mount, from the text of `/proc/<pid>/mountinfo` (proc(5)), in its order.
fn mounts(table: &str) -> Vec<Mount> {
    table
        .lines()
        .filter_map(|line| {
            let mut fields = line.split(' ');
            Some(Mount {
                id: fields.next()?.parse().ok()?,
                parent: fields.next()?.parse().ok()?,
                point: String::from_utf8_lossy(&unescape(fields.nth(2)?.as_bytes())).into_owned(),
            })
        })
        .collect()
}

/// What is mounted below the mount `top`, at any depth. The table names a parent
/// before its children, but for mounts that were moved: so until nothing is new.
fn below(all: &[Mount], top: u64) -> Vec<Mount> {
    let mut known = vec![top];
    loop {
        let new: Vec<u64> = all
            .iter()
            .filter(|mount| known.contains(&mount.parent) && !known.contains(&mount.id))
            .map(|mount| mount.id)
            .collect();
        if new.is_empty() {
            break;
        }
        known.extend(new);
    }
    let found = all.iter().filter(|mount| mount.id != top);
    found
        .filter(|mount| known.contains(&mount.id))
        .cloned()
        .collect()
}

/// A path as the kernel writes it in its tables of mounts (proc(5)): blank, tab, newline and backslash are `\ooo` there.
pub fn unescape(field: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(field.len());
    let mut rest = field;
    while let [first, tail @ ..] = rest {
        match rest {
            [
                b'\\',
                a @ b'0'..=b'3',
                b @ b'0'..=b'7',
                c @ b'0'..=b'7',
                tail @ ..,
            ] => {
                out.push((a - b'0') * 64 + (b - b'0') * 8 + (c - b'0'));
                rest = tail;
            }
            _ => {
                out.push(*first);
                rest = tail;
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::{below, mounts};

    #[test]
    fn mount_points_have_their_ids_and_are_unescaped() {
        let table = "1 0 8:1 / / rw - ext4 x rw\n2 1 0:1 / /a rw - tmpfs x rw\n\
                     3 2 0:1 / /a/b\\040c rw - tmpfs x rw\nnonsense\n";
        let found: Vec<_> = mounts(table)
            .into_iter()
            .map(|mount| (mount.id, mount.parent, mount.point))
            .collect();
        let expected = [(1, 0, "/"), (2, 1, "/a"), (3, 2, "/a/b c")]
            .map(|(id, parent, point)| (id, parent, point.to_string()));
        assert_eq!(found, expected);
    }

    #[test]
    fn what_is_below_a_mount_is_found_in_any_order() {
        let table = "1 1 8:1 / / rw - x x rw\n5 4 8:1 / /a/b/c rw - x x rw\n2 1 8:1 / /a rw - x x rw\n\
                     4 2 8:1 / /a/b rw - x x rw\n3 1 8:1 / /other rw - x x rw\n";
        let all = mounts(table);
        let ids = |top| -> Vec<u64> { below(&all, top).iter().map(|mount| mount.id).collect() };
        assert_eq!(ids(2), [5, 4]);
        assert_eq!(ids(3), []);
        assert_eq!(ids(1), [5, 2, 4, 3]);
    }
}
