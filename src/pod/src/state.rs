//! The states of a pod, and which may follow which.
//!
//! A state is a pure function of two facts: the directory that a pod lies in
//! (its place) and whether another process holds the lock on it. A pod moves
//! only forward through the places, by rename.

use std::fmt;

/// The directories under `pods`, in the order of a pod's life. Looking them
/// through in this order cannot miss a pod that moves meanwhile.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Place {
    Embryo,
    Prepare,
    Prepared,
    Run,
    ExitedGarbage,
    Garbage,
}

/// What a pod is doing. `Display` prints rkt's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum State {
    /// Just created, still empty.
    Embryo,
    Preparing,
    /// Prepare died.
    AbortedPrepare,
    /// Waits for `run-prepared`.
    Prepared,
    Running,
    /// Finished, not collected.
    Exited,
    /// Finished and marked by gc or rm.
    ExitedGarbage,
    /// Finished, being deleted.
    ExitedDeleting,
    /// Never ran, marked.
    Garbage,
    /// Never ran, being deleted.
    Deleting,
}

/// A rename of a pod's directory. Deletion is no move: it ends in no state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Move {
    Prepare,
    Prepared,
    Run,
    ExitedGarbage,
    Garbage,
}

impl Place {
    pub const ALL: [Place; 6] = [
        Place::Embryo,
        Place::Prepare,
        Place::Prepared,
        Place::Run,
        Place::ExitedGarbage,
        Place::Garbage,
    ];

    /// What `rkt list`, UUID arguments and image gc look at.
    pub const LISTED: [Place; 4] = [
        Place::Run,
        Place::ExitedGarbage,
        Place::Prepare,
        Place::Prepared,
    ];

    /// Name of the directory.
    pub fn name(self) -> &'static str {
        match self {
            Place::Embryo => "embryo",
            Place::Prepare => "prepare",
            Place::Prepared => "prepared",
            Place::Run => "run",
            Place::ExitedGarbage => "exited-garbage",
            Place::Garbage => "garbage",
        }
    }

    /// Whether the lock says something here; where not, it is not tested.
    pub fn lock_tells(self) -> bool {
        !matches!(self, Place::Embryo | Place::Prepared)
    }
}

impl State {
    pub const ALL: [State; 10] = [
        State::Embryo,
        State::Preparing,
        State::AbortedPrepare,
        State::Prepared,
        State::Running,
        State::Exited,
        State::ExitedGarbage,
        State::ExitedDeleting,
        State::Garbage,
        State::Deleting,
    ];

    /// The state that follows from where a pod lies and whether its lock is held.
    pub fn derive(place: Place, locked: bool) -> State {
        match (place, locked) {
            (Place::Embryo, _) => State::Embryo,
            (Place::Prepare, true) => State::Preparing,
            (Place::Prepare, false) => State::AbortedPrepare,
            (Place::Prepared, _) => State::Prepared,
            (Place::Run, true) => State::Running,
            (Place::Run, false) => State::Exited,
            (Place::ExitedGarbage, true) => State::ExitedDeleting,
            (Place::ExitedGarbage, false) => State::ExitedGarbage,
            (Place::Garbage, true) => State::Deleting,
            (Place::Garbage, false) => State::Garbage,
        }
    }

    /// The directory that a pod of this state lies in.
    pub fn place(self) -> Place {
        match self {
            State::Embryo => Place::Embryo,
            State::Preparing | State::AbortedPrepare => Place::Prepare,
            State::Prepared => Place::Prepared,
            State::Running | State::Exited => Place::Run,
            State::ExitedGarbage | State::ExitedDeleting => Place::ExitedGarbage,
            State::Garbage | State::Deleting => Place::Garbage,
        }
    }

    /// The state after `step`, or `None` where it is not allowed.
    pub fn after(self, step: Move) -> Option<State> {
        match (self, step) {
            (State::Embryo, Move::Prepare) => Some(State::Preparing),
            (State::Preparing, Move::Prepared) => Some(State::Prepared),
            (State::Preparing | State::Prepared, Move::Run) => Some(State::Running),
            (State::Exited, Move::ExitedGarbage) => Some(State::ExitedGarbage),
            // rkt leaves an embryo for ever when its creator died at once.
            (State::Embryo | State::AbortedPrepare | State::Prepared, Move::Garbage) => {
                Some(State::Garbage)
            }
            _ => None,
        }
    }

