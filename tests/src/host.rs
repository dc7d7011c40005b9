//! What a pod must leave as it found it: mounts, cgroups, network namespaces, leases of addresses, nf_tables tables,
//! links, processes, and files outside the data directory.
//!
//! `Traces::now` is taken before and after; `assert_nothing_left` prints the difference. The comparison is by set,
//! with everything that changes by itself (other people's cgroups, zombies, kernel threads) left out.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// The directories whose content is compared. A pod has no business in any of them.
const WATCHED: &[&str] = &[
    "/run", "/var/run", "/var/lib", "/etc", "/tmp", "/dev", "/dev/shm",
];

/// What networks share and nobody takes away: the directory of namespace files, which is a mount of itself, CNI's own
/// directory (its leases are compared), and the lock of Debian's iptables.
const SHARED: &[&str] = &[
    "/run/netns",
    "/var/run/netns",
    "/run/cni",
    "/var/run/cni",
    "/var/lib/cni",
    "/run/xtables.lock",
    "/var/run/xtables.lock",
];

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Traces {
    pub mounts: BTreeSet<String>,
    pub cgroups: BTreeSet<String>,
    pub netns: BTreeSet<String>,
    pub leases: BTreeSet<String>,
    pub tables: BTreeSet<String>,
    pub links: BTreeSet<String>,
    pub processes: BTreeSet<String>,
    pub files: BTreeSet<String>,
}

impl Traces {
    /// `own` is the test's scratch directory: files below it are the test's business, mounts below it are not.
    pub fn now(own: &Path) -> Traces {
        Traces {
            mounts: mounts()
                .into_iter()
                .map(|m| m.display().to_string())
                .filter(|m| !SHARED.contains(&m.as_str()))
                .collect(),
            cgroups: cgroups(),
            netns: children(Path::new("/run/netns"))
                .into_iter()
                .map(|p| p.display().to_string())
                .collect(),
            leases: leases(),
            tables: tables(),
            links: links(),
            processes: processes(),
            files: files(own),
        }
    }

    fn extra(&self, before: &Traces) -> Vec<String> {
        let mut left = Vec::new();
        for (kind, now, then) in [
            ("mount", &self.mounts, &before.mounts),
            ("cgroup", &self.cgroups, &before.cgroups),
            ("netns", &self.netns, &before.netns),
            ("lease", &self.leases, &before.leases),
            ("table", &self.tables, &before.tables),
            ("link", &self.links, &before.links),
            ("process", &self.processes, &before.processes),
            ("file", &self.files, &before.files),
        ] {
            let strange = |what: &&String| kind == "cgroup" && !own_pod(what);
            left.extend(
                now.difference(then)
                    .filter(|w| !strange(w))
                    .map(|what| format!("left behind: {kind} {what}")),
            );
            // What was there before must still be there: a teardown that unmounts the host's own is worse.
            // Other people's pods come and go: their processes and cgroups may.
            if kind != "process" && kind != "cgroup" {
                left.extend(
                    then.difference(now)
                        .map(|what| format!("taken away: {kind} {what}")),
                );
            }
        }
        left
    }
}

/// Fails the test unless the host looks as in `before`. The kernel ends processes and empties cgroups a moment after
/// the pod's lock is free, so the comparison is repeated for up to two seconds.
#[track_caller]
pub fn assert_nothing_left(before: &Traces, own: &Path) {
    let end = Instant::now() + Duration::from_secs(2);
    loop {
        let left = Traces::now(own).extra(before);
        if left.is_empty() {
            return;
        }
        assert!(Instant::now() < end, "{}", left.join("\n"));
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Mount points of our mount namespace in mount order.
pub fn mounts() -> Vec<PathBuf> {
    std::fs::read_to_string("/proc/self/mountinfo")
        .unwrap_or_default()
        .lines()
        .filter_map(|l| l.split(' ').nth(4))
        .map(|p| {
            PathBuf::from(
                p.replace("\\040", " ")
                    .replace("\\012", "\n")
                    .replace("\\134", "\\"),
            )
        })
        .collect()
}

pub fn mounts_below(dir: &Path) -> Vec<PathBuf> {
    mounts()
        .into_iter()
        .filter(|m| m.starts_with(dir))
        .collect()
}

/// Cgroup directories of all hierarchies. Those that other programs of the host make meanwhile do not matter: only
/// names that rkt could have given (they carry a pod's UUID or the word rkt) are kept.
fn cgroups() -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    walk(Path::new("/sys/fs/cgroup"), 12, &mut |path| {
        let text = path.display().to_string();
        if text.contains("rkt")
            || text
                .split(['/', '-'])
                .any(|part| part.len() == 12 && is_hex(part))
        {
            found.insert(text);
        }
    });
    found
}

/// The pods that this process has seen in its data directories. Others on the machine run pods too, and what these leave
/// is not ours to judge.
static OWN: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());

