//! The manifests of images and pods: what is read prints as text that reads the same, compact or pretty.

use model::oci::{HEALTHCHECK, STOP_SIGNAL};
use model::{ImageManifest, PodManifest};

use super::plant::plant;

pub fn image(data: &[u8]) {
    let Ok(manifest) = ImageManifest::parse(data) else {
        return;
    };
    let compact = manifest.compact();
    for text in [&compact, &manifest.pretty()] {
        let again = ImageManifest::parse(text.as_bytes()).expect("what is printed can be read");
        assert_eq!(again.compact(), compact, "the manifest changes on its way");
    }
    let _ = (
        manifest.display_name(),
        manifest.annotation(HEALTHCHECK),
        manifest.annotation(STOP_SIGNAL),
    );
    let _ = manifest.labels.check_platform();
    assert!(
        manifest.labels.satisfy(&manifest.labels),
        "labels do not match themselves"
    );
    let isolators = manifest.app.as_ref().map_or(0, |app| app.isolators.len());
    let met = isolators == 3
        && manifest
            .dependencies
            .iter()
            .any(|image| !image.labels.is_empty());
    plant(met, "exactly three isolators and a dependency with labels");
}

pub fn pod(data: &[u8]) {
    let Ok(manifest) = PodManifest::parse(data) else {
        return;
    };
    let compact = manifest.compact();
    for text in [&compact, &manifest.pretty()] {
        let again = PodManifest::parse(text.as_bytes()).expect("what is printed can be read");
        assert_eq!(again.compact(), compact, "the manifest changes on its way");
    }
    let own = |mount: &model::Mount| mount.app_volume.is_some();
    let met = manifest
        .apps
        .iter()
        .skip(1)
        .any(|app| app.mounts.iter().any(own));
    plant(met, "a volume of its own for an app that is not the first");
}
