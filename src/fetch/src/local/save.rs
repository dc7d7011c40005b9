//! An archive of `docker save`: `manifest.json` names the config and the layers
//! of each image. What binds them is the config: its own digest is the image's
//! ID, and it lists the layers' diff IDs.

use super::Import;
use super::parts::{Parts, inner};
use crate::image::{Blobs, Checked, Hasher, Wanted, assemble, check_bytes, remarks};
use model::Digest;
use model::digest::Algorithm;
use model::fault::{Context, Fault, Result};
use model::oci::{self, ImageConfig, MAX_DOCUMENT, Pick, Provenance, save as docker_save};
use model::text::quote;
use std::io::Read;
use store::{ImageRecord, Origin};

pub(super) fn take(
    import: &Import<'_>,
    parts: &Parts,
    path: &str,
    pick: Option<&Pick>,
) -> Result<ImageRecord> {
    let images = docker_save::parse(&parts.read(docker_save::MANIFEST, docker_save::MAX_MANIFEST)?)
        .link(|| docker_save::MANIFEST.to_string())?;
    let saved = docker_save::choose(&images, pick)?;
    let bytes = parts.read(&saved.config, MAX_DOCUMENT)?;
    if let Some(digest) = saved.config_digest() {
        check_bytes("image config", &bytes, &digest, None)?;
    }
    let config =
        ImageConfig::parse(&bytes).link(|| format!("image config {}", quote(&saved.config)))?;
    if config.diff_ids.len() != saved.layers.len() {
        return Err(Fault::invalid(format!(
            "the image config lists {} layers, {} {}",
            config.diff_ids.len(),
            docker_save::MANIFEST,
            saved.layers.len()
        )));
    }
    let mut origin = Provenance::of_local(path, saved.name());
    origin.image_id = Hasher::of(Algorithm::Sha256, &bytes).as_str().to_string();
    remarks(&config, import.notes);
    let converted = oci::convert(&config, &origin)?;
    let mut wanted = Vec::new();
    for (name, diff_id) in saved.layers.iter().zip(&config.diff_ids) {
        wanted.push(Wanted {
            diff_id: Some(diff_id.clone()),
            blob: blob_digest(parts, name, diff_id)?,
            size: parts.size(name)?,
        });
    }
    let source = Source {
        parts,
        names: &saved.layers,
        wanted: &wanted,
    };
    let (assembly, layers) = assemble(import.store, &wanted, &source, import.progress)?;
    assembly.publish(&converted, &layers, &Origin::default())
}

/// What the bytes of a layer have to hash to. A plain tar is its own diff ID. Of
/// a compressed one nothing promises a digest, so it is what is found.
fn blob_digest(parts: &Parts, name: &str, diff_id: &Digest) -> Result<Digest> {
    let head = parts.head(name)?;
    if !matches!(archive::sniff(&head), Ok(format) if format != archive::Format::Tar) {
        return Ok(diff_id.clone());
    }
    let mut hasher = Hasher::new(Algorithm::Sha256);
    let mut reader = parts.open_part(name)?;
    let mut buf = vec![0; 64 << 10];
    loop {
        match reader.read(&mut buf) {
            Ok(0) => return Ok(hasher.finish()),
            Ok(n) => hasher.update(&buf[..n]),
            Err(err) if err.kind() == std::io::ErrorKind::Interrupted => {}
            Err(err) => return Err(inner(err, name)),
        }
    }
}

struct Source<'s> {
    parts: &'s Parts,
    names: &'s [String],
    wanted: &'s [Wanted],
}

impl Blobs for Source<'_> {
    fn open(&self, layer: usize) -> Result<Box<dyn Read + Send + '_>> {
        let wanted = &self.wanted[layer];
        let part = self.parts.open_part(&self.names[layer])?;
        Ok(Box::new(Checked::new(part, &wanted.blob, wanted.size)))
    }

    fn order(&self, layer: usize) -> Option<u64> {
        self.parts.order(&self.names[layer])
    }
}
