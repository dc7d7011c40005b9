//! Configurations that cannot work: each is refused with the file and the field, before an app runs, and leaves nothing.

use crate::{Pod, image, leases, network, network_text, run};
use serde_json::{Value, json};
use tests::host::Traces;
use tests::lab::{Lab, ip, tool};
use tests::{Rkt, net_test};

const FILE: &str = "10-bad.conf";

/// The pod is refused with all `parts`, and no app has run.
#[track_caller]
fn told(lab: &Lab, net: &str, parts: &[&str]) {
    let mut out = run(lab, &[&format!("--net={net}")], &["echo", "the-app-ran"]).code(254);
    assert!(!out.stdout.contains("the-app-ran"), "{out}");
    for part in parts {
        out = out.stderr_has(part);
    }
}

/// As `told`, and nothing but a dead pod is left.
#[track_caller]
fn refused(lab: &Lab, net: &str, parts: &[&str]) {
    let before = Traces::now(lab.path());
    told(lab, net, parts);
    tests::host::assert_nothing_left(&before, lab.path());
}

/// `refused` for each of these files under the name `bad`; fails once, with all that went wrong.
#[track_caller]
fn all_refused(lab: &Lab, cases: &[(Value, &[&str])]) {
    let before = Traces::now(lab.path());
    let mut wrong = Vec::new();
    for (conf, parts) in cases {
        let mut conf = conf.clone();
        if conf.get("name").is_none() {
            conf["name"] = json!("bad");
        }
        network(lab, FILE, &conf);
        let out = run(lab, &["--net=bad"], &["echo", "the-app-ran"]);
        let lacking: Vec<&&str> = [FILE]
            .iter()
            .chain(*parts)
            .filter(|p| !out.stderr.contains(**p))
            .collect();
        if out.code != 254 || out.stdout.contains("the-app-ran") || !lacking.is_empty() {
            wrong.push(format!("{conf}\nlacking {lacking:?}\n{out}"));
        }
    }
    assert!(
        wrong.is_empty(),
        "{} of {} cases\n\n{}",
        wrong.len(),
        cases.len(),
        wrong.join("\n\n")
    );
    tests::host::assert_nothing_left(&before, lab.path());
}

/// ptp with this `ipam`.
fn with(ipam: Value) -> Value {
    json!({"cniVersion": "0.4.0", "type": "ptp", "ipam": ipam})
}

fn local(field: &str, value: Value) -> Value {
    let mut ipam = json!({"type": "host-local", "subnet": "10.51.0.0/24"});
    ipam[field] = value;
    with(ipam)
}

net_test! {
    fn files_that_are_no_configuration(lab) {
        for (text, parts) in [
            ("", &[FILE][..]),
            ("{\"name\": \"bad\",", &[FILE]),
            ("[]", &[FILE]),
            ("{\"name\": \"bad\"} trailing", &[FILE]),
            ("{\"type\": \"ptp\"}", &[FILE, "name"]),
            ("{\"name\": 7, \"type\": \"ptp\"}", &[FILE, "name"]),
            ("{\"name\": \"\", \"type\": \"ptp\"}", &[FILE, "name"]),
            ("{\"name\": \"../bad\", \"type\": \"ptp\"}", &[FILE, "name"]),
            ("{\"name\": \"bad\"}", &[FILE, "type"]),
            ("{\"name\": \"bad\", \"type\": [\"ptp\"]}", &[FILE, "type"]),
            ("{\"name\": \"bad\", \"type\": \"../ptp\"}", &[FILE, "type"]),
            ("{\"name\": \"bad\", \"type\": \"/bin/sh\"}", &[FILE, "type"]),
            ("{\"name\": \"bad\", \"type\": \"ptp\", \"cniVersion\": \"7.0.0\"}", &[FILE, "cniVersion", "7.0.0"]),
            ("{\"name\": \"bad\", \"type\": \"ptp\", \"cniVersion\": 1}", &[FILE, "cniVersion"]),
            ("\u{1}\u{2}\u{3}", &[FILE]),
        ] {
            eprintln!("trying {text}");
            network_text(lab, FILE, text);
            // Every file is read, also for a pod that wants another network.
            told(lab, if text.len() % 2 == 0 { "bad" } else { "default" }, parts);
        }
        let deep = format!("{{\"name\": \"bad\", \"type\": \"ptp\", \"x\": {}", "[".repeat(200_000));
        network_text(lab, FILE, &deep);
        refused(lab, "bad", &[FILE]);
        let long = format!("{{\"name\": \"bad\", \"type\": \"ptp\", \"x\": \"{}\"}}", "x".repeat(8 << 20));
        network_text(lab, FILE, &long);
        refused(lab, "bad", &[FILE]);
    }
}

