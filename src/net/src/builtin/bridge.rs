//! bridge: a veth pair whose host end is a port of a bridge, which is made when
//! it is not there and stays.
//!
//! Pods that start at the same moment may both make the bridge and give it its
//! address; that it is there already is what both wanted.

use super::config::{self, Bridge};
use super::veth::{self, Pair, Want};
use super::{forwarding, host_interface, masquerades, or_free, pod, port};
use crate::address::{from_bits, to_bits};
use crate::attach::{Added, Call};
use crate::netlink::link::{self, Link};
use crate::netlink::{Batch, Socket, addr};
use crate::outcome::{Ip, Outcome};
use crate::{Cidr, Route, ipam};
use model::text::quote;
use model::{Fault, fault::Result};
use rustix::io::Errno;
use std::net::IpAddr;
use std::os::fd::BorrowedFd;

/// Where the attachment is made.
struct Place<'a> {
    netns: BorrowedFd<'a>,
    host: Socket,
    inside: Socket,
    bridge: Link,
}

pub(super) fn add(call: &Call<'_>, netns: BorrowedFd<'_>) -> Result<Added> {
    let conf = config::bridge(call)?;
    if conf.common.ipam_needs_link() {
        let mut place = Place::open(&conf, netns)?;
        let pair = connect(call, &conf, &mut place, &[])?;
        let undo = pair.host.name.clone();
        let done = ipam::add(call).and_then(|granted| {
            let outcome = granted.outcome;
            let mut added = or_free(call, || finish(call, &conf, &mut place, pair, outcome))?;
            added.leases.extend(granted.lease);
            Ok(added)
        });
        return done.inspect_err(|_| veth::delete(&mut place.host, &undo));
    }
    let granted = ipam::add(call)?;
    let mut added = or_free(call, || {
        let mut place = Place::open(&conf, netns)?;
        let pair = connect(call, &conf, &mut place, &granted.outcome.ips)?;
        let undo = pair.host.name.clone();
        finish(call, &conf, &mut place, pair, granted.outcome)
            .inspect_err(|_| veth::delete(&mut place.host, &undo))
    })?;
    added.leases.extend(granted.lease);
    Ok(added)
}

