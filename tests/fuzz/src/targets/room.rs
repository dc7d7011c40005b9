//! A directory for one extraction, and beside it what an escape would touch.
//!
//! Input is nothing, output an empty directory `into`; `check` panics if anything else in the room changed. The room is
//! removed on drop.

use std::fs::{self, File};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use archive::Options;
use rustix::fs::{CWD, Mode, OFlags, openat};

const TEXT: &str = "not yours\n";

pub struct Room {
    path: PathBuf,
    sentinel: Vec<(PathBuf, Facts)>,
}

/// What an entry of the archive could change of a file outside: mode, owner, links, size, times.
#[derive(Debug, PartialEq)]
struct Facts(u32, u32, u32, u64, u64, i64, i64, i64, i64);

impl Room {
    pub fn new() -> Room {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path =
            std::env::temp_dir().join(format!("rkt-test-fuzz-{}-{number}", std::process::id()));
        fs::create_dir_all(path.join("into")).expect("the temporary directory is writable");
        fs::create_dir(path.join("dir")).expect("the room is new");
        for file in ["sentinel", "dir/sentinel"] {
            fs::write(path.join(file), TEXT).expect("the room is writable");
        }
        let sentinel = ["sentinel", "dir", "dir/sentinel"].map(|name| {
            let path = path.join(name);
            let facts = facts(&path);
            (path, facts)
        });
        Room {
            path,
            sentinel: sentinel.into(),
        }
    }

    pub fn dir(&self) -> OwnedFd {
        open(&self.path.join("into"))
    }

    /// The directory's own path, for what is not given an fd.
    pub fn path(&self) -> PathBuf {
        self.path.join("into")
    }

    pub fn rootfs(&self) -> OwnedFd {
        open(&self.path.join("into/rootfs"))
    }

    /// A new file for notes of the extraction.
    pub fn file(&self) -> File {
        let mut options = File::options();
        let options = options.read(true).write(true).create_new(true);
        options
            .open(self.path.join("file"))
            .expect("the room is writable")
    }

    /// Nothing outside `into` was made or changed.
    pub fn check(&self) {
        let names = |dir: &Path| {
            let entries = fs::read_dir(dir).expect("the room is readable");
            let mut names: Vec<_> = entries
                .map(|entry| entry.expect("the room is readable").file_name())
                .collect();
            names.sort();
            names
        };
        let mut here = names(&self.path);
        here.retain(|name| name != "file");
        assert_eq!(
            here,
            ["dir", "into", "sentinel"],
            "the room has something new"
        );
        assert_eq!(
            names(&self.path.join("dir")),
            ["sentinel"],
            "the directory beside has something new"
        );
        for (path, before) in &self.sentinel {
            assert_eq!(*before, facts(path), "{} was touched", path.display());
        }
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        let parent = self.path.parent().expect("a room lies in a directory");
        let name = self.path.file_name().expect("a room has a name");
        // What cannot be removed stays in the temporary directory, which the runner removes.
        let _ = sys::fs::remove_tree(open(parent).as_fd(), name);
    }
}

fn open(path: &Path) -> OwnedFd {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    openat(CWD, path, flags, Mode::empty()).expect("the room's directories are there")
}

fn facts(path: &Path) -> Facts {
    let m = fs::symlink_metadata(path).expect("the sentinel is still there");
    // Not the time of access: looking at a file is none of our business here.
    let (a, b, c, d) = (m.mtime(), m.mtime_nsec(), m.ctime(), m.ctime_nsec());
    Facts(m.mode(), m.uid(), m.gid(), m.nlink(), m.size(), a, b, c, d)
}

/// Small bounds, so that they are met and no input takes long.
pub fn options() -> Options {
    Options {
        max_bytes: 4 << 20,
        max_entries: 500,
        max_names: 64 << 10,
        max_manifest: 64 << 10,
        ..Options::default()
    }
}

pub fn root() -> bool {
    rustix::process::geteuid().is_root()
}
