//! Entering a hostile pod, and the orders that make rkt look into one.

use super::{call, canary, hostile, run, start};
use tests::tar::Entry;
use tests::{Rkt, Scratch, root_test_once};

/// Programs and libraries that a careless runtime would execute or load from the image.
const BAIT: [&str; 12] = [
    "bin/sh",
    "bin/bash",
    "usr/bin/ps",
    "bin/ps",
    "usr/bin/nsenter",
    "usr/bin/xz",
    "usr/bin/unpigz",
    "usr/bin/gzip",
    "sbin/iptables",
    "lib/x86_64-linux-gnu/libnss_files.so.2",
    "lib/libnss_files.so.2",
    "usr/bin/tar",
];

fn baited(s: &Scratch) -> std::path::PathBuf {
    let bait = std::fs::read(tests::rkt::probe().with_file_name("intruder"))
        .expect("the test programs are built together");
    let mut aci = hostile("baited").with(Entry::program("rootfs/rkt-app", bait.clone()));
    for name in BAIT {
        aci = aci.with(Entry::program(&format!("rootfs/{name}"), bait.clone()));
    }
    aci.exec(&["/rkt-app", "echo", "ready", "then", "forever"])
        .write(s.path())
}

root_test_once! {
    fn no_program_or_library_of_the_image_is_used(s) {
        let Some(strace) = tests::isolated::find("strace") else {
            tests::skip!("needs `strace`, which sees what is executed");
        };
        let image = baited(s);
        let (pod, uuid) = start(s, |rkt| rkt.arg(&image));
        let exported = s.at("exported.aci").display().to_string();
        let verbs: [&[&str]; 6] = [
            &["enter", &uuid, "/probe", "echo", "x"],
            &["status", &uuid],
            &["list", "--full"],
            &["logs", &uuid],
            &["stop", "--force", &uuid],
            &["export", &uuid, &exported],
        ];
        let log = s.at("strace");
        for verb in verbs {
            let words = ["-f", "-qqq", "-y", "-e", "trace=execve,execveat,openat,openat2,open", "-o", &log.display().to_string()].map(str::to_owned);
            let words: Vec<String> = std::iter::once(strace.display().to_string()).chain(words).collect();
            Rkt::new(s).through(&words, &tests::rkt::binary()).args(verb).run();
            let seen = std::fs::read_to_string(&log).expect("strace wrote its log");
            assert!(seen.contains("execve("), "{verb:?}: nothing was seen");
            for line in seen.lines().filter(|l| l.contains("execve(") || l.contains("execveat(")) {
                // Our own program by name or descriptor, and what was asked for.
                let known = line.contains("/rkt\"") || line.contains("\"/proc/self/exe\", [\"rkt\", \"stage1\"") || line.contains("execveat(") && line.contains("AT_EMPTY_PATH") || line.contains("\"/probe\"") || line.contains("resumed");
                assert!(known, "{verb:?} executed {line}");
            }
            for line in seen.lines().filter(|l| BAIT.iter().any(|b| l.contains(&format!("/{b}\"")))) {
                assert!(verb[0] == "export", "{verb:?} opened {line}");
            }
        }
        pod.end();
    }
}

root_test_once! {
    fn signals_of_the_app_end_the_command_and_nothing_else(s) {
        let image = hostile("killer").exec(&["/intruder", "echo", "ready", "then", "await", "/now", "then", "kill-all", "15", "then", "kill-all", "9", "then", "echo", "killed", "then", "forever"]).write(s.path());
        let (mut pod, uuid) = start(s, |rkt| rkt.arg(&image));
        let entered = Rkt::new(s).args(["enter", &uuid, "/intruder", "touch", "/now", "then", "forever"]).spawn();
        pod.until("killed");
        let out = entered.end();
        assert!(out.code == 128 + 15 || out.code == 128 + 9 || out.code == 15 || out.code == 9, "{out}");
        // The supervisor is still there, and answers.
        call(s, &["enter", &uuid, "/intruder", "echo", "alive"]).ok().stdout_has("alive");
        call(s, &["stop", "--force", &uuid]).ok();
        pod.end();
    }
}

root_test_once! {
    fn output_without_end_takes_no_memory(s) {
        let image = hostile("loud").exec(&["/intruder", "echo", "ready", "then", "forever"]).write(s.path());
        let (pod, uuid) = start(s, |rkt| rkt.arg(&image));
        // To a reader that goes away, and to one that never reads.
        let sink = std::process::Command::new("sh")
            .args(["-c", "\"$0\" \"$@\" | head -c 1000000 >/dev/null"])
            .arg(tests::rkt::binary())
            .args([format!("--dir={}", s.data().display()), "enter".to_owned(), uuid.clone()])
            .args(["/intruder", "fill", "64"])
            .stdin(std::process::Stdio::null())
            .status()
            .expect("a shell");
        assert!(sink.success());
        call(s, &["stop", "--force", &uuid]).ok();
        pod.end();
        let image = hostile("loud").write(s.path());
        let out = run(s).memory(256 << 20).arg("--detach").arg(&image).args(["--exec=/intruder", "--", "fill", "64"]).run();
        assert!(!out.stderr.contains("memory allocation"), "{out}");
        let uuid = out.stdout.trim().to_owned();
        call(s, &["status", "--wait", &uuid]);
        let logs = s.data().join("pods");
        assert!(size(&logs, "loud") < 48 << 20, "the log holds {} bytes", size(&logs, "loud"));
    }
}

