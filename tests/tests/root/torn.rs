//! What a power cut may leave of a pod that ran: any file of its directory with its name and without its bytes. Listing
//! goes on and gc takes the pod away, with nothing left over. The VM rig cuts the power for real (vm/boots/powercut).

use crate::{call, probe, run};
use std::path::{Path, PathBuf};
use tests::{Scratch, root_test_once};

/// The pod's files that it did not write itself.
fn files(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in dir
        .read_dir()
        .expect("the pod's directory can be read")
        .flatten()
    {
        let kind = entry.file_type().expect("the entry was just read");
        if kind.is_dir() && entry.file_name() != "overlay" {
            files(&entry.path(), found);
        } else if kind.is_file() {
            found.push(entry.path());
        }
    }
}

/// A pod that ran: its directory, and its UUID.
fn ended(s: &Scratch) -> (PathBuf, String) {
    let save = s.at("uuid");
    let save_flag = format!("--uuid-file-save={}", save.display());
    run(s, &probe(s))
        .args([&save_flag, "--", "echo", "out"])
        .run()
        .ok();
    let uuid = std::fs::read_to_string(&save).expect("it was written");
    (s.data().join("pods/run").join(&uuid), uuid)
}

root_test_once! {
    fn any_file_of_a_pod_may_have_lost_its_bytes(s) {
        let (dir, uuid) = ended(s);
        let mut all = Vec::new();
        files(&dir, &mut all);
        let names: Vec<PathBuf> = all
            .iter()
            .map(|path| path.strip_prefix(&dir).expect("it lies below").to_path_buf())
            .collect();
        assert!(names.len() > 10, "{names:?}");
        call(s, &["rm", &uuid]).ok();
        for name in names {
            for zeros in [false, true] {
                let (dir, uuid) = ended(s);
                let path = dir.join(&name);
                let length = path.metadata().map_or(0, |it| it.len() as usize);
                std::fs::write(&path, vec![0; if zeros { length } else { 0 }]).expect("root may");
                let what = format!("{} of {} zeros", name.display(), if zeros { length } else { 0 });
                let listed = call(s, &["list", "--full"]);
                assert_eq!(listed.code, 0, "list, {what}: {}", listed.stderr);
                assert!(listed.stdout.contains(&uuid), "list, {what}: {}", listed.stdout);
                let swept = call(s, &["gc", "--grace-period=0s"]);
                assert_eq!(swept.code, 0, "gc, {what}: {}", swept.stderr);
                let left = call(s, &["list", "--full", "--no-legend"]).stdout;
                assert!(left.trim().is_empty(), "{what}: {left}");
                let holds = s.data().join("store/holds");
                let held = holds.read_dir().into_iter().flatten().flatten();
                let held = held.filter(|key| key.path().join(&uuid).exists()).count();
                assert_eq!(held, 0, "{what}: the pod holds layers");
            }
        }
    }
}
