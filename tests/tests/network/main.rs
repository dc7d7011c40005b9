//! Pods with networks of their own, seen from outside: from other pods, the host, and the far side of a cable.
//!
//! Each test has a `Lab`: its network namespace is the host, a second one the rest of the world, and `/run` and
//! `/var/lib` are its own. Each ends with the same comparison: no lease, table, link, namespace file, process or mount
//! may be left. Packets are real, rules are read back with Debian's tools, which the tests use and rkt does not.

mod ace;
mod bad;
mod cni;
mod conf;
mod dhcp;
mod dns;
mod lifecycle;
mod many;
mod mutable;
mod old_ways;
mod patience;
mod ports;
mod reach;
mod side;

use serde_json::{Value, json};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use tests::lab::{Lab, within};
use tests::rkt::Running;
use tests::talk::{Protocol, ask, ask_briefly};
use tests::{Aci, Output, Rkt};

/// The port that the pods' apps answer on, by both protocols.
const APP: u16 = 8000;

/// The probe with two ports: `http` is TCP, `query` UDP.
fn image(lab: &Lab) -> PathBuf {
    Aci::probe("example.com/probe")
        .app(
            "ports",
            json!([
                {"name": "http", "protocol": "tcp", "port": APP},
                {"name": "query", "protocol": "udp", "port": APP},
            ]),
        )
        .write(lab.path())
}

/// The same image in the store, by its ID: most tests start several pods of it.
fn stored(lab: &Lab) -> String {
    let known = lab.scratch.at("image-id");
    std::fs::read_to_string(&known).unwrap_or_else(|_| {
        let path = image(lab).display().to_string();
        let id = call(lab, &["fetch", "--full", &path]).ok().stdout;
        lab.scratch.write("image-id", id.trim());
        id.trim().to_owned()
    })
}

/// `rkt VERB ARGS…`
fn call(lab: &Lab, args: &[&str]) -> Output {
    Rkt::new(&lab.scratch).args(args).run()
}

/// `rkt run FLAGS IMAGE -- ARGS`, to its end.
fn run(lab: &Lab, flags: &[&str], app: &[&str]) -> Output {
    Rkt::new(&lab.scratch)
        .arg("run")
        .args(flags)
        .arg(stored(lab))
        .arg("--")
        .args(app)
        .run()
}

/// A network's file in the local configuration directory.
fn network(lab: &Lab, file: &str, conf: &Value) {
    network_text(lab, file, &conf.to_string());
}

fn network_text(lab: &Lab, file: &str, text: &str) {
    lab.scratch.mkdir("etc/net.d");
    lab.scratch.write(&format!("etc/net.d/{file}"), text);
}

/// A pod in the foreground of another process, whose app answers on `APP`.
struct Pod {
    running: Running,
    uuid: String,
    dir: PathBuf,
}

impl Pod {
    /// `rkt run FLAGS` and waits until the app answers.
    #[track_caller]
    fn start(lab: &Lab, flags: &[&str]) -> Pod {
        Pod::start_as(lab, flags, &["serve", &APP.to_string(), "then", "forever"])
    }

    /// As `start`, with an app that says `serving` when it is ready.
    #[track_caller]
    fn start_as(lab: &Lab, flags: &[&str], app: &[&str]) -> Pod {
        let save = lab.scratch.at("uuid");
        let _ = std::fs::remove_file(&save);
        let mut running = Rkt::new(&lab.scratch)
            .arg("run")
            .args(flags)
            .arg(format!("--uuid-file-save={}", save.display()))
            .arg(stored(lab))
            .arg("--")
            .args(app)
            .spawn();
        running.until("serving");
        let uuid = std::fs::read_to_string(&save).expect("--uuid-file-save wrote the file");
        Pod {
            running,
            dir: lab.scratch.data().join("pods/run").join(&uuid),
            uuid,
        }
    }

