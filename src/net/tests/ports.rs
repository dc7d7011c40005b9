//! Reserved ports, and the keeper that serves them, in a network namespace of
//! the test's own: the ports of the machine stay as they are.

#![expect(clippy::unwrap_used, reason = "tests")]

use model::Fault;
use model::fault::Kind;
use net::Protocol;
use net::keeper::{self, Work};
use net::ports::{Mapping, Reserved, reserve};
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::time::Duration;
use tests::isolated;

/// What the kernel itself chose a moment ago is free in a namespace of our own.
fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

fn mapping(protocol: Protocol, ip: Option<&str>, port: u16) -> Mapping {
    Mapping {
        name: "www".into(),
        protocol,
        host_ip: ip.map(|ip| ip.parse().unwrap()),
        host_port: port,
        pod_port: 80,
    }
}

fn refused(mappings: &[Mapping]) -> Fault {
    reserve(mappings).map(drop).unwrap_err()
}

#[track_caller]
fn alone(test: &str, body: fn()) {
    isolated::isolated_in(&[isolated::Mode::Private], test, body);
}

fn families(held: &[Reserved]) -> Vec<bool> {
    held.iter().map(|reserved| reserved.v6).collect()
}

#[test]
fn all_addresses_or_one() {
    alone("all_addresses_or_one", || {
        let port = free_port();
        for protocol in [Protocol::Tcp, Protocol::Udp] {
            for ip in [None, Some("0.0.0.0"), Some("::")] {
                let held = reserve(&[mapping(protocol, ip, port)]).unwrap();
                assert_eq!(families(&held), [false, true]);
                assert!(held.iter().all(|reserved| reserved.pod_port == 80));
            }
            let held = reserve(&[mapping(protocol, Some("127.0.0.1"), port)]).unwrap();
            assert_eq!(families(&held), [false]);
            let held = reserve(&[mapping(protocol, Some("::1"), port)]).unwrap();
            assert_eq!(families(&held), [true]);
        }
        let both = [Protocol::Tcp, Protocol::Udp].map(|protocol| mapping(protocol, None, port));
        assert_eq!(reserve(&both).unwrap().len(), 4);
    });
}

#[test]
fn a_taken_port_is_refused() {
    alone("a_taken_port_is_refused", || {
        let others = ["127.0.0.1:0", "0.0.0.0:0", "[::1]:0", "[::]:0"];
        for other in others {
            let tcp = TcpListener::bind(other).unwrap();
            let port = tcp.local_addr().unwrap().port();
            let fault = refused(&[mapping(Protocol::Tcp, None, port)]);
            assert_eq!(fault.kind, Kind::Conflict, "{other}");
            assert_eq!(
                fault.to_string(),
                format!("port {port}/tcp of the host is taken")
            );
            assert!(fault.hint.is_some());
            let udp = UdpSocket::bind(other).unwrap();
            let port = udp.local_addr().unwrap().port();
            let fault = refused(&[mapping(Protocol::Udp, None, port)]);
            assert_eq!(
                fault.to_string(),
                format!("port {port}/udp of the host is taken")
            );
        }
        // And by another pod.
        let port = free_port();
        for protocol in [Protocol::Tcp, Protocol::Udp] {
            let held = reserve(&[mapping(protocol, None, port)]).unwrap();
            assert_eq!(
                refused(&[mapping(protocol, None, port)]).kind,
                Kind::Conflict
            );
            let local = Some("127.0.0.1");
            let fault = refused(&[mapping(protocol, local, port)]);
            assert_eq!(fault.kind, Kind::Conflict);
            drop(held);
            reserve(&[mapping(protocol, None, port)]).unwrap();
        }
    });
}

#[test]
fn past_connections_do_not_take_a_port() {
    alone("past_connections_do_not_take_a_port", || {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let at = listener.local_addr().unwrap();
        let mut client = TcpStream::connect(at).unwrap();
        // Who closes first is left in TIME_WAIT.
        drop(listener.accept().unwrap());
        assert_eq!(client.read(&mut [0; 1]).unwrap(), 0);
        drop((client, listener));
        reserve(&[mapping(Protocol::Tcp, None, at.port())]).unwrap();
    });
}

