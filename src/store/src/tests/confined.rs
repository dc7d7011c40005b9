//! Stores in user namespaces: the same images, and no others, come out of them.

use super::{Place, export, names, small};
use crate::testing::{Ids, Temp, alone, diff_id, gzip, in_namespace, manifest};
use crate::{Integrity, Origin, Store};
use model::{Digest, ImageId, ImageManifest};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

/// `cap_net_raw+ep` as `setcap` writes it.
const CAPABILITY: [u8; 20] = [
    1, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
];

/// What images hold that a user namespace makes harder.
struct Tar(tar::Builder<Vec<u8>>);

impl Tar {
    fn new() -> Tar {
        Tar(tar::Builder::new(Vec::new()))
    }

    fn add(&mut self, path: &str, kind: tar::EntryType, mode: u32, owner: u64, data: &[u8]) {
        let mut header = tar::Header::new_ustar();
        header.set_entry_type(kind);
        header.set_mode(mode);
        header.set_mtime(1_000_000_000);
        header.set_uid(owner);
        header.set_gid(owner);
        header.set_size(data.len() as u64);
        header.set_device_major(1).unwrap();
        header.set_device_minor(3).unwrap();
        self.0.append_data(&mut header, path, data).unwrap();
    }

    fn link(&mut self, path: &str, target: &str) {
        let mut header = tar::Header::new_ustar();
        header.set_entry_type(tar::EntryType::Link);
        header.set_mode(0o644);
        header.set_size(0);
        self.0.append_link(&mut header, path, target).unwrap();
    }

    fn xattrs(&mut self, pairs: &[(&str, &[u8])]) {
        let named: Vec<(String, &[u8])> = pairs
            .iter()
            .map(|(name, value)| (format!("SCHILY.xattr.{name}"), *value))
            .collect();
        let pairs = named.iter().map(|(name, value)| (name.as_str(), *value));
        self.0.append_pax_extensions(pairs).unwrap();
    }

    fn contents(&mut self, top: &str) {
        use tar::EntryType as Kind;
        let at = |name: &str| format!("{top}{name}");
        self.add(&at("home/"), Kind::Directory, 0o2750, 1000, b"");
        self.add(&at("home/file"), Kind::Regular, 0o600, 1000, b"mine");
        self.add(&at("su"), Kind::Regular, 0o4755, 0, b"su");
        self.xattrs(&[("security.capability", &CAPABILITY), ("user.note", b"n")]);
        self.add(&at("ping"), Kind::Regular, 0o755, 0, b"ping");
        self.xattrs(&[
            ("user.overlay.opaque", b"y"),
            ("user.overlay.redirect", b"/secret"),
            ("user.overlay.metacopy", b""),
            ("trusted.overlay.opaque", b"y"),
            ("trusted.overlay.redirect", b"/secret"),
        ]);
        self.add(&at("trick/"), Kind::Directory, 0o755, 0, b"");
        self.add(&at("trick/file"), Kind::Regular, 0o644, 0, b"seen");
        self.add(&at("null"), Kind::Char, 0o666, 0, b"");
        self.add(&at("fifo"), Kind::Fifo, 0o622, 0, b"");
        self.link(&at("null-again"), &at("null"));
    }

    fn end(self) -> Vec<u8> {
        self.0.into_inner().unwrap()
    }
}

fn hard_aci() -> Vec<u8> {
    let mut tar = Tar::new();
    let manifest = manifest("example.com/hard", "");
    tar.add(
        "manifest",
        tar::EntryType::Regular,
        0o644,
        0,
        manifest.as_bytes(),
    );
    tar.add("rootfs/", tar::EntryType::Directory, 0o755, 0, b"");
    tar.contents("rootfs/");
    tar.end()
}

fn hard_layers() -> Vec<Vec<u8>> {
    let mut lower = Tar::new();
    lower.add("gone", tar::EntryType::Regular, 0o644, 5, b"gone");
    lower.add("dir/", tar::EntryType::Directory, 0o755, 5, b"");
    lower.add("dir/old", tar::EntryType::Regular, 0o644, 5, b"old");
    lower.contents("");
    let mut upper = Tar::new();
    upper.add(".wh.gone", tar::EntryType::Regular, 0o644, 0, b"");
    upper.add("dir/", tar::EntryType::Directory, 0o700, 6, b"");
    upper.add("dir/.wh..wh..opq", tar::EntryType::Regular, 0o644, 0, b"");
    upper.add("dir/new", tar::EntryType::Regular, 0o644, 6, b"new");
    vec![lower.end(), upper.end()]
}

