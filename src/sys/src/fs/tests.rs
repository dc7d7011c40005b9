//! Paths that would leave their root, and trees that are hard to remove.

use super::*;
use std::os::unix::fs::symlink;
use std::sync::atomic::AtomicU32;

struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Scratch {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let n = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("sys-fs-{}-{n}", std::process::id()));
        std::fs::create_dir(&path).unwrap();
        Scratch(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let parent = InRoot::at(self.0.parent().unwrap()).unwrap();
        remove_tree(parent.fd(), self.0.file_name().unwrap()).unwrap();
    }
}

/// `root` with links of every kind, and `secret` beside it.
fn tree() -> (Scratch, InRoot) {
    let scratch = Scratch::new();
    let root = scratch.0.join("root");
    std::fs::create_dir_all(root.join("a/b")).unwrap();
    std::fs::write(root.join("a/file"), "inside").unwrap();
    std::fs::write(scratch.0.join("secret"), "outside").unwrap();
    std::fs::write(root.join("secret"), "decoy").unwrap();
    symlink("/a", root.join("absolute")).unwrap();
    symlink("../../../../../../a/b/../file", root.join("a/up")).unwrap();
    symlink("../secret", root.join("out")).unwrap();
    symlink(scratch.0.join("secret"), root.join("host")).unwrap();
    symlink("loop", root.join("loop")).unwrap();
    symlink("nowhere", root.join("dangling")).unwrap();
    symlink("a/b/", root.join("slashed")).unwrap();
    let root = InRoot::at(root).unwrap();
    (scratch, root)
}

type Outcome = Result<(u64, bool), Option<i32>>;

fn outcome(result: io::Result<OwnedFd>) -> Outcome {
    let fd = result.map_err(|err| err.raw_os_error())?;
    let stat = fstat(&fd).unwrap();
    Ok((
        stat.st_ino,
        FileType::from_raw_mode(stat.st_mode) == FileType::Symlink,
    ))
}

/// Every path and flag, through the call and through the walk.
#[test]
fn the_walk_answers_as_openat2_does() {
    let (_scratch, root) = tree();
    let paths = [
        "a/file",
        "/a/file",
        "absolute/file",
        "a/up",
        "out",
        "host",
        "loop",
        "loop/x",
        ".",
        "/",
        "..",
        "../..",
        "a/../a/./file",
        "a/file/",
        "a/b/",
        "a/file/x",
        "dangling",
        "dangling/x",
        "missing",
        "missing/x",
        "slashed",
        "slashed/../file",
        "absolute",
        "",
        "a//b",
        "absolute/",
        "a/b/..",
        "a/b/../../../secret",
        "up/../a",
    ];
    let flags = [
        OFlags::RDONLY,
        OFlags::PATH,
        OFlags::PATH | OFlags::NOFOLLOW,
        OFlags::RDONLY | OFlags::NOFOLLOW,
        OFlags::PATH | OFlags::DIRECTORY,
        OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW,
    ];
    for path in paths {
        for flags in flags {
            let flags = flags | OFlags::CLOEXEC;
            let called = outcome(root.open(path, flags, Mode::empty()));
            let walked = walk(root.fd(), Path::new(path), flags, Mode::empty());
            let walked = outcome(walked.map(|found| found.fd).map_err(Into::into));
            assert_eq!(called, walked, "{path:?} {flags:?}");
        }
    }
}

#[test]
fn links_stay_inside() {
    let (scratch, root) = tree();
    let text = |path: &str| {
        root.read(path, 100)
            .map(|bytes| String::from_utf8(bytes).unwrap())
    };
    assert_eq!(text("absolute/file").unwrap(), "inside");
    assert_eq!(text("a/up").unwrap(), "inside");
    assert_eq!(text("out").unwrap(), "decoy");
    assert_eq!(text("../secret").unwrap(), "decoy");
    assert!(text("host").is_err());
    assert_eq!(
        std::fs::read_to_string(scratch.0.join("secret")).unwrap(),
        "outside"
    );
}

#[test]
fn read_takes_regular_files_up_to_a_limit() {
    let (scratch, root) = tree();
    let kind = |path| root.read(path, 6).map_err(|err| err.raw_os_error());
    assert_eq!(kind("a/file").unwrap(), b"inside");
    assert_eq!(
        root.read("a/file", 5).unwrap_err().raw_os_error(),
        Some(libc::EFBIG)
    );
    let fifo = scratch.0.join("root/fifo");
    rustix::fs::mknodat(CWD, &fifo, FileType::Fifo, Mode::RUSR, 0).unwrap();
    assert_eq!(kind("fifo"), Err(Some(libc::EINVAL)));
    assert_eq!(kind("a"), Err(Some(libc::EINVAL)));
}

#[test]
fn directories_are_located_without_links() {
    let (_scratch, root) = tree();
    let path = |path: &str| root.directory(path).map(|found| found.path).ok();
    assert_eq!(path("a/b"), Some("a/b".into()));
    assert_eq!(path("absolute/b"), Some("a/b".into()));
    assert_eq!(path("slashed/.."), Some("a".into()));
    assert_eq!(path("."), Some("".into()));
    assert_eq!(path("a/file"), None);
    assert_eq!(root.parent("absolute/new").unwrap().1, "new");
    assert!(root.parent("..").is_err() && root.parent("/").is_err());
}

