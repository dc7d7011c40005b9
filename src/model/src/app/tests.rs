#![expect(clippy::unwrap_used, reason = "tests")]

use super::*;
use serde_json::json;

fn read(value: Value) -> Result<App> {
    App::read(Cursor::named(&value, "app"))
}

/// A valid app with one field replaced or added.
fn with(key: &str, value: Value) -> Value {
    let mut app = json!({"exec": ["/bin/sh"], "user": "0", "group": "0"});
    app[key] = value;
    app
}

#[test]
fn a_full_app_survives_a_round_trip() {
    let app = json!({
        "exec": ["/bin/echo", "<&>"],
        "eventHandlers": [{"name": "pre-start", "exec": ["/a"]}, {"name": "post-stop", "exec": ["/b"]}],
        "user": "root", "group": "/etc/group",
        "supplementaryGIDs": [1, 4294967295u32],
        "workingDirectory": "/srv",
        "environment": [{"name": "PATH", "value": "/bin"}, {"name": "A.b-c_1", "value": ""}],
        "mountPoints": [{"name": "data", "path": "/data", "readOnly": true, "new": 1}, {"name": "x", "path": "/x"}],
        "ports": [{"name": "web", "protocol": "tcp", "port": 80, "count": 2, "socketActivated": false, "new": [1]}],
        "isolators": [{"name": "example.com/x", "value": null}],
        "userAnnotations": {"a": "1", "b": "2"},
        "userLabels": {"l": ""},
        "future": {"deep": [1, 2]},
    });
    assert_eq!(
        crate::json::to_compact(&read(app.clone()).unwrap().to_json()),
        crate::json::to_compact(&app)
    );
}

#[test]
fn go_reads_keys_in_any_case_and_null_as_absent() {
    let app = read(json!({
        "Exec": null, "USER": "u", "group": "g", "supplementaryGids": [7], "ports": null, "environment": null
    }))
    .unwrap();
    assert_eq!(
        (app.user.as_str(), app.supplementary_gids.as_slice()),
        ("u", &[7][..])
    );
    assert_eq!(
        crate::json::to_compact(&app.to_json()),
        r#"{"exec":null,"user":"u","group":"g","supplementaryGIDs":[7]}"#
    );
}

#[test]
fn defaults_and_cleaning() {
    let port = json!([{"name": "p", "port": 65535}]);
    let app = read(with("ports", port)).unwrap();
    assert_eq!(
        (app.ports[0].count, app.ports[0].protocol.as_str()),
        (1, "")
    );
    let app = read(with(
        "mountPoints",
        json!([{"name": "m", "path": "//a/../../b/"}]),
    ))
    .unwrap();
    assert_eq!(app.mount_points[0].path, "/b");
}

#[test]
fn bad_apps_name_the_place() {
    for (key, value, want) in [
        (
            "exec",
            json!("sh"),
            "app.exec: expected a list, found a string",
        ),
        (
            "exec",
            json!(["a", 1]),
            "app.exec[1]: expected a string, found a number",
        ),
        (
            "exec",
            json!(["a\u{0}"]),
            "app.exec[0]: must not contain a NUL character",
        ),
        ("user", json!(""), "app.user: must not be empty"),
        ("group", json!(null), "app.group: is missing"),
        (
            "user",
            json!(0),
            "app.user: expected a string, found a number",
        ),
        (
            "supplementaryGIDs",
            json!([-1]),
            "app.supplementaryGIDs[0]: expected a non-negative integer, found -1",
        ),
        (
            "workingDirectory",
            json!("srv"),
            "app.workingDirectory: must be an absolute path, not \"srv\"",
        ),
        (
            "environment",
            json!([{"name": "1A", "value": ""}]),
            "app.environment[0]: \"1A\" is not the name of an environment variable",
        ),
        (
            "environment",
            json!([{"name": "A=B", "value": ""}]),
            "app.environment[0]: \"A=B\" is not the name of an environment variable",
        ),
        (
            "environment",
            json!([{"name": "A", "value": "\u{0}"}]),
            "app.environment[0]: variable A contains a NUL character",
        ),
        (
            "environment",
            json!([{"name": "A"}, {"name": "A"}]),
            "app: environment: variable \"A\" is given more than once",
        ),
        (
            "eventHandlers",
            json!([{"name": "on-fire", "exec": ["/a"]}]),
            "app.eventHandlers[0].name: must be \"pre-start\" or \"post-stop\"",
        ),
        (
            "eventHandlers",
            json!([{"name": "pre-start"}]),
            "app.eventHandlers[0]: exec must not be empty",
        ),
        (
            "eventHandlers",
            json!([{"name": "pre-start", "exec": ["/a"]}, {"name": "pre-start", "exec": ["/a"]}]),
            "app: eventHandlers: only one \"pre-start\" handler is allowed",
        ),
        (
            "mountPoints",
            json!([{"name": "m", "path": "data"}]),
            "app.mountPoints[0].path: must be an absolute path, not \"data\"",
        ),
        (
            "mountPoints",
            json!([{"name": "M", "path": "/"}]),
            "app.mountPoints[0].name: ACName must contain only lower case alphanumeric characters plus \"-\"",
        ),
        (
            "ports",
            json!([{"name": "p", "port": 0}]),
            "app.ports[0]: port must be from 1 to 65535",
        ),
        (
            "ports",
            json!([{"name": "p", "port": "80"}]),
            "app.ports[0].port: expected a non-negative integer, found a string",
        ),
        (
            "ports",
            json!([{"name": "p", "port": 65535, "count": 2}]),
            "app.ports[0]: the port range ends above 65535",
        ),
        (
            "ports",
            json!([{"name": "p", "port": 65536}]),
            "app.ports[0].port: 65536 is out of range (at most 65535)",
        ),
        (
            "userLabels",
            json!({"a": 1}),
            "app.userLabels.a: expected a string, found a number",
        ),
        (
            "isolators",
            json!([{"name": "resource/cpu", "value": 1}]),
            "app.isolators[0].value: expected an object, found a number",
        ),
        (
            "isolators",
            json!([{"name": "os/linux/cpu-shares", "value": 5}, {"name": "os/linux/cpu-shares", "value": 5}]),
            "app: isolators: isolator \"os/linux/cpu-shares\" is given more than once",
        ),
    ] {
        assert_eq!(read(with(key, value)).unwrap_err().cause, want);
    }
}

#[test]
fn variables_are_set_in_place() {
    let mut app = App::default();
    for (name, value) in [("A", "1"), ("B", "2"), ("A", "3")] {
        app.set_env(Env::new(name, value).unwrap());
    }
    assert_eq!(app.env("A"), Some("3"));
    assert_eq!(app.environment[0].name, "A");
    assert_eq!(app.environment.len(), 2);
}
