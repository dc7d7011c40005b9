//! The `app` section of a manifest: what is executed, as whom, with what.
//!
//! Reading checks everything that can be checked without an image: absolute
//! paths (cleaned), names, port ranges, isolators, no NUL in anything that the
//! kernel will see. Writing keeps rkt's order of fields and the fields that we
//! do not know.

use crate::fault::{Fault, Result};
use crate::isolator::{self, Isolator};
use crate::json::Cursor;
use crate::name::AcName;
use crate::text::{clean_path, quote};
use serde_json::{Map, Value, json};
use std::collections::HashSet;

#[derive(Clone, Debug, Default, PartialEq)]
pub struct App {
    pub exec: Vec<String>,
    /// A name, a number or an absolute path inside the rootfs; never empty.
    pub user: String,
    pub group: String,
    pub supplementary_gids: Vec<u32>,
    pub event_handlers: Vec<EventHandler>,
    /// Absolute, or empty for `/`.
    pub working_directory: String,
    pub environment: Vec<Env>,
    pub isolators: Vec<Isolator>,
    pub mount_points: Vec<MountPoint>,
    pub ports: Vec<Port>,
    pub user_annotations: Vec<(String, String)>,
    pub user_labels: Vec<(String, String)>,
    /// Fields that we do not know; written back as they came.
    pub extra: Vec<(String, Value)>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Env {
    pub name: String,
    pub value: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    PreStart,
    PostStop,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventHandler {
    pub event: Event,
    pub exec: Vec<String>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct MountPoint {
    pub name: AcName,
    pub path: String,
    pub read_only: bool,
    pub extra: Vec<(String, Value)>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Port {
    pub name: AcName,
    pub protocol: String,
    pub port: u16,
    pub count: u16,
    pub socket_activated: bool,
    pub extra: Vec<(String, Value)>,
}

impl App {
    pub fn read(cursor: Cursor<'_>) -> Result<App> {
        let mut fields = cursor.fields()?;
        let isolators = fields.list_of("isolators", Isolator::read)?;
        isolator::check_app_list(&isolators)
            .map_err(|fault| fields.fault(format!("isolators: {}", fault.cause)))?;
        let app = App {
            exec: fields.list_of("exec", |word| word.c_string())?,
            event_handlers: fields.list_of("eventHandlers", EventHandler::read)?,
            user: read_owner(&fields.need("user")?)?,
            group: read_owner(&fields.need("group")?)?,
            supplementary_gids: fields.list_of("supplementaryGIDs", |gid| gid.u32())?,
            working_directory: match fields.take("workingDirectory") {
                Some(path) => read_working_directory(&path)?,
                None => String::new(),
            },
            environment: fields.list_of("environment", Env::read)?,
            mount_points: fields.list_of("mountPoints", MountPoint::read)?,
            ports: fields.list_of("ports", Port::read)?,
            isolators,
            user_annotations: fields.string_map("userAnnotations")?,
            user_labels: fields.string_map("userLabels")?,
            extra: fields.rest(),
        };
        app.check().map_err(|fault| fields.fault(fault.cause))?;
        Ok(app)
    }

    /// What concerns several fields at once.
    fn check(&self) -> Result<()> {
        let mut names = HashSet::new();
        if let Some(twice) = self.environment.iter().find(|env| !names.insert(&env.name)) {
            return Err(Fault::invalid(format!(
                "environment: variable {} is given more than once",
                quote(&twice.name)
            )));
        }
        let handlers = |event| {
            self.event_handlers
                .iter()
                .filter(|h| h.event == event)
                .count()
        };
        for event in [Event::PreStart, Event::PostStop] {
            if handlers(event) > 1 {
                return Err(Fault::invalid(format!(
                    "eventHandlers: only one {} handler is allowed",
                    quote(event.as_str())
                )));
            }
        }
        Ok(())
    }

    pub fn to_json(&self) -> Value {
        let mut map = Map::new();
        let exec = if self.exec.is_empty() {
            Value::Null
        } else {
            json!(self.exec)
        };
        map.insert("exec".into(), exec);
        put_list(
            &mut map,
            "eventHandlers",
            &self.event_handlers,
            EventHandler::to_json,
        );
        map.insert("user".into(), json!(self.user));
        map.insert("group".into(), json!(self.group));
        put_list(
            &mut map,
            "supplementaryGIDs",
            &self.supplementary_gids,
            |gid| json!(gid),
        );
        if !self.working_directory.is_empty() {
            map.insert("workingDirectory".into(), json!(self.working_directory));
        }
        put_list(&mut map, "environment", &self.environment, Env::to_json);
        put_list(
            &mut map,
            "mountPoints",
            &self.mount_points,
            MountPoint::to_json,
        );
        put_list(&mut map, "ports", &self.ports, Port::to_json);
        put_list(&mut map, "isolators", &self.isolators, Isolator::to_json);
        put_text_map(&mut map, "userAnnotations", &self.user_annotations);
        put_text_map(&mut map, "userLabels", &self.user_labels);
        put_extra(&mut map, &self.extra);
        Value::Object(map)
    }

    /// The value of a variable.
    pub fn env(&self, name: &str) -> Option<&str> {
        self.environment
            .iter()
            .find(|env| env.name == name)
            .map(|env| env.value.as_str())
    }

    /// Sets a variable, in the place of an older one of that name.
    pub fn set_env(&mut self, env: Env) {
        match self.environment.iter_mut().find(|old| old.name == env.name) {
            Some(old) => old.value = env.value,
            None => self.environment.push(env),
        }
    }
}

impl Env {
    pub fn new(name: &str, value: &str) -> Result<Env> {
        if !Env::is_name(name) {
            return Err(Fault::invalid(format!(
                "{} is not the name of an environment variable",
                quote(name)
            )));
        }
        if value.contains('\0') {
            return Err(Fault::invalid(format!(
                "variable {name} contains a NUL character"
            )));
        }
        Ok(Env {
            name: name.to_string(),
            value: value.to_string(),
        })
    }

    pub fn is_name(name: &str) -> bool {
        name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
            && name
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-'))
    }

    fn read(cursor: Cursor<'_>) -> Result<Env> {
        let mut fields = cursor.fields()?;
        let name = fields.need("name")?;
        Env::new(name.str()?, &fields.text("value")?).map_err(|fault| cursor.fault(fault.cause))
    }

    fn to_json(&self) -> Value {
        json!({"name": self.name, "value": self.value})
    }
}

impl Event {
    pub fn as_str(self) -> &'static str {
        match self {
            Event::PreStart => "pre-start",
            Event::PostStop => "post-stop",
        }
    }
}

impl EventHandler {
    fn read(cursor: Cursor<'_>) -> Result<EventHandler> {
        let mut fields = cursor.fields()?;
        let name = fields.need("name")?;
        let event = [Event::PreStart, Event::PostStop]
            .into_iter()
            .find(|event| Ok(event.as_str()) == name.str().map_err(|_| ()))
            .ok_or_else(|| name.fault("must be \"pre-start\" or \"post-stop\""))?;
        let exec = fields.list_of("exec", |word| word.c_string())?;
        if exec.is_empty() {
            return Err(cursor.fault("exec must not be empty"));
        }
        Ok(EventHandler { event, exec })
    }

    fn to_json(&self) -> Value {
        json!({"name": self.event.as_str(), "exec": self.exec})
    }
}

impl MountPoint {
    fn read(cursor: Cursor<'_>) -> Result<MountPoint> {
        let mut fields = cursor.fields()?;
        Ok(MountPoint {
            name: read_name(&fields.need("name")?)?,
            path: read_absolute(&fields.need("path")?)?,
            read_only: fields.flag("readOnly")?,
            extra: fields.rest(),
        })
    }

    fn to_json(&self) -> Value {
        let mut map = Map::new();
        map.insert("name".into(), json!(self.name.as_str()));
        map.insert("path".into(), json!(self.path));
        if self.read_only {
            map.insert("readOnly".into(), json!(true));
        }
        put_extra(&mut map, &self.extra);
        Value::Object(map)
    }
}

impl Port {
    pub(crate) fn read(cursor: Cursor<'_>) -> Result<Port> {
        let mut fields = cursor.fields()?;
        let port = Port {
            name: read_name(&fields.need("name")?)?,
            protocol: fields.text("protocol")?,
            port: fields.need("port")?.u16()?,
            count: fields.take("count").map_or(Ok(1), |count| count.u16())?,
            socket_activated: fields.flag("socketActivated")?,
            extra: fields.rest(),
        };
        if port.port == 0 {
            return Err(cursor.fault("port must be from 1 to 65535"));
        }
        // rkt writes 0 nowhere but takes it for the default.
        let port = Port {
            count: port.count.max(1),
            ..port
        };
        if u32::from(port.port) + u32::from(port.count) > 65536 {
            return Err(cursor.fault("the port range ends above 65535"));
        }
        Ok(port)
    }

    pub(crate) fn to_json(&self) -> Value {
        let mut map = Map::new();
        map.insert("name".into(), json!(self.name.as_str()));
        map.insert("protocol".into(), json!(self.protocol));
        map.insert("port".into(), json!(self.port));
        map.insert("count".into(), json!(self.count));
        map.insert("socketActivated".into(), json!(self.socket_activated));
        put_extra(&mut map, &self.extra);
        Value::Object(map)
    }
}

/// A user or group as written; resolved inside the image when the app starts.
fn read_owner(field: &Cursor<'_>) -> Result<String> {
    match field.c_string()? {
        text if text.is_empty() => Err(field.fault("must not be empty")),
        text => Ok(text),
    }
}

fn read_working_directory(field: &Cursor<'_>) -> Result<String> {
    match field.c_string()? {
        text if text.is_empty() || text.starts_with('/') => Ok(text),
        text => Err(field.fault(format!("must be an absolute path, not {}", quote(&text)))),
    }
}

pub(crate) fn read_name(field: &Cursor<'_>) -> Result<AcName> {
    AcName::new(field.str()?).map_err(|fault| field.fault(fault.cause))
}

/// An absolute path, cleaned.
pub(crate) fn read_absolute(field: &Cursor<'_>) -> Result<String> {
    match field.c_string()? {
        text if text.starts_with('/') => Ok(clean_path(&text)),
        text => Err(field.fault(format!("must be an absolute path, not {}", quote(&text)))),
    }
}

/// Writes a list unless it is empty.
pub(crate) fn put_list<T>(
    map: &mut Map<String, Value>,
    key: &str,
    list: &[T],
    write: impl Fn(&T) -> Value,
) {
    if !list.is_empty() {
        map.insert(key.into(), list.iter().map(write).collect());
    }
}

/// Writes an object of strings, sorted by key as Go does, unless it is empty.
pub(crate) fn put_text_map(map: &mut Map<String, Value>, key: &str, entries: &[(String, String)]) {
    if entries.is_empty() {
        return;
    }
    let mut sorted: Vec<_> = entries.iter().collect();
    sorted.sort_by(|a, b| a.0.cmp(&b.0));
    let object: Map<String, Value> = sorted
        .into_iter()
        .map(|(key, text)| (key.clone(), json!(text)))
        .collect();
    map.insert(key.into(), Value::Object(object));
}

pub(crate) fn put_extra(map: &mut Map<String, Value>, extra: &[(String, Value)]) {
    for (key, value) in extra {
        map.entry(key.clone()).or_insert_with(|| value.clone());
    }
}

#[cfg(test)]
mod tests;
