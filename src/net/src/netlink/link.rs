//! Links: what rtnetlink is asked to make of them, and what it tells.
//!
//! A link for a pod is created in the pod's network namespace at once and up:
//! moving one there, or deleting it later, waits for the kernel's grace periods.

use super::message::{
    self, Batch, NLA_F_NESTED, NLM_F_CREATE, NLM_F_EXCL, Received, attributes, find, u32_at,
};
use model::text::quote;
use std::os::fd::{AsRawFd, BorrowedFd};

/// A hardware address of Ethernet.
pub type Mac = [u8; 6];

const RTM_NEWLINK: u16 = 16;
const RTM_DELLINK: u16 = 17;
const RTM_GETLINK: u16 = 18;
const RTM_SETLINK: u16 = 19;

const AF_INET: u16 = 2;
const AF_BRIDGE: u8 = 7;
const AF_INET6: u16 = 10;

const IFF_UP: u32 = 1;
const IFF_LOOPBACK: u32 = 8;
const IFF_PROMISC: u32 = 0x100;

const IFLA_ADDRESS: u16 = 1;
const IFLA_IFNAME: u16 = 3;
const IFLA_MTU: u16 = 4;
const IFLA_LINK: u16 = 5;
const IFLA_MASTER: u16 = 10;
const IFLA_LINKINFO: u16 = 18;
const IFLA_AF_SPEC: u16 = 26;
const IFLA_NET_NS_FD: u16 = 28;
const IFLA_EXT_MASK: u16 = 29;
const IFLA_NUM_TX_QUEUES: u16 = 31;
const IFLA_NUM_RX_QUEUES: u16 = 32;

const IFLA_INFO_KIND: u16 = 1;
const IFLA_INFO_DATA: u16 = 2;
const IFLA_INFO_SLAVE_KIND: u16 = 4;
const IFLA_INFO_SLAVE_DATA: u16 = 5;

const VETH_INFO_PEER: u16 = 1;
const IFLA_BR_VLAN_FILTERING: u16 = 7;
const IFLA_BRPORT_STATE: u16 = 1;
const IFLA_BRPORT_MODE: u16 = 4;
const IFLA_BRIDGE_VLAN_INFO: u16 = 2;
const IFLA_INET_CONF: u16 = 1;
const IFLA_INET6_CONF: u16 = 2;
/// The mode's attribute has the same number for macvlan and ipvlan.
const IFLA_MODE: u16 = 1;

const IPV4_DEVCONF_PROXY_ARP: u16 = 3;
const IPV4_DEVCONF_ARP_NOTIFY: u16 = 22;
const DEVCONF_DISABLE_IPV6: usize = 26;
const RTEXT_FILTER_SKIP_STATS: u32 = 8;

/// As the kernel tells of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Link {
    pub index: u32,
    pub name: String,
    /// Empty for one that has no address.
    pub mac: Vec<u8>,
    pub mtu: u32,
    pub up: bool,
    pub promiscuous: bool,
    pub loopback: bool,
    /// `bridge`, `veth`, …; empty for hardware.
    pub kind: String,
    /// It takes IPv6 addresses.
    pub v6: bool,
    /// Of a bridge.
    pub vlan_filtering: bool,
    /// Of a bridge's port: 0 disabled, 1 listening, 2 learning, 3 forwarding, 4 blocking.
    pub port_state: Option<u8>,
}

/// A pair, both ends down: the kernel cannot bring the peer up before this end
/// is there, and an end that is up without its peer costs a grace period.
#[derive(Clone, Copy, Debug)]
pub struct Veth<'a> {
    pub name: &'a str,
    pub mac: Mac,
    pub peer: &'a str,
    pub peer_mac: Mac,
    /// None: this namespace as well.
    pub peer_netns: Option<BorrowedFd<'a>>,
    /// 0 is the kernel's own choice.
    pub mtu: u32,
    /// Index of the bridge that this end becomes a port of.
    pub master: Option<u32>,
}

