//! What a registry answers for a tag or a digest: a manifest, an index, or the
//! old schema 1.
//!
//! Which of them it is, the server says by its content type, and the document
//! must agree: one that reads as two things would be one image to us and
//! another to whoever signed it (CVE-2021-41190). Only where the server says
//! nothing does the document's structure decide, and only if it is unambiguous.

use super::config::ImageConfig;
use super::descriptor::Descriptor;
use super::media::{self, Shape};
use super::schema1::Schema1;
use super::{MAX_LAYERS, check_size};
use crate::fault::{Fault, Kind, Result};
use crate::json::{self, Cursor};
use crate::text::quote;
use serde_json::Value;

#[derive(Clone, Debug)]
pub enum Document {
    Manifest(Manifest),
    Index(Index),
    Schema1(Schema1),
}

/// One image, or an artifact such as a signature.
#[derive(Clone, Debug, PartialEq)]
pub struct Manifest {
    pub media_type: String,
    pub config: Descriptor,
    /// The base first.
    pub layers: Vec<Descriptor>,
    /// What this is about: a signature names the manifest that it signs.
    pub subject: Option<Descriptor>,
    pub artifact_type: Option<String>,
    pub annotations: Vec<(String, String)>,
}

/// The same image for several platforms.
#[derive(Clone, Debug, PartialEq)]
pub struct Index {
    pub media_type: String,
    /// Entries with a digest of an algorithm that we cannot check are left out.
    pub manifests: Vec<Descriptor>,
    pub annotations: Vec<(String, String)>,
}

/// The keys that say which of the three a document is.
const TELLING: [&str; 5] = ["manifests", "layers", "config", "fsLayers", "mediaType"];

impl Document {
    /// `content_type` is the header of the answer, or the media type of the
    /// descriptor that led here.
    pub fn parse(content_type: Option<&str>, bytes: &[u8]) -> Result<Document> {
        check_size(bytes, "manifest")?;
        let value = json::parse_unique(bytes)?;
        let root = Cursor::exact(&value);
        let told = content_type.filter(|text| !media::is_vague(text));
        let shape = match told {
            Some(text) => media::shape(text).ok_or_else(|| {
                Fault::invalid(format!("media type {} is no manifest", quote(text)))
            })?,
            None => by_structure(&root)?,
        };
        check_structure(&root, shape)?;
        let media_type = agreed_type(&root, told, shape)?;
        match shape {
            Shape::Manifest => Manifest::read(root, media_type).map(Document::Manifest),
            Shape::Index => Index::read(root, media_type).map(Document::Index),
            Shape::Schema1 => Schema1::parse(bytes).map(Document::Schema1),
        }
    }
}

fn keys<'a>(root: &Cursor<'a>) -> Result<&'a serde_json::Map<String, Value>> {
    let value = root.value();
    value.as_object().ok_or_else(|| root.expected("an object"))
}

fn by_structure(root: &Cursor<'_>) -> Result<Shape> {
    let map = keys(root)?;
    let has = |key: &str| map.contains_key(key);
    let found: Vec<Shape> = [
        (has("manifests"), Shape::Index),
        (has("config") || has("layers"), Shape::Manifest),
        (has("fsLayers"), Shape::Schema1),
    ]
    .into_iter()
    .filter_map(|(there, shape)| there.then_some(shape))
    .collect();
    match found[..] {
        [shape] => Ok(shape),
        [] => Err(root.fault("this is no manifest: no layers and no list of manifests")),
        _ => Err(ambiguous()),
    }
}

/// Refuses keys that belong to another kind of document, and keys that are one of
/// ours to a reader that does not look at their case, as most do not.
fn check_structure(root: &Cursor<'_>, shape: Shape) -> Result<()> {
    let map = keys(root)?;
    let foreign: &[&str] = match shape {
        Shape::Manifest => &["manifests", "fsLayers"],
        Shape::Index => &["layers", "config", "fsLayers"],
        Shape::Schema1 => &["manifests", "layers", "config"],
    };
    if foreign.iter().any(|key| map.contains_key(*key)) {
        return Err(ambiguous());
    }
    for name in map.keys() {
        if let Some(key) = TELLING
            .iter()
            .find(|key| name.eq_ignore_ascii_case(key) && name != *key)
        {
            return Err(Fault::invalid(format!(
                "the key {} must be spelled {}",
                quote(name),
                quote(key)
            )));
        }
    }
    Ok(())
}

fn ambiguous() -> Fault {
    Fault::invalid("the document reads as more than one kind of manifest")
}

