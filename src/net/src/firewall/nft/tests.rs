//! Rules held against the bytes that Debian's nft 1.0.6 sends for the same, and
//! the kernel's answers, good and bad.

#![expect(clippy::unwrap_used, reason = "tests")]

use super::*;
use crate::netlink::message::find;
use crate::rules::{Forward, Masquerade, Protocol};
use crate::{Cidr, Rules};

const ID: &str = "fc5be7e5-e5bc-4c04-8b62-2cb5ee9e39b5";

/// `tcp dport 80 counter dnat to 10.1.1.1:90`
const FORWARD: &str = "24000180090001006d6574610000000014000280080002000000001008000100000000012c000180\
08000100636d700020000280080001000000000108000200000000000c0003800500010006000000340001800c0001007061796c6f61\
6400240002800800010000000001080002000000000208000300000000020800040000000002\
2c00018008000100636d700020000280080001000000000108000200000000000c00038006000100005000001400\
01800c000100636f756e746572000400\
02802c0001800e000100696d6d6564696174650000001800028008000100000000010c000280080001000a0101012c0001800e000100\
696d6d6564696174650000001800028008000100000000020c00028006000100005a000038000180080001006e6174002c0002800800\
010000000001080002000000000208000300000000010800050000000002\
0800070000000002";
/// `fib daddr type local jump ports`
const LOCAL: &str = "2800018008000100666962001c0002800800030000000002080002000000000308000100000000012c000180\
08000100636d700020000280080001000000000108000200000000000c00038008000100020000003c0001800e000100696d6d656469\
6174650000002800028008000100000000001c0002801800028008000100fffffffd0a000200706f727473000000";
/// `ip daddr != 127.0.0.0/8`, which stands before `LOCAL`.
const NOT_LOOPBACK: &str = "340001800c0001007061796c6f616400240002800800010000000001080002000000000108000300000000100800\
0400000000012c00018008000100636d700020000280080001000000000108000200000000010c000380050001007f000000";
/// `ip6 daddr != ::1`
const NOT_LOOPBACK_V6: &str = "340001800c0001007061796c6f616400240002800800010000000001080002000000000108000300000000180800\
0400000000103800018008000100636d70002c000280080001000000000108000200000000011800038014000100000000000000000000000000\
00000001";
/// `ip saddr 10.1.1.1 ip daddr != 10.1.0.0/20`, the head of a masquerading rule.
const LEAVING: &str = "340001800c0001007061796c6f6164002400028008000100000000010800020000000001080003000000000c\
08000400000000042c00018008000100636d700020000280080001000000000108000200000000000c000380080001000a0101013400\
01800c0001007061796c6f61640024000280080001000000000108000200000000010800030000000010080004000000000444000180\
0c0001006269747769736500340002800800010000000001080002000000000108000300000000040c00048008000100fffff0000c00\
058008000100000000002c00018008000100636d700020000280080001000000000108000200000000010c000380080001000a010000";
/// `counter masquerade`, its tail.
const MASQUERADE: &str =
    "140001800c000100636f756e746572000400028014000180090001006d6173710000000004000280";
/// `ip6 daddr fd00::9 udp dport 80 counter dnat to [fd00::1]:90`
const FORWARD_V6: &str = "340001800c0001007061796c6f6164002400028008000100000000010800020000000001080003000000\
001808000400000000103800018008000100636d70002c000280080001000000000108000200000000001800038014000100fd000000\
00000000000000000000000924000180090001006d6574610000000014000280080002000000001008000100000000012c0001800800\
0100636d700020000280080001000000000108000200000000000c0003800500010011000000340001800c0001007061796c6f616400\
24000280080001000000000108000200000000020800030000000002080004000000000\
22c00018008000100636d700020000280080001000000000108000200000000000c0003800600010000500000140001800c00010063\
6f756e746572000400\
0280380001800e000100696d6d6564696174650000002400028008000100000000011800028014000100fd0000000000000000000000\
000000012c0001800e000100696d6d6564696174650000001800028008000100000000020c00028006000100005a0000380001800800\
01006e6174002c0002800800010000000001080002000000000a080003000000000108000500000000020800070000000002";

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn expressions(rule: &Rule) -> String {
    let mut batch = Batch::new();
    for expression in &rule.expressions {
        expression.encode(&mut batch);
    }
    hex(batch.number(0).unwrap())
}

