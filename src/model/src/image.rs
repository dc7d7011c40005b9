//! ImageManifest: what an image says of itself.
//!
//! Bytes of an untrusted archive in, a checked manifest out. Writing gives back
//! what `rkt image cat-manifest` prints.

use crate::app::{App, put_extra, put_list, read_absolute};
use crate::fault::Result;
use crate::id;
use crate::json::{self, Cursor};
use crate::label::{Annotation, Labels};
use crate::name::AcIdentifier;
use crate::version::{self, Version};
use serde_json::{Map, Value, json};

#[derive(Clone, Debug, PartialEq)]
pub struct ImageManifest {
    pub ac_version: String,
    pub name: AcIdentifier,
    pub labels: Labels,
    pub app: Option<App>,
    pub annotations: Vec<Annotation>,
    pub dependencies: Vec<Dependency>,
    /// Absolute, cleaned paths; empty means everything.
    pub path_whitelist: Vec<String>,
    pub extra: Vec<(String, Value)>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Dependency {
    pub image_name: AcIdentifier,
    /// As written: `sha512-…`, 64 or 128 hex digits.
    pub image_id: Option<String>,
    pub labels: Labels,
    pub size: Option<u64>,
    pub extra: Vec<(String, Value)>,
}

impl ImageManifest {
    /// A manifest with a name and nothing else, in our version of the schema.
    pub fn new(name: AcIdentifier) -> ImageManifest {
        ImageManifest {
            ac_version: version::APPC.to_string(),
            name,
            labels: Labels::default(),
            app: None,
            annotations: Vec::new(),
            dependencies: Vec::new(),
            path_whitelist: Vec::new(),
            extra: Vec::new(),
        }
    }

    pub fn parse(bytes: &[u8]) -> Result<ImageManifest> {
        ImageManifest::read(&Cursor::new(&json::parse(bytes)?))
    }

    pub fn read(cursor: &Cursor<'_>) -> Result<ImageManifest> {
        let mut fields = cursor.fields()?;
        check_kind(&fields.need("acKind")?, "ImageManifest")?;
        Ok(ImageManifest {
            ac_version: read_version(&fields.need("acVersion")?)?,
            name: read_identifier(&fields.need("name")?)?,
            labels: fields
                .take("labels")
                .map_or(Ok(Labels::default()), |list| Labels::read(&list))?,
            app: fields.take("app").map(App::read).transpose()?,
            annotations: fields
                .take("annotations")
                .map_or(Ok(Vec::new()), |list| Annotation::read_list(&list))?,
            dependencies: fields.list_of("dependencies", Dependency::read)?,
            path_whitelist: fields.list_of("pathWhitelist", |path| read_absolute(&path))?,
            extra: fields.rest(),
        })
    }

    pub fn to_json(&self) -> Value {
        let mut map = Map::new();
        map.insert("acKind".into(), json!("ImageManifest"));
        map.insert("acVersion".into(), json!(self.ac_version));
        map.insert("name".into(), json!(self.name.as_str()));
        put_labels(&mut map, &self.labels);
        if let Some(app) = &self.app {
            map.insert("app".into(), app.to_json());
        }
        if !self.annotations.is_empty() {
            map.insert(
                "annotations".into(),
                Annotation::list_to_json(&self.annotations),
            );
        }
        put_list(
            &mut map,
            "dependencies",
            &self.dependencies,
            Dependency::to_json,
        );
        put_list(&mut map, "pathWhitelist", &self.path_whitelist, |path| {
            json!(path)
        });
        put_extra(&mut map, &self.extra);
        Value::Object(map)
    }

    pub fn compact(&self) -> String {
        json::to_compact(&self.to_json())
    }

    pub fn pretty(&self) -> String {
        json::to_pretty(&self.to_json())
    }

    /// The value of an annotation.
    pub fn annotation(&self, name: &str) -> Option<&str> {
        Annotation::find(&self.annotations, name)
    }

    /// `name:version`, or the name alone.
    pub fn display_name(&self) -> String {
        match self.labels.get("version") {
            Some(version) => format!("{}:{version}", self.name),
            None => self.name.to_string(),
        }
    }
}

impl Dependency {
    fn read(cursor: Cursor<'_>) -> Result<Dependency> {
        let mut fields = cursor.fields()?;
        Ok(Dependency {
            image_name: read_identifier(&fields.need("imageName")?)?,
            image_id: fields.take("imageID").map(|id| read_id(&id)).transpose()?,
            labels: fields
                .take("labels")
                .map_or(Ok(Labels::default()), |list| Labels::read(&list))?,
            size: fields.take("size").map(|size| size.u64()).transpose()?,
            extra: fields.rest(),
        })
    }

    fn to_json(&self) -> Value {
        let mut map = Map::new();
        map.insert("imageName".into(), json!(self.image_name.as_str()));
        if let Some(id) = &self.image_id {
            map.insert("imageID".into(), json!(id));
        }
        put_labels(&mut map, &self.labels);
        if let Some(size) = self.size.filter(|size| *size > 0) {
            map.insert("size".into(), json!(size));
        }
        put_extra(&mut map, &self.extra);
        Value::Object(map)
    }
}

pub(crate) fn put_labels(map: &mut Map<String, Value>, labels: &Labels) {
    if !labels.is_empty() {
        map.insert("labels".into(), labels.to_json());
    }
}

pub(crate) fn check_kind(field: &Cursor<'_>, kind: &str) -> Result<()> {
    match field.str()? {
        found if found == kind => Ok(()),
        found => Err(field.fault(format!(
            "expected \"{kind}\", found {}",
            crate::text::quote(found)
        ))),
    }
}

pub(crate) fn read_version(field: &Cursor<'_>) -> Result<String> {
    let version = Version::parse(field.str()?).map_err(|fault| field.fault(fault.cause))?;
    if version.is_zero() {
        return Err(field.fault("must not be 0.0.0"));
    }
    field.string()
}

pub(crate) fn read_identifier(field: &Cursor<'_>) -> Result<AcIdentifier> {
    AcIdentifier::new(field.str()?).map_err(|fault| field.fault(fault.cause))
}

pub(crate) fn read_id(field: &Cursor<'_>) -> Result<String> {
    id::check_manifest_id(field.str()?).map_err(|fault| field.fault(fault.cause))
}

#[cfg(test)]
mod tests;
