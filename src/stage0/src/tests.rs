//! The verbs one after another on a data directory of their own.

#![expect(clippy::unwrap_used, reason = "tests")]

use crate::env::{Env, Line};
use crate::fetch::{PullPolicy, Wanted, fetch};
use crate::gc::{GcRequest, gc};
use crate::images::{self, SortKey, UnpackRequest};
use crate::pods::{Detail, PodName, list};
use crate::prepare::{PrepareRequest, prepare};
use crate::run::{RunRequest, run};
use crate::stage1_image::Choice;
use crate::status::{Wait, status};
use crate::testing::{TempDir, env, image, is_root, stage1_image};
use model::options::AppOptions;
use model::{ImageId, PodUuid};
use pod::{Pod, State};
use std::path::Path;
use std::time::Duration;

fn lines(work: impl FnOnce(&mut dyn FnMut(Line)) -> model::fault::Result<()>) -> (Vec<Line>, bool) {
    let mut lines = Vec::new();
    let done = work(&mut |line| lines.push(line));
    (lines, done.is_ok())
}

fn fetch_one(env: &Env, word: &str, policy: PullPolicy) -> model::fault::Result<ImageId> {
    let mut ids = Vec::new();
    let wanted = Wanted {
        image: word.to_string(),
        signature: None,
    };
    fetch(env, &[wanted], policy, &mut |id| ids.push(id.clone()))?;
    Ok(ids.remove(0))
}

fn request(images: &[&str]) -> PrepareRequest {
    let mut request = PrepareRequest::default();
    let app = |image: &&str| AppOptions {
        image: image.to_string(),
        ..AppOptions::default()
    };
    request.pod.apps = images.iter().map(app).collect();
    request
}

fn name(uuid: &PodUuid) -> PodName {
    PodName::Uuid(uuid.as_str().to_string())
}

fn collect(env: &Env, grace: Duration) -> Vec<Line> {
    let request = GcRequest {
        grace,
        grace_text: "30m0s".into(),
        expire_prepared: Duration::from_secs(86_400),
        mark_only: false,
    };
    lines(|sink| gc(env, &request, sink)).0
}

#[test]
fn a_local_file_without_signature_is_refused_as_ever() {
    let dir = TempDir::new();
    let file = image(&dir, "a", None);
    let strict = env(&dir, "none");
    let word = file.to_str().unwrap();
    let fault = fetch_one(&strict, word, PullPolicy::Update).unwrap_err();
    assert_eq!(
        fault.to_string(),
        format!("open {word}.asc: no such file or directory")
    );
    std::fs::write(format!("{word}.asc"), "signature").unwrap();
    let fault = fetch_one(&strict, word, PullPolicy::Update).unwrap_err();
    assert!(fault.hint.unwrap().contains("--insecure-options=image"));
    assert!(images::list(&strict, &[], false).unwrap().images.is_empty());
}

#[test]
fn what_needs_the_network_is_refused_by_name() {
    let dir = TempDir::new();
    let env = env(&dir, "image");
    for word in [
        "example.com/a",
        "https://example.com/a.aci",
        "docker://busybox",
    ] {
        if cfg!(not(feature = "fetch")) {
            let fault = fetch_one(&env, word, PullPolicy::New).unwrap_err();
            assert!(fault.cause.contains("no network fetching"), "{fault}");
        }
        let fault = fetch_one(&env, word, PullPolicy::Never).unwrap_err();
        assert!(fault.cause.starts_with("unable to fetch"), "{fault}");
    }
}

