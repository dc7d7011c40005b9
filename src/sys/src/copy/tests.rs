//! `copy_tree`: what is the same afterwards, and what must not happen.

use super::{Cause, Error, copy_entry, copy_tree, copy_tree_shifted};
use rustix::fs::{CWD, FileType, Mode, XattrFlags};
use std::fs::File;
use std::os::fd::AsFd;
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

/// A directory that goes with the value.
struct Temp(PathBuf);

impl Temp {
    fn new() -> Temp {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let n = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("sys-copy-{}-{n}", std::process::id()));
        std::fs::create_dir(&path).unwrap();
        Temp(path)
    }

    fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Temp {
    fn drop(&mut self) {
        // The standard library's way needs a descriptor per level.
        let _ = crate::fs::remove_tree(CWD, &self.0);
    }
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

fn copy(temp: &Temp) -> PathBuf {
    let (src, dst) = (temp.path().join("src"), temp.path().join("dst"));
    std::fs::create_dir(&dst).unwrap();
    let (from, to) = (File::open(&src).unwrap(), File::open(&dst).unwrap());
    copy_tree(from.as_fd(), to.as_fd()).unwrap();
    dst
}

fn source() -> (Temp, PathBuf) {
    let temp = Temp::new();
    let src = temp.path().join("src");
    std::fs::create_dir_all(src.join("dir/deep")).unwrap();
    (temp, src)
}

#[test]
fn everything_a_tree_has_is_copied() {
    let (temp, src) = source();
    std::fs::write(src.join("dir/file"), "content").unwrap();
    std::fs::hard_link(src.join("dir/file"), src.join("dir/deep/twin")).unwrap();
    std::fs::write(src.join("setuid"), "").unwrap();
    symlink("/nowhere/at all", src.join("link")).unwrap();
    rustix::fs::mknodat(
        CWD,
        src.join("fifo"),
        FileType::Fifo,
        Mode::from_raw_mode(0o622),
        0,
    )
    .unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(src.join("socket")).unwrap();
    let xattrs = rustix::fs::setxattr(src.join("dir"), "user.a", b"1", XattrFlags::empty()).is_ok();
    if is_root() {
        std::os::unix::fs::lchown(src.join("setuid"), Some(1234), Some(56)).unwrap();
        std::os::unix::fs::lchown(src.join("link"), Some(7), Some(8)).unwrap();
        let null = rustix::fs::makedev(1, 3);
        rustix::fs::mknodat(
            CWD,
            src.join("null"),
            FileType::CharacterDevice,
            Mode::from_raw_mode(0o666),
            null,
        )
        .unwrap();
    }
    std::fs::set_permissions(src.join("setuid"), PermissionsExt::from_mode(0o6751)).unwrap();
    std::fs::set_permissions(src.join("fifo"), PermissionsExt::from_mode(0o622)).unwrap();
    std::fs::set_permissions(src.join("dir/deep"), PermissionsExt::from_mode(0o1500)).unwrap();
    let old = std::time::UNIX_EPOCH + std::time::Duration::new(1_000_000_000, 123_456_789);
    for path in ["dir/file", "dir/deep", "dir", ""] {
        File::open(src.join(path))
            .unwrap()
            .set_modified(old)
            .unwrap();
    }
    let dst = copy(&temp);
    let stat = |path: PathBuf| std::fs::symlink_metadata(path).unwrap();
    let paths = [
        "",
        "dir",
        "dir/file",
        "dir/deep",
        "dir/deep/twin",
        "setuid",
        "link",
        "fifo",
        "null",
    ];
    for path in paths.iter().filter(|path| is_root() || **path != "null") {
        let (a, b) = (stat(src.join(path)), stat(dst.join(path)));
        assert_eq!(
            (a.mode(), a.uid(), a.gid(), a.rdev()),
            (b.mode(), b.uid(), b.gid(), b.rdev()),
            "{path}"
        );
        assert_eq!(
            (a.mtime(), a.mtime_nsec()),
            (b.mtime(), b.mtime_nsec()),
            "{path}"
        );
    }
    assert_eq!(std::fs::read(dst.join("dir/file")).unwrap(), b"content");
    assert_eq!(
        stat(dst.join("dir/file")).ino(),
        stat(dst.join("dir/deep/twin")).ino()
    );
    assert_eq!(
        std::fs::read_link(dst.join("link")).unwrap(),
        Path::new("/nowhere/at all")
    );
    assert!(!dst.join("socket").exists());
    if xattrs {
        let mut value = [0; 8];
        assert_eq!(
            rustix::fs::getxattr(dst.join("dir"), "user.a", &mut value).unwrap(),
            1
        );
    }
}

#[test]
fn file_capabilities_survive_the_change_of_owner() {
    if !is_root() {
        return;
    }
    let (temp, src) = source();
    std::fs::write(src.join("ping"), "x").unwrap();
    std::os::unix::fs::chown(src.join("ping"), Some(5), Some(5)).unwrap();
    // Version 2, effective, CAP_NET_RAW permitted.
    let value = [
        1, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
    ];
    let flags = XattrFlags::empty();
    rustix::fs::setxattr(src.join("ping"), "security.capability", &value, flags).unwrap();
    let dst = copy(&temp);
    let mut there = [0; 64];
    let length = rustix::fs::getxattr(dst.join("ping"), "security.capability", &mut there).unwrap();
    assert_eq!(there[..length], value);
}

#[test]
fn holes_stay_holes() {
    let (temp, src) = source();
    let file = File::create(src.join("sparse")).unwrap();
    file.write_all_at(b"start", 0).unwrap();
    file.write_all_at(b"end", 64 << 20).unwrap();
    file.set_len(128 << 20).unwrap();
    let dst = copy(&temp);
    let copied = File::open(dst.join("sparse")).unwrap();
    assert_eq!(copied.metadata().unwrap().len(), 128 << 20);
    assert!(copied.metadata().unwrap().blocks() * 512 < 1 << 20);
    let mut bytes = [0; 5];
    copied.read_exact_at(&mut bytes, 0).unwrap();
    assert_eq!(&bytes, b"start");
    copied.read_exact_at(&mut bytes, (64 << 20) - 1).unwrap();
    assert_eq!(&bytes, b"\0end\0");
}

#[test]
fn a_deep_tree_needs_few_descriptors() {
    let (temp, src) = source();
    let deep = src.join(["d"; 1500].join("/"));
    std::fs::create_dir_all(&deep).unwrap();
    std::fs::write(deep.join("f"), "x").unwrap();
    let dst = copy(&temp);
    assert_eq!(
        std::fs::read(dst.join(["d"; 1500].join("/")).join("f")).unwrap(),
        b"x"
    );
}

#[test]
fn owners_move_into_a_range_and_not_beyond() {
    if !is_root() {
        return;
    }
    let (temp, src) = source();
    std::fs::write(src.join("f"), "x").unwrap();
    std::os::unix::fs::chown(src.join("f"), Some(10), Some(20)).unwrap();
    let shifted = |to: &str, count: u32| {
        let dst = temp.path().join(to);
        std::fs::create_dir(&dst).unwrap();
        let (from, to) = (File::open(&src).unwrap(), File::open(&dst).unwrap());
        copy_tree_shifted(from.as_fd(), to.as_fd(), 65536, count).map(|()| dst)
    };
    let dst = shifted("fits", 65536).unwrap();
    let owner = |path: &str| {
        let meta = std::fs::metadata(dst.join(path)).unwrap();
        (meta.uid(), meta.gid())
    };
    assert_eq!((owner("f"), owner("dir")), ((65546, 65556), (65536, 65536)));
    let Error { path, cause } = shifted("short", 20).unwrap_err();
    assert_eq!(path, Path::new("f"));
    assert!(matches!(
        cause,
        Cause::OutOfRange {
            uid: 10,
            gid: 20,
            count: 20
        }
    ));
}

#[test]
fn links_out_of_the_tree_stay_links() {
    let (temp, src) = source();
    let outside = temp.path().join("outside");
    std::fs::create_dir(&outside).unwrap();
    std::fs::write(outside.join("secret"), "x").unwrap();
    symlink(&outside, src.join("absolute")).unwrap();
    symlink("../outside", src.join("dir/up")).unwrap();
    symlink("../outside/secret", src.join("file")).unwrap();
    symlink(".", src.join("self")).unwrap();
    let dst = copy(&temp);
    for link in ["absolute", "dir/up", "file", "self"] {
        let target = std::fs::read_link(dst.join(link)).unwrap();
        assert_eq!(target, std::fs::read_link(src.join(link)).unwrap());
    }
    assert_eq!(std::fs::read_dir(&outside).unwrap().count(), 1);
}

#[test]
fn one_entry_goes_to_the_same_path_and_an_error_names_it() {
    let (temp, src) = source();
    std::fs::write(src.join("dir/f"), "x").unwrap();
    let dst = temp.path().join("dst");
    std::fs::create_dir_all(dst.join("dir")).unwrap();
    let (from, to) = (File::open(&src).unwrap(), File::open(&dst).unwrap());
    copy_entry(from.as_fd(), to.as_fd(), Path::new("dir/f")).unwrap();
    assert_eq!(std::fs::read(dst.join("dir/f")).unwrap(), b"x");
    let again = copy_entry(from.as_fd(), to.as_fd(), Path::new("dir/f")).unwrap_err();
    assert_eq!(again.path, Path::new("dir/f"));
    let err = std::io::Error::from(again);
    assert_eq!(err.raw_os_error(), Some(libc::EEXIST));
}

#[test]
fn a_target_with_content_is_refused() {
    let (temp, src) = source();
    std::fs::write(src.join("f"), "x").unwrap();
    let dst = temp.path().join("dst");
    std::fs::create_dir(&dst).unwrap();
    symlink("../elsewhere", dst.join("f")).unwrap();
    let (from, to) = (File::open(&src).unwrap(), File::open(&dst).unwrap());
    assert!(copy_tree(from.as_fd(), to.as_fd()).is_err());
    assert!(!temp.path().join("elsewhere").exists());
}
