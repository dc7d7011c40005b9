//! Side by side: a built-in plugin and Debian's program of the same name do the same for the same configuration.
//!
//! Each configuration is used twice on a host that looks the same, once with the built-in, once with the program beside
//! the file. Compared are the links, addresses and routes of the pod and of the host, the addresses that were leased,
//! what `status` tells, and which packets are masqueraded.

use crate::cni::debian;
use crate::{Pod, call, leases, network};
use serde_json::{Value, json};
use std::net::IpAddr;
use std::path::Path;
use tests::isolated::find;
use tests::lab::{Lab, ip, tool, within};
use tests::nat::Rules;
use tests::{net_test, skip, view};

/// All that a network did.
#[derive(Debug, PartialEq, Eq)]
struct Sight {
    pod: Vec<String>,
    host: Vec<String>,
    leases: Vec<String>,
    told: Vec<String>,
    settings: Vec<String>,
    masqueraded: Vec<String>,
}

/// Whether this machine has what both ways need.
fn missing(kind: &str) -> Option<String> {
    let programs = [kind, "host-local", "static"];
    if programs.iter().any(|name| debian(name).is_none()) {
        return Some("needs Debian's containernetworking-plugins".to_owned());
    }
    let tools = ["iptables", "iptables-save", "nft"];
    let lacking = tools.iter().find(|t| find(t).is_none())?;
    Some(format!("needs `{lacking}` (Debian: iptables, nftables)"))
}

/// Runs a pod on the network both ways and compares. `clean` makes the host as it was for the second one.
#[track_caller]
fn same(lab: &Lab, conf: &Value, sources: &[&str], clean: &str) {
    let kind = conf["type"].as_str().expect("a configuration written here");
    let before = view::here();
    network(lab, "10-n.conf", conf);
    let ours = sight(
        lab,
        &before,
        sources,
        "stage1/rootfs/usr/lib/rkt/plugins/net/",
    );
    wipe(lab, clean);
    let dir = lab.scratch.at("etc/net.d");
    for name in [kind, "host-local", "static"] {
        let program = debian(name).expect("looked for before");
        std::os::unix::fs::symlink(program, dir.join(name))
            .expect("a symlink in the scratch directory");
    }
    let theirs = sight(lab, &before, sources, &dir.display().to_string());
    wipe(lab, clean);
    for name in [kind, "host-local", "static"] {
        std::fs::remove_file(dir.join(name)).expect("the symlink");
    }
    assert!(!ours.pod.is_empty(), "{ours:#?}");
    assert_eq!(
        ours, theirs,
        "built-in {kind} and Debian's differ for {conf}"
    );
}

/// Leases forgotten, so that the second pod gets the first one's addresses; and what else must go.
fn wipe(lab: &Lab, clean: &str) {
    call(lab, &["gc", "--grace-period=0s"]).ok();
    let _ = std::fs::remove_dir_all("/var/lib/cni/networks/n");
    ip(clean).expect("what a network left can be removed");
}

#[track_caller]
fn sight(lab: &Lab, before: &[String], sources: &[&str], plugin: &str) -> Sight {
    let pod = Pod::start(lab, &["--net=n"]);
    let status = call(lab, &["status", "--format=json", &pod.uuid])
        .ok()
        .json();
    let told = &status["networks"][0];
    let path = told["pluginPath"].as_str().unwrap_or("");
    assert!(path.starts_with(plugin), "{path:?} is not below {plugin:?}");
    let sight = Sight {
        pod: view::of(&pod.netns()),
        host: view::added(before, view::here()),
        leases: leases("n"),
        told: ["netName", "netConf", "ifName", "ip", "mask", "ip6", "mask6"]
            .iter()
            .map(|key| format!("{key}={}", told[*key]))
            .collect(),
        settings: settings(&pod.netns()),
        masqueraded: masqueraded(sources),
    };
    pod.end(lab);
    sight
}

