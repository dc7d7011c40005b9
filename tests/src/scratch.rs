//! A directory of its own for each test, gone when the test ends.
//!
//! It holds the rkt data directory, configuration directories (empty, so that no `/etc/rkt` of the host is read),
//! archives and volumes. Dropping it removes everything, also when the test failed; set `KEEP=1` to look inside.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

#[derive(Debug)]
pub struct Scratch {
    root: PathBuf,
}

impl Scratch {
    /// Makes `<tmp>/rkt-test-<pid>-<n>-<name>`.
    pub fn new(name: &str) -> Scratch {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let base = std::env::var_os("RKT_SCRATCH").map_or_else(std::env::temp_dir, PathBuf::from);
        let stamp = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .map_or(0, |d| d.subsec_nanos());
        // The pid alone is not enough: in pid namespaces of their own all tests are the same low pid.
        let leaf = format!(
            "rkt-test-{}-{stamp:x}-{}-{name}",
            std::process::id(),
            NEXT.fetch_add(1, Ordering::Relaxed)
        );
        let root = base.join(leaf);
        std::fs::create_dir_all(root.join("etc"))
            .expect("a scratch directory below the temp directory");
        std::fs::create_dir_all(root.join("usr"))
            .expect("a scratch directory below the temp directory");
        Scratch { root }
    }

    pub fn path(&self) -> &Path {
        &self.root
    }

    /// A path below the scratch directory; nothing is created.
    pub fn at(&self, leaf: &str) -> PathBuf {
        self.root.join(leaf)
    }

    /// The data directory that `Rkt::new` hands to `--dir`.
    pub fn data(&self) -> PathBuf {
        self.at("data")
    }

    pub fn mkdir(&self, leaf: &str) -> PathBuf {
        let path = self.at(leaf);
        std::fs::create_dir_all(&path).expect("a directory below the scratch directory");
        path
    }

    pub fn write(&self, leaf: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        let path = self.at(leaf);
        std::fs::write(&path, bytes).expect("a file below the scratch directory");
        path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if std::env::var_os("KEEP").is_some() {
            eprintln!("kept {}", self.root.display());
            return;
        }
        // A failed test may leave mounts; inside its own mount namespace they can be cut off before the delete,
        // which would otherwise follow a bind mount into a host volume.
        if crate::isolated::inside() {
            for mount in crate::host::mounts_below(&self.root).into_iter().rev() {
                let _ = rustix::mount::unmount(&mount, rustix::mount::UnmountFlags::DETACH);
            }
        } else if !crate::host::mounts_below(&self.root).is_empty() {
            eprintln!("{} still has mounts and is left alone", self.root.display());
            return;
        }
        if let Err(e) = std::fs::remove_dir_all(&self.root) {
            eprintln!("cannot remove {}: {e}", self.root.display());
        }
    }
}
