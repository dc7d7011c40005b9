//! Planning for those who are not root of the host: what was delegated to them
//! and what was not, from tables.
#![expect(clippy::unwrap_used, reason = "tests")]

use crate::tree::{Inside, Level, Moving, Reach, choose};
use crate::*;
use model::PodUuid;
use std::path::PathBuf;

const UUID: &str = "6733c088-a507-4694-aabf-bb0b0b0b0b02";

const SYSTEMD: Ordinary = Ordinary {
    uid: 1000,
    systemd: true,
};
const ELSEWHERE: Ordinary = Ordinary {
    uid: 1000,
    systemd: false,
};
const MINE: Reach = Reach {
    carry: true,
    switch: true,
    given: false,
};
const GIVEN: Reach = Reach {
    given: true,
    ..MINE
};
const CLOSED: Reach = Reach {
    carry: false,
    switch: false,
    given: false,
};

fn memory() -> Controllers {
    Controllers::EMPTY.with(Controller::Memory)
}

/// `enabled` is handed down, and so is what the level itself has.
fn level(path: &str, available: &str, enabled: &str, inside: Inside, reach: Reach) -> Level {
    Level {
        path: PathBuf::from(path),
        available: Controllers::among(available, ' '),
        enabled: Controllers::among(enabled, ' '),
        inside,
        reach,
        root: path == "/c",
        domain: true,
    }
}

fn root() -> Level {
    level("/c", "memory cpu", "memory", Inside::Others, CLOSED)
}

/// The user manager's own, delegated to the user.
fn manager(available: &str) -> Level {
    level("/c/user", available, available, Inside::Nobody, MINE)
}

fn place(levels: &[Level]) -> (String, usize, Moving) {
    let site = choose(levels, memory(), Some(SYSTEMD)).unwrap();
    (
        site.path.display().to_string(),
        site.enable.len(),
        site.moving,
    )
}

#[test]
fn a_scope_of_our_own_carries_the_pod() {
    let scope = |inside, reach| level("/c/user/scope", "memory", "", inside, reach);
    let alone = [scope(Inside::OnlyUs, GIVEN), manager("memory"), root()];
    assert_eq!(place(&alone), ("/c/user/scope".into(), 1, Moving::Us));
    // A shell in it: all move, as the scope was given to them.
    let shell = [scope(Inside::Others, GIVEN), manager("memory"), root()];
    assert_eq!(place(&shell), ("/c/user/scope".into(), 1, Moving::All));
    // A terminal's scope is the manager's: the pod goes beside it.
    let terminal = [scope(Inside::Others, MINE), manager("memory"), root()];
    assert_eq!(place(&terminal), ("/c/user".into(), 0, Moving::Nobody));
    // Processes that we cannot name cannot be moved.
    let strangers = [scope(Inside::Strangers, GIVEN), manager("memory"), root()];
    assert_eq!(place(&strangers), ("/c/user".into(), 0, Moving::Nobody));
}

#[test]
fn a_subtree_from_an_admin_needs_no_mark() {
    let own = level("/c/rkt-1000", "memory", "", Inside::Others, MINE);
    let levels = [own, root()];
    assert_eq!(place(&levels), ("/c/rkt-1000".into(), 1, Moving::All));
    // The next pod starts from the leaf that the first one left behind.
    let levels = [
        level("/c/rkt-1000/rkt-beside", "memory", "", Inside::Others, MINE),
        level("/c/rkt-1000", "memory", "memory", Inside::Nobody, MINE),
        root(),
    ];
    assert_eq!(place(&levels), ("/c/rkt-1000".into(), 0, Moving::Nobody));
    // Nothing is switched on for us above what is ours.
    let levels = [
        level("/c/rkt-1000", "", "", Inside::OnlyUs, MINE),
        level("/c", "memory", "", Inside::Others, CLOSED),
    ];
    assert!(choose(&levels, memory(), Some(ELSEWHERE)).is_err());
}

#[test]
fn the_root_of_a_cgroup_namespace_is_the_containers() {
    let own = |inside| Level {
        root: false,
        ..level("/c", "memory", "", inside, MINE)
    };
    // Root of the container, with a user namespace and without.
    for ordinary in [Some(ELSEWHERE), None] {
        let moving = |inside| choose(&[own(inside)], memory(), ordinary).map(|site| site.moving);
        assert_eq!(moving(Inside::Others).unwrap(), Moving::All);
        assert_eq!(moving(Inside::OnlyUs).unwrap(), Moving::Us);
        assert!(moving(Inside::Strangers).is_err());
    }
    let lacking = Controllers::EMPTY.with(Controller::Cpu);
    let fault = choose(&[own(Inside::OnlyUs)], lacking, None).unwrap_err();
    assert!(fault.hint.unwrap().contains("hand it down"));
}

