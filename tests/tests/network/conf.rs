//! The local configuration's networks: which of them a pod joins, in what order, with what addresses; and what `status`
//! and the pod's own directory say of them.

use crate::{Pod, call, image, ip, leases, network, network_text, run};
use serde_json::{Value, json};
use std::path::Path;
use tests::lab::{Lab, within};
use tests::proc::eventually;
use tests::view;
use tests::{Rkt, net_test};

fn ptp(name: &str, subnet: &str) -> Value {
    json!({"name": name, "type": "ptp", "ipam": {"type": "host-local", "subnet": subnet}})
}

/// `networks` of `rkt status --format=json`.
#[track_caller]
fn networks(lab: &Lab, uuid: &str) -> Vec<Value> {
    let status = call(lab, &["status", "--format=json", uuid]).ok().json();
    status["networks"]
        .as_array()
        .cloned()
        .unwrap_or_else(|| panic!("no networks in {status}"))
}

/// `eth0=10.1.0.2 eth1=…` of IPv4, from inside the pod.
fn inside(pod: &Pod) -> Vec<String> {
    let links = within(&pod.netns(), || view::json(&["-j", "-4", "addr", "show"]));
    let mut found = Vec::new();
    for link in links.iter().filter(|l| l["ifname"] != "lo") {
        for address in link["addr_info"].as_array().into_iter().flatten() {
            let text = |v: &Value| v.as_str().unwrap_or("").to_owned();
            found.push(format!(
                "{}={}/{}",
                text(&link["ifname"]),
                text(&address["local"]),
                address["prefixlen"]
            ));
        }
    }
    found.sort();
    found
}

net_test! {
    fn the_files_names_give_the_order(lab) {
        network(lab, "20-first-by-name.conf", &ptp("aaa", "10.41.0.0/24"));
        network(lab, "10-second-by-name.conf", &ptp("zzz", "10.42.0.0/24"));
        network(lab, "30-unused.conf", &ptp("unused", "10.43.0.0/24"));
        let pod = Pod::start(lab, &["--net=aaa,zzz"]);
        assert_eq!(inside(&pod), ["eth0=10.42.0.2/24", "eth1=10.41.0.2/24"]);
        let all = networks(lab, &pod.uuid);
        let told: Vec<_> = all.iter().map(|n| (n["netName"].as_str(), n["ifName"].as_str(), n["ip"].as_str())).collect();
        assert_eq!(told, [
            (Some("zzz"), Some("eth0"), Some("10.42.0.2")),
            (Some("aaa"), Some("eth1"), Some("10.41.0.2")),
        ]);
        assert_eq!(leases("unused"), [""; 0]);
        pod.end(lab);
        let pod = Pod::start(lab, &["--net=zzz", "--net=aaa"]);
        assert_eq!(inside(&pod), ["eth0=10.42.0.3/24", "eth1=10.41.0.3/24"]);
        pod.end(lab);
    }
}

