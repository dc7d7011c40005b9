//! Who may sign which images: the keystore of rkt, OpenPGP signatures, cosign's.
//!
//! Bytes and key files in, a verdict out. Nothing here fetches or prints.
//!
//! Invariants: what cannot be checked is not trusted; a build without the
//! feature `trust` refuses every signature.
#![forbid(unsafe_code)]

pub mod cosign;
mod files;
pub mod keystore;
pub mod openpgp;

pub use keystore::{Keys, Keystore, Scope};

/// What a build without the feature `trust` answers to every question.
#[cfg(not(feature = "trust"))]
fn absent() -> model::Fault {
    model::Fault::unsupported("this build cannot check signatures")
        .hint("use an rkt that was built with the feature `trust`")
}
