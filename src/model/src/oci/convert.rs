//! The config of a docker or OCI image as an appc manifest.
//!
//! Names, labels and annotations are those that docker2aci gave, so that what
//! was fetched before finds its like; labels are kept where docker2aci lost
//! them, and the image ID is the config's digest. All of it is what a stranger
//! wrote: names are made valid, what appc cannot say is left out (`losses` tells
//! what), and none of the image's labels becomes a word that rkt obeys.

mod places;

use super::config::{Healthcheck, ImageConfig, Process};
use crate::app::{App, Env};
use crate::digest::Digest;
use crate::docker::DockerReference;
use crate::fault::{Context, Fault, Result};
use crate::image::ImageManifest;
use crate::json;
use crate::label::{Annotation, Label, Labels};
use crate::name::AcIdentifier;
use crate::text::{clean_path, quote};
use crate::time;
use serde_json::{Map, Value};
use std::collections::HashMap;

/// The image's stop signal as written (`SIGTERM`, `15`, `SIGRTMIN+3`).
pub const STOP_SIGNAL: &str = "coreos.com/rkt/image/stop-signal";
/// The image's health check: the JSON object of its config.
pub const HEALTHCHECK: &str = "coreos.com/rkt/image/healthcheck";

/// Longest registry and repository: twice what references allow.
const MAX_REPOSITORY: usize = 512;

/// Where an image came from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Provenance {
    /// `registry-1.docker.io`, `localhost:5000`; empty for a local file.
    pub registry: String,
    /// `library/busybox`
    pub repository: String,
    /// As the user typed it.
    pub original_name: String,
    pub tag: Option<String>,
    pub manifest_digest: Option<Digest>,
    /// The digest of the config; with schema 1 the ID of the topmost entry.
    pub image_id: String,
    /// Schema 1 only.
    pub parent_id: Option<String>,
    pub schema1: bool,
}

impl Provenance {
    /// Of an image in a registry; whoever fetches fills in the digests.
    pub fn of_reference(reference: &DockerReference, original_name: &str) -> Provenance {
        Provenance {
            registry: reference.registry().to_string(),
            repository: reference.path.clone(),
            original_name: original_name.to_string(),
            // A digest decides what is fetched; the tag beside it is a remark.
            tag: match &reference.digest {
                Some(_) => None,
                None => reference.tag.clone(),
            },
            ..Provenance::default()
        }
    }

    /// Of an image in an archive or layout at `path`. `name` is what that says of
    /// the image, if anything: a whole name (`redis:7`), or a tag alone (`v1`),
    /// beside which the file's own name stands.
    pub fn of_local(path: &str, name: Option<&str>) -> Provenance {
        let whole = name
            .filter(|name| name.contains([':', '/']))
            .and_then(|name| DockerReference::parse(name).ok());
        if let Some(reference) = whole {
            return Provenance::of_reference(&reference, path);
        }
        let file = path.trim_end_matches('/').rsplit('/').next().unwrap_or("");
        let stem = [".tar.gz", ".tar.zst", ".tar", ".tgz", ".oci"]
            .iter()
            .find_map(|suffix| file.strip_suffix(suffix))
            .unwrap_or(file);
        let usable = AcIdentifier::sanitize(stem).is_ok();
        Provenance {
            repository: if usable { stem } else { "image" }.to_string(),
            original_name: path.to_string(),
            // It is shown in lists, and so must be plain.
            tag: name.filter(|name| is_plain(name)).map(str::to_string),
            ..Provenance::default()
        }
    }
}

/// The characters that a layout's name of an image is made of.
fn is_plain(name: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._:@/+".contains(&b);
    (1..=256).contains(&name.len()) && name.bytes().all(plain)
}

/// The manifest of an image; `image_id` of `origin` is to be known by now.
pub fn convert(config: &ImageConfig, origin: &Provenance) -> Result<ImageManifest> {
    let name = match origin.registry.as_str() {
        "" => origin.repository.clone(),
        registry => format!("{registry}/{}", origin.repository),
    };
    if name.len() > MAX_REPOSITORY {
        return Err(Fault::invalid("the image's name is too long"));
    }
    let name = AcIdentifier::sanitize(&name)
        .message(|| format!("no image name can be made of {}", quote(&name)))?;
    let mut manifest = ImageManifest::new(name);
    manifest.labels = labels(config, origin)?;
    manifest.annotations = annotations(config, origin)?;
    manifest.app = Some(app(&config.config));
    // Whatever is written must be read again: from the store, and by others.
    ImageManifest::parse(manifest.compact().as_bytes())
        .message(|| "the image config makes no valid manifest".into())
}

fn labels(config: &ImageConfig, origin: &Provenance) -> Result<Labels> {
    let mut labels = Labels::default();
    if let Some(tag) = &origin.tag {
        labels.push(Label::new("version", tag.as_str())?)?;
    }
    let platform = config.platform();
    match platform.to_appc() {
        Some((os, arch)) => {
            labels.push(Label::new("os", os)?)?;
            labels.push(Label::new("arch", arch)?)?;
        }
        // An image that does not say what it is for is taken as it is.
        None if platform.os.is_empty() || platform.architecture.is_empty() => {}
        None => {
            let what = quote(&platform.to_string());
            return Err(Fault::unsupported(format!("the image is for {what}")));
        }
    }
    Ok(labels)
}

