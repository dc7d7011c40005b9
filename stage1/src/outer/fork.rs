//! PID 1's fork into the pod's namespaces.
//!
//! A pod with ids of its own takes one process more, for a moment. Its root is
//! built by the host's root, who alone may show files with other owners, in a mount
//! namespace of the builder's. From there PID 1 is forked with a copy of these
//! mounts, as the builder's sibling: its parent is the outer process, as ever. That
//! one writes the id maps and lets PID 1 go on.

use std::os::fd::{BorrowedFd, OwnedFd};

use model::{Fault, fault::Result};
use rustix::pipe::PipeFlags;
use sys::clone::{Forked, Namespaces, fork_into};
use sys::userns::{self, IdMap};
use sys::{creds, process};

use crate::apply::pod_root;
use crate::plan::{Plan, Users};

/// Forks into `namespaces`, on cgroup v2 into the directory `group`.
pub fn pid1(plan: &Plan, namespaces: Namespaces, group: Option<BorrowedFd<'_>>) -> Result<Forked> {
    match plan.users {
        Users::Private { first, count } => {
            let map = IdMap::from_zero(first, count);
            by_builder(plan, namespaces.and(Namespaces::USER), group, &map)
        }
        _ => fork(namespaces, group),
    }
}

/// Born in its cgroup where the kernel can do that.
fn fork(namespaces: Namespaces, group: Option<BorrowedFd<'_>>) -> Result<Forked> {
    group
        .and_then(|dir| fork_into(namespaces, Some(dir)).ok())
        .map_or_else(|| fork_into(namespaces, None), Ok)
        .map_err(|err| Fault::io("cannot set up", "the pod's namespaces", err))
}

fn pipe() -> Result<(OwnedFd, OwnedFd)> {
    rustix::pipe::pipe_with(PipeFlags::CLOEXEC)
        .map_err(|err| Fault::io("cannot make", "a pipe", err))
}

fn by_builder(
    plan: &Plan,
    namespaces: Namespaces,
    group: Option<BorrowedFd<'_>>,
    map: &IdMap,
) -> Result<Forked> {
    let (report, reporter) = pipe()?;
    let (go, starter) = pipe()?;
    match fork(Namespaces::MOUNT, None)? {
        Forked::Child => {
            drop((report, starter));
            match build(plan, namespaces, group) {
                Ok(Forked::Child) => {
                    drop(reporter);
                    settle(&go);
                    Ok(Forked::Child)
                }
                Ok(Forked::Parent(pid)) => tell(&reporter, &pid.to_string()),
                Err(fault) => tell(&reporter, &crate::say::whole(&fault)),
            }
        }
        Forked::Parent(builder) => {
            drop((reporter, go));
            let text = read_all(&report);
            process::wait(builder)
                .map_err(|err| Fault::io("wait for", "the pod's builder", err))?;
            let pid = told(&text?)?;
            let started = userns::write_maps(pid, map, map)
                .map_err(|err| Fault::io("cannot write", "the pod's id maps", err))
                .and_then(|()| {
                    rustix::io::write(&starter, b"1")
                        .map_err(|err| Fault::io("cannot start", "the pod's PID 1", err))
                });
            started.inspect_err(|_| super::abandon(pid))?;
            Ok(Forked::Parent(pid))
        }
    }
}

/// In the builder.
fn build(plan: &Plan, namespaces: Namespaces, group: Option<BorrowedFd<'_>>) -> Result<Forked> {
    rustix::process::umask(rustix::fs::Mode::empty());
    pod_root::outside(plan, false)?;
    fork(namespaces.and(Namespaces::SIBLING), group)
}

/// In PID 1: becomes the pod's root once that one exists. End-of-file: outer is
/// gone.
fn settle(go: &OwnedFd) {
    let ready = rustix::io::retry_on_intr(|| rustix::io::read(go, &mut [0; 1]));
    let became = ready == Ok(1) && creds::set_groups(0, &[]).is_ok() && creds::set_user(0).is_ok();
    if !became {
        process::exit_now(254)
    }
}

fn tell(reporter: &OwnedFd, text: &str) -> ! {
    let _ = rustix::io::write(reporter, text.as_bytes());
    process::exit_now(0)
}

/// PID 1's pid, or why there is none.
fn told(text: &str) -> Result<i32> {
    match text {
        "" => Err(Fault::conflict(
            "the process that builds the pod's root was killed",
        )),
        text => text.parse().map_err(|_| Fault::invalid(text)),
    }
}

fn read_all(report: &OwnedFd) -> Result<String> {
    let mut bytes = Vec::new();
    let mut file = std::fs::File::from(
        report
            .try_clone()
            .map_err(|err| Fault::io("read", "the builder's report", err))?,
    );
    std::io::Read::read_to_end(&mut file, &mut bytes)
        .map_err(|err| Fault::io("read", "the builder's report", err))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}
