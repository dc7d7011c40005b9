//! Hosts on which next to nothing can be written: a store on squashfs or mounted read-only, with a tmpfs for its pods;
//! `/` read-only and one writable directory. What works works without a word, what cannot says so and what to do.

use crate::{call, probe, start};
use std::path::{Path, PathBuf};
use std::process::Command;
use tests::isolated::find;
use tests::oci::{Layer, Layout};
use tests::tar::Entry;
use tests::{Output, Rkt, Scratch, root_test, root_test_once, skip};

/// Mounts of a test, gone with it.
struct Mounts(Vec<PathBuf>);

impl Mounts {
    fn mount(&mut self, words: &[&str], at: &Path) -> bool {
        let mounted = Command::new("mount").args(words).arg(at).output();
        let done = mounted.is_ok_and(|output| output.status.success());
        if done {
            self.0.push(at.to_path_buf());
        }
        done
    }
}

impl Drop for Mounts {
    fn drop(&mut self) {
        while let Some(at) = self.0.pop() {
            let _ = Command::new("umount").arg(at).status();
        }
    }
}

/// A store with an archive, one that depends on it, and an image of two layers; `pods` is empty.
fn filled(s: &Scratch) {
    let above = tests::Aci::new("example.com/above", &["/probe"])
        .top(
            "dependencies",
            serde_json::json!([{"imageName": "example.com/probe"}]),
        )
        .write(s.path());
    let program = std::fs::read(tests::rkt::probe()).expect("the probe is built");
    let mut layout = Layout::new(&s.at("layout"));
    let layers = [
        Layer::of(&[Entry::program("probe", program), Entry::file("old", "old")]),
        Layer::of(&[Entry::file(".wh.old", ""), Entry::file("new", "new")]),
    ];
    layout.image(
        "layered",
        &layers,
        &serde_json::json!({"Entrypoint": ["/probe"]}),
    );
    let layered = format!("{}:layered", layout.dir().display());
    for image in [probe(s), above, layered.into()] {
        call(s, &["fetch", &image.display().to_string()]).ok();
    }
    std::fs::create_dir(s.data().join("pods")).expect("no pod was made");
}

/// The data directory read-only, with nothing for its pods.
fn read_only(s: &Scratch, squashed: bool) -> Result<Mounts, &'static str> {
    let (data, mut mounts) = (s.data(), Mounts(Vec::new()));
    if !squashed {
        let here = data.display().to_string();
        assert!(
            mounts.mount(&["--bind", &here], &data),
            "a bind mount is made"
        );
        remount(&data, "ro");
        return Ok(mounts);
    }
    let file = s.at("data.squashfs");
    let pack = find("mksquashfs").ok_or("needs mksquashfs (Debian: squashfs-tools)")?;
    let packed = Command::new(pack)
        .arg(&data)
        .arg(&file)
        .args(["-quiet", "-no-progress"])
        .output();
    assert!(
        packed.is_ok_and(|output| output.status.success()),
        "mksquashfs"
    );
    let file = file.display().to_string();
    match mounts.mount(&["-t", "squashfs", "-o", "loop,ro", &file], &data) {
        true => Ok(mounts),
        false => Err("squashfs or loop devices cannot be had here"),
    }
}

fn remount(at: &Path, how: &str) {
    let how = format!("remount,bind,{how}");
    let done = Command::new("mount").args(["-o", &how]).arg(at).status();
    assert!(
        done.is_ok_and(|status| status.success()),
        "{how} of {}",
        at.display()
    );
}

fn tmpfs_for_pods(s: &Scratch, mounts: &mut Mounts) {
    let pods = s.data().join("pods");
    assert!(
        mounts.mount(&["-t", "tmpfs", "-o", "mode=0750", "tmpfs"], &pods),
        "a tmpfs is mounted"
    );
}

