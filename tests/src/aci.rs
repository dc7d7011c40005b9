//! Makes ACIs for the tests, from a manifest written here and the static probe (or any program) as the only file.
//!
//! Built without rkt's own `model` and `archive` on purpose: an error there must not cancel itself out.

use crate::tar::{self, Entry};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// An image under construction. `Aci::probe` is what most tests start from.
#[derive(Clone, Debug)]
pub struct Aci {
    pub name: String,
    pub version: Option<String>,
    pub app: Value,
    pub extra: Vec<(String, Value)>,
    pub entries: Vec<Entry>,
    /// Replaces the generated manifest, for broken ones.
    pub manifest: Option<Vec<u8>>,
}

impl Aci {
    /// An image with an app section and an empty root file system.
    pub fn new(name: &str, exec: &[&str]) -> Aci {
        Aci {
            name: name.to_owned(),
            version: Some("1.0.0".to_owned()),
            app: json!({"exec": exec, "user": "0", "group": "0"}),
            extra: Vec::new(),
            entries: vec![Entry::dir("rootfs")],
            manifest: None,
        }
    }

    /// The probe as `/probe`, an `/etc` with users, a `/work` directory: enough for every root test.
    pub fn probe(name: &str) -> Aci {
        let mut aci = Aci::new(name, &["/probe"]);
        aci.app["environment"] = json!([{"name": "FROM_IMAGE", "value": "image"}]);
        let program = std::fs::read(crate::rkt::probe())
            .expect("the static probe is built before the tests run");
        aci.entries.extend([
            Entry::program("rootfs/probe", program),
            Entry::dir("rootfs/etc"),
            Entry::file(
                "rootfs/etc/passwd",
                "root:x:0:0::/root:/probe\nalice:x:1234:1235::/home/alice:/probe\n",
            ),
            Entry::file(
                "rootfs/etc/group",
                "root:x:0:\nalice:x:1235:\nstaff:x:50:alice\n",
            ),
            Entry::dir("rootfs/work"),
            Entry::dir("rootfs/tmp").mode(0o1777),
            Entry::file("rootfs/which", name),
        ]);
        aci
    }

    pub fn exec(mut self, exec: &[&str]) -> Aci {
        self.app["exec"] = json!(exec);
        self
    }

    /// Sets one key of the app section.
    pub fn app(mut self, key: &str, value: Value) -> Aci {
        self.app[key] = value;
        self
    }

    /// Sets one key of the manifest's top level.
    pub fn top(mut self, key: &str, value: Value) -> Aci {
        self.extra.push((key.to_owned(), value));
        self
    }

    pub fn version(mut self, version: Option<&str>) -> Aci {
        self.version = version.map(str::to_owned);
        self
    }

    pub fn with(mut self, entry: Entry) -> Aci {
        self.entries.push(entry);
        self
    }

    pub fn raw_manifest(mut self, bytes: impl Into<Vec<u8>>) -> Aci {
        self.manifest = Some(bytes.into());
        self
    }

    pub fn manifest(&self) -> Vec<u8> {
        if let Some(raw) = &self.manifest {
            return raw.clone();
        }
        let mut labels = Vec::new();
        if let Some(version) = &self.version {
            labels.push(json!({"name": "version", "value": version}));
        }
        labels.push(json!({"name": "os", "value": "linux"}));
        labels.push(json!({"name": "arch", "value": arch()}));
        let mut manifest = json!({
            "acKind": "ImageManifest", "acVersion": "0.8.11", "name": self.name, "labels": labels, "app": self.app,
        });
        for (key, value) in &self.extra {
            manifest[key] = value.clone();
        }
        manifest.to_string().into_bytes()
    }

    /// The uncompressed archive.
    pub fn tar(&self) -> Vec<u8> {
        let mut all = vec![Entry::file("manifest", self.manifest())];
        all.extend(self.entries.iter().cloned());
        tar::write(&all)
    }

    /// Writes `<dir>/<last part of the name>.aci`, gzip-framed as actool does.
    pub fn write(&self, dir: &Path) -> PathBuf {
        let leaf = self.name.rsplit('/').next().unwrap_or(&self.name);
        let path = dir.join(format!("{leaf}.aci"));
        std::fs::write(&path, tar::gzip(&self.tar())).expect("an ACI below the scratch directory");
        path
    }
}

/// The host's architecture in appc's spelling.
pub fn arch() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "x86" => "i386",
        other => other,
    }
}
