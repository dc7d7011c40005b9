//! An OCI layout: `index.json` leads to a manifest, everything lies in `blobs/`.

use super::Import;
use super::parts::Parts;
use crate::image::{Blobs, Checked, Wanted, assemble, check_bytes, remarks};
use model::Digest;
use model::fault::{Context, Fault, Result};
use model::oci::{
    self, Descriptor, Document, ImageConfig, MAX_DOCUMENT, Manifest, Pick, Provenance,
    layout as oci_layout,
};
use std::io::Read;
use store::{ImageRecord, Origin};

/// Indexes in indexes; real ones are not nested at all.
const MAX_DEPTH: usize = 5;

pub(super) fn take(
    import: &Import<'_>,
    parts: &Parts,
    path: &str,
    pick: Option<&Pick>,
) -> Result<ImageRecord> {
    oci_layout::check_header(&parts.read(oci_layout::HEADER, MAX_DOCUMENT)?)?;
    let index = oci_layout::index(&parts.read(oci_layout::INDEX, MAX_DOCUMENT)?)?;
    let entry = oci_layout::choose(&index, pick, import.platform)?;
    let (digest, manifest) = follow(import, parts, entry)?;
    manifest.check_image()?;
    let bytes = document(parts, "image config", &manifest.config)?;
    let config =
        ImageConfig::parse(&bytes).link(|| format!("image config {}", manifest.config.digest))?;
    manifest.check_config(&config)?;
    let mut origin = Provenance::of_local(path, oci_layout::name_of(entry));
    origin.manifest_digest = Some(digest);
    origin.image_id = manifest.config.digest.as_str().to_string();
    remarks(&config, import.notes);
    let converted = oci::convert(&config, &origin)?;
    let layers = manifest.layers.iter().zip(&config.diff_ids);
    let wanted: Vec<Wanted> = layers
        .map(|(layer, diff_id)| Wanted {
            diff_id: Some(diff_id.clone()),
            blob: layer.digest.clone(),
            size: Some(layer.size),
        })
        .collect();
    let source = Source {
        parts,
        layers: &manifest.layers,
    };
    let (assembly, layers) = assemble(import.store, &wanted, &source, import.progress)?;
    assembly.publish(&converted, &layers, &Origin::default())
}

/// The manifest that an entry leads to.
fn follow(import: &Import<'_>, parts: &Parts, entry: &Descriptor) -> Result<(Digest, Manifest)> {
    let mut at = entry.clone();
    for _ in 0..MAX_DEPTH {
        let bytes = document(parts, "manifest", &at)?;
        let read = Document::parse(Some(&at.media_type), &bytes)
            .link(|| format!("manifest {}", at.digest))?;
        match read {
            Document::Manifest(manifest) => return Ok((at.digest, manifest)),
            Document::Index(index) => at = index.choose(import.platform)?.clone(),
            Document::Schema1(_) => {
                return Err(Fault::unsupported("a layout holds no manifest of schema 1"));
            }
        }
    }
    Err(Fault::invalid(format!(
        "the index leads through more than {MAX_DEPTH} indexes"
    )))
}

/// A small blob, or what its descriptor holds of it.
fn document(parts: &Parts, what: &str, to: &Descriptor) -> Result<Vec<u8>> {
    let bytes = match &to.data {
        Some(data) => data.clone(),
        None => parts.read(&oci_layout::blob_path(&to.digest), MAX_DOCUMENT)?,
    };
    check_bytes(what, &bytes, &to.digest, Some(to.size))?;
    Ok(bytes)
}

struct Source<'s> {
    parts: &'s Parts,
    layers: &'s [Descriptor],
}

impl Blobs for Source<'_> {
    fn open(&self, layer: usize) -> Result<Box<dyn Read + Send + '_>> {
        let layer = &self.layers[layer];
        let blob = self
            .parts
            .open_part(&oci_layout::blob_path(&layer.digest))?;
        Ok(Box::new(Checked::new(
            blob,
            &layer.digest,
            Some(layer.size),
        )))
    }

    fn order(&self, layer: usize) -> Option<u64> {
        let name = oci_layout::blob_path(&self.layers[layer].digest);
        self.parts.order(&name)
    }
}
