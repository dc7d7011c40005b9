//! The rows of the table: what of a report a cell shows, which of two cells is the stronger, and why rkt's may be the
//! weaker one.
//!
//! A cell is `None` where this machine cannot tell, because its kernel lacks what is asked about. Values that differ
//! between machines for other reasons do not come into a cell.

use crate::report::Report;
use std::collections::BTreeSet;

/// What one report shows in one row.
type Show = fn(&Report, &str, &Report) -> Option<String>;
/// The higher, the stronger.
type Rank = fn(&str) -> i64;

pub(crate) struct Row {
    pub(crate) group: &'static str,
    pub(crate) label: String,
    key: String,
    show: Show,
    rank: Rank,
}

impl Row {
    /// The cell of a column; `kernel` is what its own system calls say outside any sandbox.
    pub(crate) fn cell(&self, report: &Report, kernel: &Report) -> Option<String> {
        (self.show)(report, &self.key, kernel)
    }

    pub(crate) fn is_weaker(&self, ours: &str, theirs: &str) -> bool {
        (self.rank)(ours) < (self.rank)(theirs)
    }

    pub(crate) fn why(&self) -> &'static str {
        WHY.iter()
            .find(|(labels, _)| labels.contains(&self.label.as_str()))
            .map_or("", |(_, why)| why)
    }
}

/// Where rkt is weaker than a peer, and why. A reason that no row needs fails the test.
const WHY: &[(&[&str], &str)] = &[
    (
        &["capabilities"],
        "the set that the appc specification promises to every image; `--caps-retain` and the image's isolators narrow it",
    ),
    (
        &["no new privileges"],
        "set-user-ID programs of images work, as the specification has it; an isolator and every app that is not root set it",
    ),
    (
        &["/"],
        "images expect to write below `/`; `--readonly-rootfs` makes it read-only",
    ),
    (
        &["nodes in /dev"],
        "`net/tun` opens for everybody and does nothing without CAP_NET_ADMIN; `console` is a sink",
    ),
    (
        &["a node made by the app"],
        "CAP_MKNOD is one of the promised capabilities; the device list of the cgroup keeps the node shut",
    ),
    (
        &["socket(PACKET)", "socket(raw ICMP)"],
        "CAP_NET_RAW is one of the promised capabilities; `--caps-remove=CAP_NET_RAW` takes it",
    ),
];

/// Calls whose refusal may be a setting of the kernel (`unprivileged_bpf_disabled` and the like) where no filter is.
const SETTINGS_DECIDE: &[&str] = &[
    "bpf",
    "by i386's door",
    "by x32's door",
    "clone(NEWUSER)",
    "fanotify_init",
    "finit_module",
    "init_module",
    "io_uring_setup",
    "iopl",
    "kcmp",
    "kexec_load",
    "modify_ldt",
    "open_by_handle_at",
    "perf_event_open",
    "process_vm_readv(1)",
    "ptrace(SEIZE 1)",
    "ptrace(TRACEME)",
    "quotactl",
    "syslog",
    "unshare(NEWUSER)",
    "userfaultfd",
];

/// All rows, in the order of the table. Which paths and calls there are, a report says.
pub(crate) fn rows(report: &Report) -> Vec<Row> {
    let mut all = Vec::new();
    let mut row = |group, label: &str, key: &str, show: Show, rank: Rank| {
        all.push(Row {
            group,
            label: label.to_owned(),
            key: key.to_owned(),
            show,
            rank,
        });
    };
    let group = "Credentials";
    row(group, "capabilities", "", capabilities, fewer);
    row(group, "inheritable and ambient ones", "", inherited, none);
    row(group, "no new privileges", "no-new-privs", switch, on);
    row(group, "system call filter", "seccomp.mode", filter, on);
    row(group, "user IDs", "uid_map", one, own);
    row(group, "group IDs", "gid_map", one, own);
    row(group, "supplementary groups", "groups", or_none, no_order);
    row(
        group,
        "variables of the caller's environment",
        "env.caller",
        one,
        none,
    );
    row(group, "descriptors", "fds", one, fewer_words);

    let group = "Namespaces";
    for kind in ["mnt", "pid", "net", "ipc", "uts", "cgroup", "user", "time"] {
        row(group, kind, &format!("ns.{kind}"), one, own);
    }

    let group = "File systems";
    for target in [
        "/",
        "/proc",
        "/sys",
        "/dev",
        "/dev/pts",
        "/dev/shm",
        "/dev/mqueue",
    ] {
        row(group, target, target, mount, flags);
    }
    row(group, "mounts' propagation", "propagation", one, private);
    row(
        group,
        "the host's paths in mountinfo",
        "mounts.host-paths",
        host_paths,
        none,
    );
    row(group, "control groups", "cgroup.files", one, out_of_sight);
    row(
        group,
        "the process' own cgroup",
        "cgroup.view",
        one,
        own_view,
    );

    let group = "The kernel's files";
    for (path, _) in report.below("path.") {
        row(group, path, &format!("path.{path}"), hidden, is_hidden);
    }
    for top in ["/proc", "/sys"] {
        let label = format!("files of {top} to write");
        row(
            group,
            &label,
            &format!("writable.{top}"),
            writable,
            fewer_or_none,
        );
    }
    row(
        group,
        "settings of /proc/sys written",
        "",
        settings,
        fewer_or_none,
    );

    let group = "Devices";
    row(group, "nodes in /dev", "", nodes, fewer_words);
    row(group, "a node made by the app", "", own_nodes, unmade);

    let group = "Other processes";
    row(group, "what it reaches of pid 1", "", reach, nothing);

    let group = "System calls";
    for (call, _) in report.below("call.") {
        row(group, call, &format!("call.{call}"), self::call, refused);
    }
    all
}

