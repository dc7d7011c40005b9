//! Pids of a pod, and the cgroup it lives in.
//!
//! `pid` names the process to enter. rkt 1.30's container flavours write
//! `ppid` instead: the parent of that process, which has exactly one child.
//! Pids are for entering and signalling only; whether a pod runs is told by
//! its lock.

use model::{Fault, fault::Result};
use rustix::io::Errno;
use std::time::{Duration, Instant};

use crate::state::State;
use crate::{Pod, files, layout};

/// How often a pod that is just starting is looked at.
const PAUSE: Duration = Duration::from_millis(100);

impl Pod {
    /// The integer in `pid`, else in `ppid`; what `rkt status` shows.
    pub fn pid(&self) -> Result<Option<i32>> {
        match self.pid_file(layout::PID)? {
            None => self.pid_file(layout::PPID),
            found => Ok(found),
        }
    }

    /// Writes `P/pid`; its mtime becomes the pod's start.
    pub fn write_pid(&self, pid: i32) -> Result<()> {
        files::write(self, layout::PID, 0o644, format!("{pid}\n").as_bytes())
            .map_err(|err| self.io("write the pid of", err))
    }

    /// The process group that fly's stop falls back to.
    pub fn pgid(&self) -> Result<Option<i32>> {
        self.pid_file(layout::PGID)
    }

    /// The pod's pid 1 as this pid namespace numbers it, or `None` while the
    /// pod has not come so far.
    pub fn init_pid(&self) -> Result<Option<i32>> {
        if let Some(pid) = self.pid_file(layout::PID)? {
            return Ok(Some(pid));
        }
        let Some(parent) = self.pid_file(layout::PPID)? else {
            return Ok(None);
        };
        match children(parent)?.as_slice() {
            [] => Ok(None),
            [child] => Ok(Some(*child)),
            _ => Err(Fault::conflict(format!(
                "too many children of pid {parent}"
            ))),
        }
    }

    /// As [`Pod::init_pid`], waiting for it as long as the pod runs, at most
    /// `timeout`.
    pub fn wait_init_pid(&mut self, timeout: Option<Duration>) -> Result<i32> {
        let start = Instant::now();
        loop {
            if let Some(pid) = self.init_pid()? {
                return Ok(pid);
            }
            if self.refresh()? != Some(State::Running) {
                let text = format!("pod {:?} is not running anymore", self.uuid().as_str());
                return Err(Fault::conflict(text));
            }
            if timeout.is_some_and(|timeout| start.elapsed() >= timeout) {
                let text = format!("pod {:?} has not started yet", self.uuid().as_str());
                return Err(Fault::new(model::fault::Kind::TimedOut, text));
            }
            std::thread::sleep(PAUSE);
        }
    }

    fn pid_file(&self, name: &str) -> Result<Option<i32>> {
        let mut buf = [0; 32];
        match files::read_into(self, name, &mut buf) {
            // Just being written.
            Ok([]) | Err(Errno::NOENT) => Ok(None),
            Ok(bytes) => match files::first_integer(bytes).filter(|pid| *pid > 0) {
                Some(pid) => Ok(Some(pid)),
                None => Err(Fault::corrupt(format!(
                    "{name} of pod {:?} holds no pid",
                    self.uuid().as_str()
                ))),
            },
            Err(err) => Err(self.io(&format!("read {name} of"), err)),
        }
    }

    /// Content of `subcgroup`.
    pub fn subcgroup(&self) -> Result<Option<String>> {
        self.text_file(layout::SUBCGROUP)
    }

    pub fn write_subcgroup(&self, path: &str) -> Result<()> {
        self.write_file(layout::SUBCGROUP, path.as_bytes())
    }

    /// The pod's cgroup directories, for gc. Absolute paths without `..`;
    /// other lines are refused, since gc removes what stands here.
    pub fn cgroups(&self) -> Result<Vec<String>> {
        let text = self.text_file(layout::CGROUPS)?.unwrap_or_default();
        let paths: Vec<String> = text.lines().map(String::from).collect();
        match paths.iter().find(|path| !is_clean(path)) {
            Some(bad) => Err(Fault::corrupt(format!("{bad:?} is no cgroup directory"))),
            None => Ok(paths),
        }
    }

