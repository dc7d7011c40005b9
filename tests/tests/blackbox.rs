//! The binary from outside, without root: arguments, errors, exit codes, fetching files and the verbs on images;
//! hostile archives; and what it does with a full pipe, a closed pipe and no environment.

#[path = "blackbox/machine.rs"]
mod machine;
#[path = "blackbox/service.rs"]
mod service;

use serde_json::json;
use std::path::Path;
use tests::tar::{self, Entry};
use tests::{Aci, Output, Rkt, Scratch, skip};

fn small(scratch: &Scratch, name: &str) -> std::path::PathBuf {
    Aci::new(name, &["/app"])
        .with(Entry::program("rootfs/app", "#!/bin/true\n"))
        .write(scratch.path())
}

fn fetch(scratch: &Scratch, path: &Path) -> Output {
    Rkt::new(scratch).arg("fetch").arg(path).run()
}

// --- arguments ------------------------------------------------------------------------------------------------------

#[test]
fn verbs_may_be_shortened_while_they_are_unique() {
    let s = Scratch::new("prefix");
    let long = Rkt::new(&s).args(["image", "list"]).run().ok();
    let short = Rkt::new(&s).args(["im", "li"]).run().ok();
    assert_eq!(long.stdout, short.stdout);
    Rkt::new(&s)
        .arg("r")
        .run()
        .code(254)
        .stderr_has("unknown command \"r\"");
}

#[test]
fn a_misspelt_verb_gets_a_suggestion() {
    let out = Rkt::plain().arg("fech").run().code(254);
    out.clone()
        .stderr_has("Error: unknown command \"fech\" for \"rkt\"");
    out.stderr_has("Did you mean this?").stderr_has("\tfetch");
}

#[test]
fn flags_take_their_value_in_both_ways() {
    let s = Scratch::new("flags");
    let data = s.data().display().to_string();
    for args in [
        vec![format!("--dir={data}")],
        vec!["--dir".to_owned(), data.clone()],
    ] {
        Rkt::plain()
            .args(&args)
            .args(["list", "--no-legend=true"])
            .run()
            .ok();
    }
    Rkt::plain()
        .args(["--dir=", "list"])
        .run()
        .code(254)
        .stderr_has("\"\" is not a valid directory");
    Rkt::plain()
        .args(["list", "--format"])
        .run()
        .code(254)
        .stderr_has("flag needs an argument: --format");
    Rkt::plain()
        .args(["list", "--full=maybe"])
        .run()
        .code(254)
        .stderr_has("invalid argument \"maybe\" for --full=maybe");
}

#[test]
fn insecure_options_are_checked() {
    for (value, why) in [
        ("bogus", "unknown option \"bogus\""),
        ("image,image", "duplicated option \"image\""),
    ] {
        Rkt::plain()
            .args([&format!("--insecure-options={value}"), "list"])
            .run()
            .code(254)
            .stderr_has(why);
    }
}

#[test]
fn privileged_verbs_refuse_ordinary_users() {
    if rustix::process::geteuid().is_root() {
        // As root, the check is made through a user namespace whose only user is not root.
        if tests::isolated::find("setpriv").is_none() {
            skip!("needs setpriv (Debian: util-linux) to give up root");
        }
        let s = Scratch::new("ordinary");
        let binary = s.path().join("rkt");
        std::fs::copy(tests::rkt::binary(), &binary).expect("the binary under test is readable");
        for verb in ["run", "prepare", "run-prepared", "enter", "rm", "gc"] {
            let output = std::process::Command::new("setpriv")
                .args(["--reuid=65534", "--regid=65534", "--clear-groups"])
                .arg(&binary)
                .args([verb, "x"])
                .output()
                .expect("setpriv was found");
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            assert_eq!(output.status.code(), Some(254), "{verb}: {said}");
            assert!(
                said.contains("cannot run as unprivileged user"),
                "{verb}: {said}"
            );
        }
        return;
    }
    for verb in ["run", "prepare", "run-prepared", "enter", "rm", "gc"] {
        Rkt::plain()
            .args(["--dir=/usr/lib", verb, "x"])
            .run()
            .code(254)
            .stderr_has("cannot run as unprivileged user");
    }
}