#[test]
fn an_image_goes_in_and_out_unchanged() {
    let dir = TempDir::new();
    let env = env(&dir, "image");
    let file = image(&dir, "a", None);
    let id = fetch_one(&env, file.to_str().unwrap(), PullPolicy::Update).unwrap();
    assert_eq!(
        fetch_one(&env, "example.com/a:1.0.0", PullPolicy::New).unwrap(),
        id
    );
    let listing = images::list(&env, &[SortKey::ImportTime], false).unwrap();
    assert_eq!(listing.images[0].name, "example.com/a:1.0.0");
    let out = dir.path().join("out.aci");
    images::export(&env, id.short(), &out, false).unwrap();
    assert_eq!(std::fs::read(&out).unwrap(), std::fs::read(&file).unwrap());
    let fault = images::export(&env, "example.com/a", &out, false).unwrap_err();
    assert_eq!(fault.cause, "output ACI file exists (try --overwrite)");
    let tree = |name: &str, rootfs_only| UnpackRequest {
        image: "example.com/a".into(),
        dir: dir.path().join(name),
        rootfs_only,
        overwrite: false,
    };
    images::extract(&env, &tree("x", false)).unwrap();
    assert!(dir.path().join("x/rootfs/etc/a").is_file());
    images::extract(&env, &tree("y", true)).unwrap();
    assert!(dir.path().join("y/etc/a").is_file());
    images::render(&env, &tree("z", false)).unwrap();
    assert!(dir.path().join("z/rootfs/etc/a").is_file());
    assert!(dir.path().join("z/manifest").is_file());
    let words = [
        "example.com/a".to_string(),
        id.as_str().to_string(),
        "example.com/b".to_string(),
    ];
    let (said, fine) = lines(|sink| images::rm(&env, &words, sink));
    assert!(fine, "a name that is not there does not fail");
    assert_eq!(said[2], Line::Err("1 image(s) successfully removed".into()));
}

#[test]
fn a_missing_dependency_stops_the_fetch() {
    let dir = TempDir::new();
    let env = env(&dir, "image");
    let upper = image(&dir, "upper", Some("lower"));
    let word = upper.to_str().unwrap();
    assert!(fetch_one(&env, word, PullPolicy::Never).is_err());
    let lower = image(&dir, "lower", None);
    fetch_one(&env, lower.to_str().unwrap(), PullPolicy::Update).unwrap();
    fetch_one(&env, word, PullPolicy::Update).unwrap();
    let request = UnpackRequest {
        image: "example.com/upper".into(),
        dir: dir.path().join("both"),
        rootfs_only: true,
        overwrite: false,
    };
    images::render(&env, &request).unwrap();
    assert!(dir.path().join("both/etc/upper").is_file());
    assert!(dir.path().join("both/etc/lower").is_file());
}

#[test]
fn a_run_that_cannot_be_is_refused_before_a_pod_exists() {
    if !is_root() {
        return;
    }
    let dir = TempDir::new();
    let env = env(&dir, "image");
    let file = image(&dir, "a", None);
    let mut wanted = RunRequest {
        prepare: request(&[file.to_str().unwrap()]),
        ..RunRequest::default()
    };
    wanted.options.net = vec!["a".into(), "a".into()];
    assert_eq!(run(&env, &wanted).cause, "found duplicate netname \"a\"");
    wanted.options.net = vec!["none".into()];
    wanted.options.ipc = "bad".into();
    assert_eq!(
        run(&env, &wanted).cause,
        "unknown value for --ipc parameter: bad"
    );
    wanted.prepare.pod.apps.clear();
    let fault = run(&env, &wanted);
    assert_eq!(
        fault.cause,
        "must provide at least one image or specify the pod manifest"
    );
    assert!(!dir.path().join("data/pods").exists());
}

