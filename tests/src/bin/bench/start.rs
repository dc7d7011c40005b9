//! Starting: the whole process from exec to exit, over the same static root file system, with the same capabilities
//! and a default system call filter, without a network.

use crate::clock::{self, Peer};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;
use tests::{Aci, Rkt, Scratch, isolated};

const CAPS: [&str; 14] = [
    "CAP_AUDIT_WRITE",
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_MKNOD",
    "CAP_NET_BIND_SERVICE",
    "CAP_NET_RAW",
    "CAP_SETFCAP",
    "CAP_SETGID",
    "CAP_SETPCAP",
    "CAP_SETUID",
    "CAP_SYS_CHROOT",
];

/// `rkt run --net=none` of the stored image against the peers that are installed.
pub(crate) fn cold_start(scratch: &Scratch) {
    let (id, rootfs) = stored_and_rendered(scratch);
    let peers = peers(scratch, &id, &rootfs);
    for missing in ["crun", "bwrap", "runc"] {
        if isolated::find(missing).is_none() {
            println!("missing peer: {missing} (Debian: crun bubblewrap runc)");
        }
    }
    let back_to_back = clock::medians(&peers, 6, 10, Duration::ZERO);
    clock::print(
        "start to exit, back to back, median of 60",
        &peers,
        &back_to_back,
    );
    let spaced = clock::medians(&peers, 4, 3, Duration::from_secs(1));
    clock::print(
        "start to exit, once a second, median of 12",
        &peers,
        &spaced,
    );
    sweep(scratch);
}

/// What a second app adds to a pod.
pub(crate) fn second_app(scratch: &Scratch) {
    let id = store(scratch);
    let one = rkt(scratch, &id, &["--name=one", "--", "exit", "0"]);
    let mut words = vec![
        "--name=one".to_owned(),
        "--".to_owned(),
        "exit".to_owned(),
        "0".to_owned(),
        "---".to_owned(),
    ];
    words.extend([
        id.clone(),
        "--name=two".to_owned(),
        "--".to_owned(),
        "exit".to_owned(),
        "0".to_owned(),
    ]);
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let two = Peer {
        name: "two apps",
        ..rkt(scratch, &id, &words)
    };
    let peers = [one, two];
    let medians = clock::medians(&peers, 6, 10, Duration::ZERO);
    clock::print(
        "one app and two apps in a pod, median of 60",
        &peers,
        &medians,
    );
    if let [Some(one), Some(two)] = medians[..] {
        println!(
            "  the second app adds {:.2} ms",
            clock::ms(two) - clock::ms(one)
        );
    }
    sweep(scratch);
}

/// The image's ID, and the same tree for those who start from a directory.
pub(crate) fn stored_and_rendered(scratch: &Scratch) -> (String, PathBuf) {
    let id = store(scratch);
    let rootfs = scratch.at("tree");
    Rkt::new(scratch)
        .args(["image", "render", "--rootfs-only", "example.com/probe"])
        .arg(&rootfs)
        .run()
        .ok();
    (id, rootfs)
}

pub(crate) fn store(scratch: &Scratch) -> String {
    let image = Aci::probe("example.com/probe").write(scratch.path());
    Rkt::new(scratch)
        .args(["fetch", "--full"])
        .arg(&image)
        .run()
        .ok()
        .stdout
        .trim()
        .to_owned()
}

/// Pods are collected outside the measured time.
pub(crate) fn sweep(scratch: &Scratch) {
    Rkt::new(scratch)
        .args(["gc", "--grace-period=0s"])
        .deadline(Duration::from_secs(300))
        .run();
}

fn rkt(scratch: &Scratch, id: &str, args: &[&str]) -> Peer {
    let data = scratch.data();
    let id = id.to_owned();
    let args: Vec<String> = args.iter().map(|a| (*a).to_owned()).collect();
    Peer {
        name: "rkt",
        command: Box::new(move |_| {
            let mut command = Command::new(tests::rkt::binary());
            command.arg(format!("--dir={}", data.display()));
            command.args(["run", "--net=none", &id]).args(&args);
            command
        }),
    }
}

