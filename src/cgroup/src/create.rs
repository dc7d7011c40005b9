//! Making a pod's cgroups: the effects of a `Plan`, in an order in which the
//! kernel takes them. A failure unwinds what was done.
//!
//! In each hierarchy: the directory, the list of devices while it has no
//! children, then (v2) whoever is in the way moves, the controllers are switched
//! on from the top down, and the leaves get their limits.

use crate::controller::Controllers;
use crate::file;
use crate::hierarchy::Version;
use crate::limits::Setting;
use crate::plan::{APP_PREFIX, App, BESIDE, OUTER, Plan, SUPERVISOR, Tree};
use crate::pod::{Made, PodCgroup};
use crate::remove;
use crate::tree::Moving;
use model::{Fault, fault::Result};
use rustix::fs::{AtFlags, Mode, mkdirat};
use rustix::io::Errno;
use std::io;
use std::os::fd::{AsFd, OwnedFd};

/// How often processes that forked meanwhile are moved after the others.
const ROUNDS: u32 = 100;

impl Plan {
    /// Makes the cgroups, confines the devices and writes the limits.
    pub fn create(&self) -> Result<PodCgroup> {
        let mut pod = PodCgroup {
            name: self.name.clone(),
            trees: Vec::with_capacity(self.trees.len()),
            notes: self.notes.clone(),
            devices_confined: false,
        };
        for tree in &self.trees {
            if let Err(fault) = self.create_tree(tree, &mut pod) {
                // The first fault is what the user needs to hear.
                let _ = pod.remove();
                return Err(fault);
            }
        }
        Ok(pod)
    }

    fn create_tree(&self, tree: &Tree, pod: &mut PodCgroup) -> Result<()> {
        let path = tree.site.path.join(&self.name);
        let made = match make_dir(tree, &self.name) {
            Ok((parent, dir)) => Made {
                version: tree.version,
                controllers: tree.controllers,
                counts: tree.counts,
                parent,
                path: path.clone(),
                dir,
                left: None,
            },
            // Not ours to write, and no limit depends on it.
            Err(err) if is_closed(&err) && tree.apps.iter().all(|app| app.settings.is_empty()) => {
                pod.notes.push(format!(
                    "weaker: cannot make the cgroup {}: {}, so the devices of the pod are not confined",
                    path.display(),
                    model::fault::errno_text(&err)
                ));
                return Ok(());
            }
            Err(err) if err.kind() == io::ErrorKind::AlreadyExists => {
                return Err(
                    Fault::conflict(format!("the cgroup {:?} exists and is in use", path)).hint(
                        "another process runs this pod, or \"rkt gc\" has not cleaned up after it",
                    ),
                );
            }
            Err(err) => return Err(Fault::io("mkdir", path.display(), err)),
        };
        pod.trees.push(made);
        let made = pod.trees.last_mut().expect("pushed just above");
        if let Some(owner) = self.owner {
            made.hand_over(owner)?;
        }
        if tree.confines {
            match made.confine(&self.devices) {
                Ok(()) => pod.devices_confined = true,
                Err(err) if made.version == Version::V2 && lacks_filters(&err) => pod.notes.push(format!(
                    "weaker: this kernel takes no device filter ({}), so the devices of the pod are not confined",
                    model::fault::errno_text(&err)
                )),
                Err(err) => {
                    return Err(Fault::io("confine", format!("the devices of {}", path.display()), err));
                }
            }
        }
        if tree.version == Version::V2 {
            made.open_up(tree)?;
            let leaf = made.make_child(SUPERVISOR)?;
            made.hand_over_leaf(&leaf, SUPERVISOR, self.owner)?;
        }
        for app in &tree.apps {
            let leaf = made.add_app(app)?;
            made.hand_over_leaf(&leaf, &app.name, self.owner)?;
        }
        Ok(())
    }
}

/// The cgroup filesystem is read-only for us, or not ours.
fn is_closed(err: &io::Error) -> bool {
    matches!(
        err.kind(),
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem
    )
}

