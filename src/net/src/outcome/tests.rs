//! Results of every version, read, written, and between versions.
#![expect(clippy::unwrap_used, reason = "tests")]

use super::*;
use model::json;

fn read(text: &str) -> Result<Outcome, model::Fault> {
    Outcome::from_json(&json::parse(text.as_bytes()).unwrap())
}

fn written(outcome: &Outcome, version: &str) -> String {
    json::to_compact(&outcome.to_json(version))
}

const FULL: &str = concat!(
    r#"{"cniVersion":"1.1.0","interfaces":[{"name":"cni0","mac":"22:93:a0:74:f0:34","mtu":1400},"#,
    r#"{"name":"eth0","mac":"22:93:a0:74:f0:35","sandbox":"/run/netns/x"}],"#,
    r#""ips":[{"interface":1,"address":"10.1.0.5/16","gateway":"10.1.0.1"},{"interface":1,"address":"10.2.0.5/16"},"#,
    r#"{"interface":1,"address":"fd00::5/64","gateway":"fd00::1"}],"#,
    r#""routes":[{"dst":"0.0.0.0/0"},{"dst":"10.9.0.0/16","gw":"10.1.0.9","mtu":1300,"advmss":1200,"priority":7,"table":0,"scope":253},"#,
    r#"{"dst":"::/0"}],"#,
    r#""dns":{"nameservers":["10.1.0.1"],"search":["a.example","b"],"options":["ndots:1"],"domain":"x"}}"#,
);

#[test]
fn the_newest_version_comes_back_as_it_was() {
    let outcome = read(FULL).unwrap();
    assert_eq!(written(&outcome, "1.1.0"), FULL);
    assert_eq!(outcome.routes[1].table, Some(0));
    assert_eq!(outcome.interfaces[0].mtu, Some(1400));
    assert_eq!(
        outcome.first_v6().unwrap().address.to_string(),
        "fd00::5/64"
    );
}

