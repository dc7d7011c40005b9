//! `rkt status`: what a pod is doing, at once or when it is ready or over.
//!
//! The end of a pod is the release of its lock, so waiting for it is waiting
//! for that lock and costs nothing meanwhile. Readiness is a symlink in the
//! pod; it is looked for every 100 ms, more often at first.

use crate::env::Env;
use crate::pods::{PodInfo, PodName, describe, uuid_text};
use model::fault::Result;
use model::{Context, Fault, Kind};
use pod::{Pod, State};
use std::sync::mpsc;
use std::time::{Duration, Instant};

/// How long `--wait` and `--wait-ready` wait.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Wait {
    #[default]
    No,
    Forever,
    AtMost(Duration),
}

/// Readiness is awaited first, then the end.
pub fn status(env: &Env, name: &PodName, wait: Wait, wait_ready: Wait) -> Result<PodInfo> {
    // The one failure of this verb that exits 1, as in rkt 1.30.
    let uuid = uuid_text(name).map_err(|fault| fault.exit(1))?;
    let mut pod = Pod::find(&env.dir, &uuid).message(|| "problem retrieving pod".into())?;
    if wait_ready != Wait::No {
        until_ready(&mut pod, Deadline::of(wait_ready))
            .message(|| "error waiting for pod readiness".into())?;
    }
    if wait != Wait::No {
        until_finished(&mut pod, Deadline::of(wait))
            .message(|| "error waiting for pod to finish".into())?;
    }
    describe(&pod)
}

/// When to give up, if ever.
struct Deadline(Option<Instant>);

impl Deadline {
    fn of(wait: Wait) -> Deadline {
        match wait {
            Wait::No => Deadline(Some(Instant::now())),
            // A time too far to be told is for ever.
            Wait::AtMost(time) => Deadline(Instant::now().checked_add(time)),
            Wait::Forever => Deadline(None),
        }
    }

    /// What is left; an error when nothing is.
    fn left(&self) -> Result<Option<Duration>> {
        match self.0 {
            None => Ok(None),
            Some(end) => match end.saturating_duration_since(Instant::now()) {
                Duration::ZERO => Err(Fault::new(Kind::TimedOut, "context deadline exceeded")),
                left => Ok(Some(left)),
            },
        }
    }
}

/// Pauses between two looks: short at first, 100 ms in the long run.
struct Pause(Duration);

impl Pause {
    const LONGEST: Duration = Duration::from_millis(100);

    fn new() -> Pause {
        Pause(Duration::from_millis(2))
    }
    fn pause(&mut self, deadline: &Deadline) -> Result<()> {
        let left = deadline.left()?.unwrap_or(Duration::MAX);
        std::thread::sleep(self.0.min(left));
        self.0 = (self.0 * 2).min(Pause::LONGEST);
        Ok(())
    }
}

fn gone(pod: &Pod) -> Fault {
    Fault::not_found(format!("pod {:?} was removed", pod.uuid().as_str()))
}

fn until_ready(pod: &mut Pod, deadline: Deadline) -> Result<()> {
    let mut pause = Pause::new();
    loop {
        let state = pod.refresh()?.ok_or_else(|| gone(pod))?;
        if state == State::Running && pod.is_ready()? {
            return Ok(());
        }
        if deadline.0.is_none() && (state.is_finished() || state.is_marked()) {
            // Nobody would ever end this wait.
            return Err(Fault::conflict(format!(
                "pod {:?} is {state} and will not become ready",
                pod.uuid().as_str()
            )));
        }
        pause.pause(&deadline)?;
    }
}

fn until_finished(pod: &mut Pod, deadline: Deadline) -> Result<()> {
    let mut pause = Pause::new();
    loop {
        let state = match pod.refresh()? {
            Some(state) => state,
            None => return Err(gone(pod)),
        };
        if state.is_finished() || state.is_marked() {
            return Ok(());
        }
        if state == State::Running {
            wait_for_lock(pod, deadline.left()?)?;
        } else {
            // Nothing holds the lock of a prepared pod: only a look helps.
            pause.pause(&deadline)?;
        }
    }
}

/// Waits until the pod's lock is free. flock(2) knows no time-out, so with one
/// a thread waits and is left behind if it takes too long; it ends with the pod
/// or with this process.
fn wait_for_lock(pod: &Pod, left: Option<Duration>) -> Result<()> {
    let path = pod.path();
    // An own open file: the lock belongs to it, not to the pod's fd.
    let file = std::fs::File::open(&path).map_err(|e| Fault::io("open", path.display(), e));
    let file = match file {
        Ok(file) => file,
        // It moved on just now; the next look tells where.
        Err(fault) if fault.errno() == Some(rustix::io::Errno::NOENT.raw_os_error()) => {
            return Ok(());
        }
        Err(fault) => return Err(fault),
    };
    let Some(left) = left else {
        return file
            .lock_shared()
            .map_err(|e| Fault::io("lock", path.display(), e));
    };
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        // The receiver may have given up; the lock goes with the file.
        let _sent = sender.send(file.lock_shared());
    });
    match receiver.recv_timeout(left) {
        Ok(locked) => locked.map_err(|e| Fault::io("lock", path.display(), e)),
        Err(_) => Err(Fault::new(Kind::TimedOut, "context deadline exceeded")),
    }
}