fn lacks_filters(err: &io::Error) -> bool {
    let errno = err.raw_os_error();
    [Errno::NOSYS, Errno::INVAL, Errno::PERM]
        .iter()
        .any(|known| errno == Some(known.raw_os_error()))
}

fn make_dir(tree: &Tree, name: &str) -> io::Result<(OwnedFd, OwnedFd)> {
    let path = tree.site.path.to_str().ok_or(Errno::ILSEQ)?;
    let parent = file::open_dir(rustix::fs::CWD, path)?;
    match mkdirat(&parent, name, Mode::from_raw_mode(0o755)) {
        // A pod that died at once may have left empty ones; full ones are
        // somebody's and stay.
        Err(Errno::EXIST) => {
            remove::remove(&parent, name).map_err(|_| Errno::EXIST)?;
            mkdirat(&parent, name, Mode::from_raw_mode(0o755))?;
        }
        other => other?,
    }
    let dir = file::open_dir(&parent, name)?;
    Ok((parent, dir))
}

impl Made {
    fn confine(&self, devices: &crate::Devices) -> io::Result<()> {
        match self.version {
            Version::V1 => devices.write_v1(self.dir.as_fd()),
            Version::V2 => devices.attach_v2(self.dir.as_fd()),
        }
    }

    /// The root of the pod's user namespace moves the apps' processes, adds apps
    /// and ends them; what bounds the first apps stays root's.
    fn hand_over(&self, owner: u32) -> Result<()> {
        let uid = Some(rustix::fs::Uid::from_raw(owner));
        rustix::fs::fchown(&self.dir, uid, None)
            .map_err(|err| Fault::io("chown", self.path.display(), err))?;
        self.hand_over_leaf(&self.dir, ".", Some(owner))
    }

    fn hand_over_leaf(&self, leaf: &OwnedFd, name: &str, owner: Option<u32>) -> Result<()> {
        let files: &[&str] = match self.version {
            Version::V1 => &["tasks", "cgroup.procs"],
            // The last two are younger than the rest.
            Version::V2 => &[
                "cgroup.procs",
                "cgroup.threads",
                "cgroup.subtree_control",
                "cgroup.freeze",
                "cgroup.kill",
            ],
        };
        let Some(owner) = owner else { return Ok(()) };
        let uid = Some(rustix::fs::Uid::from_raw(owner));
        for file in files {
            match rustix::fs::chownat(leaf, *file, uid, None, AtFlags::SYMLINK_NOFOLLOW) {
                Ok(()) | Err(Errno::NOENT) => {}
                Err(err) => {
                    let path = self.path.join(name).join(file);
                    return Err(Fault::io("chown", path.display(), err));
                }
            }
        }
        Ok(())
    }

    /// v2: hands the controllers down to the apps.
    fn open_up(&mut self, tree: &Tree) -> Result<()> {
        match tree.site.moving {
            Moving::Nobody => {}
            Moving::Us => {
                let leaf = self.make_child(OUTER)?;
                file::write(&leaf, "cgroup.procs", "0")
                    .map_err(|err| Fault::io("join", self.path.join(OUTER).display(), err))?;
                self.left = Some(
                    tree.site
                        .enable
                        .last()
                        .map_or(Controllers::EMPTY, |(_, controllers)| *controllers),
                );
            }
            Moving::All => evacuate(&self.parent).map_err(|err| {
                let from = tree.site.path.display();
                Fault::io("move the processes of", from, err)
            })?,
        }
        for (path, controllers) in &tree.site.enable {
            let text = path
                .to_str()
                .ok_or_else(|| Fault::invalid(format!("the path {path:?} is not UTF-8")))?;
            file::open_dir(rustix::fs::CWD, text)
                .and_then(|dir| {
                    file::write(dir, "cgroup.subtree_control", &controllers.signed('+'))
                })
                .map_err(|err| {
                    Fault::io(
                        "switch on",
                        format!("{} in {text}", controllers.signed('+')),
                        err,
                    )
                })?;
        }
        if !self.controllers.is_empty() {
            let signed = self.controllers.signed('+');
            file::write(&self.dir, "cgroup.subtree_control", &signed).map_err(|err| {
                Fault::io(
                    "switch on",
                    format!("{signed} in {}", self.path.display()),
                    err,
                )
            })?;
        }
        Ok(())
    }

