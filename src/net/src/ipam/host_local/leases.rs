//! The directory of a network: a file for each address that is held.
//!
//! CNI's host-local reads and writes the same files, so their form is fixed:
//! `<ip>` holds `<id>\r\n<interface>`, of old `<id>` alone; `last_reserved_ip.<n>`
//! the last address of range set n; `lock` is locked for whatever is done.
//! A writer that was killed leaves an empty file, which holds nothing. What is
//! not named as an address is not looked at.

use model::{Fault, fault::Result};
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{AtFlags, Dir, FileType, FlockOperation, Mode, OFlags};
use rustix::io::Errno;
use std::fs::DirBuilder;
use std::io;
use std::net::IpAddr;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Longer than any record that could be ours.
const MAX_RECORD: usize = 1024;

/// The directory, locked until this is dropped.
#[derive(Debug)]
pub(super) struct Leases {
    dir: OwnedFd,
    path: PathBuf,
    _lock: OwnedFd,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Holder {
    /// This attachment.
    Us,
    /// This ID, without the interface.
    OurId,
    Other,
}

impl Leases {
    /// Makes the directory if need be.
    pub(super) fn open(path: &Path, patience: Duration) -> Result<Leases> {
        DirBuilder::new()
            .recursive(true)
            .mode(0o755)
            .create(path)
            .map_err(|err| Fault::io("mkdir", path.display(), err))?;
        match Leases::existing(path, patience)? {
            Some(leases) => Ok(leases),
            None => Err(Fault::io("open", path.display(), Errno::NOENT)),
        }
    }

    /// `None` when there is no directory.
    pub(super) fn existing(path: &Path, patience: Duration) -> Result<Option<Leases>> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let dir = match rustix::fs::open(path, flags, Mode::empty()) {
            Ok(dir) => dir,
            Err(Errno::NOENT) => return Ok(None),
            Err(err) => return Err(Fault::io("open", path.display(), err)),
        };
        let file = path.join("lock");
        let flags = OFlags::RDONLY | OFlags::CREATE | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let lock = rustix::fs::openat(&dir, "lock", flags, Mode::from_raw_mode(0o750))
            .map_err(|err| Fault::io("open", file.display(), err))?;
        wait_for(&lock, &file, patience)?;
        Ok(Some(Leases {
            dir,
            path: path.to_path_buf(),
            _lock: lock,
        }))
    }

    /// Every address that is held. Empty files are removed: under the lock
    /// nobody is about to fill them.
    pub(super) fn scan(&self, id: &str, if_name: &str) -> Result<Vec<(IpAddr, Holder)>> {
        let fault = |err| self.fault("read", "", err);
        let mut held = Vec::new();
        for entry in Dir::read_from(&self.dir).map_err(fault)? {
            let entry = entry.map_err(fault)?;
            let Some(ip) = address_of(entry.file_name().to_bytes()) else {
                continue;
            };
            match self.record(&ip.to_string(), entry.file_type()) {
                Ok(Some(record)) if record.is_empty() && self.free(ip).is_ok() => {}
                Ok(Some(record)) => held.push((ip, holder(&record, id, if_name))),
                Ok(None) => {}
                // Whatever it is, the name is taken.
                Err(_) => held.push((ip, Holder::Other)),
            }
        }
        Ok(held)
    }

