//! A supervisor with two pods that are always started again, so that no order of events ends the machine. What it
//! starts as rkt is this very test program, which understands none of the words; how that ends is told by hand.
#![expect(clippy::unwrap_used, reason = "tests")]

use super::*;
use crate::console::Console;
use crate::machine::Machine;
use crate::pods::Plan;
use crate::settings::{End, Last, Restart, Settings};
use std::collections::VecDeque;
use std::path::PathBuf;
use std::time::Duration;
use sys::process::Ended;
use sys::signal::Signals;

const UUID: &str = "7ea0ae2c-7a83-4a2e-8bd6-3f1a1f6c5a10";
const KILLED: Event = Event::Ended {
    pod: 0,
    status: 137,
    lasted: Duration::ZERO,
};

struct Running {
    supervisor: Supervisor,
    file: PathBuf,
}

impl Running {
    /// Pod 0 has saved this text.
    fn new(test: &str, text: &str) -> Running {
        let file = format!("rkt-test-cleaning-{test}-{}", std::process::id());
        let file = std::env::temp_dir().join(file);
        std::fs::write(&file, text).unwrap();
        let path = file.to_string_lossy().into_owned();
        let plan = |name: &str, uuid_file: &str| Plan {
            name: name.to_string(),
            words: Vec::new(),
            restart: Restart::Always,
            attempts: None,
            uuid_file: Some(uuid_file.to_string()),
            removed: true,
        };
        let plans = vec![plan("web", &path), plan("db", "")];
        let mut machine = Machine::new(&plans, End::Last(Last::PowerOff), false);
        machine.handle(Event::Begin);
        let mut supervisor = Supervisor {
            settings: Settings::default(),
            uuid_files: vec![None; 2],
            plans,
            console: Console::silent(),
            signals: Signals::take(&[]).unwrap(),
            machine,
            children: Vec::new(),
            outputs: Vec::new(),
            timers: Vec::new(),
            rescues: VecDeque::new(),
            env: Vec::new(),
        };
        assert_eq!(supervisor.save_uuid(0), None);
        Running { supervisor, file }
    }

    /// The step of the one cleaner there is.
    fn step(&self) -> Option<Step> {
        assert!(self.supervisor.children.len() <= 1);
        self.supervisor
            .children
            .first()
            .map(|child| match &child.role {
                Role::Cleaner(0, step, uuid) if uuid.as_str() == UUID => *step,
                role => panic!("{role:?}"),
            })
    }

    fn step_ends(&mut self, status: i32) {
        let child = self.supervisor.children.pop().unwrap();
        self.supervisor.ended(&child, Ended::Exited(status));
    }

    /// Whether the machine knows that the pod has ended, and will start it again.
    fn is_over(&self) -> bool {
        match self.supervisor.timers[..] {
            [(_, event)] if event == KILLED => false,
            [(_, Event::PauseOver(0))] => true,
            ref timers => panic!("{timers:?}"),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(std::fs::remove_file(&self.file));
    }
}

#[test]
fn a_pod_whose_rkt_was_killed_starts_again_when_it_is_stopped_and_removed() {
    let mut running = Running::new("order", UUID);
    running.supervisor.clean_up(0, KILLED);
    assert_eq!(
        (running.step(), running.is_over()),
        (Some(Step::Stop), false)
    );
    running.step_ends(0);
    let removal = Step::Remove { stopped: true };
    assert_eq!((running.step(), running.is_over()), (Some(removal), false));
    running.step_ends(0);
    assert_eq!((running.step(), running.is_over()), (None, true));
}

#[test]
fn a_pod_that_never_started_stops_nobody() {
    let mut running = Running::new("nothing", "");
    running.supervisor.clean_up(0, KILLED);
    assert_eq!((running.step(), running.is_over()), (None, true));
}

#[test]
fn a_pod_that_cannot_be_stopped_gets_the_time_to_do_it_itself() {
    let mut running = Running::new("failure", UUID);
    running.supervisor.clean_up(0, KILLED);
    running.step_ends(254);
    assert_eq!(running.step(), Some(Step::Remove { stopped: false }));
    running.step_ends(254);
    assert_eq!((running.step(), running.is_over()), (None, false));
    let (at, _) = running.supervisor.timers[0];
    assert!(at > Instant::now() + cleaner::BY_ITSELF / 2);
}

#[test]
fn a_cleaner_that_hangs_is_killed_when_the_time_is_over() {
    let mut running = Running::new("hanging", UUID);
    running.supervisor.clean_up(0, KILLED);
    running.supervisor.timers[0].0 = Instant::now();
    running.supervisor.timers_are_due();
    assert_eq!((running.step(), running.is_over()), (None, true));
}

#[test]
fn of_a_file_of_two_pods_nothing_is_stopped() {
    let mut running = Running::new("shared", UUID);
    running.supervisor.plans[1].uuid_file = running.supervisor.plans[0].uuid_file.clone();
    assert_eq!(running.supervisor.save_uuid(0), None);
    running.supervisor.clean_up(0, KILLED);
    assert_eq!((running.step(), running.is_over()), (None, false));
}
