//! The built-in plugins against a real kernel: links, addresses and routes as
//! `ip` of iproute2 sees them, and whether packets pass.
//!
//! Each test runs once more in a network namespace of its own, which plays the
//! host; pods are further namespaces. No packet leaves the machine.

#![expect(clippy::unwrap_used, reason = "tests")]

mod rig;

use net::builtin;
use rig::{Host, Pod, addresses, ip, isolated, routes, veths};
use std::os::fd::AsFd;

const PTP: &str = r#"{"name": "n", "type": "ptp", "ipMasq": true, "mtu": 1400,
    "dns": {"nameservers": ["10.7.0.1"]},
    "ipam": {"type": "host-local", "ranges": [[{"subnet": "10.7.0.0/24"}], [{"subnet": "fd07::/64"}]],
             "routes": [{"dst": "0.0.0.0/0"}, {"dst": "::/0"}]}}"#;

#[test]
fn ptp() {
    isolated("ptp", || {
        let host = &Host::new();
        for words in [
            "link add ra0 type veth peer name ra1",
            "link set ra0 up",
            "link set ra1 up",
            "-6 route add default via fe80::1 dev ra0 proto ra",
        ] {
            rig::run_ip(words);
        }
        let mut pod = Pod::new("one");
        let added = pod.add(host, PTP).unwrap();
        assert_eq!(
            addresses(&pod.ip("addr show eth0")),
            ["10.7.0.2/24", "fd07::2/64"]
        );
        assert_eq!(
            pod.routes("-4"),
            [
                "10.7.0.0/24 10.7.0.1 eth0 10.7.0.2",
                "10.7.0.1 eth0 link 10.7.0.2",
                "default 10.7.0.1 eth0"
            ]
        );
        assert_eq!(
            pod.routes("-6"),
            [
                "default fd07::1 eth0",
                "fd07::/64 fd07::1 eth0 fd07::2",
                "fd07::1 eth0 fd07::2"
            ]
            .map(String::from)
        );
        let end = added.host_end.clone().unwrap();
        assert_eq!(
            addresses(&ip(&format!("addr show {end}"))),
            ["10.7.0.1/32", "fd07::1/128"]
        );
        assert_eq!(
            routes(&ip("-4 route show")),
            [format!("10.7.0.2 {end} host")]
        );
        let six = routes(&ip("-6 route show"));
        assert!(six.contains(&format!("fd07::2 {end}")), "{six:?}");
        let outcome = &added.outcome;
        let names: Vec<&str> = outcome
            .interfaces
            .iter()
            .map(|one| one.name.as_str())
            .collect();
        assert_eq!(names, [end.as_str(), "eth0"]);
        assert_eq!(
            pod.ip("link show eth0")[0]["address"],
            outcome.interfaces[1].mac.as_str()
        );
        assert_eq!(pod.ip("link show eth0")[0]["mtu"], 1400);
        assert_eq!(outcome.interfaces[1].sandbox, "/run/netns/pod");
        assert!(outcome.ips.iter().all(|ip| ip.interface == Some(1)));
        assert_eq!(outcome.dns.nameservers, ["10.7.0.1"]);
        assert_eq!(added.masquerade.len(), 2);
        assert_eq!(added.masquerade[0].within.to_string(), "10.7.0.0/24");
        for file in ["ipv4/ip_forward", "ipv6/conf/all/forwarding"] {
            let value = std::fs::read_to_string(format!("/proc/sys/net/{file}")).unwrap();
            assert_eq!(value.trim(), "1", "{file}");
        }
        // Only a link whose router was heard is told to go on listening.
        assert!(
            pod.notes
                .iter()
                .any(|note| note.contains("accept_ra of ra0"))
        );
        for (link, value) in [("ra0", "2"), ("ra1", "1"), ("default", "1")] {
            let path = format!("/proc/sys/net/ipv6/conf/{link}/accept_ra");
            assert_eq!(
                std::fs::read_to_string(path).unwrap().trim(),
                value,
                "{link}"
            );
        }
        // A pod's router advertisements are nothing to the host.
        let heard = std::fs::read_to_string(format!("/proc/sys/net/ipv6/conf/{end}/accept_ra"));
        assert_eq!(heard.unwrap().trim(), "0");
        pod.answers_on("10.7.0.2".parse().unwrap());
        pod.answers_on("fd07::2".parse().unwrap());
        let mut second = Pod::new("two");
        second.add(host, PTP).unwrap();
        assert_eq!(
            host.leases("n"),
            ["10.7.0.2", "10.7.0.3", "fd07::2", "fd07::3"]
        );
        pod.del(host, PTP);
        pod.del(host, PTP);
        assert_eq!(host.leases("n"), ["10.7.0.3", "fd07::3"]);
    });
}

