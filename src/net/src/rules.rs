//! What packets need besides links and routes: masquerading and forwarded
//! ports, as data. `firewall` carries them out.

use crate::Cidr;
use std::fmt;
use std::net::IpAddr;

/// The rules of one pod; all of them are made and removed together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rules {
    pub masquerade: Vec<Masquerade>,
    pub forwards: Vec<Forward>,
    /// The pod's own addresses on the network that ports are forwarded to.
    pub targets: Vec<IpAddr>,
    /// Host ends of the pod's networks. With forwarded ports of IPv4 they let
    /// packets with addresses of 127.0.0.0/8 cross, so that the host reaches the
    /// ports over loopback; what comes in there with such an address is dropped
    /// (CVE-2020-8558). A bridge is guarded for each of its pods, with forwarded
    /// ports or without: what another pod switched on stays on.
    pub guarded: Vec<String>,
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
    /// None: all of the host's addresses of `to`'s family.
    pub host_ip: Option<IpAddr>,
    pub host_port: u16,
    pub to: IpAddr,
    pub to_port: u16,
}

impl Rules {
    pub fn is_empty(&self) -> bool {
        self.masquerade.is_empty() && self.forwards.is_empty() && self.guarded.is_empty()
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
