//! What a host can forbid, and what is refused: each says what would help.

use crate::account::{Account, Accounts, Ranges};
use crate::{needs, probe};
use tests::{Output, Rkt, isolated, root_test_once, skip};

/// The call in a user namespace of root's, in which `setting` was made before. The account keeps its ids there.
fn under(joe: &Account, setting: &str, args: &[&str]) -> Output {
    let script = format!("{setting} && exec \"$@\"");
    let words: Vec<String> = [
        "unshare",
        "--user",
        "--mount",
        "--map-users=0,0,100000",
        "--map-groups=0,0,100000",
        "--",
        "sh",
        "-c",
        &script,
        "sh",
    ]
    .map(str::to_owned)
    .into_iter()
    .chain(joe.words())
    .collect();
    let home = joe.home.display().to_string();
    let path = std::env::var("PATH").unwrap_or_else(|_| "/usr/sbin:/usr/bin:/sbin:/bin".to_owned());
    let rkt = Rkt::plain()
        .through(&words, &joe.binary)
        .bare()
        .env("HOME", &home)
        .env("PATH", &path);
    rkt.arg("--insecure-options=image").args(args).run()
}

fn newuidmap() -> &'static str {
    match isolated::find("newuidmap").is_some_and(|path| path.starts_with("/usr/bin")) {
        true => "/usr/bin/newuidmap",
        false => "/bin/newuidmap",
    }
}

const NONE: &str = "echo 0 >/proc/sys/user/max_user_namespaces";

root_test_once! {
    fn a_host_without_user_namespaces_says_which_setting(s) {
        needs!();
        let (accounts, joe, _) = Accounts::new(s, Ranges::Roots);
        let image = probe(s).display().to_string();
        let works = under(&joe, "true", &["run", "--net=none", &image, "--", "echo", "nested"]);
        if works.code != 0 {
            skip!("no user namespace inside another one here: {}", works.stderr.trim());
        }
        for words in [&["run", "--net=none", &image][..], &["prepare", &image], &["gc"], &["rm", "x"]] {
            let out = under(&joe, NONE, words).code(254);
            assert!(out.stderr.contains("user namespaces are not allowed here"), "{words:?}\n{out}");
            assert!(out.stderr.contains("sysctl -w user.max_user_namespaces="), "{words:?}\n{out}");
        }
        // Images come in all the same, and are unpacked when there are namespaces.
        let out = under(&joe, NONE, &["fetch", "--full", &image]).ok();
        assert!(out.stderr.contains("images stay packed"), "{out}");
        let id = out.stdout.trim().to_owned();
        assert_eq!(joe.call(&["run", "--net=none", &id, "--", "echo", "later"]).ok().app_lines(), ["later"]);
        let doctor = under(&joe, NONE, &["doctor"]).code(1);
        assert!(doctor.stdout.contains("user.max_user_namespaces="), "{doctor}");
        joe.sweep();
        drop(accounts);
    }
}

root_test_once! {
    fn what_newuidmap_says_is_shown(s) {
        needs!(mapped);
        let (mut accounts, joe, _) = Accounts::new(s, Ranges::Some);
        let refusing = "#!/bin/sh\necho \"newuidmap: uid range is not allowed\" >&2\nexit 1\n";
        accounts.replace(s, newuidmap(), refusing);
        accounts.executable(s);
        let out = joe.call(&["gc"]).code(254);
        assert!(out.stderr.contains("newuidmap: uid range is not allowed"), "{out}");
        assert!(out.stderr.contains("rkt doctor"), "{out}");
        drop(accounts);
    }
}

root_test_once! {
    fn without_newuidmap_there_is_one_id(s) {
        needs!(mapped);
        let (mut accounts, joe, _) = Accounts::new(s, Ranges::Some);
        // A file that nobody can execute is no program.
        accounts.replace(s, newuidmap(), "");
        joe.call(&["--debug", "gc"]).ok().stderr_has("newuidmap and newgidmap (package uidmap) are not installed");
        let out = joe.rkt().args(["run", "--net=none"]).arg(probe(s)).args(["--", "cat", "/proc/self/uid_map"]).run().ok();
        let map = out.app_lines().join(" ");
        assert_eq!(map.split_whitespace().collect::<Vec<_>>(), ["0", "5151", "1"], "{out}");
        joe.sweep();
        drop(accounts);
    }
}

root_test_once! {
    fn no_new_privileges_is_told(s) {
        needs!(mapped);
        let (accounts, joe, _) = Accounts::new(s, Ranges::Some);
        let mut words = joe.words();
        words.push("--no-new-privs".to_owned());
        let home = joe.home.display().to_string();
        let out = Rkt::plain().through(&words, &joe.binary).bare().env("HOME", &home).arg("gc").run().code(254);
        assert!(out.stderr.contains("newuidmap") && out.stderr.contains("no_new_privs"), "{out}");
        drop(accounts);
    }
}

root_test_once! {
    fn private_users_is_roots(s) {
        needs!();
        let (accounts, joe, _) = Accounts::new(s, Ranges::None);
        for verb in ["run", "prepare"] {
            let out = joe.rkt().args([verb, "--private-users", "--no-overlay"]).arg(probe(s)).run().code(254);
            assert!(out.stderr.contains("--private-users works for root only"), "{out}");
        }
        joe.sweep();
        drop(accounts);
    }
}

root_test_once! {
    fn doctor_tells_what_the_account_gets(s) {
        needs!(mapped);
        let (accounts, joe, _) = Accounts::new(s, Ranges::Some);
        let row = |name: &str| {
            let out = joe.call(&["doctor", "--format=json"]);
            let rows = out.json();
            let found = rows.as_array().and_then(|rows| rows.iter().find(|row| row["name"] == name).cloned());
            found.unwrap_or_else(|| panic!("no row {name}\n{out}"))
        };
        assert_eq!(row("user namespaces")["status"], "ok");
        assert_eq!(row("id maps")["way"], "uids 0=5151, 1-60000=700000-759999, 60001-65537=760000-765536; gids 0=5151, 1-60000=700000-759999, 60001-65537=760000-765536");
        assert_eq!(row("newuidmap")["status"], "ok");
        assert!(!joe.home.join(".local").exists(), "looking makes nothing");
        drop(accounts);
        let (accounts, joe, _) = Accounts::new(s, Ranges::None);
        let out = joe.call(&["doctor"]);
        assert!(out.stdout.contains("no range for joe") && out.stdout.contains("install uidmap"), "{out}");
        drop(accounts);
    }
}
