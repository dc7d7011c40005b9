//! Who a process is: uids, gids, groups, and what it may become.

use crate::check;
use std::io;

/// Sets real, effective and saved gid, and exactly these supplementary groups.
pub fn set_groups(gid: u32, groups: &[u32]) -> io::Result<()> {
    // Raw calls: libc's wrappers would signal every thread, and there is one.
    // SAFETY: the pointer and length describe `groups`; gid_t is u32.
    crate::check_long(unsafe {
        libc::syscall(libc::SYS_setgroups, groups.len(), groups.as_ptr())
    })?;
    // SAFETY: no memory is involved.
    crate::check_long(unsafe { libc::syscall(libc::SYS_setresgid, gid, gid, gid) }).map(drop)
}

/// Sets real, effective and saved gid alone, where groups cannot be set.
pub fn set_gid(gid: u32) -> io::Result<()> {
    // SAFETY: no memory is involved.
    crate::check_long(unsafe { libc::syscall(libc::SYS_setresgid, gid, gid, gid) }).map(drop)
}

/// Sets real, effective and saved uid.
pub fn set_user(uid: u32) -> io::Result<()> {
    // SAFETY: no memory is involved.
    crate::check_long(unsafe { libc::syscall(libc::SYS_setresuid, uid, uid, uid) }).map(drop)
}

/// Does `work` as if files were made and judged for this uid and gid, with all
/// capabilities kept, then goes back to those of this process.
pub fn with_fs_ids<T>(uid: u32, gid: u32, work: impl FnOnce() -> T) -> io::Result<T> {
    let become_ids = |uid: u32, gid: u32| -> io::Result<()> {
        let held = crate::caps::permitted()?;
        // SAFETY: no memory is involved. Neither call has a way to fail: they answer
        // with the old id.
        unsafe {
            libc::syscall(libc::SYS_setfsgid, gid);
            libc::syscall(libc::SYS_setfsuid, uid);
        }
        // Any other fsuid than 0 has cost the capabilities over files.
        crate::caps::set(held)
    };
    let (own_uid, own_gid) = (rustix::process::geteuid(), rustix::process::getegid());
    become_ids(uid, gid)?;
    let done = work();
    become_ids(own_uid.as_raw(), own_gid.as_raw())?;
    Ok(done)
}

/// Keeps the permitted capabilities over the next [`set_user`] (until exec).
pub fn keep_caps() -> io::Result<()> {
    prctl(libc::PR_SET_KEEPCAPS, 1)
}

pub fn no_new_privs() -> io::Result<()> {
    prctl(libc::PR_SET_NO_NEW_PRIVS, 1)
}

/// False closes `/proc/<pid>` to every process without CAP_SYS_PTRACE.
pub fn set_dumpable(dumpable: bool) -> io::Result<()> {
    prctl(libc::PR_SET_DUMPABLE, libc::c_ulong::from(dumpable))
}

/// This process gets `signal` when its parent ends.
pub fn die_with_parent(signal: i32) -> io::Result<()> {
    prctl(libc::PR_SET_PDEATHSIG, signal as libc::c_ulong)
}

/// The name `ps` and `/proc/<pid>/comm` show (15 bytes).
pub fn set_name(name: &std::ffi::CStr) -> io::Result<()> {
    // SAFETY: the kernel reads at most 16 bytes up to the NUL of `name`.
    check(unsafe { libc::prctl(libc::PR_SET_NAME, name.as_ptr(), 0, 0, 0) }).map(drop)
}

fn prctl(option: libc::c_int, value: libc::c_ulong) -> io::Result<()> {
    // SAFETY: the options above take a plain number, no pointer.
    check(unsafe {
        libc::prctl(
            option,
            value,
            0 as libc::c_ulong,
            0 as libc::c_ulong,
            0 as libc::c_ulong,
        )
    })
    .map(drop)
}
