//! A veth pair: one end on the host under a random name, one in the pod.
//!
//! Both ends are made by one request, where they belong.

use super::forwarding;
use crate::attach::Call;
use crate::netlink::link::{self, Link, Mac, Veth};
use crate::netlink::{Batch, Socket};
use model::text::quote;
use model::{Fault, fault::Result};
use rustix::io::Errno;
use std::os::fd::BorrowedFd;

/// Random names of 32 bits that meet so often in a row do not exist.
const TRIES: usize = 16;

#[derive(Debug)]
pub(super) struct Pair {
    pub(super) host: Link,
    pub(super) pod: Link,
}

/// What a pair is to be like.
#[derive(Clone, Copy, Debug)]
pub(super) struct Want<'a> {
    pub(super) netns: BorrowedFd<'a>,
    pub(super) mac: Option<Mac>,
    pub(super) mtu: u32,
    /// The host end becomes a port of this bridge.
    pub(super) master: Option<u32>,
    pub(super) hairpin: bool,
}

pub(super) fn create(
    call: &Call<'_>,
    host: &mut Socket,
    pod: &mut Socket,
    want: &Want<'_>,
) -> Result<Pair> {
    for _ in 0..TRIES {
        let (name, mac, peer_mac) = random()?;
        let mut batch = Batch::new();
        link::add_veth(
            &mut batch,
            &Veth {
                name: &name,
                mac,
                peer: call.if_name,
                peer_mac: want.mac.unwrap_or(peer_mac),
                peer_netns: Some(want.netns),
                mtu: want.mtu,
                master: want.master,
            },
        );
        if want.hairpin {
            link::set_hairpin(&mut batch, &name);
        }
        link::get(&mut batch, &name);
        let mut end = None;
        let mut results =
            host.exchange(&mut batch, &mut |_, message| end = link::parse(message))?;
        match results.remove(0) {
            Err(fault) if is(&fault, Errno::EXIST) => {
                // Which of the two names is taken the kernel does not say.
                if find(pod, call.if_name)?.is_some() {
                    return Err(taken(call));
                }
                continue;
            }
            other => other.map_err(|fault| missing(fault, "veth"))?,
        }
        let made = results
            .into_iter()
            .collect::<Result<()>>()
            .and_then(|()| match want.master {
                // A port hands everything to its bridge.
                Some(_) => Ok(()),
                None => forwarding::ignore_routers(&name),
            })
            .and_then(|()| bring_up(call, host, pod, end.ok_or_else(gone)?));
        return made.inspect_err(|_| delete(host, &name));
    }
    Err(Fault::conflict("no name is free for a veth link"))
}

/// The pod's end, then the host's. To be asked about a link makes the kernel
/// take note of its cable at once (Linux 6.8; before, a moment later): done
/// while an end is down this is nothing, done while only one is up it waits for
/// a grace period, done in the end packets pass.
fn bring_up(call: &Call<'_>, host: &mut Socket, pod: &mut Socket, end: Link) -> Result<Pair> {
    let mut batch = Batch::new();
    link::get(&mut batch, call.if_name);
    link::set_up_named(&mut batch, call.if_name);
    let inside = ask(pod, &mut batch)?;
    let mut batch = Batch::new();
    link::set_up(&mut batch, end.index);
    link::get_index(&mut batch, end.index);
    Ok(Pair {
        host: ask(host, &mut batch)?,
        pod: Link { up: true, ..inside },
    })
}

/// Runs the batch, in which one request asks about a link.
pub(super) fn ask(socket: &mut Socket, batch: &mut Batch) -> Result<Link> {
    let mut found = None;
    let results = socket.exchange(batch, &mut |_, message| found = link::parse(message))?;
    results.into_iter().collect::<Result<()>>()?;
    found.ok_or_else(gone)
}

/// The link of that name, if there is one.
pub(super) fn find(socket: &mut Socket, name: &str) -> Result<Option<Link>> {
    let mut batch = Batch::new();
    link::get(&mut batch, name);
    let mut found = None;
    let mut results =
        socket.exchange(&mut batch, &mut |_, message| found = link::parse(message))?;
    match results.remove(0) {
        Err(fault) if is(&fault, Errno::NODEV) => Ok(None),
        Err(fault) => Err(fault),
        Ok(()) => Ok(found),
    }
}

/// On the way out of a failure, which is what the caller returns.
pub(super) fn delete(socket: &mut Socket, name: &str) {
    let mut batch = Batch::new();
    link::delete(&mut batch, name);
    let _ = socket.run(&mut batch);
}

pub(super) fn is(fault: &Fault, errno: Errno) -> bool {
    fault.errno() == Some(errno.raw_os_error())
}

/// `operation not supported` of a request for a link is about its kind.
pub(super) fn missing(fault: Fault, kind: &str) -> Fault {
    match is(&fault, Errno::OPNOTSUPP) {
        true => Fault::unsupported(format!("this kernel has no {kind}"))
            .hint(format!("load its module: modprobe {kind}")),
        false => fault,
    }
}

pub(super) fn taken(call: &Call<'_>) -> Fault {
    Fault::conflict(format!(
        "interface {} already exists in the pod's network namespace",
        quote(call.if_name)
    ))
}

pub(super) fn gone() -> Fault {
    Fault::not_found("a link that was just made is gone")
}

/// `veth` with 8 hex digits, and two hardware addresses of local making.
pub(super) fn random() -> Result<(String, Mac, Mac)> {
    let mut bytes = [0; 16];
    let filled = rustix::rand::getrandom(&mut bytes[..], rustix::rand::GetRandomFlags::empty())
        .map_err(|err| Fault::io("read", "random bytes", err))?;
    debug_assert_eq!(filled, bytes.len(), "up to 256 bytes come whole");
    let name = u32::from_ne_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
    let mac = |from: usize| {
        let mut mac = [0; 6];
        mac.copy_from_slice(&bytes[from..from + 6]);
        mac[0] = mac[0] & 0xfc | 2;
        mac
    };
    Ok((format!("veth{name:08x}"), mac(4), mac(10)))
}
