//! `--pod-manifest`: a manifest from outside, kept byte for byte, whose images
//! are in the store already.

use model::plan::check_pod_manifest;
use model::{Fault, ImageId, PodManifest, fault::Result};
use std::io::Read;
use std::path::Path;
use store::Store;

/// No manifest is larger.
const MAX: u64 = 16 << 20;

pub(crate) fn read(store: &Store, path: &Path) -> Result<(PodManifest, Vec<u8>)> {
    let failed = |verb, e| Fault::io(verb, path.display(), e);
    let file = std::fs::File::open(path).map_err(|e| failed("open", e))?;
    let mut bytes = Vec::new();
    file.take(MAX + 1)
        .read_to_end(&mut bytes)
        .map_err(|e| failed("read", e))?;
    if bytes.len() as u64 > MAX {
        return Err(Fault::invalid(format!(
            "{} is larger than 16 MiB",
            path.display()
        )));
    }
    let manifest = PodManifest::parse(&bytes)?;
    check_pod_manifest(&manifest, &mut |id| store.manifest(&ImageId::new(id)?))?;
    Ok((manifest, bytes))
}