#[test]
fn older_versions_lose_what_they_have_no_place_for() {
    let outcome = read(FULL).unwrap();
    let mut plain = outcome.clone();
    plain.interfaces[0].mtu = None;
    plain.routes[1] = Route::to(plain.routes[1].dst, plain.routes[1].gw);
    for version in ["1.0.0", "0.4.0", "0.3.1", "0.3.0"] {
        let text = written(&outcome, version);
        assert_eq!(text.contains(r#""version":"4""#), version < "1", "{text}");
        assert_eq!(read(&text).unwrap(), plain, "{version}");
    }
    for version in ["0.1.0", "0.2.0"] {
        let want = concat!(
            r#""ip4":{"ip":"10.1.0.5/16","gateway":"10.1.0.1","routes":[{"dst":"0.0.0.0/0","gw":"10.1.0.1"},"#,
            r#"{"dst":"10.9.0.0/16","gw":"10.1.0.9"}]},"#,
            r#""ip6":{"ip":"fd00::5/64","gateway":"fd00::1","routes":[{"dst":"::/0","gw":"fd00::1"}]},"#,
            r#""dns":{"nameservers":["10.1.0.1"],"search":["a.example","b"],"options":["ndots:1"],"domain":"x"}}"#,
        );
        let text = written(&outcome, version);
        assert_eq!(text, format!(r#"{{"cniVersion":"{version}",{want}"#));
        let old = read(&text).unwrap();
        assert_eq!(written(&old, version), text);
        assert_eq!(
            (old.interfaces.len(), old.ips.len(), old.routes.len()),
            (0, 2, 3)
        );
    }
}

#[test]
fn a_result_may_say_little() {
    for text in [
        "{}",
        r#"{"cniVersion":""}"#,
        r#"{"cniVersion":"0.2.0","dns":{}}"#,
        r#"{"cniVersion":"1.0.0"}"#,
        r#"{"cniVersion":"0.4.0","interfaces":null,"ips":null,"routes":[],"dns":null}"#,
    ] {
        assert_eq!(read(text).unwrap(), Outcome::default(), "{text}");
    }
    assert_eq!(
        written(&Outcome::default(), "0.1.0"),
        r#"{"cniVersion":"0.1.0","dns":{}}"#
    );
    assert_eq!(
        written(&Outcome::default(), "1.0.0"),
        r#"{"cniVersion":"1.0.0","dns":{}}"#
    );
    // Without a version: told by its fields.
    let new = read(r#"{"ips":[{"address":"10.1.0.5/16","gateway":""}]}"#).unwrap();
    assert_eq!((new.ips.len(), new.ips[0].gateway), (1, None));
    let old = read(
        r#"{"ip4":{"ip":"10.1.0.5/16","gateway":"10.1.0.1","routes":[{"dst":"10.7.7.7/8"}]}}"#,
    );
    let old = old.unwrap();
    assert_eq!(old.routes[0].dst.to_string(), "10.0.0.0/8");
    assert_eq!(old.routes[0].gw, old.ips[0].gateway);
}

#[test]
fn what_is_wrong_is_named_by_its_field() {
    let cases = [
        (r#"[]"#, "expected an object, found a list"),
        (
            r#"{"cniVersion":"2.0.0"}"#,
            r#"cniVersion: results of version "2.0.0" are not understood"#,
        ),
        (
            r#"{"cniVersion":"1.0"}"#,
            r#"cniVersion: results of version "1.0" are not understood"#,
        ),
        (
            r#"{"ip4":{"ip":"10.1.0.5"}}"#,
            r#"ip4.ip: invalid CIDR address: "10.1.0.5""#,
        ),
        (
            r#"{"ip4":{"ip":"fd00::1/64"}}"#,
            "ip4.ip: fd00::1/64 is of the other family",
        ),
        (r#"{"ip4":{}}"#, "ip4.ip: is missing"),
        (
            r#"{"ip4":{"ip":"10.1.0.5/8","routes":[{"dst":""}]}}"#,
            r#"ip4.routes[0].dst: invalid CIDR address: """#,
        ),
        (
            r#"{"cniVersion":"1.0.0","interfaces":[{"name":"a"}],"ips":[{"address":"10.1.0.5/8","interface":1}]}"#,
            "ips[0].interface: there is no interface 1",
        ),
        (
            r#"{"cniVersion":"1.0.0","ips":[{"address":"10.1.0.5/8","interface":-1}]}"#,
            "ips[0].interface: expected a non-negative integer, found -1",
        ),
        (
            r#"{"cniVersion":"1.0.0","ips":[{"address":"10.1.0.5/8","gateway":"x"}]}"#,
            r#"ips[0].gateway: invalid IP address: "x""#,
        ),
        (
            r#"{"cniVersion":"1.0.0","ips":[{}]}"#,
            "ips[0].address: is missing",
        ),
        (
            r#"{"cniVersion":"1.1.0","routes":[{"dst":"::/0","scope":256}]}"#,
            "routes[0].scope: 256 is no scope",
        ),
        (
            r#"{"dns":{"nameservers":["1.1.1.1\nnameserver 6.6.6.6"]}}"#,
            r#"dns.nameservers[0]: control character in "1.1.1.1\nnameserver 6.6.6.6""#,
        ),
        (
            r#"{"dns":{"domain":"a\u0000"}}"#,
            r#"dns.domain: control character in "a\x00""#,
        ),
        (
            r#"{"dns":{"search":["a\rb"]}}"#,
            r#"dns.search[0]: control character in "a\rb""#,
        ),
        (
            r#"{"dns":{"options":["a\u0085b"]}}"#,
            r#"dns.options[0]: control character in "a\u0085b""#,
        ),
        (
            r#"{"dns":{"options":[1]}}"#,
            "dns.options[0]: expected a string, found a number",
        ),
    ];
    for (text, want) in cases {
        assert_eq!(read(text).unwrap_err().cause, want, "{text}");
    }
}

#[test]
fn lists_and_texts_are_bounded() {
    let many = vec![r#"{"address":"10.1.0.5/8"}"#; 257].join(",");
    let text = format!(r#"{{"cniVersion":"1.0.0","ips":[{many}]}}"#);
    assert_eq!(
        read(&text).unwrap_err().cause,
        "ips: 257 entries are too many (at most 256)"
    );
    let many = vec![r#"{"dst":"10.1.0.0/16"}"#; 257].join(",");
    let text = format!(r#"{{"ip4":{{"ip":"10.1.0.5/16","routes":[{many}]}}}}"#);
    assert!(
        read(&text)
            .unwrap_err()
            .cause
            .starts_with("ip4.routes: 257")
    );
    let text = format!(r#"{{"dns":{{"domain":"{}"}}}}"#, "a".repeat(4097));
    assert!(read(&text).unwrap_err().cause.contains("too long"));
}

#[test]
fn versions_are_compared_as_numbers() {
    assert!(Spec::parse("0.10.0").unwrap() > Spec::V0_4);
    assert!(Spec::parse("1.2.0").unwrap() > Spec::V1_1);
    for bad in [
        "",
        "1",
        "1.0",
        "1.0.0.0",
        "1.0.0-rc1",
        "+1.0.0",
        "1..0",
        "2.0.0",
        "9999999999.0.0",
    ] {
        assert_eq!(Spec::parse(bad), None, "{bad}");
    }
}

#[test]
fn routes_of_both_families_together_are_bounded() {
    let routes = |dst: &str, count| vec![format!(r#"{{"dst":"{dst}"}}"#); count].join(",");
    let text = |count| {
        format!(
            r#"{{"ip4":{{"ip":"10.1.0.5/16","routes":[{}]}},"ip6":{{"ip":"fd00::5/64","routes":[{}]}}}}"#,
            routes("10.0.0.0/8", 200),
            routes("fd00::/8", count),
        )
    };
    let most = read(&text(56)).unwrap();
    assert_eq!(read(&written(&most, "1.1.0")).unwrap(), most);
    assert_eq!(
        read(&text(57)).unwrap_err().cause,
        "ip6.routes: 257 entries are too many (at most 256)"
    );
}