fn some(text: &str) -> Option<String> {
    Some(text.to_owned())
}

fn one(report: &Report, key: &str, _: &Report) -> Option<String> {
    some(report.one(key))
}

fn or_none(report: &Report, key: &str, _: &Report) -> Option<String> {
    some(match report.one(key) {
        "" => "none",
        text => text,
    })
}

fn switch(report: &Report, key: &str, _: &Report) -> Option<String> {
    some(if report.one(key) == "1" { "on" } else { "off" })
}

fn filter(report: &Report, key: &str, _: &Report) -> Option<String> {
    some(if report.one(key) == "2" { "on" } else { "none" })
}

fn capabilities(report: &Report, _: &str, _: &Report) -> Option<String> {
    let count = |set: &str| {
        u64::from_str_radix(report.one(set), 16)
            .unwrap_or(u64::MAX)
            .count_ones()
    };
    let [bounding, permitted, effective] = ["caps.bnd", "caps.prm", "caps.eff"].map(count);
    Some(match bounding == permitted && permitted == effective {
        true => bounding.to_string(),
        false => format!("{bounding} bounding, {permitted} permitted, {effective} effective"),
    })
}

fn inherited(report: &Report, _: &str, _: &Report) -> Option<String> {
    let empty = ["caps.inh", "caps.amb"]
        .iter()
        .all(|set| report.one(set).bytes().all(|b| b == b'0'));
    some(if empty { "none" } else { "some" })
}

/// The options of what lies on top there; the type and the source are the machine's affair.
fn mount(report: &Report, target: &str, _: &Report) -> Option<String> {
    let on_top = report.all("mount").filter_map(|line| {
        let mut words = line.split(' ');
        let at = words.next()?;
        (at == target).then(|| words.next_back())?
    });
    some(on_top.last().unwrap_or("not mounted"))
}

fn host_paths(report: &Report, key: &str, _: &Report) -> Option<String> {
    some(match report.one(key) {
        "none" => "none",
        _ => "yes",
    })
}

fn hidden(report: &Report, key: &str, _: &Report) -> Option<String> {
    let path = key.strip_prefix("path.")?;
    let there = match std::fs::metadata(path) {
        Err(_) => false,
        // An empty directory looks as if it was hidden.
        Ok(meta) if meta.is_dir() => {
            std::fs::read_dir(path).is_ok_and(|mut entries| entries.next().is_some())
        }
        Ok(_) => true,
    };
    match report.one(key) {
        _ if !there => None,
        "readable" => some("readable"),
        "writable" => some("writable"),
        _ => some("hidden"),
    }
}

/// Pressure can be asked for by writing there, and not every kernel measures it.
fn writable(report: &Report, key: &str, _: &Report) -> Option<String> {
    let names = report.one(key).split(' ').filter(|n| *n != "pressure");
    let names: Vec<&str> = names.collect();
    Some(if names.is_empty() {
        "none".to_owned()
    } else {
        names.join(" ")
    })
}

fn settings(report: &Report, _: &str, _: &Report) -> Option<String> {
    let written: Vec<&str> = report
        .below("setting./proc/sys/")
        .filter(|(_, outcome)| *outcome == "ok")
        .map(|(path, _)| path)
        .collect();
    Some(if written.is_empty() {
        "none".to_owned()
    } else {
        written.join(" ")
    })
}

fn nodes(report: &Report, _: &str, _: &Report) -> Option<String> {
    let mut names: Vec<&str> = report
        .all("node")
        .filter_map(|l| l.split(' ').next())
        .collect();
    names.sort_unstable();
    // In a user namespace nodes are the host's own, and not every host has this one.
    let blind = report.one("ns.user") == "own" && !std::path::Path::new("/dev/net/tun").exists();
    (!blind).then(|| names.join(" "))
}

fn own_nodes(report: &Report, _: &str, _: &Report) -> Option<String> {
    let all: BTreeSet<&str> = report.below("node.").map(|(_, outcome)| outcome).collect();
    let shut = |o: &&str| o.ends_with(" EPERM") || o.ends_with(" EACCES");
    Some(match all.iter().find(|o| !shut(o)) {
        // ENXIO: let through, to no driver.
        Some(other) => (*other).to_owned(),
        None if all.iter().all(|o| o.starts_with("mknod")) => "cannot be made".to_owned(),
        None => "cannot be opened".to_owned(),
    })
}

