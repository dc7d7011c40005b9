//! The tree as it stands after some of the layers: paths, and inodes that one or
//! several of them name.
//!
//! Paths are plain (no link, no `..`) and each one's parent is a directory of the
//! view. Besides what shows, an entry knows what an overlay of the layers'
//! directories has there, so that the difference can be told in the end.

use std::collections::BTreeMap;
use std::ops::Bound;

use model::fault::{Fault, Result};

use crate::layer::{Node, NodeKind};
use crate::name::PATH_MAX;

/// The kernel's own bound on links in one path (MAXSYMLINKS).
const MAX_LINKS: u32 = 40;
/// Steps of resolving in one merge. A path of an honest image takes
/// ten; layers that are made to let each path take thousands end here.
const MAX_STEPS: u64 = 1 << 26;

/// Something with content or a target, under one name or several.
pub(super) struct Inode<'a> {
    pub(super) layer: usize,
    /// Its own node in that layer: never a `Dir`, a link to another or a whiteout.
    pub(super) node: &'a Node,
}

#[derive(Default)]
pub(super) struct Dir<'a> {
    /// Whose attributes show; None while no layer has listed it.
    pub(super) own: Option<(usize, &'a Node)>,
    /// Whose attributes overlay shows.
    pub(super) top: Option<(usize, &'a Node)>,
    /// How many layers' directories overlay merges here.
    pub(super) merged: usize,
    /// One of them has a whiteout in it.
    pub(super) whiteouts: bool,
}

pub(super) struct Leaf {
    pub(super) inode: usize,
    /// Nothing lies at this path in the layer that put it here.
    pub(super) absent: bool,
    /// With `absent`: overlay sees a directory here.
    pub(super) over_dir: bool,
}

pub(super) enum Entry<'a> {
    Dir(Dir<'a>),
    Leaf(Leaf),
}

/// Why a path leads nowhere.
pub(super) enum Stop {
    Loop,
    NotDir,
    TooLong,
    Steps(Fault),
}

pub(super) struct View<'a> {
    pub(super) entries: BTreeMap<Vec<u8>, Entry<'a>>,
    pub(super) inodes: Vec<Inode<'a>>,
    steps: u64,
}

impl<'a> View<'a> {
    /// Nothing but the root.
    pub(super) fn new() -> View<'a> {
        View {
            entries: BTreeMap::from([(Vec::new(), Entry::Dir(Dir::default()))]),
            inodes: Vec::new(),
            steps: 0,
        }
    }

    fn charge(&mut self, steps: u64) -> Result<()> {
        self.steps += steps;
        if self.steps > MAX_STEPS {
            return Err(
                Fault::refused("the layers need too many steps to be merged").hint(
                    "they lead through symbolic links of each other again and again; \
                     build the image as one layer",
                ),
            );
        }
        Ok(())
    }

    pub(super) fn dir(&mut self, path: &[u8]) -> Option<&mut Dir<'a>> {
        match self.entries.get_mut(path)? {
            Entry::Dir(dir) => Some(dir),
            Entry::Leaf(_) => None,
        }
    }

    /// Follows every link in `path` inside the root. What does not exist is taken
    /// for a directory that will be made.
    pub(super) fn resolve(&mut self, path: &[u8]) -> Result<Vec<u8>, Stop> {
        let mut here = Vec::new();
        let mut pending = Vec::new();
        queue(path, &mut pending);
        let mut links = 0;
        while let Some(name) = pending.pop() {
            self.charge(1).map_err(Stop::Steps)?;
            if name == b".." {
                here.truncate(parent(&here).len());
                continue;
            }
            let next = join(&here, &name);
            if next.len() > PATH_MAX {
                return Err(Stop::TooLong);
            }
            if let Some(Entry::Leaf(leaf)) = self.entries.get(&next) {
                let NodeKind::Symlink { target } = &self.inodes[leaf.inode].node.kind else {
                    return Err(Stop::NotDir);
                };
                links += 1;
                if links > MAX_LINKS {
                    return Err(Stop::Loop);
                }
                if target.starts_with(b"/") {
                    here.clear();
                }
                queue(target, &mut pending);
                continue;
            }
            here = next;
        }
        Ok(here)
    }

    /// Makes what is missing of a path that `resolve` gave.
    pub(super) fn make_dirs(&mut self, path: &[u8]) -> Result<()> {
        let slashes = path.iter().enumerate().filter(|(_, b)| **b == b'/');
        let ends: Vec<usize> = slashes.map(|(at, _)| at).chain([path.len()]).collect();
        self.charge(ends.len() as u64)?;
        for end in ends {
            let entry = self.entries.entry(path[..end].to_vec());
            entry.or_insert_with(|| Entry::Dir(Dir::default()));
        }
        Ok(())
    }

    /// Removes everything below a path.
    pub(super) fn clear(&mut self, path: &[u8]) {
        // All that starts with `path/` lies between it and `path0`, the next byte.
        let range = match path {
            b"" => (Bound::Excluded(Vec::new()), Bound::Unbounded),
            path => (
                Bound::Excluded([path, b"/"].concat()),
                Bound::Excluded([path, b"0"].concat()),
            ),
        };
        self.entries.extract_if(range, |_, _| true).for_each(drop);
    }
}

/// The path of the directory that a path is in; empty for the root's own.
pub(super) fn parent(path: &[u8]) -> &[u8] {
    let at = path.iter().rposition(|&b| b == b'/').unwrap_or(0);
    &path[..at]
}

/// The last component.
pub(super) fn name(path: &[u8]) -> &[u8] {
    let at = path.iter().rposition(|&b| b == b'/');
    &path[at.map_or(0, |at| at + 1)..]
}

pub(super) fn join(dir: &[u8], name: &[u8]) -> Vec<u8> {
    match dir {
        b"" => name.to_vec(),
        dir => [dir, b"/", name].concat(),
    }
}

/// Adds the components, the next one last.
fn queue(path: &[u8], pending: &mut Vec<Vec<u8>>) {
    let parts = path.split(|&b| b == b'/').rev();
    let real = parts.filter(|part| !part.is_empty() && *part != b".");
    pending.extend(real.map(<[u8]>::to_vec));
}
