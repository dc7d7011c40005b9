//! Confinement, asserted from inside by the probe: what an app is, sees and may do; and that `enter` is no way
//! around it (CVE-2019-10144, CVE-2019-10145, CVE-2019-10147 and CVE-2019-5736 are the history behind this file).

use crate::{call, probe, run, start};
use tests::{Output, Rkt, root_test};

/// The 14 capabilities of the appc specification's default set.
const DEFAULT_CAPS: u64 = 0xa804_25fb;

fn caps(out: &Output, set: &str) -> u64 {
    u64::from_str_radix(&out.fact(set), 16).expect("the kernel prints capabilities in hex")
}

/// The facts by which two processes of an app must not differ.
const SAME: &[&str] = &[
    "CapInh",
    "CapPrm",
    "CapEff",
    "CapBnd",
    "CapAmb",
    "NoNewPrivs",
    "Seccomp",
    "Seccomp_filters",
    "Uid",
    "Gid",
    "Groups",
    "ns.mnt",
    "ns.net",
    "ns.pid",
    "ns.ipc",
    "ns.uts",
    "ns.user",
    "ns.cgroup",
    "umask",
    "mount.tmpfs",
    "mount.sys-rw",
    "umount.proc",
    "sethostname",
    "dev.write",
    "init.environ",
    "init.fds",
    "init.mem",
    "init.exe-write",
    "init.walk",
];
/// The same, with several lines each.
const SAME_LINES: &[&str] = &["secret", "control", "cgroup", "mount"];

fn assert_confined(out: &Output) {
    for set in ["CapInh", "CapAmb"] {
        assert_eq!(caps(out, set), 0, "{set}\n{out}");
    }
    for set in ["CapPrm", "CapEff", "CapBnd"] {
        assert_eq!(
            caps(out, set) & !DEFAULT_CAPS,
            0,
            "{set} has more than the default\n{out}"
        );
    }
    assert_eq!(out.fact("Seccomp"), "2", "no filter\n{out}");
    for secret in out.facts("secret") {
        // timer_list and its like are absent on kernels built without them.
        let hidden = ["absent", "empty", "refused", "EPERM", "EACCES"]
            .iter()
            .any(|w| secret.ends_with(w));
        // kallsyms is read as zeros without CAP_SYSLOG where it is not masked.
        assert!(hidden, "secret={secret}\n{out}");
    }
    for control in out.facts("control") {
        assert!(!control.ends_with(" ok"), "control={control}\n{out}");
    }
    for (what, refused) in [
        ("device.mem", true),
        ("device.kmsg", true),
        ("device.sda", true),
        ("device.vda", true),
        ("device.loop0", true),
        ("mount.tmpfs", true),
        ("mount.sys-rw", true),
        ("umount.proc", true),
        ("sethostname", true),
        ("init.environ", true),
        ("init.fds", true),
        ("init.mem", true),
        ("init.exe-write", true),
        ("init.walk", true),
        ("open.null", false),
        ("open.zero", false),
        ("open.urandom", false),
    ] {
        let result = out.fact(what);
        assert_eq!(result != "ok", refused, "{what}={result}\n{out}");
    }
    for mount in out.facts("mount") {
        assert!(
            !mount.contains("shared:"),
            "a mount is shared with the host's peers: {mount}\n{out}"
        );
    }
}

root_test! {
    fn an_app_is_confined(s) {
        let out = run(s, &probe(s)).args(["--", "facts"]).run().ok();
        assert_confined(&out);
        for part in ["/rkt-test-", "/pods/", "old"] {
            let seen: Vec<String> = out.facts("mount").into_iter().filter(|m| m.starts_with(part)).collect();
            assert!(seen.is_empty(), "the host's paths show through: {seen:?}");
        }
    }
}

root_test! {
    fn an_app_gets_three_descriptors(s) {
        // One too many on purpose: stdin of the harness is /dev/null and everything else must not get through.
        let out = run(s, &probe(s)).args(["--", "facts"]).run().ok();
        let numbers: Vec<String> = out.facts("fd").iter().map(|f| f.split(' ').next().unwrap_or("").to_owned()).collect();
        assert!(numbers.iter().all(|n| ["0", "1", "2"].contains(&n.as_str())), "{:?}\n{out}", out.facts("fd"));
    }
}

root_test! {
    fn a_user_without_root_has_no_capability(s) {
        let out = run(s, &probe(s)).args(["--user=1000", "--group=1000", "--", "facts"]).run().ok();
        for set in ["CapInh", "CapPrm", "CapEff", "CapAmb"] {
            assert_eq!(caps(&out, set), 0, "{set}\n{out}");
        }
    }
}

root_test! {
    fn capability_flags_narrow_the_set(s) {
        let image = probe(s);
        let out = run(s, &image).args(["--caps-retain=CAP_CHOWN,CAP_KILL", "--", "facts"]).run().ok();
        assert_eq!(caps(&out, "CapBnd"), 0b10_0001);
        assert_eq!(caps(&out, "CapEff"), 0b10_0001);
        let out = run(s, &image).args(["--caps-remove=CAP_MKNOD", "--", "facts"]).run().ok();
        assert_eq!(caps(&out, "CapEff"), DEFAULT_CAPS & !(1 << 27));
        assert_eq!(out.fact("device.mem"), "EPERM");
    }
}

