//! Listings of pods of ours and of rkt 1.30.
#![expect(clippy::unwrap_used, reason = "tests")]

use super::*;
use crate::testing::TempData;

const ID: &str = "sha512-93e4d1919733bc76aee6a40686485cb4bc3bc628ee6790bc08bbe68a1eb33f9a";

/// A pod manifest as 1.30 writes it: null lists, no ports.
fn manifest(apps: &[&str]) -> String {
    let app = |name: &&str| {
        format!(
            r#"{{"name":"{name}","image":{{"name":"example.com/busybox","id":"{ID}","labels":[{{"name":"version","value":"1.0.0"}},{{"name":"os","value":"linux"}},{{"name":"arch","value":"amd64"}}]}},"app":{{"exec":["/bin/sh"],"user":"0","group":"0"}}}}"#
        )
    };
    let apps: Vec<String> = apps.iter().map(app).collect();
    format!(
        r#"{{"acVersion":"1.30.0+git","acKind":"PodManifest","apps":[{}],"volumes":null,"isolators":null,"annotations":[{{"name":"coreos.com/rkt/stage1/mutable","value":"false"}}],"ports":[]}}"#,
        apps.join(",")
    )
}

const IMAGE: &[u8] = br#"{"acKind":"ImageManifest","acVersion":"0.8.11","name":"example.com/busybox","labels":[{"name":"version","value":"1.0.0"},{"name":"os","value":"linux"},{"name":"arch","value":"amd64"}]}"#;

/// Prepares a pod without a summary.
fn old_pod(data: &TempData, number: u8, apps: &[&str]) -> Pod {
    let mut pod = Pod::create(data.path(), &data.uuid(number)).unwrap();
    pod.to_prepare().unwrap();
    for app in apps {
        pod.write_image_manifest(&AcName::new(app).unwrap(), IMAGE)
            .unwrap();
    }
    pod.write_manifest(manifest(apps).as_bytes()).unwrap();
    pod.mark_created().unwrap();
    pod
}

fn show(entry: &Entry) -> String {
    let apps: Vec<String> = entry
        .apps
        .iter()
        .map(|app| {
            let image = app.image_name.as_deref().unwrap_or("--");
            format!("{}={image}", app.name.as_str())
        })
        .collect();
    let nets: Vec<String> = entry.networks.iter().map(NetInfo::to_string).collect();
    format!("{} [{}] [{}]", entry.state, apps.join(" "), nets.join(" "))
}

fn listed(data: &TempData) -> Vec<String> {
    let listing = list(data.path(), &Place::LISTED).unwrap();
    assert_eq!(listing.skipped, Vec::<String>::new());
    listing.pods.iter().map(show).collect()
}

#[test]
fn an_empty_place_lists_nothing() {
    let data = TempData::new();
    assert!(listed(&data).is_empty());
    assert!(
        list(&data.path().join("missing"), &Place::ALL)
            .unwrap()
            .pods
            .is_empty()
    );
}

#[test]
fn pods_of_all_states_are_told_apart() {
    let data = TempData::new();
    let _embryo = Pod::create(data.path(), &data.uuid(0x10)).unwrap();
    let _preparing = old_pod(&data, 0x20, &["a"]);
    drop(old_pod(&data, 0x30, &["a"]));
    let mut prepared = old_pod(&data, 0x40, &["one", "two"]);
    prepared.to_prepared().unwrap();
    let mut running = old_pod(&data, 0x50, &["a"]);
    running.to_run().unwrap();
    running.write_pid(1).unwrap();
    let net = NetInfo {
        name: "default".into(),
        ip: "10.0.0.2".into(),
        ..NetInfo::default()
    };
    let text = crate::netinfo::to_text(&[net]);
    std::fs::write(running.path().join(layout::NET_INFO), text).unwrap();
    let mut exited = old_pod(&data, 0x60, &["a"]);
    exited.to_run().unwrap();
    drop(exited);
    let mut marked = old_pod(&data, 0x70, &["a"]);
    marked.to_run().unwrap();
    marked.write_pid(1).unwrap();
    marked.unlock().unwrap();
    marked.to_exited_garbage().unwrap();
    let mut never = old_pod(&data, 0x80, &["a"]);
    never.to_prepared().unwrap();
    never.to_garbage().unwrap();

    let image = "example.com/busybox:1.0.0";
    let want = [
        "preparing [] []".to_string(),
        "aborted prepare [] []".to_string(),
        format!("prepared [one={image} two={image}] []"),
        format!("running [a={image}] [default:ip4=10.0.0.2]"),
        format!("exited [a={image}] []"),
        format!("exited garbage [a={image}] []"),
    ];
    assert_eq!(listed(&data), want);

    let pods = list(data.path(), &Place::LISTED).unwrap().pods;
    let known = |pick: fn(&Entry) -> Option<i64>| -> Vec<bool> {
        pods.iter().map(|entry| pick(entry).is_some()).collect()
    };
    assert_eq!(
        known(|e| e.created_ns),
        [false, false, true, true, true, true]
    );
    assert_eq!(
        known(|e| e.started_ns),
        [false, false, false, true, false, true]
    );
    assert_eq!(
        known(|e| e.marked_ns),
        [false, false, false, false, false, true]
    );
    for entry in &pods {
        let times = entry.open(data.path()).unwrap().times().unwrap();
        assert_eq!(
            (times.created_ns, times.started_ns),
            (entry.created_ns, entry.started_ns)
        );
    }
    assert_eq!(list(data.path(), &[Place::Garbage]).unwrap().pods.len(), 1);
}

