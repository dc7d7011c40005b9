//! The generated parts of docs/isolation.md: each stands between `<!-- NAME:begin -->` and `<!-- NAME:end -->`.
//!
//! `compare` holds a generated text against what stands there, and writes it instead when `RKT_WRITE_DOCS` is set. Both
//! the table of sides and the table of attacks go through here; each writes between its own markers only.

use std::path::PathBuf;

/// Whether the document is to be written, not compared.
pub(crate) fn writing() -> bool {
    std::env::var_os("RKT_WRITE_DOCS").is_some_and(|v| !v.is_empty() && v != "0")
}

fn path() -> PathBuf {
    tests::rkt::workspace().join("docs/isolation.md")
}

/// What stands between the markers of `name`, without the line breaks around it.
#[track_caller]
pub(crate) fn part(name: &str) -> String {
    let text = std::fs::read_to_string(path()).expect("docs/isolation.md is in the tree");
    split(&text, name).1.to_owned()
}

/// Fails the test unless the document says `generated` between the markers of `name`.
#[track_caller]
pub(crate) fn compare(name: &str, generated: &str) {
    let text = std::fs::read_to_string(path()).expect("docs/isolation.md is in the tree");
    let (before, now, after) = split(&text, name);
    if now.trim() == generated.trim() {
        return;
    }
    if writing() {
        let new = format!("{before}\n{}\n{after}", generated.trim());
        // Another process may write its own part: what is there now counts, not what was read above.
        std::fs::write(path(), new).expect("the document can be written");
        return;
    }
    let was: Vec<&str> = now.trim().lines().collect();
    let is: Vec<&str> = generated.trim().lines().collect();
    let gone = was
        .iter()
        .filter(|l| !is.contains(l))
        .map(|l| format!("- {l}"));
    let new = is
        .iter()
        .filter(|l| !was.contains(l))
        .map(|l| format!("+ {l}"));
    panic!(
        "docs/isolation.md, part {name:?}, differs from what was seen (RKT_WRITE_DOCS=1 writes it anew):\n{}",
        gone.chain(new).collect::<Vec<_>>().join("\n")
    );
}

#[track_caller]
fn split<'t>(text: &'t str, name: &str) -> (&'t str, &'t str, &'t str) {
    let (begin, end) = (
        format!("<!-- {name}:begin -->\n"),
        format!("<!-- {name}:end -->"),
    );
    let from = text
        .find(&begin)
        .unwrap_or_else(|| panic!("docs/isolation.md lacks {begin:?}"))
        + begin.len();
    let to = text[from..]
        .find(&end)
        .unwrap_or_else(|| panic!("docs/isolation.md lacks {end:?}"))
        + from;
    (&text[..from], &text[from..to], &text[to..])
}

#[test]
fn only_what_stands_between_the_markers_is_compared() {
    let text = "a\n<!-- x:begin -->\nb\n<!-- x:end -->\nc\n";
    let (before, now, after) = split(text, "x");
    assert_eq!(
        (before, now, after),
        ("a\n<!-- x:begin -->\n", "b\n", "<!-- x:end -->\nc\n")
    );
}
