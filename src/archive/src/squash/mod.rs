//! Several layers seen as one tree: which layer shows at which path, and the
//! canonical tar of it, whose hash is the image's ID.

use crate::layer::{Index, Node};
use model::fault::{Fault, Result};
use std::io::Write;
use std::os::fd::BorrowedFd;

/// One path of the merged tree.
#[derive(Clone, Debug)]
pub struct Shown {
    /// Its path in the merged tree.
    pub path: Vec<u8>,
    /// The attributes that it shows. Never a `Whiteout` or `LowerLink`: these
    /// are resolved. A `Hardlink`'s target is a path of the merged tree that
    /// shows a `File` and sorts before it.
    pub node: Node,
    /// Where the content lies: the number of the layer (0 is the lowest) and the
    /// path inside it. For directories: the layer whose attributes show.
    pub layer: usize,
    pub source: Vec<u8>,
}

/// The merged tree, sorted by path as bytes.
#[derive(Clone, Debug, Default)]
pub struct Merged {
    pub shown: Vec<Shown>,
    /// What an overlay of the layers alone would show wrongly, and a topmost
    /// layer of these paths puts right: directories whose attributes come from a
    /// layer below the one that overlay would take, and hard links into lower
    /// layers. Sorted by path, with all their parent directories.
    pub fixups: Vec<Shown>,
    /// False if not even the fixups help (a layer reaches through a symlink of a
    /// lower one): the tree has to be built of hard links.
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

/// Merges layers, lowest first.
pub fn merge(_layers: &[&Index]) -> Result<Merged> {
    Err(Fault::unsupported("layers"))
}

/// Writes `manifest` and the merged tree as the canonical image. `roots` are the
/// layers' `rootfs` directories, lowest first. Fails with `Kind::Corrupt` if a
/// file is not what the index says.
pub fn write_squashed(
    _manifest: &[u8],
    _merged: &Merged,
    _roots: &[BorrowedFd<'_>],
    _out: &mut dyn Write,
) -> Result<Squashed> {
    Err(Fault::unsupported("layers"))
}

/// Builds the merged tree, or its fixups, in the empty directory `dest`: new
/// directories, hard links to the layers' files, no data copied.
pub fn build_links(
    _shown: &[Shown],
    _roots: &[BorrowedFd<'_>],
    _dest: BorrowedFd<'_>,
) -> Result<()> {
    Err(Fault::unsupported("layers"))
}
