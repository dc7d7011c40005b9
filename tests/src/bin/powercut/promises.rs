//! What was promised before the cut: a log on a disk of its own, one sector for each line, written through.
//!
//! `+ image ID WORD` and `+ pod UUID` when the command has returned, `- image ID` and `- pod UUID` before one begins
//! that takes it away: afterwards both are right.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};

const SECTOR: usize = 512;

#[derive(Debug)]
pub struct Log {
    file: File,
    next: u64,
    /// IDs, and the names of their images.
    pub images: BTreeMap<String, String>,
    /// UUIDs of prepared pods.
    pub pods: BTreeMap<String, ()>,
}

impl Log {
    pub fn open(path: &str) -> io::Result<Log> {
        let direct = rustix::fs::OFlags::SYNC.bits() as i32;
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .custom_flags(direct)
            .open(path)?;
        let mut log = Log {
            file,
            next: 0,
            images: BTreeMap::new(),
            pods: BTreeMap::new(),
        };
        let mut sector = [0; SECTOR];
        while log
            .file
            .read_exact_at(&mut sector, log.next * SECTOR as u64)
            .is_ok()
            && sector[0] != 0
        {
            let line = crate::text(&sector);
            log.count(line.trim_end_matches(['\0', '\n']));
            log.next += 1;
        }
        Ok(log)
    }

    fn count(&mut self, line: &str) {
        let words: Vec<&str> = line.split(' ').collect();
        match words[..] {
            ["+", "image", id, name] => {
                self.images.insert(id.to_owned(), name.to_owned());
            }
            ["-", "image", id] => {
                self.images.remove(id);
            }
            ["+", "pod", uuid] => {
                self.pods.insert(uuid.to_owned(), ());
            }
            ["-", "pod", uuid] => {
                self.pods.remove(uuid);
            }
            _ => panic!("the log has a line {line:?}"),
        }
    }

    /// On the disk when this returns.
    pub fn say(&mut self, line: &str) {
        let mut sector = [0; SECTOR];
        sector[..line.len()].copy_from_slice(line.as_bytes());
        sector[line.len()] = b'\n';
        self.file
            .write_all_at(&sector, self.next * SECTOR as u64)
            .expect("the log's disk is large enough");
        self.next += 1;
        self.count(line);
    }
}
