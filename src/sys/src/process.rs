//! Children and the end of them; exec.

use crate::check;
use std::ffi::CString;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    Exited(i32),
    Signalled(i32),
}

/// Reaps one child if any has ended: its pid and how. `None` when none has.
pub fn reap_any() -> Option<(i32, Ended)> {
    let mut status = 0;
    // SAFETY: `status` is a valid place for the result.
    let pid = unsafe { libc::waitpid(-1, &mut status, libc::WNOHANG | libc::__WALL) };
    (pid > 0).then(|| (pid, decode(status)))
}

/// Waits for one child.
pub fn wait(pid: i32) -> io::Result<Ended> {
    loop {
        let mut status = 0;
        // SAFETY: `status` is a valid place for the result.
        let result = unsafe { libc::waitpid(pid, &mut status, libc::__WALL) };
        if result == pid {
            return Ok(decode(status));
        }
        let err = io::Error::last_os_error();
        if err.kind() != io::ErrorKind::Interrupted {
            return Err(err);
        }
    }
}

fn decode(status: i32) -> Ended {
    if libc::WIFEXITED(status) {
        Ended::Exited(libc::WEXITSTATUS(status))
    } else {
        Ended::Signalled(libc::WTERMSIG(status))
    }
}

/// Leaves the caller's session keyring behind for an empty one. No error: a
/// kernel without keyrings has none to leave.
pub fn fresh_keyring() {
    const JOIN_SESSION_KEYRING: libc::c_long = 1;
    // SAFETY: no name is given, so no memory is involved.
    unsafe { libc::syscall(libc::SYS_keyctl, JOIN_SESSION_KEYRING, 0usize) };
}

/// Replaces this process; returns only the reason why it could not.
pub fn exec(path: &CString, argv: &[CString], env: &[CString]) -> io::Error {
    let (argv, env) = (pointers(argv), pointers(env));
    // SAFETY: both arrays end in NULL and point to NUL-terminated texts that
    // live through the call.
    unsafe { libc::execve(path.as_ptr(), argv.as_ptr(), env.as_ptr()) };
    io::Error::last_os_error()
}

/// The same through an fd (execveat with an empty path, Linux 3.19). To the
/// kernel the program's name is then `/dev/fd/N`, and TOMOYO (Debian's 5.10 has
/// it on) looks that name up: where no `/dev/fd` is, as in an initramfs, it says
/// ENOENT. procfs has another name for the same fd.
pub fn exec_fd(fd: BorrowedFd<'_>, argv: &[CString], env: &[CString]) -> io::Error {
    let failed = exec_empty_path(fd, argv, env);
    if failed.raw_os_error() != Some(libc::ENOENT) {
        return failed;
    }
    match CString::new(format!("/proc/self/fd/{}", fd.as_raw_fd())) {
        Ok(name) => exec(&name, argv, env),
        Err(_) => failed,
    }
}

fn exec_empty_path(fd: BorrowedFd<'_>, argv: &[CString], env: &[CString]) -> io::Error {
    let (argv, env) = (pointers(argv), pointers(env));
    // SAFETY: as in `exec`.
    unsafe {
        libc::syscall(
            libc::SYS_execveat,
            fd.as_raw_fd(),
            c"".as_ptr(),
            argv.as_ptr(),
            env.as_ptr(),
            libc::AT_EMPTY_PATH,
        )
    };
    io::Error::last_os_error()
}

/// What [`spawn`] starts, and with which streams.
#[derive(Debug)]
pub struct Program<'a> {
    pub path: &'a CString,
    pub argv: &'a [CString],
    pub env: &'a [CString],
    /// stdin, stdout, stderr; none of them may itself be 0, 1 or 2.
    pub streams: [BorrowedFd<'a>; 3],
}

