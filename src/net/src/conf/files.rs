//! The files of a configuration directory.
//!
//! A name leads to a regular file, through symlinks if need be, or is passed
//! over if it leads to a directory; anything else is an error. Opening never
//! waits for the other end of a fifo.

use super::decode::{self, MAX_FILE};
use super::{Network, Plugin, loading};
use model::{Fault, fault::Result};
use rustix::fs::{FileType, Mode, OFlags};
use std::fs::File;
use std::io::Read;
use std::path::Path;

/// Most configuration files in one directory.
const MAX_FILES: usize = 1000;

/// All networks of a directory in the order of the files' names; none when
/// there is no directory.
pub(super) fn read_dir(dir: &Path) -> Result<Vec<Network>> {
    let mut networks = Vec::new();
    for file in names(dir, &[".conf", ".conflist"])? {
        let path = dir.join(&file);
        let origin = path.display().to_string();
        let Some(text) = read_regular(&path, MAX_FILE).map_err(|fault| loading(&origin, fault))?
        else {
            continue;
        };
        let mut beside = |name: &str| plugins_of(&dir.join(name));
        let network = decode::network(&file, &origin, &text, &mut beside);
        networks.push(network.map_err(|fault| loading(&origin, fault))?);
    }
    Ok(networks)
}

/// The plugins of a list that lie in a directory of the network's name.
fn plugins_of(dir: &Path) -> Result<Vec<Plugin>> {
    let mut plugins = Vec::new();
    // A program of a plugin may be called as a network is.
    if !dir.is_dir() {
        return Ok(plugins);
    }
    for file in names(dir, &[".conf"])? {
        let path = dir.join(file);
        let place = |fault: Fault| Fault {
            cause: format!("{}: {}", path.display(), fault.cause),
            ..fault
        };
        if let Some(text) = read_regular(&path, MAX_FILE).map_err(place)? {
            plugins.push(decode::lone_plugin(&text).map_err(place)?);
        }
        if plugins.len() > decode::MAX_PLUGINS {
            break;
        }
    }
    Ok(plugins)
}

/// What ends on one of these, sorted by bytes.
fn names(dir: &Path, ends: &[&str]) -> Result<Vec<String>> {
    let fault = |err| Fault::io("open", dir.display(), err);
    let entries = match std::fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(err) if err.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(err) => return Err(fault(err)),
    };
    let mut names = Vec::new();
    for entry in entries {
        let name = entry.map_err(fault)?.file_name();
        let lossy = name.to_string_lossy();
        if !ends.iter().any(|end| lossy.ends_with(end)) {
            continue;
        }
        if names.len() == MAX_FILES {
            return Err(Fault::invalid(format!(
                "{}: more than {MAX_FILES} network configurations",
                dir.display()
            )));
        }
        match name.into_string() {
            Ok(name) => names.push(name),
            Err(name) => {
                let origin = dir.join(name).display().to_string();
                let fault = Fault::invalid("its name is not UTF-8");
                return Err(loading(&origin, fault));
            }
        }
    }
    names.sort();
    Ok(names)
}

/// The content of a regular file of at most `limit` bytes; `None` for a
/// directory.
pub(crate) fn read_regular(path: &Path, limit: usize) -> Result<Option<Vec<u8>>> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let fault = |verb, err: std::io::Error| Fault::io(verb, path.display(), err);
    let fd =
        rustix::fs::open(path, flags, Mode::empty()).map_err(|err| fault("open", err.into()))?;
    let stat = rustix::fs::fstat(&fd).map_err(|err| fault("stat", err.into()))?;
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => {}
        FileType::Directory => return Ok(None),
        _ => return Err(Fault::invalid("not a regular file")),
    }
    let mut bytes = Vec::new();
    let mut file = File::from(fd).take(limit as u64 + 1);
    file.read_to_end(&mut bytes)
        .map_err(|err| fault("read", err))?;
    if bytes.len() > limit {
        return Err(Fault::invalid(format!("larger than {limit} bytes")));
    }
    Ok(Some(bytes))
}
