//! What holds of an app in every way to start one, absolutely and not by comparison: nothing inherited, nothing of the
//! host in sight, the standard nodes and no others, nothing of the kernel to write or to read that is not the pod's own.

use crate::columns::{COLUMNS, Place};
use crate::report::Report;
use tests::isolated::Mode;
use tests::root_test_in;

const NODES: [&str; 7] = [
    "console c 1:3 0666 opens",
    "full c 1:7 0666 opens",
    "null c 1:3 0666 opens",
    "random c 1:8 0666 opens",
    // A process without a terminal has none to open.
    "tty c 5:0 0666 ENXIO",
    "urandom c 1:9 0666 opens",
    "zero c 1:5 0666 opens",
];

/// Calls that no pod may make, whoever its root is.
const REFUSED: [&str; 16] = [
    "add_key",
    "bpf",
    "clone(NEWUSER)",
    "init_module",
    "io_uring_setup",
    "kexec_load",
    "keyctl",
    "mount",
    "open_by_handle_at",
    "perf_event_open",
    "ptrace(SEIZE 1)",
    "reboot",
    "setns",
    "swapon",
    "unshare(NEWUSER)",
    "userfaultfd",
];

/// Everything that is wrong with an app's report.
fn faults(report: &Report) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut expect = |key: &str, wanted: &str| {
        if report.one(key) != wanted {
            wrong.push(format!("{key} is {:?}, not {wanted:?}", report.one(key)));
        }
    };
    for (key, wanted) in [
        ("caps.inh", "0000000000000000"),
        ("caps.amb", "0000000000000000"),
        ("seccomp.mode", "2"),
        ("seccomp.filters", "1"),
        ("securebits", "0x0"),
        // Else its own files below /proc belong to somebody else.
        ("dumpable", "dumpable"),
        ("cwd", "/"),
        ("env.caller", "none"),
        ("env.host-paths", "none"),
        ("fds", "0 1 2"),
        ("propagation", "private"),
        ("mounts.host-paths", "none"),
        ("cgroup.files", "not in sight"),
        ("cgroup.view", "its own as /"),
        ("writable./sys", "none"),
        ("writable./dev", "none"),
        ("call.clone3", "ENOSYS"),
        ("call.no such number", "ENOSYS"),
        ("call.socket(UNIX)", "reached"),
        ("call.personality(query)", "reached"),
    ] {
        expect(key, wanted);
    }
    for kind in ["mnt", "pid", "net", "ipc", "uts", "cgroup"] {
        expect(&format!("ns.{kind}"), "own");
    }
    for call in REFUSED {
        expect(&format!("call.{call}"), "EPERM");
    }
    if report.one("caps.bnd") != report.one("caps.eff")
        || report.one("caps.bnd") != report.one("caps.prm")
    {
        wrong.push("the sets of capabilities differ".to_owned());
    }
    // In a user namespace this one has the mode that it has on the host, if it is there.
    let tun = |node: &&str| node.starts_with("net/tun c 10:200 ");
    let mut nodes: Vec<&str> = report.all("node").filter(|n| !tun(n)).collect();
    nodes.sort_unstable();
    if nodes != NODES {
        wrong.push(format!("nodes in /dev: {nodes:?}"));
    }
    let refused = |outcome: &str| ["EPERM", "EACCES"].iter().any(|e| outcome.ends_with(e));
    for (node, outcome) in report.below("node.") {
        if !refused(outcome) {
            wrong.push(format!("its own node of {node}: {outcome}"));
        }
    }
    for (what, outcome) in report.below("init.") {
        if what != "name" && !refused(outcome) {
            wrong.push(format!("{what} of pid 1: {outcome}"));
        }
    }
    for (path, outcome) in report.below("setting.") {
        if outcome == "ok" {
            wrong.push(format!("{path} was written"));
        }
    }
    for (path, state) in report.below("path.") {
        // The one list that other runtimes leave readable, too: how often pages are mapped.
        if ["readable", "writable"].contains(&state) && path != "/proc/kpagecount" {
            wrong.push(format!("{path} is {state}"));
        }
    }
    wrong
}

root_test_in! {
    // A shared `/`, as systemd leaves it, is the harder one: mounts must not travel.
    &[Mode::Private, Mode::Shared],
    fn a_pod_is_confined_in_each_way_to_start_one(s) {
        let place = Place::new(s);
        let mut wrong = Vec::new();
        for column in COLUMNS.iter().filter(|c| c.ours) {
            match column.report(&place) {
                Ok(report) => wrong.extend(faults(&report).into_iter().map(|f| format!("{}: {f}", column.title))),
                Err(why) => tests::skip::record(&format!("{}: {why}", column.title)),
            }
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    }
}