fn forward(protocol: Protocol, host_ip: Option<&str>, to: &str) -> Forward {
    Forward {
        protocol,
        host_ip: host_ip.map(|ip| ip.parse().unwrap()),
        host_port: 80,
        to: to.parse().unwrap(),
        to_port: 90,
    }
}

fn masquerade(address: &str, within: &str) -> Masquerade {
    Masquerade {
        address: address.parse().unwrap(),
        within: Cidr::parse(within).unwrap(),
    }
}

fn rules() -> Rules {
    Rules {
        masquerade: vec![masquerade("10.1.1.1", "10.1.0.0/20")],
        forwards: vec![
            forward(Protocol::Tcp, None, "10.1.1.1"),
            forward(Protocol::Udp, Some("fd00::9"), "fd00::1"),
        ],
        targets: vec!["10.1.1.1".parse().unwrap(), "fd00::1".parse().unwrap()],
    }
}

fn of<'a>(table: &'a Table, chain: &str) -> Vec<&'a Rule> {
    table.rules.iter().filter(|r| r.chain == chain).collect()
}

#[test]
fn rules_are_the_bytes_that_nft_sends() {
    let tables = ruleset::tables(&rules());
    let [v4, v6] = &tables[..] else {
        panic!("two families");
    };
    assert_eq!(expressions(of(v4, "ports")[0]), FORWARD);
    for chain in ["prerouting", "output"] {
        let [v4, v6] = [v4, v6].map(|table| expressions(of(table, chain)[0]));
        assert_eq!(v4, format!("{NOT_LOOPBACK}{LOCAL}"));
        assert_eq!(v6, format!("{NOT_LOOPBACK_V6}{LOCAL}"));
    }
    assert_eq!(expressions(of(v6, "ports")[0]), FORWARD_V6);
    let leaving = of(v4, "postrouting").last().map(|rule| expressions(rule));
    let leaving = leaving.unwrap();
    assert!(leaving.starts_with(LEAVING) && leaving.ends_with(MASQUERADE));
    // To its own port: from the pod itself and its neighbours.
    assert_eq!(of(v4, "postrouting").len(), 3);
    assert_eq!(of(v6, "postrouting").len(), 1);
}

#[test]
fn only_what_is_asked_for_has_chains() {
    let mut rules = rules();
    rules.forwards.clear();
    let tables = ruleset::tables(&rules);
    let names: Vec<_> = tables[0].chains.iter().map(|chain| chain.name).collect();
    assert_eq!(names, ["prerouting", "input", "postrouting"]);
    assert_eq!(tables.len(), 1);
    rules.masquerade.clear();
    assert!(ruleset::tables(&rules).is_empty());
}

#[test]
fn what_cannot_match_has_no_rule() {
    let rules = Rules {
        masquerade: vec![masquerade("10.1.1.1", "0.0.0.0/0")],
        forwards: vec![
            forward(Protocol::Tcp, Some("fd00::9"), "10.1.1.1"),
            forward(Protocol::Tcp, Some("::"), "10.1.1.1"),
        ],
        ..Rules::default()
    };
    let tables = ruleset::tables(&rules);
    assert_eq!(of(&tables[0], "ports").len(), 1);
    assert_eq!(expressions(of(&tables[0], "ports")[0]), FORWARD);
    assert_eq!(of(&tables[0], "postrouting").len(), 1);
    // The host's loopback is left to a process.
    let rules = Rules {
        forwards: vec![
            forward(Protocol::Tcp, Some("127.0.0.1"), "10.1.1.1"),
            forward(Protocol::Tcp, Some("::1"), "fd00::1"),
        ],
        ..Rules::default()
    };
    assert!(ruleset::tables(&rules).is_empty());
}

#[test]
fn a_table_is_named_after_the_pod_and_short_enough() {
    assert_eq!(table_name(ID), "rkt-fc5be7e5e5bc4c048b622cb5ee");
    assert!(table_name(ID).len() < 32);
}