/// What the kernel was told beside links and routes.
fn settings(netns: &Path) -> Vec<String> {
    let read = |path: &str| {
        format!(
            "{path}={}",
            std::fs::read_to_string(path).unwrap_or_default().trim()
        )
    };
    // Not proxy_arp: rkt's macvlan sets it, CNI's has ceased to.
    vec![
        within(netns, || read("/proc/sys/net/ipv6/conf/eth0/disable_ipv6")),
        read("/proc/sys/net/ipv4/ip_forward"),
        read("/proc/sys/net/ipv6/conf/all/forwarding"),
    ]
}

/// Debian's iptables keeps its rules in nf_tables too, in words that only iptables-save can put: each is asked for its own.
/// Packets from these sources to places of every kind, and whether they would be masqueraded.
#[track_caller]
fn masqueraded(sources: &[&str]) -> Vec<String> {
    let listed = tool("nft", &["list", "ruleset"]);
    let mut found = Vec::new();
    for source in sources {
        let source: IpAddr = source.parse().expect("an address written here");
        let (family, save, places) = match source {
            IpAddr::V4(_) => (
                "ip",
                "iptables-save",
                &[
                    "192.0.2.2",
                    "10.71.0.9",
                    "10.71.0.1",
                    "10.71.0.255",
                    "10.72.0.1",
                    "224.0.0.251",
                    "239.1.2.3",
                    "255.255.255.255",
                ][..],
            ),
            IpAddr::V6(_) => (
                "ip6",
                "ip6tables-save",
                &[
                    "2001:db8::2",
                    "fd00:71::9",
                    "fd00:71::1",
                    "fd00:72::1",
                    "ff02::fb",
                    "ff05::2",
                ][..],
            ),
        };
        let rules = [
            Rules::from_nft(&listed, family, "rkt-"),
            Rules::from_save(&tool(save, &["-t", "nat"])),
        ];
        for place in places {
            let destination: IpAddr = place.parse().expect("an address written here");
            let masked = rules.iter().any(|r| r.masquerades(source, destination));
            found.push(format!("{source} to {place}: {masked}"));
        }
    }
    found
}

const POD4: &str = "10.71.0.2";
const POD6: &str = "fd00:71::2";

fn both_families() -> Value {
    json!({"type": "host-local", "ranges": [[{"subnet": "10.71.0.0/24"}], [{"subnet": "fd00:71::/64"}]],
           "routes": [{"dst": "0.0.0.0/0"}, {"dst": "::/0"}, {"dst": "198.51.100.0/24", "gw": "10.71.0.1"}]})
}

net_test! {
    fn ptp(lab) {
        if let Some(reason) = missing("ptp") {
            skip!("{reason}");
        }
        for (masquerade, mtu) in [(true, 1400), (false, 1500)] {
            same(lab, &json!({
                "cniVersion": "0.4.0", "name": "n", "type": "ptp", "ipMasq": masquerade, "mtu": mtu, "ipam": both_families(),
            }), &[POD4, POD6, "10.71.0.3"], "");
        }
    }
}

net_test! {
    fn ptp_as_rkt_had_it(lab) {
        if let Some(reason) = missing("ptp") {
            skip!("{reason}");
        }
        same(lab, &json!({
            "cniVersion": "0.1.0", "name": "n", "type": "ptp", "ipMasq": true,
            "ipam": {"type": "host-local", "subnet": "10.71.0.0/24", "routes": [{"dst": "0.0.0.0/0"}]},
        }), &[POD4], "");
    }
}

