//! Images that a member of the data directory's group fetches, and what root
//! makes of them. The member is this test binary, started again as another user
//! for one of the `child_…` tests; who is not root cannot start it.

use super::layers::{assemble, sample};
use super::*;
use crate::inbox::Inbox;
use crate::testing::layer;
use crate::{Integrity, Removal};
use model::Kind;
use std::os::fd::AsFd;
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::time::Duration;

const PLACE: &str = "RKT_STORE_TEST_SHARED";
const MEMBER: u32 = 54321;
const GROUP: u32 = 54322;

/// A data directory as the packaged set-up makes it, and an image of root's.
fn shared() -> Option<(Place, ImageId)> {
    if !rustix::process::geteuid().is_root() {
        return None;
    }
    let place = Place::new();
    chown(place.temp.path(), None, Some(GROUP)).unwrap();
    std::fs::set_permissions(place.temp.path(), PermissionsExt::from_mode(0o2750)).unwrap();
    let id = place.image("root", "", &[("f", "root's")]);
    Some((place, id))
}

fn member(place: &Place, test: &str) -> Command {
    let name = format!("tests::packing::{test}");
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args([&name, "--exact"])
        .env(PLACE, place.temp.path())
        .uid(MEMBER)
        .gid(GROUP);
    command
}

fn run_member(place: &Place, test: &str) {
    let status = member(place, test).output().unwrap();
    let text = String::from_utf8_lossy(&status.stdout);
    assert!(status.status.success(), "{text}");
    assert!(text.contains("1 passed"), "{text}");
}

fn store_of_member() -> Option<Store> {
    let dir = std::env::var_os(PLACE)?;
    assert!(!rustix::process::geteuid().is_root());
    Some(Store::open(Path::new(&dir)).unwrap())
}

