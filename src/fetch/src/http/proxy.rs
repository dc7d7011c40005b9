//! Which proxy a URL goes through: `https_proxy`, `http_proxy`, `no_proxy`.
//!
//! `no_proxy` is a list with commas or blanks: `*`, a host (its subdomains too),
//! `.suffix` or `*.suffix` (subdomains alone), an IP address, a CIDR block; each
//! but `*` and blocks with a port if wanted. What is on loopback never goes
//! through a proxy, as with Go's client.

use super::Environment;
use super::url::{Url, split_port};
use std::net::IpAddr;

/// The proxy's URL for `url`, if any.
pub(super) fn choose<'e>(environment: &'e Environment, url: &Url) -> Option<&'e str> {
    let proxy = match url.https {
        true => environment.https_proxy.as_deref()?,
        false => environment.http_proxy.as_deref()?,
    };
    (!excepted(&environment.no_proxy, &url.host, url.port)).then_some(proxy)
}

fn excepted(list: &str, host: &str, port: u16) -> bool {
    let ip = host.parse::<IpAddr>().ok();
    if host == "localhost" || ip.is_some_and(|ip| ip.is_loopback()) {
        return true;
    }
    list.split([',', ' ', '\t'])
        .filter(|entry| !entry.is_empty())
        .any(|entry| matches(&entry.to_ascii_lowercase(), host, ip, port))
}

fn matches(entry: &str, host: &str, ip: Option<IpAddr>, port: u16) -> bool {
    if entry == "*" {
        return true;
    }
    if let Some((base, bits)) = entry.split_once('/') {
        let (Ok(base), Ok(bits), Some(ip)) = (base.parse(), bits.parse(), ip) else {
            return false;
        };
        return in_block(ip, base, bits);
    }
    if let Ok(address) = entry.parse::<IpAddr>() {
        return ip == Some(address);
    }
    let bare = entry.strip_prefix('*').unwrap_or(entry);
    let (name, wanted) = match bare.strip_prefix('.') {
        Some(rest) => (split_port(rest), true),
        None => (split_port(bare), false),
    };
    let (Some((name, entry_port)), subdomains_only) = (name, wanted) else {
        return false;
    };
    if entry_port.is_some_and(|wanted| wanted != port) {
        return false;
    }
    if let Ok(address) = name.parse::<IpAddr>() {
        return ip == Some(address);
    }
    // `10.0.0.1` is no subdomain of `0.1`.
    if ip.is_some() {
        return false;
    }
    match host.strip_suffix(name) {
        Some("") => !subdomains_only,
        Some(before) => before.ends_with('.'),
        None => false,
    }
}

fn in_block(ip: IpAddr, base: IpAddr, bits: u32) -> bool {
    match (ip, base) {
        (IpAddr::V4(ip), IpAddr::V4(base)) if bits <= 32 => {
            let mask = u32::MAX.checked_shl(32 - bits).unwrap_or(0);
            u32::from(ip) & mask == u32::from(base) & mask
        }
        (IpAddr::V6(ip), IpAddr::V6(base)) if bits <= 128 => {
            let mask = u128::MAX.checked_shl(128 - bits).unwrap_or(0);
            u128::from(ip) & mask == u128::from(base) & mask
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exceptions() {
        for (list, host, port, want) in [
            ("", "a.example", 443, false),
            ("*", "a.example", 443, true),
            ("a.example", "a.example", 443, true),
            ("A.Example", "a.example", 443, true),
            ("a.example", "b.a.example", 443, true),
            ("a.example", "ba.example", 443, false),
            (".a.example", "b.a.example", 443, true),
            (".a.example", "a.example", 443, false),
            ("*.a.example", "b.a.example", 443, true),
            ("*.a.example", "a.example", 443, false),
            ("x, a.example:5000 y", "a.example", 5000, true),
            ("a.example:5000", "a.example", 443, false),
            ("10.0.0.0/8", "10.1.2.3", 443, true),
            ("10.0.0.0/8", "11.1.2.3", 443, false),
            ("0.0.0.0/0", "11.1.2.3", 443, true),
            ("10.0.0.0/33", "10.0.0.0", 443, false),
            ("10.0.0.0/8", "a.example", 443, false),
            ("10.1.2.3", "10.1.2.3", 443, true),
            ("10.1.2.3:80", "10.1.2.3", 443, false),
            ("2.3", "10.1.2.3", 443, false),
            ("2001:db8::/32", "2001:db8::1", 443, true),
            ("2001:db8::1", "2001:db8::1", 443, true),
            ("[2001:db8::1]:443", "2001:db8::1", 443, true),
            ("[2001:db8::1]:80", "2001:db8::1", 443, false),
            ("", "localhost", 80, true),
            ("", "127.8.8.8", 80, true),
            ("", "::1", 80, true),
            ("/", "a.example", 443, false),
            (",,.,*.", "a.example", 443, false),
        ] {
            assert_eq!(excepted(list, host, port), want, "{list} {host}:{port}");
        }
    }

    #[test]
    fn each_scheme_has_its_own_proxy() {
        let environment = Environment {
            https_proxy: Some("http://p:1".into()),
            no_proxy: "b".into(),
            ..Environment::default()
        };
        let choose = |url: &str| choose(&environment, &Url::parse(url).expect("a URL"));
        assert_eq!(choose("https://a/"), Some("http://p:1"));
        assert_eq!(choose("https://b/"), None);
        assert_eq!(choose("http://a/"), None);
    }
}