#[test]
fn a_prepared_pod_outlives_its_image() {
    if !is_root() {
        return;
    }
    let dir = TempDir::new();
    let env = env(&dir, "image");
    let file = image(&dir, "a", None);
    let uuid_file = dir.path().join("uuid");
    for no_overlay in [false, true] {
        let mut wanted = request(&[file.to_str().unwrap()]);
        wanted.no_overlay = no_overlay;
        wanted.uuid_file_save = Some(uuid_file.clone());
        let uuid = prepare(&env, &wanted).unwrap();
        assert_eq!(std::fs::read_to_string(&uuid_file).unwrap(), uuid.as_str());
        let (_, fine) = lines(|sink| images::rm(&env, &["example.com/a".into()], sink));
        assert!(fine);
        let pod = Pod::open(&env.dir, &uuid).unwrap();
        assert_eq!(pod.state(), State::Prepared);
        match pod.rootfs(&model::AcName::new("a").unwrap()).unwrap() {
            pod::Rootfs::Overlay { lowers, .. } => {
                assert!(Path::new(&lowers[0]).join("etc/a").is_file());
            }
            pod::Rootfs::Copied { .. } => {
                assert!(
                    pod.path()
                        .join("stage1/rootfs/opt/stage2/a/rootfs/etc/a")
                        .is_file()
                );
            }
        }
        let info = status(&env, &PodName::File(uuid_file.clone()), Wait::No, Wait::No).unwrap();
        assert_eq!(
            info.apps[0].image_name.as_deref(),
            Some("example.com/a:1.0.0")
        );
        assert!(info.created_ns.is_some() && info.started_ns.is_none());
        let table = list(&env, Detail::Table).unwrap();
        let everything = list(&env, Detail::Everything).unwrap();
        assert_eq!(table.pods[0].created_ns, everything.pods[0].created_ns);
        assert_eq!(everything.pods[0].apps[0].state.to_string(), "created");
        let (said, fine) = lines(|sink| crate::rm::rm(&env, &[name(&uuid)], sink));
        assert!(fine, "{said:?}");
        assert_eq!(said, [Line::Out(format!("{:?}", uuid.as_str()))]);
        assert!(Pod::open(&env.dir, &uuid).is_err());
        // The last pod is gone, and with it the files of the removed image.
        assert_eq!(
            std::fs::read_dir(env.dir.join("store/layers"))
                .unwrap()
                .count(),
            0
        );
    }
}

#[test]
fn a_failed_prepare_is_left_for_gc() {
    if !is_root() {
        return;
    }
    let dir = TempDir::new();
    let env = env(&dir, "image");
    let file = image(&dir, "a", None);
    let word = file.to_str().unwrap();
    let fault = prepare(&env, &request(&[word, word])).unwrap_err();
    assert_eq!(
        fault.to_string(),
        "error setting up stage0: error: multiple apps with name a"
    );
    let listing = list(&env, Detail::Everything).unwrap();
    assert_eq!(listing.pods[0].state, State::AbortedPrepare);
    let uuid = listing.pods[0].uuid.as_str().to_string();
    assert_eq!(
        collect(&env, Duration::from_secs(1800)),
        [
            Line::Err(format!("moving failed prepare {uuid:?} to garbage")),
            Line::Out(format!("Garbage collecting pod {uuid:?}")),
        ]
    );
    assert!(list(&env, Detail::Table).unwrap().pods.is_empty());
}

#[test]
fn an_exited_pod_waits_for_its_grace_period() {
    if !is_root() {
        return;
    }
    let dir = TempDir::new();
    let env = env(&dir, "image");
    let file = image(&dir, "a", None);
    let uuid = prepare(&env, &request(&[file.to_str().unwrap()])).unwrap();
    let mut pod = Pod::open(&env.dir, &uuid).unwrap();
    pod.to_run().unwrap();
    let (said, fine) = lines(|sink| crate::rm::rm(&env, &[name(&uuid)], sink));
    assert!(!fine);
    assert_eq!(
        said,
        [Line::Err(format!(
            "pod {:?} is currently running",
            uuid.as_str()
        ))]
    );
    let soon = Wait::AtMost(Duration::from_millis(1));
    let fault = status(&env, &name(&uuid), soon, Wait::No).unwrap_err();
    assert_eq!(
        fault.to_string(),
        "error waiting for pod to finish: context deadline exceeded"
    );
    let fault = status(&env, &name(&uuid), Wait::No, soon).unwrap_err();
    assert_eq!(
        fault.to_string(),
        "error waiting for pod readiness: context deadline exceeded"
    );
    // It ends when its lock is dropped; whoever waits notices.
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| {
            let env = crate::testing::env(&dir, "image");
            status(&env, &name(&uuid), Wait::Forever, Wait::No).unwrap()
        });
        drop(pod);
        assert_eq!(waiting.join().unwrap().state, State::Exited);
    });
    let u = uuid.as_str();
    assert_eq!(
        collect(&env, Duration::from_secs(1800)),
        [
            Line::Err(format!("moving pod {u:?} to garbage")),
            Line::Err(format!(
                "pod {u:?} not removed: still within grace period (30m0s)"
            )),
        ]
    );
    assert_eq!(
        collect(&env, Duration::ZERO),
        [Line::Out(format!("Garbage collecting pod {u:?}"))]
    );
    assert_eq!(collect(&env, Duration::ZERO), []);
}