net_test! {
    fn lists_that_are_none(lab) {
        const LIST: &str = "10-bad.conflist";
        for (list, parts) in [
            (json!({"name": "bad", "type": "ptp"}), &[LIST, "plugins"][..]),
            (json!({"name": "bad", "plugins": []}), &[LIST, "plugins"]),
            (json!({"name": "bad", "plugins": {"type": "ptp"}}), &[LIST, "plugins"]),
            (json!({"name": "bad", "plugins": [{"type": "ptp"}, {}]}), &[LIST, "type"]),
            (json!({"name": "bad", "plugins": [{"type": "loopback"}, 7]}), &[LIST, "plugins"]),
            (json!({"plugins": [{"type": "loopback"}]}), &[LIST, "name"]),
        ] {
            eprintln!("trying {list}");
            network_text(lab, LIST, &list.to_string());
            told(lab, "bad", parts);
        }
    }
}

net_test! {
    fn files_that_lead_nowhere_or_in_circles(lab) {
        lab.scratch.mkdir("etc/net.d");
        let file = lab.scratch.at("etc/net.d").join(FILE);
        std::os::unix::fs::symlink(FILE, &file).expect("a symlink to itself");
        refused(lab, "bad", &[FILE]);
        std::fs::remove_file(&file).expect("the symlink");
        std::os::unix::fs::symlink("/no/such/file", &file).expect("a dangling symlink");
        refused(lab, "bad", &[FILE]);
        std::fs::remove_file(&file).expect("the symlink");
        // A plugin that is a symlink to itself is none.
        network(lab, FILE, &json!({"name": "bad", "type": "circle"}));
        std::os::unix::fs::symlink("circle", lab.scratch.at("etc/net.d/circle")).expect("a symlink to itself");
        refused(lab, "bad", &["circle"]);
        // A pipe would be waited for, /dev/zero read for ever.
        std::fs::remove_file(&file).expect("the file");
        tool("mkfifo", &[&file.display().to_string()]);
        let out = run(lab, &["--net=default"], &["echo", "x"]);
        assert!(out.code == 0 || out.stderr.contains(FILE), "{out}");
        std::fs::remove_file(&file).expect("the pipe");
        std::os::unix::fs::symlink("/dev/zero", &file).expect("a symlink to a device");
        let out = run(lab, &["--net=default"], &["echo", "x"]);
        assert!(out.code == 0 || out.stderr.contains(FILE), "{out}");
        std::fs::remove_file(&file).expect("the symlink");
    }
}

net_test! {
    fn plugins_fields(lab) {
        let host_local = json!({"type": "host-local", "subnet": "10.51.0.0/24"});
        let plugin = |kind: &str, field: &str, value: Value| {
            let mut conf = json!({"type": kind, "ipam": host_local});
            conf[field] = value;
            conf
        };
        all_refused(lab, &[
            (json!({"type": "nosuch"}), &["Could not find plugin \"nosuch\""]),
            (plugin("ptp", "mtu", json!("big")), &["mtu"]),
            (plugin("ptp", "mtu", json!(-1)), &["mtu"]),
            (plugin("ptp", "mtu", json!(12)), &["mtu"]),
            (plugin("ptp", "ipMasq", json!("yes")), &["ipMasq"]),
            (plugin("ptp", "dns", json!({"nameservers": "192.0.2.53"})), &["dns"]),
            (plugin("bridge", "bridge", json!("sixteen-letters-")), &["bridge"]),
            (plugin("bridge", "bridge", json!("a/b")), &["bridge"]),
            (plugin("bridge", "bridge", json!("world")), &["\"world\" already exists but is not a bridge"]),
            (plugin("bridge", "isGateway", json!(1)), &["isGateway"]),
            (plugin("bridge", "vlan", json!(5000)), &["vlan"]),
            (json!({"type": "bridge", "bridge": "br9", "hairpinMode": true, "promiscMode": true, "ipam": host_local}), &["promiscMode"]),
            (plugin("macvlan", "master", json!("nosuch0")), &["master", "nosuch0"]),
            (plugin("macvlan", "mode", json!("sideways")), &["mode", "sideways"]),
            (plugin("ipvlan", "mode", json!("l9")), &["mode", "l9"]),
        ]);
        // What a refused bridge made on its way is no bridge of a network.
        let links = tool("ip", &["-o", "link"]);
        assert!(!links.contains("br9"), "{links}");
    }
}

