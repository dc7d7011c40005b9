//! fly: one app in a chroot, with the host's processes, network and devices. What it shares is not asserted away; what
//! it must keep is: the pod's lock, the host's mounts, no way out through an open directory.
//!
//! The probe's `facts` are not asked for here: an app of fly could really rename the host.

use crate::{call, probe, status};
use rustix::process::Signal;
use std::path::{Path, PathBuf};
use tests::host::mounts_below;
use tests::proc::eventually;
use tests::rkt::Running;
use tests::tar::Entry;
use tests::{Aci, Rkt, Scratch, root_test};

const FLY: &str = "--stage1-name=coreos.com/rkt/stage1-fly";

/// `rkt run FLAGS… IMAGE`, to be completed.
fn fly(s: &Scratch, flags: &[&str], image: &Path) -> Rkt {
    Rkt::new(s).args(["run", FLY]).args(flags).arg(image)
}

/// A pod in the background that has said `ready`, its UUID, and its app's pid.
fn start(s: &Scratch, image: &Path, app: &[&str], then: &[&str]) -> (Running, String, i32) {
    let save = s.at("uuid");
    let flag = format!("--uuid-file-save={}", save.display());
    let mut pod = fly(s, &[&flag], image)
        .args(app)
        .args(["--", "echo", "ready", "then"])
        .args(then)
        .spawn();
    pod.until("ready");
    let uuid = std::fs::read_to_string(&save).expect("the UUID was saved before the app ran");
    let pid = eventually("status knows the pid", || {
        status(s, &uuid, "pid")?.parse().ok()
    });
    (pod, uuid, pid)
}

fn gone(pid: i32) -> bool {
    !Path::new(&format!("/proc/{pid}")).exists()
}

fn mount(args: &[&str], target: &Path) {
    let program = tests::isolated::find("mount").expect("root tests need `mount`");
    let done = std::process::Command::new(program)
        .args(args)
        .arg(target)
        .status();
    assert!(done.is_ok_and(|s| s.success()), "mount {args:?}");
}

/// A directory with a file, and a file system of its own below it.
fn shelf(s: &Scratch) -> PathBuf {
    let shelf = s.mkdir("shelf");
    std::fs::write(shelf.join("in"), "from the host\n").expect("a file in the scratch directory");
    let below = s.mkdir("shelf/below");
    mount(&["-t", "tmpfs", "none"], &below);
    std::fs::write(below.join("deep"), "x").expect("a fresh tmpfs");
    shelf
}

fn unmount(target: &Path) {
    rustix::mount::unmount(target, rustix::mount::UnmountFlags::DETACH)
        .expect("the test mounted it");
}

root_test! {
    fn the_output_is_the_apps_own(s) {
        let out = fly(s, &[], &probe(s)).args(["--", "echo", "out", "then", "warn", "err"]).run().ok();
        assert_eq!(out.stdout, "out\n");
        assert!(out.stderr.lines().any(|l| l == "err"), "{out}");
        let out = fly(s, &[], &probe(s)).args(["--", "stdin"]).stdin("typed\n").run().ok();
        assert_eq!(out.stdout, "typed\n");
    }
}

root_test! {
    fn the_exit_code_is_the_apps(s) {
        let image = probe(s);
        for code in [1, 7, 255] {
            fly(s, &[], &image).args(["--", "exit", &code.to_string()]).run().code(code);
        }
        fly(s, &[], &image).args(["--", "abort"]).run().code(134);
    }
}

root_test! {
    fn flags_that_it_does_not_have(s) {
        let image = probe(s);
        fly(s, &["--detach"], &image).run().code(254).stderr_has("--detach works with the built-in container stage1 only");
        let out = fly(s, &["--hostname=other"], &image).args(["--", "echo", "x"]).run().ok();
        assert_eq!(out.stdout, "Warning: -hostname not supported; ignoring\nx\n");
        let out = Rkt::new(s).args(["run", FLY]).arg(&image).arg("--name=one").arg(&image).arg("--name=two").run();
        out.code(254).stderr_has("run: fly only supports 1 application per Pod for now\n");
    }
}