fn annotations(config: &ImageConfig, origin: &Provenance) -> Result<Vec<Annotation>> {
    let docker = |name: &str| format!("appc.io/docker/{name}");
    let list_text = |words: &[String]| match words {
        [] => None,
        words => Some(json::to_compact(&Value::from(words))),
    };
    // A time that cannot be read would make the whole manifest invalid, and Go's
    // year 1 says that there is none.
    let created = config.created.clone();
    let created = created
        .filter(|text| time::parse_rfc3339(text).is_some_and(|at| !(origin.schema1 && at == 0)));
    let author = if origin.schema1 { "authors" } else { "author" };
    let process = &config.config;
    let all = [
        (author.to_string(), config.author.clone()),
        ("created".to_string(), created),
        ("docker-comment".to_string(), config.comment.clone()),
        (docker("originalname"), Some(origin.original_name.clone())),
        (
            docker("registryurl"),
            Some(origin.registry.clone()).filter(|registry| !registry.is_empty()),
        ),
        // rkt and we know an image of docker by this one.
        (docker("repository"), Some(origin.repository.clone())),
        (
            docker("tag"),
            origin.tag.clone().filter(|_| origin.parent_id.is_some()),
        ),
        (docker("imageid"), Some(origin.image_id.clone())),
        (docker("parentimageid"), origin.parent_id.clone()),
        (docker("entrypoint"), list_text(&process.entrypoint)),
        (docker("cmd"), list_text(&process.cmd)),
        (
            docker("manifesthash"),
            origin.manifest_digest.as_ref().map(Digest::to_string),
        ),
        (STOP_SIGNAL.to_string(), process.stop_signal.clone()),
        (
            HEALTHCHECK.to_string(),
            process.healthcheck.as_ref().map(healthcheck_text),
        ),
    ];
    all.into_iter()
        .filter_map(|(name, value)| Some((name, value?)))
        .map(|(name, value)| Annotation::new(&name, value))
        .collect()
}

fn healthcheck_text(check: &Healthcheck) -> String {
    let mut map = Map::new();
    map.insert("Test".into(), Value::from(check.test.as_slice()));
    for (key, number) in [
        ("Interval", check.interval),
        ("Timeout", check.timeout),
        ("StartPeriod", check.start_period),
        ("StartInterval", check.start_interval),
        ("Retries", check.retries),
    ] {
        if number > 0 {
            map.insert(key.into(), Value::from(number));
        }
    }
    json::to_compact(&Value::Object(map))
}

fn app(process: &Process) -> App {
    let (user, group) = owner(&process.user);
    App {
        exec: [process.entrypoint.as_slice(), &process.cmd].concat(),
        user,
        group,
        working_directory: match process.working_dir.as_str() {
            "" => String::new(),
            dir => clean_path(&format!("/{dir}")),
        },
        environment: environment(&process.env),
        mount_points: places::mount_points(&process.volumes),
        ports: places::ports(&process.exposed_ports),
        user_labels: process.labels.clone(),
        ..App::default()
    }
}

/// A user alone is the group's text as well: `rkt` looks up the user's own group
/// if there is no group of that name.
fn owner(text: &str) -> (String, String) {
    let (user, group) = text.split_once(':').unwrap_or((text, text));
    let or_root = |text: &str| match text {
        "" => "0".to_string(),
        text => text.to_string(),
    };
    (or_root(user), or_root(group))
}

/// The last of several values of one variable counts, in the place of the first.
fn environment(entries: &[String]) -> Vec<Env> {
    let mut list: Vec<Env> = Vec::new();
    let mut places: HashMap<&str, usize> = HashMap::new();
    for entry in entries {
        let Some((name, value)) = entry.split_once('=') else {
            continue;
        };
        let Ok(env) = Env::new(name, value) else {
            continue;
        };
        match places.get(name) {
            Some(&place) => list[place] = env,
            None => {
                places.insert(name, list.len());
                list.push(env);
            }
        }
    }
    list
}

/// What of the config the manifest cannot say, a sentence each and no more than
/// twenty.
pub fn losses(config: &ImageConfig) -> Vec<String> {
    let process = &config.config;
    let variables = process.env.iter().filter_map(|entry| {
        let name = entry.split('=').next().unwrap_or(entry);
        let lost = !entry.contains('=') || !Env::is_name(name);
        lost.then(|| format!("the environment variable {} is left out", quote(name)))
    });
    let ports = process
        .exposed_ports
        .iter()
        .filter(|key| places::port(key).is_none())
        .map(|key| format!("the port {} is left out", quote(key)));
    let volumes = process
        .volumes
        .iter()
        .filter(|path| places::volume_path(path).is_none())
        .map(|path| format!("the volume {} is left out", quote(path)));
    variables.chain(ports).chain(volumes).take(20).collect()
}

#[cfg(test)]
mod tests;
