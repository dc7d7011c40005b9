//! Signals as readable events, and a clean slate for a program to be executed.

use crate::check;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::sync::atomic::{AtomicI32, Ordering};

pub const HUP: i32 = libc::SIGHUP;
pub const INT: i32 = libc::SIGINT;
pub const QUIT: i32 = libc::SIGQUIT;
pub const KILL: i32 = libc::SIGKILL;
pub const TERM: i32 = libc::SIGTERM;
pub const PIPE: i32 = libc::SIGPIPE;
pub const CHLD: i32 = libc::SIGCHLD;
pub const WINCH: i32 = libc::SIGWINCH;

/// A signalfd over signals that are blocked from now on.
#[derive(Debug)]
pub struct Signals(OwnedFd);

/// A signal that came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Received {
    pub signal: i32,
    /// The sender's pid here; 0 when it lives outside this pid namespace.
    pub sender: u32,
}

impl Signals {
    /// Blocks `signals` and reads them from an fd instead (non-blocking).
    pub fn take(signals: &[i32]) -> io::Result<Signals> {
        let set = mask(signals);
        // SAFETY: `set` is initialised; no old mask is asked for.
        check(unsafe { libc::sigprocmask(libc::SIG_BLOCK, &set, std::ptr::null_mut()) })?;
        // SAFETY: creates an fd from an initialised set.
        let fd =
            check(unsafe { libc::signalfd(-1, &set, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK) })?;
        // SAFETY: the kernel just gave this fd to us alone.
        Ok(Signals(unsafe { OwnedFd::from_raw_fd(fd) }))
    }

    /// The next signal, if one is waiting.
    pub fn next(&self) -> Option<Received> {
        // SAFETY: signalfd_siginfo is plain data for which zero is valid.
        let mut info: libc::signalfd_siginfo = unsafe { std::mem::zeroed() };
        let size = size_of::<libc::signalfd_siginfo>();
        // SAFETY: pointer and size describe `info`.
        let read = unsafe { libc::read(self.0.as_raw_fd(), (&raw mut info).cast(), size) };
        (read == size as isize).then_some(Received {
            signal: info.ssi_signo as i32,
            sender: info.ssi_pid,
        })
    }
}

/// Whether one of these waits, blocked, for somebody to take it.
pub fn is_pending(signals: &[i32]) -> bool {
    // SAFETY: sigset_t is plain data for which zero is valid; the call fills it.
    let mut set: libc::sigset_t = unsafe { std::mem::zeroed() };
    // SAFETY: the pointer is to `set`, of the kernel's size.
    if unsafe { libc::sigpending(&mut set) } != 0 {
        return false;
    }
    // SAFETY: only reads `set`.
    let has = |signal: &i32| unsafe { libc::sigismember(&set, *signal) } == 1;
    signals.iter().any(has)
}

impl AsFd for Signals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

fn mask(signals: &[i32]) -> libc::sigset_t {
    // SAFETY: sigemptyset initialises the set; sigaddset changes it in place
    // and ignores numbers that are no signals.
    unsafe {
        let mut set = std::mem::zeroed();
        libc::sigemptyset(&mut set);
        for signal in signals {
            libc::sigaddset(&mut set, *signal);
        }
        set
    }
}

/// Default dispositions and an empty mask, as a fresh program expects them:
/// ignored signals (Rust ignores SIGPIPE) would survive exec.
pub fn reset() {
    // SAFETY: SIG_DFL installs no code of ours; the set is initialised.
    unsafe {
        for signal in 1..=64 {
            if signal != libc::SIGKILL && signal != libc::SIGSTOP {
                libc::signal(signal, libc::SIG_DFL);
            }
        }
        let set = mask(&[]);
        libc::sigprocmask(libc::SIG_SETMASK, &set, std::ptr::null_mut());
    }
}

/// Whoever started us may ignore the end of children, which survives exec: they would be gone without a word.
pub fn expect_children() {
    // SAFETY: SIG_DFL installs no code of ours.
    unsafe { libc::signal(CHLD, libc::SIG_DFL) };
}

