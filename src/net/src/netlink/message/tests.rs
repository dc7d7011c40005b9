//! The codec against bytes of iproute2 and of a kernel (6.18), and against
//! bytes of nobody.

#![expect(clippy::unwrap_used, reason = "tests")]
use super::*;
use crate::Cidr;
use crate::netlink::{addr, link, route};

const PORT: &[u8] = include_bytes!("../samples/port.bin");
const BRIDGE: &[u8] = include_bytes!("../samples/bridge.bin");
const ADDRESSES: &[u8] = include_bytes!("../samples/addresses.bin");
const ROUTES: &[u8] = include_bytes!("../samples/routes.bin");
const REFUSED: &[u8] = include_bytes!("../samples/refused.bin");

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// As sent by `ip addr add 10.1.0.5/16 brd + dev lo`.
#[test]
fn an_address_is_asked_for_as_iproute2_does() {
    let mut batch = Batch::new();
    let address = Cidr::parse("10.1.0.5/16").unwrap();
    addr::add(&mut batch, 1, address, addr::Manner::default());
    assert_eq!(
        hex(batch.seal(0x6b01_b144).unwrap()),
        "300000001400050644b1016b000000000210000001000000080002000a010005080001000a010005080004000a01ffff"
    );
}

/// As sent by `ip route add 10.9.0.0/24 via 10.1.0.1 dev lo src 10.1.0.5 mtu 1400`.
#[test]
fn a_route_is_asked_for_as_iproute2_does() {
    let mut batch = Batch::new();
    let wanted = route::Over {
        gw: Some("10.1.0.1".parse().unwrap()),
        src: Some("10.1.0.5".parse().unwrap()),
        scope: route::SCOPE_GLOBAL,
        mtu: Some(1400),
        ..route::Over::plain(1, Cidr::parse("10.9.0.0/24").unwrap())
    };
    route::add(&mut batch, &wanted);
    assert_eq!(
        hex(batch.seal(0x6b01_b144).unwrap()),
        "480000001800050644b1016b0000000002180000fe03000100000000080001000a090000080005000a010001080007000a01000508000400010000000c0008000800020078050000"
    );
}

/// As sent by `ip link add veth0 address … mtu 1400 up type veth peer name eth0
/// address … mtu 1400`, but for queues, and up: `link::add_veth` says why.
#[test]
fn a_pair_has_the_attributes_that_iproute2_gives_it() {
    let theirs: Vec<u8> = {
        let text = "840000001000050644b1016b00000000000000000000000001000000010000000a000100020000000002000008000400780500000a00030076657468300000004400120008000100766574683800020034000100000000000000000000000000000000000a00010002000000000300000800040078050000090003006574683000000000";
        let digits = text.as_bytes().chunks(2);
        digits
            .map(|two| u8::from_str_radix(std::str::from_utf8(two).unwrap(), 16).unwrap())
            .collect()
    };
    let mut batch = Batch::new();
    link::add_veth(
        &mut batch,
        &link::Veth {
            name: "veth0",
            mac: [2, 0, 0, 0, 0, 2],
            peer: "eth0",
            peer_mac: [2, 0, 0, 0, 0, 3],
            peer_netns: None,
            mtu: 1400,
            master: None,
        },
    );
    let ours = batch.seal(0x6b01_b144).unwrap();
    let queues = ["/31", "/32", "/18/2/1/31", "/18/2/1/32"].map(|at| format!("{at} 01000000"));
    let ours: Vec<String> = tree(ours)
        .into_iter()
        .filter(|line| !queues.contains(line))
        .collect();
    let up = "00000000000000000100000001000000";
    let down = "00000000000000000000000000000000";
    let theirs: Vec<String> = tree(&theirs)
        .into_iter()
        .map(|line| line.replace(up, down))
        .collect();
    assert_eq!(ours, theirs);
}

/// Header, fixed part, and the attributes in order of their numbers.
fn tree(bytes: &[u8]) -> Vec<String> {
    fn walk(bytes: &[u8], path: &str, out: &mut Vec<String>) {
        for one in attributes(bytes) {
            let path = format!("{path}/{}", one.kind);
            match path.as_str() {
                "/18" | "/18/2" => walk(one.value, &path, out),
                "/18/2/1" => {
                    out.push(format!("{path} {}", hex(&one.value[..16])));
                    walk(&one.value[16..], &path, out);
                }
                // A kind's NUL is optional.
                _ => {
                    let value = match path.ends_with("8/1") {
                        true => one.text(),
                        false => hex(one.value),
                    };
                    out.push(format!("{path} {value}"));
                }
            }
        }
    }
    let mut out = Vec::new();
    for message in messages(bytes) {
        out.push(format!(
            "{} {:x} {}",
            message.kind, message.flags, message.seq
        ));
        out.push(hex(&message.body[..16]));
        walk(&message.body[16..], "", &mut out);
    }
    out.sort();
    out
}

