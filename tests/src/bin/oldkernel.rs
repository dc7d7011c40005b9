//! `oldkernel PROGRAM ARGS…`: runs the program as on Linux 4.4, for this kernel answers ENOSYS to what came later.
//!
//! Calls are numbered as they come, so one comparison covers copy_file_range (4.5), statx (4.11), clone3, openat2,
//! close_range, faccessat2, the pidfds, the mount API and whatever comes after them; from 424 on all architectures
//! number alike. Two that are older than 4.4 are denied as well, since vendors' kernels and the filters of other
//! runtimes lack them: renameat2 (3.15) and memfd_create (3.17). execveat (3.19) stays.
//!
//! Filters are inherited and cannot be taken off: what the program starts, PID 1 of a pod and its apps, lives on that
//! kernel too. As the runner of a test binary it is the kernel of the whole suite.

use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};
use sys::seccomp::{Insn, load};

const X86: bool = cfg!(target_arch = "x86_64");
/// copy_file_range, the first call after 4.4.
const FIRST_NEW: u32 = if X86 { 326 } else { 285 };
const MEMFD_CREATE: u32 = if X86 { 319 } else { 279 };
/// RISC-V came later than this call, and has no other to rename by.
const RENAMEAT2: u32 = if X86 {
    316
} else if cfg!(target_arch = "riscv64") {
    FIRST_NEW
} else {
    276
};
/// AUDIT_ARCH_*: behind the door for 32-bit programs numbers mean other calls.
const NATIVE: u32 = if X86 {
    0xc000_003e
} else if cfg!(target_arch = "riscv64") {
    0xc000_00f3
} else {
    0xc000_00b7
};

const LOAD: u16 = 0x20;
const JUMP_IF_EQUAL: u16 = 0x15;
const JUMP_IF_AT_LEAST: u16 = 0x35;
const RETURN: u16 = 0x06;
const ALLOW: u32 = 0x7fff_0000;
const ERRNO: u32 = 0x0005_0000;
const ENOSYS: u32 = 38;
/// Where `struct seccomp_data` has them.
const NUMBER_AT: u32 = 0;
const ARCH_AT: u32 = 4;

fn filter() -> [Insn; 8] {
    let insn = |code, jt, jf, k| Insn { code, jt, jf, k };
    [
        insn(LOAD, 0, 0, ARCH_AT),
        insn(JUMP_IF_EQUAL, 0, 4, NATIVE),
        insn(LOAD, 0, 0, NUMBER_AT),
        insn(JUMP_IF_AT_LEAST, 3, 0, FIRST_NEW),
        insn(JUMP_IF_EQUAL, 2, 0, RENAMEAT2),
        insn(JUMP_IF_EQUAL, 1, 0, MEMFD_CREATE),
        insn(RETURN, 0, 0, ALLOW),
        insn(RETURN, 0, 0, ERRNO | ENOSYS),
    ]
}

fn main() -> ExitCode {
    let mut words = std::env::args_os().skip(1);
    let Some(program) = words.next() else {
        eprintln!("usage: oldkernel PROGRAM ARGS…");
        return ExitCode::from(2);
    };
    if let Err(e) = load(&filter()) {
        eprintln!("oldkernel: cannot load the filter: {e}");
        return ExitCode::from(125);
    }
    let e = Command::new(&program).args(words).exec();
    eprintln!("oldkernel: cannot execute {}: {e}", program.display());
    ExitCode::from(126)
}
