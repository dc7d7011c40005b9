//! Symbolic links and directories that are exchanged on a volume while other apps are built on top of it.

use super::{canary, hostile, run, start};
use std::path::Path;
use tests::{Rkt, Scratch, root_test_once};

/// What the host's canary holds, to the last byte.
fn content(canary: &Path) -> Vec<(String, String)> {
    let mut all: Vec<_> = std::fs::read_dir(canary)
        .expect("the canary is ours")
        .flatten()
        .map(|e| {
            (
                e.file_name().to_string_lossy().into_owned(),
                std::fs::read_to_string(e.path()).unwrap_or_default(),
            )
        })
        .collect();
    all.sort();
    all
}

/// A pod that exchanges `/v/one` (a directory, or a file) with `/v/other` (a link to the canary) until it is stopped.
fn exchanger(s: &Scratch, shelf: &Path, target: &str) -> (tests::rkt::Running, String) {
    let image = hostile("exchanger")
        .exec(&[
            "/intruder",
            "mkdir",
            "/v/one",
            "then",
            "link",
            target,
            "/v/other",
            "then",
            "echo",
            "ready",
            "then",
            "exchange",
            "/v/one",
            "/v/other",
            "forever",
        ])
        .write(s.path());
    let volume = format!("--volume=v,kind=host,source={}", shelf.display());
    start(s, |rkt| {
        rkt.args([&volume])
            .arg(&image)
            .arg("--mount=volume=v,target=/v")
    })
}

fn stop(s: &Scratch, pod: tests::rkt::Running, uuid: &str) {
    Rkt::new(s).args(["stop", "--force", uuid]).run().ok();
    pod.end();
}

root_test_once! {
    fn mount_targets_on_a_volume(s) {
        let canary = canary(s);
        let before = content(&canary);
        let (shelf, second) = (s.mkdir("shelf"), s.mkdir("second"));
        let up = format!("{}{}", "../".repeat(24), canary.display());
        let (pod, uuid) = exchanger(s, &shelf, &up);
        let image = hostile("built").write(s.path());
        let outer = format!("--volume=v,kind=host,source={}", shelf.display());
        let inner = format!("--volume=w,kind=host,source={}", second.display());
        for round in 0..6 {
            // A directory that is there, and one that has to be made on the way.
            let target = format!("--mount=volume=w,target=/v/one{}", ["", "/made/deep"][round % 2]);
            super::slow(run(s), ["mkdirat", "openat2", "open_tree", "fstat"][round % 4])
                .args([&outer, &inner])
                .arg(&image)
                .args(["--mount=volume=v,target=/v", &target, "--exec=/intruder", "--", "touch", "/v/one/through"])
                .run();
            assert_eq!(content(&canary), before, "round {round}: the host's directory was changed");
        }
        assert!(!tests::host::mounts().iter().any(|m| m.starts_with(&canary)), "something lies on the host's directory");
        stop(s, pod, &uuid);
    }
}

root_test_once! {
    fn a_read_only_volume_stays_read_only(s) {
        let (shelf, second) = (s.mkdir("shelf"), s.mkdir("second"));
        let (pod, uuid) = exchanger(s, &shelf, "/tmp");
        let image = hostile("built").write(s.path());
        let outer = format!("--volume=v,kind=host,source={}", shelf.display());
        let inner = format!("--volume=w,kind=host,source={},readOnly=true", second.display());
        for calls in ["open_tree", "mount_setattr", "move_mount", "statx", "openat2"] {
            super::slow(run(s), calls)
                .args([&outer, &inner])
                .arg(&image)
                .args(["--mount=volume=v,target=/v", "--mount=volume=w,target=/v/one", "--exec=/intruder", "--"])
                .args(["touch", "/v/one/written", "then", "touch", "/v/other/written"])
                .run();
            assert!(content(&second).is_empty(), "{calls}: the volume was written");
        }
        stop(s, pod, &uuid);
    }
}

root_test_once! {
    fn a_source_that_is_exchanged_is_one_or_the_other(s) {
        // Who may write where a volume's source lies chooses what it is, but never anything between the two.
        let canary = canary(s);
        let shelf = s.mkdir("shelf");
        std::fs::create_dir(shelf.join("one")).expect("a directory in the scratch directory");
        std::fs::create_dir(shelf.join("other")).expect("a directory in the scratch directory");
        std::fs::write(shelf.join("one/which"), "one\n").expect("a file in the scratch directory");
        std::fs::write(shelf.join("other/which"), "other\n").expect("a file in the scratch directory");
        let image = hostile("exchanger").exec(&["/intruder", "echo", "ready", "then", "exchange", "/v/one", "/v/other", "forever"]).write(s.path());
        let volume = format!("--volume=v,kind=host,source={}", shelf.display());
        let (pod, uuid) = start(s, |rkt| rkt.args([&volume]).arg(&image).arg("--mount=volume=v,target=/v"));
        let image = hostile("built").write(s.path());
        for _ in 0..4 {
            let source = format!("--volume=w,kind=host,source={},readOnly=true", shelf.join("one").display());
            let out = super::slow(run(s), "openat,open_tree").arg(&source).arg(&image).args(["--mount=volume=w,target=/w", "--exec=/intruder", "--", "paths", "/w/which"]).run().ok();
            assert!(["one", "other"].contains(&out.fact("path /w/which").as_str()), "{out}");
        }
        stop(s, pod, &uuid);
        assert_eq!(content(&canary).len(), 1);
    }
}

root_test_once! {
    fn mounts_on_a_volume_where_the_kernel_knows_only_paths(s) {
        if tests::isolated::find("strace").is_none() {
            tests::skip!("needs `strace`, which plays the old kernel");
        }
        let (shelf, second) = (s.mkdir("shelf"), s.mkdir("second"));
        let (pod, uuid) = exchanger(s, &shelf, "/tmp");
        let image = hostile("built").write(s.path());
        let outer = format!("--volume=v,kind=host,source={}", shelf.display());
        let inner = format!("--volume=w,kind=host,source={},readOnly=true", second.display());
        for round in 0..3 {
            Rkt::new(s)
                .old_kernel()
                .args(["run", "--net=none", &outer, &inner])
                .arg(&image)
                .args(["--mount=volume=v,target=/v", "--mount=volume=w,target=/v/one", "--exec=/intruder", "--"])
                .args(["touch", "/v/one/written", "then", "touch", "/v/other/written"])
                .run();
            assert!(content(&second).is_empty(), "round {round}: the volume was written");
        }
        stop(s, pod, &uuid);
    }
}
