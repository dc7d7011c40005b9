//! From prepare to gone: stop, enter, kill, rm, gc, images that leave before their pods do, and what list and status
//! say meanwhile.

use crate::{call, probe, run, start, status};
use rustix::process::Signal;
use std::path::Path;
use tests::proc::eventually;
use tests::{Rkt, Scratch, root_test};

/// `list --format=json`, by UUID.
fn state(s: &Scratch, uuid: &str) -> String {
    let pods = call(s, &["list", "--format=json"]).ok().json();
    let found = pods
        .as_array()
        .into_iter()
        .flatten()
        .find(|p| p["name"] == uuid);
    found
        .and_then(|p| p["state"].as_str())
        .unwrap_or("unlisted")
        .to_owned()
}

fn kill(pid: i32, signal: Signal) {
    let pid = rustix::process::Pid::from_raw(pid).expect("a pid is not zero");
    rustix::process::kill_process(pid, signal).expect("the process was alive a moment ago");
}

/// Pid 1 of the pod as the host numbers it: what `status` prints.
fn init(s: &Scratch, uuid: &str) -> i32 {
    eventually("status knows the pid", || {
        status(s, uuid, "pid")?.parse().ok().filter(|p| *p > 1)
    })
}

root_test! {
    fn prepare_then_image_rm_then_run_prepared(s) {
        let image = probe(s);
        let uuid = call(s, &["prepare", &image.display().to_string(), "--", "echo", "late"]).ok().stdout;
        let uuid = uuid.trim();
        assert_eq!(state(s, uuid), "prepared");
        call(s, &["image", "rm", "example.com/probe"]).ok().stdout_has("successfully removed aci");
        let out = call(s, &["run-prepared", "--net=none", uuid]).ok();
        assert_eq!(out.app_lines(), ["late"]);
        assert_eq!(state(s, uuid), "exited");
        call(s, &["run-prepared", "--net=none", uuid]).code(254).stderr_has("is not prepared");
        call(s, &["rm", uuid]).ok().stdout_has(&format!("\"{uuid}\""));
        assert_eq!(state(s, uuid), "unlisted");
    }
}

root_test! {
    fn the_pod_is_listed_while_it_runs_and_after(s) {
        let (pod, uuid) = start(s, &probe(s), &[], &["await", "/tmp/go", "then", "exit", "4"]);
        assert_eq!(state(s, &uuid), "running");
        assert_eq!(status(s, &uuid, "state").as_deref(), Some("running"));
        assert_eq!(status(s, &uuid[..8], "state").as_deref(), Some("running"), "a unique prefix is enough");
        call(s, &["enter", &uuid, "/probe", "write", "/tmp/go", "x"]).ok();
        assert_eq!(pod.end().code, 4);
        assert_eq!(state(s, &uuid), "exited");
        assert_eq!(status(s, &uuid, "app-probe").as_deref(), Some("4"));
    }
}

root_test! {
    fn stop_lets_the_app_go_and_force_kills_it(s) {
        for flags in [&["stop"][..], &["stop", "--force"][..]] {
            let (pod, uuid) = start(s, &probe(s), &[], &["forever"]);
            let out = Rkt::new(s).args(flags).arg(&uuid).run().ok();
            assert_eq!(out.stdout, format!("\"{uuid}\"\n"));
            pod.end();
            assert_eq!(state(s, &uuid), "exited");
            call(s, &["stop", &uuid]).ok().stdout_has("is already stopped");
        }
    }
}

root_test! {
    fn a_signal_to_the_foreground_process_stops_the_pod(s) {
        for signal in [Signal::TERM, Signal::INT] {
            let (pod, uuid) = start(s, &probe(s), &[], &["forever"]);
            pod.signal(signal);
            pod.end();
            assert_eq!(state(s, &uuid), "exited");
        }
    }
}

root_test! {
    fn outer_killed_the_pod_stops_in_order(s) {
        let (pod, uuid) = start(s, &probe(s), &[], &["forever"]);
        let app = eventually("the app is visible", || tests::proc::with_cmdline("/probe echo ready").first().copied());
        pod.signal(Signal::KILL);
        pod.end();
        eventually("the app is gone", || (!Path::new(&format!("/proc/{app}")).exists()).then_some(()));
        eventually("the pod's lock is free", || (state(s, &uuid) == "exited").then_some(()));
        call(s, &["rm", &uuid]).ok();
    }
}

root_test! {
    fn pid_1_killed_the_pod_ends_with_137(s) {
        let (pod, uuid) = start(s, &probe(s), &[], &["forever"]);
        kill(init(s, &uuid), Signal::KILL);
        assert_eq!(pod.end().code, 137);
        assert_eq!(state(s, &uuid), "exited");
        call(s, &["gc", "--grace-period=0s"]).ok();
        assert_eq!(state(s, &uuid), "unlisted");
    }
}

root_test! {
    fn both_killed_gc_cleans_up(s) {
        let (pod, uuid) = start(s, &probe(s), &[], &["forever"]);
        let first = init(s, &uuid);
        pod.signal(Signal::STOP);
        kill(first, Signal::KILL);
        pod.signal(Signal::KILL);
        pod.end();
        eventually("the pod's lock is free", || (state(s, &uuid) == "exited").then_some(()));
        call(s, &["gc", "--grace-period=0s"]).ok();
        assert_eq!(state(s, &uuid), "unlisted");
    }
}

