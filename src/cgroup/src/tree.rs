//! The place for a pod in a cgroup v2 tree, where processes may only be in
//! leaves once a controller is switched on.
//!
//! `levels` reads the tree from our own cgroup up to the root; `choose`, pure,
//! picks the nearest level that can carry a pod with the wanted controllers and
//! lists what has to be switched on from the top down. A level can carry one if
//! it is the root (which is exempt), or nobody is in it, or only we are: then
//! we move into a leaf of the pod first. Of a subtree that was given to us with
//! others in it, all move into a leaf beside the pod. Who is not root of the
//! host can only use levels that are theirs.

use crate::controller::{Controller, Controllers};
use crate::file;
use crate::hierarchy::{Hierarchy, Ordinary};
use model::{Fault, fault::Result};
use rustix::fs::{Access, AtFlags};
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

/// Who is in a cgroup.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Inside {
    Nobody,
    OnlyUs,
    Others,
    /// Others, some of which our pid namespace has no number for.
    Strangers,
}

/// What we may do in a cgroup.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reach {
    /// Make directories, and move processes between them: the kernel asks for
    /// `cgroup.procs` of the nearest common ancestor.
    pub carry: bool,
    /// Write `cgroup.subtree_control`.
    pub switch: bool,
    /// Somebody marked it as delegated, as systemd does with `Delegate=yes`.
    pub given: bool,
}

impl Reach {
    /// Root's, of a tree that is the host's.
    pub const ROOT: Reach = Reach {
        carry: true,
        switch: true,
        given: false,
    };
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
    pub reach: Reach,
    /// The hierarchy's root, where the rule on inner processes does not hold.
    pub root: bool,
    /// `cgroup.type` is `domain`, or there is none (the root).
    pub domain: bool,
}

/// Who has to leave a cgroup before its controllers can be switched on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moving {
    Nobody,
    /// We are alone there, and go into a leaf of the pod.
    Us,
    /// All go into a leaf beside the pod, until the last pod there is gone.
    All,
}

/// Where the pod's cgroup goes and what is to be done there first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Site {
    pub path: PathBuf,
    /// Controllers to switch on, the highest level first.
    pub enable: Vec<(PathBuf, Controllers)>,
    pub moving: Moving,
}

impl Site {
    /// A place in which nothing has to change.
    pub(crate) fn as_it_is(path: PathBuf) -> Site {
        Site {
            path,
            enable: Vec::new(),
            moving: Moving::Nobody,
        }
    }
}

/// The deepest tree that we climb; systemd's stay below ten.
const DEEPEST: usize = 64;

pub(crate) fn levels(unified: &Hierarchy, ordinary: bool) -> Result<Vec<Level>> {
    let mut levels = Vec::new();
    let mut own = unified.own.trim_matches('/');
    loop {
        let path = if own.is_empty() {
            unified.mount.clone()
        } else {
            unified.mount.join(own)
        };
        levels.push(level(&path, ordinary).map_err(|err| Fault::io("read", path.display(), err))?);
        if own.is_empty() || levels.len() == DEEPEST {
            return Ok(levels);
        }
        own = own.rsplit_once('/').map_or("", |(parent, _)| parent);
    }
}

fn level(path: &Path, ordinary: bool) -> io::Result<Level> {
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
    Ok(Level {
        path: path.to_path_buf(),
        available: Controllers::among(&file::read(&dir, "cgroup.controllers")?, ' '),
        enabled: Controllers::among(&file::read(&dir, "cgroup.subtree_control")?, ' '),
        inside: inside(&processes),
        reach: if ordinary { reach(&dir) } else { Reach::ROOT },
        root: kind.is_none(),
        domain,
    })
}

fn inside(processes: &str) -> Inside {
    let us = rustix::process::getpid().as_raw_nonzero().to_string();
    if processes.is_empty() {
        Inside::Nobody
    } else if processes.lines().all(|pid| pid == us) {
        Inside::OnlyUs
    } else if processes.lines().any(|pid| pid == "0") {
        Inside::Strangers
    } else {
        Inside::Others
    }
}

/// Modes and owners alone decide here, as for any file; the superuser of a user
/// namespace is one only over files of ids that it has.
fn reach(dir: &OwnedFd) -> Reach {
    let may =
        |name: &str, access| rustix::fs::accessat(dir, name, access, AtFlags::empty()).is_ok();
    // systemd's own mark, for itself, is trusted.delegate; the one for others
    // came with systemd 251 and Linux 5.7.
    let mut mark = [0u8; 1];
    let marked = rustix::fs::fgetxattr(dir, "user.delegate", &mut mark[..]);
    Reach {
        carry: may(".", Access::WRITE_OK | Access::EXEC_OK)
            && may("cgroup.procs", Access::WRITE_OK),
        switch: may("cgroup.subtree_control", Access::WRITE_OK),
        given: marked.is_ok() && mark == *b"1",
    }
}

