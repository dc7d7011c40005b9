//! Pods as `list`, `status` and `cat-manifest` show them: plain data gathered
//! from the pod directory, nothing formatted.
//!
//! A pod that is being prepared or deleted has no manifest to rely on; what is
//! not known is `None` or empty.

use crate::env::Env;
use model::fault::Result;
use model::{Context, Fault, Kind, PodManifest, PodUuid, RuntimeApp, VolumeKind};
use pod::{Place, Pod, State, Times};
use std::fmt;
use std::path::PathBuf;

/// How a user names a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PodName {
    /// A UUID or a unique prefix of one.
    Uuid(String),
    /// `--uuid-file`.
    File(PathBuf),
}

#[derive(Clone, Debug)]
pub struct PodInfo {
    pub uuid: PodUuid,
    pub state: State,
    pub apps: Vec<AppInfo>,
    /// Of a pod that runs or has exited.
    pub networks: Vec<pod::NetInfo>,
    /// `None` while preparing: rkt's zero time.
    pub created_ns: Option<i64>,
    pub started_ns: Option<i64>,
    pub pid: Option<i32>,
    pub user_annotations: Vec<(String, String)>,
    pub user_labels: Vec<(String, String)>,
}

#[derive(Clone, Debug)]
pub struct AppInfo {
    pub name: String,
    /// `name[:version]`; `None` when the image's manifest cannot be read (`--`).
    pub image_name: Option<String>,
    /// The full ID, 71 characters.
    pub image_id: String,
    pub state: AppState,
    pub created_ns: Option<i64>,
    pub started_ns: Option<i64>,
    pub finished_ns: Option<i64>,
    pub exit_code: Option<i32>,
    pub mounts: Vec<AppMount>,
    pub user_annotations: Vec<(String, String)>,
    pub user_labels: Vec<(String, String)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AppState {
    Unknown,
    Created,
    Running,
    Exited,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AppMount {
    pub name: String,
    pub container_path: String,
    pub host_path: String,
    pub read_only: bool,
}

/// How much of each pod is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Detail {
    /// What the table shows; apps bear name and image only.
    Table,
    /// What JSON shows.
    Everything,
}

/// `rkt list`: pods sorted by UUID; one text per error of the error block
/// (possibly of several lines); plain stderr lines on what is no pod.
#[derive(Clone, Debug, Default)]
pub struct Listing {
    pub pods: Vec<PodInfo>,
    pub errors: Vec<String>,
    pub skipped: Vec<String>,
}

impl fmt::Display for AppState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            AppState::Unknown => "unknown",
            AppState::Created => "created",
            AppState::Running => "running",
            AppState::Exited => "exited",
        })
    }
}

impl AppState {
    /// What the pod's state says of its apps, unless an app has ended by itself.
    fn of(pod: State) -> AppState {
        match pod {
            State::Embryo | State::Preparing | State::AbortedPrepare => AppState::Unknown,
            State::Prepared => AppState::Created,
            State::Running => AppState::Running,
            _ => AppState::Exited,
        }
    }
}

/// The UUID, or its beginning, that a user meant.
pub(crate) fn uuid_text(name: &PodName) -> Result<String> {
    match name {
        PodName::Uuid(text) => Ok(text.trim().to_string()),
        PodName::File(path) => {
            match std::fs::read_to_string(path) {
                Ok(text) => Ok(text.trim().to_string()),
                Err(e) => Err(Fault::io("open", path.display(), e)
                    .message("unable to resolve UUID from file")),
            }
        }
    }
}

/// Opens the pod that a user named; `intent` stands before the failure.
pub(crate) fn open(env: &Env, name: &PodName, intent: &str) -> Result<Pod> {
    let uuid = uuid_text(name)?;
    Pod::find(&env.dir, &uuid).message(|| intent.to_string())
}

/// The pod manifest as it stands on disk.
pub fn cat_manifest(env: &Env, name: &PodName) -> Result<Vec<u8>> {
    open(env, name, "problem retrieving pod")?.manifest_bytes()
}