net_test! {
    fn what_status_tells_and_the_pods_directory_holds(lab) {
        let text = "{ \"name\": \"n\",\n \"type\": \"ptp\", \"later\": {\"big\": 12345678901234567890123},\
            \"ipam\": {\"type\":\"host-local\",\"subnet\":\"10.41.0.0/16\"} }\n";
        network_text(lab, "10-n.conf", text);
        let pod = Pod::start(lab, &["--net=n:IP=10.41.7.9"]);
        let [entry] = &networks(lab, &pod.uuid)[..] else { panic!("not one network") };
        for (key, value) in [
            ("netName", "n"),
            ("netConf", "net/10-n.conf"),
            ("pluginPath", "stage1/rootfs/usr/lib/rkt/plugins/net/ptp"),
            ("ifName", "eth0"),
            ("ip", "10.41.7.9"),
            ("args", "IP=10.41.7.9"),
            ("mask", "255.255.0.0"),
        ] {
            assert_eq!(entry[key], value, "{key} in {entry}");
        }
        let copy = std::fs::read_to_string(pod.dir.join("net/10-n.conf")).expect("a copy of the configuration");
        assert_eq!(copy, text, "the copy is the file, byte for byte");
        let info = std::fs::read_to_string(pod.dir.join("net-info.json")).expect("net-info.json");
        assert!(info.ends_with("]\n") && info.lines().count() == 1, "{info:?}");
        let info: Value = serde_json::from_str(&info).expect("JSON");
        assert_eq!(info[0]["ip"], "10.41.7.9");
        let netns = pod.netns();
        assert!(netns.starts_with("/var/run/netns"), "{netns:?}");
        let name = netns.file_name().and_then(|n| n.to_str()).unwrap_or("").to_owned();
        let parts: Vec<usize> = name.strip_prefix("cni-").unwrap_or("").split('-').map(str::len).collect();
        assert_eq!(parts, [8, 4, 4, 4, 12], "{name}");
        let lease = std::fs::read_to_string("/var/lib/cni/networks/n/10.41.7.9").expect("a lease");
        assert_eq!(lease, format!("{}\r\neth0", pod.uuid));
        let listed = call(lab, &["list", "--no-legend"]).ok().stdout;
        assert!(listed.contains("n:ip4=10.41.7.9"), "{listed}");
        pod.end(lab);
        assert!(!netns.exists(), "the namespace's file outlives the pod in the foreground");
        assert_eq!(leases("n"), [""; 0]);
    }
}

net_test! {
    fn the_default_network_has_both_families(lab) {
        let pod = Pod::start(lab, &[]);
        let [entry] = &networks(lab, &pod.uuid)[..] else { panic!("not one network") };
        for (key, value) in [
            ("netName", "default"),
            ("netConf", "net/99-default.conf"),
            ("ip", "172.16.28.2"),
            ("mask", "255.255.255.0"),
            ("ip6", "fd72:6b74:1c::2"),
            ("mask6", "ffff:ffff:ffff:ffff::"),
            ("args", ""),
        ] {
            assert_eq!(entry[key], value, "{key} in {entry}");
        }
        call(lab, &["status", &pod.uuid]).ok()
            .stdout_has("networks=default:ip4=172.16.28.2, default:ip6=fd72:6b74:1c::2\n");
        pod.end(lab);
    }
}

net_test! {
    fn a_users_default_replaces_the_built_in_one(lab) {
        network(lab, "50-mine.conf", &json!({
            "name": "default", "type": "ptp", "ipv6": false,
            "ipam": {"type": "host-local", "subnet": "10.44.0.0/24", "routes": [{"dst": "0.0.0.0/0"}]},
        }));
        let pod = Pod::start(lab, &[]);
        assert_eq!(inside(&pod), ["eth0=10.44.0.2/24"]);
        let [entry] = &networks(lab, &pod.uuid)[..] else { panic!("not one network") };
        assert_eq!((&entry["netConf"], entry.get("ip6")), (&json!("net/50-mine.conf"), None));
        pod.end(lab);
        run(lab, &[], &["echo", "x"]).ok();
        let image = image(lab);
        Rkt::new(&lab.scratch).args(["--debug", "run"]).arg(image).args(["--", "echo", "x"]).run().ok()
            .stderr_has("overriding \"default\" network with one from");
    }
}

net_test! {
    fn all_means_every_network_built_in_ones_included(lab) {
        network(lab, "10-n.conf", &ptp("n", "10.41.0.0/24"));
        let pod = Pod::start(lab, &["--net=all,n:IP=10.41.0.77"]);
        // By their files' names: 10-n.conf, 99-default-restricted.conf, 99-default.conf.
        assert_eq!(inside(&pod), ["eth0=10.41.0.77/24", "eth1=172.31.0.2/16", "eth2=172.16.28.2/24"]);
        pod.end(lab);
    }
}

