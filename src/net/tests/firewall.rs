//! The firewall against the kernel: what nft lists is what nft would have made
//! of the same words, and packets between namespaces take the ways they should.
//!
//! Each test runs itself again in a network namespace of its own, which is the
//! host here; `far`, the world outside, and `pod` are two more. Skipped, aloud,
//! without root, ip or nft.

#![expect(clippy::unwrap_used, reason = "tests")]

#[path = "firewall/lab.rs"]
mod lab;

use lab::{COMES, DOES_NOT, ROLE, Space, again, inside, ip, lab, run, serve, tcp, udp, udp_socket};
use net::firewall::{self, Firewall, Way};
use net::{Cidr, Forward, Masquerade, Protocol, Rules};
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, UdpSocket};
use std::process::{Command, Stdio};

const ID: &str = "fc5be7e5-e5bc-4c04-8b62-2cb5ee9e39b5";
const TABLE: &str = "rkt-fc5be7e5e5bc4c048b622cb5ee";

fn rules() -> Rules {
    let forward = |protocol, host_port, to: &str, to_port| Forward {
        protocol,
        host_ip: None,
        host_port,
        to: ip(to),
        to_port,
    };
    let masquerade = |address: &str, within: &str| Masquerade {
        address: ip(address),
        within: Cidr::parse(within).unwrap(),
    };
    Rules {
        masquerade: vec![
            masquerade("10.7.0.5", "10.7.0.0/24"),
            masquerade("fd07::5", "fd07::/64"),
        ],
        forwards: vec![
            forward(Protocol::Tcp, 8080, "10.7.0.5", 80),
            forward(Protocol::Udp, 8053, "10.7.0.5", 53),
            forward(Protocol::Tcp, 8080, "fd07::5", 80),
            forward(Protocol::Udp, 8053, "fd07::5", 53),
            Forward {
                host_ip: Some(ip("10.9.0.1")),
                ..forward(Protocol::Tcp, 8081, "10.7.0.5", 80)
            },
        ],
        targets: vec![ip("10.7.0.5"), ip("fd07::5")],
    }
}

fn install(firewall: &mut Firewall, rules: &Rules) {
    let mut notes = Vec::new();
    let way = firewall.install(ID, rules, &mut |note| notes.push(note));
    assert_eq!(way.unwrap(), Way::NfTables);
    assert!(notes.is_empty(), "{notes:?}");
}
#[test]
fn packets_take_their_ways() {
    if !inside("packets_take_their_ways") {
        return;
    }
    let lab = lab();
    let mut firewall = Firewall::open().unwrap();
    install(&mut firewall, &rules());
    serve(&lab.far, 7000, 7000);
    serve(&lab.pod, 80, 53);
    let at_far = |to: &str| {
        let seen = lab.pod.at(|| (tcp(to, 7000), udp(to, 7000)));
        (seen.0.unwrap(), seen.1.unwrap())
    };
    let both = |text: &str| (text.to_string(), text.to_string());
    assert_eq!(at_far("10.9.0.5"), both("10.9.0.1"), "masqueraded");
    assert_eq!(at_far("fd09::5"), both("fd09::1"), "masqueraded");
    let forwarded = |to: &str| (tcp(to, 8080).unwrap(), udp(to, 8053).unwrap());
    assert_eq!(lab.far.at(|| forwarded("10.9.0.1")), both("10.9.0.5"));
    assert_eq!(lab.far.at(|| forwarded("fd09::1")), both("fd09::5"));
    assert_eq!(forwarded("10.9.0.1"), both("10.9.0.1"), "own address");
    assert_eq!(forwarded("fd09::1"), both("fd09::1"), "own address");
    assert_eq!(
        lab.pod.at(|| forwarded("10.7.0.1")),
        both("10.7.0.1"),
        "hairpin"
    );
    assert_eq!(
        lab.pod.at(|| forwarded("10.9.0.1")),
        both("10.7.0.1"),
        "hairpin"
    );
    assert_eq!(
        lab.pod.at(|| forwarded("fd07::1")),
        both("fd07::1"),
        "hairpin"
    );
    assert!(lab.far.at(|| tcp("10.9.0.1", 8081)).is_some());
    assert_eq!(tcp("10.7.0.1", 8081), None, "not of this address");
    for loopback in ["127.0.0.1", "127.1.2.3", "::1"] {
        assert_eq!(tcp(loopback, 8080), None, "not of the loopback");
        own_sockets(loopback, || forwarded(loopback));
    }
    counters_moved();
    firewall.remove(ID).unwrap();
    assert_eq!(run("nft list tables"), "");
    assert_eq!(lab.far.at(|| tcp("10.9.0.1", 8080)), None);
}

