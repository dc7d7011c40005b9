//! ptp: a veth pair and routes, no bridge. All host ends have the same gateway
//! address as a /32 (/128), and each pod is a route over its own link. In the
//! pod everything goes through that gateway, its own network included.

use super::config::{self, Common};
use super::veth::{self, Pair, Want};
use super::{forwarding, host_interface, masquerades, or_free, pod};
use crate::attach::{Added, Call};
use crate::netlink::route::{self, Over};
use crate::netlink::{Batch, Socket, addr};
use crate::outcome::{Ip, Outcome};
use crate::{Cidr, ipam};
use model::fault::Result;
use std::os::fd::BorrowedFd;

pub(super) fn add(call: &Call<'_>, netns: BorrowedFd<'_>) -> Result<Added> {
    let conf = config::ptp(call)?;
    let granted = ipam::add(call)?;
    let outcome = granted.outcome;
    let mut added = or_free(call, || attach(call, netns, &conf, outcome))?;
    added.leases.extend(granted.lease);
    Ok(added)
}

fn attach(
    call: &Call<'_>,
    netns: BorrowedFd<'_>,
    conf: &Common,
    mut outcome: Outcome,
) -> Result<Added> {
    // Before any link is made: most mistakes show here.
    pod::check(call, &mut outcome, true)?;
    let mut host = Socket::open()?;
    let mut inside = Socket::open_in(netns)?;
    let want = Want {
        netns,
        mac: conf.mac,
        mtu: conf.mtu,
        master: None,
        hairpin: false,
    };
    let pair = veth::create(call, &mut host, &mut inside, &want)?;
    if let Err(fault) = set_up(call, &mut host, &mut inside, &pair, &mut outcome) {
        veth::delete(&mut host, &pair.host.name);
        return Err(fault);
    }
    let interfaces = vec![host_interface(&pair.host), pod::interface(call, &pair.pod)];
    pod::finish(&mut outcome, interfaces, 1, conf.dns.as_ref());
    Ok(Added {
        masquerade: match conf.masquerade {
            true => masquerades(&outcome.ips),
            false => Vec::new(),
        },
        outcome,
        host_end: Some(pair.host.name),
        leases: Vec::new(),
    })
}

fn set_up(
    call: &Call<'_>,
    host: &mut Socket,
    inside: &mut Socket,
    pair: &Pair,
    outcome: &mut Outcome,
) -> Result<()> {
    pod::check(call, outcome, pair.host.v6 && pair.pod.v6)?;
    let manner = pod::Manner {
        point_to_point: true,
        probe: false,
    };
    pod::configure(call, inside, &pair.pod, outcome, manner)?;
    host.run(&mut host_side(pair.host.index, &outcome.ips))?;
    forwarding::check_sources(call.site, &pair.host.name);
    let (v4, v6) = (outcome.first_v4(), outcome.first_v6());
    forwarding::enable(call.site, v4.is_some(), v6.is_some())
}

fn host_side(link: u32, ips: &[Ip]) -> Batch {
    let mut batch = Batch::new();
    let mut gateways: Vec<Cidr> = Vec::new();
    for gateway in ips.iter().filter_map(|ip| ip.gateway).map(Cidr::host) {
        if !gateways.contains(&gateway) {
            gateways.push(gateway);
            addr::add(&mut batch, link, gateway, addr::Manner::default());
        }
    }
    for ip in ips {
        // The address may have been another pod's a moment ago, whose link has not
        // gone yet.
        let to_pod = Over {
            scope: route::SCOPE_HOST,
            replace: true,
            ..Over::plain(link, Cidr::host(ip.address.ip))
        };
        route::add(&mut batch, &to_pod);
    }
    batch
}
