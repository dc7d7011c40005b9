//! A directory tree as facts, so that two trees can be compared to the last bit: every path, type, mode, owner, time,
//! size, content, link target, device number and extended attribute.

use std::collections::BTreeMap;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

/// What is known of one path, in words.
pub type Facts = BTreeMap<PathBuf, Vec<String>>;

/// All paths below `root`, and the root itself as the empty path.
pub fn facts(root: &Path) -> Facts {
    let mut all = Facts::new();
    let mut waiting = vec![PathBuf::new()];
    while let Some(path) = waiting.pop() {
        let full = root.join(&path);
        let meta = full
            .symlink_metadata()
            .unwrap_or_else(|e| panic!("stat {}: {e}", full.display()));
        let mut words = vec![
            format!("mode={:o}", meta.mode()),
            format!("owner={}:{}", meta.uid(), meta.gid()),
            format!("mtime={}.{:09}", meta.mtime(), meta.mtime_nsec()),
        ];
        let kind = meta.file_type();
        if kind.is_file() {
            let bytes =
                std::fs::read(&full).unwrap_or_else(|e| panic!("read {}: {e}", full.display()));
            words.push(format!("size={}", bytes.len()));
            words.push(format!("content={:016x}", fnv(&bytes)));
        } else if kind.is_symlink() {
            let target = std::fs::read_link(&full)
                .unwrap_or_else(|e| panic!("readlink {}: {e}", full.display()));
            words.push(format!("target={}", target.display()));
        } else if kind.is_block_device() || kind.is_char_device() {
            words.push(format!("device={:x}", meta.rdev()));
        } else if kind.is_dir() {
            for entry in
                std::fs::read_dir(&full).unwrap_or_else(|e| panic!("list {}: {e}", full.display()))
            {
                waiting.push(path.join(entry.expect("a listed entry").file_name()));
            }
        }
        words.extend(xattrs(&full));
        all.insert(path, words);
    }
    all
}

fn xattrs(path: &Path) -> Vec<String> {
    let mut names = vec![0; 64 << 10];
    let length = match rustix::fs::llistxattr(path, &mut names[..]) {
        Ok(length) => length,
        Err(rustix::io::Errno::NOTSUP) => 0,
        Err(e) => panic!("list attributes of {}: {e}", path.display()),
    };
    let mut words: Vec<String> = names[..length]
        .split(|byte| *byte == 0)
        .filter(|name| !name.is_empty())
        .map(|name| {
            let mut value = vec![0; 64 << 10];
            let name = std::ffi::OsStr::from_bytes(name);
            let length = rustix::fs::lgetxattr(path, name, &mut value[..])
                .unwrap_or_else(|e| panic!("attribute {name:?} of {}: {e}", path.display()));
            format!("{}={:02x?}", name.display(), &value[..length])
        })
        .collect();
    words.sort();
    words
}

/// FNV-1a: an accident would have to be very lucky.
fn fnv(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

/// Fails with the first differences unless both trees are equal.
#[track_caller]
pub fn assert_same(ours: &Facts, theirs: &Facts, what: &str) {
    let mut differences = Vec::new();
    for path in ours
        .keys()
        .chain(theirs.keys().filter(|path| !ours.contains_key(*path)))
    {
        if ours.get(path) != theirs.get(path) {
            let show = |facts: Option<&Vec<String>>| {
                facts.map_or("missing".to_owned(), |words| words.join(" "))
            };
            differences.push(format!(
                "/{}\n  ours   {}\n  theirs {}",
                path.display(),
                show(ours.get(path)),
                show(theirs.get(path))
            ));
        }
    }
    assert!(
        differences.is_empty(),
        "{what}: {} of {} paths differ\n{}",
        differences.len(),
        theirs.len(),
        differences
            .iter()
            .take(20)
            .cloned()
            .collect::<Vec<_>>()
            .join("\n")
    );
}
