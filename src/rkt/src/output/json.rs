//! The JSON documents of `list`, `status` and `image list`: rkt's keys in
//! rkt's order, absent where it leaves them out.

use model::Value;
use serde_json::Map;
use stage0::images::ImageInfo;
use stage0::pods::{AppInfo, AppMount, PodInfo};

/// One line, or indented with tabs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    Compact,
    Pretty,
}

impl Form {
    /// The value of `--format`; `None` is text.
    pub fn from_flag(value: &str) -> Option<Form> {
        match value {
            "json" => Some(Form::Compact),
            "json-pretty" => Some(Form::Pretty),
            _ => None,
        }
    }

    /// The document with a newline at its end.
    pub fn render(self, value: &Value) -> String {
        let mut text = match self {
            Form::Compact => model::json::to_compact(value),
            Form::Pretty => model::json::to_pretty(value),
        };
        text.push('\n');
        text
    }
}

/// `null` when there is nothing to list: that is what rkt prints.
pub fn array(items: Vec<Value>) -> Value {
    if items.is_empty() {
        Value::Null
    } else {
        Value::Array(items)
    }
}

/// A pod; `None` while it has no creation time.
pub fn pod(info: &PodInfo) -> Option<Value> {
    let created = seconds(info.created_ns?);
    let mut map = Map::new();
    put(&mut map, "name", info.uuid.as_str());
    put(&mut map, "state", info.state.to_string());
    list(
        &mut map,
        "networks",
        info.networks.iter().map(pod::NetInfo::to_json).collect(),
    );
    list(
        &mut map,
        "app_names",
        info.apps
            .iter()
            .map(|app| Value::from(app.name.as_str()))
            .collect(),
    );
    list(&mut map, "apps", info.apps.iter().map(app).collect());
    put(&mut map, "created_at", created);
    if let Some(started) = info.started_ns {
        put(&mut map, "started_at", seconds(started));
    }
    pairs(&mut map, "user_annotations", &info.user_annotations);
    pairs(&mut map, "user_labels", &info.user_labels);
    Some(Value::Object(map))
}

fn app(app: &AppInfo) -> Value {
    let mut map = Map::new();
    put(&mut map, "name", app.name.as_str());
    put(&mut map, "state", app.state.to_string());
    let times = [
        ("created_at", app.created_ns),
        ("started_at", app.started_ns),
        ("finished_at", app.finished_ns),
    ];
    for (key, ns) in times {
        if let Some(ns) = ns {
            put(&mut map, key, ns);
        }
    }
    if let Some(code) = app.exit_code {
        put(&mut map, "exit_code", code);
    }
    put(&mut map, "image_id", app.image_id.as_str());
    list(&mut map, "mounts", app.mounts.iter().map(mount).collect());
    pairs(&mut map, "user_annotations", &app.user_annotations);
    pairs(&mut map, "user_labels", &app.user_labels);
    Value::Object(map)
}

fn mount(mount: &AppMount) -> Value {
    let mut map = Map::new();
    put(&mut map, "name", mount.name.as_str());
    put(&mut map, "container_path", mount.container_path.as_str());
    put(&mut map, "host_path", mount.host_path.as_str());
    put(&mut map, "read_only", mount.read_only);
    Value::Object(map)
}

pub fn image(image: &ImageInfo) -> Value {
    let mut map = Map::new();
    put(&mut map, "id", image.id.as_str());
    put(&mut map, "name", image.name.as_str());
    put(&mut map, "import_time", image.import_time_ns);
    put(&mut map, "last_used_time", image.last_used_ns);
    put(&mut map, "size", image.size);
    Value::Object(map)
}

fn put(map: &mut Map<String, Value>, key: &str, value: impl Into<Value>) {
    map.insert(key.to_string(), value.into());
}

fn list(map: &mut Map<String, Value>, key: &str, items: Vec<Value>) {
    if !items.is_empty() {
        put(map, key, items);
    }
}

/// An object with its keys sorted; of a repeated one the last counts.
fn pairs(map: &mut Map<String, Value>, key: &str, pairs: &[(String, String)]) {
    if pairs.is_empty() {
        return;
    }
    let sorted: std::collections::BTreeMap<&str, &str> = pairs
        .iter()
        .map(|(k, v)| (k.as_str(), v.as_str()))
        .collect();
    let object: Map<String, Value> = sorted
        .into_iter()
        .map(|(k, v)| (k.to_string(), Value::from(v)))
        .collect();
    put(map, key, Value::Object(object));
}

fn seconds(ns: i64) -> i64 {
    ns.div_euclid(1_000_000_000)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::super::pods::tests::pod as example;
    use super::*;
    use pod::State;

    #[test]
    fn keys_come_in_rkts_order_and_only_where_there_is_something() {
        let id = format!("sha512-{}", "0123456789abcdef".repeat(4));
        let app = |name: &str, code: i32| {
            format!(
                "{{\"name\":\"{name}\",\"state\":\"exited\",\"created_at\":1000000005,\
                 \"exit_code\":{code},\"image_id\":\"{id}\",\"mounts\":[{{\"name\":\"data\",\
                 \"container_path\":\"/mnt\",\"host_path\":\"\",\"read_only\":false}}],\
                 \"user_annotations\":{{\"b\":\"2\"}}}}"
            )
        };
        let expected = format!(
            "{{\"name\":\"69ad167a-ad54-4fe6-9949-0bfb217c346f\",\"state\":\"exited\",\
             \"networks\":[{{\"netName\":\"default\",\"netConf\":\"\",\"pluginPath\":\"\",\
             \"ifName\":\"\",\"ip\":\"172.16.28.9\",\"args\":\"\",\"mask\":\"\"}}],\
             \"app_names\":[\"one\",\"two\"],\"apps\":[{},{}],\"created_at\":1,\
             \"started_at\":2,\"user_annotations\":{{\"a\":\"2\",\"b\":\"1\"}}}}\n",
            app("one", 0),
            app("two", 3),
        );
        assert_eq!(
            Form::Compact.render(&pod(&example(State::Exited)).unwrap()),
            expected
        );
    }

    #[test]
    fn a_pod_without_creation_time_has_no_document() {
        let mut preparing = example(State::Preparing);
        preparing.created_ns = None;
        assert!(pod(&preparing).is_none());
        assert_eq!(Form::Compact.render(&array(Vec::new())), "null\n");
    }
}
