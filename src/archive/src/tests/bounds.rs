//! Limits hold before memory or disk is spent.

use std::io::Read;

use super::*;

#[test]
fn long_things_are_refused() {
    let options = Options {
        max_manifest: 10,
        ..Options::default()
    };
    let fault = unpack_with(&Tar::image().end(), &options).err().unwrap();
    assert_eq!(
        fault.to_string(),
        "the image manifest is longer than 10 bytes"
    );
    let options = Options {
        max_entries: 3,
        ..Options::default()
    };
    let tar = Tar::image()
        .file("rootfs/a", b"")
        .file("rootfs/b", b"")
        .end();
    let fault = unpack_with(&tar, &options).err().unwrap();
    assert_eq!(fault.to_string(), "the image has more than 3 entries");
    let options = Options {
        max_bytes: 2000,
        ..Options::default()
    };
    let fault = unpack_with(&tar, &options).err().unwrap();
    assert_eq!(
        fault.to_string(),
        "the image unpacks to more than 2000 bytes"
    );
    let name = format!("rootfs/{}", "n/".repeat(2100));
    let text = refused(
        &Tar::image()
            .pax(b'x', &[("path", name.as_bytes())])
            .file("x", b"")
            .end(),
    );
    assert!(text.contains("too long a name"), "{text}");
    let pax = Tar::image()
        .entry("pax", b'x', b"", |header| header.set_size(1 << 21))
        .end();
    assert!(refused(&pax).contains("too long"));
    let mut many = Tar::image();
    for _ in 0..40 {
        many = many.pax(b'x', &[("path", b"rootfs/x")]);
    }
    assert!(refused(&many.file("rootfs/x", b"").end()).contains("invalid tar header"));
}

/// gzip of a file of zeros, not held in memory.
#[test]
fn a_bomb_is_stopped_by_its_ratio() {
    let size = 16_u64 << 20;
    let header = Tar::header("rootfs/zeros", b'0', size);
    let head = Tar::image().raw(header.as_bytes()).0;
    let source = std::io::Cursor::new(head).chain(std::io::repeat(0).take(size + 1024));
    let packed = flate2::read::GzEncoder::new(source, flate2::Compression::fast());
    let options = Options {
        max_ratio: 50,
        ratio_from: 4 << 20,
        ..Options::default()
    };
    let scratch = Scratch::new();
    std::fs::create_dir(scratch.path("image")).unwrap();
    let recipe = File::create(scratch.path("recipe")).unwrap();
    let dir = open_dir(&scratch.path("image"));
    let fault = unpack_aci(packed, dir.as_fd(), recipe, &options)
        .err()
        .unwrap();
    assert!(fault.to_string().contains("decompression bomb"), "{fault}");
}

/// The thread that inflates ends when extraction fails, and the other way round.
#[test]
fn both_sides_of_the_pipeline_can_fail() {
    let big = vec![5; 6 << 20];
    let tar = Tar::image()
        .file("rootfs/big", &big)
        .file("../evil", b"")
        .file("rootfs/big2", &big);
    assert!(refused(&tar.end()).contains(".."));
    struct Failing(usize);
    impl Read for Failing {
        fn read(&mut self, buf: &mut [u8]) -> std::io::Result<usize> {
            if self.0 == 0 {
                return Err(std::io::Error::other(Fault::refused(
                    "the network went away",
                )));
            }
            let n = buf.len().min(self.0);
            self.0 -= n;
            buf[..n].fill(5);
            Ok(n)
        }
    }
    let head = Tar::image()
        .raw(Tar::header("rootfs/f", b'0', 1 << 30).as_bytes())
        .0;
    let source = std::io::Cursor::new(head).chain(Failing(5 << 20));
    let scratch = Scratch::new();
    std::fs::create_dir(scratch.path("image")).unwrap();
    let recipe = File::create(scratch.path("recipe")).unwrap();
    let dir = open_dir(&scratch.path("image"));
    let fault = unpack_aci(source, dir.as_fd(), recipe, &Options::default())
        .err()
        .unwrap();
    assert_eq!(fault.to_string(), "the network went away");
}
