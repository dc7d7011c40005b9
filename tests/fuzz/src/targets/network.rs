//! A network's configuration, as `net.d` has it or a pod's copy: read whole, by the plugins built in too, and where an
//! IPAM wants nothing but a directory, addresses are given, given again and taken back.
//!
//! What the user says after `--net=NAME:` stands in the input as `"--net"` beside the name, a key that no reader knows.
//! A configuration may put leases anywhere on the host, so that its own directories are left out.

use std::net::IpAddr;
use std::time::Duration;

use model::json::parse;
use model::text::is_invisible;
use model::{Fault, Value};
use net::attach::{Call, Dirs, Site};
use net::conf::{self, VERSIONS};
use net::{Cidr, Dns, Network, Outcome, builtin, ipam};

use super::cni::sound;
use super::plant::plant;
use super::room::Room;

pub fn network(data: &[u8]) {
    for file in ["10-some.conf", "10-some.conflist"] {
        match conf::parse(file, "some.conf", data) {
            Ok(network) => of_network(network, data),
            Err(fault) => told(&fault),
        }
    }
}

/// Fit for a terminal, and of a size that someone reads.
pub fn told(fault: &Fault) {
    for text in fault.links.iter().chain([&fault.cause]).chain(&fault.hint) {
        let odd = |c: char| c.is_control() || is_invisible(c);
        assert!(!text.contains(odd), "{text:?} is not fit for a terminal");
    }
}

fn of_network(mut network: Network, data: &[u8]) {
    let name = &network.name;
    let odd = |c: char| !(c.is_ascii_alphanumeric() || "_.-".contains(c));
    assert!(
        !name.is_empty() && name.len() <= 128 && !name.starts_with('.') && !name.contains(odd),
        "{name:?} becomes the name of a file"
    );
    assert!(network.text == data, "the pod's copy is another");
    assert!(VERSIONS.contains(&network.version.as_str()));
    assert!((1..=64).contains(&network.plugins.len()));
    let value = parse(data).expect("it was parsed, so it can be again");
    if let Some(args) = value.get("--net").and_then(Value::as_str) {
        network.args = args.to_string();
    }
    for plugin in &mut network.plugins {
        let kind = &plugin.kind;
        assert!(
            !kind.contains('/') && !kind.contains('\0') && kind != "." && kind != "..",
            "{kind:?} becomes the name of a file"
        );
        confine(&mut plugin.object);
    }
    // The start of a pod costs more than this; some plugins are as good as all.
    for at in 0..network.plugins.len().min(3) {
        of_plugin(&network, at);
    }
}

/// Without the directories and files of the host that its IPAM would write and read.
fn confine(plugin: &mut Value) {
    let objects = plugin.as_object_mut().into_iter().flatten();
    for (_, ipam) in objects.filter(|(key, _)| key.eq_ignore_ascii_case("ipam")) {
        if let Some(ipam) = ipam.as_object_mut() {
            let outside = ["dataDir", "resolvConf"];
            ipam.retain(|key, _| !outside.iter().any(|one| key.eq_ignore_ascii_case(one)));
        }
    }
}

fn of_plugin(network: &Network, at: usize) {
    let room = Room::new();
    let dirs = Dirs {
        plugins: Vec::new(),
        leases: room.path(),
        results: room.path(),
    };
    let pods = ["one", "two"].map(|id| Site {
        id,
        netns: None,
        netns_path: "",
        dirs: &dirs,
        mappings: &[],
        patience: Duration::from_secs(5),
        notes: std::cell::RefCell::default(),
    });
    let [first, second] = [0, 1].map(|pod| Call {
        site: &pods[pod],
        network,
        plugin: &network.plugins[at],
        if_name: "eth0",
        previous: None,
    });
    if builtin::has(&first.plugin.kind)
        && let Ok(Some(dns)) = builtin::check(&first)
    {
        words(&dns);
    }
    if let Ok(granted) = ipam::add(&first) {
        let outcome = granted.outcome;
        sound(&outcome);
        words(&outcome.dns);
        given(&outcome);
        if kept(&room, network) > 0 {
            leased(&room, &first, &second, &outcome);
        }
        let met = outcome.ips.len() == 3 && outcome.routes.len() == 4;
        plant(met, "three addresses and four routes for one interface");
    }
    // What an IPAM refused to give, it does not keep.
    if let Ok(()) = ipam::del(&first) {
        let left = names(&room, network);
        let shared = |name: &String| name == "lock" || name.starts_with("last_reserved_ip.");
        assert!(left.iter().all(shared), "{left:?} is left");
    }
    room.check();
}

/// What a resolv.conf can say.
fn words(dns: &Dns) {
    let lists = [&dns.nameservers, &dns.search, &dns.options];
    for word in lists.into_iter().flatten().chain([&dns.domain]) {
        let odd = |c: char| c.is_whitespace() || c.is_control();
        assert!(!word.contains(odd), "{word:?} is not one word");
    }
}

fn given(outcome: &Outcome) {
    for ip in &outcome.ips {
        if let Some(gateway) = ip.gateway {
            assert_eq!(gateway.is_ipv4(), ip.address.is_v4());
        }
    }
    for route in &outcome.routes {
        if let Some(gateway) = route.gw {
            assert_eq!(gateway.is_ipv4(), route.dst.is_v4());
        }
    }
}

/// Of host-local: hosts of the configured subnets, the same again for the same pod, others for another.
fn leased(room: &Room, first: &Call<'_>, second: &Call<'_>, outcome: &Outcome) {
    let mut subnets = Vec::new();
    collect(&first.plugin.object, &mut subnets);
    for ip in &outcome.ips {
        let subnet = ip.address.network();
        let address = ip.address.ip;
        assert!(subnets.contains(&subnet), "{subnet} was not configured");
        let edge = address == subnet.ip || subnet.is_v4() && address == subnet.last();
        assert!(!edge, "{address} is none of a host of {subnet}");
        assert_ne!(Some(address), ip.gateway, "the gateway's own address");
    }
    assert_eq!(kept(room, first.network), outcome.ips.len());
    let again = ipam::add(first).expect("what was given is given again");
    assert_eq!(again.outcome, *outcome, "a second start gets another");
    let addresses =
        |outcome: &Outcome| -> Vec<IpAddr> { outcome.ips.iter().map(|ip| ip.address.ip).collect() };
    let ours = addresses(outcome);
    if let Ok(other) = ipam::add(second) {
        let theirs = addresses(&other.outcome);
        assert!(!theirs.iter().any(|ip| ours.contains(ip)), "given twice");
        assert_eq!(kept(room, first.network), ours.len() + theirs.len());
    }
    ipam::del(second).expect("what was given can be taken back");
    assert_eq!(
        kept(room, first.network),
        ours.len(),
        "another pod's address went along, or one is left"
    );
}

/// How many addresses are held.
fn kept(room: &Room, network: &Network) -> usize {
    let held = |name: &&String| name.parse::<IpAddr>().is_ok();
    names(room, network).iter().filter(held).count()
}

/// What the network's directory of leases has in it.
fn names(room: &Room, network: &Network) -> Vec<String> {
    let entries = std::fs::read_dir(room.path().join(&network.name));
    let entries = entries.into_iter().flatten().flatten();
    entries
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect()
}

fn collect(value: &Value, subnets: &mut Vec<Cidr>) {
    match value {
        Value::String(text) => subnets.extend(Cidr::parse(text)),
        Value::Array(list) => list.iter().for_each(|one| collect(one, subnets)),
        Value::Object(map) => map.values().for_each(|one| collect(one, subnets)),
        _ => {}
    }
}
