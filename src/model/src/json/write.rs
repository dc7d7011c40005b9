//! Writing in the form of Go's `encoding/json`: `<`, `>` and `&` escaped, tabs
//! for the pretty form, empty lists and objects on one line, whole floats
//! without a fraction.

use serde_json::{Number, Value};
use std::fmt::Write;

/// One line, no spaces, no newline at the end.
pub fn to_compact(value: &Value) -> String {
    let mut out = String::new();
    write_value(&mut out, value, None);
    out
}

/// Indented with tabs, no newline at the end.
pub fn to_pretty(value: &Value) -> String {
    let mut out = String::new();
    write_value(&mut out, value, Some(0));
    out
}

/// `indent` is the current level in the pretty form, `None` in the compact one.
fn write_value(out: &mut String, value: &Value, indent: Option<usize>) {
    match value {
        Value::Null => out.push_str("null"),
        Value::Bool(true) => out.push_str("true"),
        Value::Bool(false) => out.push_str("false"),
        Value::Number(number) => write_number(out, number),
        Value::String(text) => write_string(out, text),
        Value::Array(items) => {
            let inner = indent.map(|level| level + 1);
            out.push('[');
            for (index, item) in items.iter().enumerate() {
                separate(out, index, inner);
                write_value(out, item, inner);
            }
            if !items.is_empty() {
                new_line(out, indent);
            }
            out.push(']');
        }
        Value::Object(map) => {
            let inner = indent.map(|level| level + 1);
            out.push('{');
            for (index, (key, item)) in map.iter().enumerate() {
                separate(out, index, inner);
                write_string(out, key);
                out.push_str(if indent.is_some() { ": " } else { ":" });
                write_value(out, item, inner);
            }
            if !map.is_empty() {
                new_line(out, indent);
            }
            out.push('}');
        }
    }
}

fn separate(out: &mut String, index: usize, indent: Option<usize>) {
    if index > 0 {
        out.push(',');
    }
    new_line(out, indent);
}

fn new_line(out: &mut String, indent: Option<usize>) {
    if let Some(level) = indent {
        out.push('\n');
        out.extend(std::iter::repeat_n('\t', level));
    }
}

fn write_string(out: &mut String, text: &str) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            // Go escapes these so that JSON can stand inside HTML and JavaScript.
            '<' | '>' | '&' | '\u{2028}' | '\u{2029}' | '\0'..='\u{1f}' => {
                write!(out, "\\u{:04x}", c as u32).expect("writing to a String cannot fail")
            }
            c => out.push(c),
        }
    }
    out.push('"');
}

fn write_number(out: &mut String, number: &Number) {
    let Some(float) = number.as_f64().filter(|_| number.is_f64()) else {
        return write!(out, "{number}").expect("writing to a String cannot fail");
    };
    let magnitude = float.abs();
    if magnitude != 0.0 && !(1e-6..1e21).contains(&magnitude) {
        let text = format!("{float:e}");
        let text = match text.split_once('e') {
            Some((mantissa, power)) if !power.starts_with('-') => format!("{mantissa}e+{power}"),
            _ => text,
        };
        out.push_str(&text);
    } else {
        write!(out, "{float}").expect("writing to a String cannot fail");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn both_forms_are_those_of_go() {
        let value = json!({"b": [], "a": {}, "l": [1, "x"], "o": {"k": null, "t": true}});
        assert_eq!(
            to_compact(&value),
            r#"{"b":[],"a":{},"l":[1,"x"],"o":{"k":null,"t":true}}"#
        );
        assert_eq!(
            to_pretty(&value),
            "{\n\t\"b\": [],\n\t\"a\": {},\n\t\"l\": [\n\t\t1,\n\t\t\"x\"\n\t],\n\t\"o\": {\n\t\t\"k\": null,\n\t\t\"t\": true\n\t}\n}"
        );
    }

    #[test]
    fn strings_are_escaped_as_go_does() {
        let value = json!("<a&b>\u{2028}\u{1}\u{8}\"\\\n\t\r\u{7f}é");
        assert_eq!(
            to_compact(&value),
            "\"\\u003ca\\u0026b\\u003e\\u2028\\u0001\\u0008\\\"\\\\\\n\\t\\r\u{7f}é\""
        );
    }

    #[test]
    fn numbers_keep_their_value() {
        for (value, want) in [
            (json!(0), "0"),
            (json!(-3), "-3"),
            (json!(u64::MAX), "18446744073709551615"),
            (json!(1.0), "1"),
            (json!(0.5), "0.5"),
            (json!(1e21), "1e+21"),
            (json!(1.5e-7), "1.5e-7"),
        ] {
            assert_eq!(to_compact(&value), want);
        }
    }
}
