//! Layer after layer onto one view, as if each were unpacked over the last.
//!
//! What a layer hides goes first (whiteouts and opaque directories concern lower
//! layers only), then comes what it brings, in byte order: a directory over a
//! directory merges, anything else replaces what stands there with all below it.
//! Where a layer goes through a directory that it does not list and the view has
//! a symbolic link, the link is followed inside the root, as unpacking onto the
//! merged tree would.
//!
//! In the end the view is told as data: the first name of an inode in byte order
//! is the file, the others are hard links to it.

use std::collections::{HashMap, HashSet};

use model::fault::{Fault, Result};

use super::view::{Dir, Entry, Inode, Leaf, Stop, View, join, name, parent};
use super::{Merged, Shown};
use crate::layer::{Index, Node, NodeKind};
use crate::name::shown;

/// Merges layers, lowest first. Fails with `Kind::Invalid` where a hard link
/// leads to nothing or a path through a loop of links, naming layer and path.
pub fn merge(layers: &[&Index]) -> Result<Merged> {
    let mut view = View::new();
    let mut overlay = true;
    for (layer, index) in layers.iter().enumerate() {
        overlay &= Laying::new(&mut view, layer, index)?.run()?;
        // Overlay merges the roots of its layers, opaque or not.
        overlay &= layer == 0 || !opaque_root(index);
    }
    let shown = tell(&view);
    let fixups = if overlay {
        fixups(&view, &shown)
    } else {
        Vec::new()
    };
    Ok(Merged {
        shown,
        fixups,
        overlay,
    })
}

fn opaque_root(index: &Index) -> bool {
    let root = index.nodes.first().filter(|node| node.path.is_empty());
    root.is_some_and(|root| root.kind == NodeKind::Dir { opaque: true })
}

/// One layer on its way onto the view.
struct Laying<'v, 'a> {
    view: &'v mut View<'a>,
    layer: usize,
    index: &'a Index,
    /// The inode of each node; None for directories and whiteouts.
    inodes: Vec<Option<usize>>,
    /// Directories of the layer whose content goes elsewhere.
    moved: HashMap<&'a [u8], Vec<u8>>,
    overlay: bool,
}

impl<'v, 'a> Laying<'v, 'a> {
    fn new(view: &'v mut View<'a>, layer: usize, index: &'a Index) -> Result<Laying<'v, 'a>> {
        sound(layer, index)?;
        Ok(Laying {
            view,
            layer,
            index,
            inodes: Vec::with_capacity(index.nodes.len()),
            moved: HashMap::new(),
            overlay: true,
        })
    }

    /// False: overlay cannot show what comes of it.
    fn run(mut self) -> Result<bool> {
        self.number()?;
        self.hide()?;
        self.moved.clear();
        let index = self.index;
        for (at, node) in index.nodes.iter().enumerate() {
            let path = self.place(node);
            if !self.moved.is_empty() && self.view.dir(parent(&path)).is_none() {
                return Err(Fault::invalid(format!(
                    "layer {}: \"{}\" goes through a symbolic link to what the layer replaces",
                    self.layer + 1,
                    shown(&node.path)
                )));
            }
            match (&node.kind, self.inodes[at]) {
                (NodeKind::Dir { opaque }, _) => self.dir(path, node, *opaque)?,
                (_, Some(inode)) => self.leaf(path, node, inode),
                (_, None) => {
                    if let Some(dir) = self.view.dir(parent(&path)) {
                        dir.whiteouts = true;
                    }
                }
            }
        }
        Ok(self.overlay)
    }

    /// Where a node goes.
    fn place(&self, node: &Node) -> Vec<u8> {
        match self.moved.get(parent(&node.path)) {
            Some(dir) if !node.path.is_empty() => join(dir, name(&node.path)),
            _ => node.path.clone(),
        }
    }

    /// Takes out of the view what the layer says is gone.
    fn hide(&mut self) -> Result<()> {
        // Directories below which the view has nothing that could be hidden.
        let mut bare: HashSet<&[u8]> = HashSet::new();
        for node in &self.index.nodes {
            let is_dir = matches!(node.kind, NodeKind::Dir { .. });
            if !node.path.is_empty() && bare.contains(parent(&node.path)) {
                if is_dir {
                    bare.insert(&node.path);
                }
                continue;
            }
            let mut path = self.place(node);
            if let NodeKind::Dir { opaque } = node.kind {
                if !node.listed && self.is_symlink(&path) {
                    path = self.through(&path, node)?;
                }
                match self.view.dir(&path) {
                    Some(_) if opaque => self.view.clear(&path),
                    Some(_) => {}
                    None => drop(bare.insert(&node.path)),
                }
                self.stays(node, path);
            } else if node.kind == NodeKind::Whiteout {
                self.view.clear(&path);
                self.view.entries.remove(&path);
            }
        }
        Ok(())
    }

