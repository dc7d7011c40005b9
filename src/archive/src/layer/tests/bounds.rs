//! Limits, and sources that fail, in every format.

use std::io::{Cursor, Write};

use flate2::Compression;
use flate2::write::GzEncoder;

use super::*;

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// Ends with a `Fault`, as a source does whose digest is wrong.
struct Wrong<'b>(Cursor<&'b [u8]>);

impl Read for Wrong<'_> {
    fn read(&mut self, buf: &mut [u8]) -> std::io::Result<usize> {
        match self.0.read(buf)? {
            0 if !buf.is_empty() => Err(std::io::Error::other(
                Fault::refused("the digest is wrong").hint("ask again"),
            )),
            n => Ok(n),
        }
    }
}

/// One tar in every format, also in several pieces and with a tail.
fn every_format(tar: &[u8]) -> Vec<(&'static str, Vec<u8>)> {
    let (one, two) = tar.split_at(700);
    let mut made = vec![
        ("tar", tar.to_vec()),
        ("gzip", gzip(tar)),
        ("gzip members", [gzip(one), gzip(b""), gzip(two)].concat()),
    ];
    let scratch = Scratch::new();
    let packed = |tool: &str, bytes: &[u8]| crate::tests::tool(&scratch.0, tool, &["-c"], bytes);
    for tool in ["bzip2", "xz", "zstd"] {
        if let (Some(one), Some(two)) = (packed(tool, one), packed(tool, two)) {
            made.push((tool, [one, two].concat()));
        }
    }
    if let (Some(one), Some(two)) = (packed("zstd", one), packed("zstd", two)) {
        let skip = b"\x5f\x2a\x4d\x18\x03\0\0\0abc".to_vec();
        made.push((
            "zstd with frames to skip",
            [skip.clone(), one, skip.clone(), two, skip].concat(),
        ));
    }
    made
}

#[test]
fn every_format_is_read_to_its_last_byte() {
    let small = Tar::default().file("f", b"content").end();
    let mut large = Tar::default().file("f", b"content");
    // Not to be packed, and more than what needs no thread.
    let mut state = 1_u32;
    let noise: Vec<u8> = (0..1_200_000)
        .map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        })
        .collect();
    large = large.file("g", &noise);
    for tar in [small, large.end()] {
        // What follows the end belongs to the digest.
        let tar = [tar, vec![0; 9000], b"tail".to_vec()].concat();
        let sum = <[u8; 32]>::from(Sha256::digest(&tar));
        let wanted = model::Digest::from_bytes(Algorithm::Sha256, &sum).unwrap();
        for (name, packed) in every_format(&tar) {
            let done = unpack_with(&packed, &Options::default());
            let done = done.unwrap_or_else(|fault| panic!("{name}: {fault}"));
            assert_eq!(done.layer.diff_id, wanted, "{name}");
            assert_eq!(done.layer.size, tar.len() as u64, "{name}");
            assert_eq!(done.read("f"), "content", "{name}");
            for cut in [packed.len(), packed.len() / 2] {
                let scratch = Scratch::new();
                let dir = open_dir(&scratch.0);
                let source = Wrong(Cursor::new(&packed[..cut]));
                let options = Options::default();
                let fault = unpack_layer(source, dir.as_fd(), Algorithm::Sha256, &options);
                let fault = fault.err().unwrap_or_else(|| panic!("{name} {cut}"));
                assert_eq!(fault.to_string(), "the digest is wrong", "{name} {cut}");
                assert_eq!(fault.hint.as_deref(), Some("ask again"), "{name} {cut}");
            }
        }
    }
}

#[test]
fn an_empty_layer_is_one() {
    for bytes in [
        &[][..],
        &[0; 512],
        &[0; 1024],
        &[0; 10240],
        &gzip(&[0; 1024]),
    ] {
        let done = unpack(bytes);
        assert_eq!(done.lines(), "/ dir?");
        assert_eq!(done.node("").mode, 0o755);
    }
    assert!(refused(b"<html>not found</html>").contains("unexpected EOF"));
    assert!(refused(&[b'<'; 2000]).contains("invalid tar header"));
}

#[test]
fn a_tar_without_a_magic_is_one() {
    let tar = Tar::default().entry("f", b'0', b"old", |header| {
        header.as_mut_bytes()[257..265].fill(0);
    });
    assert_eq!(unpack(&tar.end()).read("f"), "old");
}

#[test]
fn limits_hold() {
    let limit = |change: fn(&mut Options), tar: Tar| {
        let mut options = Options::default();
        change(&mut options);
        let fault = unpack_with(&tar.end(), &options).err();
        fault.map(|fault| fault.to_string()).unwrap_or_default()
    };
    let files = Tar::default().file("a", b"").file("b", b"").file("c", b"");
    let text = limit(|o| o.max_entries = 2, files.clone());
    assert_eq!(text, "the layer has more than 2 entries");
    assert_eq!(limit(|o| o.max_entries = 3, files.clone()), "");
    // Directories that nobody lists are no way around it.
    let deep = Tar::default().dir(&"d/".repeat(40));
    let text = limit(|o| o.max_entries = 20, deep);
    assert_eq!(text, "the layer has more than 20 entries");
    let text = limit(|o| o.max_names = 2, files.clone());
    assert!(text.contains("more than 2 bytes"), "{text}");
    let xattr = Tar::default().pax(b'x', &[("SCHILY.xattr.user.x", &[b'v'; 1000])]);
    let text = limit(|o| o.max_names = 900, xattr.file("f", b""));
    assert!(text.contains("more than 900 bytes"), "{text}");
    let gone = Tar::default().file(".wh.abcdefgh", b"");
    let text = limit(|o| o.max_names = 7, gone);
    assert!(text.contains("more than 7 bytes"), "{text}");
    let text = limit(|o| o.max_bytes = 1000, files);
    assert!(text.contains("more than 1000 bytes"), "{text}");
    let claims = Tar::default()
        .pax(
            b'x',
            &[
                ("GNU.sparse.map", b"0,1"),
                ("GNU.sparse.size", b"9000000000000000000"),
            ],
        )
        .file("f", b"0");
    let text = limit(|_| {}, claims);
    assert!(text.contains("the layer's files have more than"), "{text}");
}

/// Any number of entries through a long path costs bounded time.
#[test]
fn a_path_through_links_cannot_take_for_ever() {
    let deep = "d/".repeat(40);
    let mut tar = Tar::default().file(&format!("{deep}f"), b"");
    let mut last = format!("/{deep}");
    for n in 0..45 {
        let name = format!("l{n}");
        tar = tar.link(&name, b'2', &last);
        last = format!("/{name}");
    }
    let text = refused(&tar.clone().file("l44/x", b"").end());
    assert!(text.contains("too many links"), "{text}");
    let done = unpack(&tar.file("l39/x", b"x").end());
    assert_eq!(done.read(&format!("{deep}x")), "x");
}

#[test]
fn many_entries_with_one_name_are_one() {
    let mut tar = Tar::default();
    for n in 0..500 {
        tar = tar.dir("d/").file("d/f", b"").file("d", b"");
        tar = if n % 2 == 0 {
            tar.file(".wh.d", b"")
        } else {
            tar
        };
    }
    let done = unpack(&tar.end());
    assert_eq!(done.lines(), "/ dir?; /d file 0");
    assert!(done.layer.notes.len() <= 101);
}
