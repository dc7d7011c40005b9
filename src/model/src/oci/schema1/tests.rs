use super::*;
use crate::oci::Document;
use serde_json::json;

const A: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
const B: &str = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";
const C: &str = "cccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc";

/// Entries as (id, parent, more fields), topmost first.
fn manifest(entries: &[(&str, &str, &str)]) -> String {
    let layers: Vec<_> = (0..entries.len())
        .map(|index| json!({"blobSum": format!("sha256:{}", format!("{index:02}").repeat(32))}))
        .collect();
    let history: Vec<_> = entries
        .iter()
        .map(|(id, parent, more)| {
            let parent = match *parent {
                "" => String::new(),
                parent => format!(",\"parent\":\"{parent}\""),
            };
            json!({"v1Compatibility": format!("{{\"id\":\"{id}\"{parent}{more}}}")})
        })
        .collect();
    json!({"schemaVersion": 1, "name": "library/x", "tag": "1", "architecture": "amd64",
        "fsLayers": layers, "history": history})
    .to_string()
}

#[test]
fn layers_come_base_first_and_the_topmost_entry_is_the_config() {
    let text = manifest(&[
        (
            C,
            B,
            r#","os":"linux","author":"me","config":{"Cmd":["/x"],"User":"1"}"#,
        ),
        (B, A, r#","throwaway":true"#),
        (A, "", ""),
    ]);
    let found = Schema1::parse(text.as_bytes()).expect("a manifest");
    let ids: Vec<&str> = found.layers.iter().map(|layer| layer.id.as_str()).collect();
    assert_eq!(ids, [A, C]);
    assert_eq!(found.layers[0].digest.hex(), "02".repeat(32));
    assert_eq!((found.id.as_str(), found.parent.as_deref()), (C, Some(B)));
    let config = found.config();
    assert_eq!(
        (config.os.as_str(), config.architecture.as_str()),
        ("linux", "amd64")
    );
    assert_eq!(config.config.cmd, ["/x"]);
    assert!(matches!(
        Document::parse(Some("application/json"), text.as_bytes()),
        Ok(Document::Schema1(_))
    ));
    let twice = manifest(&[(B, A, ""), (B, A, ""), (A, "", "")]);
    let found = Schema1::parse(twice.as_bytes()).expect("a manifest");
    assert_eq!(found.layers.len(), 2);
}

#[test]
fn a_broken_chain_is_refused() {
    for (entries, want) in [
        (vec![(A, B, "")], "the parent of layer"),
        (vec![(B, "", ""), (A, "", "")], "the parent of layer"),
        (vec![(A, B, ""), (B, A, ""), (A, "", "")], "comes twice"),
        (vec![("../../etc", "", "")], "is no layer ID"),
        (vec![(A, "", r#","id":"x""#)], "more than once"),
        (
            vec![(A, "", r#","config":{"User":"4294967296"}"#)],
            "out of range",
        ),
        (vec![], "fsLayers has 0 entries"),
    ] {
        let fault = Schema1::parse(manifest(&entries).as_bytes()).expect_err(want);
        assert!(fault.cause.contains(want), "{}", fault.cause);
    }
    let mut value: serde_json::Value =
        serde_json::from_str(&manifest(&[(B, A, ""), (A, "", "")])).expect("json");
    value["history"].as_array_mut().expect("a list").pop();
    let fault = Schema1::parse(value.to_string().as_bytes()).expect_err("too short");
    assert!(fault.cause.contains("history has 1 entries, fsLayers 2"));
}

/// Base64 for URLs, without padding.
fn url(text: &str) -> String {
    let padded = base64::encode(text.as_bytes());
    padded
        .trim_end_matches('=')
        .replace('+', "-")
        .replace('/', "_")
}

#[test]
fn the_payload_is_the_text_without_signatures() {
    let payload = manifest(&[(A, "", "")]);
    let (head, tail) = payload.split_at(payload.len() - 1);
    let protected = |length: usize, tail: &str| {
        url(&json!({"formatLength": length, "formatTail": url(tail)}).to_string())
    };
    let signed = |headers: &[String]| {
        let list: Vec<_> = headers
            .iter()
            .map(|one| json!({"protected": one}))
            .collect();
        format!("{head},\"signatures\":{}{tail}", json!(list))
    };
    let good = protected(head.len(), tail);
    let text = signed(&[good.clone(), good.clone()]);
    assert_eq!(
        Schema1::payload(text.as_bytes()).expect("a payload"),
        payload.as_bytes()
    );
    assert!(Schema1::parse(text.as_bytes()).is_ok());
    assert_eq!(
        Schema1::payload(payload.as_bytes()).expect("unsigned"),
        payload.as_bytes()
    );
    for bad in [
        signed(&[good, protected(head.len() - 1, tail)]),
        signed(&[protected(1 << 30, tail)]),
        signed(&[url("{\"formatLength\":-1,\"formatTail\":\"\"}")]),
        signed(&["!".to_string()]),
    ] {
        assert!(Schema1::payload(bad.as_bytes()).is_err(), "{bad}");
    }
    // What the digest covers is what is read: a payload that is something else.
    let other = signed(&[protected(0, "{}")]);
    assert!(Schema1::parse(other.as_bytes()).is_err());
}
