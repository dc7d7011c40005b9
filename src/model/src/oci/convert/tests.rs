use super::*;
use crate::app::Port;
use serde_json::json;

fn config(process: Value) -> ImageConfig {
    let value = json!({"architecture": "arm64", "os": "linux", "created": "2024-05-06T07:08:09.1Z",
        "author": "me", "config": process, "rootfs": {"type": "layers", "diff_ids": []}});
    ImageConfig::parse(value.to_string().as_bytes()).expect("a config")
}

fn origin(reference: &str) -> Provenance {
    let reference = DockerReference::parse(reference).expect("a reference");
    Provenance {
        image_id: format!("sha256:{}", "1".repeat(64)),
        manifest_digest: Digest::parse(&format!("sha256:{}", "2".repeat(64))).ok(),
        ..Provenance::of_reference(&reference, "redis:7")
    }
}

fn manifest(process: Value) -> ImageManifest {
    convert(&config(process), &origin("redis:7")).expect("a manifest")
}

#[test]
fn the_manifest_is_that_of_docker2aci() {
    let process = json!({
        "User": "redis", "Env": ["PATH=/bin", "A=1=2", "NOVALUE", "A=3", "B-1.x="], "Entrypoint": ["/e", "<&>"],
        "Cmd": ["c"], "WorkingDir": "srv/../data", "ExposedPorts": {"6379/tcp": {}, "53/UDP": {}, "80": {}},
        "Volumes": {"/var/lib/x": {}, "/data": {}}, "Labels": {"b": "2", "a": "coreos.com/rkt"},
        "StopSignal": "SIGRTMIN+3",
        "Healthcheck": {"Test": ["CMD-SHELL", "x"], "Interval": 5_000_000, "Retries": 2}
    });
    assert_eq!(
        manifest(process).pretty().replace('\t', " "),
        r#"{
 "acKind": "ImageManifest",
 "acVersion": "VERSION",
 "name": "registry-1.docker.io/library/redis",
 "labels": [
  {
   "name": "version",
   "value": "7"
  },
  {
   "name": "os",
   "value": "linux"
  },
  {
   "name": "arch",
   "value": "aarch64"
  }
 ],
 "app": {
  "exec": [
   "/e",
   "\u003c\u0026\u003e",
   "c"
  ],
  "user": "redis",
  "group": "redis",
  "workingDirectory": "/data",
  "environment": [
   {
    "name": "PATH",
    "value": "/bin"
   },
   {
    "name": "A",
    "value": "3"
   },
   {
    "name": "B-1.x",
    "value": ""
   }
  ],
  "mountPoints": [
   {
    "name": "volume-data",
    "path": "/data"
   },
   {
    "name": "volume-var-lib-x",
    "path": "/var/lib/x"
   }
  ],
  "ports": [
   {
    "name": "53-udp",
    "protocol": "udp",
    "port": 53,
    "count": 1,
    "socketActivated": false
   },
   {
    "name": "6379-tcp",
    "protocol": "tcp",
    "port": 6379,
    "count": 1,
    "socketActivated": false
   },
   {
    "name": "80",
    "protocol": "tcp",
    "port": 80,
    "count": 1,
    "socketActivated": false
   }
  ],
  "userLabels": {
   "a": "coreos.com/rkt",
   "b": "2"
  }
 },
 "annotations": [
  {
   "name": "author",
   "value": "me"
  },
  {
   "name": "created",
   "value": "2024-05-06T07:08:09.1Z"
  },
  {
   "name": "appc.io/docker/originalname",
   "value": "redis:7"
  },
  {
   "name": "appc.io/docker/registryurl",
   "value": "registry-1.docker.io"
  },
  {
   "name": "appc.io/docker/repository",
   "value": "library/redis"
  },
  {
   "name": "appc.io/docker/imageid",
   "value": "sha256:IMAGE"
  },
  {
   "name": "appc.io/docker/entrypoint",
   "value": "[\"/e\",\"\\u003c\\u0026\\u003e\"]"
  },
  {
   "name": "appc.io/docker/cmd",
   "value": "[\"c\"]"
  },
  {
   "name": "appc.io/docker/manifesthash",
   "value": "sha256:MANIFEST"
  },
  {
   "name": "coreos.com/rkt/image/stop-signal",
   "value": "SIGRTMIN+3"
  },
  {
   "name": "coreos.com/rkt/image/healthcheck",
   "value": "{\"Test\":[\"CMD-SHELL\",\"x\"],\"Interval\":5000000,\"Retries\":2}"
  }
 ]
}"#
        .replace("VERSION", crate::version::APPC)
        .replace("IMAGE", &"1".repeat(64))
        .replace("MANIFEST", &"2".repeat(64))
    );
}

