//! The legacy xtables against the running kernel: what is installed is what
//! `iptables-legacy-save` shows, other programs' rules survive, and real packets go
//! where they should. As root, in network namespaces of their own.
#![expect(clippy::unwrap_used, reason = "tests")]

mod packets;
mod world;

use net::firewall::xtables;
use net::{Cidr, Forward, Masquerade, Protocol, Rules};
use std::collections::BTreeSet;
use world::{POD, POD6, isolated, restore, save, sh};

const ID: &str = "6a3f0c55-7c6e-4b5c-9a41-0a4a1c8f8f01";

const FOREIGN4: &str = "*nat
:PREROUTING ACCEPT [3:180]
:INPUT ACCEPT [0:0]
:OUTPUT ACCEPT [11:700]
:POSTROUTING ACCEPT [7:420]
:DOCKER - [0:0]
:KUBE-SVC - [0:0]
:RKT-PFWD-NOT-OURS - [0:0]
[5:300] -A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER
[1:60] -A PREROUTING -i eth0 -p tcp -m multiport --dports 80,443 -m limit --limit 5/min -g KUBE-SVC
[2:120] -A OUTPUT ! -d 127.0.0.0/8 -m addrtype --dst-type LOCAL -j DOCKER
[9:540] -A POSTROUTING
[0:0] -A POSTROUTING -m comment --comment \"id: \\\"another\\\"\" -j MASQUERADE --random
[4:240] -A DOCKER -i docker0 -j RETURN
[0:0] -A DOCKER ! -i docker0 -p tcp -m tcp --dport 8080 -j DNAT --to-destination 10.0.0.2:80
[0:0] -A KUBE-SVC -p udp -m udp --dport 53 -m statistic --mode random --probability 0.5 -j REDIRECT --to-ports 5353
COMMIT
*raw
:PREROUTING ACCEPT [1:2]
:OUTPUT ACCEPT [3:4]
[5:6] -A PREROUTING -p tcp -m tcp --dport 9 -j NOTRACK
COMMIT
*filter
:INPUT ACCEPT [1:2]
:FORWARD ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
:f2b - [0:0]
[8:9] -A INPUT -p tcp -m hashlimit --hashlimit-upto 5/sec --hashlimit-name x -j f2b
COMMIT
";

const FOREIGN6: &str = "*nat
:PREROUTING ACCEPT [1:80]
:INPUT ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
:POSTROUTING ACCEPT [0:0]
:DOCKER - [0:0]
[5:300] -A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER
[0:0] -A DOCKER ! -i docker0 -p tcp -m tcp --dport 8080 -j DNAT --to-destination [fd00:1::2]:80
COMMIT
";

fn forward(protocol: Protocol, host_ip: Option<&str>, host_port: u16, to: &str) -> Forward {
    Forward {
        protocol,
        host_ip: host_ip.map(|ip| ip.parse().unwrap()),
        host_port,
        to: to.parse().unwrap(),
        to_port: 80,
    }
}

fn rules() -> Rules {
    let masquerade = |address: &str, within: &str| Masquerade {
        address: address.parse().unwrap(),
        within: Cidr::parse(within).unwrap(),
    };
    Rules {
        masquerade: vec![
            masquerade(POD, "172.16.28.0/24"),
            masquerade(POD6, "fd00:28::/64"),
        ],
        forwards: vec![
            forward(Protocol::Tcp, None, 8080, POD),
            forward(Protocol::Udp, None, 8080, POD),
            forward(Protocol::Tcp, Some(world::NEAR), 8081, POD),
            forward(Protocol::Tcp, None, 8080, POD6),
            forward(Protocol::Udp, Some(world::NEAR6), 8080, POD6),
        ],
        targets: vec![POD.parse().unwrap(), POD6.parse().unwrap()],
    }
}

fn install(id: &str, rules: &Rules) {
    xtables::install(id, rules, &mut |note| panic!("{note}")).unwrap();
}