fn ids(s: &Scratch) -> Vec<String> {
    let listed = call(
        s,
        &["image", "list", "--full", "--no-legend", "--fields=id"],
    )
    .ok();
    listed
        .stdout
        .split_whitespace()
        .map(str::to_owned)
        .collect()
}

fn echo(s: &Scratch, flags: &[&str], image: &str) -> Output {
    Rkt::new(s)
        .args(["run", "--net=none"])
        .args(flags)
        .args([image, "--", "echo", "out"])
        .run()
}

/// Every verb, on a store that cannot be written.
fn all_verbs(s: &Scratch) {
    let images = ids(s);
    assert_eq!(images.len(), 3);
    for id in &images {
        assert_eq!(echo(s, &[], id).ok().app_lines(), ["out"]);
        call(s, &["image", "verify", id])
            .ok()
            .stdout_has("successfully verified");
        call(s, &["image", "cat-manifest", id]).ok();
        let target = s.at(id).display().to_string();
        call(s, &["image", "export", id, &target]).ok();
        let uuid = call(s, &["prepare", id, "--", "echo", "later"]).ok().stdout;
        call(s, &["list"]).ok().stdout_has("prepared");
        let ran = call(s, &["run-prepared", "--net=none", uuid.trim()]).ok();
        assert_eq!(ran.app_lines(), ["later"]);
        call(s, &["status", uuid.trim()])
            .ok()
            .stdout_has("state=exited");
        call(s, &["rm", uuid.trim()]).ok();
    }
    let one = "example.com/probe";
    assert_eq!(echo(s, &["--no-overlay"], one).ok().app_lines(), ["out"]);
    assert_eq!(echo(s, &["--private-users"], one).ok().app_lines(), ["out"]);

    let (pod, uuid) = start(s, Path::new(one), &[], &["forever"]);
    call(s, &["enter", &uuid, "/probe", "echo", "inside"])
        .ok()
        .stdout_has("inside");
    call(s, &["stop", "--force", &uuid]).ok();
    pod.end();

    let debug = Rkt::new(s)
        .args(["--debug", "prepare", one, "--", "echo"])
        .run()
        .ok();
    let debug = debug.stderr_has("the image store is read-only");
    call(s, &["rm", debug.stdout.trim()]).ok();
    call(s, &["gc", "--grace-period=0s"]).ok();
    call(s, &["list", "--no-legend"]).ok();
    call(s, &["doctor"]).ok().stdout_has("read-only: pods run");

    // Refused at once, before anything is asked for or written.
    let file = s.at("probe.aci").display().to_string();
    let refused = [
        &["fetch", "docker://127.0.0.1:1/nothing"][..],
        &["fetch", &file],
        &["run", "--net=none", &file],
        &["prepare", "docker://127.0.0.1:1/nothing"],
        &["image", "rm", one],
        &["image", "gc"],
    ];
    for words in refused {
        let output = call(s, words).code(254).stderr_has("is read-only");
        output.stderr_has("hint: fetch and remove images where");
    }
    let store = s.data().join("store");
    assert!(
        !store
            .join("holds")
            .read_dir()
            .is_ok_and(|mut held| held.next().is_some())
    );
}

root_test! {
    fn a_store_that_is_mounted_read_only(s) {
        filled(s);
        let mut mounts = read_only(s, false).expect("needs no tool");
        tmpfs_for_pods(s, &mut mounts);
        all_verbs(s);
    }
}

root_test! {
    fn a_store_on_squashfs(s) {
        if let Some(why) = isolated_squashfs(s, all_verbs) {
            skip!("{why}");
        }
    }
}

fn isolated_squashfs(s: &Scratch, body: fn(&Scratch)) -> Option<&'static str> {
    filled(s);
    let mut mounts = match read_only(s, true) {
        Ok(mounts) => mounts,
        Err(why) => return Some(why),
    };
    tmpfs_for_pods(s, &mut mounts);
    body(s);
    None
}

