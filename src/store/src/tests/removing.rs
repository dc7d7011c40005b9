//! Removal, holds, garbage collection, leftovers of killed processes.

use super::*;
use crate::Removal;
use crate::testing::version;
use std::time::Duration;

const HOUR: Duration = Duration::from_secs(3600);

fn gc(place: &Place, live: &[PodUuid]) -> crate::Swept {
    let swept = place
        .store
        .gc(now(), HOUR, &[], &|pod| live.contains(pod))
        .unwrap();
    assert!(swept.faults.is_empty(), "{:?}", swept.faults);
    swept
}

fn now() -> i64 {
    crate::put::now_ns()
}

/// Two images, the upper one of which depends on the lower.
fn pair(place: &Place) -> (ImageId, ImageId) {
    let base = place.image("base", "", &[("base", "b")]);
    let more = r#""dependencies":[{"imageName":"base"}]"#;
    (place.image("top", more, &[("top", "t")]), base)
}

fn assert_empty(place: &Place) {
    for folder in [
        "images", "names", "urls", "layers", "trees", "l", "holds", "tmp",
    ] {
        assert_eq!(place.names(folder), [""; 0], "{folder}");
    }
}

#[test]
fn removing_an_image_frees_all_of_it() {
    let place = Place::new();
    let id = place.image("a", &version("1"), &[("f", "x")]);
    assert!(matches!(place.store.remove(&id).unwrap(), Removal::Clean));
    assert_empty(&place);
    assert_eq!(
        place.store.remove(&id).unwrap_err().cause,
        "no image IDs found"
    );
    assert_eq!(
        place.store.render(&id).unwrap_err().cause,
        "no image IDs found"
    );
}

#[test]
fn a_held_layer_outlives_its_image() {
    let place = Place::new();
    let id = place.image("a", "", &[("f", "x")]);
    let tree = place.store.render(&id).unwrap();
    place.store.hold(&tree, &pod(1)).unwrap();
    place.store.hold(&tree, &pod(2)).unwrap();
    place.store.hold(&tree, &pod(2)).unwrap();
    let lower = tree.lowers[0].clone();
    drop(tree);
    place.store.remove(&id).unwrap();
    assert!(place.store.list().unwrap().is_empty());
    place.store.release(&pod(1)).unwrap();
    assert_eq!(std::fs::read(lower.join("f")).unwrap(), b"x");
    gc(&place, &[pod(2)]);
    assert_eq!(std::fs::read(lower.join("f")).unwrap(), b"x");
    place.store.release(&pod(2)).unwrap();
    assert_empty(&place);
}

#[test]
fn a_tree_in_use_cannot_go() {
    let place = Place::new();
    let id = place.image("a", "", &[("f", "x")]);
    let tree = place.store.render(&id).unwrap();
    place.store.remove(&id).unwrap();
    gc(&place, &[]);
    assert_eq!(std::fs::read(tree.lowers[0].join("f")).unwrap(), b"x");
    // Held as long as it is looked at, then for a pod.
    place.store.hold(&tree, &pod(1)).unwrap();
    drop(tree);
    assert!(gc(&place, &[pod(1)]).layers.is_empty());
    let swept = gc(&place, &[]);
    assert_eq!(
        (swept.holds, swept.layers),
        (1, vec![id.as_str().to_string()])
    );
    assert_empty(&place);
}

#[test]
fn a_tree_goes_with_its_image_and_keeps_its_layers_until_then() {
    let place = Place::new();
    let (top, base) = pair(&place);
    let tree = place.store.render(&top).unwrap();
    place.store.hold(&tree, &pod(1)).unwrap();
    drop(tree);
    place.store.remove(&base).unwrap();
    assert_eq!(place.names("layers").len(), 2);
    place.store.remove(&top).unwrap();
    assert_eq!(place.names("trees").len(), 1);
    place.store.release(&pod(1)).unwrap();
    assert_empty(&place);
}

#[test]
fn a_tree_of_an_older_dependency_goes() {
    let place = Place::new();
    let (top, _) = pair(&place);
    let old = place.store.render(&top).unwrap().tree_id;
    assert!(gc(&place, &[]).trees.is_empty());
    place.image("base", "", &[("base", "newer")]);
    let new = place.store.render(&top).unwrap().tree_id;
    assert_ne!(old, new);
    assert_eq!(gc(&place, &[]).trees, [old]);
    assert_eq!(place.names("trees"), [new]);
}

