//! System calls that a sandbox is asked about: which of them reach the kernel's own code, and what comes back.
//!
//! `reached` stands for success and for every error that only the call itself gives (EFAULT, EINVAL, EBADF, …).

use super::say;
use sys::attempt::{Answer, Arg, Door, attempt, number};

const NEWNS: i64 = 0x0002_0000;
const NEWUSER: i64 = 0x1000_0000;
const NEWTIME: i64 = 0x80;
const SIGCHLD: i64 = 17;

/// One attempt: its name in the report, the call, its arguments.
type Attempt<'a> = (&'a str, &'a str, &'a [Arg<'a>]);

const NONE: Arg<'_> = Arg::Number(0);
const fn n(number: i64) -> Arg<'static> {
    Arg::Number(number)
}

/// Arguments are such that the call does nothing where it is allowed, or undoes itself with the child.
const ATTEMPTS: &[Attempt<'static>] = &[
    ("unshare(NEWUSER)", "unshare", &[n(NEWUSER)]),
    ("unshare(NEWNS)", "unshare", &[n(NEWNS)]),
    ("unshare(NEWTIME)", "unshare", &[n(NEWTIME)]),
    (
        "clone(NEWUSER)",
        "clone",
        &[n(NEWUSER | SIGCHLD), NONE, NONE, NONE, NONE],
    ),
    ("clone3", "clone3", &[NONE, NONE]),
    // A change of what is not mounted: EINVAL to those who may mount.
    (
        "mount",
        "mount",
        &[NONE, Arg::Bytes(b"/proc/self\0"), NONE, n(0x1020), NONE],
    ),
    ("umount2", "umount2", &[Arg::Bytes(b"/proc/self\0"), n(2)]),
    (
        "pivot_root",
        "pivot_root",
        &[Arg::Bytes(b"/no/such\0"), Arg::Bytes(b"/no/such\0")],
    ),
    ("fsopen", "fsopen", &[Arg::Bytes(b"tmpfs\0"), NONE]),
    (
        "open_tree",
        "open_tree",
        &[n(-100), Arg::Bytes(b"/\0"), n(1)],
    ),
    (
        "move_mount",
        "move_mount",
        &[n(-1), Arg::Bytes(b"\0"), n(-1), Arg::Bytes(b"\0"), n(4)],
    ),
    (
        "mount_setattr",
        "mount_setattr",
        &[
            n(-1),
            Arg::Bytes(b"\0"),
            n(0x1000),
            Arg::Bytes(&[0; 32]),
            n(32),
        ],
    ),
    (
        "open_by_handle_at",
        "open_by_handle_at",
        &[n(-100), NONE, NONE],
    ),
    (
        "name_to_handle_at",
        "name_to_handle_at",
        &[n(-1), Arg::Bytes(b"\0"), NONE, NONE, n(0x1000)],
    ),
    ("bpf", "bpf", &[NONE, NONE, NONE]),
    (
        "perf_event_open",
        "perf_event_open",
        &[NONE, NONE, n(-1), n(-1), NONE],
    ),
    ("userfaultfd", "userfaultfd", &[n(1)]),
    ("io_uring_setup", "io_uring_setup", &[n(1), NONE]),
    ("fanotify_init", "fanotify_init", &[n(0x200), NONE]),
    ("keyctl", "keyctl", &[NONE, n(-3), NONE]),
    ("add_key", "add_key", &[NONE, NONE, NONE, NONE, NONE]),
    ("request_key", "request_key", &[NONE, NONE, NONE, NONE]),
    ("ptrace(TRACEME)", "ptrace", &[NONE, NONE, NONE, NONE]),
    ("ptrace(SEIZE 1)", "ptrace", &[n(0x4206), n(1), NONE, NONE]),
    (
        "process_vm_readv(1)",
        "process_vm_readv",
        &[
            n(1),
            Arg::Bytes(&[0; 16]),
            n(1),
            Arg::Bytes(&[0; 16]),
            n(1),
            NONE,
        ],
    ),
    ("pidfd_getfd", "pidfd_getfd", &[n(-1), NONE, NONE]),
    ("kcmp", "kcmp", &[n(-1), n(-1), n(1), NONE, NONE]),
    ("personality(query)", "personality", &[n(0xffff_ffff)]),
    ("personality(no ASLR)", "personality", &[n(0x0004_0000)]),
    (
        "kexec_load",
        "kexec_load",
        &[NONE, n(99_999), NONE, n(0xffff)],
    ),
    ("init_module", "init_module", &[NONE, NONE, NONE]),
    ("finit_module", "finit_module", &[n(-1), NONE, NONE]),
    ("reboot", "reboot", &[NONE, NONE, NONE, NONE]),
    ("swapon", "swapon", &[Arg::Bytes(b"/no/such\0"), NONE]),
    ("settimeofday", "settimeofday", &[NONE, NONE]),
    ("sethostname", "sethostname", &[NONE, n(1)]),
    ("syslog", "syslog", &[n(10), NONE, NONE]),
    ("quotactl", "quotactl", &[n(-1), NONE, NONE, NONE]),
    ("iopl", "iopl", &[n(3)]),
    ("modify_ldt", "modify_ldt", &[n(0), NONE, NONE]),
    ("socket(ALG)", "socket", &[n(38), n(5), NONE]),
    ("socket(VSOCK)", "socket", &[n(40), n(1), NONE]),
    ("socket(PACKET)", "socket", &[n(17), n(3), NONE]),
    ("socket(raw ICMP)", "socket", &[n(2), n(3), n(1)]),
    ("socket(NETLINK_NETFILTER)", "socket", &[n(16), n(3), n(12)]),
    ("socket(UNIX)", "socket", &[n(1), n(1), NONE]),
    // Of this process' own stdin, which is no terminal unless a test gave it one: 25 is ENOTTY, and the call came through.
    (
        "ioctl(TIOCSTI)",
        "ioctl",
        &[NONE, n(0x5412), Arg::Bytes(b"x")],
    ),
    ("prctl(MCE_KILL)", "prctl", &[n(34), NONE, NONE, NONE, NONE]),
];