#[test]
fn rules_tell_their_pod() {
    let comment = comment(ID);
    assert_eq!(comment[..2], [0, 41]);
    assert_eq!(&comment[2..], format!("rkt {ID}\0").as_bytes());
    assert!(super::comment(&"x\u{e9}\0".repeat(400)).len() < 128);
}

/// A table replaces one of its name, and belongs to the socket.
#[test]
fn the_transaction_makes_way_first() {
    let rules = rules();
    let tables = ruleset::tables(&rules);
    let mut transaction = Transaction::new();
    transaction.make_way("rkt-1", Family::V4);
    transaction.table("rkt-1", ID, TABLE_OWNER, &tables[0]);
    let bytes = transaction.batch.number(0).unwrap().to_vec();
    let kinds: Vec<u16> = messages(&bytes).map(|m| m.0).collect();
    assert_eq!(kinds[..4], [0x10, NEWTABLE, DELTABLE, NEWTABLE]);
    assert_eq!(kinds[4..9], [NEWCHAIN; 5]);
    assert!(kinds[9..].iter().all(|kind| *kind == NEWRULE));
    assert_eq!(kinds.len(), transaction.parts.len());
    let table = messages(&bytes).nth(3).unwrap().1;
    assert_eq!(find(table, &[1]).unwrap(), b"rkt-1\0");
    assert_eq!(find(table, &[2]).unwrap(), [0, 0, 0, 2]);
    let chain = messages(&bytes).nth(4).unwrap().1;
    let expected = "0a000100726b742d310000000f000300707265726f7574696e670000080007006e6174001400048008000100\
0000000008000200ffffff9c";
    assert_eq!(hex(chain), expected);
}

fn messages(bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    message::replies(bytes).filter_map(|reply| match reply {
        Reply::Data { kind, attributes } => Some((kind, attributes)),
        _ => None,
    })
}

/// The parts of a transaction for both families.
fn parts(tables: &[Table]) -> Vec<Part<'_>> {
    let mut transaction = Transaction::new();
    for table in tables {
        transaction.table("rkt-1", ID, TABLE_OWNER, table);
    }
    transaction.parts
}

fn number(parts: &[Part<'_>], wanted: impl Fn(&Part<'_>) -> bool) -> u32 {
    parts.iter().position(wanted).unwrap() as u32
}

#[test]
fn a_refused_rule_tells_what_the_kernel_lacks() {
    let rules = rules();
    let tables = ruleset::tables(&rules);
    let parts = parts(&tables);
    let fib: Vec<_> = (0u32..)
        .zip(&parts)
        .filter(|(_, part)| match part {
            Part::Rule(_, rule) => rule.expressions.contains(&Expression::FibDestinationType),
            _ => false,
        })
        .map(|(number, _)| (number, 2))
        .collect();
    let refusal = verdict(&parts, &fib).unwrap();
    assert_eq!(refusal.why, "fib for IPv4: no such file or directory");
}

#[test]
fn refusals_by_what_they_are_about() {
    let rules = rules();
    let tables = ruleset::tables(&rules);
    let parts = parts(&tables);
    assert_eq!(verdict(&parts, &[(1, 0), (9, 0)]), None);
    assert!(verdict(&parts, &[]).is_some());
    let kind = |statuses| verdict(&parts, statuses).unwrap().kind;
    assert_eq!(kind(&[(0, 1)]), Kind::Refused);
    assert_eq!(kind(&[(0, 95)]), Kind::Unsupported);
    assert_eq!(kind(&[(1, 1)]), Kind::Conflict);
    let flag = verdict(&parts, &[(1, 22), (2, 2), (3, 2)]).unwrap();
    assert!(flag.owner);
    assert_eq!(flag.kind, Kind::Unsupported);
    let chain = number(
        &parts,
        |part| matches!(part, Part::Chain(Family::V6, chain) if chain.hook.is_some()),
    );
    let refusal = verdict(&parts, &[(chain, 2), (1, 0)]).unwrap();
    assert_eq!(refusal.family, Some(Family::V6));
    assert_eq!(refusal.why, "nat chains of IPv6: no such file or directory");
    assert!(verdict(&parts, &[(u32::MAX, 5)]).is_some());
}
