//! The overlay mounts of a pod with a stage1 image, and the mount namespace
//! that they are made in.
//!
//! Layers go in by fd, so no character of a path has a meaning and none is too
//! long. Everything below `S` is reached without following a symlink: what the
//! image has there cannot lead a mount elsewhere on the host.

use super::StageTree;
use crate::prepare::make_dirs_at;
use model::{AcName, Fault, fault::Result};
use pod::labels::Context;
use pod::{Pod, layout};
use rustix::fs::{AtFlags, Gid, Mode, OFlags, Uid};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::Path;
use sys::clone::Namespaces;
use sys::lsm;
use sys::mount::{self, Flags};
use sys::ns;

/// Identity of the mount namespace that a running pod's mounts are in.
const NAMESPACE: &str = "stage1/mount-namespace";

/// Gives this process mounts of its own: the host's still arrive, none of ours
/// gets to the host.
pub(super) fn leave_host() -> Result<()> {
    ns::unshare(Namespaces::MOUNT).map_err(|e| Fault::io("cannot make", "a mount namespace", e))?;
    mount::propagation("/", Flags::SLAVE)
        .map_err(|e| Fault::io("cannot change", "the propagation of mounts", e))
}

/// Mounts the stage1 rootfs, if it is not a copy.
pub(super) fn stage1(pod: &Path, tree: &StageTree, label: Option<&Context>) -> Result<()> {
    if tree.lowers.is_empty() {
        return Ok(());
    }
    let pod = super::open(pod)?;
    let target = make_dirs_at(pod.as_fd(), layout::STAGE1_ROOTFS)?;
    let beside = |part: &str| {
        let path = format!("{}/{}/{part}", layout::OVERLAY, tree.id);
        make_dirs_at(pod.as_fd(), &path)
    };
    let writable = (beside("upper")?, beside("work")?);
    overlay(&tree.lowers, Some(writable), &target, label)
}

/// Mounts an app's root at `target`.
pub(super) fn app(
    pod: &Path,
    app: &AcName,
    tree: &str,
    lowers: &[String],
    target: &OwnedFd,
    label: Option<&Context>,
) -> Result<()> {
    let pod = super::open(pod)?;
    let upper = make_dirs_at(pod.as_fd(), &layout::overlay_upper(tree, app))?;
    let work = make_dirs_at(pod.as_fd(), &layout::overlay_work(tree, app))?;
    overlay(lowers, Some((upper, work)), target, label)
}

/// Makes `S` visible to this process: it is here already, or in the namespace
/// of the running pod, or is mounted once more in one of our own. Of a pod that
/// runs only for reading then: two overlays must not write to one upper layer.
pub(super) fn show(pod: &Pod, tree: &StageTree, running: bool) -> Result<()> {
    let root = pod.path().join(layout::STAGE1_ROOTFS);
    if is_mounted(&root) {
        return Ok(());
    }
    if running && join(pod)? && is_mounted(&root) {
        return Ok(());
    }
    leave_host()?;
    if !running {
        return stage1(
            &pod.path(),
            tree,
            pod.labels()?.map(|labels| labels.mount).as_ref(),
        );
    }
    let dir = super::open(&pod.path())?;
    let target = make_dirs_at(dir.as_fd(), layout::STAGE1_ROOTFS)?;
    let upper = pod
        .path()
        .join(layout::OVERLAY)
        .join(&tree.id)
        .join("upper");
    let mut layers = vec![upper];
    layers.extend(tree.lowers.iter().cloned());
    overlay(&layers, None, &target, None)
}

/// Remembers this process' mount namespace as the pod's.
pub(super) fn note_namespace(pod: &Pod) -> Result<()> {
    let own = identity(&open_namespace("self")?)?;
    pod.write_file(NAMESPACE, own.as_bytes())
}

