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
use std::path::Path;
use store::{ImageRecord, Store};

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
