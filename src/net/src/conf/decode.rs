//! From the text of one configuration to a network. Pure.
//!
//! Keys match without case, as CNI's own reader has it; a key that is given
//! twice is refused, since two readers could take different ones.

use super::{Network, Plugin, VERSIONS};
use crate::cni::check_identifier;
use crate::outcome::Spec;
use model::json::{self, Cursor, Fields};
use model::text::quote;
use model::{Fault, Value, fault::Result};

/// Largest file, in bytes.
pub(super) const MAX_FILE: usize = 1 << 20;
/// Most plugins of one network.
pub(super) const MAX_PLUGINS: usize = 64;
/// Directories and files of the host carry the name, with an ID behind it.
const MAX_NAME: usize = 128;

/// `beside` gives the plugins that lie in a directory of the network's name.
pub(super) fn network(
    file: &str,
    origin: &str,
    text: &[u8],
    beside: &mut dyn FnMut(&str) -> Result<Vec<Plugin>>,
) -> Result<Network> {
    let value = document(text)?;
    let root = Cursor::new(&value);
    let mut fields = root.fields()?;
    let mut network = Network {
        name: name(&fields.need("name")?)?,
        file: file.to_string(),
        origin: origin.to_string(),
        text: text.to_vec(),
        version: version(&mut fields)?.to_string(),
        plugins: Vec::new(),
        args: String::new(),
    };
    if file.ends_with(".conflist") {
        list(&mut network, &root, &mut fields, beside)?;
    } else if let (Some(plugins), None) = (fields.take("plugins"), fields.take("type")) {
        return Err(plugins.fault("a list of plugins belongs in a file named .conflist"));
    } else {
        network.plugins.push(plugin(&root)?);
    }
    Ok(network)
}

/// A file that holds one plugin of a list.
pub(super) fn lone_plugin(text: &[u8]) -> Result<Plugin> {
    plugin(&Cursor::new(&document(text)?))
}

fn document(text: &[u8]) -> Result<Value> {
    if text.len() > MAX_FILE {
        return Err(Fault::invalid(format!("larger than {MAX_FILE} bytes")));
    }
    json::parse_unique(text)
}

fn list(
    network: &mut Network,
    root: &Cursor<'_>,
    fields: &mut Fields<'_>,
    beside: &mut dyn FnMut(&str) -> Result<Vec<Plugin>>,
) -> Result<()> {
    for unused in ["disableCheck", "disableGC"] {
        lenient_flag(fields, unused)?;
    }
    let inlined_only = lenient_flag(fields, "loadOnlyInlinedPlugins")?;
    let plugins = fields.take("plugins");
    if let Some(plugins) = &plugins {
        for one in plugins.list()? {
            if network.plugins.len() == MAX_PLUGINS {
                return Err(plugins.fault(format!("more than {MAX_PLUGINS} plugins")));
            }
            network.plugins.push(plugin(&one)?);
        }
    }
    let inlined = network.plugins.len();
    if !inlined_only {
        network.plugins.extend(beside(&network.name)?);
    }
    let count = network.plugins.len();
    if count == 0 || count > MAX_PLUGINS {
        let fault = match count {
            0 => Fault::invalid("plugins: there is none"),
            _ => Fault::invalid(format!("plugins: more than {MAX_PLUGINS}")),
        };
        return Err(fault);
    }
    if count > 1 && Spec::of(&network.version) < Spec::V0_3 {
        return Err(Fault::invalid(format!(
            "cniVersion: {} has no lists of several plugins, 0.3.0 and later have",
            network.version
        )));
    }
    if let Some(ipv6) = fields.take("ipv6") {
        share_ipv6(&mut network.plugins, ipv6.bool()?);
    }
    if count > inlined {
        network.text = with_plugins(root.value(), &network.plugins);
        if network.text.len() > MAX_FILE {
            return Err(Fault::invalid(format!(
                "plugins: together larger than {MAX_FILE} bytes"
            )));
        }
    }
    Ok(())
}

