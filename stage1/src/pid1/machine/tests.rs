//! Lives of pods as lists of events, and any order of them.

use super::*;

fn ended(app: AppId, stage: Stage, status: Status) -> Event {
    Event::Ended {
        app,
        stage,
        status,
        by_term: false,
    }
}

fn started(apps: usize) -> Machine {
    let mut machine = Machine::default();
    for app in 0..apps {
        machine.handle(Event::AddApp {
            pre_start: false,
            post_stop: false,
            tells: false,
        });
        assert_eq!(
            machine.handle(Event::StartApp(app)),
            [Action::Spawn(app, Stage::Main)]
        );
    }
    assert_eq!(machine.handle(Event::Seal), []);
    machine
}

#[test]
fn one_app_lives_and_ends() {
    let mut machine = started(1);
    assert_eq!(
        machine.handle(Event::Executed(0, Stage::Main)),
        [Action::Started, Action::Ready]
    );
    assert_eq!(
        machine.handle(ended(0, Stage::Main, 7)),
        [Action::WriteStatus(0, 7), Action::Exit(7)]
    );
    assert_eq!(machine.handle(Event::StopPod(Force::Yes)), []);
}

#[test]
fn the_first_failure_stops_the_others_and_decides() {
    let mut machine = started(2);
    machine.handle(Event::Executed(0, Stage::Main));
    machine.handle(Event::Executed(1, Stage::Main));
    assert_eq!(
        machine.handle(ended(1, Stage::Main, 3)),
        [Action::WriteStatus(1, 3), Action::TermAll, Action::ArmTimer]
    );
    let by_term = Event::Ended {
        app: 0,
        stage: Stage::Main,
        status: 15,
        by_term: true,
    };
    assert_eq!(
        machine.handle(by_term),
        [Action::WriteStatus(0, 0), Action::Exit(3)]
    );
}

#[test]
fn an_app_that_ends_well_leaves_the_others_alone() {
    let mut machine = started(2);
    assert_eq!(
        machine.handle(ended(0, Stage::Main, 0)),
        [Action::WriteStatus(0, 0)]
    );
    machine.handle(Event::Executed(1, Stage::Main));
    assert_eq!(
        machine.handle(ended(1, Stage::Main, 0)),
        [Action::WriteStatus(1, 0), Action::Exit(0)]
    );
}

#[test]
fn a_forced_stop_writes_no_status() {
    let mut machine = started(1);
    assert_eq!(
        machine.handle(Event::StopPod(Force::Yes)),
        [Action::KillAll]
    );
    assert_eq!(machine.handle(ended(0, Stage::Main, 9)), [Action::Exit(9)]);
}

#[test]
fn handlers_surround_the_app() {
    let mut machine = Machine::default();
    machine.handle(Event::AddApp {
        pre_start: true,
        post_stop: true,
        tells: false,
    });
    assert_eq!(
        machine.handle(Event::StartApp(0)),
        [Action::Spawn(0, Stage::PreStart)]
    );
    machine.handle(Event::Seal);
    assert_eq!(
        machine.handle(ended(0, Stage::PreStart, 0)),
        [Action::Spawn(0, Stage::Main)]
    );
    assert_eq!(
        machine.handle(Event::Executed(0, Stage::Main)),
        [Action::Started, Action::Ready]
    );
    assert_eq!(
        machine.handle(ended(0, Stage::Main, 4)),
        [Action::Spawn(0, Stage::PostStop)]
    );
    assert_eq!(
        machine.handle(ended(0, Stage::PostStop, 0)),
        [Action::WriteStatus(0, 4), Action::Exit(4)]
    );
}

#[test]
fn a_failing_pre_start_keeps_the_app_from_starting() {
    let mut machine = Machine::default();
    machine.handle(Event::AddApp {
        pre_start: true,
        post_stop: false,
        tells: false,
    });
    machine.handle(Event::StartApp(0));
    machine.handle(Event::Seal);
    assert_eq!(
        machine.handle(ended(0, Stage::PreStart, 2)),
        [Action::WriteStatus(0, 2), Action::Exit(2)]
    );
}

#[test]
fn an_open_pod_waits_for_more_apps() {
    let mut machine = Machine::default();
    machine.handle(Event::AddApp {
        pre_start: false,
        post_stop: false,
        tells: false,
    });
    machine.handle(Event::StartApp(0));
    assert_eq!(
        machine.handle(ended(0, Stage::Main, 1)),
        [Action::WriteStatus(0, 1)]
    );
    assert_eq!(
        machine.handle(Event::StartApp(0)),
        [Action::Spawn(0, Stage::Main)]
    );
    machine.handle(Event::Executed(0, Stage::Main));
    assert_eq!(
        machine.handle(Event::StopApp(0, Force::No)),
        [Action::TermApp(0), Action::ArmTimer]
    );
    assert_eq!(machine.handle(Event::TimeOut), [Action::KillApp(0)]);
    assert_eq!(
        machine.handle(ended(0, Stage::Main, 9)),
        [Action::WriteStatus(0, 9)]
    );
    machine.handle(Event::RemoveApp(0));
    assert_eq!(machine.apps().count(), 0);
    assert_eq!(machine.handle(Event::StopPod(Force::No)), [Action::Exit(0)]);
}

#[test]
fn a_stop_that_takes_too_long_ends_in_a_kill() {
    let mut machine = started(1);
    assert_eq!(
        machine.handle(Event::StopPod(Force::No)),
        [Action::TermAll, Action::ArmTimer]
    );
    assert_eq!(machine.handle(Event::TimeOut), [Action::KillAll]);
    assert_eq!(
        machine.handle(ended(0, Stage::Main, 9)),
        [Action::WriteStatus(0, 9), Action::Exit(9)]
    );
}

