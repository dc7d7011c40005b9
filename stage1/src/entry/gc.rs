//! `gc`: takes down what a pod left outside its directory.
//!
//! Idempotent, and right after a kill at any point: what is to be undone was
//! written down before it was done.

use model::{Fault, fault::Result};
use pod::entry::GcArgs;
use pod::layout;

use crate::outer::network;

pub fn gc(words: &[String]) -> Result<i32> {
    let args = GcArgs::parse(words)?;
    match std::fs::read_to_string(layout::CGROUPS) {
        Ok(record) => {
            let groups = cgroup::open(&record, &args.uuid)?;
            // The pod's lock is free, so its processes are gone or going.
            groups.kill()?;
            groups.remove()?;
        }
        Err(err) if err.kind() == std::io::ErrorKind::NotFound => {}
        Err(err) => return Err(Fault::io("read", layout::CGROUPS, err)),
    }
    let dir = crate::load::open_here()?;
    let local = args.local_config.as_deref();
    network::tear_down(&dir, args.uuid.as_str(), local, args.debug)?;
    Ok(0)
}
