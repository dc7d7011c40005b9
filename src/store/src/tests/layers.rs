//! Images of several layers: assembling, sharing, rendering, removal, checking.

use super::*;
use crate::testing::{diff_id, gzip, layer};
use crate::{Assembly, Integrity, Tree};
use model::fault::Result;
use model::{Digest, Fault, ImageManifest};
use std::io::{self, Read};
use std::time::Duration;

fn manifest_of(name: &str) -> ImageManifest {
    ImageManifest::parse(manifest(name, "").as_bytes()).unwrap()
}

fn unpack(assembly: &Assembly<'_>, layer: &[u8]) -> Result<Digest> {
    let id = diff_id(layer);
    if assembly.claim(&id)? {
        return Ok(id);
    }
    assembly.unpack(Some(&id), &id, &mut &*layer)
}

pub(super) fn assemble(store: &Store, name: &str, layers: &[&[u8]]) -> Result<ImageRecord> {
    let assembly = store.assemble()?;
    let ids: Vec<Digest> = layers
        .iter()
        .map(|layer| unpack(&assembly, layer))
        .collect::<Result<_>>()?;
    assembly.publish(&manifest_of(name), &ids, &Origin::default())
}

/// Three layers: the second one replaces, deletes and links downwards, the third
/// replaces a directory's content.
pub(super) fn sample() -> [Vec<u8>; 3] {
    [
        layer(&[
            ("etc/", ""),
            ("etc/a", "one"),
            ("etc/b", "gone"),
            ("opt/", ""),
            ("opt/old", "hidden"),
            ("bin/", ""),
            ("bin/sh", "#!"),
            ("bin/link -> sh", ""),
        ]),
        layer(&[
            ("etc/a", "two"),
            ("etc/.wh.b", ""),
            ("bin/ash => bin/sh", ""),
        ]),
        layer(&[("opt/", ""), ("opt/.wh..wh..opq", ""), ("opt/new", "shown")]),
    ]
}

const SEEN: [&str; 9] = [
    "bin dir",
    "bin/ash #!",
    "bin/link -> sh",
    "bin/sh #!",
    "etc dir",
    "etc/a two",
    "opt dir",
    "opt/new shown",
    " dir",
];

fn seen_in(dir: &Path) -> Vec<String> {
    let dir = std::fs::canonicalize(dir).unwrap();
    let mut lines: Vec<String> = listing(&dir)
        .iter()
        .map(|line| {
            let words: Vec<&str> = line.splitn(4, ' ').collect();
            format!("{} {}", words[0], words[3])
        })
        .collect();
    lines.sort();
    lines
}

fn sample_seen() -> Vec<String> {
    let mut lines: Vec<String> = SEEN.iter().map(|line| line.to_string()).collect();
    lines.sort();
    lines
}

/// What an overlay of a tree shows, mounted where only one thread sees it.
fn overlaid(tree: &Tree) -> Vec<String> {
    use std::os::fd::AsRawFd;
    use sys::mount::{Flags, mount, propagation};
    let temp = Temp::new();
    let none = temp.path().join("none");
    let target = temp.path().join("merged");
    std::fs::create_dir(&none).unwrap();
    std::fs::create_dir(&target).unwrap();
    let look = || {
        sys::ns::unshare(sys::clone::Namespaces::MOUNT).unwrap();
        propagation("/", Flags::PRIVATE).unwrap();
        // Alone, a lower directory is refused.
        let all = tree.lowers.iter().chain([&none]);
        let lowers: Vec<std::fs::File> = all.map(|dir| std::fs::File::open(dir).unwrap()).collect();
        let names: Vec<String> = lowers
            .iter()
            .map(|lower| format!("/proc/self/fd/{}", lower.as_raw_fd()))
            .collect();
        let options = format!("lowerdir={}", names.join(":"));
        mount("overlay", &target, "overlay", Flags::RDONLY, &options).unwrap();
        seen_in(&target)
    };
    std::thread::scope(|scope| scope.spawn(look).join().unwrap())
}

