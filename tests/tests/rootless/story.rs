//! From the fetch to the removal, with all ids that the account has been given and with nothing but its own.

use crate::account::{Account, Accounts, Ranges, SUB, pods};
use crate::{alice, needs, owners, probe};
use std::path::{Path, PathBuf};
use tests::{proc, root_test, root_test_once};

/// Every verb once, in the order of a pod's life. `run` is the app's own pod.
#[track_caller]
fn story(joe: &Account, image: &Path) {
    let out = joe.rkt().arg("fetch").arg("--full").arg(image).run().ok();
    let id = out.stdout.trim().to_owned();
    joe.call(&["image", "list", "--full", "--no-legend"])
        .ok()
        .stdout_has(&id);
    joe.call(&["image", "cat-manifest", &id])
        .ok()
        .stdout_has("/probe");
    joe.call(&["image", "verify", &id]).ok();
    let uuid = joe
        .call(&["prepare", &id, "--", "echo", "prepared"])
        .ok()
        .stdout
        .trim()
        .to_owned();
    joe.call(&["list", "--no-legend"])
        .ok()
        .stdout_has("prepared");
    joe.call(&["cat-manifest", &uuid]).ok().stdout_has(&id);
    let out = joe.call(&["run-prepared", "--net=none", &uuid]).ok();
    assert_eq!(out.app_lines(), ["prepared"]);
    joe.call(&["status", &uuid])
        .ok()
        .stdout_has("state=exited")
        .stdout_has("app-probe=0");
    joe.call(&["logs", &uuid]).ok().stdout_has("prepared");
    joe.call(&["rm", &uuid]).ok();
    assert_eq!(
        joe.call(&["run", "--net=none", &id, "--", "exit", "7"])
            .code,
        7
    );

    let (mut pod, uuid) = joe.start(
        image,
        &[],
        &["write", "/work/kept", "yes", "then", "forever"],
    );
    joe.call(&["list", "--no-legend"])
        .ok()
        .stdout_has("running");
    let pid: i32 = joe
        .call(&["status", &uuid])
        .ok()
        .fact("pid")
        .parse()
        .expect("a pid");
    let out = joe.call(&["enter", &uuid, "/probe", "facts"]).ok();
    let inside = |key: &str| out.fact(key);
    assert!(inside("Uid").starts_with("0 0 0 0"), "{out}");
    let namespace = proc::namespace(pid, "user").expect("the pod runs");
    let own = std::fs::read_link("/proc/self/ns/user").expect("there are user namespaces");
    assert_eq!(inside("ns.user"), namespace.display().to_string(), "{out}");
    assert_ne!(namespace, own, "the pod is in a namespace of its own");
    assert_eq!(inside("Seccomp"), "2", "{out}");
    joe.call(&["enter", &uuid, "/probe", "cat", "/work/kept"])
        .ok()
        .stdout_has("yes");
    assert!(pod.alive());
    joe.call(&["stop", &uuid]).ok();
    pod.end().ok();
    let file = joe.home.join("app.aci");
    joe.call(&["export", &uuid, &file.display().to_string()])
        .ok();
    joe.call(&[
        "image",
        "export",
        &id,
        &joe.home.join("image.aci").display().to_string(),
    ])
    .ok();
    joe.call(&[
        "image",
        "render",
        &id,
        &joe.home.join("rendered").display().to_string(),
    ])
    .ok();
    joe.call(&["rm", &uuid]).ok();
    joe.sweep();
    joe.call(&["image", "rm", &id]).ok();
    joe.call(&["image", "gc", "--grace-period=0s"]).ok();
}

root_test! {
    fn with_ranges_of_ids(s) {
        needs!(mapped);
        let (accounts, joe, _) = Accounts::new(s, Ranges::Some);
        let image = probe(s);
        story(&joe, &image);
        assert!(joe.data().join("store").is_dir(), "the store is at home");
        drop(accounts);
    }
}

root_test_once! {
    fn with_one_id(s) {
        needs!();
        let (accounts, joe, _) = Accounts::new(s, Ranges::None);
        let image = probe(s);
        story(&joe, &image);
        for (path, uid, gid) in owners(&joe.data()) {
            assert_eq!((uid, gid), (5151, 5151), "{}", path.display());
        }
        // Nobody can be given away in there.
        let out = joe.rkt().args(["run", "--net=none"]).arg(alice(s)).args(["--", "facts"]).run().code(254);
        assert!(out.stderr.contains("user 1234 does not exist in the pod's user namespace"), "{out}");
        joe.call(&["--debug", "gc"]).ok().stderr_has("/etc/subuid has no range for joe");
        joe.sweep();
        drop(accounts);
    }
}

