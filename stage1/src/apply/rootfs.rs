//! An app's root file system: an overlay of its image's layers, or the copy that
//! stage0 made.
//!
//! Layers go in by fd: no limit on the length of their names, no character of
//! theirs to escape, and no path of the host in the app's mountinfo.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use model::{AcName, Fault};
use pod::{layout, rootfs::Rootfs};
use rustix::fs::{AtFlags, CWD, Mode};
use sys::mount::{self, Flags};

use super::guest::Guest;
use super::pod_root::{SKELETON, stage2};
use super::{building, building_rx, label, mkdir, open_directory, through_proc};
use crate::plan::{AppPlan, MountLabel, Users};

/// While an overlay with the pod's ids is made, its layers are mounted here.
const SHOWN: &str = "rkt/layers";

pub(super) fn open_copy(app: &AppPlan, pod: BorrowedFd<'_>) -> Result<Option<OwnedFd>, Fault> {
    match app.rootfs {
        Rootfs::Overlay { .. } => Ok(None),
        Rootfs::Copied { .. } => {
            let path = format!("{}/{}/rootfs", layout::STAGE1_ROOTFS, stage2(&app.name));
            open_directory(pod, &path).map(Some)
        }
    }
}

/// fly's: mounts the app's root at `target` below the current directory (the
/// pod's) and steps into it.
pub fn enter_fly(app: &AppPlan, rootfs: &Rootfs, target: &str) -> Result<(), Fault> {
    let pod = open_directory(CWD, ".")?;
    let here = std::env::current_dir().map_err(building("the pod's directory"))?;
    let whole = here.join(target).to_string_lossy().into_owned();
    mount::chdir("/").map_err(building("/"))?;
    match rootfs {
        Rootfs::Overlay { tree_id, lowers } => {
            make_beside(pod.as_fd(), target)?;
            let users = if sys::userns::confined() {
                Users::Inherited
            } else {
                Users::Host
            };
            Overlay::open(app, tree_id, lowers, pod.as_fd())?.mount(&whole, None, users)?;
        }
        Rootfs::Copied { .. } => mount::bind(&whole, &whole, false).map_err(building(&app.name))?,
    }
    mount::chdir(&whole).map_err(building(&whole))
}

/// In the pod's root, which is the current directory.
pub(super) fn put(
    app: &AppPlan,
    rootfs: &Rootfs,
    copy: Option<&OwnedFd>,
    pod: BorrowedFd<'_>,
    guest: Option<&Guest>,
) -> Result<(), Fault> {
    let target = format!("{}/rootfs", stage2(&app.name));
    mkdir(&stage2(&app.name), 0o755)?;
    mkdir(&target, 0o755)?;
    match (rootfs, copy) {
        (Rootfs::Overlay { tree_id, lowers }, _) => {
            let overlay = Overlay::open(app, tree_id, lowers, pod)?;
            match guest {
                None => overlay.mount(&target, Some(SKELETON), app.users),
                Some(guest) => overlay.mount_for(guest, &target, pod),
            }
        }
        (Rootfs::Copied { .. }, Some(copy)) => {
            mount::bind(through_proc(copy.as_fd()), &target, false).map_err(building(&app.name))
        }
        (Rootfs::Copied { .. }, None) => {
            Err(Fault::corrupt(format!("app \"{}\" has no root", app.name)))
        }
    }
}

struct Overlay<'a> {
    app: AcName,
    tree: &'a str,
    /// The topmost first.
    layers: Vec<OwnedFd>,
    upper: OwnedFd,
    work: OwnedFd,
    label: &'a MountLabel,
}