pub fn add_veth(batch: &mut Batch, veth: &Veth<'_>) {
    create(batch, veth.name);
    common(batch, veth.name, Some(&veth.mac), veth.mtu);
    one_queue(batch);
    if let Some(master) = veth.master {
        batch.u32(IFLA_MASTER, master);
    }
    let info = batch.nest(IFLA_LINKINFO);
    batch.text(IFLA_INFO_KIND, "veth");
    let data = batch.nest(IFLA_INFO_DATA);
    let peer = batch.nest(VETH_INFO_PEER);
    batch.fixed(&header(0, 0, 0, 0));
    common(batch, veth.peer, Some(&veth.peer_mac), veth.mtu);
    one_queue(batch);
    if let Some(netns) = veth.peer_netns {
        batch.u32(IFLA_NET_NS_FD, netns.as_raw_fd().cast_unsigned());
    }
    batch.end(peer);
    batch.end(data);
    batch.end(info);
}

/// Otherwise the kernel makes one per processor, then goes back to one, which
/// takes it a grace period per end.
fn one_queue(batch: &mut Batch) {
    batch.u32(IFLA_NUM_TX_QUEUES, 1);
    batch.u32(IFLA_NUM_RX_QUEUES, 1);
}

/// A bridge, down. Its address is set, so it does not follow that of its ports.
pub fn add_bridge(batch: &mut Batch, name: &str, mac: &Mac, mtu: u32, vlan_filtering: bool) {
    create(batch, name);
    common(batch, name, Some(mac), mtu);
    let info = batch.nest(IFLA_LINKINFO);
    batch.text(IFLA_INFO_KIND, "bridge");
    if vlan_filtering {
        let data = batch.nest(IFLA_INFO_DATA);
        batch.u8(IFLA_BR_VLAN_FILTERING, 1);
        batch.end(data);
    }
    batch.end(info);
}

/// What shares a master's hardware under addresses of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    Macvlan(u32),
    Ipvlan(u16),
}

/// In the pod's network namespace, down.
pub fn add_child(
    batch: &mut Batch,
    name: &str,
    netns: BorrowedFd<'_>,
    master: u32,
    mode: Mode,
    mac: Option<&Mac>,
    mtu: u32,
) {
    create(batch, name);
    common(batch, name, mac, mtu);
    batch.u32(IFLA_LINK, master);
    batch.u32(IFLA_NET_NS_FD, netns.as_raw_fd().cast_unsigned());
    let info = batch.nest(IFLA_LINKINFO);
    match mode {
        Mode::Macvlan(mode) => {
            batch.text(IFLA_INFO_KIND, "macvlan");
            let data = batch.nest(IFLA_INFO_DATA);
            batch.u32(IFLA_MODE, mode);
            batch.end(data);
        }
        Mode::Ipvlan(mode) => {
            batch.text(IFLA_INFO_KIND, "ipvlan");
            let data = batch.nest(IFLA_INFO_DATA);
            batch.u16(IFLA_MODE, mode);
            batch.end(data);
        }
    }
    batch.end(info);
}

pub fn get(batch: &mut Batch, name: &str) {
    batch.request(RTM_GETLINK, 0, format!("find link {}", quote(name)));
    batch.fixed(&header(0, 0, 0, 0));
    batch.text(IFLA_IFNAME, name);
    batch.u32(IFLA_EXT_MASK, RTEXT_FILTER_SKIP_STATS);
}

pub fn get_index(batch: &mut Batch, index: u32) {
    batch.request(RTM_GETLINK, 0, format!("find link {index}"));
    batch.fixed(&header(0, index, 0, 0));
    batch.u32(IFLA_EXT_MASK, RTEXT_FILTER_SKIP_STATS);
}

pub fn delete(batch: &mut Batch, name: &str) {
    batch.request(RTM_DELLINK, 0, format!("delete link {}", quote(name)));
    batch.fixed(&header(0, 0, 0, 0));
    batch.text(IFLA_IFNAME, name);
}

pub fn set_up(batch: &mut Batch, index: u32) {
    batch.request(RTM_SETLINK, 0, format!("bring up link {index}"));
    batch.fixed(&header(0, index, IFF_UP, IFF_UP));
}