/// Every rule that was meant for one of the packets has seen some.
fn counters_moved() {
    let idle: Vec<String> = ["ip", "ip6"]
        .iter()
        .flat_map(|family| {
            let listed = run(&format!("nft list table {family} {TABLE}"));
            let idle = |line: &&str| line.contains("counter packets 0 ");
            let lines: Vec<String> = listed.lines().filter(idle).map(str::to_string).collect();
            lines
        })
        .filter(|line| !line.contains("ct status"))
        .collect();
    assert!(idle.is_empty(), "{idle:#?}");
}

/// What `ask` asks reaches the host's own sockets there: a TCP server of port
/// 8080, a UDP server of port 8053.
fn own_sockets(address: &str, ask: impl FnOnce() -> (String, String)) {
    let listener = TcpListener::bind((ip(address), 8080)).unwrap();
    let socket = UdpSocket::bind((ip(address), 8053)).unwrap();
    socket.set_read_timeout(Some(COMES)).unwrap();
    let server = std::thread::spawn(move || {
        listener.accept().unwrap().0.write_all(b"own").unwrap();
        let (_, peer) = socket.recv_from(&mut [0; 16]).unwrap();
        socket.send_to(b"own", peer).unwrap();
    });
    assert_eq!(ask(), ("own".to_string(), "own".to_string()), "{address}");
    server.join().unwrap();
}

/// A port of the host's loopback is nobody else's, not even a neighbour's that
/// sends frames with that address.
#[test]
fn frames_for_the_hosts_loopback_do_not_reach_the_pod() {
    if !inside("frames_for_the_hosts_loopback_do_not_reach_the_pod") {
        return;
    }
    let lab = lab();
    serve(&lab.pod, 80, 53);
    // They have no loopback of their own: such addresses are routed to the host.
    for (space, host) in [(&lab.far, "10.9.0.1"), (&lab.pod, "10.7.0.1")] {
        space.run("sysctl -qw net.ipv4.conf.eth0.route_localnet=1");
        space.run(&format!("ip route add 127.0.0.0/8 via {host} dev eth0"));
    }
    let ask = || {
        (
            tcp("127.0.0.1", 8080).unwrap(),
            udp("127.0.0.1", 8053).unwrap(),
        )
    };
    // Rules that spare nothing lead them on.
    run("nft add table ip control");
    run("nft add chain ip control prerouting { type nat hook prerouting priority -100 ; }");
    for (protocol, from, to) in [("tcp", 8080, 80), ("udp", 8053, 53)] {
        run(&format!(
            "nft add rule ip control prerouting {protocol} dport {from} dnat to 10.7.0.5:{to}"
        ));
    }
    let seen = ("10.9.0.5".to_string(), "10.9.0.5".to_string());
    assert_eq!(lab.far.at(ask), seen);
    run("nft delete table ip control");
    let mut firewall = Firewall::open().unwrap();
    install(&mut firewall, &rules());
    for (space, link) in [(&lab.far, "tofar"), (&lab.pod, "topod")] {
        // As the kernel is by itself nobody gets them.
        let switch = format!("/proc/sys/net/ipv4/conf/{link}/route_localnet");
        assert_eq!(std::fs::read_to_string(&switch).unwrap(), "0\n");
        let secret = UdpSocket::bind("127.0.0.1:8053").unwrap();
        secret.set_read_timeout(Some(DOES_NOT)).unwrap();
        let client = space.at(|| udp_socket("127.0.0.1"));
        client.set_read_timeout(Some(DOES_NOT)).unwrap();
        client.send_to(b"?", "127.0.0.1:8053").unwrap();
        assert!(secret.recv_from(&mut [0; 16]).is_err());
        assert!(client.recv_from(&mut [0; 16]).is_err());
        drop(secret);
        // Where the administrator lets them in, it is the host that answers.
        std::fs::write(&switch, "1").unwrap();
        own_sockets("127.0.0.1", || space.at(ask));
    }
}

