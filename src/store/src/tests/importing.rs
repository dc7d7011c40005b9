//! Import, look-up, export.

use super::*;
use crate::testing::version;
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;

#[test]
fn an_empty_store_is_not_made_by_looking() {
    let place = Place::new();
    assert!(place.store.list().unwrap().is_empty());
    assert!(
        place
            .store
            .find(&name("a/b"), &Labels::default())
            .unwrap()
            .is_none()
    );
    assert!(place.store.by_url("http://x").unwrap().is_none());
    assert_eq!(
        place.store.resolve("sha512-ab").unwrap_err().cause,
        "no image IDs found"
    );
    assert_eq!(names(place.temp.path()), [""; 0]);
}

#[test]
fn what_goes_in_comes_out_byte_for_byte() {
    let place = Place::new();
    let bytes = aci(
        &manifest("example.com/app", &version("1")),
        &[
            ("bin/", ""),
            ("bin/sh", "#!"),
            ("bin/link -> sh", ""),
            ("empty", ""),
        ],
    );
    let record = place.put(&bytes);
    assert_eq!(record.id, id_of(&bytes));
    assert_eq!(record.name, name("example.com/app"));
    assert_eq!(record.size, bytes.len() as u64);
    assert_eq!(record.tree_size, 2);
    assert_eq!(export(&place.store, &record.id), bytes);
    let stored = place.store.manifest_bytes(&record.id).unwrap();
    assert_eq!(
        stored,
        manifest("example.com/app", &version("1")).as_bytes()
    );
    assert_eq!(place.store.manifest(&record.id).unwrap().name, record.name);
    place.assert_tidy();
}

#[test]
fn an_id_resolves_by_any_unambiguous_prefix() {
    let place = Place::new();
    let mut ids = Vec::new();
    // Among 17 IDs two share their first digit.
    for number in 0..17 {
        ids.push(place.put(&small("a", &number.to_string()).0).id);
    }
    let id = &ids[0];
    assert_eq!(place.store.resolve(id.as_str()).unwrap(), *id);
    assert_eq!(
        place
            .store
            .resolve(&format!("{}{}", id.as_str(), "0".repeat(64)))
            .unwrap(),
        *id
    );
    assert_eq!(place.store.resolve(&id.as_str()[..30]).unwrap(), *id);
    for (bad, want) in [
        ("sha512-", "image ID too short"),
        ("sha512-a", "image ID too short"),
        ("sha256-abcdef", "wrong key prefix"),
        ("sha512-nothexatall", "no image IDs found"),
        (&format!("sha512-{}", "0".repeat(64)), "no image IDs found"),
    ] {
        assert_eq!(place.store.resolve(bad).unwrap_err().cause, want, "{bad}");
    }
}

#[test]
fn an_ambiguous_prefix_is_told() {
    let place = Place::new();
    let twice = (0..).map(|number| small("a", &number.to_string())).scan(
        std::collections::HashMap::new(),
        |seen: &mut std::collections::HashMap<String, Vec<u8>>, (bytes, id)| {
            let prefix = id.as_str()[..9].to_string();
            Some(
                seen.insert(prefix.clone(), bytes.clone())
                    .map(|other| (prefix, other, bytes)),
            )
        },
    );
    let (prefix, one, other) = twice.flatten().next().unwrap();
    place.put(&one);
    place.put(&other);
    let fault = place.store.resolve(&prefix).unwrap_err();
    assert_eq!(fault.cause, format!("ambiguous image ID: \"{prefix}\""));
}