    /// Whether the creation time is known: prepare is over.
    pub fn is_created(self) -> bool {
        !matches!(
            self,
            State::Embryo | State::Preparing | State::AbortedPrepare
        )
    }

    /// Whether the pod ran at some time.
    pub fn has_run(self) -> bool {
        matches!(
            self,
            State::Running | State::Exited | State::ExitedGarbage | State::ExitedDeleting
        )
    }

    /// Whether its networks are shown.
    pub fn has_networks(self) -> bool {
        matches!(self, State::Running | State::Exited)
    }

    /// Whether gc or rm has marked it.
    pub fn is_marked(self) -> bool {
        matches!(self.place(), Place::ExitedGarbage | Place::Garbage)
    }

    /// Whether it ran and is over (`exited=true` of `rkt status`).
    pub fn is_finished(self) -> bool {
        self.has_run() && self != State::Running
    }

    /// Whether the pod manifest can be relied on.
    pub fn has_manifest(self) -> bool {
        self.is_created() && !matches!(self, State::Deleting | State::ExitedDeleting)
    }
}

impl Move {
    pub const ALL: [Move; 5] = [
        Move::Prepare,
        Move::Prepared,
        Move::Run,
        Move::ExitedGarbage,
        Move::Garbage,
    ];

    /// Where the pod lies afterwards.
    pub fn target(self) -> Place {
        match self {
            Move::Prepare => Place::Prepare,
            Move::Prepared => Place::Prepared,
            Move::Run => Place::Run,
            Move::ExitedGarbage => Place::ExitedGarbage,
            Move::Garbage => Place::Garbage,
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            State::Embryo => "embryo",
            State::Preparing => "preparing",
            State::AbortedPrepare => "aborted prepare",
            State::Prepared => "prepared",
            State::Running => "running",
            State::Exited => "exited",
            State::ExitedGarbage => "exited garbage",
            State::ExitedDeleting => "exited deleting",
            State::Garbage => "garbage",
            State::Deleting => "deleting",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_those_of_rkt() {
        let table = [
            (Place::Embryo, false, "embryo"),
            (Place::Embryo, true, "embryo"),
            (Place::Prepare, true, "preparing"),
            (Place::Prepare, false, "aborted prepare"),
            (Place::Prepared, false, "prepared"),
            (Place::Prepared, true, "prepared"),
            (Place::Run, true, "running"),
            (Place::Run, false, "exited"),
            (Place::ExitedGarbage, false, "exited garbage"),
            (Place::ExitedGarbage, true, "exited deleting"),
            (Place::Garbage, false, "garbage"),
            (Place::Garbage, true, "deleting"),
        ];
        for (place, locked, words) in table {
            assert_eq!(State::derive(place, locked).to_string(), words);
        }
    }

    #[test]
    fn place_and_derived_state_agree() {
        for place in Place::ALL {
            for locked in [true, false] {
                assert_eq!(State::derive(place, locked).place(), place);
            }
        }
    }

    #[test]
    fn moves_are_closed_and_lead_forward() {
        for state in State::ALL {
            for step in Move::ALL {
                let Some(next) = state.after(step) else {
                    continue;
                };
                assert!(State::ALL.contains(&next));
                assert_eq!(next.place(), step.target());
                assert!(next.place() > state.place(), "{state} to {next}");
            }
        }
    }

    /// Whatever sequence of moves is tried, a pod ends in one of the two
    /// garbage places or waits for a lock to be dropped; none is lost.
    #[test]
    fn every_state_can_reach_garbage() {
        for start in State::ALL {
            let mut seen = vec![start];
            let mut at = 0;
            while at < seen.len() {
                let state = seen[at];
                at += 1;
                let free = State::derive(state.place(), false);
                let moved = Move::ALL.iter().filter_map(|step| state.after(*step));
                for next in moved.chain([free]) {
                    if !seen.contains(&next) {
                        seen.push(next);
                    }
                }
            }
            assert!(
                seen.iter().any(|state| state.is_marked()),
                "{start} is stuck"
            );
        }
    }
}
