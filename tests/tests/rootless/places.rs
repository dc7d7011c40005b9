//! Where an ordinary user's data directory is, and whose a directory has to be.

use crate::account::{Account, Accounts, Ranges, pods};
use crate::{needs, probe};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use tests::{Rkt, root_test_once};

/// `prepare`, and whether the pod lies below `data`.
#[track_caller]
fn prepares(rkt: Rkt, image: &Path, data: &Path, account: &Account) {
    let out = rkt.args(["prepare", "--quiet"]).arg(image).run().ok();
    let made = pods(data);
    assert!(
        made.iter().any(|pod| pod.ends_with(out.stdout.trim())),
        "not in {}\n{out}",
        data.display()
    );
    let meta = data.metadata().expect("it was made");
    assert_eq!(
        (meta.uid(), meta.mode() & 0o077),
        (account.uid, 0),
        "{}",
        data.display()
    );
}

root_test_once! {
    fn at_home_or_where_the_variables_say(s) {
        needs!();
        let (accounts, joe, _) = Accounts::new(s, Ranges::None);
        let image = probe(s);
        let home = joe.home.display().to_string();
        prepares(joe.rkt(), &image, &joe.data(), &joe);
        let elsewhere = joe.home.join("data");
        let set = |name: &str, value: &str| joe.bare().env("HOME", &home).env(name, value);
        prepares(set("XDG_DATA_HOME", &elsewhere.display().to_string()), &image, &elsewhere.join("rkt"), &joe);
        // Relative paths count as not set; without HOME it is in /etc/passwd.
        for hostile in ["", "data", "../../etc", "./"] {
            prepares(set("XDG_DATA_HOME", hostile), &image, &joe.data(), &joe);
        }
        prepares(joe.bare(), &image, &joe.data(), &joe);
        prepares(joe.bare().env("HOME", "relative"), &image, &joe.data(), &joe);
        // Somebody else's is not taken, whoever says so.
        for (name, value) in [("XDG_DATA_HOME", "/usr"), ("XDG_DATA_HOME", "/root"), ("HOME", "/")] {
            let rkt = joe.bare().env(name, value);
            rkt.args(["prepare", "x"]).run().code(254).stderr_has("cannot run as unprivileged user");
        }
        // The run state directory of another login, or none at all, is no obstacle.
        for runtime in ["/run", "/nonexistent", "relative", ""] {
            prepares(set("XDG_RUNTIME_DIR", runtime), &image, &joe.data(), &joe);
        }
        joe.sweep();
        set("XDG_DATA_HOME", &elsewhere.display().to_string()).args(["gc", "--expire-prepared=0s"]).run().ok();
        drop(accounts);
    }
}

root_test_once! {
    fn without_an_account_there_is_no_home(s) {
        needs!();
        let (accounts, joe, _) = Accounts::new(s, Ranges::None);
        let stranger = Account { uid: 5999, ..joe.clone() };
        let out = stranger.bare().args(["list"]).run().code(254);
        assert!(out.stderr.contains("user 5999 has no home directory") && out.stderr.contains("--dir"), "{out}");
        // A directory that it may make does.
        let dir = s.mkdir("open");
        crate::account::set_mode(&dir, 0o1777);
        let flag = format!("--dir={}", dir.join("mine/data").display());
        let out = stranger.bare().args([&flag, "run", "--net=none"]).arg(probe(s)).args(["--", "echo", "hi"]).run().ok();
        assert_eq!(out.app_lines(), ["hi"]);
        stranger.bare().args([&flag, "gc", "--grace-period=0s"]).run().ok();
        drop(accounts);
    }
}

root_test_once! {
    fn a_directory_that_was_named_has_to_be_the_users(s) {
        needs!();
        let (mut accounts, joe, ann) = Accounts::new(s, Ranges::None);
        let image = probe(s);
        let refused = |rkt: Rkt, words: &[&str]| {
            let out = rkt.args(words).run().code(254);
            assert!(out.stderr.contains("cannot run as unprivileged user"), "{words:?}\n{out}");
        };
        let dirs = [s.mkdir("roots"), joe.data(), "/usr/lib".into(), "/nonexistent/data".into()];
        prepares(joe.rkt(), &image, &joe.data(), &joe);
        for dir in &dirs {
            let flag = format!("--dir={}", dir.display());
            for words in [
                &["run", "x"][..], &["prepare", "x"], &["run-prepared", "x"], &["enter", "x"], &["rm", "x"], &["gc"],
                &["run"], &["rm"],
            ] {
                refused(ann.rkt().arg(&flag), words);
            }
        }
        // The same for one that is configured, for all.
        std::fs::create_dir_all(s.at("etc/paths.d")).expect("ours");
        let paths = format!("{{\"rktKind\":\"paths\",\"rktVersion\":\"v1\",\"data\":\"{}\"}}", dirs[0].display());
        s.write("etc/paths.d/p.json", paths);
        refused(joe.rkt(), &["gc"]);
        std::fs::remove_file(s.at("etc/paths.d/p.json")).expect("ours");
        // One's own works, made or not, deep or not.
        for dir in [joe.home.join("made"), joe.home.join("not/yet/made")] {
            if dir.ends_with("made") && !dir.to_string_lossy().contains("not") {
                std::fs::create_dir(&dir).expect("root may");
                crate::account::set_mode(&dir, 0o700);
                std::os::unix::fs::chown(&dir, Some(joe.uid), Some(joe.uid)).expect("root may");
            }
            let flag = format!("--dir={}", dir.display());
            prepares(joe.rkt().arg(&flag), &image, &dir, &joe);
            joe.rkt().args([&flag, "gc", "--expire-prepared=0s"]).run().ok();
        }
        joe.sweep();
        accounts.replace(s, "/etc/group", "root:x:0:\n");
        drop(accounts);
    }
}

root_test_once! {
    fn looking_costs_no_namespace(s) {
        needs!();
        let (accounts, joe, _) = Accounts::new(s, Ranges::None);
        for words in [&["list"][..], &["image", "list"], &["version"], &["config"]] {
            joe.call(words).ok();
        }
        assert!(!joe.home.join(".local").exists(), "looking makes nothing");
        drop(accounts);
    }
}
