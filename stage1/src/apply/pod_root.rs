//! The pod's own small root: a tmpfs with `/proc`, the devices that its apps
//! share, the apps' root file systems and the volumes, and nothing else.
//!
//! PID 1 lives in it, and each app's mount namespace is cloned from it: few
//! mounts to copy, none of the host's to find.
//!
//! ```text
//! /proc /dev/pts /dev/shm /dev/mqueue   shared by the apps
//! /etc/{hosts,hostname,resolv.conf}     bound into each app
//! /empty /null                          what masked paths show
//! /opt/stage2/<app>/rootfs              overlay, or a bind of the copy
//! /rkt/volumes/<n>                      volumes, in the plan's order
//! ```

use std::os::fd::{AsFd, BorrowedFd};

use model::Fault;
use pod::{layout, rootfs::Rootfs};
use rustix::fs::{CWD, Mode, OFlags};
use sys::mount::{self, Flags};
use sys::userns;

use super::guest::Guest;
use super::{building, building_rx, devices, mkdir, open_directory, rootfs, through_proc, volumes};
use crate::load::EtcFiles;
use crate::plan::{AppPlan, Plan, Source, Users, VolumePlan};

const TIGHT: Flags = Flags::NOSUID.and(Flags::NODEV).and(Flags::NOEXEC);

/// Builds it in this process' fresh mount namespace and moves in.
pub fn build(plan: &Plan, etc: &EtcFiles, mutable: bool) -> Result<(), Fault> {
    if !matches!(plan.users, Users::Private { .. }) {
        outside(plan, mutable)?;
    }
    inside(plan, etc)
}

/// What takes the rights over the host's files: the apps' roots and the volumes.
/// The current directory is the pod's, and afterwards the pod's new root; an fd of
/// it from before the clone would belong to the old mount namespace, where nothing
/// can be mounted from here.
pub fn outside(plan: &Plan, mutable: bool) -> Result<(), Fault> {
    mount::propagation("/", Flags::SLAVE).map_err(building("mount propagation"))?;
    let guest = Guest::of(plan.users)?;
    let guest = guest.as_ref();
    let pod = open_directory(CWD, ".")?;
    let pod = pod.as_fd();
    // The tmpfs hides what lies below it, so whatever is needed from there is
    // opened first.
    let copies = plan
        .apps
        .iter()
        .map(|app| rootfs::open_copy(app, pod))
        .collect::<Result<Vec<_>, _>>()?;
    let options = format!(
        "mode=0755,size=16m,nr_inodes=4096{}",
        guest.map(Guest::mount_options).unwrap_or_default()
    );
    let options = plan.mount_label.options(&options);
    mount::mount("rkt", layout::STAGE1_ROOTFS, "tmpfs", TIGHT, &options)
        .map_err(building("the pod's root (tmpfs)"))?;
    mount::chdir(layout::STAGE1_ROOTFS).map_err(building("the pod's root"))?;
    for directory in ["opt", "opt/stage2", "rkt", "rkt/volumes"] {
        mkdir(directory, 0o755)?;
        guest.map_or(Ok(()), |guest| guest.own(directory))?;
    }
    if plan.users.confined() {
        devices::bind_nodes()?;
    }
    skeleton(guest)?;
    for (app, copy) in plan.apps.iter().zip(&copies) {
        rootfs::put(app, &app.rootfs, copy.as_ref(), pod, guest)?;
    }
    for (number, volume) in plan.volumes.iter().enumerate() {
        volumes::put(number, volume, &plan.apps, pod, guest, &plan.mount_label)?;
    }
    if mutable {
        keep_in_view(pod)?;
    }
    Ok(())
}

