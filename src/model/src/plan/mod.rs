//! Planning of a pod: image manifests and what the user asked for in, the pod
//! manifest that says what will run out. Pure; whoever calls has resolved the
//! images and read the files.
//!
//! The rules are rkt's: an app is the image's `app` section with the flags
//! applied; environment grows from the inherited variables over the image's to
//! the pod-wide ones; the first mount of a path wins.

use crate::app::{App, Env};
use crate::fault::{Fault, Kind, Result};
use crate::id::ImageId;
use crate::image::ImageManifest;
use crate::isolator::{self, Isolator};
use crate::label::{Annotation, check_unique};
use crate::name::AcName;
use crate::options::{AppOptions, PodOptions};
use crate::pod::{ExposedPort, Mount, PodManifest, RuntimeApp, RuntimeImage};
use crate::text::quote;
use std::collections::{HashMap, HashSet};

/// The annotation of a pod that says whether apps may come and go.
pub const MUTABLE: &str = "coreos.com/rkt/stage1/mutable";

/// An image that was found for one app.
#[derive(Clone, Copy, Debug)]
pub struct PlannedImage<'a> {
    pub id: &'a ImageId,
    pub manifest: &'a ImageManifest,
}

/// Who plans: written into the manifest, and whose ids an image without an app
/// section gets.
#[derive(Clone, Copy, Debug)]
pub struct Planner<'a> {
    /// Our own version, which becomes the pod's `acVersion`.
    pub version: &'a str,
    pub uid: u32,
    pub gid: u32,
}

