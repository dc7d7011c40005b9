//! Small rules about text that several formats share: quoting values for
//! messages as Go's `%q` does, Go's booleans, lexical path cleaning and
//! query-string escapes. Input is hostile; nothing here allocates more than a
//! small multiple of what it is given.

use crate::fault::{Fault, Result};
use std::fmt::Write;

/// The value in double quotes, control characters escaped, so that it can be
/// shown on a terminal: Go's `%q`.
pub fn quote(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => {
                out.push('\\');
                out.push(c);
            }
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{7}' => out.push_str("\\a"),
            '\u{8}' => out.push_str("\\b"),
            '\u{b}' => out.push_str("\\v"),
            '\u{c}' => out.push_str("\\f"),
            c if (c as u32) < 0x80 && c.is_control() => {
                write!(out, "\\x{:02x}", c as u32).expect("writing to a String cannot fail")
            }
            // Bidirectional overrides and their like would let a value lie
            // about itself on a terminal.
            c if c.is_control() || is_invisible(c) => {
                let width = if (c as u32) > 0xffff { 8 } else { 4 };
                let letter = if width == 8 { 'U' } else { 'u' };
                write!(out, "\\{letter}{:0width$x}", c as u32)
                    .expect("writing to a String cannot fail")
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// Whether a character shows nothing of itself but changes how others show.
pub fn is_invisible(c: char) -> bool {
    matches!(c as u32,
        0xad | 0x61c | 0x180e | 0x200b..=0x200f | 0x2028..=0x202e | 0x2060..=0x206f
        | 0xfeff | 0xfff9..=0xfffb | 0xe000..=0xf8ff | 0xe0000..=0xe0fff | 0xf0000..=0x10ffff)
}

/// `["a" "b"]`: Go's `%q` of a list.
pub(crate) fn quote_list<'a>(items: impl IntoIterator<Item = &'a str>) -> String {
    let quoted: Vec<String> = items.into_iter().map(quote).collect();
    format!("[{}]", quoted.join(" "))
}

/// A boolean as Go's `strconv.ParseBool` reads it.
pub fn parse_bool(text: &str) -> Result<bool> {
    match text {
        "1" | "t" | "T" | "TRUE" | "true" | "True" => Ok(true),
        "0" | "f" | "F" | "FALSE" | "false" | "False" => Ok(false),
        _ => Err(Fault::usage(format!(
            "strconv.ParseBool: parsing {}: invalid syntax",
            quote(text)
        ))),
    }
}

/// Shortest form of a path by its text alone, as Go's `path.Clean`: an empty
/// path becomes `.`, `..` never climbs above `/`.
pub fn clean_path(path: &str) -> String {
    let rooted = path.starts_with('/');
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => match parts.last() {
                Some(&last) if last != ".." => {
                    parts.pop();
                }
                _ if rooted => {}
                _ => parts.push(".."),
            },
            part => parts.push(part),
        }
    }
    let joined = parts.join("/");
    match (rooted, joined.is_empty()) {
        (true, _) => format!("/{joined}"),
        (false, true) => ".".to_string(),
        (false, false) => joined,
    }
}

/// Undoes percent-escapes; `+` becomes a space where the rules of a query
/// apply. `None` for a broken escape or for bytes that are not UTF-8.
pub(crate) fn unescape(text: &str, plus_is_space: bool) -> Option<String> {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        match byte {
            b'%' => {
                let high = hex_digit(bytes.next()?)?;
                let low = hex_digit(bytes.next()?)?;
                out.push(high << 4 | low);
            }
            b'+' if plus_is_space => out.push(b' '),
            byte => out.push(byte),
        }
    }
    String::from_utf8(out).ok()
}

/// Escapes a value for a query string as Go's `url.QueryEscape`.
pub(crate) fn query_escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                out.push(byte as char)
            }
            b' ' => out.push('+'),
            byte => write!(out, "%{byte:02X}").expect("writing to a String cannot fail"),
        }
    }
    out
}

fn hex_digit(byte: u8) -> Option<u8> {
    (byte as char).to_digit(16).map(|digit| digit as u8)
}

/// Splits `name=value` at the first `=`.
pub(crate) fn key_value(text: &str) -> Option<(&str, &str)> {
    text.split_once('=')
}

/// The traits that every checked text (`struct X(String)` with `X::new`) has.
macro_rules! text_type {
    ($name:ident) => {
        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(&self.0)
            }
        }
        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }
        impl std::str::FromStr for $name {
            type Err = crate::fault::Fault;
            fn from_str(text: &str) -> crate::fault::Result<$name> {
                $name::new(text)
            }
        }
        impl PartialEq<str> for $name {
            fn eq(&self, other: &str) -> bool {
                self.0 == other
            }
        }
        impl PartialEq<&str> for $name {
            fn eq(&self, other: &&str) -> bool {
                self.0 == *other
            }
        }
    };
}
pub(crate) use text_type;

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn quoting_follows_go_and_hides_nothing() {
        for (text, want) in [
            ("plain", r#""plain""#),
            ("a\"b\\c", r#""a\"b\\c""#),
            ("\n\t\u{1b}[31m", r#""\n\t\x1b[31m""#),
            ("é日", "\"é日\""),
            ("a\u{202e}b", r#""a\u202eb""#),
            ("\u{e0041}", r#""\U000e0041""#),
        ] {
            assert_eq!(quote(text), want);
        }
        assert_eq!(quote_list(["a", "b"]), r#"["a" "b"]"#);
    }

    #[test]
    fn paths_are_cleaned_lexically() {
        for (path, want) in [
            ("", "."),
            ("/", "/"),
            ("//a//b/", "/a/b"),
            ("/a/./b/../c", "/a/c"),
            ("/../../etc", "/etc"),
            ("../a/../..", "../.."),
            ("a/..", "."),
        ] {
            assert_eq!(clean_path(path), want, "{path}");
        }
    }

    #[test]
    fn escapes_are_undone_and_made() {
        assert_eq!(unescape("a%2Fb+c", true).unwrap(), "a/b c");
        assert_eq!(unescape("a+b", false).unwrap(), "a+b");
        for broken in ["%", "%2", "%zz", "%ff"] {
            assert_eq!(unescape(broken, true), None, "{broken}");
        }
        assert_eq!(query_escape("file:///a b+c"), "file%3A%2F%2F%2Fa+b%2Bc");
    }

    #[test]
    fn booleans_are_those_of_go() {
        assert!(parse_bool("T").unwrap());
        assert!(!parse_bool("False").unwrap());
        assert_eq!(
            parse_bool("yes").unwrap_err().cause,
            "strconv.ParseBool: parsing \"yes\": invalid syntax"
        );
    }
}
