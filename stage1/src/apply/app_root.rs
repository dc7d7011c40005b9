//! One app's root: the file systems and devices that appc promises, its
//! volumes, and a lid on what it must not see.
//!
//! Runs in the app's own fresh mount namespace, with the pod's small root as
//! `/`. Everything the image could have put in the way (a symlink for `/dev`,
//! say) is opened without following and mounted on by fd; the last step makes
//! the app's root the only one there is.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use model::Fault;
use rustix::fs::{CWD, FileType, Mode, OFlags};
use rustix::io::Errno;
use sys::fs::InRoot;
use sys::mount::{self, Flags};

use super::pod_root::{stage2, unlock_cwd};
use super::{building, building_rx, devices, through_proc};
use crate::plan::{AppPlan, MountLabel, Users, paths};

const DEVICE_LINKS: [(&str, &str); 5] = [
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
    ("ptmx", "pts/ptmx"),
];

/// Where the pod's root keeps each app's own copies of the `/etc` files.
pub const OWN_ETC: &str = "/rkt/etc";

const PROC: u64 = sys::procfs::MAGIC;
const SYSFS: u64 = 0x6265_6572;
const DEVPTS: u64 = 0x1cd1;
const TMPFS: u64 = 0x0102_1994;

/// Labels and settings are written through these, so nothing may pretend to be
/// one of their files (CVE-2019-16884).
const KERNEL_FILES: [u64; 3] = [PROC, SYSFS, DEVPTS];

/// Bound only where the image has no hosts file of its own.
const HOSTS_FALLBACK: &str = "/etc/hosts-fallback";

/// Where the pod's root has the sockets at which apps say that they are ready.
pub const NOTIFY: &str = "/rkt/notify";
/// Where an app finds its own: a place of ours, where no image can be in the way.
pub const NOTIFY_IN_APP: &str = "/dev/notify";

/// Builds the app's root and moves into it. `console` is the number of the
/// pod's terminal to show as `/dev/console`; `notify`: the app has a socket to
/// say that it is ready.
pub fn build(app: &AppPlan, console: Option<u32>, notify: bool) -> Result<(), Fault> {
    let rootfs = format!("/{}/rootfs", stage2(&app.name));
    mount::chdir(&rootfs).map_err(building(&rootfs))?;
    if matches!(app.users, Users::Private { .. }) {
        unlock_cwd(&rootfs).map_err(building(&rootfs))?;
    }
    let root = InRoot::at(".").map_err(building(&rootfs))?;

    proc(&root, app.protect_paths)?;
    let confined = app.users.confined();
    let notify = notify.then_some(app.name.as_str());
    dev(&root, console, notify, confined, &app.mount_label)?;
    if !app
        .mounts
        .iter()
        .any(|mount| mount.target == "/sys" || mount.target.starts_with("/sys/"))
    {
        sysfs(&root, app.protect_paths, confined)?;
    }
    for (name, mode) in [("tmp", 0o1777), ("run", 0o755), ("etc", 0o755)] {
        match make_directory(root.fd(), name, mode) {
            // Whatever the image has there is its own affair.
            Ok(()) | Err(Errno::EXIST) => {}
            Err(err) => return Err(Fault::io("mkdir", format!("/{name}"), err)),
        }
    }
    etc(&root, app)?;
    for volume in &app.mounts {
        self::volume(&root, volume.volume, &volume.target, volume.read_only)?;
    }
    if app.read_only_rootfs {
        mount::remount_read_only(".").map_err(building("the read-only root"))?;
    }
    mount::pivot_to_cwd().map_err(building("the app's root (pivot_root)"))
}

/// A directory to mount on: made if missing, and refused if it is anything
/// else, a symlink above all (CVE-2023-28642, CVE-2026-41579).
fn mount_point(at: BorrowedFd<'_>, name: &str) -> Result<OwnedFd, Fault> {
    match make_directory(at, name, 0o755) {
        Ok(()) | Err(Errno::EXIST) => {}
        Err(err) => return Err(Fault::io("mkdir", format!("/{name}"), err)),
    }
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(at, name, flags, Mode::empty()).map_err(|err| match err {
        Errno::NOTDIR | Errno::LOOP => Fault::refused(format!(
            "\"/{name}\" of the image is not a directory, so nothing can be mounted on it safely"
        ))
        .hint("rebuild the image with a plain directory there"),
        err => Fault::io("open", format!("/{name}"), err),
    })
}

