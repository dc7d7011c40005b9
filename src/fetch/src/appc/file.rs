//! ACI files: imported again every time, since their content may have changed.

use super::check::{self, Demand, Stoppable};
use crate::Fetcher;
use model::fault::Result;
use model::{Fault, ImageId};
use std::fs::File;
use std::path::{Path, PathBuf};
use store::Origin;

/// Takes a file in, verified unless `--insecure-options=image` is given.
pub(crate) fn fetch(
    fetcher: &Fetcher<'_>,
    path: &Path,
    signature: Option<&str>,
) -> Result<ImageId> {
    fetcher
        .notes
        .debug(&format!("using image from file {}", path.display()));
    if fetcher.insecure.skip_image_check() {
        return import(fetcher, path);
    }
    let signature = match signature {
        Some(given) => PathBuf::from(given),
        None => signature_path(path),
    };
    let demand = Demand {
        check: Some(check::signature_file(&signature)?),
        named: None,
    };
    take_in(fetcher, path, demand)
}

/// Takes a file in as it is.
pub(crate) fn import(fetcher: &Fetcher<'_>, path: &Path) -> Result<ImageId> {
    take_in(fetcher, path, Demand::NOTHING)
}

fn take_in(fetcher: &Fetcher<'_>, path: &Path, demand: Demand<'_>) -> Result<ImageId> {
    let file = File::open(path).map_err(|e| Fault::io("open", path.display(), e))?;
    let _watch = check::watch()?;
    let mut source = Stoppable(file);
    check::take_in(fetcher, &mut source, &Origin::default(), demand)
}

/// `x.aci` is signed by `x.aci.asc`.
fn signature_path(image: &Path) -> PathBuf {
    let mut name = image.as_os_str().to_owned();
    name.push(".asc");
    PathBuf::from(name)
}