pub fn list(env: &Env, detail: Detail) -> Result<Listing> {
    let read = pod::list(&env.dir, &Place::LISTED)?;
    let mut listing = Listing {
        skipped: read.skipped,
        ..Listing::default()
    };
    for entry in read.pods {
        listing
            .errors
            .extend(entry.faults.iter().map(|fault| fault.to_string()));
        let from_summary = |entry: pod::Entry| PodInfo {
            apps: entry
                .apps
                .iter()
                .map(|app| from_summary(entry.state, app))
                .collect(),
            uuid: entry.uuid,
            state: entry.state,
            networks: entry.networks,
            created_ns: entry.created_ns,
            started_ns: entry.started_ns,
            pid: None,
            user_annotations: Vec::new(),
            user_labels: Vec::new(),
        };
        // A pod whose manifest is unreadable was reported above already.
        if detail == Detail::Table || !entry.faults.is_empty() {
            listing.pods.push(from_summary(entry));
            continue;
        }
        match entry.open(&env.dir).and_then(|pod| describe(&pod)) {
            Ok(info) => listing.pods.push(info),
            // It went away while we looked.
            Err(fault) if fault.kind == Kind::NotFound => {}
            Err(fault) => {
                listing.errors.push(fault.to_string());
                listing.pods.push(from_summary(entry));
            }
        }
    }
    Ok(listing)
}

fn from_summary(state: State, app: &pod::AppSummary) -> AppInfo {
    AppInfo {
        name: app.name.as_str().to_string(),
        image_name: app.image_name.clone(),
        image_id: app.image_id.clone(),
        state: AppState::of(state),
        created_ns: None,
        started_ns: None,
        finished_ns: None,
        exit_code: None,
        mounts: Vec::new(),
        user_annotations: Vec::new(),
        user_labels: Vec::new(),
    }
}

/// Everything that is known of a pod.
pub fn describe(pod: &Pod) -> Result<PodInfo> {
    let state = pod.state();
    let times = pod.times()?;
    let manifest = if state.has_manifest() {
        Some(pod.manifest()?)
    } else {
        None
    };
    let apps = match &manifest {
        Some(manifest) => manifest
            .apps
            .iter()
            .map(|app| describe_app(pod, manifest, app, &times))
            .collect::<Result<_>>()?,
        None => Vec::new(),
    };
    let manifest = manifest.as_ref();
    Ok(PodInfo {
        uuid: pod.uuid().clone(),
        state,
        apps,
        networks: if state.has_networks() {
            pod.networks()?
        } else {
            Vec::new()
        },
        created_ns: times.created_ns,
        started_ns: times.started_ns,
        pid: if state.has_run() {
            pod.pid().ok().flatten()
        } else {
            None
        },
        user_annotations: manifest
            .map(|m| m.user_annotations.clone())
            .unwrap_or_default(),
        user_labels: manifest.map(|m| m.user_labels.clone()).unwrap_or_default(),
    })
}

fn describe_app(
    pod: &Pod,
    manifest: &PodManifest,
    app: &RuntimeApp,
    times: &Times,
) -> Result<AppInfo> {
    let state = pod.state();
    let exit_code = if state.has_run() {
        pod.exit_status(&app.name)?
    } else {
        None
    };
    let image = pod.image_manifest(&app.name).ok();
    Ok(AppInfo {
        name: app.name.as_str().to_string(),
        image_name: image.as_ref().map(pod::manifest::display_name),
        image_id: app.image.id.clone(),
        state: if exit_code.is_some() {
            AppState::Exited
        } else {
            AppState::of(state)
        },
        created_ns: times.created_ns,
        started_ns: times.started_ns,
        finished_ns: times.marked_ns,
        exit_code,
        mounts: app
            .mounts
            .iter()
            .map(|mount| describe_mount(manifest, mount))
            .collect(),
        user_annotations: app
            .app
            .as_ref()
            .map(|a| a.user_annotations.clone())
            .unwrap_or_default(),
        user_labels: app
            .app
            .as_ref()
            .map(|a| a.user_labels.clone())
            .unwrap_or_default(),
    })
}

fn describe_mount(manifest: &PodManifest, mount: &model::Mount) -> AppMount {
    let by_name = || {
        manifest
            .volumes
            .iter()
            .find(|volume| volume.name == mount.volume)
    };
    let volume = mount.app_volume.as_ref().or_else(by_name);
    let host_path = match volume.map(|volume| &volume.kind) {
        Some(VolumeKind::Host { source }) => source.clone(),
        _ => String::new(),
    };
    AppMount {
        name: mount.volume.as_str().to_string(),
        container_path: mount.path.clone(),
        host_path,
        read_only: volume.and_then(|volume| volume.read_only).unwrap_or(false),
    }
}