/// The media type that the server and the document agree on.
fn agreed_type(root: &Cursor<'_>, told: Option<&str>, shape: Shape) -> Result<String> {
    let mut fields = root.fields()?;
    let own = fields.take("mediaType");
    let own = own.map(|field| field.string()).transpose()?;
    let own = own.filter(|own| !own.is_empty());
    match (told, own) {
        (Some(told), Some(own)) if media::essence(told) != own => Err(Fault::invalid(format!(
            "the server calls the manifest {}, it calls itself {}",
            quote(&media::essence(told)),
            quote(&own)
        ))),
        (None, Some(own)) if media::shape(&own) != Some(shape) => Err(Fault::invalid(format!(
            "the manifest calls itself {} and is something else",
            quote(&own)
        ))),
        (_, Some(own)) => Ok(own),
        (Some(told), None) => Ok(media::essence(told)),
        (None, None) => Ok(match shape {
            Shape::Manifest => media::OCI_MANIFEST,
            Shape::Index => media::OCI_INDEX,
            Shape::Schema1 => media::SCHEMA1,
        }
        .to_string()),
    }
}

fn check_version(version: &Cursor<'_>) -> Result<()> {
    match version.u64()? {
        2 => Ok(()),
        other => Err(version.fault(format!("{other} is not supported (expected 2)"))),
    }
}

fn text(cursor: Option<Cursor<'_>>) -> Result<Option<String>> {
    let text = cursor.map(|text| text.string()).transpose()?;
    Ok(text.filter(|text| !text.is_empty()))
}

impl Manifest {
    fn read(root: Cursor<'_>, media_type: String) -> Result<Manifest> {
        let mut fields = root.fields()?;
        check_version(&fields.need("schemaVersion")?)?;
        let config = fields.need("config")?;
        let config = Descriptor::read(config)?;
        if media::essence(&config.media_type) == media::DOCKER_PLUGIN {
            return Err(Fault::unsupported("this is a docker plugin, not an image"));
        }
        let layers = fields.list_of("layers", Descriptor::read)?;
        if layers.len() > MAX_LAYERS {
            return Err(Fault::invalid(format!(
                "the manifest has {} layers (limit {MAX_LAYERS})",
                layers.len()
            )));
        }
        if let Some(layer) = layers
            .iter()
            .find(|layer| media::layer(&layer.media_type) == media::Layer::Encrypted)
        {
            return Err(Fault::unsupported(format!(
                "layer {} is encrypted ({}), which is not supported",
                layer.digest,
                quote(&layer.media_type)
            )));
        }
        Ok(Manifest {
            media_type,
            config,
            layers,
            subject: fields.take("subject").map(Descriptor::read).transpose()?,
            artifact_type: text(fields.take("artifactType"))?,
            annotations: fields.string_map("annotations")?,
        })
    }

    /// Refuses a manifest that is none of an image that could run: its config or
    /// a layer is of another type. Foreign layers pass, whoever fetches decides.
    pub fn check_image(&self) -> Result<()> {
        if !media::is_config(&self.config.media_type) {
            let what = self.artifact_type.as_deref();
            return Err(Fault::unsupported(format!(
                "this is an artifact ({}), not an image",
                quote(what.unwrap_or(&self.config.media_type))
            )));
        }
        match self
            .layers
            .iter()
            .find(|layer| media::layer(&layer.media_type) == media::Layer::Unknown)
        {
            Some(layer) => Err(Fault::unsupported(format!(
                "layer {} is of the unknown type {}",
                layer.digest,
                quote(&layer.media_type)
            ))),
            None => Ok(()),
        }
    }

    /// Compares with the config that it names: one DiffID for each layer.
    pub fn check_config(&self, config: &ImageConfig) -> Result<()> {
        if config.diff_ids.len() == self.layers.len() {
            return Ok(());
        }
        Err(Fault::invalid(format!(
            "the image config lists {} layers, the manifest {}",
            config.diff_ids.len(),
            self.layers.len()
        )))
    }
}

impl Index {
    fn read(root: Cursor<'_>, media_type: String) -> Result<Index> {
        let mut fields = root.fields()?;
        check_version(&fields.need("schemaVersion")?)?;
        let mut manifests = Vec::new();
        if let Some(list) = fields.take("manifests") {
            for entry in list.list()? {
                match Descriptor::read(entry) {
                    Ok(descriptor) => manifests.push(descriptor),
                    Err(fault) if fault.kind == Kind::Unsupported => {}
                    Err(fault) => return Err(fault),
                }
            }
        }
        Ok(Index {
            media_type,
            manifests,
            annotations: fields.string_map("annotations")?,
        })
    }
}

#[cfg(test)]
mod tests;
