//! `run`: the pod in the current directory, from here to its end.

use std::os::fd::{AsFd, OwnedFd};

use model::{Fault, fault::Result};
use pod::entry::{LOCK_FD, MDS_TOKEN, RunArgs};

use crate::flavor::{self, Flavor};
use crate::outer;
use crate::starter::Starter;

pub fn run(words: &[String]) -> Result<i32> {
    let mut args = RunArgs::parse(words)?;
    args.mds_token = args.mds_token.or_else(|| {
        std::env::var(MDS_TOKEN)
            .ok()
            .filter(|token| !token.is_empty())
    });
    let number = std::env::var(LOCK_FD)
        .ok()
        .and_then(|number| number.parse().ok());
    let lock = number
        .ok_or_else(|| {
            Fault::usage(format!(
                "{LOCK_FD} is not set: run is entered from rkt only"
            ))
        })
        .and_then(|number| {
            sys::process::inherited(number)
                .map_err(|err| Fault::io("cannot take over", "the pod's lock", err))
        })?;
    let status = become_pod(&args, lock);
    if !args.rm || args.detach {
        return status;
    }
    // A pod that could not even be set up is to go as well.
    let status = status.unwrap_or_else(|fault| crate::say::fault("stage1", &fault));
    remove(&args, status)
}

fn become_pod(args: &RunArgs, lock: OwnedFd) -> Result<i32> {
    // The lock was taken over first: it must not be among the sockets that are handed on.
    let starter = Starter::take(args)?;
    // Whatever else the caller had open is no business of a pod.
    let kept: Vec<_> = starter.fds().chain([lock.as_fd()]).collect();
    sys::process::close_all_except(&kept);
    match flavor::of_pod() {
        // PID 1 holds the lock with us; both were given it by the fork.
        Flavor::Native => {
            let status = outer::run(args, starter);
            drop(lock);
            status
        }
        Flavor::Fly => flavor::fly::run(args, lock, starter),
    }
}

/// `--rm`: hands over to `rkt rm`, which knows how, and which ends with the
/// pod's status.
fn remove(args: &RunArgs, status: i32) -> Result<i32> {
    let here = std::env::current_dir()
        .map_err(|err| Fault::io("cannot find", "the pod directory", err))?;
    // <data>/pods/run/<uuid>
    let data = here
        .ancestors()
        .nth(3)
        .and_then(|path| path.to_str())
        .unwrap_or("/var/lib/rkt")
        .to_string();
    // Its lock is what `rm` would find held.
    rustix::process::chdir("/").map_err(|err| Fault::io("chdir", "/", err))?;
    let words = [
        "rkt".to_string(),
        format!("--dir={data}"),
        "rm".to_string(),
        "--quiet".to_string(),
        format!("--exit-status={status}"),
        args.uuid.as_str().to_string(),
    ];
    let argv = words
        .into_iter()
        .map(std::ffi::CString::new)
        .collect::<std::result::Result<Vec<_>, _>>()
        .map_err(|_| Fault::invalid("a path with a NUL byte"))?;
    Err(Fault::io(
        "cannot execute",
        "rkt rm",
        sys::exe::reexec(&argv, &[]),
    ))
}
