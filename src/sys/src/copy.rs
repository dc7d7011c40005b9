//! Copying a tree: content by reflink where the file system can, else inside the
//! kernel, else by hand; holes, hard links, devices, owners, modes, extended
//! attributes and times as they were. Sockets are left out, as tar does.
//!
//! The source must stand still; links in it are copied, never followed. The
//! target must be empty: what stands there already is EEXIST, not replaced.
//! Directories of the copy belong to the caller, mode 0700, until all that is in
//! them is done, so nobody to whom the copy gives files can redirect the rest.

use crate::attributes::{self, Rights, Shift};
use crate::userns;
use rustix::fs::{AtFlags, Dir, FileType, Gid, Mode, OFlags, SeekFrom, Stat, Uid};
use rustix::io::Errno;
use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// Why a copy stopped, and at which path below the source.
#[derive(Debug)]
pub struct Error {
    pub path: PathBuf,
    pub cause: Cause,
}

#[derive(Debug)]
pub enum Cause {
    Io(io::Error),
    /// The owner has no place among the `count` IDs of a shifted copy.
    OutOfRange {
        uid: u32,
        gid: u32,
        count: u32,
    },
    /// The owner does not exist in this process' user namespace.
    NotMapped {
        uid: u32,
        gid: u32,
    },
}

/// Copies what is in a directory, and the directory's own attributes, to an
/// empty one. Both fds must be readable, not `O_PATH`.
pub fn copy_tree(src: BorrowedFd<'_>, dst: BorrowedFd<'_>) -> Result<(), Error> {
    Copy::new(src, dst, None).run()
}

/// The same for a user namespace of `count` IDs that starts at `shift`: owners
/// are moved by as much, and one beyond the count is refused. File capabilities
/// count in that namespace then.
pub fn copy_tree_shifted(
    src: BorrowedFd<'_>,
    dst: BorrowedFd<'_>,
    shift: u32,
    count: u32,
) -> Result<(), Error> {
    let first = shift;
    Copy::new(src, dst, Some(Shift { first, count })).run()
}

/// Copies one entry that is no directory to the same path below another root.
pub fn copy_entry(src: BorrowedFd<'_>, dst: BorrowedFd<'_>, path: &Path) -> Result<(), Error> {
    let copied = match rustix::fs::statat(src, path, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => Copy::new(src, dst, None).entry(path, &stat),
        Err(errno) => Err(errno.into()),
    };
    copied.map_err(|cause| cause.at(path))
}

struct Copy<'a> {
    src: BorrowedFd<'a>,
    dst: BorrowedFd<'a>,
    rights: Rights,
    /// How the owners of the copy follow from those of the original.
    shift: Option<Shift>,
    /// Where the first name of a file with several went.
    links: HashMap<(u64, u64), PathBuf>,
    reflinks: bool,
}

/// What is left to do, last first.
enum Step {
    Entry(PathBuf),
    Finish(PathBuf),
}

