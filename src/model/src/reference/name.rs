//! appc names with labels: `example.com/app:1.0,os=linux`.

use crate::fault::{Fault, Result};
use crate::label::{Label, Labels};
use crate::name::AcIdentifier;
use crate::text::{key_value, quote, quote_list};

/// More labels than any image has; a longer list is an attack.
const MAX_LABELS: usize = 64;

/// Takes `NAME[:VERSION][,LABEL=VALUE…]` apart. Values are literal.
pub fn parse_name(text: &str) -> Result<(AcIdentifier, Labels)> {
    let (head, labels) = text
        .split_once(',')
        .map_or((text, None), |(head, rest)| (head, Some(rest)));
    if labels.is_some_and(|labels| labels.contains(':')) && !head.contains(':') {
        return Err(Fault::invalid(
            "malformed app string - colon may appear only right after the app name",
        ));
    }
    if text.matches(':').count() > 1 {
        return Err(Fault::invalid(
            "malformed app string - colon may appear at most once",
        ));
    }
    let mut pairs = Vec::new();
    let (name, version) = head
        .split_once(':')
        .map_or((head, None), |(n, v)| (n, Some(v)));
    pairs.push(("name", name));
    pairs.extend(version.map(|version| ("version", version)));
    for part in labels.into_iter().flat_map(|labels| labels.split(',')) {
        let pair = key_value(part).ok_or_else(|| {
            Fault::invalid(format!(
                "malformed string {} - has a label without a value: {part}",
                quote(text)
            ))
        })?;
        pairs.push(pair);
    }
    if pairs.len() > MAX_LABELS {
        return Err(Fault::invalid(format!("more than {MAX_LABELS} labels")));
    }
    for (key, _) in &pairs {
        let values: Vec<&str> = pairs
            .iter()
            .filter(|(other, _)| other == key)
            .map(|(_, value)| *value)
            .collect();
        if values.len() > 1 {
            return Err(Fault::invalid(format!(
                "label {key} with multiple values {}",
                quote_list(values)
            )));
        }
    }
    let name = AcIdentifier::new(name)?;
    let labels: Result<Vec<Label>> = pairs[1..]
        .iter()
        .map(|(key, value)| Label::new(key, *value))
        .collect();
    Ok((name, Labels::new(labels?)?))
}

/// The text that parses to this name: version, os, arch, then by name.
pub(super) fn to_text(name: &AcIdentifier, labels: &Labels) -> String {
    let mut text = name.to_string();
    if let Some(version) = labels.get("version") {
        text.push_str(&format!(":{version}"));
    }
    let rank = |name: &str| match name {
        "os" => 0,
        "arch" => 1,
        _ => 2,
    };
    let mut rest: Vec<&Label> = labels
        .iter()
        .filter(|label| label.name != "version")
        .collect();
    rest.sort_by_key(|label| (rank(label.name.as_str()), label.name.as_str()));
    for label in rest {
        text.push_str(&format!(",{}={}", label.name, label.value));
    }
    text
}
