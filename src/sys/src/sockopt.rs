//! The legacy packet filter's tables, which are read and replaced by options of
//! a raw socket (`ip_tables`, `ip6_tables`): `[gs]etsockopt(2)` with raw buffers.
//!
//! In: a table's name and bytes; out: its bytes and counters. The structures
//! are the native ones of this build: the kernel expects a 32-bit program's
//! layout of a 32-bit program. What the bytes of a table mean is the caller's.
//!
//! Safe because only this file fills the fields that hold lengths and pointers.

use crate::check;
use std::io;
use std::mem::{align_of, size_of};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    V4,
    V6,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extension {
    Match,
    Target,
}

/// What the kernel tells of a table besides its entries, and is told again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Info {
    /// A bit for each hook that the table is called from.
    pub valid_hooks: u32,
    /// Per hook the offset of the first entry, and of the policy.
    pub hook_entry: [u32; 5],
    pub underflow: [u32; 5],
    pub num_entries: u32,
    /// Bytes of all entries.
    pub size: u32,
}

/// Packets and bytes.
pub type Counters = [u64; 2];

/// `struct ipt_getinfo`, and `ip6t_getinfo`, which is the same.
#[repr(C)]
struct GetInfo {
    name: [u8; 32],
    valid_hooks: u32,
    hook_entry: [u32; 5],
    underflow: [u32; 5],
    num_entries: u32,
    size: u32,
}

/// `struct ipt_replace` without the entries that follow.
#[repr(C)]
struct Replace {
    name: [u8; 32],
    valid_hooks: u32,
    num_entries: u32,
    size: u32,
    hook_entry: [u32; 5],
    underflow: [u32; 5],
    num_counters: u32,
    counters: *mut Counters,
    entries: [Counters; 0],
}

const SET_REPLACE: libc::c_int = 64;
const SET_ADD_COUNTERS: libc::c_int = 65;
const GET_INFO: libc::c_int = 64;
const GET_ENTRIES: libc::c_int = 65;

/// What stands before the entries or counters: a name and a number.
const NAMED: usize = (32 + 4usize).next_multiple_of(align_of::<u64>());

/// The tables of one address family in one network namespace.
#[derive(Debug)]
pub struct XTables {
    socket: OwnedFd,
    family: Family,
}

impl XTables {
    /// Of the current network namespace. Wants CAP_NET_RAW, the calls CAP_NET_ADMIN.
    pub fn open(family: Family) -> io::Result<XTables> {
        let domain = match family {
            Family::V4 => libc::AF_INET,
            Family::V6 => libc::AF_INET6,
        };
        let kind = libc::SOCK_RAW | libc::SOCK_CLOEXEC;
        // SAFETY: creates an fd.
        let fd = check(unsafe { libc::socket(domain, kind, libc::IPPROTO_RAW) })?;
        // SAFETY: the kernel just gave this fd to us alone.
        let socket = unsafe { OwnedFd::from_raw_fd(fd) };
        Ok(XTables { socket, family })
    }

    pub fn family(&self) -> Family {
        self.family
    }

    /// Makes the table in this namespace if the kernel has it. ENOPROTOOPT: no
    /// `ip_tables` in this kernel; ENOENT: no such table.
    pub fn info(&self, table: &str) -> io::Result<Info> {
        let mut buffer = [0; size_of::<GetInfo>()];
        buffer[..32].copy_from_slice(&name(table)?);
        self.get(GET_INFO, &mut buffer)?;
        // SAFETY: the buffer has the size of GetInfo, for which all bits are valid.
        let info: GetInfo = unsafe { std::ptr::read_unaligned(buffer.as_ptr().cast()) };
        Ok(Info {
            valid_hooks: info.valid_hooks,
            hook_entry: info.hook_entry,
            underflow: info.underflow,
            num_entries: info.num_entries,
            size: info.size,
        })
    }

    /// The entries with their counters. EAGAIN: they are not of this size any more.
    pub fn entries(&self, table: &str, size: u32) -> io::Result<Vec<u8>> {
        let mut buffer = vec![0; NAMED + size as usize];
        buffer[..32].copy_from_slice(&name(table)?);
        buffer[32..36].copy_from_slice(&size.to_ne_bytes());
        self.get(GET_ENTRIES, &mut buffer)?;
        Ok(buffer.split_off(NAMED))
    }

