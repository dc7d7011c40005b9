//! Who reaches whom, and as whom: pods, the host, and the far side, by both families and both protocols.

use crate::{APP, Pod, image, ip, network, reach, reach_from_far, run};
use serde_json::json;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use tests::isolated::Mode;
use tests::lab::{FAR4, FAR6, HOST4, HOST6, tool, within};
use tests::talk::{Protocol, ask, ask_briefly, serve, serve_everywhere};
use tests::{Rkt, net_test};

/// A port that the host and the far side answer on.
const OUTSIDE: u16 = 7000;
/// A port of the host that leads to a pod's app.
const FORWARDED: u16 = 18000;

const FORWARDS: [&str; 2] = ["--port=http:18000", "--port=query:18000"];

fn loopback(family: IpAddr) -> IpAddr {
    match family {
        IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
    }
}

/// Servers on the host. Each has an address of its own: from a socket for all, a datagram's answer takes the address
/// that is nearest to the asker, whichever was asked.
fn serve_on_the_host() {
    for address in [HOST4, HOST6] {
        serve((address, OUTSIDE).into()).expect("a server on the host");
    }
}

net_test! {
    in &Mode::ALL,
    fn the_default_network_from_an_apps_own_view(lab) {
        lab.far(|| serve_everywhere(OUTSIDE)).expect("a server on the far side");
        serve_on_the_host();
        let asked = |protocol: &str, ip: IpAddr| {
            let at = std::net::SocketAddr::from((ip, OUTSIDE)).to_string();
            let out = run(lab, &[], &["ask", protocol, &at]).ok();
            ip_of(&out.fact("seen"))
        };
        for protocol in ["tcp", "udp"] {
            assert_eq!(asked(protocol, FAR4), Some(HOST4), "masqueraded");
            assert_eq!(asked(protocol, FAR6), Some(HOST6), "masqueraded");
            let own = asked(protocol, HOST4);
            assert!(own.is_some_and(|ip| ip.to_string().starts_with("172.16.28.")), "{own:?}");
        }
    }
}

fn ip_of(text: &str) -> Option<IpAddr> {
    text.parse().ok()
}

net_test! {
    fn pod_to_pod(lab) {
        let one = Pod::start(lab, &[]);
        let two = Pod::start(lab, &[]);
        let (ours, theirs) = (one.addresses(lab), two.addresses(lab));
        assert_ne!(ours, theirs);
        for protocol in Protocol::ALL {
            for (own, other) in ours.iter().zip(theirs) {
                assert_eq!(one.ask(protocol, other, APP), *own, "{protocol}: not masqueraded between pods");
            }
        }
        one.end(lab);
        two.end(lab);
    }
}

net_test! {
    fn pod_to_host_and_host_to_pod(lab) {
        serve_on_the_host();
        let pod = Pod::start(lab, &[]);
        let [own4, own6] = pod.addresses(lab);
        serve((ip("172.16.28.1"), OUTSIDE).into()).expect("a server on the gateway");
        for protocol in Protocol::ALL {
            for (host, own) in [(HOST4, own4), (ip("172.16.28.1"), own4), (HOST6, own6)] {
                assert_eq!(pod.ask(protocol, host, OUTSIDE), own, "{protocol} {host}");
            }
            for own in [own4, own6] {
                reach(protocol, own, APP);
            }
        }
        pod.end(lab);
    }
}

net_test! {
    fn pod_to_the_far_side_only_with_the_hosts_address(lab) {
        lab.far(|| serve_everywhere(OUTSIDE)).expect("a server on the far side");
        let pod = Pod::start(lab, &[]);
        for protocol in Protocol::ALL {
            assert_eq!(pod.ask(protocol, FAR4, OUTSIDE), HOST4, "{protocol}");
            assert_eq!(pod.ask(protocol, FAR6, OUTSIDE), HOST6, "{protocol}");
        }
        pod.end(lab);
        // Not masqueraded, and so without an answer: the far side knows no way back.
        network(lab, "10-plain.conf", &json!({
            "name": "plain", "type": "ptp",
            "ipam": {"type": "host-local", "subnet": "10.31.0.0/24", "routes": [{"dst": "0.0.0.0/0"}]},
        }));
        let pod = Pod::start(lab, &["--net=plain"]);
        serve_on_the_host();
        for protocol in Protocol::ALL {
            pod.ask(protocol, HOST4, OUTSIDE);
            let lost = within(&pod.netns(), || ask_briefly(protocol, (FAR4, OUTSIDE).into()));
            assert!(lost.is_err(), "{protocol}: {lost:?}");
        }
        pod.end(lab);
    }
}