#[test]
fn what_cannot_be_bound_is_explained() {
    alone("what_cannot_be_bound_is_explained", || {
        let port = free_port();
        let fault = refused(&[mapping(Protocol::Tcp, Some("192.0.2.7"), port)]);
        let text = fault.to_string();
        assert!(
            text.ends_with("the host has no address \"192.0.2.7\""),
            "{text}"
        );
        let text = refused(&[mapping(Protocol::Udp, Some("2001:db8::7"), port)]).to_string();
        assert!(
            text.ends_with("the host has no address \"2001:db8::7\""),
            "{text}"
        );
        let text = refused(&[mapping(Protocol::Tcp, Some("fe80::1"), port)]).to_string();
        assert!(text.contains("fe80::1"), "{text}");
        let text = refused(&[mapping(Protocol::Tcp, None, 0)]).to_string();
        assert_eq!(text, "port \"www\" cannot be forwarded: 0 is no port");
    });
}

#[test]
fn without_ipv6_there_is_one_socket() {
    alone("without_ipv6_there_is_one_socket", || {
        // The namespace's own switch: no address can be had, [::] still can.
        std::fs::write("/proc/sys/net/ipv6/conf/all/disable_ipv6", "1").unwrap();
        let port = free_port();
        let held = reserve(&[mapping(Protocol::Tcp, None, port)]).unwrap();
        assert!(!held.is_empty() && !held[0].v6);
        let text = refused(&[mapping(Protocol::Tcp, Some("::1"), port)]).to_string();
        assert!(text.contains("the host has no address"), "{text}");
    });
}

#[test]
fn ports_of_one_pod_that_meet() {
    // Refused before anything is bound, so it needs no namespace.
    let www = mapping(Protocol::Tcp, None, 8080);
    let mut other = mapping(Protocol::Tcp, Some("127.0.0.1"), 8080);
    other.pod_port = 81;
    let text = refused(&[www.clone(), other.clone()]).to_string();
    assert_eq!(
        text,
        "port tcp-127.0.0.1:8080 already mapped to pod port 80"
    );
    let text = refused(&[other, www]).to_string();
    assert_eq!(text, "port tcp-0.0.0.0:8080 already mapped to pod port 81");
}

/// A keeper for one port of all addresses, to an echo of the pod on IPv4 alone.
fn kept(protocol: Protocol) -> u16 {
    let target = match protocol {
        Protocol::Tcp => {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let port = listener.local_addr().unwrap().port();
            std::thread::spawn(move || {
                for mut stream in listener.incoming().flatten() {
                    std::thread::spawn(move || {
                        let mut buffer = [0; 512];
                        while let Ok(len @ 1..) = stream.read(&mut buffer) {
                            stream.write_all(&buffer[..len]).unwrap();
                        }
                    });
                }
            });
            port
        }
        Protocol::Udp => {
            let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
            let port = socket.local_addr().unwrap().port();
            std::thread::spawn(move || {
                let mut buffer = [0; 512];
                while let Ok((len, from)) = socket.recv_from(&mut buffer) {
                    socket.send_to(&buffer[..len], from).unwrap();
                }
            });
            port
        }
    };
    let port = free_port();
    let mut wanted = mapping(protocol, None, port);
    wanted.pod_port = target;
    let work = Work {
        reserved: reserve(&[wanted]).unwrap(),
        targets: vec![Ipv4Addr::LOCALHOST.into()],
        leases: Vec::new(),
    };
    std::thread::spawn(move || keeper::run(work));
    port
}

const ASKED: [IpAddr; 3] = [
    IpAddr::V4(Ipv4Addr::LOCALHOST),
    IpAddr::V4(Ipv4Addr::new(127, 9, 9, 9)),
    IpAddr::V6(Ipv6Addr::LOCALHOST),
];
const PATIENCE: Option<Duration> = Some(Duration::from_secs(20));

#[test]
fn a_pod_of_one_family_serves_both() {
    alone("a_pod_of_one_family_serves_both", || {
        let port = kept(Protocol::Tcp);
        for ip in ASKED {
            let mut stream = TcpStream::connect(SocketAddr::new(ip, port)).unwrap();
            stream.set_read_timeout(PATIENCE).unwrap();
            stream.write_all(b"hello").unwrap();
            let mut back = [0; 5];
            stream.read_exact(&mut back).unwrap();
            assert_eq!(&back, b"hello");
        }
    });
}

#[test]
fn udp_is_answered_from_the_address_that_was_asked() {
    alone("udp_is_answered_from_the_address_that_was_asked", || {
        let port = kept(Protocol::Udp);
        for ip in ASKED {
            let own: IpAddr = match ip {
                IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
                IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
            };
            let client = UdpSocket::bind((own, 0)).unwrap();
            client.set_read_timeout(PATIENCE).unwrap();
            client.send_to(b"hello", (ip, port)).unwrap();
            let mut back = [0; 16];
            let (len, from) = client.recv_from(&mut back).unwrap();
            assert_eq!((&back[..len], from), (&b"hello"[..], (ip, port).into()));
        }
    });
}
