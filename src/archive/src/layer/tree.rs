//! The layer's names in memory: what every path is by now, and where a path
//! leads through the links that the layer itself has.
//!
//! Paths in here are free of links. Nothing is looked up on disk, so what a name
//! means does not depend on anybody else. Memory and the time for resolving are
//! bounded whatever the archive says.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use model::fault::{Fault, Result};

use super::name::{pop, push, split};
use super::{Index, Node, NodeKind};
use crate::name::{PATH_MAX, shown};
use crate::options::Options;

/// The kernel's own bound on links in one path.
const MAX_LINKS: u32 = 40;
/// Components that all resolving together may look at.
const MAX_STEPS: u64 = 1 << 25;
/// Names of a lower layer that may be linked in a chain.
const MAX_CHAIN: u32 = 40;

pub(super) struct Tree<'o> {
    options: &'o Options,
    /// `Node::path` stays empty in here: the key has it.
    nodes: BTreeMap<Vec<u8>, Node>,
    whiteouts: BTreeSet<Vec<u8>>,
    /// Files of more than one name: the paths and which of them are one file.
    linked: HashMap<Vec<u8>, u32>,
    groups: u32,
    count: u64,
    bytes: u64,
    steps: u64,
}

/// What stood at a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Gone {
    Dir,
    Other,
    /// A node that has nothing on disk.
    Absent,
}

