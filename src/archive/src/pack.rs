//! A directory into an image: the same tree always gives the same bytes.
//!
//! `manifest` first, then `rootfs` with the names of each directory sorted by
//! bytes; times in whole seconds, no user names, hard links by device and inode
//! (the first name in order has the content), attributes and whatever a ustar
//! header cannot hold as PAX records. Sockets are left out. Files are opened
//! without following links and must be what they were when they were listed.

use std::collections::HashMap;
use std::ffi::{CString, OsStr};
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;

use flate2::Compression;
use flate2::write::GzEncoder;
use model::fault::{Fault, Result};
use rustix::fs::{
    AtFlags, Dir, FileType, Mode, OFlags, Stat, fstat, major, minor, openat, readlinkat, statat,
};
use rustix::io::Errno;
use sha2::{Digest, Sha512};
use sys::attributes::CAPABILITY;
use sys::fs::InRoot;

use crate::head::{self, Head};
use crate::metadata::xattr_allowed;
use crate::name::{PATH_MAX, shown};
use crate::options::PackOptions;
use crate::tape::{BLOCK, padding};

/// What was written.
#[derive(Clone, Debug)]
pub struct Packed {
    /// SHA-512 of the uncompressed archive.
    pub digest: [u8; 64],
    /// Bytes of the uncompressed archive.
    pub size: u64,
    pub entries: u64,
    /// What was left out, for the user.
    pub notes: Vec<String>,
}

/// Writes an image of `manifest` and the directory `rootfs`. On an error `out`
/// holds part of it.
pub fn write_aci(
    manifest: &[u8],
    rootfs: BorrowedFd<'_>,
    out: &mut dyn Write,
    options: &PackOptions,
) -> Result<Packed> {
    let root = rootfs
        .try_clone_to_owned()
        .map_err(|err| Fault::io("dup", "rootfs", err))?;
    let out = match options.gzip {
        true => Sink::Gzip(Box::new(GzEncoder::new(out, Compression::default()))),
        false => Sink::Plain(out),
    };
    let mut pack = Pack {
        out,
        sha: Sha512::new(),
        size: 0,
        entries: 0,
        notes: Vec::new(),
        options,
        links: HashMap::new(),
        buffer: vec![0; 256 << 10],
    };
    pack.manifest(manifest)?;
    pack.tree(&InRoot::new(root))?;
    pack.put(&[0; 2 * BLOCK])?;
    match &mut pack.out {
        Sink::Plain(out) => out.flush(),
        Sink::Gzip(out) => out.try_finish().and_then(|()| out.get_mut().flush()),
    }
    .map_err(written)?;
    Ok(Packed {
        digest: pack.sha.finalize().into(),
        size: pack.size,
        entries: pack.entries,
        notes: pack.notes,
    })
}

enum Sink<'o> {
    Plain(&'o mut dyn Write),
    Gzip(Box<GzEncoder<&'o mut dyn Write>>),
}

struct Pack<'o> {
    out: Sink<'o>,
    sha: Sha512,
    size: u64,
    entries: u64,
    notes: Vec<String>,
    options: &'o PackOptions,
    /// The first name of an inode with several.
    links: HashMap<(u64, u64), Vec<u8>>,
    buffer: Vec<u8>,
}

/// A directory whose names are being worked off.
struct Level {
    /// Below the root; empty for the root.
    path: Vec<u8>,
    /// Reversed: the next one is the last.
    names: Vec<CString>,
}

/// One entry to be.
struct Item<'a> {
    name: &'a [u8],
    kind: u8,
    stat: &'a Stat,
    size: u64,
    link: &'a [u8],
    xattrs: Vec<(Vec<u8>, Vec<u8>)>,
}

