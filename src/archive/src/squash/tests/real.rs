//! Merged trees on disk: what overlay shows of the layers and their fixups, the
//! tree of hard links, the canonical image, and a layer against its index.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use rustix::fs::{AtFlags, CWD, FileType, Mode, XattrFlags, mknodat, utimensat};
use sha2::Digest;

use super::*;
use crate::metadata::times;
use crate::options::Form;
use crate::squash::{Merged, build_links, check, merge, write_squashed};
use crate::tests::{MANIFEST, Scratch, is_root, open_dir, round_trip, tool};

fn at(root: &Path, path: &[u8]) -> std::path::PathBuf {
    root.join(std::ffi::OsStr::from_bytes(path))
}

/// Makes a layer's directory as unpacking does.
fn unpacked(root: &Path, index: &Index) -> OwnedFd {
    std::fs::create_dir(root).expect("a new directory");
    let set = |node: &Node, path: &Path| {
        if !matches!(node.kind, NodeKind::Symlink { .. }) {
            let mode = std::fs::Permissions::from_mode(node.mode);
            std::fs::set_permissions(path, mode).expect("chmod");
        }
        let times = times(node.mtime);
        utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW).expect("utimens");
    };
    for node in &index.nodes {
        let path = at(root, &node.path);
        match &node.kind {
            NodeKind::Dir { opaque } => {
                std::fs::create_dir_all(&path).expect("mkdir");
                if *opaque {
                    let flags = XattrFlags::empty();
                    rustix::fs::setxattr(&path, "trusted.overlay.opaque", b"y", flags)
                        .expect("setxattr");
                }
                continue;
            }
            NodeKind::File { size } => {
                std::fs::write(&path, vec![b'x'; *size as usize]).expect("write");
            }
            NodeKind::Symlink { target } => {
                std::os::unix::fs::symlink(std::ffi::OsStr::from_bytes(target), &path)
                    .expect("symlink");
            }
            NodeKind::Whiteout => {
                let mode = Mode::empty();
                mknodat(CWD, &path, FileType::CharacterDevice, mode, 0).expect("mknod");
                continue;
            }
            NodeKind::Hardlink { .. } | NodeKind::LowerLink { .. } => continue,
            other => panic!("{other:?} is not in these tests"),
        }
        set(node, &path);
    }
    for node in &index.nodes {
        let NodeKind::Hardlink { target } = &node.kind else {
            continue;
        };
        // Another name of a lower layer's file is nowhere either.
        if at(root, target).symlink_metadata().is_ok() {
            std::fs::hard_link(at(root, target), at(root, &node.path)).expect("link");
        }
    }
    for node in index.nodes.iter().rev() {
        if let NodeKind::Dir { .. } = node.kind {
            set(node, &at(root, &node.path));
        }
    }
    open_dir(root)
}

struct Stack {
    scratch: Scratch,
    merged: Merged,
    roots: Vec<OwnedFd>,
}

impl Stack {
    fn new(layers: &[Index]) -> Option<Stack> {
        let merged = merge(&layers.iter().collect::<Vec<_>>()).ok()?;
        let scratch = Scratch::new();
        let roots = layers.iter().enumerate();
        let roots = roots.map(|(n, index)| unpacked(&scratch.path(&n.to_string()), index));
        Some(Stack {
            roots: roots.collect(),
            merged,
            scratch,
        })
    }

    fn fds(&self) -> Vec<BorrowedFd<'_>> {
        self.roots.iter().map(AsFd::as_fd).collect()
    }

    fn squash(&self) -> ::model::fault::Result<(crate::squash::Squashed, Vec<u8>)> {
        let mut out = Vec::new();
        let made = write_squashed(MANIFEST, &self.merged, &self.fds(), &mut out)?;
        Ok((made, out))
    }
}

/// Every path below, parents first.
fn walk(root: &Path, path: &Path, out: &mut Vec<Vec<u8>>) {
    let below = path.strip_prefix(root).expect("it is below");
    out.push(below.as_os_str().as_bytes().to_vec());
    if path
        .symlink_metadata()
        .expect("what is listed is there")
        .is_dir()
    {
        for entry in std::fs::read_dir(path).expect("readdir") {
            walk(root, &entry.expect("readdir").path(), out);
        }
    }
}