/// Of a link that was made in this very batch, so that its index is not known.
pub fn set_up_named(batch: &mut Batch, name: &str) {
    let what = format!("bring up link {}", quote(name));
    batch.request(RTM_SETLINK, 0, what);
    batch.fixed(&header(0, 0, IFF_UP, IFF_UP));
    batch.text(IFLA_IFNAME, name);
}

pub fn set_promiscuous(batch: &mut Batch, index: u32) {
    batch.request(RTM_SETLINK, 0, format!("make link {index} promiscuous"));
    batch.fixed(&header(0, index, IFF_PROMISC, IFF_PROMISC));
}

pub fn set_mac(batch: &mut Batch, index: u32, mac: &[u8]) {
    batch.request(RTM_SETLINK, 0, format!("set the address of link {index}"));
    batch.fixed(&header(0, index, 0, 0));
    batch.attr(IFLA_ADDRESS, mac);
}

/// `proxy_arp` and `arp_notify` of `net.ipv4.conf.<link>`, without files of /proc:
/// it answers for others, and announces the addresses it has when it comes up.
pub fn set_arp(batch: &mut Batch, name: &str) {
    let what = format!("set proxy_arp and arp_notify of link {}", quote(name));
    batch.request(RTM_SETLINK, 0, what);
    batch.fixed(&header(0, 0, 0, 0));
    batch.text(IFLA_IFNAME, name);
    let spec = batch.nest(IFLA_AF_SPEC);
    let inet = batch.nest(AF_INET);
    let conf = batch.nest(IFLA_INET_CONF);
    batch.u32(IPV4_DEVCONF_PROXY_ARP, 1);
    batch.u32(IPV4_DEVCONF_ARP_NOTIFY, 1);
    batch.end(conf);
    batch.end(inet);
    batch.end(spec);
}

/// A port sends back to where a packet came from.
pub fn set_hairpin(batch: &mut Batch, name: &str) {
    batch.request(
        RTM_NEWLINK,
        0,
        format!("set hairpin mode of link {}", quote(name)),
    );
    batch.fixed(&header(0, 0, 0, 0));
    batch.text(IFLA_IFNAME, name);
    let info = batch.nest(IFLA_LINKINFO);
    batch.text(IFLA_INFO_SLAVE_KIND, "bridge");
    let data = batch.nest(IFLA_INFO_SLAVE_DATA);
    batch.u8(IFLA_BRPORT_MODE, 1);
    batch.end(data);
    batch.end(info);
}

pub fn set_vlan_filtering(batch: &mut Batch, name: &str) {
    batch.request(
        RTM_NEWLINK,
        0,
        format!("filter VLANs on bridge {}", quote(name)),
    );
    batch.fixed(&header(0, 0, 0, 0));
    batch.text(IFLA_IFNAME, name);
    let info = batch.nest(IFLA_LINKINFO);
    batch.text(IFLA_INFO_KIND, "bridge");
    let data = batch.nest(IFLA_INFO_DATA);
    batch.u8(IFLA_BR_VLAN_FILTERING, 1);
    batch.end(data);
    batch.end(info);
}

/// What a bridge's port does with the VLANs of one range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Vlan {
    /// Untagged packets belong to it.
    Access(u16),
    /// Tagged packets pass: the first and the last.
    Trunk(u16, u16),
}

pub fn add_vlan(batch: &mut Batch, port: u32, vlan: Vlan) {
    const PVID_UNTAGGED: u16 = 2 | 4;
    const RANGE_BEGIN: u16 = 8;
    const RANGE_END: u16 = 16;
    match vlan {
        Vlan::Access(id) => vlans(batch, RTM_SETLINK, port, &[(PVID_UNTAGGED, id)]),
        Vlan::Trunk(first, last) if first == last => vlans(batch, RTM_SETLINK, port, &[(0, first)]),
        Vlan::Trunk(first, last) => vlans(
            batch,
            RTM_SETLINK,
            port,
            &[(RANGE_BEGIN, first), (RANGE_END, last)],
        ),
    }
}

