//! The index of a layer, as the store keeps it: whatever can be read was written by `write`, byte for byte, and can be
//! merged.

use archive::layer::{Index, NodeKind};
use archive::squash::merge;
use sha2::{Digest, Sha256};

use super::layer::{base, tree};
use super::plant::plant;

/// The input lacks the checksum at the end, which no mutation would find.
pub fn index(data: &[u8]) {
    let mut bytes = data.to_vec();
    bytes.extend_from_slice(&Sha256::digest(data));
    let Ok(index) = Index::read(&mut &bytes[..]) else {
        return;
    };
    let mut written = Vec::new();
    index.write(&mut written).expect("memory takes everything");
    assert_eq!(written, bytes, "an index is written in two ways");
    sound(&index);
    let pair =
        |a: &NodeKind, b: &NodeKind| matches!((a, b), (NodeKind::Symlink { .. }, NodeKind::Fifo));
    let met = index
        .nodes
        .windows(2)
        .any(|two| pair(&two[0].kind, &two[1].kind));
    plant(met, "a FIFO after a symbolic link");
}

/// Round trip, order, and merging with what lies below or above.
pub fn sound(index: &Index) {
    let mut bytes = Vec::new();
    index.write(&mut bytes).expect("memory takes everything");
    let again = Index::read(&mut &bytes[..]).expect("what is written can be read");
    assert!(again == *index, "the index changes on its way");
    assert!(
        index.nodes.windows(2).all(|two| two[0].path < two[1].path),
        "paths do not ascend"
    );
    let base = base();
    for layers in [&[index, &base][..], &[&base, index], &[&base, index, index]] {
        if let Ok(merged) = merge(layers) {
            tree(&merged);
        }
    }
}