/// The tree at `root` is the merged one: every path with its attributes, no other.
fn assert_shows(root: &Path, merged: &Merged, about: &str) {
    let mut there = Vec::new();
    walk(root, root, &mut there);
    there.sort();
    let wanted: Vec<Vec<u8>> = merged.shown.iter().map(|s| s.path.clone()).collect();
    assert_eq!(there, wanted, "{about}");
    for shown in &merged.shown {
        let (path, node) = (at(root, &shown.path), &shown.node);
        let about = format!("{path:?} {about}");
        let stat = path.symlink_metadata().expect("it was listed");
        assert_eq!(stat.mtime(), node.mtime.0, "{about}");
        match &node.kind {
            NodeKind::Symlink { target } => {
                let there = path.read_link().expect("a link");
                assert_eq!(there.as_os_str().as_bytes(), target, "{about}");
                continue;
            }
            NodeKind::Dir { .. } => assert!(stat.is_dir(), "{about}"),
            NodeKind::File { size } => assert_eq!(stat.len(), *size, "{about}"),
            NodeKind::Hardlink { target } => {
                let first = at(root, target).symlink_metadata().expect("its target");
                assert_eq!(stat.ino(), first.ino(), "{about}");
            }
            other => panic!("{other:?} {about}"),
        }
        assert_eq!(stat.mode() & 0o7777, node.mode, "{about}");
    }
}

#[test]
fn overlay_shows_the_merged_tree() {
    if !is_root() {
        return;
    }
    // A thread may have mounts of its own: they go with it.
    let mounts = std::thread::spawn(|| {
        use sys::mount::{Flags, mount, propagation};
        sys::ns::unshare(sys::clone::Namespaces::MOUNT).expect("unshare");
        propagation("/", Flags::PRIVATE).expect("private mounts");
        let mut dice = Dice(77);
        let (mut fixed, mut plain) = (0, 0);
        for round in 0..250 {
            let layers: Vec<Index> = (0..=dice.roll(4))
                .map(|number| dice.layer(number, round % 4 == 0))
                .collect();
            let Some(stack) = Stack::new(&layers) else {
                continue;
            };
            if !stack.merged.overlay {
                continue;
            }
            let scratch = &stack.scratch;
            std::fs::create_dir(scratch.path("none")).expect("mkdir");
            std::fs::create_dir(scratch.path("fix")).expect("mkdir");
            std::fs::create_dir(scratch.path("merged")).expect("mkdir");
            let mut lowers: Vec<String> = (0..layers.len())
                .rev()
                .map(|n| scratch.path(&n.to_string()).display().to_string())
                .collect();
            if stack.merged.fixups.is_empty() {
                plain += 1;
            } else {
                let fix = open_dir(&scratch.path("fix"));
                build_links(&stack.merged.fixups, &stack.fds(), fix.as_fd(), Form::own())
                    .expect("fixups");
                lowers.insert(0, scratch.path("fix").display().to_string());
                fixed += 1;
            }
            lowers.push(scratch.path("none").display().to_string());
            let data = format!("lowerdir={}", lowers.join(":"));
            let target = scratch.path("merged");
            mount("overlay", &target, "overlay", Flags::RDONLY, &data).expect("mount");
            let about = format!("round {round}: {layers:#?} {:#?}", stack.merged.fixups);
            let shows = || assert_shows(&target, &stack.merged, &about);
            let told = std::panic::catch_unwind(std::panic::AssertUnwindSafe(shows));
            sys::mount::detach(&target).expect("umount");
            if let Err(panic) = told {
                std::panic::resume_unwind(panic);
            }
        }
        assert!(fixed > 30 && plain > 50, "{fixed} {plain}");
    });
    mounts.join().expect("the overlay is right");
}

