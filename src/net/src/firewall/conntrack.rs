//! Forgets the UDP flows that the kernel tracks already when a port of the host
//! begins to be forwarded: NAT looks at a flow's first packet alone, so that a
//! client that was there before would never reach the pod, nor one whose flow
//! still leads to the pod before.
//!
//! Only flows to that port of one of the host's addresses are forgotten, and none
//! over its loopback, which is not forwarded.

use super::nft::message::{self, Family, Reply};
use super::nft::socket;
use crate::netlink::Batch;
use crate::netlink::message::{NLA_F_NESTED, NLM_F_DUMP, find};
use crate::rules::{Forward, Protocol, Rules};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, UdpSocket};
use std::os::fd::BorrowedFd;

const GET: u16 = message::CTNETLINK + 1;
const DELETE: u16 = message::CTNETLINK + 2;

const TUPLE_ORIGINAL: u16 = 1;
const ID: u16 = 12;
const ZONE: u16 = 18;
const FILTER: u16 = 25;
const TUPLE_IP: u16 = 1;
const TUPLE_PROTOCOL: u16 = 2;
const PROTOCOL_NUMBER: u16 = 1;
const PROTOCOL_DESTINATION: u16 = 3;
const UDP: u8 = 17;
/// How many are asked to be deleted at once.
const AT_ONCE: usize = 256;

/// One tracked flow, as far as it is needed to delete it.
#[derive(Debug, PartialEq, Eq)]
struct Flow {
    to: IpAddr,
    port: u16,
    /// Attributes that name it, as the kernel wrote them.
    original: Vec<u8>,
    id: Option<Vec<u8>>,
    zone: Option<Vec<u8>>,
}

/// Where none of the forwards is for UDP, nothing is asked.
pub fn flush(rules: &Rules) -> io::Result<()> {
    let udp = |family: Family| -> Vec<&Forward> {
        let forwards = rules.forwards.iter();
        forwards
            .filter(|f| f.protocol == Protocol::Udp)
            .filter(|f| f.to.is_ipv4() == (family == Family::V4))
            .collect()
    };
    for family in [Family::V4, Family::V6] {
        let forwards = udp(family);
        if !forwards.is_empty() {
            flush_family(family, &forwards)?;
        }
    }
    Ok(())
}

fn flush_family(family: Family, forwards: &[&Forward]) -> io::Result<()> {
    let fd = socket::open()?;
    let fd = std::os::fd::AsFd::as_fd(&fd);
    let mut batch = Batch::new();
    dump(&mut batch, family);
    let mut stale = Vec::new();
    let mut failed = 0;
    socket::exchange(fd, &mut batch, |reply| match reply {
        Reply::Data { attributes, .. } => {
            let found = flow(attributes).filter(|flow| meant(flow, forwards));
            stale.extend(found);
        }
        Reply::Status { errno, .. } => failed = errno,
        Reply::Done => {}
    })?;
    if failed != 0 {
        return Err(io::Error::from_raw_os_error(failed));
    }
    stale.retain(|flow| is_local(flow.to));
    delete(fd, family, &stale)
}

/// Where the UDP flows lead to that a datagram of a dump tells of. Pure.
pub fn destinations(datagram: &[u8]) -> Vec<(IpAddr, u16)> {
    let flows = message::replies(datagram).filter_map(|reply| match reply {
        Reply::Data { attributes, .. } => flow(attributes),
        Reply::Status { .. } | Reply::Done => None,
    });
    flows.map(|flow| (flow.to, flow.port)).collect()
}

fn meant(flow: &Flow, forwards: &[&Forward]) -> bool {
    forwards.iter().any(|forward| {
        let ip = forward.host_ip.filter(|ip| !ip.is_unspecified());
        !flow.to.is_loopback()
            && forward.host_port == flow.port
            && ip.is_none_or(|ip| ip == flow.to)
    })
}

/// An address can be bound when it is the host's.
fn is_local(ip: IpAddr) -> bool {
    UdpSocket::bind((ip, 0)).is_ok()
}

/// All flows of UDP; before Linux 5.8 the filter is not looked at, so `flow`
/// does it again.
fn dump(batch: &mut Batch, family: Family) {
    const ORIGINAL_FLAGS: u16 = 1;
    const BY_PROTOCOL: u32 = 1 << 3;
    message::start(batch, GET, NLM_F_DUMP, family);
    let tuple = message::nest(batch, TUPLE_ORIGINAL);
    let protocol = message::nest(batch, TUPLE_PROTOCOL);
    batch.attr(PROTOCOL_NUMBER, &[UDP]);
    batch.end(protocol);
    batch.end(tuple);
    let filter = message::nest(batch, FILTER);
    batch.attr(ORIGINAL_FLAGS, &BY_PROTOCOL.to_ne_bytes());
    batch.end(filter);
}

