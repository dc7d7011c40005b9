//! `oldkernel PROGRAM ARGS…`: runs the program as on Linux 4.4, for this kernel answers ENOSYS to what came later.
//!
//! From number 424 (Linux 5.1) on, all architectures number their calls alike, so one comparison covers clone3,
//! openat2, close_range, the pidfds, the new mount calls and whatever comes after them. The two that are older than
//! that and newer than 4.4 are named; execveat and memfd_create are older and stay. Filters are inherited: the pod's
//! own processes live on that kernel too.

use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};
use sys::seccomp::{Insn, load};

const FIRST_OF_5_1: u32 = 424;
/// statx (4.11) and copy_file_range (4.5).
const NAMED: [u32; 2] = if cfg!(target_arch = "x86_64") {
    [332, 326]
} else {
    [291, 285]
};

const LOAD_NUMBER: u16 = 0x20;
const JUMP_IF_EQUAL: u16 = 0x15;
const JUMP_IF_AT_LEAST: u16 = 0x35;
const RETURN: u16 = 0x06;
const ALLOW: u32 = 0x7fff_0000;
const ERRNO: u32 = 0x0005_0000;
const ENOSYS: u32 = 38;

fn filter() -> [Insn; 6] {
    let insn = |code, jt, k| Insn { code, jt, jf: 0, k };
    [
        insn(LOAD_NUMBER, 0, 0),
        insn(JUMP_IF_AT_LEAST, 3, FIRST_OF_5_1),
        insn(JUMP_IF_EQUAL, 2, NAMED[0]),
        insn(JUMP_IF_EQUAL, 1, NAMED[1]),
        insn(RETURN, 0, ALLOW),
        insn(RETURN, 0, ERRNO | ENOSYS),
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
