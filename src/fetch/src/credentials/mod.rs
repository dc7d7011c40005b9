//! Who we are to a server: rkt's own configuration, the files of containers and
//! docker tools, and docker's credential helpers.
//!
//! A host and a path in, at most one login out. rkt's configuration comes first,
//! then `REGISTRY_AUTH_FILE` or the containers' `auth.json`, then
//! `DOCKER_AUTH_CONFIG` and docker's `config.json`; in each of them the most
//! specific entry wins. Nothing is read before somebody asks.
//!
//! Invariants: a secret shows in no error and no debug output; a login is given
//! for the host that it was configured for and for no other.

mod file;
mod key;
mod program;
mod sign;

pub use key::Key;
pub use sign::Authorization;

use file::AuthFile;
use model::base64;
use model::config::{BasicCredentials, Config, Credentials, Secret};
use model::fault::{Fault, Result};
use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::OnceLock;

/// How to log in to a registry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Login {
    Basic(BasicCredentials),
    /// To be exchanged for an access token at the registry's token service.
    Identity(Secret),
    /// An access token as it is.
    Token(Secret),
}

/// Where the files are, and where programs are looked for.
#[derive(Clone, Debug, Default)]
pub struct Places {
    /// `auth.json` of the containers' tools, the strongest first.
    pub containers: Vec<PathBuf>,
    /// The content of `DOCKER_AUTH_CONFIG`.
    pub docker_text: Option<Secret>,
    /// Docker's `config.json`.
    pub docker: Option<PathBuf>,
    /// `PATH`.
    pub programs: Option<OsString>,
}

impl Places {
    /// As the environment of this process says.
    pub fn from_environment() -> Places {
        let set = |name| std::env::var_os(name).filter(|value| !value.is_empty());
        let home = set("HOME").map(PathBuf::from);
        let containers = match set("REGISTRY_AUTH_FILE") {
            // Who names a file means this one and no other.
            Some(file) => vec![PathBuf::from(file)],
            None => {
                let runtime =
                    set("XDG_RUNTIME_DIR").map(|dir| PathBuf::from(dir).join("containers"));
                let uid = rustix::process::getuid().as_raw();
                let runtime =
                    runtime.unwrap_or_else(|| PathBuf::from(format!("/run/containers/{uid}")));
                let config = set("XDG_CONFIG_HOME")
                    .map(PathBuf::from)
                    .or_else(|| home.as_ref().map(|home| home.join(".config")));
                let config = config.map(|dir| dir.join("containers"));
                [Some(runtime), config]
                    .into_iter()
                    .flatten()
                    .map(|dir| dir.join("auth.json"))
                    .collect()
            }
        };
        let docker = match set("DOCKER_CONFIG") {
            Some(dir) => Some(PathBuf::from(dir)),
            None => home.map(|home| home.join(".docker")),
        };
        Places {
            containers,
            docker_text: std::env::var("DOCKER_AUTH_CONFIG")
                .ok()
                .filter(|text| !text.trim().is_empty())
                .map(Secret::new),
            docker: docker.map(|dir| dir.join("config.json")),
            programs: set("PATH"),
        }
    }
}

/// All logins that this user has.
pub struct Logins {
    auth: Vec<(Key, Credentials)>,
    registries: Vec<(Key, BasicCredentials)>,
    places: Places,
    files: OnceLock<Result<Vec<AuthFile>>>,
}

impl Logins {
    pub fn new(config: &Config, places: Places) -> Logins {
        Logins {
            auth: keyed(&config.auth),
            registries: keyed(&config.docker_auth),
            places,
            files: OnceLock::new(),
        }
    }

    /// The login for a repository, `path`, of the registry `host[:port]`.
    /// Unreadable files and failing helpers are errors: whoever configured a
    /// login does not want to be anonymous.
    pub fn for_repository(&self, host: &str, path: &str) -> Result<Option<Login>> {
        let wanted = Key::new(host, path);
        if let Some(basic) = most_specific(&self.registries, &wanted) {
            return Ok(Some(Login::Basic(basic.clone())));
        }
        let files = self.files.get_or_init(|| file::read_all(&self.places));
        for file in files.as_ref().map_err(Fault::clone)? {
            if let Some(login) = file.login(&wanted, self.places.programs.as_deref())? {
                return Ok(Some(login));
            }
        }
        Ok(None)
    }

    /// How requests for `path` at `host[:port]` are to be authorised, from the
    /// `auth` files alone: these are for images and keys over https.
    pub fn authorization_for(&self, host: &str, path: &str) -> Option<Authorization> {
        let wanted = Key::new(host, path);
        most_specific(&self.auth, &wanted).map(|found| Authorization::new(found.clone()))
    }
}

fn keyed<T: Clone>(entries: &[(String, T)]) -> Vec<(Key, T)> {
    entries
        .iter()
        .map(|(key, value)| (Key::parse(key), value.clone()))
        .collect()
}

/// The entry whose key covers `wanted` with the longest path.
fn most_specific<'e, T>(entries: &'e [(Key, T)], wanted: &Key) -> Option<&'e T> {
    entries
        .iter()
        .filter(|(key, _)| key.covers(wanted))
        // Of equals the first counts.
        .rev()
        .max_by_key(|(key, _)| key.path().len())
        .map(|(_, value)| value)
}

/// The value of an `Authorization` header.
pub(crate) fn basic_header(basic: &BasicCredentials) -> Secret {
    let pair = format!("{}:{}", basic.user, basic.password.expose());
    Secret::new(format!("Basic {}", base64::encode(pair.as_bytes())))
}

#[cfg(test)]
mod tests;
