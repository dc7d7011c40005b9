//! A stage1 from an image, by rkt's contract of stage0 and stage1: which programs are called, with which words, in
//! which surroundings, and what they say is believed.
//!
//! The image is the stub of `src/bin/stage1_stub.rs`, which writes down each call in the pod's directory.

use crate::{call, probe, status};
use serde_json::json;
use std::path::{Path, PathBuf};
use tests::host::mounts_below;
use tests::proc::eventually;
use tests::rkt::Running;
use tests::tar::Entry;
use tests::{Aci, Rkt, Scratch, root_test};

/// The stage1 image; `without` names an entry point that it lacks.
fn stage1(s: &Scratch, version: &str, without: &str) -> String {
    let program =
        std::fs::read(tests::rkt::stage1_stub()).expect("the stub is built before the tests run");
    let mut aci = Aci::new("example.com/stage1-stub", &["/stub"])
        .with(Entry::program("rootfs/stub", program))
        .with(Entry::dir("rootfs/etc"))
        .with(Entry::dir("rootfs/rkt"))
        .with(Entry::dir("rootfs/rkt/status"));
    let mut annotations =
        vec![json!({"name": "coreos.com/rkt/stage1/interface-version", "value": version})];
    for role in ["run", "enter", "gc", "stop"] {
        aci = aci.with(Entry::symlink(&format!("rootfs/{role}"), "stub"));
        if role != without {
            let name = format!("coreos.com/rkt/stage1/{role}");
            annotations.push(json!({"name": name, "value": format!("/{role}")}));
        }
    }
    let path = aci.top("annotations", json!(annotations)).write(s.path());
    format!("--stage1-path={}", path.display())
}

fn usual(s: &Scratch) -> String {
    stage1(s, "5", "")
}

fn pod_dir(s: &Scratch, uuid: &str) -> PathBuf {
    s.data().join("pods/run").join(uuid)
}

/// What a call of the stub wrote down: its words, and the rest.
fn note(s: &Scratch, uuid: &str, role: &str) -> (Vec<String>, Vec<String>) {
    let path = pod_dir(s, uuid).join(format!("stub-{role}"));
    let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let lines: Vec<String> = text.lines().map(str::to_owned).collect();
    let cwd = lines
        .iter()
        .position(|l| l.starts_with("cwd="))
        .expect("the stub says where it is");
    let (words, rest) = lines.split_at(cwd);
    (words.to_vec(), rest.to_vec())
}

/// A pod in the background whose stage1 has written its pid.
fn start(s: &Scratch, flags: &[&str], app: &[&str]) -> (Running, String) {
    let save = s.at("uuid");
    let mut pod = Rkt::new(s)
        .args(["run", "--net=none", &usual(s)])
        .arg(format!("--uuid-file-save={}", save.display()))
        .args(flags)
        .arg(probe(s))
        .args(["--", "echo", "ready", "then"])
        .args(app)
        .spawn();
    pod.until("ready");
    let uuid = std::fs::read_to_string(&save).expect("the UUID was saved before the app ran");
    eventually("stage1 has written its pid", || {
        pod_dir(s, &uuid).join("pid").exists().then_some(())
    });
    (pod, uuid)
}

#[track_caller]
fn assert_ended(s: &Scratch, uuid: &str) {
    call(s, &["status", "--wait", uuid]).ok();
    assert_eq!(status(s, uuid, "state").as_deref(), Some("exited"));
    assert!(
        mounts_below(s.path()).is_empty(),
        "on the host: {:?}",
        mounts_below(s.path())
    );
}

