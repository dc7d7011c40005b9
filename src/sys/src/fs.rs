//! Files below a directory fd whose content nobody vouches for.
//!
//! A path goes in, an fd comes out, and the fd is what the caller works on:
//! the string is never resolved twice, so a symbolic link that is swapped in
//! meanwhile leads nowhere (CVE-2018-15664, CVE-2021-30465, CVE-2024-45310).
//! Links, absolute ones too, and `..` stay inside the root as they would after
//! a chroot. `openat2` (5.6) does it in one call; where the kernel answers
//! ENOSYS a walk by component does the same with `O_PATH | O_NOFOLLOW`, and
//! the answer is remembered. Every fd is CLOEXEC.

use std::ffi::{CStr, CString, OsStr, OsString};
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::{
    AtFlags, CWD, Dir, FileType, Mode, OFlags, ResolveFlags, StatxFlags, fstat, mkdirat, openat,
    openat2, readlinkat, renameat, statx, unlinkat,
};
use rustix::io::Errno;

/// The kernel's own bound on links in one path (MAXSYMLINKS).
const MAX_LINKS: u32 = 40;
/// Opens that one walk may make: longer than any path (PATH_MAX / 2), shorter
/// than what forty hostile links could ask for.
const MAX_STEPS: u32 = 8192;
/// `openat2` answers EAGAIN when something in the tree is renamed meanwhile.
const MAX_TRIES: u32 = 64;
/// Directories that `remove_tree` holds open at once.
const MAX_OPEN: usize = 64;

static NO_OPENAT2: AtomicBool = AtomicBool::new(false);

/// A directory that paths cannot leave.
#[derive(Debug)]
pub struct InRoot {
    root: OwnedFd,
}

/// A directory, and its path below the root without any link or `..` in it.
#[derive(Debug)]
pub struct Located {
    pub fd: OwnedFd,
    pub path: PathBuf,
}

impl InRoot {
    /// `root` must be a directory; an `O_PATH` fd is enough.
    pub fn new(root: OwnedFd) -> InRoot {
        InRoot { root }
    }

    /// Opens a directory of our own (links in `path` are followed on the host).
    pub fn at(path: impl AsRef<Path>) -> io::Result<InRoot> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(InRoot {
            root: openat(CWD, path.as_ref(), flags, Mode::empty())?,
        })
    }

    pub fn fd(&self) -> BorrowedFd<'_> {
        self.root.as_fd()
    }

    /// Opens `path`, relative or absolute, inside the root. `mode` counts only
    /// with `CREATE`. ELOOP: too many links, or a link of procfs.
    pub fn open(&self, path: impl AsRef<Path>, flags: OFlags, mode: Mode) -> io::Result<OwnedFd> {
        let path = path.as_ref();
        let flags = flags | OFlags::CLOEXEC;
        let creates = flags.intersects(OFlags::CREATE) || flags.contains(OFlags::TMPFILE);
        let mode = if creates { mode } else { Mode::empty() };
        let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        match try_openat2(self.fd(), path, flags, mode, resolve) {
            Some(answer) => Ok(answer?),
            None => Ok(walk(self.fd(), path, flags, mode)?.fd),
        }
    }

    /// The directory that holds the last component, as an `O_PATH` fd, and that
    /// component. EINVAL when there is none, or when it is `..`.
    pub fn parent(&self, path: impl AsRef<Path>) -> io::Result<(OwnedFd, OsString)> {
        let path = path.as_ref();
        let parts = components(path.as_os_str().as_bytes());
        let (name, above) = parts.split_last().ok_or(Errno::INVAL)?;
        if *name == b".." {
            return Err(Errno::INVAL.into());
        }
        let flags = OFlags::PATH | OFlags::DIRECTORY;
        let fd = self.open(joined(above), flags, Mode::empty())?;
        Ok((fd, OsStr::from_bytes(name).to_owned()))
    }

    /// The directory at `path` with the path that it really has.
    pub fn directory(&self, path: impl AsRef<Path>) -> io::Result<Located> {
        let path = path.as_ref();
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let parts = components(path.as_os_str().as_bytes());
        if !parts.contains(&b"..".as_slice()) {
            let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_SYMLINKS;
            let path = joined(&parts);
            match try_openat2(self.fd(), &path, flags, Mode::empty(), resolve) {
                Some(Ok(fd)) => {
                    return Ok(Located {
                        fd,
                        path: joined_plain(&parts),
                    });
                }
                Some(Err(Errno::LOOP)) | None => {}
                Some(Err(errno)) => return Err(errno.into()),
            }
        }
        Ok(walk(self.fd(), path, flags, Mode::empty())?)
    }

    /// Makes the directory and what is missing above it; an `O_PATH` fd of it.
    /// `mode` is subject to the umask. What exists is resolved in the root,
    /// what is made is never a link: one that is swapped in gives ENOTDIR.
    pub fn mkdir_all(&self, path: impl AsRef<Path>, mode: Mode) -> io::Result<OwnedFd> {
        let path = path.as_ref();
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let parts = components(path.as_os_str().as_bytes());
        let mut have = parts.len();
        let mut here = loop {
            match self.open(joined(&parts[..have]), flags, Mode::empty()) {
                Ok(fd) => break fd,
                Err(err) if err.raw_os_error() == Some(Errno::NOENT.raw_os_error()) && have > 0 => {
                    have -= 1;
                }
                Err(err) => return Err(err),
            }
        };
        for name in &parts[have..] {
            if *name == b".." {
                return Err(Errno::NOENT.into());
            }
            match mkdirat(&here, *name, mode) {
                Ok(()) | Err(Errno::EXIST) => {}
                Err(errno) => return Err(errno.into()),
            }
            here = openat(&here, *name, flags | OFlags::NOFOLLOW, Mode::empty())?;
        }
        Ok(here)
    }

    /// Reads a regular file of at most `limit` bytes. Anything else there (a
    /// FIFO would hang, a device would never end: CVE-2024-9676) is EINVAL, a
    /// longer file EFBIG.
    pub fn read(&self, path: impl AsRef<Path>, limit: u64) -> io::Result<Vec<u8>> {
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY;
        let fd = self.open(path, flags, Mode::empty())?;
        let stat = fstat(&fd)?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Err(Errno::INVAL.into());
        }
        let mut bytes = Vec::new();
        std::fs::File::from(fd)
            .take(limit.saturating_add(1))
            .read_to_end(&mut bytes)?;
        if bytes.len() as u64 > limit {
            return Err(Errno::FBIG.into());
        }
        Ok(bytes)
    }
}

