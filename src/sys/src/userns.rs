//! User namespaces: id maps as data, written for a child, read of ourselves.
//!
//! A namespace other than the first one bounds what root in it can do: no device
//! nodes, no `trusted.` attributes, no file systems but some. Whoever has to act
//! differently there asks [`confined`].

use crate::clone::{Forked, Namespaces, fork_into};
use crate::{process, signal};
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;

/// `count` ids from `inside` on are those from `outside` on in the parent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IdRange {
    pub inside: u32,
    pub outside: u32,
    pub count: u32,
}

/// Which ids a user namespace has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IdMap(pub Vec<IdRange>);

impl IdMap {
    /// Ids from 0 on, in one piece.
    pub fn from_zero(outside: u32, count: u32) -> IdMap {
        IdMap(vec![IdRange {
            inside: 0,
            outside,
            count,
        }])
    }

    /// The text of `/proc/<pid>/uid_map`; lines that are not of this form are left out.
    pub fn parse(text: &str) -> IdMap {
        let range = |line: &str| {
            let mut fields = line.split_whitespace().map(str::parse);
            let mut next = || fields.next()?.ok();
            Some(IdRange {
                inside: next()?,
                outside: next()?,
                count: next()?,
            })
        };
        IdMap(text.lines().filter_map(range).collect())
    }

    /// As the kernel wants it written: all at once.
    pub fn text(&self) -> String {
        self.0
            .iter()
            .map(|range| format!("{} {} {}\n", range.inside, range.outside, range.count))
            .collect()
    }

    /// Whether `id` exists inside.
    pub fn holds(&self, id: u32) -> bool {
        self.0
            .iter()
            .any(|range| id >= range.inside && id - range.inside < range.count)
    }

    /// How many ids there are inside.
    pub fn len(&self) -> u64 {
        self.0.iter().map(|range| u64::from(range.count)).sum()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The first namespace's own map: every id is itself.
    pub fn is_identity(&self) -> bool {
        matches!(
            self.0[..],
            [IdRange {
                inside: 0,
                outside: 0,
                count: u32::MAX
            }]
        )
    }
}

/// The uids of the namespace that this process is in. Without user namespaces in
/// the kernel there is no such file, and all of them.
pub fn own_uids() -> IdMap {
    own("/proc/self/uid_map")
}

/// The same for gids.
pub fn own_gids() -> IdMap {
    own("/proc/self/gid_map")
}

fn own(path: &str) -> IdMap {
    match std::fs::read_to_string(path) {
        Ok(text) => IdMap::parse(&text),
        Err(_) => IdMap::from_zero(0, u32::MAX),
    }
}

/// Is this process in a user namespace that is not the first one?
pub fn confined() -> bool {
    !own_uids().is_identity()
}

/// May this process give files to any uid and gid that images have? Not in a
/// namespace with one id only.
pub fn can_give_files_away() -> bool {
    rustix::process::geteuid().is_root() && own_uids().len() > 1 && own_gids().len() > 1
}

/// Gives a child that was made with [`Namespaces::USER`] its ids. Needs CAP_SETUID
/// and CAP_SETGID over the parent namespace.
pub fn write_maps(pid: i32, uids: &IdMap, gids: &IdMap) -> io::Result<()> {
    std::fs::write(format!("/proc/{pid}/uid_map"), uids.text())?;
    std::fs::write(format!("/proc/{pid}/gid_map"), gids.text())
}

/// Maps 0 in this process' own fresh namespace to one uid and gid of the parent's,
/// its own: all that a process without privileges may do for itself. The price is
/// that nobody in there can ever change supplementary groups (Linux 3.19).
pub fn map_to_zero(uid: u32, gid: u32) -> io::Result<()> {
    match std::fs::write("/proc/self/setgroups", "deny") {
        Err(err) if err.kind() != io::ErrorKind::NotFound => return Err(err),
        _ => {}
    }
    std::fs::write("/proc/self/gid_map", IdMap::from_zero(gid, 1).text())?;
    std::fs::write("/proc/self/uid_map", IdMap::from_zero(uid, 1).text())
}

/// May groups be changed in this namespace?
pub fn can_set_groups() -> bool {
    match std::fs::read_to_string("/proc/self/setgroups") {
        Ok(text) => text.trim() != "deny",
        Err(_) => true,
    }
}

/// Becomes uid and gid 0 of this namespace; supplementary groups stay.
pub fn become_zero() -> io::Result<()> {
    // Raw calls, as in `creds`: there is one thread.
    // SAFETY: no memory is involved.
    crate::check_long(unsafe { libc::syscall(libc::SYS_setresgid, 0, 0, 0) })?;
    // SAFETY: no memory is involved.
    crate::check_long(unsafe { libc::syscall(libc::SYS_setresuid, 0, 0, 0) }).map(drop)
}

/// A user namespace with these ids and nobody in it, for `mount::idmap`.
pub fn empty(uids: &IdMap, gids: &IdMap) -> io::Result<OwnedFd> {
    // The child has to live until its namespace is open, and ends with the pipe.
    let (reader, writer) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
    match fork_into(Namespaces::USER, None)? {
        Forked::Child => {
            drop(writer);
            let _ = rustix::io::read(&reader, &mut [0; 1]);
            process::exit_now(0)
        }
        Forked::Parent(pid) => {
            drop(reader);
            let made = write_maps(pid, uids, gids)
                .and_then(|()| File::open(format!("/proc/{pid}/ns/user")));
            drop(writer);
            if made.is_err() {
                let _ = signal::send(pid, signal::KILL);
            }
            process::wait(pid)?;
            made.map(OwnedFd::from)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn maps_are_read_as_they_are_written() {
        let text = "         0       1000          1\n         1     100000      65536\n";
        let map = IdMap::parse(text);
        assert_eq!(map.text(), "0 1000 1\n1 100000 65536\n");
        assert_eq!(IdMap::parse(&map.text()), map);
        assert_eq!(map.len(), 65537);
        assert!(map.holds(0) && map.holds(65536) && !map.holds(65537));
        assert!(!map.is_identity());
        assert!(IdMap::parse("0 0 4294967295\n").is_identity());
        assert!(IdMap::parse("nonsense\n1 2\n").is_empty());
    }
}
