//! JSON in and out: bounded parsing that says where it failed, a typed cursor
//! that knows its place in the document, and a writer in Go's form.
//!
//! Reading follows what Go's `encoding/json` does with rkt's types: keys match
//! case-insensitively, `null` counts as absent, the last of several equal keys
//! wins, anything after the top-level value is an error. Size, depth and the
//! number of values are bounded before anything is allocated.

mod cursor;
mod unique;
mod write;

pub use cursor::{Cursor, Fields};
pub use write::{to_compact, to_pretty};

use crate::fault::{Fault, Result};
use serde_json::Value;

/// Largest document; a manifest with a whitelist of 100,000 paths fits.
pub const MAX_BYTES: usize = 16 << 20;
/// Deepest nesting; real manifests reach 7.
pub const MAX_DEPTH: usize = 64;
/// Most values in one document: each costs up to a hundred bytes of memory,
/// while two bytes of input suffice to make one.
pub const MAX_VALUES: usize = 500_000;

/// Parses one JSON document. Errors read `line L, column C: <what>`.
pub fn parse(bytes: &[u8]) -> Result<Value> {
    if bytes.len() > MAX_BYTES {
        return Err(Fault::invalid(format!(
            "JSON document of {} bytes is too large (limit {MAX_BYTES})",
            bytes.len()
        )));
    }
    measure(bytes)?;
    serde_json::from_slice(bytes).map_err(|err| {
        let text = err.to_string();
        let what = text
            .rsplit_once(" at line ")
            .map_or(text.as_str(), |(what, _)| what);
        at(err.line(), err.column(), what)
    })
}

/// As `parse`, for documents of registries: an object that gives a key twice
/// means one thing to one reader and another to the next, and is refused.
pub fn parse_unique(bytes: &[u8]) -> Result<Value> {
    let value = parse(bytes)?;
    unique::check(bytes)?;
    Ok(value)
}

/// Refuses too deep or too many values, by counting brackets and commas
/// outside of strings. Whether the document is well-formed is not its affair.
fn measure(bytes: &[u8]) -> Result<()> {
    let (mut depth, mut values) = (0usize, 0usize);
    let (mut line, mut line_start) = (1, 0);
    let mut in_string = false;
    let mut escaped = false;
    for (offset, &byte) in bytes.iter().enumerate() {
        if in_string {
            match byte {
                _ if escaped => escaped = false,
                b'\\' => escaped = true,
                b'"' => in_string = false,
                _ => {}
            }
        } else {
            match byte {
                b'"' => in_string = true,
                b'[' | b'{' => {
                    depth += 1;
                    values += 1;
                }
                b']' | b'}' => depth = depth.saturating_sub(1),
                b',' => values += 1,
                _ => {}
            }
        }
        if byte == b'\n' {
            line += 1;
            line_start = offset + 1;
        }
        if depth > MAX_DEPTH {
            let what = format!("nested more than {MAX_DEPTH} levels deep");
            return Err(at(line, offset - line_start + 1, &what));
        }
        if values > MAX_VALUES {
            let what = format!("more than {MAX_VALUES} values");
            return Err(at(line, offset - line_start + 1, &what));
        }
    }
    Ok(())
}

fn at(line: usize, column: usize, what: &str) -> Fault {
    Fault::invalid(format!("line {line}, column {column}: {what}"))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn syntax_errors_name_line_and_column() {
        for (text, want) in [
            ("", "line 1, column 0: EOF while parsing a value"),
            ("{\n \"a\": tru }", "line 2, column 10: expected ident"),
            ("{} x", "line 1, column 4: trailing characters"),
            ("{\"a\":1,}", "line 1, column 8: trailing comma"),
            (
                "\"\\ud800\"",
                "line 1, column 8: unexpected end of hex escape",
            ),
            ("{\"a\" 1}", "line 1, column 6: expected `:`"),
        ] {
            assert_eq!(parse(text.as_bytes()).unwrap_err().cause, want, "{text}");
        }
        assert!(parse(b"\"\xff\"").is_err());
        assert!(parse(b"\xef\xbb\xbf{}").is_err());
    }

    #[test]
    fn hostile_documents_are_refused_before_they_cost_memory() {
        let deep = "[".repeat(100_000);
        assert_eq!(
            parse(deep.as_bytes()).unwrap_err().cause,
            "line 1, column 65: nested more than 64 levels deep"
        );
        let wide = format!("[{}0]", "0,".repeat(MAX_VALUES));
        assert!(
            parse(wide.as_bytes())
                .unwrap_err()
                .cause
                .contains("more than 500000 values")
        );
        let large = vec![b' '; MAX_BYTES + 1];
        assert!(parse(&large).unwrap_err().cause.contains("too large"));
        // Brackets and commas inside a string do not count.
        let text = format!("\"{}\\\"{}\"", "[".repeat(1000), ",".repeat(MAX_VALUES + 1));
        assert!(parse(text.as_bytes()).is_ok());
    }
}