root_test_once! {
    fn ids_of_the_pod_are_the_accounts_on_the_host(s) {
        needs!(mapped);
        let (accounts, joe, _) = Accounts::new(s, Ranges::Some);
        let (mut pod, uuid) = joe.start(&alice(s), &[], &["write", "/home/alice/file", "x", "then", "forever"]);
        let find = |name: &str| -> Vec<(PathBuf, u32, u32)> {
            let mut found = owners(&joe.data().join("pods/run").join(&uuid));
            found.retain(|(path, ..)| path.ends_with(name));
            found
        };
        let made = proc::eventually("the app's file", || Some(find("alice/file")).filter(|found| !found.is_empty()));
        assert!(made.iter().all(|(_, uid, gid)| (*uid, *gid) == (SUB + 1233, SUB + 1234)), "{made:?}");
        // As the host sees the app.
        let app = proc::eventually("the app", || proc::with_cmdline("/probe echo ready").into_iter().find(|pid| {
            proc::status(*pid, "Uid").is_some_and(|uids| uids.starts_with(&(SUB + 1233).to_string()))
        }));
        assert_eq!(proc::status(app, "Groups").as_deref(), Some((SUB + 1234).to_string().as_str()));
        assert!(pod.alive());
        joe.call(&["stop", "--force", &uuid]).ok();
        pod.end();
        joe.sweep();
        // What the image holds is owned alike.
        let layers = owners(&joe.data().join("store/layers"));
        let ours = layers.iter().filter(|(path, ..)| path.ends_with("home/alice"));
        assert!(ours.clone().count() > 0 && ours.clone().all(|(_, uid, _)| *uid == SUB + 1233), "{layers:?}");
        drop(accounts);
    }
}

root_test_once! {
    fn two_users_and_two_pods_each_at_once(s) {
        needs!(mapped);
        let (accounts, joe, ann) = Accounts::new(s, Ranges::Some);
        let image = probe(s);
        let mut running = Vec::new();
        for (count, account) in [(1, &joe), (1, &ann), (2, &joe), (2, &ann)] {
            let flags: Vec<String> = (1..count).map(|n| format!("--environment=N={n}")).collect();
            let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
            running.push((account, account.start(&image, &flags, &["forever"])));
        }
        for account in [&joe, &ann] {
            let out = account.call(&["list", "--no-legend", "--full"]).ok();
            let own: Vec<&str> = running.iter().filter(|(a, _)| a.uid == account.uid).map(|(_, (_, uuid))| uuid.as_str()).collect();
            assert_eq!(out.stdout.lines().count(), 2, "{out}");
            assert!(own.iter().all(|uuid| out.stdout.contains(uuid)), "{out}");
        }
        // One user's pods are not the other's, whatever is named.
        let (_, (_, uuid)) = &running[0];
        let dir = format!("--dir={}", joe.data().display());
        for words in [&["stop", uuid][..], &["enter", uuid, "/probe"], &["rm", uuid], &["gc"]] {
            assert_ne!(ann.rkt().arg(&dir).args(words).run().code, 0, "{words:?}");
        }
        for (account, (mut pod, uuid)) in running {
            assert!(pod.alive());
            account.call(&["stop", &uuid]).ok();
            pod.end();
        }
        for account in [&joe, &ann] {
            account.sweep();
            assert!(pods(&account.data()).is_empty());
        }
        drop(accounts);
    }
}

root_test_once! {
    fn detached_and_removed_at_the_end(s) {
        needs!();
        let (accounts, joe, _) = Accounts::new(s, Ranges::None);
        let image = probe(s);
        joe.rkt().args(["run", "--net=none", "--rm"]).arg(&image).args(["--", "exit", "3"]).run().code(3);
        assert!(pods(&joe.data()).is_empty());
        let out = joe.rkt().args(["run", "--net=none", "--detach"]).arg(&image).args(["--", "forever"]).run().ok();
        let uuid = out.stdout.trim().to_owned();
        joe.call(&["status", &uuid]).ok().stdout_has("state=running");
        joe.call(&["enter", &uuid, "/probe", "exit", "5"]).code(5);
        joe.call(&["stop", "--force", &uuid]).ok();
        joe.sweep();
        drop(accounts);
    }
}

root_test_once! {
    fn root_enters_a_users_pod_as_that_user(s) {
        needs!();
        let (accounts, joe, _) = Accounts::new(s, Ranges::None);
        let (pod, uuid) = joe.start(&probe(s), &[], &["forever"]);
        let dir = format!("--dir={}", joe.data().display());
        let out = tests::Rkt::plain().args([&dir, "enter", &uuid, "/probe", "facts"]).run().ok();
        let namespace = proc::namespace(pod.pid(), "user").expect("the pod runs");
        assert_eq!(out.fact("ns.user"), namespace.display().to_string(), "{out}");
        tests::Rkt::plain().args([&dir, "stop", &uuid]).run().ok();
        pod.end();
        joe.sweep();
        drop(accounts);
    }
}

root_test_once! {
    fn a_metadata_service_of_the_users_own(s) {
        needs!();
        let (accounts, joe, _) = Accounts::new(s, Ranges::None);
        let image = probe(s);
        let run = |joe: &Account| joe.rkt().args(["run", "--net=host", "--mds-register"]).arg(&image).args(["--", "env"]).run();
        run(&joe).code(254).stderr_has("could not reach the metadata service");
        let service = joe.rkt().arg("metadata-service").spawn();
        let socket = joe.runtime.join("rkt/metadata-svc.sock");
        proc::eventually("the service", || service.stderr().contains("running").then_some(()));
        let meta = std::fs::metadata(socket.parent().expect("not the root")).expect("it was made");
        assert_eq!(std::os::unix::fs::MetadataExt::mode(&meta) & 0o777, 0o700);
        run(&joe).ok().stdout_has("AC_METADATA_URL=http://127.0.0.1:18112/");
        joe.sweep();
        service.signal(rustix::process::Signal::TERM);
        service.end().ok();
        assert!(!socket.exists());
        drop(accounts);
    }
}
