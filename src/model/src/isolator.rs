//! Isolators: what bounds an app (appc spec, "Isolators").
//!
//! Reading checks every isolator that we know; one that we do not know is kept
//! as `Known::Unknown`, to be reported by whoever runs the app. The value is
//! kept as it came, so that writing gives it back unchanged.

use crate::fault::{Fault, Result};
use crate::json::Cursor;
use crate::name::AcIdentifier;
use crate::quantity::Quantity;
use crate::text::quote;
use serde_json::{Value, json};

mod rlimit;
mod sysctl;

pub use rlimit::{Resource, Rlimit};
pub use sysctl::parse_flag as parse_sysctl;

pub const CPU: &str = "resource/cpu";
pub const MEMORY: &str = "resource/memory";
pub const BLOCK_BANDWIDTH: &str = "resource/block-bandwidth";
pub const BLOCK_IOPS: &str = "resource/block-iops";
pub const NETWORK_BANDWIDTH: &str = "resource/network-bandwidth";
pub const CAPS_RETAIN: &str = "os/linux/capabilities-retain-set";
pub const CAPS_REMOVE: &str = "os/linux/capabilities-remove-set";
pub const SECCOMP_RETAIN: &str = "os/linux/seccomp-retain-set";
pub const SECCOMP_REMOVE: &str = "os/linux/seccomp-remove-set";
pub const NO_NEW_PRIVILEGES: &str = "os/linux/no-new-privileges";
pub const OOM_SCORE_ADJ: &str = "os/linux/oom-score-adj";
pub const CPU_SHARES: &str = "os/linux/cpu-shares";
pub const SELINUX: &str = "os/linux/selinux-context";
pub const APPARMOR: &str = "os/linux/apparmor-profile";
pub const SYSCTL: &str = "os/unix/sysctl";
/// rkt's own, as its kinds of limit are not in the specification.
pub const RLIMITS: &str = "os/unix/rlimits";

/// Those that may stand once in a list; of the others the last one counts, or
/// they add up.
const ONCE: [&str; 7] = [
    SECCOMP_RETAIN,
    SECCOMP_REMOVE,
    SELINUX,
    APPARMOR,
    OOM_SCORE_ADJ,
    CPU_SHARES,
    SYSCTL,
];

/// Names in a set; more is an attack, there are some 450 system calls.
const MAX_SET: usize = 4096;

/// One entry of an `isolators` list: its name, its value as it came, and what
/// we understood.
#[derive(Clone, Debug, PartialEq)]
pub struct Isolator {
    pub name: AcIdentifier,
    pub value: Value,
    pub known: Known,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Known {
    /// `resource/cpu` in millicores.
    Cpu {
        request: Option<i64>,
        limit: Option<i64>,
    },
    /// `resource/memory` in bytes.
    Memory {
        request: Option<i64>,
        limit: Option<i64>,
    },
    /// `resource/block-bandwidth`, `block-iops`, `network-bandwidth`: default limit.
    Throttle {
        limit: i64,
    },
    CapabilitiesRetain(Vec<String>),
    CapabilitiesRemove(Vec<String>),
    SeccompRetain {
        set: Vec<String>,
        errno: Option<String>,
    },
    SeccompRemove {
        set: Vec<String>,
        errno: Option<String>,
    },
    NoNewPrivileges(bool),
    OomScoreAdj(i32),
    CpuShares(u64),
    SelinuxContext {
        user: String,
        role: String,
        kind: String,
        level: String,
    },
    AppArmorProfile(String),
    Sysctl(Vec<(String, String)>),
    /// The last word on each resource counts.
    Rlimits(Vec<Rlimit>),
    /// Kept and reported, never acted on.
    Unknown,
}

impl Isolator {
    /// An isolator by its name and value, checked.
    pub fn new(name: &str, value: Value) -> Result<Isolator> {
        let identifier = AcIdentifier::new(name)?;
        let known = understand(name, &Cursor::named(&value, name))?;
        Ok(Isolator {
            name: identifier,
            value,
            known,
        })
    }

