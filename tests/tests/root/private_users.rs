//! `--private-users`: root in the pod is nobody on the host, its files on disk keep the owners that the image and
//! the host gave them, and no two pods have an id in common.

use crate::{call, probe, run, start};
use std::collections::BTreeSet;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use tests::{Aci, Output, Rkt, root_test};

/// The host's id of the pod's root, from the map that the app sees.
fn first(out: &Output) -> u32 {
    let map = out.app_lines();
    let line = map.iter().find(|line| line.split_whitespace().count() == 3);
    let line = line.unwrap_or_else(|| panic!("no id map\n{out}"));
    let fields: Vec<u32> = line
        .split_whitespace()
        .filter_map(|word| word.parse().ok())
        .collect();
    let [0, first, 65536] = fields[..] else {
        panic!("{line} is not the map of a pod\n{out}");
    };
    assert!(first >= 65536 && first % 65536 == 0, "{line}");
    first
}

/// Below `dir`, wherever it is.
fn find(dir: &Path, name: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.file_name().is_some_and(|leaf| leaf == name) {
            found.push(path.clone());
        }
        if path.symlink_metadata().is_ok_and(|meta| meta.is_dir()) {
            found.extend(find(&path, name));
        }
    }
    found
}

fn owner(path: &Path) -> (u32, u32) {
    let meta = path
        .symlink_metadata()
        .unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    (meta.uid(), meta.gid())
}

root_test! {
    fn root_in_the_pod_is_nobody_on_the_host(s) {
        let out = run(s, &probe(s)).args(["--private-users", "--", "cat", "/proc/self/uid_map", "then", "cat", "/proc/self/gid_map", "then", "facts"]).run().ok();
        first(&out);
        assert!(out.fact("Uid").starts_with("0 "), "{out}");
        assert_eq!(out.fact("Seccomp"), "2");
        assert_eq!(out.fact("CapInh"), "0000000000000000");
        assert_eq!(out.fact("root.write"), "ok", "root writes its own root\n{out}");
        for (what, result) in [("device.sda", "ok"), ("mount.tmpfs", "ok"), ("init.mem", "ok"), ("init.walk", "ok"), ("init.fds", "ok")] {
            assert_ne!(out.fact(what), result, "{what}\n{out}");
        }
        for device in ["null", "zero", "full", "random", "urandom"] {
            assert_eq!(out.fact(&format!("open.{device}")), "ok", "{device}\n{out}");
        }
        let host = std::fs::read_link("/proc/self/ns/user").expect("there are user namespaces");
        assert_ne!(out.fact("ns.user"), host.display().to_string());
    }
}

root_test! {
    fn what_a_pod_writes_has_the_right_owner_on_the_host(s) {
        // Before Linux 5.12 a pod's files are copies with the pod's ids, and there is no way to show it the host's.
        let mapped = sys::mount::knows_attributes();
        for overlay in [true, false] {
            let dir = s.mkdir(if overlay { "overlaid" } else { "copied" });
            chown(&dir, Some(1000), Some(1000)).expect("root gives away");
            let theirs = dir.join("theirs");
            std::fs::write(&theirs, "a secret\n").expect("written");
            std::fs::set_permissions(&theirs, PermissionsExt::from_mode(0o600)).expect("changed");
            chown(&theirs, Some(1000), Some(1000)).expect("root gives away");
            let mut rkt = Rkt::new(s).args(["run", "--net=none", "--private-users"]);
            if !overlay {
                rkt = rkt.args(["--no-overlay"]);
            }
            let volume = format!("--volume=v,kind=host,source={}", dir.display());
            if !mapped {
                let out = Rkt::new(s).args(["run", "--net=none", "--private-users", &volume, "--mount=volume=v,target=/v"])
                    .arg(probe(s)).args(["--", "write", "/v/ours", "x"]).run().code(254);
                assert!(out.stderr.contains("volume \"v\"") && out.stderr.contains("readOnly=true"), "{out}");
                assert!(!dir.join("ours").exists());
                call(s, &["gc", "--grace-period=0s"]).ok();
                call(s, &["gc", "--grace-period=0s"]).ok();
            }
            let (written, read) = if mapped { ("/v/ours", "/v/theirs") } else { ("/also", "/kept-by-the-pod") };
            let out = rkt
                .arg(format!("{volume},readOnly={}", !mapped))
                .args(["--mount=volume=v,target=/v", "--volume=e,kind=empty,mode=0700,uid=7,gid=8", "--mount=volume=e,target=/e"])
                .arg(probe(s))
                .args(["--", "write", written, "x", "then", "write", "/kept-by-the-pod", "x", "then", "write", "/e/in-empty", "x",
                       "then", "cat", read, "then", "stat", "/v/theirs", "then", "stat", "/e", "then", "stat", "/"])
                .run()
                .ok();
            if mapped {
                assert!(out.stdout.contains("a secret"), "root of the pod reads what is another's in it\n{out}");
                assert_eq!(owner(&dir.join("ours")), (0, 0), "the volume's file belongs to root as it does in the pod");
            }
            assert_eq!(owner(&theirs), (1000, 1000));
            let pods = s.data().join("pods");
            let kept = find(&pods, "kept-by-the-pod");
            assert_eq!(kept.len(), 1, "{kept:?}");
            let in_empty = find(&pods, "in-empty");
            // With an overlay nothing is shifted on the disk; a copy's files are the pod's own.
            let range = std::fs::read_to_string(&find(&pods, "private-users-prepared")[0]).expect("the pod's range");
            let base: u32 = range.split(':').next().and_then(|n| n.parse().ok()).expect("FIRST:COUNT");
            assert_eq!(owner(&kept[0]).0, if overlay && mapped { 0 } else { base });
            let moved = if mapped { 0 } else { base };
            assert_eq!(owner(&in_empty[0]), (moved, moved));
            assert_eq!(owner(in_empty[0].parent().expect("it lies in the volume")), (moved + 7, moved + 8));
            call(s, &["gc", "--grace-period=0s"]).ok();
            call(s, &["gc", "--grace-period=0s"]).ok();
        }
    }
}

