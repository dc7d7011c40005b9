//! What this process is and what it may do, as `key=value` lines. Every attempt is harmless if it succeeds: files
//! are opened and closed, nothing is written to the host's controls.

use rustix::fs::{FileType, Mode, OFlags};
use std::io::Result;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// The kernel's files that a pod must not read, or must not write.
const SECRETS: &[&str] = &[
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/acpi",
    "/proc/kallsyms",
    "/proc/interrupts",
    "/sys/firmware",
    "/sys/devices/virtual/powercap",
];
const CONTROLS: &[&str] = &[
    "/proc/sysrq-trigger",
    "/proc/sys/kernel/core_pattern",
    "/proc/sys/kernel/modprobe",
    "/proc/sys/vm/panic_on_oom",
    "/proc/sys/kernel/hostname",
    "/proc/irq/default_smp_affinity",
    "/sys/kernel/uevent_helper",
    "/sys/power/state",
    "/sys/fs/cgroup/cgroup.procs",
    "/sys/fs/cgroup/memory/cgroup.procs",
    "/sys/fs/cgroup/cpu/release_agent",
];

pub(crate) fn all() {
    status();
    namespaces();
    mounts();
    descriptors();
    for path in SECRETS {
        println!("secret={path} {}", secret(path));
    }
    for path in CONTROLS {
        println!("control={path} {}", outcome(open(path, OFlags::WRONLY)));
    }
    devices();
    init();
    attempts();
    print_lines("cgroup", "/proc/self/cgroup");
    print_lines("limits", "/proc/self/limits");
    println!("oom_score_adj={}", text("/proc/self/oom_score_adj"));
    println!("hostname={}", text("/proc/sys/kernel/hostname"));
    println!("umask={:o}", rustix::process::umask(Mode::empty()).bits());
}

fn status() {
    const KEYS: &[&str] = &[
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
        "NSpid",
    ];
    for line in text("/proc/self/status").lines() {
        if let Some((key, value)) = line.split_once(':').filter(|(k, _)| KEYS.contains(k)) {
            println!(
                "{key}={}",
                value.split_whitespace().collect::<Vec<_>>().join(" ")
            );
        }
    }
}

fn namespaces() {
    for kind in ["mnt", "net", "pid", "ipc", "uts", "user", "cgroup"] {
        if let Ok(link) = std::fs::read_link(format!("/proc/self/ns/{kind}")) {
            println!("ns.{kind}={}", link.display());
        }
    }
}

/// Whether a read-only bind can be made writable from in here.
pub fn make_writable(path: &str) -> String {
    use rustix::mount::{MountFlags, mount_remount};
    outcome(mount_remount(path, MountFlags::BIND, "").map_err(Into::into))
}

fn mounts() {
    for line in text("/proc/self/mountinfo").lines() {
        let Some((left, right)) = line.split_once(" - ") else {
            continue;
        };
        let left: Vec<&str> = left.split(' ').collect();
        if let [_, _, _, _, target, options, tags @ ..] = &left[..] {
            let kind = right.split(' ').next().unwrap_or("");
            println!("mount={target} {kind} {options} {}", tags.join(" "));
        }
    }
}

fn descriptors() {
    let Ok(entries) = std::fs::read_dir("/proc/self/fd") else {
        return;
    };
    for entry in entries.filter_map(Result::ok) {
        let target = std::fs::read_link(entry.path()).unwrap_or_default();
        // The descriptor that reads this very directory.
        if target != Path::new(&format!("/proc/{}/fd", std::process::id())) {
            println!(
                "fd={} {}",
                entry.file_name().to_string_lossy(),
                target.display()
            );
        }
    }
}

