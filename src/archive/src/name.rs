//! Names of archive entries: cleaned, and never a way out.
//!
//! `./a//b/` becomes `a/b`. An absolute name, a `..` anywhere and a NUL are
//! refused before any cleaning could hide them.

use model::fault::{Fault, Result};

/// The longest path that the kernel takes, without its NUL.
pub(crate) const PATH_MAX: usize = 4095;

/// A name for a message: readable whatever bytes it has.
pub(crate) fn shown(name: &[u8]) -> String {
    String::from_utf8_lossy(&name[..name.len().min(PATH_MAX)])
        .escape_debug()
        .to_string()
}

pub(crate) fn refused(name: &[u8], why: &str) -> Fault {
    Fault::refused(format!("entry \"{}\" {why}", shown(name)))
}

/// What no entry may be called, in whatever kind of archive.
pub(crate) fn sound(name: &[u8]) -> Result<()> {
    if name.is_empty() {
        return Err(Fault::invalid("an entry of the archive has no name"));
    }
    if name.len() > PATH_MAX {
        return Err(refused(name, "has too long a name"));
    }
    if name.contains(&0) {
        return Err(refused(name, "has a NUL in its name"));
    }
    Ok(())
}

/// The components joined by one `/`; empty for the root of the archive.
pub(crate) fn cleaned(name: &[u8]) -> Result<Vec<u8>> {
    sound(name)?;
    let refuse = |why: &str| Err(refused(name, why));
    if name.starts_with(b"/") {
        return refuse("has an absolute name");
    }
    let mut clean = Vec::with_capacity(name.len());
    for part in name.split(|&b| b == b'/') {
        match part {
            b"" | b"." => {}
            b".." => return refuse("climbs out with \"..\""),
            part => {
                if !clean.is_empty() {
                    clean.push(b'/');
                }
                clean.extend_from_slice(part);
            }
        }
    }
    Ok(clean)
}

/// Where an entry of an image belongs.
pub(crate) enum Place<'n> {
    /// The archive's own root: says nothing.
    Top,
    Manifest,
    /// The root file system itself.
    Rootfs,
    /// Below `rootfs/`, without that prefix.
    Inside(&'n [u8]),
}

/// What whoever packed the image needs to know.
pub(crate) const LAYOUT: &str =
    "an image holds \"manifest\" and \"rootfs/\" and nothing else at its top";

/// Sorts a cleaned name; anything else in an image is refused.
pub(crate) fn placed(clean: &[u8]) -> Result<Place<'_>> {
    match clean {
        b"" => Ok(Place::Top),
        b"manifest" => Ok(Place::Manifest),
        b"rootfs" => Ok(Place::Rootfs),
        _ => match clean.strip_prefix(b"rootfs/") {
            Some(inside) => Ok(Place::Inside(inside)),
            None => Err(Fault::invalid(format!(
                "unrecognized file path in layout: \"{}\"",
                shown(clean)
            ))
            .hint(LAYOUT)),
        },
    }
}
