//! Which image of an index runs here.
//!
//! The platforms that run here are tried best first; of several entries for one,
//! the first counts. Entries that are no image (attestations, artifacts, types
//! that we do not know) are passed over.

use super::descriptor::Descriptor;
use super::document::Index;
use super::platform::Platform;
use super::{media, some_of};
use crate::fault::{Fault, Result};

const REFERENCE_TYPE: &str = "vnd.docker.reference.type";

impl Index {
    /// The entry for `platform`, or for the nearest that runs on it. It may be an
    /// index again: whoever follows it bounds the depth.
    pub fn choose(&self, platform: &Platform) -> Result<&Descriptor> {
        let images: Vec<&Descriptor> = self.manifests.iter().filter(|one| is_image(one)).collect();
        for wanted in platform.candidates() {
            let found = images
                .iter()
                .find(|one| one.platform.as_ref() == Some(&wanted));
            if let Some(found) = found {
                return Ok(found);
            }
        }
        // Without a platform an entry is only usable if there is no other one;
        // its config says what it is for.
        if let [only] = images[..]
            && only.platform.as_ref().is_none_or(Platform::is_empty)
        {
            return Ok(only);
        }
        let there = images.iter().map(|one| match &one.platform {
            Some(platform) if !platform.is_empty() => platform.to_string(),
            _ => "unnamed".to_string(),
        });
        let fault = match images.is_empty() {
            true => Fault::not_found("the index lists no image that could run"),
            false => Fault::not_found(format!(
                "no image for the platform {platform}; there are: {}",
                some_of(there)
            )),
        };
        Err(fault)
    }
}

fn is_image(entry: &Descriptor) -> bool {
    let runs = matches!(
        media::shape(&entry.media_type),
        Some(media::Shape::Manifest | media::Shape::Index)
    );
    let artifact = entry
        .artifact_type
        .as_deref()
        .is_some_and(|kind| !media::is_config(kind));
    let unknown = entry.platform.as_ref().is_some_and(Platform::is_unknown);
    runs && !artifact && !unknown && entry.annotation(REFERENCE_TYPE).is_none()
}
