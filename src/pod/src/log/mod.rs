//! An app's log: `P/log/<app>` and one older file `<app>.1`, bounded in size.
//!
//! A record is one line in the form of the Kubernetes CRI:
//! `2026-11-21T05:48:45.123456789Z stdout F hello`. `F` ends a line of the
//! app, `P` is a part of one that was too long. Two records are ours, on the
//! reserved stream word `rkt`: `first N` opens each file and says how many
//! lines came before it, `lost N` says that N lines could not be written. So a
//! reader always knows how many lines it has missed.

mod line;
mod read;
mod render;
mod split;
mod stamp;
mod write;

pub use line::{Line, MAX_TEXT, Stream};
pub use read::{Event, Query, Reader, Watch};
pub use render::Foreground;
pub use split::{LineSplitter, Part};
pub use stamp::{format_stamp, parse_stamp};
pub use write::{Limits, LogFile};

#[cfg(test)]
mod tests;
