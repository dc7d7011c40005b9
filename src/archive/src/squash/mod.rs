//! Several layers seen as one tree: which layer shows at which path, and the
//! canonical tar of it, whose hash is the image's ID.
//!
//! `merge` is pure: indexes in, the merged tree out. `write_squashed` streams
//! the tree as a tar, `build_links` makes it (or its fixups) a directory without
//! copying data, `check` compares one layer's directory with its index. All of
//! them take attributes from the indexes, and open files below the layers' roots
//! without following links.

mod check;
mod links;
mod merge;
mod places;
mod view;
mod write;

#[cfg(test)]
mod tests;

pub use check::check;
pub use links::build_links;
pub use merge::merge;
pub use write::write_squashed;

use crate::layer::Node;

/// One path of the merged tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shown {
    /// Its path in the merged tree.
    pub path: Vec<u8>,
    /// The attributes that it shows. Never a `Whiteout` or `LowerLink`: these
    /// are resolved. A `Hardlink`'s target is a path of the merged tree that
    /// shows a `File` and sorts before it.
    pub node: Node,
    /// Where the content lies: the number of the layer (0 is the lowest) and the
    /// path inside it. For directories: the layer whose attributes show, or, if
    /// no layer lists it, the topmost that has it.
    pub layer: usize,
    pub source: Vec<u8>,
}

/// The merged tree, sorted by path as bytes. The root comes first, with an
/// empty path.
#[derive(Clone, Debug, Default)]
pub struct Merged {
    pub shown: Vec<Shown>,
    /// What an overlay of the layers alone would show wrongly, and a topmost
    /// layer of these paths puts right: directories whose attributes come from a
    /// layer below the one that overlay would take, directories that would list
    /// whiteouts, and hard links into lower layers. Sorted by path, with all
    /// their parent directories; empty if the layers alone will do.
    pub fixups: Vec<Shown>,
    /// False if not even the fixups help (a layer reaches through a symlink of a
    /// lower one): the tree has to be built of hard links. `fixups` is then empty.
    pub overlay: bool,
}

/// What was written.
#[derive(Clone, Debug)]
pub struct Squashed {
    /// SHA-512 of the uncompressed archive: the image ID.
    pub digest: [u8; 64],
    /// Bytes of the uncompressed archive.
    pub size: u64,
}
