//! The dependency graph of an image as one flat list, highest priority first
//! (appc spec, "Dependency Matching"; rkt's list, which its tree IDs hash).
//!
//! Starting with the image itself the list is walked, and the dependencies of
//! each element are inserted directly after it, one by one, so that the last
//! declared one comes first: A→(B,C), C→D gives A, C, D, B. An image that is
//! reached by several ways stands there several times.

use crate::digest;
use model::{Fault, ImageId, fault::Result};

/// Images below each other; docker's own limit is 127 layers.
const DEEPEST: usize = 256;
/// Elements of a list: ten diamonds on top of each other would make it double
/// ten times.
const LONGEST: usize = 4096;

/// One image of the list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Source {
    pub id: ImageId,
    /// Which element depends on it; an index into the list, `None` for the first.
    pub parent: Option<usize>,
}

struct Node {
    id: ImageId,
    parent: Option<usize>,
    depth: usize,
}

/// Flattens the graph below `top`; `dependencies` resolves those of one image,
/// in the order declared.
pub(crate) fn flatten(
    top: &ImageId,
    dependencies: &mut dyn FnMut(&ImageId) -> Result<Vec<ImageId>>,
) -> Result<Vec<Source>> {
    let mut nodes = vec![Node {
        id: top.clone(),
        parent: None,
        depth: 0,
    }];
    let mut order = vec![0];
    let mut at = 0;
    while let Some(&above) = order.get(at) {
        for id in dependencies(&nodes[above].id)? {
            let depth = nodes[above].depth + 1;
            if depth > DEEPEST || nodes.len() == LONGEST {
                return Err(Fault::invalid(format!(
                    "the dependencies of image {:?} are too many or too deep",
                    top.as_str()
                )));
            }
            if chain(&nodes, above).any(|node| node.id == id) {
                return Err(Fault::invalid(format!(
                    "image {:?} depends on itself through {:?}",
                    id.as_str(),
                    nodes[above].id.as_str()
                )));
            }
            order.insert(at + 1, nodes.len());
            nodes.push(Node {
                id,
                parent: Some(above),
                depth,
            });
        }
        at += 1;
    }
    let mut place = vec![0; nodes.len()];
    for (index, &node) in order.iter().enumerate() {
        place[node] = index;
    }
    let source = |&node: &usize| Source {
        id: nodes[node].id.clone(),
        parent: nodes[node].parent.map(|parent| place[parent]),
    };
    Ok(order.iter().map(source).collect())
}

/// A node and everything that depends on it, up to the top.
fn chain(nodes: &[Node], from: usize) -> impl Iterator<Item = &Node> {
    std::iter::successors(Some(from), |&at| nodes[at].parent).map(|at| &nodes[at])
}

/// The ID of the tree that a list renders to.
pub(crate) fn tree_id(sources: &[Source]) -> String {
    let keys: Vec<&str> = sources.iter().map(|source| source.id.as_str()).collect();
    format!("deps-sha512-{}", digest::hex(&keys.join(","), 64))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn id(letter: char) -> ImageId {
        ImageId::from_digest(&[letter as u8; 64])
    }

    fn letters(graph: &[(char, &str)]) -> Result<Vec<(char, Option<usize>)>> {
        let mut dependencies = |of: &ImageId| {
            let edges = graph.iter().find(|(letter, _)| id(*letter) == *of);
            Ok(edges.map_or(Vec::new(), |(_, below)| below.chars().map(id).collect()))
        };
        let list = flatten(&id(graph[0].0), &mut dependencies)?;
        let letter = |wanted: &ImageId| ('A'..='Z').find(|&c| id(c) == *wanted).unwrap();
        Ok(list
            .iter()
            .map(|source| (letter(&source.id), source.parent))
            .collect())
    }

    #[test]
    fn the_list_reads_highest_priority_first() {
        let list = letters(&[('A', "BC"), ('C', "D")]).unwrap();
        assert_eq!(
            list,
            [('A', None), ('C', Some(0)), ('D', Some(1)), ('B', Some(0))]
        );
    }

    #[test]
    fn a_diamond_appears_once_per_path() {
        let list = letters(&[('A', "BC"), ('B', "D"), ('C', "D")]).unwrap();
        let names: String = list.iter().map(|(letter, _)| letter).collect();
        assert_eq!(names, "ACDBD");
        assert_eq!(list[4], ('D', Some(3)));
    }

    #[test]
    fn cycles_are_refused() {
        for graph in [&[('A', "A")][..], &[('A', "B"), ('B', "C"), ('C', "B")][..]] {
            assert!(
                letters(graph)
                    .unwrap_err()
                    .cause
                    .contains("depends on itself")
            );
        }
    }

    #[test]
    fn growth_is_bounded() {
        // Every level names the next one twice: 2^25 paths.
        let graph: Vec<(char, String)> = ('A'..='Y')
            .map(|c| (c, String::from_iter([(c as u8 + 1) as char; 2])))
            .collect();
        let graph: Vec<(char, &str)> = graph.iter().map(|(c, below)| (*c, &**below)).collect();
        assert!(letters(&graph).unwrap_err().cause.contains("too many"));
    }

    #[test]
    fn the_tree_id_is_the_hash_of_the_joined_keys() {
        let sources: Vec<Source> = ['A', 'B']
            .map(|letter| Source {
                id: id(letter),
                parent: None,
            })
            .to_vec();
        // printf 'sha512-4141…,sha512-4242…' | sha512sum
        assert_eq!(
            tree_id(&sources),
            "deps-sha512-a1d098030972a0540167e7b42e54465272406716f12fb81d46bf5addb3ea5042"
        );
    }
}
