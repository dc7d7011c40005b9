//! Distribution URIs: `cimd:TYPE:v=0:DATA` with the types `appc`,
//! `aci-archive` and `docker`.

use super::Reference;
use crate::docker::DockerReference;
use crate::fault::{Fault, Result};
use crate::label::{Label, Labels};
use crate::name::AcIdentifier;
use crate::text::{key_value, query_escape, quote, unescape};

/// Takes apart a URI; `rest` is what follows `cimd:`.
pub(super) fn parse(text: &str, rest: &str) -> Result<Reference> {
    let malformed =
        |why: String| Fault::invalid(format!("malformed distribution uri {}: {why}", quote(text)));
    let (opaque, query) = rest.split_once('?').unwrap_or((rest, ""));
    let parts: Vec<&str> = opaque.splitn(3, ':').collect();
    let [kind, version, data] = parts[..] else {
        return Err(malformed(format!(
            "malformed distribution uri: {}",
            quote(text)
        )));
    };
    let number = version.strip_prefix("v=").unwrap_or(version);
    if !number.bytes().all(|b| b.is_ascii_digit()) || number.parse::<u32>().is_err() {
        return Err(malformed(format!(
            "malformed distribution version: {version}"
        )));
    }
    match kind {
        "appc" => {
            let name = AcIdentifier::new(data).map_err(|fault| malformed(fault.cause))?;
            let labels = parse_labels(query).map_err(|fault| malformed(fault.cause))?;
            Ok(Reference::Name { name, labels })
        }
        "aci-archive" => {
            let url = unescape(data, true)
                .filter(|url| !url.starts_with("cimd:") && super::split_scheme(url).is_some())
                .ok_or_else(|| malformed("the transport URL is malformed".into()))?;
            match Reference::read(&url, &|_| false, "/")? {
                reference @ (Reference::Path(_) | Reference::Url(_)) => Ok(reference),
                _ => Err(malformed("unsupported transport URL".into())),
            }
        }
        "docker" => {
            DockerReference::parse(data)?;
            Ok(Reference::Docker(data.to_string()))
        }
        kind => Err(Fault::invalid(format!(
            "unknown distribution type: {}",
            quote(kind)
        ))),
    }
}

fn parse_labels(query: &str) -> Result<Labels> {
    let mut labels = Vec::new();
    for part in query.split('&').filter(|part| !part.is_empty()) {
        let (key, value) = key_value(part).unwrap_or((part, ""));
        let decode = |text| {
            unescape(text, true)
                .ok_or_else(|| Fault::invalid(format!("invalid URL escape in {}", quote(part))))
        };
        labels.push(Label::new(&decode(key)?, decode(value)?)?);
    }
    Labels::new(labels)
}

pub(super) fn write(reference: &Reference) -> Option<String> {
    match reference {
        Reference::Hash(_) | Reference::Local { .. } => None,
        Reference::Path(path) => {
            // The transport is a URL: what is special in one is escaped first.
            let path = path
                .replace('%', "%25")
                .replace('?', "%3F")
                .replace('#', "%23");
            Some(format!(
                "cimd:aci-archive:v=0:{}",
                query_escape(&format!("file://{path}"))
            ))
        }
        Reference::Url(url) => Some(format!("cimd:aci-archive:v=0:{}", query_escape(url))),
        Reference::Docker(text) => Some(format!(
            "cimd:docker:v=0:{}",
            DockerReference::parse(text).ok()?.canonical()
        )),
        Reference::Name { name, labels } => {
            let mut pairs: Vec<String> = labels
                .iter()
                .map(|label| {
                    format!(
                        "{}={}",
                        query_escape(label.name.as_str()),
                        query_escape(&label.value)
                    )
                })
                .collect();
            pairs.sort();
            let query = if pairs.is_empty() {
                String::new()
            } else {
                format!("?{}", pairs.join("&"))
            };
            Some(format!("cimd:appc:v=0:{name}{query}"))
        }
    }
}