root_test! {
    fn orphans_are_reaped_and_die_with_the_pod(s) {
        let out = run(s, &probe(s)).args(["--", "orphan", "forever", "then", "echo", "parent-over"]).run().ok();
        out.stdout_has("parent-over");
        eventually("the orphan is gone", || tests::proc::with_cmdline("/proc/self/exe forever").is_empty().then_some(()));
    }
}

root_test! {
    fn gc_keeps_what_is_young_and_running(s) {
        let (pod, uuid) = start(s, &probe(s), &[], &["forever"]);
        run(s, &probe(s)).args(["--", "echo", "short"]).run().ok();
        call(s, &["gc"]).ok();
        call(s, &["gc"]).ok().stderr_has("still within grace period (30m0s)");
        call(s, &["gc", "--grace-period=0s"]).ok().stdout_has("Garbage collecting pod");
        assert_eq!(state(s, &uuid), "running");
        call(s, &["rm", &uuid]).code(254).stderr_has("is currently running");
        call(s, &["stop", "--force", &uuid]).ok();
        pod.end();
    }
}

root_test! {
    fn a_detached_pod_outlives_its_caller(s) {
        let save = s.at("uuid");
        let started = Rkt::new(s)
            .args(["run", "--net=none", "--detach"])
            .arg(format!("--uuid-file-save={}", save.display()))
            .arg(probe(s))
            .args(["--", "echo", "from-afar", "then", "forever"])
            .run()
            .ok();
        let uuid = std::fs::read_to_string(&save).expect("the UUID was saved");
        assert!(started.stdout.contains(&uuid), "a detached run names its pod\n{started}");
        assert_eq!(state(s, &uuid), "running");
        eventually("the log has the app's line", || {
            call(s, &["logs", &uuid]).stdout.contains("from-afar").then_some(())
        });
        call(s, &["enter", &uuid, "/probe", "echo", "inside"]).ok().stdout_has("inside");
        call(s, &["stop", &uuid]).ok();
        assert_eq!(state(s, &uuid), "exited");
        call(s, &["logs", &uuid]).ok().stdout_has("from-afar");
    }
}

root_test! {
    fn logs_of_a_foreground_pod_stay_until_it_is_removed(s) {
        let image = probe(s);
        let save = s.at("uuid");
        Rkt::new(s)
            .args(["run", "--net=none", &format!("--uuid-file-save={}", save.display())])
            .arg(&image)
            .args(["--", "lines", "100", "then", "warn", "to-err"])
            .run()
            .ok();
        let uuid = std::fs::read_to_string(&save).expect("the UUID was saved");
        let out = call(s, &["logs", &uuid]).ok();
        let both = format!("{}{}", out.stdout, out.stderr);
        assert!(both.contains("line 0") && both.contains("line 99") && both.contains("to-err"), "{out}");
    }
}

root_test! {
    fn run_with_rm_leaves_no_pod(s) {
        let out = Rkt::new(s).args(["run", "--net=none", "--rm"]).arg(probe(s)).args(["--", "exit", "6"]).run();
        assert_eq!(out.code, 6, "{out}");
        assert_eq!(call(s, &["list", "--no-legend"]).ok().stdout, "");
    }
}

root_test! {
    fn export_of_an_exited_pod_holds_its_writes(s) {
        let image = probe(s);
        let save = s.at("uuid");
        Rkt::new(s)
            .args(["run", "--net=none", &format!("--uuid-file-save={}", save.display())])
            .arg(&image)
            .args(["--", "write", "/written", "kept"])
            .run()
            .ok();
        let uuid = std::fs::read_to_string(&save).expect("the UUID was saved");
        let aci = s.at("exported.aci").display().to_string();
        call(s, &["export", &uuid, &aci]).ok();
        call(s, &["export", &uuid, &aci]).code(254).stderr_has("target file exists (try --overwrite)");
        let again = Scratch::new("exported");
        let out = Rkt::new(&again).args(["run", "--net=none", &aci, "--", "cat", "/written"]).run().ok();
        assert_eq!(out.app_lines(), ["kept"]);
        tests::isolated::sweep(&again);
    }
}

root_test! {
    fn wait_ends_when_the_pod_does(s) {
        let (pod, uuid) = start(s, &probe(s), &[], &["await", "/tmp/go"]);
        call(s, &["status", "--wait=100ms", &uuid]).code(254).stderr_has("context deadline exceeded");
        let waiting = Rkt::new(s).args(["status", "--wait", &uuid]).spawn();
        call(s, &["enter", &uuid, "/probe", "write", "/tmp/go", "x"]).ok();
        waiting.end().ok().stdout_has("exited=true");
        pod.end();
    }
}

root_test! {
    fn a_hundred_pods_at_once_leave_nothing(s) {
        let image = probe(s);
        call(s, &["fetch", &image.display().to_string()]).ok();
        for _ in 0..10 {
            let batch: Vec<_> =
                (0..10).map(|i| run(s, &image).args(["--", "exit", &i.to_string()]).spawn()).collect();
            for (i, pod) in batch.into_iter().enumerate() {
                assert_eq!(pod.end().code, i32::try_from(i).expect("small"));
            }
        }
        let pods = call(s, &["list", "--format=json"]).ok().json();
        assert_eq!(pods.as_array().map(Vec::len), Some(100));
    }
}