#[test]
fn leftover_mounts_go_and_the_host_keeps_its_own() {
    if !is_root() {
        return;
    }
    let dir = TempDir::new();
    let env = env(&dir, "image");
    let file = image(&dir, "a", None);
    let uuid = prepare(&env, &request(&[file.to_str().unwrap()])).unwrap();
    // A thread that leaves the mount namespace takes its working directory along.
    let mounted = std::thread::scope(|scope| {
        let work = || -> std::io::Result<()> {
            let env = crate::testing::env(&dir, "image");
            sys::ns::unshare(sys::clone::Namespaces::MOUNT)?;
            sys::mount::propagation("/", sys::mount::Flags::PRIVATE)?;
            let mut pod = Pod::open(&env.dir, &uuid).unwrap();
            let volume = dir.path().join("volume");
            std::fs::create_dir(&volume)?;
            std::fs::write(volume.join("precious"), "data")?;
            let root = pod.path().join("stage1/rootfs");
            let none = sys::mount::Flags::NONE;
            sys::mount::mount("t", &root, "tmpfs", none, "")?;
            std::fs::create_dir(root.join("a b"))?;
            sys::mount::bind(&volume, root.join("a b"), true)?;
            // A file held open keeps the mount busy.
            let _held = std::fs::File::open(root.join("a b/precious"))?;
            pod.to_garbage().unwrap();
            assert!(pod.try_lock().unwrap());
            let path = pod.path();
            assert!(crate::leftovers::any(&path).unwrap());
            crate::delete::delete(&env, pod).unwrap();
            assert!(!path.exists());
            assert_eq!(std::fs::read_to_string(volume.join("precious"))?, "data");
            Ok(())
        };
        scope.spawn(work).join().unwrap()
    });
    mounted.unwrap();
}