#[test]
fn debug_shows_the_chain_of_causes() {
    let s = Scratch::new("debug");
    let plain = fetch(&s, Path::new("/nonexistent.aci")).code(254);
    assert_eq!(
        plain.stderr,
        "fetch: open /nonexistent.aci: no such file or directory\n"
    );
    let out = Rkt::new(&s)
        .args(["--debug", "fetch", "/nonexistent.aci"])
        .run()
        .code(254);
    out.stderr_has("no such file or directory");
}

#[test]
fn an_empty_environment_is_enough() {
    let s = Scratch::new("bare");
    let image = small(&s, "example.com/bare");
    Rkt::new(&s).bare().arg("fetch").arg(&image).run().ok();
    Rkt::new(&s)
        .bare()
        .args(["image", "list"])
        .run()
        .ok()
        .stdout_has("example.com/bare:1.0.0");
}

#[test]
fn a_closed_pipe_is_no_error() {
    let s = Scratch::new("pipe");
    fetch(&s, &small(&s, "example.com/pipe")).ok();
    let mut child = Rkt::new(&s)
        .args(["image", "cat-manifest", "example.com/pipe"])
        .command()
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .expect("the binary under test starts");
    drop(child.stdout.take());
    let output = child.wait_with_output().expect("the child is ours");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!said.contains("panicked"), "{said}");
}

// --- images ---------------------------------------------------------------------------------------------------------

#[test]
fn ids_come_short_and_long_and_resolve_by_prefix() {
    let s = Scratch::new("ids");
    let image = small(&s, "example.com/ids");
    let short = fetch(&s, &image).ok().stdout.trim().to_owned();
    let full = Rkt::new(&s)
        .args(["fetch", "--full"])
        .arg(&image)
        .run()
        .ok()
        .stdout
        .trim()
        .to_owned();
    assert_eq!((short.len(), full.len()), (39, 71));
    assert!(full.starts_with(&short));
    let manifest = |id: &str| Rkt::new(&s).args(["image", "cat-manifest", id]).run();
    let expected = manifest("example.com/ids").ok().stdout;
    for id in [
        &full[..],
        &short,
        &full[..19],
        &full[..9],
        &format!("{full}{}", "0".repeat(64)),
    ] {
        assert_eq!(manifest(id).ok().stdout, expected, "{id}");
    }
    manifest(&full[..8])
        .code(254)
        .stderr_has("image ID too short");
}

#[test]
fn the_id_is_the_hash_of_what_export_writes() {
    let s = Scratch::new("export");
    let aci = Aci::new("example.com/export", &["/app"])
        .with(Entry::program("rootfs/app", vec![7; 70_000]))
        .with(Entry::dir(&format!("rootfs/{}", "long-name/".repeat(14))))
        .with(Entry::symlink("rootfs/link", "app"))
        .with(Entry::hardlink("rootfs/hard", "rootfs/app"));
    let image = aci.write(s.path());
    fetch(&s, &image).ok();
    let out = s.at("out.aci");
    Rkt::new(&s)
        .args(["image", "export", "example.com/export"])
        .arg(&out)
        .run()
        .ok();
    assert!(
        std::fs::read(&out).is_ok_and(|bytes| bytes == aci.tar()),
        "export is not what was imported"
    );
}

#[test]
fn an_uncompressed_archive_is_as_good() {
    let s = Scratch::new("plain");
    let aci = Aci::new("example.com/plain", &["/app"]);
    let zipped = aci.write(s.path());
    let bare = s.write("bare.aci", aci.tar());
    assert_eq!(fetch(&s, &zipped).ok().stdout, fetch(&s, &bare).ok().stdout);
}

