//! Loading a classic BPF program as this process' system call filter.

use crate::check_long;
use std::io;

/// One instruction, laid out as the kernel's `struct sock_filter`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Insn {
    pub code: u16,
    pub jt: u8,
    pub jf: u8,
    pub k: u32,
}

#[repr(C)]
struct Program {
    len: u16,
    filter: *const Insn,
}

/// Loads `program`. Needs no-new-privs or CAP_SYS_ADMIN; there is no way back.
pub fn load(program: &[Insn]) -> io::Result<()> {
    let len =
        u16::try_from(program.len()).map_err(|_| io::Error::from_raw_os_error(libc::E2BIG))?;
    let prog = Program {
        len,
        filter: program.as_ptr(),
    };
    // SAFETY: `prog` and the instructions it points to live through the call;
    // the kernel copies and verifies them.
    let result = unsafe {
        libc::syscall(
            libc::SYS_seccomp,
            libc::SECCOMP_SET_MODE_FILTER,
            0,
            &raw const prog,
        )
    };
    match check_long(result) {
        Err(err) if err.raw_os_error() == Some(libc::ENOSYS) => {
            // seccomp(2) came with Linux 3.17; prctl is its elder.
            // SAFETY: as above.
            crate::check(unsafe {
                libc::prctl(
                    libc::PR_SET_SECCOMP,
                    libc::SECCOMP_MODE_FILTER as libc::c_ulong,
                    &raw const prog,
                )
            })
            .map(drop)
        }
        other => other.map(drop),
    }
}