impl<'a> Overlay<'a> {
    fn open(
        app: &'a AppPlan,
        tree: &'a str,
        lowers: &[String],
        pod: BorrowedFd<'_>,
    ) -> Result<Overlay<'a>, Fault> {
        let (app, label) = (app.name.as_str(), &app.mount_label);
        let name = AcName::new(app)?;
        let layers = lowers
            .iter()
            .map(|path| open_directory(CWD, path))
            .collect::<Result<Vec<_>, _>>()?;
        let top = layers
            .first()
            .ok_or_else(|| Fault::corrupt(format!("app \"{app}\" has no layers")))?;
        let upper = make_beside(pod, &layout::overlay_upper(tree, &name))?;
        let work = make_beside(pod, &layout::overlay_work(tree, &name))?;
        label::file(upper.as_fd(), label);
        label::file(work.as_fd(), label);
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
        Ok(Overlay {
            app: name,
            tree,
            layers,
            upper,
            work,
            label,
        })
    }

    fn mount(&self, target: &str, undermost: Option<&str>, users: Users) -> Result<(), Fault> {
        let mut lowers: Vec<String> = self
            .layers
            .iter()
            .map(|layer| through_proc(layer.as_fd()))
            .collect();
        lowers.extend(undermost.map(str::to_string));
        let (upper, work) = (&self.upper, &self.work);
        let mut options = options(
            &lowers,
            &through_proc(upper.as_fd()),
            &through_proc(work.as_fd()),
        );
        // In a user namespace overlay keeps its notes in attributes of users'.
        if users.confined() {
            options.push_str(",userxattr");
        }
        self.do_mount(target, &options)
            .map_err(|fault| fault.hint("run with --no-overlay, or look at rkt doctor"))
    }

    /// For a pod with ids of its own: every layer is shown with these. What the
    /// overlay is made of need not stay mounted.
    fn mount_for(&self, guest: &Guest, target: &str, pod: BorrowedFd<'_>) -> Result<(), Fault> {
        let mut shown = Shown::default();
        let made = (|| {
            let mut lowers = Vec::with_capacity(self.layers.len() + 1);
            for layer in &self.layers {
                lowers.push(shown.add(guest, layer.as_fd())?);
            }
            lowers.push(SKELETON.to_string());
            // One mount for both, as the kernel wants it.
            let beside = layout::overlay_upper(self.tree, &self.app);
            let (beside, _) = beside.rsplit_once("/upper/").unwrap_or((&beside, ""));
            let both = shown.add(guest, open_directory(pod, beside)?.as_fd())?;
            let name = self.app.as_str();
            let upper = format!("{both}/upper/{name}");
            let work = format!("{both}/work/{name}");
            // The overlay makes files of its own as whoever mounted it, and in a
            // mapped layer that has to be somebody on the map.
            let options = options(&lowers, &upper, &work);
            guest
                .as_root(|| self.do_mount(target, &options))
                .map_err(|fault| {
                    fault.hint(
                        "--private-users needs Linux 5.19 for overlays; --no-overlay does without",
                    )
                })
        })();
        made.and(shown.clear())
    }

    fn do_mount(&self, target: &str, options: &str) -> Result<(), Fault> {
        let options = self.label.options(options);
        mount::mount("overlay", target, "overlay", Flags::NONE, &options).map_err(|err| {
            let app = format!("\"{}\"", self.app);
            Fault::io("cannot mount the overlay of app", app, err)
        })
    }
}

fn options(lowers: &[String], upper: &str, work: &str) -> String {
    format!(
        "lowerdir={},upperdir={upper},workdir={work}",
        lowers.join(":")
    )
}

/// Layers that are mounted with the pod's ids for a moment.
#[derive(Default)]
struct Shown(Vec<String>);

impl Shown {
    fn add(&mut self, guest: &Guest, layer: BorrowedFd<'_>) -> Result<String, Fault> {
        if self.0.is_empty() {
            mkdir(SHOWN, 0o700)?;
        }
        let place = format!("{SHOWN}/{}", self.0.len());
        mkdir(&place, 0o700)?;
        self.0.push(place.clone());
        if guest.show(layer, &place, false)? {
            return Ok(place);
        }
        Err(
            Fault::unsupported("the data directory's file system cannot show files with other owners (idmapped mounts)")
                .hint("prepare the pod with --no-overlay"),
        )
    }

    fn clear(self) -> Result<(), Fault> {
        for place in &self.0 {
            mount::detach(place).map_err(building(place))?;
            rustix::fs::rmdir(place.as_str()).map_err(building_rx(place))?;
        }
        rustix::fs::rmdir(SHOWN).map_err(building_rx(SHOWN))
    }
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