/// Starts a program as a child in a process group of its own and in `/`, with no
/// signal blocked or ignored. Without a copy of the caller's memory (vfork), so
/// it costs the same however large the caller is, and other threads do not
/// matter. An error of exec is returned here.
pub fn spawn(program: &Program<'_>) -> io::Result<i32> {
    if program.streams.iter().any(|fd| fd.as_raw_fd() <= 2) {
        return Err(io::Error::from_raw_os_error(libc::EINVAL));
    }
    let (argv, env) = (pointers(program.argv), pointers(program.env));
    let mut attributes = std::mem::MaybeUninit::uninit();
    let mut actions = std::mem::MaybeUninit::uninit();
    // SAFETY: both places are valid for what the calls write, which is all that
    // they do; these structures belong to the C library alone.
    let (attributes, actions) = unsafe {
        spawned(libc::posix_spawnattr_init(attributes.as_mut_ptr()))?;
        spawned(libc::posix_spawn_file_actions_init(actions.as_mut_ptr()))?;
        (attributes.assume_init_mut(), actions.assume_init_mut())
    };
    let flags =
        libc::POSIX_SPAWN_SETPGROUP | libc::POSIX_SPAWN_SETSIGMASK | libc::POSIX_SPAWN_SETSIGDEF;
    let mut pid = 0;
    // SAFETY: both structures are initialised, and freed once; the paths and the
    // arrays are NUL-terminated and live through the call.
    unsafe {
        let (mut none, mut all) = (std::mem::zeroed(), std::mem::zeroed());
        libc::sigemptyset(&mut none);
        libc::sigfillset(&mut all);
        libc::sigdelset(&mut all, libc::SIGKILL);
        libc::sigdelset(&mut all, libc::SIGSTOP);
        let result = (|| {
            spawned(libc::posix_spawnattr_setflags(attributes, flags as _))?;
            spawned(libc::posix_spawnattr_setpgroup(attributes, 0))?;
            spawned(libc::posix_spawnattr_setsigmask(attributes, &none))?;
            spawned(libc::posix_spawnattr_setsigdefault(attributes, &all))?;
            for (target, fd) in program.streams.iter().enumerate() {
                let (from, to) = (fd.as_raw_fd(), target as i32);
                spawned(libc::posix_spawn_file_actions_adddup2(actions, from, to))?;
            }
            let root = c"/".as_ptr();
            spawned(libc::posix_spawn_file_actions_addchdir_np(actions, root))?;
            spawned(libc::posix_spawn(
                &mut pid,
                program.path.as_ptr(),
                actions,
                attributes,
                argv.as_ptr().cast(),
                env.as_ptr().cast(),
            ))
        })();
        libc::posix_spawn_file_actions_destroy(actions);
        libc::posix_spawnattr_destroy(attributes);
        result?;
    }
    Ok(pid)
}

/// The posix_spawn family returns the errno instead of setting it.
fn spawned(errno: libc::c_int) -> io::Result<()> {
    match errno {
        0 => Ok(()),
        errno => Err(io::Error::from_raw_os_error(errno)),
    }
}

fn pointers(texts: &[CString]) -> Vec<*const libc::c_char> {
    texts
        .iter()
        .map(|text| text.as_ptr())
        .chain([std::ptr::null()])
        .collect()
}

/// Ends this process at once: no destructors, no flushing, as a forked child
/// must.
pub fn exit_now(status: i32) -> ! {
    // SAFETY: ends the process; nothing runs after it.
    unsafe { libc::_exit(status) }
}

/// Closes every fd but 0, 1, 2 and `keep`, whoever thinks to own them: for a
/// process that only has an exec before it. What is merely close-on-exec could
/// still be walked by a path such as `/proc/self/fd/4/..` (CVE-2024-21626).
pub fn close_all_but(keep: std::os::fd::OwnedFd) -> io::Result<std::os::fd::OwnedFd> {
    use std::os::fd::{FromRawFd, IntoRawFd};
    const FIRST: i32 = 3;
    let keep = keep.into_raw_fd();
    if keep != FIRST {
        // SAFETY: no memory is involved; what stood at 3 is to be closed anyway.
        check(unsafe { libc::dup3(keep, FIRST, libc::O_CLOEXEC) })?;
    }
    close_range(FIRST + 1, i32::MAX);
    // SAFETY: 3 is open, and everything else that knew it has just been closed.
    Ok(unsafe { std::os::fd::OwnedFd::from_raw_fd(FIRST) })
}

/// Moves these to numbers from `first` on and closes every other one above 2, whoever thinks to own it: room for
/// what `place` puts below.
pub fn keep_only(
    fds: Vec<std::os::fd::OwnedFd>,
    first: i32,
) -> io::Result<Vec<std::os::fd::OwnedFd>> {
    use std::os::fd::{AsFd, FromRawFd, IntoRawFd, OwnedFd};
    let mut kept = Vec::with_capacity(fds.len());
    for fd in fds {
        let old = fd.into_raw_fd();
        // SAFETY: no memory is involved; `old` is open and is closed with the others below.
        let number = check(unsafe { libc::fcntl(old, libc::F_DUPFD_CLOEXEC, first) })?;
        // SAFETY: the number is new, and nothing else knows it.
        kept.push(unsafe { OwnedFd::from_raw_fd(number) });
    }
    let borrowed: Vec<_> = kept.iter().map(AsFd::as_fd).collect();
    close_all_except(&borrowed);
    Ok(kept)
}

/// Gives `fd` this number for a program that is executed next.
pub fn place(fd: BorrowedFd<'_>, number: i32) -> io::Result<()> {
    if number <= 2 || fd.as_raw_fd() == number {
        return Err(io::Error::from_raw_os_error(libc::EBADF));
    }
    // SAFETY: no memory is involved; what stood at the number is to be closed.
    check(unsafe { libc::dup2(fd.as_raw_fd(), number) }).map(drop)
}

