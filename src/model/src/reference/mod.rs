//! Image references: what a user types to name an image.
//!
//! A hash, a path, a URL, a docker reference, an appc name with labels, or one
//! of these spelled out as a `cimd:` distribution URI. Which of them a word is
//! follows rkt's rules to the letter, heuristic included; the only question to
//! the outside, whether a regular file of that name exists, is an argument.
//! Archives and OCI layouts, which rkt did not know, are only found among the
//! words that it refused.

mod cimd;
mod local;
mod name;

pub use name::parse_name;

use crate::docker::DockerReference;
use crate::fault::{Fault, Result};
use crate::id::ImageId;
use crate::label::Labels;
use crate::name::AcIdentifier;
use crate::oci::Pick;
use crate::text::{clean_path, quote, unescape};
use std::fmt;

/// A word naming an image, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reference {
    /// An image ID or the beginning of one.
    Hash(String),
    /// An absolute path of an ACI file.
    Path(String),
    /// An http or https URL of an ACI file.
    Url(String),
    /// An OCI layout (a directory, or an archive of one) or what `docker save`
    /// writes: an absolute path that exists, and which image in it.
    Local {
        path: String,
        pick: Option<Pick>,
    },
    /// What follows `docker://`; `DockerReference::parse` accepts it.
    Docker(String),
    Name {
        name: AcIdentifier,
        labels: Labels,
    },
}

impl Reference {
    /// For `run`, `prepare` and the stage1 flags: a hash is a hash.
    pub fn parse(text: &str, exists: &dyn Fn(&str) -> bool, cwd: &str) -> Result<Reference> {
        if ImageId::is_hash(text) {
            return Ok(Reference::Hash(text.to_string()));
        }
        Reference::parse_for_fetch(text, exists, cwd)
    }

    /// For `fetch`, which takes a hash for an appc name.
    pub fn parse_for_fetch(
        text: &str,
        exists: &dyn Fn(&str) -> bool,
        cwd: &str,
    ) -> Result<Reference> {
        Reference::read(text, exists, cwd)
            .or_else(|fault| local::find(text, exists, cwd).ok_or(fault))
    }

    fn read(text: &str, exists: &dyn Fn(&str) -> bool, cwd: &str) -> Result<Reference> {
        if text.chars().any(char::is_control) {
            return Err(Fault::invalid(format!(
                "failed to parse image url {}",
                quote(text)
            )));
        }
        let Some((scheme, rest)) = split_scheme(text) else {
            return if looks_like_path(text, exists) {
                read_path(&absolute(text, cwd))
            } else {
                read_name(text)
            };
        };
        match scheme.as_str() {
            "file" => file_path(rest).map_or_else(|| Err(invalid(text)), |path| read_path(&path)),
            "http" | "https" => read_url(text, rest),
            "docker" => {
                let name = rest.strip_prefix("//").unwrap_or(rest);
                DockerReference::parse(name)?;
                Ok(Reference::Docker(name.to_string()))
            }
            "cimd" => cimd::parse(text, rest),
            // `app:v1`: what stands before the colon only looks like a scheme.
            _ => read_name(text),
        }
    }

    /// For `image …` and the like, which look in the store alone: a hash or a
    /// name, nothing else.
    pub fn parse_stored(text: &str) -> Result<Reference> {
        if ImageId::is_hash(text) {
            return Ok(Reference::Hash(text.to_string()));
        }
        let (name, labels) = parse_name(text)?;
        Ok(Reference::Name { name, labels })
    }

    /// The distribution URI (`cimd:…`), by which two references compare.
    /// `None` for a hash, which names no distribution, and for an archive that
    /// rkt had no type for.
    pub fn to_cimd(&self) -> Option<String> {
        cimd::write(self)
    }
}

impl fmt::Display for Reference {
    /// The short form that parses back to the same reference.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reference::Hash(text) | Reference::Path(text) | Reference::Url(text) => {
                f.write_str(text)
            }
            Reference::Local { path, pick: None } => f.write_str(path),
            Reference::Local {
                path,
                pick: Some(pick),
            } => write!(f, "{path}{pick}"),
            Reference::Docker(text) => match DockerReference::parse(text) {
                Ok(reference) => write!(f, "docker://{reference}"),
                Err(_) => write!(f, "docker://{text}"),
            },
            Reference::Name { name, labels } => f.write_str(&name::to_text(name, labels)),
        }
    }
}

fn invalid(text: &str) -> Fault {
    Fault::invalid(format!("invalid image string {}", quote(text)))
}

/// A URL's scheme, in lower case, and what follows its colon.
fn split_scheme(text: &str) -> Option<(String, &str)> {
    let (scheme, rest) = text.split_once(':')?;
    let valid = scheme.starts_with(|c: char| c.is_ascii_alphabetic())
        && scheme
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-' | b'.'));
    valid.then(|| (scheme.to_ascii_lowercase(), rest))
}

/// Whether a word without a scheme is a path rather than a name.
fn looks_like_path(text: &str, exists: &dyn Fn(&str) -> bool) -> bool {
    if text.starts_with('/') || exists(text) {
        return true;
    }
    !text.contains(':') && (text.contains("./") || text.ends_with(".aci"))
}

/// The clean absolute path that a word means in a directory.
fn absolute(text: &str, cwd: &str) -> String {
    match text.starts_with('/') {
        true => clean_path(text),
        false => clean_path(&format!("{cwd}/{text}")),
    }
}

/// The path of a file URL without its scheme.
fn file_path(rest: &str) -> Option<String> {
    let path = rest.strip_prefix("//").map_or(rest, |rest| {
        // The host, if any, is of no interest.
        rest.find('/').map_or("", |at| &rest[at..])
    });
    unescape(strip_query(path), false)
        .filter(|path| path.starts_with('/') && !path.chars().any(char::is_control))
        .map(|path| clean_path(&path))
}

fn read_path(path: &str) -> Result<Reference> {
    if has_aci_suffix(path) {
        return Ok(Reference::Path(path.to_string()));
    }
    Err(invalid(&format!("file://{path}")).hint(
        "the name of an image file ends in .aci; OCI layouts and docker-save archives \
         are named by a path that exists",
    ))
}

fn read_url(text: &str, rest: &str) -> Result<Reference> {
    let rest = rest.strip_prefix("//").ok_or_else(|| invalid(text))?;
    let (host, path) = rest
        .find('/')
        .map(|at| rest.split_at(at))
        .ok_or_else(|| invalid(text))?;
    let path = unescape(strip_query(path), false).ok_or_else(|| invalid(text))?;
    if host.is_empty() || text.contains(' ') || !has_aci_suffix(&path) {
        return Err(invalid(text));
    }
    Ok(Reference::Url(text.to_string()))
}

fn strip_query(path: &str) -> &str {
    path.split(['?', '#']).next().unwrap_or(path)
}

fn has_aci_suffix(path: &str) -> bool {
    path.ends_with(".aci")
}

fn read_name(text: &str) -> Result<Reference> {
    let (name, labels) = parse_name(text).map_err(|fault| {
        Fault::invalid(format!(
            "invalid appc image string {}: {}",
            quote(text),
            fault.cause
        ))
    })?;
    Ok(Reference::Name { name, labels })
}

#[cfg(test)]
mod tests;
