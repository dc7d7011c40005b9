//! What registries, layouts and `docker save` say: manifests, indexes, configs, lists, in every reading that a content
//! type allows; and the challenges of a server that wants a login.

use fetch::registry::challenge;
use model::oci::{
    Document, ImageConfig, Manifest, Platform, Provenance, Schema1, convert, layout, losses, media,
    save,
};
use model::{DockerReference, ImageManifest};

use super::plant::plant;

const TYPES: &[Option<&str>] = &[
    None,
    Some(media::OCI_MANIFEST),
    Some(media::OCI_INDEX),
    Some(media::DOCKER_MANIFEST),
    Some(media::DOCKER_LIST),
    Some(media::SCHEMA1_SIGNED),
    Some("application/json; charset=utf-8"),
];

pub fn json(data: &[u8]) {
    let platform = Platform::host("x86_64");
    for content_type in TYPES {
        match Document::parse(*content_type, data) {
            Ok(Document::Manifest(manifest)) => of_image(&manifest, data),
            Ok(Document::Index(index)) => {
                let _ = index.choose(&platform);
                let _ = layout::choose(&index, None, &platform);
                for entry in &index.manifests {
                    let _ = layout::name_of(entry);
                    safe(&layout::blob_path(&entry.digest));
                }
                plant(index.manifests.len() == 5, "an index of five");
            }
            Ok(Document::Schema1(manifest)) => of_schema1(&manifest, data),
            Err(_) => {}
        }
    }
    if let Ok(config) = ImageConfig::parse(data) {
        let _ = config.check_platform(&platform);
        converted(&config);
    }
    let _ = (layout::check_header(data), layout::index(data));
    saved(data);
}

fn of_image(manifest: &Manifest, data: &[u8]) {
    let _ = manifest.check_image();
    if let Ok(config) = ImageConfig::parse(data) {
        let _ = manifest.check_config(&config);
    }
    for layer in &manifest.layers {
        let _ = media::layer(&layer.media_type);
        safe(&layer.digest.file_name());
    }
}

fn of_schema1(manifest: &Schema1, data: &[u8]) {
    let payload = Schema1::payload(data).expect("it was parsed, so it has a payload");
    let again = Schema1::payload(&payload).expect("a payload is a manifest without signatures");
    assert!(again == payload, "the payload of a payload is another");
    converted(manifest.config());
}

/// A config becomes a manifest that reads the same, or none.
fn converted(config: &ImageConfig) {
    let reference =
        DockerReference::parse("localhost:5000/some/image:v1").expect("this is a reference");
    let local = Provenance::of_local("/tmp/some image.tar", Some("v1"));
    for origin in [
        Provenance::of_reference(&reference, "docker://some/image"),
        local,
    ] {
        if let Ok(manifest) = convert(config, &origin) {
            let again = ImageManifest::parse(manifest.compact().as_bytes())
                .expect("what is converted can be read");
            assert!(
                again == manifest,
                "the converted manifest changes on its way"
            );
        }
    }
    let _ = losses(config);
}

fn saved(data: &[u8]) {
    if let Ok(images) = save::parse(data) {
        let _ = save::choose(&images, None);
        for image in &images {
            let _ = (image.config_digest(), image.name());
            image
                .layers
                .iter()
                .chain([&image.config])
                .for_each(|name| safe(name));
        }
    }
}

/// A name below a directory that stays there.
fn safe(name: &str) {
    let odd = |part: &str| part.is_empty() || part == "." || part == "..";
    assert!(!name.split('/').any(odd), "{name:?} leads out");
    assert!(!name.contains('\0'), "{name:?} is no name");
}

pub fn challenges(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let found = challenge::parse(text.split('\n'));
    for one in &found {
        assert!(!one.scheme.is_empty(), "a challenge without a scheme");
        assert_eq!(one.scheme, one.scheme.to_ascii_lowercase());
        for (name, value) in &one.parameters {
            assert_eq!(*name, name.to_ascii_lowercase());
            assert!(
                one.get(name)
                    .is_some_and(|first| first.len() + value.len() <= 2 * text.len())
            );
        }
    }
    let quoted =
        |one: &challenge::Challenge| one.parameters.iter().any(|(_, value)| value.contains('"'));
    let met = found.len() >= 3 && found.last().is_some_and(quoted);
    plant(met, "a third challenge with a quote in a quoted value");
}