/// On a bridge the pod would answer its neighbour directly, from an address
/// that this one has not asked.
#[test]
fn a_neighbour_on_the_bridge_reaches_a_forwarded_port() {
    if !inside("a_neighbour_on_the_bridge_reaches_a_forwarded_port") {
        return;
    }
    let lab = lab();
    let neighbour = Space::new();
    run("ip link add rktbr type bridge");
    for (link, address) in [("topod", "10.7.0.1/24"), ("topod", "fd07::1/64")] {
        run(&format!("ip addr del {address} dev {link}"));
    }
    run(&format!(
        "ip link add tonext type veth peer name eth0 netns {}",
        neighbour.path()
    ));
    for link in ["topod", "tonext"] {
        run(&format!("ip link set {link} master rktbr up"));
    }
    run("ip link set rktbr up");
    run("ip addr add 10.7.0.1/24 dev rktbr");
    run("ip addr add fd07::1/64 dev rktbr nodad");
    neighbour.run("ip addr add 10.7.0.6/24 dev eth0");
    neighbour.run("ip addr add fd07::6/64 dev eth0 nodad");
    neighbour.run("ip link set eth0 up");
    serve(&lab.pod, 80, 53);
    let mut firewall = Firewall::open().unwrap();
    install(&mut firewall, &rules());
    let over_host = |to: &str| (tcp(to, 8080), udp(to, 8053));
    let directly = |to: &str| tcp(to, 80);
    // Where bridged packets can go through the rules as well, both are tried.
    for switch in ["0", "1"] {
        let there = ["iptables", "ip6tables"].map(|name| {
            std::fs::write(
                format!("/proc/sys/net/bridge/bridge-nf-call-{name}"),
                switch,
            )
        });
        if there.iter().any(Result::is_err) && switch == "1" {
            tests::skip::record("bridged packets in the rules: no br_netfilter");
            continue;
        }
        for (host, pod, own) in [
            ("10.7.0.1", "10.7.0.5", "10.7.0.6"),
            ("fd07::1", "fd07::5", "fd07::6"),
        ] {
            let seen = neighbour.at(|| over_host(host));
            let expected = Some(host.to_string());
            assert_eq!(seen, (expected.clone(), expected), "{switch}");
            let seen = neighbour.at(|| directly(pod));
            assert_eq!(seen.as_deref(), Some(own), "{switch}");
        }
    }
}

/// NAT looks at the first packet of a flow, and there was one before.
#[test]
fn udp_clients_from_before_are_forwarded() {
    if !inside("udp_clients_from_before_are_forwarded") {
        return;
    }
    let lab = lab();
    serve(&lab.pod, 80, 53);
    // Flows are tracked because of an earlier pod.
    let other = Rules {
        masquerade: rules().masquerade,
        ..Rules::default()
    };
    let mut earlier = Firewall::open().unwrap();
    let earlier_id = ID.replace("fc5b", "aaaa");
    earlier.install(&earlier_id, &other, &mut |_| ()).unwrap();
    let mut firewall = Firewall::open().unwrap();
    for (to, far) in [("10.9.0.1", "10.9.0.5"), ("fd09::1", "fd09::5")] {
        let here = UdpSocket::bind((ip(to), 8053)).unwrap();
        here.set_read_timeout(Some(COMES)).unwrap();
        let client = lab.far.at(|| udp_socket(to));
        client.send_to(b"?", (ip(to), 8053)).unwrap();
        let (_, peer) = here.recv_from(&mut [0; 16]).unwrap();
        here.send_to(b"here", peer).unwrap();
        let mut buffer = [0; 64];
        let (len, _) = client.recv_from(&mut buffer).unwrap();
        assert_eq!(&buffer[..len], b"here");
        drop(here);
        install(&mut firewall, &rules());
        client.send_to(b"?", (ip(to), 8053)).unwrap();
        let (len, _) = client.recv_from(&mut buffer).unwrap();
        let seen = std::str::from_utf8(&buffer[..len]).unwrap();
        assert_eq!(seen, far);
        firewall.remove(ID).unwrap();
    }
}