root_test! {
    fn run_is_called_with_rkts_words_in_rkts_order(s) {
        let save = s.at("uuid");
        let out = Rkt::secure(s)
            .args(["--insecure-options=image,capabilities,paths,seccomp", "run", &usual(s)])
            .args(["--net=none", "--hostname=chosen", "--dns=192.0.2.53", "--interactive"])
            .arg(format!("--uuid-file-save={}", save.display()))
            .arg(probe(s))
            .args(["--", "echo", "from-stub"])
            .run()
            .ok();
        assert_eq!(out.stdout, "from-stub\n", "nobody frames the output");
        let uuid = std::fs::read_to_string(&save).expect("the UUID was saved");
        let (words, rest) = note(s, &uuid, "run");
        let pod = pod_dir(s, &uuid);
        let expected = [
            pod.join("stage1/rootfs/run").display().to_string(),
            "--net=none".to_owned(),
            "--interactive".to_owned(),
            format!("--local-config={}", s.at("etc").display()),
            "--hostname=chosen".to_owned(),
            "--dns-conf-mode=resolv=stage0,hosts=default".to_owned(),
            "--disable-capabilities-restriction".to_owned(),
            "--disable-paths".to_owned(),
            "--disable-seccomp".to_owned(),
            uuid.clone(),
        ];
        assert_eq!(words, expected);
        for line in [
            format!("cwd={}", pod.display()),
            "RKT_SELINUX_CONTEXT=".to_owned(),
            "RKT_SELINUX_MOUNT_CONTEXT=".to_owned(),
            "root=enter etc gc opt rkt run stop stub".to_owned(),
            "status=".to_owned(),
        ] {
            assert!(rest.contains(&line), "no {line:?}: {rest:?}");
        }
        assert!(rest.iter().any(|l| l.strip_prefix("RKT_LOCK_FD=").is_some_and(|n| n.parse::<u8>().is_ok())), "{rest:?}");
        assert_ended(s, &uuid);
    }
}

root_test! {
    fn an_older_interface_gets_the_words_that_it_knows(s) {
        let save = s.at("uuid");
        let out = Rkt::new(s)
            .args(["run", &stage1(s, "1", ""), "--net=none", "--hostname=chosen", "--dns=192.0.2.53"])
            .arg(format!("--uuid-file-save={}", save.display()))
            .arg(probe(s))
            .args(["--", "echo", "x"])
            .run()
            .ok();
        for option in ["--hostname", "--dns-conf-mode"] {
            assert!(out.stderr.contains(option), "no warning about {option}\n{out}");
        }
        let uuid = std::fs::read_to_string(&save).expect("the UUID was saved");
        let (words, _) = note(s, &uuid, "run");
        let config = format!("--local-config={}", s.at("etc").display());
        assert_eq!(words[1..], ["--net=none", &config, &uuid]);
    }
}

root_test! {
    fn the_exit_code_and_the_status_are_what_stage1_says(s) {
        let save = s.at("uuid");
        for overlay in [&[][..], &["--no-overlay"][..]] {
            Rkt::new(s)
                .args(["run", "--net=none", &usual(s)])
                .args(overlay)
                .arg(format!("--uuid-file-save={}", save.display()))
                .arg(probe(s))
                .args(["--name=one", "--", "exit", "0", "---"])
                .arg(probe(s))
                .args(["--name=two", "--", "write", "/written", "x", "then", "exit", "5"])
                .run()
                .code(5);
            let uuid = std::fs::read_to_string(&save).expect("the UUID was saved");
            assert_ended(s, &uuid);
            // S is mounted no more: this is read from the upper layer.
            assert_eq!(status(s, &uuid, "app-one").as_deref(), Some("0"), "{overlay:?}");
            assert_eq!(status(s, &uuid, "app-two").as_deref(), Some("5"), "{overlay:?}");
        }
    }
}

root_test! {
    fn prepared_it_runs_once_and_needs_its_image_no_more(s) {
        let image = probe(s).display().to_string();
        let uuid = call(s, &["prepare", &usual(s), &image, "--", "echo", "late"]).ok().stdout;
        let uuid = uuid.trim();
        let list = call(s, &["image", "list", "--no-legend"]).ok();
        list.clone().stdout_has("example.com/stage1-stub:1.0.0");
        for name in ["example.com/probe", "example.com/stage1-stub"] {
            call(s, &["image", "rm", name]).ok();
        }
        call(s, &["image", "gc", "--grace-period=0s"]).ok();
        let out = call(s, &["run-prepared", "--net=none", uuid]).ok();
        assert_eq!(out.stdout, "late\n");
        assert_eq!(note(s, uuid, "run").0.last().map(String::as_str), Some(uuid));
        assert_ended(s, uuid);
        call(s, &["run-prepared", "--net=none", uuid]).code(254).stderr_has("is not prepared");
    }
}

