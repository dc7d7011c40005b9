//! A pod's cgroups as they are: made, joined, read, killed, removed.
//!
//! Everything is held by directory fd, so that it works from inside a pod that
//! no longer sees `/sys/fs/cgroup`. Making unwinds what it did if it fails.

use crate::controller::Controllers;
use crate::file;
use crate::hierarchy::Version;
use crate::limits::{Limits, Setting};
use crate::plan::{APP_PREFIX, App, OUTER, Plan, SUPERVISOR, Tree, app_in};
use crate::usage::{self, Usage};
use crate::{kill, remove};
use model::{Fault, fault::Result};
use rustix::fs::{Mode, mkdirat};
use rustix::io::Errno;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;

/// The cgroups of one pod.
#[derive(Debug)]
pub struct PodCgroup {
    pub(crate) name: String,
    pub(crate) trees: Vec<Made>,
    /// What the pod does without and the user should hear of.
    pub notes: Vec<String>,
    /// The kernel refuses devices that are not on the pod's list, as `create`
    /// found out. If not, an app must not make nodes that can be opened. Not
    /// known, so false, of a pod that was opened by its record.
    pub devices_confined: bool,
}

/// The pod's directory in one hierarchy.
#[derive(Debug)]
pub(crate) struct Made {
    pub version: Version,
    pub controllers: Controllers,
    pub counts: bool,
    /// The directory above, for the removal.
    pub parent: OwnedFd,
    pub path: PathBuf,
    pub dir: OwnedFd,
    /// We left `parent` for a leaf of ours and switched these on in it.
    pub left: Option<Controllers>,
}

