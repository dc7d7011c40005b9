//! What a pod of rkt 1.30 left on the host, removed without 1.30's own programs
//! (their tree may be gone, or its overlay unmounted since a reboot): cgroups,
//! addresses of its networks, the mount of its network namespace, the link to
//! its journal.
//!
//! Its records are only believed as far as they can do no harm: a network's
//! name is one path component, a lease must hold the pod's own UUID, a netns
//! must lie where 1.30 put them.

use crate::env::Env;
use model::{Fault, PodUuid, fault::Result};
use pod::{Pod, layout};
use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// Where the IPAM plugin host-local keeps its leases.
pub(crate) const LEASES: &str = "/var/lib/cni/networks";
const NETNS_DIRS: [&str; 2] = ["/var/run/netns", "/run/netns"];

/// Undoes all of it that can be; the first failure is returned at the end.
pub(crate) fn tear_down(env: &Env, pod: &Pod) -> Result<()> {
    let steps: [fn(&Env, &Pod) -> Result<()>; 4] = [cgroups, leases, netns, journal];
    let mut first = None;
    for step in steps {
        if let Err(fault) = step(env, pod) {
            env.debug_note("stage0", &fault.to_string());
            first.get_or_insert(fault);
        }
    }
    first.map_or(Ok(()), Err)
}

fn cgroups(_env: &Env, pod: &Pod) -> Result<()> {
    let Some(bytes) = pod.read_file(layout::SUBCGROUP)? else {
        return Ok(());
    };
    let path = String::from_utf8_lossy(&bytes);
    crate::old_cgroups::remove(path.trim())
}

fn leases(_env: &Env, pod: &Pod) -> Result<()> {
    for network in pod.networks()? {
        if is_component(&network.name) {
            release_leases(&Path::new(LEASES).join(&network.name), pod.uuid())?;
        }
    }
    Ok(())
}

fn is_component(name: &str) -> bool {
    !name.is_empty() && name != "." && name != ".." && !name.contains(['/', '\0'])
}

/// A lease is a file named after the address; its first line is the holder.
pub(crate) fn release_leases(dir: &Path, uuid: &PodUuid) -> Result<()> {
    let failed = |e| Fault::io("read", dir.display(), e);
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(e) => return Err(failed(e)),
    };
    for entry in entries {
        let entry = entry.map_err(failed)?;
        if !entry.file_type().is_ok_and(|kind| kind.is_file()) {
            continue;
        }
        let mut content = String::new();
        let read = fs::File::open(entry.path())
            .and_then(|file| file.take(128).read_to_string(&mut content));
        if read.is_ok() && content.lines().next().map(str::trim) == Some(uuid.as_str()) {
            fs::remove_file(entry.path())
                .map_err(|e| Fault::io("remove", entry.path().display(), e))?;
        }
    }
    Ok(())
}

fn netns(_env: &Env, pod: &Pod) -> Result<()> {
    let Some(bytes) = pod.read_file(layout::NETNS)? else {
        return Ok(());
    };
    let Some(path) = netns_path(&String::from_utf8_lossy(&bytes)) else {
        return Ok(());
    };
    use rustix::mount::{UnmountFlags, unmount};
    match unmount(&path, UnmountFlags::NOFOLLOW | UnmountFlags::DETACH) {
        // Not mounted (after a reboot), or gone.
        Ok(()) | Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOENT) => {}
        Err(e) => return Err(Fault::io("unmount", path.display(), e)),
    }
    match fs::remove_file(&path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => {
            Err(Fault::io("remove", path.display(), e))
        }
        _ => Ok(()),
    }
}

/// The file of a namespace that 1.30 mounted: `cni-…` in one of two directories.
fn netns_path(text: &str) -> Option<PathBuf> {
    let path = Path::new(text.trim());
    let parent = path.parent()?.to_str()?;
    let name = path.file_name()?.to_str()?;
    let known = NETNS_DIRS.contains(&parent) && name.starts_with("cni-");
    known.then(|| path.to_path_buf())
}

/// 1.30 lets nspawn link the pod's journal into the host's.
fn journal(_env: &Env, pod: &Pod) -> Result<()> {
    let path = Path::new("/var/log/journal").join(pod.uuid().as_str().replace('-', ""));
    if !fs::symlink_metadata(&path).is_ok_and(|meta| meta.is_symlink()) {
        return Ok(());
    }
    fs::remove_file(&path).map_err(|e| Fault::io("remove", path.display(), e))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::testing::TempDir;

    #[test]
    fn only_leases_of_this_pod_go() {
        let dir = TempDir::new();
        let ours = PodUuid::random([1; 16]);
        let other = PodUuid::random([2; 16]);
        let write = |name: &str, text: &str| fs::write(dir.path().join(name), text).unwrap();
        write("10.0.0.2", ours.as_str());
        write("10.0.0.3", other.as_str());
        write("10.0.0.4", &format!("{}\r\neth0", ours.as_str()));
        write("last_reserved_ip", "10.0.0.4");
        release_leases(dir.path(), &ours).unwrap();
        let mut left: Vec<_> = fs::read_dir(dir.path())
            .unwrap()
            .map(|e| e.unwrap().file_name())
            .collect();
        left.sort();
        assert_eq!(left, ["10.0.0.3", "last_reserved_ip"]);
        release_leases(&dir.path().join("none"), &ours).unwrap();
    }

    #[test]
    fn a_record_cannot_name_a_path_elsewhere() {
        assert!(netns_path("/var/run/netns/cni-1234\n").is_some());
        for path in [
            "/etc/passwd",
            "/var/run/netns/x",
            "/run/netns/../cni-1",
            "cni-1",
            "",
        ] {
            assert_eq!(netns_path(path), None, "{path}");
        }
        for name in ["", ".", "..", "a/b"] {
            assert!(!is_component(name));
        }
    }
}