fn make_directory(at: BorrowedFd<'_>, name: &str, mode: u32) -> Result<(), Errno> {
    // An overlay takes its time to find out that a name exists: look first.
    if rustix::fs::statat(at, name, rustix::fs::AtFlags::SYMLINK_NOFOLLOW).is_ok() {
        return Err(Errno::EXIST);
    }
    rustix::fs::mkdirat(at, name, Mode::from_raw_mode(mode))?;
    // The umask is the user's; the mode is a promise.
    let fd = rustix::fs::openat(
        at,
        name,
        OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC,
        Mode::empty(),
    )?;
    rustix::fs::fchmod(&fd, Mode::from_raw_mode(mode))
}

/// Mounts on the directory behind `point` and opens what is there now.
fn mount_on(
    at: BorrowedFd<'_>,
    name: &str,
    fstype: &str,
    flags: Flags,
    data: &str,
) -> Result<OwnedFd, Fault> {
    let point = mount_point(at, name)?;
    rustix::process::fchdir(&point).map_err(building_rx(name))?;
    let mounted = mount::mount(fstype, ".", fstype, flags, data);
    rustix::process::fchdir(at).map_err(building_rx(name))?;
    mounted.map_err(building(format!("/{name}")))?;
    mounted_on(at, name, &point)
}

/// Opens what has just been mounted on `point`. The name is looked up once more,
/// and a process of an earlier program of this app (a handler's orphan) can have
/// exchanged the directory meanwhile, by way of another app that does not have it
/// mounted: what is masked then would be a directory of the image. So it must be
/// another mount than the root's, and of the kind that belongs there.
fn mounted_on(at: BorrowedFd<'_>, name: &str, point: &OwnedFd) -> Result<OwnedFd, Fault> {
    let kind = match name {
        "proc" => PROC,
        "sys" => SYSFS,
        _ => TMPFS,
    };
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let there = rustix::fs::openat(at, name, flags, Mode::empty()).map_err(building_rx(name))?;
    let beneath = rustix::fs::fstat(point).map_err(building_rx(name))?;
    let found = rustix::fs::fstat(&there).map_err(building_rx(name))?;
    let is = rustix::fs::fstatfs(&there).map_err(building_rx(name))?;
    if is.f_type as u64 != kind || found.st_dev == beneath.st_dev {
        return Err(Fault::refused(format!(
            "\"/{name}\" of the app was exchanged while it was mounted"
        )));
    }
    Ok(there)
}

fn proc(root: &InRoot, protect: bool) -> Result<(), Fault> {
    let tight = Flags::NOSUID | Flags::NODEV | Flags::NOEXEC;
    let proc = mount_on(root.fd(), "proc", "proc", tight, "")?;
    if protect {
        for path in paths::READ_ONLY
            .iter()
            .filter_map(|path| path.strip_prefix("/proc/"))
        {
            read_only(proc.as_fd(), path)?;
        }
        mask(proc.as_fd(), "/proc/")?;
    }
    Ok(())
}

/// `bound`: the pod's own, which in a user namespace is read-only whatever is asked.
fn sysfs(root: &InRoot, protect: bool, bound: bool) -> Result<(), Fault> {
    let sys = if bound {
        let point = mount_point(root.fd(), "sys")?;
        mount::bind("/sys", through_proc(point.as_fd()), true).map_err(building("/sys"))?;
        mounted_on(root.fd(), "sys", &point)?
    } else {
        let tight = Flags::NOSUID | Flags::NODEV | Flags::NOEXEC;
        let flags = if protect {
            tight | Flags::RDONLY
        } else {
            tight
        };
        mount_on(root.fd(), "sys", "sysfs", flags, "")?
    };
    if protect {
        mask(sys.as_fd(), "/sys/")?;
    }
    Ok(())
}

/// Lays an empty directory or a null device over each masked path that exists.
fn mask(at: BorrowedFd<'_>, prefix: &str) -> Result<(), Fault> {
    for path in paths::MASKED
        .iter()
        .filter_map(|path| path.strip_prefix(prefix))
    {
        let Some(target) = open_if_there(at, path)? else {
            continue;
        };
        let stat = rustix::fs::fstat(&target).map_err(building_rx(path))?;
        let cover = match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => "/empty",
            _ => "/null",
        };
        mount::bind(cover, through_proc(target.as_fd()), false).map_err(building(path))?;
    }
    Ok(())
}