fn put_layers(store: &Store) -> crate::ImageRecord {
    let assembly = store.assemble().unwrap();
    let mut ids: Vec<Digest> = Vec::new();
    for layer in hard_layers() {
        let id = diff_id(&layer);
        assembly
            .unpack(Some(&id), &id, &mut &*gzip(&layer))
            .unwrap();
        ids.push(id);
    }
    let manifest = manifest("example.com/layers", "");
    let manifest = ImageManifest::parse(manifest.as_bytes()).unwrap();
    assembly
        .publish(&manifest, &ids, &Origin::default())
        .unwrap()
}

/// Both images, and what they are exported as.
fn put_both(dir: &Path) -> Vec<(ImageId, Vec<u8>)> {
    let store = Store::open(dir).unwrap();
    let aci = store
        .put_aci(&mut &*hard_aci(), &Origin::default())
        .unwrap();
    let layers = put_layers(&store);
    let ids = [aci.id, layers.id].into_iter();
    let exported = ids.map(|id| (id.clone(), export(&store, &id)));
    exported.collect()
}

/// A directory of the namespace's root.
fn given() -> Temp {
    let temp = Temp::new();
    std::os::unix::fs::chown(temp.path(), Some(Ids::USER), Some(Ids::USER)).unwrap();
    temp
}

fn xattr(path: &Path, name: &str) -> Option<Vec<u8>> {
    let mut value = vec![0; 256];
    let length = rustix::fs::lgetxattr(path, name, &mut value).ok()?;
    value.truncate(length);
    Some(value)
}

#[test]
fn a_user_namespace_gives_the_same_images() {
    if !alone("tests::confined::a_user_namespace_gives_the_same_images") {
        return;
    }
    let root = Place::new();
    let expected = put_both(root.temp.path());
    assert_eq!(expected[0].1, hard_aci());
    for ids in [Ids::Range, Ids::Single] {
        let temp = given();
        in_namespace(ids, || {
            let made = put_both(temp.path());
            assert!(made == expected, "another image came out");
            let store = Store::open(temp.path()).unwrap();
            for (id, _) in &made {
                assert_eq!(store.verify(id).unwrap(), Integrity::Verified);
                let record = store.manifest_bytes(id);
                assert!(record.is_ok());
                store.render(id).unwrap();
                let flat = store.render_flat(id).unwrap();
                look(&flat.lowers[0], ids);
                assert_eq!(store.verify(id).unwrap(), Integrity::Verified);
                let copy = temp.path().join("copy");
                store.extract(id, &copy, true).unwrap();
                look(&copy, ids);
                std::fs::remove_dir_all(&copy).unwrap();
            }
        });
    }
}

/// Images as the namespace's root sees them.
fn look(tree: &Path, ids: Ids) {
    let stat = |name: &str| std::fs::symlink_metadata(tree.join(name)).unwrap();
    let owner = |name| (stat(name).uid(), stat(name).gid());
    let (home, mode) = match ids {
        Ids::Range => ((1000, 1000), 0o4755),
        Ids::Single => ((0, 0), 0o755),
    };
    assert_eq!((owner("home"), owner("home/file")), (home, home));
    assert_eq!(stat("su").mode() & 0o7777, mode);
    let capability = xattr(&tree.join("ping"), "security.capability");
    assert_eq!(capability.as_deref(), Some(&CAPABILITY[..]));
    assert_eq!(xattr(&tree.join("ping"), "user.note").unwrap(), b"n");
    for name in ["null", "null-again", "gone"] {
        assert!(!tree.join(name).exists(), "{name}");
    }
    assert!(stat("fifo").file_type().is_fifo());
    for mark in ["opaque", "redirect", "metacopy"] {
        let name = format!("user.overlay.{mark}");
        assert_eq!(xattr(&tree.join("trick"), &name), None);
    }
}

#[test]
fn an_image_brings_no_attribute_of_overlay() {
    let place = Place::new();
    let aci = place.put(&hard_aci()).id;
    let layers = put_layers(&place.store).id;
    for id in [aci, layers] {
        for tree in [place.store.render(&id), place.store.render_flat(&id)] {
            for lower in tree.unwrap().lowers {
                for kind in ["user", "trusted"] {
                    for mark in ["opaque", "redirect", "metacopy"] {
                        let name = format!("{kind}.overlay.{mark}");
                        assert_eq!(xattr(&lower.join("trick"), &name), None, "{name}");
                    }
                }
            }
        }
    }
}

/// The layers of the image, topmost first.
fn layer_dirs(dir: &Path) -> Vec<PathBuf> {
    hard_layers()
        .iter()
        .rev()
        .map(|layer| dir.join("store/layers").join(diff_id(layer).file_name()))
        .collect()
}