root_test! {
    fn a_bound_that_it_does_not_enforce_is_said(s) {
        let out = fly(s, &[], &probe(s)).args(["--memory=16M", "--readonly-rootfs=true", "--", "echo", "x"]).run().ok();
        for wish in ["resource/memory", "--readonly-rootfs"] {
            out.clone().stderr_has(&format!("run: warning: {wish} not supported by stage1 fly; ignoring\n"));
        }
        let out = fly(s, &[], &probe(s)).args(["--", "echo", "x"]).run().ok();
        assert!(!out.stderr.contains("warning"), "{out}");
    }
}

root_test! {
    fn a_program_that_is_not_there(s) {
        let out = fly(s, &[], &probe(s)).arg("--exec=/no/such").run().code(254);
        out.stderr_has("run: can't execute \"/no/such\": no such file or directory\n");
    }
}

root_test! {
    fn environment(s) {
        let out = fly(s, &["--set-env=SET=set"], &probe(s))
            .args(["--environment=APP=app", "--", "env"])
            .env("NOT_INHERITED", "x")
            .run()
            .ok();
        for line in ["FROM_IMAGE=image", "SET=set", "APP=app", "USER=root"] {
            assert!(out.stdout.lines().any(|l| l == line), "no {line}\n{out}");
        }
        for part in ["NOT_INHERITED", "RKT_"] {
            assert!(!out.stdout.contains(part), "{part} leaks\n{out}");
        }
    }
}

root_test! {
    fn user_and_working_directory(s) {
        let image = probe(s);
        for (user, group, uid, gid) in [("alice", "staff", "1234", "50"), ("1000", "1001", "1000", "1001")] {
            let out = fly(s, &[], &image)
                .args([format!("--user={user}"), format!("--group={group}")])
                .args(["--working-dir=/work", "--", "cwd", "then", "cat", "/proc/self/status"])
                .run()
                .ok();
            let lines: Vec<&str> = out.stdout.lines().collect();
            assert_eq!(lines.first(), Some(&"/work"), "{out}");
            for (key, id) in [("Uid:", uid), ("Gid:", gid)] {
                let line = format!("{key}\t{}", [id; 4].join("\t"));
                assert!(lines.contains(&line.as_str()), "no {line:?}\n{out}");
            }
        }
        fly(s, &[], &image).args(["--user=nosuch", "--", "cwd"]).run().code(254).stderr_has("nosuch");
        fly(s, &[], &image).args(["--working-dir=/nosuch", "--", "cwd"]).run().code(254).stderr_has("/nosuch");
    }
}

root_test! {
    fn one_pods_writes_do_not_reach_the_next(s) {
        let image = probe(s);
        for flags in [&[][..], &["--no-overlay"][..]] {
            for _ in 0..2 {
                let out = fly(s, flags, &image)
                    .args(["--", "exists", "/new", "then", "write", "/new", "x", "then", "cat", "/which"])
                    .run()
                    .ok();
                assert_eq!(out.stdout, "exists=false\nexample.com/probe", "{out}");
            }
        }
    }
}

root_test! {
    fn a_volume_brings_the_mounts_below_it_only_if_asked(s) {
        let image = probe(s);
        let shelf = shelf(s);
        let source = format!("--volume=v,kind=host,source={}", shelf.display());
        for (options, below) in [("", "\n"), (",recursive=false", "\n"), (",recursive=true", "deep\n")] {
            let out = fly(s, &[&format!("{source}{options}")], &image)
                .args(["--mount=volume=v,target=/v", "--", "cat", "/v/in", "then", "ls", "/v/below"])
                .run()
                .ok();
            assert_eq!(out.stdout, format!("from the host\n{below}"), "{options:?}\n{out}");
        }
        let out = fly(s, &[&format!("{source},readOnly=true,recursive=true")], &image)
            .args(["--mount=volume=v,target=/v", "--", "try-write", "/v/new", "then", "ls", "/v/below"])
            .run()
            .ok();
        assert_eq!(out.fact("write"), "EROFS");
        fly(s, &[&source], &image).args(["--mount=volume=v,target=/v", "--", "write", "/v/out", "back"]).run().ok();
        assert_eq!(std::fs::read_to_string(shelf.join("out")).ok().as_deref(), Some("back\n"));
        unmount(&shelf.join("below"));
    }
}

