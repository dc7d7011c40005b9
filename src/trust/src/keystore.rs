//! The keystore: which keys may sign which names.
//!
//! `<root>/trustedkeys/root.d/<fingerprint>` holds for all names,
//! `…/prefix.d/<prefix…>/<fingerprint>` for the prefix and what lies below it,
//! `…/cosign.d/<registry>/<repository…>/<sha256 of the key>` likewise for images
//! in registries, by keys of cosign.
//!
//! Files are read in an order, and for each key the last file counts: first
//! `root.d`, then `prefix.d`; in each the roots system, local, user; in each
//! root shorter prefixes before longer ones. An empty file takes the trust away.
//! So does one that cannot be used, with a note: what cannot be checked is not
//! trusted.

use crate::files::{self, Content, KeyFile};
use crate::{cosign, openpgp};
use model::AcIdentifier;
use model::fault::{Fault, Result};
use model::text::quote;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Hex digits of an OpenPGP fingerprint, and of a cosign key's.
const OPENPGP_DIGITS: usize = 40;
const COSIGN_DIGITS: usize = 64;

/// The keys that count for one name.
#[derive(Debug, Default)]
pub struct Keys {
    pub keys: Vec<openpgp::PublicKey>,
    /// Key files that could not be used, one line each.
    pub notes: Vec<String>,
}

/// What a key is to be trusted for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Every image.
    Root,
    /// The name and all below it.
    Prefix(AcIdentifier),
}

/// Reads keys from several roots.
#[derive(Clone, Debug)]
pub struct Keystore {
    roots: Vec<PathBuf>,
}

impl Keystore {
    /// The configuration directories, the weakest first: system, local, user.
    pub fn new(roots: &[PathBuf]) -> Keystore {
        Keystore {
            roots: roots.to_vec(),
        }
    }

    /// The OpenPGP keys that may sign images of this name.
    pub fn keys(&self, name: &AcIdentifier) -> Result<Keys> {
        let mut dirs = self.dirs("root.d");
        dirs.extend(self.chains("prefix.d", name.as_str()));
        let mut keys = Keys::default();
        for file in in_force(&dirs, OPENPGP_DIGITS, openpgp::MAX_KEY)? {
            match named_key(&file) {
                Ok(key) => keys.keys.push(key),
                Err(why) => keys.notes.push(unusable(&file.path, &why)),
            }
        }
        Ok(keys)
    }

    /// Whether somebody decided on keys for the name or a prefix of it, were it
    /// by an empty file: then none are to be discovered. Keys that are trusted
    /// for every image do not count.
    pub fn has_prefix_keys(&self, name: &AcIdentifier) -> Result<bool> {
        for dir in self.chains("prefix.d", name.as_str()) {
            if !files::list(&dir, OPENPGP_DIGITS, openpgp::MAX_KEY)?.is_empty() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The cosign keys of a repository, `docker.io/library/redis`. If there is
    /// one, the repository's images need a signature by one of them.
    pub fn cosign_keys(&self, repository: &str) -> Result<cosign::Keys> {
        let dirs = self.chains("cosign.d", repository);
        let mut keys = cosign::Keys::default();
        for file in in_force(&dirs, COSIGN_DIGITS, cosign::MAX_KEY)? {
            keys.required = true;
            match cosign_key(&file) {
                Ok(key) => keys.keys.push(key),
                Err(why) => keys.notes.push(unusable(&file.path, &why)),
            }
        }
        Ok(keys)
    }

    fn dirs(&self, below: &str) -> Vec<PathBuf> {
        let roots = self.roots.iter();
        roots.map(|root| base(root).join(below)).collect()
    }

    /// For each root, the directories of all prefixes of a name.
    fn chains(&self, below: &str, name: &str) -> Vec<PathBuf> {
        let bases = self.dirs(below).into_iter();
        bases.flat_map(|base| files::chain(&base, name)).collect()
    }

    /// Writes a key below the configuration directory `root`; returns the file's
    /// path.
    pub fn add(root: &Path, scope: &Scope, key: &openpgp::PublicKey) -> Result<PathBuf> {
        let dir = match scope {
            Scope::Root => base(root).join("root.d"),
            Scope::Prefix(prefix) => below(&base(root).join("prefix.d"), prefix.as_str())?,
        };
        files::write(&dir, key.fingerprint(), key.armored())
    }

    /// The same for a cosign key; `prefix` is `<registry>[/<repository…>]`.
    pub fn add_cosign(root: &Path, prefix: &str, key: &cosign::PublicKey) -> Result<PathBuf> {
        let prefix = cosign::prefix(prefix)?;
        let dir = below(&base(root).join("cosign.d"), &prefix)?;
        files::write(&dir, key.fingerprint(), key.pem().as_bytes())
    }
}

fn base(root: &Path) -> PathBuf {
    root.join("trustedkeys")
}

/// The directory of a prefix.
fn below(base: &Path, prefix: &str) -> Result<PathBuf> {
    let mut components = prefix.split('/');
    if !components.all(files::is_component) {
        return Err(Fault::usage(format!(
            "prefix {} has an empty component, \".\" or \"..\"",
            quote(prefix)
        )));
    }
    Ok(base.join(prefix))
}

/// The files that count, by name: the last one of each name, unless it is empty.
fn in_force(dirs: &[PathBuf], digits: usize, max: usize) -> Result<Vec<KeyFile>> {
    let mut files = BTreeMap::new();
    for dir in dirs {
        for file in files::list(dir, digits, max)? {
            match file.content {
                Content::Empty => files.remove(&file.name),
                _ => files.insert(file.name.clone(), file),
            };
        }
    }
    Ok(files.into_values().collect())
}

fn bytes(file: &KeyFile) -> Result<&[u8], String> {
    match &file.content {
        Content::Bytes(bytes) => Ok(bytes),
        Content::Bad(why) => Err(why.clone()),
        Content::Empty => Ok(&[]),
    }
}

/// The key that the file is named after; 1.30 did not use further ones either.
fn named_key(file: &KeyFile) -> Result<openpgp::PublicKey, String> {
    let keys = openpgp::PublicKey::parse(bytes(file)?).map_err(|fault| fault.cause)?;
    let first = keys.first().map(|key| key.fingerprint().to_string());
    keys.into_iter()
        .find(|key| key.fingerprint() == file.name)
        .ok_or_else(|| format!("its key is {}", first.unwrap_or_default()))
}

fn cosign_key(file: &KeyFile) -> Result<cosign::PublicKey, String> {
    let key = cosign::PublicKey::parse_pem(bytes(file)?).map_err(|fault| fault.cause)?;
    match key.fingerprint() == file.name {
        true => Ok(key),
        false => Err(format!("its key is {}", key.fingerprint())),
    }
}

fn unusable(path: &Path, why: &str) -> String {
    format!("not trusting the key file {}: {why}", path.display())
}

#[cfg(all(test, feature = "trust"))]
#[path = "keystore_tests.rs"]
mod tests;
