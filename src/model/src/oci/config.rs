//! The config of an image: what it runs, as whom, and of which layers it is made.
//!
//! Bytes of a blob whose digest was compared in, checked values out. What the
//! kernel will see holds no NUL; numbers of users fit where they go. Labels and
//! history are texts of a stranger and configure nothing.

use super::platform::Platform;
use super::{MAX_LAYERS, check_size};
use crate::digest::Digest;
use crate::fault::{Fault, Result};
use crate::json::{self, Cursor};
use crate::text::quote;

#[derive(Clone, Debug, Default, PartialEq)]
pub struct ImageConfig {
    /// As written; `platform()` normalises.
    pub architecture: String,
    pub os: String,
    pub variant: Option<String>,
    pub created: Option<String>,
    pub author: Option<String>,
    pub comment: Option<String>,
    pub config: Process,
    /// Digests of the unpacked layers, the base first.
    pub diff_ids: Vec<Digest>,
    pub history: Vec<History>,
}

/// What runs: the `config` section.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Process {
    /// `user`, `uid`, `user:group` …; empty means root.
    pub user: String,
    /// `K=V`, the order kept.
    pub env: Vec<String>,
    pub entrypoint: Vec<String>,
    pub cmd: Vec<String>,
    /// As written; a relative one counts from `/`.
    pub working_dir: String,
    /// `80/tcp`, `8000-8010/udp`, `53`; as written.
    pub exposed_ports: Vec<String>,
    /// Paths, as written.
    pub volumes: Vec<String>,
    pub labels: Vec<(String, String)>,
    pub stop_signal: Option<String>,
    /// Seconds.
    pub stop_timeout: Option<u64>,
    pub healthcheck: Option<Healthcheck>,
    pub shell: Vec<String>,
}

/// Times in nanoseconds, 0 where the image says nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Healthcheck {
    /// `[]`, `["NONE"]`, `["CMD", …]` or `["CMD-SHELL", "…"]`.
    pub test: Vec<String>,
    pub interval: u64,
    pub timeout: u64,
    pub start_period: u64,
    pub start_interval: u64,
    pub retries: u64,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct History {
    pub created: Option<String>,
    pub created_by: String,
    pub author: String,
    pub comment: String,
    pub empty_layer: bool,
}

/// Largest number of a user or group: what every runtime can hold.
const MAX_ID: u64 = i32::MAX as u64;
const MILLISECOND: u64 = 1_000_000;

impl ImageConfig {
    pub fn parse(bytes: &[u8]) -> Result<ImageConfig> {
        check_size(bytes, "image config")?;
        let value = json::parse_unique(bytes)?;
        let root = Cursor::exact(&value);
        let mut config = ImageConfig::read_common(&root)?;
        let rootfs = root.fields()?.need("rootfs")?;
        let mut rootfs = rootfs.fields()?;
        let kind = rootfs.need("type")?;
        if kind.str()? != "layers" {
            return Err(kind.fault(format!("expected \"layers\", found {}", quote(kind.str()?))));
        }
        config.diff_ids = rootfs.list_of("diff_ids", |id| {
            Digest::parse(id.str()?).map_err(|fault| id.fault(fault.cause))
        })?;
        if config.diff_ids.len() > MAX_LAYERS {
            return Err(Fault::invalid(format!(
                "the image config lists {} layers (limit {MAX_LAYERS})",
                config.diff_ids.len()
            )));
        }
        config.history = root.fields()?.list_of("history", History::read)?;
        Ok(config)
    }

    /// What the config of today and the one of schema 1 have in common.
    pub(super) fn read_common(root: &Cursor<'_>) -> Result<ImageConfig> {
        let mut fields = root.fields()?;
        Ok(ImageConfig {
            architecture: fields.text("architecture")?,
            os: fields.text("os")?,
            variant: filled(fields.text("variant")?),
            created: filled(fields.text("created")?),
            author: filled(fields.text("author")?),
            comment: filled(fields.text("comment")?),
            config: fields
                .take("config")
                .map_or(Ok(Process::default()), Process::read)?,
            diff_ids: Vec::new(),
            history: Vec::new(),
        })
    }

    /// What it runs on; empty where the config does not say.
    pub fn platform(&self) -> Platform {
        Platform::new(&self.os, &self.architecture, self.variant.as_deref())
    }

    /// Refuses an image for another platform than `host` can run.
    pub fn check_platform(&self, host: &Platform) -> Result<()> {
        let own = self.platform();
        if host.runs(&own) {
            return Ok(());
        }
        Err(Fault::unsupported(format!(
            "the image is for {}, this is {}",
            quote(&own.to_string()),
            host
        )))
    }
}