#[test]
fn a_post_stop_handler_is_let_finish_but_not_for_ever() {
    let mut machine = Machine::default();
    machine.handle(Event::AddApp {
        pre_start: false,
        post_stop: true,
        tells: false,
    });
    machine.handle(Event::AddApp {
        pre_start: false,
        post_stop: false,
        tells: false,
    });
    machine.handle(Event::StartApp(0));
    machine.handle(Event::StartApp(1));
    machine.handle(Event::Seal);
    let end = machine.handle(ended(0, Stage::Main, 0));
    assert_eq!(end, [Action::Spawn(0, Stage::PostStop)]);
    let stop = machine.handle(Event::StopPod(Force::No));
    assert_eq!(stop, [Action::TermApp(1), Action::ArmTimer]);
    assert_eq!(machine.handle(Event::TimeOut), [Action::KillAll]);

    let mut machine = Machine::default();
    machine.handle(Event::AddApp {
        pre_start: false,
        post_stop: true,
        tells: false,
    });
    machine.handle(Event::StartApp(0));
    machine.handle(Event::Seal);
    machine.handle(Event::StopPod(Force::No));
    let end = machine.handle(ended(0, Stage::Main, 0));
    assert_eq!(end, [Action::Spawn(0, Stage::PostStop), Action::ArmTimer]);
}

/// Any order of events: apps are never lost, and the pod ends exactly once.
#[test]
fn no_sequence_loses_an_app() {
    let mut seed = 0x2545_f491_4f6c_dd1d_u64;
    let mut next = move |bound: u64| {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        seed % bound
    };
    for _ in 0..2_000 {
        let mut machine = Machine::default();
        let apps = 1 + next(3) as usize;
        let mut running: Vec<(AppId, Stage)> = Vec::new();
        let mut exits = 0;
        let mut queue: Vec<Event> = Vec::new();
        for app in 0..apps {
            queue.push(Event::AddApp {
                pre_start: next(2) == 0,
                post_stop: next(2) == 0,
                tells: false,
            });
            queue.push(Event::StartApp(app));
        }
        queue.push(Event::Seal);
        queue.reverse();
        for _ in 0..200 {
            let event = if let Some(event) = queue.pop() {
                event
            } else if next(8) == 0 {
                Event::StopPod(if next(4) == 0 { Force::Yes } else { Force::No })
            } else if let Some(at) =
                (!running.is_empty()).then(|| next(running.len() as u64) as usize)
            {
                if next(2) == 0 {
                    Event::Executed(running[at].0, running[at].1)
                } else {
                    let (app, stage) = running.remove(at);
                    let (status, by_term) = (next(3) as i32, next(2) == 0);
                    Event::Ended {
                        app,
                        stage,
                        status,
                        by_term,
                    }
                }
            } else {
                Event::TimeOut
            };
            for action in machine.handle(event) {
                match action {
                    Action::Spawn(app, stage) => running.push((app, stage)),
                    Action::Exit(_) => exits += 1,
                    _ => assert_eq!(exits, 0, "{action:?} after exit"),
                }
            }
        }
        for (app, stage) in std::mem::take(&mut running) {
            for action in machine.handle(ended(app, stage, 0)) {
                match action {
                    Action::Spawn(app, stage) => running.push((app, stage)),
                    Action::Exit(_) => exits += 1,
                    _ => {}
                }
            }
        }
        for (app, stage) in running {
            exits += machine
                .handle(ended(app, stage, 0))
                .iter()
                .filter(|action| matches!(action, Action::Exit(_)))
                .count();
        }
        // Pre-start, main and post-stop may still follow one another.
        assert!(exits <= 1, "ended {exits} times");
    }
}

fn teller() -> Event {
    Event::AddApp {
        pre_start: false,
        post_stop: false,
        tells: true,
    }
}

#[test]
fn a_pod_is_ready_when_the_last_app_has_said_so() {
    let mut machine = started(1);
    machine.sealed = false;
    machine.handle(teller());
    machine.handle(Event::StartApp(1));
    machine.handle(Event::Seal);
    machine.handle(Event::Executed(0, Stage::Main));
    assert_eq!(
        machine.handle(Event::Executed(1, Stage::Main)),
        [Action::Started]
    );
    assert!(!machine.is_ready());
    assert_eq!(machine.handle(Event::Told(1)), [Action::Ready]);
    assert_eq!(machine.handle(Event::Told(1)), [], "only once");
}

#[test]
fn an_app_that_ends_without_a_word_leaves_the_pod_unready() {
    let mut machine = Machine::default();
    machine.handle(teller());
    machine.handle(Event::StartApp(0));
    machine.handle(Event::Seal);
    machine.handle(Event::Executed(0, Stage::Main));
    assert_eq!(
        machine.handle(ended(0, Stage::Main, 0)),
        [Action::WriteStatus(0, 0), Action::Exit(0)]
    );
    assert!(!machine.is_ready());
}

#[test]
fn a_word_before_the_exec_is_seen_counts() {
    let mut machine = Machine::default();
    machine.handle(teller());
    machine.handle(Event::StartApp(0));
    machine.handle(Event::Seal);
    assert_eq!(machine.handle(Event::Told(0)), []);
    assert_eq!(
        machine.handle(Event::Executed(0, Stage::Main)),
        [Action::Started, Action::Ready]
    );
}