fn reach(report: &Report, _: &str, _: &Report) -> Option<String> {
    if report.one("init") == "itself" {
        return some("is pid 1");
    }
    let open: Vec<&str> = report
        .below("init.")
        .filter(|(_, outcome)| *outcome == "ok")
        .map(|(what, _)| what)
        .collect();
    Some(if open.is_empty() {
        "nothing".to_owned()
    } else {
        open.join(" ")
    })
}

fn call(report: &Report, key: &str, kernel: &Report) -> Option<String> {
    let name = key.strip_prefix("call.")?;
    let (answer, bare) = (report.one(key), kernel.one(key));
    if report.one("seccomp.mode") != "2" && SETTINGS_DECIDE.contains(&name) {
        return some("unfiltered");
    }
    // The kernel has no such call, or no such door: whether it was let through cannot be seen.
    let blind = name != "no such number" && bare != "reached" && bare == answer;
    if blind || answer == "absent" {
        return None;
    }
    Some(match answer {
        "reached" => "allowed".to_owned(),
        other => other.to_owned(),
    })
}

fn no_order(_: &str) -> i64 {
    0
}

fn fewer(cell: &str) -> i64 {
    let first = cell.split([' ', ',']).next().unwrap_or("");
    -first.parse::<i64>().unwrap_or(i64::MAX)
}

fn fewer_words(cell: &str) -> i64 {
    -(cell.split(' ').count() as i64)
}

fn fewer_or_none(cell: &str) -> i64 {
    if cell == "none" { 0 } else { fewer_words(cell) }
}

fn none(cell: &str) -> i64 {
    i64::from(cell == "none")
}

fn on(cell: &str) -> i64 {
    i64::from(cell == "on")
}

fn own(cell: &str) -> i64 {
    i64::from(cell.ends_with("own"))
}

fn own_view(cell: &str) -> i64 {
    i64::from(cell.starts_with("its own"))
}

fn private(cell: &str) -> i64 {
    ["shared", "slave", "private"]
        .iter()
        .position(|w| *w == cell)
        .map_or(-1, |at| at as i64)
}

fn flags(cell: &str) -> i64 {
    if cell == "not mounted" {
        return i64::MAX;
    }
    cell.split(',').filter(|f| *f != "rw").count() as i64
}

fn out_of_sight(cell: &str) -> i64 {
    ["writable", "read-only", "not in sight"]
        .iter()
        .position(|w| *w == cell)
        .map_or(-1, |at| at as i64)
}

fn is_hidden(cell: &str) -> i64 {
    ["writable", "readable", "hidden"]
        .iter()
        .position(|w| *w == cell)
        .map_or(-1, |at| at as i64)
}

fn unmade(cell: &str) -> i64 {
    match cell {
        "cannot be made" => 2,
        "cannot be opened" => 1,
        _ => 0,
    }
}

fn nothing(cell: &str) -> i64 {
    i64::from(cell == "nothing" || cell == "is pid 1")
}

fn refused(cell: &str) -> i64 {
    i64::from(cell != "allowed" && cell != "unfiltered")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_order_has_its_weaker_side() {
        let orders: [(Rank, &str, &str); 13] = [
            (fewer, "14", "3"),
            (fewer, "3 bounding, 4 permitted, 3 effective", "1"),
            (fewer_words, "0 1 2 7", "0 1 2"),
            (fewer_or_none, "mtrr", "none"),
            (none, "yes", "none"),
            (on, "off", "on"),
            (own, "the host's", "65536 own"),
            (own_view, "the host's path", "its own as /"),
            (private, "slave", "private"),
            (flags, "rw,nosuid", "ro,nosuid"),
            (out_of_sight, "read-only", "not in sight"),
            (is_hidden, "readable", "hidden"),
            (unmade, "open ok", "cannot be opened"),
        ];
        for (rank, weaker, stronger) in orders {
            assert!(rank(weaker) < rank(stronger), "{weaker:?} {stronger:?}");
        }
        assert!(refused("allowed") < refused("EPERM") && refused("ENOSYS") == refused("EPERM"));
        assert!(nothing("mem") < nothing("is pid 1") && no_order("a") == no_order("b"));
    }

    #[test]
    fn a_cell_that_the_kernel_decides_alone_is_not_seen() {
        let report = |text: &str| Report::parse(text.lines());
        let kernel = report("call.iopl=ENOSYS\ncall.bpf=reached");
        let filtered = report("seccomp.mode=2\ncall.iopl=EPERM\ncall.bpf=ENOSYS");
        assert_eq!(
            call(&filtered, "call.iopl", &kernel).as_deref(),
            Some("EPERM")
        );
        assert_eq!(
            call(&filtered, "call.bpf", &kernel).as_deref(),
            Some("ENOSYS")
        );
        let same = report("seccomp.mode=2\ncall.iopl=ENOSYS");
        assert_eq!(call(&same, "call.iopl", &kernel), None);
        let unfiltered = report("seccomp.mode=0\ncall.bpf=EPERM");
        assert_eq!(
            call(&unfiltered, "call.bpf", &kernel).as_deref(),
            Some("unfiltered")
        );
    }
}
