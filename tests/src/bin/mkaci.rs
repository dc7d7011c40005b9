//! `mkaci OUT NAME PROGRAM`: packs one static program as an ACI, for `make run`, the VM rig and the bench.

use std::path::Path;
use tests::Aci;
use tests::tar::{self, Entry};

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [out, name, program] = &args[..] else {
        eprintln!("usage: mkaci OUT NAME PROGRAM");
        std::process::exit(2);
    };
    let leaf = Path::new(program)
        .file_name()
        .and_then(|n| n.to_str())
        .unwrap_or("program");
    let inside = format!("/{leaf}");
    let result = std::fs::read(program).and_then(|bytes| {
        let aci = Aci::new(name, &[&inside])
            .with(Entry::program(&format!("rootfs{inside}"), bytes))
            .with(Entry::dir("rootfs/etc"))
            .with(Entry::file(
                "rootfs/etc/passwd",
                "root:x:0:0::/root:/bin/sh\n",
            ))
            .with(Entry::dir("rootfs/tmp").mode(0o1777));
        std::fs::write(out, tar::gzip(&aci.tar()))
    });
    if let Err(e) = result {
        eprintln!("mkaci: cannot make {out} of {program}: {e}");
        std::process::exit(1);
    }
}
