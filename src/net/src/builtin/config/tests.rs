//! Configurations, good and contradictory.

#![expect(clippy::unwrap_used, reason = "tests")]
use super::*;
use crate::attach::{Dirs, Site};
use crate::{Network, Plugin};

fn with<T>(kind: &str, json: &str, args: &str, work: impl Fn(&Call<'_>) -> Result<T>) -> Result<T> {
    let plugin = Plugin {
        kind: kind.into(),
        object: model::json::parse(json.as_bytes()).unwrap(),
    };
    let network = Network {
        name: "n".into(),
        file: "10-n.conf".into(),
        origin: "/etc/rkt/net.d/10-n.conf".into(),
        text: Vec::new(),
        version: "1.0.0".into(),
        plugins: Vec::new(),
        args: args.into(),
    };
    let dirs = Dirs {
        plugins: Vec::new(),
        leases: "/nowhere".into(),
        results: "/nowhere".into(),
    };
    let site = Site {
        id: "id",
        netns: None,
        netns_path: "",
        dirs: &dirs,
        mappings: &[],
        patience: std::time::Duration::ZERO,
        notes: Default::default(),
    };
    work(&Call {
        site: &site,
        network: &network,
        plugin: &plugin,
        if_name: "eth0",
        previous: None,
    })
}

#[test]
fn an_empty_bridge_has_the_defaults() {
    let conf = with("bridge", "{}", "", bridge).unwrap();
    assert_eq!(conf.name, "cni0");
    assert!(!conf.gateway && !conf.common.masquerade && conf.common.dns.is_none());
    assert_eq!((conf.common.mtu, conf.vlan), (0, 0));
}

#[test]
fn a_default_gateway_is_a_gateway() {
    let text = r#"{"isDefaultGateway": true, "vlan": 100, "bridge": "br",
        "vlanTrunk": [{"id": 5}, {"minID": 10, "maxID": 20}],
        "dns": {"nameservers": ["10.0.0.1"]}, "ipam": {"type": "host-local"}}"#;
    let conf = with("bridge", text, "", bridge).unwrap();
    assert!(conf.gateway && conf.default_gateway && conf.filters_vlans());
    assert_eq!(conf.vlan_gateway().unwrap(), "br.100");
    assert_eq!(conf.trunk, [Vlan::Trunk(5, 5), Vlan::Trunk(10, 20)]);
    assert_eq!(conf.common.dns.as_ref().unwrap().nameservers, ["10.0.0.1"]);
    assert!(!conf.common.ipam_needs_link());
}

