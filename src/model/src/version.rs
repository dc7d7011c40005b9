//! Semantic versions, as manifests carry them in `acVersion`.

use crate::fault::{Fault, Result};
use crate::text::quote;
use std::cmp::Ordering;
use std::fmt;

/// The version of the appc specification that we write.
pub const APPC: &str = "0.8.11";

/// `MAJOR.MINOR.PATCH[-pre][+meta]`; ordered by precedence, metadata ignored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version {
    pub major: u64,
    pub minor: u64,
    pub patch: u64,
    pub pre: String,
    pub meta: String,
}

impl Version {
    pub fn parse(text: &str) -> Result<Version> {
        Version::read(text)
            .ok_or_else(|| Fault::invalid(format!("{} is not a version like 1.2.3", quote(text))))
    }

    fn read(text: &str) -> Option<Version> {
        let (text, meta) = text.split_once('+').unwrap_or((text, ""));
        let (numbers, pre) = text.split_once('-').unwrap_or((text, ""));
        let parts: Vec<&str> = numbers.splitn(4, '.').collect();
        let [major, minor, patch] = parts.try_into().ok()?;
        let plain = |text: &str| {
            text.bytes()
                .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.'))
        };
        if !plain(pre) || !plain(meta) {
            return None;
        }
        Some(Version {
            major: number(major)?,
            minor: number(minor)?,
            patch: number(patch)?,
            pre: pre.to_string(),
            meta: meta.to_string(),
        })
    }

    /// Whether it says nothing at all: `0.0.0`.
    pub fn is_zero(&self) -> bool {
        (self.major, self.minor, self.patch) == (0, 0, 0)
            && self.pre.is_empty()
            && self.meta.is_empty()
    }
}

fn number(text: &str) -> Option<u64> {
    text.bytes()
        .all(|b| b.is_ascii_digit())
        .then(|| text.parse().ok())?
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.patch)?;
        if !self.pre.is_empty() {
            write!(f, "-{}", self.pre)?;
        }
        if !self.meta.is_empty() {
            write!(f, "+{}", self.meta)?;
        }
        Ok(())
    }
}

impl Version {
    /// Precedence by SemVer 2.0.0 §11.
    pub fn precedence(&self, other: &Version) -> Ordering {
        let key = |version: &Version| (version.major, version.minor, version.patch);
        key(self)
            .cmp(&key(other))
            .then_with(|| match (self.pre.is_empty(), other.pre.is_empty()) {
                (true, true) => Ordering::Equal,
                (true, false) => Ordering::Greater,
                (false, true) => Ordering::Less,
                (false, false) => compare_pre(&self.pre, &other.pre),
            })
    }
}

fn compare_pre(a: &str, b: &str) -> Ordering {
    let (mut left, mut right) = (a.split('.'), b.split('.'));
    loop {
        let order = match (left.next(), right.next()) {
            (None, None) => return Ordering::Equal,
            (None, Some(_)) => return Ordering::Less,
            (Some(_), None) => return Ordering::Greater,
            (Some(a), Some(b)) => match (number(a), number(b)) {
                (Some(a), Some(b)) => a.cmp(&b),
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (None, None) => a.cmp(b),
            },
        };
        if order != Ordering::Equal {
            return order;
        }
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn versions() {
        for text in ["0.8.11", "1.30.0+git", "1.0.0-alpha.1+x", "1.2.3-", "0.0.0"] {
            let version = Version::parse(text).unwrap();
            assert_eq!(version.to_string(), text.trim_end_matches('-'));
        }
        assert!(Version::parse("0.0.0").unwrap().is_zero());
        for text in [
            "",
            "1",
            "1.2",
            "1.2.3.4",
            "v1.2.3",
            "1.2.x",
            "1..3",
            "+1.2.3",
            "1.2.3-\n",
            "99999999999999999999.0.0",
        ] {
            assert!(Version::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn precedence() {
        let sorted = [
            "0.9.9",
            "1.0.0-1",
            "1.0.0-alpha",
            "1.0.0-alpha.1",
            "1.0.0-alpha.beta",
            "1.0.0-rc.2",
            "1.0.0-rc.10",
            "1.0.0",
            "1.0.1",
        ];
        for pair in sorted.windows(2) {
            let [a, b] = [pair[0], pair[1]].map(|text| Version::parse(text).unwrap());
            assert_eq!(a.precedence(&b), Ordering::Less, "{pair:?}");
        }
    }
}