    fn make_child(&self, name: &str) -> Result<OwnedFd> {
        mkdirat(&self.dir, name, Mode::from_raw_mode(0o755))
            .map_err(io::Error::from)
            .and_then(|()| file::open_dir(&self.dir, name))
            .map_err(|err| Fault::io("mkdir", self.path.join(name).display(), err))
    }

    pub(crate) fn add_app(&self, app: &App) -> Result<OwnedFd> {
        let name = format!("{APP_PREFIX}{}", app.name);
        let dir = self.make_child(&name)?;
        for setting in &app.settings {
            apply(&dir, setting).map_err(|fault| fault.link(format!("app {:?}", app.name)))?;
        }
        Ok(dir)
    }
}

/// Moves all processes of `base` into a leaf beside the pod.
fn evacuate(base: &OwnedFd) -> io::Result<()> {
    match mkdirat(base, BESIDE, Mode::from_raw_mode(0o755)) {
        Ok(()) | Err(Errno::EXIST) => {}
        Err(err) => return Err(err.into()),
    }
    move_all(base, &file::open_dir(base, BESIDE)?)
}

/// Undoes an evacuation, whoever made it, once the last pod beside it is gone:
/// `base` may hold processes again.
pub(crate) fn move_back(base: &OwnedFd) -> io::Result<()> {
    let leaf = match file::open_dir(base, BESIDE) {
        Err(err) if err.kind() == io::ErrorKind::NotFound => return Ok(()),
        leaf => leaf?,
    };
    let on = file::read(base, "cgroup.subtree_control")?;
    let ours = Controllers::among(&on, ' ');
    // Somebody else's cgroups or controllers: then it is not ours to undo.
    if remove::children(base)? != [BESIDE] || on.split_whitespace().count() != ours.iter().count() {
        return Ok(());
    }
    if !ours.is_empty() {
        file::write(base, "cgroup.subtree_control", &ours.signed('-'))?;
    }
    move_all(&leaf, base)?;
    remove::remove(base, BESIDE)
}

fn move_all(from: &OwnedFd, to: &OwnedFd) -> io::Result<()> {
    let door = file::open_for_write(to, "cgroup.procs")?;
    for _ in 0..ROUNDS {
        let list = file::read(from, "cgroup.procs")?;
        if list.is_empty() {
            return Ok(());
        }
        for pid in list.lines() {
            match file::put(&door, pid) {
                // Gone by now.
                Err(err) if err.raw_os_error() == Some(Errno::SRCH.raw_os_error()) => {}
                other => other?,
            }
        }
    }
    Err(Errno::BUSY.into())
}

/// Writes a limit and reads it back: what the kernel did not take is no limit.
fn apply(dir: &OwnedFd, setting: &Setting) -> Result<()> {
    let refused = |why: String| {
        Fault::unsupported(format!(
            "the kernel does not enforce {} = {}: {why}",
            setting.file, setting.value
        ))
        .hint(format!(
            "the limit needs the {} controller; change it or run without it",
            setting.controller
        ))
    };
    if let Err(err) = file::write(dir, setting.file, &setting.value) {
        return Err(refused(model::fault::errno_text(&err)));
    }
    let shown =
        file::read(dir, setting.file).map_err(|err| refused(model::fault::errno_text(&err)))?;
    let shown = shown.trim();
    // A bound beyond what the kernel can count is none, and shown so.
    let boundless = shown == "max"
        && setting
            .value
            .parse::<u64>()
            .is_ok_and(|value| value > i64::MAX as u64 >> 1);
    if shown == setting.value || boundless {
        Ok(())
    } else {
        Err(refused(format!("it shows {shown:?}")))
    }
}
