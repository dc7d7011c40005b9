//! `rkt stop`: asks the stage1 of each pod to end it.

use crate::entrypoint::{Stage1, Streams};
use crate::env::{Env, Line, Sink};
use crate::pods::{PodName, uuid_text};
use model::fault::Result;
use model::{Context, Fault, Kind};
use pod::entry::{Entry, StopArgs};
use pod::{Pod, State};
use std::time::{Duration, Instant};

/// Each stopped pod's UUID goes to the sink in double quotes.
pub fn stop(env: &Env, names: &[PodName], force: bool, sink: Sink) -> Result<()> {
    let mut failed = 0;
    for name in names {
        let uuid = uuid_text(name).map_err(|fault| fault.exit(1))?;
        match stop_one(env, &uuid, force) {
            Ok(text) => sink(Line::Out(text)),
            Err(fault) => {
                failed += 1;
                sink(Line::Err(fault.to_string()));
            }
        }
    }
    if failed > 0 {
        return Err(Fault::conflict(format!("failed to stop {failed} pod(s)")));
    }
    Ok(())
}

fn stop_one(env: &Env, uuid: &str, force: bool) -> Result<String> {
    let mut pod = Pod::find(&env.dir, uuid).message(|| "cannot get pod".into())?;
    let uuid = pod.uuid().as_str().to_string();
    if pod.state().is_finished() || pod.state().is_marked() {
        return Ok(format!("pod {uuid:?} is already stopped"));
    }
    if pod.state() != State::Running {
        return Err(Fault::conflict(format!("pod {uuid:?} is not running")));
    }
    let stage1 = Stage1::of(env, &pod)?;
    let args = StopArgs {
        force,
        uuid: pod.uuid().clone(),
    };
    let status = stage1
        .run(env, &pod, Entry::Stop, &args.to_words(), Streams::Both)
        .message(|| format!("error stopping {uuid:?}"))?;
    if !status.success() {
        return Err(Fault::conflict(status.to_string()).message(format!("error stopping {uuid:?}")));
    }
    wait_for_the_end(&mut pod).message(|| format!("error stopping {uuid:?}"))?;
    Ok(format!("{uuid:?}"))
}

/// A pod is stopped when its lock is free. Whoever stops one may start the next
/// on the same data as soon as we return, so not before. A little longer than
/// stage1 gives the apps, and then their handlers, before it kills them.
fn wait_for_the_end(pod: &mut Pod) -> Result<()> {
    let until = Instant::now() + Duration::from_secs(190);
    while pod.refresh()? == Some(State::Running) {
        if Instant::now() > until {
            return Err(Fault::new(Kind::TimedOut, "the pod goes on running")
                .hint("rkt stop --force kills it"));
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    Ok(())
}
