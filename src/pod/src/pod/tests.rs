//! Life of a pod on a real directory. A second open of the same directory is
//! what another process would be.
#![expect(clippy::unwrap_used, reason = "tests")]

use super::*;
use crate::testing::TempData;

fn state_seen(data: &TempData, uuid: &PodUuid) -> State {
    Pod::open(data.path(), uuid).unwrap().state()
}

#[test]
fn a_foreground_pod_lives_and_is_collected() {
    let data = TempData::new();
    let uuid = data.uuid(0x10);
    let mut pod = Pod::create(data.path(), &uuid).unwrap();
    assert_eq!(state_seen(&data, &uuid), State::Embryo);
    pod.to_prepare().unwrap();
    assert_eq!(
        (pod.state(), state_seen(&data, &uuid)),
        (State::Preparing, State::Preparing)
    );
    pod.to_run().unwrap();
    assert_eq!(
        (pod.state(), state_seen(&data, &uuid)),
        (State::Running, State::Running)
    );
    assert!(pod.path().ends_with(format!("pods/run/{}", uuid.as_str())));
    pod.settle().unwrap();
    drop(pod);
    let mut pod = Pod::open(data.path(), &uuid).unwrap();
    assert_eq!(pod.state(), State::Exited);
    pod.to_exited_garbage().unwrap();
    assert_eq!(state_seen(&data, &uuid), State::ExitedGarbage);
    pod.lock_exclusive().unwrap();
    assert_eq!(
        (pod.state(), state_seen(&data, &uuid)),
        (State::ExitedDeleting, State::ExitedDeleting)
    );
    pod.delete().unwrap();
    let fault = Pod::open(data.path(), &uuid).unwrap_err();
    assert_eq!(
        fault.to_string(),
        format!("no matches found for {:?}", uuid.as_str())
    );
}

#[test]
fn a_prepared_pod_waits_without_a_lock() {
    let data = TempData::new();
    let uuid = data.uuid(0x11);
    let mut pod = Pod::create(data.path(), &uuid).unwrap();
    pod.to_prepare().unwrap();
    pod.to_prepared().unwrap();
    assert_eq!(
        (pod.state(), pod.lock_fd().is_none()),
        (State::Prepared, true)
    );
    let mut other = Pod::open(data.path(), &uuid).unwrap();
    other.to_run().unwrap();
    assert_eq!(state_seen(&data, &uuid), State::Running);
    // The one who came too late finds the old name gone.
    assert!(pod.to_garbage().is_err());
    assert_eq!(pod.refresh().unwrap(), Some(State::Running));
    assert!(
        pod.to_run()
            .unwrap_err()
            .to_string()
            .contains("is not prepared")
    );
    drop(other);
    assert_eq!(pod.refresh().unwrap(), Some(State::Exited));
}

#[test]
fn a_dead_prepare_is_aborted_and_becomes_garbage() {
    let data = TempData::new();
    let uuid = data.uuid(0x12);
    let mut pod = Pod::create(data.path(), &uuid).unwrap();
    pod.to_prepare().unwrap();
    assert!(pod.to_garbage().is_err(), "its creator is alive");
    drop(pod);
    let mut pod = Pod::open(data.path(), &uuid).unwrap();
    assert_eq!(pod.state(), State::AbortedPrepare);
    pod.to_garbage().unwrap();
    assert_eq!(state_seen(&data, &uuid), State::Garbage);
    pod.lock_exclusive().unwrap();
    assert_eq!(state_seen(&data, &uuid), State::Deleting);
    pod.delete().unwrap();
}

#[test]
fn only_legal_moves_are_made() {
    let data = TempData::new();
    let uuid = data.uuid(0x13);
    let mut pod = Pod::create(data.path(), &uuid).unwrap();
    assert!(pod.to_run().is_err());
    assert!(pod.to_prepared().is_err());
    assert!(pod.to_exited_garbage().is_err());
    assert_eq!(state_seen(&data, &uuid), State::Embryo);
    let fault = pod.delete().unwrap_err();
    assert!(fault.to_string().starts_with("non-garbage pod"), "{fault}");
    assert!(
        Pod::create(data.path(), &uuid).is_err(),
        "the name is taken"
    );
}

#[test]
fn locks_exclude_each_other_but_not_tests() {
    let data = TempData::new();
    let uuid = data.uuid(0x14);
    let mut one = Pod::create(data.path(), &uuid).unwrap();
    let mut two = Pod::open(data.path(), &uuid).unwrap();
    assert!(one.try_lock().unwrap());
    assert!(!two.try_lock().unwrap());
    assert!(one.try_lock().unwrap(), "held already");
    one.unlock().unwrap();
    assert!(lock::is_held(&two.dir).is_ok_and(|held| !held));
    assert!(two.try_lock().unwrap());
    assert!(!one.try_lock().unwrap());
}

#[test]
fn the_lock_is_passed_on_purpose_only() {
    let data = TempData::new();
    let mut pod = Pod::create(data.path(), &data.uuid(0x15)).unwrap();
    let cloexec = |pod: &Pod| {
        rustix::io::fcntl_getfd(pod)
            .unwrap()
            .contains(rustix::io::FdFlags::CLOEXEC)
    };
    assert!(cloexec(&pod));
    assert!(pod.pass_lock().is_err(), "not locked");
    pod.to_prepare().unwrap();
    assert_eq!(pod.pass_lock().unwrap(), pod.dir().as_raw_fd());
    assert!(!cloexec(&pod));
    pod.keep_lock().unwrap();
    assert!(cloexec(&pod));
}

