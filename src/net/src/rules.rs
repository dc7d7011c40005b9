//! What packets need besides links and routes: masquerading and forwarded
//! ports, as data. `firewall` carries them out.

use crate::Cidr;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// What the host keeps for itself. No rule leads packets for these to a pod: a
/// neighbour on any of the host's links can send some, too.
pub(crate) const LOOPBACK: Cidr = Cidr {
    ip: IpAddr::V4(Ipv4Addr::new(127, 0, 0, 0)),
    len: 8,
};
pub(crate) const LOOPBACK_V6: Cidr = Cidr {
    ip: IpAddr::V6(Ipv6Addr::LOCALHOST),
    len: 128,
};

/// The rules of one pod; all of them are made and removed together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rules {
    pub masquerade: Vec<Masquerade>,
    pub forwards: Vec<Forward>,
    /// The pod's own addresses on the network that ports are forwarded to.
    pub targets: Vec<IpAddr>,
}

/// What leaves the network gets the host's address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Masquerade {
    pub address: IpAddr,
    /// Not on the way to here, nor to multicast.
    pub within: Cidr,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    Tcp,
    Udp,
}

/// One port of the host, of one address family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Forward {
    pub protocol: Protocol,
    /// None: all of the host's addresses of `to`'s family but its loopback.
    pub host_ip: Option<IpAddr>,
    pub host_port: u16,
    pub to: IpAddr,
    pub to_port: u16,
}

impl Rules {
    pub fn is_empty(&self) -> bool {
        self.masquerade.is_empty() && self.forwards.is_empty()
    }
}

impl Forward {
    /// Whether it is left to a process.
    pub(crate) fn is_of_loopback(&self) -> bool {
        self.host_ip.is_some_and(|ip| ip.is_loopback())
    }
}

impl Masquerade {
    /// Multicast of its family.
    pub(crate) fn multicast(&self) -> Cidr {
        match self.address {
            IpAddr::V4(_) => Cidr {
                ip: Ipv4Addr::new(224, 0, 0, 0).into(),
                len: 4,
            },
            IpAddr::V6(_) => Cidr {
                ip: Ipv6Addr::new(0xff00, 0, 0, 0, 0, 0, 0, 0).into(),
                len: 8,
            },
        }
    }
}

impl Protocol {
    /// In the header of IP.
    pub(crate) fn number(self) -> u8 {
        match self {
            Protocol::Tcp => 6,
            Protocol::Udp => 17,
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Protocol::Tcp => "tcp",
            Protocol::Udp => "udp",
        })
    }
}
