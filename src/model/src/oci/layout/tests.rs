use super::*;
use serde_json::{Value, json};

/// An index of entries (ref name, whole name, platform); the digest is the place.
fn layout(entries: &[(&str, &str, &str)]) -> Index {
    let entries: Vec<Value> = entries
        .iter()
        .enumerate()
        .map(|(place, (tag, name, platform))| {
            let mut entry = json!({"mediaType": media::OCI_MANIFEST, "size": 1,
                "digest": digest(place).as_str(), "annotations": {}});
            for (key, value) in [(REF_NAME, tag), (IMAGE_NAME, name)] {
                if !value.is_empty() {
                    entry["annotations"][key] = json!(value);
                }
            }
            if let Some((os, arch)) = platform.split_once('/') {
                entry["platform"] = json!({"os": os, "architecture": arch});
            }
            entry
        })
        .collect();
    index(
        json!({"schemaVersion": 2, "manifests": entries})
            .to_string()
            .as_bytes(),
    )
    .expect("an index")
}

fn digest(place: usize) -> Digest {
    Digest::parse(&format!("sha256:{}", place.to_string().repeat(64))).expect("a digest")
}

#[test]
fn the_entry_that_is_meant() {
    let one = [("v1", "", "")];
    let unnamed = [("", "", "")];
    let two = [("v1", "", ""), ("v2", "", "")];
    let whole = [
        ("7", "docker.io/library/redis:7", "linux/amd64"),
        ("latest", "docker.io/library/busybox:latest", ""),
    ];
    let platforms = [("", "", "linux/arm64"), ("", "", "linux/amd64")];
    let same = [
        ("v1", "", "linux/arm64"),
        ("v1", "", "linux/amd64"),
        ("v2", "", "linux/amd64"),
    ];
    let tag = |text: &str| Some(Pick::Tag(text.to_string()));
    for (entries, pick, want) in [
        (&one[..], None, Ok(0)),
        (&unnamed, None, Ok(0)),
        (&one, tag("v1"), Ok(0)),
        (
            &one,
            tag("v2"),
            Err("has no image \"v2\"; there are: \"v1\""),
        ),
        (&one, tag("latest"), Err("has no image \"latest\"")),
        (&two, None, Err("has 2 images: \"v1\", \"v2\"")),
        (&two, tag("v2"), Ok(1)),
        (&two, Some(Pick::Digest(digest(1))), Ok(1)),
        (
            &two,
            Some(Pick::Digest(digest(7))),
            Err("has no image \"sha256:777"),
        ),
        (&two, Some(Pick::Place(1)), Ok(1)),
        (&two, Some(Pick::Place(2)), Err("has no image \"2\"")),
        (&whole, tag("redis:7"), Ok(0)),
        (&whole, tag("docker.io/library/busybox:latest"), Ok(1)),
        (&whole, tag("7"), Ok(0)),
        (&platforms, None, Ok(1)),
        (&same, tag("v1"), Ok(1)),
        (&same, None, Err("has 3 images")),
        (&[], None, Err("lists no image")),
    ] {
        let index = layout(entries);
        match (
            choose(&index, pick.as_ref(), &Platform::host("x86_64")),
            want,
        ) {
            (Ok(found), Ok(place)) => assert_eq!(found.digest, digest(place), "{pick:?}"),
            (Err(fault), Err(want)) => assert!(fault.cause.contains(want), "{}", fault.cause),
            (found, want) => panic!("{found:?} is not {want:?}"),
        }
    }
    assert_eq!(
        name_of(&layout(&whole).manifests[0]),
        Some("docker.io/library/redis:7")
    );
    assert_eq!(
        blob_path(&digest(0)),
        format!("blobs/sha256/{}", "0".repeat(64))
    );
}

#[test]
fn headers() {
    assert!(check_header(br#"{"imageLayoutVersion": "1.0.0"}"#).is_ok());
    for bad in [
        r#"{"imageLayoutVersion": "2.0.0"}"#,
        "{}",
        "",
        r#"{"ImageLayoutVersion":"1.0.0"}"#,
    ] {
        assert!(check_header(bad.as_bytes()).is_err(), "{bad}");
    }
    assert!(index(br#"{"schemaVersion":2,"layers":[]}"#).is_err());
}
