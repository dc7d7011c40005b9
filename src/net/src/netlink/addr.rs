//! Addresses of links: asked for, listed, read.
//!
//! IPv6 addresses come without duplicate address detection unless it is asked
//! for, so that an app can bind them at once.

use super::message::{Batch, NLM_F_CREATE, NLM_F_DUMP, NLM_F_EXCL, Received, attributes, u32_at};
use crate::Cidr;
use crate::address::octets;
use std::net::IpAddr;

const RTM_NEWADDR: u16 = 20;
const RTM_DELADDR: u16 = 21;
const RTM_GETADDR: u16 = 22;

const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
const IFA_BROADCAST: u16 = 4;
const IFA_FLAGS: u16 = 8;

const IFA_F_NODAD: u32 = 2;
/// IPv6 Linux 3.14, IPv4 4.18; older ones make the route all the same.
const IFA_F_NOPREFIXROUTE: u32 = 0x200;

/// An address that a link has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Held {
    pub link: u32,
    pub address: Cidr,
}

/// What comes with an address.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Manner {
    /// IPv6: other hosts are asked first whether one has it, for a second.
    pub probe: bool,
    /// No route to its network by itself.
    pub alone: bool,
}

pub fn add(batch: &mut Batch, link: u32, address: Cidr, manner: Manner) {
    let what = format!("add address {address}");
    batch.request(RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL, what);
    body(batch, link, address);
    let mut flags = 0;
    if !address.is_v4() && !manner.probe {
        flags |= IFA_F_NODAD;
    }
    if manner.alone {
        flags |= IFA_F_NOPREFIXROUTE;
    }
    if address.is_v4() && address.len < 31 {
        bytes(batch, IFA_BROADCAST, address.last());
    }
    if flags != 0 {
        batch.u32(IFA_FLAGS, flags);
    }
}

pub fn delete(batch: &mut Batch, link: u32, address: Cidr) {
    batch.request(RTM_DELADDR, 0, format!("delete address {address}"));
    body(batch, link, address);
}

/// The addresses of one link; before Linux 4.20 those of all links come.
pub fn get_all(batch: &mut Batch, link: u32) {
    batch.request(RTM_GETADDR, NLM_F_DUMP, "list addresses");
    batch.fixed(&header(0, 0, link));
}

fn body(batch: &mut Batch, link: u32, address: Cidr) {
    let family = if address.is_v4() { 2 } else { 10 };
    batch.fixed(&header(family, address.len, link));
    bytes(batch, IFA_LOCAL, address.ip);
    bytes(batch, IFA_ADDRESS, address.ip);
}

/// A message about an address; None for any other.
pub fn parse(message: &Received<'_>) -> Option<Held> {
    if message.kind != RTM_NEWADDR {
        return None;
    }
    let len = *message.body.get(1)?;
    let rest = message.body.get(8..)?;
    let named = |kind| attributes(rest).find(|one| one.kind == kind);
    // On a link of two ends ADDRESS is the other one's.
    let ip = ip(named(IFA_LOCAL).or_else(|| named(IFA_ADDRESS))?.value)?;
    Some(Held {
        link: u32_at(message.body, 4)?,
        address: Cidr::new(ip, len)?,
    })
}

/// Four or sixteen bytes.
pub(super) fn ip(bytes: &[u8]) -> Option<IpAddr> {
    match bytes.len() {
        4 => <[u8; 4]>::try_from(bytes).ok().map(IpAddr::from),
        16 => <[u8; 16]>::try_from(bytes).ok().map(IpAddr::from),
        _ => None,
    }
}

pub(super) fn bytes(batch: &mut Batch, kind: u16, ip: IpAddr) {
    batch.attr(kind, &octets(ip));
}

/// `struct ifaddrmsg`
fn header(family: u8, len: u8, link: u32) -> [u8; 8] {
    let mut head = [family, len, 0, 0, 0, 0, 0, 0];
    head[4..].copy_from_slice(&link.to_ne_bytes());
    head
}
