//! A resolved image into the store: its config, its layers, its manifest.
//!
//! The config comes first, since it names the layers' contents: what the store
//! has of them is not fetched.

use super::Registry;
use super::foreign;
use super::manifest::{Image, Resolved};
use crate::Progress;
use crate::http::Expected;
use crate::image::{Blobs, Wanted, about, assemble, remarks};
use model::Digest;
use model::docker::DockerReference;
use model::fault::{Fault, Kind, Result};
use model::oci::{
    self, Descriptor, ImageConfig, MAX_DOCUMENT, Manifest, Provenance, Schema1, media,
};
use std::io::Read;
use store::{ImageRecord, Origin, Store};

/// The most bytes of a layer whose size nobody tells (schema 1).
const MAX_LAYER: u64 = 64 << 30;

/// What is pulled, and as what it is known.
#[derive(Clone, Copy, Debug)]
pub struct Pull<'p> {
    pub reference: &'p DockerReference,
    /// As the user typed it.
    pub typed: &'p str,
    /// What the store knows it by: `docker://…`.
    pub url: &'p str,
}

impl Registry<'_> {
    /// Brings the image into the store. If that is what the store got from this
    /// URL before, nothing moves.
    pub fn pull(
        &self,
        store: &Store,
        pull: &Pull<'_>,
        resolved: &Resolved,
        progress: &dyn Progress,
    ) -> Result<ImageRecord> {
        if let Some(known) = store.fetched(pull.url)?
            && known.digest.as_deref() == Some(resolved.digest.as_str())
        {
            store.refresh(pull.url, None, None)?;
            return Ok(known.record);
        }
        let mut origin = Provenance::of_reference(pull.reference, pull.typed);
        origin.manifest_digest = Some(resolved.manifest_digest.clone());
        let repository = &pull.reference.path;
        let plan = match &resolved.image {
            Image::Manifest(manifest) => {
                origin.image_id = manifest.config.digest.as_str().to_string();
                self.plan(repository, manifest)?
            }
            Image::Schema1(schema1) => {
                origin.image_id.clone_from(&schema1.id);
                origin.parent_id.clone_from(&schema1.parent);
                origin.schema1 = true;
                Plan::of_schema1(schema1)
            }
        };
        remarks(&plan.config, self.notes);
        let manifest = oci::convert(&plan.config, &origin)?;
        let source = Source {
            registry: self,
            repository,
            layers: &plan.layers,
        };
        let (assembly, layers) = assemble(store, &plan.wanted(), &source, progress)?;
        let latest =
            pull.reference.digest.is_none() && pull.reference.tag.as_deref() == Some("latest");
        assembly.publish(
            &manifest,
            &layers,
            &Origin {
                url: Some(pull.url.to_string()),
                latest,
                digest: Some(resolved.digest.as_str().to_string()),
                ..Origin::default()
            },
        )
    }

    fn plan(&self, repository: &str, manifest: &Manifest) -> Result<Plan> {
        let limit = MAX_DOCUMENT as u64;
        let bytes = self.small_blob(repository, "image config", &manifest.config, limit)?;
        let config = ImageConfig::parse(&bytes)
            .map_err(|fault| about(fault, "image config ", manifest.config.digest.as_str()))?;
        manifest.check_config(&config)?;
        let mut layers = Vec::new();
        for (descriptor, diff_id) in manifest.layers.iter().zip(&config.diff_ids) {
            let foreign = matches!(
                media::layer(&descriptor.media_type),
                media::Layer::Foreign(_)
            );
            if foreign && !self.options.foreign_layers {
                return Err(Fault::refused(format!(
                    "layer {} may not be distributed by registries (it is foreign)",
                    descriptor.digest
                ))
                .hint("such layers are of other systems, or under a licence: use another image"));
            }
            layers.push(Layer {
                diff_id: Some(diff_id.clone()),
                blob: descriptor.digest.clone(),
                size: Some(descriptor.size),
                elsewhere: match foreign {
                    true => descriptor.urls.clone(),
                    false => Vec::new(),
                },
                data: inline(descriptor),
            });
        }
        Ok(Plan { config, layers })
    }
}

fn inline(descriptor: &Descriptor) -> Option<Vec<u8>> {
    let data = descriptor.data.as_ref()?;
    // What does not verify is as good as not there.
    crate::image::check_bytes("layer", data, &descriptor.digest, Some(descriptor.size)).ok()?;
    Some(data.clone())
}

/// What has to be here before the image is.
struct Plan {
    config: ImageConfig,
    layers: Vec<Layer>,
}

struct Layer {
    diff_id: Option<Digest>,
    blob: Digest,
    size: Option<u64>,
    /// URLs of a foreign layer.
    elsewhere: Vec<String>,
    data: Option<Vec<u8>>,
}

impl Plan {
    fn of_schema1(schema1: &Schema1) -> Plan {
        let layers = schema1.layers.iter().map(|layer| Layer {
            diff_id: None,
            blob: layer.digest.clone(),
            size: None,
            elsewhere: Vec::new(),
            data: None,
        });
        Plan {
            config: schema1.config().clone(),
            layers: layers.collect(),
        }
    }

    fn wanted(&self) -> Vec<Wanted> {
        let wanted = self.layers.iter().map(|layer| Wanted {
            diff_id: layer.diff_id.clone(),
            blob: layer.blob.clone(),
            size: layer.size,
        });
        wanted.collect()
    }
}

struct Source<'s> {
    registry: &'s Registry<'s>,
    repository: &'s str,
    layers: &'s [Layer],
}

impl Blobs for Source<'_> {
    fn open(&self, layer: usize) -> Result<Box<dyn Read + Send + '_>> {
        let layer = &self.layers[layer];
        if let Some(data) = &layer.data {
            return Ok(Box::new(&data[..]));
        }
        let expected = Expected {
            size: layer.size,
            digest: Some(layer.blob.clone()),
            max: MAX_LAYER,
        };
        let registry = self.registry;
        let (request, response) =
            registry.get(self.repository, &format!("blobs/{}", layer.blob), "")?;
        if response.status == 200 {
            let download = registry.client.stream(&request, response, &expected)?;
            return Ok(Box::new(download));
        }
        let fault = response.fault();
        if fault.kind != Kind::NotFound || layer.elsewhere.is_empty() {
            return Err(fault);
        }
        let found = foreign::open(registry.client, &registry.host, &layer.elsewhere, &expected)?;
        Ok(Box::new(found))
    }
}
