//! Compressed forms of the same image.

use super::*;
#[cfg(any(feature = "zstd", feature = "xz"))]
use crate::Decoder;
use crate::sniff;

fn sample() -> Vec<u8> {
    let text: Vec<u8> = (0..300_000_u32)
        .flat_map(|n| (n / 7).to_le_bytes())
        .collect();
    Tar::image().file("rootfs/numbers", &text).end()
}

#[test]
fn every_format_gives_the_same_image() {
    let scratch = Scratch::new();
    let tar = sample();
    let digest = <[u8; 64]>::from(Sha512::digest(&tar));
    let tools: [(&str, &[&str], bool); 6] = [
        ("gzip", &["-c"], true),
        ("bzip2", &["-c"], cfg!(feature = "bzip2")),
        ("xz", &["-c"], cfg!(feature = "xz")),
        (
            "xz",
            &[
                "-c",
                "--check=sha256",
                "--x86",
                "--lzma2",
                "--block-size=1MiB",
            ],
            cfg!(feature = "xz"),
        ),
        (
            "xz",
            &["-c", "--check=crc32", "--delta", "--lzma2=preset=1"],
            cfg!(feature = "xz"),
        ),
        ("zstd", &["-c", "-q"], cfg!(feature = "zstd")),
    ];
    for (name, args, supported) in tools {
        let Some(packed) = tool(&scratch.0, name, args, &tar) else {
            continue;
        };
        if !supported {
            assert!(refused(&packed).contains("cannot read"));
            continue;
        }
        let image = unpack(&packed).unwrap();
        assert_eq!(image.made.digest, digest, "{name} {args:?}");
        assert!(image.rebuild().unwrap() == tar);
        // Concatenated members are one stream.
        let (one, two) = tar.split_at(700_001);
        let mut members = tool(&scratch.0, name, args, one).unwrap();
        members.extend(tool(&scratch.0, name, args, two).unwrap());
        assert_eq!(
            unpack(&members).unwrap().made.digest,
            digest,
            "{name}, two members"
        );
        // Cut short and changed ones are errors.
        for len in [packed.len() / 2, packed.len() - 3] {
            assert!(unpack(&packed[..len]).is_err(), "{name}, cut");
        }
        let mut changed = packed.clone();
        let middle = changed.len() / 2;
        changed[middle] ^= 0x10;
        assert!(unpack(&changed).is_err(), "{name}, changed");
        let garbage = [packed.as_slice(), b"garbage garbage garbage"].concat();
        assert!(unpack(&garbage).is_err(), "{name}, garbage behind");
    }
}

#[test]
fn what_is_no_archive_is_told_as_rkt_does() {
    for bytes in [b"".as_slice(), b"hello, world\n", b"{\"acKind\": \"x\"}"] {
        assert_eq!(refused(bytes), "no type returned from DetectFileType?");
    }
    assert_eq!(refused(b"\0\x01\x02\x03"), "error: unknown image filetype");
    let mut old = Tar::image().end();
    old[257..265].fill(0);
    assert_eq!(refused(&old), "error: unknown image filetype");
    assert!(sniff(b"BZh91AY").is_ok());
}

/// A header that asks for gigabytes of window gets none.
#[cfg(feature = "zstd")]
#[test]
fn a_zstd_window_is_bounded() {
    let read = |bytes: &[u8]| {
        let mut out = Vec::new();
        std::io::Read::read_to_end(&mut Decoder::new(bytes).unwrap(), &mut out).map(|_| out)
    };
    let wide = [0x28, 0xb5, 0x2f, 0xfd, 0x00, 0xff, 0x01, 0x00, 0x00];
    assert!(read(&wide).unwrap_err().to_string().contains("window"));
    let single = [&[0x28, 0xb5, 0x2f, 0xfd, 0xe0][..], &[0xff; 8], &[1, 0, 0]].concat();
    assert!(read(&single).unwrap_err().to_string().contains("window"));
    let skippable = [&[0x50, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 1, 2, 3][..]].concat();
    let frame = [
        0x28, 0xb5, 0x2f, 0xfd, 0x20, 0x02, 0x11, 0x00, 0x00, b'h', b'i',
    ];
    assert_eq!(
        read(&[&frame[..], &skippable, &frame].concat()).unwrap(),
        b"hihi"
    );
}

/// A dictionary of gigabytes is refused in every block, not only in the first.
#[cfg(feature = "xz")]
#[test]
fn an_xz_dictionary_is_bounded() {
    let scratch = Scratch::new();
    let small = tool(&scratch.0, "xz", &["-c", "--lzma2=dict=1MiB"], b"small");
    let large = tool(&scratch.0, "xz", &["-c", "--lzma2=dict=768MiB"], b"large");
    let (Some(small), Some(large)) = (small, large) else {
        return;
    };
    let mut out = Vec::new();
    let both = [small, vec![0; 8], large].concat();
    let err = std::io::Read::read_to_end(&mut Decoder::new(both.as_slice()).unwrap(), &mut out);
    assert_eq!(out, b"small");
    assert_eq!(
        err.unwrap_err().to_string(),
        "it asks for too large a dictionary"
    );
}
