//! What unpacking makes of honest entries.

use std::os::unix::fs::{FileTypeExt, MetadataExt};

use super::*;

#[test]
fn files_links_and_directories_have_content_mode_and_time() {
    let tar = Tar::image()
        .entry("./rootfs//a/", b'5', b"", |header| header.set_mode(0o555))
        .entry("rootfs/a/tool", b'0', b"text", |header| {
            header.set_mode(0o4755);
            header.set_uid(12);
            header.set_gid(34);
        })
        .link("rootfs/a/soft", b'2', "/a/tool")
        .link("rootfs/hard", b'1', "rootfs/a/tool")
        .entry("rootfs/pipe", b'6', b"", |header| header.set_mode(0o600))
        .file("rootfs/deep/down/file", b"x")
        .end();
    let image = round_trip(&tar);
    assert_eq!(image.made.manifest, MANIFEST);
    assert_eq!(image.made.entries, 8);
    assert_eq!(image.made.rootfs_bytes, 5);
    assert!(image.made.notes.is_empty(), "{:?}", image.made.notes);
    let tool = std::fs::metadata(image.rootfs("a/tool")).unwrap();
    let hard = std::fs::metadata(image.rootfs("hard")).unwrap();
    assert_eq!(tool.ino(), hard.ino());
    assert_eq!(tool.mtime(), 1_500_000_000);
    let dir = std::fs::metadata(image.rootfs("a")).unwrap();
    assert_eq!((dir.mode() & 0o7777, dir.mtime()), (0o555, 1_500_000_000));
    let soft = std::fs::symlink_metadata(image.rootfs("a/soft")).unwrap();
    assert_eq!(soft.mtime(), 1_500_000_000);
    assert_eq!(
        std::fs::read_link(image.rootfs("a/soft")).unwrap(),
        Path::new("/a/tool")
    );
    let pipe = std::fs::metadata(image.rootfs("pipe")).unwrap();
    assert!(pipe.file_type().is_fifo());
    let down = std::fs::metadata(image.rootfs("deep/down")).unwrap();
    assert_eq!(down.mode() & 0o7777, 0o755);
    if is_root() {
        assert_eq!(
            (tool.mode() & 0o7777, tool.uid(), tool.gid()),
            (0o4755, 12, 34)
        );
    } else {
        assert_eq!(tool.mode() & 0o7777, 0o755);
    }
}

#[test]
fn pax_records_and_gnu_long_names_are_folded_in() {
    let long = format!("rootfs/{}/{}", "d".repeat(120), "f".repeat(120));
    let gnu = format!("rootfs/{}", "g".repeat(200));
    let tar = Tar::image()
        .pax(
            b'x',
            &[
                ("path", long.as_bytes()),
                ("mtime", b"1234567890.5"),
                ("uid", b"3000000"),
                ("size", b"4"),
                ("SCHILY.xattr.user.colour", b"red\0blue"),
                ("SCHILY.xattr.trusted.overlay.opaque", b"y"),
                ("SCHILY.xattr.user.overlay.opaque", b"y"),
            ],
        )
        .entry("rootfs/short", b'0', b"long", |header| header.set_size(0))
        .entry("././@LongLink", b'L', format!("{gnu}\0").as_bytes(), |_| {})
        .file("rootfs/gggg", b"gnu")
        .pax(b'g', &[("comment", b"nothing")])
        .entry("././@LongLink", b'K', b"/somewhere/else\0", |_| {})
        .link("rootfs/link", b'2', "/some")
        .end();
    let image = round_trip(&tar);
    let name = long.strip_prefix("rootfs/").unwrap();
    assert_eq!(image.read(name), b"long");
    assert_eq!(image.read(gnu.strip_prefix("rootfs/").unwrap()), b"gnu");
    assert_eq!(
        std::fs::read_link(image.rootfs("link")).unwrap(),
        Path::new("/somewhere/else")
    );
    let meta = std::fs::metadata(image.rootfs(name)).unwrap();
    assert_eq!(
        (meta.mtime(), meta.mtime_nsec()),
        (1_234_567_890, 500_000_000)
    );
    if is_root() {
        assert_eq!(meta.uid(), 3_000_000);
    }
    let mut value = [0; 64];
    let get = |name: &str, value: &mut [u8]| {
        rustix::fs::getxattr(
            image.rootfs(long.strip_prefix("rootfs/").unwrap()),
            name,
            value,
        )
    };
    match get("user.colour", &mut value) {
        Ok(n) => assert_eq!(&value[..n], b"red\0blue"),
        Err(_) => assert!(!image.made.notes.is_empty()),
    }
    assert!(get("trusted.overlay.opaque", &mut value).is_err());
    assert!(get("user.overlay.opaque", &mut value).is_err());
}

