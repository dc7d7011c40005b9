//! A data directory of its own for each test, removed at its end.

use model::PodUuid;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

pub(crate) struct TempData(PathBuf);

static NEXT: AtomicU32 = AtomicU32::new(0);

impl TempData {
    pub(crate) fn new() -> TempData {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path =
            std::env::temp_dir().join(format!("rkt-pod-test-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&path).expect("the temporary directory can be written");
        TempData(path)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// A UUID that starts with `number` in hex.
    pub(crate) fn uuid(&self, number: u8) -> PodUuid {
        PodUuid::random([number; 16])
    }
}

impl Drop for TempData {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