fn gc(place: &Place, live: &[PodUuid]) {
    let swept = place
        .store
        .gc(0, Duration::MAX, &[], &|pod| live.contains(pod))
        .unwrap();
    assert!(swept.faults.is_empty(), "{:?}", swept.faults);
}

fn assert_empty(place: &Place) {
    for folder in ["images", "names", "layers", "trees", "l", "holds", "tmp"] {
        assert_eq!(place.names(folder), [""; 0], "{folder}");
    }
}

#[test]
fn an_image_of_layers_looks_like_its_archive() {
    let place = Place::new();
    let layers = sample();
    let record = assemble(
        &place.store,
        "example.com/app",
        &layers.each_ref().map(|l| &**l),
    )
    .unwrap();
    assert_eq!(place.names("layers").len(), 3);
    place.assert_tidy();
    let exported = export(&place.store, &record.id);
    assert_eq!(id_of(&exported), record.id);
    assert_eq!(record.size, exported.len() as u64);
    // one, gone, hidden, #!, two, shown
    assert_eq!(record.tree_size, 3 + 4 + 6 + 2 + 3 + 5);
    assert_eq!(
        overlaid(&place.store.render(&record.id).unwrap()),
        sample_seen()
    );
    let flat = place.store.render_flat(&record.id).unwrap();
    assert_eq!(flat.lowers.len(), 1);
    assert_eq!(seen_in(&flat.lowers[0]), sample_seen());
    let out = Temp::new();
    for (dir, rendered) in [("x", false), ("r", true)] {
        let dir = out.path().join(dir);
        if rendered {
            place.store.render_to(&record.id, &dir, true).unwrap();
        } else {
            place.store.extract(&record.id, &dir, true).unwrap();
        }
        assert_eq!(seen_in(&dir), sample_seen());
    }
    drop(flat);
    // Imported as an ACI it is the same image.
    assert_eq!(place.put(&exported).id, record.id);
    assert_eq!(export(&place.store, &record.id), exported);
    assert_eq!(place.store.verify(&record.id).unwrap(), Integrity::Verified);
    let own = [record.id.as_str().to_string()];
    assert_eq!(place.names("layers"), own);
    assemble(
        &place.store,
        "example.com/app",
        &layers.each_ref().map(|l| &**l),
    )
    .unwrap();
    assert_eq!(place.names("layers").len(), 3);
    place.store.remove(&record.id).unwrap();
    assert_empty(&place);
}

#[test]
fn the_same_content_is_one_layer_in_any_compression_and_image() {
    let place = Place::new();
    let [base, middle, _] = sample();
    let one = assemble(&place.store, "one", &[&base, &middle]).unwrap();
    let assembly = place.store.assemble().unwrap();
    assert!(assembly.claim(&diff_id(&base)).unwrap());
    let other = layer(&[("other", "o")]);
    assert!(!assembly.claim(&diff_id(&other)).unwrap());
    let packed = gzip(&other);
    let blob = diff_id(&packed);
    let found = assembly.unpack(None, &blob, &mut &*packed).unwrap();
    assert_eq!(found, diff_id(&other));
    // Not claimed, but unpacked once more: one of them is taken.
    let twice = gzip(&middle);
    assembly
        .unpack(None, &diff_id(&twice), &mut &*twice)
        .unwrap();
    let ids = [&base, &middle, &other].map(|layer| diff_id(layer));
    let two = assembly
        .publish(&manifest_of("two"), &ids, &Origin::default())
        .unwrap();
    assert_eq!(place.names("layers").len(), 3);
    let plain = Place::new();
    let same = assemble(&plain.store, "two", &[&base, &middle, &other]).unwrap();
    assert_eq!(same.id, two.id);
    // Shared layers go with the last image.
    place.store.remove(&one.id).unwrap();
    assert_eq!(place.names("layers").len(), 3);
    assert_eq!(place.store.verify(&two.id).unwrap(), Integrity::Verified);
    place.store.remove(&two.id).unwrap();
    assert_empty(&place);
}

