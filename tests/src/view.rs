//! What a network namespace looks like, as sorted lines without what changes from run to run.
//!
//! From `ip -j`: links with their kind, size, flags and settings, global addresses, routes. Left out are indices, MAC
//! addresses, link-local addresses and the kernel's own local table; `veth1a2b3c4d` becomes `veth*`. Two namespaces that
//! two programs set up for the same configuration have the same lines.

use crate::lab::{tool, within};
use serde_json::Value;
use std::path::Path;

/// All links but `lo`, their addresses, and the main table.
#[track_caller]
pub fn of(netns: &Path) -> Vec<String> {
    within(netns, here)
}

/// As `of`, in the current namespace.
#[track_caller]
pub fn here() -> Vec<String> {
    let mut lines = Vec::new();
    for link in json(&["-j", "-d", "addr", "show"]) {
        if link["ifname"] != "lo" {
            lines.extend(of_link(&link));
        }
    }
    for family in ["-4", "-6"] {
        for route in json(&["-j", family, "route", "show", "table", "main"]) {
            lines.extend(of_route(&route));
        }
    }
    lines.sort();
    lines
}

/// The lines that `then` does not have.
pub fn added(then: &[String], now: Vec<String>) -> Vec<String> {
    let mut left = then.to_vec();
    let is_new = |line: &String| match left.iter().position(|l| l == line) {
        Some(at) => {
            left.swap_remove(at);
            false
        }
        None => true,
    };
    now.into_iter().filter(is_new).collect()
}

/// `ip ARGS` as JSON.
#[track_caller]
pub fn json(args: &[&str]) -> Vec<Value> {
    let text = tool("ip", args);
    if text.trim().is_empty() {
        return Vec::new();
    }
    let value: Value =
        serde_json::from_str(&text).unwrap_or_else(|e| panic!("ip {args:?}: {e}\n{text}"));
    value.as_array().cloned().unwrap_or_default()
}

fn of_link(link: &Value) -> Vec<String> {
    let name = common(word(&link["ifname"]));
    let mut flags: Vec<&str> = link["flags"]
        .as_array()
        .map(|all| all.iter().map(word).collect())
        .unwrap_or_default();
    // Whether the other end is up shows a moment later than the link itself.
    flags.retain(|f| ["UP", "BROADCAST", "MULTICAST", "NOARP", "PROMISC"].contains(f));
    flags.sort_unstable();
    let info = &link["linkinfo"];
    let mut line = format!(
        "link {name} {} mtu {} {}",
        word(&info["info_kind"]),
        link["mtu"],
        flags.join(",")
    );
    if let Some(master) = link["master"].as_str() {
        line += &format!(" master {master}");
    }
    if let Some(mode) = info["info_data"]["mode"].as_str() {
        line += &format!(" mode {mode}");
    }
    if info["info_slave_data"]["hairpin"] == true {
        line += " hairpin";
    }
    let mut lines = vec![line];
    for address in link["addr_info"].as_array().into_iter().flatten() {
        if address["scope"] == "link" {
            continue;
        }
        lines.push(format!(
            "address {name} {}/{} {}",
            word(&address["local"]),
            address["prefixlen"],
            word(&address["scope"])
        ));
    }
    lines
}

fn of_route(route: &Value) -> Option<String> {
    let dst = word(&route["dst"]);
    if dst.starts_with("fe80:") || dst.starts_with("ff00:") {
        return None;
    }
    let mut line = format!("route {dst}");
    for (key, name) in [
        ("gateway", "via"),
        ("dev", "dev"),
        ("prefsrc", "src"),
        ("scope", "scope"),
    ] {
        if let Some(value) = route[key].as_str() {
            line += &format!(" {name} {}", common(value));
        }
    }
    for key in ["metric", "mtu", "advmss"] {
        if let Some(value) = route[key].as_u64() {
            line += &format!(" {key} {value}");
        }
    }
    Some(line)
}

fn word(value: &Value) -> &str {
    value.as_str().unwrap_or("")
}

fn common(name: &str) -> &str {
    match name.strip_prefix("veth") {
        Some(rest) if rest.len() == 8 && rest.bytes().all(|b| b.is_ascii_hexdigit()) => "veth*",
        _ => name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_random_names_are_made_common() {
        assert_eq!(common("veth1a2b3c4d"), "veth*");
        assert_eq!(common("vethernet0"), "vethernet0");
        assert_eq!(common("world"), "world");
    }

    #[test]
    fn what_was_there_once_counts_once() {
        let lines = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(added(&lines("a b"), lines("a a b c")), ["a", "c"]);
    }
}
