//! What an offer or an acknowledgement grants, checked. Pure.
//!
//! A server that is broken or hostile must not get anything into the pod that
//! a configuration file could not say: addresses are unicast, masks are masks,
//! names are names.

use super::message::{Message, option};
use crate::address::{Cidr, Route};
use crate::{Dns, Ip, Outcome};
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

/// Of each kind of list that a server may give.
const MOST: usize = 64;
/// A lease without end.
const INFINITE: u32 = u32::MAX;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Terms {
    pub(super) address: Cidr,
    pub(super) server: Ipv4Addr,
    /// None: for ever.
    pub(super) times: Option<Times>,
    gateway: Option<Ipv4Addr>,
    routes: Vec<Route>,
    dns: Dns,
    pub(super) mtu: Option<u16>,
}

/// Counted from when the lease was asked for: 0 < renew ≤ rebind ≤ expire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Times {
    /// T1: from then on the server is asked.
    pub renew: Duration,
    /// T2: from then on everyone is.
    pub rebind: Duration,
    pub expire: Duration,
}

impl Terms {
    pub(super) fn read(message: &Message) -> Result<Terms, &'static str> {
        let server = message
            .address(option::SERVER)
            .filter(|ip| usable(*ip))
            .ok_or("the server does not name itself")?;
        let address = read_address(message)?;
        let seconds = message
            .number(option::LEASE_TIME)
            .ok_or("it has no lease time")?;
        if seconds == 0 {
            return Err("its lease time is 0");
        }
        let routers = message.addresses(option::ROUTER).unwrap_or_default();
        let gateway = routers.into_iter().find(|ip| usable(*ip));
        Ok(Terms {
            address,
            server,
            times: (seconds != INFINITE).then(|| read_times(message, seconds)),
            gateway,
            routes: read_routes(message, gateway)?,
            dns: read_dns(message),
            mtu: message
                .get(option::MTU)
                .and_then(|value| Some(u16::from_be_bytes(value.try_into().ok()?))),
        })
    }

    pub(super) fn routes(&self) -> &[Route] {
        &self.routes
    }

    pub(super) fn outcome(&self) -> Outcome {
        Outcome {
            interfaces: Vec::new(),
            ips: vec![Ip {
                address: self.address,
                gateway: self.gateway.map(IpAddr::V4),
                interface: None,
            }],
            routes: self.routes.clone(),
            dns: self.dns.clone(),
        }
    }
}

/// An address that one host can have.
fn usable(ip: Ipv4Addr) -> bool {
    let [first, ..] = ip.octets();
    first != 0 && first != 127 && first < 224
}

fn read_address(message: &Message) -> Result<Cidr, &'static str> {
    let mask = message
        .number(option::MASK)
        .ok_or("it has no subnet mask")?;
    let len = mask.leading_ones();
    if mask.count_ones() != len || len == 0 {
        return Err("its subnet mask is none");
    }
    let ip = IpAddr::V4(message.yiaddr);
    let address = Cidr::new(ip, len as u8).ok_or("its subnet mask is none")?;
    let edge = len < 31 && (ip == address.network().ip || ip == address.last());
    if !usable(message.yiaddr) || edge {
        return Err("its address is none for a host");
    }
    Ok(address)
}

/// A server's own T1 and T2 where they make sense, else the usual parts.
fn read_times(message: &Message, seconds: u32) -> Times {
    let given = |code| {
        let seconds = message.number(code)?;
        Some(Duration::from_secs(seconds.into()))
    };
    let expire = Duration::from_secs(seconds.into());
    let rebind = given(option::REBIND_TIME)
        .filter(|time| !time.is_zero() && *time < expire)
        .unwrap_or(expire * 7 / 8);
    let renew = given(option::RENEW_TIME)
        .filter(|time| !time.is_zero() && *time < rebind)
        .unwrap_or((expire / 2).min(rebind));
    Times {
        renew,
        rebind,
        expire,
    }
}

/// Classless routes stand for all others, the router's too (RFC 3442).
fn read_routes(message: &Message, gateway: Option<Ipv4Addr>) -> Result<Vec<Route>, &'static str> {
    if let Some(value) = message.get(option::ROUTES) {
        let routes = read_classless(&value).ok_or("its routes are malformed")?;
        if !routes.is_empty() {
            return Ok(routes);
        }
    }
    let mut routes = read_classful(&message.addresses(option::STATIC_ROUTES).unwrap_or_default());
    let all = Cidr::new(Ipv4Addr::UNSPECIFIED.into(), 0);
    if let (Some(gateway), Some(all)) = (gateway, all) {
        routes.push(Route::to(all, Some(gateway.into())));
    }
    Ok(routes)
}