    /// Written before the first of them is made, so that a kill leaves none.
    pub fn write_cgroups(&self, paths: &[String]) -> Result<()> {
        if let Some(bad) = paths.iter().find(|path| !is_clean(path)) {
            return Err(Fault::invalid(format!("{bad:?} is no cgroup directory")));
        }
        let text: String = paths.iter().map(|path| format!("{path}\n")).collect();
        self.write_file(layout::CGROUPS, text.as_bytes())
    }

    fn text_file(&self, name: &str) -> Result<Option<String>> {
        let bytes = self.read_file(name)?;
        bytes
            .map(|bytes| {
                String::from_utf8(bytes).map_err(|_| Fault::corrupt(format!("{name} is not UTF-8")))
            })
            .transpose()
    }
}

fn is_clean(path: &str) -> bool {
    path.starts_with('/')
        && !path.contains(['\n', '\0'])
        && path[1..]
            .split('/')
            .all(|part| !part.is_empty() && part != "." && part != "..")
}

/// Children of a process: the lists of its threads where the kernel has them
/// (CONFIG_PROC_CHILDREN), else a look at every process.
fn children(parent: i32) -> Result<Vec<i32>> {
    match listed_children(parent) {
        Ok(children) => Ok(children),
        Err(_) => {
            let list = std::fs::read_dir("/proc").map_err(|err| Fault::io("open", "/proc", err))?;
            let pids = list
                .flatten()
                .filter_map(|entry| entry.file_name().to_str()?.parse().ok());
            Ok(pids.filter(|pid| parent_of(*pid) == Some(parent)).collect())
        }
    }
}

fn listed_children(parent: i32) -> std::io::Result<Vec<i32>> {
    let mut children = Vec::new();
    for thread in std::fs::read_dir(format!("/proc/{parent}/task"))? {
        let text = std::fs::read_to_string(thread?.path().join("children"))?;
        children.extend(
            text.split_whitespace()
                .filter_map(|word| word.parse::<i32>().ok()),
        );
    }
    Ok(children)
}

/// The fourth field of `/proc/N/stat`; the second may hold blanks and brackets.
fn parent_of(pid: i32) -> Option<i32> {
    let stat = std::fs::read(format!("/proc/{pid}/stat")).ok()?;
    let end = stat.iter().rposition(|byte| *byte == b')')?;
    let text = std::str::from_utf8(&stat[end + 1..]).ok()?;
    text.split_whitespace().nth(1)?.parse().ok()
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::testing::TempData;

    #[test]
    fn our_parent_is_found_both_ways() {
        let me = std::process::id() as i32;
        let parent = parent_of(me).unwrap();
        assert!(children(parent).unwrap().contains(&me) || parent == 0);
    }

    #[test]
    fn pid_files() {
        let data = TempData::new();
        let pod = Pod::create(data.path(), &data.uuid(1)).unwrap();
        assert_eq!(pod.pid().unwrap(), None);
        pod.write_file(layout::PPID, b"12\n").unwrap();
        assert_eq!(pod.pid().unwrap(), Some(12));
        pod.write_pid(77).unwrap();
        assert_eq!(pod.pid().unwrap(), Some(77));
        assert_eq!(pod.init_pid().unwrap(), Some(77));
        for bad in ["x", "-1\n", "0\n"] {
            pod.write_file(layout::PID, bad.as_bytes()).unwrap();
            assert!(pod.pid().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn cgroup_lines_lead_nowhere_else() {
        let data = TempData::new();
        let pod = Pod::create(data.path(), &data.uuid(1)).unwrap();
        assert_eq!(pod.cgroups().unwrap(), Vec::<String>::new());
        let good = vec!["/sys/fs/cgroup/unified/rkt/x".to_string()];
        pod.write_cgroups(&good).unwrap();
        assert_eq!(pod.cgroups().unwrap(), good);
        for bad in ["rel", "/a/../b", "/", "/a//b", "/a\n/b", ""] {
            assert!(pod.write_cgroups(&[bad.to_string()]).is_err(), "{bad:?}");
        }
        pod.write_file(layout::CGROUPS, b"/a/..\n").unwrap();
        assert!(pod.cgroups().is_err());
    }
}
