//! Archives that want out, or lie.

use super::*;

#[test]
fn nothing_leaves_the_root_through_names_or_links() {
    assert!(refused(&Tar::image().file("rootfs/../evil", b"x").end()).contains(".."));
    assert!(refused(&Tar::image().file("/rootfs/evil", b"x").end()).contains("absolute"));
    assert!(refused(&Tar::image().file("../evil", b"x").end()).contains(".."));
    let text = refused(
        &Tar::image()
            .pax(b'x', &[("path", b"rootfs/a\0b")])
            .file("x", b"")
            .end(),
    );
    assert!(text.contains("NUL"), "{text}");
    for target in [
        "../../outside",
        "/etc/passwd",
        "manifest",
        "rootfs/../../x",
        "other/x",
    ] {
        let text = refused(&Tar::image().link("rootfs/hard", b'1', target).end());
        assert!(text.contains("leads out of the root"), "{target}: {text}");
    }
}

#[test]
fn a_symlink_under_a_path_is_followed_inside_the_root_only() {
    let scratch = Scratch::new();
    let canary = scratch.path("canary");
    std::fs::create_dir(&canary).unwrap();
    let target = canary.to_str().unwrap();
    let up = format!("{}{target}", "../".repeat(20));
    for target in [target, up.as_str()] {
        let tar = Tar::image()
            .link("rootfs/way", b'2', target)
            .file("rootfs/way/evil", b"x");
        // The target does not exist inside: nothing may be made in its stead.
        refused(&tar.end());
        let made = Tar::image()
            .dir(&format!("rootfs{}/", canary.display()))
            .link("rootfs/way", b'2', target)
            .file("rootfs/way/evil", b"x")
            .link("rootfs/hard", b'1', "rootfs/way/evil")
            .end();
        let image = round_trip(&made);
        let inside = format!("{}/evil", canary.display());
        assert_eq!(image.read(inside.trim_start_matches('/')), b"x");
        assert_eq!(image.read("hard"), b"x");
    }
    assert_eq!(std::fs::read_dir(&canary).unwrap().count(), 0);
}

#[test]
fn a_link_at_the_final_name_is_replaced_and_never_written_through() {
    let scratch = Scratch::new();
    let canary = scratch.path("canary");
    std::fs::write(&canary, b"mine").unwrap();
    let target = canary.to_str().unwrap();
    let tar = Tar::image()
        .link("rootfs/a", b'2', target)
        .entry("rootfs/a", b'0', b"theirs", |header| header.set_mode(0o777))
        .link("rootfs/b", b'2', target)
        .dir("rootfs/b/")
        .link("rootfs/c", b'2', target)
        .entry("rootfs/c", b'6', b"", |_| {})
        .end();
    let image = round_trip(&tar);
    assert_eq!(image.read("a"), b"theirs");
    assert!(image.rootfs("b").is_dir());
    assert_eq!(std::fs::read(&canary).unwrap(), b"mine");
}

#[test]
fn rootfs_itself_cannot_be_a_link() {
    let tar = Tar::default()
        .file("manifest", MANIFEST)
        .link("rootfs", b'2', "/tmp")
        .end();
    assert_eq!(refused(&tar), "rootfs is not a directory");
}

#[test]
fn the_layout_is_checked() {
    assert_eq!(
        refused(&Tar::default().dir("rootfs").end()),
        "no image manifest found in layout"
    );
    let no_root = Tar::default().file("manifest", MANIFEST);
    assert_eq!(refused(&no_root.clone().end()), "no rootfs found in layout");
    assert_eq!(
        refused(&no_root.file("rootfs/a", b"").end()),
        "no rootfs found in layout"
    );
    let twice = Tar::image().file("./manifest", MANIFEST).end();
    assert_eq!(
        refused(&twice),
        "duplicate file entry in archive: ./manifest"
    );
    let stray = Tar::image().file("rootfsX/a", b"").end();
    assert_eq!(
        refused(&stray),
        "unrecognized file path in layout: \"rootfsX/a\""
    );
    let link = Tar::default()
        .link("manifest", b'2', "/etc/passwd")
        .dir("rootfs")
        .end();
    assert_eq!(refused(&link), "the image manifest is not a regular file");
    let full = Tar::image()
        .dir("rootfs/d")
        .file("rootfs/d/f", b"")
        .file("rootfs/d", b"")
        .end();
    assert!(refused(&full).contains("not empty"));
    let through = Tar::image()
        .file("rootfs/f", b"x")
        .file("rootfs/f/g", b"")
        .end();
    assert!(refused(&through).contains("not a directory"));
}