/// The same in nft's own words, made by nft.
#[test]
fn nft_lists_what_is_meant() {
    if !inside("nft_lists_what_is_meant") {
        return;
    }
    let mut firewall = Firewall::open().unwrap();
    install(&mut firewall, &rules());
    expect("ip", include_str!("fixtures/firewall-ip.nft"));
    expect("ip6", include_str!("fixtures/firewall-ip6.nft"));
}

fn expect(family: &str, chains: &str) {
    let script = format!("table {family} wanted {{\n{chains}\n}}\n");
    let path = std::env::temp_dir().join(format!("rkt-test-{}.nft", std::process::id()));
    std::fs::write(&path, script).unwrap();
    let made = Command::new("nft").arg("-f").arg(&path).status().unwrap();
    std::fs::remove_file(&path).unwrap();
    assert!(made.success());
    assert_eq!(listed(family, TABLE), listed(family, "wanted"));
}

/// Chain by chain, without the table's own line, flags and comments.
fn listed(family: &str, table: &str) -> Vec<String> {
    let text = run(&format!("nft -s -y list table {family} {table}"));
    let mut chains: Vec<String> = text
        .split("\tchain ")
        .skip(1)
        .map(|chain| {
            let lines = chain
                .lines()
                .map(|line| line.split(" comment ").next().unwrap());
            let lines: Vec<&str> = lines
                .filter(|line| !line.is_empty() && *line != "}")
                .collect();
            lines.join("\n")
        })
        .collect();
    chains.sort();
    chains
}

#[test]
fn a_table_goes_with_its_last_holder_and_no_sooner() {
    let test = "a_table_goes_with_its_last_holder_and_no_sooner";
    if !inside(test) {
        return;
    }
    if std::env::var(ROLE).unwrap() == "hold" {
        let mut firewall = Firewall::open().unwrap();
        install(&mut firewall, &rules());
        println!("\nholding");
        loop {
            std::thread::park();
        }
    }
    let facts = firewall::probe();
    assert_eq!(facts.way, Way::NfTables, "{}", facts.why);
    assert_eq!(run("nft list tables"), "", "the probe left nothing");
    if !facts.owned {
        tests::skip::record(&facts.why);
        return;
    }
    let mut child = again(test, "hold").stdout(Stdio::piped()).spawn().unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert!(lines.map_while(Result::ok).any(|line| line == "holding"));
    let both = format!("table ip {TABLE}\ntable ip6 {TABLE}\n");
    assert_eq!(run("nft list tables"), both);
    run("nft flush ruleset");
    assert_eq!(run("nft list tables"), both, "flush spares it");
    assert!(run(&format!("nft list table ip {TABLE}")).contains("dnat to"));
    let refused = firewall::remove(ID).unwrap_err();
    assert_eq!(refused.kind, model::Kind::Conflict);
    let second = socket_of(child.id());
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(run("nft list tables"), both, "one process holds it yet");
    drop(second);
    assert_eq!(run("nft list tables"), "");
    firewall::remove(ID).unwrap();
}

