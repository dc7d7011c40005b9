//! Kill rkt at every step it makes, and look at what is left.
//!
//! strace delivers SIGKILL at the n-th call of one kind (`-e inject=rename:signal=KILL:when=n`), for n = 1, 2, … until
//! a run gets through. After each kill: `list` must be truthful and end with 0, `gc` must clean up everything, and
//! the host must look as before. No sleep, no chance: the same walk every time.

use serde_json::json;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use tests::host::{Traces, assert_nothing_left};
use tests::isolated::{Mode, isolated_in, sweep};
use tests::lab::Lab;
use tests::proc::eventually;
use tests::{Aci, Rkt, Scratch, skip};

/// More steps of one kind than this are not walked; the count is far above what a run makes.
const FAR: u32 = 120;

/// The calls that change something another process or a later run can see.
const CALLS: &[&str] = &[
    "mkdir,mkdirat",
    "rename,renameat,renameat2",
    "mount,move_mount,open_tree,fsconfig,fsmount",
    "umount2",
    "unlink,unlinkat",
    "clone,clone3,fork,vfork",
    "fsync,syncfs,fdatasync",
    "symlink,symlinkat,link,linkat",
    "pivot_root",
    "execve,execveat",
    "unshare,setns",
    "flock",
    "write",
    "sendto,sendmsg",
    "bind,listen",
];

/// What is walked: how a fresh data directory is made ready, and the call that is killed. `ready` is called before
/// every try, so that the call has its work to do each time.
struct Walk {
    ready: fn(&Scratch),
    args: fn(&Scratch) -> Vec<String>,
}

impl Walk {
    /// One run under strace; whether the injected signal came. strace counts per process, so that one call may hit
    /// outer in one round and PID 1 in the next. What goes on behind a starter that has ended well is hit too: its end
    /// says nothing, strace's notes do.
    fn killed(&self, scratch: &Scratch, calls: &str, n: u32) -> bool {
        // `?`: not every architecture knows every call.
        let calls = &calls
            .split(',')
            .map(|c| format!("?{c}"))
            .collect::<Vec<_>>()
            .join(",");
        let rkt = Rkt::new(scratch).args((self.args)(scratch));
        let command = rkt.command();
        let notes = scratch.at("strace");
        let mut traced = Command::new("strace");
        traced
            .args(["-f", "-q", "-o"])
            .arg(&notes)
            .args([
                "-e",
                &format!("trace={calls}"),
                "-e",
                &format!("inject={calls}:signal=KILL:when={n}"),
            ])
            .arg(command.get_program())
            .args(command.get_args())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let mut child = traced.spawn().expect("strace was found");
        let end = Instant::now() + Duration::from_secs(60);
        let status = loop {
            if let Some(status) = child.try_wait().expect("the child is ours") {
                break status;
            }
            assert!(Instant::now() < end, "hangs");
            std::thread::sleep(Duration::from_millis(5));
        };
        let killed = std::fs::read(&notes)
            .is_ok_and(|text| String::from_utf8_lossy(&text).contains("killed by SIGKILL"));
        killed || !status.success()
    }

    fn check(before: &Traces, scratch: &Scratch) {
        eventually("no pod runs any more", || {
            let listed = Rkt::new(scratch)
                .args(["list", "--full", "--no-legend"])
                .run()
                .ok();
            (!listed.stdout.contains("running") && !listed.stdout.contains("preparing"))
                .then_some(())
        });
        Rkt::new(scratch).args(["image", "list"]).run().ok();
        sweep(scratch);
        assert_nothing_left(before, scratch.path());
    }

