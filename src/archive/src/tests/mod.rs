//! Archives made by hand and by the system's `tar`, unpacked, looked at, and
//! made again. Each test has its own directory and removes it.
//!
//! What needs root (owners, devices, attributes) is looked at only by root;
//! without it the tests say so and check the rest.
#![expect(clippy::unwrap_used, reason = "tests")]

mod bounds;
mod confined;
mod formats;
mod made;
mod packed;
mod rebuilt;

use std::fs::File;
use std::io::Write;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use model::fault::Fault;
use rustix::fs::{CWD, Mode, OFlags};
use sha2::{Digest, Sha512};
use tar::Header;

use crate::{Options, Unpacked, rebuild, unpack_aci};

pub(super) const MANIFEST: &[u8] = br#"{"acKind":"ImageManifest","acVersion":"0.8.11","name":"a"}"#;

/// A directory of one test.
pub(super) struct Scratch(pub(super) PathBuf);

impl Scratch {
    pub(super) fn new() -> Scratch {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let n = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("rkt-test-a-{}-{n}", std::process::id()));
        std::fs::create_dir(&path).unwrap();
        Scratch(path)
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let name = self.0.file_name().unwrap().to_owned();
        let parent = open_dir(self.0.parent().unwrap());
        sys::fs::remove_tree(parent.as_fd(), name).unwrap();
    }
}

pub(super) fn open_dir(path: &Path) -> OwnedFd {
    rustix::fs::openat(CWD, path, OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty()).unwrap()
}

pub(super) fn is_root() -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        eprintln!("not root: owners, devices and capabilities are not looked at");
    }
    root
}

/// An unpacked image, and where.
pub(super) struct Image {
    pub(super) scratch: Scratch,
    pub(super) made: Unpacked,
}

impl Image {
    pub(super) fn rootfs(&self, name: &str) -> PathBuf {
        self.scratch.path("image/rootfs").join(name)
    }

    pub(super) fn read(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.rootfs(name)).unwrap()
    }

    pub(super) fn rebuild(&self) -> Result<Vec<u8>, Fault> {
        let recipe = File::open(self.scratch.path("recipe")).unwrap();
        let mut out = Vec::new();
        let dir = open_dir(&self.scratch.path("image"));
        let rebuilt = rebuild(&recipe, dir.as_fd(), &mut out)?;
        assert_eq!(rebuilt.size, out.len() as u64);
        assert_eq!(rebuilt.digest, self.made.digest);
        Ok(out)
    }
}

pub(super) fn unpack_with(bytes: &[u8], options: &Options) -> Result<Image, Fault> {
    let scratch = Scratch::new();
    std::fs::create_dir(scratch.path("image")).unwrap();
    let recipe = File::create(scratch.path("recipe")).unwrap();
    let dir = open_dir(&scratch.path("image"));
    let made = unpack_aci(bytes, dir.as_fd(), recipe, options)?;
    Ok(Image { scratch, made })
}

pub(super) fn unpack(bytes: &[u8]) -> Result<Image, Fault> {
    unpack_with(bytes, &Options::default())
}

/// Unpacks an uncompressed archive and makes it again.
pub(super) fn round_trip(bytes: &[u8]) -> Image {
    let image = unpack(bytes).unwrap();
    assert_eq!(image.made.digest, <[u8; 64]>::from(Sha512::digest(bytes)));
    assert_eq!(image.made.size, bytes.len() as u64);
    assert!(image.rebuild().unwrap() == bytes, "the bytes differ");
    image
}

/// The text of the failure that these bytes must give.
pub(super) fn refused(bytes: &[u8]) -> String {
    match unpack(bytes) {
        Ok(image) => panic!("it was unpacked: {:?}", image.made.notes),
        Err(fault) => fault.to_string(),
    }
}

/// Tars by hand, also such as no tool would make.
#[derive(Clone, Default)]
pub(super) struct Tar(pub(super) Vec<u8>);

impl Tar {
    /// With a manifest and the root.
    pub(super) fn image() -> Tar {
        Tar::default().file("manifest", MANIFEST).dir("rootfs/")
    }

    pub(super) fn header(name: &str, kind: u8, size: u64) -> Header {
        let mut header = Header::new_ustar();
        header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
        header.set_mode(0o644);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(1_500_000_000);
        header.set_size(size);
        header.as_mut_bytes()[156] = kind;
        header.set_cksum();
        header
    }

    pub(super) fn raw(mut self, bytes: &[u8]) -> Tar {
        self.0.extend_from_slice(bytes);
        self
    }

    /// A header with changes of one's own, and content.
    pub(super) fn entry(
        self,
        name: &str,
        kind: u8,
        content: &[u8],
        change: impl Fn(&mut Header),
    ) -> Tar {
        let mut header = Tar::header(name, kind, content.len() as u64);
        change(&mut header);
        header.set_cksum();
        let mut this = self.raw(header.as_bytes()).raw(content);
        this.0.resize(this.0.len().next_multiple_of(512), 0);
        this
    }

    pub(super) fn file(self, name: &str, content: &[u8]) -> Tar {
        self.entry(name, b'0', content, |_| {})
    }

    pub(super) fn dir(self, name: &str) -> Tar {
        self.entry(name, b'5', b"", |header| header.set_mode(0o755))
    }

    pub(super) fn link(self, name: &str, kind: u8, target: &str) -> Tar {
        self.entry(name, kind, b"", |header| {
            header.as_old_mut().linkname[..target.len()].copy_from_slice(target.as_bytes());
        })
    }

    /// An extended header with these records.
    pub(super) fn pax(self, kind: u8, records: &[(&str, &[u8])]) -> Tar {
        let mut body = Vec::new();
        for (key, value) in records {
            crate::pax::push(&mut body, key.as_bytes(), value);
        }
        self.entry("pax", kind, &body, |_| {})
    }

    pub(super) fn end(self) -> Vec<u8> {
        self.raw(&[0; 1024]).0
    }
}

/// Runs a tool with `stdin`; None (and a word about it) where it is missing.
pub(super) fn tool(dir: &Path, name: &str, args: &[&str], stdin: &[u8]) -> Option<Vec<u8>> {
    let child = Command::new(name)
        .args(args)
        .current_dir(dir)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn();
    let Ok(mut child) = child else {
        eprintln!("no `{name}` here: not looked at");
        return None;
    };
    let mut input = child.stdin.take().unwrap();
    let output = std::thread::scope(|scope| {
        scope.spawn(move || input.write_all(stdin));
        child.wait_with_output().unwrap()
    });
    assert!(output.status.success(), "{name} {args:?}");
    Some(output.stdout)
}