/// Another process' netlink socket, as if it were inherited.
fn socket_of(pid: u32) -> Vec<std::os::fd::OwnedFd> {
    use rustix::process::{Pid, PidfdFlags, PidfdGetfdFlags, pidfd_getfd, pidfd_open};
    let pidfd = pidfd_open(Pid::from_raw(pid as i32).unwrap(), PidfdFlags::empty()).unwrap();
    let mut sockets = Vec::new();
    for entry in std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap() {
        let entry = entry.unwrap();
        let target = std::fs::read_link(entry.path()).unwrap_or_default();
        if target.to_string_lossy().starts_with("socket:") {
            let number = entry.file_name().to_str().unwrap().parse().unwrap();
            sockets.push(pidfd_getfd(&pidfd, number, PidfdGetfdFlags::empty()).unwrap());
        }
    }
    assert!(!sockets.is_empty());
    sockets
}

#[test]
fn what_nobody_owns_is_replaced_and_removed() {
    if !inside("what_nobody_owns_is_replaced_and_removed") {
        return;
    }
    let other = "table ip other\n";
    run("nft add table ip other");
    run(&format!("nft add table ip {TABLE}"));
    run(&format!("nft add chain ip {TABLE} ports"));
    run(&format!("nft add rule ip {TABLE} ports drop"));
    let mut firewall = Firewall::open().unwrap();
    install(&mut firewall, &rules());
    let table = run(&format!("nft list table ip {TABLE}"));
    assert!(
        table.contains("dnat to") && !table.contains("\t\tdrop"),
        "{table}"
    );
    // Once more: the second takes the place of the first.
    install(&mut firewall, &rules());
    assert_eq!(table, run(&format!("nft list table ip {TABLE}")));
    firewall.remove(ID).unwrap();
    firewall.remove(ID).unwrap();
    assert_eq!(run("nft list tables"), other);
    install(&mut firewall, &rules());
    firewall.close();
    if firewall::probe().owned {
        assert_eq!(run("nft list tables"), other);
    }
    firewall::remove(ID).unwrap();
    run(&format!("nft add table ip6 {TABLE}"));
    firewall::remove(ID).unwrap();
    firewall::remove(ID).unwrap();
    assert_eq!(run("nft list tables"), other);
}

#[test]
fn thousands_of_ports_are_one_transaction() {
    if !inside("thousands_of_ports_are_one_transaction") {
        return;
    }
    let mut rules = rules();
    let first = rules.forwards[0];
    rules.forwards = (1..4000)
        .map(|host_port| Forward { host_port, ..first })
        .collect();
    let mut firewall = Firewall::open().unwrap();
    install(&mut firewall, &rules);
    let table = run(&format!("nft list chain ip {TABLE} ports"));
    assert_eq!(table.matches("dnat to").count(), 3999);
}

/// A port of the loopback alone is nothing for the kernel to do.
#[test]
fn without_rules_there_is_no_table() {
    if !inside("without_rules_there_is_no_table") {
        return;
    }
    let mut rules = rules();
    rules.masquerade.clear();
    rules.forwards.truncate(1);
    rules.forwards[0].host_ip = Some(ip("127.0.0.1"));
    let mut firewall = Firewall::open().unwrap();
    install(&mut firewall, &rules);
    assert_eq!(run("nft list tables"), "");
    firewall.remove(ID).unwrap();
}

#[test]
fn ids_from_outside_are_checked() {
    let mut firewall = Firewall::open().unwrap();
    assert!(firewall.install("zzz", &rules(), &mut |_| ()).is_err());
    assert!(firewall.remove("").is_err());
}

#[test]
fn without_the_capability_it_says_so() {
    let test = "without_the_capability_it_says_so";
    if !inside(test) {
        return;
    }
    // A thread that is nobody there: the capability over this namespace is gone.
    let refused = std::thread::spawn(|| {
        let nobody = rustix::process::Uid::from_raw(65534);
        rustix::thread::set_thread_uid(nobody).unwrap();
        let installed = Firewall::open().unwrap().install(ID, &rules(), &mut |_| ());
        (installed.unwrap_err(), firewall::probe())
    });
    let (fault, facts) = refused.join().unwrap();
    assert_eq!(fault.kind, model::Kind::Refused);
    assert!(fault.hint.is_some());
    assert_eq!((facts.way, facts.owned), (Way::None, false));
    assert!(facts.why.contains("CAP_NET_ADMIN"), "{}", facts.why);
}
