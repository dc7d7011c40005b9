//! The drawing of the house, held against the code: who may import whom, where `unsafe` may stand, and that every
//! foreign crate has its row in docs/dependencies.md.

use serde_json::Value;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Floor by package, as in docs/architecture.md. A crate imports only from lower floors.
const FLOORS: &[(&str, u32)] = &[
    ("rkt-model", 0),
    ("rkt-sys", 0),
    ("rkt-archive", 1),
    ("rkt-cgroup", 1),
    ("rkt-net", 1),
    ("rkt-trust", 1),
    ("rkt-store", 2),
    ("rkt-pod", 2),
    ("rkt-init", 2),
    ("rkt-fetch", 3),
    ("rkt-build", 3),
    ("rkt-stage1", 3),
    ("rkt-stage0", 4),
    ("rkt", 5),
    ("rkt-cri", 5),
];

/// Doors that the floors alone would leave open.
const NEVER: &[(&str, &str, &str)] = &[
    (
        "rkt-stage0",
        "rkt-stage1",
        "stage0 execs stage1 and never calls it",
    ),
    (
        "rkt-stage1",
        "rkt-store",
        "stage1 mounts what the pod directory names, it needs no store",
    ),
    ("rkt-stage1", "rkt-archive", "stage1 reads no archive"),
];

fn metadata() -> Value {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["metadata", "--format-version=1", "--no-deps", "--offline"])
        .current_dir(tests::rkt::workspace())
        .output()
        .expect("cargo runs the tests, so it is there");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    serde_json::from_slice(&output.stdout).expect("cargo metadata prints JSON")
}

/// Package name to its normal and build dependencies' names.
fn imports(metadata: &Value) -> BTreeMap<String, Vec<String>> {
    let packages = metadata["packages"]
        .as_array()
        .expect("metadata lists packages");
    let text = |v: &Value| v.as_str().unwrap_or_default().to_owned();
    packages
        .iter()
        .map(|package| {
            let all = package["dependencies"]
                .as_array()
                .expect("a package lists its dependencies");
            let used = all
                .iter()
                .filter(|d| d["kind"] != "dev")
                .map(|d| text(&d["name"]))
                .collect();
            (text(&package["name"]), used)
        })
        .collect()
}

#[test]
fn crates_import_from_lower_floors_only() {
    let floors: BTreeMap<&str, u32> = FLOORS.iter().copied().collect();
    let mut wrong = Vec::new();
    for (package, used) in imports(&metadata())
        .iter()
        .filter(|(p, _)| *p != "rkt-tests")
    {
        let Some(own) = floors.get(package.as_str()) else {
            wrong.push(format!(
                "{package} has no floor: add it to docs/architecture.md and to this table"
            ));
            continue;
        };
        for other in used {
            if floors
                .get(other.as_str())
                .is_some_and(|theirs| theirs >= own)
            {
                wrong.push(format!("{package} (floor {own}) imports {other}"));
            }
            if let Some((.., why)) = NEVER.iter().find(|(p, o, _)| p == package && o == other) {
                wrong.push(format!("{package} imports {other}: {why}"));
            }
            if other == "rkt-tests" {
                wrong.push(format!("{package} imports the tests"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_foreign_crate_has_its_row() {
    let path = tests::rkt::workspace().join("docs/dependencies.md");
    let rows = std::fs::read_to_string(path).expect("docs/dependencies.md is in the tree");
    let all = imports(&metadata());
    let mut missing: Vec<&str> = all
        .values()
        .flatten()
        .filter(|used| !all.contains_key(*used) && !rows.contains(&format!("| `{used}`")))
        .map(String::as_str)
        .collect();
    missing.sort_unstable();
    missing.dedup();
    assert!(
        missing.is_empty(),
        "no row in docs/dependencies.md for: {}",
        missing.join(", ")
    );
}

/// All Rust sources of the workspace, without build output.
fn sources() -> Vec<PathBuf> {
    let root = tests::rkt::workspace();
    let mut found = Vec::new();
    for top in ["src", "stage1", "tests"] {
        collect(&root.join(top), &mut found);
    }
    assert!(
        found.len() > 20,
        "the sources were not found below {}",
        root.display()
    );
    found
}

fn collect(dir: &Path, found: &mut Vec<PathBuf>) {
    let Ok(entries) = std::fs::read_dir(dir) else {
        return;
    };
    for path in entries.flatten().map(|e| e.path()) {
        if path.is_dir() && !path.ends_with("target") {
            collect(&path, found);
        } else if path.extension().is_some_and(|e| e == "rs") {
            found.push(path);
        }
    }
}

/// The line without its comment and its strings, as far as a word search needs it.
fn code(line: &str) -> String {
    let without_comment = line.split("//").next().unwrap_or("");
    without_comment.split('"').step_by(2).collect()
}

#[test]
fn unsafe_stands_in_sys_only() {
    let root = tests::rkt::workspace();
    let mut wrong = Vec::new();
    for path in sources() {
        let inside = path
            .strip_prefix(&root)
            .expect("sources lie below the workspace")
            .to_owned();
        if inside.starts_with("src/sys") {
            continue;
        }
        let text = std::fs::read_to_string(&path).expect("a source file is readable");
        for (number, line) in text.lines().enumerate() {
            let code = code(line);
            let words: Vec<&str> = code
                .split(|c: char| !c.is_alphanumeric() && c != '_')
                .collect();
            if words.contains(&"unsafe") {
                wrong.push(format!(
                    "{}:{}: {}",
                    inside.display(),
                    number + 1,
                    line.trim()
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_unsafe_block_says_why_it_is_sound() {
    let mut wrong = Vec::new();
    for path in sources()
        .into_iter()
        .filter(|p| p.components().any(|c| c.as_os_str() == "sys"))
    {
        let text = std::fs::read_to_string(&path).expect("a source file is readable");
        let lines: Vec<&str> = text.lines().collect();
        for (i, line) in lines
            .iter()
            .enumerate()
            .filter(|(_, l)| code(l).contains("unsafe {"))
        {
            // In the comment right above, which may have several lines, or above the statement it belongs to.
            let above = &lines[i.saturating_sub(12)..=i];
            if !above.iter().any(|l| l.contains("SAFETY:")) {
                wrong.push(format!("{}:{}: {}", path.display(), i + 1, line.trim()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_module_opens_with_its_purpose() {
    // Unit tests in a file of their own are named after the module that they test.
    let tests_of_a_module = |p: &Path| {
        p.file_stem()
            .is_some_and(|s| s.to_string_lossy().ends_with("tests"))
    };
    let wrong: Vec<String> = sources()
        .into_iter()
        .filter(|p| !tests_of_a_module(p))
        .filter(|p| {
            !std::fs::read_to_string(p).is_ok_and(|t| t.starts_with("//!") || t.trim().is_empty())
        })
        .map(|p| p.display().to_string())
        .collect();
    assert!(
        wrong.is_empty(),
        "no `//!` on top of:\n{}",
        wrong.join("\n")
    );
}