/// Carries out `act`, and interrupts its waits in the kernel each hundredth of a second: the close of a socket whose
/// owner wants it to wait for the peer (SO_LINGER) gives up then.
pub fn hurried<T>(act: impl FnOnce() -> T) -> T {
    extern "C" fn nothing(_: libc::c_int) {}
    let timer = |microseconds| {
        let every = libc::timeval {
            tv_sec: 0,
            tv_usec: microseconds,
        };
        let timer = libc::itimerval {
            it_interval: every,
            it_value: every,
        };
        // SAFETY: only reads `timer`.
        unsafe { libc::setitimer(libc::ITIMER_REAL, &timer, std::ptr::null_mut()) };
    };
    // SAFETY: zero is valid for the plain data of a sigaction; the handler does nothing, and without SA_RESTART it
    // ends a wait; the set is initialised.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = nothing as extern "C" fn(libc::c_int) as usize;
        libc::sigaction(libc::SIGALRM, &action, std::ptr::null_mut());
        let set = mask(&[libc::SIGALRM]);
        libc::sigprocmask(libc::SIG_UNBLOCK, &set, std::ptr::null_mut());
    }
    timer(10_000);
    let done = act();
    timer(0);
    done
}

/// Lets `signal` do nothing.
pub fn ignore(signal: i32) {
    // SAFETY: SIG_IGN installs no code of ours.
    unsafe { libc::signal(signal, libc::SIG_IGN) };
}

static CAUGHT: AtomicI32 = AtomicI32::new(0);

extern "C" fn remember(signal: libc::c_int) {
    // The first one stays: it says why the work was given up.
    let _ = CAUGHT.compare_exchange(0, signal, Ordering::Relaxed, Ordering::Relaxed);
}

/// Lets each of `signals` set what [`caught`] tells, once: the second of a kind
/// does what it does by default. Blocked system calls return EINTR. Gone after
/// exec. One that is ignored (nohup) stays so.
pub fn catch(signals: &[i32]) -> io::Result<()> {
    for signal in signals {
        // SAFETY: `old` is plain data that the kernel fills in.
        let mut old: libc::sigaction = unsafe { std::mem::zeroed() };
        // SAFETY: no action is set, `old` has the right type.
        check(unsafe { libc::sigaction(*signal, std::ptr::null(), &mut old) })?;
        if old.sa_sigaction == libc::SIG_IGN {
            continue;
        }
        // SAFETY: zero is valid for the plain data of a sigaction.
        let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
        action.sa_sigaction = remember as extern "C" fn(libc::c_int) as usize;
        action.sa_flags = libc::SA_RESETHAND;
        // SAFETY: the handler only touches an atomic, which is safe in a signal.
        check(unsafe { libc::sigaction(*signal, &action, std::ptr::null_mut()) })?;
    }
    Ok(())
}

/// The first signal that [`catch`] caught.
pub fn caught() -> Option<i32> {
    Some(CAUGHT.load(Ordering::Relaxed)).filter(|signal| *signal != 0)
}

/// Default dispositions again for `signals` that [`catch`] took.
pub fn release(signals: &[i32]) -> io::Result<()> {
    for signal in signals {
        // SAFETY: `old` is plain data that the kernel fills in.
        let mut old: libc::sigaction = unsafe { std::mem::zeroed() };
        // SAFETY: no action is set, `old` has the right type.
        check(unsafe { libc::sigaction(*signal, std::ptr::null(), &mut old) })?;
        if old.sa_sigaction == remember as extern "C" fn(libc::c_int) as usize {
            // SAFETY: SIG_DFL installs no code of ours.
            unsafe { libc::signal(*signal, libc::SIG_DFL) };
        }
    }
    Ok(())
}

/// Sends `signal` to one process (`pid` > 0), a group (< -1) or, for -1, to
/// every process that the caller may signal.
pub fn send(pid: i32, signal: i32) -> io::Result<()> {
    // SAFETY: no memory is involved.
    check(unsafe { libc::kill(pid, signal) }).map(drop)
}