pub fn delete_vlan(batch: &mut Batch, port: u32, id: u16) {
    vlans(batch, RTM_DELLINK, port, &[(0, id)]);
}

fn vlans(batch: &mut Batch, kind: u16, port: u32, infos: &[(u16, u16)]) {
    batch.request(kind, 0, format!("set the VLANs of bridge port {port}"));
    let mut head = header(0, port, 0, 0);
    head[0] = AF_BRIDGE;
    batch.fixed(&head);
    let spec = batch.nest(IFLA_AF_SPEC | NLA_F_NESTED);
    for (flags, id) in infos {
        let mut info = [0; 4];
        info[..2].copy_from_slice(&flags.to_ne_bytes());
        info[2..].copy_from_slice(&id.to_ne_bytes());
        batch.attr(IFLA_BRIDGE_VLAN_INFO, &info);
    }
    batch.end(spec);
}

/// A message about a link; None for any other.
pub fn parse(message: &Received<'_>) -> Option<Link> {
    if message.kind != RTM_NEWLINK {
        return None;
    }
    let flags = u32_at(message.body, 8)?;
    let rest = message.body.get(16..)?;
    let mut link = Link {
        index: u32_at(message.body, 4)?,
        up: flags & IFF_UP != 0,
        promiscuous: flags & IFF_PROMISC != 0,
        loopback: flags & IFF_LOOPBACK != 0,
        ..Link::default()
    };
    for one in attributes(rest) {
        match one.kind {
            IFLA_IFNAME => link.name = one.text(),
            IFLA_ADDRESS => link.mac = one.value.to_vec(),
            IFLA_MTU => link.mtu = one.u32()?,
            IFLA_LINKINFO => about(&mut link, one.value),
            IFLA_AF_SPEC => link.v6 = takes_v6(one.value),
            _ => {}
        }
    }
    Some(link)
}

fn about(link: &mut Link, info: &[u8]) {
    let kind = find(info, &[IFLA_INFO_KIND]);
    link.kind = kind.map(message::text).unwrap_or_default();
    let filtering = find(info, &[IFLA_INFO_DATA, IFLA_BR_VLAN_FILTERING])
        .is_some_and(|value| value.first() == Some(&1));
    link.vlan_filtering = link.kind == "bridge" && filtering;
    let is_port =
        find(info, &[IFLA_INFO_SLAVE_KIND]).is_some_and(|kind| message::text(kind) == "bridge");
    let state = find(info, &[IFLA_INFO_SLAVE_DATA, IFLA_BRPORT_STATE]).filter(|_| is_port);
    link.port_state = state.and_then(|value| value.first().copied());
}

fn takes_v6(spec: &[u8]) -> bool {
    find(spec, &[AF_INET6, IFLA_INET6_CONF])
        .and_then(|conf| u32_at(conf, DEVCONF_DISABLE_IPV6 * 4))
        .is_some_and(|disabled| disabled == 0)
}

/// `22:93:a0:74:f0:34`
pub fn mac_text(mac: &[u8]) -> String {
    let parts: Vec<String> = mac.iter().map(|byte| format!("{byte:02x}")).collect();
    parts.join(":")
}

fn create(batch: &mut Batch, name: &str) {
    let what = format!("create link {}", quote(name));
    batch.request(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, what);
    batch.fixed(&header(0, 0, 0, 0));
}

fn common(batch: &mut Batch, name: &str, mac: Option<&Mac>, mtu: u32) {
    batch.text(IFLA_IFNAME, name);
    if let Some(mac) = mac {
        batch.attr(IFLA_ADDRESS, mac);
    }
    if mtu != 0 {
        batch.u32(IFLA_MTU, mtu);
    }
}

/// `struct ifinfomsg`
fn header(kind: u16, index: u32, flags: u32, change: u32) -> [u8; 16] {
    let mut head = [0; 16];
    head[2..4].copy_from_slice(&kind.to_ne_bytes());
    head[4..8].copy_from_slice(&index.to_ne_bytes());
    head[8..12].copy_from_slice(&flags.to_ne_bytes());
    head[12..].copy_from_slice(&change.to_ne_bytes());
    head
}
