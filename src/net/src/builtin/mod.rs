//! The built-in plugins: ptp, bridge, macvlan, ipvlan, loopback.
//!
//! A call's configuration is read whole before anything is done. Links for the
//! pod are made in its network namespace and never moved; when a later step
//! fails they are deleted, and addresses that were granted are freed. When all
//! goes well nothing is ever deleted: links die with the namespace.
//!
//! Masquerading is not done here but handed back as data.

mod bridge;
mod child;
mod config;
mod forwarding;
mod pod;
mod port;
mod ptp;
mod veth;

use crate::attach::{Added, Call};
use crate::ipam;
use crate::netlink::{Batch, Socket, link};
use crate::outcome::{Dns, Interface, Ip, Outcome};
use crate::{Cidr, Masquerade};
use model::{Fault, fault::Result};
use std::os::fd::BorrowedFd;

/// The index of `lo` in any network namespace.
const LOOPBACK: u32 = 1;

/// Whether a plugin of this type is built in.
pub fn has(kind: &str) -> bool {
    matches!(kind, "ptp" | "bridge" | "macvlan" | "ipvlan" | "loopback")
}

/// After a failure nothing of it is left but what dies with the namespace.
pub fn add(call: &Call<'_>) -> Result<Added> {
    let netns = call
        .site
        .netns
        .ok_or_else(|| Fault::not_found("the pod's network namespace is gone"))?;
    let mut added = match call.plugin.kind.as_str() {
        "ptp" => ptp::add(call, netns)?,
        "bridge" => bridge::add(call, netns)?,
        "macvlan" | "ipvlan" => child::add(call, netns)?,
        "loopback" => loopback(call, netns)?,
        other => {
            return Err(Fault::unsupported(format!(
                "there is no built-in plugin {}",
                model::text::quote(other)
            )));
        }
    };
    if let Some(previous) = call.previous {
        added.outcome = after(previous, added.outcome);
    }
    Ok(added)
}

/// Reads the plugin's own keys as `add` does, and does nothing; gives the DNS
/// that they name.
pub fn check(call: &Call<'_>) -> Result<Option<Dns>> {
    Ok(match call.plugin.kind.as_str() {
        "ptp" => config::ptp(call)?.dns,
        "bridge" => config::bridge(call)?.common.dns,
        "macvlan" | "ipvlan" => config::child(call)?.common.dns,
        _ => None,
    })
}

/// Frees what outlives the network namespace: addresses.
pub fn del(call: &Call<'_>) -> Result<()> {
    match call.plugin.kind.as_str() {
        "loopback" => Ok(()),
        _ => ipam::del(call),
    }
}

fn loopback(call: &Call<'_>, netns: BorrowedFd<'_>) -> Result<Added> {
    let mut pod = Socket::open_in(netns)?;
    let mut batch = Batch::new();
    link::set_up(&mut batch, LOOPBACK);
    link::get_index(&mut batch, LOOPBACK);
    let lo = veth::ask(&mut pod, &mut batch)?;
    if !lo.loopback {
        return Err(Fault::not_found(
            "the pod's network namespace has no loopback",
        ));
    }
    let ip = |address| Ip {
        address,
        gateway: None,
        interface: Some(0),
    };
    let mut ips = vec![ip(Cidr {
        ip: [127, 0, 0, 1].into(),
        len: 8,
    })];
    if lo.v6 {
        ips.push(ip(Cidr::host(std::net::Ipv6Addr::LOCALHOST.into())));
    }
    Ok(Added {
        outcome: Outcome {
            interfaces: vec![pod::interface(call, &lo)],
            ips,
            ..Outcome::default()
        },
        ..Added::default()
    })
}

/// An interface of the host, for the outcome.
fn host_interface(link: &link::Link) -> Interface {
    Interface {
        name: link.name.clone(),
        mac: link::mac_text(&link.mac),
        ..Interface::default()
    }
}

fn masquerades(ips: &[Ip]) -> Vec<Masquerade> {
    ips.iter()
        .map(|ip| Masquerade {
            address: ip.address.ip,
            within: ip.address.network(),
        })
        .collect()
}

/// Does `work`; when that fails, frees what `ipam::add` granted.
fn or_free<T>(call: &Call<'_>, work: impl FnOnce() -> Result<T>) -> Result<T> {
    work().inspect_err(|_| {
        if let Err(err) = ipam::del(call) {
            call.site
                .note(format!("freeing the addresses of {}: {err}", call.if_name));
        }
    })
}

/// What earlier plugins gave, and then ours.
fn after(previous: &Outcome, ours: Outcome) -> Outcome {
    let mut all = previous.clone();
    let offset = all.interfaces.len();
    all.interfaces.extend(ours.interfaces);
    all.ips.extend(ours.ips.into_iter().map(|ip| Ip {
        interface: ip.interface.map(|index| index + offset),
        ..ip
    }));
    all.routes.extend(ours.routes);
    if !ours.dns.is_empty() {
        all.dns = ours.dns;
    }
    all
}
