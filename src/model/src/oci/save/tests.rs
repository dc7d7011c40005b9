use super::*;
use serde_json::{Value, json};

fn id(digit: char) -> String {
    digit.to_string().repeat(64)
}

fn images(value: &Value) -> Result<Vec<Saved>> {
    parse(value.to_string().as_bytes())
}

#[test]
fn images_are_chosen_by_name_tag_place_or_digest() {
    let list = images(&json!([
        {"Config": format!("{}.json", id('a')), "RepoTags": ["redis:7", "quay.io/x/redis:8"], "Layers": ["./a//layer.tar"]},
        {"Config": format!("blobs/sha256/{}", id('b')), "RepoTags": null, "Layers": [], "Parent": "sha256:x"},
        {"Config": "c.json", "RepoTags": ["busybox:latest", "b:8"], "Layers": null},
    ]))
    .expect("images");
    assert_eq!(list[0].layers, ["a/layer.tar"]);
    assert_eq!(list[0].name(), Some("redis:7"));
    assert_eq!(list[1].config_digest().expect("a digest").hex(), id('b'));
    assert_eq!(list[2].config_digest(), None);
    let digest = Digest::parse(&format!("sha256:{}", id('b'))).expect("a digest");
    for (pick, want) in [
        (Pick::Tag("redis:7".into()), Ok(0)),
        (Pick::Tag("docker.io/library/redis:7".into()), Ok(0)),
        (Pick::Tag("7".into()), Ok(0)),
        (Pick::Tag("docker.io/busybox".into()), Ok(2)),
        (Pick::Tag("latest".into()), Ok(2)),
        (
            Pick::Tag("8".into()),
            Err("several images with the tag \"8\""),
        ),
        (
            Pick::Tag("redis".into()),
            Err("has no image \"redis\"; there are: \"redis:7\""),
        ),
        (Pick::Place(1), Ok(1)),
        (Pick::Place(3), Err("has no image \"3\"")),
        (Pick::Digest(digest), Ok(1)),
    ] {
        match (choose(&list, Some(&pick)), want) {
            (Ok(found), Ok(place)) => assert_eq!(found, &list[place], "{pick}"),
            (Err(fault), Err(want)) => assert!(fault.cause.contains(want), "{}", fault.cause),
            (found, want) => panic!("{found:?} is not {want:?}"),
        }
    }
    assert!(
        choose(&list, None)
            .expect_err("several")
            .cause
            .contains("has 3 images")
    );
    assert_eq!(choose(&list[1..2], None).expect("the only one"), &list[1]);
}

#[test]
fn member_names_stay_inside() {
    for (name, want) in [
        ("a/b", Some("a/b")),
        ("./a//b/", Some("a/b")),
        ("a..b", Some("a..b")),
    ] {
        assert_eq!(member(name).ok().as_deref(), want);
    }
    for bad in [
        "",
        ".",
        "/a",
        "../a",
        "a/../b",
        "a/..",
        "a\u{0}b",
        "a\nb",
        &"a/".repeat(5000),
    ] {
        assert!(member(bad).is_err(), "{bad:?}");
    }
}

#[test]
fn hostile_lists_are_refused() {
    for (value, want) in [
        (json!([]), "lists no image"),
        (json!({}), "expected a list"),
        (json!([{"Layers": []}]), "[0].Config: is missing"),
        (
            json!([{"Config": "../x", "Layers": []}]),
            "[0].Config: the member name",
        ),
        (
            json!([{"Config": "x", "Layers": ["/etc/shadow"]}]),
            "[0].Layers[0]: the member name",
        ),
        (
            json!([{"Config": "x", "Layers": vec!["a"; 1001]}]),
            "more than 1000 layers",
        ),
    ] {
        let cause = images(&value).expect_err(want).cause;
        assert!(cause.contains(want), "{cause}");
    }
    assert!(parse(&vec![b' '; MAX_MANIFEST + 1]).is_err());
}