/// `absent`, `empty` (an empty directory or file, which is how a masked one looks), `readable` or the error.
fn secret(path: &str) -> String {
    let Ok(meta) = std::fs::metadata(path) else {
        return "absent".to_owned();
    };
    if meta.is_dir() {
        return match std::fs::read_dir(path).map(Iterator::count) {
            Ok(0) => "empty".to_owned(),
            Ok(n) => format!("readable {n} entries"),
            Err(e) => name(&e),
        };
    }
    let Ok(file) = open(path, OFlags::RDONLY) else {
        return "refused".to_owned();
    };
    match rustix::io::read(&file, &mut [0_u8; 16]) {
        Ok(0) => "empty".to_owned(),
        Ok(_) => "readable".to_owned(),
        Err(e) => name(&e.into()),
    }
}

fn devices() {
    let mut names: Vec<String> = std::fs::read_dir("/dev")
        .map(|all| {
            all.filter_map(|e| Some(e.ok()?.file_name().to_string_lossy().into_owned()))
                .collect()
        })
        .unwrap_or_default();
    names.sort();
    println!("dev={}", names.join(" "));
    for node in ["null", "zero", "full", "random", "urandom", "tty"] {
        let path = format!("/dev/{node}");
        println!("open.{node}={}", outcome(open(&path, OFlags::RDWR)));
    }
    // The host's memory and its first disks, by number, through a node of our own making.
    for (label, kind, major, minor) in [
        ("mem", FileType::CharacterDevice, 1, 1),
        ("kmsg", FileType::CharacterDevice, 1, 11),
        ("sda", FileType::BlockDevice, 8, 0),
        ("vda", FileType::BlockDevice, 254, 0),
        ("loop0", FileType::BlockDevice, 7, 0),
    ] {
        let path = format!("/tmp/node-{label}");
        let _ = std::fs::remove_file(&path);
        let made = rustix::fs::mknodat(
            rustix::fs::CWD,
            &path,
            kind,
            Mode::from_bits_truncate(0o600),
            rustix::fs::makedev(major, minor),
        );
        let result = made
            .map_err(Into::into)
            .and_then(|()| open(&path, OFlags::RDONLY))
            .map(drop);
        println!("device.{label}={}", outcome(result));
        let _ = std::fs::remove_file(&path);
    }
}

/// What pid 1 lets us touch: the supervisor's files, memory, environment and program.
fn init() {
    println!("init.name={}", text("/proc/1/comm"));
    for link in ["root", "cwd", "exe"] {
        println!(
            "init.{link}={}",
            outcome(std::fs::read_link(format!("/proc/1/{link}")))
        );
    }
    println!("init.environ={}", outcome(std::fs::read("/proc/1/environ")));
    println!("init.fds={}", descriptors_of(1));
    println!("init.mem={}", outcome(open("/proc/1/mem", OFlags::RDWR)));
    println!(
        "init.exe-write={}",
        outcome(open("/proc/1/exe", OFlags::WRONLY))
    );
    println!(
        "init.walk={}",
        outcome(std::fs::read_dir("/proc/1/root/").map(drop))
    );
    let parent = rustix::process::getppid().map_or(0, |p| p.as_raw_nonzero().get());
    println!("parent={parent}");
    if parent > 0 {
        println!(
            "parent.exe-write={}",
            outcome(open(&format!("/proc/{parent}/exe"), OFlags::WRONLY))
        );
        println!(
            "parent.fds={}",
            outcome(std::fs::read_dir(format!("/proc/{parent}/fd")))
        );
    }
}

/// Whether any descriptor of the process can be followed or opened. Its numbers are no secret: the kernel shows them to
/// uid 0 whatever the process is.
pub(crate) fn descriptors_of(pid: i32) -> String {
    let all = match std::fs::read_dir(format!("/proc/{pid}/fd")) {
        Ok(all) => all,
        Err(e) => return name(&e),
    };
    let mut refused = "none".to_owned();
    for entry in all.filter_map(Result::ok) {
        let path = entry.path();
        match std::fs::read_link(&path)
            .map(drop)
            .or_else(|_| std::fs::File::open(&path).map(drop))
        {
            Ok(()) => return "ok".to_owned(),
            Err(e) => refused = name(&e),
        }
    }
    refused
}