/// Remembers the pods of a data directory; called after every rkt call and before every collection.
pub fn note_pods(data: &Path) {
    let pods = children(&data.join("pods"))
        .into_iter()
        .flat_map(|state| children(&state));
    let names = pods.filter_map(|pod| Some(pod.file_name()?.to_str()?.to_owned()));
    OWN.lock()
        .expect("no thread panics while it holds this lock")
        .extend(names);
}

fn own_pod(path: &str) -> bool {
    OWN.lock()
        .expect("no thread panics while it holds this lock")
        .iter()
        .any(|uuid| path.contains(uuid))
}

fn is_hex(text: &str) -> bool {
    text.bytes().all(|b| b.is_ascii_hexdigit())
}

/// `pid command` of every living process that our /proc shows, except this one's own children by name of the tools
/// that the harness itself uses.
fn processes() -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for entry in children(Path::new("/proc")) {
        let Some(pid) = entry
            .file_name()
            .and_then(|n| n.to_str()?.parse::<i32>().ok())
        else {
            continue;
        };
        let Ok(stat) = std::fs::read_to_string(entry.join("stat")) else {
            continue;
        };
        let Some((_, rest)) = stat.rsplit_once(") ") else {
            continue;
        };
        let mut fields = rest.split(' ');
        let (state, parent) = (fields.next(), fields.next());
        // Zombies wait for their parent only, and pid 2's children are the kernel's.
        if state == Some("Z") || parent == Some("2") || pid == 2 {
            continue;
        }
        let cmdline = std::fs::read(entry.join("cmdline")).unwrap_or_default();
        if cmdline.is_empty() {
            continue;
        }
        found.insert(format!(
            "{pid} {}",
            String::from_utf8_lossy(&cmdline)
                .replace('\0', " ")
                .trim_end()
        ));
    }
    found
}

/// Addresses that are taken, and what CNI programs answered: a file each.
pub fn leases() -> BTreeSet<String> {
    let networks = children(Path::new("/var/lib/cni/networks"));
    let addresses = networks.iter().flat_map(|network| children(network));
    addresses
        .chain(children(Path::new("/var/lib/cni/results")))
        .filter(|p| {
            let name = p.file_name().unwrap_or_default().to_string_lossy();
            name != "lock" && !name.starts_with("last_reserved_ip.")
        })
        .map(|p| p.display().to_string())
        .collect()
}

/// `ip rkt-…`: the nf_tables tables of this network namespace. Only a test's own is looked at: the machine's may change
/// at any time.
pub fn tables() -> BTreeSet<String> {
    let listed = if crate::isolated::inside() {
        said("nft", &["list", "tables"])
    } else {
        String::new()
    };
    listed
        .lines()
        .filter_map(|l| l.strip_prefix("table "))
        // What Debian's iptables keeps its own rules in, and never removes.
        .filter(|table| !table.ends_with(" nat") && !table.ends_with(" filter"))
        .map(str::to_owned)
        .collect()
}

/// Links of this network namespace. Bridges that a network made stay, as they do with CNI.
fn links() -> BTreeSet<String> {
    if !crate::isolated::inside() {
        return BTreeSet::new();
    }
    let listed = said("ip", &["-j", "-d", "link", "show"]);
    let all: Vec<serde_json::Value> = serde_json::from_str(&listed).unwrap_or_default();
    all.iter()
        .filter(|link| link["linkinfo"]["info_kind"] != "bridge")
        .filter_map(|link| link["ifname"].as_str())
        .map(str::to_owned)
        .collect()
}

/// What a program of the host says; nothing where it is not installed.
fn said(program: &str, args: &[&str]) -> String {
    let Some(path) = crate::isolated::find(program) else {
        return String::new();
    };
    let output = std::process::Command::new(path).args(args).output();
    output.map_or_else(
        |_| String::new(),
        |o| String::from_utf8_lossy(&o.stdout).into_owned(),
    )
}

fn files(own: &Path) -> BTreeSet<String> {
    WATCHED
        .iter()
        .flat_map(|dir| children(Path::new(dir)))
        .filter(|p| !own.starts_with(p) && !p.starts_with(own))
        .filter(|p| !SHARED.iter().any(|s| p == Path::new(s)))
        // Other tests' scratch directories, what these write beside them (`.NAME.<random>`), and the machine's own
        // comings and goings.
        .filter(|p| {
            let name = p.file_name().unwrap_or_default().to_string_lossy();
            p.parent() != Some(Path::new("/tmp"))
                || name.contains("rkt") && !name.trim_start_matches('.').starts_with("rkt-test-")
        })
        .map(|p| p.display().to_string())
        .collect()
}

fn children(dir: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(dir) else {
        return Vec::new();
    };
    entries.filter_map(Result::ok).map(|e| e.path()).collect()
}

fn walk(dir: &Path, depth: u32, see: &mut dyn FnMut(&Path)) {
    let Ok(entries) = std::fs::read_dir(dir) else {
        return;
    };
    for entry in entries.filter_map(Result::ok) {
        if depth > 0 && entry.file_type().is_ok_and(|t| t.is_dir()) {
            see(&entry.path());
            walk(&entry.path(), depth - 1, see);
        }
    }
}
