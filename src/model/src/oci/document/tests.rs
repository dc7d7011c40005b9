use super::*;
use crate::oci::MAX_DOCUMENT;
use serde_json::json;

fn descriptor(media_type: &str, digit: char) -> Value {
    json!({"mediaType": media_type, "size": 7, "digest": format!("sha256:{}", digit.to_string().repeat(64))})
}

fn manifest() -> Value {
    json!({"schemaVersion": 2, "config": descriptor(media::OCI_CONFIG, 'c'), "layers": [
        descriptor("application/vnd.oci.image.layer.v1.tar+gzip", '1'),
        descriptor("application/vnd.oci.image.layer.v1.tar+zstd", '2'),
    ]})
}

fn index() -> Value {
    json!({"schemaVersion": 2, "manifests": [descriptor(media::OCI_MANIFEST, 'a')]})
}

fn with(mut value: Value, key: &str, field: Value) -> Value {
    value[key] = field;
    value
}

fn parse(content_type: Option<&str>, value: &Value) -> Result<Document> {
    Document::parse(content_type, value.to_string().as_bytes())
}

fn refused(content_type: Option<&str>, value: &Value) -> String {
    parse(content_type, value)
        .expect_err(&value.to_string())
        .cause
}

fn image(value: &Value) -> Manifest {
    match parse(Some(media::OCI_MANIFEST), value).expect("a manifest") {
        Document::Manifest(manifest) => manifest,
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_content_type_says_what_it_is() {
    let oci = image(&manifest());
    assert_eq!(oci.media_type, media::OCI_MANIFEST);
    assert_eq!(oci.layers[0].digest.hex(), "1".repeat(64));
    assert!(oci.check_image().is_ok());
    for content_type in [
        "Application/vnd.docker.distribution.manifest.v2+json; charset=utf-8",
        media::OCI_MANIFEST,
        "",
        "text/plain; charset=utf-8",
        "application/octet-stream",
        "application/json",
    ] {
        let found = parse(Some(content_type), &manifest());
        assert!(matches!(found, Ok(Document::Manifest(_))), "{content_type}");
    }
    assert!(matches!(parse(None, &index()), Ok(Document::Index(_))));
    let docker = with(manifest(), "mediaType", json!(media::DOCKER_MANIFEST));
    for content_type in [None, Some(media::DOCKER_MANIFEST)] {
        let Ok(Document::Manifest(found)) = parse(content_type, &docker) else {
            panic!("no manifest");
        };
        assert_eq!(found.media_type, media::DOCKER_MANIFEST);
    }
}

#[test]
fn a_document_that_reads_as_two_is_refused() {
    const TWO: &str = "reads as more than one kind";
    for (content_type, value, want) in [
        (
            Some(media::OCI_MANIFEST),
            with(manifest(), "manifests", json!([])),
            TWO,
        ),
        (
            Some(media::OCI_MANIFEST),
            with(manifest(), "manifests", json!(null)),
            TWO,
        ),
        (
            Some(media::OCI_MANIFEST),
            with(manifest(), "fsLayers", json!([])),
            TWO,
        ),
        (
            Some(media::OCI_INDEX),
            with(index(), "layers", json!([])),
            TWO,
        ),
        (
            Some(media::OCI_INDEX),
            with(index(), "config", json!({})),
            TWO,
        ),
        (None, with(index(), "layers", json!([])), TWO),
        (None, with(manifest(), "fsLayers", json!([])), TWO),
        (Some(media::OCI_INDEX), manifest(), TWO),
        (Some(media::OCI_MANIFEST), index(), TWO),
        (
            Some(media::DOCKER_MANIFEST),
            with(manifest(), "mediaType", json!(media::OCI_MANIFEST)),
            "the server calls the manifest",
        ),
        (
            None,
            with(manifest(), "mediaType", json!(media::OCI_INDEX)),
            "and is something else",
        ),
        (
            Some(media::OCI_MANIFEST),
            with(manifest(), "Manifests", json!([])),
            "the key \"Manifests\" must be spelled \"manifests\"",
        ),
        (
            Some("text/html"),
            manifest(),
            "media type \"text/html\" is no manifest",
        ),
        (None, json!({"a": 1}), "this is no manifest"),
        (None, json!([1]), "expected an object"),
        (Some(media::OCI_INDEX), json!(null), "expected an object"),
    ] {
        let cause = refused(content_type, &value);
        assert!(cause.contains(want), "{cause}: {value}");
    }
    let twice = manifest().to_string().replacen('{', "{\"layers\":[],", 1);
    assert!(Document::parse(None, twice.as_bytes()).is_err());
}

#[test]
fn bad_manifests_say_what_is_wrong() {
    let layer = "application/vnd.oci.image.layer.v1.tar";
    let layers = |layer: Value| with(manifest(), "layers", json!([layer]));
    for (value, want) in [
        (
            with(manifest(), "schemaVersion", json!(1)),
            "schemaVersion: 1 is not supported",
        ),
        (
            with(manifest(), "config", json!(null)),
            "config: is missing",
        ),
        (
            with(manifest(), "config", descriptor(media::DOCKER_PLUGIN, '1')),
            "a docker plugin",
        ),
        (
            layers(descriptor(
                "application/vnd.oci.image.layer.v1.tar+gzip+encrypted",
                '1',
            )),
            "is encrypted",
        ),
        (
            layers(with(descriptor(layer, '1'), "size", json!(-1))),
            "layers[0].size: must not be negative",
        ),
        (
            layers(with(descriptor(layer, '1'), "size", json!(u64::MAX))),
            "layers[0].size",
        ),
        (
            layers(with(descriptor(layer, '1'), "size", json!("7"))),
            "layers[0].size: expected an integer",
        ),
        (
            layers(with(descriptor(layer, '1'), "digest", json!("md5:00"))),
            "digest algorithm",
        ),
        (
            layers(with(descriptor(layer, '1'), "digest", json!("sha256:../x"))),
            "is no digest",
        ),
        (
            layers(with(descriptor(layer, '1'), "data", json!("e30"))),
            "layers[0].data: malformed base64",
        ),
        (
            layers(with(descriptor(layer, '1'), "data", json!("e30="))),
            "data has 2 bytes, size says 7",
        ),
        (
            layers(json!({"MediaType": layer})),
            "layers[0].mediaType: is missing",
        ),
        (
            with(
                manifest(),
                "layers",
                Value::from(vec![descriptor(layer, '1'); MAX_LAYERS + 1]),
            ),
            "layers (limit 1000)",
        ),
    ] {
        let cause = refused(Some(media::OCI_MANIFEST), &value);
        assert!(cause.contains(want), "{cause}");
    }
    let large = vec![b' '; MAX_DOCUMENT + 1];
    let cause = Document::parse(None, &large).expect_err("too large").cause;
    assert!(cause.contains("limit 4.0MiB"), "{cause}");
}

#[test]
fn an_artifact_is_read_but_is_no_image() {
    let artifact = with(manifest(), "config", descriptor(media::OCI_EMPTY, '4'));
    let artifact = with(artifact, "artifactType", json!("application/x"));
    let artifact = with(artifact, "subject", descriptor(media::OCI_MANIFEST, '5'));
    let found = image(&artifact);
    let subject = found.subject.as_ref().expect("a subject");
    assert_eq!(subject.digest.hex(), "5".repeat(64));
    let cause = found.check_image().expect_err("no image").cause;
    assert_eq!(
        cause,
        "this is an artifact (\"application/x\"), not an image"
    );
    let attestation = with(
        manifest(),
        "layers",
        json!([descriptor(media::IN_TOTO, '1')]),
    );
    assert!(image(&attestation).check_image().is_err());
    let foreign = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip";
    let foreign = with(manifest(), "layers", json!([descriptor(foreign, '1')]));
    assert!(image(&foreign).check_image().is_ok());
}

#[test]
fn one_diff_id_for_each_layer() {
    let mut config = ImageConfig::default();
    let manifest = image(&manifest());
    assert!(manifest.check_config(&config).is_err());
    config.diff_ids = manifest
        .layers
        .iter()
        .map(|layer| layer.digest.clone())
        .collect();
    assert!(manifest.check_config(&config).is_ok());
}

/// An index of entries (platform, more fields); the digest tells which it is.
fn index_of(entries: &[(&str, Value)]) -> Index {
    let list: Vec<Value> = entries
        .iter()
        .zip('0'..)
        .map(|((platform, more), digit)| {
            let mut entry = descriptor(media::OCI_MANIFEST, digit);
            if let [os, arch, rest @ ..] = &platform.split('/').collect::<Vec<_>>()[..] {
                entry["platform"] =
                    json!({"os": os, "architecture": arch, "variant": rest.first()});
            }
            for (key, value) in more.as_object().expect("fields") {
                entry[key] = value.clone();
            }
            entry
        })
        .collect();
    match parse(None, &json!({"schemaVersion": 2, "manifests": list})).expect("an index") {
        Document::Index(index) => index,
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_image_for_the_platform_is_chosen() {
    use crate::oci::Platform;
    let plain = |platforms: &[&'static str]| -> Vec<(&'static str, Value)> {
        platforms
            .iter()
            .map(|platform| (*platform, json!({})))
            .collect()
    };
    let attested = vec![
        (
            "linux/amd64",
            json!({"annotations": {"vnd.docker.reference.type": "attestation-manifest"}}),
        ),
        (
            "linux/amd64",
            json!({"artifactType": "application/vnd.cncf.notary.signature"}),
        ),
        (
            "linux/amd64",
            json!({"mediaType": "application/vnd.other+json"}),
        ),
        ("unknown/unknown", json!({})),
        ("linux/amd64", json!({})),
    ];
    let blake = format!("blake3:{}", "0".repeat(64));
    for (entries, platform, want) in [
        (
            plain(&["linux/arm64/v8", "linux/x86_64", "linux/amd64"]),
            "linux/amd64",
            Ok('1'),
        ),
        (plain(&["linux/386", "linux/amd64"]), "linux/amd64", Ok('1')),
        (plain(&["linux/386", "linux/arm64"]), "linux/amd64", Ok('0')),
        (
            plain(&["linux/amd64/v2", "linux/amd64"]),
            "linux/amd64",
            Ok('1'),
        ),
        (
            plain(&["linux/amd64", "linux/amd64/v2", "linux/amd64/v4"]),
            "linux/amd64/v3",
            Ok('1'),
        ),
        (
            plain(&["linux/arm/v5", "linux/arm/v7", "linux/arm/v6"]),
            "linux/arm/v7",
            Ok('1'),
        ),
        (
            plain(&["linux/arm/v5", "linux/arm/v6"]),
            "linux/arm64",
            Ok('1'),
        ),
        (plain(&["", "linux/amd64"]), "linux/amd64", Ok('1')),
        (plain(&[""]), "linux/amd64", Ok('0')),
        (plain(&["", ""]), "linux/amd64", Err("unnamed")),
        (
            plain(&["linux/arm/v7", "windows/amd64"]),
            "linux/amd64",
            Err(
                "no image for the platform linux/amd64; there are: \"linux/arm/v7\", \"windows/amd64\"",
            ),
        ),
        (
            plain(&["linux/amd64/v2"]),
            "linux/amd64",
            Err("linux/amd64/v2"),
        ),
        (
            plain(&["unknown/unknown"]),
            "linux/amd64",
            Err("lists no image that could run"),
        ),
        (
            plain(&[]),
            "linux/amd64",
            Err("lists no image that could run"),
        ),
        (attested, "linux/amd64", Ok('4')),
        (
            vec![
                ("linux/amd64", json!({"digest": blake})),
                ("linux/amd64", json!({})),
            ],
            "linux/amd64",
            Ok('1'),
        ),
        (
            vec![("linux/amd64", json!({"mediaType": media::OCI_INDEX}))],
            "linux/amd64",
            Ok('0'),
        ),
    ] {
        let index = index_of(&entries);
        let platform = Platform::parse(platform).expect("a platform");
        match (index.choose(&platform), want) {
            (Ok(found), Ok(digit)) => assert!(found.digest.hex().starts_with(digit), "{entries:?}"),
            (Err(fault), Err(want)) => assert!(fault.cause.contains(want), "{}", fault.cause),
            (found, want) => panic!("{found:?} is not {want:?} in {entries:?}"),
        }
    }
}

#[test]
fn a_manifest_cut_or_changed_anywhere_never_panics() {
    let text = with(manifest(), "annotations", json!({"a\u{1}": "b"})).to_string();
    for at in 0..text.len() {
        for spice in ["", "\"", "{", "}", "\\", "\u{0}", ",", "[", "9"] {
            let mangled = format!("{}{spice}{}", &text[..at], &text[at + 1..]);
            for content_type in [None, Some(media::OCI_MANIFEST), Some(media::SCHEMA1)] {
                let _ = Document::parse(content_type, mangled.as_bytes());
            }
        }
    }
}