/// None: the walk has to do it.
fn try_openat2(
    root: BorrowedFd<'_>,
    path: &Path,
    flags: OFlags,
    mode: Mode,
    resolve: ResolveFlags,
) -> Option<Result<OwnedFd, Errno>> {
    if NO_OPENAT2.load(Ordering::Relaxed) {
        return None;
    }
    for _ in 0..MAX_TRIES {
        match openat2(root, path, flags, mode, resolve) {
            Err(Errno::NOSYS) => {
                NO_OPENAT2.store(true, Ordering::Relaxed);
                return None;
            }
            Err(Errno::AGAIN | Errno::INTR) => {}
            answer => return Some(answer),
        }
    }
    // Somebody renames all the time. The walk does not care.
    None
}

/// Resolves by component. `..` goes back by name from the root, so a directory
/// that is moved out of the root meanwhile cannot take the walk with it.
fn walk(root: BorrowedFd<'_>, path: &Path, flags: OFlags, mode: Mode) -> Result<Located, Errno> {
    let text = path.as_os_str().as_bytes();
    if text.is_empty() {
        return Err(Errno::NOENT);
    }
    let enter = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let mut pending: Vec<OsString> = queued(text);
    let mut slashed = text.ends_with(b"/");
    let mut names: Vec<OsString> = Vec::new();
    let mut here = openat(root, c".", enter, Mode::empty())?;
    let (mut links, mut steps) = (0, 0);
    while let Some(name) = pending.pop() {
        steps += 1;
        if steps > MAX_STEPS {
            return Err(Errno::LOOP);
        }
        if name == ".." {
            names.pop();
            here = openat(root, c".", enter, Mode::empty())?;
            for name in &names {
                steps += 1;
                here = openat(&here, name, enter, Mode::empty())?;
            }
            continue;
        }
        let last = pending.is_empty();
        let exclusive = flags.contains(OFlags::CREATE | OFlags::EXCL);
        if !last || slashed || !(flags.contains(OFlags::NOFOLLOW) || exclusive) {
            match readlinkat(&here, &name, Vec::new()) {
                Ok(target) => {
                    links += 1;
                    if links > MAX_LINKS {
                        return Err(Errno::LOOP);
                    }
                    let target = target.into_bytes();
                    if target.starts_with(b"/") {
                        names.clear();
                        here = openat(root, c".", enter, Mode::empty())?;
                    }
                    slashed |= last && target.ends_with(b"/");
                    pending.extend(queued(&target));
                    continue;
                }
                // Not a link, or not there, which the open below has to judge.
                Err(Errno::INVAL | Errno::NOENT) => {}
                Err(errno) => return Err(errno),
            }
        }
        if last {
            if slashed && flags.contains(OFlags::CREATE) {
                return Err(Errno::ISDIR);
            }
            let wanted = if slashed {
                flags | OFlags::DIRECTORY
            } else {
                flags
            };
            let fd = openat(&here, &name, wanted | OFlags::NOFOLLOW, mode)?;
            // `O_PATH | O_NOFOLLOW` opens a link itself: one was swapped in.
            let bare = flags.contains(OFlags::PATH) && !flags.contains(OFlags::NOFOLLOW);
            if bare && FileType::from_raw_mode(fstat(&fd)?.st_mode) == FileType::Symlink {
                return Err(Errno::LOOP);
            }
            names.push(name);
            return Ok(Located {
                fd,
                path: names.iter().collect(),
            });
        }
        here = openat(&here, &name, enter, Mode::empty())?;
        names.push(name);
    }
    let fd = openat(&here, c".", flags, mode)?;
    Ok(Located {
        fd,
        path: names.iter().collect(),
    })
}

