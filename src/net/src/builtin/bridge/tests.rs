//! Which addresses a bridge gets, and whose it loses.

#![expect(clippy::unwrap_used, reason = "tests")]
use super::*;

fn plan(force: bool, held: &[&str], wanted: &[&str]) -> Result<Vec<String>> {
    let conf = Bridge {
        common: Default::default(),
        name: "br0".into(),
        gateway: true,
        default_gateway: false,
        force_address: force,
        hairpin: false,
        promiscuous: false,
        vlan: 0,
        trunk: Vec::new(),
        keep_default_vlan: false,
        probe: false,
    };
    let link = Link {
        index: 7,
        name: "br0".into(),
        kind: "bridge".into(),
        mac: vec![2, 0, 0, 0, 0, 1],
        ..Link::default()
    };
    let all = |list: &[&str]| -> Vec<Cidr> {
        list.iter().map(|text| Cidr::parse(text).unwrap()).collect()
    };
    let batch = plan_addresses(&conf, &link, &all(held), &all(wanted))?;
    Ok((0..batch.len())
        .map(|index| batch.what(index).to_string())
        .filter(|what| what.contains("/"))
        .collect())
}

#[test]
fn an_address_that_is_there_is_left_alone() {
    let held = ["10.0.0.1/24", "fd00::1/64", "fe80::1/64"];
    assert!(
        plan(false, &held, &["10.0.0.1/24", "fd00::1/64"])
            .unwrap()
            .is_empty()
    );
}

#[test]
fn another_ipv4_address_is_a_conflict_unless_forced() {
    let fault = plan(false, &["10.0.0.1/24"], &["10.1.0.1/24"]).unwrap_err();
    assert_eq!(
        fault.cause,
        "\"br0\" already has an IP address different from 10.1.0.1/24"
    );
    assert_eq!(
        plan(true, &["10.0.0.1/24"], &["10.1.0.1/24"]).unwrap(),
        ["delete address 10.0.0.1/24", "add address 10.1.0.1/24"]
    );
}

#[test]
fn ipv6_networks_that_are_apart_live_together() {
    assert_eq!(
        plan(false, &["fd00::1/64", "fe80::1/64"], &["fd01::1/64"]).unwrap(),
        ["add address fd01::1/64"]
    );
    assert!(plan(false, &["fd00::2/64"], &["fd00::1/48"]).is_err());
}

#[test]
fn addresses_of_one_call_are_no_conflict() {
    assert_eq!(
        plan(false, &["10.0.0.1/24"], &["10.0.0.1/24", "10.1.0.1/24"]).unwrap(),
        ["add address 10.1.0.1/24"]
    );
}

#[test]
fn gateways_and_default_routes_are_made_once() {
    let ip = |text: &str, gateway: Option<&str>| Ip {
        address: Cidr::parse(text).unwrap(),
        gateway: gateway.map(|gw| gw.parse().unwrap()),
        interface: None,
    };
    let mut outcome = Outcome {
        ips: vec![
            ip("10.0.0.5/24", None),
            ip("10.1.0.5/24", Some("10.1.0.254")),
            ip("fd00::5/64", None),
        ],
        routes: vec![Route::to(Cidr::parse("::/0").unwrap(), None)],
        ..Outcome::default()
    };
    gateways(&mut outcome, true).unwrap();
    let found: Vec<String> = outcome
        .ips
        .iter()
        .map(|ip| ip.gateway.unwrap().to_string())
        .collect();
    assert_eq!(found, ["10.0.0.1", "10.1.0.254", "fd00::1"]);
    let routes: Vec<String> = outcome
        .routes
        .iter()
        .map(|route| format!("{} {:?}", route.dst, route.gw.map(|gw| gw.to_string())))
        .collect();
    assert_eq!(routes, ["::/0 None", "0.0.0.0/0 Some(\"10.0.0.1\")"]);
    let mut alone = Outcome {
        ips: vec![ip("10.0.0.5/32", None)],
        ..Outcome::default()
    };
    assert!(gateways(&mut alone, false).is_err());
}
