//! The files of a service, one module per init system: a `Request` in, files
//! with paths, modes and texts out, nothing looked at or done.
//!
//! All of them promise the same. Before a pod starts, what a killed predecessor
//! left is stopped and removed, so there is never more than one. The service is
//! up when the pod says that it is ready, where the init can be told. TERM stops
//! the pod in order, and rkt's own 90 seconds for the apps are over before the
//! init would kill. A pod that ends by itself is started again, after a pause
//! that grows.

mod dinit;
mod openrc;
mod runit;
mod s6;
mod script;
mod systemd;
mod sysvinit;
#[cfg(test)]
mod tests;

use super::detect::Init;
use super::request::Request;
use model::fault::Result;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    /// Absolute.
    pub path: String,
    pub mode: u32,
    pub text: String,
}

impl File {
    fn new(path: String, mode: u32, text: String) -> File {
        File { path, mode, text }
    }
}

/// A service, and how it is put into effect.
pub struct Unit {
    pub files: Vec<File>,
    /// Commands for the user to type.
    pub enable: Vec<String>,
}

/// rkt gives the apps 90 seconds to stop; the inits kill after these.
const STOP_SECONDS: u32 = 110;
/// An image may have to be fetched.
const START_SECONDS: u32 = 300;
const SCRIPT: u32 = 0o755;
const PLAIN: u32 = 0o644;

/// Where the init looks for services.
pub fn place(init: Init) -> &'static str {
    match init {
        Init::OpenRc | Init::Sysvinit => "/etc/init.d",
        Init::Runit => "/etc/sv",
        Init::S6 => "/etc/s6/sv",
        Init::Dinit => "/etc/dinit.d",
        Init::Systemd => "/etc/systemd/system",
    }
}

/// The service for files in the directory `base`.
pub fn make(init: Init, mut request: Request, base: &str) -> Result<Unit> {
    let base = base.trim_end_matches('/');
    let path = match init {
        Init::Runit | Init::S6 => format!("{base}/{}/pod-manifest", request.name),
        _ => format!("{base}/{}.pod-manifest", request.name),
    };
    let manifest = request.manifest.take().map(|bytes| {
        request.reads_manifest(&path);
        let text = String::from_utf8_lossy(&bytes).into_owned();
        File::new(path, PLAIN, text)
    });
    let make = match init {
        Init::OpenRc => openrc::make,
        Init::Runit => runit::make,
        Init::S6 => s6::make,
        Init::Dinit => dinit::make,
        Init::Sysvinit => sysvinit::make,
        Init::Systemd => systemd::make,
    };
    let mut unit = make(&request, base)?;
    // A supervisor that watches the directory starts with what it reads last.
    match init {
        Init::Runit | Init::S6 => unit.files.splice(0..0, manifest),
        _ => unit.files.splice(unit.files.len().., manifest),
    };
    Ok(unit)
}