net_test! {
    fn an_address_that_is_asked_for(lab) {
        network(lab, "10-n.conf", &ptp("n", "10.41.0.0/24"));
        let pod = Pod::start(lab, &["--net=n:IP=10.41.0.7"]);
        assert_eq!(inside(&pod), ["eth0=10.41.0.7/24"]);
        for (args, why) in [
            ("IP=10.41.0.7", "is not available in network: n"),
            ("IP=10.41.0.1", "requested IP must differ gateway IP"),
            ("IP=10.99.0.1", "not in network: 10.41.0.0/24"),
            ("IP=rubbish", "rubbish"),
            ("COLOUR=blue", "COLOUR"),
        ] {
            run(lab, &[&format!("--net=n:{args}")], &["echo", "x"]).code(254).stderr_has(why);
            assert_eq!(leases("n"), ["10.41.0.7"], "{args}");
        }
        run(lab, &["--net=n:COLOUR=blue;IgnoreUnknown=1"], &["echo", "x"]).ok();
        pod.end(lab);
    }
}

net_test! {
    fn names_that_nobody_has_configured(lab) {
        network(lab, "10-n.conf", &ptp("n", "10.41.0.0/24"));
        run(lab, &["--net=n,nosuch,other"], &["echo", "x"]).code(254)
            .stderr_has("networks not found: nosuch, other");
        assert_eq!(leases("n"), [""; 0]);
        run(lab, &["--net=n,n"], &["echo", "x"]).code(254).stderr_has("found duplicate netname \"n\"");
        run(lab, &["--net=n:IP=1:2"], &["echo", "x"]).code(254).stderr_has("network \"n\" provided with invalid arguments");
        run(lab, &["--net=all:IP=1"], &["echo", "x"]).code(254)
            .stderr_has("arguments are not supported by special netname \"all\"");
    }
}

net_test! {
    fn the_first_file_of_a_name_wins(lab) {
        network(lab, "10-one.conf", &ptp("n", "10.41.0.0/24"));
        network(lab, "20-two.conf", &ptp("n", "10.42.0.0/24"));
        lab.scratch.mkdir("etc/net.d/30-directory.conf");
        lab.scratch.write("etc/net.d/40-not-read.json", "{");
        lab.scratch.write("etc/net.d/README", "{");
        let image = image(lab);
        let out = Rkt::new(&lab.scratch).args(["--debug", "run", "--net=n"]).arg(image).args(["--", "echo", "x"]).run().ok();
        out.stderr_has("\"n\" network already defined, ignoring").stderr_has("20-two.conf");
        let pod = Pod::start(lab, &["--net=n"]);
        assert_eq!(inside(&pod), ["eth0=10.41.0.3/24"]);
        pod.end(lab);
    }
}

net_test! {
    fn a_list_of_built_in_plugins(lab) {
        network_text(lab, "10-l.conflist", &json!({
            "cniVersion": "1.0.0", "name": "l",
            "plugins": [
                {"type": "ptp", "ipMasq": true, "ipam": {"type": "host-local", "ranges": [[{"subnet": "10.41.0.0/24"}]]}},
                {"type": "loopback"},
            ],
        }).to_string());
        let pod = Pod::start(lab, &["--net=l"]);
        assert_eq!(pod.address(lab, "l", "ip4"), ip("10.41.0.2"));
        pod.end(lab);
        assert_eq!(leases("l"), [""; 0]);
    }
}