/// What takes the pod's own namespaces; then the move.
fn inside(plan: &Plan, etc: &EtcFiles) -> Result<(), Fault> {
    if matches!(plan.users, Users::Private { .. }) {
        unlock_cwd("rkt/..").map_err(building("the pod's root"))?;
    }
    for directory in [
        "proc",
        "dev",
        "dev/pts",
        "dev/shm",
        "dev/mqueue",
        "etc",
        "empty",
        "rkt/etc",
    ] {
        mkdir(directory, 0o755)?;
    }
    mount::mount("proc", "proc", "proc", TIGHT, "").map_err(building("/proc"))?;
    // PID 1 only looks: through `/proc/1/root` nobody shall write a sysctl.
    mount::remount_read_only("proc").map_err(building("/proc"))?;
    // What masked paths show: an empty directory that stays so, and a null device.
    let options = plan.mount_label.options("mode=0555,size=4k,nr_inodes=2");
    mount::mount("empty", "empty", "tmpfs", TIGHT | Flags::RDONLY, &options)
        .map_err(building("/empty"))?;
    let confined = plan.users.confined();
    devices::cover(confined)?;
    let gid = !confined || userns::own_gids().holds(TTY_GROUP);
    devices::shared(TIGHT, gid, plan.host_ipc, &plan.mount_label)?;
    if confined {
        sysfs(plan.host_network)?;
    }
    write_etc(etc)?;
    // A ramfs root (an initramfs) has no parent mount to pivot under.
    mount::pivot_to_cwd()
        .or_else(|_| mount::move_cwd_to_root())
        .map_err(building("the pod's root (pivot_root)"))
}

/// Whose terminals are, by custom of all distributions.
const TTY_GROUP: u32 = 5;

