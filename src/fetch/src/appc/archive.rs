//! Images in local archives and OCI layouts: taken in as they are only if pinned
//! by digest, or with `--insecure-options=image`.

use super::check::watch;
use crate::Fetcher;
use crate::local::Import;
use model::fault::Result;
use model::oci::{Pick, Platform};
use model::{Fault, ImageId};
use std::path::Path;

pub(crate) fn fetch(fetcher: &Fetcher<'_>, path: &str, pick: Option<&Pick>) -> Result<ImageId> {
    fetcher
        .notes
        .debug(&format!("using image from file {path}"));
    let pinned = matches!(pick, Some(Pick::Digest(_)));
    if !pinned && !fetcher.insecure.skip_image_check() {
        return Err(Fault::refused(format!(
            "image \"{path}\" has no signature to verify (try --insecure-options=image)"
        ))
        .hint(format!("or name the image by its digest: {path}@sha256:…")));
    }
    let _watch = watch()?;
    let import = Import {
        store: fetcher.store,
        platform: &Platform::host(std::env::consts::ARCH),
        notes: fetcher.notes,
        progress: fetcher.progress,
    };
    Ok(import.take(Path::new(path), pick)?.id)
}
