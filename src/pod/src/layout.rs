//! Every name below the data directory's `pods` and `locks`.
//!
//! `P` is a pod's directory, `S` its stage1 rootfs `P/stage1/rootfs`. Names
//! that rkt 1.30 uses keep their meaning, so that either side's pods can be
//! read; ours are `summary`, `cgroups`, `control`, `log/`, `selinux` and
//! `appsinfo/<app>/rootfs`. Paths are relative to `P` unless said otherwise.

use model::{AcName, PodUuid};
use rustix::fs::StatVfsMountFlags;
use std::path::{Path, PathBuf};

use crate::state::Place;

/// Mode of pod directories and of the directories that hold them.
pub const DIR_MODE: u32 = 0o750;
/// Mode of files that only prepare writes.
pub const FILE_MODE: u32 = 0o640;

/// The pod manifest, compact JSON.
pub const POD: &str = "pod";
/// Locked exclusively while the manifest of a mutable pod is edited.
pub const POD_LOCK: &str = "pod.lck";
/// Empty; its mtime is the pod's creation time.
pub const POD_CREATED: &str = "pod-created";
/// Empty; says that the apps' roots are overlays.
pub const OVERLAY_PREPARED: &str = "overlay-prepared";
/// `<shift>:<count>`, decimal; says that the pod has its own user namespace.
pub const PRIVATE_USERS_PREPARED: &str = "private-users-prepared";
/// What a listing needs to know, see [`crate::summary`].
pub const SUMMARY: &str = "summary";
/// Decimal pid of the process to enter; its mtime is the pod's start.
pub const PID: &str = "pid";
/// Decimal pid of that process' parent (rkt 1.30's container flavours).
pub const PPID: &str = "ppid";
/// Decimal process group (fly).
pub const PGID: &str = "pgid";
/// The pod's cgroup path below its hierarchy's root, no newline.
pub const SUBCGROUP: &str = "subcgroup";
/// One absolute cgroup directory of the pod per line, for gc.
pub const CGROUPS: &str = "cgroups";
/// The pod's networks, see [`crate::netinfo`].
pub const NET_INFO: &str = "net-info.json";
/// Copies of the network configurations in use.
pub const NET: &str = "net";
/// Path of the mounted network namespace, no newline.
pub const NETNS: &str = "netns";
/// Symlink that names the flavour.
pub const FLAVOR: &str = "flavor";
/// Settings of the run for later entry points; stage1's alone.
pub const RUNTIME_CONFIG: &str = "runtime-config";
/// SELinux labels of the pod's processes and files, see [`crate::labels`].
pub const SELINUX: &str = "selinux";
/// Tree id of the stage1 image.
pub const STAGE1_TREE: &str = "stage1TreeStoreID";
pub const STAGE1: &str = "stage1";
pub const STAGE1_MANIFEST: &str = "stage1/manifest";
/// `S`, the stage1 rootfs.
pub const STAGE1_ROOTFS: &str = "stage1/rootfs";
pub const APPS_INFO: &str = "appsinfo";
pub const OVERLAY: &str = "overlay";
pub const SHARED_VOLUMES: &str = "sharedVolumes";
pub const LOG: &str = "log";
/// The pod's control socket, see [`crate::control`].
pub const CONTROL: &str = "control";
/// Empty; the pod was made while the store could not be written, and its layers
/// have no holds yet.
pub const UNHELD: &str = "layers-not-held";
/// Present while the pod is registered with the metadata service.
pub const MDS_REGISTERED: &str = "mds-registered";

/// Below `S`.
pub const RKT: &str = "rkt";
pub const STATUS: &str = "rkt/status";
pub const ENV: &str = "rkt/env";
/// Below `S/rkt`: a symlink to [`READY`] once the supervisor takes orders.
pub const SUPERVISOR_STATUS: &str = "supervisor-status";
pub const READY: &str = "ready";
/// Below `S`.
pub const RESOLV_CONF: &str = "etc/rkt-resolv.conf";
pub const HOSTS: &str = "etc/rkt-hosts";
pub const HOSTS_FALLBACK: &str = "etc/hosts-fallback";

/// `<data>/pods`.
pub fn pods(data_dir: &Path) -> PathBuf {
    data_dir.join("pods")
}

/// `<data>/pods/<place>`.
pub fn place(data_dir: &Path, place: Place) -> PathBuf {
    pods(data_dir).join(place.name())
}

/// `P`: `<data>/pods/<place>/<uuid>`.
pub fn pod(data_dir: &Path, at: Place, uuid: &PodUuid) -> PathBuf {
    place(data_dir, at).join(uuid.as_str())
}

/// `<data>/locks`; where that cannot be written (a data directory on squashfs)
/// `<data>/pods/locks`, so that `pods` is all that must be.
pub fn locks(data_dir: &Path) -> PathBuf {
    let usual = data_dir.join("locks");
    let there = rustix::fs::statvfs(&usual).or_else(|_| rustix::fs::statvfs(data_dir));
    match there {
        Ok(fs) if fs.f_flag.contains(StatVfsMountFlags::RDONLY) => pods(data_dir).join("locks"),
        _ => usual,
    }
}

/// `prepareLock` in [`locks`].
pub fn prepare_lock(data_dir: &Path) -> PathBuf {
    locks(data_dir).join("prepareLock")
}

/// Image manifest of an app.
pub fn app_manifest(app: &AcName) -> String {
    format!("{APPS_INFO}/{}/manifest", app.as_str())
}

/// Tree id of an app's image; only overlay pods have it.
pub fn app_tree(app: &AcName) -> String {
    format!("{APPS_INFO}/{}/treeStoreID", app.as_str())
}

/// What an app's root is made of, see [`crate::rootfs`].
pub fn app_rootfs_record(app: &AcName) -> String {
    format!("{APPS_INFO}/{}/rootfs", app.as_str())
}

/// Directory of an app's own files: the mount point or copy is `rootfs` in it.
pub fn app_dir(app: &AcName) -> String {
    format!("{STAGE1_ROOTFS}/opt/stage2/{}", app.as_str())
}

/// `A`: an app's root.
pub fn app_rootfs(app: &AcName) -> String {
    format!("{}/rootfs", app_dir(app))
}

/// What an app wrote, for overlay pods.
pub fn overlay_upper(tree: &str, app: &AcName) -> String {
    format!("{OVERLAY}/{tree}/upper/{}", app.as_str())
}

/// The kernel's scratch directory beside [`overlay_upper`].
pub fn overlay_work(tree: &str, app: &AcName) -> String {
    format!("{OVERLAY}/{tree}/work/{}", app.as_str())
}

/// Exit status of an app, from `P`.
pub fn status(app: &AcName) -> String {
    format!("{STAGE1_ROOTFS}/{STATUS}/{}", app.as_str())
}

/// Environment of an app, from `P`: `K=V`, one per line.
pub fn env(app: &AcName) -> String {
    format!("{STAGE1_ROOTFS}/{ENV}/{}", app.as_str())
}

/// Log file of an app; its older half has `.1` behind it. No app can be
/// called so: an AC Name holds no dot.
pub fn log(app: &AcName) -> String {
    format!("{LOG}/{}", app.as_str())
}
