//! Real cgroups, for root only: below a cgroup `rkt-test-<pid>-<n>` of our own
//! in each hierarchy, removed at the end whatever happens.
#![expect(clippy::unwrap_used, reason = "tests")]

use crate::*;
use model::PodUuid;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

static NEXT: AtomicU32 = AtomicU32::new(0);

/// The host's hierarchies, with a cgroup of the test as our own place.
struct Bench {
    facts: Facts,
    places: Vec<PathBuf>,
    uuid: PodUuid,
}

impl Bench {
    /// `None`: not root, or nothing is mounted that root may write.
    fn set_up(needs: Controllers, only_v2: bool) -> Option<Bench> {
        if !rustix::process::geteuid().is_root() {
            eprintln!("skipped: needs root");
            return None;
        }
        let mut facts = Facts::probe(needs).unwrap();
        if only_v2 {
            facts.v1.clear();
        }
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("rkt-test-{}-{number}", std::process::id());
        let mut places = Vec::new();
        for tree in facts.v1.iter_mut().chain(&mut facts.unified) {
            let place = tree.place().join(&name);
            if let Err(err) = std::fs::create_dir(&place) {
                eprintln!("skipped: {}: {err}", place.display());
                places
                    .iter()
                    .for_each(|place: &PathBuf| std::fs::remove_dir(place).unwrap());
                return None;
            }
            tree.own = format!("{}/{name}", tree.own.trim_end_matches('/'));
            places.push(place);
        }
        let uuid = PodUuid::new(&format!(
            "00000000-0000-4000-8000-{:04x}{number:08x}",
            std::process::id() & 0xffff
        ))
        .unwrap();
        Some(Bench {
            facts,
            places,
            uuid,
        })
    }

    fn plan(&self, apps: &[(String, Limits)]) -> Plan {
        self.plan_for(apps, None)
    }

    fn plan_for(&self, apps: &[(String, Limits)], owner: Option<u32>) -> Plan {
        let devices = Devices::default();
        Plan::of(
            &self.facts,
            &Request {
                uuid: &self.uuid,
                apps,
                devices: &devices,
                grows: false,
                owner,
            },
        )
        .unwrap()
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        for place in &self.places {
            if let Some((parent, name)) = place
                .parent()
                .zip(place.file_name().and_then(|name| name.to_str()))
            {
                let parent = std::fs::File::open(parent).unwrap();
                crate::remove::remove(&parent, name).unwrap();
            }
        }
    }
}

/// A shell that waits for the word, joins by its pid (we are not between fork
/// and exec here), and then runs `script`.
fn child_in(app: &AppCgroup, script: &str) -> Child {
    let mut child = Command::new("/bin/sh")
        .args(["-c", &format!("read word; {script}")])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    for door in app.doors() {
        crate::file::put(&door, &child.id().to_string()).unwrap();
    }
    writeln!(child.stdin.as_mut().unwrap(), "go").unwrap();
    child
}

fn first_line(child: &mut Child) -> String {
    let mut line = String::new();
    BufReader::new(child.stdout.as_mut().unwrap())
        .read_line(&mut line)
        .unwrap();
    line.trim().to_string()
}

fn one(limits: Limits) -> Vec<(String, Limits)> {
    vec![("one".to_string(), limits)]
}

/// What holds on every host, whichever version confines.
fn confined_killed_and_removed(bench: &Bench) {
    let plan = bench.plan(&one(Limits::default()));
    let pod = plan.create().unwrap();
    if !pod.devices_confined {
        eprintln!("not confined here: {:?}", pod.notes);
    }
    // A second one cannot take the same place while somebody is inside.
    let app = pod.app("one").unwrap();
    assert!(!app.is_none());
    let probe = "exec 2>/dev/null; true </dev/null && true </dev/urandom && d=$(mktemp -u /tmp/rkt-test-node.XXXXXX) && \
                 mknod $d b 1 7 && if true <$d; then r=open; else r=shut; fi; rm -f $d; echo $r; \
                 sleep 1000 & sleep 1000";
    let mut child = child_in(&app, probe);
    let said = first_line(&mut child);
    let again = plan.create();
    let found = open(&plan.record(), &bench.uuid).unwrap();
    let same = found.app("one").unwrap();
    let inside = !same.is_empty().unwrap();
    let killed = same.kill().unwrap();
    child.wait().unwrap();
    let known = found.devices_confined;
    let removed = found.remove();
    let gone = plan.record().lines().all(|line| !Path::new(line).exists());
    assert_eq!(said, if pod.devices_confined { "shut" } else { "open" });
    assert_eq!(known, pod.devices_confined);
    assert!(
        again.is_err() && inside && killed && gone,
        "{again:?} {inside} {killed} {gone}"
    );
    removed.unwrap();
    pod.remove().unwrap();
}

#[test]
fn a_pod_is_confined_killed_and_removed() {
    if let Some(bench) = Bench::set_up(Controllers::EMPTY, false) {
        confined_killed_and_removed(&bench);
    }
}

#[test]
fn the_same_in_the_v2_tree_alone() {
    if let Some(bench) = Bench::set_up(Controllers::EMPTY, true)
        && bench.facts.unified.is_some()
    {
        confined_killed_and_removed(&bench);
    }
}

