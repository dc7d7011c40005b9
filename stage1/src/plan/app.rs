//! One app of the plan: what is executed, as whom, behind which borders.

use cgroup::Limits;
use model::isolator::{Known, Rlimit};
use model::options::Readiness;
use model::{Fault, RuntimeApp};
use pod::rootfs::Rootfs;
use sys::seccomp::Insn;

use super::lsm::{self, Label, MountLabel};
use super::{
    AppSpec, PodSpec, Users, VolumeMount, caps, env, rlimits, seccomp, stop_signal, volumes,
};

/// A command that runs before or after the app, in its root, as root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Handler {
    pub exec: Vec<String>,
}

#[derive(Debug)]
pub struct AppPlan {
    pub name: String,
    pub exec: Vec<String>,
    pub user: String,
    pub group: String,
    /// A docker image whose group is unknown but equals the user: gid = uid.
    pub group_may_equal_user: bool,
    pub supplementary_gids: Vec<u32>,
    pub working_directory: String,
    pub env: Vec<(String, String)>,
    pub rootfs: Rootfs,
    pub users: Users,
    pub read_only_rootfs: bool,
    pub mounts: Vec<VolumeMount>,
    pub protect_paths: bool,
    pub bounding: u64,
    pub seccomp: Option<Vec<Insn>>,
    pub no_new_privs: bool,
    pub oom_score_adj: Option<i32>,
    pub rlimits: Vec<Rlimit>,
    pub limits: Limits,
    pub pre_start: Option<Handler>,
    pub post_stop: Option<Handler>,
    pub readiness: Readiness,
    /// What asks the app to end.
    pub stop_signal: i32,
    /// What it becomes at exec, its handlers and `enter` too.
    pub label: Label,
    /// Of its own file systems.
    pub mount_label: MountLabel,
}

impl AppPlan {
    /// An image's own word counts more.
    pub fn tell_metadata_url(&mut self, url: &str) {
        const KEY: &str = "AC_METADATA_URL";
        if !self.env.iter().any(|(key, _)| key == KEY) {
            self.env.push((KEY.to_string(), url.to_string()));
        }
    }
}

pub(super) fn plan(
    pod: &PodSpec<'_>,
    runtime: &RuntimeApp,
    spec: &AppSpec,
    planner: &mut volumes::Planner<'_>,
    warnings: &mut Vec<String>,
) -> Result<AppPlan, Fault> {
    let name = runtime.name.as_str().to_string();
    let number = pod
        .manifest
        .apps
        .iter()
        .position(|other| other.name == runtime.name)
        .unwrap_or(0);
    let app = runtime
        .app
        .as_ref()
        .or(spec.image.app.as_ref())
        .ok_or_else(|| {
            Fault::invalid(format!(
                "app \"{name}\" has no app section in its manifests"
            ))
        })?;
    if app.exec.is_empty() {
        let image = spec.image.name.as_str();
        return Err(Fault::invalid(format!(
            "image \"{image}\" has an empty \"exec\" (try --exec=BINARY)"
        )));
    }
    for isolator in &app.isolators {
        match isolator.known {
            Known::Unknown | Known::Throttle { .. } => warnings.push(format!(
                "warning: app \"{name}\": isolator \"{}\" is not enforced here",
                isolator.name.as_str()
            )),
            // All apps share what it sets: an image has no say in that.
            Known::Sysctl(_) => warnings.push(format!(
                "warning: app \"{name}\": isolator \"os/unix/sysctl\" is the pod's, not an app's (use --sysctl)"
            )),
            _ => {}
        }
    }
    let bounding = if pod.unconfined.capabilities {
        caps::CapSet::ALL
    } else {
        caps::effective(&app.isolators)?
    };
    let dangerous = caps::CapSet::DANGEROUS.names_in(&bounding);
    if !pod.unconfined.capabilities && !dangerous.is_empty() {
        warnings.push(format!(
            "warning: app \"{name}\" is given {dangerous}, with which it can take over the host"
        ));
    }
    let seccomp = if pod.unconfined.seccomp {
        None
    } else {
        seccomp::filter(&app.isolators, &bounding)?
    };
    let (label, mount_label) = lsm::of_app(pod, app, &name, warnings)?;
    let mounts = planner.mounts_of(number, &runtime.name, app, &runtime.mounts, spec, warnings)?;
    let stop_signal = stop_signal::of(&spec.image).unwrap_or_else(|fault| {
        warnings.push(format!("warning: app \"{name}\": {fault}"));
        sys::signal::TERM
    });
    let handler = |event| {
        app.event_handlers
            .iter()
            .find(|handler| handler.event == event)
            .filter(|handler| !handler.exec.is_empty())
            .map(|handler| Handler {
                exec: handler.exec.clone(),
            })
    };
    Ok(AppPlan {
        env: env::environment(app, &name, pod.interactive),
        users: pod.users,
        read_only_rootfs: runtime.read_only_rootfs,
        mounts,
        protect_paths: !pod.unconfined.paths,
        bounding: bounding.bits(),
        seccomp,
        no_new_privs: app
            .isolators
            .iter()
            .any(|i| i.known == Known::NoNewPrivileges(true)),
        oom_score_adj: app.isolators.iter().rev().find_map(|i| match i.known {
            Known::OomScoreAdj(value) => Some(value),
            _ => None,
        }),
        rlimits: rlimits::of(&app.isolators),
        limits: Limits::of(&app.isolators)?,
        pre_start: handler(model::app::Event::PreStart),
        post_stop: handler(model::app::Event::PostStop),
        readiness: Readiness::of(&runtime.annotations, &spec.image.annotations)?,
        stop_signal,
        label,
        mount_label,
        ..unconfined(&name, app, spec)
    })
}

/// The plan of an app that nothing bounds but its root (fly).
pub fn unconfined(name: &str, app: &model::App, spec: &AppSpec) -> AppPlan {
    let from_docker = spec.image.annotation("appc.io/docker/repository").is_some();
    AppPlan {
        name: name.to_string(),
        exec: app.exec.clone(),
        user: app.user.clone(),
        group: app.group.clone(),
        group_may_equal_user: from_docker && app.user == app.group,
        supplementary_gids: app.supplementary_gids.clone(),
        working_directory: match app.working_directory.as_str() {
            "" => "/".to_string(),
            directory => directory.to_string(),
        },
        env: env::plain(app),
        rootfs: spec.rootfs.clone(),
        users: Users::Host,
        read_only_rootfs: false,
        mounts: Vec::new(),
        protect_paths: false,
        bounding: caps::CapSet::ALL.bits(),
        seccomp: None,
        no_new_privs: false,
        oom_score_adj: None,
        rlimits: Vec::new(),
        limits: Limits::default(),
        pre_start: None,
        post_stop: None,
        readiness: Readiness::Exec,
        stop_signal: sys::signal::TERM,
        label: Label::default(),
        mount_label: MountLabel::default(),
    }
}
