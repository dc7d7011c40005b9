//! Layers by hand and at random, merged, and the result held against a slow
//! model, a real overlay mount and a real tar.

mod merged;
mod model;
mod real;

use crate::layer::{Index, Node, NodeKind};

/// A node with attributes of its own.
pub(super) fn node(path: &str, kind: NodeKind, mode: u32) -> Node {
    Node {
        path: path.into(),
        kind,
        mode,
        uid: 0,
        gid: 0,
        mtime: (1_000_000 + i64::from(mode), 0),
        xattrs: Vec::new(),
        listed: true,
    }
}

pub(super) fn dir(path: &str, mode: u32) -> Node {
    node(path, NodeKind::Dir { opaque: false }, mode)
}

/// A directory on the way: as unpacking makes it.
pub(super) fn way(path: &str) -> Node {
    Node {
        mtime: (0, 0),
        listed: false,
        ..dir(path, 0o755)
    }
}

pub(super) fn file(path: &str, mode: u32) -> Node {
    // Each has another size, so that contents can be told apart.
    node(path, NodeKind::File { size: mode.into() }, mode)
}

pub(super) fn symlink(path: &str, target: &str) -> Node {
    let target = target.into();
    node(path, NodeKind::Symlink { target }, 0o777)
}

pub(super) fn hardlink(path: &str, target: &str) -> Node {
    let target = target.into();
    node(path, NodeKind::Hardlink { target }, 0o644)
}

pub(super) fn lower(path: &str, target: &str) -> Node {
    let target = target.into();
    node(path, NodeKind::LowerLink { target }, 0o644)
}

pub(super) fn whiteout(path: &str) -> Node {
    node(path, NodeKind::Whiteout, 0)
}

/// An index of these nodes and the root, with what is missing on the way.
pub(super) fn layer(nodes: &[Node]) -> Index {
    let mut all: std::collections::BTreeMap<Vec<u8>, Node> = std::collections::BTreeMap::new();
    all.insert(Vec::new(), way(""));
    for node in nodes {
        let path = String::from_utf8(node.path.clone()).expect("a path of a test");
        for (at, _) in path.match_indices('/') {
            let above = path.as_bytes()[..at].to_vec();
            all.entry(above).or_insert_with(|| way(&path[..at]));
        }
        all.insert(node.path.clone(), node.clone());
    }
    Index {
        nodes: all.into_values().collect(),
    }
}

/// Numbers that are the same in every run.
pub(super) struct Dice(pub(super) u64);

impl Dice {
    pub(super) fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 33) as usize % sides
    }

    pub(super) fn pick<'t>(&mut self, from: &[&'t str]) -> &'t str {
        from[self.roll(from.len())]
    }

    /// A path of up to three components.
    pub(super) fn path(&mut self) -> String {
        let names: Vec<&str> = (0..=self.roll(3))
            .map(|_| self.pick(&["a", "a-b", "b", "c"]))
            .collect();
        names.join("/")
    }

    /// A layer. `links`: with symbolic links that paths may lead through.
    pub(super) fn layer(&mut self, number: usize, links: bool) -> Index {
        let mut nodes: std::collections::BTreeMap<String, Node> = Default::default();
        for n in 0..=self.roll(7) {
            let path = self.path();
            let mode = 0o400 + (number * 16 + n) as u32;
            let new = match self.roll(if links { 10 } else { 9 }) {
                0 => dir(&path, 0o700 + (n % 8) as u32),
                1 => node(&path, NodeKind::Dir { opaque: true }, 0o711),
                2 => Node {
                    kind: NodeKind::Dir { opaque: true },
                    ..way(&path)
                },
                3 | 4 if number > 0 => whiteout(&path),
                5 if number > 0 => lower(&path, &self.path()),
                6 => symlink(&path, "nowhere"),
                9 => symlink(
                    &path,
                    self.pick(&["a", "/b", "../c", "a/b", ".", "c/new", "/"]),
                ),
                _ => file(&path, mode),
            };
            nodes.insert(path, new);
        }
        let files: Vec<String> = nodes
            .iter()
            .filter(|(_, n)| matches!(n.kind, NodeKind::File { .. } | NodeKind::LowerLink { .. }))
            .map(|(path, _)| path.clone())
            .collect();
        for target in &files {
            let path = self.path();
            if self.roll(3) == 0 && !nodes.contains_key(&path) {
                nodes.insert(path.clone(), hardlink(&path, target));
            }
        }
        // What stands below something else than a directory cannot be.
        let paths: Vec<String> = nodes.keys().cloned().collect();
        for path in paths {
            let blocked = path.match_indices('/').any(|(at, _)| {
                nodes
                    .get(&path[..at])
                    .is_some_and(|n| !matches!(n.kind, NodeKind::Dir { .. }))
            });
            if blocked {
                nodes.remove(&path);
            }
        }
        let there: std::collections::BTreeSet<Vec<u8>> =
            nodes.keys().map(|path| path.clone().into_bytes()).collect();
        nodes.retain(|_, n| match &n.kind {
            NodeKind::Hardlink { target } => there.contains(target),
            NodeKind::LowerLink { target } => !there.contains(target),
            _ => true,
        });
        layer(&nodes.into_values().collect::<Vec<_>>())
    }
}