net_test! {
    fn the_restricted_network_reaches_the_host_and_nothing_beyond(lab) {
        lab.far(|| serve_everywhere(OUTSIDE)).expect("a server on the far side");
        let pod = Pod::start(lab, &["--net=default-restricted"]);
        serve((ip("172.31.0.1"), OUTSIDE).into()).expect("a server on the gateway");
        let own = pod.address(lab, "default-restricted", "ip4");
        assert!(own.to_string().starts_with("172.31.0."), "{own}");
        for protocol in Protocol::ALL {
            assert_eq!(pod.ask(protocol, ip("172.31.0.1"), OUTSIDE), own);
            let lost = within(&pod.netns(), || ask_briefly(protocol, (FAR4, OUTSIDE).into()));
            assert!(lost.is_err(), "{protocol}: {lost:?}");
        }
        pod.end(lab);
    }
}

net_test! {
    in &Mode::ALL,
    fn a_forwarded_port_from_everywhere(lab) {
        let pod = Pod::start(lab, &FORWARDS);
        let other = Pod::start(lab, &[]);
        for protocol in Protocol::ALL {
            for (host, far) in [(HOST4, FAR4), (HOST6, FAR6)] {
                let seen = reach_from_far(lab, protocol, host, FORWARDED);
                assert_eq!(seen, far, "{protocol}: the far side comes with its own address");
                reach(protocol, loopback(host), FORWARDED);
                reach(protocol, host, FORWARDED);
                // Another pod by the host's address.
                other.ask(protocol, host, FORWARDED);
                // Hairpin: the pod itself by the host's address.
                pod.ask(protocol, host, FORWARDED);
            }
        }
        other.end(lab);
        pod.end(lab);
    }
}

net_test! {
    fn an_app_binds_its_own_address_at_once(lab) {
        // Without duplicate address detection: an address that is still tentative cannot be bound.
        let image = image(lab);
        let out = Rkt::new(&lab.scratch).arg("run").arg(&image).args(["--", "serve-at", "[fd72:6b74:1c::2]:8000"]).run();
        out.ok().stdout_has("serving=[fd72:6b74:1c::2]:8000");
    }
}

net_test! {
    fn a_pods_loopback_is_its_own(lab) {
        serve((Ipv4Addr::LOCALHOST, OUTSIDE).into()).expect("a server on the host's loopback");
        let pod = Pod::start(lab, &FORWARDS);
        for address in [loopback(HOST4), loopback(HOST6)] {
            assert_eq!(pod.ask(Protocol::Tcp, address, APP), address);
        }
        let own = within(&pod.netns(), || ask(Protocol::Tcp, (Ipv4Addr::LOCALHOST, OUTSIDE).into()));
        assert_eq!(own.expect_err("the host's loopback").kind(), std::io::ErrorKind::ConnectionRefused);
        pod.end(lab);
    }
}

net_test! {
    /// CVE-2020-8558: forwarding from 127.0.0.1 makes the host end accept packets for 127.0.0.0/8; what a pod (or a
    /// neighbour) sends there must not arrive.
    fn what_listens_on_the_hosts_loopback_stays_out_of_reach(lab) {
        serve((Ipv4Addr::LOCALHOST, OUTSIDE).into()).expect("a server on the host's loopback");
        let pod = Pod::start(lab, &FORWARDS);
        let gateway = ip("172.16.28.1");
        serve((gateway, OUTSIDE).into()).expect("a server on the pod's gateway");
        within(&pod.netns(), || {
            tool("ip", &["addr", "del", "127.0.0.1/8", "dev", "lo"]);
            tool("ip", &["route", "add", "127.0.0.0/8", "via", "172.16.28.1", "dev", "eth0"]);
            std::fs::write("/proc/sys/net/ipv4/conf/all/route_localnet", "1").expect("a setting of the pod's network");
        });
        // The way there works, and the packets are sent.
        for protocol in Protocol::ALL {
            pod.ask(protocol, gateway, OUTSIDE);
            let got = within(&pod.netns(), || ask_briefly(protocol, (Ipv4Addr::LOCALHOST, OUTSIDE).into()));
            assert!(got.is_err(), "the host's loopback answers {protocol}: {got:?}");
        }
        pod.end(lab);
    }
}

