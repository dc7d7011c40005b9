//! What is tried on other processes of the pod, those that enter it above all.
//!
//! The kernel shows every process of the pid namespace; which of them is the app's own and which one comes from the host
//! is told by what is mapped into it.

use crate::races::{End, pids};
use rustix::fs::{Mode, OFlags};
use rustix::process::{PidfdFlags, PidfdGetfdFlags, Signal};
use std::io::Write;
use std::path::{Path, PathBuf};

/// Opens the program of every process for writing, by `/proc/<pid>/exe` at once and by a descriptor that is kept until
/// nobody executes the file any more (ETXTBSY is gone then). What opens is overwritten.
pub(crate) fn overwrite(end: &str) {
    let mut end = End::of(end);
    let mut held = Vec::new();
    let mut tried = 0_u64;
    while !end.reached() {
        for pid in pids() {
            let exe = PathBuf::from(format!("/proc/{pid}/exe"));
            tried += 1;
            strike(&exe);
            let kept = rustix::fs::open(&exe, OFlags::PATH | OFlags::CLOEXEC, Mode::empty());
            if let Ok(kept) = kept
                && held.len() < 64
            {
                held.push(kept);
            }
        }
        for kept in &held {
            use std::os::fd::AsRawFd;
            strike(Path::new(&format!("/proc/self/fd/{}", kept.as_raw_fd())));
        }
        if held.len() == 64 {
            held.clear();
        }
    }
    println!("tried={tried}");
}

fn strike(path: &Path) {
    // The image's own programs may be overwritten; they are the app's.
    if std::fs::read_link(path).is_ok_and(|to| to.ends_with("intruder") || to.ends_with("probe")) {
        return;
    }
    let opened = std::fs::OpenOptions::new().write(true).open(path);
    if let Ok(mut file) = opened {
        let wrote = file.write_all(b"#!/intruder overwrite\n");
        println!("reached={} for writing: {wrote:?}", path.display());
    }
}

/// Looks into every process: its memory, its descriptors, its directories. `canary` is a path of the host; `own` are the
/// names of the image's programs, with commas between.
pub(crate) fn spy(canary: &str, own: &str, end: &str) {
    let own: Vec<&str> = own.split(',').collect();
    let mut end = End::of(end);
    let (mut looked, mut refused) = (0_u64, 0_u64);
    while !end.reached() {
        for pid in pids() {
            looked += 1;
            if let Ok(maps) = std::fs::read_to_string(format!("/proc/{pid}/maps")) {
                let files: Vec<&str> = maps
                    .lines()
                    .filter_map(|l| l.split_whitespace().nth(5))
                    .filter(|f| f.starts_with('/'))
                    .collect();
                if !files.is_empty() && !files.iter().any(|f| own.iter().any(|o| f.ends_with(o))) {
                    println!("reached=the memory of {pid}: {}", files[0]);
                }
            } else {
                refused += 1;
            }
            for way in ["root", "cwd"] {
                canary_by(canary, &format!("/proc/{pid}/{way}"));
            }
            for number in 0..24 {
                canary_by(canary, &format!("/proc/{pid}/fd/{number}"));
                stolen(canary, pid, number);
            }
        }
    }
    println!("looked={looked} refused={refused}");
}

fn canary_by(canary: &str, way: &str) {
    let up = "../".repeat(24);
    if std::fs::read(format!("{way}/{up}{canary}")).is_ok() {
        println!("reached=the canary by {way}");
    }
}

/// A descriptor of another process taken over, and the canary looked for from there.
fn stolen(canary: &str, pid: i32, number: i32) {
    let Some(pid) = rustix::process::Pid::from_raw(pid) else {
        return;
    };
    let Ok(process) = rustix::process::pidfd_open(pid, PidfdFlags::empty()) else {
        return;
    };
    let Ok(fd) = rustix::process::pidfd_getfd(process, number, PidfdGetfdFlags::empty()) else {
        return;
    };
    let up = "../".repeat(24);
    if rustix::fs::openat(
        &fd,
        format!("{up}{canary}"),
        OFlags::RDONLY | OFlags::CLOEXEC,
        Mode::empty(),
    )
    .is_ok()
    {
        println!("reached=the canary by a stolen descriptor of {pid:?}");
    }
}

/// A signal to all that it may be sent to, the supervisor included.
pub(crate) fn kill_all(number: &str) -> Result<(), String> {
    let number: i32 = number.parse().map_err(|_| "not a number")?;
    let signal = Signal::from_named_raw(number).ok_or("no such signal")?;
    let own = rustix::process::getpid();
    for pid in pids()
        .filter_map(rustix::process::Pid::from_raw)
        .filter(|pid| *pid != own)
    {
        let sent = rustix::process::kill_process(pid, signal);
        println!(
            "signal to {}={}",
            pid.as_raw_nonzero(),
            sent.map_or_else(
                |e| format!("error {}", e.raw_os_error()),
                |()| "sent".to_owned()
            )
        );
    }
    Ok(())
}
