//! Pods where the kernel itself, by a seccomp filter and not by a tracer, has no call that is newer than Linux 4.4,
//! no renameat2 and no memfd_create. `make old-kernel-test` runs the whole suite like that; these do it in each run.
//!
//! Beside `old_kernel`: no strace is needed, what the pod's PID 1 and the apps do is covered to their end, and nobody
//! looks on by ptrace, so timing, signals and dumpability are as on such a kernel.

use crate::probe;
use std::process::{Command, Stdio};
use tests::proc::eventually;
use tests::{Aci, Output, Rkt, Scratch, root_test, skip};

fn command(s: &Scratch, args: &[&str]) -> Command {
    let rkt = Rkt::new(s).args(args).command();
    let mut command = Command::new(tests::rkt::probe().with_file_name("oldkernel"));
    command.arg(rkt.get_program()).args(rkt.get_args());
    if tests::isolated::mode() == tests::isolated::Mode::Bare {
        command.env_clear();
    }
    command.stdin(Stdio::null());
    command
}

#[track_caller]
fn old(s: &Scratch, args: &[&str]) -> Output {
    let mut command = command(s, args);
    let output = command
        .output()
        .expect("`oldkernel` is built beside the probe");
    Output::of(format!("{command:?}"), &output)
}

/// Whether filters can be had; says so where not.
fn no_filters(s: &Scratch) -> bool {
    old(s, &["version"]).code == 125
}

root_test! {
    fn run_and_exit_code(s) {
        if no_filters(s) {
            skip!("this kernel has no seccomp filters");
        }
        let image = probe(s).display().to_string();
        let id = old(s, &["fetch", &image]).ok().stdout;
        old(s, &["image", "verify", id.trim()]).ok();
        let out = old(s, &["run", "--net=none", id.trim(), "--memory=64Mi", "--", "echo", "old", "then", "exit", "7"]).code(7);
        assert_eq!(out.app_lines(), ["old"]);
        let out = old(s, &["run", "--net=host", &image, "--", "facts"]).ok();
        assert_eq!(out.fact("NoNewPrivs"), "0");
        assert_eq!(out.fact("Seccomp"), "2");
    }
}

root_test! {
    fn two_apps(s) {
        if no_filters(s) {
            skip!("this kernel has no seccomp filters");
        }
        let one = Aci::probe("example.com/one").write(s.path()).display().to_string();
        let two = Aci::probe("example.com/two").write(s.path()).display().to_string();
        let out = old(s, &["run", "--net=none", "--volume=v,kind=empty", "--mount=volume=v,target=/v",
            &one, "--", "echo", "first", "then", "facts", "then", "write", "/v/one", "x", "then", "await", "/v/two", "---",
            &two, "--", "echo", "second", "then", "facts", "then", "write", "/v/two", "x", "then", "await", "/v/one"]).ok();
        out.clone().stdout_has("first").stdout_has("second");
        for kind in ["pid", "ipc", "uts", "net"] {
            let seen = out.facts(&format!("ns.{kind}"));
            assert!(seen.len() == 2 && seen[0] == seen[1], "{kind}: {seen:?}\n{out}");
        }
        let roots = out.facts("ns.mnt");
        assert!(roots.len() == 2 && roots[0] != roots[1], "{roots:?}");
    }
}

root_test! {
    fn read_only_volume(s) {
        if no_filters(s) {
            skip!("this kernel has no seccomp filters");
        }
        let shelf = s.mkdir("shelf");
        std::fs::write(shelf.join("book"), "read me\n").expect("a file in the scratch directory");
        let volume = format!("--volume=v,kind=host,source={},readOnly=true", shelf.display());
        let image = probe(s).display().to_string();
        let out = old(s, &["run", "--net=none", &volume, &image, "--mount=volume=v,target=/v", "--readonly-rootfs=true",
            "--", "cat", "/v/book", "then", "try-write", "/v/x", "then", "try-write", "/y"]).ok();
        assert_eq!(out.facts("write"), ["EROFS", "EROFS"]);
        out.stdout_has("read me");
        assert!(!shelf.join("x").exists());
    }
}

