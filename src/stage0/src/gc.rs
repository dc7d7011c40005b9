//! `rkt gc`: pods that are over are marked, and after a grace period removed.
//!
//! Marking is a rename, so its time (the directory's ctime) is when the grace
//! period begins. A pod that cannot be removed is reported and left for the
//! next run; the others are not held up by it.

use crate::delete::delete;
use crate::env::{Env, Line, Sink, need_root};
use crate::images;
use model::fault::Result;
use model::{Fault, Kind, PodUuid};
use pod::{Place, Pod, PrepareLock, State};
use std::time::Duration;

#[derive(Clone, Debug)]
pub struct GcRequest {
    /// `--grace-period`, for pods that ran.
    pub grace: Duration,
    /// The same as Go writes it (`30m0s`), for the message.
    pub grace_text: String,
    /// `--expire-prepared`.
    pub expire_prepared: Duration,
    pub mark_only: bool,
}

/// Nobody takes this long between making a pod's directory and locking it.
const EMBRYO_LIFE: Duration = Duration::from_secs(600);

pub fn gc(env: &Env, request: &GcRequest, sink: Sink) -> Result<()> {
    need_root()?;
    each(env, Place::Run, sink, |mut pod, sink| match pod.state() {
        State::Exited => {
            say(
                sink,
                format!("moving pod {:?} to garbage", pod.uuid().as_str()),
            );
            pod.to_exited_garbage()
        }
        _ => Ok(()),
    })?;
    each(env, Place::Prepare, sink, |pod, sink| match pod.state() {
        State::AbortedPrepare => discard(pod, "failed prepare", sink),
        _ => Ok(()),
    })?;
    if request.mark_only {
        return Ok(());
    }
    images::hold_what_is_not(env)?;
    each(env, Place::Prepared, sink, |pod, sink| {
        if pod.state() != State::Prepared || !is_past(&pod, request.expire_prepared)? {
            return Ok(());
        }
        discard(pod, "expired prepared pod", sink)
    })?;
    // rkt leaves an embryo whose creator died lying for ever.
    let alone = PrepareLock::try_exclusive(&env.dir)?;
    each(env, Place::Embryo, sink, |pod, sink| {
        let dead = alone.is_some() || is_past(&pod, EMBRYO_LIFE)?;
        if pod.state() != State::Embryo || !dead {
            return Ok(());
        }
        discard(pod, "failed prepare", sink)
    })?;
    drop(alone);
    each(env, Place::ExitedGarbage, sink, |pod, sink| {
        if pod.state() != State::ExitedGarbage {
            return Ok(());
        }
        if !is_past(&pod, request.grace)? {
            say(
                sink,
                format!(
                    "pod {:?} not removed: still within grace period ({})",
                    pod.uuid().as_str(),
                    request.grace_text
                ),
            );
            return Ok(());
        }
        collect(env, pod, sink)
    })?;
    each(env, Place::Garbage, sink, |pod, sink| match pod.state() {
        State::Garbage => collect(env, pod, sink),
        _ => Ok(()),
    })
}

fn say(sink: Sink, text: String) {
    sink(Line::Err(text));
}

fn discard(mut pod: Pod, what: &str, sink: Sink) -> Result<()> {
    say(
        sink,
        format!("moving {what} {:?} to garbage", pod.uuid().as_str()),
    );
    pod.to_garbage()
}

fn collect(env: &Env, mut pod: Pod, sink: Sink) -> Result<()> {
    // Held: another process is removing it.
    if !pod.try_lock()? {
        return Ok(());
    }
    sink(Line::Out(format!(
        "Garbage collecting pod {:?}",
        pod.uuid().as_str()
    )));
    delete(env, pod)
}

/// Whether a pod was moved to where it lies at least `age` ago, as of this
/// moment: a pod that this very gc has marked is past no time at all.
fn is_past(pod: &Pod, age: Duration) -> Result<bool> {
    let age = i64::try_from(age.as_nanos()).unwrap_or(i64::MAX);
    Ok(pod.times()?.changed_ns.saturating_add(age) <= sys::time::now_ns())
}

/// Works through the pods of one place, sorted. What fails on one is reported.
fn each(
    env: &Env,
    place: Place,
    sink: Sink,
    mut work: impl FnMut(Pod, Sink) -> Result<()>,
) -> Result<()> {
    for uuid in pod::list::names(&env.dir, &[place])? {
        let done = open(env, &uuid).and_then(|found| match found {
            Some(pod) if pod.state().place() == place => work(pod, sink),
            _ => Ok(()),
        });
        if let Err(fault) = done {
            say(sink, fault.to_string());
        }
    }
    Ok(())
}

/// `None`: removed by another process meanwhile.
fn open(env: &Env, uuid: &PodUuid) -> Result<Option<Pod>> {
    match Pod::open(&env.dir, uuid) {
        Ok(pod) => Ok(Some(pod)),
        Err(Fault {
            kind: Kind::NotFound,
            ..
        }) => Ok(None),
        Err(fault) => Err(fault),
    }
}
