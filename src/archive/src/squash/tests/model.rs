//! The slow model: a tree of nested maps onto which layers are unpacked one entry
//! at a time, and random stacks on which `merge` has to agree with it.

use std::collections::{BTreeMap, HashMap};

use super::*;
use crate::squash::{Merged, merge};

type Path = Vec<String>;

#[derive(Clone)]
enum Tree {
    Dir(Option<Node>, BTreeMap<String, Tree>),
    /// The layer and the node whose content it is.
    Leaf(usize, Node),
}

fn split(path: &[u8]) -> Path {
    let text = String::from_utf8(path.to_vec()).expect("a path of a test");
    text.split('/')
        .filter(|p| !matches!(*p, "" | "."))
        .map(Into::into)
        .collect()
}

impl Tree {
    fn get(&self, path: &[String]) -> Option<&Tree> {
        match (path, self) {
            ([], tree) => Some(tree),
            ([name, rest @ ..], Tree::Dir(_, names)) => names.get(name)?.get(rest),
            _ => None,
        }
    }

    fn names(&mut self, path: &[String]) -> Option<&mut BTreeMap<String, Tree>> {
        let Tree::Dir(_, names) = self else {
            return None;
        };
        match path {
            [] => Some(names),
            [name, rest @ ..] => names.get_mut(name)?.names(rest),
        }
    }

    fn link(&self, path: &[String]) -> Option<&[u8]> {
        match self.get(path)? {
            Tree::Leaf(_, node) => match &node.kind {
                NodeKind::Symlink { target } => Some(target),
                _ => None,
            },
            Tree::Dir(..) => None,
        }
    }

    /// The path without links.
    fn real(&self, mut at: Path, rest: &[String], hops: u32) -> Option<Path> {
        let Some((name, rest)) = rest.split_first() else {
            return Some(at);
        };
        if name == ".." {
            at.pop();
            return self.real(at, rest, hops);
        }
        at.push(name.clone());
        if let Some(target) = self.link(&at) {
            at.pop();
            if target.starts_with(b"/") {
                at.clear();
            }
            let rest: Path = split(target).into_iter().chain(rest.to_vec()).collect();
            return (hops < 40)
                .then(|| self.real(at, &rest, hops + 1))
                .flatten();
        }
        match self.get(&at) {
            Some(Tree::Leaf(..)) => None,
            _ => self.real(at, rest, hops),
        }
    }

    fn make_dirs(&mut self, path: &[String]) {
        for end in 0..path.len() {
            let names = self.names(&path[..end]).expect("its parent was made");
            names
                .entry(path[end].clone())
                .or_insert_with(|| Tree::Dir(None, BTreeMap::new()));
        }
    }

    /// Unpacks a layer; None where that must fail.
    fn unpack(&mut self, layer: usize, index: &Index) -> Option<()> {
        let below = self.clone();
        let mut content: HashMap<Vec<u8>, Tree> = HashMap::new();
        for node in &index.nodes {
            match &node.kind {
                NodeKind::LowerLink { target } => {
                    let target = split(target);
                    let (name, dir) = target.split_last()?;
                    let mut real = below.real(Vec::new(), dir, 0)?;
                    real.push(name.clone());
                    let leaf = below.get(&real).filter(|t| matches!(t, Tree::Leaf(..)))?;
                    content.insert(node.path.clone(), leaf.clone());
                }
                NodeKind::Dir { .. } | NodeKind::Whiteout | NodeKind::Hardlink { .. } => {}
                _ => drop(content.insert(node.path.clone(), Tree::Leaf(layer, node.clone()))),
            }
        }
        for node in &index.nodes {
            if let NodeKind::Hardlink { target } = &node.kind {
                content.insert(node.path.clone(), content.get(target)?.clone());
            }
        }
        for bring in [false, true] {
            let mut places: HashMap<Path, Option<Path>> = HashMap::new();
            for node in &index.nodes {
                let path = split(&node.path);
                let mut place = match path.split_last() {
                    None => Some(Vec::new()),
                    Some((name, dir)) => places[dir].clone().map(|mut dir: Path| {
                        dir.push(name.clone());
                        dir
                    }),
                };
                let is_dir = matches!(node.kind, NodeKind::Dir { .. });
                if let Some(at) = &place
                    && is_dir
                    && !node.listed
                    && self.link(at).is_some()
                {
                    let at = self.real(Vec::new(), at, 0)?;
                    if bring {
                        self.make_dirs(&at);
                    }
                    place = Some(at);
                }
                if !bring {
                    place =
                        place.filter(|at| !is_dir || matches!(self.get(at), Some(Tree::Dir(..))));
                }
                places.insert(path, place.clone());
                let Some(place) = place else { continue };
                if !bring {
                    self.hide(node, &place);
                } else if node.kind != NodeKind::Whiteout {
                    self.bring(node, &place, content.get(&node.path))?;
                } else if let Some((_, dir)) = place.split_last() {
                    self.names(dir)?;
                }
            }
        }
        Some(())
    }

