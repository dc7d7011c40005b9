//! `Rules` → the changes of each table, as data. Pure.
//!
//! Chains and rules are rkt's: `CNI-…` per masqueraded address, `RKT-PFWD-DNAT-…`
//! and `RKT-PFWD-SNAT-…` per pod. What is inserted comes before all other rules of
//! its chain, in the order given here. A family that has nothing to do gets
//! no change at all.

use super::super::localnet;
use super::layout::CHAIN_NAME;
use super::rule::{Action, Spec};
use crate::{Cidr, Forward, Rules};
use model::{Fault, fault::Result};
use sha2::{Digest, Sha512};
use std::collections::HashSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use sys::sockopt::Family;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// A rule at the start of a hook's chain.
    Insert(&'static str, Spec),
    /// A rule at the end of a chain; one of ours is made if it is not there.
    Append(String, Spec),
}

/// All chains of ours begin with one of these.
pub const PREFIXES: [&str; 2] = ["CNI-", "RKT-PFWD-"];

const POSTROUTING: &str = "POSTROUTING";
const PREROUTING: &str = "PREROUTING";

/// An ID stands in comments and in names of chains.
pub fn check_id(id: &str) -> Result<()> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.:".contains(&byte);
    match id.is_empty() || id.len() > 200 || !id.bytes().all(plain) {
        true => Err(Fault::invalid(format!("{id:?} cannot name iptables rules"))),
        false => Ok(()),
    }
}

/// What table `nat` of this family needs.
pub fn nat(family: Family, id: &str, rules: &Rules) -> Result<Vec<Change>> {
    let mut changes = Vec::new();
    forward(family, id, rules, &mut changes)?;
    masquerade(family, id, rules, &mut changes)?;
    Ok(changes)
}

/// The interfaces that are to be crossed by packets for 127.0.0.0/8.
pub fn guarded(rules: &Rules) -> &[String] {
    match rules.forwards.iter().any(|f| f.to.is_ipv4()) {
        true => &rules.guarded,
        false => &[],
    }
}

/// What table `raw` of IPv4 needs.
pub fn raw(rules: &Rules) -> Result<Vec<Change>> {
    let mut changes = Vec::new();
    for name in guarded(rules) {
        localnet::check(name)?;
        let spec = Spec {
            input: Some(name.clone()),
            destination: Some(loopback()),
            action: Action::Drop,
            ..Spec::default()
        };
        changes.push(Change::Insert(PREROUTING, spec));
    }
    Ok(changes)
}

fn masquerade(family: Family, id: &str, rules: &Rules, out: &mut Vec<Change>) -> Result<()> {
    let multicast = match family {
        Family::V4 => Cidr {
            ip: Ipv4Addr::new(224, 0, 0, 0).into(),
            len: 4,
        },
        Family::V6 => Cidr {
            ip: Ipv6Addr::new(0xff00, 0, 0, 0, 0, 0, 0, 0).into(),
            len: 8,
        },
    };
    let mut done = Vec::new();
    for masquerade in &rules.masquerade {
        let address = masquerade.address;
        if !is(family, address) || done.contains(&address) {
            continue;
        }
        done.push(address);
        let chain = masquerade_chain(address, id);
        for other in rules.masquerade.iter().filter(|m| m.address == address) {
            same(family, other.within.ip)?;
            let spec = Spec {
                destination: Some(other.within),
                ..Spec::default()
            };
            out.push(Change::Append(chain.clone(), spec));
        }
        let outward = Spec {
            destination: Some(multicast),
            not_destination: true,
            action: Action::Masquerade,
            ..Spec::default()
        };
        out.push(Change::Append(chain.clone(), outward));
        let hook = Spec {
            source: Some(Cidr::host(address)),
            action: Action::Jump(chain),
            ..Spec::default()
        };
        out.push(Change::Append(POSTROUTING.into(), hook));
    }
    Ok(())
}

fn forward(family: Family, id: &str, rules: &Rules, out: &mut Vec<Change>) -> Result<()> {
    let short: String = id.chars().take(8).collect();
    let dnat = format!("RKT-PFWD-DNAT-{short}");
    let snat = format!("RKT-PFWD-SNAT-{short}");
    let mut seen = HashSet::new();
    for forward in rules.forwards.iter().filter(|f| is(family, f.to)) {
        let (to_pod, from_pod) = forwarded(family, forward)?;
        out.push(Change::Append(dnat.clone(), to_pod));
        // Two ports of the host may lead to one of the pod.
        if seen.insert((forward.protocol as u8, forward.to, forward.to_port)) {
            out.push(Change::Append(snat.clone(), from_pod));
        }
    }
    if seen.is_empty() {
        return Ok(());
    }
    let to_local = Spec {
        to_local: true,
        action: Action::Jump(dnat),
        ..Spec::default()
    };
    // No interface lets packets for 127.0.0.0/8 cross: they have a process.
    let closed = family == Family::V4 && rules.guarded.is_empty();
    let from_here = Spec {
        destination: closed.then(loopback),
        not_destination: closed,
        ..to_local.clone()
    };
    out.push(Change::Insert("OUTPUT", from_here));
    out.push(Change::Insert(PREROUTING, to_local));
    for target in rules.targets.iter().filter(|ip| is(family, **ip)) {
        let hairpin = Spec {
            source: Some(Cidr::host(*target)),
            destination: Some(Cidr::host(*target)),
            action: Action::Jump(snat.clone()),
            ..Spec::default()
        };
        out.push(Change::Insert(POSTROUTING, hairpin));
    }
    // The kernel routes nothing from ::1 to another interface.
    if family == Family::V4 {
        let from_host = Spec {
            source: Some(loopback()),
            destination: Some(loopback()),
            not_destination: true,
            action: Action::Jump(snat),
            ..Spec::default()
        };
        out.push(Change::Insert(POSTROUTING, from_host));
    }
    Ok(())
}

/// The rule towards the pod, and the one that makes it answer to this host.
fn forwarded(family: Family, forward: &Forward) -> Result<(Spec, Spec)> {
    if let Some(ip) = forward.host_ip {
        same(family, ip)?;
    }
    let to_pod = Spec {
        destination: forward
            .host_ip
            .filter(|ip| !ip.is_unspecified())
            .map(Cidr::host),
        port: Some((forward.protocol, forward.host_port)),
        action: Action::Dnat(forward.to, forward.to_port),
        ..Spec::default()
    };
    let from_pod = Spec {
        destination: Some(Cidr::host(forward.to)),
        port: Some((forward.protocol, forward.to_port)),
        action: Action::Masquerade,
        ..Spec::default()
    };
    Ok((to_pod, from_pod))
}

/// `CNI-` and 24 hexadecimal digits.
fn masquerade_chain(address: IpAddr, id: &str) -> String {
    let mut name = String::from("CNI-");
    for byte in Sha512::digest(format!("{address}{id}")) {
        name.push_str(&format!("{byte:02x}"));
    }
    name.truncate(CHAIN_NAME);
    name
}

fn loopback() -> Cidr {
    Cidr {
        ip: Ipv4Addr::new(127, 0, 0, 0).into(),
        len: 8,
    }
}

fn is(family: Family, ip: IpAddr) -> bool {
    ip.is_ipv4() == (family == Family::V4)
}

fn same(family: Family, ip: IpAddr) -> Result<()> {
    match is(family, ip) {
        true => Ok(()),
        false => Err(Fault::invalid(format!(
            "address \"{ip}\" is not of the family of the address that it is forwarded or masqueraded for"
        ))),
    }
}
