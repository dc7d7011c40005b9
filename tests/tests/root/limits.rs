//! Limits: enforced by the kernel, and read back from it. On which cgroup version is the machine's choice; the VM rig
//! has the other one.

use crate::{call, probe, run, start};
use tests::proc::{cgroup_value, eventually, with_cmdline};
use tests::root_test;

/// The app's pid as the host numbers it.
fn app() -> i32 {
    eventually("the app is visible", || {
        with_cmdline("/probe echo ready").first().copied()
    })
}

root_test! {
    fn over_the_memory_limit_is_137(s) {
        let image = probe(s);
        run(s, &image).args(["--memory=32Mi", "--", "eat", "200"]).run().code(137);
        let out = run(s, &image).args(["--memory=64Mi", "--", "eat", "8"]).run().ok();
        assert_eq!(out.fact("ate"), "8");
    }
}

root_test! {
    fn memory_reads_back(s) {
        let (pod, uuid) = start(s, &probe(s), &["--memory=48Mi"], &["forever"]);
        let limit = cgroup_value(app(), "memory", "memory.limit_in_bytes", "memory.max");
        assert_eq!(limit.as_deref(), Some("50331648"));
        call(s, &["stop", "--force", &uuid]).ok();
        pod.end();
    }
}

root_test! {
    fn cpu_reads_back(s) {
        let (pod, uuid) = start(s, &probe(s), &["--cpu=500m"], &["forever"]);
        let pid = app();
        if let Some(both) = cgroup_value(pid, "none", "", "cpu.max") {
            assert_eq!(both, "50000 100000");
        } else {
            let number = |file| cgroup_value(pid, "cpu", file, file).and_then(|v| v.parse::<i64>().ok()).unwrap_or(-1);
            let (quota, period) = (number("cpu.cfs_quota_us"), number("cpu.cfs_period_us"));
            assert!(quota > 0 && quota * 2 == period, "quota {quota}, period {period}");
        }
        call(s, &["stop", "--force", &uuid]).ok();
        pod.end();
    }
}

root_test! {
    fn cpu_shares_read_back(s) {
        let (pod, uuid) = start(s, &probe(s), &["--cpu-shares=512"], &["forever"]);
        let pid = app();
        let weight = cgroup_value(pid, "none", "", "cpu.weight");
        let shares = cgroup_value(pid, "cpu", "cpu.shares", "none");
        assert!(shares.as_deref() == Some("512") || weight.is_some_and(|w| w != "100"), "{shares:?}");
        call(s, &["stop", "--force", &uuid]).ok();
        pod.end();
    }
}

root_test! {
    fn oom_score_adj_is_set(s) {
        let out = run(s, &probe(s)).args(["--oom-score-adj=500", "--", "facts"]).run().ok();
        assert_eq!(out.fact("oom_score_adj"), "500");
    }
}

root_test! {
    fn too_little_memory_is_refused(s) {
        run(s, &probe(s)).args(["--memory=100", "--", "echo", "x"]).run().code(254).stderr_has("too low");
    }
}
