//! Makes the host pass packets on between its links.
//!
//! Written to `/proc/sys/net`, and only when it is off: some hosts have these
//! files read-only. Switching IPv6 forwarding on makes a host stop listening to
//! router advertisements, by which it may have its own default route; so links
//! that listen are first told to go on listening.

use crate::attach::Site;
use model::{Fault, fault::Result};
use std::fs;

const V4: &str = "/proc/sys/net/ipv4/ip_forward";
const V6: &str = "/proc/sys/net/ipv6/conf/all/forwarding";
const V6_CONF: &str = "/proc/sys/net/ipv6/conf";

pub(super) fn enable(site: &Site<'_>, v4: bool, v6: bool) -> Result<()> {
    if v4 && !holds(V4, "1") {
        write(V4, "1")?;
    }
    if v6 && !holds(V6, "1") {
        keep_listening(site)?;
        write(V6, "1")?;
    }
    Ok(())
}

fn keep_listening(site: &Site<'_>) -> Result<()> {
    let mut raised = Vec::new();
    let links = fs::read_dir(V6_CONF).map_err(|err| Fault::io("read", V6_CONF, err))?;
    for link in links.flatten() {
        let name = link.file_name();
        let path = link.path().join("accept_ra");
        let path = path.to_string_lossy();
        // A link that has gone in the meantime holds nothing.
        if name != "all" && holds(&path, "1") {
            write(&path, "2")?;
            raised.push(name.to_string_lossy().into_owned());
        }
    }
    if !raised.is_empty() {
        raised.sort();
        site.note(format!(
            "IPv6 forwarding switched on; accept_ra raised to 2 on {} so that router advertisements are still heard",
            raised.join(", ")
        ));
    }
    Ok(())
}

/// A link of the host that leads to pods is no place to learn routes from: a
/// router advertisement of a pod could draw the host's traffic to itself.
pub(super) fn ignore_routers(link: &str) -> Result<()> {
    let path = format!("{V6_CONF}/{link}/accept_ra");
    match fs::write(&path, "0") {
        Err(err) if err.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(_) if holds(&path, "0") => Ok(()),
        other => other.map_err(|err| Fault::io("write", &path, err)),
    }
}

fn holds(path: &str, value: &str) -> bool {
    fs::read_to_string(path).is_ok_and(|text| text.trim_end() == value)
}

fn write(path: &str, value: &str) -> Result<()> {
    fs::write(path, value).map_err(|err| {
        Fault::io("write", path, err).hint(format!("set {path} to {value} on this host"))
    })
}