/// Plans a pod of one app per image; `images` are in the order of
/// `options.apps`.
pub fn plan_pod(
    images: &[PlannedImage<'_>],
    options: &PodOptions,
    planner: &Planner<'_>,
) -> Result<PodManifest> {
    assert_eq!(images.len(), options.apps.len(), "one image per app");
    options.check_mounts()?;
    let mut pod = PodManifest {
        ac_version: planner.version.to_string(),
        apps: Vec::with_capacity(images.len()),
        volumes: options.volumes.clone(),
        isolators: pod_isolators(options)?,
        annotations: pod_annotations(options)?,
        ports: options.ports.clone(),
        user_annotations: last_of_each(&options.user_annotations),
        user_labels: last_of_each(&options.user_labels),
        extra: Vec::new(),
    };
    let mut names = HashSet::new();
    for (image, app_options) in images.iter().zip(&options.apps) {
        let name = app_name(image.manifest, app_options)?;
        if !names.insert(name.clone()) {
            return Err(
                Fault::conflict(format!("error: multiple apps with name {name}"))
                    .hint("give one of them another name with --name"),
            );
        }
        pod.apps
            .push(plan_app(*image, name, app_options, options, planner)?);
    }
    pod.check_names()?;
    check_ports(&pod)?;
    Ok(pod)
}

/// Plans one more app for a mutable pod (`rkt app add`). Here arguments replace
/// those of the image instead of following them.
pub fn plan_added_app(
    image: PlannedImage<'_>,
    app_options: &AppOptions,
    pod: &PodManifest,
    planner: &Planner<'_>,
) -> Result<RuntimeApp> {
    if !pod.is_mutable() {
        return Err(Fault::refused("immutable pod"));
    }
    let name = app_name(image.manifest, app_options)?;
    if pod.app(name.as_str()).is_some() {
        return Err(Fault::conflict(format!(
            "error: multiple apps with name {name}"
        )));
    }
    let without_args = AppOptions {
        args: Vec::new(),
        ..app_options.clone()
    };
    let alone = PodOptions::default();
    let mut added = plan_app(image, name, &without_args, &alone, planner)?;
    if let Some(app) = added.app.as_mut().filter(|_| !app_options.args.is_empty()) {
        app.exec.truncate(1);
        app.exec.extend(app_options.args.iter().cloned());
    }
    for mount in added
        .mounts
        .iter()
        .filter(|mount| mount.app_volume.is_none())
    {
        if pod.volume(mount.volume.as_str()).is_none() {
            return Err(Fault::usage(format!(
                "dangling mount point {}: volume {} not found",
                quote(&mount.path),
                quote(mount.volume.as_str())
            )));
        }
    }
    Ok(added)
}

/// `--name`, else the last part of the image's name.
pub fn app_name(manifest: &ImageManifest, options: &AppOptions) -> Result<AcName> {
    match &options.name {
        Some(name) => AcName::new(name),
        None => {
            let name = manifest.name.as_str();
            AcName::sanitize(name.rsplit('/').next().unwrap_or(name))
        }
    }
}

fn plan_app(
    image: PlannedImage<'_>,
    name: AcName,
    options: &AppOptions,
    pod: &PodOptions,
    planner: &Planner<'_>,
) -> Result<RuntimeApp> {
    check_platform(image.manifest)?;
    let mut app = match (&image.manifest.app, &options.exec) {
        (Some(app), _) => app.clone(),
        (None, Some(_)) => App {
            user: planner.uid.to_string(),
            group: planner.gid.to_string(),
            ..App::default()
        },
        (None, None) => {
            return Err(Fault::invalid(format!(
                "error: image {} has no app section and --exec argument is not provided",
                image.id
            )));
        }
    };
    override_app(&mut app, options)?;
    merge_environment(&mut app, options, pod)?;
    app.isolators = merge_isolators(&app.isolators, &options.isolators)?;
    check_unique(&options.annotations)?;
    Ok(RuntimeApp {
        name,
        image: RuntimeImage {
            name: Some(image.manifest.name.clone()),
            id: image.id.to_string(),
            labels: image.manifest.labels.clone(),
        },
        app: Some(app),
        read_only_rootfs: options.read_only_rootfs,
        mounts: merge_mounts(&options.mounts, &pod.mounts),
        annotations: options.annotations.clone(),
        extra: Vec::new(),
    })
}

/// An image must say what it runs on; the names were checked when it was read.
fn check_platform(manifest: &ImageManifest) -> Result<()> {
    for label in ["os", "arch"] {
        if manifest.labels.get(label).is_none() {
            return Err(Fault::invalid(format!(
                "missing {label} label in the image manifest"
            )));
        }
    }
    manifest.labels.check_platform()
}

/// The flags that replace a field of the image's app section.
fn override_app(app: &mut App, options: &AppOptions) -> Result<()> {
    if let Some(exec) = &options.exec {
        app.exec = vec![no_nul("--exec", exec)?];
    }
    for arg in &options.args {
        app.exec.push(no_nul("an argument", arg)?);
    }
    if let Some(directory) = &options.working_dir {
        if !directory.is_empty() && !directory.starts_with('/') {
            return Err(Fault::usage(format!(
                "workingDirectory must be an absolute path, not {}",
                quote(directory)
            )));
        }
        app.working_directory = no_nul("--working-dir", directory)?;
    }
    for (flag, value, field) in [
        ("user", &options.user, &mut app.user),
        ("group", &options.group, &mut app.group),
    ] {
        match value.as_deref() {
            Some("") => return Err(Fault::usage(format!("{flag} is required"))),
            Some(value) => *field = no_nul(flag, value)?,
            None => {}
        }
    }
    if !options.supplementary_gids.is_empty() {
        app.supplementary_gids = options.supplementary_gids.clone();
    }
    if let Some(annotations) = &options.user_annotations {
        app.user_annotations = last_of_each(annotations);
    }
    if let Some(labels) = &options.user_labels {
        app.user_labels = last_of_each(labels);
    }
    Ok(())
}

/// From the weakest to the strongest: inherited, image, `--environment`,
/// `--set-env-file`, `--set-env`. New variables stand behind the image's.
fn merge_environment(app: &mut App, options: &AppOptions, pod: &PodOptions) -> Result<()> {
    let mut places: HashMap<String, usize> = app
        .environment
        .iter()
        .enumerate()
        .map(|(at, env)| (env.name.clone(), at))
        .collect();
    let list = &mut app.environment;
    let mut set = |env: Env, replace: bool| match places.get(&env.name) {
        Some(&at) if replace => list[at] = env,
        Some(_) => {}
        None => {
            places.insert(env.name.clone(), list.len());
            list.push(env);
        }
    };
    for (name, value) in &options.environment {
        set(Env::new(name, value)?, true);
    }
    for (name, value) in &pod.inherited_env {
        // What a shell exports under a name that no manifest may hold, such as
        // functions of bash, stays outside instead of failing the pod.
        if let Ok(env) = Env::new(name, value) {
            set(env, false);
        }
    }
    for (name, value) in pod.env_file.iter().chain(&pod.set_env) {
        set(Env::new(name, value)?, true);
    }
    Ok(())
}

/// The image's isolators with those of the flags: limits are added behind (the
/// last counts), weights and sets replace what the image has of their kind.
fn merge_isolators(image: &[Isolator], flags: &[Isolator]) -> Result<Vec<Isolator>> {
    const CAPS: &[&str] = &[isolator::CAPS_RETAIN, isolator::CAPS_REMOVE];
    const SECCOMP: &[&str] = &[isolator::SECCOMP_RETAIN, isolator::SECCOMP_REMOVE];
    let given = |name: &str| flags.iter().any(|flag| flag.name == name);
    if CAPS.iter().all(|name| given(name)) {
        return Err(Fault::usage(
            "error: cannot use both --caps-retain and --caps-remove on the same image",
        ));
    }
    let mut replaced: Vec<&str> = Vec::new();
    for group in [
        CAPS,
        SECCOMP,
        &[isolator::CPU_SHARES],
        &[isolator::OOM_SCORE_ADJ],
    ] {
        if group.iter().any(|name| given(name)) {
            replaced.extend(group);
        }
    }
    let mut merged: Vec<Isolator> = image
        .iter()
        .filter(|isolator| !replaced.contains(&isolator.name.as_str()))
        .cloned()
        .collect();
    merged.extend(flags.iter().cloned());
    isolator::check_app_list(&merged)?;
    Ok(merged)
}

/// The app's own mounts, then the pod's; of several for one path the first.
fn merge_mounts(own: &[Mount], pod: &[Mount]) -> Vec<Mount> {
    let mut seen = HashSet::new();
    own.iter()
        .chain(pod)
        .filter(|mount| seen.insert(mount.path.as_str()))
        .cloned()
        .collect()
}

fn pod_isolators(options: &PodOptions) -> Result<Vec<Isolator>> {
    if options.sysctls.is_empty() {
        return Ok(Vec::new());
    }
    let settings = options.sysctls.iter();
    let value = settings
        .map(|(key, value)| (key.clone(), value.as_str().into()))
        .collect();
    Isolator::new(isolator::SYSCTL, serde_json::Value::Object(value)).map(|made| vec![made])
}

fn pod_annotations(options: &PodOptions) -> Result<Vec<Annotation>> {
    let mut annotations = vec![Annotation::new(MUTABLE, options.mutable.to_string())?];
    annotations.extend(options.annotations.iter().cloned());
    check_unique(&annotations)?;
    Ok(annotations)
}

/// Every exposed port without a port of its own names a port of exactly one app.
fn check_ports(pod: &PodManifest) -> Result<()> {
    let mut counts: HashMap<&str, usize> = HashMap::new();
    for port in pod
        .apps
        .iter()
        .filter_map(|app| app.app.as_ref())
        .flat_map(|app| &app.ports)
    {
        *counts.entry(port.name.as_str()).or_default() += 1;
    }
    for ExposedPort { name, pod_port, .. } in &pod.ports {
        if pod_port.is_some() {
            continue;
        }
        match counts.get(name.as_str()) {
            None => {
                return Err(Fault::usage(format!(
                    "port name {} could not be found in any apps",
                    quote(name.as_str())
                )));
            }
            Some(1) => {}
            Some(_) => {
                return Err(Fault::usage(format!(
                    "port name {} defined multiple apps",
                    quote(name.as_str())
                )));
            }
        }
    }
    Ok(())
}

/// Checks a manifest that the user gave (`--pod-manifest`) against the images
/// in the store; `image` finds the manifest of an ID as written.
pub fn check_pod_manifest(
    pod: &PodManifest,
    image: &mut dyn FnMut(&str) -> Result<ImageManifest>,
) -> Result<()> {
    let mut names = HashSet::new();
    for app in &pod.apps {
        if app.image.id.is_empty() {
            return Err(Fault::invalid(format!(
                "no image ID for app {}",
                quote(app.name.as_str())
            )));
        }
        if !names.insert(&app.name) {
            return Err(Fault::conflict(format!(
                "multiple apps with same name {}",
                app.name
            )));
        }
        let manifest = image(&app.image.id)?;
        if app.app.is_none() && manifest.app.is_none() {
            return Err(Fault::invalid(format!(
                "no app section in the pod manifest or the image manifest of app {}",
                quote(app.name.as_str())
            )));
        }
        for mount in &app.mounts {
            if mount.app_volume.is_none() && pod.volume(mount.volume.as_str()).is_none() {
                return Err(Fault::not_found(format!(
                    "could not find volume {}",
                    mount.volume
                )));
            }
        }
    }
    check_ports_of(pod, image)
}

/// As `check_ports`, with the app section of the image where the pod has none.
fn check_ports_of(
    pod: &PodManifest,
    image: &mut dyn FnMut(&str) -> Result<ImageManifest>,
) -> Result<()> {
    if pod.ports.is_empty() {
        return Ok(());
    }
    let mut filled = pod.clone();
    for app in filled.apps.iter_mut().filter(|app| app.app.is_none()) {
        app.app = image(&app.image.id)?.app;
    }
    check_ports(&filled).map_err(|fault| Fault {
        kind: Kind::Invalid,
        ..fault
    })
}

/// The last value of each key, in the order of first appearance.
fn last_of_each(pairs: &[(String, String)]) -> Vec<(String, String)> {
    let mut places: HashMap<&str, usize> = HashMap::new();
    let mut out: Vec<(String, String)> = Vec::new();
    for (key, value) in pairs {
        match places.get(key.as_str()) {
            Some(&at) => out[at].1.clone_from(value),
            None => {
                places.insert(key, out.len());
                out.push((key.clone(), value.clone()));
            }
        }
    }
    out
}

fn no_nul(what: &str, text: &str) -> Result<String> {
    if text.contains('\0') {
        return Err(Fault::usage(format!("{what} contains a NUL character")));
    }
    Ok(text.to_string())
}

#[cfg(test)]
mod tests;
