//! The pod's side of an attachment: addresses and routes of its link.
//!
//! In: what the IPAM granted. Out: one batch for the pod's network namespace,
//! and the entries of the outcome. Nothing here asks the kernel anything.

use super::veth;
use crate::attach::Call;
use crate::netlink::link::{self, Link, Mac};
use crate::netlink::route::{self, Over};
use crate::netlink::{Batch, Socket, addr};
use crate::outcome::{Dns, Interface, Ip, Outcome};
use crate::{Cidr, Route};
use model::{Fault, fault::Result};
use rustix::io::Errno;
use std::net::IpAddr;

/// How the pod's link is set up.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Manner {
    /// The network is reached through the gateway alone, as over a cable that
    /// nobody else is at.
    pub(super) point_to_point: bool,
    /// Duplicate address detection.
    pub(super) probe: bool,
}

/// Refuses what no plugin can work with, and sees to it that there are no IPv6
/// addresses where there is no IPv6.
pub(super) fn check(call: &Call<'_>, outcome: &mut Outcome, v6: bool) -> Result<()> {
    if outcome.ips.is_empty() {
        return Err(Fault::invalid("IPAM plugin returned missing IP config"));
    }
    if let Some(ip) = outcome
        .ips
        .iter()
        .find(|ip| ip.gateway == Some(ip.address.ip))
    {
        return Err(Fault::invalid(format!(
            "the pod's address {} is its gateway's as well",
            ip.address.ip
        )));
    }
    if v6 || outcome.first_v6().is_none() {
        return Ok(());
    }
    outcome.ips.retain(|ip| ip.address.is_v4());
    outcome.routes.retain(|route| route.dst.is_v4());
    if outcome.ips.is_empty() {
        return Err(Fault::unsupported(format!(
            "IPv6 is switched off here, and network {} has no IPv4",
            model::text::quote(&call.network.name)
        ))
        .hint("look at net.ipv6.conf.default.disable_ipv6, or give the network IPv4 addresses"));
    }
    call.site.note(format!(
        "network {}: IPv6 is switched off here, so {} has IPv4 alone",
        model::text::quote(&call.network.name),
        call.if_name
    ));
    Ok(())
}

/// Addresses and routes in one send. A route that is there already stays: of
/// several networks the first one's default route wins.
pub(super) fn configure(
    call: &Call<'_>,
    pod: &mut Socket,
    end: &Link,
    outcome: &Outcome,
    manner: Manner,
) -> Result<()> {
    let mut batch = Batch::new();
    let link = end.index;
    for ip in &outcome.ips {
        let manner = addr::Manner {
            probe: manner.probe,
            alone: manner.point_to_point,
        };
        addr::add(&mut batch, link, ip.address, manner);
    }
    if !end.up {
        link::set_up(&mut batch, link);
    }
    if manner.point_to_point {
        through_gateway(&mut batch, link, &outcome.ips)?;
    }
    let configured = batch.len();
    for wanted in &outcome.routes {
        route::add(&mut batch, &over(link, wanted, &outcome.ips));
    }
    // The kernel notices that the cable is plugged in when it is asked.
    link::get_index(&mut batch, link);
    let results = pod.exchange(&mut batch, &mut |_, _| {})?;
    for (index, result) in results.into_iter().enumerate() {
        match result {
            Err(fault) if index >= configured && veth::is(&fault, Errno::EXIST) => {
                call.site.note(format!(
                    "{}: {}: there is such a route, which stays",
                    call.if_name,
                    batch.what(index)
                ));
            }
            other => other.map_err(|fault| fault.link(format!("setting up {}", call.if_name)))?,
        }
    }
    Ok(())
}

/// The gateway over the link, the rest of the network over the gateway. A
/// kernel that makes the network's own route all the same has it replaced.
fn through_gateway(batch: &mut Batch, link: u32, ips: &[Ip]) -> Result<()> {
    let mut seen = Vec::new();
    for ip in ips {
        let gateway = ip.gateway.ok_or_else(|| {
            Fault::invalid(format!("IPAM gave no gateway for {}", ip.address))
                .hint("a point-to-point link needs one: set \"gateway\"")
        })?;
        if !seen.contains(&gateway) {
            seen.push(gateway);
            route::add(
                batch,
                &Over {
                    src: Some(ip.address.ip),
                    ..Over::plain(link, Cidr::host(gateway))
                },
            );
        }
        let network = ip.address.network();
        if network == Cidr::host(ip.address.ip) || seen_network(ips, ip) {
            continue;
        }
        route::add(
            batch,
            &Over {
                gw: Some(gateway),
                src: Some(ip.address.ip),
                scope: route::SCOPE_GLOBAL,
                replace: true,
                ..Over::plain(link, network)
            },
        );
    }
    Ok(())
}

/// Whether an earlier address is of the same network.
fn seen_network(ips: &[Ip], this: &Ip) -> bool {
    ips.iter()
        .take_while(|ip| !std::ptr::eq(*ip, this))
        .any(|ip| ip.address.network() == this.address.network())
}

fn over(link: u32, wanted: &Route, ips: &[Ip]) -> Over {
    let gw = wanted
        .gw
        .or_else(|| gateway(ips, wanted.dst.is_v4()))
        .filter(|gw| !gw.is_unspecified());
    Over {
        gw,
        scope: wanted.scope.unwrap_or(match gw {
            Some(_) => route::SCOPE_GLOBAL,
            None => route::SCOPE_LINK,
        }),
        mtu: wanted.mtu,
        advmss: wanted.advmss,
        priority: wanted.priority,
        table: wanted.table,
        ..Over::plain(link, wanted.dst)
    }
}

/// The first one of that family.
fn gateway(ips: &[Ip], v4: bool) -> Option<IpAddr> {
    ips.iter()
        .filter(|ip| ip.address.is_v4() == v4)
        .find_map(|ip| ip.gateway)
}

/// An interface in the pod, for the outcome.
pub(super) fn interface(call: &Call<'_>, link: &Link) -> Interface {
    Interface {
        name: link.name.clone(),
        mac: link::mac_text(&link.mac),
        sandbox: call.site.netns_path.to_string(),
        mtu: None,
    }
}

/// Fills in the interfaces, of which the pod's is number `pod`.
pub(super) fn finish(
    outcome: &mut Outcome,
    interfaces: Vec<Interface>,
    pod: usize,
    dns: Option<&Dns>,
) {
    outcome.interfaces = interfaces;
    for ip in &mut outcome.ips {
        ip.interface = Some(pod);
    }
    if let Some(dns) = dns {
        outcome.dns = dns.clone();
    }
}

/// A hardware address that goes with the first IP address: who gets an address
/// after another pod has its hardware address, too, and no neighbour's table is
/// ever out of date.
pub(super) fn derived_mac(ips: &[Ip]) -> Option<Mac> {
    let low = match ips.first()?.address.ip {
        IpAddr::V4(ip) => ip.octets(),
        IpAddr::V6(ip) => (ip.to_bits() as u32).to_be_bytes(),
    };
    Some([0x0a, 0x58, low[0], low[1], low[2], low[3]])
}

#[cfg(test)]
mod tests;
