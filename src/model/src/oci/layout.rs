//! OCI layouts: a directory, or an archive of one, with `oci-layout`,
//! `index.json` and blobs named after their digests.
//!
//! Untrusted JSON in, the descriptor of the image that is meant out.

use super::save::is_named;
use super::{Descriptor, Document, Index, Pick, Platform, media, some_of};
use crate::digest::Digest;
use crate::fault::{Fault, Result};
use crate::json::{self, Cursor};
use crate::text::quote;

pub const HEADER: &str = "oci-layout";
pub const INDEX: &str = "index.json";
/// Largest `oci-layout`, in bytes.
pub const MAX_HEADER: usize = 64 << 10;

const REF_NAME: &str = "org.opencontainers.image.ref.name";
const IMAGE_NAME: &str = "io.containerd.image.name";

/// Checks the version in `oci-layout`.
pub fn check_header(bytes: &[u8]) -> Result<()> {
    if bytes.len() > MAX_HEADER {
        return Err(Fault::invalid(format!("{HEADER} is too large")));
    }
    let value = json::parse_unique(bytes)?;
    let version = Cursor::exact(&value).fields()?.need("imageLayoutVersion")?;
    match version.str()? {
        text if text == "1" || text.starts_with("1.") => Ok(()),
        text => Err(version.fault(format!("{} is not supported (expected 1.0.0)", quote(text)))),
    }
}

/// Reads `index.json`.
pub fn index(bytes: &[u8]) -> Result<Index> {
    match Document::parse(Some(media::OCI_INDEX), bytes)? {
        Document::Index(index) => Ok(index),
        _ => Err(Fault::invalid(format!("{INDEX} is no index"))),
    }
}

/// The entry that is meant: an image, or an index to choose from again.
///
/// Without `pick` all entries have to be one image under one name, for different
/// platforms maybe.
pub fn choose<'i>(
    index: &'i Index,
    pick: Option<&Pick>,
    platform: &Platform,
) -> Result<&'i Descriptor> {
    let entries: Vec<&Descriptor> = index.manifests.iter().collect();
    let found: Vec<&Descriptor> = match pick {
        None => entries.clone(),
        Some(Pick::Place(place)) => entries.get(*place).copied().into_iter().collect(),
        Some(Pick::Digest(digest)) => entries
            .iter()
            .copied()
            .filter(|entry| entry.digest == *digest)
            .collect(),
        Some(Pick::Tag(tag)) => tagged(&entries, tag),
    };
    let named = || {
        let unnamed = |entry: &&Descriptor| match name_of(entry) {
            Some(name) => name.to_string(),
            None => entry.digest.to_string(),
        };
        some_of(entries.iter().map(unnamed))
    };
    let Some(&first) = found.first() else {
        return Err(match pick {
            None => Fault::invalid("the layout lists no image"),
            Some(pick) => Fault::not_found(format!(
                "the layout has no image {}; there are: {}",
                quote(&pick.to_string()[1..]),
                named()
            )),
        });
    };
    if found.iter().all(|entry| entry.digest == first.digest) {
        return Ok(first);
    }
    if found.iter().any(|entry| name_of(entry) != name_of(first)) && pick.is_none() {
        return Err(Fault::usage(format!(
            "the layout has {} images: {}",
            found.len(),
            named()
        ))
        .hint("name one: PATH:TAG or PATH@DIGEST"));
    }
    let candidates = Index {
        media_type: index.media_type.clone(),
        manifests: found.iter().map(|entry| (*entry).clone()).collect(),
        annotations: Vec::new(),
    };
    let chosen = &candidates.choose(platform)?.digest;
    let chosen = found.iter().copied().find(|entry| entry.digest == *chosen);
    chosen.ok_or_else(|| Fault::invalid("the layout lists no image"))
}

fn tagged<'i>(entries: &[&'i Descriptor], tag: &str) -> Vec<&'i Descriptor> {
    let with = |matches: &dyn Fn(&str) -> bool| -> Vec<&'i Descriptor> {
        let names = |entry: &&Descriptor| {
            [REF_NAME, IMAGE_NAME]
                .iter()
                .filter_map(|key| entry.annotation(key))
                .any(matches)
        };
        entries.iter().copied().filter(names).collect()
    };
    let exact = with(&|name| name == tag);
    if !exact.is_empty() {
        return exact;
    }
    let whole = with(&|name| is_named(name, tag));
    if !whole.is_empty() {
        return whole;
    }
    // The tag alone where the entry has a whole name.
    with(&|name| name.rsplit_once(':').is_some_and(|(_, own)| own == tag))
}

/// The name that an entry bears: the whole one where there is one, else its tag.
pub fn name_of(entry: &Descriptor) -> Option<&str> {
    entry
        .annotation(IMAGE_NAME)
        .or_else(|| entry.annotation(REF_NAME))
        .filter(|name| !name.is_empty())
}

/// `blobs/sha256/<hex>`
pub fn blob_path(digest: &Digest) -> String {
    format!("blobs/{}/{}", digest.algorithm().name(), digest.hex())
}

#[cfg(test)]
mod tests;
