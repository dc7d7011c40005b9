//! Recorded tables of real set-ups (64-bit, little endian) are decoded, edited
//! and encoded; damaged ones are errors and never panics.
//!
//! A recording is the kernel's `struct ipt_getinfo` and then the entries.
#![cfg(all(target_pointer_width = "64", target_endian = "little"))]
#![expect(clippy::unwrap_used, reason = "tests")]

use super::blob::{Encoded, Goes, Table};
use super::plan::Change;
use super::{edit, layout, plan, rule};
use crate::{Cidr, Forward, Masquerade, Protocol, Rules};
use sys::sockopt::{Family, Info};

const NAT4: &[u8] = include_bytes!("../../../tests/fixtures/xtables-nat4.bin");
const FILTER4: &[u8] = include_bytes!("../../../tests/fixtures/xtables-filter4.bin");
const NAT6: &[u8] = include_bytes!("../../../tests/fixtures/xtables-nat6.bin");
const ALL: [(Family, &[u8]); 3] = [
    (Family::V4, NAT4),
    (Family::V4, FILTER4),
    (Family::V6, NAT6),
];
const ID: &str = "6a3f0c55-7c6e-4b5c-9a41-0a4a1c8f8f01";

fn recorded(bytes: &[u8]) -> (Info, &[u8]) {
    let (head, entries) = bytes.split_at(84);
    let word = |at: usize| u32::from_ne_bytes(*head[at..].first_chunk().unwrap());
    let info = Info {
        valid_hooks: word(32),
        hook_entry: std::array::from_fn(|hook| word(36 + 4 * hook)),
        underflow: std::array::from_fn(|hook| word(56 + 4 * hook)),
        num_entries: word(76),
        size: word(80),
    };
    (info, entries)
}

fn decode(family: Family, bytes: &[u8]) -> Table<'_> {
    let (info, entries) = recorded(bytes);
    Table::decode(family, &info, entries).unwrap()
}

fn rules() -> Rules {
    Rules {
        masquerade: vec![
            Masquerade {
                address: "172.16.28.2".parse().unwrap(),
                within: Cidr::parse("172.16.28.0/24").unwrap(),
            },
            Masquerade {
                address: "fd00::2".parse().unwrap(),
                within: Cidr::parse("fd00::/64").unwrap(),
            },
        ],
        forwards: vec![
            Forward {
                protocol: Protocol::Tcp,
                host_ip: None,
                host_port: 8080,
                to: "172.16.28.2".parse().unwrap(),
                to_port: 80,
            },
            Forward {
                protocol: Protocol::Udp,
                host_ip: Some("fd01::1".parse().unwrap()),
                host_port: 53,
                to: "fd00::2".parse().unwrap(),
                to_port: 5353,
            },
        ],
        targets: vec!["172.16.28.2".parse().unwrap(), "fd00::2".parse().unwrap()],
    }
}

fn changes(family: Family) -> Vec<Change> {
    plan::nat(family, ID, &rules()).unwrap()
}

fn names(table: &Table<'_>) -> Vec<String> {
    let name = |name: &Vec<u8>| String::from_utf8(name.clone()).unwrap();
    table.chains.iter().map(|chain| name(&chain.name)).collect()
}

#[test]
fn a_table_comes_out_as_it_went_in() {
    for (family, bytes) in ALL {
        let (info, entries) = recorded(bytes);
        let encoded = decode(family, bytes).encode().unwrap();
        assert_eq!(encoded.info, info);
        assert!(encoded.entries == entries);
        let own: Vec<Option<usize>> = (0..info.num_entries as usize).map(Some).collect();
        assert_eq!(encoded.origins, own);
    }
}

#[test]
fn chains_rules_and_jumps_are_understood() {
    let table = decode(Family::V4, NAT4);
    let expected = [
        "PREROUTING",
        "INPUT",
        "OUTPUT",
        "POSTROUTING",
        "DOCKER",
        "KUBE-SVC",
        "ZZ-EMPTY",
    ];
    assert_eq!(names(&table), expected);
    let docker = table.chains[4].number;
    let service = table.chains[5].number;
    let goes = |chain: usize| -> Vec<Goes> {
        table.chains[chain]
            .rules
            .iter()
            .map(|rule| rule.goes)
            .collect()
    };
    assert_eq!(goes(0), [Goes::Chain(docker), Goes::Chain(service)]);
    assert_eq!(goes(3), [Goes::Target, Goes::On, Goes::Target]);
    assert_eq!(goes(4)[2], Goes::Chain(service));
    assert_eq!(goes(6), []);
    let comment = rule::comment_of(Family::V4, &table.chains[3].rules[2]);
    assert_eq!(comment, Some(b"kubernetes \"masq\"".as_slice()));
}

