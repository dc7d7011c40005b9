//! Integrity checks and repair.

use super::*;
use crate::Integrity;

fn change(path: &Path) {
    std::fs::write(path, "!").unwrap();
}

fn reason(place: &Place, id: &ImageId) -> String {
    match place.store.verify(id).unwrap() {
        Integrity::Broken(reason) => reason,
        sound => panic!("{sound:?}"),
    }
}

#[test]
fn a_changed_layer_is_found_and_not_exported() {
    let place = Place::new();
    let id = place.image("a", "", &[("f", "x"), ("g", "y")]);
    assert_eq!(place.store.verify(&id).unwrap(), Integrity::Verified);
    let file = place.path(&format!("layers/{}/rootfs/f", id.as_str()));
    change(&file);
    reason(&place, &id);
    assert!(place.store.export(&id, &mut std::io::sink()).is_err());
    assert!(place.store.repair(&id).unwrap_err().hint.is_some());
    std::fs::remove_file(&file).unwrap();
    reason(&place, &id);
    std::fs::write(
        place.path(&format!("layers/{}/recipe", id.as_str())),
        "junk",
    )
    .unwrap();
    reason(&place, &id);
}

#[test]
fn a_missing_layer_is_told() {
    let place = Place::new();
    let id = place.image("a", "", &[("f", "x")]);
    std::fs::remove_dir_all(place.path(&format!("layers/{}", id.as_str()))).unwrap();
    reason(&place, &id);
    assert!(place.store.render(&id).unwrap_err().hint.is_some());
    // Fetching it again is all that is needed.
    place.put(&small("a", "other").0);
    let again = place.image("a", "", &[("f", "x")]);
    assert_eq!(again, id);
    assert_eq!(place.store.verify(&id).unwrap(), Integrity::Verified);
}

#[test]
fn a_broken_tree_is_found_and_repaired() {
    let place = Place::new();
    place.image("base", "", &[("d/", ""), ("d/base", "b")]);
    let id = place.image(
        "top",
        r#""dependencies":[{"imageName":"base"}]"#,
        &[("top", "t")],
    );
    assert_eq!(place.store.verify(&id).unwrap(), Integrity::NotRendered);
    let lower = place.store.render(&id).unwrap().lowers[0].clone();
    assert_eq!(place.store.verify(&id).unwrap(), Integrity::Verified);
    let lower = lower.canonicalize().unwrap();
    let damages: [(&dyn Fn(), &str); 4] = [
        (
            &|| std::fs::write(lower.join("more"), "").unwrap(),
            "\"more\" does not belong to it",
        ),
        (
            &|| std::fs::remove_file(lower.join("d/base")).unwrap(),
            "\"d/base\" is missing",
        ),
        (
            &|| {
                std::fs::remove_file(lower.join("top")).unwrap();
                std::fs::write(lower.join("top"), "T").unwrap();
            },
            "\"top\" differs from its layer",
        ),
        (
            &|| {
                use std::os::unix::fs::PermissionsExt;
                let mode = PermissionsExt::from_mode(0o777);
                std::fs::set_permissions(lower.join("d"), mode).unwrap();
            },
            "\"d\" has another owner or mode",
        ),
    ];
    for (damage, want) in damages {
        damage();
        assert_eq!(reason(&place, &id), want);
        place.store.repair(&id).unwrap();
        assert_eq!(place.store.verify(&id).unwrap(), Integrity::Verified);
    }
    // Equal copies, where the file system had no more links to give, are fine.
    let top = lower.join("top");
    let copy = lower.join("copy");
    std::fs::copy(&top, &copy).unwrap();
    std::fs::rename(&copy, &top).unwrap();
    assert_eq!(place.store.verify(&id).unwrap(), Integrity::Verified);
    let tree = place.store.render(&id).unwrap();
    place.store.hold(&tree, &pod(1)).unwrap();
    drop(tree);
    assert_eq!(
        place.store.repair(&id).unwrap_err().kind,
        model::Kind::Conflict
    );
}

#[test]
fn a_broken_dependency_is_named() {
    let place = Place::new();
    let base = place.image("base", "", &[("base", "b")]);
    let id = place.image(
        "top",
        r#""dependencies":[{"imageName":"base"}]"#,
        &[("top", "t")],
    );
    place.store.render(&id).unwrap();
    change(&place.path(&format!("layers/{}/rootfs/base", base.as_str())));
    assert!(reason(&place, &id).contains(base.as_str()));
    assert!(
        place
            .store
            .repair(&id)
            .unwrap_err()
            .hint
            .unwrap()
            .contains(base.as_str())
    );
}
