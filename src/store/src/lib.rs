//! Images on disk: each layer unpacked once, a record per image, references of
//! pods, rendering, export, check and garbage collection.
//!
//! ACIs and layers in, [`Tree`]s (overlay lower directories) and exact ACI bytes out.
//! Everything lies below `<dir>/store`; `docs/on-disk.md` describes the form.
//!
//! Invariants:
//! - what stands under its final name is complete, or lacks its seal file and
//!   counts as absent; whatever is half done lies in `tmp/`, flocked by the
//!   process that makes it;
//! - a layer is never modified, and goes only under its exclusive lock, when no
//!   image record, no tree and no pod names it;
//! - others than root write in `packed/` only, and nothing in there is believed;
//! - removing needs no free space: unlink and rmdir only.
#![forbid(unsafe_code)]

mod adopt;
mod aside;
mod assembly;
pub mod copy;
mod digest;
mod export;
mod farm;
mod files;
mod flatten;
mod form;
mod gc;
mod hold;
mod inbox;
mod key;
mod layered;
mod lookup;
mod pack;
mod put;
mod record;
mod remove;
mod render;
mod select;
mod shelf;
mod short;
mod staging;
mod store;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
mod urls;
mod verify;

pub use assembly::{Assembly, MOST_LAYERS};
pub use gc::Swept;
pub use lookup::missing;
pub use put::Origin;
pub use record::ImageRecord;
pub use remove::Removal;
pub use render::Tree;
pub use store::{Store, old_database};
pub use urls::Fetched;
pub use verify::Integrity;