/// Packets that rkt's rules of one kind (`masquerade`, `dnat`) have counted in one address family.
fn counted(what: &str, family: &str) -> u64 {
    let text = tool("nft", &["list", "ruleset"]);
    let start = format!("table {family} rkt-");
    let (mut ours, mut counters) = (false, Vec::new());
    for line in text.lines() {
        if line.starts_with("table ") {
            ours = line.starts_with(&start);
        }
        let does = line.split_whitespace().any(|w| w == what);
        if let Some((_, rest)) = line.split_once("counter packets ").filter(|_| ours && does) {
            let number = rest.split(' ').next().and_then(|n| n.parse::<u64>().ok());
            counters.extend(number);
        }
    }
    assert!(
        !counters.is_empty(),
        "no counted {what} rule of rkt in family {family}\n{text}"
    );
    counters.iter().sum()
}

net_test! {
    fn the_rules_count_what_they_do(lab) {
        if tests::isolated::find("nft").is_none() {
            tests::skip!("needs `nft` (Debian: nftables)");
        }
        lab.far(|| serve_everywhere(OUTSIDE)).expect("a server on the far side");
        let pod = Pod::start(lab, &FORWARDS);
        for (family, far, host) in [("ip", FAR4, HOST4), ("ip6", FAR6, HOST6)] {
            for protocol in Protocol::ALL {
                let before = counted("masquerade", family);
                pod.ask(protocol, far, OUTSIDE);
                assert!(counted("masquerade", family) > before, "{family} {protocol}: masquerade stands still");
                let before = counted("dnat", family);
                reach_from_far(lab, protocol, host, FORWARDED);
                assert!(counted("dnat", family) > before, "{family} {protocol}: dnat stands still");
            }
        }
        pod.end(lab);
    }
}

/// Whether packets that cross a bridge meet the rules for routed ones, where the kernel can have it so. Docker needs it
/// on, others off; a forwarded port must not care.
pub(crate) fn filter_bridged(on: bool) {
    for kind in ["iptables", "ip6tables"] {
        let path = format!("/proc/sys/net/bridge/bridge-nf-call-{kind}");
        let _ = std::fs::write(path, if on { "1" } else { "0" });
    }
}

net_test! {
    fn a_bridge_of_pods(lab) {
        network(lab, "10-ring.conf", &json!({
            "name": "ring", "type": "bridge", "bridge": "ring0", "isGateway": true, "ipMasq": true,
            "ipam": {"type": "host-local", "ranges": [[{"subnet": "10.32.0.0/24"}], [{"subnet": "fd00:32::/64"}]],
                     "routes": [{"dst": "0.0.0.0/0"}, {"dst": "::/0"}]},
        }));
        lab.far(|| serve_everywhere(OUTSIDE)).expect("a server on the far side");
        let flags = ["--net=ring", FORWARDS[0], FORWARDS[1]];
        let one = Pod::start(lab, &flags);
        let two = Pod::start(lab, &["--net=ring"]);
        for (protocol, filtered) in Protocol::ALL.into_iter().flat_map(|p| [(p, true), (p, false)]) {
            filter_bridged(filtered);
            for (family, host, far) in [("ip4", HOST4, FAR4), ("ip6", HOST6, FAR6)] {
                let (own, other) = (one.address(lab, "ring", family), two.address(lab, "ring", family));
                assert_eq!(one.ask(protocol, other, APP), own, "{protocol}");
                assert_eq!(one.ask(protocol, far, OUTSIDE), host, "{protocol}");
                assert_eq!(reach_from_far(lab, protocol, host, FORWARDED), far, "{protocol}");
                reach(protocol, loopback(host), FORWARDED);
                reach(protocol, host, FORWARDED);
                two.ask(protocol, host, FORWARDED);
                one.ask(protocol, host, FORWARDED);
            }
        }
        one.end(lab);
        two.end(lab);
    }
}

net_test! {
    fn a_macvlan_is_a_neighbour_of_the_far_side(lab) {
        network(lab, "10-street.conf", &json!({
            "name": "street", "type": "macvlan", "master": "world",
            "ipam": {"type": "host-local", "subnet": "192.0.2.0/24", "rangeStart": "192.0.2.50", "rangeEnd": "192.0.2.60",
                     "gateway": "192.0.2.2", "routes": [{"dst": "0.0.0.0/0"}]},
        }));
        lab.far(|| serve_everywhere(OUTSIDE)).expect("a server on the far side");
        let one = Pod::start(lab, &["--net=street"]);
        let two = Pod::start(lab, &["--net=street"]);
        let (ours, theirs) = (one.address(lab, "street", "ip4"), two.address(lab, "street", "ip4"));
        for protocol in Protocol::ALL {
            assert_eq!(one.ask(protocol, FAR4, OUTSIDE), ours);
            assert_eq!(one.ask(protocol, theirs, APP), ours);
            assert_eq!(reach_from_far(lab, protocol, ours, APP), FAR4);
        }
        one.end(lab);
        two.end(lab);
    }
}
