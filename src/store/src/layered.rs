//! An image of several layers, opened: its layers held, their indices merged.
//! Also the directories that stand beside the layers: the fixups that lie on top
//! of them in an overlay, and the flat tree of hard links that takes their place
//! where an overlay does not do, or a caller wants one directory.

use crate::farm::{same_attributes, same_file, walk};
use crate::files;
use crate::key::{fixups_of, tree_of};
use crate::record::{ImageRecord, Top};
use crate::render::{MadeOf, Sources};
use crate::shelf::{Held, Shelf};
use crate::staging::Staging;
use crate::store::{LAYERS, Store, TREES, manifest_path};
use archive::Form;
use archive::layer::{Index, NodeKind};
use archive::squash::{self, Merged, Shown};
use model::digest::Digest;
use model::{Fault, ImageId, fault::Result};
use std::collections::{HashMap, HashSet};
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Lower directories of one mount. The kernel takes 500; but mount(2) takes one
/// page of options, in which each is named as `/proc/self/fd/<number>`.
pub(crate) const MOST_LOWERS: usize = 200;

/// Layers, open and held, lowest first, and the tree that they make.
pub(crate) struct Layered {
    _held: Vec<Held>,
    pub indices: Vec<Index>,
    pub roots: Vec<OwnedFd>,
    pub merged: Merged,
}

impl Layered {
    pub(crate) fn roots(&self) -> Vec<BorrowedFd<'_>> {
        self.roots.iter().map(AsFd::as_fd).collect()
    }
}

/// What an overlay of these layers needs beside them.
pub(crate) fn top_of(merged: &Merged, layers: &[Digest]) -> Top {
    let fixups = usize::from(!merged.fixups.is_empty());
    if !merged.overlay || lowers(layers).len() + fixups > MOST_LOWERS {
        Top::Flat
    } else if fixups > 0 {
        Top::Fixups
    } else {
        Top::Nothing
    }
}

/// Bytes of a layer's files, hard links counted once.
pub(crate) fn rootfs_bytes(index: &Index) -> u64 {
    let sizes = index.nodes.iter().map(|node| match node.kind {
        NodeKind::File { size } => size,
        _ => 0,
    });
    sizes.fold(0, u64::saturating_add)
}

/// The layers as an overlay takes them: topmost first, each once. The lower one
/// of two equal layers adds nothing, and the kernel refuses it.
pub(crate) fn lowers(layers: &[Digest]) -> Vec<&Digest> {
    let mut seen = HashSet::new();
    let topmost_first = layers.iter().rev();
    topmost_first.filter(|layer| seen.insert(*layer)).collect()
}

/// Whether a directory of layers can be built, and of what.
pub(crate) fn shown_in(merged: &Merged, top: Top) -> &[Shown] {
    match top {
        Top::Nothing => &[],
        Top::Fixups => &merged.fixups,
        Top::Flat => &merged.shown,
    }
}

/// The name of the tree that an image has for this.
pub(crate) fn top_name(id: &ImageId, top: Top) -> Option<String> {
    match top {
        Top::Nothing => None,
        Top::Fixups => Some(fixups_of(id)),
        Top::Flat => Some(tree_of(id)),
    }
}

impl Store {
    pub(crate) fn claim_diff(&self, root: BorrowedFd<'_>, layer: &Digest) -> Result<Option<Held>> {
        let name = layer.file_name();
        Shelf::layers(root)
            .claim(&name)
            .map_err(|err| self.fault("open", &format!("{LAYERS}/{name}"), err))
    }

    /// What a held layer consists of.
    pub(crate) fn read_layer(&self, held: &Held, layer: &Digest) -> Result<(Index, OwnedFd)> {
        let path = format!("{LAYERS}/{}", layer.file_name());
        let opened = || -> io::Result<(File, OwnedFd)> {
            let index = files::open_file(held.dir(), "index")?;
            Ok((index, files::open_dir(held.dir(), "rootfs")?))
        };
        let (index, rootfs) = opened().map_err(|err| match err.kind() {
            io::ErrorKind::NotFound => {
                Fault::corrupt(self.fault("open", &path, err).cause).hint(FETCH_AGAIN)
            }
            _ => self.fault("open", &path, err),
        })?;
        let index = Index::read(&mut &index)
            .map_err(|fault| fault.link(format!("read {path}/index")).hint(FETCH_AGAIN))?;
        Ok((index, rootfs))
    }

    /// Opens the layers of a stored image.
    pub(crate) fn open_layers(&self, root: BorrowedFd<'_>, layers: &[Digest]) -> Result<Layered> {
        let mut held = Vec::with_capacity(layers.len());
        let mut indices = Vec::with_capacity(layers.len());
        let mut roots = Vec::with_capacity(layers.len());
        for layer in layers {
            let claimed = self.require_diff(root, layer)?;
            let (index, rootfs) = self.read_layer(&claimed, layer)?;
            held.push(claimed);
            indices.push(index);
            roots.push(rootfs);
        }
        let merged = squash::merge(&indices.iter().collect::<Vec<_>>())?;
        Ok(Layered {
            _held: held,
            indices,
            roots,
            merged,
        })
    }

    pub(crate) fn require_diff(&self, root: BorrowedFd<'_>, layer: &Digest) -> Result<Held> {
        self.claim_diff(root, layer)?
            .ok_or_else(|| Fault::corrupt(format!("layer {layer} is missing")).hint(FETCH_AGAIN))
    }

