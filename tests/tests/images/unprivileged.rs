//! Fetching without being root: as a member of the group that the data directory belongs to, and as the owner of a data
//! directory of one's own. Root takes over what they have fetched, and believes nothing of it.

use crate::{rendered, rkt};
use serde_json::json;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use tests::oci::{Layer, Layout};
use tests::registry::Registry;
use tests::tar::Entry;
use tests::tree::assert_same;
use tests::{Output, Rkt, Scratch, isolated, root_test_once, skip};

/// Ids that no account has; the kernel does not mind.
const USER: u32 = 61234;
const GROUP: u32 = 61235;

macro_rules! needs {
    () => {
        if let Some(reason) = Registry::missing() {
            skip!("{reason}");
        }
        if isolated::find("setpriv").is_none() {
            skip!("needs setpriv (Debian: util-linux)");
        }
    };
}

/// The call as a user with one more group.
fn as_user(rkt: &Rkt, group: Option<u32>) -> Output {
    let inner = rkt.command();
    let mut command =
        std::process::Command::new(isolated::find("setpriv").expect("looked for before"));
    command
        .arg(format!("--reuid={USER}"))
        .arg(format!("--regid={USER}"));
    match group {
        Some(group) => command.arg(format!("--groups={group}")),
        None => command.arg("--clear-groups"),
    };
    command
        .args(["--inh-caps=-all", "--bounding-set=-all"])
        .arg(inner.get_program())
        .args(inner.get_args());
    command.env("HOME", "/nonexistent");
    let output = command.output().expect("setpriv was found");
    Output {
        command: format!("{command:?}"),
        code: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// rkt where the user may execute it, and a scratch directory that may be passed through.
fn reachable(s: &Scratch) {
    std::fs::set_permissions(s.path(), PermissionsExt::from_mode(0o755)).expect("ours");
}

/// The data directory as a set-up script makes it, root's and handed down to the group, with the store that comes
/// with the first image that root fetches.
fn for_the_group(s: &Scratch) {
    let dir = &s.data();
    std::fs::create_dir_all(dir).expect("the scratch directory is writable");
    std::os::unix::fs::chown(dir, Some(0), Some(GROUP)).expect("we are root");
    std::fs::set_permissions(dir, PermissionsExt::from_mode(0o2750)).expect("we are root");
    let first = tests::Aci::new("example.com/first", &["/x"]).write(s.path());
    rkt(s).arg("fetch").arg(first).run().ok();
}

fn layers(s: &Scratch) -> usize {
    std::fs::read_dir(s.data().join("store/layers")).map_or(0, Iterator::count)
}

/// An image with owners, a setuid program, and two layers that touch each other.
fn image(s: &Scratch) -> Layout {
    let probe = std::fs::read(tests::rkt::probe()).expect("the probe is built");
    let mut layout = Layout::new(&s.at("layout"));
    layout.image(
        "x",
        &[
            Layer::of(&[
                Entry::dir("./"),
                Entry::program("probe", probe),
                Entry::file("owned", "x").owner(1234, 5678).mode(0o640),
                Entry::file("setuid", "x").owner(7, 8).mode(0o4755),
                Entry::file("gone", "x"),
                Entry::dir("d/").owner(9, 9).mode(0o700),
            ]),
            Layer::of(&[
                Entry::file(".wh.gone", ""),
                Entry::hardlink("link", "owned"),
                Entry::file("d/in", "x").owner(9, 9),
            ]),
        ],
        &json!({"Entrypoint": ["/probe"]}),
    );
    layout
}

fn below(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        found.push(entry.path());
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            below(&entry.path(), found);
        }
    }
}

root_test_once! {
    fn a_member_of_the_group_fetches_and_root_runs(s) {
        needs!();
        reachable(s);
        let layout = image(s);
        let registry = Registry::plain(s);
        registry.push(&layout.source("x"), "team/x:1");
        let theirs = Scratch::new("by-root");
        let url = registry.url("team/x:1");
        let by_root = rkt(&theirs).args(["fetch", "--full", &url]).run().ok().stdout.trim().to_owned();

        for_the_group(s);
        // Who is not a member gets nowhere.
        let out = as_user(&rkt(s).args(["fetch", "--full", &url]), None).code(254);
        assert!(out.stderr.contains("permission denied"), "{out}");
        let out = as_user(&rkt(s).args(["fetch", "--full", &url]), Some(GROUP)).ok();
        let id = out.stdout.trim().to_owned();
        assert_eq!(id, by_root, "the ID depends on who fetches\n{out}");
        // A member cannot make a setuid program of root's, nor anything outside of its own corner.
        let mut all = Vec::new();
        below(&s.data(), &mut all);
        for path in &all {
            let meta = path.symlink_metadata().expect("a listed path");
            let packed = path.starts_with(s.data().join("store/packed"));
            assert!(packed || meta.uid() == 0, "{} is the user's", path.display());
            assert!(!meta.is_file() || meta.mode() & 0o6000 == 0, "{} is setuid", path.display());
        }
        as_user(&rkt(s).args(["image", "list", "--full", "--no-legend"]), Some(GROUP)).ok().stdout_has(&id);
        // The second member finds what the first has fetched.
        let again = as_user(&rkt(s).args(["fetch", "--full", "--pull-policy=new", &url]), Some(GROUP)).ok();
        assert_eq!(again.stdout.trim(), id);

        let out = rkt(s).args(["run", "--net=none", &id, "--", "echo", "hello"]).run().ok();
        assert_eq!(out.app_lines(), ["hello"]);
        assert_same(&rendered(s, &id), &rendered(&theirs, &by_root), "unpacked by root");
        rkt(s).args(["image", "verify", &id]).run().ok();
        let left = std::fs::read_dir(s.data().join("store/packed")).expect("the members' corner").flatten();
        assert!(left.map(|entry| entry.file_name()).all(|name| name != id.as_str()), "the packed copy stays");
    }
}

