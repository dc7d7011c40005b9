//! A result as a CNI program wrote it, or as it was recorded, into an `Outcome`.
//!
//! Any version is understood. Lists and texts are bounded, and no text has a
//! control character: DNS data ends up as lines of `/etc/resolv.conf`. An error
//! names the field.

use super::{Dns, Interface, Ip, Outcome, Spec};
use crate::{Cidr, Route};
use model::json::{Cursor, Fields};
use model::text::quote;
use model::{Fault, Value, fault::Result};
use std::net::IpAddr;

/// Most entries of one list.
const MAX_ENTRIES: usize = 256;
/// Longest text: a path.
const MAX_TEXT: usize = 4096;

impl Outcome {
    /// A result without any address is one, too.
    pub fn from_json(value: &Value) -> Result<Outcome> {
        let mut fields = Cursor::new(value).fields()?;
        let version = fields.take("cniVersion").map(|field| text(&field));
        let lists = ["ips", "interfaces"].map(|key| fields.take(key).is_some());
        let spec = match version.transpose()?.unwrap_or_default() {
            // Results that forget their version are told by what they have.
            "" if lists.contains(&true) => Spec::V0_3,
            "" => Spec::V0_1,
            version => Spec::parse(version).ok_or_else(|| {
                Fault::unsupported(format!(
                    "cniVersion: results of version {} are not understood",
                    quote(version)
                ))
            })?,
        };
        let mut outcome = match spec < Spec::V0_3 {
            true => families(&mut fields)?,
            false => listed(&mut fields)?,
        };
        if let Some(place) = fields.take("dns") {
            outcome.dns = dns(&place)?;
        }
        Ok(outcome)
    }
}

/// 0.1.0 and 0.2.0: at most one address of each family.
fn families(fields: &mut Fields<'_>) -> Result<Outcome> {
    let mut outcome = Outcome::default();
    for (key, v4) in [("ip4", true), ("ip6", false)] {
        let Some(place) = fields.take(key) else {
            continue;
        };
        let mut family = place.fields()?;
        let at = family.need("ip")?;
        let address = cidr(&at)?;
        if address.is_v4() != v4 {
            return Err(at.fault(format!("{address} is of the other family")));
        }
        let gateway = optional_ip(family.take("gateway"))?;
        if let Some(list) = family.take("routes") {
            for mut route in entries(&list, route)? {
                route.gw = route.gw.or(gateway);
                outcome.routes.push(route);
            }
            // As later versions have them, the routes of both are one list.
            check_count(&list, outcome.routes.len())?;
        }
        outcome.ips.push(Ip {
            address,
            gateway,
            interface: None,
        });
    }
    Ok(outcome)
}

/// 0.3.0 and later.
fn listed(fields: &mut Fields<'_>) -> Result<Outcome> {
    let interfaces = list_of(fields, "interfaces", interface)?;
    let count = interfaces.len();
    Ok(Outcome {
        ips: list_of(fields, "ips", |place| address(place, count))?,
        routes: list_of(fields, "routes", route)?,
        interfaces,
        dns: Dns::default(),
    })
}

fn interface(place: Cursor<'_>) -> Result<Interface> {
    let mut fields = place.fields()?;
    Ok(Interface {
        name: optional_text(fields.take("name"))?,
        mac: optional_text(fields.take("mac"))?,
        sandbox: optional_text(fields.take("sandbox"))?,
        mtu: optional_number(fields.take("mtu"))?,
    })
}

fn address(place: Cursor<'_>, interfaces: usize) -> Result<Ip> {
    let mut fields = place.fields()?;
    let address = cidr(&fields.need("address")?)?;
    let interface = match fields.take("interface") {
        Some(at) => {
            let index = at.u32()? as usize;
            if index >= interfaces {
                return Err(at.fault(format!("there is no interface {index}")));
            }
            Some(index)
        }
        None => None,
    };
    Ok(Ip {
        address,
        gateway: optional_ip(fields.take("gateway"))?,
        interface,
    })
}

