//! Configurations of all forms, the built-in ones, wrong ones and mangled ones.

use super::*;
use crate::conf::tests::Mangler;

#[test]
fn ranges_of_the_caller_come_first_and_ipv6_can_be_off() {
    let ranges = r#", "runtimeConfig": {"ipRanges": [[{"subnet": "10.7.0.0/24"}]]}"#;
    let rest = r#""subnet": "10.9.0.0/24", "ranges": [[{"subnet": "fd00::/64"}]],
        "routes": [{"dst": "0.0.0.0/0"}, {"dst": "::/0"}]"#;
    let lab = Lab::with(rest, ranges);
    assert_eq!(lab.ips("a"), ["10.7.0.2/24", "10.9.0.2/24", "fd00::2/64"]);
    assert_eq!(lab.add("b").unwrap().routes.len(), 2);
    assert!(lab.file("last_reserved_ip.2").exists());
    let lab = Lab::with(rest, r#", "ipv6": false"#);
    assert_eq!(lab.ips("a"), ["10.9.0.2/24"]);
    let routes = lab.add("a").unwrap().routes;
    assert_eq!((routes.len(), routes[0].dst.is_v4()), (1, true));
    let lab = Lab::with(r#""subnet": "fd00::/64""#, r#", "ipv6": false"#);
    assert_eq!(
        lab.error("a"),
        "F: ipam: no IP ranges are left without IPv6"
    );
}

#[test]
fn the_built_in_networks_give_both_families() {
    let lab = |name: &str| {
        let wanted = [crate::selection::Wanted {
            name: name.into(),
            args: String::new(),
        }];
        let mut networks = conf::load(Path::new("/nonexistent"), &wanted, &mut |_| {}).unwrap();
        Lab {
            dir: Scratch::new(),
            network: networks.remove(0),
        }
    };
    let default = lab("default").add("a").unwrap();
    let ips: Vec<_> = default
        .ips
        .iter()
        .map(|ip| ip.address.to_string())
        .collect();
    assert_eq!(ips, ["172.16.28.2/24", "fd72:6b74:1c::2/64"]);
    assert_eq!(default.ips[0].gateway.unwrap().to_string(), "172.16.28.1");
    assert_eq!(default.routes.len(), 2);
    let restricted = lab("default-restricted");
    assert_eq!(restricted.ips("a"), ["172.31.0.2/16", "fd72:6b74:1f::2/64"]);
    assert!(restricted.add("b").unwrap().routes.is_empty());
}

#[test]
fn errors_in_the_configuration_name_file_and_field() {
    let subnets = |count: u32| -> Vec<String> {
        let subnet = |at| format!(r#"{{"subnet": "10.{}.{}.0/24"}}"#, at / 256, at % 256);
        (0..count).map(subnet).collect()
    };
    let long = format!(r#""ranges": [[{}]]"#, subnets(257).join(","));
    let many = format!(r#""ranges": [[{}]]"#, subnets(65).join("],["));
    for (ipam, want) in [
        (r#""x": 1"#, "ipam: no IP ranges specified"),
        (r#""ranges": [[]]"#, "ipam.ranges[0]: empty range set"),
        (
            r#""subnet": "10.0.0.0/31""#,
            "ipam.subnet: network 10.0.0.0/31 too small to allocate from",
        ),
        (
            r#""subnet": "fd00::/127""#,
            "ipam.subnet: network fd00::/127 too small to allocate from",
        ),
        (
            r#""ranges": [[{"subnet": "10.1.0.5/16"}]]"#,
            "ipam.ranges[0][0].subnet: 10.1.0.5/16 has host bits set: for a prefix of 16 bits \
             the network address is 10.1.0.0",
        ),
        (
            r#""subnet": "10.1.0.0""#,
            "ipam.subnet: invalid CIDR address: \"10.1.0.0\"",
        ),
        (
            r#""subnet": "::ffff:10.0.0.0/120""#,
            "ipam.subnet: invalid CIDR address: \"::ffff:10.0.0.0/120\"",
        ),
        (
            r#""rangeStart": "10.1.0.1""#,
            "ipam.rangeStart: has no meaning without a subnet beside it",
        ),
        (
            r#""subnet": "10.1.0.0/24", "rangeStart": "10.2.0.1""#,
            "ipam.rangeStart: rangeStart 10.2.0.1 not in network 10.1.0.0/24",
        ),
        (
            r#""subnet": "10.1.0.0/24", "rangeStart": "10.1.0.9", "rangeEnd": "10.1.0.8""#,
            "ipam: rangeEnd 10.1.0.8 is before rangeStart 10.1.0.9",
        ),
        (
            r#""subnet": "10.1.0.0/24", "gateway": "fd00::1""#,
            "ipam.gateway: fd00::1 is of another family than 10.1.0.0/24",
        ),
        (
            r#""ranges": [[{"subnet": "10.1.0.0/24"}, {"subnet": "fd00::/64"}]]"#,
            "ipam.ranges[0]: mixed address families",
        ),
        (
            r#""ranges": [[{"subnet": "10.1.0.0/16"}, {"subnet": "10.1.2.0/24"}]]"#,
            "ipam: ranges 10.1.0.1-10.1.255.254 and 10.1.2.1-10.1.2.254 of range set 0 overlap",
        ),
        (
            r#""subnet": "10.1.0.0/16", "ranges": [[{"subnet": "10.1.2.0/24"}]]"#,
            "ipam: range set 0 overlaps with 1: 10.1.0.1-10.1.255.254 and 10.1.2.1-10.1.2.254 \
             have addresses in common",
        ),
        (
            r#""subnet": "10.1.0.0/16", "dataDir": "leases""#,
            "ipam.dataDir: must be an absolute path",
        ),
        (
            r#""subnet": "10.1.0.0/16", "routes": [{"dst": 1}]"#,
            "ipam.routes[0].dst: expected a string, found a number",
        ),
        (
            r#""subnet": "10.1.0.0/16", "resolvConf": "/nonexistent""#,
            "ipam.resolvConf: /nonexistent: open /nonexistent: no such file or directory",
        ),
        (&long, "ipam: more than 256 ranges"),
        (&many, "ipam: more than 64 range sets"),
    ] {
        assert_eq!(Lab::new(ipam).error("a"), format!("F: {want}"));
    }
    let mut lab =
        Lab::new(r#""ranges": [[{"subnet": "10.1.0.0/24"}], [{"subnet": "10.2.0.0/24"}]]"#);
    lab.network.version = "0.2.0".into();
    assert_eq!(
        lab.error("a"),
        "F: ipam: CNI version 0.2.0 does not support more than 1 address per family"
    );
    // Leaving takes no more than the directory.
    let lab = Lab::new(r#""subnet": "nonsense""#);
    lab.write("10.9.0.2", "a\r\neth0");
    lab.del("a");
    assert_eq!(lab.files(), ["lock"]);
}

/// The longest claim that a configuration can ask for, and one that is too long.
#[test]
fn a_claim_stays_as_short_as_a_link_has_to_be() {
    let at = |nth: u32| format!("fd00:aaaa:bbbb:{:x}:ffff:ffff:ffff:fff0", 0x1000 + nth);
    let subnet = |nth| format!(r#"[{{"subnet": "{}/125"}}]"#, at(nth));
    let sets: Vec<String> = (0..64).map(subnet).collect();
    let lab = Lab::new(&format!(r#""ranges": [{}]"#, sets.join(",")));
    assert_eq!(lab.ips("a").len(), 64);
    let claim = std::fs::read_link(lab.file(".a@eth0")).unwrap();
    assert_eq!(claim.as_os_str().len(), 64 * 40 - 1);
    lab.del("a");
    assert!(!lab.files().iter().any(|name| name.contains(':')));
    // What an earlier attempt with other ranges holds counts, too.
    let older: Vec<String> = (100..163)
        .map(|nth| at(nth).replace("fff0", "fff2"))
        .collect();
    std::os::unix::fs::symlink(older.join(","), lab.file(".a@eth0")).unwrap();
    for ip in &older {
        lab.write(ip, "a\r\neth0");
    }
    let error = lab.error("a");
    assert!(
        error.ends_with("too many addresses for one interface: 127"),
        "{error}"
    );
    lab.del("a");
    assert!(!lab.files().iter().any(|name| name.contains(':')));
}

#[test]
fn data_dir_and_resolv_conf_are_the_configurations() {
    let dir = Scratch::new();
    let resolv = dir.path().join("resolv.conf");
    std::fs::write(&resolv, "nameserver 10.9.0.1\nsearch a b\n").unwrap();
    let ipam = format!(
        r#""subnet": "10.9.0.0/24", "dataDir": "{}", "resolvConf": "{}""#,
        dir.path().join("data").display(),
        resolv.display()
    );
    let lab = Lab::new(&ipam);
    assert_eq!(lab.add("a").unwrap().dns.search, ["a", "b"]);
    assert!(dir.path().join("data/n/10.9.0.2").exists());
    assert!(!lab.dir.path().join("networks").exists());
    lab.del("a");
    assert!(!dir.path().join("data/n/10.9.0.2").exists());
}

#[test]
fn mangled_configurations_are_refused_or_work() {
    let seeds = [
        r#""subnet": "10.9.0.0/24", "rangeStart": "10.9.0.10", "rangeEnd": "10.9.0.20",
            "gateway": "10.9.0.254", "routes": [{"dst": "0.0.0.0/0", "gw": "10.9.0.254"}]"#,
        r#""ranges": [[{"subnet": "10.9.0.0/24"}, {"subnet": "10.8.0.0/30"}],
            [{"subnet": "fd00::/64", "rangeStart": "fd00::9"}]],
            "routes": [{"dst": "::/0", "mtu": 1400, "scope": 253}]"#,
    ];
    let beside = r#", "runtimeConfig": {"ips": ["10.9.0.11"],
        "ipRanges": [[{"subnet": "10.7.0.0/24"}]]}, "args": {"cni": {"ips": []}}, "ipv6": true"#;
    let mut mangler = Mangler::new();
    let mut accepted = 0;
    for seed in seeds {
        let whole = network(seed, beside).unwrap();
        let text = String::from_utf8(whole.text).unwrap();
        for _ in 0..3000 {
            let Ok(network) = conf::parse("n.conf", "F", &mangler.mangle(&text)) else {
                continue;
            };
            let leases = Path::new("/leases");
            let Ok(config) = Config::read(&network, &network.plugins[0], leases, None) else {
                continue;
            };
            let Ok(requested) = choose::requested(&config.sets, &config.requested) else {
                continue;
            };
            accepted += 1;
            for (set, requested) in config.sets.iter().zip(requested) {
                let found = choose::next(&config.sets, set, None, &BTreeSet::new());
                for choice in requested.into_iter().chain(found) {
                    assert!(choice.range.has_host(choice.ip));
                    assert!(!choose::is_gateway(&config.sets, choice.ip));
                }
            }
        }
    }
    assert!(accepted > 200, "{accepted}");
}