/// The network's switch becomes that of each plugin without one of its own.
fn share_ipv6(plugins: &mut [Plugin], on: bool) {
    for plugin in plugins {
        let Some(object) = plugin.object.as_object_mut() else {
            continue;
        };
        if !object.keys().any(|key| key.eq_ignore_ascii_case("ipv6")) {
            object.insert("ipv6".to_string(), Value::Bool(on));
        }
    }
}

/// The list as one file that needs no directory.
fn with_plugins(list: &Value, plugins: &[Plugin]) -> Vec<u8> {
    let mut list = list.clone();
    if let Some(object) = list.as_object_mut() {
        object.retain(|key, _| {
            !["plugins", "loadOnlyInlinedPlugins"]
                .iter()
                .any(|ours| key.eq_ignore_ascii_case(ours))
        });
        let plugins = plugins.iter().map(|plugin| plugin.object.clone()).collect();
        object.insert("loadOnlyInlinedPlugins".to_string(), Value::Bool(true));
        object.insert("plugins".to_string(), Value::Array(plugins));
    }
    json::to_compact(&list).into_bytes()
}

fn plugin(object: &Cursor<'_>) -> Result<Plugin> {
    let mut fields = object.fields()?;
    let kind = kind(&fields.need("type")?)?;
    if let Some(ipam) = fields.take("ipam")
        && let Some(of_ipam) = ipam.fields()?.take("type")
        && !of_ipam.str()?.is_empty()
    {
        self::kind(&of_ipam)?;
    }
    if let Some(capabilities) = fields.take("capabilities") {
        let Some(map) = capabilities.value().as_object() else {
            return Err(capabilities.expected("an object"));
        };
        if let Some((key, _)) = map.iter().find(|(_, value)| !value.is_boolean()) {
            return Err(capabilities.fault(format!("{} must be true or false", quote(key))));
        }
    }
    fields.flag("ipv6")?;
    Ok(Plugin {
        kind,
        object: object.value().clone(),
    })
}

fn name(field: &Cursor<'_>) -> Result<String> {
    let text = field.str()?;
    check_identifier("network name", text).map_err(|fault| Fault {
        cause: field.fault(&fault.cause).cause,
        ..fault
    })?;
    if text.len() > MAX_NAME {
        return Err(field.fault(format!("longer than {MAX_NAME} bytes")));
    }
    Ok(text.to_string())
}

/// The base name of a program.
fn kind(field: &Cursor<'_>) -> Result<String> {
    let text = field.str()?;
    let odd = text.is_empty()
        || matches!(text, "." | "..")
        || text.len() > 255
        || text.contains(|c: char| c == '/' || c.is_control());
    match odd {
        true => Err(field.fault(format!(
            "{} is no name of a plugin: it is looked for as a file of this name",
            quote(text)
        ))),
        false => Ok(text.to_string()),
    }
}

/// The greatest version that is known here of `cniVersion` and `cniVersions`.
fn version(fields: &mut Fields<'_>) -> Result<&'static str> {
    let rank = |text: &str| VERSIONS.iter().rposition(|known| *known == text);
    let one = fields.take("cniVersion");
    let text = match &one {
        Some(one) => one.str()?,
        None => "",
    };
    let mut best = rank(text);
    let mut last = one.filter(|_| !text.is_empty());
    if let Some(list) = fields.take("cniVersions") {
        for entry in list.list()? {
            best = best.max(rank(entry.str()?));
            last = Some(entry);
        }
    }
    match (best, last) {
        (Some(best), _) => Ok(VERSIONS[best]),
        (None, None) => Ok(VERSIONS[0]),
        (None, Some(place)) => Err(place.fault(format!(
            "{} is no version of CNI that is known here, {} to {} are",
            quote(place.str()?),
            VERSIONS[0],
            VERSIONS[VERSIONS.len() - 1]
        ))),
    }
}

/// `true`, `false`, or either as a string of any case.
fn lenient_flag(fields: &mut Fields<'_>, key: &'static str) -> Result<bool> {
    let Some(field) = fields.take(key) else {
        return Ok(false);
    };
    match field.value().as_str() {
        Some(text) if text.eq_ignore_ascii_case("true") => Ok(true),
        Some(text) if text.eq_ignore_ascii_case("false") => Ok(false),
        _ => field.bool(),
    }
}