impl Process {
    fn read(cursor: Cursor<'_>) -> Result<Process> {
        let mut fields = cursor.fields()?;
        let user = fields.take("User");
        let ports = match fields.take("ExposedPorts") {
            Some(ports) => Some(names(&ports)?),
            None => None,
        };
        // How images of the first years listed their ports.
        let specs = fields.list_of("PortSpecs", |spec| spec.c_string())?;
        let stop_timeout = fields.take("StopTimeout");
        Ok(Process {
            user: user.map_or(Ok(String::new()), |user| read_user(&user))?,
            env: fields.list_of("Env", |entry| entry.c_string())?,
            entrypoint: words(fields.take("Entrypoint"))?,
            cmd: words(fields.take("Cmd"))?,
            working_dir: fields
                .take("WorkingDir")
                .map_or(Ok(String::new()), |dir| dir.c_string())?,
            exposed_ports: ports.unwrap_or(specs),
            volumes: fields
                .take("Volumes")
                .map_or(Ok(Vec::new()), |volumes| names(&volumes))?,
            labels: fields.string_map("Labels")?,
            stop_signal: fields
                .take("StopSignal")
                .map_or(Ok(None), |signal| signal.c_string().map(filled))?,
            stop_timeout: match stop_timeout {
                // Docker writes -1 for "no limit".
                Some(seconds) => u64::try_from(seconds.i64()?).ok(),
                None => None,
            },
            healthcheck: fields
                .take("Healthcheck")
                .map(Healthcheck::read)
                .transpose()?,
            shell: words(fields.take("Shell"))?,
        })
    }
}

impl Healthcheck {
    fn read(cursor: Cursor<'_>) -> Result<Healthcheck> {
        let mut fields = cursor.fields()?;
        let mut time = |key| match fields.take(key) {
            Some(time) => match time.u64()? {
                1..MILLISECOND => Err(time.fault("must be 0 or at least a millisecond")),
                nanoseconds => Ok(nanoseconds),
            },
            None => Ok(0),
        };
        Ok(Healthcheck {
            interval: time("Interval")?,
            timeout: time("Timeout")?,
            start_period: time("StartPeriod")?,
            start_interval: time("StartInterval")?,
            retries: fields.take("Retries").map_or(Ok(0), |n| n.u64())?,
            test: fields.list_of("Test", |word| word.c_string())?,
        })
    }
}

impl History {
    fn read(cursor: Cursor<'_>) -> Result<History> {
        let mut fields = cursor.fields()?;
        Ok(History {
            created: filled(fields.text("created")?),
            created_by: fields.text("created_by")?,
            author: fields.text("author")?,
            comment: fields.text("comment")?,
            empty_layer: fields.flag("empty_layer")?,
        })
    }
}

fn filled(text: String) -> Option<String> {
    Some(text).filter(|text| !text.is_empty())
}

/// The keys of an object whose values say nothing.
fn names(cursor: &Cursor<'_>) -> Result<Vec<String>> {
    let map = cursor.value().as_object();
    let map = map.ok_or_else(|| cursor.expected("an object"))?;
    match map.keys().find(|name| name.contains('\0')) {
        Some(_) => Err(cursor.fault("a key contains a NUL character")),
        None => Ok(map.keys().cloned().collect()),
    }
}

/// A list of words; old images have a single word without the list.
fn words(cursor: Option<Cursor<'_>>) -> Result<Vec<String>> {
    match cursor {
        Some(one) if one.value().is_string() => Ok(vec![one.c_string()?]),
        Some(list) => list.list_of(|word| word.c_string()),
        None => Ok(Vec::new()),
    }
}

/// A number that does not fit would come out as another user, root among them, in
/// a runtime that cuts it off (CVE-2024-40635).
fn read_user(cursor: &Cursor<'_>) -> Result<String> {
    let text = cursor.c_string()?;
    let parts: Vec<&str> = text.splitn(3, ':').collect();
    if parts.len() > 2 || text.chars().any(|c| c.is_control() || c == '/') {
        return Err(cursor.fault(format!("{} is no user or user:group", quote(&text))));
    }
    for part in parts {
        let digits = part.trim_start_matches(['+', '-']);
        let is_number = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
        let fits = part.len() == digits.len() && part.parse().is_ok_and(|id: u64| id <= MAX_ID);
        if is_number && !fits {
            return Err(cursor.fault(format!(
                "{} is out of range (at most {MAX_ID})",
                quote(part)
            )));
        }
    }
    Ok(text)
}

#[cfg(test)]
mod tests;