/// Attributes that only root can give.
fn owned() -> Vec<u8> {
    let mut bytes = aci(&manifest("packed", ""), &[("d/", ""), ("d/f", "x")]);
    // uid 7 in the header of the last file, and its sum.
    let at = bytes.windows(10).position(|w| w == b"rootfs/d/f").unwrap();
    bytes[at + 108..at + 116].copy_from_slice(b"0000007\0");
    bytes[at + 148..at + 156].copy_from_slice(b"        ");
    let sum: u32 = bytes[at..at + 512].iter().map(|b| u32::from(*b)).sum();
    bytes[at + 148..at + 156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    bytes
}

fn origin() -> Origin {
    Origin {
        url: Some("https://example.com/packed.aci".into()),
        etag: Some("e".into()),
        ..Origin::default()
    }
}

fn layered(store: &Store) -> ImageRecord {
    let layers = sample();
    assemble(store, "layered", &layers.each_ref().map(|l| &**l)).unwrap()
}

#[test]
fn child_fetches() {
    let Some(store) = store_of_member() else {
        return;
    };
    let id = store.put_aci(&mut &*owned(), &origin()).unwrap().id;
    assert_eq!(id, id_of(&owned()));
    let of_layers = layered(&store).id;
    // A second image takes its layers from the first.
    let assembly = store.assemble().unwrap();
    assert!(
        assembly
            .claim(&crate::testing::diff_id(&sample()[1]))
            .unwrap()
    );
    drop(assembly);
    assert_eq!(store.list().unwrap().len(), 3);
    assert_eq!(store.resolve(&id.as_str()[..40]).unwrap(), id);
    assert_eq!(export(&store, &id), owned());
    assert_eq!(id_of(&export(&store, &of_layers)), of_layers);
    assert_eq!(store.manifest(&of_layers).unwrap().name, name("layered"));
    assert!(store.by_url(&origin().url.unwrap()).unwrap().is_some());
    let temp = Temp::new();
    for (number, id) in [&id, &of_layers].into_iter().enumerate() {
        assert_eq!(store.verify(id).unwrap(), Integrity::Verified);
        let dir = temp.path().join(number.to_string());
        store.extract(id, &dir, false).unwrap();
        assert_eq!(names(&dir), ["manifest", "rootfs"]);
        store
            .render_to(id, &temp.path().join(format!("r{number}")), true)
            .unwrap();
    }
    assert_eq!(names(&temp.path().join("r1/opt")), ["new"]);
    let fault = store.render(&id).unwrap_err();
    assert!(fault.hint.is_some(), "{fault}");
    // What root has is root's.
    let of_root = store
        .find(&name("root"), &Labels::default())
        .unwrap()
        .unwrap()
        .id;
    for fault in [
        store.export(&of_root, &mut Vec::new()).unwrap_err(),
        store.remove(&of_root).unwrap_err(),
        store.render(&of_root).unwrap_err(),
    ] {
        assert_eq!(fault.kind, Kind::Os(13), "{fault}");
        assert!(fault.hint.is_some(), "{fault}");
    }
    let (bytes, gone) = small("gone", "g");
    store.put_aci(&mut &*bytes, &Origin::default()).unwrap();
    assert!(matches!(store.remove(&gone).unwrap(), Removal::Clean));
    // A failed one leaves nothing.
    store
        .put_aci(&mut &bytes[..700], &Origin::default())
        .unwrap_err();
    assert_eq!(names(&store.path().join("packed/tmp")), [""; 0]);
    assert_eq!(names(&store.path().join("packed")).len(), 4);
}

#[test]
fn a_member_fetches_and_root_unpacks_at_first_use() {
    let Some((place, of_root)) = shared() else {
        return;
    };
    let mode = |inside: &str| std::fs::metadata(place.path(inside)).unwrap().mode() & 0o7777;
    assert_eq!(mode("packed"), 0o2770);
    assert_eq!(mode("packed/tmp"), 0o2770);
    assert_eq!(mode("images"), 0o2750);
    run_member(&place, "child_fetches");
    let id = id_of(&owned());
    let packed = format!("packed/{}", id.as_str());
    assert_eq!(mode(&packed), 0o2770);
    let blob = std::fs::metadata(place.path(&packed).join("aci")).unwrap();
    assert_eq!((blob.uid(), blob.gid()), (MEMBER, GROUP));
    assert_eq!(place.names("layers"), [of_root.as_str()]);
    // Looking unpacks nothing.
    assert_eq!(place.store.list().unwrap().len(), 3);
    let found = place
        .store
        .find_any(&name("packed"), &Labels::default())
        .unwrap();
    assert_eq!(found.map(|record| record.id), Some(id.clone()));
    let url = origin().url.unwrap();
    let fetched = place.store.fetched_by_any(&url).unwrap().unwrap();
    assert_eq!(
        (&fetched.record.id, fetched.etag.as_deref()),
        (&id, Some("e"))
    );
    assert!(place.path(&packed).exists());
    let lower = place.store.render(&id).unwrap().lowers[0].clone();
    let file = std::fs::metadata(lower.join("d/f")).unwrap();
    assert_eq!((file.uid(), file.mode() & 0o7777), (7, 0o644));
    assert!(!place.path(&packed).exists());
    assert_eq!(export(&place.store, &id), owned());
    let of_layers = place
        .store
        .find_any(&name("layered"), &Labels::default())
        .unwrap()
        .unwrap()
        .id;
    assert_eq!(
        place.store.manifest(&of_layers).unwrap().name,
        name("layered")
    );
    assert_eq!(place.names("packed"), ["tmp", "urls"]);
    for id in [&id, &of_layers] {
        assert_eq!(place.store.verify(id).unwrap(), Integrity::Verified);
    }
    // As if root had fetched it.
    let own = Place::new();
    assert_eq!(layered(&own.store).id, of_layers);
    let kept = place.store.fetched_by_any(&url).unwrap().unwrap();
    assert_eq!(kept.record.id, id);
    place.store.remove(&id).unwrap();
    assert!(place.store.fetched_by_any(&url).unwrap().is_none());
    assert_eq!(place.names("packed/urls"), [""; 0]);
}

/// Packs an image as the store does, without leaving root.
fn pack(place: &mut Place, bytes: &[u8]) -> ImageId {
    place.store.unpacks = false;
    let id = place.put(bytes).id;
    place.store.unpacks = true;
    id
}

#[test]
fn what_members_leave_lying_about_is_swept_and_fails_no_gc() {
    let Some((mut place, _)) = shared() else {
        return;
    };
    let bytes = small("kept", "x").0;
    let id = pack(&mut place, &bytes);
    std::fs::write(place.path("packed/tmp/file"), "x").unwrap();
    symlink("/etc", place.path("packed/tmp/link")).unwrap();
    std::fs::write(place.path("packed/file"), "x").unwrap();
    symlink("/etc", place.path("packed/link")).unwrap();
    std::fs::create_dir(place.path("packed/dir")).unwrap();
    symlink("/etc", place.path("packed/dir/link")).unwrap();
    let swept = place.store.gc(0, Duration::MAX, &[], &|_| false).unwrap();
    assert!(swept.faults.is_empty(), "{:?}", swept.faults);
    assert_eq!(place.names("packed"), [id.as_str(), "tmp", "urls"]);
    assert_eq!(place.names("packed/tmp"), [""; 0]);
}

/// Locks all that it may open until somebody ends it.
#[test]
fn child_locks_what_it_can() {
    let Some(store) = store_of_member() else {
        return;
    };
    let mut kept = Vec::new();
    let mut todo = vec![store.path().to_path_buf()];
    while let Some(dir) = todo.pop() {
        let Ok(open) = std::fs::File::open(&dir) else {
            continue;
        };
        // One that is in use cannot be had.
        let _ = crate::files::try_lock_exclusive(open.as_fd());
        kept.push(open);
        let below = std::fs::read_dir(&dir).into_iter().flatten().flatten();
        todo.extend(below.map(|entry| entry.path()).filter(|path| path.is_dir()));
    }
    std::fs::write(store.path().join("packed/locked"), "").unwrap();
    loop {
        std::thread::park();
    }
}

#[test]
fn locks_of_members_stop_nobody() {
    let Some((place, _)) = shared() else {
        return;
    };
    let mut member = member(&place, "child_locks_what_it_can")
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap();
    while !place.path("packed/locked").exists() {
        assert!(member.try_wait().unwrap().is_none(), "it could not lock");
        std::thread::sleep(Duration::from_millis(5));
    }
    // Killed in the end whatever happens here: a lock that stops us is for ever.
    let pid = rustix::process::Pid::from_child(&member);
    let (done, waits) = std::sync::mpsc::channel::<()>();
    let guard = std::thread::spawn(move || {
        let stuck = waits.recv_timeout(Duration::from_secs(20)).is_err();
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
        stuck
    });
    let id = place.image("more", "", &[("f", "x")]);
    place.store.remove(&id).unwrap();
    done.send(()).unwrap();
    assert!(!guard.join().unwrap(), "root waited for a member's lock");
    member.wait().unwrap();
}

/// A member chooses the name of what he packs, and the note on a URL may say that
/// any image is what a digest or a signature stands for.
#[test]
fn names_and_urls_that_members_have_chosen_do_not_lead_root() {
    let Some((mut place, _)) = shared() else {
        return;
    };
    let bytes = small("theirs", "x").0;
    let id = pack(&mut place, &bytes);
    let wanted = (name("theirs"), Labels::default());
    assert!(place.store.find(&wanted.0, &wanted.1).unwrap().is_none());
    let found = place.store.find_any(&wanted.0, &wanted.1).unwrap();
    assert_eq!(found.map(|record| record.id), Some(id.clone()));
    // Not even if root has the image that the note names.
    place.store.render(&id).unwrap();
    let url = "docker://example.com/good@sha256:0";
    place.store.unpacks = false;
    let note = crate::urls::UrlEntry::of(
        &Origin {
            url: Some(url.into()),
            fresh_until: Some(i64::MAX),
            digest: Some("sha256:0".into()),
            ..Origin::default()
        },
        &id,
    );
    let root = std::fs::File::open(place.path("")).unwrap();
    place.store.note_url(root.as_fd(), &note.unwrap()).unwrap();
    assert!(place.store.fetched(url).unwrap().is_some());
    place.store.unpacks = true;
    assert!(place.store.fetched(url).unwrap().is_none());
    assert!(place.store.by_url(url).unwrap().is_none());
    assert!(place.store.fetched_by_any(url).unwrap().is_some());
}

fn assert_refused(place: &Place, id: &ImageId, layers: &[String]) {
    let fault = place.store.render(id).unwrap_err();
    assert!(fault.hint.is_some(), "{fault}");
    place.store.manifest(id).unwrap_err();
    assert_eq!(place.names("layers"), layers);
    assert_eq!(place.names("images").len(), layers.len());
    place.assert_tidy();
}

#[test]
fn root_believes_nothing_that_comes_packed() {
    let Some((mut place, _)) = shared() else {
        return;
    };
    let layers = place.names("layers");
    let (good, id) = small("packed", "good");
    pack(&mut place, &good);
    let blob = place.path(&format!("packed/{}/aci", id.as_str()));
    // Other content under this ID.
    std::fs::write(&blob, small("packed", "evil").0).unwrap();
    assert_refused(&place, &id, &layers);
    // No file: a link to one of root's, a pipe that nobody writes to.
    let secret = place.temp.path().join("secret");
    std::fs::write(&secret, &good).unwrap();
    std::fs::remove_file(&blob).unwrap();
    symlink(&secret, &blob).unwrap();
    assert_refused(&place, &id, &layers);
    std::fs::remove_file(&blob).unwrap();
    let kind = rustix::fs::FileType::Fifo;
    let all = rustix::fs::Mode::RWXU;
    rustix::fs::mknodat(rustix::fs::CWD, &blob, kind, all, 0).unwrap();
    assert_refused(&place, &id, &layers);
    std::fs::remove_file(&blob).unwrap();
    std::fs::write(&blob, &good).unwrap();
    assert_eq!(place.store.manifest(&id).unwrap().name, name("packed"));
    // The same for layers, and for the manifest beside them.
    place.store.unpacks = false;
    let record = layered(&place.store);
    place.store.unpacks = true;
    let layers = place.names("layers");
    let image = place.path(&format!("packed/{}", record.id.as_str()));
    let manifest_path = image.join("manifest");
    let right = std::fs::read(&manifest_path).unwrap();
    std::fs::write(&manifest_path, manifest("layered", &version())).unwrap();
    assert_refused(&place, &record.id, &layers);
    std::fs::write(&manifest_path, right).unwrap();
    let blob = image.join(crate::testing::diff_id(&sample()[0]).file_name());
    let right = std::fs::read(&blob).unwrap();
    std::fs::write(&blob, layer(&[("other", "")])).unwrap();
    assert_refused(&place, &record.id, &layers);
    std::fs::write(&blob, right).unwrap();
    place.store.render(&record.id).unwrap();
    assert_eq!(place.names("layers").len(), layers.len() + 3);
}

fn version() -> String {
    crate::testing::version("2")
}

#[test]
fn links_in_the_inbox_lead_root_nowhere() {
    let Some((mut place, _)) = shared() else {
        return;
    };
    let (bytes, id) = small("packed", "x");
    pack(&mut place, &bytes);
    let victim = place.temp.path().join("victim");
    std::fs::create_dir_all(victim.join("0123")).unwrap();
    std::fs::write(victim.join("0123/file"), "kept").unwrap();
    let tmp = place.path("packed/tmp");
    std::fs::remove_dir(&tmp).unwrap();
    symlink(&victim, &tmp).unwrap();
    let urls = place.path("packed/urls");
    std::fs::remove_dir(&urls).unwrap();
    symlink(&victim, &urls).unwrap();
    let other = small("other", "y").1;
    symlink(&victim, place.path(&format!("packed/{}", other.as_str()))).unwrap();
    assert!(place.store.get(&other).unwrap().is_none());
    place.store.fetched_by_any("https://example.com").unwrap();
    let swept = place.store.gc(0, Duration::MAX, &[], &|_| false).unwrap();
    assert!(!swept.faults.is_empty());
    assert_eq!(std::fs::read(victim.join("0123/file")).unwrap(), b"kept");
    // What does not need them still works.
    place.store.render(&id).unwrap();
    let root = std::fs::File::open(place.path("")).unwrap();
    let inbox = Inbox::open(root.as_fd()).unwrap().unwrap();
    assert!(inbox.tmp().is_err() && inbox.image(&other).is_err());
}
