//! What sandbox, decided as data from the pod's manifest: no system call here.
//!
//! `PodSpec` (what stage0 wrote) in, `Plan` out. Whoever applies the plan has
//! nothing left to decide.

pub mod activation;
mod app;
pub mod caps;
mod env;
pub mod lsm;
pub mod paths;
mod rlimits;
pub mod seccomp;
mod seccomp_names;
mod stop_signal;
pub mod sysctl;
mod volumes;

use model::{Fault, ImageManifest, PodManifest};
use pod::labels::Labels;
use pod::rootfs::Rootfs;

pub use app::{AppPlan, Handler, unconfined};
pub use lsm::{Label, MountLabel};
pub use volumes::{Source, VolumeMount, VolumePlan};

/// Which restrictions the user switched off (`--insecure-options`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Unconfined {
    pub capabilities: bool,
    pub paths: bool,
    pub seccomp: bool,
}

/// Whose ids the pod's processes have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Users {
    /// The host's own: root in the pod is root on the host, but for what it lacks.
    #[default]
    Host,
    /// rkt runs in a user namespace already, an ordinary user's, and the pod in it.
    Inherited,
    /// `--private-users`: the pod's own namespace, its ids these of the host's.
    Private { first: u32, count: u32 },
}

impl Users {
    /// Is the pod in a user namespace that is not the first one? There are no
    /// device nodes to be made and no settings of the kernel to be had.
    pub fn confined(self) -> bool {
        self != Users::Host
    }
}

/// What stage0 prepared of one app.
#[derive(Debug)]
pub struct AppSpec {
    pub image: ImageManifest,
    pub rootfs: Rootfs,
}

/// What the plan is made from.
#[derive(Debug)]
pub struct PodSpec<'a> {
    pub uuid: &'a model::PodUuid,
    pub manifest: &'a PodManifest,
    /// As many as the manifest has apps, in its order.
    pub apps: &'a [AppSpec],
    pub unconfined: Unconfined,
    pub hostname: Option<&'a str>,
    pub host_network: bool,
    pub host_ipc: bool,
    pub interactive: bool,
    pub users: Users,
    /// SELinux labels that the pod was made with.
    pub labels: Option<&'a Labels>,
}

/// The sandbox of a pod.
#[derive(Debug)]
pub struct Plan {
    pub hostname: String,
    pub host_network: bool,
    pub host_ipc: bool,
    pub interactive: bool,
    pub users: Users,
    pub volumes: Vec<VolumePlan>,
    pub apps: Vec<AppPlan>,
    /// SELinux label of what the apps share.
    pub mount_label: MountLabel,
    /// To be written once the network is there.
    pub sysctls: Vec<sysctl::Setting>,
    /// For the user, on stderr.
    pub warnings: Vec<String>,
}

impl Plan {
    /// Where the apps find the metadata service; known only once the pod has
    /// its addresses.
    pub fn tell_metadata_url(&mut self, url: Option<&str>) {
        if let Some(url) = url {
            self.apps
                .iter_mut()
                .for_each(|app| app.tell_metadata_url(url));
        }
    }

    /// For a host that cannot confine devices: whoever could make a node of a
    /// disk could open it, so nobody may make one.
    pub fn forbid_device_nodes(&mut self) {
        const MKNOD: u64 = 1 << 27;
        for app in &mut self.apps {
            app.bounding &= !MKNOD;
        }
    }
}

/// A hostname goes into `/etc/hosts`: a newline in it would be a line of its own.
fn check_hostname(hostname: &str) -> Result<(), Fault> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b".-_".contains(&byte);
    if hostname.len() <= 64 && hostname.bytes().all(plain) {
        return Ok(());
    }
    Err(
        Fault::invalid(format!("hostname {hostname:?} is not valid"))
            .hint("use at most 64 letters, digits, dots, dashes and underscores"),
    )
}

/// Decides the whole sandbox.
pub fn plan(spec: &PodSpec<'_>) -> Result<Plan, Fault> {
    if let Some(hostname) = spec.hostname {
        check_hostname(hostname)?;
    }
    let shared = sysctl::Shared {
        network: spec.host_network,
        ipc: spec.host_ipc,
    };
    let sysctls = sysctl::of(&spec.manifest.isolators, shared)?;
    let mut warnings = Vec::new();
    let mut volumes = volumes::Planner::new(spec.manifest)?;
    let mut apps = Vec::with_capacity(spec.apps.len());
    for (runtime, app) in spec.manifest.apps.iter().zip(spec.apps) {
        apps.push(app::plan(spec, runtime, app, &mut volumes, &mut warnings)?);
    }
    Ok(Plan {
        hostname: spec
            .hostname
            .map_or_else(|| format!("rkt-{}", spec.uuid.as_str()), str::to_string),
        host_network: spec.host_network,
        host_ipc: spec.host_ipc,
        interactive: spec.interactive,
        users: spec.users,
        sysctls,
        volumes: volumes.finish(),
        mount_label: lsm::shared(spec.labels, &apps),
        apps,
        warnings,
    })
}
