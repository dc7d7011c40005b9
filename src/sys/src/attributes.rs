//! What a file is besides its content: owner, mode, extended attributes, times.
//!
//! They are set in this order, because a change of owner clears setuid bits and
//! file capabilities. What a process may set at all ([`Rights`]) depends on its
//! user namespace: only root can give files away, and only to ids that exist in
//! there; `trusted.` attributes and most of `security.` are for the first one.
//!
//! Two attributes hold ids: file capabilities and ACLs. The kernel translates
//! them to and from the namespace of whoever asks, but knows nothing of a copy
//! that is made for another one.

use crate::userns;
use rustix::fs::{Gid, Mode, Stat, Timespec, Timestamps, Uid, XattrFlags};
use rustix::io::Errno;
use std::ffi::CString;
use std::io;
use std::os::fd::BorrowedFd;

/// `security.capability`, which `setcap` sets.
pub const CAPABILITY: &[u8] = b"security.capability";
const ACLS: [&[u8]; 2] = [b"system.posix_acl_access", b"system.posix_acl_default"];

/// What this process may set on files. Asked once for many of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rights {
    /// Files can be given to other users.
    pub owners: bool,
    /// Root, if only in a user namespace.
    pub root: bool,
    /// In a user namespace that is not the first one.
    pub confined: bool,
}

impl Rights {
    pub fn own() -> Rights {
        let root = rustix::process::geteuid().is_root();
        Rights {
            root,
            owners: root && userns::can_give_files_away(),
            confined: userns::confined(),
        }
    }

    /// The owner to set; `None` leaves the maker of the file in place.
    pub(crate) fn owner(self, uid: u32, gid: u32) -> Option<(Uid, Gid)> {
        self.owners
            .then(|| (Uid::from_raw(uid), Gid::from_raw(gid)))
    }

    fn may_set(self, name: &[u8]) -> bool {
        // Labels are the policy's to give, by path and by pod.
        if name == b"security.selinux" {
            return false;
        }
        let privileged = name.starts_with(b"security.") || name.starts_with(b"trusted.");
        !privileged || self.root && (!self.confined || name == CAPABILITY)
    }
}

/// `count` ids from 0 on become those from `first` on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Shift {
    pub first: u32,
    pub count: u32,
}

impl Shift {
    pub(crate) fn of(self, id: u32) -> Option<u32> {
        Some(id)
            .filter(|id| *id < self.count)
            .and_then(|id| id.checked_add(self.first))
    }
}

pub(crate) fn mode(stat: &Stat) -> Mode {
    Mode::from_raw_mode(stat.st_mode & 0o7777)
}

pub(crate) fn times(stat: &Stat) -> Timestamps {
    let time = |seconds, nanoseconds| Timespec {
        tv_sec: seconds,
        tv_nsec: nanoseconds,
    };
    Timestamps {
        last_access: time(stat.st_atime, stat.st_atime_nsec as _),
        last_modification: time(stat.st_mtime, stat.st_mtime_nsec as _),
    }
}

/// Everything from one open directory to another, the owner as it is.
pub fn copy_dir(from: BorrowedFd<'_>, to: BorrowedFd<'_>, rights: Rights) -> io::Result<()> {
    let stat = rustix::fs::fstat(from)?;
    let owner = rights.owner(stat.st_uid, stat.st_gid);
    copy_all(from, to, &stat, owner, rights, None)
}

/// Everything from one open regular file or directory, whose `stat` is known, to
/// another. `shift` is for the ids in attributes.
pub(crate) fn copy_all(
    from: BorrowedFd<'_>,
    to: BorrowedFd<'_>,
    stat: &Stat,
    owner: Option<(Uid, Gid)>,
    rights: Rights,
    shift: Option<Shift>,
) -> io::Result<()> {
    if let Some((uid, gid)) = owner {
        rustix::fs::fchown(to, Some(uid), Some(gid))?;
    }
    rustix::fs::fchmod(to, mode(stat))?;
    copy_xattrs(from, to, rights, shift)?;
    Ok(rustix::fs::futimens(to, &times(stat))?)
}

fn copy_xattrs(
    from: BorrowedFd<'_>,
    to: BorrowedFd<'_>,
    rights: Rights,
    shift: Option<Shift>,
) -> io::Result<()> {
    for name in xattr_names(from)? {
        if !rights.may_set(name.as_bytes()) {
            continue;
        }
        let value = grown(|buffer| rustix::fs::fgetxattr(from, &name, buffer))?;
        let Some(value) = adapted(name.as_bytes(), value, shift) else {
            continue;
        };
        match rustix::fs::fsetxattr(to, &name, &value, XattrFlags::empty()) {
            // The target's file system has none, as with `cp -a`.
            Ok(()) | Err(Errno::OPNOTSUPP) => {}
            Err(err) => return Err(err.into()),
        }
    }
    Ok(())
}

