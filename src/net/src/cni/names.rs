//! The characters that names may have: they become file names, parts of rules
//! and variables of programs.

use model::text::quote;
use model::{Fault, fault::Result};

/// Longest name of an interface (IFNAMSIZ without its NUL).
const MAX_INTERFACE: usize = 15;

/// The name of a network, or the ID of what is attached to it.
pub(crate) fn check_identifier(what: &str, text: &str) -> Result<()> {
    let rest = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
    let good = text
        .as_bytes()
        .first()
        .is_some_and(u8::is_ascii_alphanumeric);
    if good && text.bytes().all(rest) {
        return Ok(());
    }
    Err(Fault::invalid(format!("invalid {what} {}", quote(text)))
        .hint("it has to begin with a letter or digit and may further have \"_\", \".\" and \"-\""))
}

pub(crate) fn check_interface(name: &str) -> Result<()> {
    if is_interface(name) {
        return Ok(());
    }
    Err(
        Fault::invalid(format!("invalid interface name {}", quote(name))).hint(format!(
            "it has 1 to {MAX_INTERFACE} bytes without \"/\", \":\" and white space"
        )),
    )
}

pub(crate) fn is_interface(name: &str) -> bool {
    let bad = |c: char| c == '/' || c == ':' || c.is_whitespace() || c.is_control();
    (1..=MAX_INTERFACE).contains(&name.len()) && name != "." && name != ".." && !name.contains(bad)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_cannot_lead_elsewhere() {
        for good in ["a", "9", "a.b_c-d", "default-restricted"] {
            assert!(check_identifier("network name", good).is_ok(), "{good}");
        }
        for bad in [
            "", ".", "..", "-a", "_a", "a/b", "../a", "a b", "a\n", "é", "a\0",
        ] {
            assert!(check_identifier("network name", bad).is_err(), "{bad}");
        }
        for good in ["a", "eth0", "veth1a2b3c4d", "fifteen-bytes-x", "@"] {
            assert!(is_interface(good), "{good}");
        }
        for bad in [
            "",
            ".",
            "..",
            "a/b",
            "a:0",
            "a b",
            "a\t",
            "sixteen-bytes-xx",
            "a\0",
        ] {
            assert!(check_interface(bad).is_err(), "{bad}");
        }
    }
}
