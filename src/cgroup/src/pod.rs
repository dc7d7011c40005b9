//! A pod's cgroups as they are: joined, read, killed, removed.
//!
//! Everything is held by directory fd, so that it works from inside a pod that
//! no longer sees `/sys/fs/cgroup`. `create` makes them.

use crate::controller::Controllers;
use crate::file;
use crate::hierarchy::{Ordinary, Version};
use crate::limits::Limits;
use crate::plan::{APP_PREFIX, OUTER, SUPERVISOR, app_in};
use crate::usage::{self, Usage};
use crate::{create, kill, remove};
use model::{Fault, fault::Result};
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
    /// and `open` found out. If not, an app must not make nodes that can be
    /// opened. False in a user namespace, which has no lists and no nodes.
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

/// The file through which a process joins. A v1 write to `cgroup.procs` waits
/// for RCU after an idle second (10 ms); a lone thread in `tasks` does not.
fn door(version: Version) -> &'static str {
    match version {
        Version::V1 => "tasks",
        Version::V2 => "cgroup.procs",
    }
}

impl PodCgroup {
    /// What was made, as `Plan::record` tells what is to be made.
    pub fn record(&self) -> String {
        self.trees
            .iter()
            .map(|tree| format!("{}\n", tree.path.display()))
            .collect()
    }

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
                && let Err(fault) = tree.add_app(&app).map(drop)
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
            if removed.is_ok() && tree.version == Version::V2 {
                // Best effort: nobody is worse off where they are.
                let _ = create::move_back(&tree.parent);
            }
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

    /// The files that another process is moved in by.
    #[cfg(test)]
    pub(crate) fn doors(&self) -> Vec<OwnedFd> {
        let open = |(version, dir): &(Version, OwnedFd)| file::open_for_write(dir, door(*version));
        let opened: std::io::Result<_> = self.trees.iter().map(open).collect();
        opened.expect("made just before")
    }

    /// Moves this single-threaded process in; `v2` unless it was born there.
    pub fn join(&self, v2: bool) -> Result<()> {
        for (version, dir) in self
            .trees
            .iter()
            .filter(|(version, _)| v2 || *version == Version::V1)
        {
            file::write(dir, door(*version), "0").map_err(|err| {
                let fault = Fault::io("join", "the app's cgroup", err);
                // From outside of what was delegated there is no way in.
                match Ordinary::probe() {
                    Some(ordinary) if ordinary.systemd => {
                        fault.hint("systemd-run --user --scope rkt enter …")
                    }
                    Some(_) => fault
                        .hint("start it from a shell in the cgroup that the pod was started from"),
                    None => fault,
                }
            })?;
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
