//! Device filters of cgroup v2: a small extended BPF program is loaded and
//! attached to a cgroup directory.
//!
//! The kernel asks the program on each `open` and `mknod` of a device node made
//! by a process of that cgroup or of one below; every program on the way up
//! must agree. Linux 4.15 and later, built with CONFIG_CGROUP_BPF.

use crate::check_long;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

/// One instruction, laid out as the kernel's `struct bpf_insn`: the low half of
/// `registers` is the destination, the high half the source.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Insn {
    pub code: u8,
    pub registers: u8,
    pub offset: i16,
    pub immediate: i32,
}

const PROG_LOAD: libc::c_int = 5;
const PROG_ATTACH: libc::c_int = 8;
const PROG_QUERY: libc::c_int = 16;
const PROG_TYPE_CGROUP_DEVICE: u32 = 15;
const ATTACH_CGROUP_DEVICE: u32 = 6;
/// Programs of ancestors and of others (systemd) stay in force beside ours.
const ALLOW_MULTI: u32 = 2;

/// The head of `union bpf_attr` for loading; what follows it is zero, which
/// every kernel takes as absent.
#[repr(C)]
struct Load {
    kind: u32,
    count: u32,
    instructions: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log_buffer: u64,
    kernel_version: u32,
    flags: u32,
}

#[repr(C)]
struct Attach {
    target: u32,
    program: u32,
    kind: u32,
    flags: u32,
}

/// For a count alone; the kernel writes into the last field.
#[repr(C)]
struct Query {
    target: u32,
    kind: u32,
    query_flags: u32,
    attach_flags: u32,
    programs: u64,
    count: u32,
    reserved: u32,
}

/// Has the kernel verify `program` as a device filter. ENOSYS, EINVAL: this
/// kernel has none; EPERM: no CAP_SYS_ADMIN or CAP_BPF (or a user namespace).
pub fn load_device_filter(program: &[Insn]) -> io::Result<OwnedFd> {
    let count =
        u32::try_from(program.len()).map_err(|_| io::Error::from_raw_os_error(libc::E2BIG))?;
    let license = c"Apache-2.0";
    let attr = Load {
        kind: PROG_TYPE_CGROUP_DEVICE,
        count,
        instructions: program.as_ptr() as u64,
        license: license.as_ptr() as u64,
        log_level: 0,
        log_size: 0,
        log_buffer: 0,
        kernel_version: 0,
        flags: 0,
    };
    // SAFETY: the attribute, the instructions and the license text outlive the
    // call, and the size given is the attribute's own.
    let fd = check_long(unsafe {
        libc::syscall(
            libc::SYS_bpf,
            PROG_LOAD,
            &raw const attr,
            size_of::<Load>() as libc::c_uint,
        )
    })?;
    // SAFETY: the kernel just made this descriptor for us (close-on-exec, as
    // all of bpf's are) and nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as libc::c_int) })
}

/// Puts `program` in force for `cgroup` and all below it. It goes with the
/// cgroup; the descriptor may be closed at once.
pub fn attach_device_filter(cgroup: BorrowedFd<'_>, program: BorrowedFd<'_>) -> io::Result<()> {
    let attr = Attach {
        target: cgroup.as_raw_fd() as u32,
        program: program.as_raw_fd() as u32,
        kind: ATTACH_CGROUP_DEVICE,
        flags: ALLOW_MULTI,
    };
    // SAFETY: the attribute outlives the call and its size is its own; both
    // descriptors are borrowed, so they are open.
    check_long(unsafe {
        libc::syscall(
            libc::SYS_bpf,
            PROG_ATTACH,
            &raw const attr,
            size_of::<Attach>() as libc::c_uint,
        )
    })
    .map(drop)
}

/// How many device filters are attached to `cgroup` itself. EPERM: no
/// CAP_NET_ADMIN over the first user namespace; EINVAL: no such filters.
pub fn device_filters(cgroup: BorrowedFd<'_>) -> io::Result<u32> {
    let mut attr = Query {
        target: cgroup.as_raw_fd() as u32,
        kind: ATTACH_CGROUP_DEVICE,
        query_flags: 0,
        attach_flags: 0,
        programs: 0,
        count: 0,
        reserved: 0,
    };
    // SAFETY: the attribute is ours to be written, its size is its own, and no
    // list of programs is asked for.
    check_long(unsafe {
        libc::syscall(
            libc::SYS_bpf,
            PROG_QUERY,
            &raw mut attr,
            size_of::<Query>() as libc::c_uint,
        )
    })?;
    Ok(attr.count)
}