net_test! {
    fn static_addresses_and_routes(lab) {
        network(lab, "10-s.conf", &json!({
            "cniVersion": "0.4.0", "name": "s", "type": "ptp",
            "ipam": {"type": "static",
                "addresses": [{"address": "10.45.0.9/24", "gateway": "10.45.0.1"}, {"address": "fd00:45::9/64", "gateway": "fd00:45::1"}],
                "routes": [{"dst": "198.51.100.0/24"}, {"dst": "2001:db8:7::/48", "gw": "fd00:45::1"}]},
        }));
        let pod = Pod::start(lab, &["--net=s"]);
        assert_eq!(inside(&pod), ["eth0=10.45.0.9/24"]);
        assert_eq!(pod.address(lab, "s", "ip6"), ip("fd00:45::9"));
        let lines = view::of(&pod.netns());
        for line in ["route 198.51.100.0/24 via 10.45.0.1 dev eth0", "route 2001:db8:7::/48 via fd00:45::1 dev eth0"] {
            assert!(lines.iter().any(|l| l.starts_with(line)), "no {line:?} in {lines:#?}");
        }
        pod.end(lab);
    }
}

net_test! {
    fn several_ranges_and_leases_in_the_old_form(lab) {
        network(lab, "10-r.conf", &json!({
            "cniVersion": "1.0.0", "name": "r", "type": "ptp",
            "ipam": {"type": "host-local", "ranges": [
                [{"subnet": "10.46.0.0/24", "rangeStart": "10.46.0.10", "rangeEnd": "10.46.0.11"}, {"subnet": "10.47.0.0/24"}],
                [{"subnet": "fd00:46::/64"}],
            ]},
        }));
        let pods: Vec<Pod> = (0..3).map(|_| Pod::start(lab, &["--net=r"])).collect();
        let told: Vec<_> = pods.iter().map(|p| p.address(lab, "r", "ip4").to_string()).collect();
        assert_eq!(told, ["10.46.0.10", "10.46.0.11", "10.47.0.2"]);
        // As old CNI releases wrote it: the ID alone, without the interface.
        for (lease, old) in [("10.46.0.10", ""), ("fd00:46::2", "\n")] {
            let path = Path::new("/var/lib/cni/networks/r").join(lease);
            std::fs::write(path, format!("{}{old}", pods[0].uuid)).expect("the leases are this test's own");
        }
        for pod in pods {
            pod.end(lab);
        }
        eventually("all leases are freed", || leases("r").is_empty().then_some(()));
    }
}

net_test! {
    fn none_and_host(lab) {
        let out = run(lab, &["--net=none"], &["facts"]).ok()
            .stderr_has("networking: networking namespace with loopback only");
        let host = std::fs::read_link("/proc/self/ns/net").expect("our own namespace").display().to_string();
        assert_ne!(out.fact("ns.net"), host);
        let out = run(lab, &["--net=host,none,default"], &["facts"]).ok();
        assert_eq!(out.fact("ns.net"), host, "host wins over everything");
        run(lab, &["--net=none,nosuch"], &["echo", "x"]).ok();
        let pod = Pod::start(lab, &["--net=none"]);
        let netns = format!("/proc/{}/ns/net", crate::status(lab, &pod.uuid, "pid"));
        let up = within(Path::new(&netns), || view::json(&["-j", "addr", "show", "lo"]));
        assert!(up[0].to_string().contains("127.0.0.1") && up[0].to_string().contains("UP"), "{up:?}");
        call(lab, &["status", &pod.uuid]).ok().stdout_has("networks=\n");
        pod.end(lab);
    }
}

net_test! {
    fn two_pods_may_not_share_a_lease_but_a_name_may_have_any_file(lab) {
        // The same network by another file: the lease directory goes by the network's name.
        network(lab, "10-n.conf", &ptp("n", "10.41.0.0/24"));
        let one = Pod::start(lab, &["--net=n"]);
        std::fs::remove_file(lab.scratch.at("etc/net.d/10-n.conf")).expect("the file is there");
        network(lab, "77-n.conf", &ptp("n", "10.41.0.0/24"));
        let two = Pod::start(lab, &["--net=n"]);
        assert_ne!(one.address(lab, "n", "ip4"), two.address(lab, "n", "ip4"));
        // Taking down goes by the copy: the first one's file is gone.
        one.end(lab);
        assert_eq!(leases("n"), ["10.41.0.3"]);
        two.end(lab);
    }
}
