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

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use model::{AcName, Fault};
use pod::{layout, rootfs::Rootfs};
use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags};
use sys::mount::{self, Flags};

use super::{building, building_rx};
use crate::load::EtcFiles;
use crate::plan::{AppPlan, Plan, Source, VolumePlan};

/// Builds it in this process' fresh mount namespace and moves in. The current
/// directory is the pod's; an fd of it from before the clone would belong to
/// the old mount namespace, where nothing can be mounted from here.
pub fn build(plan: &Plan, etc: &EtcFiles, mutable: bool) -> Result<(), Fault> {
    mount::propagation("/", Flags::SLAVE).map_err(building("mount propagation"))?;
    let pod = open_directory(CWD, ".")?;
    let pod = pod.as_fd();
    // The tmpfs hides what lies below it, so whatever is needed from there is
    // opened first.
    let copies = plan
        .apps
        .iter()
        .map(|app| open_copy(app, pod))
        .collect::<Result<Vec<_>, _>>()?;
    let tight = Flags::NOSUID | Flags::NODEV | Flags::NOEXEC;
    mount::mount(
        "rkt",
        layout::STAGE1_ROOTFS,
        "tmpfs",
        tight,
        "mode=0755,size=16m,nr_inodes=4096",
    )
    .map_err(building("the pod's root (tmpfs)"))?;
    mount::chdir(layout::STAGE1_ROOTFS).map_err(building("the pod's root"))?;

    for directory in [
        "proc",
        "dev",
        "dev/pts",
        "dev/shm",
        "dev/mqueue",
        "etc",
        "empty",
        "opt",
        "opt/stage2",
        "rkt",
        "rkt/etc",
        "rkt/volumes",
    ] {
        mkdir(directory, 0o755)?;
    }
    mount::mount("proc", "proc", "proc", tight, "").map_err(building("/proc"))?;
    // PID 1 only looks: through `/proc/1/root` nobody shall write a sysctl.
    mount::remount_read_only("proc").map_err(building("/proc"))?;
    // What masked paths show: an empty directory that stays so, and a device
    // node where devices do not work, which not even root can open.
    mount::mount(
        "empty",
        "empty",
        "tmpfs",
        tight | Flags::RDONLY,
        "mode=0555,size=4k,nr_inodes=2",
    )
    .map_err(building("/empty"))?;
    rustix::fs::mknodat(
        CWD,
        "null",
        FileType::CharacterDevice,
        Mode::empty(),
        rustix::fs::makedev(1, 3),
    )
    .map_err(building_rx("/null"))?;
    devices(tight)?;
    write_etc(etc)?;
    skeleton()?;
    for (app, copy) in plan.apps.iter().zip(&copies) {
        app_rootfs(&app.name, &app.rootfs, copy.as_ref(), pod)?;
    }
    for (number, volume) in plan.volumes.iter().enumerate() {
        self::volume(number, volume, &plan.apps, pod)?;
    }
    if mutable {
        keep_in_view(pod)?;
    }
    // A ramfs root (an initramfs) has no parent mount to pivot under.
    mount::pivot_to_cwd()
        .or_else(|_| mount::move_cwd_to_root())
        .map_err(building("the pod's root (pivot_root)"))
}

/// The undermost layer of every overlay: what `app_root` needs to find in each
/// app's root. Here a directory costs microseconds; in the app's own upper
/// layer, on a real disk, it would cost more than the mount that it is for.
const SKELETON: &str = "rkt/skeleton";
const SKELETON_DIRECTORIES: [(&str, u32); 7] = [
    ("", 0o755),
    ("dev", 0o755),
    ("etc", 0o755),
    ("proc", 0o755),
    ("run", 0o755),
    ("sys", 0o755),
    ("tmp", 0o1777),
];

