//! OCI layouts by hand: images of exactly the layers that a test wants, well-formed or not.

use crate::http::{Asked, Reply};
use crate::tar::{self, Entry};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::path::{Path, PathBuf};

pub const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub const INDEX: &str = "application/vnd.oci.image.index.v1+json";
pub const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
pub const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";
pub const LAYER_GZIP: &str = "application/vnd.oci.image.layer.v1.tar+gzip";

/// `sha256:<hex>`
pub fn digest(bytes: &[u8]) -> String {
    let hex: String = Sha256::digest(bytes)
        .iter()
        .map(|b| format!("{b:02x}"))
        .collect();
    format!("sha256:{hex}")
}

/// One layer as it is stored: its blob and what it unpacks to.
#[derive(Clone, Debug)]
pub struct Layer {
    pub blob: Vec<u8>,
    pub media_type: String,
    pub diff_id: String,
}

impl Layer {
    /// A gzip-compressed layer of these entries.
    pub fn of(entries: &[Entry]) -> Layer {
        let tar = tar::write(entries);
        Layer {
            diff_id: digest(&tar),
            blob: tar::gzip(&tar),
            media_type: LAYER_GZIP.to_owned(),
        }
    }
}

/// A directory in the form of an OCI image layout.
#[derive(Debug)]
pub struct Layout {
    dir: PathBuf,
    entries: Vec<Value>,
}

impl Layout {
    pub fn new(dir: &Path) -> Layout {
        std::fs::create_dir_all(dir.join("blobs/sha256"))
            .expect("the scratch directory is writable");
        std::fs::write(dir.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#)
            .expect("the scratch directory is writable");
        let layout = Layout {
            dir: dir.to_owned(),
            entries: Vec::new(),
        };
        layout.write_index();
        layout
    }

    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// A word of skopeo.
    pub fn source(&self, tag: &str) -> String {
        format!("oci:{}:{tag}", self.dir.display())
    }

    fn write_index(&self) {
        let index = json!({"schemaVersion": 2, "manifests": self.entries});
        std::fs::write(self.dir.join("index.json"), index.to_string())
            .expect("the scratch directory is writable");
    }

    /// Stores bytes; gives their descriptor.
    pub fn blob(&self, media_type: &str, bytes: &[u8]) -> Value {
        let digest = digest(bytes);
        std::fs::write(
            self.dir
                .join("blobs/sha256")
                .join(&digest["sha256:".len()..]),
            bytes,
        )
        .expect("the scratch directory is writable");
        json!({"mediaType": media_type, "digest": digest, "size": bytes.len()})
    }

    /// Stores the layers, a config and a manifest; gives the manifest's descriptor.
    pub fn manifest(&self, layers: &[Layer], arch: &str, config: &Value) -> Value {
        let diff_ids: Vec<&str> = layers.iter().map(|layer| layer.diff_id.as_str()).collect();
        let config = json!({
            "architecture": arch, "os": "linux", "created": "2020-01-02T03:04:05Z", "config": config,
            "rootfs": {"type": "layers", "diff_ids": diff_ids}
        });
        let descriptors: Vec<Value> = layers
            .iter()
            .map(|layer| self.blob(&layer.media_type, &layer.blob))
            .collect();
        let manifest = json!({
            "schemaVersion": 2, "mediaType": MANIFEST,
            "config": self.blob(CONFIG, config.to_string().as_bytes()), "layers": descriptors
        });
        self.blob(MANIFEST, manifest.to_string().as_bytes())
    }

    /// Names a descriptor.
    pub fn tag(&mut self, mut descriptor: Value, tag: &str) {
        descriptor["annotations"] = json!({"org.opencontainers.image.ref.name": tag});
        self.entries.push(descriptor);
        self.write_index();
    }

    /// An image for this machine, with a name.
    pub fn image(&mut self, tag: &str, layers: &[Layer], config: &Value) -> String {
        let descriptor = self.manifest(layers, host_arch(), config);
        let digest = descriptor["digest"]
            .as_str()
            .expect("a digest is text")
            .to_owned();
        self.tag(descriptor, tag);
        digest
    }

    /// An index of several platforms, with a name.
    pub fn index(&mut self, tag: &str, platforms: &[(&str, Value)]) -> String {
        let manifests: Vec<Value> = platforms
            .iter()
            .map(|(arch, descriptor)| {
                let mut descriptor = descriptor.clone();
                descriptor["platform"] = json!({"os": "linux", "architecture": arch});
                descriptor
            })
            .collect();
        let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": manifests});
        let descriptor = self.blob(INDEX, index.to_string().as_bytes());
        let digest = descriptor["digest"]
            .as_str()
            .expect("a digest is text")
            .to_owned();
        self.tag(descriptor, tag);
        digest
    }
}

/// What an honest registry answers that has the layout in `dir`, under any repository.
pub fn answer(dir: &Path, asked: &Asked) -> Reply {
    let parts: Vec<&str> = asked.path.split('/').collect();
    let (Some(version), Some(kind)) = (parts.last(), parts.iter().rev().nth(1)) else {
        return Reply::new(404);
    };
    let tagged = || {
        let index: Value =
            serde_json::from_slice(&std::fs::read(dir.join("index.json")).ok()?).ok()?;
        let name = "org.opencontainers.image.ref.name";
        let entry = index["manifests"]
            .as_array()?
            .iter()
            .find(|entry| entry["annotations"][name] == *version)?;
        Some(entry["digest"].as_str()?.to_owned())
    };
    let digest = match version.contains(':') {
        true => Some((*version).to_owned()),
        false => tagged(),
    };
    let blob = digest.and_then(|digest| {
        let leaf = digest.strip_prefix("sha256:")?;
        std::fs::read(dir.join("blobs/sha256").join(leaf)).ok()
    });
    match (blob, *kind) {
        (Some(bytes), "manifests") => {
            let document: Value = serde_json::from_slice(&bytes).unwrap_or_default();
            let media_type = document["mediaType"].as_str().unwrap_or(MANIFEST);
            Reply::ok(bytes.clone()).header("Content-Type", media_type)
        }
        (Some(bytes), "blobs") => {
            Reply::ok(bytes).header("Content-Type", "application/octet-stream")
        }
        _ => Reply::new(404),
    }
}

/// This machine's architecture as an image config says it.
pub fn host_arch() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}
