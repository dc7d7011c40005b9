//! System calls by number, made to see what the kernel answers: what a filter lets through, what a capability opens.
//!
//! For test programs (feature `attempt`). Each call is made in a forked child that does nothing else and ends, so that
//! a call which succeeds changes nothing of the caller but what the kernel keeps outside the process, and one that
//! kills is an answer. The caller must have one thread.

use std::io;

/// What came of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It succeeded.
    Done,
    Errno(i32),
    /// The signal that the call brought.
    Killed(i32),
}

/// Through which of the kernel's doors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Door {
    Native,
    /// The 64-bit door with x32's bit in the number.
    X32,
    /// `int 0x80`: the numbers are i386's, the arguments are left out.
    I386,
}

/// An argument: a number, or the address of a copy of these bytes.
#[derive(Clone, Copy, Debug)]
pub enum Arg<'a> {
    Number(i64),
    Bytes(&'a [u8]),
}

/// The number of a call by its name, for the calls that a sandbox is asked about. None where this architecture has none.
pub fn number(name: &str) -> Option<i64> {
    let known = [
        ("add_key", libc::SYS_add_key),
        ("bpf", libc::SYS_bpf),
        ("clone", libc::SYS_clone),
        ("clone3", libc::SYS_clone3),
        ("fanotify_init", libc::SYS_fanotify_init),
        ("finit_module", libc::SYS_finit_module),
        ("fsopen", libc::SYS_fsopen),
        ("getpid", libc::SYS_getpid),
        ("init_module", libc::SYS_init_module),
        ("io_uring_setup", libc::SYS_io_uring_setup),
        ("ioctl", libc::SYS_ioctl),
        ("kcmp", libc::SYS_kcmp),
        ("kexec_load", libc::SYS_kexec_load),
        ("keyctl", libc::SYS_keyctl),
        ("mount", libc::SYS_mount),
        ("mount_setattr", libc::SYS_mount_setattr),
        ("move_mount", libc::SYS_move_mount),
        ("name_to_handle_at", libc::SYS_name_to_handle_at),
        ("open_by_handle_at", libc::SYS_open_by_handle_at),
        ("open_tree", libc::SYS_open_tree),
        ("perf_event_open", libc::SYS_perf_event_open),
        ("personality", libc::SYS_personality),
        ("pidfd_getfd", libc::SYS_pidfd_getfd),
        ("pivot_root", libc::SYS_pivot_root),
        ("prctl", libc::SYS_prctl),
        ("process_vm_readv", libc::SYS_process_vm_readv),
        ("ptrace", libc::SYS_ptrace),
        ("quotactl", libc::SYS_quotactl),
        ("reboot", libc::SYS_reboot),
        ("request_key", libc::SYS_request_key),
        ("setdomainname", libc::SYS_setdomainname),
        ("sethostname", libc::SYS_sethostname),
        ("setns", libc::SYS_setns),
        ("settimeofday", libc::SYS_settimeofday),
        ("socket", libc::SYS_socket),
        ("swapon", libc::SYS_swapon),
        ("syslog", libc::SYS_syslog),
        ("umount2", libc::SYS_umount2),
        ("unshare", libc::SYS_unshare),
        ("userfaultfd", libc::SYS_userfaultfd),
        #[cfg(target_arch = "x86_64")]
        ("iopl", libc::SYS_iopl),
        #[cfg(target_arch = "x86_64")]
        ("modify_ldt", libc::SYS_modify_ldt),
    ];
    known
        .into_iter()
        .find(|(n, _)| *n == name)
        .map(|(_, number)| number)
}

/// Makes one call. A door that this architecture does not have answers ENOSYS.
pub fn attempt(door: Door, number: i64, args: &[Arg<'_>]) -> io::Result<Answer> {
    // Writable copies, made before the fork: the child must not allocate.
    let mut copies: Vec<Vec<u8>> = args.iter().map(copy).collect();
    let mut words = [0_i64; 6];
    for (word, (arg, copy)) in words.iter_mut().zip(args.iter().zip(&mut copies)) {
        *word = match arg {
            Arg::Number(number) => *number,
            Arg::Bytes(_) => copy.as_mut_ptr() as i64,
        };
    }
    // SAFETY: the caller has one thread (see above), and the child only makes the calls below.
    let pid = unsafe { libc::fork() };
    match pid {
        -1 => Err(io::Error::last_os_error()),
        0 => {
            let status = match door {
                Door::Native => by_number(number, words),
                Door::X32 if cfg!(target_arch = "x86_64") => by_number(number | 0x4000_0000, words),
                Door::I386 => by_interrupt(number),
                Door::X32 => libc::ENOSYS,
            };
            crate::process::exit_now(status)
        }
        child => Ok(match crate::process::wait(child)? {
            crate::process::Ended::Exited(0) => Answer::Done,
            crate::process::Ended::Exited(errno) => Answer::Errno(errno),
            crate::process::Ended::Signalled(signal) => Answer::Killed(signal),
        }),
    }
}

fn copy(arg: &Arg<'_>) -> Vec<u8> {
    match arg {
        Arg::Number(_) => Vec::new(),
        // Room behind them, for calls that answer into what they are given.
        Arg::Bytes(bytes) => [bytes, &[0; 256][..]].concat(),
    }
}

/// 0 or the errno.
fn by_number(number: i64, words: [i64; 6]) -> i32 {
    let [a, b, c, d, e, f] = words;
    // SAFETY: whatever the call does, it does it to this process, a copy whose memory nobody looks at again and which
    // ends right after; addresses among the words are those of buffers that it owns.
    let result = unsafe { libc::syscall(number as libc::c_long, a, b, c, d, e, f) };
    if result >= 0 {
        return 0;
    }
    io::Error::last_os_error().raw_os_error().unwrap_or(255)
}

#[cfg(target_arch = "x86_64")]
fn by_interrupt(number: i64) -> i32 {
    let result: i64;
    // SAFETY: as `by_number`; no argument is read. The kernel may clear r8 to r11 on this door.
    unsafe {
        std::arch::asm!(
            "int 0x80",
            inlateout("rax") number => result,
            lateout("r8") _, lateout("r9") _, lateout("r10") _, lateout("r11") _,
        );
    }
    // The result is 32 bits wide there.
    let result = result as i32;
    if (-4095..0).contains(&result) {
        -result
    } else {
        0
    }
}

#[cfg(not(target_arch = "x86_64"))]
fn by_interrupt(_: i64) -> i32 {
    libc::ENOSYS
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn the_kernel_answers() {
        let call =
            |name, args: &[Arg<'_>]| attempt(Door::Native, number(name).unwrap(), args).unwrap();
        assert_eq!(call("getpid", &[]), Answer::Done);
        assert_eq!(
            call("setns", &[Arg::Number(-1), Arg::Number(0)]),
            Answer::Errno(libc::EBADF)
        );
        assert_eq!(
            attempt(Door::Native, 9999, &[]).unwrap(),
            Answer::Errno(libc::ENOSYS)
        );
        assert_eq!(
            call("prctl", &[Arg::Number(16), Arg::Bytes(b"")]),
            Answer::Done
        );
    }
}