    /// Puts a whole new table in the place of one that has `old` entries, and
    /// returns the old entries' counters; the new ones start at zero. EAGAIN: the
    /// table has another number of entries by now.
    pub fn replace(
        &self,
        table: &str,
        new: &Info,
        entries: &[u8],
        old: u32,
    ) -> io::Result<Vec<Counters>> {
        if new.size as usize != entries.len() {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let mut counters: Vec<Counters> = vec![[0; 2]; old as usize];
        let head = Replace {
            name: name(table)?,
            valid_hooks: new.valid_hooks,
            num_entries: new.num_entries,
            size: new.size,
            hook_entry: new.hook_entry,
            underflow: new.underflow,
            num_counters: old,
            counters: counters.as_mut_ptr(),
            entries: [],
        };
        let mut request = vec![0; size_of::<Replace>()];
        // SAFETY: the buffer has the size of Replace; no field needs to be dropped.
        unsafe { std::ptr::write_unaligned(request.as_mut_ptr().cast(), head) };
        request.extend_from_slice(entries);
        // Reads `size` bytes of entries, which are there, and writes `old`
        // counters behind the pointer, for which there is room.
        self.set(SET_REPLACE, &request)?;
        Ok(counters)
    }

    /// Adds to the counters of all entries, in their order.
    pub fn add_counters(&self, table: &str, counters: &[Counters]) -> io::Result<()> {
        let count = u32::try_from(counters.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
        let mut request = vec![0; NAMED];
        request[..32].copy_from_slice(&name(table)?);
        request[32..36].copy_from_slice(&count.to_ne_bytes());
        for value in counters.iter().flatten() {
            request.extend_from_slice(&value.to_ne_bytes());
        }
        self.set(SET_ADD_COUNTERS, &request)
    }

    /// Whether the kernel knows this revision of a match or target; has it load
    /// the module.
    pub fn knows(&self, kind: Extension, extension: &str, revision: u8) -> bool {
        let option = match (self.family, kind) {
            (Family::V4, Extension::Match) => 66,
            (Family::V4, Extension::Target) => 67,
            (Family::V6, Extension::Match) => 68,
            (Family::V6, Extension::Target) => 69,
        };
        let mut buffer = [0; 30];
        if extension.len() >= 29 {
            return false;
        }
        buffer[..extension.len()].copy_from_slice(extension.as_bytes());
        buffer[29] = revision;
        self.get(option, &mut buffer).is_ok()
    }

    fn level(&self) -> libc::c_int {
        match self.family {
            Family::V4 => libc::IPPROTO_IP,
            Family::V6 => libc::IPPROTO_IPV6,
        }
    }

    /// Private: other options take pointers inside their value.
    fn get(&self, option: libc::c_int, value: &mut [u8]) -> io::Result<()> {
        let mut len = length(value)?;
        // SAFETY: pointer and length describe `value`, and none of the options
        // that are asked here writes anywhere else.
        check(unsafe {
            libc::getsockopt(
                self.socket.as_raw_fd(),
                self.level(),
                option,
                value.as_mut_ptr().cast(),
                &raw mut len,
            )
        })
        .map(drop)
    }

    fn set(&self, option: libc::c_int, value: &[u8]) -> io::Result<()> {
        let len = length(value)?;
        // SAFETY: pointer and length describe `value`; the one option that
        // writes does so as its caller explains.
        check(unsafe {
            libc::setsockopt(
                self.socket.as_raw_fd(),
                self.level(),
                option,
                value.as_ptr().cast(),
                len,
            )
        })
        .map(drop)
    }
}

/// The kernel takes an `int`.
fn length(value: &[u8]) -> io::Result<libc::socklen_t> {
    match i32::try_from(value.len()) {
        Ok(len) => Ok(len as libc::socklen_t),
        Err(_) => Err(io::ErrorKind::InvalidInput.into()),
    }
}

fn name(table: &str) -> io::Result<[u8; 32]> {
    let mut name = [0; 32];
    if table.is_empty() || table.len() >= name.len() {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    name[..table.len()].copy_from_slice(table.as_bytes());
    Ok(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn structures_have_the_kernels_sizes() {
        assert_eq!(size_of::<GetInfo>(), 84);
        if cfg!(target_pointer_width = "64") {
            assert_eq!(std::mem::offset_of!(Replace, counters), 88);
            assert_eq!(size_of::<Replace>(), 96);
            assert_eq!(NAMED, 40);
        }
    }

    #[test]
    fn names_are_bounded() {
        assert!(name("").is_err() && name(&"x".repeat(32)).is_err());
        assert_eq!(name("nat").map(|name| name[2]).ok(), Some(b't'));
    }
}
