//! `--insecure-options`: the security features that this invocation does without.

use crate::fault::{Fault, Result};
use crate::text::quote;
use std::fmt;

/// A set of switched-off features; the default is none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct InsecureOptions(u8);

const IMAGE: u8 = 1;
const TLS: u8 = 2;
const ON_DISK: u8 = 4;
const HTTP: u8 = 8;
const PUBKEY: u8 = 16;
const CAPABILITIES: u8 = 32;
const PATHS: u8 = 64;
const SECCOMP: u8 = 128;
const ALL_FETCH: u8 = IMAGE | TLS | HTTP | PUBKEY;
const ALL_RUN: u8 = CAPABILITIES | PATHS | SECCOMP;

const NAMES: [(&str, u8); 12] = [
    ("none", 0),
    ("image", IMAGE),
    ("tls", TLS),
    ("ondisk", ON_DISK),
    ("http", HTTP),
    ("pubkey", PUBKEY),
    ("capabilities", CAPABILITIES),
    ("paths", PATHS),
    ("seccomp", SECCOMP),
    ("all-fetch", ALL_FETCH),
    ("all-run", ALL_RUN),
    ("all", ALL_FETCH | ALL_RUN),
];

impl InsecureOptions {
    /// A comma-separated list, in any case.
    pub fn parse(text: &str) -> Result<InsecureOptions> {
        let mut bits = 0;
        let mut seen: Vec<&str> = Vec::new();
        for word in text.split(',') {
            let word = word.to_lowercase();
            let Some((name, bit)) = NAMES.iter().find(|(name, _)| *name == word) else {
                return Err(Fault::usage(format!("unknown option {}", quote(&word))));
            };
            if seen.contains(name) {
                return Err(Fault::usage(format!("duplicated option {}", quote(&word))));
            }
            seen.push(name);
            bits |= bit;
        }
        Ok(InsecureOptions(bits))
    }

    /// The words that may be given, in the order of the help screen.
    pub fn words() -> impl Iterator<Item = &'static str> {
        NAMES.iter().map(|(name, _)| *name)
    }

    fn has(self, bits: u8) -> bool {
        self.0 & bits != 0
    }

    pub fn skip_image_check(self) -> bool {
        self.has(IMAGE)
    }
    pub fn skip_tls_check(self) -> bool {
        self.has(TLS)
    }
    pub fn allow_http(self) -> bool {
        self.has(HTTP)
    }
    pub fn skip_pubkey_check(self) -> bool {
        self.has(PUBKEY)
    }
    pub fn skip_capabilities(self) -> bool {
        self.has(CAPABILITIES)
    }
    pub fn skip_paths(self) -> bool {
        self.has(PATHS)
    }
    pub fn skip_seccomp(self) -> bool {
        self.has(SECCOMP)
    }
}

impl fmt::Display for InsecureOptions {
    /// The single words, or `none`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words: Vec<&str> = NAMES
            .iter()
            .filter(|(_, bit)| bit.count_ones() == 1 && self.has(*bit))
            .map(|(name, _)| *name)
            .collect();
        if words.is_empty() {
            f.write_str("none")
        } else {
            f.write_str(&words.join(","))
        }
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn sets_are_read_and_shown() {
        for (text, want) in [
            ("none", "none"),
            ("image", "image"),
            ("Image,TLS", "image,tls"),
            ("all-fetch", "image,tls,http,pubkey"),
            ("all-run,image", "image,capabilities,paths,seccomp"),
            ("all", "image,tls,http,pubkey,capabilities,paths,seccomp"),
            ("ondisk", "ondisk"),
        ] {
            assert_eq!(InsecureOptions::parse(text).unwrap().to_string(), want);
        }
        let options = InsecureOptions::parse("image,seccomp").unwrap();
        assert!(options.skip_image_check() && options.skip_seccomp());
        assert!(!options.skip_tls_check() && !options.allow_http() && !options.skip_pubkey_check());
        assert!(!options.skip_paths() && !options.skip_capabilities());
        assert!(!InsecureOptions::default().skip_image_check());
        assert_eq!(InsecureOptions::words().count(), 12);
    }

    #[test]
    fn bad_sets_are_refused() {
        for (text, want) in [
            ("bogus", "unknown option \"bogus\""),
            ("", "unknown option \"\""),
            ("image, tls", "unknown option \" tls\""),
            ("tls,TLS", "duplicated option \"tls\""),
        ] {
            assert_eq!(InsecureOptions::parse(text).unwrap_err().cause, want);
        }
    }
}
