//! One rule of ours → the bytes of an entry, and what is read off an entry
//! again: its comment.
//!
//! The revisions of extensions are those that every kernel since 3.7 has: a
//! kernel that lacks one says ENOENT, and `EXTENSIONS` says whom to ask for.
//! Only DNAT is of the newest revision where that is known, as iptables itself
//! would make it: `iptables-save` writes an older one wrong.

use super::blob::Rule;
use super::layout::{self, EXTENSION_HEAD, EXTENSION_NAME, Layout, aligned};
use crate::address::octets;
use crate::{Cidr, Protocol};
use std::net::IpAddr;
use sys::sockopt::{Extension, Family};

/// What a packet must be like; an unset field is true of all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Spec {
    pub source: Option<Cidr>,
    pub destination: Option<Cidr>,
    /// `! -d`.
    pub not_destination: bool,
    /// The destination's port.
    pub port: Option<(Protocol, u16)>,
    /// The destination is an address of this host.
    pub to_local: bool,
    /// It had another destination before.
    pub translated: bool,
    pub action: Action,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Action {
    #[default]
    Accept,
    /// On in a chain of ours, by its name.
    Jump(String),
    Masquerade,
    Dnat(IpAddr, u16),
}

/// All extensions that rules of ours may have, with the revision.
pub const EXTENSIONS: [(Extension, &str, u8, Option<Family>); 8] = [
    (Extension::Match, "comment", 0, None),
    (Extension::Match, "addrtype", 1, None),
    (Extension::Match, "conntrack", 3, None),
    (Extension::Match, "tcp", 0, None),
    (Extension::Match, "udp", 0, None),
    (Extension::Target, "MASQUERADE", 0, None),
    (Extension::Target, "DNAT", 0, Some(Family::V4)),
    (Extension::Target, "DNAT", 1, Some(Family::V6)),
];

const PROTOCOL_GIVEN: u8 = 1;
const LOCAL: u16 = 1 << 2;
/// The target gives addresses, and ports.
const RANGE: u32 = 1 | 2;
const COMMENT: usize = 256;

/// `id: "<id>"`, as CNI's plugins write it.
pub fn comment(id: &str) -> String {
    format!("id: \"{id}\"")
}

/// An entry for this; a jump's offset is left open. `newest`: the kernel has
/// DNAT of revision 2 (Linux 4.18).
pub fn encode(family: Family, newest: bool, id: &str, spec: &Spec) -> Vec<u8> {
    let layout = Layout::of(family);
    let mut bytes = vec![0; layout.head];
    head(layout, family, spec, &mut bytes);
    if let Some((protocol, port)) = spec.port {
        push(&mut bytes, &protocol.to_string(), 0, &ports(protocol, port));
    }
    if spec.to_local {
        // Source types, destination types, flags.
        let mut data = [0; 8];
        data[2..4].copy_from_slice(&LOCAL.to_ne_bytes());
        push(&mut bytes, "addrtype", 1, &data);
    }
    if spec.translated {
        push(&mut bytes, "conntrack", 3, &translated());
    }
    let mut text = comment(id).into_bytes();
    text.resize(COMMENT, 0);
    push(&mut bytes, "comment", 0, &text);
    let target = bytes.len();
    match &spec.action {
        Action::Accept => push(&mut bytes, "", 0, &layout::ACCEPT.to_ne_bytes()),
        Action::Jump(_) => push(&mut bytes, "", 0, &0i32.to_ne_bytes()),
        Action::Masquerade => push(&mut bytes, "MASQUERADE", 0, &nat(family, None)),
        Action::Dnat(to, port) => {
            let to = Some((*to, *port));
            let (revision, data) = match (newest, family) {
                (true, _) => (2, newest_nat(to)),
                (false, Family::V4) => (0, nat(family, to)),
                (false, Family::V6) => (1, nat(family, to)),
            };
            push(&mut bytes, "DNAT", revision, &data);
        }
    }
    finish(layout, bytes, target)
}

/// The two entries around a user's chain: its name, and the return at its end.
pub fn chain_ends(family: Family, name: &str) -> (Vec<u8>, Vec<u8>) {
    let layout = Layout::of(family);
    let mut head = vec![0; layout.head];
    let mut field = [0; layout::ERROR_NAME];
    for (to, from) in field.iter_mut().zip(name.bytes().take(layout::CHAIN_NAME)) {
        *to = from;
    }
    push(&mut head, "ERROR", 0, &field);
    let mut end = vec![0; layout.head];
    push(&mut end, "", 0, &layout::RETURN.to_ne_bytes());
    (
        finish(layout, head, layout.head),
        finish(layout, end, layout.head),
    )
}

