#![expect(clippy::unwrap_used, reason = "tests")]

use super::*;

const TRUE: &str = r#"{"acVersion":"1.30.0+git","acKind":"PodManifest","apps":[{"name":"true","image":{"name":"example.com/true","id":"sha512-e8bb113a4b4aabe199549c1bf1e8de00051cec41c629c8359d6d6ba3791f63c3","labels":[{"name":"version","value":"1.0.0"},{"name":"os","value":"linux"},{"name":"arch","value":"amd64"}]},"app":{"exec":["/bin/true"],"user":"0","group":"0","environment":[{"name":"PATH","value":"/bin"}]}}],"volumes":null,"isolators":null,"annotations":[{"name":"coreos.com/rkt/stage1/mutable","value":"false"}],"ports":[]}"#;

fn parse(value: &Value) -> Result<PodManifest> {
    PodManifest::parse(value.to_string().as_bytes())
}

fn base() -> Value {
    serde_json::from_str(TRUE).unwrap()
}

#[test]
fn what_rkt_wrote_is_written_back_byte_for_byte() {
    let pod = PodManifest::parse(TRUE.as_bytes()).unwrap();
    assert_eq!(pod.compact(), TRUE);
    assert!(!pod.is_mutable());
    assert_eq!(pod.app("true").unwrap().image.id.len(), 71);
    assert!(pod.app("false").is_none());
    assert!(pod.pretty().ends_with("\n\t],\n\t\"ports\": []\n}"));
    assert_eq!(PodManifest::parse(pod.pretty().as_bytes()).unwrap(), pod);
}

#[test]
fn an_empty_sandbox() {
    let text = r#"{"acVersion":"1.30.0","acKind":"PodManifest","apps":[],"volumes":null,"isolators":null,"annotations":[{"name":"coreos.com/rkt/stage1/mutable","value":"true"}],"ports":[]}"#;
    let pod = PodManifest::parse(text.as_bytes()).unwrap();
    assert!(pod.is_mutable());
    assert_eq!(pod.compact(), text);
}

#[test]
fn every_field_survives() {
    let mut value = base();
    value["apps"][0]["readOnlyRootFS"] = json!(true);
    value["apps"][0]["mounts"] = json!([
        {"volume": "data", "path": "/data"},
        {"volume": "own", "path": "/own", "appVolume": {"name": "own", "kind": "host", "source": "/srv"}},
    ]);
    value["apps"][0]["annotations"] = json!([{"name": "a/b", "value": "c"}]);
    value["apps"][0]["x-new"] = json!(1);
    value["volumes"] = json!([
        {"name": "data", "kind": "host", "source": "/d", "readOnly": false, "recursive": true},
        {"name": "tmp", "kind": "empty", "mode": "0700", "uid": 5, "gid": 6},
    ]);
    value["isolators"] =
        json!([{"name": "os/unix/sysctl", "value": {"net.core.somaxconn": "256"}}]);
    value["ports"] = json!([
        {"name": "web", "hostPort": 80},
        {"name": "dns", "hostPort": 53, "hostIP": "127.0.0.1", "podPort":
            {"name": "dns", "protocol": "udp", "port": 53, "count": 1, "socketActivated": false}},
    ]);
    value["userAnnotations"] = json!({"k": "v"});
    value["userLabels"] = json!({"l": "w"});
    value["x-more"] = json!([]);
    let pod = parse(&value).unwrap();
    assert_eq!(pod.compact(), json::to_compact(&value));
    assert_eq!(pod.volume("tmp").unwrap().name, "tmp");
}

#[test]
fn an_empty_volume_is_written_with_its_defaults() {
    let mut value = base();
    value["volumes"] = json!([{"name": "tmp", "kind": "empty"}]);
    let written = parse(&value).unwrap().compact();
    assert!(written.contains(r#"{"name":"tmp","kind":"empty","mode":"0755","uid":0,"gid":0}"#));
}

#[test]
fn bad_pods_name_the_place() {
    for (pointer, new, want) in [
        ("/acVersion", json!(null), "acVersion: is missing"),
        (
            "/apps/0/name",
            json!("A"),
            "apps[0].name: ACName must contain only lower case alphanumeric characters plus \"-\"",
        ),
        ("/apps/0/image", json!(null), "apps[0].image: is missing"),
        (
            "/apps/0/image/id",
            json!("sha512-AB"),
            "apps[0].image.id: invalid image ID \"sha512-AB\": expected \"sha512-\" and 64 or 128 lower-case hex digits",
        ),
        (
            "/apps/0/app/user",
            json!(""),
            "apps[0].app.user: must not be empty",
        ),
        (
            "/apps/0/app",
            json!({"user": "0", "group": "0", "mountPoints": [{"name": "m", "path": 3}]}),
            "apps[0].app.mountPoints[0].path: expected a string, found a number",
        ),
        (
            "/volumes",
            json!([{"name": "v", "kind": "host"}]),
            "volumes[0]: source for host volume cannot be empty",
        ),
        (
            "/volumes",
            json!([{"name": "v", "kind": "host", "source": "/a", "uid": 0}]),
            "volumes[0]: uid for host volume cannot be set",
        ),
        (
            "/volumes",
            json!([{"name": "v", "kind": "zfs"}]),
            "volumes[0]: unrecognized volume kind: should be one of \"empty\", \"host\"",
        ),
        (
            "/volumes",
            json!([{"name": "v", "kind": "empty"}, {"name": "v", "kind": "empty"}]),
            "duplicate volume name \"v\"",
        ),
        (
            "/ports",
            json!([{"name": "p", "hostPort": 65536}]),
            "ports[0].hostPort: 65536 is out of range (at most 65535)",
        ),
        (
            "/ports",
            json!([{"name": "p", "hostPort": 1, "hostIP": "::g"}]),
            "ports[0].hostIP: expected an IP address",
        ),
        (
            "/annotations",
            json!([{"name": "created", "value": "x"}]),
            "annotations[0]: created: \"x\" is not an RFC 3339 time",
        ),
        (
            "/isolators",
            json!([{"name": "resource/cpu"}]),
            "isolators[0].value: is missing",
        ),
    ] {
        let mut value = base();
        *value.pointer_mut(pointer).unwrap() = new;
        assert_eq!(parse(&value).unwrap_err().cause, want);
    }
    let mut value = base();
    let app = value["apps"][0].clone();
    value["apps"] = json!([app, app]);
    assert_eq!(
        parse(&value).unwrap_err().cause,
        "duplicate apps name \"true\""
    );
}

#[test]
fn a_missing_image_id_is_left_to_the_check_that_knows_the_app() {
    let mut value = base();
    value["apps"][0]["image"] = json!({});
    assert_eq!(parse(&value).unwrap().apps[0].image.id, "");
}

#[test]
fn a_pod_with_a_byte_changed_never_panics() {
    for at in 0..TRUE.len() {
        for byte in [b'"', b'}', b']', b':', 0, 0xc3, b'1'] {
            let mut bytes = TRUE.as_bytes().to_vec();
            bytes[at] = byte;
            if let Ok(pod) = PodManifest::parse(&bytes) {
                assert_eq!(PodManifest::parse(pod.compact().as_bytes()).unwrap(), pod);
            }
        }
    }
}