#[test]
fn names_are_found_by_labels_then_latest_then_age() {
    let place = Place::new();
    let put = |more: &str, content: &str, latest: bool| {
        let bytes = aci(&manifest("example.com/app", more), &[("f", content)]);
        place
            .store
            .put_aci(
                &mut &*bytes,
                &Origin {
                    latest,
                    ..Default::default()
                },
            )
            .unwrap()
            .id
    };
    let one = put(&version("1"), "a", true);
    let two = put(&version("2"), "b", false);
    let newer = put(&version("2"), "c", false);
    let find = |labels: &Labels| {
        place
            .store
            .find(&name("example.com/app"), labels)
            .unwrap()
            .map(|record| record.id)
    };
    assert_eq!(find(&Labels::default()), Some(one.clone()));
    assert_eq!(find(&labels("1")), Some(one));
    assert_eq!(find(&labels("2")), Some(newer));
    assert_eq!(find(&labels("3")), None);
    // Imported anew, it is the newest.
    assert_eq!(put(&version("2"), "b", false), two);
    assert_eq!(find(&labels("2")), Some(two));
    let fault = crate::missing(&name("example.com/app"), &labels("3"));
    assert_eq!(
        fault.cause,
        "cannot find aci satisfying name: \"example.com/app\" and labels: [{\"version\" \"3\"}] \
         in the local store"
    );
}

#[test]
fn a_url_leads_to_its_last_import() {
    let place = Place::new();
    let put = |content: &str| {
        let origin = Origin {
            url: Some("https://example.com/a.aci?x=1".into()),
            latest: false,
            ..Default::default()
        };
        place
            .store
            .put_aci(&mut &*small("a", content).0, &origin)
            .unwrap()
            .id
    };
    let by_url = |url: &str| place.store.by_url(url).unwrap().map(|record| record.id);
    put("1");
    let second = put("2");
    assert_eq!(
        by_url("https://example.com/a.aci?x=1"),
        Some(second.clone())
    );
    assert_eq!(by_url("https://example.com/a.aci"), None);
    place.store.remove(&second).unwrap();
    assert_eq!(by_url("https://example.com/a.aci?x=1"), None);
    assert_eq!(place.names("urls"), [""; 0]);
}

#[test]
fn importing_again_renews_the_record_and_keeps_the_layer() {
    let place = Place::new();
    let (bytes, id) = small("a", "x");
    let first = place.put(&bytes);
    let inode = || {
        std::fs::metadata(place.path(&format!("layers/{}/rootfs/file", id.as_str())))
            .unwrap()
            .ino()
    };
    let before = inode();
    let again = place
        .store
        .put_aci(
            &mut &*bytes,
            &Origin {
                url: None,
                latest: true,
                ..Default::default()
            },
        )
        .unwrap();
    assert!(again.import_time_ns > first.import_time_ns);
    assert!(again.latest && !first.latest);
    assert_eq!(before, inode());
    assert_eq!(place.store.list().unwrap().len(), 1);
    assert_eq!(place.store.get(&id).unwrap(), Some(again));
    place.assert_tidy();
}

#[test]
fn a_failed_import_leaves_nothing() {
    let place = Place::new();
    let (bytes, _) = small("a", "x");
    let no_name = aci("{\"acKind\":\"ImageManifest\"}", &[("f", "x")]);
    let escaping = {
        let mut tar = bytes.clone();
        // The name of the last entry's header.
        let at = tar.windows(11).position(|w| w == b"rootfs/file").unwrap();
        tar[at..at + 11].copy_from_slice(b"rootfs/../x");
        tar
    };
    for bad in [
        &bytes[..bytes.len() / 2],
        b"not an archive",
        b"",
        &no_name,
        &escaping,
    ] {
        assert!(place.store.put_aci(&mut &*bad, &Origin::default()).is_err());
    }
    struct Broken;
    impl Read for Broken {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::Error::other("line cut"))
        }
    }
    assert!(
        place
            .store
            .put_aci(&mut (&bytes[..700]).chain(Broken), &Origin::default())
            .is_err()
    );
    for folder in ["images", "layers", "names", "urls", "l", "tmp"] {
        assert_eq!(place.names(folder), [""; 0], "{folder}");
    }
}

