//! macvlan and ipvlan: a link in the pod that shares a master's hardware.
//!
//! The host has no end of it: pod and host do not reach each other this way,
//! and no port of the host can be forwarded over it.

use super::config::{self, Child};
use super::veth;
use super::{masquerades, or_free, pod};
use crate::attach::{Added, Call};
use crate::ipam;
use crate::netlink::link::{self, Link, Mode};
use crate::netlink::{Batch, Socket, route};
use crate::outcome::Outcome;
use model::text::quote;
use model::{Fault, fault::Result};
use rustix::io::Errno;
use std::os::fd::BorrowedFd;

pub(super) fn add(call: &Call<'_>, netns: BorrowedFd<'_>) -> Result<Added> {
    let conf = config::child(call)?;
    if conf.common.ipam_needs_link() {
        let (mut inside, link) = connect(call, netns, &conf)?;
        let done = ipam::add(call).and_then(|granted| {
            let outcome = granted.outcome;
            let mut added = or_free(call, || finish(call, &conf, &mut inside, &link, outcome))?;
            added.leases.extend(granted.lease);
            Ok(added)
        });
        return done.inspect_err(|_| veth::delete(&mut inside, call.if_name));
    }
    let granted = ipam::add(call)?;
    let mut added = or_free(call, || {
        let (mut inside, link) = connect(call, netns, &conf)?;
        finish(call, &conf, &mut inside, &link, granted.outcome)
            .inspect_err(|_| veth::delete(&mut inside, call.if_name))
    })?;
    added.leases.extend(granted.lease);
    Ok(added)
}

/// Makes the link; returns a socket of the pod's and the link.
fn connect(call: &Call<'_>, netns: BorrowedFd<'_>, conf: &Child) -> Result<(Socket, Link)> {
    let mut host = Socket::open()?;
    let master = master(conf, &mut host)?;
    if conf.common.mtu > master.mtu {
        return Err(Fault::invalid(format!(
            "{}: mtu: {} is more than the {} of master {}",
            call.network.origin,
            conf.common.mtu,
            master.mtu,
            quote(&master.name)
        )));
    }
    let mut inside = Socket::open_in(netns)?;
    let mut batch = Batch::new();
    link::add_child(
        &mut batch,
        call.if_name,
        netns,
        master.index,
        conf.mode,
        conf.common.mac.as_ref(),
        conf.common.mtu,
    );
    host.run(&mut batch)
        .map_err(|fault| match veth::is(&fault, Errno::EXIST) {
            true => veth::taken(call),
            false => veth::missing(fault, &call.plugin.kind),
        })?;
    let mut batch = Batch::new();
    if let Mode::Macvlan(_) = conf.mode {
        link::set_arp(&mut batch, call.if_name);
    }
    // Else it comes up when it has its addresses.
    if conf.common.ipam.is_empty() || conf.common.ipam_needs_link() {
        link::set_up_named(&mut batch, call.if_name);
    }
    link::get(&mut batch, call.if_name);
    let found = veth::ask(&mut inside, &mut batch)
        .inspect_err(|_| veth::delete(&mut inside, call.if_name))?;
    Ok((inside, found))
}

fn master(conf: &Child, host: &mut Socket) -> Result<Link> {
    let Some(name) = &conf.master else {
        let index = default_link(host)?;
        let mut batch = Batch::new();
        link::get_index(&mut batch, index);
        return veth::ask(host, &mut batch);
    };
    veth::find(host, name)?.ok_or_else(|| {
        Fault::not_found(format!(
            "failed to lookup master {}: link not found",
            quote(name)
        ))
    })
}

/// The link that the best default route goes over, IPv4 first.
fn default_link(host: &mut Socket) -> Result<u32> {
    for v4 in [true, false] {
        let mut batch = Batch::new();
        route::get_all(&mut batch, v4);
        let mut routes = host.dump(&mut batch, route::parse_default)?;
        routes.sort_by_key(|route| route.priority);
        if let Some(best) = routes.first() {
            return Ok(best.link);
        }
    }
    Err(Fault::not_found("no default route, so no link to be the master").hint("set \"master\""))
}

fn finish(
    call: &Call<'_>,
    conf: &Child,
    inside: &mut Socket,
    link: &Link,
    mut outcome: Outcome,
) -> Result<Added> {
    if !conf.common.ipam.is_empty() {
        pod::check(call, &mut outcome, link.v6)?;
        pod::configure(call, inside, link, &outcome, pod::Manner::default())?;
    }
    let interfaces = vec![pod::interface(call, link)];
    pod::finish(&mut outcome, interfaces, 0, conf.common.dns.as_ref());
    Ok(Added {
        masquerade: match conf.common.masquerade {
            true => masquerades(&outcome.ips),
            false => Vec::new(),
        },
        outcome,
        ..Added::default()
    })
}