/// The nearest place for a pod that needs `controllers`; `levels` begins with
/// our own cgroup.
pub(crate) fn choose(
    levels: &[Level],
    controllers: Controllers,
    ordinary: Option<Ordinary>,
) -> Result<Site> {
    let Some((own, top)) = levels.first().zip(levels.last()) else {
        return Err(Fault::unsupported("no cgroup2 tree is mounted"));
    };
    if let Some(missing) = controllers
        .iter()
        .find(|need| !top.available.contains(*need))
    {
        return Err(absent(missing, top));
    }
    if let Some(site) =
        (0..levels.len()).find_map(|index| site(levels, index, controllers, ordinary.is_some()))
    {
        return Ok(site);
    }
    match ordinary {
        Some(ordinary) => Err(not_given(levels, controllers, ordinary)),
        None => Err(Fault::unsupported(format!(
            "the cgroup {:?} and all above it hold processes, so {} cannot be switched on for a pod",
            own.path,
            names(controllers)
        ))
        .hint("start rkt in a cgroup of its own, e.g. as a service, or with systemd-run --scope -p Delegate=yes")),
    }
}

/// What the level at `index` takes to carry the pod; `None` if it cannot.
fn site(levels: &[Level], index: usize, controllers: Controllers, ordinary: bool) -> Option<Site> {
    let base = &levels[index];
    if !base.reach.carry {
        return None;
    }
    let moving = match base.inside {
        _ if base.root => Moving::Nobody,
        _ if !base.domain => return None,
        Inside::Nobody => Moving::Nobody,
        Inside::OnlyUs if index == 0 => Moving::Us,
        Inside::Others if index == 0 && is_given(levels, ordinary) => Moving::All,
        _ => return None,
    };
    let mut enable = Vec::new();
    let mut wanted = controllers;
    for (height, level) in levels.iter().enumerate().skip(index) {
        let missing = wanted.without(level.enabled);
        if !missing.is_empty() {
            // Above the base, only what is not yet handed down matters.
            let free = level.root || level.domain && level.inside == Inside::Nobody;
            if height > index && !free || !level.reach.switch {
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
    let moving = if enable.is_empty() {
        Moving::Nobody
    } else {
        moving
    };
    Some(Site {
        path: base.path.clone(),
        enable,
        moving,
    })
}

/// Our own cgroup was handed to us and whoever else is in it: it is marked so,
/// or it is ours and the one above is not, or we see nothing above it (the root
/// of a cgroup namespace).
fn is_given(levels: &[Level], ordinary: bool) -> bool {
    let own = &levels[0];
    match levels.get(1) {
        Some(above) => own.reach.given || ordinary && !above.reach.carry,
        None => true,
    }
}

fn names(controllers: Controllers) -> String {
    let names: Vec<&str> = controllers.iter().map(Controller::name).collect();
    names.join(", ")
}

fn absent(controller: Controller, top: &Level) -> Fault {
    // Whoever made the namespace that we are in has it, or nobody.
    let hint = match controller {
        _ if !top.root => "whoever runs this container has to hand it down",
        Controller::Memory => "boot with cgroup_enable=memory, or a kernel built with CONFIG_MEMCG",
        Controller::Cpu => {
            "a kernel built with CONFIG_CGROUP_SCHED and CONFIG_CFS_BANDWIDTH has it"
        }
        Controller::Pids => "a kernel built with CONFIG_CGROUP_PIDS has it",
        Controller::Devices => "a kernel built with CONFIG_CGROUP_BPF needs none",
    };
    Fault::unsupported(format!(
        "this host has no {controller} controller in {:?}",
        top.path
    ))
    .hint(hint)
}

/// Why an ordinary user cannot have limits here, and what gives them some.
fn not_given(levels: &[Level], controllers: Controllers, ordinary: Ordinary) -> Fault {
    let own = levels[0].path.display();
    // The highest that is ours: what it has not got, we cannot switch on.
    let highest = levels
        .iter()
        .take_while(|level| level.reach.carry)
        .last()
        .filter(|level| !controllers.without(level.available).is_empty());
    if let Some(highest) = highest {
        let lacking = controllers.without(highest.available);
        let path = highest.path.display();
        let hint = if ordinary.systemd {
            format!(
                "as root: systemctl edit user@.service, with the lines [Service] and \
                 Delegate=cpu memory pids, then log in anew; {:?} is what is missing",
                names(lacking)
            )
        } else {
            format!(
                "as root, write {:?} into cgroup.subtree_control of every directory above {path}",
                lacking.signed('+')
            )
        };
        return Fault::unsupported(format!(
            "the cgroup {path} was given to you without the controller {}",
            names(lacking)
        ))
        .hint(hint);
    }
    let hint = if ordinary.systemd {
        "systemd-run --user --scope -p Delegate=yes rkt run …".to_string()
    } else {
        let top = levels.last().map_or(Path::new("/"), |top| &top.path);
        let (top, uid) = (top.display(), ordinary.uid);
        let given = format!("{top}/rkt-{uid}");
        format!(
            "as root: echo {plus} >{top}/cgroup.subtree_control; mkdir {given}; \
             chown {uid} {given} {given}/cgroup.procs {given}/cgroup.subtree_control; \
             echo PID >{given}/cgroup.procs, where PID is the shell's that starts rkt",
            plus = format_args!("{:?}", controllers.signed('+')),
        )
    };
    Fault::unsupported(format!(
        "the cgroup {own} is not delegated to you, so {} cannot be bounded",
        names(controllers)
    ))
    .hint(hint)
}
