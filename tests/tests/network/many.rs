//! Many pods at once, and many that are killed: every address once, and nothing left of any.

use crate::{call, leases, stored};
use rustix::process::{Pid, Signal, kill_process};
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use tests::host::{Traces, assert_nothing_left};
use tests::isolated::sweep;
use tests::proc::eventually;
use tests::{Rkt, net_test};

const AT_ONCE: usize = 8;

/// How many; `RKT_TEST_MANY` says another number.
fn many() -> usize {
    std::env::var("RKT_TEST_MANY")
        .ok()
        .and_then(|n| n.parse().ok())
        .unwrap_or(200)
}

/// `body` for each number, by so many threads.
fn each(count: usize, body: impl Fn(usize) + Sync) {
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                loop {
                    let i = next.fetch_add(1, Ordering::Relaxed);
                    if i >= count {
                        return;
                    }
                    body(i);
                }
            });
        }
    });
}

fn entries(dir: &str) -> usize {
    std::fs::read_dir(dir).map_or(0, Iterator::count)
}

net_test! {
    fn all_alive_at_once_have_addresses_of_their_own(lab) {
        let id = stored(lab);
        let count = many();
        let before = Traces::now(lab.path());
        each(count, |_| {
            Rkt::new(&lab.scratch).args(["run", "--detach", &id, "--", "forever"]).run().ok();
        });
        let pods = call(lab, &["list", "--format=json"]).ok().json();
        let pods = pods.as_array().expect("a list of pods");
        assert_eq!(pods.len(), count);
        for key in ["ip", "ip6"] {
            let addresses: BTreeSet<&str> = pods.iter().filter_map(|p| p["networks"][0][key].as_str()).collect();
            assert_eq!(addresses.len(), count, "{key}: {addresses:?}");
        }
        assert_eq!(leases("default").len(), 2 * count, "each address has its file");
        assert_eq!(entries("/run/netns"), count);
        assert_eq!(tests::host::tables().iter().filter(|t| t.contains("rkt-")).count(), 2 * count);
        let uuids: Vec<&str> = pods.iter().filter_map(|p| p["name"].as_str()).collect();
        for some in uuids.chunks(25) {
            Rkt::new(&lab.scratch).args(["stop", "--force"]).args(some).run().ok();
        }
        sweep(&lab.scratch);
        assert_eq!(leases("default"), [""; 0]);
        assert_eq!(entries("/run/netns"), 0);
        assert_nothing_left(&before, lab.path());
    }
}

net_test! {
    fn one_after_the_other_in_the_foreground_leave_nothing_even_without_gc(lab) {
        let id = stored(lab);
        let before = Traces::now(lab.path());
        each(many() / 4, |_| {
            Rkt::new(&lab.scratch).args(["run", &id, "--", "exit", "3"]).run().code(3);
        });
        assert_eq!((leases("default"), entries("/run/netns")), (Vec::new(), 0));
        assert_nothing_left(&before, lab.path());
    }
}

/// A sequence that looks random and is the same for the same seed (xorshift).
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end.max(1)
    }
}

fn kill(pid: i32) {
    if let Some(pid) = Pid::from_raw(pid) {
        let _ = kill_process(pid, Signal::KILL);
    }
}

/// Children of a process that its only thread made: of `rkt run`, the pod's first process.
fn children(pid: i32) -> Vec<i32> {
    let text =
        std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    text.split_whitespace()
        .filter_map(|p| p.parse().ok())
        .collect()
}

