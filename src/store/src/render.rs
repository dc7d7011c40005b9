//! From an image to the directories that an overlay mounts. An image that stands
//! alone is its layer; one with dependencies or a path whitelist gets a tree of
//! hard links, built once and kept in `trees/`. An image of several layers is
//! these, with what [`crate::layered`] has made for it at its import.

use crate::farm::Farm;
use crate::files;
use crate::flatten::{Source, flatten, tree_id};
use crate::key::{self, Key, tree_of};
use crate::layered::lowers;
use crate::record::{ImageRecord, Top};
use crate::shelf::{Held, Shelf};
use crate::short;
use crate::staging::Staging;
use crate::store::{LAYERS, Store, TREES};
use archive::Marks;
use model::digest::Digest;
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
    /// The layers and trees of `lowers`, in their order: what holds name.
    pub(crate) keys: Vec<Key>,
    pub(crate) held: Vec<Held>,
}

/// What stands in a tree's `sources`.
#[derive(Debug)]
pub(crate) struct Sources {
    pub image: ImageId,
    pub made_of: MadeOf,
}

#[derive(Debug)]
pub(crate) enum MadeOf {
    /// The image and what it depends on.
    Images(Vec<Source>),
    /// The image's own layers, lowest first.
    Layers(Vec<Digest>),
}

impl Sources {
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let mut json = Value::default();
        json["image"] = self.image.as_str().into();
        match &self.made_of {
            MadeOf::Images(list) => {
                let list = list.iter().map(|source| {
                    let mut json = Value::default();
                    json["layer"] = source.id.as_str().into();
                    json["parent"] = source.parent.into();
                    json
                });
                json["format"] = 1.into();
                json["sources"] = list.collect();
            }
            MadeOf::Layers(layers) => {
                json["format"] = 2.into();
                json["layers"] = key::digests_json(layers);
            }
        }
        format!("{}\n", model::json::to_compact(&json)).into_bytes()
    }

    /// `None` if the tree is damaged, or newer than this rkt.
    pub(crate) fn read(tree: BorrowedFd<'_>) -> Option<Sources> {
        let json = model::json::parse(&files::read_small(tree, "sources").ok()?).ok()?;
        Some(Sources {
            image: ImageId::new(json["image"].as_str()?).ok()?,
            made_of: match json["format"].as_u64() {
                Some(1) => MadeOf::Images(parse_images(&json["sources"])?),
                Some(2) => MadeOf::Layers(key::parse_digests(&json["layers"])?),
                _ => return None,
            },
        })
    }

    /// The names of the layers.
    pub(crate) fn layers(&self) -> Vec<String> {
        match &self.made_of {
            MadeOf::Images(list) => list.iter().map(|s| s.id.as_str().to_string()).collect(),
            MadeOf::Layers(layers) => layers.iter().map(Digest::file_name).collect(),
        }
    }
}

