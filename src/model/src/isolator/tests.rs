#![expect(clippy::unwrap_used, reason = "tests")]

use super::*;
use serde_json::json;

fn list(value: Value) -> Result<Vec<Isolator>> {
    let list = Cursor::named(&value, "isolators").list_of(Isolator::read)?;
    check_app_list(&list)?;
    Ok(list)
}

fn one(name: &str, value: Value) -> Result<Known> {
    list(json!([{"name": name, "value": value}])).map(|list| list[0].known.clone())
}

fn names(list: &[&str]) -> Vec<String> {
    list.iter().map(|name| name.to_string()).collect()
}

#[test]
fn every_isolator_is_understood() {
    for (name, value, want) in [
        (
            CPU,
            json!({"request": "500m", "limit": "2"}),
            Known::Cpu {
                request: Some(500),
                limit: Some(2000),
            },
        ),
        (
            CPU,
            json!({"default": false, "limit": 1.5}),
            Known::Cpu {
                request: None,
                limit: Some(1500),
            },
        ),
        (
            MEMORY,
            json!({"LIMIT": "64Mi"}),
            Known::Memory {
                request: None,
                limit: Some(64 << 20),
            },
        ),
        (
            MEMORY,
            json!({}),
            Known::Memory {
                request: None,
                limit: None,
            },
        ),
        (
            BLOCK_BANDWIDTH,
            json!({"default": true, "limit": "2M"}),
            Known::Throttle { limit: 2_000_000 },
        ),
        (
            BLOCK_IOPS,
            json!({"default": true, "limit": "100"}),
            Known::Throttle { limit: 100 },
        ),
        (
            NETWORK_BANDWIDTH,
            json!({"default": true, "limit": "1Gi"}),
            Known::Throttle { limit: 1 << 30 },
        ),
        (
            CAPS_RETAIN,
            json!({"set": ["CAP_KILL"]}),
            Known::CapabilitiesRetain(names(&["CAP_KILL"])),
        ),
        (
            CAPS_REMOVE,
            json!({"set": ["CAP_X", "CAP_Y"]}),
            Known::CapabilitiesRemove(names(&["CAP_X", "CAP_Y"])),
        ),
        (
            SECCOMP_RETAIN,
            json!({"set": ["@appc.io/all"], "errno": ""}),
            Known::SeccompRetain {
                set: names(&["@appc.io/all"]),
                errno: None,
            },
        ),
        (
            SECCOMP_REMOVE,
            json!({"set": ["reboot"], "errno": "EACCESS"}),
            Known::SeccompRemove {
                set: names(&["reboot"]),
                errno: Some("EACCESS".into()),
            },
        ),
        (NO_NEW_PRIVILEGES, json!(true), Known::NoNewPrivileges(true)),
        (OOM_SCORE_ADJ, json!(-1000), Known::OomScoreAdj(-1000)),
        (CPU_SHARES, json!(262_144), Known::CpuShares(262_144)),
        (
            SELINUX,
            json!({"user": "u", "role": "r", "type": "t", "level": "s0:c1,c2"}),
            Known::SelinuxContext {
                user: "u".into(),
                role: "r".into(),
                kind: "t".into(),
                level: "s0:c1,c2".into(),
            },
        ),
        (
            APPARMOR,
            json!({"profile": "p"}),
            Known::AppArmorProfile("p".into()),
        ),
        (
            SYSCTL,
            json!({"net.ipv4.ip_forward": "1"}),
            Known::Sysctl(vec![("net.ipv4.ip_forward".into(), "1".into())]),
        ),
        ("example.com/new", json!([1, {"a": null}]), Known::Unknown),
    ] {
        assert_eq!(one(name, value).unwrap(), want, "{name}");
    }
}

