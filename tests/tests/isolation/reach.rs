//! What `enter` and the insecure options change of a pod's confinement, by comparing whole reports: an entered process is
//! the app's equal, and each option opens what it names and nothing else.

use crate::columns::Place;
use crate::report::Report;
use tests::{Scratch, root_test_once};

/// Facts that are one run's own: inode numbers, names of pipes and cgroups, layers by descriptor.
const OF_ONE_RUN: &[&str] = &["raw.ns.", "raw.fd", "raw.cgroup", "raw.mount"];

fn starts(key: &str, with: &[&str]) -> bool {
    with.iter().any(|start| key.starts_with(start))
}

/// The app's own report against that of a process entered into the same pod.
#[track_caller]
fn assert_entered_is_equal(s: &Scratch, flags: &[&str]) {
    let place = Place::new(s);
    let (pod, uuid, app) = place.background(flags);
    let entered = place.enter(&uuid);
    place.stop(&uuid, pod);
    // Pipes of one's own; and one process more is in sight, which is oneself.
    let differ = app.differs(&entered, |key| starts(key, &["raw.fd", "processes"]));
    assert!(
        differ.is_empty(),
        "{flags:?}: the app, and who was entered:\n{}",
        differ.join("\n")
    );
    assert_eq!(entered.one("fds"), "0 1 2", "{flags:?}");
    assert_eq!(entered.all("fd.beyond").count(), 0, "{flags:?}");
    assert_eq!(entered.one("seccomp.mode"), "2", "{flags:?}");
}

root_test_once! {
    fn an_entered_process_is_the_apps_equal(s) {
        assert_entered_is_equal(s, &[]);
    }
}

root_test_once! {
    fn an_entered_process_has_what_flags_made_of_the_app(s) {
        assert_entered_is_equal(s, &[
            "--user=1000", "--group=1001", "--supplementary-gids=7,50", "--working-dir=/work", "--environment=MINE=1",
            "--oom-score-adj=500", "--memory=200Mi", "--readonly-rootfs=true",
        ]);
        assert_entered_is_equal(s, &["--caps-retain=CAP_CHOWN,CAP_NET_BIND_SERVICE"]);
        assert_entered_is_equal(s, &["--seccomp", "mode=remove,errno=EACCES,@rkt/default-blacklist"]);
    }
}

/// A pod under `--insecure-options=image` and `option`, against one without the option: the keys by which they differ
/// must begin with one of `opens`, and each of `expected` must be among them.
#[track_caller]
fn assert_opens(s: &Scratch, option: &str, opens: &[&str], expected: &[&str]) -> Report {
    let place = Place::new(s);
    let usual = place.run(&[], &[]);
    let opened = place.run(&[&format!("--insecure-options=image,{option}")], &[]);
    let differ = usual.differs(&opened, |key| starts(key, OF_ONE_RUN));
    let more: Vec<&String> = differ.iter().filter(|d| !starts(d, opens)).collect();
    assert!(
        more.is_empty(),
        "{option} changes more than it says:\n{more:#?}"
    );
    for key in expected {
        assert!(
            differ.iter().any(|d| d.starts_with(key)),
            "{option} does not change {key}:\n{differ:#?}"
        );
    }
    opened
}

root_test_once! {
    fn insecure_seccomp_opens_system_calls_alone(s) {
        let opened = assert_opens(
            s,
            "seccomp",
            &["seccomp.", "call.", "raw.call."],
            &["seccomp.mode", "seccomp.filters", "call.clone3", "call.keyctl", "call.unshare(NEWUSER)"],
        );
        assert_eq!(opened.one("seccomp.mode"), "0");
        // What the capabilities keep shut stays shut.
        for shut in ["mount_setattr", "reboot", "sethostname", "unshare(NEWNS)"] {
            assert_eq!(opened.one(&format!("call.{shut}")), "EPERM", "{shut}");
        }
    }
}

root_test_once! {
    fn insecure_capabilities_opens_capabilities_alone(s) {
        // The filter opens what is of no use without a capability, and pid 1 is in reach of CAP_SYS_PTRACE.
        let opened = assert_opens(
            s,
            "capabilities",
            &["caps.", "call.", "raw.call.", "init.", "writable./proc", "raw.writable"],
            &["caps.bnd", "caps.eff", "caps.prm"],
        );
        for shut in ["add_key", "io_uring_setup", "keyctl", "socket(ALG)", "socket(VSOCK)", "swapon", "userfaultfd"] {
            assert_eq!(opened.one(&format!("call.{shut}")), "EPERM", "{shut}");
        }
        // The bounding set is what the kernel has, and inheritance is no part of it.
        for set in ["caps.inh", "caps.amb"] {
            assert_eq!(opened.one(set), "0000000000000000", "{set}");
        }
        assert_eq!(opened.one("seccomp.mode"), "2");
    }
}

root_test_once! {
    fn insecure_paths_opens_the_kernels_files_alone(s) {
        let opened = assert_opens(
            s,
            "paths",
            &["path.", "setting.", "writable.", "raw.writable", "mount", "cgroup.files"],
            &["setting./proc/sys/kernel/core_pattern", "writable./proc", "mount"],
        );
        assert_eq!(opened.one("mounts.host-paths"), "none");
        assert_eq!(opened.one("seccomp.mode"), "2");
    }
}
