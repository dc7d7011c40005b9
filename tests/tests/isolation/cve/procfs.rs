//! `/proc`, `/sys` and `/dev` that move while they are covered, and what is written through them.
//!
//! A mount point cannot be renamed by who has it mounted, but by any process of another mount namespace: an app reaches
//! the root of a process beside it by `/proc/<pid>/root`. A handler of the image leaves that process behind, and the app
//! of the same root is built while its neighbour exchanges the directories.
//!
//! strace stops each call that matters for a moment, so that the exchange falls into it about every second time; without
//! strace it is left to chance.

use super::{call, handled, hostile, run, slow, start};
use tests::tar::Entry;
use tests::terminal::Terminal;
use tests::{Aci, Output, Rkt, Scratch, root_test_once};

/// The neighbour: it exchanges `one` and `other` in every root that has the file `marked`.
fn neighbour(one: &str, other: &str) -> Aci {
    hostile("neighbour").exec(&[
        "/intruder",
        "touch",
        "/dev/shm/going",
        "then",
        "exchange-of",
        "marked",
        one,
        other,
        "/dev/shm/over",
    ])
}

/// The app whose handler leaves a process behind, and which waits for the neighbour's first round.
fn victim() -> Aci {
    handled(
        hostile("victim"),
        "pre-start",
        &[
            "/intruder",
            "orphan",
            "forever",
            "then",
            "await",
            "/dev/shm/going",
        ],
    )
    .with(Entry::file("rootfs/marked", ""))
}

fn race(s: &Scratch, place: &str, rounds: usize, flags: &[&str], see: impl Fn(&Output)) {
    let other = format!("{place}.other");
    let one = neighbour(place, &other).write(s.path());
    let (here, there) = (format!("/{place}"), format!("/{other}"));
    // The listing is of `/proc`, wherever that has come to lie.
    let list = [
        "then",
        "mounts-of",
        "/proc",
        "then",
        "mounts-of",
        "/proc.other",
    ];
    let mut words = vec![
        "/intruder",
        "touch",
        "/dev/shm/over",
        "then",
        "await",
        "/marked",
    ];
    for _ in 0..3 {
        words.extend(list);
    }
    words.extend([
        "then",
        "writes",
        "/proc/sys/kernel/core_pattern",
        "/proc.other/sys/kernel/core_pattern",
        &here,
        &there,
    ]);
    let two = victim()
        .with(Entry::dir(&format!("rootfs/{other}")))
        .exec(&words)
        .write(s.path());
    for _ in 0..rounds {
        let out = slow(run(s), "mount").args(flags).arg(&one).arg(&two).run();
        assert!(
            !out.stdout.contains("core_pattern=open"),
            "the kernel's settings are writable\n{out}"
        );
        see(&out);
    }
}

/// Where a procfs is seen, what must lie over it is seen as well.
#[track_caller]
fn masked(out: &Output) {
    let mounted = out.facts("mounted");
    let has = |part: &str| {
        mounted.iter().any(|m| {
            m.starts_with(&format!("/proc{part} ")) || m.starts_with(&format!("/proc.other{part} "))
        })
    };
    if has("") {
        assert!(
            has("/sys") && has("/irq") && has("/bus"),
            "/proc is not covered\n{out}"
        );
    }
}

root_test_once! {
    fn a_proc_that_is_exchanged_while_it_is_masked(s) {
        race(s, "proc", 6, &[], masked);
        race(s, "proc", 3, &["--no-overlay"], masked);
    }
}

root_test_once! {
    fn a_sys_that_is_exchanged_while_it_is_masked(s) {
        race(s, "sys", 5, &["--no-overlay"], |out| {
            let mounted = out.facts("mounted");
            if let Some(sys) = mounted.iter().find(|m| m.contains(" sysfs ")) {
                assert!(sys.ends_with(" ro"), "{sys}\n{out}");
                assert!(mounted.iter().any(|m| m.starts_with("/sys/firmware ") || m.starts_with("/sys.other/firmware ")), "/sys is not covered\n{out}");
            }
        });
    }
}

root_test_once! {
    fn a_dev_that_is_exchanged_while_it_is_filled(s) {
        race(s, "dev", 3, &["--no-overlay"], masked);
    }
}

root_test_once! {
    fn volumes_on_procfs_are_refused(s) {
        let shelf = s.mkdir("shelf");
        let volume = format!("--volume=v,kind=host,source={}", shelf.display());
        let image = hostile("links")
            .with(Entry::symlink("rootfs/link", "/proc"))
            .with(Entry::symlink("rootfs/deep", "/proc/self/attr"))
            .with(Entry::symlink("rootfs/settings", "/proc/sys/kernel"))
            .with(Entry::symlink("rootfs/terminals", "/dev/pts"))
            .write(s.path());
        for target in ["/proc", "/proc/self/attr", "/x/../proc", "/link", "/deep", "/settings", "/terminals", "/terminals/x", "/link/1/root"] {
            let out = run(s).arg(&volume).arg(&image).args([&format!("--mount=volume=v,target={target}"), "--exec=/intruder", "--", "echo", "executed"]).run();
            assert!(!out.stdout.contains("executed"), "a volume lies on {target}\n{out}");
            assert_ne!(out.code, 0, "{target}\n{out}");
        }
        // The same from the image alone.
        for path in ["/proc", "/proc/self/attr", "/link", "/deep"] {
            let image = hostile("declared")
                .with(Entry::symlink("rootfs/link", "/proc"))
                .with(Entry::symlink("rootfs/deep", "/proc/self/attr"))
                .app("mountPoints", serde_json::json!([{"name": "here", "path": path}]))
                .write(s.path());
            let out = run(s).arg(&image).args(["--exec=/intruder", "--", "echo", "executed"]).run();
            assert!(!out.stdout.contains("executed"), "a volume of the image lies on {path}\n{out}");
        }
    }
}