impl<'a> Copy<'a> {
    fn new(src: BorrowedFd<'a>, dst: BorrowedFd<'a>, shift: Option<Shift>) -> Copy<'a> {
        Copy {
            src,
            dst,
            rights: Rights::own(),
            shift,
            links: HashMap::new(),
            reflinks: true,
        }
    }

    /// One fd of each side is open at a time, however deep the tree.
    fn run(&mut self) -> Result<(), Error> {
        let mut steps = vec![Step::Finish(PathBuf::from("."))];
        self.list(Path::new(""), &mut steps)
            .map_err(|err| Cause::Io(err).at(Path::new(".")))?;
        while let Some(step) = steps.pop() {
            match step {
                Step::Entry(path) => {
                    let done = self.enter(&path, &mut steps);
                    done.map_err(|cause| cause.at(&path))?;
                }
                Step::Finish(path) => {
                    self.finish(&path).map_err(|cause| cause.at(&path))?;
                }
            }
        }
        Ok(())
    }

    fn list(&self, path: &Path, steps: &mut Vec<Step>) -> io::Result<()> {
        let at_top = path.as_os_str().is_empty();
        let dir = open_dir(self.src, if at_top { Path::new(".") } else { path })?;
        let below = names(dir.as_fd())?;
        let entries = below.into_iter().rev();
        steps.extend(entries.map(|name| Step::Entry(path.join(name))));
        Ok(())
    }

    fn enter(&mut self, path: &Path, steps: &mut Vec<Step>) -> Result<(), Cause> {
        let stat = rustix::fs::statat(self.src, path, AtFlags::SYMLINK_NOFOLLOW)?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::Directory {
            return self.entry(path, &stat);
        }
        rustix::fs::mkdirat(self.dst, path, Mode::RWXU)?;
        steps.push(Step::Finish(path.to_path_buf()));
        Ok(self.list(path, steps)?)
    }

    fn finish(&self, path: &Path) -> Result<(), Cause> {
        let from = open_dir(self.src, path)?;
        let to = open_dir(self.dst, path)?;
        self.attributes(from.as_fd(), to.as_fd())
    }

    fn attributes(&self, from: BorrowedFd<'_>, to: BorrowedFd<'_>) -> Result<(), Cause> {
        let stat = rustix::fs::fstat(from)?;
        let owner = self.owner(&stat)?;
        attributes::copy_all(from, to, &stat, owner, self.rights, self.shift)
            .map_err(|err| not_mapped(err, owner))
    }

    /// The owner to set; `None` leaves the maker of the file in place.
    fn owner(&self, stat: &Stat) -> Result<Option<(Uid, Gid)>, Cause> {
        let (mut uid, mut gid) = (stat.st_uid, stat.st_gid);
        if let Some(shift) = self.shift {
            let (Some(u), Some(g)) = (shift.of(uid), shift.of(gid)) else {
                let count = shift.count;
                return Err(Cause::OutOfRange { uid, gid, count });
            };
            (uid, gid) = (u, g);
        }
        Ok(self.rights.owner(uid, gid))
    }

    fn entry(&mut self, path: &Path, stat: &Stat) -> Result<(), Cause> {
        let kind = FileType::from_raw_mode(stat.st_mode);
        if stat.st_nlink > 1 {
            if let Some(first) = self.links.get(&(stat.st_dev, stat.st_ino)) {
                return Ok(rustix::fs::linkat(
                    self.dst,
                    first,
                    self.dst,
                    path,
                    AtFlags::empty(),
                )?);
            }
            self.links
                .insert((stat.st_dev, stat.st_ino), path.to_path_buf());
        }
        match kind {
            FileType::RegularFile => self.regular(path, stat),
            FileType::Symlink => {
                let target = rustix::fs::readlinkat(self.src, path, Vec::new())?;
                rustix::fs::symlinkat(&target, self.dst, path)?;
                self.by_name(path, stat)
            }
            FileType::Socket => Ok(()),
            kind => {
                let mode = attributes::mode(stat);
                rustix::fs::mknodat(self.dst, path, kind, mode, stat.st_rdev)?;
                self.by_name(path, stat)?;
                // Once more: the umask has been at it, and chown clears bits.
                rustix::fs::chmodat(self.dst, path, mode, AtFlags::empty())?;
                Ok(self.times(path, stat)?)
            }
        }
    }

    fn by_name(&self, path: &Path, stat: &Stat) -> Result<(), Cause> {
        let owner = self.owner(stat)?;
        if let Some((uid, gid)) = owner {
            let flags = AtFlags::SYMLINK_NOFOLLOW;
            rustix::fs::chownat(self.dst, path, Some(uid), Some(gid), flags)
                .map_err(|errno| not_mapped(errno.into(), owner))?;
        }
        Ok(self.times(path, stat)?)
    }

    fn times(&self, path: &Path, stat: &Stat) -> io::Result<()> {
        let times = attributes::times(stat);
        Ok(rustix::fs::utimensat(
            self.dst,
            path,
            &times,
            AtFlags::SYMLINK_NOFOLLOW,
        )?)
    }

    fn regular(&mut self, path: &Path, stat: &Stat) -> Result<(), Cause> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let from = File::from(rustix::fs::openat(self.src, path, flags, Mode::empty())?);
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let to = File::from(rustix::fs::openat(
            self.dst,
            path,
            flags,
            Mode::RUSR | Mode::WUSR,
        )?);
        if stat.st_size > 0 && !self.clone_content(&from, &to) {
            copy_content(&from, &to, stat.st_size.unsigned_abs())?;
        }
        self.attributes(from.as_fd(), to.as_fd())
    }

    fn clone_content(&mut self, from: &File, to: &File) -> bool {
        self.reflinks = self.reflinks && rustix::fs::ioctl_ficlone(to, from).is_ok();
        self.reflinks
    }
}

