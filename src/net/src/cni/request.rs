//! What a CNI program is given: variables, and the configuration on stdin.
//!
//! The configuration is the plugin's own object with all keys that are unknown
//! here, and with what only the runtime knows in their place. A single one of
//! version 0.1.0 or 0.2.0 goes as the very bytes of its file, unless something
//! has to be put in.

use crate::attach::Call;
use crate::outcome::Spec;
use crate::ports::Mapping;
use model::json;
use model::{Fault, Value, fault::Result};
use std::ffi::{CString, OsString};
use std::os::unix::ffi::OsStrExt;

/// For programs of a caller that has none; iptables wants to be found.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// What rkt has always told, whatever the configuration says.
const CNI_VERSION: &str = "0.1.0";
/// Keys that only the runtime may set.
const RESERVED: [&str; 3] = ["prevResult", "runtimeConfig", "capabilities"];

/// What a plugin is told beyond its configuration.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Told<'a> {
    /// A result in the network's version.
    pub(crate) previous: Option<&'a Value>,
    /// An object: what there is for a plugin that declares the capability.
    pub(crate) capabilities: &'a Value,
}

/// All capability arguments that there are; an object, maybe an empty one.
pub(crate) fn capability_args(mappings: &[Mapping]) -> Value {
    let mut all = Vec::new();
    if !mappings.is_empty() {
        let ports = mappings.iter().map(port).collect();
        all.push(("portMappings", Value::Array(ports)));
    }
    Value::from_iter(all)
}

fn port(mapping: &Mapping) -> Value {
    let mut fields = vec![
        ("hostPort", Value::from(mapping.host_port)),
        ("containerPort", mapping.pod_port.into()),
        ("protocol", mapping.protocol.to_string().into()),
    ];
    // An unspecified one would stand for its family alone.
    let address = mapping.host_ip.filter(|ip| !ip.is_unspecified());
    fields.extend(address.map(|ip| ("hostIP", ip.to_string().into())));
    Value::from_iter(fields)
}

/// `runtimeConfig`: what of `args` the plugin declares to be able to do.
pub(crate) fn runtime_config(plugin: &Value, args: &Value) -> Option<Value> {
    let declared = plugin.get("capabilities")?;
    let wanted = |key: &str| declared.get(key).and_then(Value::as_bool) == Some(true);
    let chosen: Value = args
        .as_object()?
        .iter()
        .filter(|(key, _)| wanted(key))
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect();
    chosen
        .as_object()
        .is_some_and(|chosen| !chosen.is_empty())
        .then_some(chosen)
}

/// Whether programs of this network are told the result when leaving.
pub(crate) fn tells_del(call: &Call<'_>) -> bool {
    Spec::of(&call.network.version) >= Spec::V0_4
}

/// What goes to stdin.
pub(crate) fn input(call: &Call<'_>, told: &Told<'_>) -> Vec<u8> {
    let network = call.network;
    let object = &call.plugin.object;
    let runtime = runtime_config(object, told.capabilities);
    let old = Spec::of(&network.version) < Spec::V0_3 && network.plugins.len() == 1;
    if old && runtime.is_none() && told.previous.is_none() && is_text_of(&network.text, object) {
        return network.text.clone();
    }
    let mut fields = vec![
        (
            "cniVersion".to_string(),
            Value::from(network.version.as_str()),
        ),
        ("name".to_string(), network.name.as_str().into()),
    ];
    let own = |key: &str| {
        key != "cniVersion"
            && key != "name"
            && !key.starts_with("cni.dev/")
            && !RESERVED.contains(&key)
    };
    let all = object.as_object().into_iter().flatten();
    fields.extend(
        all.filter(|(key, _)| own(key))
            .map(|(key, value)| (key.clone(), value.clone())),
    );
    fields.extend(runtime.map(|value| ("runtimeConfig".to_string(), value)));
    let previous = told.previous.cloned();
    fields.extend(previous.map(|value| ("prevResult".to_string(), value)));
    json::to_compact(&Value::from_iter(fields)).into_bytes()
}

/// Whether the file says just this: it is no list, and nothing was put in.
fn is_text_of(text: &[u8], object: &Value) -> bool {
    json::parse(text).is_ok_and(|value| value == *object)
}

/// The caller's variables without any CNI_*, without rkt's own, which tell of
/// locks and tokens, and those of this call.
pub(crate) fn environment(call: &Call<'_>, command: &str) -> Result<Vec<CString>> {
    let site = call.site;
    let mut path = OsString::new();
    for (index, dir) in site.dirs.plugins.iter().enumerate() {
        if index > 0 {
            path.push(":");
        }
        path.push(std::path::absolute(dir).unwrap_or_else(|_| dir.clone()));
    }
    let own: [(&str, OsString); 8] = [
        ("CNI_VERSION", CNI_VERSION.into()),
        ("CNI_COMMAND", command.into()),
        ("CNI_CONTAINERID", site.id.into()),
        ("CNI_NETNS", site.netns_path.into()),
        ("CNI_ARGS", call.network.args.as_str().into()),
        ("CNI_IFNAME", call.if_name.into()),
        ("CNI_PATH", path),
        ("PATH", PATH.into()),
    ];
    let theirs: Vec<(OsString, OsString)> = std::env::vars_os()
        .filter(|(key, _)| {
            let key = key.as_bytes();
            // Nor what an init gave rkt for the pod: a plugin does not speak for it.
            let for_the_pod = key == b"NOTIFY_SOCKET" || key.starts_with(b"LISTEN_");
            !key.starts_with(b"CNI_") && !key.starts_with(b"RKT_") && !for_the_pod
        })
        .collect();
    let has_path = theirs.iter().any(|(key, _)| key == "PATH");
    let own = own
        .into_iter()
        .filter(|(key, _)| *key != "PATH" || !has_path)
        .map(|(key, value)| (key.into(), value));
    theirs.into_iter().chain(own).map(variable).collect()
}

fn variable((key, value): (OsString, OsString)) -> Result<CString> {
    let text = [key.as_bytes(), b"=", value.as_bytes()].concat();
    CString::new(text).map_err(|_| {
        let key = key.display();
        Fault::invalid(format!("{key} must not contain a NUL character"))
    })
}