    /// Finds the inode of every node before the view changes: hard links lead
    /// into the layers below as they were.
    fn number(&mut self) -> Result<()> {
        for node in &self.index.nodes {
            let inode = match &node.kind {
                NodeKind::Dir { .. } | NodeKind::Whiteout | NodeKind::Hardlink { .. } => None,
                NodeKind::LowerLink { target } => Some(self.lower(node, target)?),
                _ => {
                    self.view.inodes.push(Inode {
                        layer: self.layer,
                        node,
                    });
                    Some(self.view.inodes.len() - 1)
                }
            };
            self.inodes.push(inode);
        }
        for (at, node) in self.index.nodes.iter().enumerate() {
            if let NodeKind::Hardlink { target } = &node.kind {
                let target = self.target(target);
                self.inodes[at] = Some(
                    target
                        .and_then(|target| self.inodes[target])
                        .ok_or_else(|| corrupt(self.layer, &node.path, "links to nothing"))?,
                );
            }
        }
        Ok(())
    }

    /// The node that a hard link of the layer is another name of. A link to a
    /// link is followed; more than a few in a row nobody writes.
    fn target(&self, target: &[u8]) -> Option<usize> {
        let mut at = self.find(target)?;
        for _ in 0..8 {
            match &self.index.nodes[at].kind {
                NodeKind::Hardlink { target } => at = self.find(target)?,
                _ => return Some(at),
            }
        }
        None
    }

    fn find(&self, path: &[u8]) -> Option<usize> {
        let nodes = &self.index.nodes;
        nodes
            .binary_search_by(|node| node.path.as_slice().cmp(path))
            .ok()
    }

    /// The inode that a hard link into the layers below leads to. Its parents may
    /// be links, its last component is taken as it is.
    fn lower(&mut self, node: &Node, target: &[u8]) -> Result<usize> {
        let refuse = |why: &str| {
            Fault::invalid(format!(
                "layer {}: hard link \"{}\" to \"{}\": {why}",
                self.layer + 1,
                shown(&node.path),
                shown(target)
            ))
        };
        let trimmed = target.strip_suffix(b"/").unwrap_or(target);
        let last = name(trimmed);
        if matches!(last, b"" | b"." | b"..") {
            return Err(refuse("is a directory"));
        }
        let dir = match self.view.resolve(parent(trimmed)) {
            Ok(dir) => dir,
            Err(Stop::Steps(fault)) => return Err(fault),
            Err(stop) => return Err(refuse(stop.words())),
        };
        match self.view.entries.get(&join(&dir, last)) {
            Some(Entry::Leaf(leaf)) => Ok(leaf.inode),
            Some(Entry::Dir(_)) => Err(refuse("is a directory")),
            None => Err(refuse("no lower layer has it")),
        }
    }

    fn dir(&mut self, mut path: Vec<u8>, node: &'a Node, opaque: bool) -> Result<()> {
        if !node.listed && self.is_symlink(&path) {
            // What such a directory says of itself is said of the link's target.
            path = self.through(&path, node)?;
            self.view.make_dirs(&path)?;
        } else {
            let from = Some((self.layer, node));
            let own = from.filter(|_| node.listed);
            let below = match self.view.entries.get(&path) {
                Some(Entry::Dir(dir)) => Some((dir.own, dir.merged, dir.whiteouts)),
                Some(Entry::Leaf(leaf)) => {
                    // The directory below, which the link should have hidden,
                    // would come through.
                    self.overlay &= !leaf.over_dir;
                    None
                }
                None => None,
            };
            let (old, merged, whiteouts) = below.unwrap_or_default();
            let dir = Dir {
                own: own.or(old),
                top: from,
                merged: if opaque { 1 } else { merged + 1 },
                whiteouts: whiteouts && !opaque,
            };
            self.view.entries.insert(path.clone(), Entry::Dir(dir));
        }
        self.stays(node, path);
        Ok(())
    }

    /// Remembers where a directory went if its own path does not tell.
    fn stays(&mut self, node: &'a Node, path: Vec<u8>) {
        if node.path != path {
            self.moved.insert(&node.path, path);
        }
    }

    fn is_symlink(&self, path: &[u8]) -> bool {
        let Some(Entry::Leaf(leaf)) = self.view.entries.get(path) else {
            return false;
        };
        let inode = &self.view.inodes[leaf.inode];
        matches!(inode.node.kind, NodeKind::Symlink { .. })
    }

    /// Where the symbolic link at `path` leads, for a directory of the layer.
    fn through(&mut self, path: &[u8], node: &Node) -> Result<Vec<u8>> {
        self.overlay = false;
        self.view.resolve(path).map_err(|stop| match stop {
            Stop::Steps(fault) => fault,
            stop => Fault::invalid(format!(
                "layer {}: \"{}\" leads through a symbolic link of a lower layer: {}",
                self.layer + 1,
                shown(&node.path),
                stop.words()
            )),
        })
    }

