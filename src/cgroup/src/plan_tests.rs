//! Planning on hosts of every kind, from recorded text: no cgroupfs needed.
#![expect(clippy::unwrap_used, reason = "tests")]

use crate::hierarchy::Host;
use crate::tree::{Inside, Level, Moving, Reach, choose};
use crate::*;
use model::PodUuid;
use std::path::{Path, PathBuf};

const UUID: &str = "6733c088-a507-4694-aabf-bb0b0b0b0b01";

fn look(text: &str, needs: Controllers, mounted: &[(&str, Version)], mountinfo: &str) -> Facts {
    Facts::look(
        text,
        needs,
        &Host {
            statfs: &|path: &Path| {
                mounted
                    .iter()
                    .find(|(known, _)| Path::new(known) == path)
                    .map(|(_, version)| *version)
            },
            mounts: &|| mountinfo.to_string(),
        },
    )
}

fn all() -> Controllers {
    Controllers::ALL
}

const HYBRID: &str =
    "9:name=systemd:/\n8:pids:/\n5:devices:/x\n4:memory:/a/b\n3:cpuset:/\n2:cpu,cpuacct:/\n0::/\n";

fn hybrid(needs: Controllers) -> Facts {
    let mounted = [
        ("/sys/fs/cgroup/unified", Version::V2),
        ("/sys/fs/cgroup/pids", Version::V1),
        ("/sys/fs/cgroup/devices/x", Version::V1),
        ("/sys/fs/cgroup/memory/a/b", Version::V1),
        ("/sys/fs/cgroup/cpu,cpuacct", Version::V1),
    ];
    look(HYBRID, needs, &mounted, "must not be read")
}

#[test]
fn a_hybrid_host_without_its_mount_table() {
    let facts = hybrid(all());
    assert_eq!(facts.mode, Mode::Hybrid);
    assert_eq!(facts.v1.len(), 4);
    assert_eq!(
        facts.v1_of(Controller::Memory).unwrap().place(),
        Path::new("/sys/fs/cgroup/memory/a/b")
    );
    assert_eq!(
        facts.v1_of(Controller::Cpu).unwrap().place(),
        Path::new("/sys/fs/cgroup/cpu,cpuacct")
    );
    // Only what is needed is looked up; devices always are.
    assert_eq!(hybrid(Controllers::EMPTY).v1.len(), 1);
}

#[test]
fn other_hosts() {
    let facts = look(
        "0::/user.slice/s\n",
        all(),
        &[
            ("/sys/fs/cgroup", Version::V2),
            ("/sys/fs/cgroup/user.slice/s", Version::V2),
        ],
        "",
    );
    assert_eq!(
        (facts.mode, facts.unified.unwrap().own.as_str()),
        (Mode::V2, "/user.slice/s")
    );
    let facts = look(
        "3:devices:/\n",
        all(),
        &[("/sys/fs/cgroup/devices", Version::V1)],
        "",
    );
    assert_eq!(facts.mode, Mode::V1);
    assert_eq!(look("3:devices:/\n0::/\n", all(), &[], "").mode, Mode::None);
    assert_eq!(look("", all(), &[], "").mode, Mode::None);
    assert_eq!(
        look(
            "garbage\n:\n::\n0:\n0::\n7:devices\n",
            all(),
            &[],
            "garbage - - -\n\n - \n"
        )
        .mode,
        Mode::None
    );
}

#[test]
fn odd_mounts_are_found_in_the_mount_table() {
    // A container without a cgroup namespace, mounts shifted and escaped.
    let table = "30 25 0:26 /docker/abc /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n\
                 31 25 0:27 / /odd\\040place ro - cgroup dev rw,devices\n\
                 32 25 0:28 / /cpus ro - cgroup cgroup rw,cpu,cpuacct\n";
    let text = "4:memory:/docker/abc/inner\n3:devices:/\n2:cpu,cpuacct:/../up\n";
    let facts = look(text, all(), &[], table);
    assert_eq!(
        facts.v1_of(Controller::Memory).unwrap().place(),
        Path::new("/sys/fs/cgroup/memory/inner")
    );
    assert_eq!(
        facts.v1_of(Controller::Devices).unwrap().place(),
        Path::new("/odd place")
    );
    // Our own place is out of sight: the root of what we see.
    assert_eq!(
        facts.v1_of(Controller::Cpu).unwrap().place(),
        Path::new("/cpus")
    );
}

