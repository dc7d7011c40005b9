//! What is given, from which configuration, with which files on disk.
#![expect(clippy::unwrap_used, reason = "tests")]

mod configured;

use super::*;
use crate::attach::{Dirs, Site};
use crate::conf::tests::Scratch;
use crate::conf::{self, Network};
use crate::ipam;
use std::path::PathBuf;
use std::time::Duration;

struct Lab {
    dir: Scratch,
    network: Network,
}

impl Lab {
    /// A network `n` whose ipam object has these fields.
    fn new(ipam: &str) -> Lab {
        Lab::with(ipam, "")
    }

    fn with(ipam: &str, beside: &str) -> Lab {
        let network = network(ipam, beside).unwrap();
        Lab {
            dir: Scratch::new(),
            network,
        }
    }

    fn args(mut self, args: &str) -> Lab {
        self.network.args = args.into();
        self
    }

    fn call<T>(&self, id: &str, if_name: &str, run: impl Fn(&Call<'_>) -> T) -> T {
        let dirs = Dirs {
            plugins: Vec::new(),
            leases: self.dir.path().join("networks"),
            results: PathBuf::new(),
        };
        let site = Site {
            id,
            netns: None,
            netns_path: "",
            dirs: &dirs,
            mappings: &[],
            patience: Duration::from_secs(60),
            notes: Default::default(),
        };
        run(&Call {
            site: &site,
            network: &self.network,
            plugin: &self.network.plugins[0],
            if_name,
            previous: None,
        })
    }

    fn add(&self, id: &str) -> Result<Outcome> {
        self.call(id, "eth0", |call| {
            ipam::add(call).map(|granted| granted.outcome)
        })
    }

    /// The addresses alone.
    fn ips(&self, id: &str) -> Vec<String> {
        let outcome = self.add(id).unwrap();
        outcome
            .ips
            .iter()
            .map(|ip| ip.address.to_string())
            .collect()
    }

    fn del(&self, id: &str) {
        self.call(id, "eth0", ipam::del).unwrap();
    }

    fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join("networks/n").join(name)
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::create_dir_all(self.file("")).unwrap();
        std::fs::write(self.file(name), text).unwrap();
    }

    fn files(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.file("")).unwrap();
        let mut names: Vec<String> = entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    fn error(&self, id: &str) -> String {
        self.add(id).unwrap_err().cause
    }
}

fn network(ipam: &str, beside: &str) -> Result<Network> {
    let text = format!(
        r#"{{"cniVersion": "0.4.0", "name": "n", "type": "ptp"{beside},
            "ipam": {{"type": "host-local", {ipam}}}}}"#
    );
    conf::parse("n.conf", "F", text.as_bytes())
}

const SMALL: &str = r#""subnet": "10.9.0.0/29""#;

#[test]
fn addresses_go_round_and_files_are_cnis() {
    use std::os::unix::fs::PermissionsExt;
    let lab = Lab::new(SMALL);
    let outcome = lab.add("id-1").unwrap();
    assert_eq!(outcome.ips[0].address.to_string(), "10.9.0.2/29");
    assert_eq!(outcome.ips[0].gateway.unwrap().to_string(), "10.9.0.1");
    assert!(outcome.interfaces.is_empty() && outcome.routes.is_empty());
    let read = |name: &str| std::fs::read(lab.file(name)).unwrap();
    let mode = |name: &str| {
        let data = std::fs::metadata(lab.file(name)).unwrap();
        data.permissions().mode() & 0o7777
    };
    assert_eq!(read("10.9.0.2"), b"id-1\r\neth0");
    assert_eq!(read("last_reserved_ip.0"), b"10.9.0.2");
    assert_eq!(read("lock"), b"");
    assert_eq!(
        (mode("10.9.0.2"), mode("last_reserved_ip.0")),
        (0o600, 0o600)
    );
    assert_eq!((mode("lock"), mode("")), (0o750, 0o755));
    // A freed address rests until its turn comes again.
    assert_eq!(lab.ips("id-2"), ["10.9.0.3/29"]);
    lab.del("id-1");
    for (id, ip) in [("a", 4), ("b", 5), ("c", 6), ("d", 2)] {
        assert_eq!(lab.ips(id), [format!("10.9.0.{ip}/29")]);
    }
    let fault = lab.add("e").unwrap_err();
    assert_eq!(fault.cause, "no IP addresses available in network: n");
    assert_eq!(
        fault.hint.unwrap(),
        "rkt gc frees the addresses of pods that were killed"
    );
    lab.del("b");
    assert_eq!(lab.ips("e"), ["10.9.0.5/29"]);
}

