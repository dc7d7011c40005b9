#![expect(clippy::unwrap_used, reason = "tests")]

use super::*;

fn parse(text: &str) -> Result<Reference> {
    Reference::parse(
        text,
        &|name| name == "here" || name == "odd:here.aci",
        "/my dir",
    )
}

/// A short description that tells the kinds apart.
fn kind(text: &str) -> String {
    match parse(text) {
        Ok(Reference::Hash(text)) => format!("hash {text}"),
        Ok(Reference::Path(text)) => format!("path {text}"),
        Ok(Reference::Url(text)) => format!("url {text}"),
        Ok(Reference::Docker(text)) => format!("docker {text}"),
        Ok(local @ Reference::Local { .. }) => format!("local {local}"),
        Ok(name @ Reference::Name { .. }) => format!("name {name}"),
        Err(fault) => fault.cause,
    }
}

#[test]
fn every_form_is_recognised() {
    for (text, want) in [
        ("sha512-0123", "hash sha512-0123"),
        ("sha512-zz", "hash sha512-zz"),
        ("sha512-a-b", "name sha512-a-b"),
        ("/a/b.aci", "path /a/b.aci"),
        ("/a//../b%20c.aci", "path /b%20c.aci"),
        ("./b.aci", "path /my dir/b.aci"),
        ("../b.aci", "path /b.aci"),
        ("b.aci", "path /my dir/b.aci"),
        ("/a/b", "invalid image string \"file:///a/b\""),
        ("here", "invalid image string \"file:///my dir/here\""),
        ("a/./b", "invalid image string \"file:///my dir/a/b\""),
        ("file:///a/b.aci", "path /a/b.aci"),
        ("file:///a%20b.aci", "path /a b.aci"),
        ("FILE:/a/b.aci", "path /a/b.aci"),
        ("file://host/b.aci", "path /b.aci"),
        ("file:///a/b.aci?x", "path /a/b.aci"),
        ("file://b.aci", "invalid image string \"file://b.aci\""),
        (
            "file:///a%00.aci",
            "invalid image string \"file:///a%00.aci\"",
        ),
        ("http://h/a.aci", "url http://h/a.aci"),
        ("https://h:1/a.aci?x=y#z", "url https://h:1/a.aci?x=y#z"),
        (
            "https://h/a.tar",
            "invalid image string \"https://h/a.tar\"",
        ),
        ("https://h.aci", "invalid image string \"https://h.aci\""),
        ("https:///a.aci", "invalid image string \"https:///a.aci\""),
        ("docker://busybox", "docker busybox"),
        ("docker:quay.io/a/b:c", "docker quay.io/a/b:c"),
        (
            "docker://",
            "invalid docker reference \"\": the repository's name is malformed",
        ),
        ("example.com/app", "name example.com/app"),
        ("example.com/app:v1", "name example.com/app:v1"),
        (
            "app:v1,b=2,arch=x,a=1,os=y",
            "name app:v1,os=y,arch=x,a=1,b=2",
        ),
        ("example.com:v1", "name example.com:v1"),
        ("ftp://x/y.aci", "name ftp://x/y.aci"),
        ("x,a=b=c%20+ d", "name x,a=b=c%20+ d"),
        ("odd/here.aci:1", "name odd/here.aci:1"),
        (
            "",
            "invalid appc image string \"\": ACIdentifier cannot be empty",
        ),
        ("a\nb", "failed to parse image url \"a\\nb\""),
        (
            "Example",
            "invalid appc image string \"Example\": ACIdentifier must contain only lower case alphanumeric characters plus \"-._~/\"",
        ),
    ] {
        assert_eq!(kind(text), want, "{text}");
    }
    let hash = Reference::parse_for_fetch("sha512-0123", &|_| false, "/").unwrap();
    assert!(matches!(hash, Reference::Name { .. }));
}

#[test]
fn names_with_labels() {
    let (name, labels) = parse_name("example.com/a:1,os=linux").unwrap();
    assert_eq!(name, "example.com/a");
    assert_eq!(
        (labels.get("version"), labels.get("os")),
        (Some("1"), Some("linux"))
    );
    for (text, want) in [
        (
            "a,b=c:d",
            "malformed app string - colon may appear only right after the app name",
        ),
        (
            "a:b:c",
            "malformed app string - colon may appear at most once",
        ),
        (
            "a:1,b=c:d",
            "malformed app string - colon may appear at most once",
        ),
        (
            "a,b",
            "malformed string \"a,b\" - has a label without a value: b",
        ),
        (
            "a:1,version=2",
            "label version with multiple values [\"1\" \"2\"]",
        ),
        ("a,name=b", "label name with multiple values [\"a\" \"b\"]"),
        (
            "a,B=c",
            "ACIdentifier must contain only lower case alphanumeric characters plus \"-._~/\"",
        ),
        (
            "/x",
            "ACIdentifier must start and end with only lower case alphanumeric characters",
        ),
    ] {
        assert_eq!(parse_name(text).unwrap_err().cause, want);
    }
    assert!(parse_name(&format!("a{}", ",b=c".repeat(100_000))).is_err());
    assert!(matches!(
        Reference::parse_stored("sha512-00").unwrap(),
        Reference::Hash(_)
    ));
    assert!(Reference::parse_stored("/x").is_err());
}