#[test]
fn times_before_1970_and_base_256_numbers() {
    let tar = Tar::image()
        .entry("rootfs/old", b'0', b"", |header| {
            let field = &mut header.as_old_mut().mtime;
            *field = [0xff; 12];
            field[11] = 0xf6;
        })
        .pax(b'x', &[("mtime", b"-1.25")])
        .file("rootfs/older", b"")
        .end();
    let image = round_trip(&tar);
    assert_eq!(std::fs::metadata(image.rootfs("old")).unwrap().mtime(), -10);
    let older = std::fs::metadata(image.rootfs("older")).unwrap();
    assert_eq!((older.mtime(), older.mtime_nsec()), (-2, 750_000_000));
}

#[test]
fn devices_are_made_only_where_allowed_and_whiteouts_never() {
    let device = |major, minor| {
        move |header: &mut Header| {
            header.set_device_major(major).unwrap();
            header.set_device_minor(minor).unwrap();
        }
    };
    let tar = Tar::image()
        .entry("rootfs/null", b'3', b"", device(1, 3))
        .entry("rootfs/disk", b'4', b"", device(7, 200))
        .entry("rootfs/whiteout", b'3', b"", device(0, 0))
        .end();
    let image = round_trip(&tar);
    assert!(!image.rootfs("whiteout").exists());
    if is_root() {
        match std::fs::metadata(image.rootfs("null")) {
            Ok(null) => assert_eq!(null.rdev(), rustix::fs::makedev(1, 3)),
            Err(_) => assert_eq!(image.made.notes.len(), 3, "{:?}", image.made.notes),
        }
    }
    let options = Options {
        devices: false,
        ..Options::default()
    };
    let image = unpack_with(&tar, &options).unwrap();
    assert!(!image.rootfs("null").exists() && !image.rootfs("disk").exists());
    assert_eq!(image.made.notes.len(), 3);
    assert!(image.rebuild().unwrap() == tar);
}

#[test]
fn a_name_that_comes_twice_is_taken_from_its_later_entry() {
    let tar = Tar::image()
        .file("rootfs/a", b"first")
        .link("rootfs/b", b'1', "rootfs/a")
        .file("rootfs/a", b"second")
        .file("rootfs/c", b"file")
        .dir("rootfs/c/")
        .file("rootfs/c/inside", b"inside")
        .dir("rootfs/d/")
        .link("rootfs/d", b'2', "c")
        .file("rootfs/d/through", b"through")
        .link("rootfs/b", b'1', "rootfs/c/inside")
        .dir("rootfs/c/")
        .end();
    let image = round_trip(&tar);
    assert_eq!(image.read("a"), b"second");
    assert_eq!(image.read("b"), b"inside");
    assert_eq!(image.read("c/through"), b"through");
    assert!(
        image
            .made
            .notes
            .contains(&"duplicate file entry in archive: rootfs/a".to_owned())
    );
}

#[test]
fn a_link_that_is_replaced_does_not_change_what_earlier_entries_were() {
    let tar = Tar::image()
        .dir("rootfs/one/")
        .dir("rootfs/two/")
        .link("rootfs/to", b'2', "one")
        .file("rootfs/to/x", b"in one")
        .link("rootfs/to", b'2', "two")
        .file("rootfs/to/x", b"in two!")
        .end();
    let image = round_trip(&tar);
    assert_eq!(image.read("one/x"), b"in one");
    assert_eq!(image.read("two/x"), b"in two!");
}

#[test]
fn unknown_types_are_left_out_but_not_lost() {
    let tar = Tar::image()
        .entry("rootfs/dump", b'D', b"whatever", |_| {})
        .end();
    let image = round_trip(&tar);
    assert!(!image.rootfs("dump").exists());
    assert_eq!(
        image.made.notes,
        ["\"rootfs/dump\" is left out: unsupported type: D"]
    );
}