#[test]
fn what_was_not_given_says_how_to_get_it() {
    let session = || level("/c/session", "memory", "", Inside::Others, CLOSED);
    let levels = [session(), root()];
    let refused = |ordinary| choose(&levels, memory(), Some(ordinary)).unwrap_err();
    let fault = refused(SYSTEMD);
    assert_eq!(
        fault.to_string(),
        "the cgroup /c/session is not delegated to you, so memory cannot be bounded"
    );
    assert_eq!(
        fault.hint.unwrap(),
        "systemd-run --user --scope -p Delegate=yes rkt run …"
    );
    assert_eq!(
        refused(ELSEWHERE).hint.unwrap(),
        "as root: echo \"+memory\" >/c/cgroup.subtree_control; mkdir /c/rkt-1000; \
         chown 1000 /c/rkt-1000 /c/rkt-1000/cgroup.procs /c/rkt-1000/cgroup.subtree_control; \
         echo PID >/c/rkt-1000/cgroup.procs, where PID is the shell's that starts rkt"
    );
}

#[test]
fn a_delegation_without_the_controller_says_so() {
    let cpu = Controllers::EMPTY.with(Controller::Cpu);
    let levels = [
        level("/c/user/scope", "memory", "", Inside::OnlyUs, GIVEN),
        manager("memory"),
        root(),
    ];
    let refused = |ordinary| choose(&levels, cpu, Some(ordinary)).unwrap_err();
    let fault = refused(SYSTEMD);
    assert_eq!(
        fault.to_string(),
        "the cgroup /c/user was given to you without the controller cpu"
    );
    assert!(fault.hint.unwrap().contains("Delegate=cpu memory pids"));
    let hint = refused(ELSEWHERE).hint.unwrap();
    assert!(
        hint.contains("\"+cpu\" into cgroup.subtree_control"),
        "{hint}"
    );
}

fn plan(facts: &Facts, limits: Limits, grows: bool) -> model::fault::Result<Plan> {
    let uuid = PodUuid::new(UUID).unwrap();
    Plan::of(
        facts,
        &Request {
            uuid: &uuid,
            apps: &[("one".to_string(), limits)],
            devices: &Devices::default(),
            grows,
            owner: None,
        },
    )
}

fn tree(version: Version, controllers: Controllers, mount: &str, own: &str) -> Hierarchy {
    Hierarchy {
        version,
        controllers,
        mount: PathBuf::from(mount),
        own: own.to_string(),
    }
}

fn facts(levels: Vec<Level>) -> Facts {
    Facts {
        mode: Mode::V2,
        unified: Some(tree(Version::V2, Controllers::EMPTY, "/c", "/own")),
        v1: Vec::new(),
        levels,
        ordinary: Some(ELSEWHERE),
    }
}

fn bounded() -> Limits {
    Limits {
        memory_max: Some(64 << 20),
        ..Limits::default()
    }
}

#[test]
fn without_limits_a_pod_takes_what_there_is() {
    let own = |reach| level("/c/own", "", "", Inside::Others, reach);
    // Nothing is moved for a pod that asks for nothing, nor for its growth.
    for grows in [false, true] {
        let plan = plan(&facts(vec![own(MINE), root()]), Limits::default(), grows).unwrap();
        assert_eq!(plan.record(), format!("/c/own/rkt-{UUID}\n"));
        assert_eq!(plan.trees[0].site.moving, Moving::Nobody);
        // No list of devices can be loaded, and none is needed.
        assert!(!plan.trees[0].confines && plan.notes.is_empty());
    }
    let without = plan(&facts(vec![own(CLOSED), root()]), Limits::default(), true).unwrap();
    assert_eq!(without.record(), "");
    assert_eq!(
        without.notes,
        ["the pod has no cgroup of its own, since none is delegated to you"]
    );
    let fault = plan(&facts(vec![own(CLOSED), root()]), bounded(), false).unwrap_err();
    assert_eq!(
        fault.to_string(),
        "the cgroup /c/own is not delegated to you, so memory cannot be bounded"
    );
}

#[test]
fn a_v1_tree_is_never_delegated() {
    let mut facts = facts(vec![level("/c", "", "", Inside::Others, CLOSED)]);
    let v1 = memory().with(Controller::Devices);
    facts.v1 = vec![tree(Version::V1, v1, "/v1", "/")];
    facts.mode = Mode::Hybrid;
    let plain = plan(&facts, Limits::default(), true).unwrap();
    assert_eq!(plain.record(), "");
    let fault = plan(&facts, bounded(), false).unwrap_err();
    assert_eq!(
        fault.to_string(),
        "resource/memory of app \"one\" cannot be enforced: this host has the memory controller in a \
         cgroup v1 tree, which cannot be delegated to an ordinary user"
    );
    assert!(
        fault
            .hint
            .unwrap()
            .starts_with("boot with cgroup_no_v1=all")
    );
}