impl<'a> Place<'a> {
    fn open(conf: &Bridge, netns: BorrowedFd<'a>) -> Result<Place<'a>> {
        let mut host = Socket::open()?;
        let bridge = ensure_bridge(conf, &mut host)?;
        Ok(Place {
            netns,
            host,
            inside: Socket::open_in(netns)?,
            bridge,
        })
    }
}

/// The bridge as it is, or as it is after it was made.
fn ensure_bridge(conf: &Bridge, host: &mut Socket) -> Result<Link> {
    let found = match veth::find(host, &conf.name)? {
        Some(link) => link,
        None => make_bridge(conf, host)?,
    };
    if found.kind != "bridge" {
        return Err(Fault::conflict(format!(
            "{} already exists but is not a bridge",
            quote(&conf.name)
        )));
    }
    let mut batch = Batch::new();
    if !found.up {
        link::set_up(&mut batch, found.index);
    }
    if conf.promiscuous && !found.promiscuous {
        link::set_promiscuous(&mut batch, found.index);
    }
    if !batch.is_empty() {
        host.run(&mut batch)?;
    }
    if conf.filters_vlans() && !found.vlan_filtering {
        let mut batch = Batch::new();
        link::set_vlan_filtering(&mut batch, &conf.name);
        host.run(&mut batch).map_err(no_vlans)?;
    }
    Ok(found)
}

fn no_vlans(fault: Fault) -> Fault {
    match veth::is(&fault, Errno::OPNOTSUPP) {
        true => Fault::unsupported("the bridges of this kernel know no VLANs")
            .hint("leave out \"vlan\" and \"vlanTrunk\""),
        false => fault,
    }
}

fn make_bridge(conf: &Bridge, host: &mut Socket) -> Result<Link> {
    let (_, mac, _) = veth::random()?;
    let mut batch = Batch::new();
    let filtering = conf.filters_vlans();
    link::add_bridge(&mut batch, &conf.name, &mac, conf.common.mtu, filtering);
    link::get(&mut batch, &conf.name);
    let mut made = None;
    let mut results = host.exchange(&mut batch, &mut |_, message| made = link::parse(message))?;
    match results.remove(0) {
        Err(fault) if veth::is(&fault, Errno::EXIST) => {}
        Err(fault) if filtering => return Err(no_vlans(fault)),
        Err(fault) => return Err(veth::missing(fault, "bridge")),
        Ok(()) => forwarding::ignore_routers(&conf.name)?,
    }
    results.into_iter().collect::<Result<()>>()?;
    made.ok_or_else(veth::gone)
}

/// The pair, its host end a port of the bridge.
fn connect(call: &Call<'_>, conf: &Bridge, place: &mut Place<'_>, ips: &[Ip]) -> Result<Pair> {
    let want = Want {
        netns: place.netns,
        mac: conf.common.mac.or_else(|| pod::derived_mac(ips)),
        mtu: conf.common.mtu,
        master: Some(place.bridge.index),
        // A pod that asks for its own forwarded port is answered over its own port
        // of the bridge.
        hairpin: conf.hairpin || !call.site.mappings.is_empty(),
    };
    let pair = veth::create(call, &mut place.host, &mut place.inside, &want)?;
    if conf.filters_vlans() {
        let mut vlans = port::vlans(conf, pair.host.index);
        place
            .host
            .run(&mut vlans)
            .inspect_err(|_| veth::delete(&mut place.host, &pair.host.name))?;
    }
    Ok(pair)
}

fn finish(
    call: &Call<'_>,
    conf: &Bridge,
    place: &mut Place<'_>,
    pair: Pair,
    mut outcome: Outcome,
) -> Result<Added> {
    let mut interfaces = vec![
        host_interface(&place.bridge),
        host_interface(&pair.host),
        pod::interface(call, &pair.pod),
    ];
    let mut host_end = None;
    if !conf.common.ipam.is_empty() {
        pod::check(
            call,
            &mut outcome,
            pair.pod.v6 && (place.bridge.v6 || !conf.gateway),
        )?;
        if conf.gateway {
            gateways(&mut outcome, conf.default_gateway)?;
            pod::check(call, &mut outcome, true)?;
        }
        let manner = pod::Manner {
            point_to_point: false,
            probe: conf.probe,
        };
        pod::configure(call, &mut place.inside, &pair.pod, &outcome, manner)?;
        if conf.gateway {
            let (name, vlan) = be_gateway(conf, place, &outcome)?;
            host_end = Some(name);
            interfaces.extend(vlan.as_ref().map(host_interface));
            let (v4, v6) = (outcome.first_v4(), outcome.first_v6());
            forwarding::enable(call.site, v4.is_some(), v6.is_some())?;
        }
    }
    port::await_forwarding(call.site, &mut place.host, &pair.host)?;
    pod::finish(&mut outcome, interfaces, 2, conf.common.dns.as_ref());
    Ok(Added {
        masquerade: match conf.common.masquerade {
            true => masquerades(&outcome.ips),
            false => Vec::new(),
        },
        outcome,
        host_end,
        leases: Vec::new(),
    })
}

/// Each address has a gateway, the first address of its network unless the IPAM
/// said otherwise; and each family a default route, if that is wanted.
fn gateways(outcome: &mut Outcome, default: bool) -> Result<()> {
    for ip in &mut outcome.ips {
        if ip.gateway.is_none() {
            let network = ip.address.network();
            let first = from_bits(to_bits(network.ip) + 1, network.is_v4());
            if !network.contains(first) {
                return Err(Fault::invalid(format!(
                    "{} leaves no address for a gateway",
                    ip.address
                )));
            }
            ip.gateway = Some(first);
        }
        let any = from_bits(0, ip.address.is_v4());
        let whole = Cidr { ip: any, len: 0 };
        if default && !outcome.routes.iter().any(|route| route.dst == whole) {
            outcome.routes.push(Route::to(whole, ip.gateway));
        }
    }
    Ok(())
}

/// Gives the bridge, or its link in the VLAN, the gateways' addresses. Returns
/// the name of what has them, and the link if it is not the bridge.
fn be_gateway(
    conf: &Bridge,
    place: &mut Place<'_>,
    outcome: &Outcome,
) -> Result<(String, Option<Link>)> {
    let vlan = match conf.vlan_gateway() {
        Some(name) => Some(port::vlan_link(
            conf,
            &mut place.host,
            &place.bridge,
            &name,
        )?),
        None => None,
    };
    let link = vlan.as_ref().unwrap_or(&place.bridge);
    let mut wanted: Vec<Cidr> = Vec::new();
    for ip in &outcome.ips {
        let gateway = ip.gateway.map(|gw| Cidr {
            ip: gw,
            len: ip.address.len,
        });
        wanted.extend(gateway.filter(|gateway| !wanted.contains(gateway)));
    }
    let mut list = Batch::new();
    addr::get_all(&mut list, link.index);
    let mut held = place.host.dump(&mut list, addr::parse)?;
    held.retain(|held| held.link == link.index);
    let held: Vec<Cidr> = held.into_iter().map(|held| held.address).collect();
    let mut batch = plan_addresses(conf, link, &held, &wanted)?;
    let results = place.host.exchange(&mut batch, &mut |_, _| {})?;
    for result in results {
        match result {
            // Another pod was faster, with the same.
            Err(fault) if veth::is(&fault, Errno::EXIST) => {}
            Err(fault) if veth::is(&fault, Errno::ADDRNOTAVAIL) => {}
            other => other?,
        }
    }
    Ok((link.name.clone(), vlan))
}

/// Pure: what has to be asked for so that a link that has `held` gets `wanted`.
fn plan_addresses(conf: &Bridge, link: &Link, held: &[Cidr], wanted: &[Cidr]) -> Result<Batch> {
    let mut batch = Batch::new();
    let missing: Vec<&Cidr> = wanted.iter().filter(|one| !held.contains(one)).collect();
    if missing.is_empty() {
        return Ok(batch);
    }
    // A bridge whose address was never set takes one of its ports', and would
    // change it as pods come and go.
    if link.kind == "bridge" {
        link::set_mac(&mut batch, link.index, &link.mac);
    }
    for one in missing {
        for other in held.iter().filter(|other| !wanted.contains(other)) {
            if !in_the_way(one, other) {
                continue;
            }
            if !conf.force_address {
                return Err(Fault::conflict(format!(
                    "{} already has an IP address different from {one}",
                    quote(&link.name)
                ))
                .hint("\"forceAddress\": true replaces it"));
            }
            addr::delete(&mut batch, link.index, *other);
        }
        addr::add(&mut batch, link.index, *one, addr::Manner::default());
    }
    Ok(batch)
}

/// One IPv4 address per bridge; of IPv6 several whose networks are apart.
fn in_the_way(wanted: &Cidr, held: &Cidr) -> bool {
    match (wanted.ip, held.ip) {
        (IpAddr::V4(_), IpAddr::V4(_)) => true,
        (IpAddr::V6(_), IpAddr::V6(_)) => wanted.contains(held.ip) || held.contains(wanted.ip),
        _ => false,
    }
}

#[cfg(test)]
mod tests;
