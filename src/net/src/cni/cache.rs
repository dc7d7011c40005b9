//! What was asked of CNI programs and what they answered, one file per
//! attachment, in the form that other runtimes have.
//!
//! Leaving a network needs it: the forwarded ports, the arguments, the result.
//! It is written before the first program runs, so that a killed start can be
//! undone as well. The file's name is ambiguous, since names may contain `-`:
//! what counts is the triple inside. An entry that is damaged, or another's, is
//! ignored with a note.

use crate::Network;
use crate::attach::Site;
use model::json::{self, Cursor};
use model::text::quote;
use model::{Fault, Value, base64, fault::Result};
use rustix::fs::{CWD, Mode, OFlags, openat};
use std::fs::{DirBuilder, File};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;

const KIND: &str = "cniCacheV1";
/// A configuration in base64 and a result, with room to spare.
const MAX_BYTES: u64 = 8 << 20;

/// An entry as it was read.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Entry {
    /// The file that the network was configured by.
    pub(crate) config: Vec<u8>,
    /// `K=V;K=V`
    pub(crate) args: String,
    /// An object, or null.
    pub(crate) capabilities: Value,
    /// None: the attachment never was complete.
    pub(crate) result: Option<Value>,
}

fn name(site: &Site<'_>, network: &Network, if_name: &str) -> String {
    format!("{}-{}-{if_name}", network.name, site.id)
}

fn path(site: &Site<'_>, network: &Network, if_name: &str) -> PathBuf {
    site.dirs.results.join(name(site, network, if_name))
}

/// Where an entry is written before it takes its name.
fn draft(site: &Site<'_>, network: &Network, if_name: &str) -> PathBuf {
    let name = name(site, network, if_name);
    site.dirs.results.join(format!(".{name}.tmp"))
}

/// Writes the entry, in the place of an older one.
pub(crate) fn save(
    site: &Site<'_>,
    network: &Network,
    if_name: &str,
    capabilities: &Value,
    result: Option<&Value>,
) -> Result<()> {
    let dir = &site.dirs.results;
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(dir)
        .map_err(|err| Fault::io("mkdir", dir.display(), err))?;
    let text = json::to_compact(&document(site, network, if_name, capabilities, result));
    let (draft, path) = (draft(site, network, if_name), path(site, network, if_name));
    let flags =
        OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let written = openat(CWD, &draft, flags, Mode::RUSR | Mode::WUSR)
        .map_err(std::io::Error::from)
        .and_then(|fd| File::from(fd).write_all(text.as_bytes()))
        .and_then(|()| std::fs::rename(&draft, &path));
    written.map_err(|err| {
        let _ = std::fs::remove_file(&draft);
        Fault::io("write", path.display(), err)
    })
}

fn document(
    site: &Site<'_>,
    network: &Network,
    if_name: &str,
    capabilities: &Value,
    result: Option<&Value>,
) -> Value {
    let pairs = network
        .args
        .split(';')
        .filter_map(|pair| pair.split_once('='));
    let pairs: Vec<Value> = pairs
        .map(|(key, value)| Value::from(vec![key, value]))
        .collect();
    let mut fields = vec![
        ("kind", Value::from(KIND)),
        ("containerId", site.id.into()),
        ("config", base64::encode(&network.text).into()),
        ("ifName", if_name.into()),
        ("networkName", network.name.as_str().into()),
        ("netns", site.netns_path.into()),
    ];
    if !pairs.is_empty() {
        fields.push(("cniArgs", Value::Array(pairs)));
    }
    if capabilities.as_object().is_some_and(|all| !all.is_empty()) {
        fields.push(("capabilityArgs", capabilities.clone()));
    }
    fields.extend(result.map(|result| ("result", result.clone())));
    Value::from_iter(fields)
}

/// The entry of this very attachment, if there is one.
pub(crate) fn load(site: &Site<'_>, network: &Network, if_name: &str) -> Option<Entry> {
    let name = name(site, network, if_name);
    let read = sys::fs::InRoot::at(&site.dirs.results).and_then(|dir| dir.read(&name, MAX_BYTES));
    let entry = match read {
        Err(err) if err.kind() == ErrorKind::NotFound => return None,
        Err(err) => Err(Fault::io("read", &name, err)),
        Ok(bytes) => json::parse(&bytes).and_then(|value| entry(&value, site, network, if_name)),
    };
    entry
        .inspect_err(|fault| {
            let path = path(site, network, if_name);
            site.note(format!(
                "ignoring cached result {}: {fault}",
                path.display()
            ));
        })
        .ok()
}

fn entry(value: &Value, site: &Site<'_>, network: &Network, if_name: &str) -> Result<Entry> {
    let mut fields = Cursor::new(value).fields()?;
    let wanted = [
        ("kind", KIND),
        ("containerId", site.id),
        ("ifName", if_name),
        ("networkName", network.name.as_str()),
    ];
    for (key, want) in wanted {
        let place = fields.need(key)?;
        let found = place.str()?;
        if found != want {
            return Err(place.fault(format!("{} instead of {}", quote(found), quote(want))));
        }
    }
    let args = fields.list_of("cniArgs", |pair| {
        let pair = pair.list_of(|text| text.c_string())?;
        Ok(pair.join("="))
    })?;
    let object = |place: Cursor<'_>| {
        place.fields()?;
        Ok(place.value().clone())
    };
    let capabilities = fields.take("capabilityArgs").map(object);
    Ok(Entry {
        config: base64::decode(fields.need("config")?.str()?)?,
        args: args.join(";"),
        capabilities: capabilities.transpose()?.unwrap_or_default(),
        result: fields.take("result").map(object).transpose()?,
    })
}

/// Forgets the attachment. Nothing there is no failure.
pub(crate) fn remove(site: &Site<'_>, network: &Network, if_name: &str) -> Result<()> {
    for path in [draft(site, network, if_name), path(site, network, if_name)] {
        // On a read-only file system the kernel does not look whether it is there.
        let gone = || {
            let there = std::fs::symlink_metadata(&path);
            there.is_err_and(|err| err.kind() == ErrorKind::NotFound)
        };
        match std::fs::remove_file(&path) {
            Err(err) if err.kind() == ErrorKind::ReadOnlyFilesystem && gone() => {}
            Err(err) if err.kind() != ErrorKind::NotFound => {
                return Err(Fault::io("remove", path.display(), err));
            }
            _ => {}
        }
    }
    Ok(())
}