fn peers(scratch: &Scratch, id: &str, rootfs: &Path) -> Vec<Peer> {
    let mut peers = vec![rkt(scratch, id, &["--", "exit", "0"])];
    for name in ["crun", "runc"] {
        let Some(program) = isolated::find(name) else {
            continue;
        };
        let bundle = bundle(scratch, name, rootfs);
        let root = scratch.mkdir(&format!("{name}-root"));
        peers.push(Peer {
            name,
            command: Box::new(move |turn| {
                let mut command = Command::new(&program);
                command
                    .arg("--root")
                    .arg(&root)
                    .args(["run", "--bundle"])
                    .arg(&bundle);
                command.arg(format!("bench-{}-{turn}", std::process::id()));
                command
            }),
        });
    }
    if let Some(program) = isolated::find("bwrap") {
        let rootfs = rootfs.to_owned();
        peers.push(Peer {
            name: "bwrap",
            command: Box::new(move |_| {
                let mut command = Command::new(&program);
                command
                    .args(["--unshare-all", "--bind"])
                    .arg(&rootfs)
                    .args(["/", "--proc", "/proc", "--dev", "/dev"]);
                command.args(["--", "/probe", "exit", "0"]);
                command
            }),
        });
    }
    peers
}

/// An OCI bundle with the confinement that a pod has.
fn bundle(scratch: &Scratch, name: &str, rootfs: &Path) -> PathBuf {
    let bundle = scratch.mkdir(&format!("{name}-bundle"));
    std::fs::write(bundle.join("config.json"), config(rootfs).to_string())
        .expect("a file in the scratch directory");
    bundle
}

fn config(rootfs: &Path) -> Value {
    let names: Vec<&str> = include_str!("../../../bench/seccomp-names.txt")
        .lines()
        .collect();
    let mount = |target: &str, kind: &str, source: &str, options: &[&str]| json!({"destination": target, "type": kind, "source": source, "options": options});
    let namespaces = ["pid", "network", "ipc", "uts", "mount"].map(|kind| json!({"type": kind}));
    json!({
        "ociVersion": "1.0.2",
        "process": {
            "terminal": false, "user": {"uid": 0, "gid": 0}, "args": ["/probe", "exit", "0"], "cwd": "/",
            "env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"],
            "capabilities": {"bounding": CAPS, "effective": CAPS, "permitted": CAPS},
            "noNewPrivileges": true,
        },
        "root": {"path": rootfs, "readonly": false},
        "hostname": "bench",
        "mounts": [
            mount("/proc", "proc", "proc", &["nosuid", "noexec", "nodev"]),
            mount("/dev", "tmpfs", "tmpfs", &["nosuid", "strictatime", "mode=755", "size=65536k"]),
            mount("/dev/pts", "devpts", "devpts", &["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"]),
            mount("/dev/shm", "tmpfs", "shm", &["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"]),
            mount("/dev/mqueue", "mqueue", "mqueue", &["nosuid", "noexec", "nodev"]),
            mount("/sys", "sysfs", "sysfs", &["nosuid", "noexec", "nodev", "ro"]),
        ],
        "linux": {
            "namespaces": namespaces,
            "seccomp": {
                "defaultAction": "SCMP_ACT_ERRNO",
                "syscalls": [{"names": names, "action": "SCMP_ACT_ALLOW"}],
            },
            "maskedPaths": ["/proc/acpi", "/proc/kcore", "/proc/keys", "/proc/latency_stats", "/proc/timer_list",
                "/proc/sched_debug", "/proc/scsi", "/sys/firmware", "/sys/devices/virtual/powercap"],
            "readonlyPaths": ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"],
        },
    })
}