impl Pack<'_> {
    fn put(&mut self, bytes: &[u8]) -> Result<()> {
        self.sha.update(bytes);
        self.size += bytes.len() as u64;
        match &mut self.out {
            Sink::Plain(out) => out.write_all(bytes),
            Sink::Gzip(out) => out.write_all(bytes),
        }
        .map_err(written)
    }

    fn manifest(&mut self, manifest: &[u8]) -> Result<()> {
        self.entries += 1;
        self.put(&head::manifest(manifest.len() as u64))?;
        self.put(manifest)?;
        self.put(&[0; BLOCK][..padding(manifest.len() as u64) as usize])
    }

    /// Depth first without recursion; one directory is open at a time.
    fn tree(&mut self, root: &InRoot) -> Result<()> {
        let mut levels = Vec::new();
        let mut here = open_dir(root, b"")?;
        let stat = fstat(&here).map_err(|err| Fault::io("stat", "rootfs", err))?;
        self.dir(here.as_fd(), b"", &stat)?;
        levels.push(Level {
            path: Vec::new(),
            names: names(here.as_fd(), b"")?,
        });
        while let Some(level) = levels.last_mut() {
            let Some(name) = level.names.pop() else {
                levels.pop();
                if let Some(level) = levels.last().filter(|level| !level.names.is_empty()) {
                    here = open_dir(root, &level.path)?;
                }
                continue;
            };
            let mut path = level.path.clone();
            if !path.is_empty() {
                path.push(b'/');
            }
            path.extend_from_slice(name.as_bytes());
            let name = OsStr::from_bytes(name.as_bytes());
            let stat = statat(&here, name, AtFlags::SYMLINK_NOFOLLOW)
                .map_err(|err| failed("stat", &path, err))?;
            if FileType::from_raw_mode(stat.st_mode) != FileType::Directory {
                self.leaf(here.as_fd(), name, &path, &stat)?;
                continue;
            }
            if path.len() > PATH_MAX - "rootfs/".len() {
                return Err(Fault::invalid(format!("\"{}\" is too deep", shown(&path))));
            }
            here = open_dir(root, &path)?;
            self.dir(here.as_fd(), &path, &stat)?;
            let names = names(here.as_fd(), &path)?;
            levels.push(Level { path, names });
        }
        Ok(())
    }

    fn dir(&mut self, dir: BorrowedFd<'_>, path: &[u8], stat: &Stat) -> Result<()> {
        let mut name = head::in_rootfs(path);
        name.push(b'/');
        let xattrs = self.xattrs(dir, path)?;
        let item = Item {
            name: &name,
            kind: b'5',
            stat,
            size: 0,
            link: b"",
            xattrs,
        };
        self.header(&item).map(drop)
    }

    fn leaf(&mut self, dir: BorrowedFd<'_>, name: &OsStr, path: &[u8], stat: &Stat) -> Result<()> {
        let full = head::in_rootfs(path);
        let kind = match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => b'0',
            FileType::Symlink => b'2',
            FileType::CharacterDevice => b'3',
            FileType::BlockDevice => b'4',
            FileType::Fifo => b'6',
            other => {
                self.notes
                    .push(format!("\"{}\" is left out: {other:?}", shown(path)));
                return Ok(());
            }
        };
        let mut item = Item {
            name: &full,
            kind,
            stat,
            size: 0,
            link: b"",
            xattrs: Vec::new(),
        };
        if stat.st_nlink > 1 {
            let first = self.links.get(&(stat.st_dev, stat.st_ino)).cloned();
            if let Some(first) = first {
                item.kind = b'1';
                item.link = &first;
                return self.header(&item).map(drop);
            }
        }
        let made = match kind {
            b'2' => {
                let target = readlinkat(dir, name, Vec::new())
                    .map_err(|err| failed("readlink", path, err))?;
                item.link = target.as_bytes();
                self.header(&item)?
            }
            b'0' => {
                let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
                let fd = openat(dir, name, flags, Mode::empty())
                    .map_err(|err| failed("open", path, err))?;
                let now = fstat(&fd).map_err(|err| failed("stat", path, err))?;
                if (now.st_dev, now.st_ino) != (stat.st_dev, stat.st_ino) {
                    return Err(changed(path));
                }
                item.size = now.st_size.cast_unsigned();
                item.xattrs = self.xattrs(fd.as_fd(), path)?;
                let made = self.header(&item)?;
                if made {
                    self.content(File::from(fd), item.size, path)?;
                }
                made
            }
            _ => self.header(&item)?,
        };
        if made && stat.st_nlink > 1 {
            self.links.insert((stat.st_dev, stat.st_ino), full);
        }
        Ok(())
    }

    fn content(&mut self, mut file: File, size: u64, path: &[u8]) -> Result<()> {
        let mut buffer = std::mem::take(&mut self.buffer);
        let mut left = size;
        while left > 0 {
            let want = usize::try_from(left).map_or(buffer.len(), |n| n.min(buffer.len()));
            match file.read(&mut buffer[..want]) {
                Ok(0) => return Err(changed(path)),
                Ok(n) => {
                    self.put(&buffer[..n])?;
                    left -= n as u64;
                }
                Err(err) if err.kind() == io::ErrorKind::Interrupted => {}
                Err(err) => return Err(Fault::io("read", format!("\"{}\"", shown(path)), err)),
            }
        }
        self.buffer = buffer;
        self.put(&[0; BLOCK][..padding(size) as usize])
    }

    /// The attributes that an image may carry, as it had them.
    fn xattrs(&mut self, fd: BorrowedFd<'_>, path: &[u8]) -> Result<Vec<(Vec<u8>, Vec<u8>)>> {
        let mut found = xattrs(fd, path)?;
        let Some(shift) = self.options.unshift else {
            return Ok(found);
        };
        if let Some(at) = found.iter().position(|(name, _)| name == CAPABILITY) {
            match shift.capability(&found[at].1) {
                Some(value) => found[at].1 = value,
                None => {
                    found.remove(at);
                    self.notes.push(format!(
                        "the capabilities of \"{}\" are left out: they count elsewhere",
                        shown(path)
                    ));
                }
            }
        }
        Ok(found)
    }

    /// Writes the header, and a PAX one before it where ustar is too narrow.
    /// False: the owner has no place in the image, the entry is left out.
    fn header(&mut self, item: &Item<'_>) -> Result<bool> {
        let (uid, gid) = match self.options.unshift {
            None => (item.stat.st_uid, item.stat.st_gid),
            Some(shift) => {
                let (uid, gid) = (item.stat.st_uid, item.stat.st_gid);
                let (Some(uid), Some(gid)) = (shift.back(uid), shift.back(gid)) else {
                    let count = shift.count;
                    self.notes.push(format!(
                        "error unshifting gid and uid: uid {uid} or gid {gid} are out of range \
                         {count} after unshifting (\"{}\" is left out)",
                        shown(item.name)
                    ));
                    return Ok(false);
                };
                (uid, gid)
            }
        };
        let head = Head {
            name: item.name,
            kind: item.kind,
            mode: item.stat.st_mode & 0o7777,
            uid,
            gid,
            mtime: (item.stat.st_mtime, 0),
            size: item.size,
            device: (major(item.stat.st_rdev), minor(item.stat.st_rdev)),
            link: item.link,
            xattrs: &item.xattrs,
        };
        let mut blocks = Vec::new();
        head.write(&mut blocks);
        self.entries += 1;
        self.put(&blocks)?;
        Ok(true)
    }
}

