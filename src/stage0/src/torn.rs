//! Network records of a pod that a power cut has torn: files that were made just
//! before it can come back with their names and without their bytes, empty or full
//! of zeros. A start does not wait for the disk, so gc has to do without them.
//!
//! What they would have led to is gone with the kernel, except for addresses: these
//! are found by the pod's UUID, which names its claims and stands in its leases.

use crate::env::Env;
use crate::old_pod::{LEASES, release_leases};
use model::{Fault, PodUuid, fault::Result};
use pod::{Pod, layout};
use rustix::fs::{AtFlags, FlockOperation, Mode, OFlags};
use std::fs;
use std::io::{self, Read};
use std::net::IpAddr;
use std::os::fd::OwnedFd;
use std::path::Path;

/// Longer files have bytes of their own at their beginning.
const LOOK: u64 = 4096;

/// Before stage1 reads the records: those that say nothing are taken away, and the
/// pod's addresses are freed.
pub(crate) fn mend(env: &Env, pod: &Pod) -> Result<()> {
    let torn = torn_copies(pod)?;
    let info = pod.read_file(layout::NET_INFO)?;
    let info = info.is_some_and(|bytes| is_nothing(&bytes));
    if torn.is_empty() && !info {
        return Ok(());
    }
    env.debug_note(
        "stage0",
        &format!(
            "records of the networks of pod {:?} are empty: its addresses are freed by its UUID",
            pod.uuid().as_str()
        ),
    );
    for network in names(Path::new(LEASES)).map_err(|err| Fault::io("read", LEASES, err))? {
        free_addresses(&Path::new(LEASES).join(network), pod.uuid())?;
    }
    if info {
        // Empty, it is none; zeros are not even JSON.
        pod.write_file(layout::NET_INFO, b"")?;
    }
    for name in torn {
        let path = format!("{}/{name}", layout::NET);
        rustix::fs::unlinkat(pod.dir(), &*path, AtFlags::empty())
            .map_err(|err| Fault::io("remove", path, err))?;
    }
    Ok(())
}

fn is_nothing(bytes: &[u8]) -> bool {
    bytes.iter().all(|byte| *byte == 0)
}

/// The copies of configurations that say nothing.
fn torn_copies(pod: &Pod) -> Result<Vec<String>> {
    let failed = |err: io::Error| Fault::io("read", layout::NET, err);
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let dir = match rustix::fs::openat(pod.dir(), layout::NET, flags, Mode::empty()) {
        Ok(dir) => dir,
        Err(rustix::io::Errno::NOENT) => return Ok(Vec::new()),
        Err(err) => return Err(failed(err.into())),
    };
    let mut torn = Vec::new();
    for entry in rustix::fs::Dir::read_from(&dir).map_err(|err| failed(err.into()))? {
        let entry = entry.map_err(|err| failed(err.into()))?;
        let Ok(name) = entry.file_name().to_str() else {
            continue;
        };
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let mut bytes = Vec::new();
        let read = rustix::fs::openat(&dir, name, flags, Mode::empty())
            .map_err(io::Error::from)
            .and_then(|file| fs::File::from(file).take(LOOK).read_to_end(&mut bytes));
        // Neither directories nor what cannot be read.
        if read.is_ok() && is_nothing(&bytes) {
            torn.push(name.to_string());
        }
    }
    Ok(torn)
}

/// Names that are text; none where there is no directory.
fn names(dir: &Path) -> io::Result<Vec<String>> {
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(err) if err.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(err) => return Err(err),
    };
    let text = |entry: io::Result<fs::DirEntry>| entry.map(|it| it.file_name().into_string().ok());
    Ok(entries
        .map(text)
        .collect::<io::Result<Vec<_>>>()?
        .into_iter()
        .flatten()
        .collect())
}

/// Leases of the pod, those that its claims name and that are empty, the claims.
fn free_addresses(dir: &Path, uuid: &PodUuid) -> Result<()> {
    let failed = |err: io::Error| Fault::io("free", dir.display(), err);
    if !dir.is_dir() {
        return Ok(());
    }
    let _alone = locked(dir).map_err(failed)?;
    release_leases(dir, uuid)?;
    let claim = format!(".{}@", uuid.as_str());
    let ours = names(dir).map_err(failed)?;
    for name in ours.iter().filter(|name| name.starts_with(&claim)) {
        let text = fs::read_link(dir.join(name)).unwrap_or_default();
        let words = text.to_str().unwrap_or_default().split(',');
        for ip in words.filter_map(|word| word.parse::<IpAddr>().ok()) {
            let lease = dir.join(ip.to_string());
            if fs::symlink_metadata(&lease).is_ok_and(|it| it.is_file() && it.len() == 0) {
                fs::remove_file(&lease).map_err(failed)?;
            }
        }
        fs::remove_file(dir.join(name)).map_err(failed)?;
    }
    Ok(())
}

/// As everybody does who takes or frees an address there.
fn locked(dir: &Path) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::CREATE | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let lock = rustix::fs::open(dir.join("lock"), flags, Mode::from_raw_mode(0o750))?;
    rustix::io::retry_on_intr(|| rustix::fs::flock(&lock, FlockOperation::LockExclusive))?;
    Ok(lock)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::testing::TempDir;

    #[test]
    fn the_addresses_of_one_pod_are_freed_and_no_others() {
        let dir = TempDir::new();
        let at = |name: &str| dir.path().join(name);
        let ours = PodUuid::random([1; 16]);
        let other = PodUuid::random([2; 16]);
        let link = |uuid: &PodUuid, text: &str| {
            let name = format!(".{}@eth0", uuid.as_str());
            std::os::unix::fs::symlink(text, at(&name)).unwrap();
        };
        fs::write(at("10.0.0.2"), format!("{}\r\neth0", ours.as_str())).unwrap();
        fs::write(at("10.0.0.3"), "").unwrap();
        fs::write(at("10.0.0.4"), "").unwrap();
        fs::write(at("10.0.0.5"), format!("{}\r\neth0", other.as_str())).unwrap();
        fs::write(at("victim"), "").unwrap();
        link(&ours, "10.0.0.2,10.0.0.3,10.0.0.5,victim,../x");
        link(&other, "10.0.0.4,10.0.0.5");
        free_addresses(dir.path(), &ours).unwrap();
        let mut left = names(dir.path()).unwrap();
        left.sort();
        let claim = format!(".{}@eth0", other.as_str());
        assert_eq!(left, [&*claim, "10.0.0.4", "10.0.0.5", "lock", "victim"]);
    }

    #[test]
    fn a_torn_copy_goes_and_a_whole_one_stays() {
        let data = TempDir::new();
        let pod = Pod::create(data.path(), &PodUuid::random([3; 16])).unwrap();
        assert!(torn_copies(&pod).unwrap().is_empty());
        let net = pod.path().join("net");
        fs::create_dir_all(net.join("dir")).unwrap();
        for (name, bytes) in [("a", &b""[..]), ("b", &[0; 50]), ("c", b"{}")] {
            fs::write(net.join(name), bytes).unwrap();
        }
        let mut torn = torn_copies(&pod).unwrap();
        torn.sort();
        assert_eq!(torn, ["a", "b"]);
    }
}
