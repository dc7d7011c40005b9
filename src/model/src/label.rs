//! Labels and annotations: ordered lists of unique names with a text.
//!
//! Labels say what an image is (version, os, arch and free ones); annotations
//! say something about it. Both keep the order in which they were written.

use crate::fault::{Fault, Result};
use crate::json::Cursor;
use crate::name::AcIdentifier;
use crate::text::quote;
use crate::time;
use serde_json::{Value, json};
use std::collections::HashSet;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Label {
    pub name: AcIdentifier,
    pub value: String,
}

/// Labels in the order written; names unique.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Labels(pub(crate) Vec<Label>);

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Annotation {
    pub name: AcIdentifier,
    pub value: String,
}

/// Operating systems and, for each, the architectures that an image may name.
/// riscv64 and loong64 are ours; the specification lets executors extend it.
const PLATFORMS: [(&str, &[&str]); 3] = [
    ("darwin", &["x86_64", "i386"]),
    ("freebsd", &["amd64", "i386", "arm"]),
    (
        "linux",
        &[
            "amd64",
            "i386",
            "aarch64",
            "aarch64_be",
            "armv6l",
            "armv7l",
            "armv7b",
            "ppc64",
            "ppc64le",
            "s390x",
            "riscv64",
            "loong64",
        ],
    ),
];

/// More than any image carries; matching two lists costs their product.
const MAX_LABELS: usize = 1024;

impl Labels {
    pub fn new(list: Vec<Label>) -> Result<Labels> {
        if list.len() > MAX_LABELS {
            return Err(Fault::invalid(format!("more than {MAX_LABELS} labels")));
        }
        let mut seen = HashSet::with_capacity(list.len());
        if let Some(twice) = list.iter().find(|label| !seen.insert(&label.name)) {
            return Err(duplicate("label", &twice.name));
        }
        Ok(Labels(list))
    }

    pub fn get(&self, name: &str) -> Option<&str> {
        self.0
            .iter()
            .find(|label| label.name == name)
            .map(|label| label.value.as_str())
    }

    pub fn iter(&self) -> std::slice::Iter<'_, Label> {
        self.0.iter()
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Adds a label at the end; a name that is there already is an error.
    pub fn push(&mut self, label: Label) -> Result<()> {
        if self.get(label.name.as_str()).is_some() {
            return Err(duplicate("label", &label.name));
        }
        self.0.push(label);
        Ok(())
    }

    /// Whether every label of `wanted` is here with an equal value.
    pub fn satisfy(&self, wanted: &Labels) -> bool {
        wanted
            .iter()
            .all(|label| self.get(label.name.as_str()) == Some(&label.value))
    }

    /// Checks `os` and `arch` against the platforms the specification lists.
    /// `arch` without `os` says nothing and is not checked.
    pub fn check_platform(&self) -> Result<()> {
        let Some(os) = self.get("os") else {
            return Ok(());
        };
        let Some((_, arches)) = PLATFORMS.iter().find(|(name, _)| *name == os) else {
            let names: Vec<&str> = PLATFORMS.iter().map(|(name, _)| *name).collect();
            return Err(Fault::invalid(format!(
                "bad os {} (must be one of: [{}])",
                quote(os),
                names.join(" ")
            )));
        };
        match self.get("arch") {
            Some(arch) if !arches.contains(&arch) => Err(Fault::invalid(format!(
                "bad arch {} for {os} (must be one of: [{}])",
                quote(arch),
                arches.join(" ")
            ))),
            _ => Ok(()),
        }
    }

    pub(crate) fn read(cursor: &Cursor<'_>) -> Result<Labels> {
        let list = cursor.list_of(|item| {
            let mut fields = item.fields()?;
            let name = read_identifier(&fields.need("name")?)?;
            if name == "name" {
                return Err(item.fault("the label name \"name\" is reserved"));
            }
            Ok(Label {
                name,
                value: fields.text("value")?,
            })
        })?;
        let labels = Labels::new(list).map_err(|fault| cursor.fault(fault.cause))?;
        labels
            .check_platform()
            .map_err(|fault| cursor.fault(fault.cause))?;
        Ok(labels)
    }

    pub(crate) fn to_json(&self) -> Value {
        self.iter()
            .map(|label| json!({"name": label.name.as_str(), "value": label.value}))
            .collect()
    }
}

impl<'a> IntoIterator for &'a Labels {
    type Item = &'a Label;
    type IntoIter = std::slice::Iter<'a, Label>;
    fn into_iter(self) -> Self::IntoIter {
        self.0.iter()
    }
}

impl Label {
    pub fn new(name: &str, value: impl Into<String>) -> Result<Label> {
        Ok(Label {
            name: AcIdentifier::new(name)?,
            value: value.into(),
        })
    }
}

impl Annotation {
    pub fn new(name: &str, value: impl Into<String>) -> Result<Annotation> {
        Ok(Annotation {
            name: AcIdentifier::new(name)?,
            value: value.into(),
        })
    }

