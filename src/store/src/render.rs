//! From an image to the directories that an overlay mounts. An image that stands
//! alone is its layer; one with dependencies or a path whitelist gets a tree of
//! hard links, built once and kept in `trees/`.

use crate::farm::Farm;
use crate::files;
use crate::flatten::{Source, flatten, tree_id};
use crate::shelf::{Held, Shelf};
use crate::short;
use crate::staging::Staging;
use crate::store::{LAYERS, Store, TREES};
use model::{Fault, ImageId, Value, fault::Result};
use std::collections::HashMap;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::PathBuf;

/// A rendered image. While the value lives its files cannot go; beyond that,
/// [`Store::hold`] keeps them for a pod.
#[derive(Debug)]
pub struct Tree {
    /// `deps-sha512-…`, as rkt computes it.
    pub tree_id: String,
    /// Absolute and short, highest priority first; read-only by contract.
    pub lowers: Vec<PathBuf>,
    /// What a hold names: the tree's ID, or the image's where the tree is its layer.
    pub(crate) key: String,
    pub(crate) held: Held,
}

/// What stands in a tree's `sources`.
#[derive(Debug)]
pub(crate) struct Sources {
    pub image: ImageId,
    pub list: Vec<Source>,
}

impl Sources {
    fn to_bytes(&self) -> Vec<u8> {
        let list: Vec<Value> = self
            .list
            .iter()
            .map(|source| {
                let mut json = Value::default();
                json["layer"] = source.id.as_str().into();
                json["parent"] = source.parent.into();
                json
            })
            .collect();
        let mut json = Value::default();
        json["format"] = 1.into();
        json["image"] = self.image.as_str().into();
        json["sources"] = list.into();
        format!("{}\n", model::json::to_compact(&json)).into_bytes()
    }

    /// `None` if the tree is damaged, or newer than this rkt.
    pub(crate) fn read(tree: BorrowedFd<'_>) -> Option<Sources> {
        let json = model::json::parse(&files::read_small(tree, "sources").ok()?).ok()?;
        if json["format"].as_u64() != Some(1) {
            return None;
        }
        let mut list = Vec::new();
        for source in json["sources"].as_array()? {
            let parent = match &source["parent"] {
                Value::Null => None,
                index => Some(usize::try_from(index.as_u64()?).ok()?),
            };
            // A parent comes before what it depends on.
            if parent.map_or(!list.is_empty(), |parent| parent >= list.len()) {
                return None;
            }
            list.push(Source {
                id: ImageId::new(source["layer"].as_str()?).ok()?,
                parent,
            });
        }
        Some(Sources {
            image: ImageId::new(json["image"].as_str()?).ok()?,
            list,
        })
    }
}

impl Store {
    /// Gives the directories of an image, and renders it first where that was
    /// not done yet. Counts as a use of the image.
    pub fn render(&self, id: &ImageId) -> Result<Tree> {
        let root = self.required_root()?;
        let record = self.require(root, id)?;
        let tree = if record.plain {
            let alone = Source {
                id: id.clone(),
                parent: None,
            };
            let held = self.claim_layer(root, id)?;
            self.tree(
                root,
                LAYERS,
                tree_id(&[alone]),
                id.as_str().to_string(),
                held,
            )
        } else {
            let sources = self.sources(id)?;
            let tree_id = tree_id(&sources);
            let held = match self.claim_tree(root, &tree_id)? {
                Some(held) => held,
                None => self.build_tree(root, id, sources, &tree_id)?,
            };
            self.tree(root, TREES, tree_id.clone(), tree_id, held)
        };
        self.touch(root, id);
        Ok(tree)
    }

    fn tree(
        &self,
        root: BorrowedFd<'_>,
        area: &str,
        tree_id: String,
        key: String,
        held: Held,
    ) -> Tree {
        let inside =
            short::link(root, area, &key).unwrap_or_else(|| format!("{area}/{key}/rootfs"));
        Tree {
            tree_id,
            lowers: vec![self.path().join(inside)],
            key,
            held,
        }
    }

    pub(crate) fn claim_layer(&self, root: BorrowedFd<'_>, id: &ImageId) -> Result<Held> {
        let claimed = Shelf::layers(root)
            .claim(id.as_str())
            .map_err(|err| self.fault("open", &format!("{LAYERS}/{}", id.as_str()), err))?;
        claimed.ok_or_else(|| {
            Fault::corrupt(format!("the layer of image {:?} is missing", id.as_str()))
                .hint("remove the image and fetch it again")
        })
    }

    pub(crate) fn claim_tree(&self, root: BorrowedFd<'_>, tree_id: &str) -> Result<Option<Held>> {
        Shelf::trees(root)
            .claim(tree_id)
            .map_err(|err| self.fault("open", &format!("{TREES}/{tree_id}"), err))
    }

    /// The flat list of an image and everything below it, as the store resolves
    /// it now.
    pub(crate) fn sources(&self, id: &ImageId) -> Result<Vec<Source>> {
        let mut seen: HashMap<ImageId, Vec<ImageId>> = HashMap::new();
        flatten(id, &mut |id| {
            if let Some(known) = seen.get(id) {
                return Ok(known.clone());
            }
            let mut found = Vec::new();
            for dependency in self.manifest(id)?.dependencies {
                found.push(match &dependency.image_id {
                    Some(prefix) => self.resolve(prefix)?,
                    None => {
                        let (name, labels) = (&dependency.image_name, &dependency.labels);
                        let record = self.find(name, labels)?;
                        record
                            .ok_or_else(|| crate::lookup::missing(name, labels))?
                            .id
                    }
                });
            }
            seen.insert(id.clone(), found.clone());
            Ok(found)
        })
    }

    fn build_tree(
        &self,
        root: BorrowedFd<'_>,
        id: &ImageId,
        list: Vec<Source>,
        tree_id: &str,
    ) -> Result<Held> {
        let farm = Farm::plan(self, root, &list)?;
        let failed = |err| self.fault("render", &format!("{TREES}/{tree_id}"), err);
        let staging = Staging::new(root).map_err(failed)?;
        let staged = staging.make_dir("tree", 0o700).map_err(failed)?;
        let rootfs = staging.make_dir("tree/rootfs", 0o700).map_err(failed)?;
        let bytes = farm.build(rootfs.as_fd()).map_err(failed)?;
        let sources = Sources {
            image: id.clone(),
            list,
        };
        files::write_new(staged.as_fd(), "sources", 0o600, &sources.to_bytes()).map_err(failed)?;
        rustix::fs::syncfs(root).map_err(|err| failed(err.into()))?;
        let held = Shelf::trees(root)
            .place(staging.dir(), "tree", tree_id)
            .map_err(failed)?;
        self.note_tree_size(root, id, bytes);
        Ok(held)
    }
}
