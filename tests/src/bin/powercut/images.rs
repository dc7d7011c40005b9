//! Images that differ in how they get into a store: archives of many small files and of a large one, one with a
//! dependency (a tree is rendered), layers that several images share, with a deletion and with a hard link across them.

use serde_json::json;
use std::path::Path;
use tests::Aci;
use tests::oci::{Layer, Layout};
use tests::tar::{self, Entry};

/// Where the directory is given out, and its layout as a registry does.
pub const PORT: u16 = 8099;

/// What is fetched: a name for the report, and the word for rkt, with the directory for `DIR`.
pub const WORDS: [(&str, &str); 6] = [
    ("small", "http://127.0.0.1:8099/small.aci"),
    ("large", "http://127.0.0.1:8099/large.aci"),
    ("above", "DIR/above.aci"),
    ("one", "DIR/layout:one"),
    ("two", "docker://127.0.0.1:8099/both:two"),
    ("three", "docker://127.0.0.1:8099/both:three"),
];

/// Bytes that no compression shortens, the same every time.
fn noise(length: usize, mut seed: u64) -> Vec<u8> {
    let mut next = || {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        (seed >> 24) as u8
    };
    (0..length).map(|_| next()).collect()
}

pub fn make(dir: &Path, program: &Path) {
    let program = std::fs::read(program).expect("the program can be read");
    let probe = Entry::program("rootfs/probe", program.clone());
    let aci = |name: &str| Aci::new(&format!("example.com/{name}"), &["/probe"]);

    let mut small = aci("small")
        .with(probe.clone())
        .with(Entry::dir("rootfs/many"));
    for number in 0..60 {
        let name = format!("rootfs/many/{number}");
        small = small.with(Entry::file(&name, noise(number * 40, number as u64 + 1)));
    }
    write(dir, "small", &small);
    let large = aci("large")
        .with(probe)
        .with(Entry::file("rootfs/large", noise(1 << 20, 7)));
    write(dir, "large", &large);
    let above = aci("above")
        .top("dependencies", json!([{"imageName": "example.com/small"}]))
        .with(Entry::file("rootfs/above", "above\n"));
    write(dir, "above", &above);

    let mut layout = Layout::new(&dir.join("layout"));
    let base = Layer::of(&[
        Entry::program("probe", program),
        Entry::dir("etc"),
        Entry::file("etc/old", noise(5000, 11)),
        Entry::file("etc/kept", noise(70_000, 13)),
    ]);
    let removed = Layer::of(&[
        Entry::file("etc/.wh.old", ""),
        Entry::file("added", noise(100_000, 17)),
    ]);
    let linked = Layer::of(&[
        Entry::hardlink("etc/link", "etc/kept"),
        Entry::file("new", noise(300_000, 19)),
    ]);
    let config = json!({"Entrypoint": ["/probe"]});
    layout.image("one", std::slice::from_ref(&base), &config);
    layout.image("two", &[base.clone(), removed.clone()], &config);
    layout.image("three", &[base, removed, linked], &config);
}

fn write(dir: &Path, name: &str, aci: &Aci) {
    let bytes = tar::gzip(&aci.tar());
    std::fs::write(dir.join(format!("{name}.aci")), bytes).expect("the directory can be written");
}
