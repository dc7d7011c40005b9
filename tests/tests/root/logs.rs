//! `rkt logs` and its flags, on running and ended pods; and what the user wrote about a pod, where it is shown again.

use crate::{call, probe, start};
use serde_json::{Value, json};
use tests::proc::eventually;
use tests::tar::Entry;
use tests::{Aci, Output, Rkt, Scratch, root_test};

/// An ended pod of the apps `one` and `two`, each of which said three lines, and its UUID.
fn two_apps(s: &Scratch) -> String {
    let image = probe(s);
    let save = s.at("uuid");
    let words = |name: &str| -> Vec<String> {
        let mut words = vec![format!("--name={name}"), "--".to_owned()];
        for line in ["first", "second"] {
            words.extend([
                "echo".to_owned(),
                format!("{name}-{line}"),
                "then".to_owned(),
            ]);
        }
        words.extend(["warn".to_owned(), format!("{name}-third")]);
        words
    };
    Rkt::new(s)
        .args(["run", "--net=none"])
        .arg(format!("--uuid-file-save={}", save.display()))
        .arg(&image)
        .args(words("one"))
        .arg("---")
        .arg(&image)
        .args(words("two"))
        .run()
        .ok();
    std::fs::read_to_string(&save).expect("--uuid-file-save wrote the file")
}

fn sorted(text: &str) -> Vec<&str> {
    let mut lines: Vec<&str> = text.lines().collect();
    lines.sort_unstable();
    lines
}

root_test! {
    fn lines_of_two_apps_bear_their_names(s) {
        let uuid = two_apps(s);
        let out = call(s, &["logs", &uuid]).ok();
        assert_eq!(sorted(&out.stdout), ["one: one-first", "one: one-second", "two: two-first", "two: two-second"], "{out}");
        assert_eq!(sorted(&out.stderr), ["one: one-third", "two: two-third"], "{out}");
    }
}

root_test! {
    fn one_app_is_told_byte_for_byte(s) {
        let uuid = two_apps(s);
        let out = call(s, &["logs", "--app=two", &uuid]).ok();
        assert_eq!((out.stdout.as_str(), out.stderr.as_str()), ("two-first\ntwo-second\n", "two-third\n"), "{out}");
        call(s, &["logs", "--app=three", &uuid]).code(254).stderr_has("app \"three\" is not present in pod");
    }
}

root_test! {
    fn the_last_lines_of_each_app(s) {
        let uuid = two_apps(s);
        for (flag, out_lines, err_lines) in [("--tail=1", 0, 2), ("--tail=2", 2, 2), ("--tail=100", 4, 2), ("--tail=all", 4, 2)] {
            let out = call(s, &["logs", flag, &uuid]).ok();
            assert_eq!((out.stdout.lines().count(), out.stderr.lines().count()), (out_lines, err_lines), "{out}");
        }
        assert_eq!(call(s, &["logs", "--tail=0", &uuid]).ok().stdout, "");
        call(s, &["logs", "--tail=-1", &uuid]).code(254).stderr_has("--tail=-1");
    }
}

root_test! {
    fn lines_since_a_moment_or_a_span(s) {
        let uuid = two_apps(s);
        let all = call(s, &["logs", &uuid]).ok().stdout;
        for since in ["10h", "2001-01-01T00:00:00Z"] {
            assert_eq!(call(s, &["logs", &format!("--since={since}"), &uuid]).ok().stdout, all, "{since}");
        }
        assert_eq!(call(s, &["logs", "--since=2199-01-01T00:00:00Z", &uuid]).ok().stdout, "");
        call(s, &["logs", "--since=yesterday", &uuid]).code(254).stderr_has("--since=yesterday");
    }
}

root_test! {
    fn following_ends_when_the_pod_does(s) {
        let (pod, uuid) = start(s, &probe(s), &[], &["await", "/tmp/go", "then", "echo", "late"]);
        let mut following = Rkt::new(s).args(["logs", "-f", &uuid]).spawn();
        following.until("ready");
        assert!(following.alive());
        call(s, &["enter", &uuid, "/probe", "write", "/tmp/go", "x"]).ok();
        assert_eq!(following.end().ok().stdout, "ready\nlate\n");
        pod.end();
        assert_eq!(call(s, &["logs", "--follow", &uuid]).ok().stdout, "ready\nlate\n", "an ended pod is not waited for");
    }
}