    /// The mount of its network namespace.
    #[track_caller]
    fn netns(&self) -> PathBuf {
        let path = self.dir.join("netns");
        let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{path:?}: {e}"));
        PathBuf::from(text.trim())
    }

    /// Its address on a network, as `rkt status` tells: `ip4` or `ip6`.
    #[track_caller]
    fn address(&self, lab: &Lab, network: &str, family: &str) -> IpAddr {
        address(lab, &self.uuid, network, family)
    }

    /// Its addresses on the default network, IPv4 first.
    #[track_caller]
    fn addresses(&self, lab: &Lab) -> [IpAddr; 2] {
        ["ip4", "ip6"].map(|family| self.address(lab, "default", family))
    }

    /// Asks from inside the pod's network; returns whom the other side saw.
    #[track_caller]
    fn ask(&self, protocol: Protocol, ip: IpAddr, port: u16) -> IpAddr {
        within(&self.netns(), || ask(protocol, (ip, port).into()))
            .unwrap_or_else(|e| panic!("no answer over {protocol} from {ip} port {port}: {e}"))
    }

    /// Stops the pod and waits for its foreground process.
    #[track_caller]
    fn end(self, lab: &Lab) {
        call(lab, &["stop", "--force", &self.uuid]).ok();
        self.running.end();
    }
}

/// One entry of `networks=` in `rkt status`.
#[track_caller]
fn address(lab: &Lab, uuid: &str, network: &str, family: &str) -> IpAddr {
    let output = call(lab, &["status", uuid]).ok();
    let start = format!("{network}:{family}=");
    output
        .stdout
        .lines()
        .find_map(|l| l.strip_prefix("networks="))
        .into_iter()
        .flat_map(|list| list.split(','))
        .find_map(|entry| entry.trim().strip_prefix(&start)?.parse().ok())
        .unwrap_or_else(|| panic!("no {start}… in\n{output}"))
}

/// One `key=value` line of `rkt status`, or nothing.
fn status(lab: &Lab, uuid: &str, key: &str) -> String {
    let start = format!("{key}=");
    let output = call(lab, &["status", uuid]);
    let found = output.stdout.lines().find_map(|l| l.strip_prefix(&start));
    found.unwrap_or_default().to_owned()
}

/// Asks from here; returns whom the other side saw.
#[track_caller]
fn reach(protocol: Protocol, ip: IpAddr, port: u16) -> IpAddr {
    ask(protocol, (ip, port).into())
        .unwrap_or_else(|e| panic!("no answer over {protocol} from {ip} port {port}: {e}"))
}

/// As `reach`, from the far side.
#[track_caller]
fn reach_from_far(lab: &Lab, protocol: Protocol, ip: IpAddr, port: u16) -> IpAddr {
    lab.far(|| ask(protocol, (ip, port).into()))
        .unwrap_or_else(|e| {
            panic!("the far side has no answer over {protocol} from {ip} port {port}: {e}")
        })
}

/// Nobody answers there, neither at once nor later.
#[track_caller]
fn silent(protocol: Protocol, ip: IpAddr, port: u16) {
    let got = ask_briefly(protocol, (ip, port).into());
    assert!(
        got.is_err(),
        "{ip} port {port} answers over {protocol}: {got:?}"
    );
}

/// The addresses that are taken on a network, without the notes that rkt keeps beside them (`.<UUID>@<interface>`).
fn leases(network: &str) -> Vec<String> {
    let dir = Path::new("/var/lib/cni/networks").join(network);
    let mut names: Vec<String> = tests::host::leases()
        .into_iter()
        .filter_map(|path| {
            let path = Path::new(&path).strip_prefix(&dir).ok()?;
            Some(path.display().to_string())
        })
        .filter(|name| !name.starts_with('.'))
        // What a pod claims is beside its addresses.
        .filter(|name| !name.starts_with('.'))
        .collect();
    names.sort();
    names
}

fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address written here")
}
