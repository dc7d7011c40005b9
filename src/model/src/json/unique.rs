//! Finds an object that gives one key twice, which `serde_json` lets pass.
//!
//! Bytes of a document that was parsed already in, so the scan relies on its
//! being well-formed: a string right behind `{` or `,` of an object is a key.

use crate::fault::{Fault, Result};
use crate::text::quote;
use std::borrow::Cow;
use std::collections::HashSet;

pub(super) fn check(bytes: &[u8]) -> Result<()> {
    // One entry for each open bracket; a list has no keys.
    let mut open: Vec<Option<HashSet<Cow<'_, str>>>> = Vec::new();
    let mut key_next = false;
    let mut at = 0;
    while at < bytes.len() {
        match bytes[at] {
            b'{' => {
                open.push(Some(HashSet::new()));
                key_next = true;
            }
            b'[' => {
                open.push(None);
                key_next = false;
            }
            b'}' | b']' => {
                open.pop();
                key_next = false;
            }
            b',' => key_next = matches!(open.last(), Some(Some(_))),
            b'"' => {
                let end = string_end(bytes, at);
                if let (true, Some(Some(keys))) = (key_next, open.last_mut()) {
                    let key = text(&bytes[at..end]);
                    if let Some(twice) = keys.replace(key) {
                        return Err(Fault::invalid(format!(
                            "the key {} is given more than once",
                            quote(&twice)
                        )));
                    }
                }
                key_next = false;
                at = end - 1;
            }
            _ => {}
        }
        at += 1;
    }
    Ok(())
}

/// The offset behind the closing quote of the string that begins at `start`.
fn string_end(bytes: &[u8], start: usize) -> usize {
    let mut at = start + 1;
    while at < bytes.len() {
        match bytes[at] {
            b'\\' => at += 1,
            b'"' => return at + 1,
            _ => {}
        }
        at += 1;
    }
    bytes.len()
}

/// What a string says, escapes undone: `"a"` and `"\u0061"` are one key.
fn text(quoted: &[u8]) -> Cow<'_, str> {
    let inner = &quoted[1..quoted.len().saturating_sub(1).max(1)];
    if inner.contains(&b'\\') {
        serde_json::from_slice(quoted).map_or_else(
            |_| String::from_utf8_lossy(inner),
            |text: String| text.into(),
        )
    } else {
        String::from_utf8_lossy(inner)
    }
}

#[cfg(test)]
mod tests {
    use crate::json::parse_unique;

    #[test]
    fn a_key_is_given_once_per_object() {
        for good in [
            r#"{"a":{"a":1},"b":[{"a":1},{"a":2},"a","a"]}"#,
            r#"["a","a",{"x":"a"},"x"]"#,
            r#"{"a":"a","A":"\"a\":","b":"{\"a\":1,\"a\":2}"}"#,
            "{}",
            "\"a\"",
        ] {
            assert!(parse_unique(good.as_bytes()).is_ok(), "{good}");
        }
        for bad in [
            r#"{"a":1,"a":1}"#,
            r#"{"a":1,"b":[1,{"c":[]}],"\u0061":2}"#,
            r#"[{"x":{"y":{},"y":[]}}]"#,
            r#"{"a\"b":1 , "a\u0022b" : 2}"#,
        ] {
            let fault = parse_unique(bad.as_bytes()).expect_err(bad);
            assert!(fault.cause.contains("more than once"), "{bad}");
        }
    }
}
