//! Into the user namespace of a running pod, for `enter`.
//!
//! The pod's owner may join it, and root too, who becomes the owner by that:
//! a process with the host's privileges has no business in a user's pod. Which
//! process is the pod's, its directory says, and that is the user's own: so root
//! joins no namespace but one that this user has made. The pod of a private user
//! namespace is not meant: its stage1 sees to that.

use super::{refusal, settle};
use model::{Fault, fault::Result};
use pod::{Pod, State};
use std::fs::File;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use sys::clone::Namespaces;
use sys::{creds, ns};

/// `pid` is the pod's PID 1 as its directory names it.
pub(crate) fn join(pod: &mut Pod, pid: i32) -> Result<()> {
    let owner = rustix::fs::fstat(pod.dir())
        .map_err(|err| Fault::io("stat", pod.path().display(), err))?
        .st_uid;
    let root = rustix::process::geteuid().is_root();
    if root && owner == 0 {
        return Ok(());
    }
    let path = format!("/proc/{pid}/ns/user");
    let opened = File::open(&path);
    // Whose pid it was when it was opened: the pod's, if the pod lives still.
    if pod.refresh()? != Some(State::Running) {
        let text = format!("pod {:?} is not running anymore", pod.uuid().as_str());
        return Err(Fault::conflict(text));
    }
    let there = opened.map_err(|err| Fault::io("open", &path, err))?;
    if root {
        made_by(owner, &there)?;
    } else if is_own(&there)? {
        return Err(
            Fault::refused("cannot run as unprivileged user").hint("the pod was started by root")
        );
    }
    let failed = |err: std::io::Error| refusal::inside("join", "the pod's user namespace", &err);
    if root {
        // Outside, since the pod's namespace may be one without groups.
        creds::set_groups(rustix::process::getegid().as_raw(), &[]).map_err(failed)?;
    }
    ns::set(there.as_fd(), Namespaces::USER).map_err(failed)?;
    ns::unshare(Namespaces::MOUNT).map_err(failed)?;
    settle()
}

fn made_by(user: u32, there: &File) -> Result<()> {
    match ns::owner(there.as_fd()) {
        Ok(maker) if maker == user => Ok(()),
        Ok(maker) => Err(Fault::refused(format!(
            "the pod belongs to user {user}, but its process is in a user namespace of user {maker}"
        ))
        .hint("enter it as the user who has started it")),
        Err(err) => Err(Fault::io(
            "cannot tell",
            "whose the pod's user namespace is",
            err,
        )),
    }
}

fn is_own(there: &File) -> Result<bool> {
    const OWN: &str = "/proc/self/ns/user";
    let (here, there) = std::fs::metadata(OWN)
        .and_then(|here| Ok((here, there.metadata()?)))
        .map_err(|err| Fault::io("stat", OWN, err))?;
    Ok((here.dev(), here.ino()) == (there.dev(), there.ino()))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    /// A pod's directory that names a process of somebody else's.
    #[test]
    fn only_a_namespace_of_the_pods_owner_is_joined() {
        let own = File::open("/proc/self/ns/user").unwrap();
        let maker = ns::owner(own.as_fd()).unwrap();
        assert!(made_by(maker, &own).is_ok());
        let fault = made_by(maker + 1, &own).unwrap_err();
        assert!(fault.cause.contains("belongs to user"), "{fault}");
        assert!(made_by(maker, &File::open("/proc/self/ns/net").unwrap()).is_err());
    }
}
