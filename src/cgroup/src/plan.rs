//! Which cgroups a pod gets and what is written into them, decided before
//! anything is touched (pure).
//!
//! A v1 controller gets a directory only if a limit (or the devices) needs it:
//! each one costs every process of the pod a join. Where the devices controller
//! is mounted the processes are counted there, else in the v2 tree. A limit
//! goes to v1 where the controller is mounted as v1, else to the v2 tree.

use crate::controller::{Controller, Controllers};
use crate::devices::Devices;
use crate::hierarchy::{Facts, Hierarchy, Mode, Version};
use crate::limits::{Limits, Setting};
use crate::tree::{Moving, Site};
use model::{Fault, PodUuid, fault::Result};
use std::path::PathBuf;

/// What the pod asks for.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    pub uuid: &'a PodUuid,
    pub apps: &'a [(String, Limits)],
    pub devices: &'a Devices,
    /// Apps may be added later: everything that could enforce a limit of
    /// theirs is set up now.
    pub grows: bool,
    /// Who is root in the pod's own user namespace, if it has one: the cgroups
    /// are handed over, but for the limits.
    pub owner: Option<u32>,
}

impl Request<'_> {
    /// The controllers to ask `Facts::probe` for.
    pub fn needs(&self) -> Controllers {
        let growth = if self.grows { GROWTH } else { &[] };
        self.limited().union(growth.iter().copied().collect())
    }

    fn limited(&self) -> Controllers {
        self.apps
            .iter()
            .fold(Controllers::EMPTY, |all, (_, limits)| {
                all.union(limits.needs())
            })
    }
}

/// What an app that is added later may be limited by.
const GROWTH: &[Controller] = &[Controller::Memory, Controller::Cpu];

/// The cgroups of one pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// `rkt-<uuid>`.
    pub(crate) name: String,
    pub(crate) trees: Vec<Tree>,
    pub(crate) devices: Devices,
    pub(crate) owner: Option<u32>,
    /// What the pod does without and the user should hear of.
    pub(crate) notes: Vec<String>,
}

/// The pod's part of one hierarchy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Tree {
    pub version: Version,
    pub site: Site,
    /// Those whose limits are written here (v2: switched on for the apps).
    pub controllers: Controllers,
    /// The devices of the pod are confined here.
    pub confines: bool,
    /// Every app has a place here; else only those with a limit.
    pub counts: bool,
    pub apps: Vec<App>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct App {
    pub name: String,
    pub settings: Vec<Setting>,
}

pub(crate) const POD_PREFIX: &str = "rkt-";
pub(crate) const APP_PREFIX: &str = "app-";
/// v2: the leaf of the pod's init, and that of a runtime that had to leave its
/// own cgroup.
pub(crate) const SUPERVISOR: &str = "supervisor";
pub(crate) const OUTER: &str = "outer";
/// v2: the leaf beside the pods, of all processes that were in a cgroup that
/// had to carry pods.
pub(crate) const BESIDE: &str = "rkt-beside";

impl Plan {
    pub fn of(facts: &Facts, request: &Request<'_>) -> Result<Plan> {
        let needs = request.limited();
        let mut trees: Vec<Tree> = Vec::new();
        let mut in_v2 = Controllers::EMPTY;
        let ordinary = facts.ordinary.is_some();
        for controller in needs.iter() {
            match facts.v1_of(controller) {
                Some(_) if ordinary => return Err(not_delegated(controller, request)),
                Some(hierarchy) => add_v1(&mut trees, hierarchy, controller),
                None if facts.unified.is_some() && !facts.levels.is_empty() => {
                    in_v2 = in_v2.with(controller)
                }
                None => return Err(missing(facts, controller, request)),
            }
        }
        if request.grows {
            in_v2 = with_growth(facts, &mut trees, in_v2);
        }
        let devices = facts.v1_of(Controller::Devices).filter(|_| !ordinary);
        if let Some(hierarchy) = devices {
            add_v1(&mut trees, hierarchy, Controller::Devices);
        }
        let counted = devices.is_some();
        if let Some(unified) = &facts.unified
            && let Some(site) = site(facts, unified, request, in_v2, counted)?
        {
            trees.push(Tree {
                version: Version::V2,
                site,
                controllers: in_v2,
                confines: !counted && !ordinary,
                counts: true,
                apps: Vec::new(),
            });
        }
        for tree in &mut trees {
            tree.confines |=
                tree.version == Version::V1 && tree.controllers.contains(Controller::Devices);
            tree.counts |= tree.confines;
        }
        if !trees.iter().any(|tree| tree.counts)
            && let Some(first) = trees.first_mut()
        {
            first.counts = true;
        }
        let notes = notes(facts, &trees);
        let mut plan = Plan {
            name: format!("{POD_PREFIX}{}", request.uuid.as_str()),
            trees,
            devices: request.devices.clone(),
            owner: request.owner,
            notes,
        };
        for (name, limits) in request.apps {
            plan.add_app(name, limits)?;
        }
        Ok(plan)
    }

    fn add_app(&mut self, name: &str, limits: &Limits) -> Result<()> {
        for tree in &mut self.trees {
            if let Some(app) = app_in(tree.version, tree.controllers, tree.counts, name, limits)? {
                tree.apps.push(app);
            }
        }
        Ok(())
    }

    /// The directories that `create` will make, one to a line: kept with the
    /// pod before anything is made, so that gc finds them after a kill.
    pub fn record(&self) -> String {
        self.trees
            .iter()
            .map(|tree| format!("{}\n", tree.site.path.join(&self.name).display()))
            .collect()
    }
}

