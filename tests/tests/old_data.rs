//! A data directory of rkt 1.30: its pods are listed as 1.30 listed them, and rm and gc take them away with what they
//! left on the host.
//!
//! `fixtures/data-1.30/pods.txt` describes the tree (git keeps neither modes nor empty directories), the other files
//! beside it are what 1.30 printed of it: `list-full.txt` and `list.json` before its gc marked three pods,
//! `list-full-after-mark.txt` and `status.txt` after.

use serde_json::Value;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, UNIX_EPOCH};
use tests::isolated::{Mode, isolated_in, sweep};
use tests::{Rkt, Scratch, skip};

const EXITED: &str = "4f8f49c1-0264-4354-b2cf-6c38b51c5cc7";
const MARKED: &str = "0e25642c-e5ee-465c-81c1-11a1873fcc60";
const PREPARED: &str = "a468b742-faf5-4424-ab1c-057c7f61f3b7";

fn fixture(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("fixtures/data-1.30")
        .join(name);
    std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// Builds the tree as the scratch directory's data.
fn build(scratch: &Scratch) -> PathBuf {
    let data = scratch.mkdir("data");
    let mut modes = Vec::new();
    for line in fixture("pods.txt").lines().filter(|l| !l.starts_with('#')) {
        let fields: Vec<&str> = line.split('\t').collect();
        let done = match fields[..] {
            ["d", mode, path] => {
                modes.push((data.join(path), mode.to_owned()));
                std::fs::create_dir_all(data.join(path))
            }
            ["f", mode, path, content] => {
                modes.push((data.join(path), mode.to_owned()));
                std::fs::write(
                    data.join(path),
                    content.replace("\\n", "\n").replace("\\\\", "\\"),
                )
            }
            ["l", path, target] => std::os::unix::fs::symlink(target, data.join(path)),
            ["t", ns, path] => {
                let time = UNIX_EPOCH + Duration::from_nanos(ns.parse().expect("a number"));
                std::fs::File::open(data.join(path)).and_then(|file| file.set_modified(time))
            }
            _ => panic!("no entry: {line:?}"),
        };
        done.unwrap_or_else(|e| panic!("{line:?}: {e}"));
    }
    // Last, and the innermost first: some directories let nobody in.
    for (path, mode) in modes.iter().rev() {
        let mode = u32::from_str_radix(mode, 8).expect("an octal mode");
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode))
            .expect("the entry made above");
    }
    data
}

/// Before 1.30's gc had marked three pods, and before the last one ran.
fn unmark(data: &Path) {
    let marked = data.join("pods/exited-garbage");
    for pod in std::fs::read_dir(&marked).expect("built above").flatten() {
        std::fs::rename(pod.path(), data.join("pods/run").join(pod.file_name()))
            .expect("both on one file system");
    }
    std::fs::rename(data.join("pods/run").join(EXITED), data.join("elsewhere"))
        .expect("both on one file system");
}

/// The runs of blanks and tabs are the table's affair.
fn cells(text: &str) -> Vec<Vec<String>> {
    let row = |line: &str| -> Vec<String> {
        let cells = line.split('\t').map(|c| c.trim().to_owned());
        cells.filter(|c| !c.is_empty()).collect()
    };
    text.lines().map(row).collect()
}

fn call(scratch: &Scratch, args: &[&str]) -> tests::Output {
    // The recorded times are in UTC.
    Rkt::new(scratch).env("TZ", "UTC").args(args).run()
}

/// `body` as root in a mount namespace of its own.
fn alone(test: &str, body: fn()) {
    isolated_in(&[Mode::Private], test, body);
}

#[test]
fn listed_as_before() {
    alone("listed_as_before", || {
        let s = Scratch::new("old-list");
        let data = build(&s);
        let full = call(&s, &["list", "--full"]).ok();
        assert_eq!(
            cells(&full.stdout),
            cells(&fixture("list-full-after-mark.txt")),
            "{full}"
        );
        unmark(&data);
        let full = call(&s, &["list", "--full"]).ok();
        assert_eq!(
            cells(&full.stdout),
            cells(&fixture("list-full.txt")),
            "{full}"
        );
        let expected: Value = serde_json::from_str(&fixture("list.json")).expect("recorded JSON");
        assert_eq!(call(&s, &["list", "--format=json"]).ok().json(), expected);
        let short = call(&s, &["list"]).ok();
        for line in cells(&fixture("list-full.txt")).iter().skip(1) {
            assert!(
                short.stdout.contains(&line[0][..8]),
                "{} is not listed\n{short}",
                line[0]
            );
        }
    });
}

/// Lines of `status` per pod, up to the manifest that 1.30's `--debug` build printed behind them.
fn recorded_status() -> Vec<(String, Vec<String>)> {
    let mut all: Vec<(String, Vec<String>)> = Vec::new();
    for line in fixture("status.txt").lines() {
        if let Some(uuid) = line.strip_prefix("== ") {
            all.push((uuid.to_owned(), Vec::new()));
        } else if !line.starts_with(['{', '\t'])
            && let Some((_, lines)) = all.last_mut()
        {
            lines.push(line.to_owned());
        }
    }
    all
}