/// None when it is not of UDP, or damaged.
fn flow(attributes: &[u8]) -> Option<Flow> {
    let original = find(attributes, &[TUPLE_ORIGINAL])?;
    let protocol = find(original, &[TUPLE_PROTOCOL])?;
    if find(protocol, &[PROTOCOL_NUMBER])? != [UDP] {
        return None;
    }
    let port = find(protocol, &[PROTOCOL_DESTINATION])?.try_into().ok()?;
    Some(Flow {
        to: destination(find(original, &[TUPLE_IP])?)?,
        port: u16::from_be_bytes(port),
        original: original.to_vec(),
        id: find(attributes, &[ID]).map(<[u8]>::to_vec),
        zone: find(attributes, &[ZONE]).map(<[u8]>::to_vec),
    })
}

fn destination(addresses: &[u8]) -> Option<IpAddr> {
    const V4: u16 = 2;
    const V6: u16 = 4;
    if let Some(bytes) = find(addresses, &[V4]) {
        let octets: [u8; 4] = bytes.try_into().ok()?;
        return Some(Ipv4Addr::from(octets).into());
    }
    let octets: [u8; 16] = find(addresses, &[V6])?.try_into().ok()?;
    Some(Ipv6Addr::from(octets).into())
}

/// One that has ended meanwhile is what was wanted.
fn delete(fd: BorrowedFd<'_>, family: Family, flows: &[Flow]) -> io::Result<()> {
    let mut batch = Batch::new();
    for flow in flows {
        message::start(&mut batch, DELETE, 0, family);
        batch.attr(TUPLE_ORIGINAL | NLA_F_NESTED, &flow.original);
        for (kind, value) in [(ID, &flow.id), (ZONE, &flow.zone)] {
            if let Some(value) = value {
                batch.attr(kind, value);
            }
        }
        if batch.len() >= AT_ONCE {
            socket::exchange(fd, &mut std::mem::take(&mut batch), |_| ())?;
        }
    }
    if batch.is_empty() {
        return Ok(());
    }
    socket::exchange(fd, &mut batch, |_| ())
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    /// Attributes of a flow, as the kernel dumps them.
    fn dumped(to: IpAddr, protocol: u8, port: u16) -> Vec<u8> {
        let mut batch = Batch::new();
        let tuple = message::nest(&mut batch, TUPLE_ORIGINAL);
        let ip = message::nest(&mut batch, TUPLE_IP);
        match to {
            IpAddr::V4(ip) => batch.attr(2, &ip.octets()),
            IpAddr::V6(ip) => batch.attr(4, &ip.octets()),
        }
        batch.end(ip);
        let nest = message::nest(&mut batch, TUPLE_PROTOCOL);
        batch.attr(PROTOCOL_NUMBER, &[protocol]);
        batch.attr(PROTOCOL_DESTINATION, &port.to_be_bytes());
        batch.end(nest);
        batch.end(tuple);
        batch.attr(ID, &[1, 2, 3, 4]);
        batch.number(0).unwrap().to_vec()
    }

    #[test]
    fn only_flows_of_udp_to_the_forwarded_port_and_address_are_meant() {
        let forward = Forward {
            protocol: Protocol::Udp,
            host_ip: Some("10.0.0.1".parse().unwrap()),
            host_port: 53,
            to: "10.9.0.2".parse().unwrap(),
            to_port: 5353,
        };
        let ip: IpAddr = "10.0.0.1".parse().unwrap();
        let found = flow(&dumped(ip, UDP, 53)).unwrap();
        assert_eq!((found.to, found.port), (ip, 53));
        assert_eq!(found.id.as_deref(), Some(&[1, 2, 3, 4][..]));
        assert!(meant(&found, &[&forward]));
        assert!(!meant(&flow(&dumped(ip, UDP, 54)).unwrap(), &[&forward]));
        let other = flow(&dumped("10.0.0.2".parse().unwrap(), UDP, 53)).unwrap();
        assert!(!meant(&other, &[&forward]));
        let everywhere = Forward {
            host_ip: Some("0.0.0.0".parse().unwrap()),
            ..forward
        };
        assert!(meant(&other, &[&everywhere]));
        let own = flow(&dumped("127.0.0.1".parse().unwrap(), UDP, 53)).unwrap();
        assert!(!meant(&own, &[&everywhere]));
        assert_eq!(flow(&dumped(ip, 6, 53)), None);
        let six: IpAddr = "fd00::1".parse().unwrap();
        assert_eq!(flow(&dumped(six, UDP, 53)).unwrap().to, six);
    }

    #[test]
    fn damaged_flows_are_none() {
        let whole = dumped("10.0.0.1".parse().unwrap(), UDP, 53);
        for cut in 0..whole.len() - 8 {
            assert_eq!(flow(&whole[..cut]), None, "{cut}");
        }
    }
}
