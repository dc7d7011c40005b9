//! A layer of an image: unpacked below one directory, its index written and read again, merged onto another layer, and
//! the merged tree written as an image that can be unpacked.

use std::os::fd::AsFd;

use archive::layer::{Index, Layer, Node, NodeKind, unpack_layer};
use archive::squash::{Merged, check, merge, write_squashed};
use archive::unpack_aci;
use model::digest::Algorithm;

use super::plant::plant;
use super::room::{Room, options, root};
use super::{index, mend};

pub fn layer(data: &[u8]) {
    let bytes = mend(data);
    let room = Room::new();
    let unpacked = unpack_layer(
        &bytes[..],
        room.dir().as_fd(),
        Algorithm::Sha256,
        &options(),
    );
    room.check();
    let Ok(layer) = unpacked else {
        return;
    };
    index::sound(&layer.index);
    if root() {
        let wrong = check(&layer.index, room.rootfs().as_fd(), archive::Form::own())
            .expect("what was unpacked can be looked at");
        // Devices may be forbidden where this runs; then they are not on disk.
        assert!(
            layer.notes.len() + usize::from(wrong.is_none()) > 0,
            "index and disk differ: {wrong:?}"
        );
    }
    squash(&room, &layer);
    plant(
        link_in_opaque(&layer.index),
        "a hard link in an opaque directory",
    );
}

fn link_in_opaque(index: &Index) -> bool {
    index.nodes.iter().any(|node| {
        let slash = node.path.iter().rposition(|byte| *byte == b'/');
        let parent = slash.and_then(|at| index.find(&node.path[..at]));
        matches!(node.kind, NodeKind::Hardlink { .. })
            && parent.is_some_and(|parent| matches!(parent.kind, NodeKind::Dir { opaque: true }))
    })
}

/// A lower layer with something of each kind, at the names that the corpus uses.
pub fn base() -> Index {
    let dir = || NodeKind::Dir { opaque: false };
    let to = |target: &str| NodeKind::Symlink {
        target: target.into(),
    };
    let nodes = [
        ("", dir()),
        ("a", dir()),
        ("a/b", dir()),
        ("a/b/file", NodeKind::File { size: 3 }),
        (
            "a/hard",
            NodeKind::Hardlink {
                target: b"a/b/file".into(),
            },
        ),
        ("a/up", to("../..")),
        ("etc", to("/a/b")),
        ("fifo", NodeKind::Fifo),
        ("loop", to("loop")),
        ("sentinel", NodeKind::File { size: 0 }),
    ];
    let nodes = nodes.map(|(path, kind)| Node {
        path: path.into(),
        kind,
        mode: 0o755,
        uid: 0,
        gid: 0,
        mtime: (1, 0),
        xattrs: Vec::new(),
        listed: true,
    });
    Index {
        nodes: nodes.into(),
    }
}

fn squash(room: &Room, layer: &Layer) {
    let Ok(merged) = merge(&[&layer.index]) else {
        return;
    };
    tree(&merged);
    let rootfs = room.rootfs();
    let mut tar = Vec::new();
    // It may fail: without privilege not every file can be read.
    let Ok(squashed) = write_squashed(b"{}", &merged, &[rootfs.as_fd()], &mut tar) else {
        assert!(!root(), "what was unpacked cannot be written");
        return;
    };
    let again = Room::new();
    let read = unpack_aci(&tar[..], again.dir().as_fd(), again.file(), &options());
    again.check();
    match read {
        Ok(read) => assert_eq!(
            read.digest, squashed.digest,
            "the written image has another digest"
        ),
        // Twice the size of the layer may be beyond the bounds.
        Err(fault) => assert!(
            fault.to_string().contains("more than"),
            "the written image cannot be read: {fault}"
        ),
    }
}

/// What holds of every merged tree.
pub fn tree(merged: &Merged) {
    let mut before: Option<&[u8]> = None;
    for shown in &merged.shown {
        let path = shown.path.as_slice();
        assert!(
            before.is_none_or(|before| before < path),
            "paths do not ascend"
        );
        assert!(
            before.is_some() || path.is_empty(),
            "the root does not come first"
        );
        before = Some(path);
        if let Some(at) = path.iter().rposition(|byte| *byte == b'/') {
            let parent = find(merged, &path[..at]);
            assert!(
                matches!(parent, Some(NodeKind::Dir { .. })),
                "a path without a directory"
            );
        }
        match &shown.node.kind {
            NodeKind::Whiteout | NodeKind::LowerLink { .. } => {
                panic!("a mark of layers shows in the merged tree")
            }
            NodeKind::Hardlink { target } => {
                let file = find(merged, target);
                assert!(
                    matches!(file, Some(NodeKind::File { .. })),
                    "a hard link to no file"
                );
                assert!(target.as_slice() < path, "a hard link before its file");
            }
            _ => {}
        }
    }
    assert!(
        merged.overlay || merged.fixups.is_empty(),
        "fixups without an overlay"
    );
}

fn find<'m>(merged: &'m Merged, path: &[u8]) -> Option<&'m NodeKind> {
    let at = merged
        .shown
        .binary_search_by(|shown| shown.path.as_slice().cmp(path));
    at.ok().map(|at| &merged.shown[at].node.kind)
}
