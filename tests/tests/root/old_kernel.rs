//! Every modern call has its classic fallback: openat2, clone3, pidfds, the mount API, close_range and their like are
//! answered with ENOSYS, as a vendor's 4.4 kernel does, and the main roads must still be open.

use crate::probe;
use std::path::Path;
use tests::proc::eventually;
use tests::{Rkt, Scratch, root_test, skip};

fn old(s: &Scratch, args: &[&str], image: &Path, then: &[&str]) -> Rkt {
    Rkt::new(s).old_kernel().args(args).arg(image).args(then)
}

fn strace_is_missing() -> bool {
    tests::isolated::find("strace").is_none()
}

root_test! {
    fn fetch_and_run(s) {
        if strace_is_missing() {
            skip!("needs strace (Debian: strace)");
        }
        let image = probe(s);
        old(s, &["fetch"], &image, &[]).run().ok();
        let out = old(s, &["run", "--net=none"], &image, &["--memory=64Mi", "--", "echo", "old"]).run().ok();
        assert_eq!(out.app_lines(), ["old"]);
        old(s, &["run", "--net=none"], &image, &["--", "exit", "7"]).run().code(7);
    }
}

root_test! {
    fn volumes_and_a_read_only_root(s) {
        if strace_is_missing() {
            skip!("needs strace (Debian: strace)");
        }
        let shelf = s.mkdir("shelf");
        let volume = format!("--volume=v,kind=host,source={},readOnly=true", shelf.display());
        let out = old(
            s,
            &["run", "--net=none", &volume],
            &probe(s),
            &["--mount=volume=v,target=/v", "--readonly-rootfs=true", "--", "try-write", "/v/x", "then", "try-write", "/y"],
        )
        .run()
        .ok();
        assert_eq!(out.facts("write"), ["EROFS", "EROFS"]);
    }
}

root_test! {
    fn enter_and_stop(s) {
        if strace_is_missing() {
            skip!("needs strace (Debian: strace)");
        }
        let save = s.at("uuid");
        let flag = format!("--uuid-file-save={}", save.display());
        let mut pod =
            old(s, &["run", "--net=none", &flag], &probe(s), &["--", "echo", "ready", "then", "forever"]).spawn();
        pod.until("ready");
        let uuid = std::fs::read_to_string(&save).expect("the UUID was saved");
        let out = Rkt::new(s).old_kernel().args(["enter", &uuid, "/probe", "echo", "inside"]).run().ok();
        out.stdout_has("inside");
        Rkt::new(s).old_kernel().args(["stop", &uuid]).run().ok();
        pod.end();
        eventually("the pod is over", || {
            Rkt::new(s).args(["status", &uuid]).run().stdout.contains("state=exited").then_some(())
        });
    }
}

root_test! {
    fn confinement_is_the_same(s) {
        if strace_is_missing() {
            skip!("needs strace (Debian: strace)");
        }
        let image = probe(s);
        let new = Rkt::new(s).args(["run", "--net=none"]).arg(&image).args(["--", "facts"]).run().ok();
        let then = old(s, &["run", "--net=none"], &image, &["--", "facts"]).run().ok();
        for fact in ["CapEff", "CapBnd", "CapInh", "CapAmb", "NoNewPrivs", "Seccomp", "Uid", "mount.tmpfs", "init.exe-write"] {
            assert_eq!(new.fact(fact), then.fact(fact), "{fact}");
        }
        for fact in ["secret", "control", "fd"] {
            let numbers = |out: &tests::Output| -> Vec<String> {
                out.facts(fact).iter().map(|f| f.split_once(" pipe:").map_or(&f[..], |(n, _)| n).to_owned()).collect()
            };
            assert_eq!(numbers(&new), numbers(&then), "{fact}");
        }
    }
}