#[test]
fn leaving_frees_what_is_ours_alone() {
    let lab = Lab::new(SMALL);
    lab.del("nobody");
    assert!(!lab.dir.path().join("networks").exists());
    lab.ips("a");
    lab.ips("b");
    lab.call("a", "eth1", add).unwrap();
    lab.del("a");
    lab.del("a");
    assert_eq!(
        lab.files(),
        [
            ".a@eth1",
            ".b@eth0",
            "10.9.0.3",
            "10.9.0.4",
            "last_reserved_ip.0",
            "lock"
        ]
    );
    lab.call("a", "eth1", del).unwrap();
    lab.del("b");
    assert_eq!(lab.files(), ["last_reserved_ip.0", "lock"]);
}

#[test]
fn records_of_old_have_the_id_alone() {
    let lab = Lab::new(SMALL);
    lab.write("10.9.0.2", "old");
    lab.write("10.9.0.3", "other\n");
    lab.write("10.9.0.4", " old \r\n");
    assert_eq!(lab.ips("new"), ["10.9.0.5/29"]);
    lab.del("old");
    assert!(!lab.file("10.9.0.2").exists() && !lab.file("10.9.0.4").exists());
    assert!(lab.file("10.9.0.3").exists());
    // Taken again, it becomes a record of now, and another interface's is spared.
    let lab = lab.args("IP=10.9.0.3");
    lab.call("other", "eth1", add).unwrap();
    let record = std::fs::read(lab.file("10.9.0.3")).unwrap();
    assert_eq!(record, b"other\r\neth1");
    lab.write("10.9.0.6", "other");
    lab.call("other", "eth1", del).unwrap();
    assert!(!lab.file("10.9.0.3").exists() && lab.file("10.9.0.6").exists());
    // Without a claim: another program's, which wrote all there is to know.
    lab.write("10.9.0.4", "other\r\neth1");
    lab.call("other", "eth1", del).unwrap();
    assert!(!lab.file("10.9.0.4").exists() && lab.file("10.9.0.6").exists());
}

