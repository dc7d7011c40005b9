//! Leaving a pod's networks by what its directory says of them: at its end, or
//! from gc after a kill at any point of their making.

use std::cell::RefCell;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use model::{Fault, fault::Result};
use net::attach::{self, Site};
use net::{firewall, netns};
use pod::{NetInfo, layout};
use rustix::fs::AtFlags;

use super::network::{PATIENCE, absent, dirs, tell};
use crate::load;

/// Leaves all networks that the pod's records name, in reverse order, and
/// removes the namespace's file. Goes on after a failure and returns the first.
pub fn leave(
    dir: &OwnedFd,
    netns: Option<BorrowedFd<'_>>,
    id: &str,
    local_config: Option<&str>,
    debug: bool,
) -> Result<()> {
    // Empty where it is not mounted, which says that it is gone.
    let path = netns::open(id).map_or_else(String::new, |_| netns::path(id));
    let dirs = dirs(local_config);
    let site = Site {
        id,
        netns,
        netns_path: &path,
        dirs: &dirs,
        mappings: &[],
        patience: PATIENCE,
        notes: RefCell::default(),
    };
    let mut first = Ok(());
    // Empty: written just before a power cut.
    let infos = load::read_if_there(dir.as_fd(), layout::NET_INFO).and_then(|bytes| match bytes {
        Some(bytes) if !bytes.is_empty() => pod::netinfo::parse(&bytes),
        _ => Ok(Vec::new()),
    });
    match infos {
        Ok(infos) => {
            for info in infos.iter().rev() {
                let done = leave_one(dir, &site, info);
                tell(debug, &site);
                first = first.and(done);
            }
        }
        Err(fault) => first = Err(fault),
    }
    first.and(netns::unmount(id))
}

/// The copy of the configuration says how, and goes when it is done.
fn leave_one(dir: &OwnedFd, site: &Site<'_>, info: &NetInfo) -> Result<()> {
    if without_links(info) {
        return Ok(());
    }
    // Its own records, but a name from them must not lead elsewhere.
    let file = info
        .conf
        .strip_prefix("net/")
        .filter(|file| !file.contains('/') && *file != "..");
    let Some(file) = file else {
        return Err(Fault::corrupt(format!(
            "net-info.json: bad netConf {:?}",
            info.conf
        )));
    };
    let Some(text) = load::read_if_there(dir.as_fd(), &info.conf)? else {
        return Ok(());
    };
    let mut network = net::conf::parse(file, &info.conf, &text)?;
    network.args = info.args.clone();
    attach::del(site, &network, &info.if_name)
        .map_err(|fault| fault.message(format!("error deleting {:?}", info.name)))?;
    match rustix::fs::unlinkat(dir, info.conf.as_str(), AtFlags::empty()) {
        Ok(()) | Err(rustix::io::Errno::NOENT) => Ok(()),
        Err(err) => Err(Fault::io("remove", &info.conf, err)),
    }
}

/// Such a network names no configuration, and is gone with the pod's processes.
fn without_links(info: &NetInfo) -> bool {
    info.conf.is_empty()
}

/// For gc: undoes what a pod that was killed has left.
pub fn tear_down(dir: &OwnedFd, id: &str, local_config: Option<&str>, debug: bool) -> Result<()> {
    let Some(bytes) = load::read_if_there(dir.as_fd(), layout::NET_INFO)? else {
        return Ok(());
    };
    // What it says else, also that it is damaged, is for `leave`.
    let only_without_links =
        |infos: Vec<NetInfo>| !infos.is_empty() && infos.iter().all(without_links);
    if pod::netinfo::parse(&bytes).is_ok_and(only_without_links) {
        return Ok(());
    }
    if !cfg!(feature = "net") {
        return Err(absent());
    }
    let netns = netns::open(id);
    let rules = firewall::remove(id);
    let rest = leave(
        dir,
        netns.as_ref().map(AsFd::as_fd),
        id,
        local_config,
        debug,
    );
    rules
        .map_err(|fault| fault.message("error removing forwarded ports"))
        .and(rest)
}
