//! The manifests in a pod: its own, and those of its apps' images.

use model::{AcName, Fault, ImageManifest, PodManifest, fault::Result};
use rustix::fd::AsFd;

use crate::summary::{AppSummary, Summary};
use crate::{EditLock, Pod, files, layout};

/// No manifest is larger; rkt knows no bound.
const MAX: usize = 16 << 20;

/// Name of the annotation that makes a pod mutable.
pub const MUTABLE: &str = "coreos.com/rkt/stage1/mutable";

impl Pod {
    /// The pod manifest as it was written.
    pub fn manifest_bytes(&self) -> Result<Vec<u8>> {
        files::read(self, layout::POD, MAX).map_err(|err| self.io("read the manifest of", err))
    }

    pub fn manifest(&self) -> Result<PodManifest> {
        PodManifest::parse(&self.manifest_bytes()?)
            .map_err(|fault| fault.link(format!("manifest of pod {:?}", self.uuid().as_str())))
    }

    /// Writes the manifest of a pod that is being prepared.
    pub fn write_manifest(&self, bytes: &[u8]) -> Result<()> {
        self.write_file(layout::POD, bytes)
    }

    /// Marks the pod as created now. Comes before the summary, which repeats
    /// the time.
    pub fn mark_created(&self) -> Result<()> {
        self.write_file(layout::POD_CREATED, b"")
    }

    /// Locks a mutable pod for an edit of its manifest.
    pub fn lock_manifest(&self) -> Result<EditLock> {
        EditLock::take(self.dir())
    }

    /// Replaces the manifest, and the summary with it: readers see either the
    /// old or the new of each.
    pub fn replace_manifest(
        &self,
        _held: &EditLock,
        manifest: &[u8],
        summary: &Summary,
    ) -> Result<()> {
        files::replace(self, layout::POD, layout::FILE_MODE, manifest)
            .and_then(|()| {
                let text = summary.to_text();
                files::replace(self, layout::SUMMARY, layout::FILE_MODE, text.as_bytes())
            })
            .map_err(|err| self.io("replace the manifest of", err))
    }

    pub fn image_manifest_bytes(&self, app: &AcName) -> Result<Vec<u8>> {
        let path = layout::app_manifest(app);
        files::read(self, &path, MAX).map_err(|err| self.io(&format!("read {path} of"), err))
    }

    pub fn image_manifest(&self, app: &AcName) -> Result<ImageManifest> {
        ImageManifest::parse(&self.image_manifest_bytes(app)?)
    }

    /// Writes `appsinfo/<app>/manifest`.
    pub fn write_image_manifest(&self, app: &AcName, bytes: &[u8]) -> Result<()> {
        let dir = self.make_app_info(app)?;
        files::write(&dir, "manifest", layout::FILE_MODE, bytes)
            .map_err(|err| self.io("write an image manifest of", err))
    }
}

/// Builds a summary from the manifests, for pods that have none.
pub(crate) fn summarize(dir: impl AsFd, created_ns: i64) -> Result<Summary> {
    let dir = dir.as_fd();
    let bytes =
        files::read(dir, layout::POD, MAX).map_err(|err| Fault::io("open", layout::POD, err))?;
    let manifest = PodManifest::parse(&bytes)?;
    let apps = manifest
        .apps
        .iter()
        .map(|app| AppSummary {
            name: app.name.clone(),
            image_id: app.image.id.clone(),
            image_name: image_name(dir, &app.name),
        })
        .collect();
    Ok(Summary {
        created_ns,
        mutable: is_mutable(&manifest),
        apps,
    })
}

fn image_name(dir: impl AsFd, app: &AcName) -> Option<String> {
    let bytes = files::read(dir, &layout::app_manifest(app), MAX).ok()?;
    ImageManifest::parse(&bytes)
        .ok()
        .map(|image| display_name(&image))
}

/// `name[:version]`, as listings show an image.
pub fn display_name(image: &ImageManifest) -> String {
    match image.labels.get("version") {
        Some(version) => format!("{}:{version}", image.name.as_str()),
        None => image.name.as_str().to_string(),
    }
}

/// Whether apps may be added to and removed from the pod.
pub fn is_mutable(manifest: &PodManifest) -> bool {
    manifest
        .annotations
        .iter()
        .any(|annotation| annotation.name.as_str() == MUTABLE && annotation.value == "true")
}