#[test]
fn links_are_read_from_a_kernels_bytes() {
    let port = messages(PORT).find_map(|one| link::parse(&one)).unwrap();
    assert_eq!((port.name.as_str(), port.kind.as_str()), ("veth0", "veth"));
    assert_eq!(link::mac_text(&port.mac), "02:00:00:00:00:02");
    assert_eq!((port.mtu, port.up, port.v6), (1400, true, true));
    assert_eq!(port.port_state, Some(3));
    let bridge = messages(BRIDGE).find_map(|one| link::parse(&one)).unwrap();
    assert_eq!((bridge.kind.as_str(), bridge.port_state), ("bridge", None));
    assert!(bridge.up && !bridge.promiscuous && !bridge.vlan_filtering);
}

#[test]
fn addresses_and_default_routes_are_read_from_a_kernels_bytes() {
    let held: Vec<String> = messages(ADDRESSES)
        .filter_map(|one| addr::parse(&one))
        .map(|held| held.address.to_string())
        .collect();
    assert_eq!(held[..2], ["10.2.0.1/24", "fd00::1/64"]);
    let routes: Vec<u32> = messages(ROUTES)
        .filter_map(|one| route::parse_default(&one))
        .map(|route| route.priority)
        .collect();
    assert_eq!(routes, [100], "the one of table 5 is not a default route");
}

#[test]
fn the_kernels_own_words_are_found() {
    let message = messages(REFUSED).next().unwrap();
    assert_eq!(message.kind, NLMSG_ERROR);
    let (errno, text) = verdict(&message).unwrap();
    assert_eq!((errno, text.as_str()), (95, "Unknown device type"));
}

#[test]
fn what_is_built_is_read_again() {
    let mut batch = Batch::new();
    batch.request(1000, NLM_F_CREATE, "first");
    batch.fixed(&[1, 2, 3]);
    batch.u8(1, 7);
    let nest = batch.nest(2 | NLA_F_NESTED);
    batch.attr(3, &[1, 2]);
    batch.be32(4, 0x0102_0304);
    batch.end(nest);
    batch.request(1001, 0, "second");
    batch.text(1, "abc");
    batch.u16(2, 5);
    batch.u32(3, 6);
    assert_eq!((batch.len(), batch.what(1)), (2, "second"));
    let bytes = batch.seal(u32::MAX).unwrap();
    let read: Vec<Received<'_>> = messages(bytes).collect();
    assert_eq!(read.len(), 2);
    assert_eq!((read[0].seq, read[1].seq), (u32::MAX, 0));
    assert_eq!(read[0].flags & NLM_F_ACK, 0);
    assert_eq!(read[1].flags & NLM_F_ACK, NLM_F_ACK);
    let rest = &read[0].body[4..];
    assert_eq!(find(rest, &[1]), Some(&[7][..]));
    assert_eq!(find(rest, &[2, 3]), Some(&[1, 2][..]));
    assert_eq!(find(rest, &[2, 4]), Some(&[1, 2, 3, 4][..]));
    assert_eq!(find(rest, &[2, 6]), None);
    assert_eq!(find(read[1].body, &[1]).map(text).unwrap(), "abc");
}

#[test]
fn an_attribute_beyond_its_length_is_refused() {
    let mut batch = Batch::new();
    batch.request(1, 0, "");
    batch.attr(1, &vec![0; 70_000]);
    assert!(batch.seal(1).is_err());
}

/// Every prefix, every byte flipped: nothing may panic, and nothing may be read
/// that does not lie within the bytes.
#[test]
fn damaged_bytes_are_survived() {
    for sample in [PORT, BRIDGE, ADDRESSES, ROUTES, REFUSED] {
        for end in 0..sample.len() {
            read_all(&sample[..end]);
        }
        let mut bytes = sample.to_vec();
        for at in 0..bytes.len() {
            for value in [0, 1, 3, 0x7f, 0xff] {
                let old = std::mem::replace(&mut bytes[at], value);
                read_all(&bytes);
                bytes[at] = old;
            }
        }
    }
}

fn read_all(bytes: &[u8]) {
    for message in messages(bytes).take(1000) {
        let _ = link::parse(&message);
        let _ = addr::parse(&message);
        let _ = route::parse_default(&message);
        let _ = verdict(&message);
        for one in attributes(message.body) {
            let _ = (one.u32(), one.text());
        }
    }
}