fn open_dir(root: &InRoot, path: &[u8]) -> Result<OwnedFd> {
    let name = if path.is_empty() {
        OsStr::new(".")
    } else {
        OsStr::from_bytes(path)
    };
    root.open(
        name,
        OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW,
        Mode::empty(),
    )
    .map_err(|err| Fault::io("open", format!("\"{}\"", shown(path)), err))
}

/// The names of a directory, the first one last.
fn names(dir: BorrowedFd<'_>, path: &[u8]) -> Result<Vec<CString>> {
    let mut names = Vec::new();
    for entry in Dir::read_from(dir).map_err(|err| failed("open", path, err))? {
        let entry = entry.map_err(|err| failed("read", path, err))?;
        if !matches!(entry.file_name().to_bytes(), b"." | b"..") {
            names.push(entry.file_name().to_owned());
        }
    }
    names.sort_by(|a, b| b.as_bytes().cmp(a.as_bytes()));
    Ok(names)
}

/// The attributes that an image may carry, sorted.
fn xattrs(fd: BorrowedFd<'_>, path: &[u8]) -> Result<Vec<(Vec<u8>, Vec<u8>)>> {
    let fail = |err| failed("listxattr", path, err);
    let len = match rustix::fs::flistxattr_query(fd) {
        Ok(0) | Err(Errno::NOTSUP) => return Ok(Vec::new()),
        len => len.map_err(fail)?,
    };
    let mut list = vec![0; len];
    let len = rustix::fs::flistxattr(fd, &mut list).map_err(fail)?;
    let mut found = Vec::new();
    for name in list[..len]
        .split(|&b| b == 0)
        .filter(|name| xattr_allowed(name))
    {
        let len = rustix::fs::fgetxattr_query(fd, name).map_err(fail)?;
        let mut value = vec![0; len];
        if len > 0 {
            let len = rustix::fs::fgetxattr(fd, name, &mut value).map_err(fail)?;
            value.truncate(len);
        }
        found.push((name.to_vec(), value));
    }
    found.sort();
    Ok(found)
}

fn failed(verb: &str, path: &[u8], errno: Errno) -> Fault {
    Fault::io(verb, format!("\"{}\"", shown(path)), errno)
}

fn changed(path: &[u8]) -> Fault {
    Fault::invalid(format!("\"{}\" changed while it was read", shown(path)))
}

fn written(err: io::Error) -> Fault {
    Fault::io("write", "the archive", err)
}
