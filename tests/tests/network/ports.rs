//! `--port`: addresses of the host, ports that are taken, and ports that are given back.

use crate::{APP, Pod, call, image, leases, network, reach, reach_from_far, run, silent};
use serde_json::json;
use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, TcpListener, UdpSocket};
use tests::isolated::Mode;
use tests::lab::{FAR4, FAR6, HOST4, HOST6, Lab};
use tests::talk::{Protocol, ask};
use tests::{Rkt, net_test};

const LOCAL4: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const LOCAL6: IpAddr = IpAddr::V6(Ipv6Addr::LOCALHOST);

/// The far side is told at once that nobody listens.
#[track_caller]
fn refused_from_far(lab: &Lab, ip: IpAddr, port: u16) {
    let got = lab.far(|| ask(Protocol::Tcp, (ip, port).into()));
    assert_eq!(
        got.expect_err("nobody listens there").kind(),
        ErrorKind::ConnectionRefused,
        "{ip}"
    );
}

/// A call that was refused for its ports: no app ran, nothing of a network is left.
#[track_caller]
fn refused(lab: &Lab, flags: &[&str], parts: &[&str]) {
    let before = tests::host::leases();
    let mut out = run(lab, flags, &["echo", "the-app-ran"]).code(254);
    assert!(!out.stdout.contains("the-app-ran"), "{out}");
    for part in parts {
        out = out.stderr_has(part);
    }
    assert_eq!(tests::host::leases(), before, "leases are left\n{out}");
    let left =
        std::fs::read_dir("/run/netns").map(|d| d.flatten().map(|e| e.path()).collect::<Vec<_>>());
    let running = call(lab, &["list", "--no-legend"])
        .stdout
        .matches("running")
        .count();
    assert_eq!(
        left.unwrap_or_default().len(),
        running,
        "a namespace file is left\n{out}"
    );
}

net_test! {
    fn bound_to_the_loopback(lab) {
        let pod = Pod::start(lab, &["--port=http:127.0.0.1:8080", "--port=query:127.0.0.1:8080"]);
        for protocol in Protocol::ALL {
            reach(protocol, LOCAL4, 8080);
            silent(protocol, LOCAL6, 8080);
            silent(protocol, HOST4, 8080);
        }
        refused_from_far(lab, HOST4, 8080);
        refused_from_far(lab, HOST6, 8080);
        pod.end(lab);
    }
}

net_test! {
    fn bound_to_one_address_of_the_host(lab) {
        let pod = Pod::start(lab, &["--port=http:192.0.2.1:8080"]);
        assert_eq!(reach_from_far(lab, Protocol::Tcp, HOST4, 8080), FAR4);
        reach(Protocol::Tcp, HOST4, 8080);
        pod.ask(Protocol::Tcp, HOST4, 8080);
        silent(Protocol::Tcp, LOCAL4, 8080);
        refused_from_far(lab, HOST6, 8080);
        pod.end(lab);
    }
}

net_test! {
    fn bound_to_one_ipv6_address_of_the_host(lab) {
        let pod = Pod::start(lab, &["--port=http:[2001:db8::1]:8080", "--port=query:[2001:db8::1]:8080"]);
        for protocol in Protocol::ALL {
            assert_eq!(reach_from_far(lab, protocol, HOST6, 8080), FAR6, "{protocol}");
            reach(protocol, HOST6, 8080);
            pod.ask(protocol, HOST6, 8080);
            silent(protocol, LOCAL6, 8080);
        }
        refused_from_far(lab, HOST4, 8080);
        pod.end(lab);
    }
}

net_test! {
    fn bound_to_the_ipv6_loopback(lab) {
        let pod = Pod::start(lab, &["--port=http:[::1]:8080"]);
        reach(Protocol::Tcp, LOCAL6, 8080);
        silent(Protocol::Tcp, LOCAL4, 8080);
        refused_from_far(lab, HOST6, 8080);
        pod.end(lab);
    }
}

net_test! {
    in &Mode::ALL,
    fn a_port_that_is_taken_is_refused_before_the_pod_starts(lab) {
        let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 18000)).expect("a free port");
        refused(lab, &["--port=http:18000"], &["18000"]);
        // UDP is another matter.
        run(lab, &["--port=query:18000"], &["echo", "x"]).ok();
        drop(listener);
        let socket = UdpSocket::bind((Ipv6Addr::LOCALHOST, 18000)).expect("a free port");
        refused(lab, &["--port=query:18000"], &["18000"]);
        run(lab, &["--port=http:18000"], &["echo", "x"]).ok();
        drop(socket);
        run(lab, &["--port=query:18000"], &["echo", "x"]).ok();
        call(lab, &["gc", "--grace-period=0s"]).ok();
        assert_eq!(leases("default"), [""; 0]);
    }
}

net_test! {
    fn only_the_address_that_is_taken_is_refused(lab) {
        let _listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 18000)).expect("a free port");
        refused(lab, &["--port=http:127.0.0.1:18000"], &["18000"]);
        refused(lab, &["--port=http:18000"], &["18000"]);
        let pod = Pod::start(lab, &["--port=http:192.0.2.1:18000"]);
        assert_eq!(reach_from_far(lab, Protocol::Tcp, HOST4, 18000), FAR4);
        pod.end(lab);
    }
}