net_test! {
    fn ranges_of_addresses(lab) {
        all_refused(lab, &[
            (with(json!({"type": "nosuch-ipam"})), &["nosuch-ipam"]),
            (with(json!({"subnet": "10.51.0.0/24"})), &["ipam"]),
            (with(json!("host-local")), &["ipam"]),
            (with(json!({"type": "host-local"})), &["range"]),
            (local("subnet", json!("10.51.0.0")), &["subnet", "10.51.0.0"]),
            (local("subnet", json!("10.51.0.5/24")), &["subnet", "10.51.0.5/24"]),
            (local("subnet", json!("10.51.0.0/31")), &["subnet", "10.51.0.0/31"]),
            (local("subnet", json!("fd00:51::/127")), &["subnet", "fd00:51::/127"]),
            (local("subnet", json!(24)), &["subnet"]),
            (local("rangeStart", json!("10.52.0.1")), &["rangeStart", "10.52.0.1"]),
            (local("rangeEnd", json!("fd00::1")), &["rangeEnd", "fd00::1"]),
            (with(json!({"type": "host-local", "subnet": "10.51.0.0/24", "rangeStart": "10.51.0.9", "rangeEnd": "10.51.0.3"})), &["range"]),
            (local("gateway", json!("first")), &["gateway", "first"]),
            (local("routes", json!([{"dst": "everywhere"}])), &["dst", "everywhere"]),
            (local("routes", json!([{"dst": "0.0.0.0/0", "gw": "fd00::1"}])), &["gw", "fd00::1"]),
            (with(json!({"type": "host-local", "ranges": []})), &["range"]),
            (with(json!({"type": "host-local", "ranges": [[{"subnet": "10.51.0.0/24"}], [{"subnet": "10.51.0.0/25"}]]})), &["range"]),
            (with(json!({"type": "host-local", "ranges": [[{"subnet": "10.51.0.0/24"}, {"subnet": "fd00::/64"}]]})), &["range"]),
            (with(json!({"type": "static"})), &[]),
            (with(json!({"type": "static", "addresses": [{"address": "10.51.0.9"}]})), &["address", "10.51.0.9"]),
            (with(json!({"type": "static", "addresses": [{"address": "10.51.0.9/24", "gateway": "no"}]})), &["gateway"]),
        ]);
    }
}

net_test! {
    fn a_range_that_is_exhausted(lab) {
        network(lab, "10-small.conf", &json!({
            "name": "small", "type": "ptp", "ipam": {"type": "host-local", "subnet": "10.53.0.0/30"},
        }));
        let pod = Pod::start(lab, &["--net=small"]);
        assert_eq!(leases("small"), ["10.53.0.2"]);
        refused(lab, "small", &["no IP addresses available in network: small"]);
        assert_eq!(leases("small"), ["10.53.0.2"], "the first pod keeps its address");
        pod.end(lab);
        run(lab, &["--net=small"], &["echo", "x"]).ok();
    }
}

net_test! {
    fn what_fails_second_takes_back_what_came_first(lab) {
        network(lab, "10-good.conf", &json!({
            "name": "good", "type": "ptp", "ipMasq": true, "ipam": {"type": "host-local", "subnet": "10.54.0.0/24"},
        }));
        network(lab, "20-bad.conf", &json!({"name": "bad", "type": "macvlan", "master": "nosuch0"}));
        refused(lab, "default,good,bad", &["20-bad.conf", "nosuch0"]);
        assert_eq!((leases("good"), leases("default")), (Vec::new(), Vec::new()));
        // The second range of a network as well.
        network(lab, "20-bad.conf", &json!({
            "cniVersion": "1.0.0", "name": "bad", "type": "ptp", "ipam": {"type": "host-local", "ranges": [
                [{"subnet": "10.55.0.0/24"}], [{"subnet": "10.56.0.0/24", "rangeStart": "10.56.0.7", "rangeEnd": "10.56.0.7"}]]},
        }));
        let pod = Pod::start(lab, &["--net=bad"]);
        refused(lab, "good,bad", &["no IP addresses available in network: bad"]);
        assert_eq!(leases("bad").len(), 2, "those of the pod that runs");
        pod.end(lab);
    }
}

net_test! {
    fn an_ipvlan(lab) {
        network(lab, "10-iv.conf", &json!({
            "name": "iv", "type": "ipvlan", "master": "world",
            "ipam": {"type": "host-local", "subnet": "192.0.2.0/24", "rangeStart": "192.0.2.70"},
        }));
        if ip("link add link world name iv0 type ipvlan mode l2").is_ok() {
            ip("link del iv0").expect("the link that was just made");
            let pod = Pod::start(lab, &["--net=iv"]);
            assert_eq!(crate::reach_from_far(lab, tests::talk::Protocol::Tcp, pod.address(lab, "iv", "ip4"), crate::APP), tests::lab::FAR4);
            pod.end(lab);
        } else {
            refused(lab, "iv", &["ipvlan", "kernel"]);
            tests::skip!("this kernel has no ipvlan (the error for it was checked)");
        }
    }
}

net_test! {
    fn leases_that_are_no_directory(lab) {
        std::fs::create_dir_all("/var/lib/cni").expect("a tmpfs of the test's own");
        std::fs::write("/var/lib/cni/networks", "").expect("a file in the way");
        let image = image(lab);
        Rkt::new(&lab.scratch).arg("run").arg(image).args(["--", "echo", "x"]).run().code(254)
            .stderr_has("/var/lib/cni/networks");
        std::fs::remove_file("/var/lib/cni/networks").expect("the file in the way");
    }
}
