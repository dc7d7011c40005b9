//! Addresses with their prefixes, and routes.

use model::{Fault, fault::Result};
use std::fmt;
use std::net::IpAddr;

/// An address and the length of its network's prefix: `10.1.0.5/16`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Cidr {
    pub ip: IpAddr,
    pub len: u8,
}

/// A route in the pod; without a gateway the network's own is meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// A network: no bit of the host part is set.
    pub dst: Cidr,
    pub gw: Option<IpAddr>,
    pub mtu: Option<u32>,
    /// Segment size that is advertised to the other end.
    pub advmss: Option<u32>,
    /// The lower one wins.
    pub priority: Option<u32>,
    /// None is the main table.
    pub table: Option<u32>,
    /// 0 global, 253 link, 254 host.
    pub scope: Option<u8>,
}

impl Route {
    pub fn to(dst: Cidr, gw: Option<IpAddr>) -> Route {
        Route {
            dst,
            gw,
            mtu: None,
            advmss: None,
            priority: None,
            table: None,
            scope: None,
        }
    }
}

impl Cidr {
    /// `None` when the length is too large for the family.
    pub fn new(ip: IpAddr, len: u8) -> Option<Cidr> {
        (len <= width(ip)).then_some(Cidr { ip, len })
    }

    /// The address alone: /32 or /128.
    pub fn host(ip: IpAddr) -> Cidr {
        Cidr { ip, len: width(ip) }
    }

    /// Strict: decimal, no spaces, no leading zeros, a length that fits.
    pub fn parse(text: &str) -> Result<Cidr> {
        let bad = || Fault::invalid(format!("invalid CIDR address: {text}"));
        let (ip, len) = text.split_once('/').ok_or_else(bad)?;
        let plain = !len.is_empty()
            && len.bytes().all(|byte| byte.is_ascii_digit())
            && (len == "0" || !len.starts_with('0'));
        let len = len.parse().ok().filter(|_| plain).ok_or_else(bad)?;
        Cidr::new(ip.parse().map_err(|_| bad())?, len).ok_or_else(bad)
    }

    pub fn is_v4(&self) -> bool {
        self.ip.is_ipv4()
    }

    /// With all host bits zero.
    pub fn network(&self) -> Cidr {
        let bits = to_bits(self.ip) & self.mask_bits();
        Cidr {
            ip: from_bits(bits, self.is_v4()),
            len: self.len,
        }
    }

    pub fn is_network(&self) -> bool {
        self.network() == *self
    }

    /// The highest address: of IPv4 the broadcast address.
    pub fn last(&self) -> IpAddr {
        let all = if self.is_v4() {
            u128::from(u32::MAX)
        } else {
            u128::MAX
        };
        from_bits(to_bits(self.ip) | (all & !self.mask_bits()), self.is_v4())
    }

    pub fn contains(&self, ip: IpAddr) -> bool {
        self.is_v4() == ip.is_ipv4()
            && to_bits(ip) & self.mask_bits() == to_bits(self.ip) & self.mask_bits()
    }

    /// `255.255.255.0`, `ffff:ffff:ffff:ffff::`.
    pub fn mask(&self) -> IpAddr {
        from_bits(self.mask_bits(), self.is_v4())
    }

    fn mask_bits(&self) -> u128 {
        let width = u32::from(width(self.ip));
        let host = width - u32::from(self.len);
        let all = if self.is_v4() {
            u128::from(u32::MAX)
        } else {
            u128::MAX
        };
        match all.checked_shr(host) {
            None => 0,
            Some(ones) => ones << host,
        }
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.ip, self.len)
    }
}

fn width(ip: IpAddr) -> u8 {
    if ip.is_ipv4() { 32 } else { 128 }
}

/// The address as a number, for counting through a range.
pub fn to_bits(ip: IpAddr) -> u128 {
    match ip {
        IpAddr::V4(ip) => u128::from(ip.to_bits()),
        IpAddr::V6(ip) => ip.to_bits(),
    }
}

/// The other way; of an IPv4 address the low 32 bits count.
pub fn from_bits(bits: u128, v4: bool) -> IpAddr {
    if v4 {
        IpAddr::V4((bits as u32).into())
    } else {
        IpAddr::V6(bits.into())
    }
}

/// Four or sixteen bytes, in the order of the network.
pub(crate) fn octets(ip: IpAddr) -> Vec<u8> {
    match ip {
        IpAddr::V4(ip) => ip.octets().to_vec(),
        IpAddr::V6(ip) => ip.octets().to_vec(),
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn networks_masks_and_ends() {
        let cases = [
            (
                "172.16.28.13/24",
                "172.16.28.0/24",
                "172.16.28.255",
                "255.255.255.0",
            ),
            ("10.1.2.3/0", "0.0.0.0/0", "255.255.255.255", "0.0.0.0"),
            ("10.1.2.3/32", "10.1.2.3/32", "10.1.2.3", "255.255.255.255"),
            (
                "fd00::5/64",
                "fd00::/64",
                "fd00::ffff:ffff:ffff:ffff",
                "ffff:ffff:ffff:ffff::",
            ),
            (
                "fd00::5/0",
                "::/0",
                "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
                "::",
            ),
        ];
        for (text, network, last, mask) in cases {
            let cidr = Cidr::parse(text).unwrap();
            assert_eq!(cidr.to_string(), text);
            assert_eq!(cidr.network().to_string(), network);
            assert_eq!(cidr.last().to_string(), last);
            assert_eq!(cidr.mask().to_string(), mask);
            assert!(cidr.network().contains(cidr.ip) && cidr.contains(cidr.last()));
        }
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for text in [
            "",
            "1.2.3.4",
            "1.2.3.4/33",
            "1.2.3.4/+8",
            "1.2.3.4/08",
            "::1/129",
            "1.2.3/8",
            "a/8",
            "1.2.3.4/ 8",
        ] {
            assert!(Cidr::parse(text).is_err(), "{text}");
        }
    }
}
