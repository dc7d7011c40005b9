//! Writing images, and reading them back.

use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

use super::*;
use crate::{PackOptions, Packed, Unshift, write_aci};

fn pack(rootfs: &Path, options: &PackOptions) -> (Packed, Vec<u8>) {
    let mut out = Vec::new();
    let dir = open_dir(rootfs);
    let packed = write_aci(MANIFEST, dir.as_fd(), &mut out, options).unwrap();
    (packed, out)
}

#[test]
fn what_is_packed_unpacks_to_the_same() {
    let scratch = Scratch::new();
    let rootfs = scratch.path("rootfs");
    let long = "x".repeat(180);
    std::fs::create_dir_all(rootfs.join("b").join(&long)).unwrap();
    std::fs::write(rootfs.join("b").join(&long).join("file"), b"deep").unwrap();
    std::fs::write(rootfs.join("a"), vec![4; 70_000]).unwrap();
    std::fs::set_permissions(rootfs.join("a"), std::fs::Permissions::from_mode(0o2750)).unwrap();
    std::fs::hard_link(rootfs.join("a"), rootfs.join("c")).unwrap();
    symlink("l".repeat(150), rootfs.join("d")).unwrap();
    drop(std::os::unix::net::UnixListener::bind(rootfs.join("socket")).unwrap());
    let (packed, bytes) = pack(&rootfs, &PackOptions::default());
    assert_eq!(packed.notes.len(), 1);
    assert_eq!(packed.size, bytes.len() as u64);
    assert_eq!(packed.entries, 8);
    let image = round_trip(&bytes);
    assert_eq!(image.made.digest, packed.digest);
    assert_eq!(image.made.manifest, MANIFEST);
    assert_eq!(image.read(&format!("b/{long}/file")), b"deep");
    assert_eq!(
        std::fs::read_link(image.rootfs("d")).unwrap(),
        PathBuf::from("l".repeat(150))
    );
    let (a, c) = (
        image.rootfs("a").metadata().unwrap(),
        image.rootfs("c").metadata().unwrap(),
    );
    assert_eq!((a.ino(), a.len()), (c.ino(), 70_000));
    if is_root() {
        assert_eq!(a.mode() & 0o7777, 0o2750);
    }
    // The unpacked tree gives the same bytes, whatever order it was made in.
    std::fs::remove_file(rootfs.join("socket")).unwrap();
    let first = pack(&rootfs, &PackOptions::default()).1;
    let again = unpack(&first).unwrap();
    if is_root() {
        assert!(pack(&again.rootfs(""), &PackOptions::default()).1 == first);
    }
    let (zipped, bytes) = pack(
        &rootfs,
        &PackOptions {
            gzip: true,
            ..Default::default()
        },
    );
    assert_eq!(unpack(&bytes).unwrap().made.digest, zipped.digest);
    // Other tools read it.
    if let Some(list) = tool(&scratch.0, "tar", &["-t"], &first) {
        let list = String::from_utf8(list).unwrap();
        assert!(
            list.starts_with("manifest\nrootfs/\nrootfs/a\nrootfs/b/\n"),
            "{list}"
        );
    }
}

#[test]
fn owners_of_a_private_range_are_moved_back() {
    if !is_root() {
        return;
    }
    let scratch = Scratch::new();
    let rootfs = scratch.path("rootfs");
    std::fs::create_dir(&rootfs).unwrap();
    std::fs::write(rootfs.join("mtab"), b"").unwrap();
    std::fs::write(rootfs.join("mine"), b"").unwrap();
    for (name, id) in [("", 70_000), ("mine", 70_012)] {
        std::os::unix::fs::chown(rootfs.join(name), Some(id), Some(id)).unwrap();
    }
    let unshift = Some(Unshift {
        base: 70_000,
        count: 65_536,
    });
    let (packed, bytes) = pack(
        &rootfs,
        &PackOptions {
            gzip: false,
            unshift,
        },
    );
    assert!(packed.notes[0].contains("uid 0 or gid 0 are out of range 65536"));
    let image = round_trip(&bytes);
    assert!(!image.rootfs("mtab").exists());
    assert_eq!(image.rootfs("mine").metadata().unwrap().uid(), 12);
}

#[test]
fn deep_trees_need_no_recursion_and_few_fds() {
    let scratch = Scratch::new();
    let rootfs = scratch.path("rootfs");
    std::fs::create_dir_all(rootfs.join("d/".repeat(900))).unwrap();
    std::fs::write(rootfs.join("d/".repeat(900)).join("f"), b"bottom").unwrap();
    let image = round_trip(&pack(&rootfs, &PackOptions::default()).1);
    assert_eq!(image.read(&format!("{}f", "d/".repeat(900))), b"bottom");
}
