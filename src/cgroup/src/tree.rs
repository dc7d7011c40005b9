//! The place for a pod in a cgroup v2 tree, where processes may only be in
//! leaves once a controller is switched on.
//!
//! `levels` reads the tree from our own cgroup up to the root; `choose`, pure,
//! picks the nearest level that can carry a pod with the wanted controllers and
//! lists what has to be switched on from the top down. A level can carry one if
//! it is the root (which is exempt), or nobody is in it, or only we are: then
//! we move into a leaf of the pod first.

use crate::controller::{Controller, Controllers};
use crate::file;
use crate::hierarchy::Hierarchy;
use model::{Fault, fault::Result};
use std::io;
use std::path::PathBuf;

/// Who is in a cgroup.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Inside {
    Nobody,
    OnlyUs,
    Others,
}

/// One cgroup on the way from ours up to the root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Level {
    pub path: PathBuf,
    /// `cgroup.controllers`.
    pub available: Controllers,
    /// `cgroup.subtree_control`.
    pub enabled: Controllers,
    pub inside: Inside,
    /// The hierarchy's root, where the rule on inner processes does not hold.
    pub root: bool,
    /// `cgroup.type` is `domain`, or there is none (the root).
    pub domain: bool,
}

/// Where the pod's cgroup goes and what is to be done there first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Site {
    pub path: PathBuf,
    /// Controllers to switch on, the highest level first.
    pub enable: Vec<(PathBuf, Controllers)>,
    /// We are alone in `path` and have to leave it before that.
    pub move_self: bool,
}

/// The deepest tree that we climb; systemd's stay below ten.
const DEEPEST: usize = 64;

pub(crate) fn levels(unified: &Hierarchy) -> Result<Vec<Level>> {
    let mut levels = Vec::new();
    let mut own = unified.own.trim_matches('/');
    loop {
        let path = if own.is_empty() {
            unified.mount.clone()
        } else {
            unified.mount.join(own)
        };
        levels.push(level(&path).map_err(|err| Fault::io("read", path.display(), err))?);
        if own.is_empty() || levels.len() == DEEPEST {
            return Ok(levels);
        }
        own = own.rsplit_once('/').map_or("", |(parent, _)| parent);
    }
}

fn level(path: &std::path::Path) -> io::Result<Level> {
    let dir = file::open_dir(
        rustix::fs::CWD,
        path.to_str().ok_or(rustix::io::Errno::ILSEQ)?,
    )?;
    let kind = match file::read(&dir, "cgroup.type") {
        Ok(kind) => Some(kind),
        Err(err) if err.kind() == io::ErrorKind::NotFound => None,
        Err(err) => return Err(err),
    };
    // A threaded cgroup refuses to tell its processes.
    let domain = kind.as_deref().is_none_or(|kind| kind.trim() == "domain");
    let processes = if domain {
        file::read(&dir, "cgroup.procs")?
    } else {
        String::new()
    };
    let us = rustix::process::getpid().as_raw_nonzero().to_string();
    let inside = match (
        processes.lines().next(),
        processes.lines().all(|pid| pid == us),
    ) {
        (None, _) => Inside::Nobody,
        (_, true) => Inside::OnlyUs,
        _ => Inside::Others,
    };
    Ok(Level {
        path: path.to_path_buf(),
        available: Controllers::among(&file::read(&dir, "cgroup.controllers")?, ' '),
        enabled: Controllers::among(&file::read(&dir, "cgroup.subtree_control")?, ' '),
        inside,
        root: kind.is_none(),
        domain,
    })
}

/// The nearest place for a pod that needs `controllers`; `levels` begins with
/// our own cgroup.
pub(crate) fn choose(levels: &[Level], controllers: Controllers) -> Result<Site> {
    let Some((own, top)) = levels.first().zip(levels.last()) else {
        return Err(Fault::unsupported("no cgroup2 tree is mounted"));
    };
    if let Some(missing) = controllers
        .iter()
        .find(|need| !top.available.contains(*need))
    {
        return Err(absent(missing, &top.path));
    }
    (0..levels.len()).find_map(|index| site(levels, index, controllers)).ok_or_else(|| {
        Fault::unsupported(format!(
            "the cgroup {:?} and all above it hold processes, so {} cannot be switched on for a pod",
            own.path,
            controllers.iter().map(Controller::name).collect::<Vec<_>>().join(", ")
        ))
        .hint("start rkt in a cgroup of its own, e.g. as a service, or with systemd-run --scope -p Delegate=yes")
    })
}

/// What the level at `index` takes to carry the pod; `None` if it cannot.
fn site(levels: &[Level], index: usize, controllers: Controllers) -> Option<Site> {
    let carries = |level: &Level, own: bool| {
        level.root
            || level.domain
                && (level.inside == Inside::Nobody || own && level.inside == Inside::OnlyUs)
    };
    let base = &levels[index];
    if !carries(base, index == 0) {
        return None;
    }
    let mut enable = Vec::new();
    let mut wanted = controllers;
    for (height, level) in levels.iter().enumerate().skip(index) {
        let missing = wanted.without(level.enabled);
        if !missing.is_empty() {
            // Above the base, only what is not yet handed down matters.
            if height > index && !carries(level, false) {
                return None;
            }
            enable.push((level.path.clone(), missing));
        }
        wanted = missing.without(level.available);
        if wanted.is_empty() {
            break;
        }
    }
    if !wanted.is_empty() {
        return None;
    }
    enable.reverse();
    let move_self = !base.root && base.inside == Inside::OnlyUs && !enable.is_empty();
    Some(Site {
        path: base.path.clone(),
        enable,
        move_self,
    })
}

fn absent(controller: Controller, top: &std::path::Path) -> Fault {
    let hint = match controller {
        Controller::Memory => "boot with cgroup_enable=memory, or a kernel built with CONFIG_MEMCG",
        Controller::Cpu => {
            "a kernel built with CONFIG_CGROUP_SCHED and CONFIG_CFS_BANDWIDTH has it"
        }
        Controller::Pids => "a kernel built with CONFIG_CGROUP_PIDS has it",
        Controller::Devices => "a kernel built with CONFIG_CGROUP_BPF needs none",
    };
    Fault::unsupported(format!(
        "this host has no {controller} controller in {:?}",
        top
    ))
    .hint(hint)
}
