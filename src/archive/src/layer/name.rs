//! What the name of a layer's entry means: a path, or a deletion below.
//!
//! Unlike an image's, these names are cleaned as every reader of layers does:
//! absolute ones count from the root, `a/../b` is `b`; one that climbs above the
//! root is refused. Deletions are AUFS names (image-spec, "Whiteouts").

use model::fault::{Fault, Result};

use crate::name::{refused, shown, sound};

const WHITEOUT: &[u8] = b".wh.";
const OPAQUE: &[u8] = b".wh..wh..opq";
/// What AUFS kept for itself.
const RESERVED: &[u8] = b".wh..wh.";

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Meaning {
    /// Something is here; empty for the root.
    Entry(Vec<u8>),
    /// What lower layers have at this path is gone.
    Whiteout(Vec<u8>),
    /// What lower layers have in this directory is gone.
    Opaque(Vec<u8>),
    /// AUFS's own, nothing of the image.
    Reserved,
}

pub(super) fn meaning(name: &[u8]) -> Result<Meaning> {
    let mut path = cleaned(name)?;
    let (dir, last) = split(&path);
    let dir_len = dir.len();
    if last == OPAQUE {
        path.truncate(dir_len);
        return Ok(Meaning::Opaque(path));
    }
    if path
        .split(|&b| b == b'/')
        .any(|part| part.starts_with(RESERVED))
    {
        return Ok(Meaning::Reserved);
    }
    let Some(victim) = last.strip_prefix(WHITEOUT) else {
        return Ok(Meaning::Entry(path));
    };
    if matches!(victim, b"" | b"." | b"..") {
        return Err(Fault::refused(format!(
            "entry \"{}\" deletes no name",
            shown(name)
        )));
    }
    let victim = victim.to_vec();
    path.truncate(dir_len);
    Ok(Meaning::Whiteout(joined(&path, &victim)))
}

/// The components joined by one `/`; empty for the root.
pub(super) fn cleaned(name: &[u8]) -> Result<Vec<u8>> {
    sound(name)?;
    let refuse = |why: &str| Err(refused(name, why));
    let mut clean = Vec::with_capacity(name.len());
    for part in name.split(|&b| b == b'/') {
        match part {
            b"" | b"." => {}
            b".." if clean.is_empty() => return refuse("climbs out with \"..\""),
            b".." => pop(&mut clean),
            part => push(&mut clean, part),
        }
    }
    Ok(clean)
}

/// The directory and the last component.
pub(super) fn split(path: &[u8]) -> (&[u8], &[u8]) {
    match path.iter().rposition(|&b| b == b'/') {
        Some(at) => (&path[..at], &path[at + 1..]),
        None => (&path[..0], path),
    }
}

pub(super) fn push(path: &mut Vec<u8>, part: &[u8]) {
    if !path.is_empty() {
        path.push(b'/');
    }
    path.extend_from_slice(part);
}

pub(super) fn pop(path: &mut Vec<u8>) {
    path.truncate(path.iter().rposition(|&b| b == b'/').unwrap_or(0));
}

pub(super) fn joined(dir: &[u8], name: &[u8]) -> Vec<u8> {
    let mut path = Vec::with_capacity(dir.len() + 1 + name.len());
    path.extend_from_slice(dir);
    push(&mut path, name);
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_cleaned_and_whiteouts_understood() {
        let entry = |path: &str| Some(Meaning::Entry(path.into()));
        let gone = |path: &str| Some(Meaning::Whiteout(path.into()));
        let opaque = |path: &str| Some(Meaning::Opaque(path.into()));
        let long = "n/".repeat(2100);
        let rows = [
            ("./", entry("")),
            ("/", entry("")),
            ("./a//b/", entry("a/b")),
            ("/etc/passwd", entry("etc/passwd")),
            ("a/../b", entry("b")),
            ("a/..", entry("")),
            ("a/.wh", entry("a/.wh")),
            (".wh.a", gone("a")),
            ("./d/.wh.a", gone("d/a")),
            ("d/.wh.a/", gone("d/a")),
            ("d/.wh..x", gone("d/.x")),
            ("d/.wh....", gone("d/...")),
            (".wh..wh..opq", opaque("")),
            ("d/.wh..wh..opq", opaque("d")),
            (".wh..wh.plnk", Some(Meaning::Reserved)),
            (".wh..wh.plnk/12.34", Some(Meaning::Reserved)),
            ("d/.wh..wh.aufs", Some(Meaning::Reserved)),
            ("", None),
            ("a\0b", None),
            ("..", None),
            ("../x", None),
            ("/../x", None),
            ("a/../../x", None),
            (".wh.", None),
            ("d/.wh.", None),
            (".wh..", None),
            (".wh...", None),
            ("d/.wh...", None),
            (&long, None),
        ];
        for (name, wanted) in rows {
            assert_eq!(meaning(name.as_bytes()).ok(), wanted, "{name:?}");
        }
    }
}
