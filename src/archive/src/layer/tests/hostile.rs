//! Layers that want out, or lie: refused, or contained.

use super::*;

#[test]
fn nothing_leaves_the_root() {
    let rows = [
        (Tar::default().file("../x", b""), "climbs out"),
        (Tar::default().file("a/../../x", b""), "climbs out"),
        (Tar::default().file("/../x", b""), "climbs out"),
        (Tar::default().file("d/../../.wh.x", b""), "climbs out"),
        (Tar::default().file(".wh.", b""), "deletes no name"),
        (Tar::default().file("d/.wh..", b""), "deletes no name"),
        (Tar::default().file("d/.wh...", b""), "deletes no name"),
        (
            Tar::default().link("l", b'1', "../x"),
            "leads out of the root",
        ),
        (Tar::default().file(".", b""), "is not a directory"),
        (
            Tar::default().link("./", b'2', "/tmp"),
            "is not a directory",
        ),
        (
            Tar::default().file("f", b"").file("f/g", b""),
            "not a directory",
        ),
        (
            Tar::default().file("f", b"").file("f/.wh.g", b""),
            "not a directory",
        ),
        (
            Tar::default()
                .link("a", b'2', "b")
                .link("b", b'2', "a")
                .file("a/x", b""),
            "too many links",
        ),
        (
            Tar::default().dir("d/").link("l", b'1', "d"),
            "which is a directory",
        ),
        (Tar::default().link("l", b'1', ""), "leads out of the root"),
    ];
    for (tar, why) in rows {
        let text = refused(&tar.clone().end());
        assert!(text.contains(why), "{text:?}, wanted {why:?}");
        assert!(unpack_with(&tar.end(), &options(false)).is_err(), "{why}");
    }
}

#[test]
fn links_lead_nowhere_outside() {
    let scratch = Scratch::new();
    let canary = scratch.path("canary");
    std::fs::create_dir(&canary).unwrap();
    std::fs::write(canary.join("mine"), b"mine").unwrap();
    let target = canary.to_str().unwrap();
    let up = format!("{}{target}", "../".repeat(20));
    for target in [target, up.as_str()] {
        let mine = format!("{target}/mine");
        let tar = Tar::default()
            .link("way", b'2', target)
            .file("way/evil", b"x")
            .file("way/.wh.mine", b"")
            .file("way/.wh..wh..opq", b"")
            .link("soft", b'2', &mine)
            .link("hard", b'1', "soft")
            .entry("soft", b'0', b"theirs", |header| header.set_mode(0o777))
            .entry("hard", b'5', b"", |header| header.set_mode(0o777))
            .link("through", b'1', "way/mine")
            .end();
        let done = unpack(&tar);
        let inside = target.trim_start_matches("../").trim_start_matches('/');
        assert_eq!(done.read(&format!("{inside}/evil")), "x");
        assert!(done.path("hard").is_dir());
        assert!(matches!(
            done.node("through").kind,
            NodeKind::LowerLink { .. }
        ));
    }
    let absolute = unpack(&Tar::default().file(&format!("{target}/evil"), b"x").end());
    assert_eq!(absolute.read(&format!("{}/evil", &target[1..])), "x");
    assert_eq!(std::fs::read_dir(&canary).unwrap().count(), 1);
    assert_eq!(std::fs::read(canary.join("mine")).unwrap(), b"mine");
}

#[test]
fn an_overlay_whiteout_is_no_entry_of_a_layer() {
    let device = |major, minor| {
        move |header: &mut tar::Header| {
            header.set_device_major(major).unwrap();
            header.set_device_minor(minor).unwrap();
        }
    };
    let tar = Tar::default().entry("x", b'3', b"", device(0, 0)).end();
    assert!(refused(&tar).contains("takes for a deletion"));
    let tar = Tar::default().entry("x", b'3', b"", device(4096, 0)).end();
    assert!(refused(&tar).contains("device number"));
    let tar = Tar::default()
        .entry("null", b'3', b"", device(1, 3))
        .entry("zero", b'4', b"", device(0, 0))
        .link("also", b'1', "null")
        .file("file", b"")
        .entry("file", b'4', b"", device(7, 1))
        .file("null2", b"")
        .end();
    // Where root may not make devices there are notes and no devices.
    if is_root()
        && rustix::fs::mknodat(
            rustix::fs::CWD,
            Scratch::new().path("x"),
            rustix::fs::FileType::CharacterDevice,
            rustix::fs::Mode::empty(),
            rustix::fs::makedev(1, 3),
        ) != Err(rustix::io::Errno::PERM)
    {
        let done = unpack(&tar);
        assert!(std::fs::metadata(done.path("also")).unwrap().rdev() == rustix::fs::makedev(1, 3));
    }
    let plain = unpack_with(&tar, &options(false)).unwrap();
    assert_eq!(
        plain.lines(),
        "/ dir?; /also c 1:3; /file b 7:1; /null c 1:3; /null2 file 0; /zero b 0:0"
    );
    let none = Options {
        devices: false,
        ..options(false)
    };
    let none = unpack_with(&tar, &none).unwrap();
    assert_eq!(
        none.lines(),
        "/ dir?; /also =below null; /file file 0; /null2 file 0"
    );
}
