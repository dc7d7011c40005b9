//! Images that lie on disk: OCI layouts, as directories or tars, and archives of
//! `docker save`, plain or compressed as a whole.
//!
//! A path and, where it holds several images, a pick in; an image in the store
//! out. What the file names promise is checked: every document and blob against
//! its digest, every layer against its diff ID. Archives are read by parts; no
//! member is written to disk, and no name in one is followed outside it.

mod layout;
mod parts;
mod save;

use crate::{Notes, Progress};
use model::fault::{Context, Fault, Kind, Result};
use model::oci::{Pick, Platform, layout as oci_layout, save as docker_save};
use model::text::quote;
use parts::Parts;
use std::path::{Path, PathBuf};
use store::{ImageRecord, Store};

/// What lies at a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// An application container image; also whatever nobody knows.
    Aci,
    /// A directory.
    OciLayout,
    OciTar,
    DockerSave,
}

/// Looks into the file or directory. Of a tar no more is read than it takes to
/// see a name that only one of the forms has.
pub fn kind(path: &Path) -> Result<Form> {
    let meta = std::fs::metadata(path).map_err(|err| Fault::io("open", path.display(), err))?;
    if meta.is_dir() {
        return match path.join(oci_layout::HEADER).is_file() {
            true => Ok(Form::OciLayout),
            false => Err(Fault::invalid(format!(
                "the directory {} holds no image",
                quote(&path.to_string_lossy())
            ))
            .hint("an OCI layout has a file oci-layout; \"actool build\" makes an ACI")),
        };
    }
    parts::kind_of_tar(path)
}

/// Splits `redis.tar:7`, `layout@sha256:…` or `all.tar@2` where the longest path
/// that exists ends. `None` if none does.
pub fn split(text: &str) -> Option<(PathBuf, Option<Pick>)> {
    if Path::new(text).exists() {
        return Some((PathBuf::from(text), None));
    }
    let ends = text.rmatch_indices([':', '@']).map(|(end, _)| end);
    ends.filter(|end| *end > 0).find_map(|end| {
        let (path, rest) = text.split_at(end);
        let pick = pick(rest)?;
        Path::new(path)
            .exists()
            .then(|| (PathBuf::from(path), Some(pick)))
    })
}

fn pick(text: &str) -> Option<Pick> {
    if let Some(rest) = text.strip_prefix('@') {
        return match rest.parse() {
            Ok(place) => Some(Pick::Place(place)),
            Err(_) => model::Digest::parse(rest).ok().map(Pick::Digest),
        };
    }
    let tag = text.strip_prefix(':')?;
    (!tag.is_empty()).then(|| Pick::Tag(tag.to_string()))
}

/// What an import is made with.
#[derive(Clone, Copy)]
pub struct Import<'i> {
    pub store: &'i Store,
    pub platform: &'i Platform,
    pub notes: &'i dyn Notes,
    pub progress: &'i dyn Progress,
}

impl Import<'_> {
    /// Takes in the image at `path`, whichever of the docker and OCI forms it
    /// has.
    pub fn take(&self, path: &Path, pick: Option<&Pick>) -> Result<ImageRecord> {
        let shown = path.to_string_lossy();
        let parts = Parts::open(path).link(|| format!("open {}", quote(&shown)))?;
        let result = if parts.has(oci_layout::HEADER)? {
            layout::take(self, &parts, &shown, pick)
        } else if parts.has(docker_save::MANIFEST)? {
            save::take(self, &parts, &shown, pick)
        } else if parts.has(docker_save::REPOSITORIES)? {
            Err(
                Fault::unsupported("archives of docker before 1.10 are not supported")
                    .hint("docker load it and docker save it with a newer docker"),
            )
        } else {
            Err(Fault::new(
                Kind::Invalid,
                "neither an OCI layout nor an archive of docker save",
            ))
        };
        result.link(|| format!("import {}", quote(&shown)))
    }
}

#[cfg(test)]
mod tests;