#[test]
fn bridge() {
    isolated("bridge", || {
        let host = &Host::new();
        let conf = r#"{"name": "n", "type": "bridge", "bridge": "br7", "isDefaultGateway": true,
            "hairpinMode": true, "ipMasq": true,
            "ipam": {"type": "host-local", "ranges": [[{"subnet": "10.8.0.0/16"}], [{"subnet": "fd08::/64"}]]}}"#;
        let mut pod = Pod::new("one");
        let added = pod.add(host, conf).unwrap();
        let mut second = Pod::new("two");
        second.add(host, conf).unwrap();
        assert_eq!(
            addresses(&pod.ip("addr show eth0")),
            ["10.8.0.2/16", "fd08::2/64"]
        );
        assert_eq!(
            pod.routes("-4"),
            ["10.8.0.0/16 eth0 link 10.8.0.2", "default 10.8.0.1 eth0"]
        );
        assert_eq!(pod.routes("-6"), ["default fd08::1 eth0", "fd08::/64 eth0"]);
        assert_eq!(added.host_end.as_deref(), Some("br7"));
        assert_eq!(
            addresses(&ip("addr show br7")),
            ["10.8.0.1/16", "fd08::1/64"]
        );
        let outcome = &added.outcome;
        assert_eq!(outcome.interfaces.len(), 3);
        assert_eq!(outcome.routes.len(), 2);
        assert!(outcome.ips.iter().all(|ip| ip.interface == Some(2)));
        let port = &ip(&format!("link show {}", outcome.interfaces[1].name))[0];
        assert_eq!(port["master"], "br7");
        assert_eq!(port["linkinfo"]["info_slave_data"]["hairpin"], true);
        assert_eq!(port["linkinfo"]["info_slave_data"]["state"], "forwarding");
        assert_eq!(
            ip("link show br7")[0]["address"],
            outcome.interfaces[0].mac.as_str()
        );
        assert_eq!(outcome.interfaces[2].mac, "0a:58:0a:08:00:02");
        let heard = std::fs::read_to_string("/proc/sys/net/ipv6/conf/br7/accept_ra").unwrap();
        assert_eq!(heard.trim(), "0");
        for pod in [&pod, &second] {
            let ips = addresses(&pod.ip("addr show eth0"));
            for ip in ips {
                pod.answers_on(ip.split('/').next().unwrap().parse().unwrap());
            }
        }
        let other = conf.replace("10.8.", "10.9.").replace("\"n\"", "\"m\"");
        let mut third = Pod::new("three");
        let fault = third.add(host, &other).unwrap_err();
        assert_eq!(
            fault.cause,
            "\"br7\" already has an IP address different from 10.9.0.1/16"
        );
        assert!(host.leases("m").is_empty());
        assert_eq!(veths(), 2);
        let forced = other.replace("\"hairpinMode\"", "\"forceAddress\": true, \"hairpinMode\"");
        third.add(host, &forced).unwrap();
        assert_eq!(
            addresses(&ip("addr show br7")),
            ["10.9.0.1/16", "fd08::1/64"]
        );
    });
}

#[test]
fn bridge_without_addresses() {
    isolated("bridge_without_addresses", || {
        let host = &Host::new();
        let mut pod = Pod::new("one");
        let conf = r#"{"name": "n", "type": "bridge", "promiscMode": true}"#;
        let added = pod.add(host, conf).unwrap();
        assert_eq!((added.host_end, added.outcome.ips.len()), (None, 0));
        assert_eq!(ip("link show cni0")[0]["promiscuity"], 1);
        assert!(addresses(&ip("addr show cni0")).is_empty());
        ip("link add fake type veth peer name ekaf");
        let mut pod = Pod::new("two");
        let conf = r#"{"name": "n", "type": "bridge", "bridge": "fake"}"#;
        let fault = pod.add(host, conf).unwrap_err();
        assert_eq!(fault.cause, "\"fake\" already exists but is not a bridge");
    });
}