#[test]
fn an_equal_layer_may_come_twice() {
    let place = Place::new();
    let empty = layer(&[]);
    let base = layer(&[("a", "1")]);
    let record = assemble(&place.store, "twice", &[&empty, &base, &empty, &base]).unwrap();
    assert_eq!(place.names("layers").len(), 2);
    assert_eq!(
        overlaid(&place.store.render(&record.id).unwrap()),
        [" dir", "a 1"]
    );
}

#[test]
fn threads_assemble_at_once() {
    let place = Place::new();
    let layers = sample();
    let layers = layers.each_ref().map(|l| &**l);
    let ids: Vec<ImageId> = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..6)
            .map(|number| {
                let (store, layers) = (&place.store, &layers);
                let take = if number % 2 == 0 { 3 } else { 2 };
                scope.spawn(move || {
                    let assembly = store.assemble().unwrap();
                    // Each layer by a thread of its own.
                    std::thread::scope(|scope| {
                        for layer in &layers[..take] {
                            scope.spawn(|| unpack(&assembly, layer).unwrap());
                        }
                    });
                    let ids: Vec<Digest> = layers[..take].iter().map(|l| diff_id(l)).collect();
                    let origin = Origin::default();
                    assembly
                        .publish(&manifest_of("a"), &ids, &origin)
                        .unwrap()
                        .id
                })
            })
            .collect();
        workers.into_iter().map(|w| w.join().unwrap()).collect()
    });
    assert_eq!((&ids[0], &ids[1]), (&ids[2], &ids[3]));
    assert_ne!(ids[0], ids[1]);
    assert_eq!(place.names("layers").len(), 3);
    place.assert_tidy();
    for id in &ids[..2] {
        assert_eq!(place.store.verify(id).unwrap(), Integrity::Verified);
        place.store.remove(id).unwrap();
    }
    assert_empty(&place);
}

/// Fails when all was read, as a source does whose digest is wrong.
struct Wrong<'a>(&'a [u8]);

impl Read for Wrong<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        match self.0.read(buf)? {
            0 => {
                let fault = Fault::refused("digest mismatch").hint("ask again");
                Err(io::Error::other(fault))
            }
            length => Ok(length),
        }
    }
}

#[test]
fn an_error_leaves_the_store_as_it_was_and_comes_back_as_it_is() {
    let place = Place::new();
    let layers = sample();
    let image = |assembly: &Assembly<'_>| unpack(assembly, &layers[0]);
    {
        let assembly = place.store.assemble().unwrap();
        image(&assembly).unwrap();
        let id = diff_id(&layers[1]);
        for bytes in [layers[1].clone(), gzip(&layers[1])] {
            let fault = assembly
                .unpack(Some(&id), &id, &mut Wrong(&bytes))
                .unwrap_err();
            assert_eq!(fault.cause, "digest mismatch");
            assert_eq!(fault.hint.as_deref(), Some("ask again"));
        }
        let other = diff_id(&layers[2]);
        let fault = assembly
            .unpack(Some(&id), &other, &mut &*layers[2])
            .unwrap_err();
        assert!(fault.cause.contains(id.as_str()), "{fault}");
        assert!(fault.cause.contains(other.as_str()), "{fault}");
        assert!(!assembly.claim(&id).unwrap());
        assert_eq!(place.names("layers"), [""; 0]);
        let missing = assembly.publish(&manifest_of("a"), &[id], &Origin::default());
        assert!(missing.unwrap_err().cause.contains("was not fetched"));
    }
    assert_empty(&place);
    // An ID that somebody else claims, found wrong after all the work.
    let assembly = place.store.assemble().unwrap();
    let ids = [image(&assembly).unwrap()];
    let bytes = manifest("a", "");
    let expected = ImageId::from_digest(&[1; 64]);
    let origin = Origin::default();
    let fault = assembly
        .publish_as(bytes.as_bytes(), &ids, &origin, Some(&expected))
        .unwrap_err();
    assert_eq!(fault.kind, model::Kind::Corrupt);
    assert_empty(&place);
    let fault = place
        .store
        .put_aci(&mut Wrong(&small("a", "x").0), &Origin::default())
        .unwrap_err();
    assert_eq!(fault.hint.as_deref(), Some("ask again"));
    assert_empty(&place);
}