root_test! {
    fn volumes_that_cannot_be(s) {
        let image = probe(s);
        let out = fly(s, &["--volume=v,kind=empty"], &image).args(["--mount=volume=v,target=/v", "--", "cwd"]).run();
        out.code(254).stderr_has("rootfs/v\" with flags 4096: invalid argument");
        let out = fly(s, &["--volume=v,kind=host,source=/no/such"], &image)
            .args(["--mount=volume=v,target=/v", "--", "cwd"])
            .run();
        out.code(254).stderr_has("/no/such");
    }
}

root_test! {
    fn an_images_links_do_not_lead_its_mounts_out(s) {
        let canary = s.mkdir("canary");
        let up = format!("{}{}", "../".repeat(20), canary.display());
        let volume = format!("--volume=v,kind=host,source={}", s.mkdir("shelf").display());
        for place in ["proc", "sys", "dev", "tmp", "etc/resolv.conf", "etc/hosts", "v"] {
            let mut aci = Aci::probe("example.com/hostile");
            aci.entries.retain(|e| e.name != format!("rootfs/{place}").as_bytes());
            let image = aci.with(Entry::symlink(&format!("rootfs/{place}"), &up)).write(s.path());
            fly(s, &[&volume, "--dns=192.0.2.1", "--hosts-entry=192.0.2.1=db"], &image)
                .args(["--mount=volume=v,target=/v/deep", "--", "echo", "alive"])
                .run();
            let inside: Vec<_> = std::fs::read_dir(&canary).expect("the canary is ours").flatten().collect();
            assert!(inside.is_empty(), "{place} as a link reached the host: {inside:?}");
        }
    }
}

root_test! {
    fn resolv_conf_and_hosts(s) {
        let out = fly(s, &["--dns=192.0.2.53", "--hosts-entry=192.0.2.1=db"], &probe(s))
            .args(["--", "cat", "/etc/resolv.conf", "then", "cat", "/etc/hosts"])
            .run()
            .ok();
        out.stdout_has("nameserver 192.0.2.53").stdout_has("192.0.2.1 db");
    }
}

root_test! {
    fn the_host_sees_no_mount_and_the_app_no_open_directory(s) {
        let (pod, uuid, pid) = start(s, &probe(s), &[], &["ls", "/proc/self/fd", "then", "echo", "listed", "then", "forever"]);
        let mut pod = pod;
        pod.until("listed");
        // Three and the one that `ls` reads the directory by.
        assert!(pod.stdout().contains("\n0 1 2 3\n"), "{}", pod.stdout());
        let below = mounts_below(s.path());
        assert!(below.is_empty(), "on the host: {below:?}");
        for kind in ["net", "pid", "uts", "ipc"] {
            let app = tests::proc::namespace(pid, kind);
            assert_eq!(app, std::fs::read_link(format!("/proc/self/ns/{kind}")).ok(), "fly has the host's {kind}");
        }
        assert_ne!(tests::proc::namespace(pid, "mnt"), std::fs::read_link("/proc/self/ns/mnt").ok());
        let out = call(s, &["enter", &uuid, "/probe", "ls", "/proc/self/fd"]).ok();
        assert_eq!(out.stdout, "0 1 2 3\n", "enter leaves a directory open");
        call(s, &["stop", "--force", &uuid]).ok();
        pod.end();
    }
}

