//! The pod's routes, as data.

#![expect(clippy::unwrap_used, reason = "tests")]
use super::*;

fn ip(text: &str, gateway: Option<&str>) -> Ip {
    Ip {
        address: Cidr::parse(text).unwrap(),
        gateway: gateway.map(|gw| gw.parse().unwrap()),
        interface: None,
    }
}

fn steps(ips: &[Ip]) -> Result<Vec<String>> {
    let mut batch = Batch::new();
    through_gateway(&mut batch, 2, ips)?;
    Ok((0..batch.len())
        .map(|index| batch.what(index).to_string())
        .collect())
}

#[test]
fn a_network_is_reached_through_its_gateway() {
    let ips = [
        ip("10.0.0.5/24", Some("10.0.0.1")),
        ip("fd00::5/64", Some("fd00::1")),
    ];
    assert_eq!(
        steps(&ips).unwrap(),
        [
            "add route 10.0.0.1/32",
            "add route 10.0.0.0/24 via 10.0.0.1",
            "add route fd00::1/128",
            "add route fd00::/64 via fd00::1"
        ]
    );
}

#[test]
fn two_addresses_of_one_network_share_its_routes() {
    let ips = [
        ip("10.0.0.5/24", Some("10.0.0.1")),
        ip("10.0.0.6/24", Some("10.0.0.1")),
        ip("10.9.0.6/32", Some("10.0.0.1")),
    ];
    assert_eq!(steps(&ips).unwrap().len(), 2);
}

#[test]
fn a_gateway_is_needed() {
    let fault = steps(&[ip("10.0.0.5/24", None)]).unwrap_err();
    assert_eq!(fault.cause, "IPAM gave no gateway for 10.0.0.5/24");
}

#[test]
fn a_route_without_a_gateway_uses_the_familys_own() {
    let ips = [ip("10.0.0.5/24", Some("10.0.0.1")), ip("fd00::5/64", None)];
    let via = |dst: &str, gw: Option<&str>| {
        let route = Route::to(Cidr::parse(dst).unwrap(), gw.map(|gw| gw.parse().unwrap()));
        let over = over(2, &route, &ips);
        (over.gw.map(|gw| gw.to_string()), over.scope)
    };
    assert_eq!(via("0.0.0.0/0", None), (Some("10.0.0.1".into()), 0));
    assert_eq!(
        via("10.9.0.0/16", Some("10.0.0.9")),
        (Some("10.0.0.9".into()), 0)
    );
    assert_eq!(via("::/0", None), (None, route::SCOPE_LINK));
}

#[test]
fn a_hardware_address_goes_with_the_ip_address() {
    let mac = |text| link::mac_text(&derived_mac(&[ip(text, None)]).unwrap());
    assert_eq!(mac("10.1.2.3/24"), "0a:58:0a:01:02:03");
    assert_eq!(mac("fd00::1:2/64"), "0a:58:00:01:00:02");
    assert_eq!(derived_mac(&[]), None);
}
