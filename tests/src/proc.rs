//! Looking at the host's processes, and waiting for things to come true.

use std::path::PathBuf;
use std::time::{Duration, Instant};

/// Waits until `ready` gives a value; fails the test with `what` after half a minute.
#[track_caller]
pub fn eventually<T>(what: &str, mut ready: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + Duration::from_secs(30);
    loop {
        if let Some(value) = ready() {
            return value;
        }
        assert!(Instant::now() < end, "never came true: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Pids whose command line contains `part`, without our own.
pub fn with_cmdline(part: &str) -> Vec<i32> {
    let Ok(entries) = std::fs::read_dir("/proc") else {
        return Vec::new();
    };
    let own = i32::try_from(std::process::id()).unwrap_or(0);
    entries
        .filter_map(|e| e.ok()?.file_name().to_str()?.parse::<i32>().ok())
        .filter(|pid| *pid != own)
        .filter(|pid| {
            let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            String::from_utf8_lossy(&line)
                .replace('\0', " ")
                .contains(part)
        })
        .collect()
}

/// One field of `/proc/<pid>/status`.
pub fn status(pid: i32, key: &str) -> Option<String> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    text.lines()
        .find_map(|l| Some(l.strip_prefix(key)?.strip_prefix(':')?.trim().to_owned()))
}

/// Where the process' namespace of this kind lives, as the kernel names it.
pub fn namespace(pid: i32, kind: &str) -> Option<PathBuf> {
    std::fs::read_link(format!("/proc/{pid}/ns/{kind}")).ok()
}

/// The directories of all cgroup hierarchies that hold the process: `(controllers, directory)`, v2 with no name.
pub fn cgroups(pid: i32) -> Vec<(String, PathBuf)> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap_or_default();
    let mut found = Vec::new();
    for line in text.lines() {
        let mut parts = line.splitn(3, ':');
        let (Some(_), Some(names), Some(path)) = (parts.next(), parts.next(), parts.next()) else {
            continue;
        };
        let below = path.trim_start_matches('/');
        let roots: Vec<PathBuf> = if names.is_empty() {
            vec!["/sys/fs/cgroup/unified".into(), "/sys/fs/cgroup".into()]
        } else {
            names
                .split(',')
                .chain([names])
                .map(|n| PathBuf::from("/sys/fs/cgroup").join(n.strip_prefix("name=").unwrap_or(n)))
                .collect()
        };
        if let Some(dir) = roots
            .into_iter()
            .map(|r| r.join(below))
            .find(|d| d.join("cgroup.procs").exists())
        {
            found.push((names.to_owned(), dir));
        }
    }
    found
}

/// A file of the cgroup that governs `controller` for the process.
pub fn cgroup_value(pid: i32, controller: &str, v1: &str, v2: &str) -> Option<String> {
    let all = cgroups(pid);
    let read = |dir: &PathBuf, file: &str| {
        std::fs::read_to_string(dir.join(file))
            .ok()
            .map(|t| t.trim().to_owned())
    };
    let by_v1 = all
        .iter()
        .find(|(names, _)| names.split(',').any(|n| n == controller))
        .and_then(|(_, dir)| read(dir, v1));
    by_v1.or_else(|| {
        all.iter()
            .find(|(names, _)| names.is_empty())
            .and_then(|(_, dir)| read(dir, v2))
    })
}

/// A TCP port of the loopback that nobody listens on at this moment.
pub fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("the loopback is up");
    listener
        .local_addr()
        .expect("a bound socket has an address")
        .port()
}