root_test_once! {
    fn a_read_only_store_without_a_place_for_pods_says_what_is_missing(s) {
        filled(s);
        {
            let _mounts = read_only(s, false).expect("needs no tool");
            for words in [&["run", "--net=none", "example.com/probe"][..], &["prepare", "example.com/probe"]] {
                let output = call(s, words).code(254).stderr_has("no file system that takes pods is mounted on");
                output.stderr_has("hint: mount -t tmpfs -o mode=0750 tmpfs ");
            }
            call(s, &["list"]).ok();
            call(s, &["doctor"]).stdout_has("is to be mounted on pods");
        }
        std::fs::remove_dir(s.data().join("pods")).expect("no pod was made");
        let _mounts = read_only(s, false).expect("needs no tool");
        let output = call(s, &["prepare", "example.com/probe"]).code(254);
        output.stderr_has("make the empty directory \"pods\" in it");
    }
}

root_test_once! {
    /// A partition that is mounted writable for a change: what was prepared before keeps its files.
    fn pods_of_a_read_only_store_hold_their_layers_once_it_is_writable(s) {
        filled(s);
        let mut mounts = read_only(s, false).expect("needs no tool");
        tmpfs_for_pods(s, &mut mounts);
        let prepared: Vec<String> = ids(s)
            .iter()
            .map(|id| call(s, &["prepare", id, "--", "echo", "later"]).ok().stdout.trim().to_owned())
            .collect();
        remount(&s.data(), "rw");
        for id in ids(s) {
            call(s, &["image", "rm", &id]).ok();
        }
        call(s, &["image", "gc", "--grace-period=0s"]).ok();
        assert!(ids(s).is_empty());
        for uuid in &prepared {
            assert_eq!(call(s, &["run-prepared", "--net=none", uuid]).ok().app_lines(), ["later"]);
            call(s, &["rm", uuid]).ok();
        }
        let layers = s.data().join("store/layers");
        assert_eq!(layers.read_dir().expect("it was made").count(), 0, "the last pod took its layers along");
    }
}

root_test_once! {
    /// Neither /tmp nor /run nor /var: one directory does.
    fn a_read_only_root(s) {
        let image = probe(s);
        std::fs::create_dir_all(s.data()).expect("the scratch directory can be written");
        let mut mounts = Mounts(Vec::new());
        assert!(mounts.mount(&["-t", "tmpfs", "-o", "mode=0755", "tmpfs"], &s.data()));
        let mut turned = Vec::new();
        for at in tests::host::mounts() {
            let pseudo = ["/proc", "/sys", "/dev"].iter().any(|dir| at.starts_with(dir));
            if !pseudo && at != s.data() {
                let done = Command::new("mount").args(["-o", "remount,bind,ro"]).arg(&at).output();
                if done.is_ok_and(|output| output.status.success()) {
                    turned.push(at);
                }
            }
        }
        let tried = std::panic::catch_unwind(|| {
            assert!(std::fs::write(s.at("file"), "").is_err(), "the root is read-only");
            let image = image.display().to_string();
            for flags in [&[][..], &["--no-overlay"], &["--private-users"], &["--memory=64M"]] {
                let words = ["run", "--net=none", &image];
                let output = Rkt::new(s).args(words).args(flags).args(["--", "echo", "out"]).run().ok();
                assert_eq!(output.app_lines(), ["out"]);
            }
            let uuid = call(s, &["prepare", "example.com/probe", "--", "echo", "later"]).ok().stdout;
            call(s, &["run-prepared", "--net=host", uuid.trim()]).ok();
            call(s, &["image", "list"]).ok().stdout_has("example.com/probe");
            call(s, &["gc", "--grace-period=0s"]).ok();
            call(s, &["image", "rm", "example.com/probe"]).ok();
        });
        for at in turned.iter().rev() {
            remount(at, "rw");
        }
        tried.expect("everything works");
    }
}