#[test]
fn labels_and_latest_choose_the_image() {
    let s = Scratch::new("labels");
    for version in ["1.0.0", "2.0.0"] {
        let aci = Aci::new("example.com/many", &["/app"]).version(Some(version));
        let path = s.write(&format!("{version}.aci"), aci.tar());
        fetch(&s, &path).ok();
    }
    for (reference, version) in [
        ("example.com/many", "2.0.0"),
        ("example.com/many:1.0.0", "1.0.0"),
        ("example.com/many,version=1.0.0", "1.0.0"),
    ] {
        let out = Rkt::new(&s)
            .args(["image", "cat-manifest", reference])
            .run()
            .ok();
        assert_eq!(out.json()["labels"][0]["value"], version, "{reference}");
    }
    Rkt::new(&s)
        .args(["image", "cat-manifest", "example.com/many:3.0.0"])
        .run()
        .code(254)
        .stderr_has("in the local store");
}

#[test]
fn extract_writes_the_tree() {
    let s = Scratch::new("extract");
    let aci = Aci::new("example.com/tree", &["/app"])
        .with(Entry::dir("rootfs/etc").mode(0o751))
        .with(Entry::file("rootfs/etc/conf", "value\n").mode(0o640))
        .with(Entry::symlink("rootfs/etc/link", "conf"));
    fetch(&s, &aci.write(s.path())).ok();
    let out = s.at("out");
    Rkt::new(&s)
        .args(["image", "extract", "example.com/tree"])
        .arg(&out)
        .run()
        .ok();
    assert_eq!(
        std::fs::read_to_string(out.join("rootfs/etc/conf"))
            .ok()
            .as_deref(),
        Some("value\n")
    );
    assert_eq!(
        std::fs::read_link(out.join("rootfs/etc/link"))
            .ok()
            .as_deref(),
        Some(Path::new("conf"))
    );
    assert!(out.join("manifest").is_file());
    let root = s.at("root");
    Rkt::new(&s)
        .args(["image", "render", "--rootfs-only", "example.com/tree"])
        .arg(&root)
        .run()
        .ok();
    assert_eq!(
        std::fs::read_to_string(root.join("etc/conf"))
            .ok()
            .as_deref(),
        Some("value\n")
    );
    Rkt::new(&s)
        .args(["image", "extract", "--overwrite", "example.com/tree", "/"])
        .run()
        .code(254)
        .stderr_has("Refusing");
}

#[test]
fn dependencies_are_rendered_below() {
    let s = Scratch::new("deps");
    let base = Aci::new("example.com/base", &["/app"])
        .with(Entry::file("rootfs/from-base", "base"))
        .with(Entry::file("rootfs/both", "base"));
    fetch(&s, &base.write(s.path())).ok();
    let upper = Aci::new("example.com/upper", &["/app"])
        .top("dependencies", json!([{"imageName": "example.com/base"}]))
        .with(Entry::file("rootfs/both", "upper"));
    fetch(&s, &upper.write(s.path())).ok();
    let root = s.at("root");
    Rkt::new(&s)
        .args(["image", "render", "--rootfs-only", "example.com/upper"])
        .arg(&root)
        .run()
        .ok();
    let read = |f: &str| std::fs::read_to_string(root.join(f)).unwrap_or_default();
    assert_eq!(
        (read("from-base"), read("both")),
        ("base".to_owned(), "upper".to_owned())
    );
}

#[test]
fn an_unsigned_image_is_refused() {
    let s = Scratch::new("unsigned");
    let image = small(&s, "example.com/unsigned");
    let missing = format!("open {}.asc: no such file or directory", image.display());
    Rkt::secure(&s)
        .arg("fetch")
        .arg(&image)
        .run()
        .code(254)
        .stderr_has(&missing);
    assert_eq!(
        Rkt::new(&s)
            .args(["image", "list", "--no-legend"])
            .run()
            .ok()
            .stdout,
        ""
    );
}

// --- hostile and broken archives ------------------------------------------------------------------------------------

