//! Known attacks on container runtimes, replayed against the built binary, and the table of them in docs/isolation.md.
//!
//! `rows` is the table: ids, mechanism, defence, tests. Each test that it names has to exist, here or where the mechanism
//! has been tried all along. The other modules are the attacks; `intruder` (src/bin) is the program in their images.
//! Races run for a number of rounds and assert on a canary of the host, never on a time.

mod binary;
mod directory;
mod enter;
mod images;
mod names;
mod network;
mod procfs;
mod rows;
mod swap;
mod users;
mod words;

use serde_json::json;
use std::path::PathBuf;
use tests::rkt::Running;
use tests::tar::Entry;
use tests::{Aci, Output, Rkt, Scratch};

/// The probe's image with the hostile program beside it.
fn hostile(name: &str) -> Aci {
    let path = tests::rkt::probe().with_file_name("intruder");
    let program = std::fs::read(path).expect("the test programs are built together");
    Aci::probe(&format!("example.com/{name}")).with(Entry::program("rootfs/intruder", program))
}

/// The image with an event handler of these words.
fn handled(aci: Aci, event: &str, exec: &[&str]) -> Aci {
    aci.app("eventHandlers", json!([{"name": event, "exec": exec}]))
}

/// `rkt run --net=none`, to be completed.
fn run(s: &Scratch) -> Rkt {
    Rkt::new(s).args(["run", "--net=none"])
}

fn call(s: &Scratch, args: &[&str]) -> Output {
    Rkt::new(s).args(args).run()
}

/// With a pause of 3 ms after each of these calls, in rkt and in all that it starts: what happens beside falls into it
/// about every second time. As fast as ever where there is no strace.
fn slow(rkt: Rkt, calls: &str) -> Rkt {
    let Some(strace) = tests::isolated::find("strace") else {
        return rkt;
    };
    let strace = strace.display().to_string();
    let (trace, inject) = (
        format!("trace={calls}"),
        format!("inject={calls}:delay_exit=3000"),
    );
    rkt.through(
        &[
            &strace,
            "-f",
            "-qqq",
            "-o",
            "/dev/null",
            "-e",
            &trace,
            "-e",
            &inject,
        ],
        &tests::rkt::binary(),
    )
}

/// What the hostile program reached that it must not.
#[track_caller]
fn assert_nothing_reached(text: &str) {
    let reached: Vec<&str> = text
        .lines()
        .map(tests::rkt::unframed)
        .filter(|l| l.starts_with("reached="))
        .collect();
    assert!(reached.is_empty(), "{}\n{text}", reached.join("\n"));
}

/// A pod in the background, and its UUID once it has printed `ready`.
fn start(s: &Scratch, words: impl FnOnce(Rkt) -> Rkt) -> (Running, String) {
    let save = s.at("uuid");
    let _ = std::fs::remove_file(&save);
    let rkt = run(s).arg(format!("--uuid-file-save={}", save.display()));
    let mut pod = words(rkt).spawn();
    pod.until("ready");
    let uuid =
        std::fs::read_to_string(&save).expect("--uuid-file-save wrote the file before the app ran");
    (pod, uuid)
}

/// A file or directory of the host that nothing in a pod may reach.
fn canary(s: &Scratch) -> PathBuf {
    let dir = s.mkdir("canary");
    std::fs::write(dir.join("secret"), "of the host\n").expect("a file in the scratch directory");
    dir
}

/// The catalogue as markdown.
fn table() -> String {
    let mut text = String::new();
    for (title, rows) in [
        ("Processes and privileges", rows::PROCESSES),
        ("Paths, mounts and files", rows::PATHS),
        ("Words", rows::WORDS),
        ("Images", rows::IMAGES),
        ("Networks", rows::NETWORKS),
    ] {
        text += &format!("### {title}\n\n| id | mechanism | defence | test |\n|---|---|---|---|\n");
        for row in rows {
            let tests: Vec<String> = row
                .tests
                .iter()
                .map(|t| format!("`{}`", t.trim_end_matches("::")))
                .collect();
            text += &format!(
                "| {} | {} | {} | {} |\n",
                row.ids,
                row.mechanism,
                row.defence,
                tests.join(" ")
            );
        }
        text.push('\n');
    }
    text += "### Does not apply\n\n| id | why |\n|---|---|\n";
    for (ids, why) in rows::APART {
        text += &format!("| {ids} | {why} |\n");
    }
    text
}

#[test]
fn the_document_has_the_table() {
    crate::doc::compare("cve", &table());
}
