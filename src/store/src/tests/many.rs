//! Many at once, killed in the middle, and out of space. Other processes are
//! this test binary, started again for one of the `child_…` tests, which do
//! nothing unless they are told where to work.

use super::*;
use crate::testing::layer;
use std::io::{self, Read};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

const PLACE: &str = "RKT_STORE_TEST_PLACE";

fn child(test: &str, dir: &Path) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args([&format!("tests::many::{test}"), "--exact", "--nocapture"])
        .env(PLACE, dir)
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit());
    command
}

fn place_of_child() -> Option<Store> {
    let dir = std::env::var_os(PLACE)?;
    Some(Store::open(Path::new(&dir)).unwrap())
}

#[test]
fn child_imports_and_removes() {
    let Some(store) = place_of_child() else {
        return;
    };
    for round in 0..12 {
        let (bytes, id) = small("shared", &(round % 3).to_string());
        store.put_aci(&mut &*bytes, &Origin::default()).unwrap();
        if let Ok(tree) = store.render(&id) {
            let me = pod(std::process::id() as u8);
            store.hold(&tree, &me).unwrap();
            drop(tree);
            // Whoever removes the image meanwhile, the files stay.
            let path = store
                .path()
                .join("layers")
                .join(id.as_str())
                .join("rootfs/file");
            assert_eq!(
                std::fs::read(path).unwrap(),
                (round % 3).to_string().as_bytes()
            );
            store.release(&me).unwrap();
        }
        let of_layers = layered(&store, &(round % 2).to_string());
        if let Ok(tree) = store.render(&of_layers) {
            let me = pod(std::process::id() as u8);
            store.hold(&tree, &me).unwrap();
            let lowers = tree.lowers.clone();
            drop(tree);
            for lower in lowers {
                assert_ne!(names(&lower), [""; 0]);
            }
            store.release(&me).unwrap();
        }
        for id in [&id, &of_layers] {
            match store.remove(id) {
                Ok(_) => {}
                Err(fault) => assert_eq!(fault.cause, "no image IDs found"),
            }
        }
        let swept = store
            .gc(i64::MAX / 2, Duration::MAX, &[], &|_| true)
            .unwrap();
        assert!(swept.faults.is_empty(), "{:?}", swept.faults);
    }
}

/// An image of four layers, of which it shares three with others.
fn layered(store: &Store, content: &str) -> ImageId {
    let own = layer(&[("own", content)]);
    let [one, two, three] = super::layers::sample();
    let all: [&[u8]; 4] = [&one, &two, &three, &own];
    super::layers::assemble(store, "layered", &all).unwrap().id
}

/// Never ends: half of an archive, then nothing.
#[test]
fn child_hangs_in_an_import() {
    let Some(store) = place_of_child() else {
        return;
    };
    struct Hang;
    impl Read for Hang {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            println!("hanging");
            std::thread::sleep(Duration::from_secs(600));
            Ok(0)
        }
    }
    let bytes = aci(&manifest("a", ""), &[("f", &"x".repeat(200_000))]);
    let _ = store.put_aci(&mut (&bytes[..150_000]).chain(Hang), &Origin::default());
}

/// Never ends.
#[test]
fn child_imports_forever() {
    let Some(store) = place_of_child() else {
        return;
    };
    let image = |name: &str, content: &str| {
        let more = if name == "top" { DEPENDS } else { "" };
        let bytes = aci(&manifest(name, more), &[("f", content), (name, content)]);
        store
            .put_aci(
                &mut &*bytes,
                &Origin {
                    url: Some(content.into()),
                    latest: true,
                    ..Default::default()
                },
            )
            .unwrap()
            .id
    };
    println!("importing");
    for round in 0.. {
        let content = (round % 5).to_string();
        let (base, top) = (image("base", &content), image("top", &content));
        let of_layers = layered(&store, &content);
        for id in [&top, &of_layers] {
            let tree = store.render(id).unwrap();
            store.hold(&tree, &pod(1)).unwrap();
        }
        store.remove(&of_layers).unwrap();
        store.remove(&top).unwrap();
        store.release(&pod(1)).unwrap();
        store.remove(&base).unwrap();
    }
}

const DEPENDS: &str = r#""dependencies":[{"imageName":"base"}]"#;

/// Reads what a child prints up to a word.
fn wait_for(child: &mut Child, word: &str) {
    let mut text = Vec::new();
    let out = child.stdout.as_mut().unwrap();
    while !String::from_utf8_lossy(&text).contains(word) {
        let mut byte = [0];
        assert_eq!(out.read(&mut byte).unwrap(), 1, "the child ended early");
        text.push(byte[0]);
    }
}

#[test]
fn a_kill_at_any_moment_leaves_a_sound_store() {
    let place = Place::new();
    let mut random = crate::testing::Random::new(3);
    for _ in 0..25 {
        let mut child = child("child_imports_forever", place.temp.path())
            .spawn()
            .unwrap();
        wait_for(&mut child, "importing");
        std::thread::sleep(Duration::from_micros(random.below(90_000) as u64));
        child.kill().unwrap();
        child.wait().unwrap();
        // What is listed is whole, before anything is swept.
        for record in place.store.list().unwrap() {
            let id = record.unwrap().id;
            assert_eq!(id_of(&export(&place.store, &id)), id);
            assert_ne!(
                names(&place.store.render(&id).map_or_else(
                    |fault| {
                        assert!(fault.cause.contains("cannot find aci"), "{fault}");
                        place.path("")
                    },
                    |tree| tree.lowers[0].clone(),
                )),
                [""; 0]
            );
        }
    }
    let swept = place
        .store
        .gc(i64::MAX / 2, Duration::ZERO, &[], &|_| false)
        .unwrap();
    assert!(swept.faults.is_empty(), "{:?}", swept.faults);
    for folder in [
        "images", "names", "urls", "layers", "trees", "l", "holds", "tmp",
    ] {
        assert_eq!(place.names(folder), [""; 0], "{folder}");
    }
}

