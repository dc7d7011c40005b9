//! rkt as a machine's init: from the kernel's command line and a directory of
//! pods to a machine that runs them, and ends as it was told.
//!
//! The kernel executes our binary as `/init` or by `rdinit=`; there is no other
//! program on the machine. What it finds undone it does (mounts, modules, disks),
//! then each pod is `rkt run` in a child, supervised and reaped here. Three parts
//! are pure and tested as data: `settings` (the command line), `pods` (a directory
//! of pods), `machine` (what next). Invariant: this process never ends, since the
//! kernel would panic; what goes wrong is said on the console, with the next step.

mod cgroups;
mod cleaner;
mod console;
mod disks;
mod finish;
mod machine;
mod modules;
mod mounts;
mod pods;
mod prepare;
mod rescue;
mod settings;
mod supervisor;

use rustix::process::Pid;
use std::os::unix::fs::MetadataExt;

/// The inode of the pid namespace that the machine starts with (PROC_PID_INIT_INO).
const FIRST_NAMESPACE: u64 = 0xefff_fffc;

/// Whether this is the machine's first process, whatever its name and its words:
/// the kernel passes on what it does not understand of its command line. A process
/// 1 of a container is not. For less than a microsecond, everybody else gets a no.
pub fn started_by_the_kernel() -> bool {
    if rustix::process::getpid() != Pid::INIT {
        return false;
    }
    match std::fs::metadata("/proc/self/ns/pid") {
        Ok(namespace) => namespace.ino() == FIRST_NAMESPACE,
        // Before anybody has mounted it: process 2 is the kernel's own, and in a new
        // namespace there is none yet.
        Err(_) => {
            Pid::from_raw(2).is_some_and(|pid| rustix::process::test_kill_process(pid).is_ok())
        }
    }
}

/// The whole life of the machine. Returns only when this is not process 1.
pub fn main() -> u8 {
    if rustix::process::getpid() != Pid::INIT {
        eprintln!("init: this is a machine's or a container's first process, or nothing");
        eprintln!(
            "hint: to end a machine that rkt runs: kill -USR2 1 (power off), -TERM 1 (reboot), -USR1 1 (halt)"
        );
        return 254;
    }
    supervisor::run()
}
