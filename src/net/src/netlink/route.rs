//! Routes: asked for, listed, read.
//!
//! What a pod needs over its one link; and which link the host's own default
//! route goes over.

use super::addr::bytes;
use super::message::{
    Batch, NLM_F_CREATE, NLM_F_DUMP, NLM_F_EXCL, NLM_F_REPLACE, Received, find, u32_at,
};
use crate::Cidr;
use std::net::IpAddr;

const RTM_NEWROUTE: u16 = 24;
const RTM_GETROUTE: u16 = 26;

const RTA_DST: u16 = 1;
const RTA_OIF: u16 = 4;
const RTA_GATEWAY: u16 = 5;
const RTA_PRIORITY: u16 = 6;
const RTA_PREFSRC: u16 = 7;
const RTA_METRICS: u16 = 8;
const RTA_MULTIPATH: u16 = 9;
const RTA_TABLE: u16 = 15;
const RTAX_MTU: u16 = 2;
const RTAX_ADVMSS: u16 = 8;

const RTN_UNICAST: u8 = 1;
const RTPROT_BOOT: u8 = 3;
const RT_TABLE_MAIN: u32 = 254;

pub const SCOPE_GLOBAL: u8 = 0;
pub const SCOPE_LINK: u8 = 253;
pub const SCOPE_HOST: u8 = 254;

/// A route over a link.
#[derive(Clone, Copy, Debug)]
pub struct Over {
    pub link: u32,
    pub dst: Cidr,
    pub gw: Option<IpAddr>,
    /// The address that is sent from when the sender has not chosen one.
    pub src: Option<IpAddr>,
    pub scope: u8,
    pub mtu: Option<u32>,
    pub advmss: Option<u32>,
    pub priority: Option<u32>,
    pub table: Option<u32>,
    /// Takes the place of one to the same network.
    pub replace: bool,
}

impl Over {
    /// In the main table, the kernel's own metrics, of link scope.
    pub fn plain(link: u32, dst: Cidr) -> Over {
        Over {
            link,
            dst,
            gw: None,
            src: None,
            scope: SCOPE_LINK,
            mtu: None,
            advmss: None,
            priority: None,
            table: None,
            replace: false,
        }
    }
}

pub fn add(batch: &mut Batch, route: &Over) {
    let mode = match route.replace {
        true => NLM_F_REPLACE,
        false => NLM_F_EXCL,
    };
    let what = match route.gw {
        Some(gw) => format!("add route {} via {gw}", route.dst),
        None => format!("add route {}", route.dst),
    };
    batch.request(RTM_NEWROUTE, NLM_F_CREATE | mode, what);
    let table = route.table.unwrap_or(RT_TABLE_MAIN);
    let mut head = header(route.dst.is_v4());
    head[1] = route.dst.len;
    // Numbers above 255 stand in the attribute alone; 252 says so.
    head[4] = u8::try_from(table).unwrap_or(252);
    head[5] = RTPROT_BOOT;
    head[6] = match route.dst.is_v4() {
        true => route.scope,
        false => SCOPE_GLOBAL,
    };
    head[7] = RTN_UNICAST;
    batch.fixed(&head);
    if route.dst.len > 0 {
        bytes(batch, RTA_DST, route.dst.ip);
    }
    if table > 255 {
        batch.u32(RTA_TABLE, table);
    }
    if let Some(gw) = route.gw {
        bytes(batch, RTA_GATEWAY, gw);
    }
    if let Some(src) = route.src {
        bytes(batch, RTA_PREFSRC, src);
    }
    batch.u32(RTA_OIF, route.link);
    if let Some(priority) = route.priority {
        batch.u32(RTA_PRIORITY, priority);
    }
    if route.mtu.is_some() || route.advmss.is_some() {
        let metrics = batch.nest(RTA_METRICS);
        for (kind, value) in [(RTAX_MTU, route.mtu), (RTAX_ADVMSS, route.advmss)] {
            if let Some(value) = value {
                batch.u32(kind, value);
            }
        }
        batch.end(metrics);
    }
}

/// All routes of a family.
pub fn get_all(batch: &mut Batch, v4: bool) {
    batch.request(RTM_GETROUTE, NLM_F_DUMP, "list routes");
    batch.fixed(&header(v4));
}

/// A default route of the main table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Default {
    pub link: u32,
    pub priority: u32,
}

/// Of any other message, and of other routes, None.
pub fn parse_default(message: &Received<'_>) -> Option<Default> {
    let head = message.body.get(..12)?;
    let rest = message.body.get(12..)?;
    if message.kind != RTM_NEWROUTE || head[1] != 0 || head[7] != RTN_UNICAST {
        return None;
    }
    let number = |kind| find(rest, &[kind]).and_then(|value| u32_at(value, 0));
    if number(RTA_TABLE).unwrap_or_else(|| u32::from(head[4])) != RT_TABLE_MAIN {
        return None;
    }
    // Of several next hops the first: length, flags and hops stand before its link.
    let first_hop = || find(rest, &[RTA_MULTIPATH]).and_then(|hops| u32_at(hops, 4));
    Some(Default {
        link: number(RTA_OIF).or_else(first_hop)?,
        priority: number(RTA_PRIORITY).unwrap_or(0),
    })
}

/// The link of a route that a router advertisement has brought.
pub fn parse_advertised(message: &Received<'_>) -> Option<u32> {
    const RTPROT_RA: u8 = 9;
    let head = message.body.get(..12)?;
    if message.kind != RTM_NEWROUTE || head[5] != RTPROT_RA {
        return None;
    }
    find(message.body.get(12..)?, &[RTA_OIF]).and_then(|value| u32_at(value, 0))
}

/// `struct rtmsg`
fn header(v4: bool) -> [u8; 12] {
    let mut head = [0; 12];
    head[0] = if v4 { 2 } else { 10 };
    head
}