#[test]
fn what_cannot_be_published_goes_again() {
    let place = Place::new();
    place.image("other", "", &[]);
    let before = place.names("layers");
    // One of the last steps has no place to go.
    let [base, ..] = sample();
    let id = assemble(&Place::new().store, "a", &[&base]).unwrap().id;
    let manifest = place.path(&format!("images/{}/manifest", id.as_str()));
    std::fs::create_dir_all(manifest.join("in the way")).unwrap();
    assemble(&place.store, "a", &[&base]).unwrap_err();
    assert_eq!(place.names("layers"), before);
    place.assert_tidy();
}

#[test]
fn a_pod_holds_every_layer_and_tree() {
    let place = Place::new();
    let layers = sample();
    let record = assemble(&place.store, "a", &layers.each_ref().map(|l| &**l)).unwrap();
    let tree = place.store.render(&record.id).unwrap();
    assert!(tree.tree_id.starts_with("deps-sha512-"));
    place.store.hold(&tree, &pod(1)).unwrap();
    drop(tree);
    let copied = place.store.render_flat(&record.id).unwrap();
    place.store.hold(&copied, &pod(2)).unwrap();
    drop(copied);
    place.store.remove(&record.id).unwrap();
    gc(&place, &[pod(1), pod(2)]);
    assert_eq!(place.names("layers").len(), 3);
    assert_eq!(place.names("trees").len(), 2);
    place.store.release(&pod(2)).unwrap();
    assert_eq!(place.names("trees").len(), 1);
    // Fetched again meanwhile, it is the same layers.
    let again = assemble(&place.store, "a", &layers.each_ref().map(|l| &**l)).unwrap();
    place.store.release(&pod(1)).unwrap();
    assert_eq!(place.store.verify(&again.id).unwrap(), Integrity::Verified);
    place.store.remove(&again.id).unwrap();
    assert_empty(&place);
}

#[test]
fn gc_keeps_what_a_damaged_record_may_name() {
    let place = Place::new();
    let [base, ..] = sample();
    let record = assemble(&place.store, "a", &[&base]).unwrap();
    let path = place.path(&format!("images/{}/record", record.id.as_str()));
    let bytes = std::fs::read(&path).unwrap();
    std::fs::write(&path, "{}").unwrap();
    let swept = place.store.gc(0, Duration::MAX, &[], &|_| false).unwrap();
    assert!(swept.layers.is_empty() && !swept.faults.is_empty());
    assert_eq!(place.names("layers").len(), 1);
    std::fs::write(&path, bytes).unwrap();
    assert_eq!(place.store.verify(&record.id).unwrap(), Integrity::Verified);
    std::fs::remove_file(&path).unwrap();
    gc(&place, &[]);
    assert_empty(&place);
}