    /// Walks all kinds of calls; every place where something is wrong is told, not only the first.
    fn walk(&self, name: &str) {
        let mut scratch = Scratch::new(name);
        let mut before = Traces::now(scratch.path());
        let mut wrong: Vec<String> = Vec::new();
        let mut kills = 0;
        for calls in CALLS {
            let mut n = 1;
            while n < FAR && wrong.len() < 30 {
                let step = AssertUnwindSafe(|| {
                    (self.ready)(&scratch);
                    let killed = self.killed(&scratch, calls, n);
                    Walk::check(&before, &scratch);
                    killed
                });
                match catch_unwind(step) {
                    Ok(true) => kills += 1,
                    Ok(false) => break,
                    Err(why) => {
                        let text = why
                            .downcast_ref::<String>()
                            .map_or("panicked", String::as_str);
                        wrong.push(format!(
                            "kill at call {n} of {calls}: {}",
                            text.replace('\n', "\n    ")
                        ));
                        scratch = Scratch::new(name);
                        before = Traces::now(scratch.path());
                    }
                }
                // The first steps are all different; further on they repeat (one write per file, per line).
                n += if n < 40 { 1 } else { 7 };
            }
        }
        assert!(
            wrong.is_empty(),
            "{} of {} kills leave something wrong\n{}",
            wrong.len(),
            kills + wrong.len(),
            wrong.join("\n")
        );
        assert!(
            kills > 10,
            "only {kills} kills: the walk does not reach rkt"
        );
        eprintln!("{kills} kills of {name}");
        // And it still works.
        (self.ready)(&scratch);
        Rkt::new(&scratch).args((self.args)(&scratch)).run().ok();
        Walk::check(&before, &scratch);
    }
}

fn walk(name: &str, walk: &Walk) {
    if tests::isolated::find("strace").is_none() {
        skip!("needs strace (Debian: strace)");
    }
    walk.walk(name);
}

fn image(scratch: &Scratch) -> String {
    Aci::probe("example.com/probe")
        .write(scratch.path())
        .display()
        .to_string()
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|w| (*w).to_owned()).collect()
}

#[test]
fn fetch() {
    isolated_in(&[Mode::Private], "fetch", || {
        let ready = |s: &Scratch| {
            image(s);
            Rkt::new(s).args(["image", "rm", "example.com/probe"]).run();
        };
        walk(
            "kill-fetch",
            &Walk {
                ready,
                args: |s| words(&["fetch", &s.at("probe.aci").display().to_string()]),
            },
        );
    });
}

#[test]
fn prepare() {
    isolated_in(&[Mode::Private], "prepare", || {
        let args = |s: &Scratch| words(&["prepare", &s.at("probe.aci").display().to_string()]);
        walk(
            "kill-prepare",
            &Walk {
                ready: |s| drop(image(s)),
                args,
            },
        );
    });
}

#[test]
fn run() {
    isolated_in(&[Mode::Private], "run", || {
        let args = |s: &Scratch| {
            let image = s.at("probe.aci").display().to_string();
            words(&[
                "run",
                "--net=none",
                &image,
                "--memory=64Mi",
                "--",
                "echo",
                "x",
            ])
        };
        walk(
            "kill-run",
            &Walk {
                ready: |s| drop(image(s)),
                args,
            },
        );
    });
}

/// Links, leases, rules, the host's port, the namespace's file.
#[test]
fn run_with_a_network() {
    isolated_in(&[Mode::Private], "run_with_a_network", || {
        let _lab = match Lab::new("kill-network") {
            Ok(lab) => lab,
            Err(reason) => skip!("{reason}"),
        };
        let ready = |s: &Scratch| {
            let port = json!([{"name": "web", "protocol": "tcp", "port": 80}]);
            let image = Aci::probe("example.com/probe").app("ports", port);
            image.write(s.path());
        };
        let args = |s: &Scratch| {
            let image = s.at("probe.aci").display().to_string();
            words(&["run", "--port=web:18080", &image, "--", "echo", "x"])
        };
        walk("kill-network", &Walk { ready, args });
    });
}

/// The starter, what goes on in the background, and the pod.
#[test]
fn run_detached() {
    isolated_in(&[Mode::Private], "run_detached", || {
        let args = |s: &Scratch| {
            let image = s.at("probe.aci").display().to_string();
            words(&["run", "--net=none", "--detach", &image, "--", "echo", "x"])
        };
        walk(
            "kill-run-detached",
            &Walk {
                ready: |s| drop(image(s)),
                args,
            },
        );
    });
}

/// gc itself killed, over two exited pods and a prepared one.
#[test]
fn gc() {
    isolated_in(&[Mode::Private], "gc", || {
        let ready = |s: &Scratch| {
            let image = image(s);
            for _ in 0..2 {
                Rkt::new(s)
                    .args(["run", "--net=none", &image, "--", "echo", "x"])
                    .run()
                    .ok();
            }
            Rkt::new(s).args(["prepare", &image]).run().ok();
        };
        walk(
            "kill-gc",
            &Walk {
                ready,
                args: |_| words(&["gc", "--grace-period=0s", "--expire-prepared=0s"]),
            },
        );
    });
}