/// What an app that is added later may be limited by. Best effort: one that
/// needs what is not there is refused later, and nobody else moves for it.
fn with_growth(facts: &Facts, trees: &mut Vec<Tree>, in_v2: Controllers) -> Controllers {
    GROWTH
        .iter()
        .fold(in_v2, |in_v2, &controller| match facts.v1_of(controller) {
            Some(_) if facts.ordinary.is_some() => in_v2,
            Some(hierarchy) => {
                add_v1(trees, hierarchy, controller);
                in_v2
            }
            None => {
                let more = in_v2.with(controller);
                match facts.site(more) {
                    Ok(site) if site.moving != Moving::All || !in_v2.is_empty() => more,
                    _ => in_v2,
                }
            }
        })
}

/// Where in the v2 tree the pod goes; `None`: it has no need of that, or no
/// place there and no limit. `counted`: v1 counts the pod's processes.
fn site(
    facts: &Facts,
    unified: &Hierarchy,
    request: &Request<'_>,
    in_v2: Controllers,
    counted: bool,
) -> Result<Option<Site>> {
    if !in_v2.is_empty() {
        let site = facts.site(in_v2);
        return site.map(Some).map_err(|fault| match asker(request, in_v2) {
            Some(who) => fault.link(who),
            None => fault,
        });
    }
    let closed = facts.ordinary.is_some()
        && facts
            .levels
            .first()
            .is_none_or(|own| !own.reach.carry || !own.domain);
    Ok((!counted && !closed).then(|| Site::as_it_is(unified.place())))
}

fn notes(facts: &Facts, trees: &[Tree]) -> Vec<String> {
    let mut notes = Vec::new();
    if facts.ordinary.is_some() {
        if trees.is_empty() {
            notes.push("the pod has no cgroup of its own, since none is delegated to you".into());
        }
    } else if !trees.iter().any(|tree| tree.confines) {
        notes.push(match facts.mode {
            Mode::None => "weaker: no cgroups are mounted, so the devices of the pod are not confined".to_string(),
            _ => "weaker: no devices controller and no cgroup2 tree, so the devices of the pod are not confined"
                .to_string(),
        });
    }
    notes
}

/// An app's part of one hierarchy; `None` if it needs no place there.
pub(crate) fn app_in(
    version: Version,
    controllers: Controllers,
    counts: bool,
    name: &str,
    limits: &Limits,
) -> Result<Option<App>> {
    let mut settings = Vec::new();
    for controller in controllers.iter() {
        settings.extend(
            limits
                .settings(version, controller)
                .map_err(|fault| fault.link(format!("app {name:?}")))?,
        );
    }
    Ok((counts || !settings.is_empty()).then(|| App {
        name: name.to_string(),
        settings,
    }))
}

fn add_v1(trees: &mut Vec<Tree>, hierarchy: &Hierarchy, controller: Controller) {
    let path: PathBuf = hierarchy.place();
    match trees.iter_mut().find(|tree| tree.site.path == path) {
        Some(tree) => tree.controllers = tree.controllers.with(controller),
        None => trees.push(Tree {
            version: Version::V1,
            site: Site::as_it_is(path),
            controllers: Controllers::EMPTY.with(controller),
            confines: false,
            counts: false,
            apps: Vec::new(),
        }),
    }
}

fn asker(request: &Request<'_>, controllers: Controllers) -> Option<String> {
    let (name, _) = request.apps.iter().find(|(_, limits)| {
        controllers
            .iter()
            .any(|controller| limits.needs().contains(controller))
    })?;
    Some(format!("app {name:?} has a limit"))
}

/// The isolator behind a controller, and the app that has it.
fn wish(controller: Controller, request: &Request<'_>) -> String {
    let who = request
        .apps
        .iter()
        .find(|(_, limits)| limits.needs().contains(controller));
    let who = who.map_or(String::new(), |(name, _)| format!(" of app {name:?}"));
    let isolator = match controller {
        Controller::Memory => "resource/memory",
        Controller::Cpu => "resource/cpu or os/linux/cpu-shares",
        Controller::Pids => "the bound on processes",
        Controller::Devices => "the list of devices",
    };
    format!("{isolator}{who}")
}

fn missing(facts: &Facts, controller: Controller, request: &Request<'_>) -> Fault {
    let hint = match (facts.mode, controller) {
        (Mode::None, _) => "mount them: mount -t cgroup2 cgroup2 /sys/fs/cgroup".to_string(),
        (_, Controller::Memory) => {
            "boot with cgroup_enable=memory, mount the controller, or run without the limit"
                .to_string()
        }
        _ => format!("mount the {controller} controller, or run without the limit"),
    };
    Fault::unsupported(format!(
        "{} cannot be enforced: no {controller} controller is mounted",
        wish(controller, request)
    ))
    .hint(hint)
}

/// Whoever may write into a v1 cgroup can also break out of what bounds it:
/// there is no boundary of delegation.
fn not_delegated(controller: Controller, request: &Request<'_>) -> Fault {
    Fault::unsupported(format!(
        "{} cannot be enforced: this host has the {controller} controller in a cgroup v1 tree, which cannot be delegated to an ordinary user",
        wish(controller, request)
    ))
    .hint("boot with cgroup_no_v1=all (with systemd: systemd.unified_cgroup_hierarchy=1), or run without the limit")
}