/// Whether this number is open and was meant to survive an exec.
pub fn is_inherited(number: i32) -> bool {
    // SAFETY: no memory is involved; EBADF where nothing is open.
    let flags = unsafe { libc::fcntl(number, libc::F_GETFD) };
    flags >= 0 && flags & libc::FD_CLOEXEC == 0
}

/// Closes every fd from 3 on but these, whoever thinks to own them: for a
/// fresh process that goes on with nothing else.
pub fn close_all_except(keep: &[BorrowedFd<'_>]) {
    let mut numbers: Vec<i32> = keep.iter().map(|fd| fd.as_raw_fd()).collect();
    numbers.sort_unstable();
    let mut first = 3;
    for number in numbers.into_iter().filter(|number| *number >= 3) {
        close_range(first, number - 1);
        first = number + 1;
    }
    close_range(first, i32::MAX);
}

fn close_range(first: i32, last: i32) {
    if first > last {
        return;
    }
    // SAFETY: no memory is involved; the caller has said that these go.
    let result = unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) };
    if result != 0 {
        // Before Linux 5.9: one by one. Some may lie above the limit, from before it was lowered.
        let listed = crate::procfs::own_fds().unwrap_or_default();
        let listed = listed.into_iter().filter(|fd| (first..=last).contains(fd));
        for fd in (first..=last.min(open_max())).chain(listed) {
            // SAFETY: closing a number that is not open does nothing.
            unsafe { libc::close(fd) };
        }
    }
}

/// Whether the kernel has close_range: there is no such fd to close.
pub fn knows_close_range() -> bool {
    // SAFETY: no memory is involved, and numbers end long before this one.
    let result = unsafe { libc::syscall(libc::SYS_close_range, i32::MAX, i32::MAX, 0) };
    result == 0
}

/// The highest fd number that can be open, for kernels without close_range.
fn open_max() -> i32 {
    // SAFETY: no memory is involved.
    match unsafe { libc::sysconf(libc::_SC_OPEN_MAX) } {
        n if n > 0 => n.min(65_536) as i32,
        _ => 1024,
    }
}

/// This process' group; none when its leader has no number in this pid namespace.
pub fn group() -> Option<i32> {
    // SAFETY: no memory is involved.
    Some(unsafe { libc::getpgrp() }).filter(|group| *group != 0)
}

/// Makes `fd` the standard stream `target` (0, 1 or 2), open across exec.
pub fn become_std(fd: BorrowedFd<'_>, target: i32) -> io::Result<()> {
    if fd.as_raw_fd() == target {
        // SAFETY: no memory is involved; clears CLOEXEC, which dup2 would not.
        return check(unsafe { libc::fcntl(target, libc::F_SETFD, 0) }).map(drop);
    }
    // SAFETY: dup2 onto 0, 1 or 2 closes only what stood there.
    check(unsafe { libc::dup2(fd.as_raw_fd(), target) }).map(drop)
}

/// Takes over an fd that was inherited under a known number.
pub fn inherited(number: i32) -> io::Result<std::os::fd::OwnedFd> {
    use std::os::fd::FromRawFd;
    if number <= 2 {
        return Err(io::Error::from_raw_os_error(libc::EBADF));
    }
    // SAFETY: no memory is involved; EBADF where nothing is open.
    check(unsafe { libc::fcntl(number, libc::F_SETFD, libc::FD_CLOEXEC) })?;
    // SAFETY: it is open, and the environment says that it is meant for us;
    // nothing else in this process knows its number.
    Ok(unsafe { std::os::fd::OwnedFd::from_raw_fd(number) })
}

/// What children that were waited for, and theirs, have cost so far.
#[derive(Clone, Copy, Debug)]
pub struct Usage {
    /// In user and in kernel mode together.
    pub cpu: std::time::Duration,
    /// Of the largest one.
    pub max_rss_kb: u64,
}

/// getrusage(2) of the children.
pub fn children_usage() -> Usage {
    let mut usage = std::mem::MaybeUninit::<libc::rusage>::zeroed();
    // SAFETY: the kernel fills the structure; zeroed it is valid too.
    let usage = unsafe {
        libc::getrusage(libc::RUSAGE_CHILDREN, usage.as_mut_ptr());
        usage.assume_init()
    };
    let time = |time: libc::timeval| {
        std::time::Duration::from_micros(
            (time.tv_sec as u64)
                .saturating_mul(1_000_000)
                .saturating_add(time.tv_usec as u64),
        )
    };
    Usage {
        cpu: time(usage.ru_utime) + time(usage.ru_stime),
        max_rss_kb: usage.ru_maxrss as u64,
    }
}
