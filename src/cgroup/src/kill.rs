//! Killing everything in a cgroup, whatever it forks meanwhile.
//!
//! v2 since Linux 5.14 does it in one write. Before, and on v1, the processes
//! are listed and killed until none is left; on v2 they are frozen meanwhile,
//! so that a fork bomb cannot outrun the list.

use crate::file;
use crate::hierarchy::Version;
use crate::remove::children;
use rustix::io::Errno;
use rustix::process::{Pid, Signal, kill_process};
use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

/// Rounds over the list of processes, 1 ms apart from the fourth on.
const ROUNDS: u32 = 1000;
/// How deep an app may have nested cgroups in its own and still be listed.
const DEEPEST: usize = 64;

/// Kills all in `dir` and below.
pub(crate) fn kill(version: Version, dir: &OwnedFd) -> io::Result<()> {
    if version == Version::V2 {
        match file::write(dir, "cgroup.kill", "1") {
            Err(err) if err.kind() == io::ErrorKind::NotFound => {}
            other => return other,
        }
    }
    // cgroup.freeze came with 5.2; without it the rounds must do.
    let frozen = version == Version::V2 && file::write(dir, "cgroup.freeze", "1").is_ok();
    let result = rounds(dir, frozen);
    if frozen {
        file::write(dir, "cgroup.freeze", "0")?;
    }
    result
}

fn rounds(dir: &OwnedFd, frozen: bool) -> io::Result<()> {
    for round in 0..ROUNDS {
        let killed = kill_listed(dir, 0)?;
        if killed == 0 {
            return Ok(());
        }
        if frozen && round == 1 {
            // Frozen processes die of SIGKILL since 5.2, but leave the list
            // only once they ran again on some kernels.
            file::write(dir, "cgroup.freeze", "0")?;
        }
        if round >= 3 {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
    Err(Errno::TIMEDOUT.into())
}

/// One round; how many processes were still there.
fn kill_listed(dir: &OwnedFd, depth: usize) -> io::Result<usize> {
    let mut found = 0;
    let list = match file::read(dir, "cgroup.procs") {
        // A threaded v2 cgroup keeps its list with its domain.
        Err(err) if err.raw_os_error() == Some(Errno::OPNOTSUPP.raw_os_error()) => {
            file::read(dir, "cgroup.threads")?
        }
        other => other?,
    };
    for line in list.lines() {
        // 0: a process outside of our pid namespace, which we cannot name.
        let Some(pid) = line.trim().parse().ok().and_then(Pid::from_raw) else {
            continue;
        };
        if pid == rustix::process::getpid() {
            continue;
        }
        match kill_process(pid, Signal::KILL) {
            Ok(()) => found += 1,
            Err(Errno::SRCH) => {}
            Err(err) => return Err(err.into()),
        }
    }
    if depth < DEEPEST {
        for child in children(dir)? {
            match file::open_dir(dir, &child) {
                Ok(child) => found += kill_listed(&child, depth + 1)?,
                Err(err) if err.kind() == io::ErrorKind::NotFound => {}
                Err(err) => return Err(err),
            }
        }
    }
    Ok(found)
}
