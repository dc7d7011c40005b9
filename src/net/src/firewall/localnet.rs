//! The switch that lets packets with an address of 127.0.0.0/8 cross an
//! interface of the host, so that forwarded ports are reached over loopback.
//!
//! It is turned on only after the interface is guarded, and only for one that is
//! the pod's own, so that it goes with it.

use model::{Fault, fault::Result};

/// Names are part of paths, and `all` and `default` are no interfaces.
pub fn check(interface: &str) -> Result<()> {
    let odd = |c: char| c == '/' || c.is_whitespace() || c == '\0';
    let reserved = matches!(interface, "" | "." | ".." | "all" | "default");
    if reserved || interface.len() > 15 || interface.contains(odd) {
        return Err(Fault::invalid(format!(
            "\"{interface}\" cannot be the name of an interface"
        )));
    }
    Ok(())
}

pub fn allow(interface: &str) -> Result<()> {
    let path = format!("/proc/sys/net/ipv4/conf/{interface}/route_localnet");
    if std::fs::read_to_string(&path).is_ok_and(|now| now.trim_end() == "1") {
        return Ok(());
    }
    std::fs::write(&path, "1").map_err(|err| Fault::io("write", format!("\"{path}\""), err))
}

#[cfg(test)]
mod tests {
    use super::check;

    #[test]
    fn names_that_lead_elsewhere_are_refused() {
        for name in ["veth1", "br-0123456789ab", "eth0.5"] {
            assert!(check(name).is_ok(), "{name}");
        }
        for name in [
            "",
            ".",
            "..",
            "all",
            "default",
            "a/b",
            "a b",
            "a23456789012345x",
        ] {
            assert!(check(name).is_err(), "{name}");
        }
    }
}
