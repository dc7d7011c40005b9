//! The supervisor's decisions: event in, actions out, nothing else.
//!
//! Pods run side by side: each goes Idle → Running → (Pausing → Running)* → Over.
//! A failure is answered by a pause that doubles, and by giving up after so many in
//! a row where a number was set. When all are Over, or when somebody tells the
//! machine to end, what runs is stopped one after the other, last started first.
//!
//! Whatever the order of events, `Finish` comes last and once, and no pod is
//! started after the first word of an end.

use crate::pods::Plan;
use crate::settings::{End, Last, Restart};
use std::time::Duration;

/// Index of a pod, in the order of their names.
pub(crate) type PodId = usize;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// The machine is ready for pods.
    Begin,
    /// `rkt run` ended, or could not be started, after so long, and nothing of its pod runs on.
    Ended {
        pod: PodId,
        status: i32,
        lasted: Duration,
    },
    PauseOver(PodId),
    /// The time given to a stop or a kill is over.
    StopTimeOut(PodId),
    /// Somebody ends the machine.
    Told(Last),
    RescueOver,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    Start(PodId),
    /// Ask for `PauseOver` after so long.
    Pause(PodId, Duration),
    /// It failed too often and is not started again.
    GiveUp(PodId, u32),
    /// SIGTERM or SIGKILL; ask for `StopTimeOut`.
    Stop(PodId),
    Kill(PodId),
    Rescue,
    /// Nothing runs any more.
    Finish(Last),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Idle,
    Running,
    Pausing,
    Stopping,
    Killed,
    Over,
}

#[derive(Clone, Copy, Debug)]
struct Pod {
    state: State,
    restart: Restart,
    attempts: Option<u32>,
    /// Failures in a row.
    failures: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Pods,
    Stopping(Last),
    Rescue,
    Finished,
}

const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// A pod that ran for so long has recovered from whatever it was.
const RECOVERED: Duration = Duration::from_secs(60);

#[derive(Debug)]
pub(crate) struct Machine {
    pods: Vec<Pod>,
    end: End,
    rescue_at_once: bool,
    phase: Phase,
}

impl Machine {
    pub(crate) fn new(plans: &[Plan], end: End, rescue_at_once: bool) -> Machine {
        let pod = |plan: &Plan| Pod {
            state: State::Idle,
            restart: plan.restart,
            attempts: plan.attempts,
            failures: 0,
        };
        Machine {
            pods: plans.iter().map(pod).collect(),
            end,
            rescue_at_once,
            phase: Phase::Pods,
        }
    }

    /// Takes one event and says what is to be done about it, in order.
    pub(crate) fn handle(&mut self, event: Event) -> Vec<Action> {
        if self.phase == Phase::Finished {
            return Vec::new();
        }
        let mut actions = Vec::new();
        match event {
            Event::Begin if self.rescue_at_once => return self.rescue(),
            Event::Begin => {
                for (id, pod) in self.pods.iter_mut().enumerate() {
                    pod.state = State::Running;
                    actions.push(Action::Start(id));
                }
            }
            Event::Ended {
                pod,
                status,
                lasted,
            } => self.ended(pod, status, lasted, &mut actions),
            Event::PauseOver(pod) => {
                if self.moves(pod, State::Pausing, State::Running) {
                    actions.push(Action::Start(pod));
                }
            }
            Event::StopTimeOut(pod) => {
                if self.moves(pod, State::Stopping, State::Killed) {
                    actions.push(Action::Kill(pod));
                } else {
                    // The kernel holds it. The machine ends without its word.
                    self.moves(pod, State::Killed, State::Over);
                }
            }
            Event::Told(last) => self.told(last),
            Event::RescueOver => {
                if self.phase == Phase::Rescue {
                    return self.finish(self.end.last());
                }
            }
        }
        self.go_on(&mut actions);
        actions
    }

    fn ended(&mut self, id: PodId, status: i32, lasted: Duration, actions: &mut Vec<Action>) {
        let Some(pod) = self.pods.get_mut(id) else {
            return;
        };
        if !matches!(pod.state, State::Running | State::Stopping | State::Killed) {
            return;
        }
        let ends = self.phase != Phase::Pods;
        let again = match pod.restart {
            Restart::Never => false,
            Restart::Failure => status != 0,
            Restart::Always => true,
        };
        if ends || !again {
            pod.state = State::Over;
            return;
        }
        if status == 0 || lasted >= RECOVERED {
            pod.failures = 0;
        }
        pod.failures = pod.failures.saturating_add(u32::from(status != 0));
        if pod.attempts.is_some_and(|most| pod.failures >= most) {
            pod.state = State::Over;
            actions.push(Action::GiveUp(id, pod.failures));
            return;
        }
        pod.state = State::Pausing;
        actions.push(Action::Pause(id, pause(pod.failures)));
    }

    /// The last word counts.
    fn told(&mut self, last: Last) {
        if matches!(self.phase, Phase::Pods | Phase::Rescue) {
            for pod in &mut self.pods {
                if matches!(pod.state, State::Idle | State::Pausing) {
                    pod.state = State::Over;
                }
            }
        }
        self.phase = Phase::Stopping(last);
    }

    /// Stops the next pod, or ends when there is none left.
    fn go_on(&mut self, actions: &mut Vec<Action>) {
        let over = self.pods.iter().all(|pod| pod.state == State::Over);
        match self.phase {
            Phase::Pods if over => match self.end {
                End::Rescue => actions.extend(self.rescue()),
                End::Last(last) => actions.extend(self.finish(last)),
            },
            Phase::Stopping(last) if over => actions.extend(self.finish(last)),
            Phase::Stopping(_) => {
                let waits = |pod: &Pod| matches!(pod.state, State::Stopping | State::Killed);
                if self.pods.iter().any(waits) {
                    return;
                }
                let next = self
                    .pods
                    .iter()
                    .rposition(|pod| pod.state == State::Running);
                if let Some(next) = next {
                    self.pods[next].state = State::Stopping;
                    actions.push(Action::Stop(next));
                }
            }
            _ => {}
        }
    }

    fn rescue(&mut self) -> Vec<Action> {
        self.phase = Phase::Rescue;
        vec![Action::Rescue]
    }

    fn finish(&mut self, last: Last) -> Vec<Action> {
        self.phase = Phase::Finished;
        vec![Action::Finish(last)]
    }

    fn moves(&mut self, id: PodId, from: State, to: State) -> bool {
        match self.pods.get_mut(id) {
            Some(pod) if pod.state == from => {
                pod.state = to;
                true
            }
            _ => false,
        }
    }
}

/// One second, two, four…, a minute.
fn pause(failures: u32) -> Duration {
    let doublings = failures.saturating_sub(1).min(16);
    FIRST_PAUSE
        .saturating_mul(1 << doublings)
        .min(LONGEST_PAUSE)
}

#[cfg(test)]
mod tests;