root_test! {
    fn a_seccomp_flag_replaces_the_filter(s) {
        let image = probe(s);
        let out = run(s, &image)
            .args(["--seccomp", "mode=remove,errno=EACCES,chdir,mkdir,mkdirat", "--", "facts"])
            .run()
            .ok();
        assert_eq!(out.fact("Seccomp"), "2");
    }
}

root_test! {
    fn enter_is_confined_like_the_app(s) {
        let (pod, uuid) = start(s, &probe(s), &[], &["facts", "then", "echo", "facts-over", "then", "forever"]);
        let mut pod = pod;
        pod.until("facts-over");
        let app = Output { command: "app".to_owned(), code: 0, stdout: pod.stdout(), stderr: String::new() };
        let entered = call(s, &["enter", &uuid, "/probe", "facts"]).ok();
        assert_confined(&entered);
        let mut differ = Vec::new();
        for fact in SAME.iter().filter(|f| app.fact(f) != entered.fact(f)) {
            differ.push(format!("{fact}: app {:?}, entered {:?}", app.fact(fact), entered.fact(fact)));
        }
        for fact in SAME_LINES {
            let (app, entered) = (app.facts(fact), entered.facts(fact));
            for line in app.iter().filter(|l| !entered.contains(l)) {
                differ.push(format!("{fact}: only the app has {line:?}"));
            }
            for line in entered.iter().filter(|l| !app.contains(l)) {
                differ.push(format!("{fact}: only the entered process has {line:?}"));
            }
        }
        assert!(differ.is_empty(), "{}", differ.join("\n"));
        let numbers: Vec<String> =
            entered.facts("fd").iter().map(|f| f.split(' ').next().unwrap_or("").to_owned()).collect();
        assert!(numbers.iter().all(|n| ["0", "1", "2"].contains(&n.as_str())), "{:?}", entered.facts("fd"));
        // The entering process comes from outside: its parent must be out of sight, or out of reach.
        if entered.fact("parent") != "0" {
            assert_ne!(entered.fact("parent.exe-write"), "ok");
            assert_ne!(entered.fact("parent.fds"), "ok");
        }
        call(s, &["stop", "--force", &uuid]).ok();
        pod.end();
    }
}

root_test! {
    fn enter_takes_the_apps_user_directory_and_environment(s) {
        let (pod, uuid) = start(s, &probe(s), &["--user=alice", "--group=alice", "--environment=MINE=1"], &["forever"]);
        let out = call(s, &["enter", &uuid, "/probe", "facts", "then", "env"]).ok();
        assert_eq!(out.fact("Uid"), "1234 1234 1234 1234");
        assert_eq!(out.fact("CapEff"), "0000000000000000");
        assert!(out.stdout.lines().any(|l| l == "MINE=1"), "{out}");
        call(s, &["enter", &uuid, "/probe", "exit", "9"]).code(9);
        call(s, &["enter", &uuid, "/no/such"]).code(254);
        call(s, &["stop", "--force", &uuid]).ok();
        pod.end();
    }
}

root_test! {
    fn the_runtimes_own_program_survives(s) {
        let binary = tests::rkt::binary();
        let before = std::fs::read(&binary).expect("the binary under test is readable");
        let (pod, uuid) = start(s, &probe(s), &[], &["try-write", "/proc/1/exe", "then", "forever"]);
        call(s, &["enter", &uuid, "/probe", "try-write", "/proc/1/exe", "then", "try-write", "/proc/self/exe"]);
        call(s, &["stop", "--force", &uuid]).ok();
        pod.end();
        assert!(std::fs::read(&binary).is_ok_and(|now| now == before), "the pod changed rkt's binary");
    }
}

root_test! {
    fn insecure_options_are_the_only_way_out(s) {
        let image = probe(s);
        let all = |option: &str| {
            Rkt::secure(s)
                .arg(format!("--insecure-options=image,{option}"))
                .args(["run", "--net=none"])
                .arg(&image)
                .args(["--", "facts"])
                .run()
                .ok()
        };
        // No filter but what the tests themselves live under.
        let out = all("seccomp");
        for key in ["Seccomp", "Seccomp_filters"] {
            let own = tests::proc::status(std::process::id().cast_signed(), key);
            assert_eq!(out.facts(key).first(), own.as_ref(), "{key}\n{out}");
        }
        let out = all("capabilities");
        assert_ne!(caps(&out, "CapEff") & !DEFAULT_CAPS, 0, "{out}");
    }
}

root_test! {
    fn proc_and_sys_as_the_image_likes_them_do_no_harm(s) {
        use tests::tar::Entry;
        // Targets of the runtime's own mounts, prepared by a hostile image as links out of the root.
        let canary = s.mkdir("canary");
        for place in ["proc", "sys", "dev", "etc/resolv.conf", "etc/hosts", "dev/shm"] {
            let mut aci = tests::Aci::probe("example.com/hostile");
            aci.entries.retain(|e| !e.name.starts_with(format!("rootfs/{place}").as_bytes()));
            let up = "../".repeat(20);
            let aci = aci.with(Entry::symlink(&format!("rootfs/{place}"), &format!("{up}{}", canary.display())));
            let image = aci.write(s.path());
            run(s, &image).args(["--", "echo", "alive"]).run();
            let inside: Vec<_> = std::fs::read_dir(&canary).expect("the canary is ours").flatten().collect();
            assert!(inside.is_empty(), "{place} as a link reached the host: {inside:?}");
        }
    }
}
