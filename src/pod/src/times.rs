//! When a pod was created, started and marked, in nanoseconds since 1970.
//! Nothing is stored: file times tell.

use model::fault::Result;
use rustix::fd::AsFd;
use rustix::fs::{self, Stat};

use crate::state::State;
use crate::{Pod, files, layout};

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Times {
    /// mtime of `pod-created`, else of `pod`; prepared pods and later.
    pub created_ns: Option<i64>,
    /// mtime of `pid`, else of `ppid`; running pods and later.
    pub started_ns: Option<i64>,
    /// ctime of the directory, once gc or rm has moved it.
    pub marked_ns: Option<i64>,
    /// ctime of the directory whatever the state: what grace periods count from.
    pub changed_ns: i64,
}

impl Pod {
    pub fn times(&self) -> Result<Times> {
        let read = || {
            let changed_ns = changed(self)?;
            let state = self.state();
            Ok(Times {
                created_ns: if state.is_created() {
                    created(self)?
                } else {
                    None
                },
                started_ns: started(self, state)?,
                marked_ns: state.is_marked().then_some(changed_ns),
                changed_ns,
            })
        };
        read().map_err(|err| self.io("stat", err))
    }
}

pub(crate) fn created(dir: impl AsFd) -> rustix::io::Result<Option<i64>> {
    first_mtime(dir, [layout::POD_CREATED, layout::POD])
}

pub(crate) fn started(dir: impl AsFd, state: State) -> rustix::io::Result<Option<i64>> {
    if state.has_run() {
        first_mtime(dir, [layout::PID, layout::PPID])
    } else {
        Ok(None)
    }
}

pub(crate) fn changed(dir: impl AsFd) -> rustix::io::Result<i64> {
    fs::fstat(dir).map(|stat| nanoseconds(stat.st_ctime, stat.st_ctime_nsec))
}

fn first_mtime(dir: impl AsFd, names: [&str; 2]) -> rustix::io::Result<Option<i64>> {
    for name in names {
        if let Some(stat) = files::stat(&dir, name)? {
            return Ok(Some(mtime(&stat)));
        }
    }
    Ok(None)
}

pub(crate) fn mtime(stat: &Stat) -> i64 {
    nanoseconds(stat.st_mtime, stat.st_mtime_nsec)
}

/// The kernel's types differ between architectures.
fn nanoseconds(seconds: impl TryInto<i64>, nanos: impl TryInto<i64>) -> i64 {
    let seconds = seconds.try_into().unwrap_or(0);
    seconds
        .saturating_mul(1_000_000_000)
        .saturating_add(nanos.try_into().unwrap_or(0))
}
