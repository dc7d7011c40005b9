//! `rkt export`: what an app of a finished pod left becomes an image.
//!
//! An overlay pod is looked at through a read-only overlay of its layers, in a
//! mount namespace of this process alone: nothing is mounted on the host, and
//! nothing is left when this process dies.

use crate::enter::only_app;
use crate::env::Env;
use crate::{leftovers, target};
use archive::{PackOptions, Unshift, write_aci};
use model::fault::Result;
use model::{AcName, Context, Fault};
use pod::{Pod, Rootfs, State, layout};
use rustix::fs::{Mode, OFlags};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

#[derive(Clone, Debug, Default)]
pub struct ExportRequest {
    /// A UUID or a unique prefix of one.
    pub pod: String,
    /// `--app`.
    pub app: Option<String>,
    pub file: PathBuf,
    pub overwrite: bool,
}

pub fn export(env: &Env, request: &ExportRequest) -> Result<()> {
    let file = &request.file;
    if file.extension().is_none_or(|extension| extension != "aci") {
        return Err(Fault::usage(format!(
            "extension must be .aci (given {})",
            file.display()
        )));
    }
    let pod = Pod::find(&env.dir, &request.pod).message(|| "problem retrieving pod".into())?;
    if !matches!(pod.state(), State::Exited | State::ExitedGarbage) {
        return Err(Fault::conflict(
            "pod is not exited. Only exited pods can be exported",
        ));
    }
    let app = choose_app(env, &pod, request.app.as_deref())?;
    if file.exists() && !request.overwrite {
        return Err(exists().message("error building aci"));
    }
    // Keeps gc away: it removes a pod only with the lock to itself.
    let _shared = share_lock(&pod)?;
    let (root, copied) = open_root(env, &pod, &app)?;
    let manifest = pod.image_manifest_bytes(&app)?;
    // An overlay has idmapped layers: on disk are the image's own IDs.
    let unshift = pod
        .private_users()?
        .filter(|_| copied)
        .map(|(base, count)| Unshift { base, count });
    let options = PackOptions {
        gzip: true,
        unshift,
    };
    target::write_file(file, request.overwrite, &exists().cause, |out| {
        let packed = write_aci(&manifest, root.as_fd(), out, &options)?;
        for note in packed.notes {
            env.note("", &note);
        }
        Ok(())
    })
    .message(|| "error building aci".into())
}

fn exists() -> Fault {
    Fault::conflict("target file exists (try --overwrite)")
}

fn choose_app(env: &Env, pod: &Pod, wanted: Option<&str>) -> Result<AcName> {
    const FAILURE: &str = "unable to find app";
    let Some(wanted) = wanted else {
        return only_app(env, pod, FAILURE, "export");
    };
    let found = pod
        .summary()?
        .apps
        .into_iter()
        .find(|app| app.name.as_str() == wanted);
    found.map(|app| app.name).ok_or_else(|| {
        Fault::not_found(format!("app {wanted} is not present in pod")).message(FAILURE)
    })
}

fn share_lock(pod: &Pod) -> Result<std::fs::File> {
    let path = pod.path();
    let file = std::fs::File::open(&path).map_err(|e| Fault::io("open", path.display(), e))?;
    match file.try_lock_shared() {
        Ok(()) => Ok(file),
        Err(_) => Err(Fault::conflict(format!(
            "pod {:?} is currently being deleted",
            pod.uuid().as_str()
        ))),
    }
}

/// The app's files as it left them, and whether they are a copy of the image's.
fn open_root(env: &Env, pod: &Pod, app: &AcName) -> Result<(OwnedFd, bool)> {
    let Some((tree, lowers)) = layers(env, pod, app)? else {
        let path = pod.path().join(layout::app_rootfs(app));
        if leftovers::any(&path)? {
            return Err(Fault::conflict(
                "pod has remaining mountpoints. Only pods using overlayfs or with no \
                 mountpoints can be exported",
            ));
        }
        return Ok((open_dir(&path)?, true));
    };
    let upper = pod.path().join(layout::overlay_upper(&tree, app));
    let mut all: Vec<PathBuf> = Vec::with_capacity(lowers.len() + 1);
    if upper.is_dir() {
        all.push(upper);
    }
    all.extend(lowers.into_iter().map(PathBuf::from));
    let root = match all.as_slice() {
        // The kernel wants two at least; the app never wrote anything.
        [only] => open_dir(only)?,
        all => overlay(pod, all)?,
    };
    Ok((root, false))
}

/// Tree id and layers of an overlay pod; `None` for one with copied files.
fn layers(env: &Env, pod: &Pod, app: &AcName) -> Result<Option<(String, Vec<String>)>> {
    Ok(match crate::legacy::app_rootfs(env, pod, app)? {
        Rootfs::Overlay { tree_id, lowers } => Some((tree_id, lowers)),
        Rootfs::Copied { .. } => None,
    })
}

/// Mounts the layers read-only over a directory of the pod, where only this
/// process sees it. They are named by fd: of a page of options paths would fill
/// more than there is, and no character of them has a meaning.
fn overlay(pod: &Pod, layers: &[PathBuf]) -> Result<OwnedFd> {
    use sys::clone::Namespaces;
    use sys::mount::Flags;
    let failed = |verb: &str, e: std::io::Error| Fault::io(verb, "the app's layers", e);
    sys::ns::unshare(Namespaces::MOUNT).map_err(|e| failed("unshare for", e))?;
    sys::mount::propagation("/", Flags::PRIVATE).map_err(|e| failed("make private for", e))?;
    let layers = layers
        .iter()
        .map(|path| open_dir(path))
        .collect::<Result<Vec<_>>>()?;
    let names: Vec<String> = layers
        .iter()
        .map(|layer| format!("/proc/self/fd/{}", layer.as_raw_fd()))
        .collect();
    let target = pod.path().join(layout::STAGE1);
    let mut data = format!("lowerdir={}", names.join(":"));
    if sys::userns::confined() {
        data.push_str(",userxattr");
    }
    sys::mount::mount("overlay", &target, "overlay", Flags::RDONLY, &data)
        .map_err(|e| failed("mount", e))?;
    open_dir(&target)
}

fn open_dir(path: &Path) -> Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::open(path, flags, Mode::empty()).map_err(|e| Fault::io("open", path.display(), e))
}
