//! What `docker save` writes: an archive with `manifest.json`, which lists images
//! by the names of their members.
//!
//! Untrusted JSON and names in; clean names relative to the archive's root out,
//! none of which leads out of the archive.

use super::{MAX_LAYERS, Pick, some_of};
use crate::digest::Digest;
use crate::docker::DockerReference;
use crate::fault::{Fault, Result};
use crate::json::{self, Cursor};
use crate::size;
use crate::text::quote;

pub const MANIFEST: &str = "manifest.json";
/// All that archives of docker before 1.10 have instead.
pub const REPOSITORIES: &str = "repositories";
/// Largest `manifest.json`, in bytes.
pub const MAX_MANIFEST: usize = 1 << 20;
/// Longest name of a member.
const MAX_NAME: usize = 4096;

/// One image of `manifest.json`; names of members are clean.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Saved {
    pub config: String,
    /// `redis:7`, as written; may be empty.
    pub repo_tags: Vec<String>,
    /// The base first.
    pub layers: Vec<String>,
}

/// Reads `manifest.json`; at least one image.
pub fn parse(bytes: &[u8]) -> Result<Vec<Saved>> {
    let value = read(bytes)?;
    let images = Cursor::exact(&value).list_of(Saved::read)?;
    match images.is_empty() {
        true => Err(no_images()),
        false => Ok(images),
    }
}

fn read(bytes: &[u8]) -> Result<serde_json::Value> {
    if bytes.len() > MAX_MANIFEST {
        return Err(Fault::invalid(format!(
            "{MANIFEST} has {} (limit {})",
            size::iec(bytes.len() as u64),
            size::iec(MAX_MANIFEST as u64)
        )));
    }
    json::parse_unique(bytes)
}

fn no_images() -> Fault {
    Fault::invalid("the archive lists no image")
}

impl Saved {
    fn read(cursor: Cursor<'_>) -> Result<Saved> {
        let mut fields = cursor.fields()?;
        let name =
            |field: Cursor<'_>| member(field.str()?).map_err(|fault| field.fault(fault.cause));
        let saved = Saved {
            config: name(fields.need("Config")?)?,
            repo_tags: fields.list_of("RepoTags", |tag| tag.string())?,
            layers: fields.list_of("Layers", name)?,
        };
        if saved.layers.len() > MAX_LAYERS {
            return Err(cursor.fault(format!("more than {MAX_LAYERS} layers")));
        }
        Ok(saved)
    }

    /// The digest that the config must have because its file is named after it.
    pub fn config_digest(&self) -> Option<Digest> {
        promised(&self.config)
    }

    /// The name that the image gets where the user gave none.
    pub fn name(&self) -> Option<&str> {
        self.repo_tags.first().map(String::as_str)
    }
}

/// `<hex>.json` and `blobs/sha256/<hex>` are named after their content.
fn promised(name: &str) -> Option<Digest> {
    let (algorithm, hex) = match name.strip_prefix("blobs/") {
        Some(rest) => rest.split_once('/')?,
        None => ("sha256", name.strip_suffix(".json")?),
    };
    Digest::parse(&format!("{algorithm}:{hex}")).ok()
}

/// The image that is meant; the only one if `pick` says nothing.
pub fn choose<'s>(images: &'s [Saved], pick: Option<&Pick>) -> Result<&'s Saved> {
    let names = || some_of(images.iter().flat_map(|image| &image.repo_tags));
    let found = match pick {
        None => match images {
            [only] => return Ok(only),
            [] => return Err(no_images()),
            _ => {
                return Err(Fault::usage(format!(
                    "the archive has {} images: {}",
                    images.len(),
                    names()
                ))
                .hint("name one: PATH:NAME:TAG, or PATH@NUMBER counting from 0"));
            }
        },
        Some(Pick::Place(place)) => images.get(*place),
        Some(Pick::Digest(digest)) => images
            .iter()
            .find(|image| image.config_digest().as_ref() == Some(digest)),
        Some(Pick::Tag(tag)) => {
            let whole = images
                .iter()
                .find(|image| image.repo_tags.iter().any(|name| is_named(name, tag)));
            match whole {
                Some(image) => Some(image),
                None => with_tag(images, tag)?,
            }
        }
    };
    let missing = || {
        let pick = pick.map(Pick::to_string).unwrap_or_default();
        Fault::not_found(format!(
            "the archive has no image {}; there are: {}",
            quote(&pick[1.min(pick.len())..]),
            names()
        ))
    };
    found.ok_or_else(missing)
}

/// The only image with this tag, whatever its name.
fn with_tag<'s>(images: &'s [Saved], tag: &str) -> Result<Option<&'s Saved>> {
    let mut tagged = images.iter().filter(|image| {
        let tags = image.repo_tags.iter();
        tags.filter_map(|name| name.rsplit_once(':'))
            .any(|(_, own)| own == tag)
    });
    match (tagged.next(), tagged.next()) {
        (Some(_), Some(_)) => Err(Fault::usage(format!(
            "the archive has several images with the tag {}",
            quote(tag)
        ))
        .hint("give the whole name: PATH:NAME:TAG")),
        (first, _) => Ok(first),
    }
}

/// Whether two names mean one image: equal, or equal once filled in.
pub(super) fn is_named(own: &str, wanted: &str) -> bool {
    if own == wanted {
        return true;
    }
    // A tag alone is no name, although it reads as one.
    if !wanted.contains([':', '/']) {
        return false;
    }
    match (DockerReference::parse(own), DockerReference::parse(wanted)) {
        (Ok(own), Ok(wanted)) => own == wanted,
        _ => false,
    }
}

/// The clean name of a member: relative, without `.`, `..` and doubled slashes.
pub fn member(name: &str) -> Result<String> {
    let bad = |why: &str| {
        Err(Fault::invalid(format!(
            "the member name {} {why}",
            quote(name)
        )))
    };
    if name.len() > MAX_NAME || name.chars().any(char::is_control) {
        return bad("is malformed");
    }
    if name.starts_with('/') {
        return bad("is absolute");
    }
    let parts: Vec<&str> = name
        .split('/')
        .filter(|part| !matches!(*part, "" | "."))
        .collect();
    if parts.contains(&"..") {
        return bad("leads out of the archive");
    }
    if parts.is_empty() {
        return bad("is empty");
    }
    Ok(parts.join("/"))
}

#[cfg(test)]
mod tests;
