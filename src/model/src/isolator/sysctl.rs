//! Settings of the kernel: `os/unix/sysctl` in a pod's manifest,
//! `--sysctl=KEY=VALUE` on the command line.
//!
//! Here is the shape of names and values; which of them a pod may set is stage1's
//! affair, which knows its namespaces.

use crate::fault::{Fault, Result};
use crate::json::Cursor;
use crate::text::quote;

/// More settings than this in one pod, or longer ones, are nobody's honest wish.
const MOST: usize = 256;
const LONGEST_KEY: usize = 128;
const LONGEST_VALUE: usize = 1024;

/// A key is plain names with dots or slashes between, nothing that climbs; a
/// value is one line without control characters, which the kernel would cut or
/// read as a second value.
fn check(key: &str, value: &str) -> std::result::Result<(), String> {
    let plain = |part: &str| {
        !part.is_empty()
            && part
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'))
    };
    if key.len() > LONGEST_KEY || !key.split(['.', '/']).all(plain) {
        return Err(format!("{} is not the name of a sysctl", quote(key)));
    }
    if value.len() > LONGEST_VALUE {
        return Err(format!(
            "{key}: the value has more than {LONGEST_VALUE} bytes"
        ));
    }
    if value.is_empty() || value.chars().any(|c| c.is_control() && c != '\t') {
        return Err(format!(
            "{key}: {} is not the value of a sysctl",
            quote(value)
        ));
    }
    Ok(())
}

/// The value of the isolator.
pub(super) fn read(value: &Cursor<'_>) -> Result<Vec<(String, String)>> {
    let entries = value.string_map()?;
    if entries.len() > MOST {
        return Err(value.fault(format!("has more than {MOST} settings")));
    }
    for (key, text) in &entries {
        check(key, text).map_err(|cause| value.fault(cause))?;
    }
    Ok(entries)
}

/// `KEY=VALUE`.
pub fn parse_flag(text: &str) -> Result<(String, String)> {
    let (key, value) = text
        .split_once('=')
        .ok_or_else(|| Fault::usage(format!("{} must be given as KEY=VALUE", quote(text))))?;
    check(key, value).map_err(Fault::usage)?;
    Ok((key.to_string(), value.to_string()))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn names_and_values_of_one_shape() {
        for good in [
            "net.core.somaxconn=256",
            "net/ipv4/ip_forward=1",
            "kernel.sem=250 32000 100 128",
            "net.ipv4.ip_local_port_range=1024\t65000",
            "net.ipv4.conf.eth0/100.rp_filter=1",
            "net.x=a=b",
        ] {
            let (key, value) = parse_flag(good).unwrap();
            assert_eq!(format!("{key}={value}"), good);
        }
        let long = format!("net.{}=1", "x".repeat(LONGEST_KEY));
        let wide = format!("net.x={}", "1".repeat(LONGEST_VALUE + 1));
        for (bad, expected) in [
            ("net.x", "\"net.x\" must be given as KEY=VALUE"),
            ("=1", "\"\" is not the name of a sysctl"),
            (".net=1", "\".net\" is not the name of a sysctl"),
            ("net.=1", "\"net.\" is not the name of a sysctl"),
            ("/net/x=1", "\"/net/x\" is not the name of a sysctl"),
            ("net/../x=1", "\"net/../x\" is not the name of a sysctl"),
            ("net x=1", "\"net x\" is not the name of a sysctl"),
            (
                "net.x=1\n2",
                "net.x: \"1\\n2\" is not the value of a sysctl",
            ),
            (
                "net.x=a\0",
                "net.x: \"a\\x00\" is not the value of a sysctl",
            ),
            ("net.x=", "net.x: \"\" is not the value of a sysctl"),
            (&wide, "net.x: the value has more than 1024 bytes"),
        ] {
            assert_eq!(parse_flag(bad).unwrap_err().cause, expected);
        }
        assert!(parse_flag(&long).is_err());
    }
}