fn attempts() {
    use rustix::mount::{MountFlags, UnmountFlags};
    let mounted = rustix::mount::mount("none", "/tmp", "tmpfs", MountFlags::empty(), None);
    println!("mount.tmpfs={}", outcome(mounted.map_err(Into::into)));
    let remounted = rustix::mount::mount_remount("/sys", MountFlags::empty(), "");
    println!("mount.sys-rw={}", outcome(remounted.map_err(Into::into)));
    println!(
        "umount.proc={}",
        outcome(rustix::mount::unmount("/proc", UnmountFlags::DETACH).map_err(Into::into))
    );
    println!(
        "sethostname={}",
        outcome(rustix::system::sethostname(b"taken").map_err(Into::into))
    );
    println!(
        "root.write={}",
        outcome(std::fs::write("/probe-was-here", "x"))
    );
    let _ = std::fs::remove_file("/probe-was-here");
    println!(
        "dev.write={}",
        outcome(std::fs::write("/dev/probe-was-here", "x"))
    );
    println!("kmsg={}", outcome(open("/dev/kmsg", OFlags::RDONLY)));
}

pub(crate) fn stat(path: &str) {
    match std::fs::symlink_metadata(path) {
        Ok(m) => println!(
            "stat={:o} {}:{} {}",
            m.mode() & 0o7777,
            m.uid(),
            m.gid(),
            m.len()
        ),
        Err(e) => println!("stat={}", name(&e)),
    }
}

pub(crate) fn processes() {
    let Ok(entries) = std::fs::read_dir("/proc") else {
        return;
    };
    for entry in entries.filter_map(Result::ok) {
        let pid = entry.file_name().to_string_lossy().into_owned();
        if pid.bytes().all(|b| b.is_ascii_digit()) {
            let line = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
            println!(
                "process={pid} {}",
                String::from_utf8_lossy(&line).replace('\0', " ").trim_end()
            );
        }
    }
}

fn print_lines(key: &str, path: &str) {
    text(path).lines().for_each(|l| {
        println!(
            "{key}={}",
            l.split_whitespace().collect::<Vec<_>>().join(" ")
        )
    });
}

/// One field of this process' status.
pub(crate) fn status_field(key: &str) -> String {
    let status = text("/proc/self/status");
    let line = status
        .lines()
        .find_map(|l| l.strip_prefix(key)?.strip_prefix(':'));
    line.map_or_else(String::new, |v| {
        v.split_whitespace().collect::<Vec<_>>().join(" ")
    })
}

pub(crate) fn text(path: &str) -> String {
    std::fs::read_to_string(path)
        .unwrap_or_default()
        .trim_end()
        .to_owned()
}

pub(crate) fn open(path: &str, flags: OFlags) -> Result<rustix::fd::OwnedFd> {
    Ok(rustix::fs::open(
        path,
        flags | OFlags::CLOEXEC | OFlags::NONBLOCK,
        Mode::empty(),
    )?)
}

/// `ok`, or the error's name as errno.h spells it where it is one of the usual ones.
pub(crate) fn outcome<T>(result: Result<T>) -> String {
    result.map_or_else(|e| name(&e), |_| "ok".to_owned())
}

pub(crate) fn name(e: &std::io::Error) -> String {
    match e.raw_os_error() {
        Some(1) => "EPERM".to_owned(),
        Some(2) => "ENOENT".to_owned(),
        Some(5) => "EIO".to_owned(),
        Some(6) => "ENXIO".to_owned(),
        Some(13) => "EACCES".to_owned(),
        Some(16) => "EBUSY".to_owned(),
        Some(22) => "EINVAL".to_owned(),
        Some(25) => "ENOTTY".to_owned(),
        Some(26) => "ETXTBSY".to_owned(),
        Some(30) => "EROFS".to_owned(),
        Some(38) => "ENOSYS".to_owned(),
        Some(n) => format!("errno-{n}"),
        None => e.to_string(),
    }
}
