//! `gc`: takes down what a pod left outside its directory.
//!
//! Idempotent, and right after a kill at any point: what is to be undone was
//! written down before it was done.

use model::{Fault, fault::Result};
use pod::entry::{GcArgs, NETWORK_STAYS};
use pod::layout;

use crate::outer::leave;

pub fn gc(words: &[String]) -> Result<i32> {
    let args = GcArgs::parse(words)?;
    let cgroups = remove_cgroups(&args);
    let dir = crate::load::open_here()?;
    let local = args.local_config.as_deref();
    if let Err(fault) = leave::tear_down(&dir, args.uuid.as_str(), local, args.debug) {
        crate::say::fault("networking", &fault);
        return Ok(NETWORK_STAYS);
    }
    cgroups.map(|()| 0)
}

fn remove_cgroups(args: &GcArgs) -> Result<()> {
    match std::fs::read_to_string(layout::CGROUPS) {
        Ok(record) => {
            let groups = cgroup::open(&record, &args.uuid)?;
            // The pod's lock is free, so its processes are gone or going.
            groups.kill()?;
            groups.remove()
        }
        Err(err) if err.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(err) => Err(Fault::io("read", layout::CGROUPS, err)),
    }
}