    /// Names of the isolators in a list that we do not know.
    pub fn unknown(list: &[Isolator]) -> impl Iterator<Item = &AcIdentifier> {
        list.iter()
            .filter(|isolator| isolator.known == Known::Unknown)
            .map(|isolator| &isolator.name)
    }

    pub(crate) fn read(cursor: Cursor<'_>) -> Result<Isolator> {
        let mut fields = cursor.fields()?;
        let place = fields.need("name")?;
        let name = AcIdentifier::new(place.str()?).map_err(|fault| place.fault(fault.cause))?;
        let value = fields.take_any("value");
        let known = match &value {
            Some(value) => understand(name.as_str(), value)?,
            None if is_known(name.as_str()) => {
                return Err(fields
                    .need("value")
                    .err()
                    .unwrap_or_else(|| cursor.fault("value is missing")));
            }
            None => Known::Unknown,
        };
        let value = value.map_or(Value::Null, |value| value.value().clone());
        Ok(Isolator { name, value, known })
    }

    pub(crate) fn to_json(&self) -> Value {
        json!({"name": self.name.as_str(), "value": self.value})
    }
}

/// The rules for the list of one app: some isolators stand once, some exclude
/// each other.
pub(crate) fn check_app_list(list: &[Isolator]) -> Result<()> {
    let has = |name: &str| list.iter().any(|isolator| isolator.name == name);
    for name in ONCE {
        if list.iter().filter(|isolator| isolator.name == name).count() > 1 {
            return Err(Fault::invalid(format!(
                "isolator {} is given more than once",
                quote(name)
            )));
        }
    }
    for (one, other) in [(SECCOMP_RETAIN, SECCOMP_REMOVE), (CAPS_RETAIN, CAPS_REMOVE)] {
        if has(one) && has(other) {
            return Err(Fault::invalid(format!(
                "isolators {} and {} exclude each other",
                quote(one),
                quote(other)
            )));
        }
    }
    Ok(())
}

fn is_known(name: &str) -> bool {
    [
        CPU,
        MEMORY,
        BLOCK_BANDWIDTH,
        BLOCK_IOPS,
        NETWORK_BANDWIDTH,
        CAPS_RETAIN,
        CAPS_REMOVE,
        NO_NEW_PRIVILEGES,
        RLIMITS,
    ]
    .iter()
    .chain(&ONCE)
    .any(|known| *known == name)
}

fn understand(name: &str, value: &Cursor<'_>) -> Result<Known> {
    Ok(match name {
        CPU => {
            let (request, limit) = resource(value, false)?;
            let milli = |quantity: Option<Quantity>| quantity.map(|q| q.milli());
            Known::Cpu {
                request: milli(request),
                limit: milli(limit),
            }
        }
        MEMORY => {
            let (request, limit) = resource(value, false)?;
            let bytes = |quantity: Option<Quantity>| quantity.map(|q| q.value());
            Known::Memory {
                request: bytes(request),
                limit: bytes(limit),
            }
        }
        BLOCK_BANDWIDTH | BLOCK_IOPS | NETWORK_BANDWIDTH => {
            let (request, limit) = resource(value, true)?;
            if request.is_some() {
                return Err(value.fault("a request cannot be given here"));
            }
            let limit = limit.ok_or_else(|| value.fault("limit is missing"))?;
            Known::Throttle {
                limit: limit.value(),
            }
        }
        CAPS_RETAIN => Known::CapabilitiesRetain(set_of(value)?),
        CAPS_REMOVE => Known::CapabilitiesRemove(set_of(value)?),
        SECCOMP_RETAIN => Known::SeccompRetain {
            set: set_of(value)?,
            errno: errno_of(value)?,
        },
        SECCOMP_REMOVE => Known::SeccompRemove {
            set: set_of(value)?,
            errno: errno_of(value)?,
        },
        NO_NEW_PRIVILEGES => Known::NoNewPrivileges(value.bool()?),
        OOM_SCORE_ADJ => {
            let score = value.i64()?;
            let score = i32::try_from(score)
                .ok()
                .filter(|score| (-1000..=1000).contains(score));
            Known::OomScoreAdj(score.ok_or_else(|| value.fault("must be from -1000 to 1000"))?)
        }
        CPU_SHARES => {
            let shares = value.u64()?;
            if !(2..=262_144).contains(&shares) {
                return Err(value.fault("must be from 2 to 262144"));
            }
            Known::CpuShares(shares)
        }
        SELINUX => selinux(value)?,
        APPARMOR => {
            let profile = value.fields()?.need("profile")?;
            let name = profile.c_string()?;
            if name.is_empty() {
                return Err(profile.fault("must not be empty"));
            }
            Known::AppArmorProfile(name)
        }
        SYSCTL => Known::Sysctl(sysctl::read(value)?),
        RLIMITS => Known::Rlimits(rlimit::read(value)?),
        _ => Known::Unknown,
    })
}

/// `request` and `limit` of a resource. `default` must be what the kind of
/// resource demands.
fn resource(value: &Cursor<'_>, default: bool) -> Result<(Option<Quantity>, Option<Quantity>)> {
    let mut fields = value.fields()?;
    if fields.flag("default")? != default {
        return Err(value.fault(format!("default must be {default}")));
    }
    let mut quantity = |key| {
        fields
            .take(key)
            .map(|field| read_quantity(&field))
            .transpose()
    };
    Ok((quantity("request")?, quantity("limit")?))
}

fn read_quantity(field: &Cursor<'_>) -> Result<Quantity> {
    // Go's decoder only strips quotes if there are some, so numbers pass.
    let quantity = match field.value() {
        Value::Number(number) => Quantity::parse(&number.to_string()),
        _ => Quantity::parse(field.str()?),
    };
    let quantity = quantity.map_err(|fault| Fault {
        cause: field.fault(&fault.cause).cause,
        ..fault
    })?;
    if quantity < Quantity::from_units(0) {
        return Err(field.fault("must not be negative"));
    }
    Ok(quantity)
}

fn set_of(value: &Cursor<'_>) -> Result<Vec<String>> {
    let set = value.fields()?.need("set")?;
    let names = set.list_of(|item| {
        let name = item.str()?;
        if name.is_empty() || !name.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(item.fault(format!("{} is not a name", quote(name))));
        }
        Ok(name.to_string())
    })?;
    match names.len() {
        0 => Err(set.fault("must not be empty")),
        count if count > MAX_SET => Err(set.fault(format!("has more than {MAX_SET} names"))),
        _ => Ok(names),
    }
}