fn level(path: &str, available: &str, enabled: &str, inside: Inside) -> Level {
    Level {
        path: PathBuf::from(path),
        available: Controllers::among(available, ' '),
        enabled: Controllers::among(enabled, ' '),
        inside,
        reach: Reach::ROOT,
        root: path == "/c",
        domain: true,
    }
}

const MEMORY: &str = "memory";

fn memory() -> Controllers {
    Controllers::EMPTY.with(Controller::Memory)
}

fn site(levels: &[Level]) -> (String, String, bool) {
    let (path, steps, moving) = site_of(levels, None);
    assert_ne!(moving, Moving::All);
    (path, steps, moving == Moving::Us)
}

fn site_of(levels: &[Level], ordinary: Option<Ordinary>) -> (String, String, Moving) {
    let site = choose(levels, memory(), ordinary).unwrap();
    let steps: Vec<String> = site
        .enable
        .iter()
        .map(|(path, controllers)| format!("{}{}", path.display(), controllers.signed('+')))
        .collect();
    (
        site.path.display().to_string(),
        steps.join(" "),
        site.moving,
    )
}

fn found(path: &str, steps: &str, move_self: bool) -> (String, String, bool) {
    (path.to_string(), steps.to_string(), move_self)
}

#[test]
fn the_nearest_level_that_can_carry_a_pod() {
    use Inside::{Nobody, OnlyUs, Others};
    let root = |enabled| level("/c", "cpu memory pids", enabled, Others);
    // A shell in the root cgroup, as on Alpine.
    assert_eq!(site(&[root("")]), found("/c", "/c+memory", false));
    assert_eq!(site(&[root("memory")]), found("/c", "", false));
    // A service of our own: we move into a leaf.
    let levels = [level("/c/svc", MEMORY, "", OnlyUs), root(MEMORY)];
    assert_eq!(site(&levels), found("/c/svc", "/c/svc+memory", true));
    // Others are there too: beside it.
    let levels = [
        level("/c/s/svc", "", "", Others),
        level("/c/s", "", "", Nobody),
        root(""),
    ];
    assert_eq!(site(&levels), found("/c/s", "/c+memory /c/s+memory", false));
    // The level above is threaded: further up.
    let mut levels = [
        level("/c/s/svc", "", "", Others),
        level("/c/s", MEMORY, "", Nobody),
        root(MEMORY),
    ];
    levels[1].domain = false;
    assert_eq!(site(&levels), found("/c", "", false));
    // An inner level must not be switched on under processes.
    let levels = [
        level("/c/s/svc", "", "", OnlyUs),
        level("/c/s", MEMORY, "", Others),
        root(MEMORY),
    ];
    assert_eq!(site(&levels), found("/c", "", false));
}

#[test]
fn no_level_can_carry_it() {
    let inner = |path: &str| {
        let mut level = level(path, MEMORY, "", Inside::Others);
        level.root = false;
        level
    };
    let fault = choose(&[inner("/c/x"), inner("/c")], memory(), None).unwrap_err();
    assert!(
        fault.cause.contains("memory cannot be switched on"),
        "{fault}"
    );
    let fault = choose(&[level("/c", "cpu", "", Inside::Nobody)], memory(), None).unwrap_err();
    assert_eq!(
        fault.to_string(),
        "this host has no memory controller in \"/c\""
    );
    assert!(fault.hint.unwrap().contains("cgroup_enable=memory"));
}

fn plan(facts: &Facts, apps: &[(String, Limits)], grows: bool) -> model::fault::Result<Plan> {
    let uuid = PodUuid::new(UUID).unwrap();
    Plan::of(
        facts,
        &Request {
            uuid: &uuid,
            apps,
            devices: &Devices::default(),
            grows,
            owner: None,
        },
    )
}

fn apps(limits: Limits) -> Vec<(String, Limits)> {
    vec![
        ("redis".to_string(), limits),
        ("sidecar".to_string(), Limits::default()),
    ]
}

#[test]
fn a_pod_without_limits_costs_one_v1_hierarchy() {
    let plan = plan(&hybrid(Controllers::EMPTY), &apps(Limits::default()), false).unwrap();
    assert_eq!(
        plan.record(),
        format!("/sys/fs/cgroup/devices/x/rkt-{UUID}\n")
    );
    assert!(plan.trees[0].confines && plan.trees[0].apps.len() == 2);
    assert!(plan.notes.is_empty());
}

