//! What is asked of rtnetlink: whether links can be made here, where the host's
//! packets can go, and the pod's addresses.

use super::program::{Families, Program};
use super::{SLIRP_GATEWAY_V6, SLIRP_POD_V6};
use crate::Cidr;
use crate::netlink::route::{self, Over};
use crate::netlink::{Batch, Socket, addr, link};
use model::{Fault, fault::Result};
use rustix::io::Errno;
use std::net::{IpAddr, Ipv6Addr};

/// No link has it.
const NO_LINK: u32 = i32::MAX as u32;

/// The kernel looks at the caller's rights first, and then for the link.
pub(super) fn may_make() -> bool {
    let tried = Socket::open().and_then(|mut socket| {
        let mut batch = Batch::new();
        link::set_up(&mut batch, NO_LINK);
        socket.run(&mut batch)
    });
    matches!(tried, Err(fault) if fault.errno() == Some(Errno::NODEV.raw_os_error()))
}

/// Of a host without any route IPv4 is what a program may still bring up.
pub(super) fn families() -> Result<Families> {
    let mut socket = Socket::open()?;
    let mut leads = |v4| -> Result<bool> {
        let mut batch = Batch::new();
        route::get_all(&mut batch, v4);
        Ok(!socket.dump(&mut batch, route::parse_default)?.is_empty())
    };
    let v6 = leads(false)?;
    let v4 = leads(true)? || !v6;
    Ok(Families { v4, v6 })
}

/// In the pod's network namespace, with the program ready: its addresses. What
/// slirp4netns would have the kernel find out in a second or two, an IPv6 address
/// and route, is said at once.
pub(super) fn settle(program: Program, v6: bool, if_name: &str) -> Result<Vec<Cidr>> {
    let mut socket = Socket::open()?;
    let mut batch = Batch::new();
    link::get(&mut batch, if_name);
    let mut index = None;
    let results = socket.exchange(&mut batch, &mut |_, message| {
        index = link::parse(message).map(|link| link.index).or(index);
    })?;
    results.into_iter().collect::<Result<()>>()?;
    let index = index.ok_or_else(|| Fault::not_found(format!("no link {if_name}")))?;
    if v6 && program == Program::Slirp4netns {
        // Where IPv6 is switched off, the pod has IPv4.
        let _ = add_v6(&mut socket, index);
    }
    let mut batch = Batch::new();
    addr::get_all(&mut batch, index);
    let held = socket.dump(&mut batch, addr::parse)?;
    let of_the_link = held.into_iter().filter(|held| held.link == index);
    Ok(of_the_link
        .map(|held| held.address)
        .filter(|address| !is_link_local(address.ip))
        .collect())
}

fn add_v6(socket: &mut Socket, index: u32) -> Result<()> {
    let everywhere = Cidr {
        ip: Ipv6Addr::UNSPECIFIED.into(),
        len: 0,
    };
    let address = Cidr {
        ip: SLIRP_POD_V6,
        len: 64,
    };
    let mut batch = Batch::new();
    addr::add(&mut batch, index, address, addr::Manner::default());
    let route = Over {
        gw: Some(SLIRP_GATEWAY_V6),
        ..Over::plain(index, everywhere)
    };
    route::add(&mut batch, &route);
    socket.run(&mut batch)
}

fn is_link_local(ip: IpAddr) -> bool {
    matches!(ip, IpAddr::V6(ip) if ip.is_unicast_link_local())
}