#[test]
fn a_set_up_that_was_killed_gets_its_address_again() {
    let lab = Lab::new(r#""ranges": [[{"subnet": "10.9.0.0/24"}], [{"subnet": "fd00::/64"}]]"#);
    let first = lab.ips("a");
    assert_eq!(first, ["10.9.0.2/24", "fd00::2/64"]);
    assert_eq!(lab.ips("a"), first);
    // Killed between the families.
    std::fs::remove_file(lab.file("fd00::2")).unwrap();
    assert_eq!(lab.ips("a"), ["10.9.0.2/24", "fd00::3/64"]);
    // Killed with the claim alone, and what it says is another's by now.
    lab.ips("b");
    for ip in ["10.9.0.3", "fd00::4"] {
        lab.write(ip, "c\r\neth0");
    }
    assert_eq!(lab.ips("b"), ["10.9.0.4/24", "fd00::5/64"]);
    lab.del("b");
    assert!(lab.file("10.9.0.3").exists() && !lab.file("10.9.0.4").exists());
    assert!(!lab.files().iter().any(|name| name.starts_with(".b")));
    let lab = lab.args("IP=10.9.0.2");
    assert_eq!(lab.ips("a"), ["10.9.0.2/24", "fd00::3/64"]);
}

#[test]
fn an_empty_file_holds_nothing() {
    let lab = Lab::new(SMALL);
    for empty in ["10.9.0.2", "10.9.0.5", "10.9.0.6"] {
        lab.write(empty, "");
    }
    assert_eq!(lab.ips("a"), ["10.9.0.3/29"]);
    assert_eq!(lab.ips("b"), ["10.9.0.4/29"]);
    // Nothing else is left.
    assert_eq!(lab.ips("c"), ["10.9.0.5/29"]);
    assert!(!lab.file("10.9.0.6").exists());
    lab.write("10.9.0.6", "");
    lab.del("nobody");
    assert!(!lab.file("10.9.0.6").exists());
    lab.del("b");
    lab.write("10.9.0.4", "");
    assert_eq!(lab.args("IP=10.9.0.4").ips("c"), ["10.9.0.4/29"]);
}

#[test]
fn garbage_is_foreign_and_keeps_its_address() {
    let lab = Lab::new(SMALL);
    lab.write("last_reserved_ip.0", "nonsense");
    lab.write("10.9.0.2", &"x".repeat(3 << 20));
    std::fs::create_dir(lab.file("10.9.0.3")).unwrap();
    std::os::unix::fs::symlink("/dev/zero", lab.file("10.9.0.4")).unwrap();
    let mode = rustix::fs::Mode::from_raw_mode(0o600);
    let fifo = rustix::fs::FileType::Fifo;
    rustix::fs::mknodat(rustix::fs::CWD, lab.file("10.9.0.5"), fifo, mode, 0).unwrap();
    for name in ["README", "010.9.0.6", "fd00:0::1", "10.9.0.6.tmp"] {
        lab.write(name, "a\r\neth0");
    }
    assert_eq!(lab.ips("a"), ["10.9.0.6/29"]);
    assert_eq!(lab.error("b"), "no IP addresses available in network: n");
    lab.del("a");
    assert_eq!(lab.files().len(), 10);
    lab.write("last_reserved_ip.0", &"9".repeat(1 << 20));
    assert_eq!(lab.ips("b"), ["10.9.0.6/29"]);
}

#[test]
fn range_ends_and_gateways_are_respected() {
    let taken = |ipam: &str| -> Vec<String> {
        let lab = Lab::new(ipam);
        let mut ips = Vec::new();
        while let Ok(outcome) = lab.add(&format!("p{}", ips.len())) {
            ips.push(outcome.ips[0].address.ip.to_string());
        }
        ips
    };
    for (ipam, want) in [
        (r#""subnet": "10.0.0.0/30""#, vec!["10.0.0.2"]),
        (
            r#""subnet": "10.0.0.0/30", "gateway": "10.0.0.2""#,
            vec!["10.0.0.1"],
        ),
        (
            r#""subnet": "10.0.0.0/30", "gateway": "192.168.0.1""#,
            vec!["10.0.0.1", "10.0.0.2"],
        ),
        (
            r#""subnet": "10.0.0.0/24", "rangeStart": "10.0.0.9", "rangeEnd": "10.0.0.10""#,
            vec!["10.0.0.9", "10.0.0.10"],
        ),
        (
            r#""subnet": "10.0.0.0/30", "rangeStart": "10.0.0.0", "rangeEnd": "10.0.0.3""#,
            vec!["10.0.0.2"],
        ),
        (r#""subnet": "fd00::/126""#, vec!["fd00::2", "fd00::3"]),
        (
            r#""ranges": [[{"subnet": "10.0.0.0/30"}, {"subnet": "10.0.0.8/30"}]]"#,
            vec!["10.0.0.2", "10.0.0.10"],
        ),
        // The end of the numbers.
        (
            r#""subnet": "ffff:ffff:ffff:ffff:ffff:ffff:ffff:fffc/126""#,
            vec![
                "ffff:ffff:ffff:ffff:ffff:ffff:ffff:fffe",
                "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
            ],
        ),
    ] {
        assert_eq!(taken(ipam), want, "{ipam}");
    }
}

#[test]
fn the_walk_begins_behind_the_last_and_comes_round() {
    let two = r#""ranges": [[
        {"subnet": "10.0.0.0/24", "rangeStart": "10.0.0.10", "rangeEnd": "10.0.0.11"},
        {"subnet": "10.0.1.0/24", "rangeStart": "10.0.1.10", "rangeEnd": "10.0.1.12"}]]"#;
    for (last, want) in [
        ("10.0.0.10", "10.0.0.11/24"),
        ("10.0.0.11", "10.0.1.10/24"),
        ("10.0.1.11", "10.0.1.12/24"),
        ("10.0.1.12", "10.0.0.10/24"),
        ("10.0.7.7", "10.0.0.10/24"),
        ("fd00::1", "10.0.0.10/24"),
        (" 10.0.1.10\n", "10.0.1.11/24"),
    ] {
        let lab = Lab::new(two);
        lab.write("last_reserved_ip.0", last);
        assert_eq!(lab.ips("a"), [want], "{last}");
    }
    // From the middle of the second range to its start again.
    let lab = Lab::new(two);
    lab.write("last_reserved_ip.0", "10.0.1.11");
    for name in ["10.0.0.10", "10.0.0.11", "10.0.1.11", "10.0.1.12"] {
        lab.write(name, "other");
    }
    assert_eq!(lab.ips("a"), ["10.0.1.10/24"]);
    assert!(lab.add("b").is_err());
}

/// The claim is our own; CNI's program of this name takes the directory as it is.
#[test]
fn a_claim_leads_nowhere_and_garbage_in_it_says_nothing() {
    let lab = Lab::new(r#""subnet": "10.9.0.0/24""#);
    lab.ips("a");
    let claim = lab.file(".a@eth0");
    assert_eq!(std::fs::read_link(&claim).unwrap(), Path::new("10.9.0.2"));
    for text in ["/dev/zero", ",,x", "10.9.0.2/../lock", "10.9.0.6,10.9.0.6"] {
        std::fs::remove_file(&claim).unwrap();
        std::os::unix::fs::symlink(text, &claim).unwrap();
        lab.write("10.9.0.6", "b\r\neth0");
        lab.ips("a");
        lab.del("a");
        assert!(std::fs::symlink_metadata(&claim).is_err(), "{text}");
        assert!(lab.file("10.9.0.6").exists() && lab.file("lock").exists());
        lab.ips("a");
    }
}

#[test]
fn a_huge_range_is_not_walked() {
    let lab = Lab::new(r#""ranges": [[{"subnet": "128.0.0.0/1"}], [{"subnet": "fd00::/8"}]]"#);
    for at in 0..300u32 {
        let ip = std::net::Ipv4Addr::from(0x8000_0002 + at);
        lab.write(&ip.to_string(), "other");
    }
    lab.write(
        "last_reserved_ip.1",
        "fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
    );
    assert_eq!(lab.ips("a"), ["128.0.1.46/1", "fd00::2/8"]);
}

#[test]
fn a_requested_address_is_given_or_refused_in_rkts_words() {
    let lab = |args: &str| Lab::new(r#""subnet": "10.9.0.0/24""#).args(args);
    assert_eq!(lab("IP=10.9.0.7").ips("a"), ["10.9.0.7/24"]);
    assert_eq!(
        lab("IP=10.9.0.7/16;IgnoreUnknown=1;X=y").ips("a"),
        ["10.9.0.7/24"]
    );
    assert_eq!(lab("IP=").ips("a"), ["10.9.0.2/24"]);
    for (args, want) in [
        ("IP=1.1.1.1", "1.1.1.1 not in network: 10.9.0.0/24"),
        ("IP=fd00::1", "fd00::1 not in network: 10.9.0.0/24"),
        ("IP=10.9.0.1", "requested IP must differ gateway IP"),
        (
            "IP=10.9.0.255",
            "10.9.0.255 is no address of a host in network: 10.9.0.0/24",
        ),
        ("Foo=bar", "ARGS: unknown args [\"Foo=bar\"]"),
        (
            "IP=x",
            "ARGS: error parsing value of pair \"IP=x\": invalid IP address: x",
        ),
    ] {
        let lab = lab(args);
        assert_eq!(lab.error("a"), want);
        assert!(!lab.dir.path().join("networks").exists(), "{args}");
    }
    let lab = lab("IP=10.9.0.7");
    lab.write("10.9.0.7", "other\r\neth0");
    assert_eq!(
        lab.error("a"),
        "requested IP address \"10.9.0.7\" is not available in network: n"
    );
    // A range says what is given unasked.
    let lab = Lab::new(r#""subnet": "10.9.0.0/24", "rangeEnd": "10.9.0.9""#).args("IP=10.9.0.200");
    assert_eq!(lab.ips("a"), ["10.9.0.200/24"]);
    let lab = lab.args("");
    assert_eq!(lab.ips("b"), ["10.9.0.2/24"]);
}

#[test]
fn each_set_takes_the_requested_address_it_contains() {
    let sets = r#""ranges": [[{"subnet": "10.9.0.0/24"}], [{"subnet": "10.8.0.0/24"}],
        [{"subnet": "fd00::/64"}]]"#;
    let ips = r#", "args": {"cni": {"ips": ["10.8.0.9"]}},
        "runtimeConfig": {"ips": ["fd00::9/64", "10.8.0.9/24"]}"#;
    let lab = Lab::with(sets, ips);
    assert_eq!(lab.ips("a"), ["10.9.0.2/24", "10.8.0.9/24", "fd00::9/64"]);
    let lab = lab.args("IP=10.8.0.10");
    assert_eq!(
        lab.error("b"),
        "failed to allocate all requested IPs: 10.8.0.9"
    );
    let lab = Lab::with(sets, r#", "runtimeConfig": {"ips": ["10.7.0.9"]}"#);
    assert_eq!(
        lab.error("b"),
        "10.7.0.9 not in network: 10.9.0.0/24, 10.8.0.0/24, fd00::/64"
    );
    let lab = Lab::with(sets, r#", "runtimeConfig": {"ips": ["nonsense"]}"#);
    assert_eq!(
        lab.error("b"),
        "F: runtimeConfig.ips[0]: invalid IP address: \"nonsense\""
    );
}

#[test]
fn a_set_without_an_address_undoes_the_others() {
    let lab = Lab::new(r#""ranges": [[{"subnet": "10.9.0.0/24"}], [{"subnet": "10.8.0.0/30"}]]"#);
    lab.write("10.8.0.2", "other\r\neth0");
    assert_eq!(lab.error("a"), "no IP addresses available in network: n");
    assert_eq!(lab.files(), ["10.8.0.2", "lock"]);
    // What was held before the call stays.
    lab.write("10.9.0.77", "a\r\neth0");
    assert!(lab.add("a").is_err());
    assert!(lab.file("10.9.0.77").exists());
}

#[test]
fn who_comes_at_once_gets_distinct_addresses() {
    let lab = Lab::new(r#""ranges": [[{"subnet": "10.9.0.0/24"}], [{"subnet": "fd00::/64"}]]"#);
    let mut all: Vec<String> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..40)
            .map(|thread| {
                let lab = &lab;
                scope.spawn(move || -> Vec<String> {
                    (0..5)
                        .flat_map(|at| lab.ips(&format!("{thread}-{at}")))
                        .collect()
                })
            })
            .collect();
        let joined = threads.into_iter().map(|thread| thread.join().unwrap());
        joined.flatten().collect()
    });
    all.sort();
    all.dedup();
    assert_eq!(all.len(), 400);
    std::thread::scope(|scope| {
        for thread in 0..40 {
            let lab = &lab;
            scope.spawn(move || (0..5).for_each(|at| lab.del(&format!("{thread}-{at}"))));
        }
    });
    assert_eq!(lab.files().len(), 3);
}

#[test]
fn a_lock_that_stays_is_not_waited_for_for_ever() {
    let dir = Scratch::new();
    let path = dir.path().join("n");
    let held = Leases::open(&path, Duration::ZERO).unwrap();
    let fault = Leases::open(&path, Duration::from_millis(20)).unwrap_err();
    assert_eq!(fault.kind, model::Kind::TimedOut);
    drop(held);
    assert!(Leases::open(&path, Duration::ZERO).is_ok());
}