/// A saved rule as its options with their values: their order in the line is
/// iptables' choice, and so are `-m` of a match and the counters.
fn options(line: &str) -> BTreeSet<String> {
    let text = line.split_once("] ").map_or(line, |(_, rule)| rule);
    let mut options: Vec<String> = Vec::new();
    let (mut quoted, mut not) = (false, false);
    for word in text.split(' ') {
        match options.last_mut() {
            _ if word == "!" && !quoted => not = true,
            Some(last) if quoted || !word.starts_with('-') => {
                last.push(' ');
                last.push_str(word);
            }
            _ => {
                options.push(if not {
                    format!("! {word}")
                } else {
                    word.to_owned()
                });
                not = false;
            }
        }
        quoted ^= word.replace("\\\"", "").matches('"').count() % 2 == 1;
    }
    options.retain(|option| !option.starts_with("-m "));
    options.into_iter().collect()
}

/// What `iptables-legacy-save` shows of one table, in its order, with no counters.
fn table(tool: &str, table: &str) -> Vec<BTreeSet<String>> {
    sh(&format!("{tool} -t {table}"))
        .lines()
        .filter(|line| line.starts_with("-A"))
        .map(options)
        .collect()
}

fn expected(lines: &[&str]) -> Vec<BTreeSet<String>> {
    let comment = format!(r#" --comment "id: \"{ID}\"""#);
    let whole = |line: &&str| options(&line.replace(" #", &comment));
    lines.iter().map(whole).collect()
}

fn chain(line: &str) -> String {
    let found = sh(line);
    let name = found.split(' ').find(|word| word.starts_with("CNI-"));
    name.unwrap().trim().to_owned()
}

#[test]
fn iptables_shows_what_was_installed() {
    isolated("iptables_shows_what_was_installed", || {
        world::build();
        install(ID, &rules());
        let cni = chain("iptables-legacy -t nat -S POSTROUTING | grep CNI-");
        assert_eq!(cni.len(), 28);
        let v4 = [
            "-A PREROUTING ! -d 127.0.0.0/8 --dst-type LOCAL # -j RKT-PFWD-DNAT-6a3f0c55",
            "-A OUTPUT ! -d 127.0.0.0/8 --dst-type LOCAL # -j RKT-PFWD-DNAT-6a3f0c55",
            "-A POSTROUTING -s 172.16.28.0/24 -d 172.16.28.2/32 --ctstate DNAT # -j RKT-PFWD-SNAT-6a3f0c55",
            "-A POSTROUTING -s 172.16.28.2/32 -d 172.16.28.2/32 # -j RKT-PFWD-SNAT-6a3f0c55",
            &format!("-A POSTROUTING -s 172.16.28.2/32 # -j {cni}"),
            &format!("-A {cni} -d 172.16.28.0/24 # -j ACCEPT"),
            &format!("-A {cni} ! -d 224.0.0.0/4 # -j MASQUERADE"),
            "-A RKT-PFWD-DNAT-6a3f0c55 -p tcp --dport 8080 # -j DNAT --to-destination 172.16.28.2:80",
            "-A RKT-PFWD-DNAT-6a3f0c55 -p udp --dport 8080 # -j DNAT --to-destination 172.16.28.2:80",
            "-A RKT-PFWD-DNAT-6a3f0c55 -d 10.9.0.1/32 -p tcp --dport 8081 # -j DNAT --to-destination 172.16.28.2:80",
            "-A RKT-PFWD-SNAT-6a3f0c55 -d 172.16.28.2/32 -p tcp --dport 80 # -j MASQUERADE",
            "-A RKT-PFWD-SNAT-6a3f0c55 -d 172.16.28.2/32 -p udp --dport 80 # -j MASQUERADE",
        ];
        assert_eq!(table("iptables-legacy-save", "nat"), expected(&v4));
        let cni = chain("ip6tables-legacy -t nat -S POSTROUTING | grep CNI-");
        let v6 = [
            "-A PREROUTING ! -d ::1/128 --dst-type LOCAL # -j RKT-PFWD-DNAT-6a3f0c55",
            "-A OUTPUT ! -d ::1/128 --dst-type LOCAL # -j RKT-PFWD-DNAT-6a3f0c55",
            "-A POSTROUTING -s fd00:28::/64 -d fd00:28::2/128 --ctstate DNAT # -j RKT-PFWD-SNAT-6a3f0c55",
            "-A POSTROUTING -s fd00:28::2/128 -d fd00:28::2/128 # -j RKT-PFWD-SNAT-6a3f0c55",
            &format!("-A POSTROUTING -s fd00:28::2/128 # -j {cni}"),
            &format!("-A {cni} -d fd00:28::/64 # -j ACCEPT"),
            &format!("-A {cni} ! -d ff00::/8 # -j MASQUERADE"),
            "-A RKT-PFWD-DNAT-6a3f0c55 -p tcp --dport 8080 # -j DNAT --to-destination [fd00:28::2]:80",
            "-A RKT-PFWD-DNAT-6a3f0c55 -d fd09::1/128 -p udp --dport 8080 # -j DNAT --to-destination [fd00:28::2]:80",
            "-A RKT-PFWD-SNAT-6a3f0c55 -d fd00:28::2/128 -p tcp --dport 80 # -j MASQUERADE",
            "-A RKT-PFWD-SNAT-6a3f0c55 -d fd00:28::2/128 -p udp --dport 80 # -j MASQUERADE",
        ];
        assert_eq!(table("ip6tables-legacy-save", "nat"), expected(&v6));
    });
}

/// An administrator saves all rules and loads them again: ours are still ours.
#[test]
fn what_iptables_saved_and_restored_is_removed() {
    isolated("what_iptables_saved_and_restored_is_removed", || {
        install(ID, &rules());
        let once = save();
        sh("
            iptables-legacy-save -c > /run/v4 && iptables-legacy-restore -c < /run/v4
            ip6tables-legacy-save -c > /run/v6 && ip6tables-legacy-restore -c < /run/v6
        ");
        assert_eq!(save(), once);
        xtables::remove(ID).unwrap();
        assert_eq!(save().iter().filter(|line| line.contains("-A")).count(), 0);
        assert_eq!(
            sh("iptables-legacy -t nat -S; ip6tables-legacy -t nat -S")
                .matches("-N")
                .count(),
            0
        );
    });
}

#[test]
fn foreign_rules_survive_byte_for_byte() {
    isolated("foreign_rules_survive_byte_for_byte", || {
        restore("iptables-legacy-restore", FOREIGN4);
        restore("ip6tables-legacy-restore", FOREIGN6);
        let before = save();
        install(ID, &rules());
        let during = save();
        // All of it is still there, in its order, with its counters.
        let mut rest = during.iter();
        for line in &before {
            assert!(rest.any(|other| other == line), "{line} not in {during:#?}");
        }
        assert!(during.len() > before.len() + 20);
        xtables::remove(ID).unwrap();
        assert_eq!(save(), before);
        xtables::remove(ID).unwrap();
        assert_eq!(save(), before);
    });
}

#[test]
fn installing_again_replaces() {
    isolated("installing_again_replaces", || {
        install(ID, &rules());
        let once = save();
        install(ID, &rules());
        assert_eq!(save(), once);
        // Fewer rules the second time: none of the others is left.
        let less = Rules {
            masquerade: rules().masquerade[..1].into(),
            ..Rules::default()
        };
        install(ID, &less);
        assert_eq!(table("iptables-legacy-save", "nat").len(), 3);
        assert_eq!(table("ip6tables-legacy-save", "nat"), []);
    });
}

#[test]
fn removing_makes_no_table() {
    isolated("removing_makes_no_table", || {
        xtables::remove(ID).unwrap();
        let names = "cat /proc/net/ip_tables_names /proc/net/ip6_tables_names";
        assert_eq!(sh(names), "");
        assert!(!std::path::Path::new("/run/xtables.lock").exists());
        xtables::available().unwrap();
        assert_eq!(sh(names), "nat\n");
    });
}

#[test]
fn without_a_place_for_the_lock_it_goes_on() {
    isolated("without_a_place_for_the_lock_it_goes_on", || {
        world::build();
        sh("mount -o remount,ro /run");
        let mut notes = Vec::new();
        xtables::install(ID, &rules(), &mut |note| notes.push(note)).unwrap();
        assert!(
            notes.len() == 1 && notes[0].contains("/run/xtables.lock"),
            "{notes:?}"
        );
        xtables::remove(ID).unwrap();
        assert_eq!(table("iptables-legacy-save", "nat"), []);
    });
}

/// What iptables adds and what we add at the same time, neither loses.
#[test]
fn no_update_is_lost() {
    isolated("no_update_is_lost", || {
        world::build();
        sh("iptables-legacy -t nat -N FOO");
        let foreign = std::thread::spawn(|| {
            for port in 1..=60 {
                sh(&format!(
                    "iptables-legacy -w -t nat -A FOO -p tcp --dport {port}"
                ));
            }
        });
        let ours: Vec<_> = (0..4)
            .map(|pod| {
                std::thread::spawn(move || {
                    for round in 0..15 {
                        let id = format!("{pod}-of-these-{round}");
                        install(&id, &rules());
                        if round % 3 != 0 {
                            xtables::remove(&id).unwrap();
                        }
                    }
                })
            })
            .collect();
        foreign.join().unwrap();
        ours.into_iter().for_each(|thread| thread.join().unwrap());
        let count = |pattern: &str| {
            let lines = table("iptables-legacy-save", "nat");
            let has = |line: &&BTreeSet<String>| line.iter().any(|option| option.contains(pattern));
            lines.iter().filter(has).count()
        };
        assert_eq!(count("-A FOO"), 60);
        assert_eq!(count("-A PREROUTING"), 4 * 5);
        for pod in 0..4 {
            for round in [0, 3, 6, 9, 12] {
                xtables::remove(&format!("{pod}-of-these-{round}")).unwrap();
            }
        }
        assert_eq!(count("-A"), 60);
        assert_eq!(sh("iptables-legacy -t nat -S | grep -c ^-N").trim(), "1");
    });
}

/// One that takes no lock costs us another attempt, not a failure.
#[test]
fn a_program_without_the_lock_is_no_failure() {
    isolated("a_program_without_the_lock_is_no_failure", || {
        world::build();
        let foreign = std::thread::spawn(|| {
            // It may fail itself, when we were in between.
            sh("for port in $(seq 60); do
                XTABLES_LOCKFILE=/run/other iptables-legacy -t nat -A OUTPUT -p tcp --dport $port || true
            done");
        });
        for _ in 0..60 {
            install(ID, &rules());
            xtables::remove(ID).unwrap();
        }
        foreign.join().unwrap();
        let ours = |line: &&String| line.contains(ID);
        assert_eq!(save().iter().filter(ours).count(), 0);
    });
}

#[test]
fn too_much_and_nonsense_are_refused() {
    isolated("too_much_and_nonsense_are_refused", || {
        let before = save();
        assert!(xtables::install("a\"b", &rules(), &mut |_| ()).is_err());
        assert!(xtables::remove("").is_err());
        let mut mixed = rules();
        mixed.forwards[0].host_ip = Some("fd00::1".parse().unwrap());
        assert!(xtables::install(ID, &mixed, &mut |_| ()).is_err());
        assert_eq!(save(), before);
        // More than 64 MB of IPv6; by then IPv4 is in place, and goes again.
        let mut large = rules();
        large.forwards.extend((1..=u16::MAX).map(|port| Forward {
            host_port: port,
            to_port: port,
            ..forward(Protocol::Tcp, None, port, POD6)
        }));
        let fault = xtables::install(ID, &large, &mut |_| ()).unwrap_err();
        assert!(fault.cause.contains("64 MB"), "{fault}");
        let count = |lines: Vec<String>| lines.iter().filter(|line| line.contains(ID)).count();
        assert_eq!(count(save()), 0);
    });
}