/// The value for the copy; `None` where it names an id that the copy cannot have.
fn adapted(name: &[u8], value: Vec<u8>, shift: Option<Shift>) -> Option<Vec<u8>> {
    let is_acl = ACLS.contains(&name);
    match shift {
        Some(shift) if name == CAPABILITY => capability_of_root(&value, |root| shift.of(root)),
        Some(shift) if is_acl => moved_acl(value, |id| shift.of(id)),
        // The kernel shows an id that this namespace lacks like this, and
        // refuses to set it.
        None if is_acl => moved_acl(value, |id| Some(id).filter(|id| *id != u32::MAX)),
        _ => Some(value),
    }
}

const REVISION: u32 = 0xff00_0000;
const REVISION_2: u32 = 0x0200_0000;
const REVISION_3: u32 = 0x0300_0000;
const BYTES_2: usize = 20;
const BYTES_3: usize = 24;

/// File capabilities (`struct vfs_ns_cap_data`) as they count for another root:
/// `moved` of the uid whose namespaces they count in, 0 where the value names
/// none. `None`: it has none, or the value is of another form.
pub fn capability_of_root(value: &[u8], moved: impl Fn(u32) -> Option<u32>) -> Option<Vec<u8>> {
    let word = |at: usize| Some(u32::from_le_bytes(value.get(at..at + 4)?.try_into().ok()?));
    let magic = word(0)?;
    let root = match (magic & REVISION, value.len()) {
        (REVISION_2, BYTES_2) => 0,
        (REVISION_3, BYTES_3) => word(BYTES_2)?,
        _ => return None,
    };
    let root = moved(root)?;
    let mut made = value[..BYTES_2].to_vec();
    let revision = if root == 0 { REVISION_2 } else { REVISION_3 };
    made[..4].copy_from_slice(&(magic & !REVISION | revision).to_le_bytes());
    if root != 0 {
        made.extend(root.to_le_bytes());
    }
    Some(made)
}

/// An ACL (`struct posix_acl_xattr_header`: a version, then entries of tag,
/// permissions and id) with other ids for its named users and groups.
fn moved_acl(mut value: Vec<u8>, moved: impl Fn(u32) -> Option<u32>) -> Option<Vec<u8>> {
    const NAMED: [u16; 2] = [0x02, 0x08];
    for entry in value.get_mut(4..)?.chunks_exact_mut(8) {
        let (tag, id) = entry.split_at_mut(4);
        let tag = u16::from_le_bytes([tag[0], tag[1]]);
        if NAMED.contains(&tag) {
            let old = u32::from_le_bytes(id.try_into().ok()?);
            id.copy_from_slice(&moved(old)?.to_le_bytes());
        }
    }
    Some(value)
}

fn xattr_names(of: BorrowedFd<'_>) -> io::Result<Vec<CString>> {
    let list = match grown(|buffer| rustix::fs::flistxattr(of, buffer)) {
        Err(Errno::OPNOTSUPP) => return Ok(Vec::new()),
        list => list?,
    };
    let names = list
        .split(|&byte| byte == 0)
        .filter(|name| !name.is_empty());
    Ok(names.filter_map(|name| CString::new(name).ok()).collect())
}

/// Reads a value whose length may change between asking and reading. The kernel
/// bounds it to 64 KiB.
fn grown(read: impl Fn(&mut [u8]) -> Result<usize, Errno>) -> Result<Vec<u8>, Errno> {
    let mut buffer = vec![0; 256];
    loop {
        match read(&mut buffer) {
            Ok(length) => {
                buffer.truncate(length);
                return Ok(buffer);
            }
            Err(Errno::RANGE) if buffer.len() < 128 << 10 => buffer.resize(buffer.len() * 4, 0),
            Err(err) => return Err(err),
        }
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn words(words: &[u32]) -> Vec<u8> {
        words.iter().flat_map(|word| word.to_le_bytes()).collect()
    }

    #[test]
    fn capabilities_move_to_another_root_and_back() {
        let plain = words(&[REVISION_2 | 1, 0x400, 0, 0, 0]);
        let shifted = words(&[REVISION_3 | 1, 0x400, 0, 0, 0, 65536]);
        let there = |root: u32| root.checked_add(65536);
        let back = |root: u32| root.checked_sub(65536);
        assert_eq!(capability_of_root(&plain, there).unwrap(), shifted);
        assert_eq!(capability_of_root(&shifted, back).unwrap(), plain);
        assert_eq!(capability_of_root(&plain, back), None);
        for odd in [&b""[..], &plain[..12], &words(&[REVISION_3, 0, 0, 0, 0])] {
            assert_eq!(capability_of_root(odd, Some), None);
        }
    }

    #[test]
    fn the_named_ids_of_an_acl_move_and_no_others() {
        let acl = |user: u32| words(&[2, 0x0007_0001, u32::MAX, 0x0006_0002, user, 5, 9]);
        let shift = Shift {
            first: 65536,
            count: 100,
        };
        let moved = |user| moved_acl(acl(user), |id| shift.of(id));
        assert_eq!(moved(3), Some(acl(65539)));
        assert_eq!(moved(100), None);
        assert_eq!(moved_acl(vec![2], Some), None);
    }
}
