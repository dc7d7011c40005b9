#![expect(clippy::unwrap_used, reason = "tests")]

use super::*;

const BUSYBOX: &str = r#"{"acKind":"ImageManifest","acVersion":"0.8.11","name":"example.com/busybox","labels":[{"name":"version","value":"1.0.0"},{"name":"os","value":"linux"},{"name":"arch","value":"amd64"}],"app":{"exec":["/bin/sh"],"user":"0","group":"0","environment":[{"name":"PATH","value":"/bin"}]}}"#;

#[test]
fn what_rkt_wrote_is_written_back_byte_for_byte() {
    let manifest = ImageManifest::parse(BUSYBOX.as_bytes()).unwrap();
    assert_eq!(manifest.compact(), BUSYBOX);
    assert_eq!(manifest.display_name(), "example.com/busybox:1.0.0");
    let pretty = manifest.pretty();
    assert!(
        pretty.starts_with("{\n\t\"acKind\": \"ImageManifest\",\n\t\"acVersion\": \"0.8.11\",\n")
    );
    assert_eq!(ImageManifest::parse(pretty.as_bytes()).unwrap(), manifest);
}

#[test]
fn every_field_survives() {
    let id = format!("sha512-{}", "ab".repeat(64));
    let text = format!(
        r#"{{"acKind":"ImageManifest","acVersion":"0.8.11","name":"a","annotations":[{{"name":"created","value":"2016-01-01T00:00:00Z"}}],"dependencies":[{{"imageName":"b","imageID":"{id}","labels":[{{"name":"v","value":"1"}}],"size":12,"more":true}},{{"imageName":"c"}}],"pathWhitelist":["/a","/b/c"],"x-new":{{"k":[null]}}}}"#
    );
    let manifest = ImageManifest::parse(text.as_bytes()).unwrap();
    assert_eq!(manifest.compact(), text);
    assert_eq!(manifest.annotation("created"), Some("2016-01-01T00:00:00Z"));
    assert_eq!(
        manifest.dependencies[0].image_id.as_deref(),
        Some(id.as_str())
    );
}

#[test]
fn bad_manifests_say_where() {
    let base = |extra: &str| {
        format!(r#"{{"acKind":"ImageManifest","acVersion":"0.8.11","name":"a"{extra}}}"#)
    };
    for (text, want) in [
        ("[]".to_string(), "expected an object, found a list"),
        ("{}".to_string(), "acKind: is missing"),
        (
            r#"{"acKind":"PodManifest"}"#.to_string(),
            "acKind: expected \"ImageManifest\", found \"PodManifest\"",
        ),
        (
            r#"{"acKind":"ImageManifest"}"#.to_string(),
            "acVersion: is missing",
        ),
        (
            r#"{"acKind":"ImageManifest","acVersion":"1"}"#.to_string(),
            "acVersion: \"1\" is not a version like 1.2.3",
        ),
        (
            r#"{"acKind":"ImageManifest","acVersion":"0.0.0"}"#.to_string(),
            "acVersion: must not be 0.0.0",
        ),
        (
            r#"{"acKind":"ImageManifest","acVersion":"0.8.11","name":""}"#.to_string(),
            "name: ACIdentifier cannot be empty",
        ),
        (base(r#","app":{}"#), "app.user: is missing"),
        (
            base(r#","labels":[{"name":"os","value":"dos"}]"#),
            "labels: bad os \"dos\" (must be one of: [darwin freebsd linux])",
        ),
        (
            base(r#","dependencies":[{}]"#),
            "dependencies[0].imageName: is missing",
        ),
        (
            base(r#","dependencies":[{"imageName":"b","size":-1}]"#),
            "dependencies[0].size: expected a non-negative integer, found -1",
        ),
        (
            base(r#","dependencies":[{"imageName":"b","imageID":"sha512-ab"}]"#),
            "dependencies[0].imageID: invalid image ID \"sha512-ab\": expected \"sha512-\" and 64 or 128 lower-case hex digits",
        ),
        (
            base(r#","pathWhitelist":["a"]"#),
            "pathWhitelist[0]: must be an absolute path, not \"a\"",
        ),
        (base(r#"},"#), "line 1, column 59: trailing characters"),
    ] {
        assert_eq!(
            ImageManifest::parse(text.as_bytes()).unwrap_err().cause,
            want,
            "{text}"
        );
    }
}

#[test]
fn a_new_manifest_is_valid() {
    let manifest = ImageManifest::new(AcIdentifier::new("example.com/new").unwrap());
    assert_eq!(
        ImageManifest::parse(manifest.compact().as_bytes()).unwrap(),
        manifest
    );
}

#[test]
fn a_manifest_cut_anywhere_or_with_a_byte_changed_never_panics() {
    for end in 0..BUSYBOX.len() {
        assert!(ImageManifest::parse(&BUSYBOX.as_bytes()[..end]).is_err());
    }
    for at in 0..BUSYBOX.len() {
        for byte in [b'"', b'{', b'[', b',', 0, 0xff, b'9', b'\\'] {
            let mut bytes = BUSYBOX.as_bytes().to_vec();
            bytes[at] = byte;
            if let Ok(manifest) = ImageManifest::parse(&bytes) {
                assert_eq!(
                    ImageManifest::parse(manifest.compact().as_bytes()).unwrap(),
                    manifest
                );
            }
        }
    }
}
