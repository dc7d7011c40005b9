//! A pod on disk, and with it the contract of stage0 and stage1: the layout of
//! a pod directory, its states and locks, what is derived from them, and every
//! format that the two stages share.
//!
//! A pod *is* a directory `<data>/pods/<place>/<uuid>`. Where it lies and
//! whether someone holds its lock say all about its state; no file is ever
//! asked whether a pod runs. Whoever opens a pod keeps one directory fd and
//! reaches everything through it, so a rename under it changes nothing.
//!
//! No environment variable changes what happens here.
#![forbid(unsafe_code)]

pub mod control;
pub mod entry;
mod files;
pub mod labels;
pub mod layout;
pub mod list;
pub mod lock;
pub mod log;
pub mod manifest;
pub mod netinfo;
pub mod pid;
mod pod;
mod remove;
pub mod rootfs;
pub mod state;
pub mod status;
pub mod summary;
pub mod times;

pub use entry::RunArgs;
pub use list::{Entry, Listing, list};
pub use lock::{EditLock, PrepareLock};
pub use netinfo::NetInfo;
pub use pod::Pod;
pub use rootfs::Rootfs;
pub use state::{Move, Place, State};
pub use status::Status;
pub use summary::{AppSummary, Summary};
pub use times::Times;

#[cfg(test)]
mod testing;
