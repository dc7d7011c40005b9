//! The test's rig: a host and pods that are network namespaces, `ip` of iproute2
//! as the witness, a connection as the proof.

use model::Value;
use net::attach::{Added, Call, Dirs, Site};
use net::{Network, Plugin, builtin};
use std::cell::RefCell;
use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::process::Command;
use std::time::Duration;
use tests::Scratch;
use tests::isolated::{Mode, isolated_in};

pub fn isolated(name: &str, body: fn()) {
    isolated_in(&[Mode::Private], name, body);
}

/// Changes the host by iproute2.
pub fn run_ip(words: &str) {
    let status = std::process::Command::new("ip")
        .args(words.split(' '))
        .status();
    assert!(status.unwrap().success(), "ip {words}");
}

/// The host's directories.
pub struct Host {
    pub dirs: Dirs,
    _root: Scratch,
}

impl Host {
    pub fn new() -> Host {
        let root = Scratch::new("links");
        Host {
            dirs: Dirs {
                plugins: Vec::new(),
                leases: root.path().join("leases"),
                results: root.path().join("results"),
            },
            _root: root,
        }
    }

    pub fn leases(&self, network: &str) -> Vec<String> {
        let Ok(files) = std::fs::read_dir(self.dirs.leases.join(network)) else {
            return Vec::new();
        };
        let mut names: Vec<String> = files
            .map(|file| file.unwrap().file_name().into_string().unwrap())
            .filter(|name| name.parse::<IpAddr>().is_ok())
            .collect();
        names.sort();
        names
    }
}

/// A pod's network namespace, and what was said about it.
pub struct Pod {
    pub netns: OwnedFd,
    id: &'static str,
    pub notes: Vec<String>,
}

impl Pod {
    pub fn new(id: &'static str) -> Pod {
        let made = std::thread::spawn(|| {
            sys::ns::unshare(sys::clone::Namespaces::NET).unwrap();
            std::fs::File::open("/proc/thread-self/ns/net").unwrap()
        });
        let netns = OwnedFd::from(made.join().unwrap());
        sys::ns::within_net(netns.as_fd(), sys::net::loopback_up)
            .unwrap()
            .unwrap();
        Pod {
            netns,
            id,
            notes: Vec::new(),
        }
    }

    pub fn call<T>(
        &mut self,
        host: &Host,
        conf: &str,
        if_name: &str,
        verb: fn(&Call<'_>) -> model::fault::Result<T>,
    ) -> model::fault::Result<T> {
        let object = model::json::parse(conf.as_bytes()).unwrap();
        let text = |key: &str| object[key].as_str().unwrap_or("n").to_string();
        let plugin = Plugin {
            kind: text("type"),
            object: object.clone(),
        };
        let network = Network {
            name: text("name"),
            file: "10-n.conf".into(),
            origin: "10-n.conf".into(),
            text: conf.as_bytes().to_vec(),
            version: "1.0.0".into(),
            plugins: vec![plugin.clone()],
            args: String::new(),
        };
        let site = Site {
            id: self.id,
            netns: Some(self.netns.as_fd()),
            netns_path: "/run/netns/pod",
            dirs: &host.dirs,
            mappings: &[],
            patience: Duration::from_secs(5),
            notes: RefCell::default(),
        };
        let result = verb(&Call {
            site: &site,
            network: &network,
            plugin: &plugin,
            if_name,
            previous: None,
        });
        self.notes = site.notes.into_inner();
        result
    }

    pub fn add(&mut self, host: &Host, conf: &str) -> model::fault::Result<Added> {
        self.call(host, conf, "eth0", builtin::add)
    }

    pub fn del(&mut self, host: &Host, conf: &str) {
        self.call(host, conf, "eth0", builtin::del).unwrap();
    }

    /// `ip` in the pod, as JSON.
    pub fn ip(&self, words: &str) -> Value {
        let path = format!("/proc/{}/fd/{}", std::process::id(), self.netns.as_raw_fd());
        let output = Command::new("nsenter")
            .arg(format!("--net={path}"))
            .args(["ip", "-j", "-d"])
            .args(words.split_whitespace())
            .output()
            .unwrap();
        read(output)
    }

    /// Routes as `dst via dev scope`, sorted.
    pub fn routes(&self, family: &str) -> Vec<String> {
        routes(&self.ip(&format!("{family} route show")))
    }

    /// Connects from the host to a listener in the pod and talks.
    pub fn answers_on(&self, ip: IpAddr) {
        let listener = sys::ns::within_net(self.netns.as_fd(), || {
            TcpListener::bind(SocketAddr::new(ip, 0))
        })
        .unwrap()
        .unwrap();
        let to = listener.local_addr().unwrap();
        let server = std::thread::spawn(move || {
            let (mut peer, _) = listener.accept().unwrap();
            peer.write_all(b"here").unwrap();
        });
        let mut client = TcpStream::connect_timeout(&to, Duration::from_secs(10)).unwrap();
        let mut text = String::new();
        client.read_to_string(&mut text).unwrap();
        assert_eq!(text, "here");
        server.join().unwrap();
    }
}

pub fn ip(words: &str) -> Value {
    let mut command = Command::new("ip");
    read(
        command
            .args(["-j", "-d"])
            .args(words.split_whitespace())
            .output()
            .unwrap(),
    )
}

fn read(output: std::process::Output) -> Value {
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{error}");
    match output.stdout.is_empty() {
        true => Value::Null,
        false => model::json::parse(&output.stdout).unwrap(),
    }
}

pub fn routes(list: &Value) -> Vec<String> {
    let mut all: Vec<String> = list
        .as_array()
        .unwrap()
        .iter()
        .map(|route| {
            ["dst", "gateway", "dev", "scope", "prefsrc"]
                .iter()
                .filter_map(|key| route[*key].as_str())
                .filter(|text| *text != "global")
                .collect::<Vec<_>>()
                .join(" ")
        })
        .filter(|text| !text.starts_with("fe80") && !text.starts_with("ff00"))
        .collect();
    all.sort();
    all
}

/// `address/len` of a link, without link-local ones.
pub fn addresses(list: &Value) -> Vec<String> {
    let mut all: Vec<String> = list[0]["addr_info"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|one| one["scope"] == "global")
        .map(|one| {
            assert_ne!(one["tentative"], Value::Bool(true), "{one}");
            let (ip, len) = (&one["local"], &one["prefixlen"]);
            format!("{}/{len}", ip.as_str().unwrap())
        })
        .collect();
    all.sort();
    all
}

pub fn veths() -> usize {
    ip("link show type veth").as_array().unwrap().len()
}