#[test]
fn a_truncated_archive_is_an_error_wherever_it_ends() {
    let whole = Tar::image()
        .pax(b'x', &[("path", b"rootfs/long")])
        .file("rootfs/f", &[7; 1000])
        .entry("././@LongLink", b'L', b"rootfs/longer\0", |_| {})
        .file("rootfs/g", &[8; 700])
        .0;
    let ends = [0, 1024, 1536, 4096, whole.len()];
    for len in (0..whole.len()).step_by(100).skip(6) {
        if !ends.contains(&len) {
            let text = refused(&whole[..len]);
            assert!(
                text == "unexpected EOF" || text.starts_with("no rootfs"),
                "{len}: {text}"
            );
        }
    }
    // Without the blocks of zeros it is whole all the same.
    round_trip(&whole);
}

#[test]
fn headers_that_lie_are_refused() {
    let bad = "archive/tar: invalid tar header";
    let mut broken = Tar::image().file("rootfs/f", b"x").end();
    broken[1536] ^= 1;
    assert_eq!(refused(&broken), bad);
    let size = |text: &'static [u8]| {
        Tar::image()
            .entry("rootfs/f", b'0', b"", move |h| {
                h.as_old_mut().size[..text.len()].copy_from_slice(text)
            })
            .end()
    };
    assert_eq!(refused(&size(b"zzzzzzzzzzz\0")), bad);
    assert_eq!(
        refused(&size(b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff")),
        bad
    );
    assert_eq!(refused(&size(b"77777777777\0")), "unexpected EOF");
    assert!(
        refused(&size(b"\x80\0\0\0\x7f\xff\xff\xff\xff\xff\xff\xff")).contains("have more than")
    );
    let nobody = Tar::image()
        .pax(b'x', &[("uid", b"4294967295")])
        .file("rootfs/f", b"")
        .end();
    assert_eq!(refused(&nobody), bad);
    for record in [
        "99 path=x\n",
        "8 path=x\n",
        "7 =xyz\n",
        "path=x\n",
        "9 path=xy",
    ] {
        let tar = Tar::image()
            .entry("pax", b'x', record.as_bytes(), |_| {})
            .file("rootfs/f", b"");
        assert_eq!(refused(&tar.end()), bad, "{record:?}");
    }
    let lone = Tar::image().raw(&[0; 512]).file("rootfs/f", b"").end();
    assert_eq!(refused(&lone), bad);
    let dangling = Tar::image().pax(b'x', &[("path", b"rootfs/x")]).end();
    assert_eq!(refused(&dangling), bad);
}

#[test]
fn sparse_maps_that_lie_are_refused() {
    let bad = "archive/tar: invalid tar header";
    let maps: [&[(&str, &[u8])]; 5] = [
        &[("GNU.sparse.map", b"0,4,2,4"), ("GNU.sparse.size", b"100")],
        &[("GNU.sparse.map", b"0,4,98,4"), ("GNU.sparse.size", b"100")],
        &[("GNU.sparse.map", b"0,4,50,5"), ("GNU.sparse.size", b"100")],
        &[("GNU.sparse.map", b"0,4,50"), ("GNU.sparse.size", b"100")],
        &[
            ("GNU.sparse.map", b"0,8,18446744073709551615,1"),
            ("GNU.sparse.size", b"100"),
        ],
    ];
    for map in maps {
        let tar = Tar::image()
            .pax(b'x', map)
            .file("rootfs/f", b"01234567")
            .end();
        assert_eq!(refused(&tar), bad, "{map:?}");
    }
    let claims = Tar::image()
        .pax(
            b'x',
            &[
                ("GNU.sparse.map", b"0,1"),
                ("GNU.sparse.size", b"9000000000000000000"),
            ],
        )
        .file("rootfs/f", b"0")
        .end();
    assert!(refused(&claims).contains("have more than"));
}
