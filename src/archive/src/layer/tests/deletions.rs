//! Whiteouts and opaque directories, wherever they stand.

use super::*;

/// Every order of the entries gives the same index.
fn in_any_order(parts: &[&dyn Fn(Tar) -> Tar], wanted: &str) {
    let n = parts.len();
    let mut order: Vec<usize> = (0..n).collect();
    let mut turns = vec![0; n];
    let mut at = 0;
    loop {
        let tar = order.iter().fold(Tar::default(), |tar, &i| parts[i](tar));
        assert_eq!(unpack(&tar.end()).lines(), wanted, "order {order:?}");
        // Heap's algorithm.
        while at < n && turns[at] >= at {
            turns[at] = 0;
            at += 1;
        }
        if at == n {
            return;
        }
        order.swap(if at % 2 == 0 { 0 } else { turns[at] }, at);
        turns[at] += 1;
        at = 0;
    }
}

#[test]
fn a_whiteout_is_a_node_and_a_device() {
    let tar = Tar::default()
        .dir("d/")
        .file("d/.wh.gone", b"content of no interest")
        .file(".wh.top", b"")
        .file("deep/er/.wh.x", b"")
        .file("after", b"after")
        .end();
    let done = unpack(&tar);
    assert_eq!(
        done.lines(),
        "/ dir?; /after file 5; /d dir; /d/gone gone; /deep dir?; /deep/er dir?; \
         /deep/er/x gone; /top gone"
    );
    assert_eq!(done.node("d").mtime, (1_500_000_000, 0));
    // `check` looked at the devices; without owners there must be none.
    let plain = unpack_with(&tar, &options(false)).unwrap();
    assert!(!plain.path("top").exists());
}

#[test]
fn an_opaque_directory_keeps_its_siblings_in_any_order() {
    in_any_order(
        &[
            &|tar| tar.dir("d/"),
            &|tar| tar.file("d/.wh..wh..opq", b""),
            &|tar| tar.file("d/a", b"x"),
            // Nothing is below that it could hide.
            &|tar| tar.file("d/.wh.b", b""),
        ],
        "/ dir?; /d dir!; /d/a file 1",
    );
    let tar = Tar::default().file("d/.wh..wh..opq", b"").file("e", b"");
    let done = unpack(&tar.clone().end());
    assert_eq!(done.lines(), "/ dir?; /d dir!?; /e file 0");
    let root = unpack(&tar.file(".wh..wh..opq", b"").end());
    assert_eq!(root.lines(), "/ dir!?; /d dir!?; /e file 0");
    if is_root() {
        assert!(opaque_on_disk(&done.path("d")));
        assert!(!opaque_on_disk(&done.path("")) && opaque_on_disk(&root.path("")));
    }
    let plain = unpack_with(
        &Tar::default().file("d/.wh..wh..opq", b"").end(),
        &options(false),
    );
    assert!(!opaque_on_disk(&plain.unwrap().path("d")));
}

#[test]
fn what_is_in_the_layer_survives_a_whiteout_of_its_name() {
    in_any_order(
        &[
            &|tar| tar.file(".wh.f", b""),
            &|tar| tar.file("f", b"x"),
            &|tar| tar.file(".wh.d", b""),
            &|tar| tar.dir("d/"),
        ],
        "/ dir?; /d dir!; /f file 1",
    );
    // The deleted directory's attributes are gone with it.
    in_any_order(
        &[&|tar| tar.file(".wh.d", b""), &|tar| tar.file("d/f", b"")],
        "/ dir?; /d dir!; /d/f file 0",
    );
    in_any_order(
        &[&|tar| tar.file(".wh.l", b""), &|tar| {
            tar.link("l", b'1', "low")
        }],
        "/ dir?; /l =below low",
    );
}

#[test]
fn a_directory_in_place_of_something_else_is_opaque() {
    for other in [
        Tar::default().file("d", b"x"),
        Tar::default().link("d", b'2', "elsewhere"),
        Tar::default().entry("d", b'6', b"", |_| {}),
        Tar::default().link("d", b'1', "low"),
        Tar::default()
            .dir("d/")
            .file("d/.wh.x", b"")
            .file("d", b"x"),
    ] {
        let done = unpack(&other.dir("d/").dir("d/").file("d/in", b"").end());
        assert_eq!(done.lines(), "/ dir?; /d dir!; /d/in file 0");
    }
    let gone = Tar::default().dir("d/").file("d/.wh.x", b"").file("d", b"");
    assert_eq!(unpack(&gone.end()).lines(), "/ dir?; /d file 0");
}

#[test]
fn what_aufs_kept_for_itself_is_left_out() {
    let tar = Tar::default()
        .dir(".wh..wh.plnk/")
        .file(".wh..wh.plnk/12.34", b"payload")
        .file(".wh..wh.aufs", b"")
        .file("f", b"x")
        .end();
    let done = unpack(&tar);
    assert_eq!(done.lines(), "/ dir?; /f file 1");
    assert_eq!(done.layer.notes.len(), 1);
}