/// One app's cgroups.
#[derive(Debug)]
pub struct AppCgroup {
    trees: Vec<(Version, OwnedFd)>,
}

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
        }
        for app in &tree.apps {
            made.add_app(app)?;
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

    /// v2: hands the controllers down to the apps and makes the leaf of the
    /// pod's init.
    fn open_up(&mut self, tree: &Tree) -> Result<()> {
        if tree.site.move_self {
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
        self.make_child(SUPERVISOR)?;
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

    fn add_app(&self, app: &App) -> Result<()> {
        let name = format!("{APP_PREFIX}{}", app.name);
        let dir = self.make_child(&name)?;
        for setting in &app.settings {
            apply(&dir, setting).map_err(|fault| fault.link(format!("app {:?}", app.name)))?;
        }
        Ok(())
    }
}

/// The file through which a process joins. A v1 write to `cgroup.procs` waits
/// for RCU after an idle second (10 ms); a lone thread in `tasks` does not.
fn door(version: Version) -> &'static str {
    match version {
        Version::V1 => "tasks",
        Version::V2 => "cgroup.procs",
    }
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

impl PodCgroup {
    /// The cgroups of an app: for joining, reading, killing.
    pub fn app(&self, name: &str) -> Result<AppCgroup> {
        self.leaf(&format!("{APP_PREFIX}{name}"))
    }

    /// Where the pod's init is born: its own leaf on v2. On v1 it is none: there
    /// the init stays outside, and joins would only cost.
    pub fn supervisor(&self) -> Result<AppCgroup> {
        self.leaf(SUPERVISOR)
    }

    fn leaf(&self, name: &str) -> Result<AppCgroup> {
        let mut trees = Vec::with_capacity(self.trees.len());
        for tree in &self.trees {
            match file::open_dir(&tree.dir, name) {
                Ok(dir) => trees.push((tree.version, dir)),
                // Not every app has a limit in every hierarchy.
                Err(err) if err.kind() == io::ErrorKind::NotFound => {}
                Err(err) => return Err(Fault::io("open", tree.path.join(name).display(), err)),
            }
        }
        Ok(AppCgroup { trees })
    }

    /// Makes the cgroups of an app that is added to a running pod.
    pub fn add_app(&self, name: &str, limits: &Limits) -> Result<AppCgroup> {
        let enforced = self
            .trees
            .iter()
            .fold(Controllers::EMPTY, |all, tree| all.union(tree.controllers));
        if let Some(controller) = limits.needs().without(enforced).iter().next() {
            return Err(Fault::unsupported(format!(
                "a limit of app {name:?} cannot be enforced: the pod was started without the {controller} controller"
            )));
        }
        for tree in &self.trees {
            if let Some(app) = app_in(tree.version, tree.controllers, tree.counts, name, limits)?
                && let Err(fault) = tree.add_app(&app)
            {
                let _ = self.remove_app(name);
                return Err(fault);
            }
        }
        self.app(name)
    }

    /// Removes the cgroups of an app whose processes are gone.
    pub fn remove_app(&self, name: &str) -> Result<()> {
        let name = format!("{APP_PREFIX}{name}");
        let mut result = Ok(());
        for tree in &self.trees {
            let removed = remove::remove(&tree.dir, &name)
                .map_err(|err| Fault::io("rmdir", tree.path.join(&name).display(), err));
            result = result.and(removed);
        }
        result
    }

    /// SIGKILL to every process in one of the pod's leaves, on v2 also to its
    /// init (and so to a caller that is it).
    pub fn kill(&self) -> Result<()> {
        let fault = |tree: &Made, err| {
            Fault::io(
                "kill",
                format!("the processes of {}", tree.path.display()),
                err,
            )
        };
        for tree in &self.trees {
            if tree.version == Version::V1 {
                kill::kill(tree.version, &tree.dir).map_err(|err| fault(tree, err))?;
                continue;
            }
            for name in remove::children(&tree.dir).map_err(|err| fault(tree, err))? {
                // The runtime's own leaf: it is no part of the pod.
                if name != OUTER {
                    match file::open_dir(&tree.dir, &name) {
                        Err(err) if err.kind() == io::ErrorKind::NotFound => continue,
                        dir => dir
                            .and_then(|dir| kill::kill(tree.version, &dir))
                            .map_err(|err| fault(tree, err))?,
                    }
                }
            }
        }
        Ok(())
    }

    /// Removes all of it, the deepest first; goes on after a failure and
    /// returns the first. The processes must be gone or going.
    pub fn remove(&self) -> Result<()> {
        let mut result = Ok(());
        for tree in &self.trees {
            if let Some(controllers) = tree.left {
                // Best effort: if it fails the removal below says why.
                let _ = self.come_back(tree, controllers);
            }
            let removed = remove::remove(&tree.parent, &self.name)
                .map_err(|err| Fault::io("rmdir", tree.path.display(), err));
            result = result.and(removed);
        }
        result
    }

    /// Back into the cgroup that we left: the pod's other leaves go, the
    /// controllers are switched off again, then it may hold processes.
    fn come_back(&self, tree: &Made, controllers: Controllers) -> io::Result<()> {
        for name in remove::children(&tree.dir)?
            .iter()
            .filter(|name| *name != OUTER)
        {
            remove::remove(&tree.dir, name)?;
        }
        file::write(
            &tree.dir,
            "cgroup.subtree_control",
            &tree.controllers.signed('-'),
        )?;
        file::write(
            &tree.parent,
            "cgroup.subtree_control",
            &controllers.signed('-'),
        )?;
        file::write(&tree.parent, "cgroup.procs", "0")
    }

    /// What the whole pod has used, where a controller counts it.
    pub fn usage(&self) -> Usage {
        usage::read(self.trees.iter().map(|tree| tree.dir.as_fd()))
    }
}

impl AppCgroup {
    /// The v2 directory for clone3's CLONE_INTO_CGROUP (Linux 5.7), which
    /// spares the child the join.
    pub fn born_into(&self) -> Option<BorrowedFd<'_>> {
        self.trees
            .iter()
            .find(|(version, _)| *version == Version::V2)
            .map(|(_, dir)| dir.as_fd())
    }

    /// The files into which a single-threaded process writes `0` to join; open
    /// them before the clone. `v2` too if the child was not born into it.
    pub fn doors(&self, v2: bool) -> Result<Vec<OwnedFd>> {
        self.trees
            .iter()
            .filter(|(version, _)| v2 || *version == Version::V1)
            .map(|(version, dir)| {
                let name = door(*version);
                file::open_for_write(dir, name).map_err(|err| Fault::io("open", name, err))
            })
            .collect()
    }

    /// Moves this single-threaded process in; `v2` unless it was born there.
    pub fn join(&self, v2: bool) -> Result<()> {
        for (version, dir) in self
            .trees
            .iter()
            .filter(|(version, _)| v2 || *version == Version::V1)
        {
            file::write(dir, door(*version), "0")
                .map_err(|err| Fault::io("join", "the app's cgroup", err))?;
        }
        Ok(())
    }

    /// There is no cgroup for it on this host.
    pub fn is_none(&self) -> bool {
        self.trees.is_empty()
    }

    /// SIGKILL to all processes in it. False: there is no cgroup that knows
    /// them, so only their parent can end them.
    pub fn kill(&self) -> Result<bool> {
        let Some((version, dir)) = self.counting() else {
            return Ok(false);
        };
        kill::kill(*version, dir)
            .map_err(|err| Fault::io("kill", "the processes of the app's cgroup", err))?;
        Ok(true)
    }

    /// No process is in it (v2: or below it) any more.
    pub fn is_empty(&self) -> Result<bool> {
        let Some((version, dir)) = self.counting() else {
            return Ok(true);
        };
        let text = match version {
            Version::V1 => file::read(dir, "cgroup.procs").map(|text| text.is_empty()),
            Version::V2 => file::read(dir, "cgroup.events")
                .map(|text| file::field(&text, "populated") == Some(0)),
        };
        text.map_err(|err| Fault::io("read", "the app's cgroup", err))
    }

    fn counting(&self) -> Option<&(Version, OwnedFd)> {
        self.trees
            .iter()
            .find(|(version, _)| *version == Version::V2)
            .or(self.trees.first())
    }

    pub fn usage(&self) -> Usage {
        usage::read(self.trees.iter().map(|(_, dir)| dir.as_fd()))
    }

    /// How many of its processes were killed because it was at its memory
    /// limit; `None` if no memory controller counts.
    pub fn oom_kills(&self) -> Option<u64> {
        usage::oom_kills(self.trees.iter().map(|(_, dir)| dir.as_fd()))
    }
}