/// What `comment` gave when this entry was made, or what someone else wrote.
pub fn comment_of<'r>(family: Family, rule: &'r Rule<'_>) -> Option<&'r [u8]> {
    let mut at = Layout::of(family).head;
    let target = layout::u16_at(&rule.bytes, Layout::of(family).target_offset)?;
    while at < target {
        let (name, revision, data) = layout::extension(&rule.bytes, at)?;
        if name == b"comment" && revision == 0 {
            return layout::text_at(data, 0, COMMENT);
        }
        at += EXTENSION_HEAD + data.len();
    }
    None
}

fn head(layout: Layout, family: Family, spec: &Spec, bytes: &mut [u8]) {
    let width = layout.address;
    for (at, cidr) in [(0, spec.source), (1, spec.destination)] {
        let Some(cidr) = cidr else { continue };
        put(bytes, at * width, &octets(cidr.network().ip));
        put(bytes, (at + 2) * width, &octets(cidr.mask()));
    }
    if spec.not_destination {
        bytes[layout.inverted] |= layout::NOT_DESTINATION;
    }
    if let Some((protocol, _)) = spec.port {
        put(
            bytes,
            layout.protocol,
            &u16::from(protocol.number()).to_ne_bytes(),
        );
        if family == Family::V6 {
            bytes[layout.flags] |= PROTOCOL_GIVEN;
        }
    }
}

/// `struct xt_conntrack_mtinfo3` for `--ctstate DNAT`: what is to be compared
/// stands behind addresses, times and ports, and then the states.
fn translated() -> [u8; 164] {
    const STATE: u16 = 1;
    const DESTINATION_TRANSLATED: u16 = 1 << 7;
    let mut data = [0; 164];
    put(&mut data, 146, &STATE.to_ne_bytes());
    put(&mut data, 150, &DESTINATION_TRANSLATED.to_ne_bytes());
    data
}

/// `struct xt_tcp`, `xt_udp`: ranges of source and destination ports; zeros.
fn ports(protocol: Protocol, port: u16) -> Vec<u8> {
    let mut data = Vec::new();
    for value in [0, u16::MAX, port, port] {
        data.extend_from_slice(&value.to_ne_bytes());
    }
    data.resize(if protocol == Protocol::Tcp { 12 } else { 10 }, 0);
    data
}

/// `struct nf_nat_ipv4_multi_range_compat` of one range, or `nf_nat_range`.
fn nat(family: Family, to: Option<(IpAddr, u16)>) -> Vec<u8> {
    match family {
        Family::V4 => {
            let mut data = 1u32.to_ne_bytes().to_vec();
            data.extend(range(4, to));
            data
        }
        Family::V6 => range(16, to),
    }
}

/// `struct nf_nat_range2`, for both families: a base port at its end.
fn newest_nat(to: Option<(IpAddr, u16)>) -> Vec<u8> {
    let mut data = range(16, to);
    data.extend_from_slice(&[0; 4]);
    data
}

/// Flags, lowest and highest address, lowest and highest port.
fn range(width: usize, to: Option<(IpAddr, u16)>) -> Vec<u8> {
    let (flags, mut address, port) = match to {
        Some((ip, port)) => (RANGE, octets(ip), port),
        None => (0, Vec::new(), 0),
    };
    address.resize(width, 0);
    let port = port.to_be_bytes();
    [&flags.to_ne_bytes()[..], &address, &address, &port, &port].concat()
}

fn put(bytes: &mut [u8], at: usize, value: &[u8]) {
    bytes[at..at + value.len()].copy_from_slice(value);
}

/// A match or target: its header and its data, padded.
fn push(bytes: &mut Vec<u8>, name: &str, revision: u8, data: &[u8]) {
    let size = aligned(EXTENSION_HEAD + data.len());
    let end = bytes.len() + size;
    bytes.extend_from_slice(&(size as u16).to_ne_bytes());
    let mut field = [0; EXTENSION_NAME];
    put(&mut field, 0, name.as_bytes());
    bytes.extend_from_slice(&field);
    bytes.push(revision);
    bytes.extend_from_slice(data);
    bytes.resize(end, 0);
}

fn finish(layout: Layout, mut bytes: Vec<u8>, target: usize) -> Vec<u8> {
    let end = bytes.len() as u16;
    put(
        &mut bytes,
        layout.target_offset,
        &(target as u16).to_ne_bytes(),
    );
    put(&mut bytes, layout.next_offset, &end.to_ne_bytes());
    bytes
}
