//! Images of docker and OCI registries: media types, manifests, indexes, the
//! choice of a platform, image configs, and their conversion to an appc manifest.
//!
//! Untrusted JSON in, checked values out. Pure: who fetches the bytes compares
//! them with their digest first, and only then has them parsed here. Keys match
//! exactly, a key that is given twice is refused, and sizes are bounded.

mod choose;
mod config;
mod convert;
mod descriptor;
mod document;
pub mod layout;
pub mod media;
mod platform;
pub mod save;
mod schema1;

pub use config::{Healthcheck, History, ImageConfig, Process};
pub use convert::{HEALTHCHECK, Provenance, STOP_SIGNAL, convert, losses};
pub use descriptor::Descriptor;
pub use document::{Document, Index, Manifest};
pub use platform::Platform;
pub use schema1::{Schema1, Schema1Layer};

use crate::digest::Digest;
use crate::fault::{Fault, Result};
use crate::size;
use crate::text::quote;
use std::fmt;

/// Largest manifest, index or config: what registries and other tools agree on.
pub const MAX_DOCUMENT: usize = 4 << 20;
/// Most layers of one image; no builder makes more than 127.
pub const MAX_LAYERS: usize = 1000;

/// Which image of several in an archive or a layout is meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pick {
    /// A tag (`v1`) or a whole name (`redis:7`).
    Tag(String),
    Digest(Digest),
    /// The place in the archive, from 0.
    Place(usize),
}

impl fmt::Display for Pick {
    /// As it stands behind a path: `:v1`, `@sha256:…`, `@0`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Pick::Tag(tag) => write!(f, ":{tag}"),
            Pick::Digest(digest) => write!(f, "@{digest}"),
            Pick::Place(place) => write!(f, "@{place}"),
        }
    }
}

/// Refuses a document that is too large to be looked at.
fn check_size(bytes: &[u8], what: &str) -> Result<()> {
    if bytes.len() <= MAX_DOCUMENT {
        return Ok(());
    }
    Err(Fault::invalid(format!(
        "the {what} has {} (limit {})",
        size::iec(bytes.len() as u64),
        size::iec(MAX_DOCUMENT as u64)
    )))
}

/// At most twenty values, quoted, for the list in a message.
fn some_of(values: impl IntoIterator<Item = impl AsRef<str>>) -> String {
    let all: Vec<String> = values.into_iter().map(|v| quote(v.as_ref())).collect();
    match all.len() {
        0 => "none".to_string(),
        1..=20 => all.join(", "),
        more => format!("{} and {} more", all[..20].join(", "), more - 20),
    }
}