root_test! {
    fn following_two_apps_by_their_last_lines(s) {
        let image = probe(s);
        let save = s.at("uuid");
        let pod = Rkt::new(s)
            .args(["run", "--net=none"])
            .arg(format!("--uuid-file-save={}", save.display()))
            .arg(&image)
            .args(["--name=one", "--", "lines", "50", "then", "await", "/tmp/go", "then", "echo", "one-late", "---"])
            .arg(&image)
            .args(["--name=two", "--", "lines", "50", "then", "await", "/tmp/go", "then", "echo", "two-late"])
            .spawn();
        let uuid = eventually("both apps said their lines", || {
            let uuid = std::fs::read_to_string(&save).ok().filter(|u| u.len() == 36)?;
            (call(s, &["logs", &uuid]).stdout.matches("line 49").count() == 2).then_some(uuid)
        });
        let mut following = Rkt::new(s).args(["logs", "-f", "--tail=1", &uuid]).spawn();
        following.until("one: line 49").until("two: line 49");
        for app in ["one", "two"] {
            call(s, &["enter", &format!("--app={app}"), &uuid, "/probe", "write", "/tmp/go", "x"]).ok();
        }
        let out = following.end().ok();
        assert_eq!(sorted(&out.stdout), ["one: line 49", "one: one-late", "two: line 49", "two: two-late"], "{out}");
        pod.end();
    }
}

root_test! {
    fn a_mount_point_of_a_docker_image_begins_with_what_lies_there(s) {
        let image = Aci::probe("example.com/probe")
            .app("mountPoints", json!([{"name": "data", "path": "/data"}]))
            .top("annotations", json!([{"name": "appc.io/docker/repository", "value": "library/probe"}]))
            .with(Entry::dir("rootfs/data"))
            .with(Entry::file("rootfs/data/seed", "from the image\n"))
            .write(s.path());
        let out = Rkt::new(s)
            .args(["run", "--net=none"])
            .arg(&image)
            .args(["--", "cat", "/data/seed", "then", "try-write", "/data/own", "then", "facts"])
            .run()
            .ok();
        out.clone().stdout_has("from the image");
        assert_eq!(out.fact("write"), "ok");
        assert!(out.facts("mount").iter().any(|m| m.starts_with("/data ")), "/data is no volume\n{out}");
        for warning in [
            "warning: no volume specified for mount point \"data\", implicitly creating an \"empty\" volume. \
             This volume will be removed when the pod is garbage-collected.\n",
            "Docker converted image, initializing implicit volume with data contained at the mount point \"data\".\n",
        ] {
            out.clone().stderr_has(warning);
        }
    }
}

/// A prepared pod with everything that a user may write about it.
fn described(s: &Scratch) -> String {
    let image = probe(s).display().to_string();
    let out = call(
        s,
        &[
            "prepare",
            &image,
            "--annotation=example.com/note=runtime",
            "--user-annotation=why=because",
            "--user-label=tier=front",
            "--",
            "echo",
            "described",
        ],
    );
    out.ok().stdout.trim().to_owned()
}

fn app(out: &Output) -> Value {
    out.json()["apps"][0].clone()
}

root_test! {
    fn annotations_and_labels_are_shown_again(s) {
        let uuid = described(s);
        let app = app(&call(s, &["cat-manifest", &uuid]).ok());
        let note = json!({"name": "example.com/note", "value": "runtime"});
        assert!(app["annotations"].as_array().is_some_and(|all| all.contains(&note)), "{app}");
        assert_eq!(app["app"]["userAnnotations"], json!({"why": "because"}), "{app}");
        assert_eq!(app["app"]["userLabels"], json!({"tier": "front"}), "{app}");
        let listed = call(s, &["list", "--format=json"]).ok().json();
        assert_eq!(listed[0]["name"], uuid.as_str(), "{listed}");
        assert_eq!(listed[0]["apps"][0]["user_annotations"], json!({"why": "because"}), "{listed}");
        assert_eq!(listed[0]["apps"][0]["user_labels"], json!({"tier": "front"}), "{listed}");
        call(s, &["run-prepared", "--net=none", &uuid]).ok().stdout_has("described");
    }
}
