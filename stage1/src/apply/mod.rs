//! Building what the plan says: the pod's small root first, then each app's
//! own root in a mount namespace cloned from it. Stops at the first error.

pub mod app_root;
pub mod pod_root;

use model::Fault;

/// Names what was being built when the kernel said no.
pub(crate) fn building(what: impl std::fmt::Display) -> impl FnOnce(std::io::Error) -> Fault {
    move |err| Fault::io("cannot set up", what, err)
}

/// The same for rustix' errors.
pub(crate) fn building_rx(what: impl std::fmt::Display) -> impl FnOnce(rustix::io::Errno) -> Fault {
    move |err| Fault::io("cannot set up", what, err)
}
