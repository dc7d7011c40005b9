#![expect(clippy::unwrap_used, reason = "tests")]

use super::*;

const SHORT: Duration = Duration::from_secs(1);

fn machine(count: usize, restart: Restart, attempts: Option<u32>, end: End) -> Machine {
    let plan = Plan {
        name: "p".to_string(),
        words: Vec::new(),
        restart,
        attempts,
        uuid_file: None,
        removed: true,
    };
    Machine::new(&vec![plan; count], end, false)
}

fn off(count: usize) -> Machine {
    machine(count, Restart::Failure, None, End::Last(Last::PowerOff))
}

fn ended(pod: PodId, status: i32) -> Event {
    Event::Ended {
        pod,
        status,
        lasted: SHORT,
    }
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

#[test]
fn pods_start_side_by_side_and_the_machine_ends_with_the_last() {
    let mut machine = off(2);
    assert_eq!(
        machine.handle(Event::Begin),
        [Action::Start(0), Action::Start(1)]
    );
    assert_eq!(machine.handle(ended(1, 0)), []);
    assert_eq!(
        machine.handle(ended(0, 0)),
        [Action::Finish(Last::PowerOff)]
    );
    assert_eq!(machine.handle(Event::Told(Last::Reboot)), []);
}

#[test]
fn no_pods_are_all_over() {
    assert_eq!(
        off(0).handle(Event::Begin),
        [Action::Finish(Last::PowerOff)]
    );
}

#[test]
fn a_failing_pod_is_started_again_after_pauses_that_grow() {
    let mut machine = off(1);
    machine.handle(Event::Begin);
    for expected in [1, 2, 4, 8, 16, 32, 60, 60] {
        assert_eq!(
            machine.handle(ended(0, 3)),
            [Action::Pause(0, seconds(expected))]
        );
        assert_eq!(machine.handle(Event::PauseOver(0)), [Action::Start(0)]);
    }
    let long = Event::Ended {
        pod: 0,
        status: 3,
        lasted: seconds(61),
    };
    assert_eq!(machine.handle(long), [Action::Pause(0, seconds(1))]);
    machine.handle(Event::PauseOver(0));
    assert_eq!(
        machine.handle(ended(0, 0)),
        [Action::Finish(Last::PowerOff)]
    );
}

#[test]
fn so_many_failures_in_a_row_are_enough() {
    let mut machine = machine(1, Restart::Failure, Some(2), End::Last(Last::Halt));
    machine.handle(Event::Begin);
    assert_eq!(machine.handle(ended(0, 1)), [Action::Pause(0, seconds(1))]);
    machine.handle(Event::PauseOver(0));
    assert_eq!(
        machine.handle(ended(0, 1)),
        [Action::GiveUp(0, 2), Action::Finish(Last::Halt)]
    );
}

#[test]
fn always_means_after_success_as_well() {
    let mut machine = machine(1, Restart::Always, Some(2), End::Last(Last::PowerOff));
    machine.handle(Event::Begin);
    for status in [1, 0, 1, 0, 0] {
        assert_eq!(
            machine.handle(ended(0, status)),
            [Action::Pause(0, seconds(1))]
        );
        assert_eq!(machine.handle(Event::PauseOver(0)), [Action::Start(0)]);
    }
}

#[test]
fn never_is_never() {
    let mut machine = machine(1, Restart::Never, None, End::Last(Last::Reboot));
    machine.handle(Event::Begin);
    assert_eq!(
        machine.handle(ended(0, 254)),
        [Action::Finish(Last::Reboot)]
    );
}

#[test]
fn a_told_end_stops_pods_one_after_the_other_the_last_first() {
    let mut machine = off(4);
    machine.handle(Event::Begin);
    machine.handle(ended(1, 0));
    machine.handle(ended(3, 1));
    assert_eq!(
        machine.handle(Event::Told(Last::PowerOff)),
        [Action::Stop(2)]
    );
    assert_eq!(machine.handle(Event::Told(Last::Reboot)), []);
    assert_eq!(machine.handle(Event::PauseOver(3)), []);
    assert_eq!(machine.handle(ended(2, 143)), [Action::Stop(0)]);
    assert_eq!(machine.handle(ended(0, 0)), [Action::Finish(Last::Reboot)]);
}

#[test]
fn a_pod_that_does_not_stop_is_killed_and_then_left() {
    let mut machine = off(2);
    machine.handle(Event::Begin);
    assert_eq!(
        machine.handle(Event::Told(Last::PowerOff)),
        [Action::Stop(1)]
    );
    assert_eq!(machine.handle(Event::StopTimeOut(1)), [Action::Kill(1)]);
    assert_eq!(machine.handle(Event::StopTimeOut(1)), [Action::Stop(0)]);
    assert_eq!(machine.handle(ended(1, 9)), []);
    assert_eq!(machine.handle(Event::StopTimeOut(0)), [Action::Kill(0)]);
    assert_eq!(
        machine.handle(ended(0, 9)),
        [Action::Finish(Last::PowerOff)]
    );
}

#[test]
fn an_end_by_rescue_comes_after_the_pods_and_then_the_power_goes() {
    let mut machine = machine(1, Restart::Never, None, End::Rescue);
    machine.handle(Event::Begin);
    assert_eq!(machine.handle(ended(0, 1)), [Action::Rescue]);
    assert_eq!(
        machine.handle(Event::RescueOver),
        [Action::Finish(Last::PowerOff)]
    );
}

#[test]
fn a_rescue_at_once_starts_no_pod() {
    let mut machine = Machine::new(&[], End::Last(Last::Reboot), true);
    assert_eq!(machine.handle(Event::Begin), [Action::Rescue]);
    assert_eq!(
        machine.handle(Event::RescueOver),
        [Action::Finish(Last::Reboot)]
    );
}

#[test]
fn a_rescue_ends_when_the_machine_is_told_to() {
    let mut machine = Machine::new(&[], End::Rescue, true);
    machine.handle(Event::Begin);
    assert_eq!(
        machine.handle(Event::Told(Last::Reboot)),
        [Action::Finish(Last::Reboot)]
    );
    assert_eq!(machine.handle(Event::RescueOver), []);
}

/// All short orders of events: the machine never starts a pod after the word to end, and finishes once.
#[test]
fn whatever_the_order_of_events_the_end_comes_once() {
    let events = [
        ended(0, 0),
        ended(0, 1),
        ended(1, 1),
        Event::PauseOver(0),
        Event::PauseOver(1),
        Event::StopTimeOut(0),
        Event::StopTimeOut(1),
        Event::Told(Last::Reboot),
        Event::RescueOver,
    ];
    for end in [End::Last(Last::PowerOff), End::Rescue] {
        for code in 0..events.len().pow(5) {
            let mut machine = machine(2, Restart::Failure, Some(2), end);
            let mut all = machine.handle(Event::Begin);
            let mut told = false;
            for place in 0..5 {
                let event = events[code / events.len().pow(place) % events.len()];
                told |= matches!(event, Event::Told(_));
                let actions = machine.handle(event);
                let starts = actions
                    .iter()
                    .any(|action| matches!(action, Action::Start(_) | Action::Rescue));
                assert!(!(told && starts), "{code} {actions:?}");
                all.extend(actions);
            }
            let finished = all
                .iter()
                .filter(|action| matches!(action, Action::Finish(_)))
                .count();
            assert!(finished <= 1, "{code}");
            if finished == 1 {
                assert!(matches!(all.last().unwrap(), Action::Finish(_)), "{code}");
            }
        }
    }
}
