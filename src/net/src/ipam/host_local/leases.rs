//! The directory of a network: a file for each address that is held.
//!
//! CNI's host-local reads and writes the same files, so their form is fixed:
//! `<ip>` holds `<id>\r\n<interface>`, of old `<id>` alone; `last_reserved_ip.<n>`
//! the last address of range set n; `lock` is locked for whatever is done.
//! A writer that was killed leaves an empty file, which holds nothing. What is
//! not named as an address is not looked at.
//!
//! Ours alone is a claim, the symbolic link `.<id>@<interface>` to a text that
//! is no path: the addresses that the attachment may hold. It is there before
//! the first of these is taken and goes after the last is freed, so that nobody
//! has to read hundreds of files to find them. The files decide, a claim only
//! says which.

use crate::attach::interrupted;
use model::{Fault, fault::Result};
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{AtFlags, Dir, FileType, FlockOperation, Mode, OFlags};
use rustix::io::Errno;
use std::collections::BTreeSet;
use std::fs::DirBuilder;
use std::io;
use std::net::IpAddr;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// A symbolic link's text is shorter than this.
const MAX_CLAIM: usize = 4096;
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
    Nobody,
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
        match Leases::locked(path, patience, interrupted)? {
            Some(leases) => Ok(leases),
            None => Err(Fault::io("open", path.display(), Errno::NOENT)),
        }
    }

    /// `None` when there is no directory. To free something, so that no signal
    /// ends the wait.
    pub(super) fn existing(path: &Path, patience: Duration) -> Result<Option<Leases>> {
        Leases::locked(path, patience, || false)
    }

    fn locked(path: &Path, patience: Duration, enough: fn() -> bool) -> Result<Option<Leases>> {
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
        wait_for(&lock, &file, patience, enough)?;
        Ok(Some(Leases {
            dir,
            path: path.to_path_buf(),
            _lock: lock,
        }))
    }

    /// Every address that has a file, whatever is in it.
    pub(super) fn names(&self) -> Result<BTreeSet<IpAddr>> {
        let fault = |err| self.fault("read", "", err);
        let mut names = BTreeSet::new();
        for entry in Dir::read_from(&self.dir).map_err(fault)? {
            let entry = entry.map_err(fault)?;
            names.extend(address_of(entry.file_name().to_bytes()));
        }
        Ok(names)
    }

    /// Who holds it. Under the lock nobody is about to fill an empty file.
    pub(super) fn holder(&self, ip: IpAddr, id: &str, if_name: &str) -> Holder {
        match self.record(&ip.to_string()) {
            Ok(None) => Holder::Nobody,
            Ok(Some(record)) if record.is_empty() => Holder::Nobody,
            Ok(Some(record)) => holder(&record, id, if_name),
            // Whatever it is, the name is taken.
            Err(_) => Holder::Other,
        }
    }

    /// The addresses that this attachment may hold; `None` without a claim.
    pub(super) fn claim(&self, id: &str, if_name: &str) -> Result<Option<Vec<IpAddr>>> {
        let name = claim_of(id, if_name);
        match rustix::fs::readlinkat(&self.dir, &*name, Vec::new()) {
            Ok(text) => {
                let words = text.to_str().unwrap_or_default().split(',');
                Ok(Some(words.filter_map(|word| word.parse().ok()).collect()))
            }
            Err(Errno::NOENT) => Ok(None),
            Err(err) => Err(self.fault("read", &name, err)),
        }
    }

    /// Says so before any of these addresses is taken; in the place of an older
    /// claim.
    pub(super) fn set_claim(&self, id: &str, if_name: &str, ips: &[IpAddr]) -> Result<()> {
        let name = claim_of(id, if_name);
        let text: Vec<String> = ips.iter().map(IpAddr::to_string).collect();
        let text = text.join(",");
        if text.len() >= MAX_CLAIM {
            return Err(Fault::refused(format!(
                "{}: too many addresses for one interface: {}",
                self.path.join(&name).display(),
                ips.len()
            )));
        }
        let done = match rustix::fs::symlinkat(&*text, &self.dir, &*name) {
            Err(Errno::EXIST) => {
                let draft = format!("{name}.new");
                let _ = rustix::fs::unlinkat(&self.dir, &*draft, AtFlags::empty());
                rustix::fs::symlinkat(&*text, &self.dir, &*draft)
                    .and_then(|()| rustix::fs::renameat(&self.dir, &*draft, &self.dir, &*name))
            }
            other => other,
        };
        done.map_err(|err| self.fault("write", &name, err))
    }

    /// When none of its addresses is held any more.
    pub(super) fn drop_claim(&self, id: &str, if_name: &str) -> Result<()> {
        let name = claim_of(id, if_name);
        self.remove(&format!("{name}.new"))?;
        self.remove(&name)
    }

    /// The start of a regular file; `None` when it is gone.
    fn record(&self, name: &str) -> io::Result<Option<Vec<u8>>> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = match rustix::fs::openat(&self.dir, name, flags, Mode::empty()) {
            Ok(file) => file,
            Err(Errno::NOENT) => return Ok(None),
            Err(err) => return Err(err.into()),
        };
        let stat = rustix::fs::fstat(&file)?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
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
        self.remove(&ip.to_string())
    }

    fn remove(&self, name: &str) -> Result<()> {
        match rustix::fs::unlinkat(&self.dir, name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(err) => Err(self.fault("remove", name, err)),
        }
    }

    /// The last address given of a range set; `None` also when nothing sensible
    /// is written there.
    pub(super) fn last(&self, index: usize) -> Option<IpAddr> {
        let record = self.record(&last_of(index)).ok()??;
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
fn wait_for(lock: &OwnedFd, path: &Path, patience: Duration, enough: fn() -> bool) -> Result<()> {
    let since = Instant::now();
    let mut pause = Duration::from_micros(100);
    loop {
        match rustix::fs::flock(lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(()),
            Err(Errno::WOULDBLOCK | Errno::INTR) if enough() => {
                let path = path.display();
                return Err(Fault::refused(format!(
                    "interrupted while waiting for the lock {path}"
                )));
            }
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
                )
                .hint(format!("`fuser -v {}` shows which one", path.display())));
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

/// Neither an ID nor a name begins with a dot, and no ID has an `@`.
fn claim_of(id: &str, if_name: &str) -> String {
    format!(".{id}@{if_name}")
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
