//! The pod's volumes, mounted below `/rkt/volumes` of its root, in the plan's
//! order.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use model::Fault;
use pod::layout;
use rustix::fs::{FileType, Mode, OFlags};
use sys::mount;

use super::guest::Guest;
use super::pod_root::stage2;
use super::{building, building_rx, label, mkdir, open_directory, through_proc, touch};
use crate::plan::{AppPlan, MountLabel, Source, VolumePlan};

/// Mounts volume `number`; the current directory is the pod's root.
pub(super) fn put(
    number: usize,
    volume: &VolumePlan,
    apps: &[AppPlan],
    pod: BorrowedFd<'_>,
    guest: Option<&Guest>,
    label: &MountLabel,
) -> Result<(), Fault> {
    let target = format!("rkt/volumes/{number}");
    match &volume.source {
        Source::Host(path) => {
            let flags = OFlags::PATH | OFlags::CLOEXEC;
            let source = rustix::fs::open(path.as_str(), flags, Mode::empty()).map_err(|err| {
                Fault::io("stat", path, err)
                    .message(format!("stat of host path {path}"))
                    .hint(format!(
                        "volume \"{}\" needs its source to exist on the host",
                        volume.name
                    ))
            })?;
            let writes = apps
                .iter()
                .flat_map(|app| &app.mounts)
                .any(|mount| mount.volume == number && !mount.read_only);
            show(
                volume,
                source.as_fd(),
                &target,
                guest,
                Files::Hosts { writes },
            )
            .map(drop)
        }
        Source::Empty {
            directory,
            mode,
            uid,
            gid,
        } => {
            let made = empty_volume(pod, directory, label)?;
            let mapped = show(volume, made.path.as_fd(), &target, guest, Files::Pods)?;
            let Some(fresh) = &made.fresh else {
                return Ok(());
            };
            match guest.filter(|_| !mapped) {
                None => own(fresh.as_fd(), *mode, *uid, *gid),
                // What cannot be shown with the pod's ids has to have them.
                Some(guest) => {
                    let (uid, gid) = (guest.outside(*uid)?, guest.outside(*gid)?);
                    own(fresh.as_fd(), *mode, uid, gid)
                }
            }
        }
        Source::CopyUp {
            directory,
            app,
            path,
        } => {
            let made = empty_volume(pod, directory, label)?;
            show(volume, made.path.as_fd(), &target, guest, Files::Pods)?;
            // Through the mount: the owners that the app's root shows are kept.
            match (made.fresh, apps.get(*app)) {
                (Some(_), Some(app)) => {
                    let to = readable(&target)?;
                    copy_up(
                        &format!("{}/rootfs", stage2(&app.name)),
                        path,
                        to.as_fd(),
                        guest,
                    )
                }
                _ => Ok(()),
            }
        }
    }
}

fn readable(path: &str) -> Result<OwnedFd, Fault> {
    let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::open(path, flags, Mode::empty()).map_err(|err| Fault::io("open", path, err))
}

/// Whose the files of a volume are.
enum Files {
    /// The host's, which keep their owners.
    Hosts { writes: bool },
    /// The pod's own.
    Pods,
}

/// Binds a volume's source. Whether it shows with the ids of a pod that has some.
fn show(
    volume: &VolumePlan,
    source: BorrowedFd<'_>,
    target: &str,
    guest: Option<&Guest>,
    files: Files,
) -> Result<bool, Fault> {
    let bind = || {
        mount::bind(through_proc(source), target, volume.recursive)
            .map_err(|err| Fault::io("cannot bind volume", format!("\"{}\"", volume.name), err))
    };
    let stat = rustix::fs::fstat(source).map_err(building_rx(&volume.name))?;
    let kind = FileType::from_raw_mode(stat.st_mode);
    match kind {
        FileType::Directory => mkdir(target, 0o755)?,
        _ => touch(target, 0o600)?,
    }
    let Some(guest) = guest else {
        return bind().map(|()| false);
    };
    let mapped = guest.show(source, target, volume.recursive)?;
    match files {
        Files::Pods if mapped => {}
        Files::Pods => bind()?,
        Files::Hosts { writes } => {
            if !mapped {
                unmapped(volume, kind, writes)?;
                bind()?;
            }
            lock(volume, target, writes)?;
        }
    }
    Ok(mapped)
}

/// What becomes of the host's files that have no owner in the pod.
fn unmapped(volume: &VolumePlan, kind: FileType, writes: bool) -> Result<(), Fault> {
    // Nobody owns what is in a device, a socket or a pipe.
    if !matches!(kind, FileType::Directory | FileType::RegularFile) {
        return Ok(());
    }
    if writes {
        return Err(Fault::unsupported(format!(
            "volume \"{}\": its file system or the kernel cannot show files with other owners (idmapped mounts)",
            volume.name
        ))
        .hint("mount it read-only (readOnly=true) or, if something is mounted below it, recursive=false; idmapped mounts need Linux 5.12"));
    }
    crate::say::err(format_args!(
        "stage1: warning: volume \"{}\": its files show no owner in the pod, since there are no idmapped mounts of them",
        volume.name
    ));
    Ok(())
}

/// What no app writes to is made read-only out here: the kernel locks that for the
/// pod's user namespace, where an app that may mount could undo its own.
fn lock(volume: &VolumePlan, target: &str, writes: bool) -> Result<(), Fault> {
    if writes {
        return Ok(());
    }
    let there = super::open_directory_or_file(target)?;
    mount::make_read_only(there.as_fd(), volume.recursive).map_err(building(&volume.name))
}

/// A directory below `sharedVolumes`; `fresh` when this call made it, so that
/// what a volume holds already is never chowned or copied over again.
struct EmptyVolume {
    path: OwnedFd,
    fresh: Option<OwnedFd>,
}

fn empty_volume(pod: BorrowedFd<'_>, name: &str, label: &MountLabel) -> Result<EmptyVolume, Fault> {
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
    if fresh {
        label::file(opened.as_fd(), label);
    }
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
fn copy_up(
    rootfs: &str,
    path: &str,
    to: BorrowedFd<'_>,
    guest: Option<&Guest>,
) -> Result<(), Fault> {
    let root = sys::fs::InRoot::at(rootfs).map_err(building(rootfs))?;
    let from = match root.open(
        path,
        OFlags::DIRECTORY | OFlags::RDONLY | OFlags::CLOEXEC,
        Mode::empty(),
    ) {
        Ok(from) => from,
        Err(err) if [Some(2), Some(20)].contains(&err.raw_os_error()) => {
            own(to, 0o755, 0, 0)?;
            return guest.map_or(Ok(()), |guest| guest.own_open(to));
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
            copy_up(
                self.0.join("rootfs").to_str().unwrap(),
                path,
                to.as_fd(),
                None,
            )
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