root_test! {
    fn enter(s) {
        let flags = ["--user=alice", "--group=alice", "--working-dir=/work", "--environment=MINE=1"];
        let (pod, uuid, _) = start(s, &probe(s), &flags, &["await", "/tmp/go"]);
        let out = call(s, &["enter", &uuid, "/probe", "env", "then", "cwd", "then", "cat", "/proc/self/status"]).ok();
        for line in ["MINE=1", "FROM_IMAGE=image", "/", "Uid:\t1234\t1234\t1234\t1234"] {
            assert!(out.stdout.lines().any(|l| l == line), "no {line:?}\n{out}");
        }
        call(s, &["enter", &uuid, "/probe", "exit", "9"]).code(9);
        call(s, &["enter", &uuid, "/no/such"]).code(254).stderr_has("fly-enter: exec failed: no such file or directory");
        call(s, &["enter", "--app=nosuch", &uuid, "/probe"]).code(254).stderr_has("fly-enter: Failed to read app env: open /");
        // What it writes the app sees.
        call(s, &["enter", &uuid, "/probe", "write", "/tmp/go", "x"]).ok();
        assert_eq!(pod.end().code, 0);
        call(s, &["enter", &uuid, "/probe"]).code(254).stderr_has("isn't currently running");
    }
}

root_test! {
    fn stop_asks_and_force_kills(s) {
        for (flags, code) in [(&["stop"][..], 143), (&["stop", "--force"][..], 137)] {
            let (pod, uuid, pid) = start(s, &probe(s), &[], &["forever"]);
            assert_eq!(status(s, &uuid, "state").as_deref(), Some("running"));
            let out = Rkt::new(s).args(flags).arg(&uuid).run().ok();
            assert_eq!(out.stdout, format!("\"{uuid}\"\n"));
            assert!(gone(pid), "stop returned before the app ended");
            pod.end().code(code);
            assert_eq!(status(s, &uuid, "state").as_deref(), Some("exited"));
        }
    }
}

root_test! {
    fn a_signal_to_the_waiting_parent_reaches_the_app(s) {
        for (signal, code) in [(Signal::TERM, 143), (Signal::HUP, 129)] {
            let (pod, uuid, pid) = start(s, &probe(s), &[], &["forever"]);
            pod.signal(signal);
            pod.end().code(code);
            assert!(gone(pid));
            assert_eq!(status(s, &uuid, "state").as_deref(), Some("exited"));
        }
    }
}

root_test! {
    fn the_parent_killed_the_app_ends_and_the_lock_is_free(s) {
        // Once as another user: the kernel forgets the wish to die with the parent when the user changes.
        for app in [&[][..], &["--user=1000", "--group=1000"][..]] {
            let (pod, uuid, pid) = start(s, &probe(s), app, &["forever"]);
            pod.signal(Signal::KILL);
            pod.end().code(137);
            eventually("the app is gone", || gone(pid).then_some(()));
            assert_eq!(status(s, &uuid, "state").as_deref(), Some("exited"));
            assert!(mounts_below(s.path()).is_empty(), "{:?}", mounts_below(s.path()));
            call(s, &["rm", &uuid]).ok();
        }
    }
}

root_test! {
    fn gc_and_rm_remove_the_pod(s) {
        let image = probe(s);
        let save = s.at("uuid");
        let flag = format!("--uuid-file-save={}", save.display());
        fly(s, &[&flag], &image).args(["--", "exit", "3"]).run().code(3);
        let uuid = std::fs::read_to_string(&save).expect("the UUID was saved");
        assert_eq!(status(s, &uuid, "state").as_deref(), Some("exited"));
        call(s, &["gc", "--grace-period=0s"]).ok().stdout_has(&uuid);
        call(s, &["status", &uuid]).code(254);
        fly(s, &["--rm"], &image).args(["--", "exit", "6"]).run().code(6);
        assert_eq!(call(s, &["list", "--no-legend"]).ok().stdout, "");
    }
}

root_test! {
    fn prepared_it_stays_fly(s) {
        let image = probe(s).display().to_string();
        let uuid = call(s, &["prepare", FLY, &image, "--", "echo", "late"]).ok().stdout;
        let out = call(s, &["run-prepared", uuid.trim()]).ok();
        assert_eq!(out.stdout, "late\n", "unframed, as fly is");
    }
}
