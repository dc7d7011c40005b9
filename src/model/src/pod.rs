//! PodManifest: the apps of a pod, their volumes, and what binds them.
//!
//! The same checks apply whether it comes from us (the file `pod` of a pod
//! directory) or from a user (`--pod-manifest`). Writing gives back what
//! `rkt cat-manifest` prints: `volumes`, `isolators` and `annotations` are
//! `null` when empty, `apps` and `ports` are `[]`.

use crate::app::{App, Port, put_extra, put_list, put_text_map, read_absolute, read_name};
use crate::fault::{Fault, Result};
use crate::image::{check_kind, put_labels, read_id, read_identifier, read_version};
use crate::isolator::Isolator;
use crate::json::{self, Cursor};
use crate::label::{Annotation, Labels};
use crate::name::{AcIdentifier, AcName};
use crate::text::quote;
use crate::volume;
use serde_json::{Map, Value, json};
use std::collections::HashSet;

#[derive(Clone, Debug, PartialEq)]
pub struct PodManifest {
    pub ac_version: String,
    pub apps: Vec<RuntimeApp>,
    pub volumes: Vec<Volume>,
    pub isolators: Vec<Isolator>,
    pub annotations: Vec<Annotation>,
    pub ports: Vec<ExposedPort>,
    pub user_annotations: Vec<(String, String)>,
    pub user_labels: Vec<(String, String)>,
    pub extra: Vec<(String, Value)>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct RuntimeApp {
    pub name: AcName,
    pub image: RuntimeImage,
    pub app: Option<App>,
    pub read_only_rootfs: bool,
    pub mounts: Vec<Mount>,
    pub annotations: Vec<Annotation>,
    pub extra: Vec<(String, Value)>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct RuntimeImage {
    pub name: Option<AcIdentifier>,
    /// As written in the manifest (64 or 128 hex digits after `sha512-`).
    pub id: String,
    pub labels: Labels,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Mount {
    pub volume: AcName,
    pub path: String,
    /// Overrides the look-up of `volume` by name.
    pub app_volume: Option<Volume>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Volume {
    pub name: AcName,
    pub kind: VolumeKind,
    pub read_only: Option<bool>,
    pub recursive: Option<bool>,
}

#[derive(Clone, Debug, PartialEq)]
pub enum VolumeKind {
    /// `source` is absolute.
    Host { source: String },
    /// `mode` stays text, as rkt keeps it; `None` means "0755".
    Empty {
        mode: Option<String>,
        uid: Option<u32>,
        gid: Option<u32>,
    },
}

#[derive(Clone, Debug, PartialEq)]
pub struct ExposedPort {
    pub name: AcName,
    pub host_port: u16,
    pub host_ip: Option<std::net::IpAddr>,
    pub pod_port: Option<Port>,
}

impl PodManifest {
    pub fn parse(bytes: &[u8]) -> Result<PodManifest> {
        PodManifest::read(&Cursor::new(&json::parse(bytes)?))
    }

    pub fn read(cursor: &Cursor<'_>) -> Result<PodManifest> {
        let mut fields = cursor.fields()?;
        check_kind(&fields.need("acKind")?, "PodManifest")?;
        let pod = PodManifest {
            ac_version: read_version(&fields.need("acVersion")?)?,
            apps: fields.list_of("apps", RuntimeApp::read)?,
            volumes: fields.list_of("volumes", Volume::read)?,
            isolators: fields.list_of("isolators", Isolator::read)?,
            annotations: read_annotations(fields.take("annotations"))?,
            ports: fields.list_of("ports", ExposedPort::read)?,
            user_annotations: fields.string_map("userAnnotations")?,
            user_labels: fields.string_map("userLabels")?,
            extra: fields.rest(),
        };
        pod.check_names()?;
        Ok(pod)
    }

    /// App and volume names are unique.
    pub fn check_names(&self) -> Result<()> {
        let mut seen = HashSet::new();
        if let Some(twice) = self.apps.iter().find(|app| !seen.insert(&app.name)) {
            return Err(Fault::invalid(format!(
                "duplicate apps name {}",
                quote(twice.name.as_str())
            )));
        }
        let mut seen = HashSet::new();
        match self
            .volumes
            .iter()
            .find(|volume| !seen.insert(&volume.name))
        {
            Some(twice) => Err(Fault::invalid(format!(
                "duplicate volume name {}",
                quote(twice.name.as_str())
            ))),
            None => Ok(()),
        }
    }

    pub fn to_json(&self) -> Value {
        let list_or_null = |list: Value, empty: bool| if empty { Value::Null } else { list };
        let mut map = Map::new();
        map.insert("acVersion".into(), json!(self.ac_version));
        map.insert("acKind".into(), json!("PodManifest"));
        map.insert(
            "apps".into(),
            self.apps.iter().map(RuntimeApp::to_json).collect(),
        );
        let volumes = self.volumes.iter().map(Volume::to_json).collect();
        map.insert(
            "volumes".into(),
            list_or_null(volumes, self.volumes.is_empty()),
        );
        let isolators = self.isolators.iter().map(Isolator::to_json).collect();
        map.insert(
            "isolators".into(),
            list_or_null(isolators, self.isolators.is_empty()),
        );
        let annotations = Annotation::list_to_json(&self.annotations);
        map.insert(
            "annotations".into(),
            list_or_null(annotations, self.annotations.is_empty()),
        );
        map.insert(
            "ports".into(),
            self.ports.iter().map(ExposedPort::to_json).collect(),
        );
        put_text_map(&mut map, "userAnnotations", &self.user_annotations);
        put_text_map(&mut map, "userLabels", &self.user_labels);
        put_extra(&mut map, &self.extra);
        Value::Object(map)
    }

    pub fn compact(&self) -> String {
        json::to_compact(&self.to_json())
    }

    pub fn pretty(&self) -> String {
        json::to_pretty(&self.to_json())
    }

    pub fn app(&self, name: &str) -> Option<&RuntimeApp> {
        self.apps.iter().find(|app| app.name == name)
    }

    pub fn volume(&self, name: &str) -> Option<&Volume> {
        self.volumes.iter().find(|volume| volume.name == name)
    }

    /// The value of an annotation of the pod.
    pub fn annotation(&self, name: &str) -> Option<&str> {
        Annotation::find(&self.annotations, name)
    }

    /// Whether apps may be added and removed (`rkt app sandbox`).
    pub fn is_mutable(&self) -> bool {
        self.annotation(crate::plan::MUTABLE) == Some("true")
    }
}

fn read_annotations(field: Option<Cursor<'_>>) -> Result<Vec<Annotation>> {
    field.map_or(Ok(Vec::new()), |list| Annotation::read_list(&list))
}

impl RuntimeApp {
    fn read(cursor: Cursor<'_>) -> Result<RuntimeApp> {
        let mut fields = cursor.fields()?;
        Ok(RuntimeApp {
            name: read_name(&fields.need("name")?)?,
            image: RuntimeImage::read(fields.need("image")?)?,
            app: fields.take("app").map(App::read).transpose()?,
            read_only_rootfs: fields.flag("readOnlyRootFS")?,
            mounts: fields.list_of("mounts", Mount::read)?,
            annotations: read_annotations(fields.take("annotations"))?,
            extra: fields.rest(),
        })
    }

    fn to_json(&self) -> Value {
        let mut map = Map::new();
        map.insert("name".into(), json!(self.name.as_str()));
        map.insert("image".into(), self.image.to_json());
        if let Some(app) = &self.app {
            map.insert("app".into(), app.to_json());
        }
        if self.read_only_rootfs {
            map.insert("readOnlyRootFS".into(), json!(true));
        }
        put_list(&mut map, "mounts", &self.mounts, Mount::to_json);
        if !self.annotations.is_empty() {
            map.insert(
                "annotations".into(),
                Annotation::list_to_json(&self.annotations),
            );
        }
        put_extra(&mut map, &self.extra);
        Value::Object(map)
    }

    /// The value of an annotation of the app.
    pub fn annotation(&self, name: &str) -> Option<&str> {
        Annotation::find(&self.annotations, name)
    }
}

impl RuntimeImage {
    fn read(cursor: Cursor<'_>) -> Result<RuntimeImage> {
        let mut fields = cursor.fields()?;
        Ok(RuntimeImage {
            name: fields
                .take("name")
                .map(|name| read_identifier(&name))
                .transpose()?,
            // An empty ID is told apart later, with the name of the app.
            id: match fields.take("id") {
                Some(id) if id.value() != "" => read_id(&id)?,
                _ => String::new(),
            },
            labels: fields
                .take("labels")
                .map_or(Ok(Labels::default()), |list| Labels::read(&list))?,
        })
    }

    fn to_json(&self) -> Value {
        let mut map = Map::new();
        if let Some(name) = &self.name {
            map.insert("name".into(), json!(name.as_str()));
        }
        map.insert("id".into(), json!(self.id));
        put_labels(&mut map, &self.labels);
        Value::Object(map)
    }
}

impl Mount {
    fn read(cursor: Cursor<'_>) -> Result<Mount> {
        let mut fields = cursor.fields()?;
        Ok(Mount {
            volume: read_name(&fields.need("volume")?)?,
            path: read_absolute(&fields.need("path")?)?,
            app_volume: fields.take("appVolume").map(Volume::read).transpose()?,
        })
    }

    fn to_json(&self) -> Value {
        let mut map = Map::new();
        map.insert("volume".into(), json!(self.volume.as_str()));
        map.insert("path".into(), json!(self.path));
        if let Some(volume) = &self.app_volume {
            map.insert("appVolume".into(), volume.to_json());
        }
        Value::Object(map)
    }
}

impl Volume {
    fn read(cursor: Cursor<'_>) -> Result<Volume> {
        let mut fields = cursor.fields()?;
        let parts = volume::Parts {
            name: read_name(&fields.need("name")?)?,
            kind: fields.text("kind")?,
            source: fields
                .take("source")
                .map_or(Ok(String::new()), |source| source.c_string())?,
            read_only: fields
                .take("readOnly")
                .map(|flag| flag.bool())
                .transpose()?,
            recursive: fields
                .take("recursive")
                .map(|flag| flag.bool())
                .transpose()?,
            mode: fields.take("mode").map(|mode| mode.string()).transpose()?,
            uid: fields.take("uid").map(|uid| uid.u32()).transpose()?,
            gid: fields.take("gid").map(|gid| gid.u32()).transpose()?,
        };
        parts.check().map_err(|fault| cursor.fault(fault.cause))
    }

    fn to_json(&self) -> Value {
        let mut map = Map::new();
        map.insert("name".into(), json!(self.name.as_str()));
        let kind = match &self.kind {
            VolumeKind::Host { .. } => "host",
            VolumeKind::Empty { .. } => "empty",
        };
        map.insert("kind".into(), json!(kind));
        if let VolumeKind::Host { source } = &self.kind {
            map.insert("source".into(), json!(source));
        }
        for (key, flag) in [("readOnly", self.read_only), ("recursive", self.recursive)] {
            if let Some(flag) = flag {
                map.insert(key.into(), json!(flag));
            }
        }
        if let VolumeKind::Empty { mode, uid, gid } = &self.kind {
            map.insert(
                "mode".into(),
                json!(mode.as_deref().unwrap_or(volume::DEFAULT_MODE)),
            );
            map.insert("uid".into(), json!(uid.unwrap_or(0)));
            map.insert("gid".into(), json!(gid.unwrap_or(0)));
        }
        Value::Object(map)
    }
}

impl ExposedPort {
    fn read(cursor: Cursor<'_>) -> Result<ExposedPort> {
        let mut fields = cursor.fields()?;
        Ok(ExposedPort {
            name: read_name(&fields.need("name")?)?,
            host_port: fields.need("hostPort")?.u16()?,
            host_ip: match fields.take("hostIP") {
                Some(ip) if ip.str()?.is_empty() => None,
                Some(ip) => Some(
                    ip.str()?
                        .parse()
                        .map_err(|_| ip.fault("expected an IP address"))?,
                ),
                None => None,
            },
            pod_port: fields.take("podPort").map(Port::read).transpose()?,
        })
    }

    fn to_json(&self) -> Value {
        let mut map = Map::new();
        map.insert("name".into(), json!(self.name.as_str()));
        map.insert("hostPort".into(), json!(self.host_port));
        if let Some(ip) = self.host_ip {
            map.insert("hostIP".into(), json!(ip.to_string()));
        }
        if let Some(port) = &self.pod_port {
            map.insert("podPort".into(), port.to_json());
        }
        Value::Object(map)
    }
}

#[cfg(test)]
mod tests;
