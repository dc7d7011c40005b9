//! The IPAM `dhcp`: a DHCP client of our own, no daemon.
//!
//! `add` gets a lease for an interface that exists, `tenant` renews it for as
//! long as the pod lives, `del` gives it back. `message` and `frame` are the
//! bytes, `terms` what of a server's answer is believed, `client` the protocol;
//! all of these are pure. `device` is the interface with its sockets.

mod client;
mod device;
mod frame;
mod message;
mod tenant;
mod terms;
mod text;

use crate::attach::{Call, LOOK, interrupted};
use crate::{Cidr, Outcome, ipam::Granted};
use client::{Client, Ear, Held, News, Task, To};
use device::{BUFFER, Device, Line};
use model::fault::{Kind, Result};
use model::{Fault, Value};
use std::net::Ipv4Addr;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;
pub(crate) use tenant::Tenant;
pub use terms::Times;

/// How long a lease is given back at most.
const GOODBYE: Duration = Duration::from_secs(1);
/// A client ID's text; its type takes the option's last byte.
const LONGEST_ID: usize = 254;

/// A granted lease, all that renewing it takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    pub if_name: String,
    /// Option 61, its type in front.
    pub client_id: Vec<u8>,
    pub server: Ipv4Addr,
    pub address: Cidr,
    /// When it was asked for, by CLOCK_BOOTTIME.
    pub since: Duration,
    /// None: for ever.
    pub times: Option<Times>,
}

/// Asks for an address, for as long as the site's patience lasts. The interface
/// is brought up, and not changed otherwise.
pub fn add(call: &Call<'_>) -> Result<Granted> {
    note_unread(call);
    let netns = call.site.netns.ok_or_else(|| {
        Fault::invalid(format!(
            "dhcp: network \"{}\" has no network namespace",
            call.network.name
        ))
    })?;
    let (device, line) = visit(netns, call.if_name, Ear::Packet)?;
    device.settle(line.socket.as_fd());
    let (terms, held) = acquire(&device, &line, client_id(call), call.site.patience)?;
    if let Some(mtu) = terms.mtu {
        let name = call.if_name;
        call.site
            .note(format!("dhcp: the server has an MTU of {mtu} for {name}"));
    }
    Ok(Granted {
        outcome: terms.outcome(),
        lease: Some(Lease {
            if_name: call.if_name.into(),
            client_id: client_id(call),
            server: held.server,
            address: held.address,
            since: held.since,
            times: held.times,
        }),
    })
}

/// Gives the address back while the interface is still there. Best effort: a
/// lease ends by itself.
pub fn del(call: &Call<'_>) -> Result<()> {
    if let Some(netns) = call.site.netns
        && let Err(fault) = release(netns, call.if_name, client_id(call))
    {
        let name = call.if_name;
        call.site
            .note(format!("dhcp: the lease of {name} runs out: {fault}"));
    }
    Ok(())
}

/// What an answer grants, and for how long (None: for ever). `packet` is what a
/// packet socket gave, headers included. Pure.
pub fn decode(packet: &[u8]) -> std::result::Result<(Outcome, Option<Times>), &'static str> {
    let message = frame::unwrap(packet).ok_or("it is no packet for a DHCP client")?;
    let terms = terms::Terms::read(&message::Message::parse(message)?)?;
    Ok((terms.outcome(), terms.times))
}

/// Settings of the CNI program of the same name that have no meaning here.
fn note_unread(call: &Call<'_>) {
    let ipam = call.plugin.object.get("ipam").and_then(Value::as_object);
    for key in ipam.into_iter().flat_map(|ipam| ipam.keys()) {
        if key != "type" {
            call.site
                .note(format!("dhcp: \"{key}\" of ipam is not used"));
        }
    }
}

/// The same as the CNI program's, so that a server knows the pod again.
fn client_id(call: &Call<'_>) -> Vec<u8> {
    let text = format!("{}/{}/{}", call.site.id, call.network.name, call.if_name);
    let mut id = vec![0];
    id.extend(text.bytes().take(LONGEST_ID));
    id
}