net_test! {
    fn killed_at_random_moments_gc_frees_everything(lab) {
        let id = stored(lab);
        let seed = std::env::var("RKT_TEST_SEED").ok().and_then(|s| s.parse().ok()).unwrap_or_else(|| {
            u64::from(std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(1, |d| d.subsec_nanos())) | 1
        });
        eprintln!("RKT_TEST_SEED={seed}");
        let before = Traces::now(lab.path());
        // Kills are spread over the time that a start takes here and now.
        let began = Instant::now();
        Rkt::new(&lab.scratch).args(["run", &id, "--", "exit", "0"]).run().ok();
        let whole = began.elapsed().max(Duration::from_millis(10));
        each(many(), |i| {
            let mut dice = Dice(seed.wrapping_add(i as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
            dice.below(1);
            let flag = format!("--port=http:{}", 20_000 + i);
            let pod = Rkt::new(&lab.scratch).args(["run", &flag, &id, "--", "exit", "0"]).spawn();
            // Eight run at once on fewer cores, so that each takes longer than one alone.
            let micros = u64::try_from(whole.as_micros()).unwrap_or(u64::MAX).saturating_mul(3);
            std::thread::sleep(Duration::from_micros(dice.below(micros)));
            let own = children(pod.pid());
            match dice.below(3) {
                0 => pod.signal(Signal::KILL),
                1 => own.into_iter().for_each(kill),
                _ => {
                    pod.signal(Signal::STOP);
                    own.into_iter().for_each(kill);
                    pod.signal(Signal::KILL);
                }
            }
            pod.end();
        });
        eventually("no pod runs any more", || {
            let listed = call(lab, &["list", "--full", "--no-legend"]).ok().stdout;
            (!listed.contains("running") && !listed.contains("preparing")).then_some(())
        });
        sweep(&lab.scratch);
        assert_eq!(leases("default"), [""; 0], "seed {seed}");
        assert_eq!(entries("/run/netns"), 0, "seed {seed}");
        assert_nothing_left(&before, lab.path());
        // And the next one starts as if nothing had been.
        Rkt::new(&lab.scratch).args(["run", "--port=http:20000", &id, "--", "exit", "0"]).run().ok();
    }
}

net_test! {
    fn a_small_range_serves_any_number_one_after_the_other(lab) {
        crate::network(lab, "10-small.conf", &serde_json::json!({
            "name": "small", "type": "ptp", "ipam": {"type": "host-local", "subnet": "10.81.0.0/29"},
        }));
        let id = stored(lab);
        for _ in 0..12 {
            Rkt::new(&lab.scratch).args(["run", "--net=small", &id, "--", "exit", "0"]).run().ok();
        }
        assert!(Path::new("/var/lib/cni/networks/small/lock").exists());
        assert_eq!(leases("small"), [""; 0]);
    }
}

net_test! {
    fn a_bridge_that_all_want_to_make_at_once(lab) {
        crate::network(lab, "10-ring.conf", &serde_json::json!({
            "name": "ring", "type": "bridge", "bridge": "ring0", "isGateway": true, "ipMasq": true,
            "ipam": {"type": "host-local", "subnet": "10.82.0.0/24"},
        }));
        let id = stored(lab);
        each(3 * AT_ONCE, |_| {
            Rkt::new(&lab.scratch).args(["run", "--detach", "--net=ring", &id, "--", "forever"]).run().ok();
        });
        let pods = call(lab, &["list", "--format=json"]).ok().json();
        let pods = pods.as_array().expect("a list of pods");
        let addresses: BTreeSet<&str> = pods.iter().filter_map(|p| p["networks"][0]["ip"].as_str()).collect();
        assert_eq!(addresses.len(), 3 * AT_ONCE);
        let ports = tests::view::json(&["-j", "link", "show", "master", "ring0"]);
        assert_eq!(ports.len(), 3 * AT_ONCE, "a port of the bridge each");
        let uuids: Vec<&str> = pods.iter().filter_map(|p| p["name"].as_str()).collect();
        Rkt::new(&lab.scratch).args(["stop", "--force"]).args(uuids).run().ok();
        sweep(&lab.scratch);
        assert_eq!(leases("ring"), [""; 0]);
        assert!(!tests::view::json(&["-j", "link", "show", "ring0"]).is_empty(), "a bridge stays, as with CNI");
    }
}