/// A pod whose neighbour app has put something else in the place of a directory of the victim, and its UUID.
fn replaced(s: &Scratch, place: &str, prepare: &[&str]) -> (tests::rkt::Running, String) {
    let other = format!("{place}.other");
    let exchange = ["then", "exchange-of", "marked", place, &other, "1"];
    // The roots are looked for once in a round, and the victim has to be there first.
    let mut words = vec!["/intruder", "await", "/dev/shm/up"];
    words.extend(exchange);
    words.extend(["then", "touch", "/dev/shm/done", "then", "forever"]);
    let one = hostile("neighbour").exec(&words).write(s.path());
    let mut words = vec!["/intruder"];
    words.extend(prepare);
    words.extend([
        "then",
        "touch",
        "/dev/shm/up",
        "then",
        "await",
        "/dev/shm/done",
        "then",
        "echo",
        "ready",
        "then",
        "forever",
    ]);
    let two = handled(
        hostile("victim"),
        "pre-start",
        &["/intruder", "orphan", "forever"],
    )
    .with(Entry::file("rootfs/marked", ""))
    .with(Entry::dir(&format!("rootfs/{other}")))
    .exec(&words)
    .write(s.path());
    start(s, |rkt| {
        rkt.arg("--no-overlay")
            .arg(&one)
            .arg(&two)
            .arg("--oom-score-adj=7")
    })
}

root_test_once! {
    fn what_enter_writes_goes_to_procfs_or_nowhere(s) {
        // `/proc` becomes the app's own directory, in which its own file lies where the kernel's should.
        let (pod, uuid) = replaced(s, "proc", &["mkdir", "/proc.other/self", "then", "touch", "/proc.other/self/oom_score_adj"]);
        let out = call(s, &["enter", "--app=victim", &uuid, "/intruder", "echo", "executed"]);
        assert!(!out.stdout.contains("executed"), "the score was not applied, and the command runs\n{out}");
        let seen = call(s, &["enter", "--app=neighbour", &uuid, "/intruder", "echo", "alive"]).ok();
        assert!(seen.stdout.contains("alive"), "{seen}");
        let pods = s.data().join("pods/run").join(&uuid);
        let written = find(&pods, "oom_score_adj");
        assert!(!written.is_empty(), "the app's own file is not where it was put");
        for file in written {
            assert_eq!(std::fs::read(&file).ok().as_deref(), Some(&b""[..]), "{} was written", file.display());
        }
        call(s, &["stop", "--force", &uuid]).ok();
        pod.end();
    }
}

/// Regular files of this name, links not followed.
fn find(dir: &std::path::Path, name: &str) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        let kind = entry.file_type().expect("the kind of an entry");
        if kind.is_dir() {
            found.extend(find(&entry.path(), name));
        } else if kind.is_file() && entry.file_name() == name {
            found.push(entry.path());
        }
    }
    found
}

root_test_once! {
    fn a_terminal_comes_from_the_pods_devpts_or_not_at_all(s) {
        // `pts` moves all the time, and what stands in for it leads to a file of the supervisor.
        let going = ["then", "exchange-of", "marked", "dev/pts", "dev/other", "/dev/shm/over"];
        let mut words = vec!["/intruder", "await", "/dev/shm/up", "then", "touch", "/dev/shm/going"];
        words.extend(going);
        let one = hostile("neighbour").exec(&words).write(s.path());
        let two = hostile("victim").with(Entry::file("rootfs/marked", "")).exec(&[
            "/intruder", "mkdir", "/dev/other", "then", "link", "/taken", "/dev/other/ptmx", "then", "node", "/taken", "null", "then",
            "orphan", "forever", "then", "touch", "/dev/shm/up", "then", "await", "/dev/shm/going", "then", "echo", "ready", "then", "forever",
        ]);
        let two = two.write(s.path());
        let (pod, uuid) = start(s, |rkt| rkt.arg(&one).arg(&two));
        for _ in 0..6 {
            let terminal = Terminal::new(24, 80);
            let enter = slow(Rkt::new(s), "fstatfs").args(["enter", "--app=victim", &uuid, "/intruder", "descriptors"]);
            let seated = terminal.start(&enter);
            let (_, _) = seated.end();
            let text = terminal.text();
            for line in text.lines().filter_map(|l| l.strip_prefix("descriptor=")) {
                assert!(line.contains(" /dev/pts/") || line.contains(" /dev/other/"), "the command was given {line}\n{text}");
            }
            assert!(!text.contains("inappropriate ioctl"), "another file was opened as a terminal\n{text}");
        }
        call(s, &["enter", "--app=neighbour", &uuid, "/intruder", "touch", "/dev/shm/over"]).ok();
        call(s, &["stop", "--force", &uuid]).ok();
        pod.end();
    }
}