    /// Writes the canonical archive of an image, and checks that it is the image.
    pub(crate) fn write_canonical(
        &self,
        root: BorrowedFd<'_>,
        id: &ImageId,
        layered: &Layered,
        out: &mut dyn Write,
    ) -> Result<()> {
        let path = manifest_path(id);
        let manifest =
            files::read_small(root, &path).map_err(|err| self.fault("open", &path, err))?;
        let squashed = squash::write_squashed(&manifest, &layered.merged, &layered.roots(), out)?;
        crate::put::check_id(&ImageId::from_digest(&squashed.digest), Some(id))
    }

    /// The tree that an image has on top of its layers, or instead of them;
    /// built if it is missing.
    pub(crate) fn top_tree(
        &self,
        root: BorrowedFd<'_>,
        record: &ImageRecord,
        top: Top,
    ) -> Result<Option<(String, Held)>> {
        let Some(name) = top_name(&record.id, top) else {
            return Ok(None);
        };
        if let Some(held) = self.claim_tree(root, &name)? {
            return Ok(Some((name, held)));
        }
        self.check_renders(&record.id)?;
        let layered = self.open_layers(root, &record.layers)?;
        let failed = |err| self.fault("render", &format!("{TREES}/{name}"), err);
        let staging = Staging::new(root).map_err(failed)?;
        let shown = shown_in(&layered.merged, top);
        let staged = self.stage_tree(&staging, shown, &layered.roots())?;
        seal_tree(staged.as_fd(), &record.id, &record.layers).map_err(failed)?;
        rustix::fs::syncfs(root).map_err(|err| failed(err.into()))?;
        let held = self.place_tree(root, &staging, &name)?;
        Shelf::trees(root).sync().map_err(failed)?;
        Ok(Some((name, held)))
    }

    /// Builds `tree/rootfs` in a staging directory. What it notes (files that
    /// had to be copied) is of no use to anybody.
    pub(crate) fn stage_tree(
        &self,
        staging: &Staging,
        shown: &[Shown],
        roots: &[BorrowedFd<'_>],
    ) -> Result<OwnedFd> {
        let made = || -> io::Result<(OwnedFd, OwnedFd)> {
            let staged = staging.make_dir(TREE, 0o700)?;
            Ok((staged, staging.make_dir(TREE_ROOTFS, 0o700)?))
        };
        let (staged, rootfs) = made().map_err(|err| self.fault("mkdir", "tmp", err))?;
        let form = self.settle_form()?;
        let _notes = squash::build_links(shown, roots, rootfs.as_fd(), form)?;
        Ok(staged)
    }

    pub(crate) fn place_tree(
        &self,
        root: BorrowedFd<'_>,
        staging: &Staging,
        name: &str,
    ) -> Result<Held> {
        Shelf::trees(root)
            .place(staging.dir(), TREE, name)
            .map_err(|err| self.fault("rename", &format!("{TREES}/{name}"), err))
    }
}

const TREE: &str = "tree";
const TREE_ROOTFS: &str = "tree/rootfs";
pub(crate) const FETCH_AGAIN: &str = "remove the image and fetch it again";

/// Writes the seal of a staged tree, durably.
pub(crate) fn seal_tree(staged: BorrowedFd<'_>, id: &ImageId, layers: &[Digest]) -> io::Result<()> {
    let sources = Sources {
        image: id.clone(),
        made_of: MadeOf::Layers(layers.to_vec()),
    };
    files::write_new(staged, "sources", 0o600, &sources.to_bytes())?;
    Ok(rustix::fs::fsync(files::open_file(staged, "sources")?)?)
}

/// Says what is wrong with a tree of hard links, if anything is.
pub(crate) fn compare(
    shown: &[Shown],
    roots: &[BorrowedFd<'_>],
    tree: BorrowedFd<'_>,
    form: Form,
) -> io::Result<Option<String>> {
    let mut there = HashMap::new();
    walk(tree, &mut |path, is_dir| {
        there.insert(path.to_vec(), is_dir);
    })?;
    there.insert(Vec::new(), true);
    for shown in shown {
        let path = as_path(&shown.path);
        let is_dir = matches!(shown.node.kind, NodeKind::Dir { .. });
        let wrong = match there.remove(&shown.path) {
            None if shown.node.may_be_absent(form) => None,
            None => Some("is missing"),
            Some(found) if found != is_dir => Some("has another type"),
            Some(_) if is_dir => {
                let node = &shown.node;
                let same = same_attributes(tree, path, node, form)?;
                (!same).then_some("has another owner or mode")
            }
            Some(_) => {
                let from = as_path(&shown.source);
                let same = same_file(roots[shown.layer], from, tree, path)?;
                (!same).then_some("differs from its layer")
            }
        };
        if let Some(wrong) = wrong {
            return Ok(Some(format!("{path:?} {wrong}")));
        }
    }
    there.remove(&Vec::new());
    let left = there.into_keys().min();
    Ok(left.map(|path| format!("{:?} does not belong to it", as_path(&path))))
}

fn as_path(path: &[u8]) -> &Path {
    if path.is_empty() {
        return Path::new(".");
    }
    Path::new(OsStr::from_bytes(path))
}
