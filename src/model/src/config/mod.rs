//! Configuration kinds `auth`, `dockerAuth`, `paths` and `stage1`: the bytes of
//! one file in, a checked document out; documents merged into one `Config`.
//!
//! Within one configuration root (`/usr/lib/rkt`, `/etc/rkt`, the user's) an
//! item may stand once; a stronger root replaces it item by item. Walking the
//! directories is the caller's affair.

mod merge;
mod parse;

pub use parse::parse_file;

use std::fmt;

/// Most bytes of one configuration file.
pub const MAX_FILE: usize = 1 << 20;

/// The sub-directories that hold configuration of kinds we parse.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConfigDir {
    Auth,
    Paths,
    Stage1,
}

impl ConfigDir {
    pub const ALL: [ConfigDir; 3] = [ConfigDir::Auth, ConfigDir::Paths, ConfigDir::Stage1];

    pub fn name(self) -> &'static str {
        match self {
            ConfigDir::Auth => "auth.d",
            ConfigDir::Paths => "paths.d",
            ConfigDir::Stage1 => "stage1.d",
        }
    }

    pub fn kinds(self) -> &'static [&'static str] {
        match self {
            ConfigDir::Auth => &["auth", "dockerAuth"],
            ConfigDir::Paths => &["paths"],
            ConfigDir::Stage1 => &["stage1"],
        }
    }
}

/// A text that no debug output shows.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    pub fn new(text: impl Into<String>) -> Secret {
        Secret(text.into())
    }
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<secret>")
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BasicCredentials {
    pub user: String,
    pub password: Secret,
}

/// How to authorise requests to a host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Credentials {
    Basic(BasicCredentials),
    OAuth {
        token: Secret,
    },
    /// Requests are signed; an empty region is guessed from the host.
    Aws {
        access_key_id: String,
        secret_access_key: Secret,
        region: String,
    },
}

/// The content of one file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Document {
    Auth {
        domains: Vec<String>,
        credentials: Credentials,
    },
    DockerAuth {
        registries: Vec<String>,
        credentials: BasicCredentials,
    },
    Paths {
        data: Option<String>,
        stage1_images: Option<String>,
    },
    Stage1 {
        name_version: Option<(String, String)>,
        location: Option<String>,
    },
}

/// All configuration, of one root or merged over several.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Config {
    /// By `host[:port]`, in the order read.
    pub auth: Vec<(String, Credentials)>,
    /// By registry.
    pub docker_auth: Vec<(String, BasicCredentials)>,
    pub data: Option<String>,
    pub stage1_images: Option<String>,
    pub stage1_name_version: Option<(String, String)>,
    pub stage1_location: Option<String>,
}

#[cfg(test)]
mod tests;