fn components(path: &[u8]) -> Vec<&[u8]> {
    path.split(|&b| b == b'/')
        .filter(|part| !part.is_empty() && part != b".")
        .collect()
}

/// The components, the next one last.
fn queued(path: &[u8]) -> Vec<OsString> {
    components(path)
        .into_iter()
        .rev()
        .map(|part| OsStr::from_bytes(part).to_owned())
        .collect()
}

fn joined_plain(parts: &[&[u8]]) -> PathBuf {
    PathBuf::from(OsString::from_vec(parts.join(&b'/')))
}

fn joined(parts: &[&[u8]]) -> PathBuf {
    if parts.is_empty() {
        PathBuf::from(".")
    } else {
        joined_plain(parts)
    }
}

/// The libc crate has the name for some architectures only; the number is the same on all of ours.
const FCHMODAT2: libc::c_long = 452;

/// Sets the permission bits of what `name` in `dir` is; ELOOP if it is a link.
/// Before Linux 6.6 (`fchmodat2`) through an fd of it, which takes /proc.
pub fn chmod_nofollow(dir: BorrowedFd<'_>, name: &OsStr, mode: Mode) -> io::Result<()> {
    match fchmodat2(dir, name, mode) {
        Err(err) if err.raw_os_error() == Some(libc::EOPNOTSUPP) => Err(Errno::LOOP.into()),
        Err(err) if err.raw_os_error() == Some(libc::ENOSYS) => chmod_through_fd(dir, name, mode),
        done => done,
    }
}

/// The call alone, never through a link.
pub fn fchmodat2(dir: BorrowedFd<'_>, name: &OsStr, mode: Mode) -> io::Result<()> {
    use std::os::fd::AsRawFd;
    let path = crate::cstring(name)?;
    // SAFETY: `path` is a NUL-terminated string that lives over the call, and
    // the call only reads it; the fd is borrowed and open.
    let result = unsafe {
        libc::syscall(
            FCHMODAT2,
            dir.as_raw_fd(),
            path.as_ptr(),
            mode.bits(),
            libc::AT_SYMLINK_NOFOLLOW,
        )
    };
    crate::check_long(result).map(drop)
}

/// The fd is of what was looked at, whatever bears the name by then.
fn chmod_through_fd(dir: BorrowedFd<'_>, name: &OsStr, mode: Mode) -> io::Result<()> {
    use std::os::fd::AsRawFd;
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = openat(dir, name, flags, Mode::empty())?;
    if FileType::from_raw_mode(fstat(&file)?.st_mode) == FileType::Symlink {
        return Err(Errno::LOOP.into());
    }
    let path = format!("/proc/self/fd/{}", file.as_raw_fd());
    Ok(rustix::fs::chmodat(CWD, path, mode, AtFlags::empty())?)
}

/// Which mount an fd lies on, as far as the kernel tells: statx (5.8), fdinfo
/// (3.15, needs /proc), else only the device, which cannot see a bind mount of
/// the same file system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MountOf {
    Id(u64),
    Device(u64),
}

pub(crate) fn mount_of(fd: BorrowedFd<'_>) -> io::Result<MountOf> {
    use std::os::fd::AsRawFd;
    if let Ok(answer) = statx(fd, c"", AtFlags::EMPTY_PATH, StatxFlags::MNT_ID)
        && answer.stx_mask & StatxFlags::MNT_ID.bits() != 0
    {
        return Ok(MountOf::Id(answer.stx_mnt_id));
    }
    if let Ok(text) = std::fs::read_to_string(format!("/proc/self/fdinfo/{}", fd.as_raw_fd())) {
        let id = text.lines().find_map(|line| line.strip_prefix("mnt_id:"));
        if let Some(id) = id.and_then(|id| id.trim().parse().ok()) {
            return Ok(MountOf::Id(id));
        }
    }
    Ok(MountOf::Device(fstat(fd)?.st_dev))
}