/// A kernel whose bridges know VLANs makes them; any other says that it cannot.
#[test]
fn bridge_with_vlan() {
    isolated("bridge_with_vlan", || {
        let host = &Host::new();
        let conf = r#"{"name": "n", "type": "bridge", "vlan": 100, "isGateway": true,
            "vlanTrunk": [{"minID": 200, "maxID": 210}],
            "ipam": {"type": "static", "addresses": [{"address": "10.8.0.2/16"}]}}"#;
        let mut pod = Pod::new("one");
        match pod.add(host, conf) {
            Err(fault) => {
                assert_eq!(fault.cause, "the bridges of this kernel know no VLANs");
                tests::skip::record(&fault.cause);
            }
            Ok(added) => {
                assert_eq!(added.host_end.as_deref(), Some("cni0.100"));
                pod.answers_on("10.8.0.2".parse().unwrap());
            }
        }
    });
}

#[test]
fn macvlan() {
    isolated("macvlan", || {
        let host = &Host::new();
        ip("link add far0 type veth peer name far1");
        ip("link set far0 up");
        ip("link set far1 up");
        ip("route add default dev far0");
        let conf = r#"{"name": "n", "type": "macvlan", "mode": "bridge", "mtu": 1300,
            "runtimeConfig": {"mac": "02:00:00:00:00:07"},
            "ipam": {"type": "static", "addresses": [{"address": "10.6.0.2/24", "gateway": "10.6.0.1"},
                                                     {"address": "fd06::2/64", "gateway": "fd06::1"}],
                     "routes": [{"dst": "0.0.0.0/0"}, {"dst": "::/0"}]}}"#;
        let mut pod = Pod::new("one");
        let added = pod.add(host, conf).unwrap();
        let link = &pod.ip("link show eth0")[0];
        assert_eq!(link["linkinfo"]["info_data"]["mode"], "bridge");
        assert_eq!(
            (&link["mtu"], &link["address"]),
            (&1300.into(), &"02:00:00:00:00:07".into())
        );
        assert_eq!(
            pod.routes("-4"),
            ["10.6.0.0/24 eth0 link 10.6.0.2", "default 10.6.0.1 eth0"]
        );
        assert_eq!(pod.routes("-6"), ["default fd06::1 eth0", "fd06::/64 eth0"]);
        assert_eq!(
            addresses(&pod.ip("addr show eth0")),
            ["10.6.0.2/24", "fd06::2/64"]
        );
        assert_eq!((added.host_end, added.outcome.interfaces.len()), (None, 1));
        let arp = sys::ns::within_net(pod.netns.as_fd(), || {
            std::fs::read_to_string("/proc/sys/net/ipv4/conf/eth0/proxy_arp").unwrap()
        });
        assert_eq!(arp.unwrap().trim(), "1");
        let fault = pod.add(host, conf).unwrap_err();
        assert!(fault.cause.contains("\"eth0\" already exists"), "{fault}");
        let mut pod = Pod::new("two");
        let none = conf.replace("\"mtu\"", "\"master\": \"eth9\", \"mtu\"");
        let fault = pod.add(host, &none).unwrap_err();
        assert_eq!(
            fault.cause,
            "failed to lookup master \"eth9\": link not found"
        );
        let fault = pod.add(host, &conf.replace("1300", "9000")).unwrap_err();
        assert!(
            fault.cause.contains("mtu: 9000 is more than the 1500"),
            "{fault}"
        );
    });
}

#[test]
fn ipvlan() {
    isolated("ipvlan", || {
        let host = &Host::new();
        ip("link add far0 type veth peer name far1");
        let conf = r#"{"name": "n", "type": "ipvlan", "master": "far0", "mode": "l3",
            "ipam": {"type": "static", "addresses": [{"address": "10.6.0.2/24"}]}}"#;
        let mut pod = Pod::new("one");
        match pod.add(host, conf) {
            Err(fault) => {
                assert_eq!(fault.cause, "this kernel has no ipvlan");
                tests::skip::record(&fault.cause);
            }
            Ok(_) => {
                let link = &pod.ip("link show eth0")[0];
                assert_eq!(link["linkinfo"]["info_data"]["mode"], "l3");
            }
        }
    });
}

