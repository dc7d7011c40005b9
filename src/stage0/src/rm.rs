//! `rkt rm`: marks and removes at once what is not alive.

use crate::delete::delete;
use crate::env::{Env, Line, Sink, need_root};
use crate::images;
use crate::pods::{PodName, open};
use model::Fault;
use model::fault::Result;
use pod::{Pod, State};

/// Each removed pod's UUID goes to the sink in double quotes; what fails is
/// reported there as well, and at the end as one failure.
pub fn rm(env: &Env, names: &[PodName], sink: Sink) -> Result<()> {
    need_root()?;
    images::hold_what_is_not(env)?;
    let mut failed = false;
    for name in names {
        match open(env, name, "cannot get pod").and_then(|pod| remove(env, pod, sink)) {
            Ok(uuid) => sink(Line::Out(format!("{uuid:?}"))),
            Err(fault) => {
                failed = true;
                sink(Line::Err(fault.to_string()));
            }
        }
    }
    if failed {
        return Err(Fault::conflict("failed to remove one or more pods"));
    }
    Ok(())
}

fn remove(env: &Env, mut pod: Pod, sink: Sink) -> Result<String> {
    let uuid = pod.uuid().as_str().to_string();
    let busy = |what: &str| Err(Fault::conflict(format!("pod {uuid:?} is currently {what}")));
    match pod.state() {
        State::Running => return busy("running"),
        State::Embryo | State::Preparing => return busy("being prepared"),
        State::Deleting | State::ExitedDeleting => return busy("being deleted"),
        State::AbortedPrepare => {
            sink(Line::Err(format!(
                "moving failed prepare {uuid:?} to garbage"
            )));
            pod.to_garbage()?;
        }
        State::Prepared => {
            // Without the remark of gc: here somebody asked for it.
            pod.to_garbage()?;
        }
        State::Exited => pod.to_exited_garbage()?,
        State::ExitedGarbage | State::Garbage => {}
    }
    if !pod.try_lock()? {
        return busy("being deleted");
    }
    delete(env, pod).map(|()| uuid)
}