/// Its address would be what a stranger's server says.
#[test]
fn a_gateway_has_no_address_from_dhcp() {
    let dhcp = r#""ipam": {"type": "dhcp"}"#;
    let conf = with("bridge", &format!("{{{dhcp}}}"), "", bridge).unwrap();
    assert!(conf.common.ipam_needs_link() && !conf.gateway);
    for key in ["isGateway", "isDefaultGateway"] {
        let text = format!(r#"{{"{key}": true, {dhcp}}}"#);
        let fault = with("bridge", &text, "", bridge).unwrap_err();
        assert!(fault.to_string().contains("isGateway: "), "{fault}");
    }
}

#[test]
fn the_hardware_address_of_the_runtime_wins() {
    let text = r#"{"args": {"cni": {"mac": "02:00:00:00:00:02"}},
        "runtimeConfig": {"mac": "02:00:00:00:00:03"}}"#;
    let args = "IP=10.0.0.1;MAC=02:00:00:00:00:01";
    let mac = |text: &str| with("ptp", text, args, ptp).unwrap().mac.unwrap()[5];
    assert_eq!(mac(text), 3);
    assert_eq!(mac(r#"{"args": {"cni": {"mac": "02:00:00:00:00:02"}}}"#), 2);
    assert_eq!(mac("{}"), 1);
}

#[test]
fn what_cannot_be_is_refused_with_file_and_key() {
    let cases = [
        (
            "bridge",
            r#"{"mtu": -1}"#,
            "mtu: -1 is not between 0 and 65535",
        ),
        (
            "bridge",
            r#"{"mtu": 70000}"#,
            "mtu: 70000 is not between 0 and 65535",
        ),
        ("bridge", r#"{"mtu": 20}"#, "mtu: 20 is less than 68"),
        (
            "bridge",
            r#"{"mtu": "9000"}"#,
            "mtu: expected an integer, found a string",
        ),
        (
            "bridge",
            r#"{"bridge": "a/b"}"#,
            "bridge: invalid interface name \"a/b\"",
        ),
        (
            "bridge",
            r#"{"bridge": "br%d"}"#,
            "bridge: invalid interface name \"br%d\"",
        ),
        (
            "bridge",
            r#"{"bridge": "0123456789abcdef"}"#,
            "bridge: invalid interface name",
        ),
        (
            "bridge",
            r#"{"isGateway": "yes"}"#,
            "isGateway: expected true or false",
        ),
        (
            "bridge",
            r#"{"hairpinMode": true, "promiscMode": true}"#,
            "at the same time",
        ),
        (
            "bridge",
            r#"{"vlan": 4095}"#,
            "vlan: 4095 is not between 0 and 4094",
        ),
        (
            "bridge",
            r#"{"vlanTrunk": [{"id": 0}]}"#,
            "vlanTrunk[0].id: 0 is not between",
        ),
        (
            "bridge",
            r#"{"vlanTrunk": [{"minID": 9, "maxID": 3}]}"#,
            "vlanTrunk[0]: minID is",
        ),
        (
            "bridge",
            r#"{"vlanTrunk": [{"minID": 9}]}"#,
            "vlanTrunk[0]: expected either",
        ),
        (
            "bridge",
            r#"{"macspoofchk": true}"#,
            "macspoofchk: the built-in plugin does not",
        ),
        (
            "bridge",
            r#"{"bridge": "a-long-bridge", "vlan": 5, "isGateway": true, "bridge": "a-long-bridges"}"#,
            "too long a name",
        ),
        (
            "macvlan",
            r#"{"mode": "fast"}"#,
            "mode: unknown mode \"fast\"",
        ),
        ("macvlan", r#"{"master": ""}"#, ""),
        (
            "macvlan",
            r#"{"linkInContainer": true}"#,
            "linkInContainer: the built-in",
        ),
        (
            "ipvlan",
            r#"{"mode": "bridge"}"#,
            "mode: unknown mode \"bridge\"",
        ),
        (
            "ipvlan",
            r#"{"runtimeConfig": {"mac": "02:00:00:00:00:01"}}"#,
            "mac: an ipvlan link",
        ),
        (
            "ptp",
            r#"{"ipam": {"type": "dhcp"}}"#,
            "ipam.type: nobody answers",
        ),
        ("ptp", r#"{"ipam": []}"#, "ipam: expected an object"),
        (
            "ptp",
            r#"{"runtimeConfig": {"mac": "1:2:3:4:5:6"}}"#,
            "runtimeConfig.mac: invalid",
        ),
        (
            "ptp",
            r#"{"runtimeConfig": {"mac": "01:00:00:00:00:01"}}"#,
            "runtimeConfig.mac: invalid",
        ),
        (
            "ptp",
            r#"{"dns": {"search": ["a\nnameserver 6.6.6.6"]}}"#,
            "is not one word",
        ),
        (
            "ptp",
            r#"{"dns": {"nameservers": ["ns1"]}}"#,
            "dns.nameservers[0]: \"ns1\" is no IP",
        ),
    ];
    for (kind, text, expected) in cases {
        let result = with(kind, text, "", |call| match kind {
            "bridge" => bridge(call).map(drop),
            "ptp" => ptp(call).map(drop),
            _ => child(call).map(drop),
        });
        match result {
            Ok(()) => assert_eq!(expected, "", "{text} was taken"),
            Err(fault) => {
                let start = "/etc/rkt/net.d/10-n.conf: ";
                assert!(fault.cause.starts_with(start), "{text}: {fault}");
                assert!(!expected.is_empty(), "{text}: {fault}");
                assert!(fault.cause.contains(expected), "{text}: {fault}");
            }
        }
    }
    let fault = with("ptp", "{}", "MAC=zz", ptp).unwrap_err();
    assert!(
        fault
            .cause
            .ends_with("MAC: invalid hardware address \"zz\"")
    );
}