#[test]
fn loopback() {
    isolated("loopback", || {
        let host = &Host::new();
        let mut pod = Pod::new("one");
        let added = pod
            .add(host, r#"{"name": "n", "type": "loopback"}"#)
            .unwrap();
        let ips: Vec<String> = added
            .outcome
            .ips
            .iter()
            .map(|ip| ip.address.to_string())
            .collect();
        assert_eq!(ips, ["127.0.0.1/8", "::1/128"]);
        assert_eq!(added.outcome.interfaces[0].name, "lo");
    });
}

#[test]
fn without_ipv6() {
    isolated("without_ipv6", || {
        let host = &Host::new();
        std::fs::write("/proc/sys/net/ipv6/conf/default/disable_ipv6", "1").unwrap();
        let mut pod = Pod::new("one");
        let added = pod.add(host, PTP).unwrap();
        assert_eq!(added.outcome.ips.len(), 1);
        assert_eq!(added.outcome.routes.len(), 1);
        assert!(
            pod.notes
                .iter()
                .any(|note| note.contains("IPv6 is switched off"))
        );
        let six = r#"{"name": "six", "type": "ptp",
            "ipam": {"type": "host-local", "subnet": "fd07::/64"}}"#;
        let mut pod = Pod::new("two");
        let fault = pod.add(host, six).unwrap_err();
        assert!(
            fault.cause.starts_with("IPv6 is switched off here"),
            "{fault}"
        );
        assert!(host.leases("six").is_empty());
        assert_eq!(veths(), 1);
    });
}

#[test]
fn what_fails_leaves_nothing() {
    isolated("what_fails_leaves_nothing", || {
        let host = &Host::new();
        let mut pod = Pod::new("one");
        pod.add(host, PTP).unwrap();
        let other = PTP.replace("\"n\"", "\"m\"");
        let fault = pod.add(host, &other).unwrap_err();
        assert!(fault.cause.contains("\"eth0\" already exists"), "{fault}");
        assert!(host.leases("m").is_empty());
        // The gateway of this route cannot be reached.
        let bad = other.replace(
            "{\"dst\": \"::/0\"}",
            "{\"dst\": \"10.99.0.0/16\", \"gw\": \"10.55.0.1\"}",
        );
        let mut pod = Pod::new("two");
        let fault = pod.add(host, &bad).unwrap_err();
        assert!(
            fault
                .cause
                .contains("add route 10.99.0.0/16 via 10.55.0.1: "),
            "{fault}"
        );
        assert!(host.leases("m").is_empty());
        assert_eq!(veths(), 1);
        // Nothing is in the way of another try.
        pod.add(host, PTP).unwrap();
        // The first network's default route stays.
        pod.call(
            host,
            &other.replace(".7.", ".17.").replace("fd07", "fd17"),
            "eth1",
            builtin::add,
        )
        .unwrap();
        assert!(
            pod.notes
                .iter()
                .any(|note| note.contains("eth1: add route 0.0.0.0/0"))
        );
        assert!(
            pod.routes("-4")
                .contains(&"default 10.7.0.1 eth0".to_string())
        );
    });
}

#[test]
fn pods_that_start_together_share_a_bridge() {
    isolated("pods_that_start_together_share_a_bridge", || {
        let host = &Host::new();
        let conf = r#"{"name": "n", "type": "bridge", "isGateway": true,
            "ipam": {"type": "host-local", "subnet": "10.8.0.0/24"}}"#;
        let ids = ["a", "b", "c", "d", "e", "f", "g", "h"];
        std::thread::scope(|scope| {
            for id in ids {
                scope.spawn(move || {
                    let mut pod = Pod::new(id);
                    pod.add(host, conf).unwrap();
                });
            }
        });
        assert_eq!(host.leases("n").len(), ids.len());
        assert_eq!(addresses(&ip("addr show cni0")), ["10.8.0.1/24"]);
    });
}
