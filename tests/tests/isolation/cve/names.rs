//! Every test that the table names exists.
//!
//! `suite::module::test` is looked for in tests/tests, `crate::module::test` in the crate's sources: each word is a file
//! or a folder as long as there is one, then a module in the file's text, and the last one a function. A name that ends
//! with `::` stands for all tests of its module.

use super::rows;
use std::path::PathBuf;

/// The file that a name leads to, and the words that have to stand in it.
fn find(name: &str) -> Option<(PathBuf, Vec<&str>)> {
    let root = tests::rkt::workspace();
    let words: Vec<&str> = name.split("::").filter(|w| !w.is_empty()).collect();
    let (suite, rest) = words.split_first()?;
    let candidates = [
        root.join("tests/tests").join(suite).join("main.rs"),
        root.join("tests/tests").join(format!("{suite}.rs")),
        root.join("src").join(suite).join("src/lib.rs"),
        root.join(suite).join("src/lib.rs"),
    ];
    let mut file = candidates.into_iter().find(|f| f.is_file())?;
    // Where modules of this file lie.
    let mut dir = file.parent()?.to_owned();
    let mut rest = rest.to_vec();
    while let Some(word) = rest.first() {
        let stem = file.file_stem()?.to_str()?.to_owned();
        let next = [
            dir.join(format!("{word}.rs")),
            dir.join(word).join("mod.rs"),
            dir.join(format!("{stem}_{word}.rs")),
        ];
        let Some(found) = next.into_iter().find(|f| f.is_file()) else {
            break;
        };
        file = found;
        dir = dir.join(word);
        rest.remove(0);
    }
    Some((file, rest))
}

fn missing(name: &str) -> Option<String> {
    let Some((file, words)) = find(name) else {
        return Some(format!("{name}: no such suite or crate"));
    };
    let text = std::fs::read_to_string(&file).unwrap_or_default();
    let (last, modules) = match words.split_last() {
        Some((last, modules)) if !name.ends_with("::") => (Some(last), modules),
        _ => (None, &words[..]),
    };
    let has = |part: String| text.contains(&part);
    let lost = modules
        .iter()
        .any(|m| !has(format!("mod {m} ")) && !has(format!("mod {m};")));
    let gone = last.is_some_and(|l| !has(format!("fn {l}(")));
    (lost || gone || text.is_empty()).then(|| format!("{name}: not in {}", file.display()))
}

/// The rows of what applies to rkt.
const ALL: [&[rows::Row]; 5] = [
    rows::PROCESSES,
    rows::PATHS,
    rows::WORDS,
    rows::IMAGES,
    rows::NETWORKS,
];

#[test]
fn every_test_of_the_table_exists() {
    let lost: Vec<String> = ALL
        .into_iter()
        .flatten()
        .flat_map(|row| row.tests)
        .filter_map(|name| missing(name))
        .collect();
    assert!(lost.is_empty(), "{}", lost.join("\n"));
    assert!(ALL.into_iter().flatten().all(|row| !row.tests.is_empty()));
    // A check that finds everything proves nothing.
    for name in [
        "nosuch::a::b",
        "isolation::cve::binary::nosuch",
        "stage1::child::identity::nosuch::numbers_are_plain_decimals_in_range",
    ] {
        assert!(missing(name).is_some(), "{name}");
    }
}

#[test]
fn no_id_stands_on_both_sides() {
    for (ids, _) in rows::APART {
        for id in ids.split(", ") {
            let twice = ALL
                .into_iter()
                .flatten()
                .any(|row| row.ids.split(", ").any(|i| i == id));
            assert!(!twice, "{id}");
        }
    }
}