    fn leaf(&mut self, path: Vec<u8>, node: &Node, inode: usize) {
        let absent = match &node.kind {
            NodeKind::LowerLink { .. } => true,
            NodeKind::Hardlink { .. } => self.view.inodes[inode].layer != self.layer,
            _ => false,
        };
        let over_dir = match self.view.entries.get(&path) {
            Some(Entry::Dir(_)) => {
                self.view.clear(&path);
                absent
            }
            Some(Entry::Leaf(leaf)) => absent && leaf.over_dir,
            None => false,
        };
        let leaf = Leaf {
            inode,
            absent,
            over_dir,
        };
        self.view.entries.insert(path, Entry::Leaf(leaf));
    }
}

impl Stop {
    fn words(&self) -> &'static str {
        match self {
            Stop::Loop => "too many levels of symbolic links",
            Stop::NotDir => "not a directory",
            Stop::TooLong => "file name too long",
            Stop::Steps(_) => "too many steps",
        }
    }
}

fn corrupt(layer: usize, path: &[u8], why: &str) -> Fault {
    Fault::corrupt(format!(
        "the index of layer {} is damaged: \"{}\" {why}",
        layer + 1,
        shown(path)
    ))
    .hint("remove the image and fetch it again")
}

/// What everything else relies on: sorted, clean, each path in a directory.
fn sound(layer: usize, index: &Index) -> Result<()> {
    let mut dirs: HashSet<&[u8]> = HashSet::from([b"".as_slice()]);
    let mut last: Option<&[u8]> = None;
    for node in &index.nodes {
        let path = node.path.as_slice();
        let is_dir = matches!(node.kind, NodeKind::Dir { .. });
        let clean = |part: &[u8]| !matches!(part, b"" | b"." | b"..") && !part.contains(&0);
        let why = if last.is_some_and(|last| last >= path) {
            "is out of order"
        } else if path.is_empty() && !is_dir {
            "is no directory"
        } else if !path.is_empty() && !path.split(|&b| b == b'/').all(clean) {
            "is no plain path"
        } else if !dirs.contains(parent(path)) {
            "is in no directory"
        } else {
            if is_dir {
                dirs.insert(path);
            }
            last = Some(path);
            continue;
        };
        return Err(corrupt(layer, path, why));
    }
    Ok(())
}

/// A directory that nobody ever listed.
fn unlisted() -> Node {
    Node {
        path: Vec::new(),
        kind: NodeKind::Dir { opaque: false },
        mode: 0o755,
        uid: 0,
        gid: 0,
        mtime: (0, 0),
        xattrs: Vec::new(),
        listed: false,
    }
}

fn tell(view: &View<'_>) -> Vec<Shown> {
    let mut first: HashMap<usize, &Vec<u8>> = HashMap::new();
    let mut told = Vec::with_capacity(view.entries.len());
    for (path, entry) in &view.entries {
        let (node, layer, source) = match entry {
            Entry::Dir(dir) => {
                let mut node = dir.own.map_or_else(unlisted, |(_, node)| node.clone());
                node.kind = NodeKind::Dir { opaque: false };
                let from = dir.own.or(dir.top);
                let layer = from.map_or(0, |(layer, _)| layer);
                (
                    node,
                    layer,
                    from.map_or(path, |(_, node)| &node.path).clone(),
                )
            }
            Entry::Leaf(leaf) => {
                let inode = &view.inodes[leaf.inode];
                let mut node = inode.node.clone();
                if matches!(node.kind, NodeKind::File { .. }) {
                    let target = *first.entry(leaf.inode).or_insert(path);
                    if target != path {
                        let target = target.clone();
                        node.kind = NodeKind::Hardlink { target };
                    }
                }
                (node, inode.layer, inode.node.path.clone())
            }
        };
        told.push(Shown {
            path: path.clone(),
            node: Node {
                path: path.clone(),
                ..node
            },
            layer,
            source,
        });
    }
    told
}

/// Directories that overlay would give other attributes, or list whiteouts in
/// (it filters only where it merges: two layers at least), and names that lie in
/// no layer. A directory in the topmost layer merges with all below it, so with
/// the right attributes it is harmless; a file hides what it should hide.
fn fixups(view: &View<'_>, told: &[Shown]) -> Vec<Shown> {
    let bare = unlisted();
    let mut wanted: HashSet<&[u8]> = HashSet::new();
    for ((path, entry), told) in view.entries.iter().zip(told) {
        let wrong = match entry {
            Entry::Leaf(leaf) => leaf.absent,
            Entry::Dir(dir) => {
                let lists = dir.whiteouts && dir.merged < 2 && !path.is_empty();
                let top = dir.top.map_or(&bare, |(_, node)| node);
                lists || !same_attributes(top, &told.node)
            }
        };
        if !wrong {
            continue;
        }
        let mut path = path.as_slice();
        while wanted.insert(path) && !path.is_empty() {
            path = parent(path);
        }
    }
    told.iter()
        .filter(|told| wanted.contains(told.path.as_slice()))
        .cloned()
        .collect()
}

fn same_attributes(a: &Node, b: &Node) -> bool {
    (a.mode, a.uid, a.gid, a.mtime, &a.xattrs) == (b.mode, b.uid, b.gid, b.mtime, &b.xattrs)
}
