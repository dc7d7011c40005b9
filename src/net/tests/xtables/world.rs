//! Where these tests play: a "host" network namespace of their own, in it a
//! "pod" and a "far" host behind veth pairs, both families. No packet leaves.
//!
//! `isolated` runs the test again under `unshare`, with `/run` and `/tmp` of its
//! own, so that locks and names of namespaces are nobody else's either.

use std::fs::File;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsFd;
use std::process::{Command, Stdio};
use std::time::Duration;
use sys::clone::Namespaces;
pub use tests::shell::sh;
use tests::shell::sh_may;

/// Nothing takes that long; a lost packet fails the test instead of hanging it.
const PATIENCE: Duration = Duration::from_secs(10);

/// Runs `body` in namespaces of its own, or says why it cannot.
pub fn isolated(name: &str, body: impl FnOnce()) {
    if tests::isolated::inside() {
        body();
        return;
    }
    if let Some(reason) = missing() {
        tests::skip::record(&reason);
        return;
    }
    tests::isolated::with_own_run(name);
}

fn missing() -> Option<String> {
    if !rustix::process::geteuid().is_root() {
        return Some("needs root".into());
    }
    for tool in ["unshare", "ip", "iptables-legacy", "ip6tables-legacy"] {
        let found = Command::new("sh")
            .args(["-c", &format!("command -v {tool}")])
            .output()
            .is_ok_and(|output| output.status.success());
        if !found {
            return Some(format!(
                "needs `{tool}` (Debian: util-linux, iproute2, iptables)"
            ));
        }
    }
    let tables = sh_may(
        "unshare -n sh -c 'iptables-legacy -t nat -S && ip6tables-legacy -t nat -S && iptables-legacy -t raw -S'",
    );
    match tables {
        Ok(_) => None,
        Err(why) => Some(format!("this kernel has no legacy iptables: {why}")),
    }
}

/// All tables of both families with their counters, without the dates.
pub fn save() -> Vec<String> {
    sh("iptables-legacy-save -c; ip6tables-legacy-save -c")
        .lines()
        .filter(|line| !line.starts_with('#'))
        .map(str::to_owned)
        .collect()
}

/// Loads a rule set as `iptables-save -c` writes it.
pub fn restore(tool: &str, text: &str) {
    let mut child = Command::new(tool)
        .arg("-c")
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(text.as_bytes())
        .unwrap();
    assert!(child.wait().unwrap().success());
}

pub const POD: &str = "172.16.28.2";
pub const POD6: &str = "fd00:28::2";
pub const NEAR: &str = "10.9.0.1";
pub const NEAR6: &str = "fd09::1";
pub const FAR: &str = "10.9.0.2";
pub const FAR6: &str = "fd09::2";

/// The far host knows no way to the pod's network.
pub fn build() {
    sh("
        mkdir -p /run/netns
        ip netns add pod
        ip netns add far
        ip link add topod type veth peer name eth0 netns pod
        ip link add tofar type veth peer name eth0 netns far
        ip addr add 172.16.28.1/24 dev topod
        ip addr add fd00:28::1/64 dev topod nodad
        ip addr add 10.9.0.1/24 dev tofar
        ip addr add fd09::1/64 dev tofar nodad
        ip link set topod up
        ip link set tofar up
        ip -n pod addr add 172.16.28.2/24 dev eth0
        ip -n pod addr add fd00:28::2/64 dev eth0 nodad
        ip -n pod link set lo up
        ip -n pod link set eth0 up
        ip -n pod route add default via 172.16.28.1
        ip -n pod route add default via fd00:28::1
        ip -n far addr add 10.9.0.2/24 dev eth0
        ip -n far addr add fd09::2/64 dev eth0 nodad
        ip -n far link set lo up
        ip -n far link set eth0 up
        echo 1 > /proc/sys/net/ipv4/ip_forward
        echo 1 > /proc/sys/net/ipv6/conf/all/forwarding
        # A link passes packets a moment after it is up, or when somebody asks for it.
        for there in '' '-n pod' '-n far'; do ip $there link; done
    ");
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    Host,
    Pod,
    Far,
}

impl Place {
    /// Does `work` there. Sockets stay where they were made.
    pub fn inside<T: Send + 'static>(self, work: impl FnOnce() -> T + Send + 'static) -> T {
        let thread = std::thread::spawn(move || {
            let name = match self {
                Place::Host => None,
                Place::Pod => Some("pod"),
                Place::Far => Some("far"),
            };
            if let Some(name) = name {
                let netns = File::open(format!("/run/netns/{name}")).unwrap();
                sys::ns::set(netns.as_fd(), Namespaces::NET).unwrap();
            }
            work()
        });
        thread.join().unwrap()
    }
}

pub fn at(ip: &str, port: u16) -> SocketAddr {
    SocketAddr::new(ip.parse().unwrap(), port)
}

/// One TCP connection from `client` to `to`, which is to reach the listener at
/// `place`; returns who the listener thinks it talks to.
pub fn tcp(place: Place, listen: SocketAddr, client: Place, to: SocketAddr) -> String {
    let listener = place.inside(move || TcpListener::bind(listen).unwrap());
    let server = std::thread::spawn(move || {
        let (mut stream, peer) = listener.accept().unwrap();
        stream.write_all(b"hello").unwrap();
        peer.ip().to_string()
    });
    client.inside(move || {
        let mut stream = TcpStream::connect_timeout(&to, PATIENCE)
            .unwrap_or_else(|err| panic!("{client:?} to {to}: {err}"));
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        assert_eq!(text, "hello");
    });
    server.join().unwrap()
}

/// The same with a datagram and its answer.
pub fn udp(place: Place, listen: SocketAddr, client: Place, to: SocketAddr) -> String {
    let server = place.inside(move || UdpSocket::bind(listen).unwrap());
    server.set_read_timeout(Some(PATIENCE)).unwrap();
    let any = if to.is_ipv4() { "0.0.0.0" } else { "::" };
    let socket = client.inside(move || UdpSocket::bind(at(any, 0)).unwrap());
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket.connect(to).unwrap();
    socket.send(b"question").unwrap();
    let mut buffer = [0; 64];
    let (_, peer) = server
        .recv_from(&mut buffer)
        .unwrap_or_else(|err| panic!("{client:?} to {to}: {err}"));
    server.send_to(b"answer", peer).unwrap();
    let len = socket.recv(&mut buffer).unwrap();
    assert_eq!(&buffer[..len], b"answer");
    peer.ip().to_string()
}