root_test! {
    fn enter_joins_the_mounts_of_the_running_pod(s) {
        let (pod, uuid) = start(s, &[], &["write", "/written", "by-the-app", "then", "await", "/go"]);
        assert!(mounts_below(s.path()).is_empty(), "on the host: {:?}", mounts_below(s.path()));
        let pid = status(s, &uuid, "pid").expect("the stub wrote its pid");
        let out = eventually("the app has written", || {
            Some(call(s, &["enter", &uuid, "/probe", "cat", "/written"])).filter(|out| out.code == 0)
        });
        assert_eq!(out.stdout, "by-the-app\n");
        let (words, rest) = note(s, &uuid, "enter");
        assert_eq!(words[1..], [format!("--pid={pid}"), "--appname=probe".into(), "--".into(), "/probe".into(), "cat".into(), "/written".into()]);
        assert!(Path::new(&words[0]).ends_with("enter") && !words[0].contains("/pods/"), "run from the pod's own files: {}", words[0]);
        assert!(rest.contains(&format!("cwd={}", pod_dir(s, &uuid).display())), "{rest:?}");
        call(s, &["enter", &uuid, "/probe", "exit", "9"]).code(9);
        call(s, &["enter", &uuid, "/probe", "write", "/go", "x"]).ok();
        assert_eq!(pod.end().code, 0);
        assert_ended(s, &uuid);
    }
}

root_test! {
    fn stop_and_force(s) {
        for (flags, word) in [(&["stop"][..], None), (&["stop", "--force"][..], Some("--force"))] {
            let (pod, uuid) = start(s, &[], &["forever"]);
            let out = Rkt::new(s).args(flags).arg(&uuid).run().ok();
            assert_eq!(out.stdout, format!("\"{uuid}\"\n"));
            let expected: Vec<&str> = word.into_iter().chain([uuid.as_str()]).collect();
            assert_eq!(note(s, &uuid, "stop").0[1..], expected);
            pod.end();
            assert_ended(s, &uuid);
        }
    }
}

root_test! {
    fn gc_is_called_before_the_pod_goes(s) {
        let (pod, uuid) = start(s, &[], &["echo", "over"]);
        pod.end().ok();
        assert_ended(s, &uuid);
        let out = call(s, &["gc", "--grace-period=0s"]).ok();
        let config = s.at("etc").display().to_string();
        let garbage = s.data().join("pods/exited-garbage").join(&uuid).display().to_string();
        let words = format!("{garbage}/stage1/rootfs/gc\n--local-config\n{config}\n{uuid}\ncwd={garbage}\n");
        let out = out.stderr_has(&words);
        out.stderr_has("status=probe\n");
        call(s, &["status", &uuid]).code(254);
        assert!(mounts_below(s.path()).is_empty());
    }
}

root_test! {
    fn what_it_cannot_do_is_refused(s) {
        let image = probe(s);
        let run = |stage1: &str, flag: &str| Rkt::new(s).args(["run", "--net=none", stage1, flag]).arg(&image).run();
        run(&usual(s), "--detach").code(254).stderr_has("--detach works with the built-in container stage1 only");
        run(&usual(s), "--rm").code(254).stderr_has("--rm works with the built-in stage1 only");
        run(&stage1(s, "5", "run"), "--no-overlay").code(254).stderr_has("error determining 'run' entrypoint");
        run(&stage1(s, "six", ""), "--no-overlay").code(254).stderr_has("\"six\" is no version");
        // An image of a stage1 is verified like any other.
        let out = Rkt::secure(s).args(["run", "--net=none", &usual(s)]).arg(&image).run();
        assert_ne!(out.code, 0, "an unsigned stage1 ran\n{out}");
    }
}

root_test! {
    fn a_stage1_that_cannot_stop_says_so(s) {
        let save = s.at("uuid");
        let mut pod = Rkt::new(s)
            .args(["run", "--net=none", &stage1(s, "5", "stop")])
            .arg(format!("--uuid-file-save={}", save.display()))
            .arg(probe(s))
            .args(["--", "echo", "ready", "then", "await", "/go"])
            .spawn();
        pod.until("ready");
        let uuid = std::fs::read_to_string(&save).expect("the UUID was saved");
        call(s, &["stop", &uuid]).code(254).stderr_has("rkt stop not implemented for pod's stage1");
        call(s, &["enter", &uuid, "/probe", "write", "/go", "x"]).ok();
        pod.end().ok();
        assert_ended(s, &uuid);
    }
}
