//! Media types of manifests, configs and layers.
//!
//! Comparison is by text without parameters, in lower case. What a layer really
//! is, is found by its first bytes when it is unpacked; its media type only says
//! whether it is a layer at all, and whether it may be fetched.

pub const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
pub const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
pub const DOCKER_CONFIG: &str = "application/vnd.docker.container.image.v1+json";
pub const DOCKER_PLUGIN: &str = "application/vnd.docker.plugin.v1+json";
pub const SCHEMA1: &str = "application/vnd.docker.distribution.manifest.v1+json";
pub const SCHEMA1_SIGNED: &str = "application/vnd.docker.distribution.manifest.v1+prettyjws";
pub const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
pub const OCI_CONFIG: &str = "application/vnd.oci.image.config.v1+json";
/// The blob `{}`, which stands where an artifact has no config.
pub const OCI_EMPTY: &str = "application/vnd.oci.empty.v1+json";
pub const IN_TOTO: &str = "application/vnd.in-toto+json";

/// The `Accept` header of a request for a manifest. A registry that misses the
/// lists here may make up a manifest of one platform, with another digest.
pub const ACCEPT: &str = "application/vnd.docker.distribution.manifest.v2+json, \
application/vnd.docker.distribution.manifest.list.v2+json, \
application/vnd.oci.image.manifest.v1+json, \
application/vnd.oci.image.index.v1+json, \
application/vnd.docker.distribution.manifest.v1+prettyjws, \
application/vnd.docker.distribution.manifest.v1+json, */*";

/// What a document is, by its media type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    Manifest,
    Index,
    Schema1,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    None,
    Gzip,
    Zstd,
}

/// What a layer is, by its media type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layer {
    Tar(Compression),
    /// Not to be distributed: the registry need not have it, its `urls` say who has.
    Foreign(Compression),
    /// Encrypted, whatever is inside.
    Encrypted,
    /// No layer of a file system.
    Unknown,
}

/// The type alone: parameters dropped, lower case.
pub fn essence(media_type: &str) -> String {
    let bare = media_type.split(';').next().unwrap_or(media_type);
    bare.trim().to_ascii_lowercase()
}

/// `None` for what is no manifest of any kind.
pub fn shape(media_type: &str) -> Option<Shape> {
    match essence(media_type).as_str() {
        DOCKER_MANIFEST | OCI_MANIFEST => Some(Shape::Manifest),
        DOCKER_LIST | OCI_INDEX => Some(Shape::Index),
        SCHEMA1 | SCHEMA1_SIGNED => Some(Shape::Schema1),
        _ => None,
    }
}

/// Whether a server says nothing with this type, so that the document has to
/// speak for itself. Old registries serve schema 1 as plain JSON.
pub fn is_vague(media_type: &str) -> bool {
    matches!(
        essence(media_type).as_str(),
        "" | "application/octet-stream" | "binary/octet-stream" | "text/plain" | "application/json"
    )
}

/// Whether a blob of this type is the config of an image.
pub fn is_config(media_type: &str) -> bool {
    matches!(essence(media_type).as_str(), DOCKER_CONFIG | OCI_CONFIG)
}

pub fn layer(media_type: &str) -> Layer {
    let bare = essence(media_type);
    if bare.ends_with("+encrypted") {
        return Layer::Encrypted;
    }
    match bare.as_str() {
        "application/vnd.oci.image.layer.v1.tar"
        | "application/vnd.docker.image.rootfs.diff.tar" => Layer::Tar(Compression::None),
        "application/vnd.oci.image.layer.v1.tar+gzip"
        | "application/vnd.docker.image.rootfs.diff.tar.gzip"
        | "application/vnd.docker.container.image.rootfs.diff+x-gtar" => {
            Layer::Tar(Compression::Gzip)
        }
        "application/vnd.oci.image.layer.v1.tar+zstd"
        | "application/vnd.docker.image.rootfs.diff.tar.zstd" => Layer::Tar(Compression::Zstd),
        "application/vnd.oci.image.layer.nondistributable.v1.tar"
        | "application/vnd.docker.image.rootfs.foreign.diff.tar" => {
            Layer::Foreign(Compression::None)
        }
        "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip"
        | "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip" => {
            Layer::Foreign(Compression::Gzip)
        }
        "application/vnd.oci.image.layer.nondistributable.v1.tar+zstd"
        | "application/vnd.docker.image.rootfs.foreign.diff.tar.zstd" => {
            Layer::Foreign(Compression::Zstd)
        }
        _ => Layer::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layers_by_their_media_type() {
        for (text, want) in [
            (
                "application/vnd.oci.image.layer.v1.tar",
                Layer::Tar(Compression::None),
            ),
            (
                "application/vnd.oci.image.layer.v1.tar+gzip",
                Layer::Tar(Compression::Gzip),
            ),
            (
                "Application/vnd.OCI.image.layer.v1.tar+gzip; x=y",
                Layer::Tar(Compression::Gzip),
            ),
            (
                "application/vnd.oci.image.layer.v1.tar+zstd",
                Layer::Tar(Compression::Zstd),
            ),
            (
                "application/vnd.docker.image.rootfs.diff.tar.gzip",
                Layer::Tar(Compression::Gzip),
            ),
            (
                "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
                Layer::Foreign(Compression::Gzip),
            ),
            (
                "application/vnd.oci.image.layer.nondistributable.v1.tar+zstd",
                Layer::Foreign(Compression::Zstd),
            ),
            (
                "application/vnd.oci.image.layer.v1.tar+gzip+encrypted",
                Layer::Encrypted,
            ),
            (IN_TOTO, Layer::Unknown),
            ("", Layer::Unknown),
        ] {
            assert_eq!(layer(text), want, "{text}");
        }
    }

    #[test]
    fn the_accept_list_names_every_shape_and_anything_else_last() {
        let types: Vec<&str> = ACCEPT.split(", ").collect();
        for known in [
            DOCKER_MANIFEST,
            DOCKER_LIST,
            OCI_MANIFEST,
            OCI_INDEX,
            SCHEMA1,
            SCHEMA1_SIGNED,
        ] {
            assert!(types.contains(&known), "{known}");
            assert!(shape(known).is_some());
        }
        assert_eq!(types.last(), Some(&"*/*"));
        assert!(is_vague("text/plain; charset=utf-8") && !is_vague("text/html"));
        assert_eq!(shape("text/html"), None);
    }
}
