//! Names that change while somebody else resolves them.
//!
//! `renameat2(RENAME_EXCHANGE)` swaps two names at once, so neither is ever missing: whoever looks twice at a name may see
//! a directory the first time and a link the second. Each loop ends after `end` rounds, when the file `end` is there (it
//! begins with `/`), or with the pod.

use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;
use std::path::{Path, PathBuf};

/// Whether a loop has come to its end.
pub(crate) struct End<'a> {
    word: &'a str,
    round: u64,
}

impl End<'_> {
    pub(crate) fn of(word: &str) -> End<'_> {
        End { word, round: 0 }
    }

    pub(crate) fn reached(&mut self) -> bool {
        self.round += 1;
        match self.word.parse::<u64>() {
            Ok(rounds) => self.round > rounds,
            Err(_) => {
                self.word.starts_with('/')
                    && self.round.is_multiple_of(64)
                    && Path::new(self.word).exists()
            }
        }
    }
}

pub(crate) fn exchange(one: &str, other: &str, end: &str) {
    let mut done = 0_u64;
    let mut end = End::of(end);
    while !end.reached() {
        done += u64::from(renameat_with(CWD, one, CWD, other, RenameFlags::EXCHANGE).is_ok());
    }
    println!("exchanged={done}");
}

/// The same in every process' root that holds the file `mark`: there the names may be mount points, which the kernel
/// protects only from processes of the same mount namespace.
pub(crate) fn exchange_of(mark: &str, one: &str, other: &str, end: &str) {
    let mut done = 0_u64;
    let mut end = End::of(end);
    let mut roots: Vec<PathBuf> = Vec::new();
    let mut round = 0_u64;
    while !end.reached() {
        if round.is_multiple_of(256) {
            roots = roots_with(mark);
        }
        round += 1;
        if roots.is_empty() {
            std::thread::sleep(std::time::Duration::from_micros(200));
            round = 0;
        }
        for root in &roots {
            let (one, other) = (root.join(one), root.join(other));
            match renameat_with(CWD, &one, CWD, &other, RenameFlags::EXCHANGE) {
                Ok(()) => done += 1,
                // An overlay renames only directories that no lower layer has.
                Err(Errno::XDEV) => [&one, &other].into_iter().for_each(|dir| {
                    let _ = std::fs::remove_dir(dir);
                    let _ = std::fs::create_dir(dir);
                }),
                Err(_) => {}
            }
        }
    }
    println!("exchanged={done}");
}

/// Each root once, however many processes have it: two exchanges are none.
fn roots_with(mark: &str) -> Vec<PathBuf> {
    use std::os::unix::fs::MetadataExt;
    let mut seen = Vec::new();
    pids()
        .map(|pid| PathBuf::from(format!("/proc/{pid}/root/")))
        .filter(|root| root.join(mark).exists())
        .filter(|root| {
            let id = root.metadata().map(|m| (m.dev(), m.ino())).ok();
            let new = !seen.contains(&id);
            seen.push(id);
            new
        })
        .collect()
}

pub(crate) fn pids() -> impl Iterator<Item = i32> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten();
    entries.filter_map(|e| e.ok()?.file_name().to_str()?.parse().ok())
}