fn skeleton() -> Result<(), Fault> {
    for (name, mode) in SKELETON_DIRECTORIES {
        mkdir(&format!("{SKELETON}/{name}"), mode)?;
    }
    for name in ["hostname", "hosts"] {
        let flags = OFlags::CREATE | OFlags::WRONLY | OFlags::CLOEXEC;
        rustix::fs::open(
            format!("{SKELETON}/etc/{name}"),
            flags,
            Mode::from_raw_mode(0o644),
        )
        .map_err(building_rx(name))?;
    }
    rustix::fs::symlink("../proc/self/mounts", format!("{SKELETON}/etc/mtab"))
        .map_err(building_rx("/etc/mtab"))
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
    let copy = open_copy(app, pod.as_fd())?;
    let mut app_rootfs_in_view = app.rootfs.clone();
    if let Rootfs::Overlay { lowers, .. } = &mut app_rootfs_in_view {
        for lower in lowers.iter_mut() {
            let (_, inside) = lower.rsplit_once("/store/").ok_or_else(|| {
                Fault::corrupt(format!("layer \"{lower}\" is not in the image store"))
            })?;
            *lower = format!("{STORE_IN_VIEW}/{inside}");
        }
    }
    app_rootfs(&app.name, &app_rootfs_in_view, copy.as_ref(), pod.as_fd())?;
    for (number, volume) in volumes.iter().enumerate().skip(first) {
        if !matches!(volume.source, Source::Empty { .. }) {
            return Err(Fault::unsupported(format!(
                "volume \"{}\" of the host cannot be brought into a running pod",
                volume.name
            ))
            .hint("declare it when the pod is made"));
        }
        self::volume(number, volume, &[], pod.as_fd())?;
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

/// What the apps of a pod share, since they share its ipc namespace.
fn devices(tight: Flags) -> Result<(), Fault> {
    let no_exec = Flags::NOSUID | Flags::NOEXEC;
    mount::mount(
        "devpts",
        "dev/pts",
        "devpts",
        no_exec,
        "newinstance,ptmxmode=0666,mode=0620,gid=5",
    )
    .map_err(building("/dev/pts"))?;
    mount::mount("shm", "dev/shm", "tmpfs", tight, "mode=1777,size=65536k")
        .map_err(building("/dev/shm"))?;
    match mount::mount("mqueue", "dev/mqueue", "mqueue", tight, "") {
        // A kernel without POSIX message queues.
        Err(err) if err.raw_os_error() == Some(rustix::io::Errno::NODEV.raw_os_error()) => Ok(()),
        other => other.map_err(building("/dev/mqueue")),
    }
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

fn open_copy(app: &AppPlan, pod: BorrowedFd<'_>) -> Result<Option<OwnedFd>, Fault> {
    match app.rootfs {
        Rootfs::Overlay { .. } => Ok(None),
        Rootfs::Copied { .. } => {
            let path = format!("{}/{}/rootfs", layout::STAGE1_ROOTFS, stage2(&app.name));
            open_directory(pod, &path).map(Some)
        }
    }
}

/// An app's directory, relative to the pod's root.
pub(super) fn stage2(app: &str) -> String {
    format!("opt/stage2/{app}")
}

/// fly's: mounts the app's root at `target` below the current directory (the
/// pod's) and steps into it.
pub fn enter_fly_rootfs(app: &AppPlan, rootfs: &Rootfs, target: &str) -> Result<(), Fault> {
    let pod = open_directory(CWD, ".")?;
    let here = std::env::current_dir().map_err(building("the pod's directory"))?;
    let whole = here.join(target).to_string_lossy().into_owned();
    // Layers are named below /proc of the current directory.
    mount::chdir("/").map_err(building("/"))?;
    match rootfs {
        Rootfs::Overlay { tree_id, lowers } => {
            make_beside(pod.as_fd(), target)?;
            overlay(&app.name, tree_id, lowers, pod.as_fd(), &whole, None)?;
        }
        Rootfs::Copied { .. } => mount::bind(&whole, &whole, false).map_err(building(&app.name))?,
    }
    mount::chdir(&whole).map_err(building(&whole))
}

fn app_rootfs(
    app: &str,
    rootfs: &Rootfs,
    copy: Option<&OwnedFd>,
    pod: BorrowedFd<'_>,
) -> Result<(), Fault> {
    let target = format!("{}/rootfs", stage2(app));
    mkdir(&stage2(app), 0o755)?;
    mkdir(&target, 0o755)?;
    match (rootfs, copy) {
        (Rootfs::Overlay { tree_id, lowers }, _) => {
            overlay(app, tree_id, lowers, pod, &target, Some(SKELETON))
        }
        (Rootfs::Copied { .. }, Some(copy)) => {
            mount::bind(through_proc(copy.as_fd()), &target, false).map_err(building(app))
        }
        (Rootfs::Copied { .. }, None) => Err(Fault::corrupt(format!("app \"{app}\" has no root"))),
    }
}

/// Layers go in by fd: no limit on the length of their names, no character of
/// theirs to escape, and no path of the host in the app's mountinfo.
fn overlay(
    app: &str,
    tree: &str,
    lowers: &[String],
    pod: BorrowedFd<'_>,
    target: &str,
    undermost: Option<&str>,
) -> Result<(), Fault> {
    let name = AcName::new(app)?;
    let layers = lowers
        .iter()
        .map(|path| open_directory(CWD, path))
        .collect::<Result<Vec<_>, _>>()?;
    let top = layers
        .first()
        .ok_or_else(|| Fault::corrupt(format!("app \"{}\" has no layers", app)))?;
    let upper = make_beside(pod, &layout::overlay_upper(tree, &name))?;
    let work = make_beside(pod, &layout::overlay_work(tree, &name))?;
    // The upper directory is the app's `/`: mode and owner come from the image.
    let stat = rustix::fs::fstat(top).map_err(building_rx(app))?;
    let mode = Mode::from_raw_mode(stat.st_mode & 0o7777);
    rustix::fs::chownat(
        &upper,
        "",
        Some(rustix::fs::Uid::from_raw(stat.st_uid)),
        Some(rustix::fs::Gid::from_raw(stat.st_gid)),
        AtFlags::EMPTY_PATH,
    )
    .and_then(|()| rustix::fs::chmod(through_proc(upper.as_fd()), mode))
    .map_err(building_rx("the overlay's upper directory"))?;
    let mut names: Vec<String> = layers
        .iter()
        .map(|layer| through_proc(layer.as_fd()))
        .collect();
    names.extend(undermost.map(str::to_string));
    let options = format!(
        "lowerdir={},upperdir={},workdir={}",
        names.join(":"),
        through_proc(upper.as_fd()),
        through_proc(work.as_fd())
    );
    mount::mount("overlay", target, "overlay", Flags::NONE, &options).map_err(|err| {
        Fault::io(
            "cannot mount the overlay of app",
            format!("\"{}\"", app),
            err,
        )
        .hint("run with --no-overlay, or look at rkt doctor")
    })
}

/// Makes a directory chain below the pod's directory and opens its end.
fn make_beside(pod: BorrowedFd<'_>, path: &str) -> Result<OwnedFd, Fault> {
    let mut at = String::new();
    for part in path.split('/') {
        at.push_str(part);
        match rustix::fs::mkdirat(pod, at.as_str(), Mode::from_raw_mode(0o750)) {
            Ok(()) | Err(rustix::io::Errno::EXIST) => {}
            Err(err) => return Err(Fault::io("mkdir", &at, err)),
        }
        at.push('/');
    }
    open_directory(pod, path)
}

fn volume(
    number: usize,
    volume: &VolumePlan,
    apps: &[AppPlan],
    pod: BorrowedFd<'_>,
) -> Result<(), Fault> {
    let source = match &volume.source {
        Source::Host(path) => {
            rustix::fs::open(path.as_str(), OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).map_err(
                |err| {
                    Fault::io("stat", path, err)
                        .message(format!("stat of host path {path}"))
                        .hint(format!(
                            "volume \"{}\" needs its source to exist on the host",
                            volume.name
                        ))
                },
            )?
        }
        Source::Empty {
            directory,
            mode,
            uid,
            gid,
        } => {
            let fd = empty_volume(pod, directory)?;
            if let Some(fd) = &fd.fresh {
                own(fd.as_fd(), *mode, *uid, *gid)?;
            }
            fd.path
        }
        Source::CopyUp {
            directory,
            app,
            path,
        } => {
            let fd = empty_volume(pod, directory)?;
            if let (Some(to), Some(app)) = (&fd.fresh, apps.get(*app)) {
                copy_up(&format!("{}/rootfs", stage2(&app.name)), path, to.as_fd())?;
            }
            fd.path
        }
    };
    let target = format!("rkt/volumes/{number}");
    let stat = rustix::fs::fstat(&source).map_err(building_rx(&volume.name))?;
    if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
        mkdir(&target, 0o755)?;
    } else {
        let flags = OFlags::CREATE | OFlags::WRONLY | OFlags::CLOEXEC;
        rustix::fs::open(target.as_str(), flags, Mode::from_raw_mode(0o600))
            .map_err(building_rx(&volume.name))?;
    }
    mount::bind(through_proc(source.as_fd()), &target, volume.recursive)
        .map_err(|err| Fault::io("cannot bind volume", format!("\"{}\"", volume.name), err))
}

/// A directory below `sharedVolumes`; `fresh` when this call made it, so that
/// what a volume holds already is never chowned or copied over again.
struct EmptyVolume {
    path: OwnedFd,
    fresh: Option<OwnedFd>,
}

fn empty_volume(pod: BorrowedFd<'_>, name: &str) -> Result<EmptyVolume, Fault> {
    let shared = layout::SHARED_VOLUMES;
    match rustix::fs::mkdirat(pod, shared, Mode::from_raw_mode(0o755)) {
        Ok(()) | Err(rustix::io::Errno::EXIST) => {}
        Err(err) => return Err(Fault::io("mkdir", shared, err)),
    }
    let path = format!("{shared}/{name}");
    let fresh = match rustix::fs::mkdirat(pod, path.as_str(), Mode::from_raw_mode(0o770)) {
        Ok(()) => true,
        Err(rustix::io::Errno::EXIST) => false,
        Err(err) => return Err(Fault::io("mkdir", &path, err)),
    };
    let opened = open_directory(pod, &path)?;
    let fresh = fresh
        .then(|| {
            rustix::fs::openat(
                pod,
                path.as_str(),
                OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC,
                Mode::empty(),
            )
        })
        .transpose()
        .map_err(|err| Fault::io("open", &path, err))?;
    Ok(EmptyVolume {
        path: opened,
        fresh,
    })
}

fn own(directory: BorrowedFd<'_>, mode: u32, uid: u32, gid: u32) -> Result<(), Fault> {
    // chown first: it clears setuid bits that the mode may ask for.
    rustix::fs::fchown(
        directory,
        Some(rustix::fs::Uid::from_raw(uid)),
        Some(rustix::fs::Gid::from_raw(gid)),
    )
    .and_then(|()| rustix::fs::fchmod(directory, Mode::from_raw_mode(mode)))
    .map_err(building_rx("an empty volume"))
}

/// Copies what the image has at `path` into a fresh volume, with the owner and
/// mode of that directory. Nothing there, nothing copied.
fn copy_up(rootfs: &str, path: &str, to: BorrowedFd<'_>) -> Result<(), Fault> {
    let root = sys::fs::InRoot::at(rootfs).map_err(building(rootfs))?;
    let from = match root.open(
        path,
        OFlags::DIRECTORY | OFlags::RDONLY | OFlags::CLOEXEC,
        Mode::empty(),
    ) {
        Ok(from) => from,
        Err(err) if [Some(2), Some(20)].contains(&err.raw_os_error()) => {
            return own(to, 0o755, 0, 0);
        }
        Err(err) => return Err(Fault::io("open", path, err)),
    };
    // Owner and mode of the directory itself come last, with the rest of it. No
    // app runs yet, so nobody can exchange what is being copied.
    sys::copy::copy_tree(from.as_fd(), to).map_err(|err| {
        let at = std::path::Path::new(path).join(&err.path);
        Fault::io("copy", at.display(), std::io::Error::from(err))
    })
}

fn open_directory(at: BorrowedFd<'_>, path: &str) -> Result<OwnedFd, Fault> {
    rustix::fs::openat(
        at,
        path,
        OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC,
        Mode::empty(),
    )
    .map_err(|err| Fault::io("open", path, err))
}

fn mkdir(path: &str, mode: u32) -> Result<(), Fault> {
    rustix::fs::mkdir(path, Mode::from_raw_mode(mode)).map_err(building_rx(path))
}

/// An fd as a path that works from the pod's root, before and after the move.
fn through_proc(fd: BorrowedFd<'_>) -> String {
    format!("proc/self/fd/{}", fd.as_raw_fd())
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt, symlink};
    use std::path::{Path, PathBuf};

    /// A directory that goes with the value, with `rootfs/`, `volume/` and a
    /// `host/` that nothing may reach.
    struct Place(PathBuf);

    impl Place {
        fn new(test: &str) -> Place {
            let path =
                std::env::temp_dir().join(format!("rkt-copy-up-{test}-{}", std::process::id()));
            for directory in ["rootfs/data/below", "volume", "host"] {
                std::fs::create_dir_all(path.join(directory)).unwrap();
            }
            std::fs::write(path.join("host/secret"), "host").unwrap();
            Place(path)
        }

        fn copy_up(&self, path: &str) -> Result<(), Fault> {
            let to = std::fs::File::open(self.0.join("volume")).unwrap();
            copy_up(self.0.join("rootfs").to_str().unwrap(), path, to.as_fd())
        }

        fn volume(&self) -> Vec<String> {
            let entries = std::fs::read_dir(self.0.join("volume")).unwrap();
            let mut names: Vec<_> = entries
                .map(|entry| entry.unwrap().file_name().into_string().unwrap())
                .collect();
            names.sort();
            names
        }
    }

    impl Drop for Place {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn a_fresh_volume_gets_what_the_image_has_there() {
        let place = Place::new("content");
        let data = place.0.join("rootfs/data");
        std::fs::write(data.join("below/file"), "image").unwrap();
        symlink(place.0.join("host"), data.join("way")).unwrap();
        symlink("../../host/secret", data.join("up")).unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(data.join("socket")).unwrap();
        std::fs::set_permissions(&data, PermissionsExt::from_mode(0o1751)).unwrap();
        // The mount point may be reached by a link, which stays in the image.
        symlink("/data", place.0.join("rootfs/link")).unwrap();
        place.copy_up("/link").unwrap();
        assert_eq!(place.volume(), ["below", "up", "way"]);
        let volume = place.0.join("volume");
        assert_eq!(std::fs::read(volume.join("below/file")).unwrap(), b"image");
        assert_eq!(
            std::fs::read_link(volume.join("way")).unwrap(),
            place.0.join("host")
        );
        assert_eq!(
            std::fs::read_link(volume.join("up")).unwrap(),
            Path::new("../../host/secret")
        );
        let mode = std::fs::metadata(&volume).unwrap().permissions().mode();
        assert_eq!(mode & 0o7777, 0o1751);
    }

    #[test]
    fn a_mount_point_that_leads_out_of_the_image_brings_nothing() {
        // The fallback gives the volume to root.
        if !rustix::process::geteuid().is_root() {
            return;
        }
        let place = Place::new("out");
        symlink(place.0.join("host"), place.0.join("rootfs/absolute")).unwrap();
        symlink("../host", place.0.join("rootfs/up")).unwrap();
        for path in ["/absolute", "/up", "/../host", "/missing"] {
            place.copy_up(path).unwrap();
            assert!(place.volume().is_empty(), "{path}");
        }
    }

    #[test]
    fn what_a_volume_holds_already_is_never_replaced() {
        let place = Place::new("held");
        std::fs::write(place.0.join("rootfs/data/file"), "image").unwrap();
        std::fs::write(place.0.join("volume/file"), "held").unwrap();
        let fault = place.copy_up("/data").unwrap_err();
        assert_eq!(fault.cause, "copy /data/file: file exists");
        assert_eq!(std::fs::read(place.0.join("volume/file")).unwrap(), b"held");
    }
}