impl<'o> Tree<'o> {
    pub(super) fn new(options: &'o Options) -> Tree<'o> {
        Tree {
            options,
            nodes: BTreeMap::from([(Vec::new(), implied())]),
            whiteouts: BTreeSet::new(),
            linked: HashMap::new(),
            groups: 0,
            count: 0,
            bytes: 0,
            steps: 0,
        }
    }

    pub(super) fn get(&self, path: &[u8]) -> Option<&Node> {
        self.nodes.get(path)
    }

    pub(super) fn is_dir(&self, path: &[u8]) -> bool {
        matches!(self.kind(path), Some(NodeKind::Dir { .. }))
    }

    fn kind(&self, path: &[u8]) -> Option<&NodeKind> {
        self.nodes.get(path).map(|node| &node.kind)
    }

    /// Where the directory `path` really is; it need not exist. An error if a
    /// name on the way is neither a directory nor a link to one.
    pub(super) fn resolve(&mut self, path: &[u8]) -> Result<Vec<u8>> {
        if self.is_dir(path) {
            return Ok(path.to_vec());
        }
        let queued = |path: &[u8]| -> Vec<Vec<u8>> {
            let parts = path.split(|&b| b == b'/').rev();
            parts
                .filter(|part| !matches!(*part, b"" | b"."))
                .map(<[u8]>::to_vec)
                .collect()
        };
        let mut pending = queued(path);
        let (mut real, mut links) = (Vec::new(), 0);
        while let Some(part) = pending.pop() {
            self.steps += 1;
            if self.steps > MAX_STEPS {
                return Err(Fault::refused(
                    "the paths of the layer take too long to follow",
                ));
            }
            if part == b".." {
                pop(&mut real);
                continue;
            }
            let above = real.len();
            push(&mut real, &part);
            if real.len() > PATH_MAX {
                return Err(too_long(path));
            }
            match self.kind(&real) {
                None | Some(NodeKind::Dir { .. }) => {}
                Some(NodeKind::Symlink { target }) => {
                    links += 1;
                    if links > MAX_LINKS {
                        return Err(Fault::refused(format!(
                            "\"{}\" leads through too many links",
                            shown(path)
                        )));
                    }
                    real.truncate(if target.starts_with(b"/") { 0 } else { above });
                    pending.extend(queued(target));
                }
                Some(_) => {
                    return Err(Fault::invalid(format!(
                        "\"{}\" is not a directory, but the layer has \"{}\"",
                        shown(&real),
                        shown(path)
                    )));
                }
            }
        }
        Ok(real)
    }

    /// Puts a node where none is, or a directory's new attributes over it.
    pub(super) fn insert(&mut self, path: Vec<u8>, mut node: Node) -> Result<()> {
        self.count += 1;
        let max = self.options.max_entries;
        if self.count > max {
            return Err(Fault::refused(format!(
                "the layer has more than {max} entries"
            )));
        }
        if path.len() > PATH_MAX {
            return Err(too_long(&path));
        }
        let extra: usize = node.xattrs.iter().map(|(n, v)| n.len() + v.len()).sum();
        let target = match &node.kind {
            NodeKind::Symlink { target } | NodeKind::LowerLink { target } => target.len(),
            _ => 0,
        };
        self.charge(path.len() + extra + target)?;
        if let (NodeKind::Dir { opaque }, Some(NodeKind::Dir { opaque: true })) =
            (&mut node.kind, self.kind(&path))
        {
            *opaque = true;
        }
        self.nodes.insert(path, node);
        Ok(())
    }

    /// A directory that the layer does not list.
    pub(super) fn imply(&mut self, path: Vec<u8>) -> Result<()> {
        self.insert(path, implied())
    }

    /// Takes away what is at `path` and below it.
    pub(super) fn remove(&mut self, path: &[u8]) -> Option<Gone> {
        let gone = match self.nodes.remove(path)?.kind {
            NodeKind::Dir { .. } => Gone::Dir,
            NodeKind::LowerLink { .. } => Gone::Absent,
            _ => Gone::Other,
        };
        self.linked.remove(path);
        if gone == Gone::Dir {
            // '0' comes after '/'.
            let (first, end) = ([path, b"/"].concat(), [path, b"0"].concat());
            let below = |paths: &mut dyn Iterator<Item = &Vec<u8>>| -> Vec<Vec<u8>> {
                paths.cloned().collect()
            };
            let range = first..end;
            for path in below(&mut self.nodes.range(range.clone()).map(|(path, _)| path)) {
                self.nodes.remove(&path);
                self.linked.remove(&path);
            }
            for path in below(&mut self.whiteouts.range(range)) {
                self.whiteouts.remove(&path);
            }
        }
        Some(gone)
    }

    /// Makes `path` another name of what is at `target`, which must be there and
    /// no directory. What has no content is simply the same again.
    pub(super) fn link(&mut self, target: &[u8], path: Vec<u8>) -> Result<()> {
        let Some(node) = self.nodes.get(target).cloned() else {
            return Ok(());
        };
        if matches!(node.kind, NodeKind::File { .. }) {
            let group = match self.linked.get(target) {
                Some(group) => *group,
                None => {
                    self.groups += 1;
                    self.linked.insert(target.to_vec(), self.groups);
                    self.groups
                }
            };
            self.linked.insert(path.clone(), group);
        }
        self.insert(path, node)
    }

    /// Whether two paths are one file.
    pub(super) fn same(&self, one: &[u8], other: &[u8]) -> bool {
        let group = |path| self.linked.get(path);
        one == other || group(one).is_some() && group(one) == group(other)
    }

    pub(super) fn whiteout(&mut self, path: Vec<u8>) -> Result<()> {
        self.charge(path.len())?;
        self.whiteouts.insert(path);
        Ok(())
    }

    /// Counts what is kept in memory. What is removed again stays counted.
    fn charge(&mut self, bytes: usize) -> Result<()> {
        self.bytes += bytes as u64;
        let max = self.options.max_names;
        if self.bytes > max {
            return Err(Fault::refused(format!(
                "the names and attributes of the layer take more than {max} bytes"
            )));
        }
        Ok(())
    }

    pub(super) fn opaque(&mut self, path: &[u8]) {
        if let Some(NodeKind::Dir { opaque }) = self.nodes.get_mut(path).map(|node| &mut node.kind)
        {
            *opaque = true;
        }
    }

    /// The hard links whose target the layer did not have when they came, with
    /// the path that has it now.
    pub(super) fn late_links(&mut self) -> Result<Vec<(Vec<u8>, Vec<u8>)>> {
        let waiting: Vec<Vec<u8>> = self
            .nodes
            .iter()
            .filter(|(_, node)| matches!(node.kind, NodeKind::LowerLink { .. }))
            .map(|(path, _)| path.clone())
            .collect();
        let mut found = Vec::new();
        for path in waiting {
            let mut now = path.clone();
            let mut hops = 0;
            while let Some(NodeKind::LowerLink { target }) = self.kind(&now) {
                let target = target.clone();
                let next = self.place(&target);
                if next == now {
                    break;
                }
                hops += 1;
                if hops > MAX_CHAIN || next == path {
                    return Err(Fault::refused(format!(
                        "hard link \"{}\" leads in a circle or through too many others",
                        shown(&path)
                    )));
                }
                now = next;
            }
            match self.kind(&now) {
                Some(NodeKind::Dir { .. }) => return Err(to_directory(&path, &now)),
                Some(NodeKind::LowerLink { .. }) => {}
                Some(_) => found.push((path, now)),
                None => {
                    if let Some(node) = self.nodes.get_mut(&path) {
                        node.kind = NodeKind::LowerLink { target: now };
                    }
                }
            }
        }
        Ok(found)
    }

    /// Where a hard link's target is, as far as this layer knows. The last name
    /// is not followed, as link(2) does not.
    pub(super) fn place(&mut self, target: &[u8]) -> Vec<u8> {
        let (dir, name) = split(target);
        match self.resolve(dir) {
            Ok(mut real) => {
                push(&mut real, name);
                real
            }
            // A lower layer has something else there, or nobody has it.
            Err(_) => target.to_vec(),
        }
    }

    /// Settles whiteouts and names of linked files.
    pub(super) fn finish(mut self) -> Index {
        let mut alone = Vec::new();
        for path in std::mem::take(&mut self.whiteouts) {
            match self.nodes.get_mut(&path) {
                // What came back as a directory shows nothing of the old one, and
                // none of its attributes either.
                Some(Node {
                    kind: NodeKind::Dir { opaque },
                    listed,
                    ..
                }) => (*opaque, *listed) = (true, true),
                Some(_) => {}
                None => alone.push(path),
            }
        }
        for path in alone {
            // Where nothing of the lower layers shows there is nothing to hide,
            // and overlay would list the device.
            if !self.hidden(&path) {
                self.nodes.insert(path, node(NodeKind::Whiteout, 0, true));
            }
        }
        let mut first: HashMap<u32, Vec<u8>> = HashMap::new();
        let mut nodes = Vec::with_capacity(self.nodes.len());
        for (path, mut node) in self.nodes {
            if let Some(&group) = self.linked.get(&path) {
                match first.get(&group) {
                    Some(target) => {
                        node.kind = NodeKind::Hardlink {
                            target: target.clone(),
                        };
                    }
                    None => {
                        first.insert(group, path.clone());
                    }
                }
            }
            node.path = path;
            nodes.push(node);
        }
        Index { nodes }
    }

    /// Whether an opaque directory lies above.
    fn hidden(&self, path: &[u8]) -> bool {
        let mut dir = path;
        while !dir.is_empty() {
            dir = split(dir).0;
            if matches!(self.kind(dir), Some(NodeKind::Dir { opaque: true })) {
                return true;
            }
        }
        false
    }
}

/// Without a path: the tree's key has it.
fn node(kind: NodeKind, mode: u32, listed: bool) -> Node {
    Node {
        path: Vec::new(),
        kind,
        mode,
        uid: 0,
        gid: 0,
        mtime: (0, 0),
        xattrs: Vec::new(),
        listed,
    }
}

fn implied() -> Node {
    node(NodeKind::Dir { opaque: false }, 0o755, false)
}

fn too_long(path: &[u8]) -> Fault {
    Fault::refused(format!("\"{}\" leads to too long a path", shown(path)))
}

pub(super) fn to_directory(name: &[u8], target: &[u8]) -> Fault {
    Fault::invalid(format!(
        "hard link \"{}\" to \"{}\", which is a directory",
        shown(name),
        shown(target)
    ))
}