#[test]
fn distribution_uris_are_read_and_written() {
    for (text, uri) in [
        ("example.com/a", "cimd:appc:v=0:example.com/a"),
        (
            "a:1.0,os=linux,b=c d",
            "cimd:appc:v=0:a?b=c+d&os=linux&version=1.0",
        ),
        (
            "/a b/c%20.aci",
            "cimd:aci-archive:v=0:file%3A%2F%2F%2Fa+b%2Fc%252520.aci",
        ),
        (
            "/a?b#c.aci",
            "cimd:aci-archive:v=0:file%3A%2F%2F%2Fa%253Fb%2523c.aci",
        ),
        (
            "https://h/a.aci",
            "cimd:aci-archive:v=0:https%3A%2F%2Fh%2Fa.aci",
        ),
        (
            "docker://busybox",
            "cimd:docker:v=0:registry-1.docker.io/library/busybox:latest",
        ),
    ] {
        let reference = parse(text).unwrap();
        assert_eq!(reference.to_cimd().as_deref(), Some(uri));
        let back = parse(uri).unwrap();
        assert_eq!(back.to_cimd().as_deref(), Some(uri));
        assert_eq!(back.to_string(), reference.to_string());
    }
    assert_eq!(parse("sha512-00").unwrap().to_cimd(), None);
    for (text, want) in [
        (
            "cimd:appc",
            "malformed distribution uri \"cimd:appc\": malformed distribution uri: \"cimd:appc\"",
        ),
        (
            "cimd:appc:v=x:a",
            "malformed distribution uri \"cimd:appc:v=x:a\": malformed distribution version: v=x",
        ),
        ("cimd:oci:v=0:a", "unknown distribution type: \"oci\""),
        (
            "cimd:appc:v=0:A",
            "malformed distribution uri \"cimd:appc:v=0:A\": ACIdentifier must contain only lower case alphanumeric characters plus \"-._~/\"",
        ),
        (
            "cimd:appc:v=0:a?b=%zz",
            "malformed distribution uri \"cimd:appc:v=0:a?b=%zz\": invalid URL escape in \"b=%zz\"",
        ),
        (
            "cimd:aci-archive:v=0:cimd%3Ax",
            "malformed distribution uri \"cimd:aci-archive:v=0:cimd%3Ax\": the transport URL is malformed",
        ),
        (
            "cimd:aci-archive:v=0:docker%3A%2F%2Fa",
            "malformed distribution uri \"cimd:aci-archive:v=0:docker%3A%2F%2Fa\": unsupported transport URL",
        ),
    ] {
        assert_eq!(parse(text).unwrap_err().cause, want);
    }
    assert!(parse("cimd:appc:0:a").is_ok());
}

#[test]
fn archives_and_layouts_are_found_among_what_rkt_refused() {
    let digest = format!("sha256:{}", "0".repeat(64));
    let files = [
        "/d/image.tar",
        "/d/b.aci",
        "/d/layout/oci-layout",
        "/d/odd:v1.tar",
        "/d/x y/oci-layout",
    ];
    let exists =
        |path: &str| files.contains(&path) || files.contains(&format!("/d/{path}").as_str());
    for (text, want) in [
        ("image.tar", "local /d/image.tar".to_string()),
        ("./image.tar", "local /d/image.tar".into()),
        ("/d/image.tar", "local /d/image.tar".into()),
        ("./image.tar:v1", "local /d/image.tar:v1".into()),
        ("./image.tar:redis:7", "local /d/image.tar:redis:7".into()),
        (
            "./image.tar:docker.io/library/redis:7",
            "local /d/image.tar:docker.io/library/redis:7".into(),
        ),
        ("image.tar@0", "local /d/image.tar@0".into()),
        (
            &format!("image.tar@{digest}"),
            format!("local /d/image.tar@{digest}"),
        ),
        ("./layout", "local /d/layout".into()),
        ("./layout/", "local /d/layout".into()),
        ("../d/layout:v1", "local /d/layout:v1".into()),
        ("./odd:v1.tar:v2", "local /d/odd:v1.tar:v2".into()),
        ("/d/x y:v2", "local /d/x y:v2".into()),
        ("file:///d/layout", "local /d/layout".into()),
        ("file:///d/x%20y:v1", "local /d/x y:v1".into()),
        // rkt's own forms stay what they were, whatever exists.
        ("image.tar:v1", "name image.tar:v1".into()),
        ("layout", "name layout".into()),
        ("layout:v1", "name layout:v1".into()),
        ("b.aci", "path /d/b.aci".into()),
        ("docker://layout", "docker layout".into()),
        // And what is no image is refused as ever.
        (
            "./none:v1",
            "invalid appc image string \"./none:v1\": ACIdentifier must start and end with only lower case alphanumeric characters".into(),
        ),
        (
            // Shown as an absolute path, it would be the path of an ACI.
            "./image.tar:v/1.aci",
            "invalid appc image string \"./image.tar:v/1.aci\": ACIdentifier must start and end with only lower case alphanumeric characters".into(),
        ),
        ("./none", "invalid image string \"file:///d/none\"".into()),
        (
            "/d/image.tar:a b",
            "invalid image string \"file:///d/image.tar:a b\"".into(),
        ),
        (
            "/d/image.tar:",
            "invalid image string \"file:///d/image.tar:\"".into(),
        ),
    ] {
        let found = match Reference::parse(text, &exists, "/d") {
            Ok(Reference::Hash(text)) => format!("hash {text}"),
            Ok(Reference::Path(text)) => format!("path {text}"),
            Ok(Reference::Url(text)) => format!("url {text}"),
            Ok(Reference::Docker(text)) => format!("docker {text}"),
            Ok(local @ Reference::Local { .. }) => format!("local {local}"),
            Ok(name @ Reference::Name { .. }) => format!("name {name}"),
            Err(fault) => fault.cause,
        };
        assert_eq!(found, want, "{text}");
    }
    let bad = Reference::parse("image.tar@sha256:00", &exists, "/d");
    assert!(bad.is_err());
}
