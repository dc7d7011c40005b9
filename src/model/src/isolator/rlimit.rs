//! Resource limits of a process (setrlimit(2)): `os/unix/rlimits` in a manifest,
//! `--rlimit=NAME=SOFT[:HARD]` on the command line.
//!
//! The isolator is rkt's own. Its value has an object for each limit:
//! `{"nofile": {"soft": 1024, "hard": 4096}, "core": {"soft": "unlimited"}}`.
//! Names are those of `RLIMIT_*` in small letters, numbers count the kernel's
//! unit (bytes, microseconds for rttime), and without `hard` both are `soft`.

use crate::fault::{Fault, Result};
use crate::json::Cursor;
use crate::text::quote;
use serde_json::{Value, json};
use std::fmt;

/// What is limited, by the kernel's name and number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resource {
    Cpu,
    Fsize,
    Data,
    Stack,
    Core,
    Rss,
    Nproc,
    Nofile,
    Memlock,
    As,
    Locks,
    Sigpending,
    Msgqueue,
    Nice,
    Rtprio,
    Rttime,
}

const NAMES: [(&str, Resource); 16] = [
    ("as", Resource::As),
    ("core", Resource::Core),
    ("cpu", Resource::Cpu),
    ("data", Resource::Data),
    ("fsize", Resource::Fsize),
    ("locks", Resource::Locks),
    ("memlock", Resource::Memlock),
    ("msgqueue", Resource::Msgqueue),
    ("nice", Resource::Nice),
    ("nofile", Resource::Nofile),
    ("nproc", Resource::Nproc),
    ("rss", Resource::Rss),
    ("rtprio", Resource::Rtprio),
    ("rttime", Resource::Rttime),
    ("sigpending", Resource::Sigpending),
    ("stack", Resource::Stack),
];

impl Resource {
    fn named(name: &str) -> Option<Resource> {
        NAMES
            .iter()
            .find(|(known, _)| *known == name)
            .map(|(_, resource)| *resource)
    }

    fn unknown(name: &str) -> Fault {
        let names: Vec<&str> = NAMES.iter().map(|(name, _)| *name).collect();
        Fault::invalid(format!("{} is not a resource limit", quote(name)))
            .hint(format!("the known ones are {}", names.join(", ")))
    }
}

impl fmt::Display for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = NAMES.iter().find(|(_, resource)| resource == self);
        f.write_str(name.map_or("", |(name, _)| name))
    }
}

/// `None` is no limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rlimit {
    pub resource: Resource,
    pub soft: Option<u64>,
    pub hard: Option<u64>,
}

/// As `--rlimit` has it.
impl fmt::Display for Rlimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}={}:{}",
            self.resource,
            text(self.soft),
            text(self.hard)
        )
    }
}

impl Rlimit {
    fn new(
        resource: Resource,
        soft: Option<u64>,
        hard: Option<u64>,
    ) -> std::result::Result<Rlimit, String> {
        let most = |limit: Option<u64>| limit.unwrap_or(u64::MAX);
        if most(soft) > most(hard) {
            return Err(format!(
                "{resource}: the soft limit of {} is above the hard one of {}",
                text(soft),
                text(hard)
            ));
        }
        Ok(Rlimit {
            resource,
            soft,
            hard,
        })
    }

    /// `NAME=SOFT[:HARD]`.
    pub fn parse_flag(text: &str) -> Result<Rlimit> {
        let Some((name, limits)) = text.split_once('=') else {
            return Err(Fault::usage(format!(
                "{} must be given as NAME=SOFT[:HARD]",
                quote(text)
            )));
        };
        let resource = Resource::named(name).ok_or_else(|| Resource::unknown(name))?;
        let (soft, hard) = limits.split_once(':').unwrap_or((limits, limits));
        let number = |word: &str| {
            number(word).ok_or_else(|| {
                Fault::usage(format!("{name}: {} is not a limit", quote(word)))
                    .hint("give a number, or \"unlimited\"")
            })
        };
        Rlimit::new(resource, number(soft)?, number(hard)?).map_err(Fault::usage)
    }

    /// The value of an isolator with this limit alone.
    pub fn to_json(self) -> Value {
        let limit = |limit: Option<u64>| limit.map_or_else(|| json!("unlimited"), Value::from);
        json!({self.resource.to_string(): {"soft": limit(self.soft), "hard": limit(self.hard)}})
    }
}

/// A limit as a user writes it.
fn text(limit: Option<u64>) -> String {
    limit.map_or_else(|| "unlimited".to_string(), |limit| limit.to_string())
}

/// The outer `None`: no limit can be read from it. The highest number is the
/// kernel's own word for "unlimited".
fn number(word: &str) -> Option<Option<u64>> {
    match word {
        "unlimited" | "infinity" => Some(None),
        _ if word.bytes().all(|byte| byte.is_ascii_digit()) => {
            let number = word.parse().ok()?;
            Some(Some(number).filter(|number| *number != u64::MAX))
        }
        _ => None,
    }
}

