//! Untrusted bytes in, a confined tree out, and back again.
//!
//! `unpack_aci` takes the bytes of an application container image (plain or
//! compressed) and in one pass inflates, hashes, extracts below a directory fd
//! and writes a *recipe*; `rebuild` makes the exact tar bytes again from recipe
//! and tree, so no second copy is kept. `write_aci` packs a directory.
//! Nothing here knows a store, a pod or the network.
//!
//! Invariants: nothing is ever created, changed or read outside the directory
//! that was given; memory is bounded whatever the input says; on an error no
//! thread and no fd stays, and the caller removes the directory.

mod aci;
mod decode;
mod entry;
mod extract;
mod hash;
mod head;
mod header;
pub mod layer;
mod members;
mod metadata;
mod name;
mod notes;
mod options;
mod pack;
mod pax;
mod pipeline;
mod rebuild;
mod recipe;
mod sniff;
mod sparse;
pub mod squash;
mod tape;
#[cfg(test)]
mod tests;
#[cfg(feature = "xz")]
mod xz;
#[cfg(feature = "zstd")]
mod zstd;

pub use aci::{Unpacked, unpack_aci};
pub use decode::Decoder;
pub use hash::HashingReader;
pub use members::{Content, Member, Visit, members_of_file, members_of_stream};
pub use options::{Form, LARGER_RANGE, Marks, Options, PackOptions, Unshift};
pub use pack::{Packed, write_aci};
pub use rebuild::{Rebuilt, rebuild};
pub use sniff::{Format, sniff};
