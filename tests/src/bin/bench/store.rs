//! Disk: listing a thousand exited pods, and importing a large image, against the least that anyone could do.

use crate::clock::{self, Peer};
use crate::start;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};
use tests::tar::{self, Entry};
use tests::{Aci, Rkt, Scratch, isolated};

const PODS: usize = 1000;

/// `rkt list` over 1,000 exited pods against bench/list.c over the same directories and files.
pub(crate) fn list(scratch: &Scratch) {
    let id = start::store(scratch);
    for _ in 0..PODS / 20 {
        let batch: Vec<_> = (0..20)
            .map(|_| {
                Rkt::new(scratch)
                    .args(["run", "--net=none", &id, "--", "exit", "0"])
                    .spawn()
            })
            .collect();
        batch.into_iter().for_each(|pod| drop(pod.end()));
    }
    let Some(loop_in_c) = compile(scratch) else {
        println!("missing peer: cc, for tests/bench/list.c");
        return;
    };
    let pods = scratch.data().join("pods/run");
    let data = scratch.data();
    // What `strace rkt list` shows to be read of each pod.
    let files = ["summary", "net-info.json"];
    let peers = [
        Peer {
            name: "rkt",
            command: Box::new(move |_| {
                let mut command = Command::new(tests::rkt::binary());
                command.arg(format!("--dir={}", data.display())).arg("list");
                command
            }),
        },
        Peer {
            name: "C loop",
            command: Box::new(move |_| {
                let mut command = Command::new(&loop_in_c);
                command.arg(&pods).args(files);
                command
            }),
        },
    ];
    let medians = clock::medians(&peers, 5, 5, Duration::ZERO);
    clock::print(
        &format!("list {PODS} exited pods, warm, median of 25"),
        &peers,
        &medians,
    );
    start::sweep(scratch);
}

fn compile(scratch: &Scratch) -> Option<PathBuf> {
    let source = tests::rkt::workspace().join("tests/bench/list.c");
    let out = scratch.at("list-in-c");
    let done = Command::new("cc")
        .args(["-O2", "-o"])
        .arg(&out)
        .arg(source)
        .status()
        .ok()?;
    done.success().then_some(out)
}

/// A 200 MB image, gzip-framed, into an empty store and safely on disk.
pub(crate) fn import(scratch: &Scratch) {
    let Some(gzip) = isolated::find("gzip") else {
        println!("missing peer: gzip");
        return;
    };
    let image = large(scratch, &gzip);
    let mut ours = Vec::new();
    let mut theirs = Vec::new();
    let script = "gzip -dc \"$0\" | tar x -C \"$1\" && sync -f \"$1\"";
    for turn in 0..6 {
        let data = scratch.at(&format!("data-{turn}"));
        let mut rkt = Command::new(tests::rkt::binary());
        rkt.arg(format!("--dir={}", data.display()))
            .args(["--insecure-options=image", "fetch"])
            .arg(&image);
        let to = scratch.mkdir(&format!("tar-{turn}"));
        let mut tar = Command::new("sh");
        tar.args(["-c", script]).arg(&image).arg(&to);
        for (command, times) in [(&mut rkt, &mut ours), (&mut tar, &mut theirs)] {
            let begin = Instant::now();
            let output = command
                .output()
                .expect("the binary under test and sh start");
            assert!(
                output.status.success(),
                "{command:?}: {}",
                String::from_utf8_lossy(&output.stderr)
            );
            if turn > 0 {
                times.push(begin.elapsed());
            }
        }
        let _ = std::fs::remove_dir_all(data);
        let _ = std::fs::remove_dir_all(to);
    }
    if let (Some(ours), Some(theirs)) = (clock::median(ours), clock::median(theirs)) {
        println!("\nimport of a 200 MB image (gzip, 2,000 files), median of 5");
        println!(
            "  rkt          {:9.0} ms  rkt fetch {}",
            clock::ms(ours),
            image.display()
        );
        println!(
            "  tar          {:9.0} ms  sh -c '{script}'",
            clock::ms(theirs)
        );
        println!("  rkt/tar      {:9.2}", clock::ms(ours) / clock::ms(theirs));
    }
}

/// 2,000 files of 100 KB: half text-like, half noise, as programs and their data are.
fn large(scratch: &Scratch, gzip: &std::path::Path) -> PathBuf {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let mut aci = Aci::new("example.com/large", &["/app"]);
    for n in 0..2000 {
        let mut data = Vec::with_capacity(100_000);
        while data.len() < 100_000 {
            let word = next().to_le_bytes();
            if data.len() % 2000 < 1000 {
                data.extend_from_slice(&word)
            } else {
                data.extend_from_slice(b"the same ")
            }
        }
        if n % 100 == 0 {
            aci = aci.with(Entry::dir(&format!("rootfs/d{:02}", n / 100)));
        }
        aci = aci.with(Entry::file(
            &format!("rootfs/d{:02}/f{n:04}", n / 100),
            data,
        ));
    }
    let mut entries = vec![Entry::file("manifest", aci.manifest())];
    entries.append(&mut aci.entries);
    let bare = scratch.write("large.tar", tar::write(&entries));
    let done = Command::new(gzip)
        .arg("-1")
        .arg(&bare)
        .status()
        .expect("gzip was found");
    assert!(done.success());
    let image = scratch.at("large.aci");
    std::fs::rename(scratch.at("large.tar.gz"), &image).expect("gzip wrote its file");
    image
}