net_test! {
    fn the_second_pod_with_the_same_port_is_refused(lab) {
        let pod = Pod::start(lab, &["--port=http:18000", "--port=query:18000"]);
        refused(lab, &["--port=http:18000"], &["18000"]);
        refused(lab, &["--port=query:18000"], &["18000"]);
        refused(lab, &["--port=http:192.0.2.1:18000"], &["18000"]);
        // The first one does not notice.
        for protocol in Protocol::ALL {
            reach_from_far(lab, protocol, HOST4, 18000);
        }
        pod.end(lab);
        // Now it is free, for another pod and for anybody.
        let pod = Pod::start(lab, &["--port=http:18000"]);
        reach_from_far(lab, Protocol::Tcp, HOST6, 18000);
        pod.end(lab);
        TcpListener::bind((Ipv6Addr::UNSPECIFIED, 18000)).expect("the port is free after the pod");
        UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 18000)).expect("the port is free after the pod");
    }
}

net_test! {
    fn while_the_pod_runs_nobody_else_gets_its_port(lab) {
        let pod = Pod::start(lab, &["--port=http:18000", "--port=query:18000"]);
        for ip in [LOCAL4, HOST4, Ipv4Addr::UNSPECIFIED.into(), LOCAL6, HOST6] {
            let got = TcpListener::bind((ip, 18000)).map(drop);
            assert_eq!(got.expect_err("the pod's port").kind(), ErrorKind::AddrInUse, "tcp {ip}");
            let got = UdpSocket::bind((ip, 18000)).map(drop);
            assert_eq!(got.expect_err("the pod's port").kind(), ErrorKind::AddrInUse, "udp {ip}");
        }
        pod.end(lab);
    }
}

net_test! {
    fn an_address_that_the_host_does_not_have(lab) {
        refused(lab, &["--port=http:198.51.100.7:18000"], &["198.51.100.7"]);
        refused(lab, &["--port=http:[2001:db8::99]:18000"], &["2001:db8::99"]);
    }
}

net_test! {
    fn names_and_conflicts(lab) {
        refused(lab, &["--port=nosuch:18000"], &["port name \"nosuch\" could not be found in any apps"]);
        refused(lab, &["--port=http:18000", "--port=http:127.0.0.1:18000"], &["already mapped to pod port 8000"]);
        refused(lab, &["--net=none", "--port=http:18000"], &["--port"]);
        refused(lab, &["--net=host", "--port=http:18000"], &["--port"]);
    }
}

net_test! {
    fn two_apps_with_a_port_each(lab) {
        let image = image(lab);
        let other = tests::Aci::probe("example.com/other")
            .app("ports", json!([{"name": "admin", "protocol": "tcp", "port": 8001}]))
            .write(lab.path());
        let mut pod = Rkt::new(&lab.scratch)
            .args(["run", "--port=http:18000", "--port=admin:18001"])
            .arg(&image)
            .args(["--", "serve", "8000", "then", "forever", "---"])
            .arg(&other)
            .args(["--", "serve", "8001", "then", "forever"])
            .spawn();
        pod.until("serving=8000").until("serving=8001");
        for port in [18000, 18001] {
            reach_from_far(lab, Protocol::Tcp, HOST4, port);
        }
        pod.signal(rustix::process::Signal::TERM);
        pod.end();
    }
}

net_test! {
    fn ports_lead_to_the_first_masqueraded_network(lab) {
        let net = |name: &str, subnet: &str, masq: bool| json!({
            "name": name, "type": "ptp", "ipMasq": masq, "ipam": {"type": "host-local", "subnet": subnet},
        });
        network(lab, "10-plain.conf", &net("plain", "10.33.0.0/24", false));
        network(lab, "20-masq.conf", &net("masq", "10.34.0.0/24", true));
        network(lab, "30-last.conf", &net("last", "10.35.0.0/24", false));
        // An app that listens on one network only tells which one the port leads to.
        let at = format!("10.34.0.2:{APP}");
        let pod = Pod::start_as(lab, &["--net=plain,masq,last", "--port=http:18000"], &["serve-at", &at, "then", "forever"]);
        reach(Protocol::Tcp, LOCAL4, 18000);
        pod.end(lab);
        // The range goes on after the address that the first pod had.
        let at = format!("10.35.0.3:{APP}");
        let pod = Pod::start_as(lab, &["--net=plain,last", "--port=http:18000"], &["serve-at", &at, "then", "forever"]);
        reach(Protocol::Tcp, LOCAL4, 18000);
        pod.end(lab);
    }
}

/// Asks by datagrams from one socket, so that all belong to one flow; whether an answer came. `word` tells it from the
/// late answers to earlier questions.
fn answered(socket: &UdpSocket, host: IpAddr, word: &str) -> bool {
    let mut buffer = [0; 64];
    let mut heard = || {
        let len = socket.recv(&mut buffer).unwrap_or(0);
        len > 0 && String::from_utf8_lossy(&buffer[..len]).starts_with(word)
    };
    (0..8).any(|_| socket.send_to(word.as_bytes(), (host, 18000)).is_ok() && heard())
}

net_test! {
    /// The kernel remembers a flow of datagrams for minutes, with the rules that its first one met: whoever asked before
    /// the pod was there, or asked a pod that is over, must not be held to that.
    fn datagrams_of_an_old_flow_reach_the_new_pod(lab) {
        for (host, own) in [(HOST4, FAR4), (HOST6, FAR6)] {
            let socket = lab.far(|| UdpSocket::bind((own, 30000))).expect("a port on the far side");
            socket.set_read_timeout(Some(std::time::Duration::from_millis(300))).expect("a timeout that is not zero");
            let _ = socket.send_to(b"w", (host, 18000));
            for turn in 0..2 {
                let pod = Pod::start(lab, &["--port=query:18000"]);
                assert!(answered(&socket, host, &format!("during-{turn} ")), "{host}: pod {turn} does not hear the old flow");
                pod.end(lab);
                assert!(!answered(&socket, host, &format!("after-{turn} ")), "{host}: pod {turn} is over and answers");
            }
        }
    }
}