fn errno_of(value: &Cursor<'_>) -> Result<Option<String>> {
    let Some(errno) = value.fields()?.take("errno") else {
        return Ok(None);
    };
    let name = errno.str()?;
    if name.is_empty() {
        return Ok(None);
    }
    if !is_errno(name) {
        return Err(errno.fault(format!("{} is not the name of an error", quote(name))));
    }
    Ok(Some(name.to_string()))
}

/// The shape of an errno name; whether the system has it is checked later.
pub(crate) fn is_errno(name: &str) -> bool {
    name.len() > 1
        && name.len() <= 32
        && name.starts_with('E')
        && name
            .bytes()
            .all(|b| b.is_ascii_uppercase() || b.is_ascii_digit())
}

fn selinux(value: &Cursor<'_>) -> Result<Known> {
    let mut fields = value.fields()?;
    let mut part = |key: &'static str| {
        let field = fields.need(key)?;
        match field.c_string()? {
            text if text.is_empty() => Err(field.fault("must not be empty")),
            text if key != "level" && text.contains(':') => {
                Err(field.fault("must not contain \":\""))
            }
            text => Ok(text),
        }
    };
    Ok(Known::SelinuxContext {
        user: part("user")?,
        role: part("role")?,
        kind: part("type")?,
        level: part("level")?,
    })
}

#[cfg(test)]
mod tests;