/// Also as configurations have it; what is behind the network's prefix is cut.
pub(crate) fn route(place: Cursor<'_>) -> Result<Route> {
    let mut fields = place.fields()?;
    let dst = cidr(&fields.need("dst")?)?.network();
    let scope = fields.take("scope").map(|at| {
        let scope = at.u32()?;
        u8::try_from(scope).map_err(|_| at.fault(format!("{scope} is no scope")))
    });
    Ok(Route {
        dst,
        gw: optional_ip(fields.take("gw"))?,
        mtu: optional_number(fields.take("mtu"))?,
        advmss: optional_number(fields.take("advmss"))?,
        priority: optional_number(fields.take("priority"))?,
        table: fields.take("table").map(|at| at.u32()).transpose()?,
        scope: scope.transpose()?,
    })
}

fn dns(place: &Cursor<'_>) -> Result<Dns> {
    let mut fields = place.fields()?;
    let owned = |at: Cursor<'_>| text(&at).map(str::to_string);
    Ok(Dns {
        nameservers: list_of(&mut fields, "nameservers", owned)?,
        domain: optional_text(fields.take("domain"))?,
        search: list_of(&mut fields, "search", owned)?,
        options: list_of(&mut fields, "options", owned)?,
    })
}

fn list_of<'a, T>(
    fields: &mut Fields<'a>,
    key: &'static str,
    read: impl Fn(Cursor<'a>) -> Result<T>,
) -> Result<Vec<T>> {
    match fields.take(key) {
        Some(list) => entries(&list, read),
        None => Ok(Vec::new()),
    }
}

fn entries<'a, T>(list: &Cursor<'a>, read: impl Fn(Cursor<'a>) -> Result<T>) -> Result<Vec<T>> {
    check_count(list, list.value().as_array().map_or(0, Vec::len))?;
    list.list_of(read)
}

fn check_count(list: &Cursor<'_>, count: usize) -> Result<()> {
    match count > MAX_ENTRIES {
        true => Err(list.fault(format!(
            "{count} entries are too many (at most {MAX_ENTRIES})"
        ))),
        false => Ok(()),
    }
}

fn text<'a>(place: &Cursor<'a>) -> Result<&'a str> {
    let text = place.str()?;
    if text.len() > MAX_TEXT {
        let length = text.len();
        return Err(place.fault(format!("{length} bytes are too long (at most {MAX_TEXT})")));
    }
    if text
        .chars()
        .any(|c| c.is_control() || matches!(c, '\u{2028}' | '\u{2029}'))
    {
        return Err(place.fault(format!("control character in {}", quote(text))));
    }
    Ok(text)
}

fn optional_text(place: Option<Cursor<'_>>) -> Result<String> {
    place.map_or(Ok(String::new()), |at| text(&at).map(str::to_string))
}

/// Zero says as much as nothing.
fn optional_number(place: Option<Cursor<'_>>) -> Result<Option<u32>> {
    let number = place.map_or(Ok(0), |at| at.u32())?;
    Ok(Some(number).filter(|number| *number != 0))
}

pub(crate) fn cidr(place: &Cursor<'_>) -> Result<Cidr> {
    let text = text(place)?;
    // IPv4 in IPv6 clothes has a prefix that means nothing to IPv4.
    let plain = |cidr: &Cidr| cidr.ip == cidr.ip.to_canonical();
    let cidr = Cidr::parse(text).ok().filter(plain);
    cidr.ok_or_else(|| place.fault(format!("invalid CIDR address: {}", quote(text))))
}

/// An IPv4 address in IPv6 clothes counts as IPv4, as it does for CNI's own
/// plugins.
pub(crate) fn ip(place: &Cursor<'_>) -> Result<IpAddr> {
    let text = text(place)?;
    let ip: IpAddr = text
        .parse()
        .map_err(|_| place.fault(format!("invalid IP address: {}", quote(text))))?;
    Ok(ip.to_canonical())
}

/// Empty is as good as absent: Go writes an address that it has not as `""`.
pub(crate) fn optional_ip(place: Option<Cursor<'_>>) -> Result<Option<IpAddr>> {
    let place = place.filter(|place| place.value().as_str() != Some(""));
    place.map(|place| ip(&place)).transpose()
}
