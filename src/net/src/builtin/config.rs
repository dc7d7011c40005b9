//! The plugins' own keys, read and checked before anything is done.
//!
//! In: the plugin's object and the arguments of the call. Out: plain values.
//! Errors name the file and the key. A key that asks for what the built-in
//! cannot do is refused, never passed over.

use crate::attach::Call;
use crate::cni::is_interface;
use crate::ipam::values;
use crate::netlink::link::{Mac, Mode, Vlan};
use crate::outcome::Dns;
use model::json::{Cursor, Fields};
use model::text::quote;
use model::{Fault, fault::Result};

/// What all plugins know.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Common {
    /// 0 is the kernel's own choice.
    pub(super) mtu: u32,
    pub(super) mac: Option<Mac>,
    pub(super) masquerade: bool,
    /// Takes the place of what the IPAM says.
    pub(super) dns: Option<Dns>,
    /// `ipam.type`, or empty: no addresses.
    pub(super) ipam: String,
}

impl Common {
    /// Whether this IPAM wants the pod's link to be up: dhcp, or who knows
    /// what a program wants.
    pub(super) fn ipam_needs_link(&self) -> bool {
        !matches!(self.ipam.as_str(), "" | "host-local" | "static")
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Bridge {
    pub(super) common: Common,
    pub(super) name: String,
    pub(super) gateway: bool,
    pub(super) default_gateway: bool,
    pub(super) force_address: bool,
    pub(super) hairpin: bool,
    pub(super) promiscuous: bool,
    /// 0: none.
    pub(super) vlan: u16,
    pub(super) trunk: Vec<Vlan>,
    pub(super) keep_default_vlan: bool,
    /// Duplicate address detection.
    pub(super) probe: bool,
}

/// macvlan, ipvlan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Child {
    pub(super) common: Common,
    /// None: the link of the default route.
    pub(super) master: Option<String>,
    pub(super) mode: Mode,
}

pub(super) fn ptp(call: &Call<'_>) -> Result<Common> {
    read(call, |fields| {
        let common = common(call, fields)?;
        if common.ipam == "dhcp" {
            let cause = "ipam.type: nobody answers DHCP on a point-to-point link";
            return Err(fields.fault(cause).hint("use host-local or static"));
        }
        Ok(common)
    })
}

pub(super) fn bridge(call: &Call<'_>) -> Result<Bridge> {
    read(call, |fields| {
        for key in ["macspoofchk", "disableContainerInterface", "portIsolation"] {
            lacks(call, fields, key)?;
        }
        let common = common(call, fields)?;
        let default_gateway = fields.flag("isDefaultGateway")?;
        let bridge = Bridge {
            common,
            name: match fields.take("bridge") {
                Some(name) if !name.str()?.is_empty() => interface_name(&name)?,
                _ => "cni0".to_string(),
            },
            gateway: fields.flag("isGateway")? || default_gateway,
            default_gateway,
            force_address: fields.flag("forceAddress")?,
            hairpin: fields.flag("hairpinMode")?,
            promiscuous: fields.flag("promiscMode")?,
            vlan: match fields.take("vlan") {
                Some(vlan) => number(&vlan, 0, 4094)? as u16,
                None => 0,
            },
            trunk: fields.list_of("vlanTrunk", trunk)?,
            keep_default_vlan: fields.flag("preserveDefaultVlan")?,
            probe: fields.flag("enabledad")?,
        };
        // The host's own address would be what a stranger says.
        if bridge.gateway && call.plugin.object["ipam"]["type"].as_str() == Some("dhcp") {
            return Err(
                fields.fault("isGateway: the bridge cannot be a gateway with addresses from dhcp")
            );
        }
        if bridge.hairpin && bridge.promiscuous {
            return Err(fields.fault(
                "promiscMode: cannot set hairpin mode and promiscuous mode at the same time",
            ));
        }
        if bridge.vlan_gateway().is_some_and(|name| name.len() > 15) {
            return Err(fields.fault(format!(
                "bridge: {} is too long a name to have a gateway for a VLAN",
                quote(&bridge.name)
            )));
        }
        Ok(bridge)
    })
}

impl Bridge {
    pub(super) fn filters_vlans(&self) -> bool {
        self.vlan != 0 || !self.trunk.is_empty()
    }

