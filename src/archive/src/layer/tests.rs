//! Layers made by hand: what lies on disk, and what the index says.
//!
//! Owners, devices, whiteouts and `trusted.` attributes on disk are looked at
//! only by root; the index is looked at by everybody.
#![expect(clippy::unwrap_used, reason = "tests")]

mod bounds;
mod deletions;
mod hostile;
mod links;
mod stored;

use std::collections::BTreeMap;
use std::os::fd::AsFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use model::digest::Algorithm;
use sha2::{Digest, Sha256, Sha512};

use super::*;
use crate::options::{Form, Marks};
use crate::tests::{Scratch, Tar, is_root, open_dir};

/// A layer that was unpacked, and where.
struct Done {
    scratch: Scratch,
    layer: Layer,
}

impl Done {
    fn path(&self, name: &str) -> PathBuf {
        self.scratch.path("layer/rootfs").join(name)
    }

    fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).unwrap()
    }

    fn node(&self, name: &str) -> &Node {
        let index = &self.layer.index;
        index
            .find(name.as_bytes())
            .unwrap_or_else(|| panic!("no node {name:?}: {}", self.lines()))
    }

    /// Every node in a line: `path kind[!][?]`, `!` opaque, `?` not listed.
    fn lines(&self) -> String {
        let line = |node: &Node| {
            let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
            let kind = match &node.kind {
                NodeKind::Dir { opaque: true } => "dir!".to_owned(),
                NodeKind::Dir { .. } => "dir".to_owned(),
                NodeKind::File { size } => format!("file {size}"),
                NodeKind::Symlink { target } => format!("-> {}", text(target)),
                NodeKind::Hardlink { target } => format!("= {}", text(target)),
                NodeKind::LowerLink { target } => format!("=below {}", text(target)),
                NodeKind::Char { major, minor } => format!("c {major}:{minor}"),
                NodeKind::Block { major, minor } => format!("b {major}:{minor}"),
                NodeKind::Fifo => "fifo".to_owned(),
                NodeKind::Whiteout => "gone".to_owned(),
            };
            let listed = if node.listed { "" } else { "?" };
            format!("/{} {kind}{listed}", text(&node.path))
        };
        let lines: Vec<String> = self.layer.index.nodes.iter().map(line).collect();
        lines.join("; ")
    }
}

fn options(owners: bool) -> Options {
    let own = Form::own();
    let none = Form {
        owners: false,
        root: false,
        marks: Marks::Absent,
        ..own
    };
    Options {
        form: if owners { own } else { none },
        ..Options::default()
    }
}

fn unpack_with(tar: &[u8], options: &Options) -> Result<Done> {
    let scratch = Scratch::new();
    std::fs::create_dir(scratch.path("layer")).unwrap();
    let dir = open_dir(&scratch.path("layer"));
    let layer = unpack_layer(tar, dir.as_fd(), Algorithm::Sha256, options)?;
    let done = Done { scratch, layer };
    check(&done, options);
    Ok(done)
}

/// Unpacks; with and without owners the index is the same.
fn unpack(tar: &[u8]) -> Done {
    let done = unpack_with(tar, &Options::default()).unwrap();
    let plain = unpack_with(tar, &options(false)).unwrap();
    assert_eq!(done.layer.index, plain.layer.index);
    done
}

fn refused(tar: &[u8]) -> String {
    match unpack_with(tar, &Options::default()) {
        Ok(done) => panic!("it was unpacked: {}", done.lines()),
        Err(fault) => fault.to_string(),
    }
}

/// What holds for every layer: the digest, and that disk and index agree.
fn check(done: &Done, options: &Options) {
    let mut found = BTreeMap::new();
    walk(&done.path(""), "", &mut found);
    for node in &done.layer.index.nodes {
        let name = std::str::from_utf8(&node.path).unwrap();
        let on_disk = match node.kind {
            NodeKind::LowerLink { .. } => false,
            NodeKind::Whiteout | NodeKind::Char { .. } | NodeKind::Block { .. } => {
                options.form.owners
            }
            _ => true,
        };
        let Some(meta) = found.remove(name) else {
            assert!(!on_disk, "{name} is not on disk");
            continue;
        };
        assert!(on_disk, "{name} is on disk");
        let file = meta.file_type();
        match &node.kind {
            NodeKind::Dir { .. } => assert!(file.is_dir(), "{name}"),
            NodeKind::File { size } => assert_eq!(meta.len(), *size, "{name}"),
            NodeKind::Hardlink { target } => {
                let target = done.path(std::str::from_utf8(target).unwrap());
                assert_eq!(std::fs::metadata(target).unwrap().ino(), meta.ino());
            }
            NodeKind::Symlink { target } => {
                let path = std::fs::read_link(done.path(name)).unwrap();
                assert_eq!(path.as_os_str().as_encoded_bytes(), target);
            }
            NodeKind::Fifo => assert!(file.is_fifo(), "{name}"),
            NodeKind::Whiteout => {
                assert!(file.is_char_device() && meta.rdev() == 0, "{name}");
                continue;
            }
            _ => {}
        }
        assert_eq!(
            (meta.mtime(), meta.mtime_nsec() as u32),
            node.mtime,
            "{name}"
        );
        if options.form.owners {
            assert_eq!((meta.uid(), meta.gid()), (node.uid, node.gid), "{name}");
            assert_eq!(meta.mode() & 0o7777, node.mode, "{name}");
        }
    }
    assert!(found.is_empty(), "not in the index: {:?}", found.keys());
}