#[test]
fn stage1_adopts_the_lock() {
    let data = TempData::new();
    let uuid = data.uuid(0x16);
    let mut pod = Pod::create(data.path(), &uuid).unwrap();
    pod.to_prepare().unwrap();
    pod.to_run().unwrap();
    // A duplicate shares the open file, as an inherited fd does.
    let inherited = pod.dir().try_clone_to_owned().unwrap();
    drop(pod);
    let adopted = Pod::adopt(inherited, data.path(), &uuid).unwrap();
    assert_eq!(state_seen(&data, &uuid), State::Running);
    let stranger = files::open_dir_path(&adopted.path()).unwrap();
    assert!(
        Pod::adopt(stranger, data.path(), &uuid).is_err(),
        "somebody else has the lock"
    );
    let elsewhere = files::open_dir_path(data.path()).unwrap();
    assert!(Pod::adopt(elsewhere, data.path(), &uuid).is_err());
}

#[test]
fn prefixes_name_pods() {
    let data = TempData::new();
    let find = |prefix: &str| {
        Pod::find(data.path(), prefix)
            .map(|pod| pod.uuid().as_str().to_string())
            .map_err(|fault| fault.to_string())
    };
    assert_eq!(find("ab").unwrap_err(), "no matches found for \"ab\"");
    let (one, two) = (data.uuid(0xab), data.uuid(0xac));
    for uuid in [&one, &two] {
        let mut pod = Pod::create(data.path(), uuid).unwrap();
        assert!(find(uuid.as_str()).is_err(), "embryos are not found");
        pod.to_prepare().unwrap();
        pod.to_prepared().unwrap();
    }
    let table = [
        ("ab", Ok(one.as_str())),
        ("AB", Ok(one.as_str())),
        (one.as_str(), Ok(one.as_str())),
        ("a", Err("ambiguous uuid, 2 matches")),
        ("", Err("UUID cannot be empty")),
        ("b", Err("no matches found for \"b\"")),
        ("../run", Err("no matches found for \"../run\"")),
        ("abababababab4babababababababababab", Err("")),
    ];
    for (prefix, want) in table {
        match (find(prefix), want) {
            (Ok(got), Ok(want)) => assert_eq!(got, want),
            (Err(got), Err(want)) => assert!(got.contains(want), "{got}"),
            (got, want) => panic!("{prefix}: {got:?} instead of {want:?}"),
        }
    }
}

#[test]
fn deletion_follows_no_link_and_empties_deep_trees() {
    let data = TempData::new();
    let mut pod = Pod::create(data.path(), &data.uuid(0x17)).unwrap();
    let outside = data.path().join("outside");
    std::fs::create_dir(&outside).unwrap();
    std::fs::write(outside.join("keep"), "x").unwrap();
    let mut deep = pod.path().join("stage1/rootfs");
    std::fs::create_dir_all(&deep).unwrap();
    std::os::unix::fs::symlink(&outside, deep.join("link")).unwrap();
    for number in 0..300 {
        std::fs::write(deep.join(format!("file{number}")), "x").unwrap();
    }
    // Deeper than there are fds or bytes in a path: made relative.
    let mut at = files::open_dir_path(&deep).unwrap();
    for _ in 0..2000 {
        at = files::walk_creating(&at, "some-directory", 0o755).unwrap();
    }
    deep.push("link");
    pod.write_file(layout::POD, b"{}").unwrap();
    pod.to_garbage().unwrap();
    pod.lock_exclusive().unwrap();
    let path = pod.path();
    pod.delete().unwrap();
    assert!(!path.exists());
    assert!(outside.join("keep").exists());
}

#[test]
fn small_files_of_a_pod() {
    let data = TempData::new();
    let pod = Pod::create(data.path(), &data.uuid(0x18)).unwrap();
    assert_eq!(pod.private_users().unwrap(), None);
    pod.write_file(layout::PRIVATE_USERS_PREPARED, b"65536:65536")
        .unwrap();
    assert_eq!(pod.private_users().unwrap(), Some((65536, 65536)));
    pod.write_file(layout::PRIVATE_USERS_PREPARED, b"x")
        .unwrap();
    assert!(pod.private_users().is_err());
    assert_eq!(pod.flavor(), None);
    pod.set_flavor("native").unwrap();
    pod.set_flavor("native").unwrap();
    assert!(pod.set_flavor("fly").is_err());
    assert_eq!(pod.flavor().as_deref(), Some("native"));
    assert!(!pod.is_overlay());
    pod.write_file(layout::OVERLAY_PREPARED, b"").unwrap();
    assert!(pod.is_overlay());
}

#[test]
fn the_prepare_lock_makes_its_way() {
    let data = TempData::new();
    let shared = crate::PrepareLock::shared(&data.path().join("new")).unwrap();
    let _second = crate::PrepareLock::shared(&data.path().join("new")).unwrap();
    assert!(shared.as_fd().as_raw_fd() > 2);
}

/// Two `run-prepared` of one pod: the second is told at once, not after the
/// first one's end.
#[test]
fn a_second_start_does_not_wait_for_the_first_to_end() {
    let data = TempData::new();
    let uuid = data.uuid(0x19);
    let mut pod = Pod::create(data.path(), &uuid).unwrap();
    pod.to_prepare().unwrap();
    pod.to_prepared().unwrap();
    let mut late = Pod::open(data.path(), &uuid).unwrap();
    pod.to_run().unwrap();
    let fault = late.to_run().unwrap_err();
    assert_eq!(
        fault.to_string(),
        format!("pod {:?} is not prepared", uuid.as_str())
    );
}
