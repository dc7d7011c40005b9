//! What the tests of this crate share: temporary directories, a reproducible
//! source of randomness, and a writer of small ACIs.

#![expect(clippy::unwrap_used, reason = "tests")]
use model::ImageId;
use sha2::{Digest, Sha512};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

/// A directory that goes with the value.
pub(crate) struct Temp(PathBuf);

impl Temp {
    pub(crate) fn new() -> Temp {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("rkt-test-store-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir(&path).unwrap();
        Temp(path)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Temp {
    fn drop(&mut self) {
        // The standard library's way needs a descriptor per level.
        let _ = crate::files::remove_tree(rustix::fs::CWD, &self.0);
    }
}

/// xorshift64.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Random {
        Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub(crate) fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % bound as u64).unwrap()
    }
}

/// A manifest with the given members after the name.
pub(crate) fn manifest(name: &str, more: &str) -> String {
    let comma = if more.is_empty() { "" } else { "," };
    format!(r#"{{"acKind":"ImageManifest","acVersion":"0.8.11","name":"{name}"{comma}{more}}}"#)
}

/// The `labels` member with a version.
pub(crate) fn version(version: &str) -> String {
    format!(r#""labels":[{{"name":"version","value":"{version}"}}]"#)
}

/// An uncompressed ACI of a manifest and files. `path/` is a directory, `path ->
/// target` a symbolic link, anything else a file with that content.
pub(crate) fn aci(manifest: &str, files: &[(&str, &str)]) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    let mut add = |path: &str, kind: tar::EntryType, mode: u32, data: &str, link: &str| {
        let mut header = tar::Header::new_ustar();
        header.set_entry_type(kind);
        header.set_mode(mode);
        header.set_mtime(1_000_000_000);
        header.set_uid(0);
        header.set_gid(0);
        header.set_size(data.len() as u64);
        if !link.is_empty() {
            header.set_link_name(link).unwrap();
        }
        tar.append_data(&mut header, path, data.as_bytes()).unwrap();
    };
    add("manifest", tar::EntryType::Regular, 0o644, manifest, "");
    add("rootfs", tar::EntryType::Directory, 0o755, "", "");
    for (path, data) in files {
        let path = format!("rootfs/{path}");
        match path.split_once(" -> ") {
            Some((path, target)) => add(path, tar::EntryType::Symlink, 0o777, "", target),
            None if path.ends_with('/') => add(&path, tar::EntryType::Directory, 0o755, "", ""),
            None => add(&path, tar::EntryType::Regular, 0o644, data, ""),
        }
    }
    tar.into_inner().unwrap()
}

pub(crate) fn id_of(aci: &[u8]) -> ImageId {
    ImageId::from_digest(&Sha512::digest(aci).into())
}

/// An uncompressed layer. `path/` is a directory, `path -> target` a symbolic
/// link, `path => target` a hard link, anything else a file with that content.
pub(crate) fn layer(entries: &[(&str, &str)]) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    for (path, data) in entries {
        let (kind, path, link) = if let Some((path, target)) = path.split_once(" -> ") {
            (tar::EntryType::Symlink, path, target)
        } else if let Some((path, target)) = path.split_once(" => ") {
            (tar::EntryType::Link, path, target)
        } else if path.ends_with('/') {
            (tar::EntryType::Directory, *path, "")
        } else {
            (tar::EntryType::Regular, *path, "")
        };
        let mut header = tar::Header::new_ustar();
        header.set_entry_type(kind);
        header.set_mode(if kind.is_dir() { 0o755 } else { 0o644 });
        header.set_mtime(1_000_000_000);
        header.set_uid(0);
        header.set_gid(0);
        header.set_size(data.len() as u64);
        if !link.is_empty() {
            header.set_link_name(link).unwrap();
        }
        tar.append_data(&mut header, path, data.as_bytes()).unwrap();
    }
    tar.into_inner().unwrap()
}

pub(crate) fn diff_id(layer: &[u8]) -> model::Digest {
    let bytes = sha2::Sha256::digest(layer);
    model::Digest::from_bytes(model::digest::Algorithm::Sha256, &bytes).unwrap()
}

/// The same bytes as gzip that does not compress.
pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut out = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];
    let blocks: Vec<&[u8]> = bytes.chunks(0xffff).collect();
    for (at, block) in blocks.iter().enumerate() {
        let length = u16::try_from(block.len()).unwrap();
        out.push(u8::from(at + 1 == blocks.len()));
        out.extend(length.to_le_bytes());
        out.extend((!length).to_le_bytes());
        out.extend(*block);
    }
    let mut crc = u32::MAX;
    for byte in bytes {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = (crc >> 1) ^ (0xedb8_8320 & (crc & 1).wrapping_neg());
        }
    }
    out.extend((!crc).to_le_bytes());
    out.extend(u32::try_from(bytes.len()).unwrap().to_le_bytes());
    out
}

/// Which ids a user namespace has, as root outside of it makes one for a test.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ids {
    /// 0 is an ordinary user, the others a range of theirs.
    Range,
    /// 0 is that user, and there is nobody else.
    Single,
}

impl Ids {
    /// Who 0 is outside.
    pub(crate) const USER: u32 = 70_001;

    fn map(self) -> sys::userns::IdMap {
        let mut map = sys::userns::IdMap::from_zero(Ids::USER, 1);
        if self == Ids::Range {
            map.0.push(sys::userns::IdRange {
                inside: 1,
                outside: 200_000,
                count: 65_535,
            });
        }
        map
    }
}

/// Runs a test once more in a process of its own, where no other thread does
/// anything, as whoever forks must. True in that process, false in the first one, where
/// the other has succeeded or the reason why there is none was told.
pub(crate) fn alone(test: &str) -> bool {
    const NAME: &str = "RKT_TEST_ALONE";
    if std::env::var_os(NAME).is_some_and(|name| name == test) {
        return true;
    }
    if !rustix::process::geteuid().is_root() || sys::userns::confined() {
        eprintln!("skipped: making user namespaces with many ids needs root");
        return false;
    }
    let done = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", test, "--test-threads=1", "--nocapture"])
        .env(NAME, test)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&done.stdout) + String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success() && said.contains("1 passed"), "{said}");
    false
}

/// Does something as root of a user namespace. What panics there fails here.
pub(crate) fn in_namespace(ids: Ids, work: impl FnOnce()) {
    use sys::clone::{Forked, Namespaces, fork_in_test};
    let (ready, tell) = rustix::pipe::pipe().unwrap();
    let namespaces = Namespaces::USER.and(Namespaces::MOUNT);
    match fork_in_test(namespaces).unwrap() {
        Forked::Child => {
            drop(tell);
            let _ = rustix::io::read(&ready, &mut [0; 1]);
            let work = std::panic::AssertUnwindSafe(|| {
                sys::creds::set_groups(0, &[]).unwrap();
                sys::creds::set_user(0).unwrap();
                work();
            });
            let failed = std::panic::catch_unwind(work).is_err();
            sys::process::exit_now(i32::from(failed))
        }
        Forked::Parent(pid) => {
            sys::userns::write_maps(pid, &ids.map(), &ids.map()).unwrap();
            drop(tell);
            let ended = sys::process::wait(pid).unwrap();
            assert_eq!(ended, sys::process::Ended::Exited(0), "{ids:?}");
        }
    }
}