#[test]
fn what_is_put_in_and_taken_out_leaves_no_trace() {
    for (family, bytes) in ALL {
        let before = decode(family, bytes);
        let put = match names(&before).iter().any(|name| name == "POSTROUTING") {
            true => changes(family),
            false => Vec::new(),
        };
        let mut table = before.clone();
        edit::apply(&mut table, ID, &put, true).unwrap();
        let full = table.encode().unwrap();
        let mut again = Table::decode(family, &full.info, &full.entries).unwrap();
        assert_eq!(edit::forget(&mut again, ID), !put.is_empty());
        assert!(!edit::forget(&mut again, ID));
        let Encoded { info, entries, .. } = again.encode().unwrap();
        assert_eq!(info, recorded(bytes).0);
        assert!(entries == recorded(bytes).1);
    }
}

#[test]
fn counters_go_along_with_their_rules() {
    let mut table = decode(Family::V4, NAT4);
    edit::apply(&mut table, ID, &changes(Family::V4), true).unwrap();
    let full = table.encode().unwrap();
    let (info, entries) = recorded(NAT4);
    let old = Table::decode(Family::V4, &info, entries).unwrap();
    let kept: Vec<usize> = full.origins.iter().flatten().copied().collect();
    assert_eq!(kept, (0..info.num_entries as usize).collect::<Vec<_>>());
    // The policy of POSTROUTING had 7 packets.
    let at = full.info.underflow[4] as usize + layout::Layout::of(Family::V4).counters;
    assert_eq!(full.entries[at..at + 8], 7u64.to_ne_bytes());
    assert_eq!(old.chains.len() + 3, table.chains.len());
}

#[test]
fn new_chains_stand_in_the_order_of_the_alphabet() {
    let mut table = decode(Family::V4, NAT4);
    edit::apply(&mut table, ID, &changes(Family::V4), true).unwrap();
    let all = names(&table);
    let expected = [
        "DOCKER",
        "KUBE-SVC",
        "RKT-PFWD-DNAT-6a3f0c55",
        "RKT-PFWD-SNAT-6a3f0c55",
        "ZZ-EMPTY",
    ];
    assert!(
        all[4].starts_with("CNI-") && all[4].len() == 28,
        "{}",
        all[4]
    );
    assert_eq!(all[5..], expected);
    // Inserted before what was there: neighbours, hairpin.
    let rules = &table.chains[3].rules;
    assert_eq!(rules.len(), 3 + 3);
    assert_eq!(rules[0].bytes[..4], [172, 16, 28, 0]);
    assert_eq!(rules[1].bytes[..4], [172, 16, 28, 2]);
    assert_eq!(rules[5].goes, Goes::Chain(table.chains[4].number));
}

#[test]
fn the_chain_is_named_by_a_hash_of_address_and_id() {
    let changes = changes(Family::V4);
    let Some(Change::Append(name, _)) = changes
        .iter()
        .find(|change| matches!(change, Change::Append(name, _) if name.starts_with("CNI-")))
    else {
        panic!("no such chain");
    };
    // printf '172.16.28.26a3f0c55-…' | sha512sum
    assert_eq!(name, "CNI-9c10e1ea0fb6e21c70a5379b");
}

#[test]
fn a_pod_of_the_same_first_digits_keeps_its_ports() {
    let other = "6a3f0c55-0000-4000-8000-000000000000";
    let mut table = decode(Family::V4, NAT4);
    edit::apply(&mut table, ID, &changes(Family::V4), true).unwrap();
    let alone = table.clone();
    let theirs: Vec<Change> = plan::nat(Family::V4, other, &rules()).unwrap();
    edit::apply(&mut table, other, &theirs, true).unwrap();
    assert!(edit::forget(&mut table, other));
    assert_eq!(
        table.encode().unwrap().entries,
        alone.encode().unwrap().entries
    );
}

/// `XT_ALIGN(sizeof(…))` of each revision, which the kernel insists on.
#[test]
fn targets_have_the_kernels_sizes() {
    for (family, newest, revision, size) in [
        (Family::V4, false, 0, 56),
        (Family::V6, false, 1, 72),
        (Family::V4, true, 2, 80),
        (Family::V6, true, 2, 80),
    ] {
        let spec = rule::Spec {
            action: rule::Action::Dnat("fd00::2".parse().unwrap(), 80),
            ..rule::Spec::default()
        };
        let spec = match family {
            Family::V6 => spec,
            Family::V4 => rule::Spec {
                action: rule::Action::Dnat("10.0.0.2".parse().unwrap(), 80),
                ..spec
            },
        };
        let bytes = rule::encode(family, newest, ID, &spec);
        let target = layout::u16_at(&bytes, layout::Layout::of(family).target_offset).unwrap();
        assert_eq!(layout::u16_at(&bytes, target), Some(size));
        assert_eq!(bytes.len(), target + size);
        let (name, found, _) = layout::extension(&bytes, target).unwrap();
        assert_eq!((name, found), (b"DNAT".as_slice(), revision));
    }
}

