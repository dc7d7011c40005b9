//! Which command a line means.
//!
//! A command is named exactly or by a unique prefix, at every level. Flags may
//! stand before it; while the verb is looked for, a flag written without `=`
//! owns the next word, whatever its kind, unless it is a boolean that is known
//! at this level. So `rkt --no-legend list` fails and `rkt --debug list` works.

use crate::command::Command;
use std::ffi::OsString;

/// Where a line leads.
pub struct Found {
    /// From the root to the command.
    pub path: Vec<&'static Command>,
    /// The line without the words that named the command.
    pub words: Vec<OsString>,
}

impl Found {
    pub fn command(&self) -> &'static Command {
        self.path.last().expect("the path starts with the root")
    }
}

/// Follows the words of a line down the tree.
pub fn find(root: &'static Command, words: Vec<OsString>) -> Found {
    let mut found = Found {
        path: vec![root],
        words,
    };
    while let Some((child, word)) = step(found.command(), &found.words) {
        // The first equal word goes, even where that was a flag's value: the
        // verb itself then takes its place, which comes to the same.
        if let Some(at) = found.words.iter().position(|w| w.to_string_lossy() == word) {
            found.words.remove(at);
        }
        found.path.push(child);
    }
    found
}

fn step(at: &'static Command, words: &[OsString]) -> Option<(&'static Command, String)> {
    let word = first_word(at, words)?;
    let child = child(at, &word)?;
    Some((child, word))
}

/// An exact name, else the only child that starts so.
fn child(at: &'static Command, word: &str) -> Option<&'static Command> {
    if let Some(exact) = at.children.iter().find(|child| child.name == word) {
        return Some(exact);
    }
    let mut matches = at
        .children
        .iter()
        .filter(|child| child.name.starts_with(word));
    match (matches.next(), matches.next()) {
        (Some(only), None) => Some(only),
        _ => None,
    }
}

/// The first word that is neither a flag nor taken to be a flag's value.
pub fn first_word(at: &Command, words: &[OsString]) -> Option<String> {
    let mut owned = false;
    for word in words {
        let word = word.to_string_lossy();
        if let Some(name) = word.strip_prefix("--") {
            if !word.contains('=') {
                let boolean = at
                    .all_flags()
                    .iter()
                    .any(|flag| flag.name == name && flag.is_bool());
                owned = !boolean;
            }
        } else if word.starts_with('-') && word.chars().count() == 2 {
            owned = true;
        } else if owned {
            owned = false;
        } else if !word.is_empty() && !word.starts_with('-') {
            return Some(word.into_owned());
        }
    }
    None
}

/// `Error: unknown command …` with what may have been meant.
pub fn unknown(root: &Command, word: &str) -> String {
    let mut text = format!(
        "unknown command {} for \"{}\"",
        model::text::quote(word),
        root.name
    );
    let close = suggestions(root, word);
    if !close.is_empty() {
        text.push_str("\n\nDid you mean this?\n");
        for name in close {
            text.push_str(&format!("\t{name}\n"));
        }
    }
    text
}

/// Visible commands at most two edits away, or starting with the word.
fn suggestions(root: &Command, word: &str) -> Vec<&'static str> {
    let lower = word.to_lowercase();
    root.children
        .iter()
        .filter(|child| !child.hidden)
        .map(|child| child.name)
        .filter(|name| distance(&lower, name) <= 2 || name.starts_with(&lower))
        .collect()
}

/// Levenshtein's distance, case aside. Long words are far from everything.
fn distance(a: &str, b: &str) -> usize {
    const LONGEST: usize = 64;
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    if a.len() > LONGEST || b.len() > LONGEST {
        return usize::MAX;
    }
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.iter().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, to) in b.iter().enumerate() {
            let replace = diagonal + usize::from(from != to);
            diagonal = row[j + 1];
            row[j + 1] = replace.min(row[j] + 1).min(row[j + 1] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cmd::ROOT;

    fn path(line: &[&str]) -> (String, Vec<String>) {
        let found = find(&ROOT, line.iter().map(OsString::from).collect());
        let names: Vec<&str> = found.path.iter().skip(1).map(|c| c.name).collect();
        let words = found
            .words
            .iter()
            .map(|w| w.to_string_lossy().into_owned())
            .collect();
        (names.join(" "), words)
    }

    #[test]
    fn commands_are_found_by_name_and_unique_prefix() {
        let cases: &[(&[&str], &str, &[&str])] = &[
            (&["run", "x"], "run", &["x"]),
            (&["im", "li"], "image list", &[]),
            (&["image", "export", "a", "b"], "image export", &["a", "b"]),
            (&["fe", "x"], "fetch", &["x"]),
            // `run` and `run-prepared`, `rm`: ambiguous or exact.
            (&["r"], "", &["r"]),
            (&["ru"], "", &["ru"]),
            (&["run-p"], "run-prepared", &[]),
            (&["bogus"], "", &["bogus"]),
            (&["image", "bogus"], "image", &["bogus"]),
            (&["image", "fetch", "x"], "image fetch", &["x"]),
        ];
        for (line, name, rest) in cases {
            let (found, words) = path(line);
            assert_eq!(
                (found.as_str(), words),
                (*name, rest.iter().map(|w| w.to_string()).collect())
            );
        }
    }

    #[test]
    fn a_flag_before_the_verb_owns_the_next_word() {
        assert_eq!(path(&["--debug", "list"]).0, "list");
        assert_eq!(path(&["--dir", "/x", "list"]).0, "list");
        assert_eq!(path(&["--no-legend=true", "list"]).0, "list");
        assert_eq!(path(&["--no-legend", "list"]).0, "");
        assert_eq!(path(&["-h", "list"]).0, "");
        let line = [
            "--port=8080-tcp:80",
            "--volume",
            "data,kind=empty",
            "run",
            "docker://ghost",
        ];
        let (name, words) = path(&line);
        assert_eq!(name, "run");
        assert_eq!(
            words,
            [
                "--port=8080-tcp:80",
                "--volume",
                "data,kind=empty",
                "docker://ghost"
            ]
        );
    }

    #[test]
    fn near_misses_are_suggested() {
        assert_eq!(
            unknown(&ROOT, "nonsense"),
            "unknown command \"nonsense\" for \"rkt\""
        );
        assert_eq!(
            unknown(&ROOT, "lst"),
            "unknown command \"lst\" for \"rkt\"\n\nDid you mean this?\n\tlist\n"
        );
        assert_eq!(distance("kitten", "sitting"), 3);
        assert_eq!(distance("", "ab"), 2);
    }
}
