//! The memory controller: an upper bound in bytes, what is used, what was
//! killed for want of it.

use crate::controller::Controller;
use crate::file;
use crate::hierarchy::Version;
use crate::limits::Setting;
use model::{Fault, fault::Result};
use std::os::fd::AsFd;

/// The kernel counts pages and rounds down, so we write what it will show.
pub(crate) fn settings(version: Version, bytes: u64) -> Result<Vec<Setting>> {
    let page = rustix::param::page_size() as u64;
    let bytes = bytes / page * page;
    if bytes == 0 {
        return Err(Fault::invalid(format!(
            "a memory limit below one page ({page} bytes) runs nothing"
        )));
    }
    let file = match version {
        Version::V1 => "memory.limit_in_bytes",
        Version::V2 => "memory.max",
    };
    Ok(vec![Setting {
        controller: Controller::Memory,
        file,
        value: bytes.to_string(),
    }])
}

pub(crate) fn used(dir: impl AsFd) -> Option<u64> {
    file::number(&dir, "memory.current").or_else(|| file::number(&dir, "memory.usage_in_bytes"))
}

/// The most ever used; v2 tells since Linux 5.19.
pub(crate) fn peak(dir: impl AsFd) -> Option<u64> {
    file::number(&dir, "memory.peak").or_else(|| file::number(&dir, "memory.max_usage_in_bytes"))
}

/// Processes of this cgroup that the kernel killed because it was at its
/// limit; v1 tells since Linux 4.13.
pub(crate) fn oom_kills(dir: impl AsFd) -> Option<u64> {
    ["memory.events", "memory.oom_control"]
        .into_iter()
        .filter_map(|name| file::read(&dir, name).ok())
        .find_map(|text| file::field(&text, "oom_kill"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_become_whole_pages() {
        let page = rustix::param::page_size() as u64;
        for (bytes, written) in [
            (page, Some(page)),
            (page - 1, None),
            (3 * page + 1, Some(3 * page)),
            (1 << 40, Some(1 << 40)),
        ] {
            let values = settings(Version::V2, bytes)
                .ok()
                .map(|list| list[0].value.clone());
            assert_eq!(
                values,
                written.map(|bytes: u64| bytes.to_string()),
                "{bytes}"
            );
        }
    }
}