#[test]
fn unused_images_go_by_age_and_running_ones_stay() {
    let place = Place::new();
    let ids: Vec<ImageId> = (0..4)
        .map(|number| place.image("a", "", &[("f", &number.to_string())]))
        .collect();
    place.store.render(&ids[0]).unwrap();
    let at = |hours: i64| now() + hours * 3_600_000_000_000;
    let none = |_: &PodUuid| false;
    let early = place.store.gc(at(0), HOUR, &[], &none).unwrap();
    assert!(early.images.is_empty());
    let running = [ids[2].clone()];
    let swept = place.store.gc(at(2), HOUR, &running, &none).unwrap();
    let removed: Vec<&ImageId> = swept.images.iter().map(|(id, _)| id).collect();
    // Least recently used first; the first one was used last.
    assert_eq!(removed, [&ids[1], &ids[3], &ids[0]]);
    assert_eq!(place.store.list().unwrap().len(), 1);
    let rest = place.store.gc(at(2), Duration::ZERO, &[], &none).unwrap();
    assert_eq!(rest.images.len(), 1);
    assert_empty(&place);
}

#[test]
fn what_killed_processes_leave_is_swept() {
    let place = Place::new();
    let id = place.image("a", "", &[("f", "x")]);
    // An import that was killed while it unpacked.
    std::fs::create_dir_all(place.path("tmp/0123/layer/rootfs/deep")).unwrap();
    // One killed before its record was written.
    let other = small("b", "y").1;
    std::fs::create_dir_all(place.path(&format!("images/{}", other.as_str()))).unwrap();
    std::fs::write(
        place.path(&format!("images/{}/manifest", other.as_str())),
        "x",
    )
    .unwrap();
    std::fs::create_dir_all(place.path("names/feed")).unwrap();
    std::fs::write(place.path(&format!("names/feed/{}", other.as_str())), "").unwrap();
    std::fs::write(place.path("urls/feed"), "damaged").unwrap();
    // A removal killed after the seal, and a layer that no record names.
    let half = small("c", "z").1;
    std::fs::create_dir_all(place.path(&format!("layers/{}/rootfs", half.as_str()))).unwrap();
    let tree = format!("deps-sha512-{}", "0".repeat(64));
    std::fs::create_dir_all(place.path(&format!("trees/{tree}/rootfs"))).unwrap();
    std::fs::create_dir_all(place.path(&format!("holds/{}", half.as_str()))).unwrap();
    assert!(place.store.get(&other).unwrap().is_none());
    assert_eq!(place.store.list().unwrap().len(), 1);
    let swept = gc(&place, &[]);
    assert_eq!((swept.staging, swept.trees), (1, vec![tree]));
    assert_eq!(swept.layers, [half.as_str()]);
    assert_eq!(place.names("images"), [id.as_str()]);
    assert_eq!(place.names("layers"), [id.as_str()]);
    assert_eq!(place.names("names").len(), 1);
    for folder in ["urls", "holds", "trees", "tmp"] {
        assert_eq!(place.names(folder), [""; 0], "{folder}");
    }
}

#[test]
fn an_import_sweeps_and_replaces_leftovers_of_its_own_image() {
    let place = Place::new();
    let (bytes, id) = small("a", "x");
    for folder in [
        format!("layers/{}/rootfs", id.as_str()),
        format!("images/{}", id.as_str()),
        "tmp/77".into(),
    ] {
        std::fs::create_dir_all(place.path(&folder)).unwrap();
        std::fs::write(place.path(&folder).join("manifest"), "half").unwrap();
    }
    place.put(&bytes);
    assert_eq!(export(&place.store, &id), bytes);
    assert_eq!(
        names(&place.path(&format!("layers/{}/rootfs", id.as_str()))),
        ["file"]
    );
    place.assert_tidy();
}

#[test]
fn gc_of_no_store_does_nothing() {
    let place = Place::new();
    gc(&place, &[]);
    assert_eq!(names(place.temp.path()), [""; 0]);
    place.store.release(&pod(1)).unwrap();
}