/// The value of the isolator.
pub(super) fn read(value: &Cursor<'_>) -> Result<Vec<Rlimit>> {
    let object = value.value().as_object();
    let names = object
        .ok_or_else(|| value.fault("expected an object"))?
        .keys();
    let mut fields = value.fields()?;
    names
        .map(|name| {
            let resource = NAMES.iter().find(|(known, _)| known == name);
            let Some((name, resource)) = resource else {
                let fault = Resource::unknown(name);
                return Err(Fault {
                    cause: value.fault(&fault.cause).cause,
                    ..fault
                });
            };
            let place = fields.need(name)?;
            let mut pair = place.fields()?;
            let soft = limit(&pair.need("soft")?)?;
            let hard = pair.take("hard").map_or(Ok(soft), |hard| limit(&hard))?;
            pair.no_rest()?;
            Rlimit::new(*resource, soft, hard).map_err(|cause| value.fault(cause))
        })
        .collect()
}

fn limit(place: &Cursor<'_>) -> Result<Option<u64>> {
    match place.value() {
        Value::Number(number) => number.as_u64().map(|n| Some(n).filter(|n| *n != u64::MAX)),
        Value::String(word) => number(word),
        _ => None,
    }
    .ok_or_else(|| place.fault("must be a number, or \"unlimited\""))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::super::{Isolator, Known, RLIMITS};
    use super::*;

    #[test]
    fn flags() {
        let limit = |resource, soft, hard| Rlimit {
            resource,
            soft,
            hard,
        };
        for (text, expected) in [
            (
                "nofile=1024:4096",
                limit(Resource::Nofile, Some(1024), Some(4096)),
            ),
            ("core=0", limit(Resource::Core, Some(0), Some(0))),
            ("stack=1:unlimited", limit(Resource::Stack, Some(1), None)),
            ("as=infinity", limit(Resource::As, None, None)),
            ("cpu=18446744073709551615", limit(Resource::Cpu, None, None)),
        ] {
            let parsed = Rlimit::parse_flag(text).unwrap();
            assert_eq!(parsed, expected, "{text}");
            let made = Isolator::new(RLIMITS, parsed.to_json()).unwrap();
            assert_eq!(made.known, Known::Rlimits(vec![expected]), "{text}");
        }
        for (text, expected) in [
            ("nofile", "\"nofile\" must be given as NAME=SOFT[:HARD]"),
            ("files=1", "\"files\" is not a resource limit"),
            ("NOFILE=1", "\"NOFILE\" is not a resource limit"),
            ("nofile=", "nofile: \"\" is not a limit"),
            ("nofile=-1", "nofile: \"-1\" is not a limit"),
            ("nofile=1k", "nofile: \"1k\" is not a limit"),
            ("nofile=1:2:3", "nofile: \"2:3\" is not a limit"),
            (
                "nofile=18446744073709551616",
                "nofile: \"18446744073709551616\" is not a limit",
            ),
            (
                "nofile=unlimited:5",
                "nofile: the soft limit of unlimited is above the hard one of 5",
            ),
        ] {
            assert_eq!(Rlimit::parse_flag(text).unwrap_err().cause, expected);
        }
        assert!(
            Rlimit::parse_flag("x=1")
                .unwrap_err()
                .hint
                .unwrap()
                .contains("as, core, cpu, data")
        );
    }

    #[test]
    fn manifests() {
        let known = |value: Value| Isolator::new(RLIMITS, value).map(|isolator| isolator.known);
        let value = json!({"nofile": {"soft": 10, "hard": 20}, "core": {"soft": "unlimited"}});
        let Known::Rlimits(limits) = known(value).unwrap() else {
            panic!("another isolator");
        };
        let texts: Vec<String> = limits.iter().map(Rlimit::to_string).collect();
        assert_eq!(texts, ["nofile=10:20", "core=unlimited:unlimited"]);
        for (value, expected) in [
            (json!([]), "os/unix/rlimits: expected an object"),
            (
                json!({"bogus": {"soft": 1}}),
                "os/unix/rlimits: \"bogus\" is not a resource limit",
            ),
            (
                json!({"core": {"hard": 1}}),
                "os/unix/rlimits.core.soft: is missing",
            ),
            (
                json!({"core": {"soft": -1}}),
                "os/unix/rlimits.core.soft: must be a number, or \"unlimited\"",
            ),
            (
                json!({"core": {"soft": 1.5}}),
                "os/unix/rlimits.core.soft: must be a number, or \"unlimited\"",
            ),
            (
                json!({"core": {"soft": 2, "hard": 1}}),
                "os/unix/rlimits: core: the soft limit of 2 is above the hard one of 1",
            ),
            (
                json!({"core": {"soft": 2, "max": 1}}),
                "os/unix/rlimits.core: unknown field \"max\"",
            ),
        ] {
            assert_eq!(known(value).unwrap_err().cause, expected);
        }
    }
}
