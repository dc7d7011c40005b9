//! What the process is: credentials, namespaces, limits, descriptors, surroundings, and what it can reach of others.

use super::{Host, say};
use crate::facts::{descriptors_of, open, outcome, status_field, text};
use rustix::fs::{FileType, OFlags};
use std::path::Path;

const NAMESPACES: [&str; 8] = ["cgroup", "ipc", "mnt", "net", "pid", "time", "user", "uts"];

pub(super) fn all(host: &Host) {
    credentials();
    namespaces(host);
    surroundings(host);
    descriptors();
    others();
}

fn credentials() {
    for set in ["Inh", "Prm", "Eff", "Bnd", "Amb"] {
        let value = status_field(&format!("Cap{set}"));
        say(&format!("caps.{}", set.to_lowercase()), value);
    }
    say("no-new-privs", status_field("NoNewPrivs"));
    say("seccomp.mode", status_field("Seccomp"));
    say("seccomp.filters", status_field("Seccomp_filters"));
    let bits = rustix::thread::capabilities_secure_bits();
    say(
        "securebits",
        bits.map_or_else(|e| e.to_string(), |b| format!("{:#x}", b.bits())),
    );
    say("uid", status_field("Uid"));
    say("gid", status_field("Gid"));
    say("groups", status_field("Groups"));
    for map in ["uid_map", "gid_map"] {
        let map_text = text(&format!("/proc/self/{map}"));
        let lines: Vec<String> = map_text.lines().map(words).collect();
        say(&format!("raw.{map}"), lines.join(", "));
        let all = lines.iter().any(|l| l == "0 0 4294967295");
        // Which of the host's ids root is here; how many there are.
        let count: u64 = lines
            .iter()
            .filter_map(|l| l.split(' ').nth(2)?.parse::<u64>().ok())
            .sum();
        let what = match all {
            true => "the host's".to_owned(),
            false => format!("{count} own"),
        };
        say(map, what);
    }
    say("setgroups", text("/proc/self/setgroups"));
    let dumpable = rustix::process::dumpable_behavior();
    say(
        "dumpable",
        dumpable.map_or_else(|e| e.to_string(), |d| format!("{d:?}").to_lowercase()),
    );
    say("oom_score_adj", text("/proc/self/oom_score_adj"));
    let umask = rustix::process::umask(rustix::fs::Mode::empty());
    rustix::process::umask(umask);
    say("umask", format!("{:04o}", umask.bits()));
    let label = std::fs::read_to_string("/proc/self/attr/current").unwrap_or_default();
    say("label", label.trim_end_matches(['\0', '\n']));
    for line in text("/proc/self/limits").lines().skip(1) {
        say("raw.limit", words(line));
    }
}

fn namespaces(host: &Host) {
    for kind in NAMESPACES {
        let link = std::fs::read_link(format!("/proc/self/ns/{kind}"));
        let Ok(link) = link.map(|l| l.display().to_string()) else {
            say(&format!("ns.{kind}"), "absent");
            continue;
        };
        let whose = match host.namespaces.get(kind) {
            Some(theirs) if *theirs == link => "host",
            Some(_) => "own",
            None => "unknown",
        };
        say(&format!("ns.{kind}"), whose);
        say(&format!("raw.ns.{kind}"), link);
    }
}

fn surroundings(host: &Host) {
    let cwd = std::env::current_dir();
    say(
        "cwd",
        cwd.map_or_else(|e| e.to_string(), |d| d.display().to_string()),
    );
    let mut names = Vec::new();
    for (key, value) in std::env::vars_os() {
        let (key, value) = (key.to_string_lossy(), value.to_string_lossy());
        say("raw.env", format!("{key}={value}"));
        names.push(key.into_owned());
    }
    names.sort();
    say("env", names.join(" "));
    let caller = names.iter().any(|n| host.names.contains(n));
    say("env.caller", if caller { "yes" } else { "none" });
    let cgroup = text("/proc/self/cgroup");
    let views: Vec<&str> = cgroup
        .lines()
        .filter_map(|l| l.splitn(3, ':').nth(2))
        .collect();
    let root = views.iter().all(|view| *view == "/");
    say(
        "cgroup.view",
        if root {
            "its own as /"
        } else {
            "the host's path"
        },
    );
    for line in cgroup.lines() {
        say("raw.cgroup", line);
    }
    let told = std::env::vars_os().any(|(_, value)| {
        host.words
            .iter()
            .any(|w| value.to_string_lossy().contains(w))
    });
    say("env.host-paths", if told { "yes" } else { "none" });
}

fn descriptors() {
    let Ok(entries) = std::fs::read_dir("/proc/self/fd") else {
        return say("fds", "unreadable");
    };
    let mut numbers = Vec::new();
    for entry in entries.flatten() {
        let target = std::fs::read_link(entry.path()).unwrap_or_default();
        // The descriptor that reads this very directory.
        if target == Path::new(&format!("/proc/{}/fd", std::process::id())) {
            continue;
        }
        let Ok(number) = entry.file_name().to_string_lossy().parse::<i32>() else {
            continue;
        };
        numbers.push(number);
        let kind = std::fs::metadata(entry.path()).map(|m| {
            use std::os::unix::fs::MetadataExt;
            match FileType::from_raw_mode(m.mode()) {
                FileType::CharacterDevice => "device",
                FileType::Directory => "DIRECTORY",
                FileType::Fifo => "pipe",
                FileType::Socket => "socket",
                FileType::RegularFile => "file",
                _ => "other",
            }
        });
        let kind = kind.unwrap_or("unknown");
        say("raw.fd", format!("{number} {kind} {}", target.display()));
        if number > 2 {
            say("fd.beyond", format!("{kind} {}", target.display()));
        }
    }
    numbers.sort_unstable();
    let numbers: Vec<String> = numbers.iter().map(i32::to_string).collect();
    say("fds", numbers.join(" "));
}

/// The other processes in sight: pid 1 above all, which is the runtime's own where this process is not it.
fn others() {
    let count = std::fs::read_dir("/proc").map_or(0, |entries| {
        entries
            .flatten()
            .filter(|e| e.file_name().to_string_lossy().parse::<u32>().is_ok())
            .count()
    });
    say("processes", count);
    if std::process::id() == 1 {
        return say("init", "itself");
    }
    say("init", "the runtime's");
    say("init.name", text("/proc/1/comm"));
    for link in ["root", "cwd", "exe"] {
        let read = std::fs::read_link(format!("/proc/1/{link}"));
        say(&format!("init.{link}"), outcome(read));
    }
    say("init.fd", descriptors_of(1));
    for file in ["environ", "maps"] {
        let read = std::fs::read(format!("/proc/1/{file}"));
        say(&format!("init.{file}"), outcome(read));
    }
    say("init.mem", outcome(open("/proc/1/mem", OFlags::RDWR)));
    say(
        "init.exe-write",
        outcome(open("/proc/1/exe", OFlags::WRONLY)),
    );
}

fn words(line: &str) -> String {
    line.split_whitespace().collect::<Vec<_>>().join(" ")
}