/// Mounts that a process has from outside its user namespace are locked: they
/// cannot be the root. A copy of the one here, laid over it, can. `again` leads
/// from here to here, past what is mounted now: before Linux 5.2 nothing else does.
pub(super) fn unlock_cwd(again: &str) -> std::io::Result<()> {
    let here = rustix::fs::open(".", OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
    match mount::clone_tree(here.as_fd(), true) {
        Err(err) if err.raw_os_error() == Some(rustix::io::Errno::NOSYS.raw_os_error()) => {}
        tree => {
            let tree = tree?;
            mount::move_tree(tree.as_fd(), here.as_fd())?;
            return Ok(rustix::process::fchdir(&tree)?);
        }
    }
    mount::bind(".", ".", true)?;
    mount::chdir(again)
}

/// In a user namespace each app cannot mount its own: the kernel wants to see one
/// that is mounted already, and the network namespace to be ours. The host's
/// network shows in the host's.
fn sysfs(host_network: bool) -> Result<(), Fault> {
    mkdir("sys", 0o755)?;
    if !host_network {
        return mount::mount("sysfs", "sys", "sysfs", TIGHT | Flags::RDONLY, "")
            .map_err(building("/sys"));
    }
    let host = open_directory(CWD, "/sys")?;
    let here = open_directory(CWD, "sys")?;
    mount::attach(host.as_fd(), here.as_fd(), true, true).map_err(building("/sys"))
}

/// The undermost layer of every overlay: what `app_root` needs to find in each
/// app's root. Here a directory costs microseconds; in the app's own upper
/// layer, on a real disk, it would cost more than the mount that it is for.
pub(super) const SKELETON: &str = "rkt/skeleton";
const SKELETON_DIRECTORIES: [(&str, u32); 7] = [
    ("", 0o755),
    ("dev", 0o755),
    ("etc", 0o755),
    ("proc", 0o755),
    ("run", 0o755),
    ("sys", 0o755),
    ("tmp", 0o1777),
];

fn skeleton(guest: Option<&Guest>) -> Result<(), Fault> {
    let own = |path: &str| guest.map_or(Ok(()), |guest| guest.own(path));
    for (name, mode) in SKELETON_DIRECTORIES {
        let path = format!("{SKELETON}/{name}");
        mkdir(&path, mode)?;
        own(&path)?;
    }
    for name in ["hostname", "hosts"] {
        let path = format!("{SKELETON}/etc/{name}");
        super::touch(&path, 0o644)?;
        own(&path)?;
    }
    let mtab = format!("{SKELETON}/etc/mtab");
    rustix::fs::symlink("../proc/self/mounts", mtab.as_str()).map_err(building_rx("/etc/mtab"))?;
    own(&mtab)
}

/// Where a mutable pod finds its own directory and the image store.
pub const POD_IN_VIEW: &str = "/rkt/pod";
const STORE_IN_VIEW: &str = "/rkt/store";

/// Apps may come later: what they are made of must stay in reach, the layers
/// read-only. Needs no way out of the pod's root, so it works on any kernel.
fn keep_in_view(pod: BorrowedFd<'_>) -> Result<(), Fault> {
    mkdir("rkt/pod", 0o700)?;
    mkdir("rkt/store", 0o700)?;
    mount::bind(through_proc(pod), "rkt/pod", false).map_err(building(POD_IN_VIEW))?;
    // <data>/pods/run/<uuid>
    let store = rustix::fs::openat(
        pod,
        "../../../store",
        OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC,
        Mode::empty(),
    )
    .map_err(building_rx("the image store"))?;
    mount::bind(through_proc(store.as_fd()), "rkt/store", false)
        .map_err(building(STORE_IN_VIEW))?;
    mount::remount_read_only("rkt/store").map_err(building(STORE_IN_VIEW))
}

/// Mounts the root of an app that is added to a running, mutable pod.
pub fn add(app: &AppPlan, volumes: &[VolumePlan], first: usize) -> Result<(), Fault> {
    mount::chdir("/").map_err(building("/"))?;
    let pod = open_directory(CWD, POD_IN_VIEW)?;
    let copy = rootfs::open_copy(app, pod.as_fd())?;
    let mut app_rootfs_in_view = app.rootfs.clone();
    if let Rootfs::Overlay { lowers, .. } = &mut app_rootfs_in_view {
        for lower in lowers.iter_mut() {
            let (_, inside) = lower.rsplit_once("/store/").ok_or_else(|| {
                Fault::corrupt(format!("layer \"{lower}\" is not in the image store"))
            })?;
            *lower = format!("{STORE_IN_VIEW}/{inside}");
        }
    }
    rootfs::put(app, &app_rootfs_in_view, copy.as_ref(), pod.as_fd(), None)?;
    for (number, volume) in volumes.iter().enumerate().skip(first) {
        if !matches!(volume.source, Source::Empty { .. }) {
            return Err(Fault::unsupported(format!(
                "volume \"{}\" of the host cannot be brought into a running pod",
                volume.name
            ))
            .hint("declare it when the pod is made"));
        }
        volumes::put(number, volume, &[], pod.as_fd(), None, &app.mount_label)?;
    }
    Ok(())
}

/// Takes down the root of an app that is removed.
pub fn remove(app: &str) -> Result<(), Fault> {
    let stage2 = format!("/{}", stage2(app));
    mount::detach(format!("{stage2}/rootfs")).map_err(building(app))?;
    let _ = rustix::fs::rmdir(format!("{stage2}/rootfs"));
    let _ = rustix::fs::rmdir(stage2);
    // An app of the same name that comes later starts with its own.
    for name in ["hostname", "hosts", "resolv.conf"] {
        let _ = rustix::fs::unlink(format!("{}/{app}.{name}", super::app_root::OWN_ETC));
    }
    Ok(())
}

fn write_etc(etc: &EtcFiles) -> Result<(), Fault> {
    for (name, content) in [
        ("etc/hostname", Some(&etc.hostname)),
        ("etc/hosts", etc.hosts.as_ref()),
        ("etc/hosts-fallback", etc.hosts_fallback.as_ref()),
        ("etc/resolv.conf", etc.resolv_conf.as_ref()),
    ] {
        if let Some(content) = content {
            write_file(name, content)?;
        }
    }
    Ok(())
}

/// In the finished root, when the network has brought name servers.
pub fn write_resolv_conf(content: &str) -> Result<(), Fault> {
    write_file("/etc/resolv.conf", content)
}

fn write_file(name: &'static str, content: &str) -> Result<(), Fault> {
    // World-readable, and writable by nobody but root: no umask helps here.
    let flags = OFlags::CREATE | OFlags::WRONLY | OFlags::CLOEXEC;
    let file =
        rustix::fs::open(name, flags, Mode::from_raw_mode(0o644)).map_err(building_rx(name))?;
    rustix::io::write(&file, content.as_bytes())
        .map(drop)
        .map_err(building_rx(name))
}

/// An app's directory, relative to the pod's root.
pub(super) fn stage2(app: &str) -> String {
    format!("opt/stage2/{app}")
}
