//! The vocabulary of rkt: names, labels, digests, quantities, image references,
//! appc manifests, isolators, configuration kinds, `Fault`, and the planning of
//! a pod.
//!
//! Text and options in, checked values or data to act on out. Pure: nothing
//! here reads a file, a clock or a random number; `now` and randomness are
//! arguments. A value that exists is valid: nobody re-validates.
#![forbid(unsafe_code)]

pub mod app;
pub mod base64;
pub mod config;
pub mod digest;
pub mod discovery;
pub mod docker;
pub mod duration;
pub mod fault;
#[cfg(test)]
mod hostile;
pub mod id;
pub mod image;
pub mod isolator;
pub mod json;
pub mod label;
pub mod name;
pub mod oci;
pub mod options;
pub mod plan;
pub mod pod;
pub mod quantity;
pub mod reference;
pub mod size;
pub mod text;
pub mod time;
pub mod version;
pub mod volume;

pub use app::{App, Env, EventHandler, MountPoint, Port};
pub use config::Config;
pub use digest::Digest;
pub use docker::DockerReference;
pub use fault::{Context, Fault, Kind};
pub use id::{ImageId, PodUuid};
pub use image::{Dependency, ImageManifest};
pub use isolator::Isolator;
pub use label::{Annotation, Label, Labels};
pub use name::{AcIdentifier, AcName};
pub use options::{AppOptions, DnsOptions, InsecureOptions, PodOptions};
pub use pod::{ExposedPort, Mount, PodManifest, RuntimeApp, RuntimeImage, Volume, VolumeKind};
pub use quantity::Quantity;
pub use reference::Reference;
pub use serde_json::Value;
pub use version::Version;
