//! The DHCP client against real servers, busybox's and dnsmasq's, and against
//! hostile ones, over a veth between two network namespaces of the test's own.

#![expect(clippy::unwrap_used, reason = "tests")]

use net::attach::{Call, Dirs, Site};
use net::ipam::Granted;
use net::ipam::dhcp::{self, Lease};
use net::{Network, Plugin, keeper};
use std::cell::RefCell;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, UdpSocket};
use std::os::fd::AsFd;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};
use tests::{Scratch, isolated};

const NETWORK: &str = "lan";
const POD: &str = "6f1c5a0e-2d38-4f0b-9a53-1f8a4d0c7b11";
const PATIENCE: Duration = Duration::from_secs(20);

/// A pod's network namespace with `eth0`, whose other end is `h0`, 10.77.0.1.
struct Pod {
    keeper: Child,
    netns: File,
}

impl Pod {
    fn new() -> Pod {
        let keeper = Command::new("unshare")
            .args(["--net", "sleep", "600"])
            .spawn()
            .unwrap();
        let pid = keeper.id();
        let own = std::fs::read_link("/proc/self/ns/net").unwrap();
        let path = format!("/proc/{pid}/ns/net");
        // Until it has left our namespace.
        until("a network namespace", || {
            std::fs::read_link(&path).is_ok_and(|other| other != own)
        });
        ip(&format!("link add h0 type veth peer name eth0 netns {pid}"));
        ip("addr add 10.77.0.1/24 dev h0");
        ip("link set h0 up");
        let netns = File::open(path).unwrap();
        Pod { keeper, netns }
    }

    /// `ip` in the pod.
    fn ip(&self, words: &str) -> String {
        let pid = self.keeper.id().to_string();
        run(Command::new("nsenter")
            .args(["-t", &pid, "-n", "ip"])
            .args(words.split(' ')))
    }