    /// The link that has the gateway's address when the pod is in a VLAN.
    pub(super) fn vlan_gateway(&self) -> Option<String> {
        (self.vlan != 0 && self.gateway).then(|| format!("{}.{}", self.name, self.vlan))
    }
}

pub(super) fn child(call: &Call<'_>) -> Result<Child> {
    read(call, |fields| {
        for key in ["linkInContainer", "bcqueuelen"] {
            lacks(call, fields, key)?;
        }
        let ipvlan = call.plugin.kind == "ipvlan";
        let master = match fields.take("master") {
            Some(master) if !master.str()?.is_empty() => Some(interface_name(&master)?),
            _ => None,
        };
        let mode = match fields.take("mode") {
            Some(mode) => child_mode(&mode, ipvlan)?,
            None if ipvlan => Mode::Ipvlan(0),
            None => Mode::Macvlan(4),
        };
        let common = common(call, fields)?;
        if ipvlan && common.mac.is_some() {
            return Err(fields.fault("mac: an ipvlan link has its master's hardware address"));
        }
        Ok(Child {
            common,
            master,
            mode,
        })
    })
}

fn child_mode(mode: &Cursor<'_>, ipvlan: bool) -> Result<Mode> {
    Ok(match (ipvlan, mode.str()?) {
        (false, "private") => Mode::Macvlan(1),
        (false, "vepa") => Mode::Macvlan(2),
        (false, "" | "bridge") => Mode::Macvlan(4),
        (false, "passthru") => Mode::Macvlan(8),
        (true, "" | "l2") => Mode::Ipvlan(0),
        (true, "l3") => Mode::Ipvlan(1),
        (true, "l3s") => Mode::Ipvlan(2),
        (_, other) => {
            let known = match ipvlan {
                false => "bridge, private, vepa, passthru",
                true => "l2, l3, l3s",
            };
            return Err(mode
                .fault(format!("unknown mode {}", quote(other)))
                .hint(format!("it can be one of {known}")));
        }
    })
}

fn trunk(entry: Cursor<'_>) -> Result<Vlan> {
    let mut fields = entry.fields()?;
    let mut id = |key| {
        let id = fields.take(key);
        id.map(|id| number(&id, 1, 4094)).transpose()
    };
    match (id("id")?, id("minID")?, id("maxID")?) {
        (Some(one), None, None) => Ok(Vlan::Trunk(one as u16, one as u16)),
        (None, Some(first), Some(last)) if first <= last => {
            Ok(Vlan::Trunk(first as u16, last as u16))
        }
        (None, Some(_), Some(_)) => Err(entry.fault("minID is greater than maxID")),
        _ => Err(entry.fault("expected either id, or minID and maxID")),
    }
}

fn common(call: &Call<'_>, fields: &mut Fields<'_>) -> Result<Common> {
    let ipam = match fields.take("ipam") {
        Some(ipam) => ipam.fields()?.text("type")?,
        None => String::new(),
    };
    Ok(Common {
        mtu: match fields.take("mtu") {
            Some(mtu) => match number(&mtu, 0, 65535)? {
                few @ 1..68 => return Err(mtu.fault(format!("{few} is less than 68"))),
                mtu => mtu,
            },
            None => 0,
        },
        mac: hardware_address(call, fields)?,
        masquerade: fields.flag("ipMasq")?,
        dns: fields
            .take("dns")
            .map(|dns| values::dns(&dns))
            .transpose()?,
        ipam,
    }
    .normalized())
}

impl Common {
    fn normalized(mut self) -> Common {
        self.dns = self.dns.filter(|dns| !dns.is_empty());
        self
    }
}

/// `runtimeConfig` wins over `args.cni`, that over CNI_ARGS.
fn hardware_address(call: &Call<'_>, fields: &mut Fields<'_>) -> Result<Option<Mac>> {
    let mut mac = None;
    for pair in call.network.args.split(';') {
        if let Some(("MAC", value)) = pair.split_once('=') {
            mac = Some(parse_mac(value).map_err(|what| Fault::invalid(format!("MAC: {what}")))?);
        }
    }
    let mut inner = |place: Option<Cursor<'_>>| match place {
        Some(object) => match object.fields()?.take("mac") {
            Some(text) => {
                mac = Some(parse_mac(text.str()?).map_err(|what| text.fault(what))?);
                Ok(())
            }
            None => Ok(()),
        },
        None => Ok::<(), Fault>(()),
    };
    if let Some(args) = fields.take("args") {
        inner(args.fields()?.take("cni"))?;
    }
    inner(fields.take("runtimeConfig"))?;
    Ok(mac)
}

/// Six pairs of hex digits with colons; an address that one host can have.
fn parse_mac(text: &str) -> Result<Mac, String> {
    let bad = || format!("invalid hardware address {}", quote(text));
    let mut mac = [0; 6];
    let mut parts = text.split(':');
    for byte in &mut mac {
        let part = parts.next().filter(|part| part.len() == 2);
        let part = part.filter(|part| part.bytes().all(|digit| digit.is_ascii_hexdigit()));
        *byte = u8::from_str_radix(part.ok_or_else(bad)?, 16).map_err(|_| bad())?;
    }
    if parts.next().is_some() || mac == [0; 6] || mac[0] & 1 != 0 {
        return Err(bad());
    }
    Ok(mac)
}

/// The kernel's rules, and no `%`, which it would take for a pattern.
fn interface_name(name: &Cursor<'_>) -> Result<String> {
    let text = name.str()?;
    if !is_interface(text) || text.contains('%') {
        return Err(name.fault(format!("invalid interface name {}", quote(text))));
    }
    Ok(text.to_string())
}

fn number(value: &Cursor<'_>, min: u32, max: u32) -> Result<u32> {
    let number = value.i64()?;
    match u32::try_from(number) {
        Ok(number) if (min..=max).contains(&number) => Ok(number),
        _ => Err(value.fault(format!("{number} is not between {min} and {max}"))),
    }
}

/// Refuses a key that is switched on.
fn lacks(call: &Call<'_>, fields: &mut Fields<'_>, key: &'static str) -> Result<()> {
    let off = |value: &Cursor<'_>| {
        value.value() == &model::Value::Bool(false) || value.value().as_i64() == Some(0)
    };
    match fields.take(key) {
        Some(value) if !off(&value) => Err(Fault::unsupported(
            value
                .fault("the built-in plugin does not support this")
                .cause,
        )
        .hint(format!(
            "install the CNI program {} to use it",
            quote(&call.plugin.kind)
        ))),
        _ => Ok(()),
    }
}

/// Errors get the file's name in front.
fn read<T>(call: &Call<'_>, read: impl FnOnce(&mut Fields<'_>) -> Result<T>) -> Result<T> {
    let mut fields = Cursor::new(&call.plugin.object).fields()?;
    read(&mut fields).map_err(|fault| crate::ipam::place(call, fault))
}

#[cfg(test)]
mod tests;
