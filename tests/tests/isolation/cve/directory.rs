//! Working directories and descriptors that lead out of the pod.

use super::{assert_nothing_reached, call, canary, handled, hostile, run, start};
use tests::tar::Entry;
use tests::{Output, root_test_once};

/// Nothing was executed, and the reason is the directory.
#[track_caller]
fn refused(out: &Output, directory: &str) {
    assert!(
        !out.stdout.contains("executed"),
        "{directory} was accepted\n{out}"
    );
    assert_ne!(out.code, 0, "{out}");
}

root_test_once! {
    fn a_working_directory_behind_a_descriptor(s) {
        let mut aci = hostile("leaky");
        for number in 3..12 {
            aci = aci.with(Entry::symlink(&format!("rootfs/to{number}"), &format!("/proc/self/fd/{number}")));
        }
        let image = aci.write(s.path());
        let mut directories: Vec<String> = (3..24).map(|n| format!("/proc/self/fd/{n}")).collect();
        directories.extend((3..12).map(|n| format!("/to{n}")));
        directories.extend((3..12).map(|n| format!("/proc/self/fd/{n}/../../..")));
        // Several apps in one pod would end with the first that fails.
        for directory in directories.iter().step_by(4) {
            let out = run(s).arg(&image).args([&format!("--working-dir={directory}"), "--exec=/intruder", "--", "echo", "executed"]).run();
            refused(&out, directory);
        }
    }
}

root_test_once! {
    fn a_working_directory_of_the_supervisor(s) {
        let image = hostile("leaky")
            .with(Entry::symlink("rootfs/host", "/proc/1/root"))
            .with(Entry::symlink("rootfs/cwd", "/proc/1/cwd"))
            .write(s.path());
        for directory in ["/proc/1/root", "/proc/1/cwd", "/proc/self/root", "/proc/self/cwd", "/proc/self/root/..", "/host", "/cwd", "/cwd/../../.."] {
            let out = run(s).arg(&image).args([&format!("--working-dir={directory}"), "--exec=/intruder", "--", "echo", "executed"]).run();
            refused(&out, directory);
        }
        // Up from the root is the root.
        let out = run(s).arg(&image).args(["--working-dir=/../../..", "--exec=/probe", "--", "cwd"]).run().ok();
        assert_eq!(out.app_lines(), ["/"]);
    }
}

root_test_once! {
    fn who_enters_a_directory_that_is_gone(s) {
        let image = hostile("leaky").exec(&["/intruder", "remove", "/work", "then", "echo", "ready", "then", "forever"]).write(s.path());
        let (pod, uuid) = start(s, |rkt| rkt.arg(&image).arg("--working-dir=/work"));
        let out = call(s, &["enter", &uuid, "/intruder", "echo", "executed"]);
        refused(&out, "/work");
        // The app puts a link to the supervisor in its place.
        call(s, &["stop", "--force", &uuid]).ok();
        pod.end();
        let image = hostile("linked").exec(&["/intruder", "remove", "/work", "then", "link", "/proc/1/root", "/work", "then", "echo", "ready", "then", "forever"]).write(s.path());
        let (pod, uuid) = start(s, |rkt| rkt.arg(&image).arg("--working-dir=/work"));
        let out = call(s, &["enter", &uuid, "/intruder", "echo", "executed"]);
        refused(&out, "/work");
        call(s, &["stop", "--force", &uuid]).ok();
        pod.end();
    }
}

root_test_once! {
    fn no_process_of_an_app_has_a_descriptor_of_ours(s) {
        let words = ["/intruder", "descriptors"];
        let image = handled(hostile("counting"), "pre-start", &words).exec(&["/intruder", "descriptors", "then", "echo", "ready", "then", "forever"]).write(s.path());
        // Descriptors that the caller happens to have are not passed on either.
        let open: Vec<std::fs::File> = (0..8).map(|_| std::fs::File::open("/").expect("the root")).collect();
        for file in &open {
            rustix::io::fcntl_setfd(file, rustix::io::FdFlags::empty()).expect("an open file");
        }
        let (pod, uuid) = start(s, |rkt| rkt.arg(&image));
        let entered = call(s, &["enter", &uuid, "/intruder", "descriptors"]).ok();
        call(s, &["stop", "--force", &uuid]).ok();
        let out = pod.end();
        for text in [&out.stdout, &entered.stdout] {
            let all: Vec<&str> = text.lines().map(tests::rkt::unframed).filter_map(|l| l.strip_prefix("descriptor=")).collect();
            assert!(!all.is_empty(), "{text}");
            for line in all {
                assert!(["0 ", "1 ", "2 "].iter().any(|n| line.starts_with(n)), "{line}\n{text}");
            }
        }
    }
}

root_test_once! {
    fn nothing_is_reached_through_a_process_that_enters(s) {
        let secret = canary(s).join("secret");
        let image = hostile("spy").exec(&["/intruder", "echo", "ready", "then", "spy", &secret.display().to_string(), "/probe,/intruder", "/over"]).write(s.path());
        let (pod, uuid) = start(s, |rkt| rkt.arg(&image));
        for _ in 0..10 {
            call(s, &["enter", &uuid, "/probe", "echo", "x"]).ok();
        }
        call(s, &["enter", &uuid, "/intruder", "touch", "/over"]).ok();
        let out = pod.end();
        assert_nothing_reached(&out.stdout);
        assert!(out.fact("looked").contains("refused"), "{out}");
    }
}