/// Bytes that files whose names begin so take below a directory `log`.
fn size(dir: &std::path::Path, name: &str) -> u64 {
    let mut sum = 0;
    for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        let meta = entry.metadata().expect("an entry's facts");
        let inside_log = dir.file_name().is_some_and(|d| d == "log");
        if meta.is_dir() && !inside_log {
            sum += size(&entry.path(), name);
        } else if inside_log && entry.file_name().to_string_lossy().starts_with(name) {
            sum += meta.len();
        }
    }
    sum
}

root_test_once! {
    fn what_an_app_left_behind_leads_nobody_astray(s) {
        use std::os::unix::fs::FileTypeExt;
        let canary = canary(s);
        let image = hostile("planter").exec(&["/intruder", "plant", &canary.display().to_string(), "/planted", "then", "echo", "ready"]).write(s.path());
        for flag in ["--no-overlay=false", "--no-overlay=true"] {
            let (pod, uuid) = start(s, |rkt| rkt.arg(flag).arg(&image));
            pod.end();
            let archive = s.at("exported.aci");
            let out = Rkt::new(s).args(["export", "--overwrite", &uuid]).arg(&archive).run();
            assert_eq!(out.code, 0, "{out}");
            let id = call(s, &["fetch", "--full", &archive.display().to_string()]).ok().stdout.trim().to_owned();
            for verb in [&["image", "extract", "--rootfs-only", "--overwrite"][..], &["image", "render", "--rootfs-only", "--overwrite"], &["image", "export", "--overwrite"]] {
                // A link where the result is to be: it is replaced or refused, not followed.
                let target = s.at("result");
                let _ = std::fs::remove_file(&target).or_else(|_| std::fs::remove_dir_all(&target));
                std::os::unix::fs::symlink(&canary, &target).expect("a link in the scratch directory");
                Rkt::new(s).args(verb).arg(&id).arg(&target).run();
                let _ = std::fs::remove_file(&target).or_else(|_| std::fs::remove_dir_all(&target));
                let out = Rkt::new(s).args(verb).arg(&id).arg(&target).run();
                assert_eq!(out.code, 0, "{out}");
                if verb[1] != "export" {
                    let planted = target.join("planted");
                    assert_eq!(std::fs::read_link(planted.join("absolute")).ok().as_deref(), Some(canary.as_path()));
                    assert!(planted.join("fifo").symlink_metadata().is_ok_and(|m| m.file_type().is_fifo() || m.is_file()), "{out}");
                    assert!(planted.join("real").is_dir(), "{out}");
                }
                let left: Vec<_> = std::fs::read_dir(&canary).expect("the canary is ours").flatten().map(|e| e.file_name()).collect();
                assert_eq!(left, ["secret"], "{verb:?} wrote through a link");
                assert_eq!(std::fs::read(canary.join("secret")).ok().as_deref(), Some(&b"of the host\n"[..]));
            }
        }
    }
}

root_test_once! {
    fn the_state_on_disk_is_for_root_alone(s) {
        use std::os::unix::fs::MetadataExt;
        let image = hostile("plain").exec(&["/intruder", "echo", "ready", "then", "forever"]).write(s.path());
        let (pod, uuid) = start(s, |rkt| rkt.arg(&image));
        let data = s.data();
        for place in [data.clone(), data.join("pods"), data.join("pods/run"), data.join("pods/run").join(&uuid)] {
            let meta = std::fs::metadata(&place).expect("the data directory");
            assert_eq!(meta.mode() & 0o007, 0, "{} is {:o}", place.display(), meta.mode());
            assert_eq!(meta.uid(), 0);
        }
        let control = std::fs::metadata(data.join("pods/run").join(&uuid).join("control")).expect("the control socket");
        assert_eq!(control.mode() & 0o077, 0, "{:o}", control.mode());
        call(s, &["stop", "--force", &uuid]).ok();
        pod.end();
    }
}

root_test_once! {
    fn no_socket_of_ours_has_an_abstract_name(s) {
        let names = || -> Vec<String> {
            let text = std::fs::read_to_string("/proc/net/unix").unwrap_or_default();
            text.lines().filter_map(|l| l.split_whitespace().nth(7)).filter(|n| n.starts_with('@')).map(str::to_owned).collect()
        };
        let before = names();
        let image = hostile("plain").exec(&["/intruder", "echo", "ready", "then", "forever"]).write(s.path());
        let save = s.at("uuid");
        let mut pod = Rkt::new(s).args(["run", "--net=host"]).arg(format!("--uuid-file-save={}", save.display())).arg(&image).spawn();
        pod.until("ready");
        let new: Vec<String> = names().into_iter().filter(|n| !before.contains(n)).collect();
        assert!(new.is_empty(), "reachable from every pod of this network namespace: {new:?}");
        let uuid = std::fs::read_to_string(&save).expect("--uuid-file-save wrote the file");
        call(s, &["stop", "--force", &uuid]).ok();
        pod.end();
    }
}