#[test]
fn a_flipped_byte_a_mode_and_a_broken_tree_are_found() {
    let place = Place::new();
    let layers = sample();
    let record = assemble(&place.store, "a", &layers.each_ref().map(|l| &**l)).unwrap();
    let verify = || place.store.verify(&record.id).unwrap();
    let file = place
        .path(&format!(
            "layers/{}/rootfs",
            diff_id(&layers[1]).file_name()
        ))
        .join("etc/a");
    let time = std::fs::metadata(&file).unwrap().modified().unwrap();
    let change = |content: &str| {
        std::fs::write(&file, content).unwrap();
        let opened = std::fs::File::options().write(true).open(&file).unwrap();
        opened.set_modified(time).unwrap();
    };
    change("twO");
    assert!(matches!(verify(), Integrity::Broken(_)));
    let mut out = Vec::new();
    let fault = place.store.export(&record.id, &mut out).unwrap_err();
    assert_eq!(fault.kind, model::Kind::Corrupt);
    assert!(place.store.repair(&record.id).unwrap_err().hint.is_some());
    change("two");
    assert_eq!(verify(), Integrity::Verified);
    // What the archive does not see, a pod does.
    let mode = |mode| {
        use std::os::unix::fs::PermissionsExt;
        std::fs::set_permissions(&file, PermissionsExt::from_mode(mode)).unwrap();
    };
    mode(0o4755);
    assert!(matches!(verify(), Integrity::Broken(_)));
    mode(0o644);
    // The trees are made of the layers, so they can be made again.
    let flat = place.store.render_flat(&record.id).unwrap().lowers[0].clone();
    let fixups = place
        .names("trees")
        .into_iter()
        .find(|t| t.starts_with("fixups"));
    let fixups = place.path(&format!("trees/{}/rootfs", fixups.unwrap()));
    for tree in [flat, fixups] {
        std::fs::remove_file(tree.join("bin/ash")).unwrap();
        std::fs::write(tree.join("new"), "").unwrap();
        assert!(matches!(verify(), Integrity::Broken(_)));
        place.store.repair(&record.id).unwrap();
        assert_eq!(verify(), Integrity::Verified);
    }
    // Without its index a layer is none.
    let index = diff_id(&layers[2]).file_name();
    std::fs::remove_file(place.path(&format!("layers/{index}/index"))).unwrap();
    assert!(matches!(verify(), Integrity::Broken(_)));
}

#[test]
fn as_many_layers_as_docker_makes_are_one_overlay_and_more_a_tree() {
    let place = Place::new();
    let layers: Vec<Vec<u8>> = (0..210)
        .map(|number| layer(&[("same", &number.to_string()), (&format!("f{number}"), "")]))
        .collect();
    let all: Vec<&[u8]> = layers.iter().map(|layer| &**layer).collect();
    let record = assemble(&place.store, "many", &all[..127]).unwrap();
    let tree = place.store.render(&record.id).unwrap();
    assert_eq!(tree.lowers.len(), 127);
    let seen = overlaid(&tree);
    assert_eq!(seen.len(), 127 + 2);
    assert!(seen.contains(&"same 126".to_string()));
    let more = assemble(&place.store, "more", &all).unwrap();
    // Built when it was published.
    assert_eq!(place.names("trees").len(), 1);
    let tree = place.store.render(&more.id).unwrap();
    assert_eq!(tree.lowers.len(), 1);
    assert_eq!(overlaid(&tree).len(), 210 + 2);
    assert_eq!(place.store.verify(&more.id).unwrap(), Integrity::Verified);
}

#[test]
fn an_aci_may_depend_on_an_image_of_layers() {
    let place = Place::new();
    let layers = sample();
    let base = assemble(&place.store, "base", &layers.each_ref().map(|l| &**l)).unwrap();
    let more = r#""dependencies":[{"imageName":"base"}]"#;
    let top = place.image("top", more, &[("etc/", ""), ("etc/a", "three")]);
    let tree = place.store.render(&top).unwrap();
    let seen = seen_in(&tree.lowers[0]);
    assert!(seen.contains(&"etc/a three".to_string()), "{seen:?}");
    assert!(seen.contains(&"bin/ash #!".to_string()), "{seen:?}");
    drop(tree);
    assert_eq!(place.store.verify(&top).unwrap(), Integrity::Verified);
    for id in [&base.id, &top] {
        place.store.remove(id).unwrap();
    }
    assert_empty(&place);
}

/// The bytes of an archive do not bound what it claims to hold.
#[test]
fn layers_together_are_bounded_like_one() {
    let place = Place::new();
    let assembly = place.store.assemble().unwrap();
    let one = layer(&[("a", "")]);
    unpack(&assembly, &one).unwrap();
    let before = assembly.left().max_entries;
    unpack(&assembly, &layer(&[("b", ""), ("c", "")])).unwrap();
    let after = assembly.left();
    // The root and two files.
    assert_eq!(before - after.max_entries, 3);
    let whole = archive::Options::default();
    assert!(after.max_bytes < whole.max_bytes && after.max_names < whole.max_names);
}
