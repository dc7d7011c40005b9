//! Addresses for an interface: host-local, static, dhcp; or a CNI program.
//!
//! As with plugins, a program of the type's name wins over the built-in. What
//! is given outlives the network namespace, so it has to be freed.

pub mod dhcp;
pub mod fixed;
pub mod host_local;
pub(crate) mod values;

use crate::attach::Call;
use crate::{Outcome, cni};
use model::json::Cursor;
use model::{Fault, fault::Result};

/// What an IPAM gave.
#[derive(Clone, Debug, Default)]
pub struct Granted {
    /// `interfaces` and each `interface` are empty.
    pub outcome: Outcome,
    /// Has to be renewed for as long as the pod lives; see `keeper`.
    pub lease: Option<dhcp::Lease>,
}

/// Who answers for an `ipam` object.
enum Source<'a> {
    Nobody,
    HostLocal,
    Static,
    Dhcp,
    Program(&'a str),
}

/// Addresses, routes and DNS by the `ipam` object of the plugin; no `ipam` or
/// an empty one gives nothing.
pub fn add(call: &Call<'_>) -> Result<Granted> {
    match source(call)? {
        Source::Nobody => Ok(Granted::default()),
        Source::HostLocal => host_local::add(call).map(given),
        Source::Static => fixed::add(call).map(given),
        Source::Dhcp => dhcp::add(call).and_then(not_the_hosts),
        Source::Program(kind) => {
            let mut outcome = cni::delegate_add(call, kind)?;
            outcome.interfaces.clear();
            for ip in &mut outcome.ips {
                ip.interface = None;
            }
            Ok(given(outcome))
        }
    }
}

pub fn del(call: &Call<'_>) -> Result<()> {
    match source(call)? {
        Source::Nobody | Source::Static => Ok(()),
        Source::HostLocal => host_local::del(call),
        Source::Dhcp => dhcp::del(call),
        Source::Program(kind) => cni::delegate_del(call, kind),
    }
}

/// Ports would be forwarded to the host's own services, by the word of whoever
/// answered as a DHCP server.
fn not_the_hosts(granted: Granted) -> Result<Granted> {
    for ip in &granted.outcome.ips {
        let ip = ip.address.ip;
        // Only what is local can be bound.
        if ip.is_loopback() || std::net::UdpSocket::bind((ip, 0)).is_ok() {
            return Err(Fault::refused(format!(
                "dhcp: the server gave {ip}, which is an address of this host"
            )));
        }
    }
    Ok(granted)
}

fn given(outcome: Outcome) -> Granted {
    Granted {
        outcome,
        lease: None,
    }
}

fn source<'a>(call: &Call<'a>) -> Result<Source<'a>> {
    let mut plugin = Cursor::new(&call.plugin.object).fields()?;
    let Some(ipam) = plugin.take("ipam") else {
        return Ok(Source::Nobody);
    };
    let mut ipam = ipam.fields().map_err(|fault| place(call, fault))?;
    let kind = match ipam.take("type") {
        Some(kind) => kind.str().map_err(|fault| place(call, fault))?,
        None => "",
    };
    if kind.is_empty() {
        return match ipam.rest().is_empty() {
            true => Ok(Source::Nobody),
            false => Err(place(call, Fault::invalid("ipam.type: is missing"))),
        };
    }
    if cni::find(call.site.dirs, kind).is_some() {
        return Ok(Source::Program(kind));
    }
    Ok(match kind {
        "host-local" => Source::HostLocal,
        "static" => Source::Static,
        "dhcp" => Source::Dhcp,
        _ => Source::Program(kind),
    })
}

/// Puts file and plugin before the place in a configuration that is wrong.
pub(crate) fn place(call: &Call<'_>, fault: Fault) -> Fault {
    let network = call.network;
    let at = network
        .plugins
        .iter()
        .position(|plugin| std::ptr::eq(plugin, call.plugin));
    let plugin = match at {
        Some(at) if network.file.ends_with(".conflist") => format!("plugins[{at}]."),
        _ => String::new(),
    };
    Fault {
        cause: format!("{}: {plugin}{}", network.origin, fault.cause),
        ..fault
    }
}