    fn hide(&mut self, node: &Node, place: &[String]) {
        if node.kind == (NodeKind::Dir { opaque: true }) {
            self.names(place).expect("it was looked at").clear();
        } else if let (NodeKind::Whiteout, Some((name, dir))) = (&node.kind, place.split_last()) {
            self.names(dir).map(|names| names.remove(name));
        }
    }

    fn bring(&mut self, node: &Node, place: &[String], content: Option<&Tree>) -> Option<()> {
        let own = node.listed.then(|| node.clone());
        let Some((name, dir)) = place.split_last() else {
            if let Tree::Dir(old, _) = self {
                *old = own.or(old.take());
            }
            return Some(());
        };
        let names = self.names(dir)?;
        if let Some(content) = content {
            names.insert(name.clone(), content.clone());
            return Some(());
        }
        match names.get_mut(name) {
            Some(Tree::Dir(old, _)) => *old = own.or(old.take()),
            _ => drop(names.insert(name.clone(), Tree::Dir(own, BTreeMap::new()))),
        }
        Some(())
    }

    fn list(&self, path: &str, out: &mut BTreeMap<String, String>) {
        let line = match self {
            Tree::Dir(None, _) => "dir 755 0".into(),
            Tree::Dir(Some(n), _) => format!("dir {:o} {}", n.mode, n.mtime.0),
            Tree::Leaf(layer, n) => leaf_line(*layer, &n.path, n),
        };
        out.insert(path.into(), line);
        if let Tree::Dir(_, names) = self {
            for (name, tree) in names {
                let slash = if path.is_empty() { "" } else { "/" };
                tree.list(&format!("{path}{slash}{name}"), out);
            }
        }
    }
}

fn leaf_line(layer: usize, source: &[u8], node: &Node) -> String {
    let link = match &node.kind {
        NodeKind::Symlink { target } => String::from_utf8_lossy(target).to_string(),
        _ => String::new(),
    };
    let source = String::from_utf8_lossy(source);
    format!("{layer}:{source} {:o} {} {link}", node.mode, node.mtime.0)
}

fn list(merged: &Merged) -> BTreeMap<String, String> {
    let mut files: HashMap<&[u8], (usize, &[u8])> = HashMap::new();
    let mut last: Option<&[u8]> = None;
    let mut out = BTreeMap::new();
    for shown in &merged.shown {
        assert!(last.is_none_or(|last| last < &shown.path), "out of order");
        last = Some(&shown.path);
        assert_eq!(shown.path, shown.node.path);
        let content = (shown.layer, shown.source.as_slice());
        match &shown.node.kind {
            NodeKind::File { .. } => {
                assert!(
                    !files.values().any(|c| *c == content),
                    "two files of one inode"
                );
                files.insert(&shown.path, content);
            }
            NodeKind::Hardlink { target } => assert_eq!(files[target.as_slice()], content),
            NodeKind::LowerLink { .. } | NodeKind::Whiteout => panic!("not resolved"),
            _ => {}
        }
        let line = match shown.node.kind {
            NodeKind::Dir { .. } => {
                format!("dir {:o} {}", shown.node.mode, shown.node.mtime.0)
            }
            _ => leaf_line(shown.layer, &shown.source, &shown.node),
        };
        let path = String::from_utf8(shown.path.clone()).expect("a path of a test");
        out.insert(path, line);
    }
    out
}

#[test]
fn merging_is_unpacking_one_layer_after_the_other() {
    let mut dice = Dice(0x9e37_79b9_7f4a_7c15);
    let (mut good, mut bad, mut through) = (0, 0, 0);
    for round in 0..10_000 {
        let mut layers: Vec<Index> = Vec::new();
        let mut tree = Some(Tree::Dir(None, BTreeMap::new()));
        for number in 0..=dice.roll(4) {
            let index = dice.layer(number, round % 2 == 0);
            tree = tree.and_then(|mut tree| tree.unpack(number, &index).map(|()| tree));
            layers.push(index);
        }
        let merged = merge(&layers.iter().collect::<Vec<_>>());
        match (merged, tree) {
            (Ok(merged), Some(tree)) => {
                let mut wanted = BTreeMap::new();
                tree.list("", &mut wanted);
                assert_eq!(list(&merged), wanted, "round {round}: {layers:#?}");
                good += 1;
                through += u32::from(!merged.overlay);
            }
            (Err(_), None) => bad += 1,
            (Ok(_), None) => panic!("round {round}: should have failed: {layers:#?}"),
            (Err(fault), Some(_)) => panic!("round {round}: {fault}: {layers:#?}"),
        }
    }
    // Of each sort there were enough to mean something.
    assert!(
        good > 2000 && bad > 1000 && through > 200,
        "{good} {bad} {through}"
    );
}
