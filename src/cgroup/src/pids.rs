//! The pids controller: how many tasks, threads included, may live at once.

use crate::controller::Controller;
use crate::file;
use crate::limits::Setting;
use std::os::fd::AsFd;

/// Nothing runs with 0; other runtimes write 1 for it too.
pub(crate) fn settings(most: u64) -> Vec<Setting> {
    vec![Setting {
        controller: Controller::Pids,
        file: "pids.max",
        value: most.max(1).to_string(),
    }]
}

pub(crate) fn used(dir: impl AsFd) -> Option<u64> {
    file::number(dir, "pids.current")
}
