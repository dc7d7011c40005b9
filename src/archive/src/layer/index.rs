//! What a layer holds, path by path, with the attributes that its archive gives.
//!
//! Unpacking makes it, the store keeps it beside the files, and merging and the
//! canonical tar are made of it: no file is looked at for its attributes twice,
//! and an unprivileged user's unpacking, which cannot set owners, loses nothing.

use crate::options::Form;

/// The nodes of one layer, sorted by path as bytes, each path once. A directory
/// that the archive does not list but needs is there, not `listed`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Index {
    pub nodes: Vec<Node>,
}

impl Index {
    /// The node of a path.
    pub fn find(&self, path: &[u8]) -> Option<&Node> {
        let at = self
            .nodes
            .binary_search_by(|node| node.path.as_slice().cmp(path));
        at.ok().map(|at| &self.nodes[at])
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// Below the root without a leading slash; empty for the root itself.
    pub path: Vec<u8>,
    pub kind: NodeKind,
    /// Permission bits with setuid, setgid and sticky.
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
    /// Seconds and nanoseconds.
    pub mtime: (i64, u32),
    /// Sorted by name.
    pub xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    /// False for a directory that only lies on the way to something: its
    /// attributes are then those of the layer below, if it is there.
    pub listed: bool,
}

impl Node {
    /// Whether it is a device that could not be made when the layer was unpacked.
    pub fn may_be_absent(&self, form: Form) -> bool {
        let device = matches!(self.kind, NodeKind::Char { .. } | NodeKind::Block { .. });
        device && (form.confined || !form.root)
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NodeKind {
    /// `opaque`: nothing of lower layers shows inside it.
    Dir {
        opaque: bool,
    },
    File {
        size: u64,
    },
    Symlink {
        target: Vec<u8>,
    },
    /// Another name of a file of this layer, whose first name in the order of
    /// the index is the `File`. Attributes are those of the file.
    Hardlink {
        target: Vec<u8>,
    },
    /// A hard link whose target no entry of this layer has, not even a later
    /// one: a lower layer has it, whether or not this layer deletes it there. The
    /// target's links are resolved as far as this layer has them. The layer's
    /// directory holds nothing at this path; attributes are those of the entry.
    LowerLink {
        target: Vec<u8>,
    },
    Char {
        major: u32,
        minor: u32,
    },
    Block {
        major: u32,
        minor: u32,
    },
    Fifo,
    /// What lower layers have at this path is gone. In the layer's directory: a
    /// character device 0:0, as overlay has it.
    Whiteout,
}