#[test]
fn what_an_app_changed_is_exported() {
    if !is_root() {
        return;
    }
    let dir = TempDir::new();
    let env = env(&dir, "image");
    let file = image(&dir, "a", None);
    for no_overlay in [false, true] {
        let mut wanted = request(&[file.to_str().unwrap()]);
        wanted.no_overlay = no_overlay;
        let uuid = prepare(&env, &wanted).unwrap();
        let mut pod = Pod::open(&env.dir, &uuid).unwrap();
        let mut export = crate::export::ExportRequest {
            pod: uuid.as_str().into(),
            file: dir.path().join(format!("{no_overlay}.aci")),
            ..Default::default()
        };
        let fault = crate::export::export(&env, &export).unwrap_err();
        assert_eq!(
            fault.cause,
            "pod is not exited. Only exited pods can be exported"
        );
        pod.to_run().unwrap();
        let app = model::AcName::new("a").unwrap();
        let root = match pod.rootfs(&app).unwrap() {
            pod::Rootfs::Overlay { tree_id, .. } => pod::layout::overlay_upper(&tree_id, &app),
            pod::Rootfs::Copied { .. } => pod::layout::app_rootfs(&app),
        };
        let root = pod.path().join(root);
        std::fs::create_dir_all(root.join("var")).unwrap();
        std::fs::write(root.join("var/new"), "new").unwrap();
        drop(pod);
        // The export leaves the mount namespace, and its thread with it.
        let done = std::thread::scope(|scope| {
            let work = || crate::export::export(&crate::testing::env(&dir, "image"), &export);
            scope.spawn(work).join().unwrap()
        });
        done.unwrap();
        let fault = crate::export::export(&env, &export).unwrap_err();
        assert_eq!(
            fault.to_string(),
            "error building aci: target file exists (try --overwrite)"
        );
        let id = fetch_one(&env, export.file.to_str().unwrap(), PullPolicy::Update).unwrap();
        let unpacked = dir.path().join(format!("{no_overlay}"));
        let request = UnpackRequest {
            image: id.as_str().into(),
            dir: unpacked.clone(),
            rootfs_only: true,
            overwrite: false,
        };
        images::extract(&env, &request).unwrap();
        assert_eq!(
            std::fs::read_to_string(unpacked.join("var/new")).unwrap(),
            "new"
        );
        assert_eq!(
            std::fs::read_to_string(unpacked.join("etc/a")).unwrap(),
            "a"
        );
        export.file = dir.path().join("out.tar");
        let fault = crate::export::export(&env, &export).unwrap_err();
        assert!(fault.cause.starts_with("extension must be .aci (given "));
    }
}

#[test]
fn a_pod_of_an_older_rkt_is_shown_and_removed() {
    if !is_root() {
        return;
    }
    let dir = TempDir::new();
    let env = env(&dir, "image");
    let file = image(&dir, "a", None);
    let uuid = prepare(&env, &request(&[file.to_str().unwrap()])).unwrap();
    let pod = Pod::open(&env.dir, &uuid).unwrap();
    // 1.30 names the tree of its stage1, and knows no summary and no record.
    pod.write_file(pod::layout::STAGE1_TREE, b"deps-sha512-7c66")
        .unwrap();
    std::fs::remove_file(pod.path().join("summary")).unwrap();
    std::fs::remove_file(pod.path().join("appsinfo/a/rootfs")).unwrap();
    drop(pod);
    let options = crate::run::RunOptions {
        net: vec!["host".into()],
        ..Default::default()
    };
    let fault = crate::run_prepared::run_prepared(&env, uuid.as_str(), &options);
    assert!(
        fault.cause.contains("was prepared by an older rkt"),
        "{fault}"
    );
    let mut pod = Pod::open(&env.dir, &uuid).unwrap();
    pod.to_run().unwrap();
    pod.write_pid(1).unwrap();
    drop(pod);
    let info = status(&env, &name(&uuid), Wait::No, Wait::No).unwrap();
    assert_eq!((info.state, info.pid), (State::Exited, Some(1)));
    assert_eq!(
        info.apps[0].image_name.as_deref(),
        Some("example.com/a:1.0.0")
    );
    let (said, fine) = lines(|sink| crate::rm::rm(&env, &[name(&uuid)], sink));
    assert!(fine, "{said:?}");
    assert!(list(&env, Detail::Table).unwrap().pods.is_empty());
}

/// Annotations of the least that a stage1 must have.
const STAGE1: [(&str, &str); 2] = [
    ("coreos.com/rkt/stage1/run", "/run"),
    ("coreos.com/rkt/stage1/interface-version", "4"),
];