fn walk(dir: &Path, name: &str, found: &mut BTreeMap<String, std::fs::Metadata>) {
    let meta = std::fs::symlink_metadata(dir).unwrap();
    if meta.is_dir() {
        for entry in std::fs::read_dir(dir).unwrap() {
            let entry = entry.unwrap();
            let below = entry.file_name().into_string().unwrap();
            let below = match name {
                "" => below,
                name => format!("{name}/{below}"),
            };
            walk(&entry.path(), &below, found);
        }
    }
    found.insert(name.to_owned(), meta);
}

fn opaque_on_disk(path: &Path) -> bool {
    let mut value = [0; 8];
    let got = rustix::fs::getxattr(path, c"trusted.overlay.opaque", &mut value);
    got.is_ok_and(|n| &value[..n] == b"y")
}

#[test]
fn attributes_and_times_are_kept_to_the_last_bit() {
    let caps = b"\x01\0\0\x02\0\x04\0\0\0\0\0\0\0\0\0\0\0\0\0\0";
    let tar = Tar::default()
        .entry("./", b'5', b"", |header| {
            header.set_mode(0o1750);
            header.set_gid(7);
        })
        .pax(
            b'x',
            &[
                ("mtime", b"1234567890.123456789"),
                ("uid", b"3000000"),
                ("SCHILY.xattr.user.b", b"2"),
                ("SCHILY.xattr.user.a", b"0"),
                ("SCHILY.xattr.security.capability", caps),
                ("SCHILY.xattr.trusted.overlay.opaque", b"y"),
                ("SCHILY.xattr.user.overlay.opaque", b"y"),
                ("SCHILY.xattr.user.a", b"1"),
            ],
        )
        .entry("bin/su", b'0', b"su", |header| header.set_mode(0o6755))
        .pax(b'x', &[("mtime", b"-1.25"), ("SCHILY.xattr.user.d", b"d")])
        .entry("old/", b'5', b"", |header| header.set_mode(0o2555))
        .entry("old/shut", b'0', b"x", |header| header.set_mode(0))
        .entry("pipe", b'6', b"", |header| {
            header.set_mode(0o620);
            header.set_gid(5);
        })
        .link("soft", b'2', "/bin/su")
        .entry("old/wide", b'0', b"", |header| header.set_mode(0o777))
        .end();
    let done = unpack(&tar);
    assert_eq!(
        done.lines(),
        "/ dir; /bin dir?; /bin/su file 2; /old dir; /old/shut file 1; \
         /old/wide file 0; /pipe fifo; /soft -> /bin/su"
    );
    let su = done.node("bin/su");
    let xattr = |name: &str, value: &[u8]| (name.as_bytes().to_vec(), value.to_vec());
    let wanted = [
        xattr("security.capability", caps),
        xattr("user.a", b"1"),
        xattr("user.b", b"2"),
    ];
    assert_eq!(su.xattrs, wanted);
    assert_eq!((su.mode, su.uid), (0o6755, 3_000_000));
    assert_eq!(su.mtime, (1_234_567_890, 123_456_789));
    let old = done.node("old");
    assert_eq!((old.mode, old.mtime), (0o2555, (-2, 750_000_000)));
    assert_eq!(done.node("").mode, 0o1750);
    let bin = done.node("bin");
    assert_eq!((bin.mode, bin.uid, bin.mtime), (0o755, 0, (0, 0)));
    assert_eq!(done.layer.rootfs_bytes, 3);
    assert_eq!(done.layer.notes.len(), 2, "{:?}", done.layer.notes);
    let sum = <[u8; 32]>::from(Sha256::digest(&tar));
    let wanted = model::Digest::from_bytes(Algorithm::Sha256, &sum).unwrap();
    assert_eq!(done.layer.diff_id, wanted);
    assert_eq!(done.layer.size, tar.len() as u64);
    if is_root() {
        let mut value = [0; 64];
        let n = rustix::fs::getxattr(done.path("bin/su"), c"security.capability", &mut value);
        assert_eq!(&value[..n.unwrap()], caps);
        assert!(!opaque_on_disk(&done.path("bin/su")));
    }
}

#[test]
fn the_hash_is_the_one_that_was_asked_for() {
    let tar = Tar::default().file("f", b"x").end();
    let scratch = Scratch::new();
    let dir = open_dir(&scratch.0);
    let layer = unpack_layer(
        tar.as_slice(),
        dir.as_fd(),
        Algorithm::Sha512,
        &Options::default(),
    );
    let sum = <[u8; 64]>::from(Sha512::digest(&tar));
    let wanted = model::Digest::from_bytes(Algorithm::Sha512, &sum).unwrap();
    assert_eq!(layer.unwrap().diff_id, wanted);
}

#[test]
fn a_name_that_comes_twice_is_there_once() {
    let tar = Tar::default()
        .file("f", b"first")
        .file("f", b"second")
        .dir("d/")
        .file("d/in", b"x")
        .file("d", b"flat")
        .file("e", b"x")
        .link("e", b'2', "f")
        .dir("s/")
        .file("s/kept", b"kept")
        .entry("s/", b'5', b"", |header| header.set_mode(0o700))
        .end();
    let done = unpack(&tar);
    assert_eq!(
        done.lines(),
        "/ dir?; /d file 4; /e -> f; /f file 6; /s dir; /s/kept file 4"
    );
    assert_eq!(done.read("f"), "second");
    assert_eq!(done.node("s").mode, 0o700);
    assert_eq!(done.layer.rootfs_bytes, 14);
}