#[test]
fn folders_have_their_modes_and_inherit_the_group() {
    let place = Place::new();
    std::fs::set_permissions(place.temp.path(), PermissionsExt::from_mode(0o2750)).unwrap();
    let id = place.image("a", "", &[("d/", ""), ("d/f", "x")]);
    let mode = |inside: &str| std::fs::metadata(place.path(inside)).unwrap().mode() & 0o7777;
    assert_eq!(mode(""), 0o2750);
    assert_eq!(mode("images"), 0o2750);
    assert_eq!(mode(&format!("images/{}/record", id.as_str())), 0o640);
    assert_eq!(mode(&format!("images/{}/manifest", id.as_str())), 0o640);
    assert_eq!(mode("layers"), 0o2700);
    // What is in an image has no bit that is not the image's.
    assert_eq!(mode(&format!("layers/{}", id.as_str())), 0o700);
    assert_eq!(mode(&format!("layers/{}/rootfs", id.as_str())), 0o755);
    assert_eq!(mode(&format!("layers/{}/rootfs/d", id.as_str())), 0o755);
}

#[test]
fn a_damaged_record_hides_no_other_image() {
    let place = Place::new();
    let good = place.image("a", "", &[("f", "good")]);
    let bad = place.image("a", "", &[("f", "bad")]);
    let record = place.path(&format!("images/{}/record", bad.as_str()));
    for damage in ["", "{", "{}", "[1]", "{\"format\":2}", "\u{0}"] {
        std::fs::write(&record, damage).unwrap();
        assert!(place.store.get(&bad).is_err(), "{damage}");
        assert_eq!(
            place
                .store
                .list()
                .unwrap()
                .iter()
                .filter(|record| record.is_ok())
                .count(),
            1
        );
        let found = place
            .store
            .find(&name("a"), &Labels::default())
            .unwrap()
            .unwrap();
        assert_eq!(found.id, good);
    }
    place.store.remove(&bad).unwrap();
    assert_eq!(place.store.list().unwrap().len(), 1);
}

#[test]
fn a_store_of_old_is_noticed() {
    let temp = Temp::new();
    assert!(!crate::old_database(temp.path()));
    std::fs::create_dir_all(temp.path().join("cas/db")).unwrap();
    assert!(crate::old_database(temp.path()));
}

#[test]
fn what_a_server_says_of_a_url_is_kept_until_it_says_otherwise() {
    let place = Place::new();
    let origin = Origin {
        url: Some("docker://example.com/a:1".into()),
        etag: Some("\"one\"".into()),
        fresh_until: Some(1_700_000_000),
        digest: Some("sha256:abc".into()),
        latest: false,
    };
    let (bytes, id) = small("a", "x");
    place.store.put_aci(&mut &*bytes, &origin).unwrap();
    let url = origin.url.as_deref().unwrap();
    let fetched = place.store.fetched(url).unwrap().unwrap();
    assert_eq!(fetched.record.id, id);
    assert_eq!((fetched.etag, fetched.digest), (origin.etag, origin.digest));
    assert_eq!(fetched.fresh_until, Some(1_700_000_000));
    place.store.refresh(url, None, Some(1_800_000_000)).unwrap();
    let fetched = place.store.fetched(url).unwrap().unwrap();
    assert_eq!(fetched.etag.as_deref(), Some("\"one\""));
    assert_eq!(fetched.fresh_until, Some(1_800_000_000));
    place.store.refresh(url, Some("two"), None).unwrap();
    let fetched = place.store.fetched(url).unwrap().unwrap();
    assert_eq!(
        (fetched.etag.as_deref(), fetched.fresh_until),
        (Some("two"), None)
    );
    place
        .store
        .refresh("docker://example.com/b", None, None)
        .unwrap();
    assert!(
        place
            .store
            .fetched("docker://example.com/b")
            .unwrap()
            .is_none()
    );
    place.assert_tidy();
}