#[test]
fn a_stage1_image_stays_with_the_pod() {
    if !is_root() {
        return;
    }
    let dir = TempDir::new();
    let env = env(&dir, "image");
    let app = image(&dir, "a", None);
    let stage1 = stage1_image(&dir, "stage1", &STAGE1);
    for no_overlay in [false, true] {
        let mut wanted = request(&[app.to_str().unwrap()]);
        wanted.no_overlay = no_overlay;
        wanted.stage1 = Some(Choice::Url(format!("file://{}", stage1.display())));
        let uuid = prepare(&env, &wanted).unwrap();
        let (_, fine) = lines(|sink| images::rm(&env, &["example.com/stage1".into()], sink));
        assert!(fine);
        lines(|sink| images::gc(&env, Duration::ZERO, sink));
        let pod = Pod::open(&env.dir, &uuid).unwrap();
        let manifest = pod.read_file("stage1/manifest").unwrap().unwrap();
        assert!(String::from_utf8_lossy(&manifest).contains("example.com/stage1"));
        assert!(pod.read_file("stage1TreeStoreID").unwrap().is_some());
        let legacy = crate::legacy::Legacy::of(&env, &pod).unwrap().unwrap();
        assert_eq!(legacy.interface.version, 4);
        assert!(!legacy.old);
        let inside = match no_overlay {
            true => pod.path().join("stage1/rootfs"),
            false => {
                let record = pod.read_file("stage1/tree").unwrap().unwrap();
                let record = pod::Rootfs::parse(&record).unwrap();
                let pod::Rootfs::Overlay { lowers, .. } = record else {
                    panic!("{record:?}");
                };
                lowers[0].clone().into()
            }
        };
        assert!(inside.join("run").is_file(), "{}", inside.display());
        assert!(inside.join("rkt/status").is_dir());
    }
}

#[test]
fn an_image_that_can_be_no_stage1_makes_no_pod() {
    if !is_root() {
        return;
    }
    let dir = TempDir::new();
    let lax = env(&dir, "image");
    let app = image(&dir, "a", None);
    let stage1 = stage1_image(&dir, "stage1", &STAGE1);
    let ask = |env: &Env, choice| {
        let mut wanted = request(&[app.to_str().unwrap()]);
        wanted.stage1 = Some(choice);
        prepare(env, &wanted).unwrap_err().to_string()
    };
    let path = |path: &Path| Choice::Path(path.display().to_string());
    assert_eq!(
        ask(&lax, path(&app)),
        "error determining 'run' entrypoint: entrypoint \"coreos.com/rkt/stage1/run\" not found"
    );
    assert_eq!(
        ask(&env(&dir, "none"), path(&stage1)),
        format!(
            "failed to fetch stage1 image: open {}.asc: no such file or directory",
            stage1.display()
        )
    );
    let missing = dir.path().join("none.aci");
    assert_eq!(
        ask(&lax, path(&missing)),
        format!(
            "failed to fetch stage1 image: open {}: no such file or directory",
            missing.display()
        )
    );
    let outside = [("coreos.com/rkt/stage1/run", "/../run")];
    let outside = stage1_image(&dir, "outside", &outside);
    assert!(ask(&lax, path(&outside)).contains("is no path inside of it"));
    assert!(!dir.path().join("data/pods").exists());
}

#[test]
fn fly_takes_any_network_but_stays_in_the_foreground() {
    if !is_root() {
        return;
    }
    let dir = TempDir::new();
    let env = env(&dir, "image");
    let file = image(&dir, "a", None);
    let mut wanted = RunRequest {
        prepare: request(&[file.to_str().unwrap()]),
        ..RunRequest::default()
    };
    wanted.prepare.stage1 = Some(Choice::Name("coreos.com/rkt/stage1-fly:1.30.0".into()));
    wanted.options.detach = true;
    assert!(run(&env, &wanted).cause.contains("--detach"));
    let uuid = prepare(&env, &wanted.prepare).unwrap();
    let pod = Pod::open(&env.dir, &uuid).unwrap();
    assert_eq!(pod.flavor().as_deref(), Some("fly"));
    let manifest = pod.read_file("stage1/manifest").unwrap().unwrap();
    let manifest = model::ImageManifest::parse(&manifest).unwrap();
    assert_eq!(manifest.name.as_str(), "coreos.com/rkt/stage1-fly");
    let version = manifest.annotation("coreos.com/rkt/stage1/interface-version");
    assert_eq!(version, Some("5"));
}