pub(super) fn all() {
    for (label, call, args) in ATTEMPTS {
        let Some(number) = number(call) else {
            say(&format!("call.{label}"), "absent");
            continue;
        };
        told(label, Door::Native, number, args);
    }
    join_own();
    told("no such number", Door::Native, 9999, &[]);
    // getpid by the other doors: 39 of x32, 20 of i386.
    told("by x32's door", Door::X32, 39, &[]);
    told("by i386's door", Door::I386, 20, &[]);
}

/// Into the namespace that the process is in, which is to be in the same place.
fn join_own() {
    use std::os::fd::AsRawFd;
    let (Ok(file), Some(number)) = (std::fs::File::open("/proc/self/ns/uts"), number("setns"))
    else {
        return say("call.setns", "absent");
    };
    told(
        "setns",
        Door::Native,
        number,
        &[n(file.as_raw_fd().into()), NONE],
    );
}

fn told(label: &str, door: Door, number: i64, args: &[Arg<'_>]) {
    let answer = attempt(door, number, args);
    let (short, raw) = match answer {
        Ok(Answer::Done) => ("reached".to_owned(), "ok".to_owned()),
        Ok(Answer::Killed(signal)) => ("killed".to_owned(), format!("signal {signal}")),
        Ok(Answer::Errno(errno)) => {
            let error = std::io::Error::from_raw_os_error(errno);
            let name = crate::facts::name(&error);
            match name.as_str() {
                "EPERM" | "EACCES" | "ENOSYS" => (name.clone(), name),
                _ => ("reached".to_owned(), name),
            }
        }
        Err(e) => ("unknown".to_owned(), e.to_string()),
    };
    say(&format!("call.{label}"), short);
    say(&format!("raw.call.{label}"), raw);
}
