//! Cgroups of a pod: v1, hybrid and v2, by controller.
//!
//! `Facts::probe` looks at the host, `Plan::of` decides (pure) which cgroups a
//! pod gets and what is written into them, `Plan::create` does it and returns
//! fds: a child is born into its app's cgroup on v2 (`AppCgroup::born_into`) or
//! joins by writing `0` to its `tasks` files (`AppCgroup::join`).
//!
//! Layout, in each hierarchy that the pod needs and no other:
//! `<base>/rkt-<uuid>/app-<name>`, on v2 also `…/supervisor` for the pod's init.
//! A limit that cannot be enforced refuses the run; a set of devices that
//! cannot be confined is reported (`PodCgroup::notes`). Ordinary users and root
//! of a container get what was delegated to them in a v2 tree; a pod without
//! limits runs without cgroups where nothing was.
#![forbid(unsafe_code)]

mod controller;
mod cpu;
mod create;
mod devices;
mod file;
mod hierarchy;
mod kill;
mod limits;
mod memory;
mod pids;
mod plan;
mod pod;
mod record;
mod remove;
mod tree;
mod usage;

#[cfg(test)]
mod live_tests;
#[cfg(test)]
mod ordinary_tests;
#[cfg(test)]
mod plan_tests;

pub use controller::{Controller, Controllers};
pub use devices::{Access, Device, DeviceKind, Devices};
pub use hierarchy::{Facts, Hierarchy, Mode, Ordinary, Version};
pub use limits::{Limits, Setting};
pub use plan::{Plan, Request};
pub use pod::{AppCgroup, PodCgroup};
pub use record::open;
pub use tree::{Inside, Level, Moving, Reach, Site};
pub use usage::Usage;