#[test]
fn limits_go_to_v1_where_it_is_mounted() {
    let limits = Limits {
        memory_max: Some(64 << 20),
        cpu_shares: Some(512),
        ..Limits::default()
    };
    let plan = plan(&hybrid(limits.needs()), &apps(limits), false).unwrap();
    let lines: Vec<String> = plan
        .trees
        .iter()
        .flat_map(|tree| tree.apps.iter().map(move |app| (tree, app)))
        .map(|(tree, app)| {
            format!(
                "{} {} {}",
                tree.site.path.display(),
                app.name,
                app.settings.len()
            )
        })
        .collect();
    assert_eq!(
        lines,
        [
            "/sys/fs/cgroup/memory/a/b redis 1",
            "/sys/fs/cgroup/cpu,cpuacct redis 1",
            "/sys/fs/cgroup/devices/x redis 0",
            "/sys/fs/cgroup/devices/x sidecar 0"
        ]
    );
}

#[test]
fn limits_go_to_v2_where_it_is_alone() {
    let mut facts = look("0::/\n", all(), &[("/sys/fs/cgroup", Version::V2)], "");
    facts.levels = vec![Level {
        root: true,
        ..level("/sys/fs/cgroup", "memory cpu", "", Inside::Others)
    }];
    let limits = Limits {
        memory_max: Some(64 << 20),
        ..Limits::default()
    };
    let plan_of = |grows| plan(&facts, &apps(limits.clone()), grows).unwrap();
    let tree = &plan_of(false).trees[0];
    assert_eq!(tree.controllers.signed('+'), "+memory");
    assert!(tree.confines && tree.counts);
    assert_eq!(
        plan_of(true).trees[0].controllers.signed('+'),
        "+memory +cpu"
    );
}

#[test]
fn a_limit_that_nothing_enforces_refuses_the_run() {
    let limits = Limits {
        memory_max: Some(64 << 20),
        ..Limits::default()
    };
    let none = look("", all(), &[], "");
    let fault = plan(&none, &apps(limits), false).unwrap_err();
    assert_eq!(
        fault.to_string(),
        "resource/memory of app \"redis\" cannot be enforced: no memory controller is mounted"
    );
    assert_eq!(
        fault.hint.unwrap(),
        "mount them: mount -t cgroup2 cgroup2 /sys/fs/cgroup"
    );
    // Without limits it runs, and says what is missing.
    let plan = plan(&none, &apps(Limits::default()), false).unwrap();
    assert!(plan.notes[0].starts_with("weaker: "), "{:?}", plan.notes);
    assert_eq!(plan.record(), "");
}

#[test]
fn limits_of_isolators_the_last_wins() {
    use model::isolator::{Isolator, Known};
    let isolators = |list: Vec<Known>| -> Vec<Isolator> {
        list.into_iter()
            .map(|known| Isolator {
                name: model::AcIdentifier::new("resource/x").unwrap(),
                value: model::Value::Null,
                known,
            })
            .collect()
    };
    let limits = Limits::of(&isolators(vec![
        Known::Memory {
            request: None,
            limit: Some(1 << 20),
        },
        Known::Memory {
            request: Some(5),
            limit: Some(2 << 20),
        },
        Known::Cpu {
            request: Some(100),
            limit: None,
        },
        Known::CpuShares(7),
    ]));
    let expected = Limits {
        memory_max: Some(2 << 20),
        cpu_shares: Some(7),
        ..Limits::default()
    };
    assert_eq!(limits.unwrap(), expected);
    for bad in [
        Known::Cpu {
            request: None,
            limit: Some(0),
        },
        Known::Memory {
            request: None,
            limit: Some(-1),
        },
    ] {
        assert!(
            Limits::of(&isolators(vec![bad]))
                .unwrap_err()
                .cause
                .contains("is not above zero")
        );
    }
    let fault = Limits::of(&isolators(vec![Known::Throttle { limit: 5 }])).unwrap_err();
    assert_eq!(
        fault.to_string(),
        "the isolator \"resource/x\" cannot be enforced"
    );
}

#[test]
fn a_hostile_record_opens_nothing() {
    let uuid = PodUuid::new(UUID).unwrap();
    let name = format!("rkt-{UUID}");
    for line in [
        format!("/sys/fs/cgroup/devices/../{name}"),
        format!("sys/fs/cgroup/{name}"),
        format!("/sys//fs/{name}"),
        "/sys/fs/cgroup/rkt-other".to_string(),
        "/".to_string(),
        name.clone(),
        format!("/sys/fs/cgroup/devices/{name}/"),
        format!("/tmp/{name}"),
    ] {
        assert!(open(&line, &uuid).is_err(), "{line}");
    }
    // What is gone is no fault.
    assert!(
        open(&format!("/sys/no-such/{name}\n"), &uuid)
            .unwrap()
            .trees
            .is_empty()
    );
}
