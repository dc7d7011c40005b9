//! The store as its callers see it, on real directories.
#![expect(clippy::unwrap_used, reason = "tests")]

mod confined;
mod copying;
mod importing;
mod layers;
mod many;
mod packing;
mod removing;
mod rendering;
mod verifying;

use crate::testing::{Temp, aci, id_of, manifest};
use crate::{ImageRecord, Origin, Store};
use model::{AcIdentifier, ImageId, Labels, PodUuid};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// A store in a directory of its own.
struct Place {
    temp: Temp,
    store: Store,
}

impl Place {
    fn new() -> Place {
        let temp = Temp::new();
        let store = Store::open(temp.path()).unwrap();
        Place { temp, store }
    }

    fn path(&self, inside: &str) -> std::path::PathBuf {
        self.temp.path().join("store").join(inside)
    }

    fn put(&self, bytes: &[u8]) -> ImageRecord {
        self.store
            .put_aci(&mut &*bytes, &Origin::default())
            .unwrap()
    }

    /// Stores an image of the given manifest members and files.
    fn image(&self, name: &str, more: &str, files: &[(&str, &str)]) -> ImageId {
        self.put(&aci(&manifest(name, more), files)).id
    }

    fn names(&self, inside: &str) -> Vec<String> {
        names(&self.path(inside))
    }

    /// Nothing is left of work in progress.
    fn assert_tidy(&self) {
        assert_eq!(self.names("tmp"), [""; 0]);
    }
}

fn names(dir: &Path) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(dir) else {
        return Vec::new();
    };
    let mut names: Vec<String> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// `path mode content-or-target`, sorted: what a tree looks like.
fn listing(dir: &Path) -> Vec<String> {
    let mut lines = Vec::new();
    let mut todo = vec![dir.to_path_buf()];
    while let Some(path) = todo.pop() {
        let meta = std::fs::symlink_metadata(&path).unwrap();
        let shown = path.strip_prefix(dir).unwrap().display().to_string();
        let what = if meta.is_dir() {
            todo.extend(
                std::fs::read_dir(&path)
                    .unwrap()
                    .map(|entry| entry.unwrap().path()),
            );
            "dir".to_string()
        } else if meta.is_symlink() {
            format!("-> {}", std::fs::read_link(&path).unwrap().display())
        } else {
            String::from_utf8_lossy(&std::fs::read(&path).unwrap()).into_owned()
        };
        lines.push(format!(
            "{shown} {:o} {} {what}",
            meta.mode() & 0o7777,
            meta.mtime()
        ));
    }
    lines.sort();
    lines
}

fn name(name: &str) -> AcIdentifier {
    AcIdentifier::new(name).unwrap()
}

fn labels(version: &str) -> Labels {
    Labels::new(vec![model::Label::new("version", version).unwrap()]).unwrap()
}

fn pod(number: u8) -> PodUuid {
    PodUuid::random([number; 16])
}

fn export(store: &Store, id: &ImageId) -> Vec<u8> {
    let mut out = Vec::new();
    store.export(id, &mut out).unwrap();
    out
}

/// An image of one file.
fn small(name: &str, content: &str) -> (Vec<u8>, ImageId) {
    let bytes = aci(&manifest(name, ""), &[("file", content)]);
    let id = id_of(&bytes);
    (bytes, id)
}
