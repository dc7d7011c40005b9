//! A mutable pod, started as stage0 starts one: no verb of this build makes one.

use crate::Scratch;
use rustix::fs::{FlockOperation, Mode, OFlags};
use std::fs;
use std::os::fd::AsRawFd;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

/// What stage0 does between `prepare` and stage1, with `--mutable` beside; the pod's directory comes along.
pub fn start(scratch: &Scratch, net: &str, uuid: &str) -> (Child, PathBuf) {
    let pods = scratch.data().join("pods");
    let pod = pods.join("run").join(uuid);
    let old = pods.join("prepared").join(uuid);
    // Without CLOEXEC: stage1 takes the lock over. Ours is closed at the end of this function.
    let lock = rustix::fs::open(&old, OFlags::DIRECTORY | OFlags::RDONLY, Mode::empty())
        .expect("the prepared pod");
    rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive)
        .expect("nobody else holds it");
    fs::rename(&old, &pod).expect("prepared to run");
    fs::create_dir_all(pod.join("stage1/rootfs")).expect("the pod is ours");
    let log = fs::File::create(scratch.at("stage1.log")).expect("a file in the scratch directory");
    let child = Command::new(crate::rkt::binary())
        .args(["stage1", "run", "--mutable", net, uuid])
        .current_dir(&pod)
        .env("RKT_LOCK_FD", lock.as_raw_fd().to_string())
        .stdin(Stdio::null())
        .stdout(log.try_clone().expect("an open file"))
        .stderr(log)
        .spawn()
        .expect("the binary under test");
    (child, pod)
}
