//! What `docker save` writes: an archive with `manifest.json`, which lists images
//! by the names of their members, or, before docker 1.10, only with
//! `repositories`, which leads to the topmost layer of each image.
//!
//! Untrusted JSON and names in; clean names relative to the archive's root out. No
//! name leads out of the archive, no chain of layers or links ends nowhere.

use super::config::ImageConfig;
use super::schema1::is_v1_id;
use super::{MAX_LAYERS, Pick, some_of};
use crate::digest::Digest;
use crate::docker::DockerReference;
use crate::fault::{Fault, Result};
use crate::json::{self, Cursor};
use crate::size;
use crate::text::quote;
use std::collections::HashSet;

pub const MANIFEST: &str = "manifest.json";
pub const REPOSITORIES: &str = "repositories";
/// Largest `manifest.json`, `repositories` or `<id>/json`, in bytes.
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
    let value = read(bytes, MANIFEST)?;
    let images = Cursor::exact(&value).list_of(Saved::read)?;
    match images.is_empty() {
        true => Err(no_images()),
        false => Ok(images),
    }
}

fn read(bytes: &[u8], what: &str) -> Result<serde_json::Value> {
    if bytes.len() > MAX_MANIFEST {
        return Err(Fault::invalid(format!(
            "{what} has {} (limit {})",
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

    /// As `config_digest`, of a layer: only in archives of docker 25 and later.
    pub fn layer_digest(&self, layer: usize) -> Option<Digest> {
        promised(self.layers.get(layer)?)
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

/// Where a symbolic link inside the archive leads: `<id>/layer.tar` to
/// `../<other>/layer.tar`. Who follows links bounds their number.
pub fn link_target(link: &str, target: &str) -> Result<String> {
    let bad = || {
        Fault::invalid(format!(
            "the link {} to {} leads out of the archive",
            quote(link),
            quote(target)
        ))
    };
    if target.starts_with('/') || target.len() > MAX_NAME {
        return Err(bad());
    }
    let mut parts: Vec<&str> = link.split('/').collect();
    parts.pop();
    for part in target.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop().ok_or_else(bad)?;
            }
            part => parts.push(part),
        }
    }
    member(&parts.join("/"))
}

/// A name in `repositories` and its topmost layer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tagged {
    /// `redis:7`
    pub name: String,
    /// 64 hex digits: the directory of the layer.
    pub id: String,
}

/// Reads `repositories`.
pub fn repositories(bytes: &[u8]) -> Result<Vec<Tagged>> {
    let value = read(bytes, REPOSITORIES)?;
    let root = Cursor::exact(&value);
    let names = value
        .as_object()
        .ok_or_else(|| root.expected("an object"))?;
    let mut list = Vec::new();
    for (name, tags) in names {
        for (tag, id) in Cursor::named(tags, quote(name)).string_map()? {
            if !is_v1_id(&id) {
                return Err(root.fault(format!("{} is no layer ID", quote(&id))));
            }
            list.push(Tagged {
                name: format!("{name}:{tag}"),
                id,
            });
        }
    }
    match list.is_empty() {
        true => Err(no_images()),
        false => Ok(list),
    }
}

/// As `choose`, among the names of `repositories`.
pub fn choose_tagged<'t>(list: &'t [Tagged], pick: Option<&Pick>) -> Result<&'t Tagged> {
    // Of one image under several names it does not matter which.
    let one_image = list.windows(2).all(|pair| pair[0].id == pair[1].id);
    if let (None, true, Some(first)) = (pick, one_image, list.first()) {
        return Ok(first);
    }
    let images: Vec<Saved> = list
        .iter()
        .map(|tagged| Saved {
            config: tagged.id.clone(),
            repo_tags: vec![tagged.name.clone()],
            layers: Vec::new(),
        })
        .collect();
    let chosen = choose(&images, pick)?;
    let place = images.iter().position(|image| std::ptr::eq(image, chosen));
    place
        .and_then(|place| list.get(place))
        .ok_or_else(no_images)
}

/// The layers of a legacy image, found one after the other from the topmost:
/// `read` is given `<id>/json` of each ID in turn until it returns `None`.
#[derive(Debug, Default)]
pub struct Chain {
    seen: HashSet<String>,
    /// IDs, the topmost first.
    ids: Vec<String>,
    config: Option<ImageConfig>,
}

impl Chain {
    /// The content of `<id>/json`; the ID of the layer below, if there is one.
    pub fn read(&mut self, id: &str, bytes: &[u8]) -> Result<Option<String>> {
        let value = read(bytes, "the description of a layer")?;
        let root = Cursor::exact(&value);
        let mut fields = root.fields()?;
        let own = fields.text("id")?;
        if !is_v1_id(id) || (!own.is_empty() && own != id) {
            return Err(root.fault(format!("layer {} calls itself {}", quote(id), quote(&own))));
        }
        // An endless chain (CVE-2016-8579).
        if !self.seen.insert(id.to_string()) {
            return Err(Fault::invalid(format!(
                "dependency loop detected at image {}",
                quote(id)
            )));
        }
        if self.ids.len() >= MAX_LAYERS {
            return Err(Fault::invalid(format!("more than {MAX_LAYERS} layers")));
        }
        self.ids.push(id.to_string());
        if self.config.is_none() {
            self.config = Some(ImageConfig::read_common(&root)?);
        }
        match fields.text("parent")? {
            parent if parent.is_empty() => Ok(None),
            parent if is_v1_id(&parent) => Ok(Some(parent)),
            parent => Err(root.fault(format!("{} is no layer ID", quote(&parent)))),
        }
    }

    /// The config of the topmost layer, without DiffIDs, and the members that
    /// hold the layers, the base first.
    pub fn finish(self) -> Result<(ImageConfig, Vec<String>)> {
        let config = self.config.ok_or_else(no_images)?;
        let layers = self.ids.iter().rev().map(|id| format!("{id}/layer.tar"));
        Ok((config, layers.collect()))
    }
}

#[cfg(test)]
mod tests;
