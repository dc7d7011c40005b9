//! The metadata service (appc: App Container Executor, "Metadata Server"): who
//! an app is, what its pod is made of, and signatures in the pod's name.
//!
//! `serve` is the whole service in one thread: root registers pods over a unix
//! socket, anyone who knows a pod's token asks over TCP. Whatever comes over
//! TCP is hostile: sizes, times and the number of connections are bounded, and
//! one peer's connections never push out another's. State lives in memory only.
//!
//! `client` is the other side of the unix socket, for `run` and `gc`; builds
//! without the feature `metadata` have it too.

pub(crate) mod client;
#[cfg(feature = "metadata")]
mod connection;
#[cfg(feature = "metadata")]
mod form;
#[cfg(feature = "metadata")]
mod key;
#[cfg(feature = "metadata")]
mod listen;
#[cfg(feature = "metadata")]
mod pods;
#[cfg(feature = "metadata")]
mod reply;
#[cfg(feature = "metadata")]
mod request;
#[cfg(feature = "metadata")]
mod routes;
#[cfg(feature = "metadata")]
mod serve;
#[cfg(all(test, feature = "metadata"))]
mod tests;

#[cfg(feature = "metadata")]
pub use serve::serve;

/// Where pods are registered: a user's with that user's service.
fn socket() -> model::fault::Result<std::path::PathBuf> {
    Ok(crate::rootless::run_dir()?.join("metadata-svc.sock"))
}
