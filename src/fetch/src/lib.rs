//! Image words in, verified images in the store out: files, archives and layouts
//! of docker and OCI, registries, http, appc discovery.
//!
//! A fetch streams: the network, the inflating, the hashing and the unpacking
//! overlap, nothing is written twice, and nothing gets its name in the store
//! before its digest or signature was checked.
//!
//! Invariants: credentials go to the host they are for and to no other, and
//! never over plain http; every body has a bound and every wait a time-out; on an
//! error the store is what it was.
#![forbid(unsafe_code)]

pub mod appc;
#[cfg(feature = "http")]
pub mod credentials;
mod find;
#[cfg(feature = "http")]
pub mod http;
mod image;
pub mod interrupt;
pub mod local;
pub mod progress;
#[cfg(feature = "http")]
pub mod registry;

pub use find::{Fetcher, PullPolicy, host_arch};
pub use progress::{Bar, Notes, Progress, Silent};
