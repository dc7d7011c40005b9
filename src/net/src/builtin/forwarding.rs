//! Makes the host pass packets on between its links.
//!
//! Written to `/proc/sys/net`, and only when it is off: some hosts have these
//! files read-only. Switching IPv6 forwarding on makes a host stop listening to
//! router advertisements, by which it may have its own default route; so links
//! that have such a route are first told to go on listening.

use crate::attach::Site;
use crate::netlink::message::Batch;
use crate::netlink::{Socket, link, route};
use model::{Fault, fault::Result};
use std::fs;

const V4: &str = "/proc/sys/net/ipv4/ip_forward";
const V6: &str = "/proc/sys/net/ipv6/conf/all/forwarding";
const V4_CONF: &str = "/proc/sys/net/ipv4/conf";
const V6_CONF: &str = "/proc/sys/net/ipv6/conf";

pub(super) fn enable(site: &Site<'_>, v4: bool, v6: bool) -> Result<()> {
    if v4 && !holds(V4, "1") {
        write(V4, "1")?;
    }
    if v6 && !holds(V6, "1") {
        match keep_listening(site).and_then(|()| write(V6, "1")) {
            // IPv6 comes on top where nobody may have asked for it.
            Err(fault) if v4 => site.note(format!("IPv6 is not forwarded: {fault}")),
            other => return other,
        }
    }
    Ok(())
}

/// Only where a router has been heard: on any other link the host would begin to
/// believe whoever is behind it, which may be somebody's container.
fn keep_listening(site: &Site<'_>) -> Result<()> {
    let mut host = Socket::open()?;
    let mut batch = Batch::new();
    route::get_all(&mut batch, false);
    let mut heard = host.dump(&mut batch, route::parse_advertised)?;
    heard.sort_unstable();
    heard.dedup();
    for index in heard {
        let mut batch = Batch::new();
        link::get_index(&mut batch, index);
        let mut name = None;
        // A link that has gone in the meantime holds nothing.
        host.exchange(&mut batch, &mut |_, message| {
            name = name
                .take()
                .or_else(|| link::parse(message).map(|link| link.name));
        })?;
        let Some(name) = name else {
            continue;
        };
        let path = format!("{V6_CONF}/{name}/accept_ra");
        if holds(&path, "1") {
            write(&path, "2")?;
            site.note(format!(
                "IPv6 forwarding is switched on; accept_ra of {name} is raised to 2, so that its router is still heard"
            ));
        }
    }
    Ok(())
}

/// A link of the host that leads to pods is no place to learn routes from: a
/// router advertisement of a pod could draw the host's traffic to itself.
pub(super) fn ignore_routers(link: &str) -> Result<()> {
    let path = format!("{V6_CONF}/{link}/accept_ra");
    match fs::write(&path, "0") {
        Err(err) if err.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(_) if holds(&path, "0") => Ok(()),
        other => other.map_err(|err| Fault::io("write", &path, err)),
    }
}

/// Nobody at the other end sends in another's name. Not everywhere there is this
/// switch to be written, and without it all else works.
pub(super) fn check_sources(site: &Site<'_>, link: &str) {
    let path = format!("{V4_CONF}/{link}/rp_filter");
    if let Err(err) = fs::write(&path, "1") {
        site.note(format!("sources of packets are not checked: {path}: {err}"));
    }
}

fn holds(path: &str, value: &str) -> bool {
    fs::read_to_string(path).is_ok_and(|text| text.trim_end() == value)
}

fn write(path: &str, value: &str) -> Result<()> {
    fs::write(path, value).map_err(|err| {
        Fault::io("write", path, err).hint(format!("set {path} to {value} on this host"))
    })
}
