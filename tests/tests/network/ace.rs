//! The App Container Executor's validator, run as the appc specification has it: two apps with one volume, registered
//! with the metadata service, on the host's network and on the default one.
//!
//! The images carry the static `ace` program; what it checks stands there.

use rustix::process::Signal;
use serde_json::json;
use std::path::PathBuf;
use std::time::Duration;
use tests::lab::Lab;
use tests::proc::eventually;
use tests::rkt::Running;
use tests::tar::Entry;
use tests::{Aci, Output, Rkt, net_test};

/// An image with the validator and the volume's mount point.
fn validator(role: &str) -> Aci {
    let program = tests::rkt::probe().with_file_name("ace");
    let program = std::fs::read(&program).unwrap_or_else(|e| panic!("{}: {e}", program.display()));
    Aci::new(
        &format!("coreos.com/ace-validator-{role}"),
        &["/ace-validator", role],
    )
    .version(Some("0.8.11"))
    .app(
        "mountPoints",
        json!([{"name": "database", "path": "/db", "readOnly": false}]),
    )
    .with(Entry::program("rootfs/ace-validator", program))
}

fn main_image(lab: &Lab) -> PathBuf {
    let handler = |name: &str, role: &str| json!({"name": name, "exec": ["/ace-validator", role]});
    validator("main")
        .app("workingDirectory", json!("/opt/acvalidator"))
        .app(
            "environment",
            json!([{"name": "IN_ACE_VALIDATOR", "value": "correct"}]),
        )
        .app(
            "eventHandlers",
            json!([
                handler("pre-start", "prestart"),
                handler("post-stop", "poststop")
            ]),
        )
        .app(
            "ports",
            json!([{"name": "www", "protocol": "tcp", "port": 80}]),
        )
        .app(
            "isolators",
            json!([{"name": "resource/memory", "value": {"limit": "1G"}}]),
        )
        .top(
            "annotations",
            json!([
                {"name": "created", "value": "2014-10-27T19:32:27.67021798Z"},
                {"name": "authors", "value": "The validator's authors"},
                {"name": "homepage", "value": "https://example.com/ace"},
                {"name": "documentation", "value": "https://example.com/ace/docs"},
                {"name": "lorem", "value": "ipsum"},
            ]),
        )
        .with(Entry::dir("rootfs/opt"))
        .with(Entry::dir("rootfs/opt/acvalidator"))
        .write(lab.path())
}

/// The metadata service, until it is ended.
#[track_caller]
fn service() -> Running {
    let running = Rkt::plain().arg("metadata-service").spawn();
    eventually("the metadata service runs", || {
        running
            .stderr()
            .contains("metadata service running...")
            .then_some(())
    });
    running
}

/// The pod with both apps, on fresh copies of everything.
fn pod(lab: &Lab, net: &str, round: u32) -> Output {
    let volume = lab
        .scratch
        .mkdir(&format!("db-{}-{round}", net.trim_start_matches("--net=")));
    Rkt::new(&lab.scratch)
        .args(["run", "--mds-register", net])
        .arg(format!(
            "--volume=database,kind=host,source={}",
            volume.display()
        ))
        .arg(main_image(lab))
        .arg("--annotation=lorem=dolor")
        .arg(validator("sidekick").write(lab.path()))
        .run()
}

/// A request of the validator has 100 ms, as the specification's suite gives it. On a machine that is busy with other
/// things that can be too short without anybody's fault, and only then is it tried again.
#[track_caller]
fn validate(lab: &Lab, net: &str) {
    let mut out = pod(lab, net, 0);
    for round in 1..5 {
        let late = |text: &str| {
            text.lines()
                .filter(|l| l.contains("==> "))
                .any(|l| l.contains("timed out after"))
        };
        if !late(&out.stdout) && !late(&out.stderr) {
            break;
        }
        out = pod(lab, net, round);
    }
    let out = out.ok();
    let lines = out.app_lines();
    for role in ["prestart", "main", "sidekick", "poststop"] {
        assert!(
            lines.iter().any(|l| *l == format!("{role} OK")),
            "no {role} OK\n{out}"
        );
    }
}

net_test! {
    fn the_validator_is_content(lab) {
        let service = service();
        for net in ["--net=host", "--net=default"] {
            validate(lab, net);
        }
        // The registrations go with the pods, and the service leaves nothing.
        tests::isolated::sweep(&lab.scratch);
        let log = service.stderr();
        let count = |what: &str| log.lines().filter(|l| l.contains(what)).count();
        assert_eq!(count("PUT /pods/"), 3 * count("DELETE /pods/"), "{log}");
        service.signal(Signal::TERM);
        service.wait(Duration::from_secs(30)).ok();
        std::fs::remove_dir("/run/rkt").expect("the service left its directory alone, and empty");
    }
}