    /// The value of the annotation with this name.
    pub fn find<'a>(list: &'a [Annotation], name: &str) -> Option<&'a str> {
        list.iter()
            .find(|annotation| annotation.name == name)
            .map(|found| found.value.as_str())
    }

    /// The names that carry a meaning are checked wherever they occur.
    fn check(&self) -> Result<(), String> {
        let value = quote(&self.value);
        match self.name.as_str() {
            "created" if time::parse_rfc3339(&self.value).is_none() => {
                Err(format!("{value} is not an RFC 3339 time"))
            }
            "homepage" | "documentation" if !is_web_url(&self.value) => {
                Err(format!("{value} is not an http or https URL"))
            }
            _ => Ok(()),
        }
    }

    pub(crate) fn read_list(cursor: &Cursor<'_>) -> Result<Vec<Annotation>> {
        let list = cursor.list_of(|item| {
            let mut fields = item.fields()?;
            let name = read_identifier(&fields.need("name")?)?;
            let annotation = Annotation {
                name,
                value: fields.text("value")?,
            };
            annotation
                .check()
                .map_err(|what| item.fault(format!("{}: {what}", annotation.name)))?;
            Ok(annotation)
        })?;
        check_unique(&list).map_err(|fault| cursor.fault(fault.cause))?;
        Ok(list)
    }

    pub(crate) fn list_to_json(list: &[Annotation]) -> Value {
        list.iter()
            .map(|annotation| json!({"name": annotation.name.as_str(), "value": annotation.value}))
            .collect()
    }
}

/// Refuses a list of annotations that names one twice.
pub(crate) fn check_unique(list: &[Annotation]) -> Result<()> {
    let mut seen = HashSet::with_capacity(list.len());
    match list
        .iter()
        .find(|annotation| !seen.insert(&annotation.name))
    {
        Some(twice) => Err(duplicate("annotation", &twice.name)),
        None => Ok(()),
    }
}

fn is_web_url(text: &str) -> bool {
    text.split_once(':').is_some_and(|(scheme, _)| {
        ["http", "https"]
            .iter()
            .any(|s| scheme.eq_ignore_ascii_case(s))
    })
}

fn duplicate(what: &str, name: &AcIdentifier) -> Fault {
    Fault::invalid(format!("duplicate {what} {}", quote(name.as_str())))
}

fn read_identifier(cursor: &Cursor<'_>) -> Result<AcIdentifier> {
    AcIdentifier::new(cursor.str()?).map_err(|fault| cursor.fault(fault.cause))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn labels(value: Value) -> Result<Labels> {
        Labels::read(&Cursor::named(&value, "labels"))
    }

    #[test]
    fn labels_are_unique_and_on_a_known_platform() {
        let good = labels(json!([
            {"name": "version", "value": "1"}, {"name": "os", "value": "linux"}, {"name": "arch", "value": "amd64"}
        ]))
        .unwrap();
        assert_eq!(good.get("os"), Some("linux"));
        assert_eq!(good.get("nope"), None);
        assert_eq!(good.iter().count(), 3);
        let arch_alone = labels(json!([{"name": "arch", "value": "z80"}]));
        assert!(arch_alone.is_ok());
        for (bad, want) in [
            (
                json!([{"name": "os", "value": "plan9"}]),
                "labels: bad os \"plan9\" (must be one of: [darwin freebsd linux])",
            ),
            (
                json!([{"name": "arch", "value": "x86"}, {"name": "os", "value": "freebsd"}]),
                "labels: bad arch \"x86\" for freebsd (must be one of: [amd64 i386 arm])",
            ),
            (
                json!([{"name": "a", "value": ""}, {"name": "a", "value": ""}]),
                "labels: duplicate label \"a\"",
            ),
            (
                json!([{"name": "name", "value": "x"}]),
                "labels[0]: the label name \"name\" is reserved",
            ),
            (json!([{"value": "x"}]), "labels[0].name: is missing"),
            (
                json!([{"name": "a", "value": 1}]),
                "labels[0].value: expected a string, found a number",
            ),
            (json!({"a": 1}), "labels: expected a list, found an object"),
        ] {
            assert_eq!(labels(bad).unwrap_err().cause, want);
        }
    }

    #[test]
    fn labels_satisfy_a_subset() {
        let have = Labels::new(vec![
            Label::new("a", "1").unwrap(),
            Label::new("b", "2").unwrap(),
        ])
        .unwrap();
        let mut want = Labels::default();
        assert!(have.satisfy(&want));
        want.push(Label::new("b", "2").unwrap()).unwrap();
        assert!(have.satisfy(&want));
        assert!(want.push(Label::new("b", "3").unwrap()).is_err());
        assert!(!want.satisfy(&have));
    }

    #[test]
    fn annotations_with_a_meaning_are_checked() {
        let read = |value: Value| Annotation::read_list(&Cursor::named(&value, "annotations"));
        assert!(read(json!([{"name": "created", "value": "2016-01-02T03:04:05.6Z"}, {"name": "x/y", "value": ""}])).is_ok());
        for (bad, want) in [
            (
                json!([{"name": "created", "value": "today"}]),
                "annotations[0]: created: \"today\" is not an RFC 3339 time",
            ),
            (
                json!([{"name": "homepage", "value": "ftp://x"}]),
                "annotations[0]: homepage: \"ftp://x\" is not an http or https URL",
            ),
            (
                json!([{"name": "a", "value": ""}, {"name": "a", "value": ""}]),
                "annotations: duplicate annotation \"a\"",
            ),
            (
                json!([{"name": "A", "value": ""}]),
                "annotations[0].name: ACIdentifier must contain only lower case alphanumeric characters plus \"-._~/\"",
            ),
        ] {
            assert_eq!(read(bad).unwrap_err().cause, want);
        }
    }
}
