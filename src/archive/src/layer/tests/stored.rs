//! The form of an index on disk.

use super::*;

/// A small generator: the same numbers every time.
struct Dice(u64);

impl Dice {
    fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % n
    }

    fn bytes(&mut self, max: u64) -> Vec<u8> {
        (0..self.below(max) + 1)
            .map(|_| b"abz.-\xff"[self.below(6) as usize])
            .collect()
    }
}

fn any_index(dice: &mut Dice) -> Index {
    let mut nodes: BTreeMap<Vec<u8>, Node> = BTreeMap::new();
    let mut dirs = vec![Vec::new()];
    let mut first_file: Option<Vec<u8>> = None;
    let dir = |opaque| NodeKind::Dir { opaque };
    for n in 0..=dice.below(60) {
        let mut path = Vec::new();
        if n > 0 {
            path = dirs[dice.below(dirs.len() as u64) as usize].clone();
            let name = dice.bytes(4);
            if matches!(name.as_slice(), b"." | b"..") {
                continue;
            }
            super::super::name::push(&mut path, &name);
            if nodes.contains_key(&path) {
                continue;
            }
        }
        let number = |dice: &mut Dice| {
            let bits = dice.below(33);
            (dice.below(u64::MAX) & ((1 << bits) - 1)) as u32
        };
        let target = dice.bytes(9);
        let kind = match if n == 0 { 0 } else { dice.below(10) } {
            0 | 9 => dir(dice.below(2) == 0),
            1 => NodeKind::File {
                size: dice.below(u64::MAX) >> dice.below(64),
            },
            2 => NodeKind::Symlink { target },
            3 => match &first_file {
                Some(file) if *file < path => NodeKind::Hardlink {
                    target: file.clone(),
                },
                _ => NodeKind::Fifo,
            },
            4 => NodeKind::LowerLink {
                target: b"some/where".to_vec(),
            },
            5 => NodeKind::Char {
                major: number(dice),
                minor: number(dice),
            },
            6 => NodeKind::Block {
                major: number(dice),
                minor: number(dice),
            },
            7 => NodeKind::Fifo,
            _ => NodeKind::Whiteout,
        };
        let is_dir = matches!(kind, NodeKind::Dir { .. });
        if is_dir {
            dirs.push(path.clone());
        }
        if matches!(kind, NodeKind::File { .. }) {
            first_file.get_or_insert(path.clone());
        }
        let xattrs: BTreeMap<_, _> = (0..dice.below(3))
            .map(|_| (dice.bytes(5), dice.bytes(300)))
            .collect();
        let node = Node {
            path: path.clone(),
            kind,
            mode: number(dice) & 0o7777,
            uid: number(dice),
            gid: number(dice),
            mtime: (
                dice.below(u64::MAX).cast_signed() >> dice.below(64),
                dice.below(1_000_000_000) as u32,
            ),
            xattrs: xattrs.into_iter().collect(),
            listed: !is_dir || dice.below(2) == 0,
        };
        nodes.insert(path, node);
    }
    Index {
        nodes: nodes.into_values().collect(),
    }
}

fn written(index: &Index) -> Vec<u8> {
    let mut bytes = Vec::new();
    index.write(&mut bytes).unwrap();
    bytes
}

/// With a sum that fits, so that what is behind it is looked at.
fn resealed(mut bytes: Vec<u8>) -> Vec<u8> {
    bytes.truncate(bytes.len().saturating_sub(32));
    let sum = Sha256::digest(&bytes);
    bytes.extend_from_slice(&sum);
    bytes
}

#[test]
fn what_was_written_is_read_again() {
    let mut dice = Dice(0x9e37_79b9_7f4a_7c15);
    for _ in 0..100 {
        let index = any_index(&mut dice);
        let bytes = written(&index);
        assert_eq!(Index::read(&mut bytes.as_slice()).unwrap(), index);
    }
}