root_test_once! {
    fn what_a_member_has_changed_is_found_by_root(s) {
        needs!();
        reachable(s);
        let layout = image(s);
        for_the_group(s);
        // Where the user can read it: the layout lies below the scratch directory.
        let word = format!("{}:x", layout.dir().display());
        let call = || as_user(&rkt(s).args(["fetch", "--full", &word]), Some(GROUP)).ok().stdout.trim().to_owned();
        let id = call();
        let packed = s.data().join("store/packed").join(&id);
        let files = || {
            let mut all = Vec::new();
            below(&packed, &mut all);
            all.retain(|path| path.is_file());
            all
        };
        assert!(files().len() >= 4, "{:?}", files());
        let blobs: Vec<PathBuf> = files().into_iter().filter(|path| !path.ends_with("record") && !path.ends_with("manifest")).collect();
        assert_eq!(blobs.len(), 2, "{blobs:?}");
        let other = tests::tar::gzip(&tests::tar::write(&[Entry::dir("./"), Entry::program("probe", "evil").mode(0o4755)]));
        let canary = s.write("canary", "alive");
        std::fs::set_permissions(&canary, PermissionsExt::from_mode(0o600)).expect("ours");
        type Change<'c> = (&'static str, Box<dyn Fn() + 'c>);
        let changes: Vec<Change<'_>> = vec![
            ("another layer", Box::new(|| std::fs::write(&blobs[0], &other).expect("ours"))),
            ("half a layer", Box::new(|| {
                let bytes = std::fs::read(&blobs[0]).expect("ours");
                std::fs::write(&blobs[0], &bytes[..bytes.len() / 2]).expect("ours");
            })),
            ("a symlink", Box::new(|| {
                std::fs::remove_file(&blobs[0]).expect("ours");
                std::os::unix::fs::symlink(&canary, &blobs[0]).expect("ours");
            })),
            ("a fifo", Box::new(|| {
                std::fs::remove_file(&blobs[0]).expect("ours");
                tests::registry::tool("mkfifo", &[&blobs[0].display().to_string()]);
            })),
            ("no layer", Box::new(|| std::fs::remove_file(&blobs[0]).expect("ours"))),
            ("another manifest", Box::new(|| {
                let path = packed.join("manifest");
                let text = std::fs::read_to_string(&path).expect("ours");
                std::fs::write(&path, text.replace("/probe", "/evils")).expect("ours");
            })),
        ];
        for (what, change) in changes {
            assert_eq!(call(), id);
            change();
            let out = rkt(s).args(["run", "--net=none", &id]).run();
            assert!(out.code == 254 && !out.stderr.contains("panicked"), "{what} was not found\n{out}");
            assert!(!s.data().join("store/images").join(&id).exists(), "{what} was taken over\n{out}");
            assert_eq!(layers(s), 1, "{what}: a layer stays\n{out}");
            assert_eq!(std::fs::read_to_string(&canary).ok().as_deref(), Some("alive"));
            let _ = std::fs::remove_dir_all(&packed);
        }
        // As it was it is good.
        assert_eq!(call(), id);
        rkt(s).args(["image", "verify", &id]).run().ok();
    }
}

root_test_once! {
    fn an_owner_of_a_directory_fetches_for_itself(s) {
        needs!();
        reachable(s);
        let layout = image(s);
        std::fs::create_dir_all(s.data()).expect("ours");
        std::os::unix::fs::chown(s.data(), Some(USER), Some(USER)).expect("we are root");
        let word = format!("{}:x", layout.dir().display());
        let theirs = Scratch::new("by-root");
        let by_root = rkt(&theirs).args(["fetch", "--full", &word]).run().ok().stdout.trim().to_owned();
        let out = as_user(&rkt(s).args(["fetch", "--full", &word]), None).ok();
        assert_eq!(out.stdout.trim(), by_root);
        as_user(&rkt(s).args(["image", "list", "--no-legend", "--full"]), None).ok().stdout_has(&by_root);
        as_user(&rkt(s).args(["image", "cat-manifest", &by_root]), None).ok().stdout_has("/probe");
        as_user(&rkt(s).args(["image", "rm", &by_root]), None).ok();
        // An ACI is no different.
        let aci = tests::Aci::new("example.com/aci", &["/x"]).with(Entry::file("rootfs/owned", "x").owner(5, 6)).write(s.path());
        let by_root = rkt(&theirs).args(["fetch", "--full"]).arg(&aci).run().ok().stdout;
        let out = as_user(&rkt(s).args(["fetch", "--full"]).arg(&aci), None).ok();
        assert_eq!(out.stdout, by_root);
        let made = as_user(&rkt(s).args(["image", "export", by_root.trim()]).arg(s.data().join("out.aci")), None);
        assert!(made.code == 0 || !made.stderr.contains("panicked"), "{made}");
    }
}
