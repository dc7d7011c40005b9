//! Short names for overlay lower directories. mount(2) takes one page of
//! options, so sixty layers by full path do not fit: `l/<8 digits>` is a symlink
//! to `../layers/<id>/rootfs` or `../trees/<id>/rootfs`.
//!
//! The digits are eight of the 64 of the ID: the first eight, or where another
//! ID has these, the next eight, and so on. So a link is found without an index.

use crate::files;
use crate::store::SHORT;
use rustix::io::Errno;
use std::io;
use std::os::fd::BorrowedFd;

const DIGITS: usize = 8;

/// The names that a link to `<area>/<name>/rootfs` may have, best first.
fn candidates(name: &str) -> impl Iterator<Item = String> {
    let hex = name.rsplit('-').next().unwrap_or(name);
    (0..hex.len() / DIGITS)
        .filter_map(|at| hex.get(at * DIGITS..(at + 1) * DIGITS))
        .map(|digits| format!("{SHORT}/{digits}"))
}

fn target(area: &str, name: &str) -> String {
    format!("../{area}/{name}/rootfs")
}

fn leads_to(root: BorrowedFd<'_>, link: &str, target: &str) -> io::Result<Option<bool>> {
    match rustix::fs::readlinkat(root, link, Vec::new()) {
        Ok(there) => Ok(Some(there.as_bytes() == target.as_bytes())),
        Err(Errno::NOENT) => Ok(None),
        Err(err) => Err(err.into()),
    }
}

/// The link to a directory, relative to the store; made if it is missing. `None`
/// if all its names are taken by others or it cannot be made: then the full path
/// has to do.
pub(crate) fn link(root: BorrowedFd<'_>, area: &str, name: &str) -> Option<String> {
    let target = target(area, name);
    for link in candidates(name) {
        match leads_to(root, &link, &target) {
            Ok(Some(true)) => return Some(link),
            Ok(Some(false)) => continue,
            Ok(None) => {}
            Err(_) => return None,
        }
        match rustix::fs::symlinkat(&target, root, &link) {
            Ok(()) => return Some(link),
            // Somebody was faster; with the same target, one hopes.
            Err(Errno::EXIST) => {
                if leads_to(root, &link, &target).ok().flatten() == Some(true) {
                    return Some(link);
                }
            }
            Err(_) => return None,
        }
    }
    None
}

/// Removes the link to a directory that is about to go.
pub(crate) fn unlink(root: BorrowedFd<'_>, area: &str, name: &str) -> io::Result<()> {
    let target = target(area, name);
    for link in candidates(name) {
        if leads_to(root, &link, &target)? == Some(true) {
            files::unlink(root, &link)?;
        }
    }
    Ok(())
}