    /// The start of a file; `None` when it is gone. Each system call counts here:
    /// there may be hundreds of files.
    fn record(&self, name: &str, kind: FileType) -> io::Result<Option<Vec<u8>>> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = match rustix::fs::openat(&self.dir, name, flags, Mode::empty()) {
            Ok(file) => file,
            Err(Errno::NOENT) => return Ok(None),
            Err(err) => return Err(err.into()),
        };
        // Not every file system tells the kind in the directory.
        let kind = match kind {
            FileType::Unknown => FileType::from_raw_mode(rustix::fs::fstat(&file)?.st_mode),
            known => known,
        };
        if kind != FileType::RegularFile {
            return Err(Errno::INVAL.into());
        }
        let mut record = [0; MAX_RECORD];
        // A regular file gives what it has at once.
        let filled = rustix::io::read(&file, &mut record)?;
        Ok(Some(record[..filled].to_vec()))
    }

    /// Makes the file of an address; false when there is one. Leaves none after
    /// a failure.
    pub(super) fn take(&self, ip: IpAddr, id: &str, if_name: &str) -> Result<bool> {
        let name = ip.to_string();
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let mode = Mode::from_raw_mode(0o600);
        let file = match rustix::fs::openat(&self.dir, &*name, flags, mode) {
            Ok(file) => file,
            Err(Errno::EXIST) => return Ok(false),
            Err(err) => return Err(self.fault("create", &name, err)),
        };
        if let Err(err) = write_all(&file, record_of(id, if_name).as_bytes()) {
            // The first failure counts; the file is empty or short by it.
            let _ = self.free(ip);
            return Err(self.fault("write", &name, err));
        }
        Ok(true)
    }

    /// Adds the interface to a record of old. It is longer, so that no moment
    /// sees it empty.
    pub(super) fn renew(&self, ip: IpAddr, id: &str, if_name: &str) -> Result<()> {
        let name = ip.to_string();
        let record = record_of(id, if_name);
        let flags = OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        rustix::fs::openat(&self.dir, &*name, flags, Mode::empty())
            .and_then(|file| {
                write_all(&file, record.as_bytes())?;
                rustix::fs::ftruncate(&file, record.len() as u64)
            })
            .map_err(|err| self.fault("write", &name, err))
    }

    /// What is gone already is no failure.
    pub(super) fn free(&self, ip: IpAddr) -> Result<()> {
        let name = ip.to_string();
        match rustix::fs::unlinkat(&self.dir, &*name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(err) => Err(self.fault("remove", &name, err)),
        }
    }

    /// The last address given of a range set; `None` also when nothing sensible
    /// is written there.
    pub(super) fn last(&self, index: usize) -> Option<IpAddr> {
        let record = self.record(&last_of(index), FileType::Unknown).ok()??;
        std::str::from_utf8(&record).ok()?.trim().parse().ok()
    }

    pub(super) fn set_last(&self, index: usize, ip: IpAddr) -> Result<()> {
        let name = last_of(index);
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::NOFOLLOW;
        let flags = flags | OFlags::NONBLOCK | OFlags::CLOEXEC;
        rustix::fs::openat(&self.dir, &*name, flags, Mode::from_raw_mode(0o600))
            .and_then(|file| write_all(&file, ip.to_string().as_bytes()))
            .map_err(|err| self.fault("write", &name, err))
    }

    fn fault(&self, verb: &str, name: &str, err: Errno) -> Fault {
        Fault::io(verb, self.path.join(name).display(), err)
    }
}

/// Another holder that hangs must not hang the start of a pod.
fn wait_for(lock: &OwnedFd, path: &Path, patience: Duration) -> Result<()> {
    let since = Instant::now();
    let mut pause = Duration::from_micros(100);
    loop {
        match rustix::fs::flock(lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(()),
            Err(Errno::WOULDBLOCK | Errno::INTR) if since.elapsed() < patience => {
                std::thread::sleep(pause);
                pause = (pause * 2).min(Duration::from_millis(3));
            }
            Err(Errno::WOULDBLOCK | Errno::INTR) => {
                return Err(Fault::new(
                    model::Kind::TimedOut,
                    format!(
                        "lock {}: another process has held it for {} s",
                        path.display(),
                        patience.as_secs()
                    ),
                ));
            }
            Err(err) => return Err(Fault::io("lock", path.display(), err)),
        }
    }
}

fn write_all(file: impl AsFd, mut bytes: &[u8]) -> rustix::io::Result<()> {
    while !bytes.is_empty() {
        match rustix::io::write(&file, bytes) {
            Ok(n) => bytes = &bytes[n..],
            Err(Errno::INTR) => {}
            Err(err) => return Err(err),
        }
    }
    Ok(())
}

/// Only the form that we and CNI's plugin write: another spelling of an address
/// is a foreign file.
fn address_of(name: &[u8]) -> Option<IpAddr> {
    let name = std::str::from_utf8(name).ok()?;
    let ip: IpAddr = name.parse().ok()?;
    (ip.to_string() == name).then_some(ip)
}

fn last_of(index: usize) -> String {
    format!("last_reserved_ip.{index}")
}

fn record_of(id: &str, if_name: &str) -> String {
    format!("{}\r\n{if_name}", id.trim())
}

fn holder(record: &[u8], id: &str, if_name: &str) -> Holder {
    let record = record.trim_ascii();
    if record == record_of(id, if_name).as_bytes() {
        Holder::Us
    } else if record == id.trim().as_bytes() {
        Holder::OurId
    } else {
        Holder::Other
    }
}
