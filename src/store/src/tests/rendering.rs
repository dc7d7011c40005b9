//! Trees, extraction, holds.

use super::*;

fn dependency(name: &str) -> String {
    format!(r#"{{"imageName":"{name}"}}"#)
}

fn dependencies(names: &[&str]) -> String {
    let list: Vec<String> = names.iter().map(|name| dependency(name)).collect();
    format!(r#""dependencies":[{}]"#, list.join(","))
}

fn whitelist(paths: &[&str]) -> String {
    format!(r#""pathWhitelist":{paths:?}"#)
}

fn read(dir: &Path, path: &str) -> String {
    std::fs::read_to_string(dir.join(path)).unwrap_or_else(|_| "missing".into())
}

#[test]
fn an_image_alone_is_its_layer() {
    let place = Place::new();
    let id = place.image("a", "", &[("f", "x")]);
    let tree = place.store.render(&id).unwrap();
    assert_eq!(tree.lowers, [place.path(&format!("l/{}", &id.hex()[..8]))]);
    assert_eq!(read(&tree.lowers[0], "f"), "x");
    assert!(tree.tree_id.starts_with("deps-sha512-"));
    assert_eq!(place.names("trees"), [""; 0]);
}

#[test]
fn dependencies_are_merged_by_hard_links() {
    let place = Place::new();
    let d = place.image("d", "", &[("d", "d"), ("all", "d"), ("bc", "d")]);
    let c = place.image(
        "c",
        &dependencies(&["d"]),
        &[("c", "c"), ("all", "c"), ("bc", "c")],
    );
    let b = place.image(
        "b",
        "",
        &[
            ("b", "b"),
            ("all", "b"),
            ("bc", "b"),
            ("dir/", ""),
            ("dir/b", "b"),
        ],
    );
    let a = place.image(
        "a",
        &dependencies(&["b", "c"]),
        &[("a", "a"), ("all", "a"), ("dir/", ""), ("dir/a", "a")],
    );
    let before = listing(&place.path("layers"));
    let tree = place.store.render(&a).unwrap();
    let lower = &tree.lowers[0];
    for (path, want) in [
        ("a", "a"),
        ("b", "b"),
        ("c", "c"),
        ("d", "d"),
        ("all", "a"),
        ("bc", "c"),
        ("dir/a", "a"),
        ("dir/b", "b"),
    ] {
        assert_eq!(read(lower, path), want, "{path}");
    }
    assert_eq!(listing(&place.path("layers")), before);
    let inode = |path: std::path::PathBuf| std::fs::metadata(path).unwrap().ino();
    assert_eq!(
        inode(lower.join("d")),
        inode(place.path(&format!("layers/{}/rootfs/d", d.as_str())))
    );
    let want = format!(
        "{},{},{},{}",
        a.as_str(),
        c.as_str(),
        d.as_str(),
        b.as_str()
    );
    assert_eq!(
        tree.tree_id,
        format!("deps-sha512-{}", crate::digest::hex(&want, 64))
    );
    assert_eq!(place.store.get(&a).unwrap().unwrap().tree_size, 8);
    // Once more is the same tree.
    let inode_before = inode(lower.clone());
    let again = place.store.render(&a).unwrap();
    assert_eq!(inode_before, inode(again.lowers[0].clone()));
    place.assert_tidy();
}

#[test]
fn a_whitelist_alone_makes_a_tree() {
    let place = Place::new();
    let files = [
        ("keep/", ""),
        ("keep/yes", "y"),
        ("keep/no", "n"),
        ("link -> keep/yes", ""),
        ("drop", "n"),
    ];
    let id = place.image("a", &whitelist(&["/keep/yes", "/link"]), &files);
    let tree = place.store.render(&id).unwrap();
    assert_eq!(names(&tree.lowers[0]), ["keep", "link"]);
    assert_eq!(names(&tree.lowers[0].join("keep")), ["yes"]);
    assert_eq!(
        std::fs::metadata(tree.lowers[0].join("keep"))
            .unwrap()
            .mtime(),
        1_000_000_000
    );
}

#[test]
fn a_dependency_by_id_needs_no_name() {
    let place = Place::new();
    let base = place.image("base", "", &[("f", "x")]);
    let more = format!(
        r#""dependencies":[{{"imageName":"other","imageID":"{}"}}]"#,
        base.as_str()
    );
    let top = place.image("top", &more, &[]);
    assert_eq!(read(&place.store.render(&top).unwrap().lowers[0], "f"), "x");
}

#[test]
fn a_missing_dependency_and_a_cycle_are_told() {
    let place = Place::new();
    let top = place.image("top", &dependencies(&["base"]), &[]);
    let fault = place.store.render(&top).unwrap_err();
    assert_eq!(
        fault.cause,
        "cannot find aci satisfying name: \"base\" and labels: [] in the local store"
    );
    place.image("base", &dependencies(&["top"]), &[]);
    assert!(
        place
            .store
            .render(&top)
            .unwrap_err()
            .cause
            .contains("depends on itself")
    );
    place.assert_tidy();
}

#[test]
fn short_links_step_aside_for_each_other() {
    let place = Place::new();
    let id = place.image("a", "", &[("f", "x")]);
    let link = place.path(&format!("l/{}", &id.hex()[..8]));
    std::fs::remove_file(&link).unwrap();
    std::os::unix::fs::symlink("../layers/other/rootfs", &link).unwrap();
    let tree = place.store.render(&id).unwrap();
    assert_eq!(
        tree.lowers,
        [place.path(&format!("l/{}", &id.hex()[8..16]))]
    );
    assert_eq!(read(&tree.lowers[0], "f"), "x");
    drop(tree);
    place.store.remove(&id).unwrap();
    assert_eq!(place.names("l").len(), 1);
    assert!(link.is_symlink());
}

#[test]
fn extraction_is_of_one_image_and_rendering_of_all() {
    let place = Place::new();
    place.image("base", "", &[("base", "b")]);
    let top = place.image("top", &dependencies(&["base"]), &[("top", "t")]);
    let out = |name: &str| place.temp.path().join(name);
    place.store.extract(&top, &out("1"), false).unwrap();
    assert_eq!(names(&out("1")), ["manifest", "rootfs"]);
    assert_eq!(names(&out("1/rootfs")), ["top"]);
    place.store.extract(&top, &out("2"), true).unwrap();
    assert_eq!(names(&out("2")), ["top"]);
    place.store.render_to(&top, &out("3"), false).unwrap();
    assert_eq!(names(&out("3/rootfs")), ["base", "top"]);
    assert_eq!(
        std::fs::metadata(out("3/manifest")).unwrap().mode() & 0o777,
        0o700
    );
    std::fs::create_dir(out("4")).unwrap();
    place.store.render_to(&top, &out("4"), true).unwrap();
    assert_eq!(names(&out("4")), ["base", "top"]);
    let fault = place.store.extract(&top, &out("1"), false).unwrap_err();
    assert_eq!(fault.cause, "output directory exists (try --overwrite)");
    // Copies, not links: what is done to them must not reach the store.
    std::fs::write(out("1/rootfs/top"), "changed").unwrap();
    assert_eq!(
        read(&place.store.render(&top).unwrap().lowers[0], "top"),
        "t"
    );
}

#[test]
fn an_image_may_have_no_files() {
    let place = Place::new();
    let id = place.image("a", "", &[]);
    let tree = place.store.render(&id).unwrap();
    assert_eq!(names(&tree.lowers[0]), [""; 0]);
}