/// Imports it and expects a clean refusal: exit 254, one message, nothing in the store, nothing outside it.
#[track_caller]
fn refused(name: &str, bytes: &[u8]) -> Output {
    let s = Scratch::new(name);
    let canary = s.write("canary", "alive");
    let path = s.write("hostile.aci", bytes);
    let out = fetch(&s, &path).code(254);
    assert!(!out.stderr.contains("panicked"), "{out}");
    assert!(
        out.stderr.starts_with("fetch: ") && out.stdout.is_empty(),
        "{out}"
    );
    assert_eq!(
        Rkt::new(&s)
            .args(["image", "list", "--no-legend"])
            .run()
            .ok()
            .stdout,
        ""
    );
    assert_eq!(
        std::fs::read_to_string(canary).ok().as_deref(),
        Some("alive")
    );
    for staging in ["store/tmp", "store/staging"] {
        let left = std::fs::read_dir(s.data().join(staging))
            .map(Iterator::count)
            .unwrap_or(0);
        assert_eq!(left, 0, "{staging} keeps what was refused");
    }
    out
}

fn manifest() -> Vec<u8> {
    Aci::new("example.com/hostile", &["/app"]).manifest()
}

fn archive(entries: &[Entry]) -> Vec<u8> {
    let mut all = vec![Entry::file("manifest", manifest())];
    all.extend_from_slice(entries);
    tar::write(&all)
}

#[test]
fn no_manifest() {
    refused("no-manifest", &tar::write(&[Entry::dir("rootfs")]));
}

#[test]
fn no_rootfs() {
    refused("no-rootfs", &archive(&[]));
}

#[test]
fn broken_manifests() {
    let whole = String::from_utf8(manifest()).expect("JSON is UTF-8");
    let deep = format!("{{\"acKind\":{}", "[".repeat(100_000));
    for (name, text) in [
        ("empty", String::new()),
        ("cut", whole[..whole.len() / 2].to_owned()),
        ("trailing", format!("{whole} x")),
        ("kind", whole.replace("ImageManifest", "PodManifest")),
        (
            "bad-name",
            whole.replace("example.com/hostile", "Example COM/../.."),
        ),
        ("number", whole.replace("\"/app\"", "7")),
        ("deep", deep),
    ] {
        let aci = Aci::new("example.com/hostile", &["/app"]).raw_manifest(text);
        refused(&format!("manifest-{name}"), &tar::gzip(&aci.tar()));
    }
}

#[test]
fn a_manifest_of_a_gigabyte_by_its_header() {
    let mut bytes = tar::write(&[Entry::file("manifest", manifest()).claiming(1 << 30)]);
    bytes.truncate(4096);
    refused("manifest-huge", &bytes);
}

#[test]
fn truncated_archives() {
    let whole = tar::gzip(&archive(&[
        Entry::dir("rootfs"),
        Entry::file("rootfs/data", vec![1; 100_000]),
    ]));
    for part in [
        1,
        9,
        20,
        600,
        whole.len() / 2,
        whole.len() - 9,
        whole.len() - 1,
    ] {
        refused(&format!("cut-{part}"), &whole[..part]);
    }
    let mut flipped = whole.clone();
    let crc = whole.len() - 6;
    flipped[crc] ^= 1;
    refused("crc", &flipped);
}

