//! Isolation: from a locked pod directory to running apps.
//!
//! stage0 execs an entry point of ours (`rkt stage1 run|enter|gc|stop`) and is
//! gone. `load` reads the pod, `plan` decides (pure), `apply` builds, `pid1`
//! supervises; `outer` is what the user's terminal and scripts see.
//!
//! Single-threaded from exec to the end; nothing here calls back up.

mod apply;
mod child;
mod entry;
mod flavor;
mod load;
mod outer;
mod pid1;
pub mod plan;
mod runtime;
mod say;
mod starter;

pub use entry::main;