root_test! {
    fn enter_stop_rm_and_gc(s) {
        if no_filters(s) {
            skip!("this kernel has no seccomp filters");
        }
        let save = s.at("uuid");
        let flag = format!("--uuid-file-save={}", save.display());
        let image = probe(s).display().to_string();
        let mut pod = command(s, &["run", "--net=none", &flag, &image, "--", "echo", "ready", "then", "forever"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("`oldkernel` is built beside the probe");
        let uuid = eventually("the pod runs", || {
            let uuid = std::fs::read_to_string(&save).ok().filter(|u| u.len() == 36)?;
            old(s, &["status", &uuid]).stdout.contains("pid=").then_some(uuid)
        });
        eventually("the app can be entered", || {
            let out = old(s, &["enter", &uuid, "/probe", "echo", "inside"]);
            (out.code == 0 && out.stdout.contains("inside")).then_some(())
        });
        old(s, &["enter", &uuid, "/probe", "exit", "9"]).code(9);
        old(s, &["stop", &uuid]).ok();
        eventually("the pod is over", || pod.try_wait().expect("our child"));
        old(s, &["status", &uuid]).ok().stdout_has("state=exited");
        old(s, &["rm", &uuid]).ok();

        let prepared = old(s, &["prepare", &image, "--", "echo", "late"]).ok().stdout;
        let out = old(s, &["run-prepared", "--net=none", prepared.trim()]).ok();
        assert_eq!(out.app_lines(), ["late"]);
        old(s, &["gc", "--grace-period=0s"]).ok();
        assert_eq!(old(s, &["list", "--no-legend"]).ok().stdout, "");
        old(s, &["image", "gc", "--grace-period=0s"]).ok();
        assert_eq!(old(s, &["image", "list", "--no-legend"]).ok().stdout, "");
    }
}

root_test! {
    fn fly(s) {
        if no_filters(s) {
            skip!("this kernel has no seccomp filters");
        }
        let image = probe(s).display().to_string();
        let out = old(s, &["run", "--net=host", "--stage1-name=coreos.com/rkt/stage1-fly", &image, "--", "echo", "fly"]).ok();
        assert_eq!(out.app_lines(), ["fly"]);
    }
}

root_test! {
    fn doctor_and_debug_name_every_older_way(s) {
        if no_filters(s) {
            skip!("this kernel has no seccomp filters");
        }
        // Exits with 1 where this machine lacks something else.
        let table = old(s, &["doctor"]).stdout;
        let image = probe(s).display().to_string();
        let debug = old(s, &["--debug", "run", "--net=none", &image, "--", "exit", "0"]).ok();
        for name in ["openat2", "clone3", "pidfd", "mount API", "open_tree", "mount_setattr", "close_range", "statx",
                     "copy_file_range", "fchmodat2", "memfd_create", "own binary"] {
            let row = table.lines().find(|line| line.split('\t').next() == Some(name));
            assert!(row.is_some_and(|row| row.contains("\tfallback\t")), "{name}\n{table}");
            assert!(debug.stderr.contains(&format!("kernel: {name}: ")), "{name}\n{debug}");
        }
    }
}

root_test! {
    fn the_supervisor_runs_from_no_writable_file(s) {
        if no_filters(s) {
            skip!("this kernel has no seccomp filters");
        }
        let save = s.at("uuid");
        let flag = format!("--uuid-file-save={}", save.display());
        let image = probe(s).display().to_string();
        let mut pod = command(s, &["run", "--net=none", &flag, &image, "--", "forever"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("`oldkernel` is built beside the probe");
        let pid = eventually("the pod runs", || {
            let uuid = std::fs::read_to_string(&save).ok().filter(|u| u.len() == 36)?;
            let out = old(s, &["status", &uuid]);
            out.stdout.lines().find_map(|line| line.strip_prefix("pid=")?.parse::<i32>().ok())
        });
        // The app has a program of its own once it runs; PID 1 and its parent are rkt.
        let own = std::fs::metadata(tests::rkt::binary()).expect("the binary");
        for pid in [pid, pod.id().cast_signed()] {
            let exe = format!("/proc/{pid}/exe");
            let bytes = std::fs::metadata(&exe).expect("it runs").len();
            assert_eq!(bytes, own.len(), "{exe}");
            // To open what merely runs is ETXTBSY as well, until it has ended: so the mount is asked.
            let flags = rustix::fs::statvfs(&exe).expect("it runs").f_flag;
            assert!(flags.contains(rustix::fs::StatVfsMountFlags::RDONLY), "{exe}: {flags:?}");
        }
        let uuid = std::fs::read_to_string(&save).expect("the UUID was saved");
        old(s, &["stop", "--force", &uuid]).ok();
        pod.wait().expect("our child");
    }
}

root_test! {
    fn the_suite_is_under_the_filter_that_it_was_promised(_s) {
        if std::env::var_os("RKT_OLD_KERNEL").is_some() {
            assert!(!sys::mount::knows_attributes() && !sys::process::knows_close_range());
            let memory = rustix::fs::memfd_create("rkt-test", rustix::fs::MemfdFlags::CLOEXEC);
            assert_eq!(memory.err(), Some(rustix::io::Errno::NOSYS));
        }
    }
}
