//! A host, a pod and the world outside as network namespaces, and clients and
//! servers in them.

use std::fs::File;
use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsFd, AsRawFd};
use std::process::Command;
use std::time::Duration;
use sys::clone::Namespaces;

/// What part this process plays: unset at first.
pub const ROLE: &str = "RKT_TEST_FIREWALL";
/// For a packet that should come, and one that should not.
pub const COMES: Duration = Duration::from_secs(5);
pub const DOES_NOT: Duration = Duration::from_millis(300);

/// True inside; else runs the test again in a namespace of its own.
pub fn inside(test: &str) -> bool {
    if std::env::var_os(ROLE).is_some() {
        return true;
    }
    let root = rustix::process::geteuid().is_root();
    let lacking = ["ip", "nft", "unshare", "nsenter"]
        .into_iter()
        .find(|program| Command::new(program).arg("--version").output().is_err());
    if !root || lacking.is_some() {
        let why = lacking.map_or("not root".into(), |program| format!("no {program} here"));
        tests::skip::record(&why);
        return false;
    }
    let status = again(test, "test").status().unwrap();
    assert!(status.success(), "{test} failed in its namespace");
    false
}

/// This test once more, in that role.
pub fn again(test: &str, role: &str) -> Command {
    let own = std::env::current_exe().unwrap();
    let mut command = match role {
        "test" => {
            let mut unshare = Command::new("unshare");
            unshare.arg("-n").arg(own);
            unshare
        }
        _ => Command::new(own),
    };
    command
        .args([test, "--exact", "--nocapture"])
        .env(ROLE, role);
    command
}

/// What the command prints; it has to succeed.
pub fn run(line: &str) -> String {
    let words: Vec<&str> = line.split_whitespace().collect();
    let output = Command::new(words[0]).args(&words[1..]).output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{line}: {error}");
    String::from_utf8(output.stdout).unwrap()
}

/// A network namespace, and threads in it.
pub struct Space(File);

impl Space {
    pub fn new() -> Space {
        let made = std::thread::spawn(|| {
            sys::ns::unshare(Namespaces::NET).unwrap();
            File::open("/proc/thread-self/ns/net").unwrap()
        });
        Space(made.join().unwrap())
    }

    pub fn path(&self) -> String {
        format!("/proc/{}/fd/{}", std::process::id(), self.0.as_raw_fd())
    }

    pub fn run(&self, line: &str) -> String {
        run(&format!("nsenter --net={} {line}", self.path()))
    }

    /// Does something there; sockets keep belonging to it.
    pub fn at<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        std::thread::scope(|scope| {
            let thread = scope.spawn(|| {
                sys::ns::set(self.0.as_fd(), Namespaces::NET).unwrap();
                work()
            });
            thread.join().unwrap()
        })
    }
}

/// The host in the middle, with neither route nor name for the pod outside.
pub struct Lab {
    pub far: Space,
    pub pod: Space,
}

pub fn lab() -> Lab {
    let lab = Lab {
        far: Space::new(),
        pod: Space::new(),
    };
    run("ip link set lo up");
    let ends = [
        (&lab.far, "tofar", "10.9.0.", "fd09::"),
        (&lab.pod, "topod", "10.7.0.", "fd07::"),
    ];
    for (space, link, v4, v6) in ends {
        let path = space.path();
        run(&format!(
            "ip link add {link} type veth peer name eth0 netns {path}"
        ));
        run(&format!("ip addr add {v4}1/24 dev {link}"));
        run(&format!("ip addr add {v6}1/64 dev {link} nodad"));
        run(&format!("ip link set {link} up"));
        space.run(&format!("ip addr add {v4}5/24 dev eth0"));
        space.run(&format!("ip addr add {v6}5/64 dev eth0 nodad"));
        space.run("ip link set eth0 up");
        // A link passes packets a moment after it is up, or when somebody asks for it.
        space.run("ip link show eth0");
        run(&format!("ip link show {link}"));
    }
    lab.pod.run("ip route add default via 10.7.0.1");
    lab.pod.run("ip -6 route add default via fd07::1");
    std::fs::write("/proc/sys/net/ipv4/ip_forward", "1").unwrap();
    std::fs::write("/proc/sys/net/ipv6/conf/all/forwarding", "1").unwrap();
    lab
}

pub fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}
/// Serves TCP and UDP until the test ends: answers with the peer's address.
pub fn serve(space: &Space, tcp: u16, udp: u16) {
    let (listener, socket) = space.at(|| {
        let any = ip("::");
        let listener = TcpListener::bind((any, tcp)).unwrap();
        (listener, UdpSocket::bind((any, udp)).unwrap())
    });
    std::thread::spawn(move || {
        while let Ok((mut stream, peer)) = listener.accept() {
            let _ = stream.write_all(plain(peer).as_bytes());
        }
    });
    std::thread::spawn(move || {
        while let Ok((_, peer)) = socket.recv_from(&mut [0; 16]) {
            let _ = socket.send_to(plain(peer).as_bytes(), peer);
        }
    });
}

fn plain(peer: SocketAddr) -> String {
    peer.ip().to_canonical().to_string()
}

/// The address that a TCP server sees.
pub fn tcp(to: &str, port: u16) -> Option<String> {
    let mut stream = TcpStream::connect_timeout(&(ip(to), port).into(), COMES).ok()?;
    stream.set_read_timeout(Some(COMES)).unwrap();
    let mut seen = String::new();
    stream.read_to_string(&mut seen).ok()?;
    Some(seen)
}

pub fn udp_socket(to: &str) -> UdpSocket {
    let any = if ip(to).is_ipv4() { "0.0.0.0" } else { "::" };
    let socket = UdpSocket::bind((ip(any), 0)).unwrap();
    socket.set_read_timeout(Some(COMES)).unwrap();
    socket
}

/// The address that a UDP server sees.
pub fn udp(to: &str, port: u16) -> Option<String> {
    let socket = udp_socket(to);
    socket.send_to(b"?", (ip(to), port)).ok()?;
    let mut buffer = [0; 64];
    let (len, _) = socket.recv_from(&mut buffer).ok()?;
    String::from_utf8(buffer[..len].to_vec()).ok()
}