net_test! {
    fn bridge(lab) {
        if let Some(reason) = missing("bridge") {
            skip!("{reason}");
        }
        let plain = json!({"cniVersion": "0.4.0", "name": "n", "type": "bridge", "bridge": "br71", "ipam": both_families()});
        let with = |fields: Value| {
            let mut conf = plain.clone();
            for (key, value) in fields.as_object().expect("fields written here") {
                conf[key] = value.clone();
            }
            conf
        };
        for conf in [
            with(json!({"isGateway": true, "ipMasq": true, "hairpinMode": true})),
            with(json!({"isDefaultGateway": true, "mtu": 1300, "ipam": {"type": "host-local", "subnet": "10.71.0.0/24"}})),
            with(json!({"ipam": {"type": "host-local", "subnet": "10.71.0.0/24", "gateway": "10.71.0.99", "rangeStart": "10.71.0.2"}})),
            with(json!({"ipam": {}})),
        ] {
            same(lab, &conf, &[POD4, POD6], "link del br71");
        }
    }
}

net_test! {
    fn bridge_with_static_addresses(lab) {
        if let Some(reason) = missing("bridge") {
            skip!("{reason}");
        }
        same(lab, &json!({
            "cniVersion": "0.4.0", "name": "n", "type": "bridge", "bridge": "br71", "isGateway": true, "ipMasq": true,
            "ipam": {"type": "static", "addresses": [{"address": "10.71.0.2/24", "gateway": "10.71.0.1"}], "routes": [{"dst": "0.0.0.0/0"}]},
        }), &[POD4], "link del br71");
    }
}

net_test! {
    fn macvlan(lab) {
        if let Some(reason) = missing("macvlan") {
            skip!("{reason}");
        }
        let ipam = json!({"type": "host-local", "subnet": "192.0.2.0/24", "rangeStart": "192.0.2.80", "gateway": "192.0.2.2",
                          "routes": [{"dst": "0.0.0.0/0"}]});
        for (mode, mtu) in [("bridge", 1500), ("private", 1400), ("vepa", 1500)] {
            same(lab, &json!({
                "cniVersion": "0.4.0", "name": "n", "type": "macvlan", "master": "world", "mode": mode, "mtu": mtu, "ipam": ipam,
            }), &["192.0.2.80"], "");
        }
        // Without a master: the interface of the default route.
        same(lab, &json!({"cniVersion": "0.4.0", "name": "n", "type": "macvlan", "ipam": ipam}), &["192.0.2.80"], "");
    }
}

net_test! {
    fn ipvlan(lab) {
        if let Some(reason) = missing("ipvlan") {
            skip!("{reason}");
        }
        if ip("link add link world name iv0 type ipvlan mode l2").is_err() {
            skip!("this kernel has no ipvlan");
        }
        ip("link del iv0").expect("the link that was just made");
        for mode in ["l2", "l3"] {
            same(lab, &json!({
                "cniVersion": "0.4.0", "name": "n", "type": "ipvlan", "master": "world", "mode": mode,
                "ipam": {"type": "host-local", "subnet": "192.0.2.0/24", "rangeStart": "192.0.2.80"},
            }), &["192.0.2.80"], "");
        }
    }
}

net_test! {
    fn loopback(lab) {
        if let Some(reason) = missing("loopback") {
            skip!("{reason}");
        }
        let conf = json!({"cniVersion": "0.4.0", "name": "n", "type": "loopback"});
        network(lab, "10-n.conf", &conf);
        let lo = |pod: &Pod| within(&pod.netns(), || {
            let all = view::json(&["-j", "addr", "show"]);
            all.iter().map(|l| format!("{} {} {}", l["ifname"], l["flags"], l["addr_info"].as_array().map_or(0, Vec::len))).collect::<Vec<_>>()
        });
        let pod = Pod::start(lab, &["--net=n"]);
        let ours = lo(&pod);
        pod.end(lab);
        let program = debian("loopback").expect("looked for before");
        std::os::unix::fs::symlink(program, lab.scratch.at("etc/net.d/loopback")).expect("a symlink");
        let pod = Pod::start(lab, &["--net=n"]);
        assert_eq!(ours, lo(&pod));
        pod.end(lab);
    }
}
