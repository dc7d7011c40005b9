//! `Rules` → the changes of the table `nat`, as data. Pure.
//!
//! Chains and rules are rkt's: `CNI-…` per masqueraded address, `RKT-PFWD-DNAT-…`
//! and `RKT-PFWD-SNAT-…` per pod. What is inserted comes before all other rules of
//! its chain, in the order given here. A family that has nothing to do gets
//! no change at all.

use super::layout::CHAIN_NAME;
use super::rule::{Action, Spec};
use crate::rules::{LOOPBACK, LOOPBACK_V6};
use crate::{Cidr, Forward, Masquerade, Rules};
use model::{Fault, fault::Result};
use sha2::{Digest, Sha512};
use std::collections::HashSet;
use std::net::IpAddr;
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

fn masquerade(family: Family, id: &str, rules: &Rules, out: &mut Vec<Change>) -> Result<()> {
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
            destination: Some(masquerade.multicast()),
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
    let forwards = rules.forwards.iter().filter(|f| is(family, f.to));
    for forward in forwards.filter(|f| !f.is_of_loopback()) {
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
    // Not the host's loopback, which has a process of its own to serve it: a
    // frame from anywhere can be addressed to that, and would be led on before
    // the kernel sees how odd it is.
    let to_local = Spec {
        destination: Some(match family {
            Family::V4 => LOOPBACK,
            Family::V6 => LOOPBACK_V6,
        }),
        not_destination: true,
        to_local: true,
        action: Action::Jump(dnat),
        ..Spec::default()
    };
    for hook in ["OUTPUT", "PREROUTING"] {
        out.push(Change::Insert(hook, to_local.clone()));
    }
    for target in rules.targets.iter().filter(|ip| is(family, **ip)) {
        let hairpin = Spec {
            source: Some(Cidr::host(*target)),
            destination: Some(Cidr::host(*target)),
            action: Action::Jump(snat.clone()),
            ..Spec::default()
        };
        out.push(Change::Insert(POSTROUTING, hairpin));
        // Neighbours on a bridge are answered without the host; what they send
        // to the pod directly stays as it is.
        let near = |m: &&Masquerade| m.within.len > 0 && m.within.contains(*target);
        for masquerade in rules.masquerade.iter().filter(near) {
            let neighbours = Spec {
                source: Some(masquerade.within.network()),
                destination: Some(Cidr::host(*target)),
                translated: true,
                action: Action::Jump(snat.clone()),
                ..Spec::default()
            };
            out.push(Change::Insert(POSTROUTING, neighbours));
        }
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
