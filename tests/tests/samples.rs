//! What rkt 1.30 printed, asked of this rkt: the sessions of `fixtures/samples` hold the fields, codes and messages of
//! its recorded output with holes for what changes from run to run.
//!
//! Help screens are compared by structure only (sections, flag names, defaults), since the prose is our own. Every
//! recorded sample is either played by a session or listed with its reason in docs/compatibility.md; a test holds
//! the two together.

use serde_json::json;
use std::path::{Path, PathBuf};
use tests::isolated::{Mode, isolated_in};
use tests::matcher::Names;
use tests::session;
use tests::tar::Entry;
use tests::{Aci, Rkt, Scratch};

fn fixture(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("fixtures/samples")
        .join(name);
    std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// The samples' images: same names and manifests, our probe as the only program.
fn image(name: &str, exec: &str, dir: &Path) -> PathBuf {
    let mut aci = Aci::probe(name)
        .exec(&[exec])
        .app("environment", json!([{"name": "PATH", "value": "/bin"}]));
    aci.entries.extend([
        Entry::dir("rootfs/bin"),
        Entry::hardlink("rootfs/bin/true", "rootfs/probe"),
        Entry::hardlink("rootfs/bin/sh", "rootfs/probe"),
    ]);
    aci.write(dir)
}

fn names(scratch: &Scratch) -> Names {
    let shelf = scratch.mkdir("shelf");
    std::fs::write(shelf.join("one"), "1").expect("a file in the scratch directory");
    std::fs::write(shelf.join("two"), "2").expect("a file in the scratch directory");
    let path = |p: PathBuf| p.display().to_string();
    Names::from([
        ("scratch".to_owned(), path(scratch.path().to_owned())),
        ("arch".to_owned(), tests::aci::arch().to_owned()),
        (
            "fly".to_owned(),
            "--stage1-name=coreos.com/rkt/stage1-fly".to_owned(),
        ),
        (
            "busybox".to_owned(),
            path(image("example.com/busybox", "/bin/sh", scratch.path())),
        ),
        (
            "true".to_owned(),
            path(image("example.com/true", "/bin/true", scratch.path())),
        ),
        (
            "key".to_owned(),
            path(scratch.write("key.gpg", include_str!("../fixtures/trust/one.asc"))),
        ),
        (
            "cosign".to_owned(),
            path(scratch.write("cosign.pub", include_str!("../fixtures/trust/cosign.pub"))),
        ),
        ("empty".to_owned(), path(scratch.write("empty.aci", ""))),
        (
            "garbage".to_owned(),
            path(scratch.write("garbage.aci", "no archive at all, only words ".repeat(40))),
        ),
    ])
}

#[test]
fn usage_and_errors() {
    let scratch = Scratch::new("usage");
    session::play(&fixture("usage.txt"), &scratch, names(&scratch));
}

#[test]
fn screens() {
    let scratch = Scratch::new("screens");
    session::play(&fixture("screens.txt"), &scratch, names(&scratch));
}

#[test]
fn image_verbs() {
    let scratch = Scratch::new("images");
    session::play(&fixture("images.txt"), &scratch, names(&scratch));
}

#[test]
fn trust() {
    let scratch = Scratch::new("trust");
    session::play(&fixture("trust.txt"), &scratch, names(&scratch));
}

#[test]
fn fetches_without_a_network() {
    isolated_in(&[Mode::Private], "fetches_without_a_network", || {
        play_as_root("fetch.txt");
    });
}

#[test]
fn pod_verbs() {
    isolated_in(&[Mode::Private], "pod_verbs", || play_as_root("pods.txt"));
}

#[test]
fn fly_pods() {
    isolated_in(&[Mode::Private], "fly_pods", || play_as_root("fly.txt"));
}

#[test]
fn networked_pods() {
    isolated_in(&[Mode::Private], "networked_pods", || {
        let Some(busybox) = tests::isolated::find("busybox") else {
            tests::skip!("needs a static busybox (Debian: busybox-static)");
        };
        let lab = match tests::lab::Lab::new("network") {
            Ok(lab) => lab,
            Err(reason) => tests::skip!("{reason}"),
        };
        let program = std::fs::read(busybox).expect("a program is readable");
        let tools = Aci::new("example.com/tools", &["/bin/busybox"])
            .with(Entry::program("rootfs/bin/busybox", program))
            .write(lab.path());
        let mut names = names(&lab.scratch);
        names.insert("tools".to_owned(), tools.display().to_string());
        play(&lab.scratch, "network.txt", names);
    });
}

fn play_as_root(name: &str) {
    let scratch = Scratch::new(name.trim_end_matches(".txt"));
    play(&scratch, name, names(&scratch));
}

fn play(scratch: &Scratch, name: &str, names: Names) {
    let before = tests::host::Traces::now(scratch.path());
    session::play(&fixture(name), scratch, names);
    tests::host::assert_nothing_left(&before, scratch.path());
}

/// `[command]` headings, each with its flags.
fn flag_table() -> Vec<(String, Vec<String>)> {
    let mut table: Vec<(String, Vec<String>)> = Vec::new();
    for line in fixture("help.txt")
        .lines()
        .filter(|l| !l.is_empty() && !l.starts_with('#'))
    {
        if let Some(command) = line.strip_prefix('[').and_then(|l| l.strip_suffix(']')) {
            table.push((command.to_owned(), Vec::new()));
        } else if let Some((_, flags)) = table.last_mut() {
            flags.push(line.to_owned());
        }
    }
    table
}

#[test]
fn help_screens() {
    /// Verbs that this build does not have; docs/compatibility.md says why.
    const ABSENT: &[&str] = &["api-service", "global"];
    let table = flag_table();
    let global = table
        .iter()
        .find(|(c, _)| c == "global")
        .map(|(_, f)| f.clone())
        .expect("the fixture ends so");
    let mut wrong = Vec::new();
    for (command, flags) in table.iter().filter(|(c, _)| !ABSENT.contains(&c.as_str())) {
        let words = command.split(' ');
        let screen = Rkt::plain().args(words.clone()).arg("--help").run().ok();
        let topic = Rkt::plain().arg("help").args(words).run().ok();
        if screen.stdout != topic.stdout {
            wrong.push(format!(
                "{command}: `rkt help {command}` differs from `rkt {command} --help`"
            ));
        }
        if let Err(why) = session::help_screen(command, &screen.stdout) {
            wrong.push(format!("{command}: {why}"));
        }
        let (own, shared) = screen
            .stdout
            .split_once("\n\nGLOBAL OPTIONS:\n")
            .unwrap_or((&screen.stdout, ""));
        let shown = |text: &str| -> Vec<String> {
            let flags = text
                .lines()
                .filter(|l| l.starts_with("      --"))
                .map(str::trim);
            flags
                .map(|l| l.split('\t').next().unwrap_or("").to_owned())
                .collect()
        };
        for (section, expected, got) in [
            ("OPTIONS", flags, shown(own)),
            ("GLOBAL OPTIONS", &global, shown(shared)),
        ] {
            for flag in expected.iter().filter(|f| !got.contains(f)) {
                wrong.push(format!("{command}: {section} lacks `{flag}`"));
            }
            if !got.is_sorted_by_key(|f| f.split(['=', '[']).next().unwrap_or("").to_owned()) {
                wrong.push(format!("{command}: {section} is not in alphabetical order"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_root_screen_and_its_exit_codes() {
    let bare = Rkt::plain()
        .run()
        .code(2)
        .stderr_has("rkt: missing command\n");
    let help = Rkt::plain().arg("--help").run().ok();
    let short = Rkt::plain().arg("-h").run().ok();
    assert_eq!(help.stdout, short.stdout);
    for screen in [&bare, &help] {
        for section in [
            "NAME:\n\trkt - ",
            "\n\nUSAGE:\n\trkt [command]\n\nVERSION:\n\t",
            "\n\nCOMMANDS:\n",
            "\n\nOPTIONS:\n",
        ] {
            assert!(screen.stdout.contains(section), "no {section:?}\n{screen}");
        }
    }
    for (command, _) in flag_table()
        .iter()
        .filter(|(c, _)| ["run", "image list", "gc", "status"].contains(&c.as_str()))
    {
        assert!(
            help.stdout.contains(&format!("\n\t{command}\t")),
            "{command} is not listed\n{help}"
        );
    }
    Rkt::plain()
        .args(["help", "nosuch"])
        .run()
        .ok()
        .stderr_has("Unknown help topic [`nosuch`].");
    let image = Rkt::plain().arg("image").run().ok();
    session::help_screen("image", &image.stdout).expect("`rkt image` alone prints its help");
}

/// No recorded sample is forgotten: played here, or excluded there with a reason.
#[test]
fn every_sample_is_played_or_excluded() {
    let sessions: Vec<String> = [
        "usage.txt",
        "screens.txt",
        "images.txt",
        "fetch.txt",
        "trust.txt",
        "pods.txt",
        "fly.txt",
        "network.txt",
    ]
    .map(fixture)
    .into();
    let played: Vec<&str> = sessions.iter().flat_map(|s| session::samples(s)).collect();
    let path = tests::rkt::workspace().join("docs/compatibility.md");
    let text = std::fs::read_to_string(&path).expect("docs/compatibility.md is in the tree");
    // Only the first column excludes; the reasons may name samples too.
    let excluded: String = text
        .lines()
        .filter_map(|l| l.strip_prefix('|')?.split('|').next())
        .collect();
    let index = fixture("index.txt");
    let lost: Vec<&str> = index
        .lines()
        .filter(|s| !played.contains(s) && !excluded.contains(&format!("`{s}`")))
        .collect();
    assert!(
        lost.is_empty(),
        "neither played nor excluded: {}",
        lost.join(" ")
    );
    let both: Vec<&str> = played
        .into_iter()
        .filter(|s| excluded.contains(&format!("`{s}`")) && index.lines().any(|l| l == *s))
        .collect();
    assert!(both.is_empty(), "played and excluded: {}", both.join(" "));
}