fn read_only(at: BorrowedFd<'_>, path: &str) -> Result<(), Fault> {
    let Some(target) = open_if_there(at, path)? else {
        return Ok(());
    };
    let name = through_proc(target.as_fd());
    mount::bind(&name, &name, true).map_err(building(path))?;
    // The bind lies over the old fd; the way to it is through the name again.
    let Some(bound) = open_if_there(at, path)? else {
        return Ok(());
    };
    mount::remount_read_only(&through_proc(bound.as_fd())).map_err(building(path))
}

fn open_if_there(at: BorrowedFd<'_>, path: &str) -> Result<Option<OwnedFd>, Fault> {
    match rustix::fs::openat(
        at,
        path,
        OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC,
        Mode::empty(),
    ) {
        Ok(fd) => Ok(Some(fd)),
        Err(Errno::NOENT | Errno::NOTDIR) => Ok(None),
        Err(err) => Err(Fault::io("open", path, err)),
    }
}

/// A fresh `/dev`: nothing of the image's is used.
fn dev(
    root: &InRoot,
    console: Option<u32>,
    notify: Option<&str>,
    bound: bool,
    label: &MountLabel,
) -> Result<(), Fault> {
    let flags = Flags::NOSUID | Flags::NOEXEC | Flags::STRICTATIME;
    let options = label.options("mode=0755,size=64k,nr_inodes=256");
    let dev = mount_on(root.fd(), "dev", "tmpfs", flags, &options)?;
    let at = dev.as_fd();
    mkdirat(at, "net")?;
    for (name, ..) in devices::NODES {
        devices::put(at, name, name, bound)?;
    }
    for (name, target) in DEVICE_LINKS {
        rustix::fs::symlinkat(target, at, name).map_err(building_rx(name))?;
    }
    for name in ["pts", "shm", "mqueue"] {
        mkdirat(at, name)?;
        let target = open_if_there(at, name)?;
        if let Some(target) = target {
            mount::bind(format!("/dev/{name}"), through_proc(target.as_fd()), false)
                .map_err(building(name))?;
        }
    }
    if let Some(app) = notify {
        let file = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
        let file = rustix::fs::openat(at, "notify", file, Mode::from_raw_mode(0o600))
            .map_err(building_rx(NOTIFY_IN_APP))?;
        mount::bind(format!("{NOTIFY}/{app}"), through_proc(file.as_fd()), false)
            .map_err(building(NOTIFY_IN_APP))?;
    }
    // Without a terminal the console is a sink, not a missing file.
    match console {
        None => devices::put(at, "console", "null", bound),
        Some(terminal) => {
            let file = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
            let file = rustix::fs::openat(at, "console", file, Mode::from_raw_mode(0o600))
                .map_err(building_rx("/dev/console"))?;
            // By its path: the fd belongs to the mounts of PID 1.
            mount::bind(
                format!("/dev/pts/{terminal}"),
                through_proc(file.as_fd()),
                false,
            )
            .map_err(building("/dev/console"))
        }
    }
}

fn mkdirat(at: BorrowedFd<'_>, name: &str) -> Result<(), Fault> {
    rustix::fs::mkdirat(at, name, Mode::from_raw_mode(0o755))
        .map_err(building_rx(format!("/dev/{name}")))
}

/// Binds the pod's `hostname`, `hosts` and `resolv.conf` over the image's, and
/// gives it an `/etc/mtab` when it has none.
fn etc(root: &InRoot, app: &AppPlan) -> Result<(), Fault> {
    for name in ["hostname", "hosts", "resolv.conf"] {
        let target = format!("/etc/{name}");
        if app
            .mounts
            .iter()
            .any(|mount| mount.target == target || mount.target == "/etc")
        {
            continue;
        }
        let inside = format!("etc/{name}");
        let source = if open_if_there(CWD, &target)?.is_some() {
            target
        } else if name == "hosts"
            && open_if_there(CWD, HOSTS_FALLBACK)?.is_some()
            && is_missing_or_empty(root, &inside)
        {
            HOSTS_FALLBACK.to_string()
        } else {
            continue;
        };
        let source = own_copy(&app.name, name, &source)?;
        let file = file_in(root, &inside)?;
        refuse_kernel_files(file.as_fd(), &inside)?;
        mount::bind(&source, through_proc(file.as_fd()), false).map_err(building(source))?;
    }
    let etc = root.open(
        "etc",
        OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC,
        Mode::empty(),
    );
    // A failing symlink in an overlay is not free: look first.
    if let Ok(etc) = etc
        && rustix::fs::statat(&etc, "mtab", rustix::fs::AtFlags::SYMLINK_NOFOLLOW).is_err()
    {
        match rustix::fs::symlinkat("../proc/self/mounts", &etc, "mtab") {
            Ok(()) | Err(Errno::EXIST | Errno::ROFS) => {}
            Err(err) => return Err(Fault::io("symlink", "/etc/mtab", err)),
        }
    }
    Ok(())
}

