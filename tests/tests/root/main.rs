//! Pods for real: run, enter, stop, collect, limit and confine them, as root, in namespaces of the test's own.
//!
//! Every test runs three times (`/` private, `/` shared, and under `env -i`) and ends with the same comparison: no
//! mount, cgroup, network namespace, process or file outside the data directory may be left behind.

mod confine;
mod control;
mod external;
mod filtered_kernel;
mod fly;
mod handlers;
mod lifecycle;
mod limits;
mod logs;
mod old_kernel;
mod private_users;
mod readonly;
mod redis;
mod run;
mod settings;
mod starter;
mod terminal;
mod torn;

use std::path::{Path, PathBuf};
use tests::rkt::Running;
use tests::{Aci, Rkt, Scratch};

/// The probe's image in the scratch directory.
fn probe(scratch: &Scratch) -> PathBuf {
    Aci::probe("example.com/probe").write(scratch.path())
}

/// `rkt run --net=none IMAGE -- ARGS…`, to be completed.
fn run(scratch: &Scratch, image: &Path) -> Rkt {
    Rkt::new(scratch).args(["run", "--net=none"]).arg(image)
}

/// A pod in the background, and its UUID once its app has said `ready`.
fn start(scratch: &Scratch, image: &Path, flags: &[&str], then: &[&str]) -> (Running, String) {
    let save = scratch.at("uuid");
    let mut pod = Rkt::new(scratch)
        .args(["run", "--net=none"])
        .arg(format!("--uuid-file-save={}", save.display()))
        .arg(image)
        .args(flags)
        .args(["--", "echo", "ready", "then"])
        .args(then)
        .spawn();
    pod.until("ready");
    let uuid =
        std::fs::read_to_string(&save).expect("--uuid-file-save wrote the file before the app ran");
    (pod, uuid)
}

/// `rkt VERB ARGS…`
fn call(scratch: &Scratch, args: &[&str]) -> tests::Output {
    Rkt::new(scratch).args(args).run()
}

/// One `key=value` line of `rkt status`.
fn status(scratch: &Scratch, uuid: &str, key: &str) -> Option<String> {
    let output = call(scratch, &["status", uuid]).ok();
    let start = format!("{key}=");
    output
        .stdout
        .lines()
        .find_map(|l| l.strip_prefix(&start).map(str::to_owned))
}
