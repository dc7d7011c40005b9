//! What a user asked for on the command line of `run`, `prepare` and `fetch`,
//! parsed but not yet applied to any image.
//!
//! The parsers of the single flag values live beside their meaning: isolators
//! in `limits`, DNS and hosts in `dns`, environment in `environment`, ports in
//! `port`, readiness in `readiness`, security features in `insecure`; volumes and mounts in `volume`.

mod dns;
mod environment;
mod insecure;
mod limits;
mod port;
mod readiness;

pub use dns::{DnsOptions, HostsMode, ResolvMode, dns_options, resolv_conf_text};
pub use environment::{EnvFiles, EnvFlags, parse_pair};
pub use insecure::InsecureOptions;
pub use limits::{
    caps_remove, caps_retain, cpu, cpu_shares, memory, oom_score_adj, rlimit, seccomp,
    supplementary_gids, sysctl,
};
pub use readiness::{READINESS, Readiness, SUPPORTS_NOTIFY, readiness};

use crate::fault::{Fault, Result};
use crate::isolator::Isolator;
use crate::label::Annotation;
use crate::pod::{ExposedPort, Mount, Volume};
use crate::text::quote;

/// Options of the whole pod.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PodOptions {
    pub apps: Vec<AppOptions>,
    pub volumes: Vec<Volume>,
    /// `--mount` before any image: for every app.
    pub mounts: Vec<Mount>,
    pub ports: Vec<ExposedPort>,
    /// The caller's environment when `--inherit-env` was given, else empty.
    pub inherited_env: Vec<(String, String)>,
    /// The content of all `--set-env-file`s, in order.
    pub env_file: Vec<(String, String)>,
    pub set_env: Vec<(String, String)>,
    /// `--sysctl`s, each key once.
    pub sysctls: Vec<(String, String)>,
    /// Annotations, user annotations and labels of the pod itself (sandboxes).
    pub annotations: Vec<Annotation>,
    pub user_annotations: Vec<(String, String)>,
    pub user_labels: Vec<(String, String)>,
    pub mutable: bool,
}

/// Options of one app: the flags that follow its image.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct AppOptions {
    /// The image word as typed.
    pub image: String,
    /// Everything between `--` and `---`.
    pub args: Vec<String>,
    pub signature: Option<String>,
    pub exec: Option<String>,
    pub working_dir: Option<String>,
    pub read_only_rootfs: bool,
    pub mounts: Vec<Mount>,
    pub user: Option<String>,
    pub group: Option<String>,
    pub supplementary_gids: Vec<u32>,
    pub name: Option<String>,
    pub annotations: Vec<Annotation>,
    pub user_annotations: Option<Vec<(String, String)>>,
    pub user_labels: Option<Vec<(String, String)>>,
    pub environment: Vec<(String, String)>,
    /// `--memory`, `--cpu`, `--cpu-shares`, `--oom-score-adj`, `--caps-*`,
    /// `--rlimit`, `--seccomp`; how each combines with the image's own is the plan's affair.
    pub isolators: Vec<Isolator>,
}

/// `--stdin`, `--stdout` or `--stderr` as the annotation of the app that it
/// becomes; `flag` is the name without dashes.
pub fn stream_mode(flag: &str, mode: &str) -> Result<Annotation> {
    let modes: &[&str] = match flag {
        "stdin" => &["null", "stream", "tty"],
        _ => &["log", "null", "stream", "tty"],
    };
    if !modes.contains(&mode) {
        return Err(
            Fault::usage(format!("invalid mode {} for --{flag}", quote(mode)))
                .hint(format!("one of {}", modes.join(", "))),
        );
    }
    Annotation::new(&format!("coreos.com/rkt/stage2/{flag}"), mode)
}

impl PodOptions {
    /// Every mount must name a declared volume unless it brings its own.
    pub fn check_mounts(&self) -> Result<()> {
        let declared = |mount: &&Mount| {
            mount.app_volume.is_some()
                || self
                    .volumes
                    .iter()
                    .any(|volume| volume.name == mount.volume)
        };
        let mut mounts = self
            .mounts
            .iter()
            .chain(self.apps.iter().flat_map(|app| &app.mounts));
        match mounts.find(|mount| !declared(mount)) {
            Some(mount) => Err(Fault::usage(format!(
                "dangling mount point {}: volume {} not found",
                quote(&mount.path),
                quote(mount.volume.as_str())
            ))),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn stream_modes_become_annotations() {
        let annotation = stream_mode("stdin", "tty").unwrap();
        assert_eq!(
            annotation,
            Annotation::new("coreos.com/rkt/stage2/stdin", "tty").unwrap()
        );
        assert!(stream_mode("stdout", "log").is_ok());
        assert_eq!(
            stream_mode("stdin", "log").unwrap_err().cause,
            "invalid mode \"log\" for --stdin"
        );
    }

    #[test]
    fn mounts_need_a_volume() {
        let mut options = PodOptions {
            volumes: vec![Volume::parse_flag("data,kind=empty").unwrap()],
            mounts: vec![Mount::parse_flag("volume=data,target=/a").unwrap()],
            ..PodOptions::default()
        };
        let own = Mount::parse_volume_flag("x,kind=empty,target=/x").unwrap();
        let app = AppOptions {
            mounts: vec![own],
            ..AppOptions::default()
        };
        options.apps.push(app);
        assert!(options.check_mounts().is_ok());
        let dangling = Mount::parse_flag("volume=nope,target=/mnt").unwrap();
        options.apps[0].mounts.push(dangling);
        assert_eq!(
            options.check_mounts().unwrap_err().cause,
            "dangling mount point \"/mnt\": volume \"nope\" not found"
        );
    }
}
