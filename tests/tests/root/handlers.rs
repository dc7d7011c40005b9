//! Event handlers: pre-start and post-stop run in the app's own root, as root, around the app.

use crate::{call, status};
use serde_json::json;
use std::path::PathBuf;
use tests::proc::eventually;
use tests::{Aci, Output, Rkt, Scratch, root_test};

/// The probe as an image with these handlers: `(event, words of the probe)`.
fn image(s: &Scratch, handlers: &[(&str, &[&str])]) -> PathBuf {
    let handlers: Vec<_> = handlers
        .iter()
        .map(|(event, words)| {
            let exec: Vec<&str> = ["/probe"].iter().chain(*words).copied().collect();
            json!({"name": event, "exec": exec})
        })
        .collect();
    Aci::probe("example.com/probe")
        .app("eventHandlers", json!(handlers))
        .write(s.path())
}

/// `/shared` is a directory of the host, where what handlers wrote outlives the pod.
fn sharing(s: &Scratch) -> Rkt {
    let shelf = s.mkdir("shelf");
    Rkt::new(s).args([
        "run",
        "--net=none",
        "--mount=volume=v,target=/shared",
        &format!("--uuid-file-save={}", s.at("uuid").display()),
        &format!("--volume=v,kind=host,source={}", shelf.display()),
    ])
}

fn uuid(s: &Scratch) -> String {
    std::fs::read_to_string(s.at("uuid")).expect("--uuid-file-save wrote the file")
}

fn shared(s: &Scratch, name: &str) -> Option<String> {
    std::fs::read_to_string(s.at("shelf").join(name)).ok()
}

/// Where the line stands among what the pod's processes wrote.
fn place(out: &Output, line: &str) -> usize {
    let place = out.app_lines().iter().position(|l| l == line);
    place.unwrap_or_else(|| panic!("no line {line:?}\n{out}"))
}

root_test! {
    fn pre_start_runs_before_the_app_in_its_root(s) {
        let image = image(s, &[("pre-start", &["echo", "before", "then", "write", "/made-before", "kept"])]);
        let out = sharing(s).arg(&image).args(["--", "echo", "app", "then", "cat", "/made-before", "then", "cat", "/which"]).run().ok();
        assert!(place(&out, "before") < place(&out, "app"), "{out}");
        assert!(place(&out, "app") < place(&out, "kept"), "{out}");
    }
}

root_test! {
    fn post_stop_runs_after_the_app_in_its_root(s) {
        let image = image(s, &[("post-stop", &["echo", "after", "then", "cat", "/made-by-app"])]);
        let out = sharing(s).arg(&image).args(["--", "write", "/made-by-app", "kept", "then", "echo", "app"]).run().ok();
        assert!(place(&out, "app") < place(&out, "after"), "{out}");
        assert!(place(&out, "after") < place(&out, "kept"), "{out}");
    }
}

root_test! {
    fn handlers_are_root_whoever_the_app_is(s) {
        let image = image(s, &[
            ("pre-start", &["facts", "then", "write", "/tmp/before", "x"]),
            ("post-stop", &["facts"]),
        ]);
        let out = sharing(s).arg(&image).args(["--user=alice", "--group=alice", "--", "facts"]).run().ok();
        let zero = "0 0 0 0".to_owned();
        assert_eq!(out.facts("Uid"), [zero.clone(), "1234 1234 1234 1234".to_owned(), zero.clone()], "{out}");
        assert_eq!(out.facts("Gid"), [zero.clone(), "1235 1235 1235 1235".to_owned(), zero], "{out}");
        // Otherwise they are confined as the app is.
        for key in ["CapBnd", "Seccomp", "ns.pid", "ns.net"] {
            let seen = out.facts(key);
            assert!(seen.len() == 3 && seen.iter().all(|v| *v == seen[0]), "{key}: {seen:?}\n{out}");
        }
    }
}

root_test! {
    fn a_failing_pre_start_keeps_the_app_from_starting(s) {
        let image = image(s, &[("pre-start", &["echo", "before", "then", "exit", "6"])]);
        let out = sharing(s).arg(&image).args(["--", "write", "/shared/app-ran", "x"]).run().code(6);
        place(&out, "before");
        assert_eq!(shared(s, "app-ran"), None, "the app ran\n{out}");
        assert_eq!(status(s, &uuid(s), "app-probe").as_deref(), Some("6"));
    }
}

root_test! {
    fn the_apps_exit_code_stays_whatever_post_stop_gives(s) {
        let image = image(s, &[("post-stop", &["write", "/shared/after", "x"])]);
        sharing(s).arg(&image).args(["--", "exit", "7"]).run().code(7);
        assert!(shared(s, "after").is_some(), "post-stop runs after a failure too");
    }
}

root_test! {
    fn stop_ends_the_app_and_post_stop_runs(s) {
        let image = image(s, &[("post-stop", &["write", "/shared/after", "x"])]);
        let mut pod = sharing(s).arg(&image).args(["--", "echo", "ready", "then", "forever"]).spawn();
        pod.until("ready");
        call(s, &["stop", &uuid(s)]).ok();
        assert!(shared(s, "after").is_some(), "stop returned before post-stop was over");
        pod.end();
    }
}

root_test! {
    fn stop_lets_a_post_stop_finish(s) {
        let image = image(s, &[(
            "post-stop",
            &["write", "/shared/begun", "x", "then", "await", "/shared/go", "then", "write", "/shared/done", "x"],
        )]);
        let mut pod = sharing(s).arg(&image).args(["--", "echo", "app"]).spawn();
        eventually("post-stop runs", || shared(s, "begun"));
        let mut stop = Rkt::new(s).args(["stop", &uuid(s)]).spawn();
        // Long enough for the stop to reach the pod; a handler that outlives it is never too late.
        std::thread::sleep(std::time::Duration::from_millis(300));
        assert!(stop.alive() && pod.alive(), "the stop did not wait for the handler");
        std::fs::write(s.at("shelf").join("go"), "x").expect("a file in the scratch directory");
        stop.end().ok();
        pod.end();
        assert!(shared(s, "done").is_some(), "the handler was cut short");
    }
}
