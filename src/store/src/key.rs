//! What the directories below `layers` and `trees`, and the holds on them, are
//! called. An ACI's layer has its image ID as name, a layer of several its diff
//! ID, as `sha256-<hex>`; `deps-…` is a tree, `fixups-…` an image's topmost layer.

use crate::digest;
use model::digest::Digest;
use model::{ImageId, fault::Result};

/// A layer or a tree, by the name of its directory.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Key {
    Layer(String),
    Tree(String),
}

impl Key {
    /// Of the name of a hold.
    pub(crate) fn parse(name: &str) -> Key {
        if image_of(name).is_some() || diff_of(name).is_some() {
            Key::Layer(name.to_string())
        } else {
            Key::Tree(name.to_string())
        }
    }

    pub(crate) fn name(&self) -> &str {
        match self {
            Key::Layer(name) | Key::Tree(name) => name,
        }
    }
}

/// The image whose ACI was unpacked to the layer of this name.
pub(crate) fn image_of(name: &str) -> Option<ImageId> {
    // Of the 128 digits of a diff ID it would keep half.
    ImageId::new(name).ok().filter(|id| id.as_str() == name)
}

/// The diff ID that the layer of this name has.
pub(crate) fn diff_of(name: &str) -> Option<Digest> {
    if image_of(name).is_some() {
        return None;
    }
    Digest::parse(&name.replacen('-', ":", 1)).ok()
}

/// The ID of the tree that one image alone renders to.
pub(crate) fn tree_of(id: &ImageId) -> String {
    format!("deps-sha512-{}", digest::hex(id.as_str(), 64))
}

/// The name of the tree that lies on top of an image's layers.
pub(crate) fn fixups_of(id: &ImageId) -> String {
    format!("fixups-{}", id.as_str())
}

/// Whether one of the two has made this name.
pub(crate) fn is_tree(name: &str) -> bool {
    let image = name
        .strip_prefix("deps-")
        .or_else(|| name.strip_prefix("fixups-"));
    image.is_some_and(|image| image.starts_with("sha512-") && !image.contains('/'))
}

pub(crate) fn parse_digests(json: &model::Value) -> Option<Vec<Digest>> {
    let parse = |text: &model::Value| -> Option<Digest> {
        let digest: Result<Digest> = Digest::parse(text.as_str()?);
        digest.ok()
    };
    json.as_array()?.iter().map(parse).collect()
}

pub(crate) fn digests_json(digests: &[Digest]) -> model::Value {
    let texts: Vec<&str> = digests.iter().map(Digest::as_str).collect();
    texts.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_layers_and_trees_are_told_apart() {
        let hex = "0123456789abcdef".repeat(4);
        let aci = format!("sha512-{hex}");
        assert!(image_of(&aci).is_some() && diff_of(&aci).is_none());
        for diff in [format!("sha256-{hex}"), format!("sha512-{hex}{hex}")] {
            assert!(image_of(&diff).is_none(), "{diff}");
            assert_eq!(diff_of(&diff).expect("a diff ID").file_name(), diff);
            assert_eq!(Key::parse(&diff), Key::Layer(diff));
        }
        for tree in [format!("deps-{aci}"), format!("fixups-{aci}"), "x".into()] {
            assert_eq!(Key::parse(&tree), Key::Tree(tree));
        }
    }
}
