//! Layers of docker and OCI images: a tar of changes, unpacked once into a
//! directory that overlay can take as it is.

mod index;

pub use index::{Index, Node, NodeKind};

use crate::options::Options;
use model::Digest;
use model::fault::{Fault, Result};
use std::io::Read;
use std::os::fd::BorrowedFd;

/// A layer that was unpacked.
#[derive(Clone, Debug)]
pub struct Layer {
    /// Of the uncompressed tar, to its last byte.
    pub diff_id: Digest,
    /// Bytes of the uncompressed tar.
    pub size: u64,
    /// Bytes of the regular files, hard links counted once.
    pub rootfs_bytes: u64,
    pub index: Index,
    /// What was left out or is odd, for the log.
    pub notes: Vec<String>,
}

/// Unpacks `source` (plain or compressed) into `dest`, an empty directory, which
/// gets `rootfs`. On an error the caller removes `dest`.
pub fn unpack_layer(
    _source: impl Read + Send,
    _dest: BorrowedFd<'_>,
    _algorithm: model::digest::Algorithm,
    _options: &Options,
) -> Result<Layer> {
    Err(Fault::unsupported("layers"))
}
