//! Many system calls in a row, asked by one process: what does the kernel say to
//! each under this filter? For tests (feature `attempt`).
//!
//! A process is forked to ask, so that no answer can hurt the tests: it may be
//! killed, and its filter may leave it no way to speak. So it writes into memory
//! that it shares with its parent, and ends in a fault if it may not exit.
//!
//! Every argument but the first is all ones: no address, no descriptor, no size
//! and no set of flags that the kernel would act on. What acts without looking
//! at its arguments is not asked (`harmless`).

use std::io;
use std::sync::atomic::{AtomicI64, Ordering};

/// One system call: its number, its first argument, and by which entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Question {
    pub number: u32,
    pub argument: u64,
    /// By the 32-bit entry of x86_64, `int 0x80`.
    pub compat: bool,
}

/// 0, or the errno.
pub type Answer = i64;

const UNANSWERED: Answer = i64::MIN;
const ASKED: Answer = i64::MIN + 1;

/// May `number` be asked, with all ones? Not what waits, forks, ends, returns from
/// a signal, or makes something that stays (a message queue): these act whatever
/// their arguments are, or on "all of them" (kill).
pub fn harmless(number: u32) -> bool {
    let known = [
        libc::SYS_clone3,
        libc::SYS_exit,
        libc::SYS_exit_group,
        libc::SYS_kill,
        libc::SYS_msgget,
        libc::SYS_reboot,
        libc::SYS_restart_syscall,
        libc::SYS_rt_sigreturn,
        libc::SYS_setsid,
        libc::SYS_sync,
        libc::SYS_vhangup,
    ];
    // uretprobe and uprobe: SIGILL for whoever was not sent there by the kernel.
    #[cfg(target_arch = "x86_64")]
    let more = [libc::SYS_fork, libc::SYS_vfork, libc::SYS_pause, 335, 336];
    #[cfg(not(target_arch = "x86_64"))]
    let more: [libc::c_long; 0] = [];
    let number = number & !0x4000_0000;
    known
        .iter()
        .chain(&more)
        .all(|other| *other != libc::c_long::from(number))
}

/// Numbers that a child leaves for its parent.
#[derive(Debug)]
pub struct Board {
    cells: *mut AtomicI64,
    len: usize,
}

impl Board {
    pub fn new(len: usize) -> io::Result<Board> {
        // SAFETY: a new anonymous mapping; zero is a valid AtomicI64.
        let cells = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                len * size_of::<AtomicI64>(),
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED | libc::MAP_ANONYMOUS,
                -1,
                0,
            )
        };
        if cells == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        Ok(Board {
            cells: cells.cast(),
            len,
        })
    }

    fn cells(&self) -> &[AtomicI64] {
        // SAFETY: the mapping has `len` cells and lives as long as `self`; both
        // processes touch them by atomic operations only.
        unsafe { std::slice::from_raw_parts(self.cells, self.len) }
    }

    pub fn set(&self, at: usize, value: i64) {
        self.cells()[at].store(value, Ordering::SeqCst);
    }

    pub fn get(&self, at: usize) -> i64 {
        self.cells()[at].load(Ordering::SeqCst)
    }

    /// Marks `count` answers from cell `at` on as not given.
    pub fn clear(&self, at: usize, count: usize) {
        (at..at + count).for_each(|cell| self.set(cell, UNANSWERED));
    }

    /// The answer in cell `at`: `None` if it was never asked, or if the question
    /// was the asker's end (then `fatal` says so).
    pub fn answer(&self, at: usize) -> Option<Answer> {
        Some(self.get(at)).filter(|answer| ![UNANSWERED, ASKED].contains(answer))
    }

    /// The asker did not live to write the answer down.
    pub fn fatal(&self, at: usize) -> bool {
        self.get(at) == ASKED
    }
}

impl Drop for Board {
    fn drop(&mut self) {
        // SAFETY: the mapping is ours, made in `new`, and nothing borrows it now.
        unsafe { libc::munmap(self.cells.cast(), self.len * size_of::<AtomicI64>()) };
    }
}

/// Exists only in a process that was forked to ask.
#[derive(Debug)]
pub struct Asker(());

impl Asker {
    /// The bounding set as PR_CAPBSET_READ tells it, capability by capability.
    pub fn bounding(&self) -> u64 {
        (0..64u32).fold(0, |set, cap| {
            // SAFETY: no memory is involved.
            let held = unsafe { libc::prctl(libc::PR_CAPBSET_READ, libc::c_ulong::from(cap)) };
            set | u64::from(held == 1) << cap
        })
    }

    /// Asks, and writes the answers from cell `at` on.
    pub fn ask(&self, questions: &[Question], board: &Board, at: usize) {
        for (cell, question) in (at..).zip(questions) {
            if !harmless(question.number) {
                continue;
            }
            board.set(cell, ASKED);
            board.set(cell, ask(*question));
        }
    }
}

fn ask(question: Question) -> Answer {
    const NONE: usize = !0;
    if question.compat {
        return compat(question.number);
    }
    // SAFETY: see the head of the file: with these arguments the kernel reads and
    // writes no memory of ours, and this process is nobody's but the asker's.
    let result = unsafe {
        libc::syscall(
            question.number as libc::c_long,
            question.argument as usize,
            NONE,
            NONE,
            NONE,
            NONE,
            NONE,
        )
    };
    match result {
        -1 => io::Error::last_os_error()
            .raw_os_error()
            .unwrap_or(0)
            .into(),
        _ => 0,
    }
}

#[cfg(target_arch = "x86_64")]
fn compat(number: u32) -> Answer {
    let mut result = i64::from(number);
    // SAFETY: the trap clobbers what is named here and touches no memory of ours;
    // rbx, which the compiler keeps for itself, is not changed by it.
    unsafe {
        std::arch::asm!("int 0x80", inout("rax") result, in("rcx") !0u32, in("rdx") !0u32,
            lateout("r8") _, lateout("r9") _, lateout("r10") _, lateout("r11") _, options(nostack))
    };
    match result as i32 {
        errno @ -4095..=-1 => i64::from(-errno),
        _ => 0,
    }
}

#[cfg(not(target_arch = "x86_64"))]
fn compat(_: u32) -> Answer {
    libc::ENOSYS.into()
}

/// Forks, also beside other threads: libc's own fork leaves the child an
/// allocator that works. The pid in the parent; the child runs `life` and ends.
pub fn fork(life: impl FnOnce(&Asker)) -> io::Result<i32> {
    // SAFETY: the child runs `life` on a copy of this memory and never returns;
    // what other threads held stays held there, which can only make it hang.
    let pid = unsafe { libc::fork() };
    match pid {
        -1 => Err(io::Error::last_os_error()),
        0 => {
            life(&Asker(()));
            end()
        }
        pid => Ok(pid),
    }
}

/// The end, whatever the filter says.
fn end() -> ! {
    // SAFETY: ends the process; if that is refused it comes back.
    unsafe { libc::syscall(libc::SYS_exit_group, 0) };
    std::process::abort()
}