#[test]
fn a_summary_says_the_same_as_the_manifests() {
    let data = TempData::new();
    let pod = old_pod(&data, 0x90, &["a", "b"]);
    let derived = pod.summary().unwrap();
    pod.write_summary(&derived).unwrap();
    pod.write_manifest(b"not looked at").unwrap();
    let mut pod = pod;
    pod.to_prepared().unwrap();
    let pods = list(data.path(), &Place::LISTED).unwrap().pods;
    assert_eq!(pods[0].apps, derived.apps);
    assert_eq!(pods[0].created_ns, Some(derived.created_ns));
    assert_eq!(pods[0].apps[0].image_id, ID);
}

#[test]
fn a_summary_cut_short_is_not_believed() {
    let data = TempData::new();
    let mut pod = old_pod(&data, 0x91, &["a"]);
    let text = pod.summary().unwrap().to_text();
    pod.to_prepared().unwrap();
    for end in 0..text.len() {
        pod.write_file(layout::SUMMARY, &text.as_bytes()[..end])
            .unwrap();
        assert_eq!(listed(&data), ["prepared [a=example.com/busybox:1.0.0] []"]);
    }
}

#[test]
fn many_apps_make_a_long_summary() {
    let data = TempData::new();
    let names: Vec<String> = (0..200).map(|number| format!("app-{number}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut pod = old_pod(&data, 0x92, &names);
    pod.write_summary(&pod.summary().unwrap()).unwrap();
    pod.write_manifest(b"").unwrap();
    pod.to_prepared().unwrap();
    assert_eq!(
        list(data.path(), &Place::LISTED).unwrap().pods[0]
            .apps
            .len(),
        200
    );
}

#[test]
fn an_unreadable_manifest_is_a_fault_of_its_pod() {
    let data = TempData::new();
    let mut pod = old_pod(&data, 0x93, &["a"]);
    pod.write_manifest(b"{").unwrap();
    pod.to_prepared().unwrap();
    let mut other = old_pod(&data, 0x94, &["b"]);
    std::fs::remove_dir_all(other.path().join("appsinfo")).unwrap();
    other.to_prepared().unwrap();
    let pods = list(data.path(), &Place::LISTED).unwrap().pods;
    assert!(pods[0].apps.is_empty() && pods[0].created_ns.is_some());
    let text = pods[0].faults[0].to_string();
    let head = format!("Unable to read pod {} manifest:\n  ", pod.uuid().as_str());
    assert!(text.starts_with(&head), "{text}");
    assert_eq!(show(&pods[1]), "prepared [b=--] []");
}

#[test]
fn what_is_no_pod_is_named() {
    let data = TempData::new();
    drop(Pod::create(data.path(), &data.uuid(1)).unwrap());
    let run = layout::place(data.path(), Place::Run);
    std::fs::create_dir(run.join("no-uuid")).unwrap();
    std::fs::create_dir(run.join("ABABABAB-ABAB-4BAB-ABAB-ABABABABABAB")).unwrap();
    std::fs::write(run.join("file"), "").unwrap();
    let mut skipped = list(data.path(), &Place::LISTED).unwrap().skipped;
    skipped.sort();
    assert_eq!(skipped.len(), 3);
    assert!(
        skipped[0].starts_with("skipping \"ABABABAB"),
        "{}",
        skipped[0]
    );
    assert!(
        skipped[1].starts_with("skipping \"no-uuid\": "),
        "{}",
        skipped[1]
    );
    assert_eq!(skipped[2], "unrecognized entry: \"file\", ignoring");
}

#[test]
fn fifos_and_links_instead_of_files_stop_nobody() {
    let data = TempData::new();
    let mut pod = old_pod(&data, 0x95, &["a"]);
    let fifo = pod.path().join(layout::SUMMARY);
    rustix::fs::mknodat(
        fs::CWD,
        &fifo,
        FileType::Fifo,
        rustix::fs::Mode::from_raw_mode(0o600),
        0,
    )
    .unwrap();
    std::os::unix::fs::symlink("/dev/zero", pod.path().join(layout::NET_INFO)).unwrap();
    pod.to_run().unwrap();
    let pods = list(data.path(), &Place::LISTED).unwrap().pods;
    assert_eq!(pods[0].apps.len(), 1);
    assert_eq!(pods[0].faults.len(), 1);
}
