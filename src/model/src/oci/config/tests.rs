use super::*;
use serde_json::{Value, json};

fn base(config: Value) -> Value {
    json!({"architecture": "amd64", "os": "linux", "config": config, "rootfs": {"type": "layers",
        "diff_ids": [format!("sha256:{}", "0".repeat(64))]}})
}

fn parse(value: &Value) -> Result<ImageConfig> {
    ImageConfig::parse(value.to_string().as_bytes())
}

#[test]
fn everything_that_runs_is_read() {
    let mut value = base(json!({
        "User": "1:2", "Env": ["PATH=/bin", "EMPTY=", "NONE"], "Entrypoint": ["/e"], "Cmd": "one",
        "WorkingDir": "srv", "ExposedPorts": {"80/tcp": {}, "53/udp": null}, "Volumes": {"/data": {}},
        "Labels": {"a": "b"}, "StopSignal": "SIGINT", "StopTimeout": 5, "Shell": ["/bin/sh", "-c"],
        "Healthcheck": {"Test": ["CMD", "/check"], "Interval": 30_000_000_000u64, "Retries": 3},
        "OnBuild": ["RUN x"], "Memory": 1, "Tty": true
    }));
    value["variant"] = json!("v2");
    value["history"] = json!([{"created_by": "x", "empty_layer": true}, {"created_by": "y"}]);
    let found = parse(&value).expect("a config");
    assert_eq!(found.platform().to_string(), "linux/amd64/v2");
    assert_eq!(found.diff_ids.len(), 1);
    assert!(found.history[0].empty_layer && !found.history[1].empty_layer);
    let process = found.config;
    assert_eq!(process.cmd, ["one"]);
    assert_eq!(process.exposed_ports, ["80/tcp", "53/udp"]);
    assert_eq!(
        (process.stop_timeout, process.stop_signal.as_deref()),
        (Some(5), Some("SIGINT"))
    );
    assert_eq!(
        process.healthcheck.expect("a check").interval,
        30_000_000_000
    );
    let empty = parse(&base(json!(null))).expect("a config");
    assert_eq!(empty.config, Process::default());
    let nulls = json!({"Env": null, "Cmd": null, "Volumes": null, "Labels": null, "ExposedPorts": null,
        "Healthcheck": null, "StopTimeout": -1, "PortSpecs": ["80"]});
    let nulls = parse(&base(nulls)).expect("a config").config;
    assert_eq!(
        (nulls.exposed_ports, nulls.stop_timeout),
        (vec!["80".to_string()], None)
    );
}

#[test]
fn users_are_numbers_that_fit_or_names() {
    for good in [
        "",
        "0",
        "2147483647",
        "1000:1000",
        "redis",
        "redis:0",
        ":5",
        "a.b-c_d$",
        "0x10",
        "1a",
    ] {
        let found = parse(&base(json!({"User": good}))).expect(good);
        assert_eq!(found.config.user, good);
    }
    for bad in [
        "4294967296",
        "4294967295",
        "2147483648",
        "-1",
        "+1",
        "0:-1",
        "0:4294967296",
        "1:2:3",
        "99999999999999999999999",
        "a/b",
        "a\nb",
        "\u{0}",
    ] {
        let cause = parse(&base(json!({"User": bad}))).expect_err(bad).cause;
        assert!(cause.starts_with("config.User: "), "{cause}");
    }
}

#[test]
fn bad_configs_name_the_place() {
    let rootfs = |rootfs: Value| {
        let mut value = base(json!({}));
        value["rootfs"] = rootfs;
        value
    };
    for (value, want) in [
        (rootfs(json!(null)), "rootfs: is missing"),
        (
            rootfs(json!({"type": "base"})),
            "rootfs.type: expected \"layers\"",
        ),
        (
            rootfs(json!({"type": "layers", "diff_ids": ["sha256:0"]})),
            "rootfs.diff_ids[0]",
        ),
        (
            rootfs(json!({"type": "layers", "diff_ids": [7]})),
            "rootfs.diff_ids[0]",
        ),
        (
            base(json!({"Env": ["A=\u{0}"]})),
            "config.Env[0]: must not contain a NUL",
        ),
        (
            base(json!({"Cmd": ["\u{0}"]})),
            "config.Cmd[0]: must not contain a NUL",
        ),
        (base(json!({"WorkingDir": "/\u{0}"})), "config.WorkingDir"),
        (
            base(json!({"Volumes": {"/\u{0}": {}}})),
            "config.Volumes: a key contains a NUL",
        ),
        (
            base(json!({"Volumes": ["/a"]})),
            "config.Volumes: expected an object",
        ),
        (
            base(json!({"Labels": {"a": 1}})),
            "config.Labels.a: expected a string",
        ),
        (
            base(json!({"Healthcheck": {"Interval": 999_999}})),
            "Interval: must be 0 or at least",
        ),
        (
            base(json!({"Healthcheck": {"Timeout": -5}})),
            "config.Healthcheck.Timeout",
        ),
        (base(json!([])), "config: expected an object"),
        (json!(7), "expected an object"),
    ] {
        let cause = parse(&value).expect_err(want).cause;
        assert!(cause.contains(want), "{cause}");
    }
    let twice = base(json!({}))
        .to_string()
        .replacen('{', "{\"os\":\"x\",", 1);
    assert!(ImageConfig::parse(twice.as_bytes()).is_err());
    // A key of another case is another key.
    let other = base(json!({"user": "5", "CMD": ["x"]}));
    assert_eq!(parse(&other).expect("a config").config, Process::default());
}

#[test]
fn an_image_for_another_platform_is_named() {
    let mut value = base(json!({}));
    value["architecture"] = json!("arm64");
    let fault = parse(&value)
        .expect("a config")
        .check_platform(&Platform::host("x86_64"));
    assert_eq!(
        fault.expect_err("another platform").cause,
        "the image is for \"linux/arm64\", this is linux/amd64"
    );
}
