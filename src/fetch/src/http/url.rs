//! URLs as far as a client takes them apart: origin and rest, and what a
//! `Location` means.
//!
//! Text in, [`Url`] out. Only http and https; no user name and password (they
//! would end in logs and in the `Referer` of others); no fragment, which is not
//! the server's business; printable ASCII alone.

use model::fault::{Fault, Result};
use model::text::quote;
use std::fmt;

/// No server needs more; a redirect could otherwise grow without end.
const MAX: usize = 8192;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Url {
    pub https: bool,
    /// Lower case, a literal of IPv6 without its brackets.
    pub host: String,
    pub port: u16,
    /// Path and query, `/` at least.
    pub rest: String,
}

impl Url {
    pub fn parse(text: &str) -> Result<Url> {
        let bad = |why: &str| Fault::invalid(format!("bad URL {}: {why}", quote(&shown(text))));
        if text.len() > MAX {
            return Err(bad("it is too long"));
        }
        if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(bad("only printable ASCII may stand in a URL"));
        }
        let (scheme, rest) = text.split_once("://").ok_or_else(|| bad("no scheme"))?;
        let https = match scheme.to_ascii_lowercase().as_str() {
            "https" => true,
            "http" => false,
            _ => return Err(bad("only https and http are known")),
        };
        let rest = rest.split_once('#').map_or(rest, |(rest, _)| rest);
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, rest) = rest.split_at(end);
        if authority.contains('@') {
            return Err(bad("a user name or password does not belong in a URL")
                .hint("put credentials into auth.d"));
        }
        let (host, port) = split_port(authority).ok_or_else(|| bad("bad host or port"))?;
        let port = port.unwrap_or(if https { 443 } else { 80 });
        let rest = match rest.starts_with('/') {
            true => rest.to_string(),
            false => format!("/{rest}"),
        };
        Ok(Url {
            https,
            host: host.to_ascii_lowercase(),
            port,
            rest,
        })
    }

    /// What `location` means in an answer from here.
    pub fn join(&self, location: &str) -> Result<Url> {
        let location = location.trim();
        let scheme = location.find(':').filter(|colon| {
            let before = &location[..*colon];
            !before.is_empty()
                && before
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte))
        });
        if scheme.is_some() {
            return Url::parse(location);
        }
        if let Some(rest) = location.strip_prefix("//") {
            let scheme = if self.https { "https" } else { "http" };
            return Url::parse(&format!("{scheme}://{rest}"));
        }
        let path = self.rest.split('?').next().unwrap_or("/");
        let rest = match location.bytes().next() {
            None | Some(b'#') => self.rest.clone(),
            Some(b'/') => location.to_string(),
            Some(b'?') => format!("{path}{location}"),
            Some(_) => {
                let folder = &path[..=path.rfind('/').unwrap_or(0)];
                format!("{folder}{location}")
            }
        };
        Url::parse(&format!("{}{rest}", self.origin()))
    }

    /// `https://host:port`, the port only where it is not the scheme's own.
    pub fn origin(&self) -> String {
        let scheme = if self.https { "https" } else { "http" };
        let own = if self.https { 443 } else { 80 };
        let host = match self.host.contains(':') {
            true => format!("[{}]", self.host),
            false => self.host.clone(),
        };
        match self.port == own {
            true => format!("{scheme}://{host}"),
            false => format!("{scheme}://{host}:{}", self.port),
        }
    }

    pub fn same_origin(&self, other: &Url) -> bool {
        (self.https, &self.host, self.port) == (other.https, &other.host, other.port)
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.origin(), self.rest)
    }
}

/// A URL for a message: without a password, and of bearable length.
pub fn shown(text: &str) -> String {
    let mut text = text.to_string();
    if let Some(start) = text.find("://").map(|at| at + 3) {
        let end = text[start..]
            .find(['/', '?'])
            .map_or(text.len(), |at| start + at);
        if let Some(at) = text[start..end].rfind('@') {
            text.replace_range(start..start + at, "***");
        }
    }
    match text.char_indices().nth(300) {
        Some((cut, _)) => format!("{}…", &text[..cut]),
        None => text,
    }
}

/// Host and port of `host`, `host:1`, `[::1]`, `[::1]:1`.
pub fn split_port(authority: &str) -> Option<(&str, Option<u16>)> {
    let (host, port) = match authority.strip_prefix('[') {
        Some(rest) => {
            let (host, port) = rest.split_once(']')?;
            host.parse::<std::net::Ipv6Addr>().ok()?;
            (host, port)
        }
        None => {
            let end = authority.find(':').unwrap_or(authority.len());
            let (host, port) = authority.split_at(end);
            let fine = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
            if host.is_empty() || host.len() > 255 || !host.bytes().all(fine) {
                return None;
            }
            (host, port)
        }
    };
    match port.strip_prefix(':') {
        None if port.is_empty() => Some((host, None)),
        None => None,
        Some("") => Some((host, None)),
        Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => {
            let port = digits.parse().ok().filter(|port| *port != 0)?;
            Some((host, Some(port)))
        }
        Some(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_location_means() {
        let from = Url::parse("https://A.example:8443/v2/x/blobs/1?q=1#f").expect("a URL");
        for (location, want) in [
            ("/y", "https://a.example:8443/y"),
            ("y?z", "https://a.example:8443/v2/x/blobs/y?z"),
            ("?z", "https://a.example:8443/v2/x/blobs/1?z"),
            ("", "https://a.example:8443/v2/x/blobs/1?q=1"),
            ("//b/y", "https://b/y"),
            ("http://b:80/y", "http://b/y"),
            ("https://[2001:DB8::1]:5000", "https://[2001:db8::1]:5000/"),
            ("HTTPS://b:443?x", "https://b/?x"),
            (" /y ", "https://a.example:8443/y"),
        ] {
            let got = from.join(location).expect(location);
            assert_eq!(got.to_string(), want, "{location}");
        }
    }

    #[test]
    fn what_is_no_url_for_us() {
        for bad in [
            "",
            "x",
            "https://",
            "https:///x",
            "https://:1/",
            "ftp://a/",
            "file:///etc/passwd",
            "https://a:0/",
            "https://a:65536/",
            "https://a:1x/",
            "https://a:+1/",
            "https://[::1",
            "https://[::1]x/",
            "https://[zz]/",
            "https://a b/",
            "https://a/\r\nHost: b",
            "https://ä/",
            "https://u:p@a/",
            "https://a%2f/",
        ] {
            assert!(Url::parse(bad).is_err(), "{bad}");
        }
        let fault = Url::parse("https://u:secret@a/").expect_err("a password");
        assert!(!fault.to_string().contains("secret"), "{fault}");
        assert!(Url::parse(&format!("https://a/{}", "x".repeat(MAX))).is_err());
    }
}