/// Names that would leave the rootfs: refused, or confined, but never followed.
#[test]
fn names_that_climb_out() {
    for (i, entries) in [
        vec![
            Entry::dir("rootfs"),
            Entry::file("rootfs/../../../escape", "x"),
        ],
        vec![Entry::dir("rootfs"), Entry::file("/escape", "x")],
        vec![
            Entry::dir("rootfs"),
            Entry::symlink("rootfs/up", "../../../.."),
            Entry::file("rootfs/up/escape", "x"),
        ],
        vec![
            Entry::dir("rootfs"),
            Entry::symlink("rootfs/abs", "/"),
            Entry::file("rootfs/abs/escape", "x"),
        ],
        vec![
            Entry::dir("rootfs"),
            Entry::hardlink("rootfs/hard", "../../../../../../etc/passwd"),
        ],
        vec![
            Entry::dir("rootfs"),
            Entry::symlink("rootfs/l", "/etc/passwd"),
            Entry::hardlink("rootfs/h", "rootfs/l"),
        ],
        vec![
            Entry::symlink("rootfs", "/"),
            Entry::file("rootfs/escape", "x"),
        ],
        vec![
            Entry::dir("rootfs"),
            Entry::file("rootfs/./a//../../escape", "x"),
        ],
    ]
    .into_iter()
    .enumerate()
    {
        let s = Scratch::new(&format!("climb-{i}"));
        let path = s.write("hostile.aci", archive(&entries));
        let out = fetch(&s, &path);
        assert!(out.code == 0 || out.code == 254, "{out}");
        assert!(!out.stderr.contains("panicked"), "{out}");
        for escaped in [
            Path::new("/escape").to_owned(),
            s.at("escape"),
            s.data().join("escape"),
            s.data().join("store/escape"),
        ] {
            assert!(!escaped.exists(), "case {i} wrote {}", escaped.display());
        }
        if out.code == 0 {
            // What was taken in must also stay in when it is written out.
            let to = s.at("out");
            Rkt::new(&s)
                .args(["image", "extract", "example.com/hostile"])
                .arg(&to)
                .run();
            assert!(
                !s.at("escape").exists() && !Path::new("/escape").exists(),
                "case {i} escaped on extract"
            );
        }
    }
}

#[test]
fn a_bomb_of_zeros_by_a_lying_header() {
    // 8 EiB claimed, nothing behind it.
    let entry = Entry::file("rootfs/huge", "x").claiming(1 << 62);
    refused("bomb", &archive(&[Entry::dir("rootfs"), entry]));
}

#[test]
fn odd_types_and_names_do_not_hurt() {
    let s = Scratch::new("odd");
    let nasty = "a\nb\u{1b}[31m:c,d=e\"f\\g".to_owned();
    let aci = Aci::new("example.com/odd", &["/app"])
        .with(Entry::file(&format!("rootfs/{nasty}"), "x"))
        .with(Entry::fifo("rootfs/fifo"))
        .with(Entry::file("rootfs/twice", "first"))
        .with(Entry::file("rootfs/twice", "second"))
        .with(Entry::file("rootfs/no-parent/deep/file", "x"));
    let image = aci.write(s.path());
    fetch(&s, &image).ok();
    let out = s.at("out.aci");
    Rkt::new(&s)
        .args(["image", "export", "example.com/odd"])
        .arg(&out)
        .run()
        .ok();
    assert!(
        std::fs::read(&out).is_ok_and(|bytes| bytes == aci.tar()),
        "duplicate entries are lost on export"
    );
    let tree = s.at("tree");
    Rkt::new(&s)
        .args(["image", "extract", "example.com/odd"])
        .arg(&tree)
        .run()
        .ok();
    assert_eq!(
        std::fs::read_to_string(tree.join("rootfs/twice"))
            .ok()
            .as_deref(),
        Some("second")
    );
}

#[test]
fn two_fetches_of_one_image_at_once() {
    let s = Scratch::new("race");
    let aci = Aci::new("example.com/race", &["/app"])
        .with(Entry::file("rootfs/data", vec![3; 3_000_000]));
    let image = aci.write(s.path());
    let all: Vec<_> = (0..6)
        .map(|_| Rkt::new(&s).arg("fetch").arg(&image).spawn())
        .collect();
    let ids: Vec<String> = all.into_iter().map(|f| f.end().ok().stdout).collect();
    assert!(ids.iter().all(|id| *id == ids[0]));
    assert_eq!(
        Rkt::new(&s)
            .args(["image", "list", "--no-legend"])
            .run()
            .ok()
            .stdout
            .lines()
            .count(),
        1
    );
}
