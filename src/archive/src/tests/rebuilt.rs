//! The exact bytes again, from archives of the system's `tar`.

use std::os::unix::fs::MetadataExt;

use super::*;

/// A tree with everything that tools treat specially.
fn tree(dir: &Path) {
    use std::os::unix::fs::{FileExt, symlink};
    let rootfs = dir.join("rootfs");
    std::fs::create_dir_all(rootfs.join("usr/bin")).unwrap();
    std::fs::write(dir.join("manifest"), MANIFEST).unwrap();
    std::fs::write(rootfs.join("usr/bin/tool"), vec![1; 100_000]).unwrap();
    std::fs::write(rootfs.join("empty"), b"").unwrap();
    std::fs::hard_link(rootfs.join("usr/bin/tool"), rootfs.join("usr/bin/other")).unwrap();
    symlink("usr/bin", rootfs.join("bin")).unwrap();
    let long = rootfs.join("l".repeat(150));
    std::fs::create_dir(&long).unwrap();
    std::fs::write(long.join("m".repeat(150)), b"long").unwrap();
    symlink("t".repeat(200), long.join("link")).unwrap();
    let sparse = File::create(rootfs.join("sparse")).unwrap();
    sparse.set_len(2 << 20).unwrap();
    for n in 0..30 {
        sparse
            .write_all_at(&[n; 5000], u64::from(n) * (60 << 10))
            .unwrap();
    }
}

#[test]
fn of_every_tar_format() {
    let scratch = Scratch::new();
    tree(&scratch.0);
    for format in ["ustar", "gnu", "oldgnu", "pax", "posix"] {
        let arg = format!("--format={format}");
        for sparse in [
            &[][..],
            &["-S"],
            &["-S", "--sparse-version=0.0"],
            &["-S", "--sparse-version=0.1"],
        ] {
            // ustar has no sparse files and no long links.
            let args: Vec<&str> = match format {
                "ustar" => vec!["-c", &arg, "--exclude=lll*", "manifest", "rootfs"],
                _ => [&["-c", &arg], sparse, &["manifest", "rootfs"]].concat(),
            };
            let Some(tar) = tool(&scratch.0, "tar", &args, b"") else {
                return;
            };
            let image = round_trip(&tar);
            assert_eq!(image.read("usr/bin/other"), vec![1; 100_000]);
            let ours = std::fs::metadata(image.rootfs("sparse")).unwrap();
            let theirs = std::fs::metadata(scratch.path("rootfs/sparse")).unwrap();
            assert_eq!(
                image.read("sparse"),
                std::fs::read(scratch.path("rootfs/sparse")).unwrap()
            );
            if format != "ustar" && !sparse.is_empty() {
                assert!(
                    ours.blocks() <= theirs.blocks() + 64,
                    "{} blocks",
                    ours.blocks()
                );
            }
        }
    }
}

#[test]
fn with_garbage_behind_and_in_the_padding() {
    let mut tar = Tar::image().file("rootfs/f", b"abc");
    let end = tar.0.len();
    tar.0[end - 9..].copy_from_slice(b"invisible");
    round_trip(&[tar.end().as_slice(), &[0; 8704], b"and more", &[9; 300_000]].concat());
}

#[test]
fn sparse_files_that_were_overwritten_too() {
    let map: &[(&str, &[u8])] = &[
        ("GNU.sparse.map", b"10,4,5000000,4"),
        ("GNU.sparse.size", b"50000000"),
    ];
    let tar = Tar::image()
        .pax(b'x', map)
        .file("rootfs/f", b"01234567")
        .file("rootfs/f", b"plain");
    let image = round_trip(&tar.end());
    assert_eq!(image.read("f"), b"plain");
    // The holes are not in the recipe.
    let recipe = std::fs::metadata(image.scratch.path("recipe"))
        .unwrap()
        .len();
    assert!(recipe < 2000, "{recipe} bytes");
}

#[test]
fn large_overwritten_content_is_kept_beside_the_steps() {
    let noise: Vec<u8> = (0..700_000_u32)
        .map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8)
        .collect();
    let mut tar = Tar::image();
    for n in 0..3 {
        tar = tar
            .file("rootfs/f", &noise[n..])
            .file("rootfs/g", &noise[..600_000 + n]);
    }
    let image = round_trip(&tar.end());
    assert!(image.read("f") == noise[2..]);
}

#[test]
fn a_changed_file_is_told() {
    let tar = Tar::image()
        .file("rootfs/a", b"content")
        .file("rootfs/b", b"content")
        .end();
    let image = round_trip(&tar);
    std::fs::write(image.rootfs("a"), b"longer content").unwrap();
    let text = image.rebuild().unwrap_err().to_string();
    assert_eq!(text, "\"a\" was changed: it has 14 bytes, the image has 7");
    std::fs::write(image.rootfs("a"), b"Content").unwrap();
    let text = image.rebuild().unwrap_err().to_string();
    assert_eq!(text, "a file of the image was changed");
    std::fs::remove_file(image.rootfs("a")).unwrap();
    std::os::unix::fs::symlink("b", image.rootfs("a")).unwrap();
    assert!(image.rebuild().is_err());
}

/// Some bytes of a recipe (a checksum behind what is needed) matter to nobody.
#[test]
fn a_damaged_recipe_gives_an_error_or_the_right_bytes() {
    let tar = Tar::image()
        .file("rootfs/a", &[3; 3000])
        .file("rootfs/a", b"x")
        .end();
    let image = round_trip(&tar);
    let path = image.scratch.path("recipe");
    let recipe = std::fs::read(&path).unwrap();
    let mut told = 0;
    for at in 0..recipe.len() {
        let mut damaged = recipe.clone();
        damaged[at] ^= 0x55;
        for bytes in [damaged.as_slice(), &recipe[..at]] {
            std::fs::write(&path, bytes).unwrap();
            match image.rebuild() {
                Ok(bytes) => assert!(bytes == tar, "byte {at}"),
                Err(_) => told += 1,
            }
        }
    }
    assert!(
        told > recipe.len() * 2 - 30,
        "{told} of {} times",
        recipe.len() * 2
    );
}