#[test]
fn hard_links_make_the_merged_tree_and_the_image() {
    if !is_root() {
        return;
    }
    let mut dice = Dice(4711);
    let mut made = 0;
    for round in 0..120 {
        let layers: Vec<Index> = (0..=dice.roll(4))
            .map(|number| dice.layer(number, round % 2 == 0))
            .collect();
        let Some(stack) = Stack::new(&layers) else {
            continue;
        };
        let tree = stack.scratch.path("tree");
        std::fs::create_dir(&tree).expect("mkdir");
        let into = open_dir(&tree);
        let notes = build_links(&stack.merged.shown, &stack.fds(), into.as_fd(), Form::own());
        assert_eq!(notes.expect("it builds"), [""; 0]);
        assert_shows(&tree, &stack.merged, &format!("round {round}"));
        // The image unpacks to the same tree, byte for byte in order.
        let (squashed, bytes) = stack.squash().expect("it is squashed");
        assert_eq!(squashed.size, bytes.len() as u64);
        assert_eq!(
            squashed.digest,
            <[u8; 64]>::from(sha2::Sha512::digest(&bytes))
        );
        let image = round_trip(&bytes);
        assert_eq!(image.made.manifest, MANIFEST);
        assert_shows(&image.rootfs(""), &stack.merged, &format!("round {round}"));
        for (index, root) in layers.iter().zip(stack.fds()) {
            // A hard link of a lower link is in no directory.
            let odd = |n: &Node| matches!(n.kind, NodeKind::Hardlink { .. });
            if !index.nodes.iter().any(odd) {
                assert_eq!(
                    check(index, root, Form::own()).expect("it is checked"),
                    None
                );
            }
        }
        made += 1;
    }
    assert!(made > 50, "{made}");
}

#[test]
fn the_image_is_known_by_its_bytes() {
    let scratch = Scratch::new();
    let root = scratch.path("0");
    std::fs::create_dir_all(root.join("a")).expect("mkdir");
    std::fs::write(root.join("a/f"), b"hello").expect("write");
    let long = "t".repeat(120);
    let index = layer(&[
        dir("a", 0o750),
        Node {
            mtime: (-2, 750_000_000),
            uid: 3_000_000,
            xattrs: vec![(b"user.k".to_vec(), b"v\nw".to_vec())],
            ..node("a/f", NodeKind::File { size: 5 }, 0o4755)
        },
        hardlink("a/g", "a/f"),
        symlink("a-b", &long),
        node("c", NodeKind::Char { major: 1, minor: 3 }, 0o666),
        node(
            "d",
            NodeKind::Block {
                major: 8,
                minor: 300,
            },
            0o660,
        ),
        node("e", NodeKind::Fifo, 0o600),
    ]);
    let merged = merge(&[&index]).expect("it merges");
    let fd = open_dir(&root);
    let mut bytes = Vec::new();
    let made = write_squashed(MANIFEST, &merged, &[fd.as_fd()], &mut bytes).expect("squashed");
    let again = write_squashed(MANIFEST, &merged, &[fd.as_fd()], &mut std::io::sink());
    assert_eq!(again.expect("squashed").digest, made.digest);
    // A change of this value changes the ID of every image there is.
    let hex: String = made.digest[..16]
        .iter()
        .map(|b| format!("{b:02x}"))
        .collect();
    assert_eq!(hex, "ae3a900e1b28f6ff9d2837ee7fca32f8");
    if let Some(list) = tool(&scratch.0, "tar", &["-t"], &bytes) {
        let list = String::from_utf8(list).expect("names");
        assert_eq!(
            list,
            "manifest\nrootfs/\nrootfs/a/\nrootfs/a-b\nrootfs/a/f\nrootfs/a/g\nrootfs/c\nrootfs/d\nrootfs/e\n"
        );
    }
}

#[test]
fn a_damaged_layer_gives_no_image() {
    let scratch = Scratch::new();
    let index = layer(&[file("d/f", 0o600)]);
    let merged = merge(&[&index]).expect("it merges");
    let size = 0o600;
    type Row<'a> = (&'a str, &'a dyn Fn(&Path), &'a str);
    let rows: [Row<'_>; 5] = [
        ("gone", &|_| {}, "no such file or directory"),
        (
            "short",
            &|d| std::fs::write(d.join("f"), vec![0; size - 1]).expect("write"),
            "has 383 bytes instead of 384",
        ),
        (
            "linked",
            &|d| std::os::unix::fs::symlink("/etc/passwd", d.join("f")).expect("symlink"),
            "too many levels of symbolic links",
        ),
        (
            "fifo",
            &|d| {
                let path = d.join("f");
                mknodat(CWD, path, FileType::Fifo, Mode::RUSR, 0).expect("mknod");
            },
            "is no regular file",
        ),
        (
            "moved",
            &|d| {
                std::fs::write(d.with_file_name("f"), vec![0; size]).expect("write");
                std::fs::remove_dir(d).expect("rmdir");
                std::os::unix::fs::symlink(".", d).expect("symlink");
            },
            "leads through a symbolic link",
        ),
    ];
    for (name, change, wanted) in rows {
        let root = scratch.path(name);
        std::fs::create_dir_all(root.join("d")).expect("mkdir");
        change(&root.join("d"));
        let fd = open_dir(&root);
        let fault = write_squashed(MANIFEST, &merged, &[fd.as_fd()], &mut std::io::sink());
        let fault = fault.expect_err(name);
        assert_eq!(fault.kind, ::model::fault::Kind::Corrupt, "{name}: {fault}");
        assert!(fault.to_string().contains(wanted), "{name}: {fault}");
    }
}