#[test]
fn bad_values_are_refused_with_their_place() {
    for (name, value, want) in [
        (
            CPU,
            json!({"default": true, "limit": "1"}),
            "isolators[0].value: default must be false",
        ),
        (
            CPU,
            json!({"limit": "lots"}),
            "isolators[0].value.limit: \"lots\" is not a quantity",
        ),
        (
            CPU,
            json!({"limit": "-1"}),
            "isolators[0].value.limit: must not be negative",
        ),
        (
            MEMORY,
            json!({"limit": true}),
            "isolators[0].value.limit: expected a string, found a boolean",
        ),
        (
            MEMORY,
            json!("64Mi"),
            "isolators[0].value: expected an object, found a string",
        ),
        (
            MEMORY,
            json!(null),
            "isolators[0].value: expected an object, found null",
        ),
        (
            BLOCK_IOPS,
            json!({"limit": "1"}),
            "isolators[0].value: default must be true",
        ),
        (
            BLOCK_IOPS,
            json!({"default": true}),
            "isolators[0].value: limit is missing",
        ),
        (
            BLOCK_IOPS,
            json!({"default": true, "request": "1", "limit": "1"}),
            "isolators[0].value: a request cannot be given here",
        ),
        (
            CAPS_RETAIN,
            json!({"set": []}),
            "isolators[0].value.set: must not be empty",
        ),
        (CAPS_RETAIN, json!({}), "isolators[0].value.set: is missing"),
        (
            CAPS_RETAIN,
            json!({"set": ["CAP A"]}),
            "isolators[0].value.set[0]: \"CAP A\" is not a name",
        ),
        (
            SECCOMP_REMOVE,
            json!({"set": [""]}),
            "isolators[0].value.set[0]: \"\" is not a name",
        ),
        (
            SECCOMP_REMOVE,
            json!({"set": ["x"], "errno": "eperm"}),
            "isolators[0].value.errno: \"eperm\" is not the name of an error",
        ),
        (
            NO_NEW_PRIVILEGES,
            json!("true"),
            "isolators[0].value: expected true or false, found a string",
        ),
        (
            OOM_SCORE_ADJ,
            json!(1001),
            "isolators[0].value: must be from -1000 to 1000",
        ),
        (
            OOM_SCORE_ADJ,
            json!(i64::MAX),
            "isolators[0].value: must be from -1000 to 1000",
        ),
        (
            CPU_SHARES,
            json!(1),
            "isolators[0].value: must be from 2 to 262144",
        ),
        (
            SELINUX,
            json!({"user": "u:", "role": "r", "type": "t", "level": "l"}),
            "isolators[0].value.user: must not contain \":\"",
        ),
        (
            SELINUX,
            json!({"user": "u"}),
            "isolators[0].value.role: is missing",
        ),
        (
            APPARMOR,
            json!({"profile": ""}),
            "isolators[0].value.profile: must not be empty",
        ),
        (
            SYSCTL,
            json!({"a": 1}),
            "isolators[0].value.a: expected a string, found a number",
        ),
        (
            SYSCTL,
            json!({"net/../kernel": "1"}),
            "isolators[0].value: \"net/../kernel\" is not the name of a sysctl",
        ),
    ] {
        assert_eq!(one(name, value).unwrap_err().cause, want, "{name}");
    }
    let missing = list(json!([{"name": CPU}])).unwrap_err();
    assert_eq!(missing.cause, "isolators[0].value: is missing");
    assert!(list(json!([{"name": "x"}])).is_ok());
    let huge = vec!["read"; MAX_SET + 1];
    assert!(
        one(SECCOMP_RETAIN, json!({"set": huge}))
            .unwrap_err()
            .cause
            .contains("more than 4096")
    );
}

#[test]
fn lists_follow_their_rules() {
    let twice = |name: &str, value: Value| {
        list(json!([{"name": name, "value": value}, {"name": name, "value": value}]))
    };
    assert!(twice(MEMORY, json!({"limit": "1"})).is_ok());
    assert!(twice(CAPS_RETAIN, json!({"set": ["CAP_KILL"]})).is_ok());
    assert_eq!(
        twice(CPU_SHARES, json!(5)).unwrap_err().cause,
        "isolator \"os/linux/cpu-shares\" is given more than once"
    );
    let both = list(json!([
        {"name": CAPS_RETAIN, "value": {"set": ["CAP_KILL"]}},
        {"name": CAPS_REMOVE, "value": {"set": ["CAP_KILL"]}},
    ]));
    assert!(both.unwrap_err().cause.contains("exclude each other"));
}

#[test]
fn values_survive_a_round_trip() {
    let value = json!([
        {"name": "example.com/new", "value": {"x": [1, "2", null]}},
        {"name": MEMORY, "value": {"limit": "1.5Gi", "note": "kept"}},
    ]);
    let isolators = list(value.clone()).unwrap();
    let written: Value = isolators.iter().map(Isolator::to_json).collect();
    assert_eq!(written, value);
    let unknown: Vec<_> = Isolator::unknown(&isolators)
        .map(|name| name.as_str())
        .collect();
    assert_eq!(unknown, ["example.com/new"]);
}

#[test]
fn isolators_can_be_made() {
    let made = Isolator::new(CPU_SHARES, json!(1024)).unwrap();
    assert_eq!(made.known, Known::CpuShares(1024));
    assert!(Isolator::new(CPU_SHARES, json!(1)).is_err());
    assert!(Isolator::new("Bad Name", json!(1)).is_err());
}
