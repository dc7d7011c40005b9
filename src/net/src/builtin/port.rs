//! A bridge's port: its VLANs, and whether packets pass.
//!
//! Of the port itself nothing is kept: it goes with its pod. What the host has
//! in a VLAN, a link of its own, stays with the bridge.

use super::config::Bridge;
use super::{forwarding, veth};
use crate::attach::Site;
use crate::netlink::link::{self, Link, Veth, Vlan};
use crate::netlink::{Batch, Socket};
use model::text::quote;
use model::{Fault, fault::Result};
use rustix::io::Errno;
use std::time::Duration;

/// The VLAN that a bridge puts new ports into by itself.
const DEFAULT_VLAN: u16 = 1;
const DISABLED: u8 = 0;

/// The VLANs of a new port.
pub(super) fn vlans(conf: &Bridge, port: u32) -> Batch {
    let mut batch = Batch::new();
    if !conf.keep_default_vlan {
        link::delete_vlan(&mut batch, port, DEFAULT_VLAN);
    }
    for vlan in &conf.trunk {
        link::add_vlan(&mut batch, port, *vlan);
    }
    // Last: the pod's own VLAN is untagged, also when it is in a range.
    if conf.vlan != 0 {
        link::add_vlan(&mut batch, port, Vlan::Access(conf.vlan));
    }
    batch
}

/// The host's own link in the pods' VLAN, `cni0.100`: one end of a pair whose
/// other end is a port like the pods'.
pub(super) fn vlan_link(
    conf: &Bridge,
    host: &mut Socket,
    bridge: &Link,
    name: &str,
) -> Result<Link> {
    if let Some(link) = veth::find(host, name)? {
        return Ok(link);
    }
    let (port, mac, peer_mac) = veth::random()?;
    let mut batch = Batch::new();
    link::add_veth(
        &mut batch,
        &Veth {
            name: &port,
            mac,
            peer: name,
            peer_mac,
            peer_netns: None,
            mtu: bridge.mtu,
            master: Some(bridge.index),
        },
    );
    link::get(&mut batch, &port);
    match veth::ask(host, &mut batch) {
        // Another pod was faster.
        Err(fault) if veth::is(&fault, Errno::EXIST) => {}
        Err(fault) => return Err(fault),
        Ok(end) => {
            let access = Bridge {
                trunk: Vec::new(),
                ..conf.clone()
            };
            let mut batch = vlans(&access, end.index);
            link::set_up_named(&mut batch, name);
            link::set_up(&mut batch, end.index);
            forwarding::ignore_routers(name)
                .and_then(|()| host.run(&mut batch))
                .inspect_err(|_| veth::delete(host, &port))?;
        }
    }
    veth::find(host, name)?
        .ok_or_else(|| Fault::conflict(format!("link {} cannot be made and found", quote(name))))
}

/// A port passes packets once the kernel has noticed that its cable is plugged
/// in. Recent kernels see to that when they are asked about the link, others
/// soon after. A bridge with a spanning tree first listens for a while; that is
/// its admin's wish.
pub(super) fn await_forwarding(site: &Site<'_>, host: &mut Socket, port: &Link) -> Result<()> {
    let mut state = port.port_state;
    let mut pause = Duration::from_micros(250);
    while state == Some(DISABLED) && pause < Duration::from_secs(1) {
        std::thread::sleep(pause);
        pause *= 2;
        let mut batch = Batch::new();
        link::get_index(&mut batch, port.index);
        state = veth::ask(host, &mut batch)?.port_state;
    }
    if state == Some(DISABLED) {
        site.note(format!(
            "bridge port {} does not pass packets yet",
            quote(&port.name)
        ));
    }
    Ok(())
}
