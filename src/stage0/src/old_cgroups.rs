//! Cgroups of a pod that rkt 1.30 made: `subcgroup` names one path that exists
//! below every v1 controller.
//!
//! Only empty cgroups can go, so the worst that a false record does is to
//! remove a cgroup that nobody is in.

use model::{Fault, fault::Result};
use std::fs;
use std::io;
use std::path::{Component, Path};

const ROOT: &str = "/sys/fs/cgroup";
/// A pod of 1.30 nests its cgroups some five deep.
const DEEPEST: usize = 32;

pub(crate) fn remove(subcgroup: &str) -> Result<()> {
    let own = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    if lies_inside(&own, subcgroup) {
        return Ok(());
    }
    remove_below(Path::new(ROOT), subcgroup)
}

/// We are in the pod's cgroup ourselves: rkt runs as part of the same service.
fn lies_inside(proc_cgroup: &str, subcgroup: &str) -> bool {
    let wanted = subcgroup.trim_matches('/');
    proc_cgroup
        .lines()
        .filter_map(|line| line.split_once(":name=systemd:"))
        .any(|(_, own)| {
            let own = own.trim_matches('/');
            own == wanted
                || own
                    .strip_prefix(wanted)
                    .is_some_and(|rest| rest.starts_with('/'))
        })
}

fn remove_below(root: &Path, subcgroup: &str) -> Result<()> {
    let inside = Path::new(subcgroup.trim_start_matches('/'));
    let plain = inside
        .components()
        .all(|part| matches!(part, Component::Normal(_)));
    if !plain || inside.as_os_str().is_empty() {
        return Err(Fault::corrupt(format!("{subcgroup:?} is no cgroup path")));
    }
    let controllers = match fs::read_dir(root) {
        Ok(controllers) => controllers,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(e) => return Err(Fault::io("open", root.display(), e)),
    };
    let mut first = None;
    for controller in controllers.flatten() {
        let path = controller.path().join(inside);
        // Links (`cpu` to `cpu,cpuacct`) lead to where we come anyway.
        if !controller.file_type().is_ok_and(|kind| kind.is_dir()) {
            continue;
        }
        if let Err(e) = remove_tree(&path, 0) {
            first.get_or_insert(Fault::io("remove", path.display(), e));
        }
    }
    first.map_or(Ok(()), Err)
}

/// Children first; the files in a cgroup go with it.
fn remove_tree(path: &Path, depth: usize) -> io::Result<()> {
    let entries = match fs::read_dir(path) {
        Ok(entries) if depth < DEEPEST => entries,
        Ok(_) => return Err(io::ErrorKind::InvalidInput.into()),
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(e) => return Err(e),
    };
    for entry in entries {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            remove_tree(&entry.path(), depth + 1)?;
        }
    }
    match fs::remove_dir(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        done => done,
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::testing::TempDir;

    #[test]
    fn our_own_cgroup_is_left_alone() {
        let own = "3:cpu:/\n1:name=systemd:/system.slice/app.service/x\n";
        assert!(lies_inside(own, "system.slice/app.service"));
        assert!(lies_inside(own, "/system.slice/app.service/x/"));
        assert!(!lies_inside(own, "system.slice/app"));
        assert!(!lies_inside(own, "machine.slice"));
    }

    #[test]
    fn every_controller_loses_the_pod_and_nothing_else() {
        let root = TempDir::new();
        for controller in ["cpu", "memory"] {
            fs::create_dir_all(root.path().join(controller).join("m.slice/pod/a/b")).unwrap();
        }
        remove_below(root.path(), "/m.slice/pod").unwrap();
        assert!(!root.path().join("cpu/m.slice/pod").exists());
        assert!(root.path().join("memory/m.slice").exists());
        for bad in ["", "/", "../x", "a/../b"] {
            assert!(remove_below(root.path(), bad).is_err(), "{bad}");
        }
    }
}
