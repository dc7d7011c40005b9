//! Schema 1: the manifest of the first registries. Old registries still serve it.
//!
//! Its layers stand topmost first, each with a JSON text of its own
//! (`v1Compatibility`), of which the topmost is the image's config. A signed one
//! carries its signatures in the middle of the text; its digest is that of the
//! text without them, and so only that text is read here. Who signed it says
//! nothing: the key is in the document.

use super::config::ImageConfig;
use super::{MAX_LAYERS, check_size};
use crate::base64;
use crate::digest::Digest;
use crate::fault::{Fault, Result};
use crate::json::{self, Cursor};
use crate::text::quote;
use std::collections::HashSet;

#[derive(Clone, Debug, PartialEq)]
pub struct Schema1 {
    pub name: String,
    pub tag: String,
    pub architecture: String,
    /// The base first; entries without content are left out.
    pub layers: Vec<Schema1Layer>,
    /// Of the topmost entry: 64 hex digits.
    pub id: String,
    pub parent: Option<String>,
    config: ImageConfig,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schema1Layer {
    /// Of the blob; nothing tells the digest or the size of what is in it.
    pub digest: Digest,
    pub id: String,
}

/// One `v1Compatibility`.
struct Entry {
    id: String,
    parent: String,
    throwaway: bool,
    config: ImageConfig,
}

impl Schema1 {
    pub fn parse(bytes: &[u8]) -> Result<Schema1> {
        let payload = Schema1::payload(bytes)?;
        let value = json::parse_unique(&payload)?;
        let mut fields = Cursor::exact(&value).fields()?;
        let version = fields.need("schemaVersion")?;
        if version.u64()? != 1 {
            return Err(version.fault("expected 1"));
        }
        let blobs = fields.list_of("fsLayers", |layer| {
            let sum = layer.fields()?.need("blobSum")?;
            Digest::parse(sum.str()?).map_err(|fault| sum.fault(fault.cause))
        })?;
        if blobs.is_empty() || blobs.len() > MAX_LAYERS {
            return Err(fields.fault(format!(
                "fsLayers has {} entries (expected 1 to {MAX_LAYERS})",
                blobs.len()
            )));
        }
        let entries = fields.list_of("history", |entry| {
            let text = entry.fields()?.need("v1Compatibility")?;
            Entry::parse(text.str()?.as_bytes()).map_err(|fault| text.fault(fault.cause))
        })?;
        if entries.len() != blobs.len() {
            return Err(fields.fault(format!(
                "history has {} entries, fsLayers {}",
                entries.len(),
                blobs.len()
            )));
        }
        check_chain(&entries)?;
        let mut layers: Vec<Schema1Layer> = Vec::new();
        for (entry, digest) in entries.iter().zip(blobs).rev() {
            // The same entry twice in a row is one layer.
            let again = layers.last().is_some_and(|below| below.id == entry.id);
            if !entry.throwaway && !again {
                layers.push(Schema1Layer {
                    digest,
                    id: entry.id.clone(),
                });
            }
        }
        let architecture = fields.text("architecture")?;
        let Some(top) = entries.into_iter().next() else {
            return Err(fields.fault("history is empty"));
        };
        let mut config = top.config;
        if config.architecture.is_empty() {
            config.architecture.clone_from(&architecture);
        }
        Ok(Schema1 {
            name: fields.text("name")?,
            tag: fields.text("tag")?,
            architecture,
            layers,
            id: top.id,
            parent: Some(top.parent).filter(|parent| !parent.is_empty()),
            config,
        })
    }

    /// The bytes over which the digest is computed: without the signatures, if
    /// there are any.
    pub fn payload(bytes: &[u8]) -> Result<Vec<u8>> {
        check_size(bytes, "manifest")?;
        let value = json::parse_unique(bytes)?;
        let mut fields = Cursor::exact(&value).fields()?;
        let Some(signatures) = fields.take("signatures") else {
            return Ok(bytes.to_vec());
        };
        let mut found: Option<(usize, Vec<u8>)> = None;
        for signature in signatures.list()? {
            let header = signature.fields()?.need("protected")?;
            let frame = frame(header.str()?).map_err(|fault| header.fault(fault.cause))?;
            match &found {
                Some(first) if *first != frame => {
                    return Err(header.fault("disagrees with the first signature's"));
                }
                _ => found = Some(frame),
            }
        }
        let Some((length, tail)) = found else {
            return Ok(bytes.to_vec());
        };
        let head = bytes
            .get(..length)
            .ok_or_else(|| signatures.fault("formatLength is beyond the end of the manifest"))?;
        Ok([head, &tail].concat())
    }

    /// Of the topmost entry; without DiffIDs, which schema 1 does not have.
    pub fn config(&self) -> &ImageConfig {
        &self.config
    }
}

/// `formatLength` and `formatTail` of a signature's protected header.
fn frame(header: &str) -> Result<(usize, Vec<u8>)> {
    let value = json::parse_unique(&base64::decode_url(header)?)?;
    let mut fields = Cursor::exact(&value).fields()?;
    let length = fields.need("formatLength")?.u32()?;
    let tail = base64::decode_url(fields.need("formatTail")?.str()?)?;
    Ok((length as usize, tail))
}

impl Entry {
    fn parse(bytes: &[u8]) -> Result<Entry> {
        let value = json::parse_unique(bytes)?;
        let root = Cursor::exact(&value);
        let mut fields = root.fields()?;
        let id = fields.need("id")?;
        if !is_v1_id(id.str()?) {
            return Err(id.fault(format!("{} is no layer ID", quote(id.str()?))));
        }
        Ok(Entry {
            id: id.string()?,
            parent: fields.text("parent")?,
            throwaway: fields.flag("throwaway")?,
            config: ImageConfig::read_common(&root)?,
        })
    }
}

/// 64 lower-case hex digits. It becomes part of paths elsewhere (CVE-2016-7569).
fn is_v1_id(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

/// Each entry's parent is the next one, the last has none, and none comes twice.
fn check_chain(entries: &[Entry]) -> Result<()> {
    let bad = |what: String| Err(Fault::invalid(format!("history: {what}")));
    let mut seen = HashSet::new();
    for (index, entry) in entries.iter().enumerate() {
        let next = entries.get(index + 1);
        let again = next.is_some_and(|next| next.id == entry.id);
        if !again && !seen.insert(&entry.id) {
            return bad(format!("layer {} comes twice", entry.id));
        }
        let expected = next.map_or("", |next| next.id.as_str());
        if !again && entry.parent != expected {
            return bad(format!(
                "the parent of layer {} is {}, not {}",
                entry.id,
                quote(&entry.parent),
                quote(expected)
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
