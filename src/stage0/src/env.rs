//! What every verb works in: the data directory, the configuration directories
//! and files, the security features that were switched off, and where its
//! remarks go.
//!
//! `Env::resolve` reads the configuration once; the data directory is `--dir`
//! if it was given, else the `data` of a `paths` file, else `/var/lib/rkt`, and
//! for an ordinary user a directory of the user's own.

use crate::review::Ask;
use ::fetch::Progress;
use ::fetch::progress::Silent;
use model::config::Config;
use model::options::InsecureOptions;
use model::{Context, Fault, fault::Result};
use std::path::PathBuf;
use std::sync::Arc;

/// Where lines for stderr go while a verb works; they may come from any thread.
pub trait Notes: Sync {
    /// One line of the subsystem `prefix` (`image`, `stage0`); an empty prefix
    /// means the command's own name.
    fn note(&self, prefix: &str, text: &str);
}

impl<F: Fn(&str, &str) + Sync> Notes for F {
    fn note(&self, prefix: &str, text: &str) {
        self(prefix, text);
    }
}

/// One line of a verb that works through a list: what goes to stdout as it is,
/// and what goes to stderr with the command's prefix. Sent in order, as it happens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Line {
    Out(String),
    Err(String),
}

/// Receives lines as they come to pass.
pub type Sink<'a> = &'a mut dyn FnMut(Line);

/// The global flags as typed.
#[derive(Clone, Debug, Default)]
pub struct GlobalFlags {
    /// `--dir`, only if it stood on the command line.
    pub dir: Option<PathBuf>,
    pub system_config: Option<PathBuf>,
    pub local_config: Option<PathBuf>,
    pub user_config: Option<PathBuf>,
    pub insecure: InsecureOptions,
    pub trust_keys_from_https: bool,
    pub debug: bool,
}

pub struct Env {
    /// The data directory, absolute, symlinks resolved.
    pub dir: PathBuf,
    pub system_config: PathBuf,
    pub local_config: PathBuf,
    pub user_config: Option<PathBuf>,
    pub insecure: InsecureOptions,
    pub trust_keys_from_https: bool,
    pub debug: bool,
    pub config: Config,
    /// Shows downloads; nobody watches unless the face says so.
    pub progress: Arc<dyn Progress + Send>,
    /// Asks the user, if there is one at a terminal.
    pub ask: Box<Ask>,
    notes: Box<dyn Notes>,
}

impl Env {
    pub fn note(&self, prefix: &str, text: &str) {
        self.notes.note(prefix, text);
    }

    /// A remark that only `--debug` shows.
    pub fn debug_note(&self, prefix: &str, text: &str) {
        if self.debug {
            self.notes.note(prefix, text);
        }
    }

    /// Reads the configuration and settles the data directory.
    pub fn resolve(flags: GlobalFlags, notes: Box<dyn Notes>) -> Result<Env> {
        let system_config = directory(flags.system_config, "/usr/lib/rkt")?;
        let local_config = directory(flags.local_config, "/etc/rkt")?;
        let user_config = match flags.user_config {
            Some(dir) => Some(directory(Some(dir), "")?),
            None => None,
        };
        let mut roots = vec![system_config.as_path(), local_config.as_path()];
        roots.extend(user_config.as_deref());
        let config = crate::config::read(&roots).message(|| "cannot get configuration".into())?;
        let dir = match (flags.dir, &config.data) {
            (Some(dir), _) => real_path(directory(Some(dir), "")?)?,
            (None, Some(dir)) => real_path(PathBuf::from(dir))?,
            (None, None) => default_dir()?,
        };
        let env = Env {
            dir,
            system_config,
            local_config,
            user_config,
            insecure: flags.insecure,
            trust_keys_from_https: flags.trust_keys_from_https,
            debug: flags.debug,
            config,
            progress: Arc::new(Silent),
            ask: Box::new(|_| Ok(None)),
            notes,
        };
        crate::doctor::tell(&env);
        Ok(env)
    }
}

pub const DEFAULT_DIR: &str = "/var/lib/rkt";

fn default_dir() -> Result<PathBuf> {
    if rustix::process::geteuid().is_root() {
        return real_path(PathBuf::from(DEFAULT_DIR));
    }
    real_path(crate::rootless::data_dir()?)
}

/// A directory flag: never empty, made absolute against the working directory.
fn directory(given: Option<PathBuf>, default: &str) -> Result<PathBuf> {
    let Some(dir) = given else {
        return Ok(PathBuf::from(default));
    };
    if dir.as_os_str().is_empty() {
        return Err(Fault::usage("\"\" is not a valid directory"));
    }
    std::path::absolute(&dir).map_err(|e| Fault::io("cannot make absolute", dir.display(), e))
}

/// A path that does not exist yet is used as it is.
fn real_path(dir: PathBuf) -> Result<PathBuf> {
    match std::fs::canonicalize(&dir) {
        Ok(real) => Ok(real),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(dir),
        // Whose it is, then, is what such a user is told.
        Err(e) if is_forbidden(&e) => Ok(dir),
        Err(e) => Err(Fault::io("lstat", dir.display(), e).message(format!(
            "cannot evaluate dataDir \"{}\" real path",
            dir.display()
        ))),
    }
}

fn is_forbidden(err: &std::io::Error) -> bool {
    err.kind() == std::io::ErrorKind::PermissionDenied && !rustix::process::geteuid().is_root()
}

/// The verbs that change pods need root, be it of an ordinary user's namespace:
/// see `rootless`, where such a call begins.
pub fn need_root() -> Result<()> {
    if rustix::process::geteuid().is_root() {
        return Ok(());
    }
    Err(Fault::refused("cannot run as unprivileged user"))
}