#[test]
fn processes_share_a_store() {
    let place = Place::new();
    let children: Vec<Child> = (0..3)
        .map(|_| {
            child("child_imports_and_removes", place.temp.path())
                .spawn()
                .unwrap()
        })
        .collect();
    for child in children {
        let output = child.wait_with_output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(
            output.status.success() && text.contains("1 passed"),
            "{text}"
        );
    }
    place
        .store
        .gc(i64::MAX / 2, Duration::ZERO, &[], &|_| false)
        .unwrap();
    for folder in ["images", "names", "layers", "trees", "l", "holds", "tmp"] {
        assert_eq!(place.names(folder), [""; 0], "{folder}");
    }
}

#[test]
fn a_killed_import_is_swept_and_a_living_one_is_not() {
    let place = Place::new();
    let mut child = child("child_hangs_in_an_import", place.temp.path())
        .spawn()
        .unwrap();
    wait_for(&mut child, "hanging");
    let none = |_: &PodUuid| false;
    let swept = place.store.gc(0, Duration::MAX, &[], &none).unwrap();
    assert_eq!((swept.staging, place.names("tmp").len()), (0, 1));
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(place.names("tmp").len(), 1);
    assert!(place.store.list().unwrap().is_empty());
    place.put(&small("a", "x").0);
    place.assert_tidy();
}

#[test]
fn writers_of_one_image_all_succeed_and_readers_see_it_whole() {
    let place = Place::new();
    let files: Vec<(String, String)> = (0..50)
        .map(|number| (format!("f{number}"), "x".repeat(number * 10)))
        .collect();
    let files: Vec<(&str, &str)> = files
        .iter()
        .map(|(p, c)| (p.as_str(), c.as_str()))
        .collect();
    let bytes = aci(&manifest("a", ""), &files);
    let id = id_of(&bytes);
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                let store = Store::open(place.temp.path()).unwrap();
                if let Some(record) = store.find(&name("a"), &Labels::default()).unwrap() {
                    assert_eq!(record.id, id);
                    assert_eq!(names(&store.render(&id).unwrap().lowers[0]).len(), 50);
                    assert_eq!(export(&store, &id), bytes);
                }
            }
        });
        let writers: Vec<_> = (0..4)
            .map(|_| {
                scope.spawn(|| {
                    for _ in 0..3 {
                        assert_eq!(place.put(&bytes).id, id);
                    }
                })
            })
            .collect();
        for writer in writers {
            writer.join().unwrap();
        }
        done.store(true, Ordering::Relaxed);
        reader.join().unwrap();
    });
    assert_eq!(place.names("layers"), [id.as_str()]);
    place.assert_tidy();
}

#[test]
fn renderers_of_one_tree_all_succeed() {
    let place = Place::new();
    place.image("base", "", &[("base", "b")]);
    let id = place.image(
        "top",
        r#""dependencies":[{"imageName":"base"}]"#,
        &[("top", "t")],
    );
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let tree = place.store.render(&id).unwrap();
                assert_eq!(names(&tree.lowers[0]), ["base", "top"]);
            });
        }
    });
    assert_eq!(place.names("trees").len(), 1);
    place.assert_tidy();
}

/// Works on a disk of two megabytes of its own.
#[test]
fn child_fills_its_disk() {
    use sys::mount::{Flags, mount, propagation};
    let Some(store) = place_of_child() else {
        return;
    };
    let dir = store.path().parent().unwrap();
    sys::ns::unshare(sys::clone::Namespaces::MOUNT).unwrap();
    propagation("/", Flags::PRIVATE).unwrap();
    mount("tmpfs", dir, "tmpfs", Flags::NONE, "size=2m").unwrap();

    let (bytes, id) = small("a", "x");
    store.put_aci(&mut &*bytes, &Origin::default()).unwrap();
    let big = aci(&manifest("big", ""), &[("f", &"y".repeat(4 << 20))]);
    let fault = store.put_aci(&mut &*big, &Origin::default()).unwrap_err();
    assert!(
        fault.to_string().contains("no space left on device"),
        "{fault}"
    );
    assert_eq!(names(&store.path().join("tmp")), [""; 0]);
    assert_eq!(names(&store.path().join("layers")), [id.as_str()]);

    let read_only = Flags::REMOUNT | Flags::RDONLY;
    mount("tmpfs", dir, "tmpfs", read_only, "").unwrap();
    assert_eq!(names(&store.render(&id).unwrap().lowers[0]), ["file"]);
    assert_eq!(export(&store, &id), bytes);
    assert!(store.remove(&id).is_err());
    mount("tmpfs", dir, "tmpfs", Flags::REMOUNT, "size=2m").unwrap();

    let filler = std::fs::File::create(dir.join("filler")).unwrap();
    while io::Write::write_all(&mut &filler, &[0; 4096]).is_ok() {}
    assert!(matches!(store.remove(&id).unwrap(), crate::Removal::Clean));
    for folder in ["images", "names", "layers", "l", "tmp"] {
        assert_eq!(names(&store.path().join(folder)), [""; 0], "{folder}");
    }
}

#[test]
fn a_full_disk_keeps_nothing_half_done_and_can_be_cleared() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let place = Place::new();
    let output = child("child_fills_its_disk", place.temp.path())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && text.contains("1 passed"),
        "{text}"
    );
}
