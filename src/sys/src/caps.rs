//! Capability sets as bit masks: bit N is capability N.

use crate::check_long;
use std::io;

#[repr(C)]
struct Header {
    version: u32,
    pid: i32,
}

#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Data {
    effective: u32,
    permitted: u32,
    inheritable: u32,
}

const VERSION_3: u32 = 0x2008_0522;

/// CAP_SYS_PTRACE's number.
pub const SYS_PTRACE: u32 = 19;

/// CAP_SYS_ADMIN's number.
pub const SYS_ADMIN: u32 = 21;

/// The permitted set of this process.
pub fn permitted() -> io::Result<u64> {
    let mut header = Header {
        version: VERSION_3,
        pid: 0,
    };
    let mut data = [Data::default(); 2];
    // SAFETY: version 3 fills exactly two data records.
    check_long(unsafe { libc::syscall(libc::SYS_capget, &raw mut header, data.as_mut_ptr()) })?;
    Ok(u64::from(data[0].permitted) | u64::from(data[1].permitted) << 32)
}

/// Makes permitted and effective exactly `set`, inheritable (and so ambient)
/// empty: a non-empty one hands capabilities to non-root programs
/// (CVE-2022-24769).
pub fn set(set: u64) -> io::Result<()> {
    set_apart(set, set)
}

/// The same with an effective set of its own: what is only permitted opens
/// nothing, but exec may still give it.
pub fn set_apart(effective: u64, permitted: u64) -> io::Result<()> {
    let header = Header {
        version: VERSION_3,
        pid: 0,
    };
    let half = |shift: u32| Data {
        effective: (effective >> shift) as u32,
        permitted: (permitted >> shift) as u32,
        inheritable: 0,
    };
    let data = [half(0), half(32)];
    // SAFETY: version 3 reads exactly two data records.
    check_long(unsafe { libc::syscall(libc::SYS_capset, &raw const header, data.as_ptr()) })
        .map(drop)
}

/// Removes everything outside `keep` from the bounding set, also the numbers
/// that this kernel knows and we do not.
pub fn bound(keep: u64) -> io::Result<()> {
    for cap in 0..64u32 {
        if keep >> cap & 1 == 1 {
            continue;
        }
        // SAFETY: no memory is involved.
        let result = unsafe {
            libc::prctl(
                libc::PR_CAPBSET_DROP,
                cap as libc::c_ulong,
                0 as libc::c_ulong,
                0 as libc::c_ulong,
                0 as libc::c_ulong,
            )
        };
        if result < 0 {
            let err = io::Error::last_os_error();
            // EINVAL: beyond the kernel's last capability, so the rest is too.
            if err.raw_os_error() == Some(libc::EINVAL) {
                break;
            }
            return Err(err);
        }
    }
    Ok(())
}
