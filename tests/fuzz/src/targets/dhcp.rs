//! Answers of a DHCP server, and leases as they are handed on.
//!
//! The input is a message, which is put into a packet whose headers are right; and a whole packet, and a lease's text.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use model::json::{parse, to_compact};
use net::ipam::dhcp::{Lease, Times, decode};
use net::{Cidr, Outcome};

use super::cni::sound;
use super::plant::plant;

pub fn dhcp(data: &[u8]) {
    for packet in [data, &framed(data)] {
        if let Ok((outcome, times)) = decode(packet) {
            granted(&outcome, times, data);
        }
    }
    if let Ok(text) = std::str::from_utf8(data)
        && let Ok(lease) = Lease::parse(text)
    {
        same(&lease);
    }
}

/// From a server's port to a client's, with the checksum of the IPv4 header.
fn framed(message: &[u8]) -> Vec<u8> {
    let length = |headers: usize| ((headers + message.len()).min(0xffff) as u16).to_be_bytes();
    let mut packet = vec![0x45, 0];
    packet.extend(length(28));
    packet.extend([0, 0, 0, 0, 64, 17, 0, 0, 10, 0, 0, 1, 255, 255, 255, 255]);
    let words = packet.as_chunks::<2>().0;
    let sum: u32 = words
        .iter()
        .map(|two| u32::from(u16::from_be_bytes(*two)))
        .sum();
    let sum = !((sum & 0xffff) + (sum >> 16)) as u16;
    packet[10..12].copy_from_slice(&sum.to_be_bytes());
    packet.extend([0, 67, 0, 68]);
    packet.extend(length(8));
    packet.extend([0, 0]);
    packet.extend(message);
    packet
}

fn granted(outcome: &Outcome, times: Option<Times>, data: &[u8]) {
    sound(outcome);
    let [ip] = &outcome.ips[..] else {
        panic!("{} addresses are granted", outcome.ips.len());
    };
    let subnet = ip.address.network();
    let edge = [subnet.ip, subnet.last()].contains(&ip.address.ip);
    assert!(usable(ip.address.ip), "{} is no host's", ip.address);
    assert!(!edge || ip.address.len >= 31, "{} is no host's", ip.address);
    let gateways = outcome.routes.iter().map(|route| route.gw);
    for gateway in gateways.chain([ip.gateway]).flatten() {
        assert!(usable(gateway), "{gateway} is no router's");
    }
    assert!(outcome.routes.iter().all(|route| route.dst.is_v4()));
    let dns = &outcome.dns;
    for server in &dns.nameservers {
        let server = server.parse().expect("a name server is an address");
        assert!(usable(server), "{server} is no name server's");
    }
    for name in dns.search.iter().chain([&dns.domain]) {
        let odd = |c: char| !(c.is_ascii_alphanumeric() || "-_.".contains(c));
        assert!(
            name.len() <= 253 && !name.contains(odd),
            "{name:?} is no name"
        );
    }
    assert!(dns.options.is_empty() && dns.search.iter().all(|name| !name.is_empty()));
    if let Some(times) = times {
        let order = [Duration::ZERO, times.renew, times.rebind, times.expire];
        assert!(order.is_sorted() && !times.renew.is_zero(), "{times:?}");
    }
    same(&Lease {
        if_name: "eth0".into(),
        client_id: data[..data.len().min(255)].to_vec(),
        server: Ipv4Addr::new(10, 0, 0, 1),
        address: ip.address,
        since: Duration::from_nanos(data.len() as u64),
        times,
    });
    let text = to_compact(&outcome.to_json("1.1.0"));
    let value = parse(text.as_bytes()).expect("what is written is JSON");
    let again = Outcome::from_json(&value).expect("what is granted can be kept");
    assert_eq!(again, *outcome, "another lease is kept");
    let met = outcome.routes.len() == 4 && dns.search.len() == 2;
    plant(met, "four routes and two domains to search");
}

fn same(lease: &Lease) {
    let text = lease.to_text();
    let again = Lease::parse(&text).expect("what is written can be read");
    assert_eq!(again, *lease, "{text:?} is another lease");
}

/// Not of this network, of loopback, of multicast or above.
fn usable(ip: IpAddr) -> bool {
    let not = ["0.0.0.0/8", "127.0.0.0/8", "224.0.0.0/3"];
    let inside = |text| Cidr::parse(text).is_ok_and(|range| range.contains(ip));
    ip.is_ipv4() && !not.into_iter().any(inside)
}
