//! The project's own test harness: what every black-box and root test needs and no crate offers in this shape.
//!
//! Input is the built binary (`RKT_BIN`, else the release build beside the workspace), output are plain Rust values
//! to assert on. Nothing here knows how rkt works inside; the tests see what a user sees: argv in, streams and exit
//! code out, and the traces that a pod leaves (or must not leave) on the host.
//!
//! Invariants: everything is written below one `Scratch` directory; the network is never touched beyond a network
//! namespace of the test's own; a test that cannot run here says why through `skip!` and is counted as skipped.

pub mod aci;
pub mod host;
pub mod http;
pub mod isolated;
pub mod lab;
pub mod matcher;
pub mod mutable;
pub mod nat;
pub mod oci;
pub mod proc;
pub mod redis;
pub mod registry;
pub mod rkt;
pub mod scratch;
pub mod session;
pub mod shell;
pub mod skip;
pub mod talk;
pub mod tar;
pub mod terminal;
pub mod tree;
pub mod view;

pub use aci::Aci;
pub use rkt::{Output, Rkt};
pub use scratch::Scratch;
