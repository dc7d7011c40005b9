//! Who may sign which images: the keystore of rkt, OpenPGP signatures, cosign's.
//!
//! Bytes and key files in, a verdict out. Nothing here fetches or prints.
//!
//! Invariants: what cannot be checked is not trusted; a build without the
//! feature `trust` refuses every signature.
#![forbid(unsafe_code)]
