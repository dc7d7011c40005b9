//! AC Identifiers and AC Names (appc spec, "AC Identifier Type", "AC Name Type").
//!
//! A name that exists is valid: lower-case letters, digits and separators, with
//! a letter or digit at both ends. Doubled separators, which the specification's
//! grammar forbids and its own code accepts, are accepted.

use crate::fault::{Fault, Result};
use crate::text::text_type;

/// An app's name becomes a file name with up to 15 characters around it.
const MAX_NAME: usize = 240;
/// An identifier becomes a URL and a path of key directories.
const MAX_IDENTIFIER: usize = 1024;

/// `example.com/reduce-worker`: the name of an image, a label or an annotation.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AcIdentifier(pub(crate) String);

/// `reduce-worker`: the name of an app, a volume, a mount point or a port.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AcName(pub(crate) String);

impl AcIdentifier {
    pub fn new(text: &str) -> Result<AcIdentifier> {
        check(text, "ACIdentifier", "-._~/", MAX_IDENTIFIER)?;
        Ok(AcIdentifier(text.to_string()))
    }

    /// The nearest identifier: lower case, `_` for what is not allowed.
    pub fn sanitize(text: &str) -> Result<AcIdentifier> {
        AcIdentifier::new(&sanitized(text, "-._~/", '_'))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl AcName {
    pub fn new(text: &str) -> Result<AcName> {
        check(text, "ACName", "-", MAX_NAME)?;
        Ok(AcName(text.to_string()))
    }

    /// The nearest name: lower case, `-` for what is not allowed, none at the
    /// ends; an error if nothing is left.
    pub fn sanitize(text: &str) -> Result<AcName> {
        AcName::new(&sanitized(text, "-", '-'))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn is_alphanumeric(c: char) -> bool {
    c.is_ascii_lowercase() || c.is_ascii_digit()
}

fn check(text: &str, what: &str, separators: &str, max: usize) -> Result<()> {
    if text.is_empty() {
        return Err(Fault::invalid(format!("{what} cannot be empty")));
    }
    if !text
        .chars()
        .all(|c| is_alphanumeric(c) || separators.contains(c))
    {
        return Err(Fault::invalid(format!(
            "{what} must contain only lower case alphanumeric characters plus \"{separators}\""
        )));
    }
    if !text.starts_with(is_alphanumeric) || !text.ends_with(is_alphanumeric) {
        return Err(Fault::invalid(format!(
            "{what} must start and end with only lower case alphanumeric characters"
        )));
    }
    if text.len() > max {
        return Err(Fault::invalid(format!(
            "{what} is longer than {max} characters"
        )));
    }
    Ok(())
}

fn sanitized(text: &str, separators: &str, replacement: char) -> String {
    let text: String = text
        .to_lowercase()
        .chars()
        .map(|c| {
            if is_alphanumeric(c) || separators.contains(c) {
                c
            } else {
                replacement
            }
        })
        .collect();
    text.trim_matches(|c| separators.contains(c)).to_string()
}

text_type!(AcIdentifier);
text_type!(AcName);

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    const CHARS: &str = "ACName must contain only lower case alphanumeric characters plus \"-\"";
    const EDGES: &str = "ACName must start and end with only lower case alphanumeric characters";

    #[test]
    fn names() {
        for good in ["a", "0", "reduce-worker", "a--b"] {
            assert_eq!(AcName::new(good).unwrap().as_str(), good);
        }
        for (bad, want) in [
            ("", "ACName cannot be empty"),
            ("FOO_bar", CHARS),
            ("a/b", CHARS),
            ("..", CHARS),
            ("a\0b", CHARS),
            ("é", CHARS),
            ("-a", EDGES),
            ("a-", EDGES),
        ] {
            assert_eq!(AcName::new(bad).unwrap_err().cause, want, "{bad}");
        }
        assert!(AcName::new(&"a".repeat(241)).is_err());
    }

    #[test]
    fn identifiers() {
        for good in ["example.com/reduce-worker", "os", "a//b", "a~b.c_d"] {
            assert_eq!(AcIdentifier::new(good).unwrap().as_str(), good);
        }
        for (bad, want) in [
            (
                "/x",
                "ACIdentifier must start and end with only lower case alphanumeric characters",
            ),
            (
                "a+b",
                "ACIdentifier must contain only lower case alphanumeric characters plus \"-._~/\"",
            ),
            ("", "ACIdentifier cannot be empty"),
        ] {
            assert_eq!(AcIdentifier::new(bad).unwrap_err().cause, want);
        }
        assert!(AcIdentifier::new(&"a".repeat(1025)).is_err());
    }

    #[test]
    fn sanitizing() {
        for (text, want) in [
            ("Foo_Bar.2", "foo-bar-2"),
            ("--a/b--", "a-b"),
            ("Ünit", "nit"),
        ] {
            assert_eq!(AcName::sanitize(text).unwrap().as_str(), want);
        }
        assert!(AcName::sanitize("///").is_err());
        assert_eq!(
            AcIdentifier::sanitize("/Foo:5000/a b/").unwrap().as_str(),
            "foo_5000/a_b"
        );
    }
}
