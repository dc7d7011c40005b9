#![expect(clippy::unwrap_used, reason = "tests")]

use super::*;
use crate::fault::Result;
use crate::json;

fn parse(dir: ConfigDir, text: &str) -> Result<Document> {
    parse_file(
        dir,
        &format!("/etc/rkt/{}/x.json", dir.name()),
        text.as_bytes(),
    )
}

/// A document of this kind with these further fields.
fn file(kind: &str, rest: &str) -> String {
    format!(r#"{{"rktKind":"{kind}","rktVersion":"v1"{rest}}}"#)
}

fn auth(rest: &str) -> Result<Document> {
    parse(ConfigDir::Auth, &file("auth", rest))
}

#[test]
fn every_kind_is_read() {
    let basic = || BasicCredentials {
        user: "u".into(),
        password: Secret::new("p"),
    };
    assert_eq!(
        auth(r#","domains":["a","b:1"],"type":"basic","credentials":{"user":"u","password":"p"}"#)
            .unwrap(),
        Document::Auth {
            domains: vec!["a".into(), "b:1".into()],
            credentials: Credentials::Basic(basic())
        }
    );
    assert_eq!(
        auth(r#","domains":["a"],"type":"oauth","credentials":{"token":"t"}"#).unwrap(),
        Document::Auth {
            domains: vec!["a".into()],
            credentials: Credentials::OAuth {
                token: Secret::new("t")
            }
        }
    );
    let aws = auth(
        r#","domains":["a"],"type":"aws","credentials":{"accessKeyID":"k","secretAccessKey":"s"}"#,
    );
    assert!(matches!(
        aws.unwrap(),
        Document::Auth {
            credentials: Credentials::Aws { .. },
            ..
        }
    ));
    let docker = file(
        "dockerAuth",
        r#","registries":["quay.io"],"credentials":{"user":"u","password":"p"}"#,
    );
    assert_eq!(
        parse(ConfigDir::Auth, &docker).unwrap(),
        Document::DockerAuth {
            registries: vec!["quay.io".into()],
            credentials: basic()
        }
    );
    let paths = file("paths", r#","data":"/d","stage1-images":"""#);
    assert_eq!(
        parse(ConfigDir::Paths, &paths).unwrap(),
        Document::Paths {
            data: Some("/d".into()),
            stage1_images: None
        }
    );
    for location in ["/a/b.aci", "docker://a", "https://h/a.aci", "file:///a"] {
        let stage1 = file(
            "stage1",
            &format!(r#","name":"n","version":"v","location":"{location}""#),
        );
        assert_eq!(
            parse(ConfigDir::Stage1, &stage1).unwrap(),
            Document::Stage1 {
                name_version: Some(("n".into(), "v".into())),
                location: Some(location.into())
            }
        );
    }
}

#[test]
fn bad_headers() {
    for (text, want) in [
        ("{}", "no rktKind specified in \"/etc/rkt/auth.d/x.json\""),
        (
            r#"{"rktKind":"auth"}"#,
            "no rktVersion specified in \"/etc/rkt/auth.d/x.json\"",
        ),
        (
            r#"{"rktKind":"auth","rktVersion":"v2"}"#,
            "no parser available for configuration of kind \"auth\" and version \"v2\"",
        ),
        (
            r#"{"rktKind":"paths","rktVersion":"v1"}"#,
            r#"the configuration directory "/etc/rkt/auth.d" expects to have configuration files of kinds "auth\", \"dockerAuth", but "x.json" has kind of "paths""#,
        ),
        ("[", "line 1, column 1: EOF while parsing a list"),
        (
            r#"{"rktKind":1}"#,
            "rktKind: expected a string, found a number",
        ),
    ] {
        let fault = parse(ConfigDir::Auth, text).unwrap_err();
        assert_eq!(fault.cause, want);
        assert_eq!(fault.links, ["failed to parse \"/etc/rkt/auth.d/x.json\""]);
    }
    assert!(parse_file(ConfigDir::Auth, "x", &vec![b' '; MAX_FILE + 1]).is_err());
}

#[test]
fn bad_values() {
    for (rest, want) in [
        ("", "no domains specified"),
        (r#","domains":["a"]"#, "no auth type specified"),
        (r#","domains":["a"],"type":"x""#, "unknown auth type: \"x\""),
        (r#","domains":["a"],"type":"basic""#, "user not specified"),
        (
            r#","domains":["a"],"type":"basic","credentials":{"user":"u"}"#,
            "password not specified",
        ),
        (
            r#","domains":["a"],"type":"oauth""#,
            "no oauth bearer token specified",
        ),
        (
            r#","domains":["a"],"type":"oauth","credentials":{"token":"a\r\nX: y"}"#,
            "credentials: token contains a control character",
        ),
        (
            r#","domains":["a"],"type":"aws""#,
            "no AWS Access Key ID specified",
        ),
        (
            r#","domains":["a"],"type":"aws","credentials":{"accessKeyID":"k"}"#,
            "no AWS Secret Access Key specified",
        ),
        (
            r#","domains":"a""#,
            "domains: expected a list, found a string",
        ),
    ] {
        assert_eq!(auth(rest).unwrap_err().cause, want);
    }
    for (dir, kind, rest, want) in [
        (ConfigDir::Auth, "dockerAuth", "", "no registries specified"),
        (
            ConfigDir::Paths,
            "paths",
            r#","data":"d""#,
            "data directory must be an absolute path",
        ),
        (
            ConfigDir::Paths,
            "paths",
            r#","stage1-images":"d""#,
            "stage1 images directory must be an absolute path",
        ),
        (
            ConfigDir::Stage1,
            "stage1",
            r#","version":"v""#,
            "invalid stage1 configuration: default stage1 image version specified, but name is missing",
        ),
        (
            ConfigDir::Stage1,
            "stage1",
            r#","name":"v""#,
            "invalid stage1 configuration: default stage1 image name specified, but version is missing",
        ),
        (
            ConfigDir::Stage1,
            "stage1",
            r#","location":"a/b""#,
            "invalid stage1 configuration: default stage1 image location is either a relative path or a URL without scheme",
        ),
        (
            ConfigDir::Stage1,
            "stage1",
            r#","location":"ftp://a""#,
            r#"invalid stage1 configuration: default stage1 image location URL has invalid scheme "ftp", allowed schemes are "docker\", \"file\", \"http\", \"https""#,
        ),
    ] {
        assert_eq!(parse(dir, &file(kind, rest)).unwrap_err().cause, want);
    }
}

#[test]
fn an_item_stands_once_in_a_root() {
    for (dir, text, want) in [
        (
            ConfigDir::Auth,
            file(
                "auth",
                r#","domains":["a"],"type":"oauth","credentials":{"token":"t"}"#,
            ),
            "auth for domain \"a\" is already specified",
        ),
        (
            ConfigDir::Auth,
            file(
                "dockerAuth",
                r#","registries":["r"],"credentials":{"user":"u","password":"p"}"#,
            ),
            "credentials for docker registry \"r\" are already specified",
        ),
        (
            ConfigDir::Paths,
            file("paths", r#","data":"/d""#),
            "data directory is already specified",
        ),
        (
            ConfigDir::Paths,
            file("paths", r#","stage1-images":"/d""#),
            "stage1 images directory is already specified",
        ),
        (
            ConfigDir::Stage1,
            file("stage1", r#","name":"n","version":"v""#),
            "name and version of a default stage1 image are already specified",
        ),
        (
            ConfigDir::Stage1,
            file("stage1", r#","location":"/l""#),
            "location of a default stage1 image is already specified",
        ),
    ] {
        let mut config = Config::default();
        config.add(parse(dir, &text).unwrap()).unwrap();
        assert_eq!(
            config.add(parse(dir, &text).unwrap()).unwrap_err().cause,
            want
        );
    }
}

#[test]
fn a_stronger_root_replaces_item_by_item() {
    let basic = |user: &str| BasicCredentials {
        user: user.into(),
        password: Secret::new("p<"),
    };
    let mut config = Config {
        docker_auth: vec![("a".into(), basic("weak")), ("b".into(), basic("weak"))],
        data: Some("/weak".into()),
        stage1_images: Some("/images".into()),
        ..Config::default()
    };
    config.override_with(Config {
        docker_auth: vec![("b".into(), basic("strong"))],
        data: Some("/strong".into()),
        stage1_name_version: Some(("n".into(), "v".into())),
        ..Config::default()
    });
    assert_eq!(
        json::to_compact(&config.to_json()),
        r#"{"stage0":[{"rktVersion":"v1","rktKind":"dockerAuth","registries":["a"],"credentials":{"user":"weak","password":"p\u003c"}},{"rktVersion":"v1","rktKind":"dockerAuth","registries":["b"],"credentials":{"user":"strong","password":"p\u003c"}},{"rktVersion":"v1","rktKind":"paths","data":"/strong","stage1-images":"/images"},{"rktVersion":"v1","rktKind":"stage1","name":"n","version":"v","location":""}]}"#
    );
}

#[test]
fn without_any_file_the_output_is_that_of_rkt() {
    assert_eq!(
        json::to_pretty(&Config::default().to_json()),
        "{\n\t\"stage0\": [\n\t\t{\n\t\t\t\"rktVersion\": \"v1\",\n\t\t\t\"rktKind\": \"paths\",\n\t\t\t\"data\": \"\",\n\t\t\t\"stage1-images\": \"\"\n\t\t},\n\t\t{\n\t\t\t\"rktVersion\": \"v1\",\n\t\t\t\"rktKind\": \"stage1\",\n\t\t\t\"name\": \"\",\n\t\t\t\"version\": \"\",\n\t\t\t\"location\": \"\"\n\t\t}\n\t]\n}"
    );
}

#[test]
fn secrets_do_not_show_in_debug_output() {
    let credentials = Credentials::OAuth {
        token: Secret::new("hunter2"),
    };
    assert!(!format!("{credentials:?}").contains("hunter2"));
    let aws = Config {
        auth: vec![
            (
                "h".into(),
                Credentials::Aws {
                    access_key_id: "k".into(),
                    secret_access_key: Secret::new("s"),
                    region: "r".into(),
                },
            ),
            ("o".into(), credentials),
        ],
        ..Config::default()
    };
    let text = json::to_compact(&aws.to_json());
    assert!(text.contains(r#""domains":["h"],"type":"aws","credentials":{"accessKeyID":"k","secretAccessKey":"s","awsRegion":"r"}"#));
    assert!(text.contains(r#""type":"oauth","credentials":{"token":"hunter2"}"#));
}
