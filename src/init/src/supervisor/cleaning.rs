//! Pods whose rkt was killed: from that end to the one that the machine is told of.
//!
//! That is when a cleaner has done its work, or when the pod has stopped by itself,
//! which is a timer from the beginning: a cleaner that fails or hangs loses nothing
//! but time. A machine that is told to end meanwhile waits for such a pod as for one
//! that it has asked to stop, and as long as for that.

use super::{Child, Role, Supervisor};
use crate::cleaner::{self, Left, Next, Step};
use crate::machine::{Event, PodId};
use model::PodUuid;
use std::time::Instant;
use sys::signal;

impl Supervisor {
    /// The word that has rkt save the UUID of what starts now, unless the pod's own words have one.
    pub(super) fn save_uuid(&mut self, pod: PodId) -> Option<String> {
        let plan = &self.plans[pod];
        let shares = |given: &Option<String>| {
            let all = self.plans.iter().map(|other| &other.uuid_file);
            all.filter(|other| *other == given).count() > 1
        };
        if let Some(given) = &plan.uuid_file {
            // What two pods write to is of either, and of neither for sure.
            let known = !given.is_empty() && !shares(&plan.uuid_file);
            self.uuid_files[pod] = known.then(|| given.clone());
            return None;
        }
        let file = cleaner::file_of(&plan.name);
        self.uuid_files[pod] = match cleaner::forget(&file) {
            Ok(()) => Some(file),
            Err(fault) => {
                let fault = fault.message(format!("pod \"{}\"", plan.name));
                self.console.complain(&fault);
                None
            }
        };
        let file = self.uuid_files[pod].as_deref()?;
        Some(format!("--uuid-file-save={file}"))
    }

    /// Its rkt was killed; `ended` is what the machine is told when the pod is over as well.
    pub(super) fn clean_up(&mut self, pod: PodId, ended: Event) {
        let file = self.uuid_files[pod].as_deref();
        let left = file.map_or(Left::Unknown, cleaner::left);
        if left == Left::Nothing {
            return self.take(ended);
        }
        self.timers
            .push((Instant::now() + cleaner::BY_ITSELF, ended));
        match left {
            Left::Pod(uuid) => {
                let name = &self.plans[pod].name;
                self.console.say(&format!(
                    "pod \"{name}\" may run on without its rkt and is stopped by force"
                ));
                self.clean_on(pod, Next::Step(Step::Stop), &uuid);
            }
            _ => self.leave_alone(pod),
        }
    }

    /// Goes on after a step.
    pub(super) fn clean_on(&mut self, pod: PodId, next: Next, uuid: &PodUuid) {
        match next {
            Next::Step(step) => {
                let (name, removed) = (self.plans[pod].name.clone(), self.plans[pod].removed);
                let role = Role::Cleaner(pod, step, uuid.clone());
                if let Err(fault) = self.start(&name, role, &step.words(uuid)) {
                    self.console
                        .complain(&fault.message(format!("pod \"{name}\"")));
                    self.clean_on(pod, step.next(false, removed), uuid);
                }
            }
            Next::Over => {
                let of_pod =
                    |event: &Event| matches!(event, Event::Ended { pod: of, .. } if *of == pod);
                let place = self.timers.iter().position(|(_, event)| of_pod(event));
                if let Some(place) = place {
                    let (_, ended) = self.timers.swap_remove(place);
                    self.take(ended);
                }
            }
            Next::Unknown => self.leave_alone(pod),
        }
    }

    fn leave_alone(&mut self, pod: PodId) {
        let name = &self.plans[pod].name;
        self.console.say(&format!(
            "warning: pod \"{name}\" cannot be stopped: it has {} s to stop by itself",
            cleaner::BY_ITSELF.as_secs()
        ));
    }

    /// The time is over: whatever the cleaner waits for, nobody waits for it.
    pub(super) fn give_up_cleaning(&mut self, pod: PodId) {
        let cleans = |child: &Child| matches!(child.role, Role::Cleaner(of, ..) if of == pod);
        let Some(place) = self.children.iter().position(cleans) else {
            return;
        };
        // Its end is nobody's any more, and is reaped as an orphan's.
        let child = self.children.swap_remove(place);
        if let Role::Cleaner(_, step, _) = child.role {
            let (name, step) = (&self.plans[pod].name, step.name());
            self.console.say(&format!(
                "warning: pod \"{name}\": rkt {step} does not end and is killed"
            ));
        }
        // With its own children: it leads a process group.
        let _ = signal::send(-child.pid, signal::KILL);
    }
}

#[cfg(test)]
mod tests;
