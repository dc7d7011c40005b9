//! What a cgroup has used, read from whichever of its hierarchies tells.

use crate::{cpu, memory, pids};
use std::os::fd::BorrowedFd;

/// `None`: no controller of this cgroup counts it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Usage {
    /// Bytes in use now, page cache included.
    pub memory: Option<u64>,
    /// The most bytes ever in use.
    pub memory_peak: Option<u64>,
    /// Processor time, microseconds.
    pub cpu: Option<u64>,
    /// Tasks alive.
    pub pids: Option<u64>,
    /// Processes killed because the memory limit was reached.
    pub oom_kills: Option<u64>,
}

pub(crate) fn read<'a>(dirs: impl Iterator<Item = BorrowedFd<'a>>) -> Usage {
    let mut usage = Usage::default();
    for dir in dirs {
        usage.memory = usage.memory.or_else(|| memory::used(dir));
        usage.memory_peak = usage.memory_peak.or_else(|| memory::peak(dir));
        usage.cpu = usage.cpu.or_else(|| cpu::used(dir));
        usage.pids = usage.pids.or_else(|| pids::used(dir));
        usage.oom_kills = usage.oom_kills.or_else(|| memory::oom_kills(dir));
    }
    usage
}

pub(crate) fn oom_kills<'a>(mut dirs: impl Iterator<Item = BorrowedFd<'a>>) -> Option<u64> {
    dirs.find_map(memory::oom_kills)
}