#[test]
fn a_writer_that_fails_ends_it() {
    struct Full;
    impl std::io::Write for Full {
        fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
            Err(std::io::Error::from_raw_os_error(28))
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let scratch = Scratch::new();
    let big = node("f", NodeKind::File { size: 20 << 20 }, 0o600);
    std::fs::create_dir(scratch.path("0")).expect("mkdir");
    let file = std::fs::File::create(scratch.path("0/f")).expect("create");
    file.set_len(20 << 20).expect("truncate");
    let merged = merge(&[&layer(&[big])]).expect("it merges");
    let fd = open_dir(&scratch.path("0"));
    let fault = write_squashed(MANIFEST, &merged, &[fd.as_fd()], &mut Full).expect_err("full");
    assert_eq!(
        fault.to_string(),
        "write the archive: no space left on device"
    );
}

#[test]
fn a_check_tells_the_first_difference() {
    if !is_root() {
        return;
    }
    let index = layer(&[
        dir("d", 0o750),
        node("d/o", NodeKind::Dir { opaque: true }, 0o755),
        file("d/f", 0o640),
        hardlink("d/g", "d/f"),
        symlink("d/l", "f"),
        whiteout("d/w"),
        lower("d/x", "elsewhere"),
    ]);
    let run = |root: &Path, command: &str| {
        let args = ["-c", command];
        tool(root, "sh", &args, b"").expect("a shell");
    };
    let rows = [
        ("true", None),
        (
            "touch -d @1 d; chmod 700 d/o",
            Some("\"d\" has another modification time"),
        ),
        ("chmod 700 d", Some("\"d\" has mode 0700 instead of 0750")),
        ("chown 5 d/f", Some("\"d/f\" belongs to 5:0 instead of 0:0")),
        (
            "truncate -s 3 d/f",
            Some("\"d/f\" has 3 bytes instead of 416"),
        ),
        ("mark", Some("\"d/f\" has the attribute \"user.k\"")),
        (
            "cp -p d/g d/h; mv d/h d/g; touch -d @1000488 d",
            Some("\"d/g\" is no hard link to \"d/f\""),
        ),
        (
            "ln -sfn g d/l; touch -d @1000488 d",
            Some("\"d/l\" leads to \"g\""),
        ),
        ("unmark", Some("\"d/o\" is not opaque")),
        (
            "rm d/w; mknod d/w c 1 3; touch -d @1000488 d",
            Some("\"d/w\" is of another type (CharacterDevice)"),
        ),
        (
            "touch d/x; touch -d @1000488 d",
            Some("\"d/x\" does not belong to it"),
        ),
        (
            "touch d/new; touch -d @1000488 d",
            Some("\"d/new\" does not belong to it"),
        ),
        ("rm d/f; touch -d @1000488 d", Some("\"d/f\" is missing")),
    ];
    for (command, wanted) in rows {
        let scratch = Scratch::new();
        let fd = unpacked(&scratch.path("0"), &index);
        match command {
            "mark" => {
                let path = scratch.path("0/d/f");
                rustix::fs::setxattr(path, "user.k", b"x", XattrFlags::empty()).expect("setxattr");
            }
            "unmark" => {
                let path = scratch.path("0/d/o");
                rustix::fs::removexattr(path, "trusted.overlay.opaque").expect("removexattr");
            }
            command => run(&scratch.path("0"), command),
        }
        let told = check(&index, fd.as_fd(), Form::own()).expect("it is checked");
        assert_eq!(told.as_deref(), wanted, "{command}");
    }
}
