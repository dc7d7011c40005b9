//! The index of a layer, node by node. What is written here need not be readable: order is kept, the rest is chance.

use super::Dice;
use archive::layer::{Index, Node, NodeKind};
use sha2::{Digest, Sha256};

/// The input lacks its checksum, as does the output. None if it is no index.
pub fn index(dice: &mut Dice, data: &[u8]) -> Option<Vec<u8>> {
    let sum = Sha256::digest(data);
    let mut nodes = Index::read(&mut &[data, sum.as_slice()].concat()[..])
        .ok()?
        .nodes;
    for _ in 0..=dice.roll(3) {
        let from = dice.pick(&nodes).clone();
        let at = dice.roll(nodes.len());
        match dice.roll(5) {
            0 if nodes.len() > 1 => drop(nodes.remove(at)),
            1 => nodes[at].kind = kind(dice, from.path),
            2 => nodes[at].xattrs = vec![(b"user.x".to_vec(), from.path)],
            3 => nodes[at].mode = [0, 0o755, 0o4711, 0o7777][dice.roll(4)],
            _ => {
                let path = below(dice, from.path.clone());
                let kind = kind(dice, nodes[at].path.clone());
                nodes.push(Node { path, kind, ..from });
            }
        }
    }
    nodes.sort_by(|a, b| a.path.cmp(&b.path));
    nodes.dedup_by(|a, b| a.path == b.path);
    let mut out = Vec::new();
    Index { nodes }.write(&mut out).ok()?;
    out.truncate(out.len() - sum.len());
    Some(out)
}

fn below(dice: &mut Dice, mut path: Vec<u8>) -> Vec<u8> {
    if !path.is_empty() && dice.roll(2) == 0 {
        path.push(b'/');
    }
    path.push(b'a' + dice.roll(20) as u8);
    path
}

fn kind(dice: &mut Dice, target: Vec<u8>) -> NodeKind {
    let (major, minor) = (dice.roll(2) as u32, dice.roll(2) as u32);
    match dice.roll(10) {
        0 | 1 => NodeKind::Dir {
            opaque: dice.roll(2) == 0,
        },
        2 => NodeKind::File {
            size: dice.roll(9) as u64,
        },
        3 | 4 => NodeKind::Symlink { target },
        5 => NodeKind::Hardlink { target },
        6 => NodeKind::LowerLink { target },
        7 => NodeKind::Char { major, minor },
        8 => NodeKind::Fifo,
        _ => NodeKind::Whiteout,
    }
}
