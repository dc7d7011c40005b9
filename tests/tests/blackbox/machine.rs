//! What rkt says about the machine and to the shell: `doctor` and the completion script; needs no root.

use std::io::Write;
use std::process::{Command, Stdio};
use tests::{Rkt, Scratch, skip};

/// `doctor` in both forms. Whether something is missing here is this machine's affair: 0 or 1.
fn doctor(s: &Scratch, flags: &[&str]) -> tests::Output {
    let out = Rkt::new(s).arg("doctor").args(flags).run();
    assert!(out.code == 0 || out.code == 1, "{out}");
    out
}

#[test]
fn every_row_says_what_how_and_whether() {
    let s = Scratch::new("doctor");
    let out = doctor(&s, &["--format=json"]);
    let rows = out.json();
    let rows = rows.as_array().expect("an array of rows");
    let word = |row: &serde_json::Value, key: &str| row[key].as_str().map(str::to_owned);
    for row in rows {
        for key in ["name", "status", "way"] {
            assert!(
                word(row, key).is_some_and(|w| !w.is_empty()),
                "no {key} in {row}\n{out}"
            );
        }
        let status = word(row, "status").unwrap_or_default();
        assert!(
            ["ok", "fallback", "missing"].contains(&status.as_str()),
            "{row}"
        );
        assert!(
            status == "ok" || word(row, "why").is_some_and(|w| !w.is_empty()),
            "no why in {row}\n{out}"
        );
    }
    assert!(rows.iter().any(|row| row["name"] == "kernel"), "{out}");
    let missing = rows.iter().any(|row| row["status"] == "missing");
    assert_eq!(out.code, i32::from(missing), "{out}");
}

#[test]
fn the_table_holds_the_same_rows() {
    let s = Scratch::new("doctor-table");
    let names = |out: &tests::Output| -> Vec<String> {
        let rows = out.json();
        let rows = rows.as_array().cloned().unwrap_or_default();
        rows.iter()
            .filter_map(|row| row["name"].as_str().map(str::to_owned))
            .collect()
    };
    let json = doctor(&s, &["--format=json"]);
    let pretty = doctor(&s, &["--format=json-pretty"]);
    let table = doctor(&s, &[]);
    assert_eq!(names(&json), names(&pretty));
    let mut lines = table.stdout.lines();
    let head: Vec<&str> = lines
        .next()
        .unwrap_or_default()
        .split('\t')
        .filter(|w| !w.is_empty())
        .collect();
    assert_eq!(head, ["FEATURE", "STATUS", "WAY", "WHY"], "{table}");
    let first: Vec<&str> = lines.filter_map(|l| l.split('\t').next()).collect();
    assert_eq!(first, names(&json), "{table}");
    assert!(!s.data().exists(), "looking makes no data directory");
    Rkt::new(&s)
        .args(["doctor", "--format=xml"])
        .run()
        .code(254)
        .stderr_has("xml");
}

/// bash reads `script` with these flags; `None` where there is no bash.
fn bash(flags: &[&str], script: &str) -> Option<std::process::Output> {
    let mut child = Command::new(tests::isolated::find("bash")?)
        .args(flags)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("bash was found");
    let mut pipe = child.stdin.take().expect("stdin was piped above");
    pipe.write_all(script.as_bytes())
        .expect("bash reads its script");
    drop(pipe);
    Some(child.wait_with_output().expect("the child is ours"))
}

#[test]
fn the_completion_script_is_bash_and_offers_the_verbs() {
    let script = Rkt::plain().args(["completion", "bash"]).run().ok().stdout;
    let Some(read) = bash(&["-n"], &script) else {
        skip!("needs bash");
    };
    assert!(
        read.status.success() && read.stderr.is_empty(),
        "{}",
        String::from_utf8_lossy(&read.stderr)
    );
    let ask = |words: &str, at: usize| -> Vec<String> {
        let asked = format!(
            "{script}\nCOMP_WORDS=({words}) COMP_CWORD={at}\n\
             how=$(complete -p rkt); how=${{how#*-F }}; \"${{how%% *}}\" rkt; printf '%s\\n' \"${{COMPREPLY[@]}}\"\n"
        );
        let said = bash(&["--norc", "--noprofile"], &asked).expect("bash was found above");
        let text = String::from_utf8_lossy(&said.stdout).into_owned();
        text.lines().map(|l| l.trim().to_owned()).collect()
    };
    assert!(
        ask("rkt sta", 1).contains(&"status".to_owned()),
        "{:?}",
        ask("rkt sta", 1)
    );
    assert!(
        ask("rkt image ver", 2).contains(&"verify".to_owned()),
        "{:?}",
        ask("rkt image ver", 2)
    );
    let flags = ask("rkt stop --f", 2);
    assert!(flags.iter().any(|f| f.starts_with("--force")), "{flags:?}");
}

#[test]
fn other_shells_are_refused() {
    for (words, message) in [
        (
            &["completion"][..],
            "completion: shell type is not specified\n",
        ),
        (
            &["completion", "zsh"],
            "completion: 'zsh' shell is not supported\n",
        ),
    ] {
        let out = Rkt::plain().args(words).run().code(254);
        assert_eq!(
            (out.stdout.as_str(), out.stderr.as_str()),
            ("", message),
            "{out}"
        );
    }
}