#[test]
fn damage_is_noticed_and_lies_are_refused() {
    let mut dice = Dice(4711);
    let mut read = 0;
    for _ in 0..10 {
        let bytes = written(&any_index(&mut dice));
        for _ in 0..40 {
            let at = dice.below(bytes.len() as u64) as usize;
            let mut bad = bytes.clone();
            bad[at] ^= 1 << dice.below(8);
            let fault = Index::read(&mut bad.as_slice()).unwrap_err();
            assert_eq!(fault.kind, model::fault::Kind::Corrupt);
            // A forged sum: whatever is still read is a sound index, which has
            // exactly this form.
            if at < bytes.len() - 32 {
                let bad = resealed(bad);
                if let Ok(index) = Index::read(&mut bad.as_slice()) {
                    assert_eq!(written(&index), bad);
                    read += 1;
                }
            }
        }
        for _ in 0..40 {
            let len = dice.below(bytes.len() as u64) as usize;
            let cut = resealed([&bytes[..len], &[0; 32]].concat());
            assert!(Index::read(&mut cut.as_slice()).is_err() || len + 32 == bytes.len());
        }
        let longer = resealed([&bytes[..], &[0; 33]].concat());
        assert!(Index::read(&mut longer.as_slice()).is_err());
    }
    assert!(read > 0, "no change of a mode or a time was read");
}

#[test]
fn an_index_that_lies_about_paths_is_refused() {
    let node = |path: &str, kind| Node {
        path: path.into(),
        kind,
        mode: 0o755,
        uid: 0,
        gid: 0,
        mtime: (0, 0),
        xattrs: Vec::new(),
        listed: true,
    };
    let dir = || NodeKind::Dir { opaque: false };
    let file = || NodeKind::File { size: 1 };
    let link = |target: &str| NodeKind::Hardlink {
        target: target.into(),
    };
    let lower = |target: &str| NodeKind::LowerLink {
        target: target.into(),
    };
    let root = || node("", dir());
    let twice = |name: &str| (name.as_bytes().to_vec(), Vec::new());
    let rows = [
        ("no root", vec![node("a", dir())]),
        ("root is a file", vec![node("", file())]),
        ("no parent", vec![root(), node("a/b", file())]),
        (
            "parent is a file",
            vec![root(), node("a", file()), node("a/b", file())],
        ),
        ("order", vec![root(), node("b", file()), node("a", file())]),
        ("twice", vec![root(), node("a", file()), node("a", file())]),
        ("up", vec![root(), node("..", dir())]),
        (
            "up inside",
            vec![root(), node("..", dir()), node("../x", file())],
        ),
        ("absolute", vec![root(), node("/a", file())]),
        ("NUL", vec![root(), node("a\0", file())]),
        ("link to nothing", vec![root(), node("b", link("a"))]),
        (
            "link forward",
            vec![root(), node("a", link("b")), node("b", file())],
        ),
        (
            "link to dir",
            vec![root(), node("a", dir()), node("b", link("a"))],
        ),
        ("lower up", vec![root(), node("b", lower("../x"))]),
        (
            "mode",
            vec![Node {
                mode: 0o10000,
                ..root()
            }],
        ),
        (
            "nanos",
            vec![Node {
                mtime: (0, 1_000_000_000),
                ..root()
            }],
        ),
        (
            "xattrs",
            vec![Node {
                xattrs: vec![twice("b"), twice("a")],
                ..root()
            }],
        ),
        (
            "unlisted file",
            vec![
                root(),
                Node {
                    listed: false,
                    ..node("a", file())
                },
            ],
        ),
    ];
    for (why, nodes) in rows {
        let bytes = written(&Index { nodes });
        assert!(Index::read(&mut bytes.as_slice()).is_err(), "{why}");
    }
    let beside = [
        root(),
        node("a", dir()),
        node("a-b", file()),
        node("a/b", file()),
    ];
    let bytes = written(&Index {
        nodes: beside.into(),
    });
    assert!(Index::read(&mut bytes.as_slice()).is_ok());
    // Many nodes are only said to follow.
    let bytes = resealed([&b"rktidx1\n"[..], &[0xff; 9], &[1; 33]].concat());
    assert!(Index::read(&mut bytes.as_slice()).is_err());
}
