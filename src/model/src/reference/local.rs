//! Images in local archives and OCI layouts: `./layout`, `layout.tar:v1`,
//! `image.tar@sha256:…`, `image.tar@0`, `file:///srv/image.tar:redis:7`.
//!
//! Asked only about words that are none of rkt's own forms. What exists decides
//! where the path ends: the longest one wins, so a colon may stand in a name.

use super::{Reference, absolute, file_path, split_scheme};
use crate::digest::Digest;
use crate::oci::{Pick, layout};

/// More separators than a path and a reference have together.
const MAX_SPLITS: usize = 16;
/// Longest text behind a path: a name, a tag and a digest.
const MAX_PICK: usize = 512;

/// `exists` tells regular files; a layout is a directory that has its header.
pub(super) fn find(text: &str, exists: &dyn Fn(&str) -> bool, cwd: &str) -> Option<Reference> {
    if text.is_empty() || text.chars().any(char::is_control) {
        return None;
    }
    let path = match split_scheme(text) {
        Some((scheme, rest)) if scheme == "file" => file_path(rest)?,
        _ => absolute(text, cwd),
    };
    let there = |path: &str| exists(path) || exists(&format!("{path}/{}", layout::HEADER));
    if there(&path) {
        return Some(Reference::Local { path, pick: None });
    }
    let splits = path.rmatch_indices([':', '@']).take(MAX_SPLITS);
    for (at, separator) in splits {
        let (path, rest) = (&path[..at], &path[at + 1..]);
        if rest.len() <= MAX_PICK && !path.ends_with('/') && there(path) {
            let path = path.to_string();
            return Some(Reference::Local {
                path,
                pick: Some(pick(separator, rest)?),
            });
        }
    }
    None
}

fn pick(separator: &str, text: &str) -> Option<Pick> {
    let name = |b: u8| b.is_ascii_alphanumeric() || b"-._:@/+[]".contains(&b);
    match separator {
        // With the path before it this would be shown as the path of an ACI.
        _ if text.ends_with(".aci") => None,
        _ if text.is_empty() || !text.bytes().all(name) => None,
        ":" => Some(Pick::Tag(text.to_string())),
        _ if text.bytes().all(|b| b.is_ascii_digit()) => text.parse().ok().map(Pick::Place),
        _ => Digest::parse(text).ok().map(Pick::Digest),
    }
}