#[test]
fn mkdir_all_makes_what_is_missing_and_never_through_a_dangling_link() {
    let (scratch, root) = tree();
    root.mkdir_all("absolute/b/new/deep/", Mode::RWXU).unwrap();
    assert!(scratch.0.join("root/a/b/new/deep").is_dir());
    root.mkdir_all("absolute/b/new", Mode::RWXU).unwrap();
    assert!(root.mkdir_all("dangling/x", Mode::RWXU).is_err());
    assert!(root.mkdir_all("missing/../../x", Mode::RWXU).is_err());
    assert!(root.mkdir_all("a/file/x", Mode::RWXU).is_err());
    assert!(!scratch.0.join("root/nowhere").exists());
}

#[test]
fn chmod_refuses_links() {
    let (scratch, root) = tree();
    chmod_nofollow(root.fd(), OsStr::new("secret"), Mode::RUSR).unwrap();
    let mode = std::fs::metadata(scratch.0.join("root/secret")).unwrap();
    assert_eq!(std::os::unix::fs::MetadataExt::mode(&mode) & 0o777, 0o400);
    assert!(chmod_nofollow(root.fd(), OsStr::new("out"), Mode::RWXU).is_err());
}

#[test]
fn remove_tree_takes_deep_and_wide_trees_and_follows_no_link() {
    use std::os::unix::fs::PermissionsExt;
    let (scratch, _root) = tree();
    let base = InRoot::at(&scratch.0).unwrap();
    for (name, mode) in [("locked", 0o000), ("full", 0o555)] {
        let dir = scratch.0.join("root").join(name);
        std::fs::create_dir_all(dir.join("below")).unwrap();
        std::fs::set_permissions(&dir, PermissionsExt::from_mode(mode)).unwrap();
    }
    symlink(&scratch.0, scratch.0.join("root/a/way")).unwrap();
    let mut here = base.mkdir_all("root/deep", Mode::RWXU).unwrap();
    for n in 0..3000 {
        mkdirat(&here, "d", Mode::RWXU).unwrap();
        if n % 100 == 0 {
            mkdirat(&here, ".deep-1", Mode::RWXU).unwrap();
            symlink("x", scratch.0.join("root/deep/link")).ok();
        }
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        here = openat(&here, "d", flags, Mode::empty()).unwrap();
    }
    for n in 0..2000 {
        std::fs::write(scratch.0.join(format!("root/a/b/{n}")), "").unwrap();
    }
    remove_tree(base.fd(), "root").unwrap();
    assert!(!scratch.0.join("root").exists());
    assert!(scratch.0.join("secret").exists());
    remove_tree(base.fd(), "root").unwrap();
    symlink("secret", scratch.0.join("link")).unwrap();
    remove_tree(base.fd(), "link").unwrap();
    assert!(scratch.0.join("secret").exists());
}

/// In a mount namespace of the thread's own, so the host sees no mount.
#[test]
fn remove_tree_does_not_enter_a_mount() {
    use rustix::mount::{MountPropagationFlags, mount_bind, mount_change};
    if !rustix::process::geteuid().is_root() {
        eprintln!("not root: removal over a mount point is not looked at");
        return;
    }
    let scratch = Scratch::new();
    let (root, other) = (scratch.0.join("root"), scratch.0.join("other"));
    std::fs::create_dir_all(root.join("mnt")).unwrap();
    std::fs::create_dir(&other).unwrap();
    std::fs::write(other.join("kept"), "").unwrap();
    let thread = std::thread::spawn(move || {
        // SAFETY: only this thread changes its mount namespace and file
        // system attributes, and it ends with this closure.
        crate::check(unsafe { libc::unshare(libc::CLONE_NEWNS) }).unwrap();
        let private = MountPropagationFlags::REC | MountPropagationFlags::PRIVATE;
        mount_change("/", private).unwrap();
        mount_bind(&other, root.join("mnt")).unwrap();
        let base = InRoot::at(root.parent().unwrap()).unwrap();
        let err = remove_tree(base.fd(), "root").unwrap_err();
        assert_eq!(err.raw_os_error(), Some(libc::EBUSY));
        assert!(other.join("kept").exists());
    });
    thread.join().unwrap();
}

/// A thread exchanges a directory and a link while paths go through it.
#[test]
fn a_link_that_is_swapped_in_leads_nowhere() {
    use rustix::fs::{RenameFlags, renameat_with};
    let scratch = Scratch::new();
    let root = scratch.0.join("root");
    std::fs::create_dir_all(root.join("dir")).unwrap();
    std::fs::create_dir(scratch.0.join("canary")).unwrap();
    symlink(scratch.0.join("canary"), root.join("link")).unwrap();
    let root = InRoot::at(&root).unwrap();
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                let _ = renameat_with(root.fd(), "dir", root.fd(), "link", RenameFlags::EXCHANGE);
            }
        });
        for n in 0..500 {
            let _ = root.mkdir_all(format!("dir/{n}"), Mode::RWXU);
            let _ = walk(root.fd(), Path::new("dir/x"), OFlags::PATH, Mode::empty());
            let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::CLOEXEC;
            let _ = root.open(format!("dir/file{n}"), flags, Mode::RUSR);
            let _ = walk(
                root.fd(),
                Path::new(&format!("dir/walked{n}")),
                flags,
                Mode::RUSR,
            );
        }
        stop.store(true, Ordering::Relaxed);
    });
    assert_eq!(
        std::fs::read_dir(scratch.0.join("canary")).unwrap().count(),
        0
    );
}