#[test]
fn limits_are_in_force_and_an_oom_kill_is_told() {
    let limits = Limits {
        memory_max: Some(16 << 20),
        cpu_quota_milli: Some(500),
        cpu_shares: Some(512),
        pids_max: None,
    };
    let Some(bench) = Bench::set_up(limits.needs(), false) else {
        return;
    };
    if limits
        .needs()
        .iter()
        .any(|need| bench.facts.v1_of(need).is_none())
    {
        return eprintln!("skipped: the v2 tree with controllers is tested in a virtual machine");
    }
    let plan = bench.plan(&one(limits.clone()));
    let pod = plan.create().unwrap();
    let app = pod.app("one").unwrap();
    let mut child = child_in(&app, "v=x; while :; do v=$v$v; done");
    child.wait().unwrap();
    let kills = app.oom_kills();
    let usage = app.usage();
    pod.kill().unwrap();
    pod.remove().unwrap();
    assert!(kills.is_some_and(|kills| kills > 0), "{kills:?}");
    assert!(
        usage
            .memory_peak
            .is_some_and(|peak| peak <= 16 << 20 && peak > 8 << 20),
        "{usage:?}"
    );
}

#[test]
fn apps_come_and_go_and_nested_cgroups_are_removed() {
    let Some(bench) = Bench::set_up(Controllers::EMPTY, false) else {
        return;
    };
    let plan = bench.plan(&[]);
    let pod = plan.create().unwrap();
    let app = pod.add_app("late", &Limits::default()).unwrap();
    let mut child = child_in(&app, "echo in; sleep 1000");
    let said = first_line(&mut child);
    let refused = pod
        .add_app(
            "greedy",
            &Limits {
                memory_max: Some(1 << 20),
                ..Limits::default()
            },
        )
        .unwrap_err();
    assert!(app.kill().unwrap());
    child.wait().unwrap();
    pod.remove_app("late").unwrap();
    let mut deep = PathBuf::from(plan.record().lines().next().unwrap());
    for _ in 0..10 {
        deep.push("nested");
        std::fs::create_dir(&deep).unwrap();
    }
    pod.remove().unwrap();
    assert_eq!(said, "in");
    assert!(
        refused.cause.contains("without the memory controller"),
        "{refused}"
    );
    assert!(plan.record().lines().all(|line| !Path::new(line).exists()));
}

#[test]
fn a_pod_with_its_own_root_gets_its_cgroups_but_not_its_limits() {
    use std::os::unix::fs::MetadataExt;
    const OWNER: u32 = 1_000_000;
    let limits = Limits {
        memory_max: Some(16 << 20),
        ..Limits::default()
    };
    for only_v2 in [false, true] {
        let asked = if only_v2 {
            Limits::default()
        } else {
            limits.clone()
        };
        let Some(bench) = Bench::set_up(asked.needs(), only_v2) else {
            return;
        };
        let plan = bench.plan_for(&one(asked), Some(OWNER));
        let pod = plan.create().unwrap();
        let owner = |path: &str| std::fs::metadata(path).map(|stat| stat.uid()).ok();
        let mut seen = Vec::new();
        for place in plan.record().lines() {
            let v2 = Path::new(place).join("cgroup.type").exists();
            let door = if v2 { "cgroup.procs" } else { "tasks" };
            seen.push((v2, "its own", owner(place) == Some(OWNER)));
            for name in [door, &format!("app-one/{door}")] {
                seen.push((
                    v2,
                    "a door",
                    owner(&format!("{place}/{name}")) == Some(OWNER),
                ));
            }
            for name in [
                "app-one",
                "app-one/memory.limit_in_bytes",
                "app-one/memory.max",
            ] {
                let bound = owner(&format!("{place}/{name}")).is_none_or(|uid| uid == 0);
                seen.push((v2, "a bound", bound));
            }
        }
        pod.remove().unwrap();
        assert!(
            !seen.is_empty() && seen.iter().all(|(_, _, good)| *good),
            "{seen:?}"
        );
    }
}

#[test]
fn who_had_to_move_comes_back_with_the_last_pod() {
    let Some(bench) = Bench::set_up(Controllers::EMPTY, true) else {
        return;
    };
    if bench.facts.unified.is_none() {
        return eprintln!("skipped: no cgroup2 tree is mounted");
    }
    let base = bench.places[0].clone();
    let aside = base.join(crate::plan::BESIDE);
    std::fs::create_dir(&aside).unwrap();
    let mut child = Command::new("/bin/sleep").arg("1000").spawn().unwrap();
    std::fs::write(aside.join("cgroup.procs"), child.id().to_string()).unwrap();
    let inside = |place: &Path| {
        let list = std::fs::read_to_string(place.join("cgroup.procs")).unwrap();
        list.lines().any(|pid| pid == child.id().to_string())
    };
    let plan = bench.plan(&one(Limits::default()));
    let pod = plan.create().unwrap();
    std::fs::create_dir(base.join("rkt-other")).unwrap();
    let first = pod.remove();
    let stayed = inside(&aside);
    std::fs::remove_dir(base.join("rkt-other")).unwrap();
    let again = plan.create().and_then(|pod| pod.remove());
    let back = inside(&base) && !aside.exists();
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(stayed && back, "{stayed} {back}");
    first.and(again).unwrap();
}
