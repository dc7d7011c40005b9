//! Safe verbs over the Linux kernel: processes, namespaces, mounts,
//! credentials, filters, terminals.
//!
//! The only crate that may say `unsafe`, and one that knows no word of rkt.
//! Every verb takes and returns owned or borrowed fds and plain values, sets
//! CLOEXEC, and returns `io::Error` with the kernel's errno (a copy says
//! the path, too). Where a call is younger than Linux 4.4, the classic way stands
//! beside it.

#[cfg(feature = "attempt")]
pub mod ask;
#[cfg(feature = "attempt")]
pub mod attempt;
pub mod attributes;
pub mod bpf;
pub mod caps;
pub mod clone;
pub mod copy;
pub mod creds;
pub mod datagram;
pub mod exe;
pub mod fs;
pub mod lsm;
pub mod mount;
pub mod net;
pub mod ns;
pub mod packet;
pub mod process;
pub mod procfs;
pub mod scm;
pub mod seccomp;
pub mod signal;
pub mod sockopt;
mod streams;
pub mod time;
pub mod tty;
pub mod userns;

use std::io;

/// Turns the kernel's -1 into the errno.
pub(crate) fn check(result: libc::c_int) -> io::Result<libc::c_int> {
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(result)
    }
}

pub(crate) fn check_long(result: libc::c_long) -> io::Result<libc::c_long> {
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(result)
    }
}

/// A path for the kernel; a NUL inside is the caller's bad input.
pub(crate) fn cstring(text: impl AsRef<std::ffi::OsStr>) -> io::Result<std::ffi::CString> {
    use std::os::unix::ffi::OsStrExt;
    std::ffi::CString::new(text.as_ref().as_bytes())
        .map_err(|_| io::Error::from_raw_os_error(libc::EINVAL))
}