/// Whether it comes in or goes out: the jump to the pod's ports.
#[test]
fn packets_for_the_loopback_are_left_alone() {
    for (family, loopback) in [(Family::V4, "127.0.0.0/8"), (Family::V6, "::1/128")] {
        let changes = changes(family);
        for hook in ["PREROUTING", "OUTPUT"] {
            let specs: Vec<_> = changes
                .iter()
                .filter_map(|change| match change {
                    Change::Insert(name, spec) if *name == hook => Some(spec),
                    _ => None,
                })
                .collect();
            let [spec] = specs[..] else {
                panic!("one rule in {hook}");
            };
            assert!(spec.to_local && spec.not_destination);
            assert_eq!(spec.destination.unwrap().to_string(), loopback);
        }
    }
}

#[test]
fn what_cannot_be_named_is_refused() {
    for id in ["", "a b", "a\"", "a\\", "a\n", &"x".repeat(201)] {
        assert!(plan::check_id(id).is_err(), "{id:?}");
    }
    let mut mixed = rules();
    mixed.forwards[0].host_ip = Some("fd00::1".parse().unwrap());
    assert!(plan::nat(Family::V4, ID, &mixed).is_err());
}

#[test]
fn nothing_to_do_is_no_change() {
    let mut only_v4 = rules();
    only_v4.masquerade.truncate(1);
    only_v4.forwards.truncate(1);
    assert_eq!(plan::nat(Family::V6, ID, &only_v4).unwrap(), []);
    let mut own = only_v4;
    own.masquerade.clear();
    own.forwards[0].host_ip = Some("127.0.0.1".parse().unwrap());
    assert_eq!(plan::nat(Family::V4, ID, &own).unwrap(), []);
}

#[test]
fn a_table_cut_off_anywhere_is_an_error() {
    for (family, bytes) in ALL {
        let (info, entries) = recorded(bytes);
        for len in 0..entries.len() {
            let cut = &entries[..len];
            assert!(Table::decode(family, &info, cut).is_err());
            let told = Info {
                size: len as u32,
                ..info
            };
            assert!(Table::decode(family, &told, cut).is_err());
        }
    }
}

/// Whatever is decoded can be edited and encoded; nothing panics.
#[test]
fn damaged_tables_never_panic() {
    let mut state = 0x9e37_79b9_7f4a_7c15u64;
    let mut random = move |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state % below as u64) as usize
    };
    let mut refused = 0;
    for round in 0..12_000 {
        let (family, bytes) = ALL[round % ALL.len()];
        let (mut info, entries) = recorded(bytes);
        let mut entries = entries.to_vec();
        for _ in 0..=random(4) {
            let at = random(entries.len());
            entries[at] = [0, 1, 8, 0x7f, 0xff, random(256) as u8][random(6)];
        }
        match random(8) {
            0 => info.hook_entry[random(5)] = random(5000) as u32,
            1 => info.underflow[random(5)] = random(5000) as u32,
            2 => info.valid_hooks = random(64) as u32,
            3 => info.num_entries = random(40) as u32,
            _ => {}
        }
        match Table::decode(family, &info, &entries) {
            Err(_) => refused += 1,
            Ok(mut table) => {
                edit::forget(&mut table, ID);
                let _ = edit::apply(&mut table, ID, &changes(family), true);
                table.encode().unwrap();
            }
        }
    }
    assert!(refused > 500, "{refused}");
}

#[test]
fn garbage_is_an_error() {
    for fill in [0u8, 1, 0x70, 0xff] {
        let entries = vec![fill; 4096];
        let info = Info {
            size: 4096,
            ..Info::default()
        };
        assert!(Table::decode(Family::V4, &info, &entries).is_err());
        assert!(Table::decode(Family::V6, &info, &entries).is_err());
    }
}

/// Two chains may not share an entry, and a jump must lead to a chain.
#[test]
fn contradictory_tables_are_errors() {
    let (info, entries) = recorded(NAT4);
    let mut shared = info;
    shared.hook_entry[1] = shared.hook_entry[0];
    assert!(Table::decode(Family::V4, &shared, entries).is_err());
    let mut early = info;
    early.underflow[0] = early.hook_entry[0];
    assert!(Table::decode(Family::V4, &early, entries).is_err());
    let mut astray = entries.to_vec();
    let verdict = layout::u16_at(&astray, 88).unwrap() + layout::EXTENSION_HEAD;
    astray[verdict] = 8;
    assert!(Table::decode(Family::V4, &info, &astray).is_err());
}