root_test! {
    fn a_read_only_volume_stays_so_whatever_the_app_may_do(s) {
        let dir = s.mkdir("shown");
        std::fs::write(dir.join("file"), "the host's\n").expect("written");
        let out = Rkt::new(s)
            .arg("--insecure-options=image,capabilities,seccomp")
            .args(["run", "--net=none", "--private-users"])
            .arg(format!("--volume=v,kind=host,source={},readOnly=true", dir.display()))
            .args(["--mount=volume=v,target=/v"])
            .arg(probe(s))
            .args(["--", "make-writable", "/v", "then", "try-write", "/v/file"])
            .run()
            .ok();
        assert_eq!(out.fact("remount"), "EPERM", "{out}");
        assert_eq!(out.fact("write"), "EROFS", "{out}");
        assert_eq!(std::fs::read_to_string(dir.join("file")).expect("still there"), "the host's\n");
    }
}

root_test! {
    fn no_two_pods_have_an_id_in_common(s) {
        let image = probe(s);
        let mut ranges = BTreeSet::new();
        for _ in 0..8 {
            let uuid = Rkt::new(s).args(["prepare", "--private-users"]).arg(&image).run().ok().stdout.trim().to_owned();
            let path = s.data().join("pods/prepared").join(&uuid).join("private-users-prepared");
            let range = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
            assert!(range.ends_with(":65536"), "{range}");
            assert!(ranges.insert(range.clone()), "{range} was given twice");
        }
    }
}

root_test! {
    fn enter_is_in_the_pods_user_namespace_and_as_confined(s) {
        let words = ["facts", "then", "echo", "told", "then", "forever"];
        let (mut pod, uuid) = start(s, &probe(s), &["--private-users", "--user=1000", "--group=1000"], &words);
        pod.until("told");
        let app = Output { stdout: pod.stdout(), stderr: String::new(), command: "app".into(), code: 0 };
        let out = Rkt::new(s).args(["enter", uuid.trim(), "/probe", "facts"]).run().ok();
        for key in ["Uid", "Gid", "Groups", "CapPrm", "CapEff", "CapBnd", "NoNewPrivs", "Seccomp", "ns.user", "ns.mnt", "ns.pid", "ns.net", "ns.ipc", "ns.uts"] {
            assert_eq!(out.fact(key), app.fact(key), "{key}\n{out}");
        }
        call(s, &["stop", uuid.trim()]).ok();
        pod.end();
    }
}

root_test! {
    fn a_pod_with_ids_of_its_own_lives_and_goes_like_any_other(s) {
        let (pod, uuid) = start(s, &probe(s), &["--private-users"], &["forever"]);
        let uuid = uuid.trim();
        call(s, &["status", uuid]).ok().stdout_has("state=running");
        call(s, &["logs", uuid]).ok().stdout_has("ready");
        call(s, &["stop", uuid]).ok();
        pod.end();
        call(s, &["status", uuid]).ok().stdout_has("state=exited");
        call(s, &["rm", uuid]).ok();
    }
}

root_test! {
    fn an_exit_status_and_limits_pass_the_namespace(s) {
        run(s, &probe(s)).args(["--private-users", "--", "exit", "7"]).run().code(7);
        run(s, &probe(s)).args(["--private-users", "--memory=32M", "--", "eat", "200"]).run().code(137);
        run(s, &probe(s)).args(["--private-users", "--oom-score-adj=100", "--", "cat", "/proc/self/oom_score_adj"]).run().ok().stdout_has("100");
    }
}

root_test! {
    fn setuid_programs_and_other_users_are_those_of_the_image(s) {
        let image = Aci::probe("example.com/owners")
            .with(tests::tar::Entry::file("rootfs/mine", "x").owner(1234, 4321).mode(0o640))
            .write(s.path());
        for flags in [&["--private-users"][..], &["--private-users", "--no-overlay"]] {
            let out = Rkt::new(s).args(["run", "--net=none"]).args(flags).arg(&image)
                .args(["--user=/mine", "--group=/mine", "--", "facts", "then", "stat", "/mine"]).run().ok();
            assert!(out.fact("Uid").starts_with("1234 "), "{out}");
            assert!(out.fact("Gid").starts_with("4321 "), "{out}");
            assert_eq!(out.fact("CapEff"), "0000000000000000");
        }
    }
}

root_test! {
    fn what_cannot_be_is_refused(s) {
        let image = probe(s);
        // Files that no id of the pod's can own.
        let far = Aci::probe("example.com/far")
            .with(tests::tar::Entry::file("rootfs/far", "x").owner(70_000, 70_000))
            .write(s.path());
        let out = Rkt::new(s).args(["run", "--net=none", "--private-users", "--no-overlay"]).arg(&far).run().code(254);
        assert!(out.stderr.contains("70000"), "{out}");
        // A file system without idmapped mounts, read-write: /proc stands for those that the host may have.
        let out = Rkt::new(s).args(["run", "--net=none", "--private-users", "--volume=p,kind=host,source=/proc/sys", "--mount=volume=p,target=/p"])
            .arg(&image).run().code(254);
        assert!(out.stderr.contains("volume \"p\"") && out.stderr.contains("owners"), "{out}");
        run(s, &image).args(["--private-users", "--user=65536", "--group=0"]).run().code(254);
    }
}