#[test]
fn an_empty_config_makes_an_app_of_root() {
    let app = manifest(json!({})).app.expect("an app");
    assert!(app.exec.is_empty() && app.working_directory.is_empty());
    assert_eq!((app.user.as_str(), app.group.as_str()), ("0", "0"));
    for (text, user, group) in [
        ("5:", "5", "0"),
        (":5", "0", "5"),
        ("a:b", "a", "b"),
        ("7", "7", "7"),
    ] {
        assert_eq!(owner(text), (user.to_string(), group.to_string()));
    }
}

#[test]
fn names_are_made_valid() {
    for (reference, name, version) in [
        (
            "busybox",
            "registry-1.docker.io/library/busybox",
            Some("latest"),
        ),
        ("localhost:5000/a__b:V1", "localhost_5000/a__b", Some("V1")),
        ("[::1]:5000/a", "1__5000/a", Some("latest")),
        ("Host.example/x-y", "host.example/x-y", Some("latest")),
    ] {
        let found = convert(&config(json!({})), &origin(reference)).expect(reference);
        assert_eq!(
            (found.name.as_str(), found.labels.get("version")),
            (name, version)
        );
    }
    let pinned = origin(&format!("a/b:t@sha256:{}", "0".repeat(64)));
    let found = convert(&config(json!({})), &pinned).expect("a manifest");
    assert_eq!(found.labels.get("version"), None);
    assert!(convert(&config(json!({})), &Provenance::default()).is_err());
}

#[test]
fn local_images_are_named_by_what_the_archive_says() {
    for (path, name, want) in [
        (
            "/a/redis.tar",
            Some("redis:7"),
            ("registry-1.docker.io", "library/redis", Some("7")),
        ),
        (
            "/a/x.tar",
            Some("quay.io/a/b"),
            ("quay.io", "a/b", Some("latest")),
        ),
        ("/a/redis.tar.gz", Some("v1"), ("", "redis", Some("v1"))),
        ("/a/layout/", None, ("", "layout", None)),
        ("/---.tar", Some("::"), ("", "image", Some("::"))),
        ("/a.tar", Some("v\u{1b}[31m"), ("", "a", None)),
        ("/a.tar", Some(""), ("", "a", None)),
    ] {
        let found = Provenance::of_local(path, name);
        let parts = (
            found.registry.as_str(),
            found.repository.as_str(),
            found.tag.as_deref(),
        );
        assert_eq!(parts, want);
        assert!(convert(&config(json!({})), &found).is_ok(), "{path}");
    }
}

#[test]
fn ports_and_ranges() {
    for (key, want) in [
        ("80/tcp", Some(("80-tcp", "tcp", 80, 1))),
        ("80", Some(("80", "tcp", 80, 1))),
        ("8000-8010/udp", Some(("8000-8010-udp", "udp", 8000, 11))),
        ("7/sctp", Some(("7-sctp", "sctp", 7, 1))),
        ("65535/tcp", Some(("65535-tcp", "tcp", 65535, 1))),
        ("1-65535/tcp", Some(("1-65535-tcp", "tcp", 1, 65535))),
        ("0/tcp", None),
        ("65536/tcp", None),
        ("10-9/tcp", None),
        ("+1/tcp", None),
        ("/tcp", None),
        ("80/icmp", None),
        ("80/", None),
        ("1-2-3/tcp", None),
        ("", None),
    ] {
        let found: Option<Port> = places::port(key);
        let found = found.as_ref().map(|port| {
            (
                port.name.as_str(),
                port.protocol.as_str(),
                port.port,
                port.count,
            )
        });
        assert_eq!(found, want, "{key}");
    }
    let twice = manifest(json!({"ExposedPorts": {"80/tcp": {}, "80/TCP": {}}}))
        .app
        .expect("an app");
    assert_eq!(twice.ports.len(), 1);
}