fn read_classless(mut rest: &[u8]) -> Option<Vec<Route>> {
    let mut routes = Vec::new();
    while let [len, tail @ ..] = rest {
        let bytes = usize::from(len.div_ceil(8));
        let (network, tail) = tail.split_at_checked(bytes)?;
        let (gateway, tail) = tail.split_first_chunk::<4>()?;
        let mut octets = [0; 4];
        octets.get_mut(..bytes)?.copy_from_slice(network);
        rest = tail;
        let dst = Cidr::new(Ipv4Addr::from(octets).into(), *len)?.network();
        let gateway = Ipv4Addr::from(*gateway);
        // 0.0.0.0: reached without a gateway.
        let gw = (!gateway.is_unspecified()).then_some(gateway);
        let wanted = gw.is_none_or(usable) && routable(dst);
        if wanted && routes.len() < MOST {
            routes.push(Route::to(dst, gw.map(IpAddr::V4)));
        }
    }
    Some(routes)
}

/// Not into loopback or multicast.
fn routable(dst: Cidr) -> bool {
    match dst.ip {
        IpAddr::V4(ip) => dst.len == 0 || usable(ip),
        IpAddr::V6(_) => false,
    }
}

/// Pairs of a network, whose class says its length, and a gateway.
fn read_classful(pairs: &[Ipv4Addr]) -> Vec<Route> {
    let mut routes = Vec::new();
    let (pairs, _) = pairs.as_chunks::<2>();
    for [dst, gateway] in pairs.iter().take(MOST) {
        let len = match dst.octets()[0] {
            0..=127 => 8,
            128..=191 => 16,
            _ => 24,
        };
        if !usable(*dst) || !usable(*gateway) {
            continue;
        }
        // Bits behind the class's length: one host is meant.
        let Some(network) = Cidr::new((*dst).into(), len) else {
            continue;
        };
        let dst = if network.is_network() {
            network
        } else {
            Cidr::host((*dst).into())
        };
        routes.push(Route::to(dst, Some((*gateway).into())));
    }
    routes
}

fn read_dns(message: &Message) -> Dns {
    let servers = message.addresses(option::DNS).unwrap_or_default();
    let domain = message
        .get(option::DOMAIN)
        .and_then(|value| read_name(&value))
        .unwrap_or_default();
    let search = message.get(option::SEARCH).unwrap_or_default();
    Dns {
        // A server may name 127.0.0.1 of itself by mistake; in the pod it
        // would be the pod.
        nameservers: servers
            .into_iter()
            .filter(|ip| usable(*ip))
            .take(MOST)
            .map(|ip| ip.to_string())
            .collect(),
        domain,
        search: read_search(&search).unwrap_or_default(),
        options: Vec::new(),
    }
}

/// A domain name in plain text, as it may stand in `resolv.conf`.
fn read_name(text: &[u8]) -> Option<String> {
    // Some servers end texts with a NUL.
    let text = text.strip_suffix(&[0]).unwrap_or(text);
    let text = text.strip_suffix(b".").unwrap_or(text);
    let whole = text.len() <= 253 && text.split(|byte| *byte == b'.').all(is_label);
    whole.then(|| String::from_utf8_lossy(text).into_owned())
}

fn is_label(label: &[u8]) -> bool {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    (1..=63).contains(&label.len()) && label.iter().all(plain)
}

/// Names in DNS's own form (RFC 3397). A pointer leads only backwards, so the
/// work is bounded; `None` when anything is wrong.
fn read_search(bytes: &[u8]) -> Option<Vec<String>> {
    let mut names = Vec::new();
    let mut at = 0;
    while at < bytes.len() && names.len() < MOST {
        let (name, end) = read_encoded(bytes, at)?;
        names.push(name);
        at = end;
    }
    Some(names)
}

/// The name at `start`, and where the next one begins.
fn read_encoded(bytes: &[u8], start: usize) -> Option<(String, usize)> {
    let mut name = Vec::new();
    let (mut at, mut lowest, mut end) = (start, start, None);
    loop {
        let len = *bytes.get(at)?;
        at += 1;
        match len {
            0 => break,
            1..=63 => {
                let label = bytes.get(at..at + usize::from(len))?;
                at += label.len();
                if !name.is_empty() {
                    name.push(b'.');
                }
                name.extend(label);
                (name.len() <= 253).then_some(())?;
            }
            0xc0.. => {
                let low = *bytes.get(at)?;
                end.get_or_insert(at + 1);
                at = usize::from(len & 0x3f) << 8 | usize::from(low);
                (at < lowest).then_some(())?;
                lowest = at;
            }
            _ => return None,
        }
    }
    Some((read_name(&name)?, end.unwrap_or(at)))
}

#[cfg(test)]
#[path = "terms_tests.rs"]
mod tests;
