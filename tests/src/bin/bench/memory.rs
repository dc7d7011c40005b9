//! What a running pod costs: the proportional set size of every process that is rkt's own, and the shared memory that
//! its mounts and memfds hold, over ten one-app pods; in the foreground (two processes each) and detached (one).

use crate::start;
use std::collections::BTreeSet;
use tests::proc::eventually;
use tests::{Rkt, Scratch};

const PODS: usize = 10;

pub(crate) fn ten_pods(scratch: &Scratch) {
    let id = start::store(scratch);
    println!(
        "\nmemory of one pod in KB, from {PODS} pods of one app each (Pss of rkt's processes + Shmem held)"
    );
    for detached in [false, true] {
        measure(scratch, &id, detached);
    }
    start::sweep(scratch);
}

fn measure(scratch: &Scratch, id: &str, detached: bool) {
    let before = (pids(), shmem());
    let mut args = vec!["run", "--net=none"];
    if detached {
        args.push("--detach");
    }
    args.extend([id, "--", "forever"]);
    let mut held = Vec::new();
    for _ in 0..PODS {
        let pod = Rkt::new(scratch).args(&args).spawn();
        if detached {
            pod.end().ok();
        } else {
            held.push(pod);
        }
    }
    eventually("all apps run", || {
        let new: Vec<i32> = pids().difference(&before.0).copied().collect();
        (new.iter().filter(|p| is_app(**p)).count() == PODS).then_some(())
    });
    std::thread::sleep(std::time::Duration::from_millis(500));
    let new: Vec<i32> = pids().difference(&before.0).copied().collect();
    let own: Vec<i32> = new
        .into_iter()
        .filter(|p| !is_app(*p) && is_rkt(*p))
        .collect();
    let pss: u64 = own.iter().map(|p| pss(*p)).sum();
    let shared = shmem().saturating_sub(before.1);
    let pods = PODS as u64;
    println!(
        "  {:10} {:5} KB  = ({pss} Pss of {} processes + {shared} Shmem) / {pods}   rkt {}",
        if detached { "detached" } else { "foreground" },
        (pss + shared) / pods,
        own.len(),
        args.join(" ")
    );
    let listed = Rkt::new(scratch)
        .args(["list", "--full", "--no-legend"])
        .run()
        .ok();
    for uuid in listed
        .stdout
        .lines()
        .filter(|l| l.contains("running"))
        .filter_map(|l| l.split('\t').next())
    {
        Rkt::new(scratch).args(["stop", "--force", uuid]).run();
    }
    held.into_iter().for_each(|pod| drop(pod.end()));
}

fn pids() -> BTreeSet<i32> {
    let Ok(entries) = std::fs::read_dir("/proc") else {
        return BTreeSet::new();
    };
    entries
        .filter_map(|e| e.ok()?.file_name().to_str()?.parse().ok())
        .collect()
}

fn cmdline(pid: i32) -> String {
    String::from_utf8_lossy(&std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default())
        .into_owned()
}

fn is_app(pid: i32) -> bool {
    cmdline(pid).starts_with("/probe\0")
}

/// By program or by name: PID 1 may carry a title of its own.
fn is_rkt(pid: i32) -> bool {
    let exe = std::fs::read_link(format!("/proc/{pid}/exe")).unwrap_or_default();
    exe.to_string_lossy().contains("rkt") || cmdline(pid).contains("rkt")
}

fn number(path: &str, key: &str) -> u64 {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let line = text.lines().find_map(|l| l.strip_prefix(key)).unwrap_or("");
    line.trim_start_matches(':')
        .split_whitespace()
        .next()
        .and_then(|n| n.parse().ok())
        .unwrap_or(0)
}

fn pss(pid: i32) -> u64 {
    number(&format!("/proc/{pid}/smaps_rollup"), "Pss")
}

fn shmem() -> u64 {
    number("/proc/meminfo", "Shmem")
}