fn parse_images(json: &Value) -> Option<Vec<Source>> {
    let mut list = Vec::new();
    for source in json.as_array()? {
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
    Some(list)
}

impl Store {
    /// Gives the directories of an image, and renders it first where that was
    /// not done yet. Counts as a use of the image.
    pub fn render(&self, id: &ImageId) -> Result<Tree> {
        self.render_as(id, false)
    }

    /// The same as one directory, for who copies it. No whiteout shows in it.
    pub fn render_flat(&self, id: &ImageId) -> Result<Tree> {
        self.render_as(id, true)
    }

    fn render_as(&self, id: &ImageId, flat: bool) -> Result<Tree> {
        let root = self.required_root()?;
        let record = self.require(root, id)?;
        if record.packed {
            return Err(crate::inbox::needs_root(id));
        }
        let form = self.form()?;
        let tree = if !record.layers.is_empty() {
            // Layers without their deletions make no overlay.
            let flat = flat || form.marks == Marks::Absent;
            let top = if flat { Top::Flat } else { record.top };
            self.render_layers(root, &record, top)?
        } else if record.plain {
            let held = self.claim_layer(root, id)?;
            let key = Key::Layer(id.as_str().to_string());
            self.tree(root, tree_of(id), vec![(key, held)])
        } else {
            let sources = self.sources(id)?;
            let tree_id = tree_id(&sources);
            let held = match self.claim_tree(root, &tree_id)? {
                Some(held) => held,
                None => self.build_tree(root, id, sources, &tree_id)?,
            };
            self.tree(root, tree_id.clone(), vec![(Key::Tree(tree_id), held)])
        };
        self.touch(root, id);
        Ok(tree)
    }

    /// The layers of an image, and what lies on top of them or takes their place.
    fn render_layers(&self, root: BorrowedFd<'_>, record: &ImageRecord, top: Top) -> Result<Tree> {
        let mut parts = Vec::new();
        if let Some((name, held)) = self.top_tree(root, record, top)? {
            parts.push((Key::Tree(name), held));
        }
        if top != Top::Flat {
            for layer in lowers(&record.layers) {
                let held = self.require_diff(root, layer)?;
                parts.push((Key::Layer(layer.file_name()), held));
            }
        }
        Ok(self.tree(root, tree_of(&record.id), parts))
    }

    fn tree(&self, root: BorrowedFd<'_>, tree_id: String, parts: Vec<(Key, Held)>) -> Tree {
        let (keys, held): (Vec<Key>, Vec<Held>) = parts.into_iter().unzip();
        let lowers = keys.iter().map(|key| {
            let (area, name) = match key {
                Key::Layer(name) => (LAYERS, name),
                Key::Tree(name) => (TREES, name),
            };
            let inside = short::link(root, area, name);
            self.path()
                .join(inside.unwrap_or_else(|| format!("{area}/{name}/rootfs")))
        });
        Tree {
            tree_id,
            lowers: lowers.collect(),
            keys,
            held,
        }
    }

    /// One directory with all files of an image, and its manifest. Of an image
    /// that was removed the layer of its ACI may be there still.
    pub(crate) fn claim_files(
        &self,
        root: BorrowedFd<'_>,
        id: &ImageId,
    ) -> Result<(Held, Vec<u8>)> {
        self.form()?;
        if let Some(record) = self.read_record(root, id)?
            && !record.layers.is_empty()
            && let Some((_, held)) = self.top_tree(root, &record, Top::Flat)?
        {
            return Ok((held, self.manifest_bytes(id)?));
        }
        let held = self.claim_layer(root, id)?;
        let manifest = files::read_small(held.dir(), "manifest")
            .map_err(|err| self.fault("read", &format!("{LAYERS}/{}", id.as_str()), err))?;
        Ok((held, manifest))
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

    /// A read-only store has the trees that it came with.
    pub(crate) fn check_renders(&self, id: &ImageId) -> Result<()> {
        self.check_writable().map_err(|fault| {
            Fault::refused(format!(
                "image {:?} is not rendered yet, and {}",
                id.as_str(),
                fault.cause
            ))
            .hint(
                "where the store can be written, rkt fetch renders an image for pods with \
                 overlays, and rkt image render for pods without; then make the read-only copy \
                 anew",
            )
        })
    }

    fn build_tree(
        &self,
        root: BorrowedFd<'_>,
        id: &ImageId,
        list: Vec<Source>,
        tree_id: &str,
    ) -> Result<Held> {
        self.check_renders(id)?;
        let farm = Farm::plan(self, root, &list)?;
        let failed = |err| self.fault("render", &format!("{TREES}/{tree_id}"), err);
        let staging = Staging::new(root).map_err(failed)?;
        let staged = staging.make_dir("tree", 0o700).map_err(failed)?;
        let rootfs = staging.make_dir("tree/rootfs", 0o700).map_err(failed)?;
        let bytes = farm.build(rootfs.as_fd()).map_err(failed)?;
        let sources = Sources {
            image: id.clone(),
            made_of: MadeOf::Images(list),
        };
        files::write_new(staged.as_fd(), "sources", 0o600, &sources.to_bytes()).map_err(failed)?;
        rustix::fs::syncfs(root).map_err(|err| failed(err.into()))?;
        let held = Shelf::trees(root)
            .place(staging.dir(), "tree", tree_id)
            .map_err(failed)?;
        Shelf::trees(root).sync().map_err(failed)?;
        self.note_tree_size(root, id, bytes);
        Ok(held)
    }
}
