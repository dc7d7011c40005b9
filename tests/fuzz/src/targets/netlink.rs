//! What a kernel sends over netlink: links, addresses, routes, verdicts, tracked flows; whatever was read is written as a
//! request and reads the same.

use net::netlink::addr::{self, Manner};
use net::netlink::link::{self, Link, Mac};
use net::netlink::message::{Batch, Received, attributes, find, messages, verdict};
use net::netlink::route::{self, Over};
use net::{Cidr, firewall::conntrack};

use super::plant::plant;

/// Below this much of a message nothing is nested any more.
const DEEPEST: usize = 6;

pub fn netlink(data: &[u8]) {
    let mut size = 0;
    for message in messages(data) {
        size += 16 + message.body.len();
        assert!(size <= data.len() + 3, "messages of more bytes than came");
        of_message(&message);
    }
    let flows = conntrack::destinations(data);
    assert!(flows.len() <= data.len() / 16, "more flows than came");
}

fn of_message(message: &Received<'_>) {
    for fixed in [0, 4, 8, 12, 16] {
        walk(message.body.get(fixed..).unwrap_or_default(), 0);
    }
    if let Some((_, text)) = verdict(message) {
        assert!(text.len() <= 3 * message.body.len() && !text.contains('\0'));
    }
    if let Some(held) = addr::parse(message) {
        let mut batch = Batch::new();
        addr::add(&mut batch, held.link, held.address, Manner::default());
        assert_eq!(
            again(batch, addr::parse),
            held,
            "another address is asked for"
        );
    }
    if let Some(route) = route::parse_default(message) {
        let all = Cidr::parse("0.0.0.0/0").expect("this is a network");
        let mut batch = Batch::new();
        let over = Over {
            priority: Some(route.priority),
            ..Over::plain(route.link, all)
        };
        route::add(&mut batch, &over);
        assert_eq!(
            again(batch, route::parse_default),
            route,
            "another route is asked for"
        );
    }
    if let Some(link) = link::parse(message) {
        of_link(&link);
    }
}

fn of_link(link: &Link) {
    for text in [&link.name, &link.kind] {
        assert!(!text.contains('\0'), "{text:?} goes on behind its end");
    }
    assert!(link.kind == "bridge" || !link.vlan_filtering);
    if let Ok(mac) = Mac::try_from(&link.mac[..]) {
        let mut batch = Batch::new();
        link::add_bridge(&mut batch, &link.name, &mac, link.mtu, link.vlan_filtering);
        let asked = again(batch, link::parse);
        let same = asked.name == link.name && asked.mac == link.mac && asked.mtu == link.mtu;
        assert!(
            same && asked.vlan_filtering == link.vlan_filtering,
            "another link is asked for"
        );
        assert_eq!(asked.kind, "bridge");
    }
    let met = link.loopback && link.port_state == Some(3);
    plant(met, "a loopback that is a forwarding port of a bridge");
}

/// The one request of a batch, as its reader takes it.
fn again<T>(mut batch: Batch, parse: fn(&Received<'_>) -> Option<T>) -> T {
    let bytes = batch.seal(7).expect("a request is not large");
    let requests: Vec<Received<'_>> = messages(bytes).collect();
    assert_eq!((requests.len(), requests[0].seq), (1, 7));
    parse(&requests[0]).expect("what is asked for can be read")
}

fn walk(bytes: &[u8], depth: usize) {
    let mut size = 0;
    for one in attributes(bytes) {
        size += 4 + one.value.len();
        assert!(size <= bytes.len(), "attributes of more bytes than came");
        assert!(one.kind <= 0x3fff, "a flag is part of the type");
        assert!(one.u32().is_some() == (one.value.len() >= 4));
        assert!(!one.text().contains('\0'));
        let first = find(bytes, &[one.kind]);
        assert!(first.is_some_and(|value| value.len() <= bytes.len()));
        if depth < DEEPEST {
            walk(one.value, depth + 1);
        }
    }
}
