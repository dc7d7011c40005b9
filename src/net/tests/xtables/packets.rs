//! Real packets: out of the pod by masquerade, into it by forwarded ports from far,
//! from the host over its own addresses and loopback, and from the pod itself.

use crate::world::{
    self, FAR, FAR6, NEAR, NEAR6, POD, POD6, Place, at, isolated, sh, soon, tcp, udp,
};
use crate::{ID, install, rules};
use net::firewall::xtables;
use std::net::UdpSocket;

const GATEWAY: &str = "172.16.28.1";
const GATEWAY6: &str = "fd00:28::1";

#[test]
fn what_leaves_the_pod_bears_the_hosts_address() {
    isolated(
        "packets::what_leaves_the_pod_bears_the_hosts_address",
        || {
            world::build();
            install(ID, &rules());
            for (far, near) in [(FAR, NEAR), (FAR6, NEAR6)] {
                let far = at(far, 7000);
                assert_eq!(tcp(Place::Far, far, Place::Pod, far), near);
                assert_eq!(udp(Place::Far, far, Place::Pod, far), near);
            }
            // Not within its own network.
            for (gateway, pod) in [(GATEWAY, POD), (GATEWAY6, POD6)] {
                let gateway = at(gateway, 7000);
                assert_eq!(tcp(Place::Host, gateway, Place::Pod, gateway), pod);
            }
        },
    );
}

#[test]
fn forwarded_ports_are_reached_from_far() {
    isolated("packets::forwarded_ports_are_reached_from_far", || {
        world::build();
        install(ID, &rules());
        for (near, far, pod) in [(NEAR, FAR, POD), (NEAR6, FAR6, POD6)] {
            let (near, pod) = (at(near, 8080), at(pod, 80));
            // The pod sees who asks.
            assert_eq!(tcp(Place::Pod, pod, Place::Far, near), far);
            assert_eq!(udp(Place::Pod, pod, Place::Far, near), far);
        }
        let by_address = at(NEAR, 8081);
        assert_eq!(tcp(Place::Pod, at(POD, 80), Place::Far, by_address), FAR);
    });
}

#[test]
fn forwarded_ports_are_reached_from_the_host() {
    isolated("packets::forwarded_ports_are_reached_from_the_host", || {
        world::build();
        install(ID, &rules());
        let pod = at(POD, 80);
        for address in ["127.0.0.1", "127.8.8.8"] {
            let loopback = at(address, 8080);
            assert_eq!(tcp(Place::Pod, pod, Place::Host, loopback), GATEWAY);
            assert_eq!(udp(Place::Pod, pod, Place::Host, loopback), GATEWAY);
        }
        tcp(Place::Pod, pod, Place::Host, at(NEAR, 8080));
        udp(Place::Pod, pod, Place::Host, at(NEAR, 8080));
        tcp(Place::Pod, at(POD6, 80), Place::Host, at(NEAR6, 8080));
        udp(Place::Pod, at(POD6, 80), Place::Host, at(NEAR6, 8080));
    });
}

#[test]
fn the_pod_reaches_its_own_forwarded_ports() {
    isolated("packets::the_pod_reaches_its_own_forwarded_ports", || {
        world::build();
        install(ID, &rules());
        let cases = [(NEAR, POD, GATEWAY), (NEAR6, POD6, GATEWAY6)];
        for (near, pod, gateway) in cases {
            let (near, pod) = (at(near, 8080), at(pod, 80));
            assert_eq!(tcp(Place::Pod, pod, Place::Pod, near), gateway);
            assert_eq!(udp(Place::Pod, pod, Place::Pod, near), gateway);
        }
    });
}

/// CVE-2020-8558: with route_localnet a pod could reach what listens on the
/// host's 127.0.0.1.
#[test]
fn the_hosts_loopback_is_guarded() {
    isolated("packets::the_hosts_loopback_is_guarded", || {
        world::build();
        install(ID, &rules());
        let server = UdpSocket::bind("127.0.0.1:9999").unwrap();
        server.set_nonblocking(true).unwrap();
        sh("
            ip netns exec pod sh -c 'echo 1 > /proc/sys/net/ipv4/conf/eth0/route_localnet'
            ip -n pod addr flush dev lo
            ip -n pod link set lo down
            ip -n pod route add 127.0.0.1 via 172.16.28.1
        ");
        let send = || {
            Place::Pod.inside(|| {
                let socket = UdpSocket::bind(at(POD, 0)).unwrap();
                socket.send_to(b"x", "127.0.0.1:9999").unwrap();
            });
        };
        send();
        let mut buffer = [0; 8];
        let dropped = || sh("iptables-legacy -t raw -nvxL PREROUTING | awk '/DROP/ {print $1}'");
        assert!(soon("1".to_owned(), || dropped().trim().to_owned()));
        assert!(server.recv(&mut buffer).is_err());
        // Without the guard it would have come in.
        sh("iptables-legacy -t raw -F PREROUTING");
        send();
        assert!(soon(Some(1), || server.recv(&mut buffer).ok()));
    });
}

#[test]
fn counters_move_and_nothing_is_forwarded_after_removal() {
    let name = "packets::counters_move_and_nothing_is_forwarded_after_removal";
    isolated(name, || {
        world::build();
        install(ID, &rules());
        let (near, pod) = (at(NEAR, 8080), at(POD, 80));
        tcp(Place::Pod, pod, Place::Far, near);
        let count =
            "iptables-legacy -t nat -nvxL RKT-PFWD-DNAT-6a3f0c55 | awk '/tcp dpt:8080/ {print $1}'";
        assert_eq!(sh(count).trim(), "1");
        // They survive the next pod.
        install("another", &rules());
        assert_eq!(sh(count).trim(), "1");
        xtables::remove("another").unwrap();
        assert_eq!(sh(count).trim(), "1");
        xtables::remove(ID).unwrap();
        let refused = Place::Far.inside(move || std::net::TcpStream::connect(near));
        let err = refused.unwrap_err();
        assert_eq!(err.kind(), std::io::ErrorKind::ConnectionRefused);
    });
}
