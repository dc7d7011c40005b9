//! The tables of iptables and ip6tables, as the kernel gives them: what is not changed comes out as it went in, and what
//! is put in and taken out leaves no trace.
//!
//! The input is the kernel's `struct ipt_getinfo` and the entries behind it. A 6 as the last byte of the table's name,
//! which is a NUL otherwise, says that it is a table of ip6tables.

use net::firewall::xtables::rewritten;
use net::{Cidr, Forward, Masquerade, Protocol, Rules};
use sys::sockopt::{Family, Info};

use super::network::told;
use super::plant::plant;

/// In comments of rules of the corpus.
const ID: &str = "6a3f0c55-7c6e-4b5c-9a41-0a4a1c8f8f01";
const STRANGER: &str = "00000000-0000-4000-8000-000000000000";
const HEAD: usize = 84;

pub fn xtables(data: &[u8]) {
    let Some((head, entries)) = data.split_at_checked(HEAD) else {
        return;
    };
    let family = match head[31] {
        6 => Family::V6,
        _ => Family::V4,
    };
    let word = |at: usize| u32::from_ne_bytes([0, 1, 2, 3].map(|byte| head[at + byte]));
    let info = Info {
        valid_hooks: word(32),
        hook_entry: std::array::from_fn(|hook| word(36 + 4 * hook)),
        underflow: std::array::from_fn(|hook| word(56 + 4 * hook)),
        num_entries: word(76),
        size: word(80),
    };
    let nothing = Rules::default();
    match rewritten(family, &info, entries, STRANGER, &nothing) {
        Ok((same, bytes)) => assert!(same == info && bytes == entries, "it changes on its way"),
        Err(fault) => return told(&fault),
    }
    let (before, bytes) = rewritten(family, &info, entries, ID, &nothing)
        .expect("a table that was read can be written");
    let gone = info.num_entries - before.num_entries;
    assert!(
        before.size <= info.size,
        "what is taken out makes it larger"
    );
    put(family, &before, &bytes, ID);
    plant(gone == 3, "three rules of ours in a table");
}

/// A pod's rules in a table that has none of them.
fn put(family: Family, info: &Info, entries: &[u8], id: &str) {
    let (with, bytes) = match rewritten(family, info, entries, id, &rules()) {
        Ok(rewritten) => rewritten,
        // A table without the chains that a pod needs.
        Err(fault) => return told(&fault),
    };
    assert!(with.num_entries > info.num_entries && with.size as usize == bytes.len());
    let twice = rewritten(family, &with, &bytes, id, &rules());
    let (twice, other) = twice.expect("what is written can be read");
    // Chains of ours go and come again, where someone else has rules in them, too.
    let shared = [&b"CNI-"[..], b"RKT-PFWD-"]
        .iter()
        .any(|name| entries.windows(name.len()).any(|bytes| bytes == *name));
    assert!(
        shared || twice == with && other == bytes,
        "a second time makes another table"
    );
    let without = rewritten(family, &with, &bytes, id, &Rules::default());
    let (after, bytes) = without.expect("what is written can be read");
    assert!(
        shared || after == *info && bytes == entries,
        "a trace is left"
    );
}

fn rules() -> Rules {
    let ip = |text: &str| text.parse().expect("this is an address");
    let cidr = |text: &str| Cidr::parse(text).expect("this is a network");
    let forward = |protocol, host_port, to| Forward {
        protocol,
        host_ip: None,
        host_port,
        to,
        to_port: 80,
    };
    let pod = [ip("172.16.28.2"), ip("fd00::2")];
    Rules {
        masquerade: vec![
            Masquerade {
                address: pod[0],
                within: cidr("172.16.28.0/24"),
            },
            Masquerade {
                address: pod[1],
                within: cidr("fd00::/64"),
            },
        ],
        forwards: vec![
            forward(Protocol::Tcp, 8080, pod[0]),
            forward(Protocol::Udp, 53, pod[1]),
        ],
        targets: pod.to_vec(),
    }
}