/// Joins the pod's namespace if its process is in it. One that has left for
/// another is not followed: there an app could have put its own program where
/// ours is looked for.
fn join(pod: &Pod) -> Result<bool> {
    let (Some(noted), Some(pid)) = (pod.read_file(NAMESPACE)?, pod.pid()?) else {
        return Ok(false);
    };
    let Ok(namespace) = open_namespace(&pid.to_string()) else {
        return Ok(false);
    };
    if identity(&namespace)?.as_bytes() != noted {
        return Ok(false);
    }
    ns::set(namespace.as_fd(), Namespaces::MOUNT)
        .map_err(|e| Fault::io("cannot join", "the pod's mount namespace", e))?;
    Ok(true)
}

fn open_namespace(process: &str) -> Result<OwnedFd> {
    let path = format!("/proc/{process}/ns/mnt");
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    rustix::fs::open(path.as_str(), flags, Mode::empty()).map_err(|e| Fault::io("open", path, e))
}

fn identity(namespace: &OwnedFd) -> Result<String> {
    let stat =
        rustix::fs::fstat(namespace).map_err(|e| Fault::io("stat", "a mount namespace", e))?;
    Ok(format!("{}:{}", stat.st_dev, stat.st_ino))
}

/// An overlay has a device of its own.
fn is_mounted(root: &Path) -> bool {
    let device = |path: &Path| rustix::fs::lstat(path).map(|stat| stat.st_dev).ok();
    let above = root.parent().and_then(device);
    above.is_some() && device(root).is_some_and(|own| Some(own) != above)
}

fn through_proc(fd: &OwnedFd) -> String {
    format!("/proc/self/fd/{}", fd.as_raw_fd())
}

/// Mounts layers, topmost first, over `target`; without a writable part they
/// can only be read.
fn overlay<P: AsRef<Path>>(
    layers: &[P],
    writable: Option<(OwnedFd, OwnedFd)>,
    target: &OwnedFd,
    label: Option<&Context>,
) -> Result<()> {
    let layers = layers
        .iter()
        .map(|layer| open_layer(layer.as_ref()))
        .collect::<Result<Vec<_>>>()?;
    let names: Vec<String> = layers.iter().map(through_proc).collect();
    let mut options = format!("lowerdir={}", names.join(":"));
    let mut flags = Flags::NONE;
    match (&writable, layers.first()) {
        (Some((upper, work)), Some(top)) => {
            take_after(upper, top)?;
            options.push_str(&format!(
                ",upperdir={},workdir={}",
                through_proc(upper),
                through_proc(work)
            ));
        }
        _ => flags = Flags::RDONLY,
    }
    if let Some(label) = label {
        // Nothing in a context has a meaning between quotation marks.
        options.push_str(&format!(",context=\"{label}\""));
        if let Some((upper, work)) = &writable {
            // Some file systems have no labels: then the policy decides.
            let _ = lsm::selinux_label(upper.as_fd(), &label.to_string());
            let _ = lsm::selinux_label(work.as_fd(), &label.to_string());
        }
    }
    mount::mount("overlay", through_proc(target), "overlay", flags, &options).map_err(|e| {
        Fault::io("cannot mount", "an overlay for stage1", e)
            .hint("run with --no-overlay, or look at rkt doctor")
    })
}

fn open_layer(path: &Path) -> Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::open(path, flags, Mode::empty()).map_err(|e| Fault::io("open", path.display(), e))
}

/// The upper directory is the `/` of who lives in the overlay: owner and mode
/// come from the image.
fn take_after(upper: &OwnedFd, top: &OwnedFd) -> Result<()> {
    let failed = |e| Fault::io("change", "an overlay's upper directory", e);
    let stat = rustix::fs::fstat(top).map_err(failed)?;
    let (uid, gid) = (Uid::from_raw(stat.st_uid), Gid::from_raw(stat.st_gid));
    rustix::fs::chownat(upper, "", Some(uid), Some(gid), AtFlags::EMPTY_PATH).map_err(failed)?;
    rustix::fs::fchmod(upper, Mode::from_raw_mode(stat.st_mode & 0o7777)).map_err(failed)
}