/// Copies the data between the holes.
fn copy_content(from: &File, to: &File, size: u64) -> io::Result<()> {
    let mut at = 0;
    while at < size {
        let data = match rustix::fs::seek(from, SeekFrom::Data(at)) {
            Ok(data) => data,
            // Nothing but a hole up to the end.
            Err(Errno::NXIO) => break,
            // The file system does not tell: all is data.
            Err(_) => at,
        };
        let hole = rustix::fs::seek(from, SeekFrom::Hole(data))
            .unwrap_or(size)
            .min(size);
        if hole <= data {
            break;
        }
        copy_range(from, to, data, hole)?;
        at = hole;
    }
    to.set_len(size)
}

fn copy_range(from: &File, to: &File, start: u64, end: u64) -> io::Result<()> {
    let (mut read_at, mut write_at) = (start, start);
    while read_at < end {
        let length = usize::try_from(end - read_at)
            .unwrap_or(usize::MAX)
            .min(1 << 30);
        match rustix::fs::copy_file_range(from, Some(&mut read_at), to, Some(&mut write_at), length)
        {
            Ok(1..) | Err(Errno::INTR) => {}
            // ENOSYS before 4.5, EXDEV before 5.3, and whatever file systems
            // invent; 0 from some that cannot: by hand.
            Ok(_) | Err(_) => return copy_by_hand(from, to, read_at, end),
        }
    }
    Ok(())
}

fn copy_by_hand(from: &File, to: &File, start: u64, end: u64) -> io::Result<()> {
    let mut buffer = vec![0; 1 << 17];
    let mut at = start;
    while at < end {
        let wanted = usize::try_from(end - at)
            .unwrap_or(usize::MAX)
            .min(buffer.len());
        let length = from.read_at(&mut buffer[..wanted], at)?;
        if length == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        to.write_all_at(&buffer[..length], at)?;
        at += length as u64;
    }
    Ok(())
}

fn open_dir(at: BorrowedFd<'_>, path: &Path) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(rustix::fs::openat(at, path, flags, Mode::empty())?)
}

/// The names in an open directory, sorted, without the dots.
fn names(dir: BorrowedFd<'_>) -> io::Result<Vec<OsString>> {
    let mut found = Vec::new();
    for entry in Dir::read_from(dir)? {
        let entry = entry?;
        let name = OsStr::from_bytes(entry.file_name().to_bytes());
        if name != "." && name != ".." {
            found.push(name.to_os_string());
        }
    }
    found.sort();
    Ok(found)
}

/// The kernel's answer to an owner that this user namespace lacks is EINVAL.
fn not_mapped(err: io::Error, owner: Option<(Uid, Gid)>) -> Cause {
    match owner {
        Some((uid, gid)) if Errno::from_io_error(&err) == Some(Errno::INVAL) => {
            let (uid, gid) = (uid.as_raw(), gid.as_raw());
            if userns::own_uids().holds(uid) && userns::own_gids().holds(gid) {
                return Cause::Io(err);
            }
            Cause::NotMapped { uid, gid }
        }
        _ => Cause::Io(err),
    }
}

impl Cause {
    fn at(self, path: &Path) -> Error {
        Error {
            path: path.to_path_buf(),
            cause: self,
        }
    }
}

impl From<io::Error> for Cause {
    fn from(err: io::Error) -> Cause {
        Cause::Io(err)
    }
}

impl From<Errno> for Cause {
    fn from(errno: Errno) -> Cause {
        Cause::Io(errno.into())
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Cause::Io(err) => err.fmt(f),
            Cause::OutOfRange { uid, gid, count } => {
                write!(f, "uid {uid} or gid {gid} are out of range {count}")
            }
            Cause::NotMapped { uid, gid } => {
                write!(
                    f,
                    "uid {uid} or gid {gid} do not exist in this user namespace"
                )
            }
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path.display(), self.cause)
    }
}

impl std::error::Error for Error {}

/// For callers that name the path themselves; the errno stays.
impl From<Error> for io::Error {
    fn from(err: Error) -> io::Error {
        match err.cause {
            Cause::Io(err) => err,
            cause @ (Cause::OutOfRange { .. } | Cause::NotMapped { .. }) => {
                io::Error::new(io::ErrorKind::InvalidInput, cause.to_string())
            }
        }
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests;