#[test]
fn deletions_have_the_form_of_the_namespace() {
    if !alone("tests::confined::deletions_have_the_form_of_the_namespace") {
        return;
    }
    let root = Place::new();
    put_layers(&root.store);
    let look = |dir: &Path, there: &str, not: &str| {
        let top = layer_dirs(dir)[0].join("rootfs");
        let gone = std::fs::symlink_metadata(top.join("gone")).unwrap();
        assert!(gone.file_type().is_char_device() && gone.rdev() == 0);
        assert_eq!(xattr(&top.join("dir"), there).unwrap(), b"y");
        assert_eq!(xattr(&top.join("dir"), not), None);
    };
    let (trusted, user) = ("trusted.overlay.opaque", "user.overlay.opaque");
    look(root.temp.path(), trusted, user);
    assert!(!root.path("form").exists());
    for ids in [Ids::Range, Ids::Single] {
        let temp = given();
        in_namespace(ids, || {
            put_layers(&Store::open(temp.path()).unwrap());
            look(temp.path(), user, trusted);
            merged_by_the_kernel(temp.path());
        });
        look(temp.path(), user, trusted);
        assert!(temp.path().join("store/form").is_file());
    }
}

/// The layers as overlay shows them in the namespace.
fn merged_by_the_kernel(dir: &Path) {
    use sys::mount::{Flags, mount};
    let roots = layer_dirs(dir)
        .into_iter()
        .map(|layer| layer.join("rootfs"));
    let lowers: Vec<String> = roots.map(|root| root.display().to_string()).collect();
    let target = dir.join("merged");
    std::fs::create_dir(&target).unwrap();
    let data = format!("lowerdir={},userxattr", lowers.join(":"));
    if let Err(err) = mount("overlay", &target, "overlay", Flags::RDONLY, &data) {
        eprintln!("skipped: overlay in a user namespace: {err}");
        return;
    }
    assert!(!target.join("gone").exists());
    assert_eq!(names(&target.join("dir")), ["new"]);
    sys::mount::detach(&target).unwrap();
}

#[test]
fn without_marks_an_image_is_one_flat_tree() {
    if !alone("tests::confined::without_marks_an_image_is_one_flat_tree") {
        return;
    }
    let expected = put_both(Place::new().temp.path());
    let temp = given();
    in_namespace(Ids::Range, || {
        // It has no extended attributes.
        let none = sys::mount::Flags::NONE;
        sys::mount::mount("r", temp.path(), "ramfs", none, "").unwrap();
        assert!(put_both(temp.path()) == expected);
        let store = Store::open(temp.path()).unwrap();
        let form = std::fs::read_to_string(temp.path().join("store/form")).unwrap();
        assert!(form.contains("\"overlay\":\"none\""), "{form}");
        let id = &expected[1].0;
        let tree = store.render(id).unwrap();
        assert_eq!(tree.lowers.len(), 1);
        assert!(!tree.lowers[0].join("gone").exists());
        assert_eq!(names(&tree.lowers[0].join("dir")), ["new"]);
        assert_eq!(store.verify(id).unwrap(), Integrity::Verified);
    });
}

#[test]
fn devices_that_cannot_be_made_are_counted() {
    if !alone("tests::confined::devices_that_cannot_be_made_are_counted") {
        return;
    }
    let temp = given();
    in_namespace(Ids::Range, || {
        let store = Store::open(temp.path()).unwrap();
        let aci = store
            .put_aci(&mut &*hard_aci(), &Origin::default())
            .unwrap();
        let told = "device nodes left out: 2, making them is not permitted";
        assert!(aci.notes.iter().any(|note| note == told), "{:?}", aci.notes);
    });
}

#[test]
fn an_owner_that_does_not_exist_is_named() {
    if !alone("tests::confined::an_owner_that_does_not_exist_is_named") {
        return;
    }
    let mut tar = Tar::new();
    let about = manifest("example.com/far", "");
    tar.add(
        "manifest",
        tar::EntryType::Regular,
        0o644,
        0,
        about.as_bytes(),
    );
    tar.add("rootfs/", tar::EntryType::Directory, 0o755, 0, b"");
    tar.add("rootfs/far", tar::EntryType::Regular, 0o644, 70_000, b"x");
    let far = tar.end();
    let mut tar = Tar::new();
    tar.add("far", tar::EntryType::Regular, 0o644, 70_000, b"x");
    let layer = tar.end();
    let (one, range) = (given(), given());
    in_namespace(Ids::Single, || {
        let store = Store::open(one.path()).unwrap();
        store.put_aci(&mut &*far, &Origin::default()).unwrap();
    });
    in_namespace(Ids::Range, || {
        let store = Store::open(range.path()).unwrap();
        let fault = store.put_aci(&mut &*far, &Origin::default()).unwrap_err();
        assert!(
            fault.cause.contains("\"rootfs/far\" belongs to user 70000"),
            "{fault}"
        );
        assert!(fault.hint.unwrap().contains("/etc/subuid"));
        let assembly = store.assemble().unwrap();
        let id = diff_id(&layer);
        let fault = assembly.unpack(Some(&id), &id, &mut &*layer).unwrap_err();
        assert!(
            fault.cause.contains("\"far\" belongs to user 70000"),
            "{fault}"
        );
        drop(assembly);
        assert_eq!(names(&range.path().join("store/tmp")), [""; 0]);
    });
}