#[test]
fn status_as_before() {
    alone("status_as_before", || {
        let s = Scratch::new("old-status");
        build(&s);
        let mut wrong = Vec::new();
        for (uuid, expected) in recorded_status() {
            let out = call(&s, &["status", &uuid]).ok();
            let got: Vec<&str> = out.stdout.lines().collect();
            if got != expected {
                wrong.push(format!("{uuid}: expected {expected:?}\n{out}"));
            }
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
        call(&s, &["cat-manifest", EXITED])
            .ok()
            .stdout_has("\"acVersion\": \"1.30.0+git\"");
    });
}

#[test]
fn rm_takes_each() {
    alone("rm_takes_each", || {
        let s = Scratch::new("old-rm");
        let data = build(&s);
        for uuid in [EXITED, MARKED, PREPARED] {
            let out = call(&s, &["rm", uuid]).ok();
            assert_eq!(out.stdout, format!("\"{uuid}\"\n"));
            assert_eq!(out.stderr, "");
            assert!(!call(&s, &["list", "--full"]).ok().stdout.contains(uuid));
        }
        let left: Vec<_> = std::fs::read_dir(data.join("pods/run"))
            .expect("built above")
            .flatten()
            .collect();
        assert!(left.is_empty(), "{left:?}");
    });
}

#[test]
fn gc_takes_all() {
    alone("gc_takes_all", || {
        let s = Scratch::new("old-gc");
        let data = build(&s);
        sweep(&s);
        assert!(
            data.join("cas/db").is_dir(),
            "the old image database is left alone"
        );
        assert_eq!(
            cells(&call(&s, &["list", "--no-legend"]).ok().stdout),
            cells("")
        );
    });
}

/// Cgroups, leases and all that, in file systems of this namespace's own laid over the host's places.
#[test]
fn what_a_pod_left_on_the_host_goes_with_it() {
    alone("what_a_pod_left_on_the_host_goes_with_it", || {
        let s = Scratch::new("old-leftovers");
        let data = build(&s);
        for place in ["/var/lib", "/sys/fs/cgroup"] {
            let mounted = Command::new("mount")
                .args(["-t", "tmpfs", "over", place])
                .status()
                .expect("`mount` was looked for before");
            if !mounted.success() {
                skip!("cannot mount a tmpfs over {place} here");
            }
        }
        let make = |path: &str, content: &str| {
            let path = Path::new(path);
            let dir = path.parent().expect("a path below a directory");
            std::fs::create_dir_all(dir).expect("our own tmpfs");
            std::fs::write(path, content).expect("our own tmpfs");
        };
        let leases = "/var/lib/cni/networks/default";
        make(&format!("{leases}/172.16.28.2"), EXITED);
        make(&format!("{leases}/172.16.28.3"), MARKED);
        make(&format!("{leases}/last_reserved_ip"), "172.16.28.3");
        let scope = "machine.slice/machine-rkt\\x2d4f8f49c1.scope";
        for controller in ["cpu", "memory", "systemd"] {
            let dir = format!("/sys/fs/cgroup/{controller}/{scope}/system.slice/busybox.service");
            std::fs::create_dir_all(dir).expect("our own tmpfs");
        }
        let pod = data.join("pods/run").join(EXITED);
        std::fs::write(pod.join("subcgroup"), scope).expect("the pod built above");
        let net = r#"[{"netName":"default","netConf":"net/99-default.conf","pluginPath":"stage1/rootfs/usr/lib/rkt/plugins/net/ptp","ifName":"eth0","ip":"172.16.28.2","args":"","mask":"255.255.255.0"}]"#;
        std::fs::write(pod.join("net-info.json"), net).expect("the pod built above");
        call(&s, &["list", "--full"])
            .ok()
            .stdout_has("default:ip4=172.16.28.2");
        let out = call(&s, &["rm", EXITED]).ok();
        assert_eq!(out.stderr, "");
        let there = |path: &str| Path::new(path).exists();
        assert!(
            !there(&format!("{leases}/172.16.28.2")),
            "the pod's own lease stays"
        );
        assert!(
            there(&format!("{leases}/172.16.28.3")),
            "another pod's lease was taken"
        );
        assert!(there(&format!("{leases}/last_reserved_ip")));
        for controller in ["cpu", "memory", "systemd"] {
            let group = format!("/sys/fs/cgroup/{controller}/{scope}");
            assert!(!there(&group), "{group} stays");
            assert!(
                there(&format!("/sys/fs/cgroup/{controller}/machine.slice")),
                "not the pod's"
            );
        }
    });
}

#[test]
fn the_old_image_database_is_named_once() {
    alone("the_old_image_database_is_named_once", || {
        let s = Scratch::new("old-images");
        build(&s);
        let out = call(&s, &["image", "list"]).ok();
        let lines: Vec<&str> = out.stderr.lines().filter(|l| l.contains("cas")).collect();
        assert_eq!(lines.len(), 1, "one line about the images of 1.30\n{out}");
        assert_eq!(out.stdout.lines().count(), 1, "the header only\n{out}");
    });
}