/// Apps may change these files, as ever, but each only its own.
fn own_copy(app: &str, name: &str, source: &str) -> Result<String, Fault> {
    let copy = format!("{OWN_ETC}/{app}.{name}");
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
    match rustix::fs::open(copy.as_str(), flags, Mode::from_raw_mode(0o644)) {
        Ok(file) => {
            let content = std::fs::read(source).map_err(building(source))?;
            std::io::Write::write_all(&mut std::fs::File::from(file), &content)
                .map_err(building(&copy))?;
        }
        // The app was started before.
        Err(Errno::EXIST) => {}
        Err(err) => return Err(Fault::io("open", copy, err)),
    }
    Ok(copy)
}

/// The pod's skeleton gives every image an empty one.
fn is_missing_or_empty(root: &InRoot, path: &str) -> bool {
    match root.open(path, OFlags::PATH, Mode::empty()) {
        Ok(file) => rustix::fs::fstat(&file).is_ok_and(|stat| stat.st_size == 0),
        Err(_) => true,
    }
}

/// A file inside the root to bind over, made empty if missing.
pub fn file_in(root: &InRoot, path: &str) -> Result<OwnedFd, Fault> {
    let opened = root.open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty());
    if let Ok(file) = opened {
        return Ok(file);
    }
    let (directory, _) = path.rsplit_once('/').unwrap_or(("", path));
    if !directory.is_empty() {
        root.mkdir_all(directory, Mode::from_raw_mode(0o755))
            .map_err(building(path))?;
    }
    // A dangling symlink of the image: it is replaced, not followed to nowhere.
    let (parent, name) = root.parent(path).map_err(building(path))?;
    match rustix::fs::unlinkat(&parent, &name, rustix::fs::AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => {}
        Err(err) => return Err(Fault::io("unlink", path, err)),
    }
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(&parent, &name, flags, Mode::from_raw_mode(0o644)).map_err(building_rx(path))
}

/// By whatever link of the image `target` led there.
fn refuse_kernel_files(fd: BorrowedFd<'_>, target: &str) -> Result<(), Fault> {
    let beneath = rustix::fs::fstatfs(fd).map_err(building_rx(target))?;
    if KERNEL_FILES.contains(&(beneath.f_type as u64)) {
        return Err(Fault::refused(format!(
            "can't mount on \"{target}\": it lies on a file system of the kernel"
        ))
        .hint("give the mount another path, or the image a plain file or directory there"));
    }
    Ok(())
}

fn volume(root: &InRoot, number: usize, target: &str, read_only: bool) -> Result<(), Fault> {
    let source = format!("/rkt/volumes/{number}");
    let source_fd = rustix::fs::open(
        source.as_str(),
        OFlags::PATH | OFlags::CLOEXEC,
        Mode::empty(),
    )
    .map_err(building_rx(target))?;
    attach_at(root, source_fd, target, true, read_only)
}

/// Mounts what `source_fd` is at `target` inside the root, which is made if
/// missing.
pub fn attach_at(
    root: &InRoot,
    source_fd: OwnedFd,
    target: &str,
    recursive: bool,
    read_only: bool,
) -> Result<(), Fault> {
    let relative = target.trim_start_matches('/');
    let stat = rustix::fs::fstat(&source_fd).map_err(building_rx(target))?;
    let is_directory = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
    let target_fd = if is_directory {
        root.mkdir_all(relative, Mode::from_raw_mode(0o755))
            .map_err(building(target))?
    } else {
        file_in(root, relative)?
    };
    refuse_kernel_files(target_fd.as_fd(), target)?;
    let there = rustix::fs::fstat(&target_fd).map_err(building_rx(target))?;
    if (FileType::from_raw_mode(there.st_mode) == FileType::Directory) != is_directory {
        let is = |directory| {
            if directory {
                "a directory"
            } else {
                "no directory"
            }
        };
        return Err(Fault::invalid(format!(
            "can't mount on \"{target}\": the volume is {}, the target is {}",
            is(is_directory),
            is(!is_directory)
        )));
    }
    mount::attach(source_fd.as_fd(), target_fd.as_fd(), recursive, read_only)
        .map_err(building(format!("the volume at {target}")))
}
