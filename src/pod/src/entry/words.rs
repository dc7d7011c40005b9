//! Reads words as Go's flag package does: one or two dashes, `--name=value` or
//! `--name value`, switches with an optional `=true` or `=false`, the end at the
//! first word without a dash or after `--`.

use model::{Fault, PodUuid, fault::Result};

/// Words not yet read.
pub(super) struct Words<'a> {
    list: Vec<&'a str>,
    at: usize,
}

/// A flag with the value that came along.
pub(super) struct Flag<'a> {
    pub(super) name: &'a str,
    value: Option<&'a str>,
}

/// Flags that take no word of their own.
const SWITCHES: [&str; 9] = [
    "debug",
    "interactive",
    "disable-capabilities-restriction",
    "disable-paths",
    "disable-seccomp",
    "mutable",
    "detach",
    "rm",
    "force",
];

/// Flags that take a value.
const VALUES: [&str; 12] = [
    "net",
    "private-users",
    "mds-token",
    "local-config",
    "hostname",
    "dns-conf-mode",
    "ipc",
    "pid",
    "appname",
    "app",
    "uuid",
    "notify-fd",
];

impl<'a> Words<'a> {
    pub(super) fn new<S: AsRef<str>>(words: &'a [S]) -> Words<'a> {
        Words {
            list: words.iter().map(AsRef::as_ref).collect(),
            at: 0,
        }
    }

    pub(super) fn flag(&mut self) -> Result<Option<Flag<'a>>> {
        let Some(word) = self.list.get(self.at).copied() else {
            return Ok(None);
        };
        let Some(name) = word.strip_prefix('-').filter(|name| !name.is_empty()) else {
            return Ok(None);
        };
        self.at += 1;
        if name == "-" {
            return Ok(None);
        }
        let name = name.strip_prefix('-').unwrap_or(name);
        let (name, mut value) = match name.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (name, None),
        };
        if name.is_empty() || name.starts_with('-') {
            return Err(Fault::usage(format!("bad flag syntax: {word}")));
        }
        if VALUES.contains(&name) && value.is_none() {
            value = Some(self.word().ok_or_else(|| missing_value(name))?);
        } else if !VALUES.contains(&name) && !SWITCHES.contains(&name) {
            // Before the rest is read: it may be the unknown flag's value.
            return Err(Flag { name, value }.unknown());
        }
        Ok(Some(Flag { name, value }))
    }

    pub(super) fn word(&mut self) -> Option<&'a str> {
        let word = self.list.get(self.at).copied()?;
        self.at += 1;
        Some(word)
    }

    pub(super) fn rest(&mut self) -> Vec<String> {
        let rest = self.list.get(self.at..).unwrap_or_default();
        self.at = self.list.len();
        rest.iter().map(|word| word.to_string()).collect()
    }

    pub(super) fn uuid(&mut self) -> Result<PodUuid> {
        let uuid = PodUuid::new(
            self.word()
                .ok_or_else(|| Fault::usage("UUID is missing or malformed"))?,
        )?;
        self.end()?;
        Ok(uuid)
    }

    pub(super) fn end(&self) -> Result<()> {
        match self.list.get(self.at) {
            Some(word) => Err(Fault::usage(format!("unexpected word {word:?}"))),
            None => Ok(()),
        }
    }
}

fn missing_value(name: &str) -> Fault {
    Fault::usage(format!("flag needs an argument: -{name}"))
}

impl<'a> Flag<'a> {
    pub(super) fn value(&self) -> Result<&'a str> {
        self.value
            .ok_or_else(|| Fault::usage(format!("flag needs an argument: -{}", self.name)))
    }

    /// Empty counts as not given.
    pub(super) fn text(&self) -> Result<Option<String>> {
        Ok(Some(self.value()?)
            .filter(|value| !value.is_empty())
            .map(String::from))
    }

    pub(super) fn bool(&self) -> Result<bool> {
        match self.value {
            None | Some("true" | "1" | "t" | "T" | "TRUE" | "True") => Ok(true),
            Some("false" | "0" | "f" | "F" | "FALSE" | "False") => Ok(false),
            Some(_) => Err(self.bad("expected true or false")),
        }
    }

    pub(super) fn bad(&self, why: &str) -> Fault {
        let value = self.value.unwrap_or_default();
        Fault::usage(format!(
            "invalid value {value:?} for flag -{}: {why}",
            self.name
        ))
    }

    /// Exit status 2 is what Go's flag package ends with.
    pub(super) fn unknown(&self) -> Fault {
        Fault::usage(format!("flag provided but not defined: -{}", self.name)).exit(2)
    }
}