#[test]
fn volumes_are_absolute_and_named_once() {
    let volumes = json!({"/a/b": {}, "/a-b": {}, "a//b/": {}, "/": {}, "..": {}, "/a.b": {}, "/é": {},
        format!("/{}", "x".repeat(4000)): {}});
    let app = manifest(json!({"Volumes": volumes})).app.expect("an app");
    let found: Vec<(&str, &str)> = app
        .mount_points
        .iter()
        .map(|point| (point.name.as_str(), point.path.as_str()))
        .filter(|(_, path)| path.len() < 100)
        .collect();
    assert_eq!(
        found,
        [
            ("volume", "/é"),
            ("volume-a-b", "/a-b"),
            ("volume-a-b-1", "/a.b"),
            ("volume-a-b-2", "/a/b")
        ]
    );
    assert_eq!(app.mount_points.len(), 5);
}

#[test]
fn what_a_manifest_cannot_say_is_told() {
    let config = config(
        json!({"Env": ["A", "B C=1", "D=1"], "ExposedPorts": {"x": {}, "1": {}},
        "Volumes": {"/": {}, "/a": {}}}),
    );
    assert_eq!(
        losses(&config),
        [
            "the environment variable \"A\" is left out",
            "the environment variable \"B C\" is left out",
            "the port \"x\" is left out",
            "the volume \"/\" is left out",
        ]
    );
    let many = vec!["A"; 1000];
    assert_eq!(
        losses(&super::tests::config(json!({"Env": many}))).len(),
        20
    );
}

#[test]
fn labels_of_an_image_configure_nothing() {
    let labels = json!({"appc.io/executor/supports-systemd-notify": "true", "os/linux/seccomp": "x",
        "coreos.com/rkt/stage2/stdin": "tty", "coreos.com/rkt/image/stop-signal": "SIGKILL"});
    let found = manifest(json!({"Labels": labels}));
    assert_eq!(found.annotation(STOP_SIGNAL), None);
    assert!(
        found
            .annotations
            .iter()
            .all(|one| !one.name.as_str().contains("systemd"))
    );
    let app = found.app.expect("an app");
    assert!(app.isolators.is_empty() && app.user_annotations.is_empty());
    assert_eq!(app.user_labels.len(), 4);
}

#[test]
fn platforms_and_times_of_strangers() {
    let mut config = config(json!({}));
    config.created = Some("yesterday".into());
    config.os.clear();
    let found = convert(&config, &origin("a")).expect("a manifest");
    assert_eq!(
        (found.annotation("created"), found.labels.get("arch")),
        (None, None)
    );
    config.os = "windows".into();
    let fault = convert(&config, &origin("a")).expect_err("another system");
    assert_eq!(fault.cause, "the image is for \"windows/arm64\"");
    config.os = "linux".into();
    config.created = Some("1970-01-01T00:00:00Z".into());
    for (schema1, want) in [(true, None), (false, Some("1970-01-01T00:00:00Z"))] {
        let origin = Provenance {
            schema1,
            ..origin("a")
        };
        let found = convert(&config, &origin).expect("a manifest");
        assert_eq!(found.annotation("created"), want);
        assert_eq!(found.annotation("authors").is_some(), schema1);
    }
}

#[test]
fn a_manifest_that_nobody_could_read_again_is_refused() {
    // Each of these is six bytes long once written.
    let huge = "<".repeat(3 << 20);
    let config = config(json!({"Cmd": [huge]}));
    let fault = convert(&config, &origin("a")).expect_err("too large");
    assert_eq!(
        fault.message.as_deref(),
        Some("the image config makes no valid manifest")
    );
}