#[test]
fn a_store_is_of_one_form() {
    if !alone("tests::confined::a_store_is_of_one_form") {
        return;
    }
    let (aci, id) = small("example.com/small", "x");
    let put = |dir: &Path| {
        let store = Store::open(dir).unwrap();
        store.put_aci(&mut &*aci, &Origin::default())
    };
    let use_it = |dir: &Path| Store::open(dir).unwrap().render(&id).map(|_| ());
    let refused = |dir: &Path, why: &str| {
        for fault in [put(dir).map(|_| ()).unwrap_err(), use_it(dir).unwrap_err()] {
            assert!(fault.cause.contains(why), "{fault}");
            assert!(fault.hint.is_some());
        }
        // What needs no files works, and so does removing.
        let store = Store::open(dir).unwrap();
        assert_eq!(store.list().unwrap().len(), 1);
    };
    let root = Temp::new();
    put(root.path()).unwrap();
    std::os::unix::fs::chown(root.path(), Some(Ids::USER), Some(Ids::USER)).unwrap();
    let (range, single) = (given(), given());
    in_namespace(Ids::Range, || {
        put(range.path()).unwrap();
        use_it(range.path()).unwrap();
    });
    in_namespace(Ids::Single, || {
        put(single.path()).unwrap();
        use_it(single.path()).unwrap();
        refused(range.path(), "ranges of user IDs that are not here");
    });
    in_namespace(Ids::Range, || {
        use_it(range.path()).unwrap();
        refused(single.path(), "a single user ID");
    });
    refused(range.path(), "belong to a user namespace");
    // Once it is empty it takes the next form.
    in_namespace(Ids::Range, || {
        let store = Store::open(single.path()).unwrap();
        store.remove(&id).unwrap();
        put(single.path()).unwrap();
        use_it(single.path()).unwrap();
    });
    // Root's, though another may look into it.
    for name in ["store", "store/layers", "store/trees"] {
        let path = root.path().join(name);
        std::os::unix::fs::chown(path, Some(Ids::USER), Some(Ids::USER)).unwrap();
    }
    in_namespace(Ids::Range, || {
        let fault = put(root.path()).unwrap_err();
        assert!(
            fault.cause.contains("outside of this user namespace"),
            "{fault}"
        );
    });
}

#[test]
fn an_export_of_files_gives_back_capabilities() {
    if !alone("tests::confined::an_export_of_files_gives_back_capabilities") {
        return;
    }
    use std::os::fd::AsFd;
    let temp = given();
    in_namespace(Ids::Range, || {
        let store = Store::open(temp.path()).unwrap();
        let id = store
            .put_aci(&mut &*hard_aci(), &Origin::default())
            .unwrap()
            .id;
        let tree = store.render_flat(&id).unwrap();
        let root = std::fs::File::open(&tree.lowers[0]).unwrap();
        let mut out = Vec::new();
        let options = archive::PackOptions::default();
        archive::write_aci(b"{}", root.as_fd(), &mut out, &options).unwrap();
        let found = out.windows(CAPABILITY.len()).any(|at| at == CAPABILITY);
        assert!(found, "the capabilities are not as the image had them");
    });
}

#[test]
fn nothing_is_packed_in_a_user_namespace() {
    if !alone("tests::confined::nothing_is_packed_in_a_user_namespace") {
        return;
    }
    let temp = given();
    let (bytes, id) = small("example.com/small", "x");
    in_namespace(Ids::Single, || {
        let store = Store::open(temp.path()).unwrap();
        store.put_aci(&mut &*bytes, &Origin::default()).unwrap();
    });
    assert_eq!(names(&temp.path().join("store/packed")), ["tmp", "urls"]);
    let layer = temp.path().join("store/layers").join(id.as_str());
    assert_eq!(std::fs::metadata(layer).unwrap().uid(), Ids::USER);
}
