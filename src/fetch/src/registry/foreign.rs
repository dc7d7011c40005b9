//! Layers that a registry may not hold: their descriptor names other places.
//!
//! An image's author chooses these URLs, so they get no login and no cookie
//! (CVE-2020-15157), and must not lead to addresses that only this machine or
//! its network can reach, unless the registry itself is there.

use crate::http::{Client, Download, Expected, Request, Url};
use model::fault::{Fault, Result};
use model::text::quote;
use std::net::{IpAddr, ToSocketAddrs};

/// More places than anybody names.
const MAX_URLS: usize = 8;

/// The first place that has it.
pub(super) fn open(
    client: &Client<'_>,
    registry: &str,
    urls: &[String],
    expected: &Expected,
) -> Result<Download> {
    let private = Url::parse(&format!("https://{registry}/")).is_ok_and(|url| is_private(&url));
    let mut last = Fault::not_found("the layer is foreign and names no place to fetch it from");
    for text in urls.iter().take(MAX_URLS) {
        let opened = Url::parse(text).and_then(|url| {
            if !private && is_private(&url) {
                return Err(Fault::refused(format!(
                    "{} is in a private network, where a layer may not come from",
                    quote(text)
                )));
            }
            client.download(&Request::get(text.as_str()), expected)
        });
        match opened {
            Ok(download) => return Ok(download),
            Err(fault) => last = fault,
        }
    }
    Err(last)
}

/// Whether the name leads, by any of its addresses, to what is not public. A name
/// without any address leads nowhere, which the request will tell.
fn is_private(url: &Url) -> bool {
    match (url.host.as_str(), url.port).to_socket_addrs() {
        Ok(mut addresses) => addresses.any(|address| !is_public(address.ip())),
        Err(_) => false,
    }
}

fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => {
            let [a, b, ..] = v4.octets();
            !(v4.is_loopback()
                || v4.is_private()
                || v4.is_link_local()
                || v4.is_multicast()
                || v4.is_broadcast()
                || a == 0
                // Shared address space of carriers.
                || (a == 100 && (64..128).contains(&b)))
        }
        IpAddr::V6(v6) => {
            if let Some(v4) = v6.to_ipv4_mapped() {
                return is_public(IpAddr::V4(v4));
            }
            let head = v6.segments()[0];
            !(v6.is_loopback()
                || v6.is_unspecified()
                || v6.is_multicast()
                || head & 0xfe00 == 0xfc00
                || head & 0xffc0 == 0xfe80)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_that_are_not_for_images() {
        for (text, public) in [
            ("93.184.216.34", true),
            ("2606:2800:220:1::1", true),
            ("127.0.0.1", false),
            ("10.1.2.3", false),
            ("172.16.0.1", false),
            ("192.168.1.1", false),
            ("169.254.169.254", false),
            ("100.64.0.1", false),
            ("0.0.0.0", false),
            ("224.0.0.1", false),
            ("::1", false),
            ("::", false),
            ("fe80::1", false),
            ("fd00:ec2::254", false),
            ("::ffff:169.254.169.254", false),
        ] {
            let address: IpAddr = text.parse().expect("an address");
            assert_eq!(is_public(address), public, "{text}");
        }
        let metadata = Url::parse("http://169.254.169.254/latest").expect("a URL");
        assert!(is_private(&metadata));
    }
}
