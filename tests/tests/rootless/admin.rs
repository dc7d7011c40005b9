//! Root over a user's data directory: what the user has put there acts with the user's rights, never with root's.

use crate::account::{Account, Accounts, Ranges, set_mode};
use crate::needs;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use tests::{Rkt, root_test_once};

const UUID: &str = "11111111-2222-4333-8444-555555555555";

/// A pod of the user's making in `place`, which names a stage1 whose every program leaves the file `ran`.
fn crafted(joe: &Account, place: &str) -> PathBuf {
    let pod = joe.data().join("pods").join(place).join(UUID);
    let entry =
        |word: &str| format!(r#"{{"name":"coreos.com/rkt/stage1/{word}","value":"/program"}}"#);
    let entries = ["run", "gc", "enter", "stop"].map(entry).join(",");
    let files = [
        ("stage1TreeStoreID", "sha512-0".to_owned()),
        (
            "stage1/tree",
            r#"{"kind":"copied","treeID":"sha512-0"}"#.to_owned(),
        ),
        (
            "stage1/manifest",
            format!(
                r#"{{"acKind":"ImageManifest","acVersion":"0.8.11","name":"x.com/s","annotations":[{entries}]}}"#
            ),
        ),
        (
            "stage1/rootfs/program",
            format!(
                "#!/bin/sh\necho \"$SECRET\" > {}\n",
                joe.home.join("ran").display()
            ),
        ),
    ];
    for (name, content) in files {
        let path = pod.join(name);
        std::fs::create_dir_all(path.parent().expect("below the pod")).expect("root may");
        std::fs::write(path, content).expect("root may");
    }
    set_mode(&pod.join("stage1/rootfs/program"), 0o755);
    pod
}

fn give_home(joe: &Account) {
    for (path, ..) in crate::owners(&joe.home) {
        std::os::unix::fs::lchown(path, Some(joe.uid), Some(joe.uid)).expect("root may");
    }
}

/// Root's rkt, with something in its environment that is nobody's business.
fn root(joe: &Account) -> Rkt {
    Rkt::plain()
        .env("SECRET", "of root")
        .arg(format!("--dir={}", joe.data().display()))
}

fn held(pod: &PathBuf) -> std::fs::File {
    let dir = std::fs::File::open(pod).expect("root may");
    dir.lock().expect("nobody else has it");
    dir
}

root_test_once! {
    fn programs_of_a_users_stage1_get_no_rights_of_roots(s) {
        needs!();
        let (accounts, joe, _) = Accounts::new(s, Ranges::None);
        crafted(&joe, "exited-garbage");
        give_home(&joe);
        root(&joe).args(["gc", "--grace-period=0s"]).run();
        let ran = joe.home.join("ran");
        assert_eq!(ran.metadata().expect("it is the user's own to run").uid(), joe.uid);
        assert_eq!(std::fs::read_to_string(ran).expect("root may"), "\n");
        drop(accounts);
    }
}

root_test_once! {
    fn pids_in_a_users_pod_are_not_signalled_or_entered_by_root(s) {
        needs!();
        let (accounts, joe, _) = Accounts::new(s, Ranges::None);
        let mut victim = std::process::Command::new("sleep").arg("600").spawn().expect("coreutils");
        let pod = crafted(&joe, "run");
        for name in ["stage1TreeStoreID", "stage1/tree", "stage1/manifest"] {
            std::fs::remove_file(pod.join(name)).expect("root may");
        }
        std::fs::write(pod.join("pid"), format!("{}\n", victim.id())).expect("root may");
        let manifest = r#"{"acVersion":"0.8.11","acKind":"PodManifest","apps":[{"name":"a","image":{"id":"sha512-0000000000000000000000000000000000000000000000000000000000000000"},"app":{"exec":["/a"],"user":"0","group":"0"}}],"volumes":[],"isolators":[],"annotations":[],"ports":[]}"#;
        std::fs::write(pod.join("pod"), manifest).expect("root may");
        std::os::unix::fs::symlink("fly", pod.join("flavor")).expect("root may");
        give_home(&joe);
        let lock = held(&pod);
        for words in [&["stop", "--force", UUID][..], &["stop", UUID], &["enter", UUID, "/bin/sh", "-c", "id"]] {
            let out = root(&joe).args(words).run();
            assert!(out.code != 0 && !out.stdout.contains("uid=0"), "{words:?}: {out}");
            assert_eq!(victim.try_wait().expect("our child"), None, "{words:?}");
        }
        drop(lock);
        victim.kill().expect("our child");
        victim.wait().expect("our child");
        drop(accounts);
    }
}

root_test_once! {
    fn a_directory_that_everybody_writes_to_is_nobodys(s) {
        let open = s.mkdir("open");
        let gc = || Rkt::plain().arg(format!("--dir={}", open.display())).args(["gc"]).run();
        set_mode(&open, 0o777);
        gc().code(254).stderr_has("can be written by everybody");
        // As a fresh tmpfs is, until somebody else has put something there.
        set_mode(&open, 0o1777);
        gc().ok();
        let pods = open.join("foreign");
        std::fs::create_dir(&pods).expect("root may");
        std::os::unix::fs::chown(&pods, Some(5151), None).expect("root may");
        gc().code(254).stderr_has("can be written by everybody");
    }
}

root_test_once! {
    fn a_directory_that_is_to_be_made_in_a_users_place_is_the_users(s) {
        needs!();
        let (accounts, joe, _) = Accounts::new(s, Ranges::None);
        give_home(&joe);
        let dir = joe.home.join("new/data");
        Rkt::plain().arg(format!("--dir={}", dir.display())).args(["gc"]).run().ok();
        // Whoever made it: nothing of root's lies in there.
        for (path, uid, ..) in crate::owners(&joe.home) {
            assert_eq!(uid, joe.uid, "{}", path.display());
        }
        drop(accounts);
    }
}

root_test_once! {
    fn roots_terminal_is_not_the_users_to_type_into(s) {
        needs!();
        let (accounts, joe, _) = Accounts::new(s, Ranges::None);
        give_home(&joe);
        let terminal = tests::terminal::Terminal::new(24, 80);
        let run = root(&joe).args(["--insecure-options=image", "run", "--net=none"]).arg(crate::probe(s));
        let pod = terminal.start(&run.args(["--", "echo", "ready", "then", "forever"]));
        terminal.until("ready");
        let waiting = tests::proc::with_cmdline("stage1 run");
        assert!(!waiting.is_empty(), "{}", terminal.text());
        for pid in waiting {
            let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("it runs");
            // After the name in brackets: state, parent, group, session, terminal.
            let fields = stat.rsplit(')').next().expect("a name").split_whitespace();
            assert_eq!(fields.clone().nth(4), Some("0"), "{stat}");
        }
        let listed = root(&joe).args(["list", "--full", "--no-legend"]).run().ok();
        let uuid = listed.stdout.split_whitespace().next().expect("the pod is listed");
        root(&joe).args(["stop", uuid]).run().ok();
        let (status, _) = pod.end();
        assert_eq!(status, 0, "{}", terminal.text());
        drop(accounts);
    }
}
