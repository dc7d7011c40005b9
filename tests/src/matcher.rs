//! Compares a line of output with an expected line that has holes for what changes from run to run.
//!
//! A hole is `{kind}` or `{kind:NAME}`. With a name, the first match is remembered and every later `{kind:NAME}`
//! must be the same text; commands may use it too, also as plain `{NAME}`. Everything else matches literally. Kinds: `uuid`, `short`
//! (8 hex), `hash19`, `hash39`, `hash71` (`sha512-` and hex, so long), `time` (the full layout), `ago` (humanised time), `num`, `size`, `any`
//! (rest of the line up to the next literal), `tabs` (one or more tabs: column widths follow the widest cell).

use std::collections::BTreeMap;

pub type Names = BTreeMap<String, String>;

/// Whether `line` fits `pattern`; remembers named holes in `names`.
pub fn fits(pattern: &str, line: &str, names: &mut Names) -> bool {
    let mut found = names.clone();
    let ok = walk(pattern, line, &mut found);
    if ok {
        *names = found;
    }
    ok
}

/// Replaces `{kind:NAME}` by what NAME stands for.
pub fn fill(text: &str, names: &Names) -> String {
    let mut out = text.to_owned();
    for (name, value) in names {
        out = out.replace(&format!("{{{name}}}"), value);
        for kind in KINDS {
            out = out.replace(&format!("{{{kind}:{name}}}"), value);
        }
    }
    out
}

const KINDS: &[&str] = &[
    "uuid", "short", "hash19", "hash39", "hash71", "time", "ago", "num", "size", "any", "tabs",
];

fn walk(pattern: &str, line: &str, names: &mut Names) -> bool {
    let Some((start, end, kind, name)) = hole(pattern) else {
        return pattern == line;
    };
    let Some(rest) = line.strip_prefix(&pattern[..start]) else {
        return false;
    };
    let after = &pattern[end..];
    if let Some(known) = name.and_then(|n| names.get(n)).cloned() {
        return rest
            .strip_prefix(known.as_str())
            .is_some_and(|r| walk(after, r, names));
    }
    // Longest first: `any` at the end of a line takes it all.
    for cut in (0..=rest.len()).rev().filter(|i| rest.is_char_boundary(*i)) {
        if !is_kind(kind, &rest[..cut]) {
            continue;
        }
        let mut tried = names.clone();
        if let Some(name) = name {
            tried.insert(name.to_owned(), rest[..cut].to_owned());
        }
        if walk(after, &rest[cut..], &mut tried) {
            *names = tried;
            return true;
        }
    }
    false
}

fn hole(pattern: &str) -> Option<(usize, usize, &str, Option<&str>)> {
    let mut from = 0;
    while let Some(start) = pattern[from..].find('{').map(|i| i + from) {
        let end = pattern[start..].find('}').map(|i| i + start)?;
        let inner = &pattern[start + 1..end];
        let (kind, name) = inner
            .split_once(':')
            .map_or((inner, None), |(k, n)| (k, Some(n)));
        if KINDS.contains(&kind) {
            return Some((start, end + 1, kind, name));
        }
        from = start + 1;
    }
    None
}

fn is_kind(kind: &str, text: &str) -> bool {
    let hex = |t: &str| {
        !t.is_empty()
            && t.bytes()
                .all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
    };
    let digits = |t: &str| !t.is_empty() && t.bytes().all(|b| b.is_ascii_digit());
    match kind {
        "uuid" => text.split('-').map(str::len).eq([8, 4, 4, 4, 12]) && text.split('-').all(hex),
        "short" => text.len() == 8 && hex(text),
        "hash19" => text.len() == 19 && text.strip_prefix("sha512-").is_some_and(hex),
        "hash39" => text.len() == 39 && text.strip_prefix("sha512-").is_some_and(hex),
        "hash71" => text.len() == 71 && text.strip_prefix("sha512-").is_some_and(hex),
        "num" => digits(text),
        "size" => text
            .trim_end_matches("iB")
            .trim_end_matches(['B', 'K', 'M', 'G'])
            .parse::<f64>()
            .is_ok(),
        "time" => is_time(text),
        "ago" => text == "now" || text.ends_with(" ago"),
        "tabs" => !text.is_empty() && text.bytes().all(|b| b == b'\t'),
        _ => true,
    }
}

/// `2026-11-21 03:08:32.741 +0000 UTC`
fn is_time(text: &str) -> bool {
    let parts: Vec<&str> = text.split(' ').collect();
    let [date, clock, zone, name] = parts[..] else {
        return false;
    };
    date.split('-').map(str::len).eq([4, 2, 2])
        && clock.split(':').count() == 3
        && zone.len() == 5
        && zone.starts_with(['+', '-'])
        && !name.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holes_match_their_kind_only() {
        let mut names = Names::new();
        assert!(fits("state={any}", "state=exited", &mut names));
        assert!(!fits("pid={num}", "pid=x", &mut names));
        assert!(fits("{hash19}", "sha512-0123456789ab", &mut names));
        assert!(!fits("{hash39}", "sha512-0123456789ab", &mut names));
        assert!(fits(
            "created={time}",
            "created=2026-11-21 03:08:32.741 +0000 UTC",
            &mut names
        ));
        assert!(fits("a{tabs}b", "a\t\tb", &mut names));
    }

    #[test]
    fn a_name_keeps_its_first_value() {
        let mut names = Names::new();
        assert!(fits(
            "\"{uuid:P}\"",
            "\"04a71208-6692-473e-ac24-5cae4faa7786\"",
            &mut names
        ));
        assert!(!fits(
            "{uuid:P}",
            "14a71208-6692-473e-ac24-5cae4faa7786",
            &mut names
        ));
        assert_eq!(
            fill("rm {uuid:P}", &names),
            "rm 04a71208-6692-473e-ac24-5cae4faa7786"
        );
    }

    #[test]
    fn braces_of_json_are_literal() {
        assert!(fits("{\"a\":{num}}", "{\"a\":12}", &mut Names::new()));
    }
}
