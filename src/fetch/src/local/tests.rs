use super::parts::Parts;
use std::io::Write;
use std::path::PathBuf;

/// A directory that goes with the test.
struct Dir(PathBuf);

impl Dir {
    fn new() -> Dir {
        let base = std::env::temp_dir();
        for n in 0.. {
            let path = base.join(format!("rkt-test-local-{}-{n}", std::process::id()));
            match std::fs::create_dir(&path) {
                Ok(()) => return Dir(path),
                Err(err) if err.kind() == std::io::ErrorKind::AlreadyExists => {}
                Err(err) => panic!("mkdir {}: {err}", path.display()),
            }
        }
        unreachable!("one of the names is free")
    }

    fn put(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.0.join(name);
        let mut file = std::fs::File::create(&path).expect("a file");
        file.write_all(bytes).expect("its content");
        path
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

enum Made<'m> {
    File(&'m [u8]),
    Symlink(&'m str),
    Hardlink(&'m str),
}

fn tar(members: &[(&str, Made<'_>)]) -> Vec<u8> {
    let mut out = Vec::new();
    for (name, made) in members {
        let mut block = [0_u8; 512];
        let (kind, target, bytes) = match made {
            Made::File(bytes) => (b'0', "", *bytes),
            Made::Symlink(target) => (b'2', *target, &[][..]),
            Made::Hardlink(target) => (b'1', *target, &[][..]),
        };
        block[..name.len()].copy_from_slice(name.as_bytes());
        block[100..108].copy_from_slice(b"0000644\0");
        block[108..116].copy_from_slice(b"0000000\0");
        block[116..124].copy_from_slice(b"0000000\0");
        block[124..136].copy_from_slice(format!("{:011o}\0", bytes.len()).as_bytes());
        block[136..148].copy_from_slice(b"00000000000\0");
        block[156] = kind;
        block[157..157 + target.len()].copy_from_slice(target.as_bytes());
        block[257..265].copy_from_slice(b"ustar\x0000");
        block[148..156].fill(b' ');
        let sum: u32 = block.iter().map(|&b| u32::from(b)).sum();
        block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        out.extend_from_slice(&block);
        out.extend_from_slice(bytes);
        out.resize(out.len().next_multiple_of(512), 0);
    }
    out.resize(out.len() + 1024, 0);
    out
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    // Stored blocks: a gzip that needs no compressor to be made.
    let mut out = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];
    let mut chunks = bytes.chunks(65535).peekable();
    while let Some(chunk) = chunks.next() {
        let len = u16::try_from(chunk.len()).expect("a chunk fits");
        out.push(u8::from(chunks.peek().is_none()));
        out.extend_from_slice(&len.to_le_bytes());
        out.extend_from_slice(&(!len).to_le_bytes());
        out.extend_from_slice(chunk);
    }
    let mut crc = !0_u32;
    for &byte in bytes {
        crc ^= u32::from(byte);
        for _ in 0..8 {
            crc = if crc & 1 == 1 {
                crc >> 1 ^ 0xedb8_8320
            } else {
                crc >> 1
            };
        }
    }
    out.extend_from_slice(&(!crc).to_le_bytes());
    out.extend_from_slice(&u32::try_from(bytes.len()).expect("small").to_le_bytes());
    out
}

#[test]
fn parts_of_a_plain_and_of_a_compressed_archive_are_the_same() {
    let dir = Dir::new();
    let large: Vec<u8> = (0..300_000_u32).flat_map(u32::to_le_bytes).collect();
    let bytes = tar(&[
        ("one/layer.tar", Made::File(&large)),
        ("two/layer.tar", Made::Symlink("../one/layer.tar")),
        ("./three.json", Made::File(b"{\"a\":1}")),
        ("four", Made::Hardlink("one/layer.tar")),
        ("five", Made::File(b"short")),
        ("loop", Made::Symlink("pool")),
        ("pool", Made::Symlink("loop")),
        ("out", Made::Symlink("../../etc/passwd")),
        ("abs", Made::Symlink("/etc/passwd")),
    ]);
    for path in [
        dir.put("plain.tar", &bytes),
        dir.put("packed.tar.gz", &gzip(&bytes)),
    ] {
        let parts = Parts::open(&path).expect("an archive");
        let whole = |name: &str| {
            let mut out = Vec::new();
            parts
                .open_part(name)
                .expect("a part")
                .read_to_end(&mut out)
                .expect("its content");
            out
        };
        use std::io::Read;
        // Forward, backward, through links, and in part.
        assert_eq!(whole("five"), b"short");
        assert_eq!(whole("one/layer.tar"), large);
        assert_eq!(whole("two/layer.tar"), large);
        assert_eq!(whole("four"), large);
        let mut some = [0; 10];
        let mut part = parts.open_part("one/layer.tar").expect("a part");
        part.read_exact(&mut some).expect("ten bytes");
        drop(part);
        assert_eq!(whole("five"), b"short");
        assert_eq!(parts.read("three.json", 100).expect("json"), b"{\"a\":1}");
        assert_eq!(parts.read("five", 5).expect("text"), b"short");
        assert!(parts.read("five", 4).is_err());
        assert!(parts.has("one/layer.tar").expect("a look"));
        assert!(!parts.has("absent").expect("a look"));
        assert_eq!(parts.head("two/layer.tar").expect("a head"), &large[..512]);
        for bad in ["loop", "out", "abs"] {
            assert!(parts.open_part(bad).is_err(), "{bad}");
        }
    }
}

#[test]
fn an_archive_that_is_cut_short_is_refused() {
    let dir = Dir::new();
    let bytes = tar(&[("a", Made::File(&[7; 5000]))]);
    for cut in [100, 600, 3000, 5600] {
        let plain = dir.put("plain", &bytes[..cut]);
        let packed = dir.put("packed", &gzip(&bytes[..cut]));
        if cut > 512 {
            assert!(Parts::open(&plain).is_err(), "{cut}");
        }
        assert!(Parts::open(&packed).is_err(), "{cut}");
    }
}
