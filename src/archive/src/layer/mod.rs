//! Layers of docker and OCI images: a tar of changes, unpacked once into a
//! directory that overlay can take as it is.
//!
//! One pass over the stream: inflate, hash, extract below `rootfs`, and note
//! every path in an `Index`. Deletions become overlay's own form: a character
//! device 0:0 for `.wh.name`, `trusted.overlay.opaque=y` (in a user namespace
//! `user.overlay.opaque=y`) for `.wh..wh..opq`.
//!
//! Invariants: the result does not depend on where in the archive whiteouts
//! stand; of two entries with one name the later counts; nothing is made or
//! changed outside `rootfs`; memory is bounded by `Options`. Without privilege
//! owners, devices, whiteouts and privileged attributes are not on disk, but the
//! index has them all the same.

mod form;
mod grow;
mod index;
mod name;
#[cfg(test)]
mod tests;
mod tree;

pub use index::{Index, Node, NodeKind};

use std::io::Read;
use std::os::fd::BorrowedFd;

use model::Digest;
use model::digest::Algorithm;
use model::fault::{Fault, Result};

use crate::entry::{Entries, Tee};
use crate::options::Options;
use crate::pipeline;
use crate::sniff::sniff_layer;
use crate::tape::{Tape, padding};
use grow::Grower;

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
/// gets `rootfs`. The source is read until it says that it has ended; what it
/// fails with, also at its very end, comes back. On an error the caller removes
/// `dest`.
pub fn unpack_layer(
    source: impl Read + Send,
    dest: BorrowedFd<'_>,
    algorithm: Algorithm,
    options: &Options,
) -> Result<Layer> {
    let ((index, notes), sum) = pipeline::run(source, sniff_layer, algorithm, options, |tape| {
        let mut grower = Grower::new(dest, options)?;
        read(&mut grower, tape, options)?;
        grower.finish()
    })?;
    let sizes = index.nodes.iter().map(|node| match node.kind {
        NodeKind::File { size } => size,
        _ => 0,
    });
    Ok(Layer {
        diff_id: Digest::from_bytes(algorithm, &sum.digest)?,
        size: sum.size,
        rootfs_bytes: sizes.sum(),
        index,
        notes,
    })
}

fn read(grower: &mut Grower<'_>, tape: &mut Tape<'_>, options: &Options) -> Result<()> {
    let mut entries = Entries::default();
    let mut count = 0;
    while let Some(mut entry) = entries.next(tape, &mut Nobody)? {
        count += 1;
        let max = options.max_entries;
        if count > max {
            return Err(Fault::refused(format!(
                "the layer has more than {max} entries"
            )));
        }
        grower.grow(&mut entry, tape)?;
        tape.each(padding(entry.stored), |_| Ok(()))?;
    }
    // Whatever follows belongs to the diff ID too.
    while !tape.piece(u64::MAX)?.is_empty() {}
    Ok(())
}

/// The bytes of a layer are not made again.
struct Nobody;

impl Tee for Nobody {
    fn literal(&mut self, _bytes: &[u8]) -> Result<()> {
        Ok(())
    }
}
