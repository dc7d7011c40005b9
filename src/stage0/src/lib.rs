//! The verbs of rkt as functions: fetch, prepare, run, enter, stop, rm, gc,
//! list, status, export, the image verbs, config and doctor.
//!
//! Requests in, data out. Nothing here knows the command line or prints:
//! what a user sees while a verb works goes through [`Notes`] (stderr lines)
//! and [`Line`] sinks (results and remarks in order). Stage0 never calls into
//! stage1: it leaves a locked pod directory and execs.

pub mod config;
mod copy;
mod delete;
pub mod doctor;
pub mod enter;
mod entrypoint;
pub mod env;
mod etc;
pub mod export;
pub mod fetch;
pub mod gc;
mod given_manifest;
mod group;
pub mod images;
mod leftovers;
mod legacy;
pub mod logs;
pub mod metadata;
mod net;
mod old_cgroups;
mod old_pod;
mod overlay;
pub mod pods;
pub mod prepare;
mod proven;
mod random;
pub mod review;
pub mod rm;
pub mod rootless;
pub mod run;
pub mod run_prepared;
mod selinux;
pub mod stage1_image;
pub mod status;
pub mod stop;
mod target;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
mod torn;
pub mod trust;
mod users;

pub use ::fetch::{Bar, Progress};
pub use env::{Env, GlobalFlags, Line, Notes};