struct Level {
    dir: Dir,
    name: CString,
    /// Something went since the last rewind, so another round makes sense.
    progress: bool,
    /// Its owner has taken the permission to remove from it.
    unlocked: bool,
}

impl Level {
    fn enter(above: BorrowedFd<'_>, name: &CStr, mount: MountOf) -> io::Result<Level> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = match openat(above, name, flags, Mode::empty()) {
            Err(Errno::ACCESS) => {
                chmod_nofollow(above, OsStr::from_bytes(name.to_bytes()), Mode::RWXU)?;
                openat(above, name, flags, Mode::empty())?
            }
            opened => opened?,
        };
        if mount_of(fd.as_fd())? != mount {
            return Err(Errno::BUSY.into());
        }
        Ok(Level {
            dir: Dir::new(fd)?,
            name: name.to_owned(),
            progress: false,
            unlocked: false,
        })
    }
}

/// Removes `name` in `parent` with everything below it; what is gone already
/// is fine. Links are removed, not followed. A mount point inside is EBUSY and
/// what lies on it stays. Without root, the owner's read-only directories are
/// opened up first. However deep the tree, at most `MAX_OPEN` fds are
/// held: a directory deeper than that is first moved up to the top.
pub fn remove_tree(parent: BorrowedFd<'_>, name: impl AsRef<OsStr>) -> io::Result<()> {
    let name = crate::cstring(name.as_ref())?;
    match unlinkat(parent, &name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => return Ok(()),
        Err(Errno::ISDIR | Errno::PERM) => {}
        Err(errno) => return Err(errno.into()),
    }
    let mount = mount_of(parent)?;
    let mut levels = vec![Level::enter(parent, &name, mount)?];
    let mut moved = 0_u64;
    while let Some(mut level) = levels.pop() {
        let Some(entry) = level.dir.read() else {
            let above = match levels.last() {
                Some(above) => above.dir.fd()?,
                None => parent,
            };
            match unlinkat(above, &level.name, AtFlags::REMOVEDIR) {
                Ok(()) | Err(Errno::NOENT) => {
                    if let Some(above) = levels.last_mut() {
                        above.progress = true;
                    }
                }
                // Some file systems skip entries when others go meanwhile.
                Err(Errno::NOTEMPTY | Errno::EXIST) if level.progress => {
                    level.dir.rewind();
                    level.progress = false;
                    levels.push(level);
                }
                Err(errno) => return Err(errno.into()),
            }
            continue;
        };
        let entry = entry?;
        let here = level.dir.fd()?;
        let name = entry.file_name();
        if name == c"." || name == c".." {
            levels.push(level);
            continue;
        }
        let mut answer = unlinkat(here, name, AtFlags::empty());
        if answer == Err(Errno::ACCESS) && !level.unlocked {
            level.unlocked = true;
            rustix::fs::fchmod(here, Mode::RWXU)?;
            answer = unlinkat(here, name, AtFlags::empty());
        }
        match answer {
            Ok(()) | Err(Errno::NOENT) => level.progress = true,
            Err(errno @ (Errno::ISDIR | Errno::PERM)) => {
                if levels.len() + 1 >= MAX_OPEN {
                    let top = levels[0].dir.fd()?;
                    // The move could drag a mount along: look first.
                    drop(Level::enter(here, name, mount)?);
                    move_up(here, name, top, &mut moved)?;
                    levels[0].progress = true;
                    level.progress = true;
                } else {
                    let next = match Level::enter(here, name, mount) {
                        Ok(next) => next,
                        // It was no directory: the first answer tells why not.
                        Err(err) if err.raw_os_error() == Some(libc::ENOTDIR) => {
                            return Err(errno.into());
                        }
                        Err(err) => return Err(err),
                    };
                    levels.push(level);
                    levels.push(next);
                    continue;
                }
            }
            Err(errno) => return Err(errno.into()),
        }
        levels.push(level);
    }
    Ok(())
}

/// Moves a directory that is too deep to the top of the tree being removed.
fn move_up(from: BorrowedFd<'_>, name: &CStr, top: BorrowedFd<'_>, n: &mut u64) -> io::Result<()> {
    for _ in 0..1000 {
        *n += 1;
        match renameat(from, name, top, format!(".deep-{n}")) {
            Ok(()) => return Ok(()),
            Err(Errno::NOTEMPTY | Errno::EXIST | Errno::NOTDIR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
    Err(Errno::EXIST.into())
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests;