fn visit(netns: BorrowedFd<'_>, if_name: &str, ear: Ear) -> Result<(Device, Line)> {
    sys::ns::within_net(netns, || {
        let device = Device::open(if_name)?;
        let line = device.listen(ear)?;
        Ok((device, line))
    })
    .map_err(|err| Fault::io("join", "network namespace", err))?
}

fn acquire(
    device: &Device,
    line: &Line,
    id: Vec<u8>,
    patience: Duration,
) -> Result<(terms::Terms, Held)> {
    let end = now() + patience;
    let mut client = Client::new(device.mac, id, random, now());
    let mut unsent = None;
    let mut buffer = [0; BUFFER];
    loop {
        let time = now();
        if time >= end {
            return Err(no_answer(device, &client, unsent, patience));
        }
        if interrupted() {
            return Err(Fault::refused(
                "interrupted while waiting for a DHCP server",
            ));
        }
        if let Task::Send(message, to) = client.tick(time) {
            unsent = device.send(line, &message, to).err();
        }
        while let Some(bytes) = line.receive(&mut buffer) {
            match client.receive(now(), bytes) {
                News::Granted(terms, held) => return Ok((*terms, held)),
                _ if now() >= end => break,
                _ => {}
            }
        }
        let next = client.due().map_or(end, |due| due.min(end));
        line.wait(next.saturating_sub(now()).min(LOOK));
    }
}

fn no_answer(
    device: &Device,
    client: &Client,
    unsent: Option<std::io::Error>,
    patience: Duration,
) -> Fault {
    let name = &device.name;
    let why = match (client.complaint(), unsent) {
        (Some(complaint), _) => format!(": {complaint}"),
        (None, Some(err)) => format!(": {}", model::fault::errno_text(&err)),
        (None, None) => String::new(),
    };
    let text = format!(
        "no DHCP server gave {name} an address within {} s{why}",
        patience.as_secs_f32()
    );
    Fault::new(Kind::TimedOut, text).hint("is there one on the network of the interface's master?")
}

/// Asks who the server is, since nothing is kept of the lease, then tells it.
fn release(netns: BorrowedFd<'_>, if_name: &str, id: Vec<u8>) -> Result<()> {
    let (mut device, line) = visit(netns, if_name, Ear::Datagram)?;
    let own = device
        .address()
        .ok_or_else(|| Fault::not_found("it has no address any more"))?;
    let end = now() + GOODBYE;
    let client = Client::new(device.mac, id, random, now());
    let failed = |err| Fault::io("send to", "the DHCP server", err);
    device
        .send(&line, &client.inform(own), To::All)
        .map_err(failed)?;
    let mut buffer = [0; BUFFER];
    let server = loop {
        let informed = line.receive(&mut buffer).map(|it| client.informed(it));
        if let Some(Some(server)) = informed {
            break server;
        }
        let rest = end.saturating_sub(now());
        if rest.is_zero() {
            return Err(Fault::new(Kind::TimedOut, "the DHCP server is silent"));
        }
        if informed.is_none() {
            line.wait(rest);
        }
    };
    device
        .send(&line, &client.release(own, server), To::Server(server))
        .map_err(failed)?;
    // It may have to find the server's hardware address first, and the
    // interface is about to go.
    while sys::packet::unsent(line.socket.as_fd()).is_ok_and(|bytes| bytes > 0) && now() < end {
        std::thread::sleep(Duration::from_millis(1));
    }
    Ok(())
}

/// Goes on while the machine sleeps, as leases do.
fn now() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    Duration::try_from(time).unwrap_or_default()
}

/// A transaction's ID, which an answer proves to know.
fn random() -> u32 {
    let mut bytes = [0; 4];
    let flags = rustix::rand::GetRandomFlags::empty();
    let _ = rustix::rand::getrandom(&mut bytes, flags);
    u32::from_ne_bytes(bytes)
}
