//! The host's side of forwarded ports: they are bound for as long as the pod
//! lives, so that nobody else can have them and one that is taken is refused
//! before the pod starts.
//!
//! Packets for a forwarded port are led to the pod before they reach these
//! sockets, wherever the kernel can do that; what arrives all the same is for
//! `keeper`.

use crate::Protocol;
use model::{Fault, fault::Result};
use rustix::io::Errno;
use rustix::net::{self, AddressFamily, SocketFlags, SocketType, sockopt};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::OwnedFd;

/// Connections that wait to be accepted; the kernel lowers it to `somaxconn`.
const BACKLOG: i32 = 1024;

/// A port of the host that leads to one of the pod, not yet to an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mapping {
    pub name: String,
    pub protocol: Protocol,
    /// None or unspecified: all addresses.
    pub host_ip: Option<IpAddr>,
    pub host_port: u16,
    pub pod_port: u16,
}

/// A bound socket, listening if TCP.
#[derive(Debug)]
pub struct Reserved {
    pub socket: OwnedFd,
    pub protocol: Protocol,
    pub v6: bool,
    pub pod_port: u16,
}

impl Mapping {
    /// The one address of the host, if it is not all of them.
    fn only(&self) -> Option<IpAddr> {
        self.host_ip.filter(|ip| !ip.is_unspecified())
    }

    /// As rkt writes an address that was not given.
    fn shown_ip(&self) -> IpAddr {
        self.host_ip.unwrap_or(Ipv4Addr::UNSPECIFIED.into())
    }
}

/// Binds each in the current network namespace: for all addresses one socket per
/// address family that the host has.
pub fn reserve(mappings: &[Mapping]) -> Result<Vec<Reserved>> {
    refuse_collisions(mappings)?;
    let mut held = Vec::new();
    for mapping in mappings {
        if let Some(ip) = mapping.only() {
            held.push(bind(mapping, ip).map_err(|err| explain(mapping, ip, err))?);
            continue;
        }
        for ip in [Ipv4Addr::UNSPECIFIED.into(), Ipv6Addr::UNSPECIFIED.into()] {
            match bind(mapping, ip) {
                Ok(reserved) => held.push(reserved),
                // A host of one family: `ipv6.disable=1`, or a kernel without.
                Err(Errno::AFNOSUPPORT | Errno::ADDRNOTAVAIL) => {}
                Err(err) => return Err(explain(mapping, ip, err)),
            }
        }
    }
    Ok(held)
}

/// Two ports of the pod on one of the host: the first would get everything.
fn refuse_collisions(mappings: &[Mapping]) -> Result<()> {
    for (at, mapping) in mappings.iter().enumerate() {
        if mapping.host_port == 0 || mapping.pod_port == 0 {
            return Err(Fault::invalid(format!(
                "port \"{}\" cannot be forwarded: 0 is no port",
                mapping.name
            )));
        }
        let meets = |other: &&Mapping| {
            other.protocol == mapping.protocol
                && other.host_port == mapping.host_port
                && match (other.only(), mapping.only()) {
                    (Some(a), Some(b)) => a == b,
                    _ => true,
                }
        };
        if let Some(other) = mappings[..at].iter().find(meets) {
            return Err(Fault::conflict(format!(
                "port {}-{}:{} already mapped to pod port {}",
                mapping.protocol,
                mapping.shown_ip(),
                mapping.host_port,
                other.pod_port
            )));
        }
    }
    Ok(())
}

fn bind(mapping: &Mapping, ip: IpAddr) -> std::result::Result<Reserved, Errno> {
    let (family, v6) = match ip {
        IpAddr::V4(_) => (AddressFamily::INET, false),
        IpAddr::V6(_) => (AddressFamily::INET6, true),
    };
    let kind = match mapping.protocol {
        Protocol::Tcp => SocketType::STREAM,
        Protocol::Udp => SocketType::DGRAM,
    };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = net::socket_with(family, kind, flags, None)?;
    if v6 {
        sockopt::set_ipv6_v6only(&socket, true)?;
    }
    let tcp = mapping.protocol == Protocol::Tcp;
    if tcp {
        // Past connections in TIME_WAIT do not count then, a listener still
        // does. With UDP it would let a second socket take the packets.
        sockopt::set_socket_reuseaddr(&socket, true)?;
    }
    net::bind(&socket, &SocketAddr::new(ip, mapping.host_port))?;
    if tcp {
        net::listen(&socket, BACKLOG)?;
    }
    Ok(Reserved {
        socket,
        protocol: mapping.protocol,
        v6,
        pod_port: mapping.pod_port,
    })
}

fn explain(mapping: &Mapping, ip: IpAddr, err: Errno) -> Fault {
    let port = format!("port {}/{}", mapping.host_port, mapping.protocol);
    match err {
        Errno::ADDRINUSE => Fault::conflict(format!("{port} of the host is taken")).hint(format!(
            "another process or pod uses it; `ss -lnp` shows which, or choose another port for \"{}\"",
            mapping.name
        )),
        Errno::ADDRNOTAVAIL => {
            Fault::invalid(format!("{port}: the host has no address \"{ip}\""))
        }
        // A link-local address means nothing without its interface.
        Errno::INVAL => Fault::invalid(format!("{port}: \"{ip}\" is no address to listen on")),
        Errno::AFNOSUPPORT => {
            Fault::unsupported(format!("{port}: the host has no IPv6 for \"{ip}\""))
        }
        Errno::ACCESS => Fault::refused(format!("{port} of the host is privileged"))
            .hint("it takes root, or a lower net.ipv4.ip_unprivileged_port_start"),
        err => Fault::io("bind", port, err),
    }
}
