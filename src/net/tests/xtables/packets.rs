//! Real packets: out of the pod by masquerade, into it by forwarded ports from far,
//! from the host over its own addresses, and from the pod itself; never for the
//! host's loopback.

use crate::world::{self, FAR, FAR6, NEAR, NEAR6, POD, POD6, Place, at, isolated, sh, tcp, udp};
use crate::{ID, install, rules};
use net::firewall::xtables;

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
        // Not over its loopback, which is the host's own.
        for address in ["127.0.0.1", "127.8.8.8", "::1"] {
            let loopback = at(address, 8080);
            tcp(Place::Host, loopback, Place::Host, loopback);
            udp(Place::Host, loopback, Place::Host, loopback);
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

/// A port of the host's loopback is nobody else's, not even a neighbour's that
/// sends frames with that address.
#[test]
fn frames_for_the_hosts_loopback_do_not_reach_the_pod() {
    let name = "packets::frames_for_the_hosts_loopback_do_not_reach_the_pod";
    isolated(name, || {
        world::build();
        // They have no loopback of their own: such addresses are routed to the host.
        sh("for it in far:10.9.0.1 pod:172.16.28.1; do
                ip -n ${it%:*} addr flush dev lo
                ip -n ${it%:*} link set lo down
                ip netns exec ${it%:*} sysctl -qw net.ipv4.conf.eth0.route_localnet=1
                ip -n ${it%:*} route add 127.0.0.0/8 via ${it#*:}
            done");
        let (loopback, pod) = (at("127.0.0.1", 8080), at(POD, 80));
        // Rules that spare nothing lead them on.
        let control = |verb| {
            for protocol in ["tcp", "udp"] {
                sh(&format!(
                    "iptables-legacy -t nat {verb} PREROUTING -p {protocol} --dport 8080 \
                     -j DNAT --to-destination {pod}"
                ));
            }
        };
        control("-A");
        assert_eq!(tcp(Place::Pod, pod, Place::Far, loopback), FAR);
        assert_eq!(udp(Place::Pod, pod, Place::Far, loopback), FAR);
        control("-D");
        install(ID, &rules());
        // Where the administrator lets them in, it is the host that answers.
        sh("for link in tofar topod; do
                test $(cat /proc/sys/net/ipv4/conf/$link/route_localnet) = 0
                echo 1 > /proc/sys/net/ipv4/conf/$link/route_localnet
            done");
        for (place, ip) in [(Place::Far, FAR), (Place::Pod, POD)] {
            assert_eq!(tcp(Place::Host, loopback, place, loopback), ip);
            assert_eq!(udp(Place::Host, loopback, place, loopback), ip);
        }
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
