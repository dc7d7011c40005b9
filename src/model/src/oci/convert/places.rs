//! Volumes as mount points and exposed ports as ports: texts of an image config
//! in, named places of an appc manifest out, sorted by name.

use crate::app::{MountPoint, Port};
use crate::name::AcName;
use crate::text::clean_path;
use std::collections::{BTreeSet, HashMap, HashSet};

/// A name is cut here, so that a number fits behind it.
const MAX_NAME: usize = 200;

/// The absolute path of a volume. A volume over the whole root would hide the
/// image and is none.
pub(super) fn volume_path(text: &str) -> Option<String> {
    let path = clean_path(&format!("/{text}"));
    (path != "/").then_some(path)
}

/// `/var/lib/x` is named `volume-var-lib-x`; of several with one name the later
/// ones, by path, are numbered.
pub(super) fn mount_points(volumes: &[String]) -> Vec<MountPoint> {
    let paths: BTreeSet<String> = volumes
        .iter()
        .filter_map(|text| volume_path(text))
        .collect();
    let mut taken: HashSet<String> = HashSet::new();
    let mut next: HashMap<String, usize> = HashMap::new();
    let mut list = Vec::with_capacity(paths.len());
    for path in paths {
        let Some(base) = name(&format!("volume{path}")) else {
            continue;
        };
        let mut name = base.clone();
        while !taken.insert(name.to_string()) {
            let number = next.entry(base.to_string()).or_insert(0);
            *number += 1;
            let Ok(numbered) = AcName::new(&format!("{base}-{number}")) else {
                break;
            };
            name = numbered;
        }
        list.push(MountPoint {
            name,
            path,
            read_only: false,
            extra: Vec::new(),
        });
    }
    list.sort_by(|a, b| a.name.cmp(&b.name));
    list
}

/// `80/tcp`, `53`, `8000-8010/udp`.
pub(super) fn ports(keys: &[String]) -> Vec<Port> {
    let mut taken: HashSet<AcName> = HashSet::new();
    let mut list: Vec<Port> = keys
        .iter()
        .filter_map(|key| port(key))
        .filter(|port| taken.insert(port.name.clone()))
        .collect();
    list.sort_by(|a, b| a.name.cmp(&b.name));
    list
}

/// `None` for what is no port, or no range that appc can say.
pub(super) fn port(key: &str) -> Option<Port> {
    let (range, protocol) = key.split_once('/').unwrap_or((key, "tcp"));
    let protocol = protocol.to_ascii_lowercase();
    if !matches!(protocol.as_str(), "tcp" | "udp" | "sctp") {
        return None;
    }
    let number = |text: &str| {
        let digits = (1..=5).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
        text.parse::<u16>().ok().filter(|port| digits && *port > 0)
    };
    let (first, last) = range.split_once('-').unwrap_or((range, range));
    let (first, last) = (number(first)?, number(last)?);
    let count = last.checked_sub(first)?.checked_add(1)?;
    // The sum may not be above 65536, which a range up to the last port would be.
    let fits = u32::from(first) + u32::from(count) <= 65536;
    fits.then_some(Port {
        name: name(key)?,
        protocol,
        port: first,
        count,
        socket_activated: false,
        extra: Vec::new(),
    })
}

fn name(text: &str) -> Option<AcName> {
    let end = text
        .char_indices()
        .nth(MAX_NAME)
        .map_or(text.len(), |(at, _)| at);
    AcName::sanitize(&text[..end]).ok()
}