    fn with<T>(&self, patience: Duration, work: impl FnOnce(&Call<'_>) -> T) -> (T, Vec<String>) {
        let dirs = Dirs {
            plugins: Vec::new(),
            leases: "/nonexistent".into(),
            results: "/nonexistent".into(),
        };
        let site = Site {
            id: POD,
            netns: Some(self.netns.as_fd()),
            netns_path: "",
            dirs: &dirs,
            mappings: &[],
            patience,
            notes: RefCell::default(),
        };
        let text = r#"{"type":"bridge","ipam":{"type":"dhcp"}}"#;
        let plugin = Plugin {
            kind: "bridge".into(),
            object: model::json::parse(text.as_bytes()).unwrap(),
        };
        let network = Network {
            name: NETWORK.into(),
            file: "10-lan.conf".into(),
            origin: "10-lan.conf".into(),
            text: text.into(),
            version: "1.0.0".into(),
            plugins: vec![plugin.clone()],
            args: String::new(),
        };
        let done = work(&Call {
            site: &site,
            network: &network,
            plugin: &plugin,
            if_name: "eth0",
            previous: None,
        });
        (done, site.notes.into_inner())
    }

    fn add(&self) -> Granted {
        self.with(PATIENCE, dhcp::add).0.unwrap()
    }

    fn address(&self) -> Option<String> {
        let text = self.ip("-4 -o addr show dev eth0");
        let (_, rest) = text.split_once("inet ")?;
        rest.split(' ').next().map(str::to_owned)
    }

    /// What a plugin would do with the granted address.
    fn configure(&self, granted: &Granted) -> Lease {
        let address = granted.outcome.ips[0].address;
        self.ip(&format!("addr add {address} dev eth0"));
        granted.lease.clone().unwrap()
    }

    /// The keeper, in a thread that lives in the pod's namespace.
    fn keep(&self, lease: Lease) {
        let netns = self.netns.try_clone().unwrap();
        std::thread::spawn(move || {
            sys::ns::set(netns.as_fd(), sys::clone::Namespaces::NET).unwrap();
            keeper::run(keeper::Work {
                leases: vec![lease],
                ..Default::default()
            })
        });
    }
}

impl Drop for Pod {
    fn drop(&mut self) {
        let _ = self.keeper.kill();
        let _ = self.keeper.wait();
    }
}

fn ip(words: &str) -> String {
    run(Command::new("ip").args(words.split(' ')))
}

fn run(command: &mut Command) -> String {
    let output = command.output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{command:?}: {text}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[track_caller]
fn until(what: &str, mut done: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(60);
    while !done() {
        assert!(Instant::now() < end, "{what} never came");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// A server's process, and the lines that it logs.
struct Server {
    child: Child,
    lines: Receiver<String>,
}

impl Server {
    fn start(command: &mut Command) -> Server {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let log = BufReader::new(child.stderr.take().unwrap());
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            for line in log.lines().map_while(Result::ok) {
                eprintln!("server: {line}");
                let _ = sender.send(line);
            }
        });
        Server { child, lines }
    }

    fn busybox(scratch: &Scratch, range: (u8, u8), lease: u32) -> Server {
        let leases = scratch.at("udhcpd.leases");
        std::fs::write(&leases, "").unwrap();
        let conf = scratch.at("udhcpd.conf");
        let text = format!(
            "interface h0\nstart 10.77.0.{}\nend 10.77.0.{}\nmin_lease 1\nlease_file {}\npidfile {}\n\
             option subnet 255.255.255.0\noption router 10.77.0.1\noption dns 10.77.0.53 9.9.9.9\n\
             option domain example.com\noption lease {lease}\n",
            range.0,
            range.1,
            leases.display(),
            scratch.at("udhcpd.pid").display()
        );
        std::fs::write(&conf, text).unwrap();
        // Without asking by ARP first whether an address is in use.
        let mut command = Command::new(isolated::find("busybox").unwrap());
        Server::start(command.args(["udhcpd", "-f", "-a", "0"]).arg(conf))
    }

    #[track_caller]
    fn says(&self, text: &str) -> String {
        loop {
            let line = self.lines.recv_timeout(Duration::from_secs(60));
            let line = line.unwrap_or_else(|_| panic!("the server never said {text:?}"));
            if line.contains(text) {
                return line;
            }
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs in namespaces of its own, if these programs are there.
#[track_caller]
fn alone(test: &str, programs: &[&str], body: fn()) {
    for program in ["ip", "nsenter"].iter().chain(programs) {
        if isolated::find(program).is_none() {
            tests::skip::record(&format!("needs {program}"));
            return;
        }
    }
    isolated::isolated_in(&[isolated::Mode::Private], test, body);
}

#[test]
fn a_lease_from_busybox() {
    alone("a_lease_from_busybox", &["busybox"], || {
        let scratch = Scratch::new("dhcp");
        let pod = Pod::new();
        let _server = Server::busybox(&scratch, (20, 30), 3600);
        let granted = pod.add();
        let outcome = &granted.outcome;
        assert_eq!(outcome.ips.len(), 1);
        let ip = &outcome.ips[0];
        assert!(ip.address.to_string().starts_with("10.77.0.2"), "{ip:?}");
        assert_eq!(ip.address.len, 24);
        assert_eq!(ip.gateway, Some(Ipv4Addr::new(10, 77, 0, 1).into()));
        assert_eq!(outcome.routes.len(), 1);
        assert_eq!(outcome.routes[0].dst.to_string(), "0.0.0.0/0");
        assert_eq!(outcome.routes[0].gw, ip.gateway);
        assert_eq!(outcome.dns.nameservers, ["10.77.0.53", "9.9.9.9"]);
        assert_eq!(outcome.dns.domain, "example.com");
        let lease = granted.lease.as_ref().unwrap();
        assert_eq!(lease.times.unwrap().expire, Duration::from_secs(3600));
        assert_eq!(&lease.client_id[1..], format!("{POD}/lan/eth0").as_bytes());
        assert_eq!(pod.address(), None, "that is for the plugin");
        // The same client asks again: the same address.
        assert_eq!(pod.add().outcome, granted.outcome);
    });
}

#[test]
fn a_lease_is_renewed_lost_and_replaced() {
    alone("a_lease_is_renewed_lost_and_replaced", &["busybox"], || {
        let scratch = Scratch::new("dhcp");
        let pod = Pod::new();
        let server = Server::busybox(&scratch, (20, 20), 4);
        let granted = pod.add();
        server.says("sending ACK to 10.77.0.20");
        pod.keep(pod.configure(&granted));
        for _ in 0..3 {
            server.says("sending ACK to 10.77.0.20");
            assert_eq!(pod.address().unwrap(), "10.77.0.20/24");
        }
        drop(server);
        until("the end of the lease", || pod.address().is_none());
        let _server = Server::busybox(&scratch, (40, 40), 4);
        until("another address", || {
            pod.address().as_deref() == Some("10.77.0.40/24")
        });
        until("the route that went with the old one", || {
            pod.ip("-4 route").contains("default via 10.77.0.1")
        });
    });
}

#[test]
fn dnsmasq_gives_routes_and_gets_the_lease_back() {
    let name = "dnsmasq_gives_routes_and_gets_the_lease_back";
    alone(name, &["dnsmasq"], || {
        let scratch = Scratch::new("dhcp");
        let pod = Pod::new();
        let mut command = Command::new(isolated::find("dnsmasq").unwrap());
        let server = Server::start(
            command
                .args(["-k", "-C", "/dev/null", "--port=0", "--user=root"])
                .args(["--interface=h0", "--log-dhcp", "--log-facility=-"])
                .args(["--dhcp-range=10.77.0.50,10.77.0.60,1h", "--no-ping"])
                .arg("--dhcp-option=121,10.9.0.0/16,10.77.0.2,0.0.0.0/0,10.77.0.1")
                .arg("--dhcp-option=119,eng.example.com,example.com")
                .arg("--dhcp-option=26,1400")
                .arg(format!("--dhcp-leasefile={}", scratch.at("l").display()))
                .arg(format!("--pid-file={}", scratch.at("p").display())),
        );
        let (granted, notes) = pod.with(PATIENCE, |call| dhcp::add(call).unwrap());
        let routes = &granted.outcome.routes;
        let shown: Vec<String> = routes.iter().map(|it| it.dst.to_string()).collect();
        assert_eq!(shown, ["10.9.0.0/16", "0.0.0.0/0"]);
        let search = &granted.outcome.dns.search;
        assert_eq!(*search, ["eng.example.com", "example.com"]);
        assert!(notes.iter().any(|note| note.contains("1400")), "{notes:?}");
        pod.configure(&granted);
        let (done, notes) = pod.with(PATIENCE, dhcp::del);
        done.unwrap();
        assert!(notes.is_empty(), "{notes:?}");
        let line = server.says("DHCPRELEASE");
        let address = granted.outcome.ips[0].address.ip.to_string();
        assert!(line.contains(&address), "{line}");
        // Again, with nothing left to give back but still an address.
        pod.with(PATIENCE, dhcp::del).0.unwrap();
    });
}

#[test]
fn nobody_answers() {
    alone("nobody_answers", &[], || {
        let pod = Pod::new();
        let brief = Duration::from_millis(1500);
        let (result, _) = pod.with(brief, dhcp::add);
        let fault = result.unwrap_err();
        assert_eq!(fault.kind, model::fault::Kind::TimedOut);
        let text = fault.to_string();
        assert!(
            text.starts_with("no DHCP server gave eth0 an address"),
            "{text}"
        );
        // Nor is there anything to give back, which is no failure.
        let (done, notes) = pod.with(brief, dhcp::del);
        done.unwrap();
        assert_eq!(notes.len(), 1);
    });
}

/// Answers each message with what `answers` makes of it.
fn rogue(answers: fn(&[u8]) -> Vec<Vec<u8>>) {
    let socket = UdpSocket::bind("0.0.0.0:67").unwrap();
    socket.set_broadcast(true).unwrap();
    sys::packet::bind_to_device(socket.as_fd(), "h0").unwrap();
    std::thread::spawn(move || {
        let mut buffer = [0; 2048];
        while let Ok((len, _)) = socket.recv_from(&mut buffer) {
            for answer in answers(&buffer[..len]) {
                let _ = socket.send_to(&answer, "255.255.255.255:68");
            }
        }
    });
}

/// A good answer: an offer to a discover, an acknowledgement to a request.
fn honest(request: &[u8]) -> Vec<u8> {
    let mut answer = request[..240].to_vec();
    answer[0] = 2;
    answer[16..20].copy_from_slice(&[10, 77, 0, 99]);
    let kind = match request[242] {
        1 => 2,
        _ => 5,
    };
    answer.extend([53, 1, kind, 54, 4, 10, 77, 0, 1]);
    answer.extend([1, 4, 255, 255, 255, 0, 51, 4, 0, 0, 14, 16, 255]);
    answer
}

#[test]
fn hostile_answers_are_passed_over() {
    alone("hostile_answers_are_passed_over", &[], || {
        let pod = Pod::new();
        rogue(|request| {
            let good = honest(request);
            let with = |at: usize, byte: u8| {
                let mut bad = good.clone();
                bad[at] ^= byte;
                bad
            };
            let mut huge = good[..good.len() - 1].to_vec();
            for _ in 0..200 {
                huge.extend([121, 255]);
                huge.extend([7; 255]);
            }
            let mut over = good[..good.len() - 1].to_vec();
            over.extend([6, 200, 1]);
            vec![
                with(4, 1),
                with(33, 1),
                with(0, 3),
                with(236, 1),
                with(16, 0xff),
                good[..241].to_vec(),
                good[..100].to_vec(),
                Vec::new(),
                vec![0xff; 1400],
                huge,
                over,
                good,
            ]
        });
        let granted = pod.add();
        assert_eq!(granted.outcome.ips[0].address.to_string(), "10.77.0.99/24");
        assert!(granted.outcome.routes.is_empty());
    });
}

#[test]
fn only_useless_answers_are_told_of() {
    alone("only_useless_answers_are_told_of", &[], || {
        let pod = Pod::new();
        rogue(|request| {
            let mut answer = honest(request);
            // Loopback as the pod's address.
            answer[16..20].copy_from_slice(&[127, 0, 0, 1]);
            vec![answer; 50]
        });
        let brief = Duration::from_secs(1);
        let (result, _) = pod.with(brief, dhcp::add);
        let text = result.unwrap_err().to_string();
        assert!(text.contains("its address is none for a host"), "{text}");
    });
}

#[test]
fn an_interface_that_is_not_there() {
    alone("an_interface_that_is_not_there", &[], || {
        let pod = Pod::new();
        pod.ip("link del eth0");
        let (result, _) = pod.with(PATIENCE, dhcp::add);
        let text = result.unwrap_err().to_string();
        assert!(text.contains("eth0"), "{text}");
        pod.with(PATIENCE, dhcp::del).0.unwrap();
    });
}
