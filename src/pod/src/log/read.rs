//! Reading an app's log, from its oldest line on and across rotation.
//!
//! The reader stands at a record's border always, so a writer that cuts off a
//! torn record does not disturb it. It keeps the file open that it reads: a
//! rotation cannot take lines from under it, only a second one can take a
//! whole file between, and the `first N` records tell how many lines that was.

use model::{AcName, Fault, fault::Result};
use rustix::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use rustix::fs::{self, AtFlags, Mode, OFlags, Stat, inotify};
use rustix::io::Errno;

use super::line::{Line, MAX_RECORD, Stream};
use crate::files;

/// Which lines are wanted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Query {
    /// Only lines of this moment and later.
    pub since_ns: Option<i64>,
    /// Only the last so many lines.
    pub tail: Option<u64>,
    /// The reader wants all that the app ever wrote: lines that rotation took
    /// before it came count as missed.
    pub whole: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event<'a> {
    Line(Line<'a>),
    /// So many lines are not to be had: lost by the writer, taken by rotation,
    /// or damaged.
    Missed(u64),
}

/// A place in an app's log.
#[derive(Debug)]
pub struct Reader {
    dir: OwnedFd,
    name: String,
    file: Option<Open>,
    buf: Vec<u8>,
    /// Number of the next line; unknown until a file has told.
    seq: Option<u64>,
    /// First line wanted.
    from: u64,
    since_ns: i64,
}

#[derive(Debug)]
struct Open {
    file: OwnedFd,
    id: (u64, u64),
    /// Of the next record.
    pos: u64,
    /// Put aside by the writer and looked at once more since.
    done: bool,
}

impl Reader {
    /// Opens an app's log in the directory `P/log`. An app that has not
    /// written anything yet has an empty one.
    pub fn open(dir: impl AsFd, app: &AcName, query: Query) -> Result<Reader> {
        let mut reader = Reader::at_start(dir.as_fd(), app)?;
        if query.whole {
            reader.seq = Some(0);
        }
        if let Some(tail) = query.tail {
            // Counting first takes a second pass but no memory.
            let mut counter = Reader::at_start(dir.as_fd(), app)?;
            while counter.read(&mut |_| {})? {}
            reader.from = counter.seq.unwrap_or(0).saturating_sub(tail);
        }
        reader.since_ns = query.since_ns.unwrap_or(i64::MIN);
        Ok(reader)
    }

    fn at_start(dir: BorrowedFd<'_>, app: &AcName) -> Result<Reader> {
        let name = app.as_str().to_string();
        let dir = dir
            .try_clone_to_owned()
            .map_err(|err| Fault::io("open", format!("log of app {name:?}"), err))?;
        let buf = vec![0; 4 * MAX_RECORD];
        Ok(Reader {
            dir,
            name,
            file: None,
            buf,
            seq: None,
            from: 0,
            since_ns: i64::MIN,
        })
    }

    /// Hands on what can be read now, about 64 KiB at most. `false`: nothing
    /// was left.
    pub fn read(&mut self, emit: &mut dyn FnMut(Event<'_>)) -> Result<bool> {
        self.read_some(emit)
            .map_err(|err| Fault::io("read", format!("log of app {:?}", self.name), err))
    }

    fn read_some(&mut self, emit: &mut dyn FnMut(Event<'_>)) -> rustix::io::Result<bool> {
        loop {
            let Some(open) = &mut self.file else {
                if self.open_next()? {
                    continue;
                }
                return Ok(false);
            };
            let got = rustix::io::retry_on_intr(|| {
                rustix::io::pread(&open.file, &mut self.buf[..], open.pos)
            })?;
            let whole = self.buf[..got].iter().rposition(|byte| *byte == b'\n');
            let end = match whole {
                Some(at) => at + 1,
                // No record is so long: damage. Go on behind it.
                None if got == self.buf.len() => got,
                None if open.done => {
                    if self.open_next()? {
                        continue;
                    }
                    return Ok(false);
                }
                None => {
                    let named = stat(&self.dir, &self.name)?;
                    if named.as_ref().map(id) == Some(open.id) {
                        return Ok(false);
                    }
                    // Something may have come between the read and the rename.
                    open.done = true;
                    continue;
                }
            };
            open.pos += end as u64;
            let mut place = (self.seq, self.from, self.since_ns);
            for record in self.buf[..end].split_inclusive(|byte| *byte == b'\n') {
                let record = record.strip_suffix(b"\n").unwrap_or(record);
                advance(&mut place, record, emit);
            }
            self.seq = place.0;
            return Ok(true);
        }
    }

    /// Opens the file that comes after the current one. `false`: there is none
    /// yet.
    fn open_next(&mut self) -> rustix::io::Result<bool> {
        let older = format!("{}.1", self.name);
        let current = self.file.as_ref().map(|open| open.id);
        // Each round lost means that the writer has rotated meanwhile.
        for _ in 0..16 {
            let aside = stat(&self.dir, &older)?.as_ref().map(id);
            let ours_is_aside = current.is_some() && aside == current;
            let name = if aside.is_none() || ours_is_aside {
                &self.name
            } else {
                &older
            };
            let file = match fs::openat(&self.dir, &**name, READ, Mode::empty()) {
                Err(Errno::NOENT) if name == &older => continue,
                Err(Errno::NOENT) => return Ok(false),
                other => other?,
            };
            let found = id(&fs::fstat(&file)?);
            if Some(found) == current {
                return Ok(false);
            }
            // Unchanged: nothing was put between the two.
            if stat(&self.dir, &older)?.as_ref().map(id) == aside {
                self.file = Some(Open {
                    file,
                    id: found,
                    pos: 0,
                    done: false,
                });
                return Ok(true);
            }
        }
        Ok(false)
    }
}

const READ: OFlags = OFlags::RDONLY
    .union(OFlags::CLOEXEC)
    .union(OFlags::NOFOLLOW)
    .union(OFlags::NONBLOCK);

/// Takes one record into account: `(next line, first wanted, since)`.
fn advance(
    (seq, from, since): &mut (Option<u64>, u64, i64),
    record: &[u8],
    emit: &mut dyn FnMut(Event<'_>),
) {
    let mut missed = |seq: &mut Option<u64>, lines: u64| {
        let after = seq.unwrap_or(0).saturating_add(lines);
        if lines > 0 && after > *from {
            emit(Event::Missed(lines));
        }
        *seq = Some(after);
    };
    let Some(line) = Line::parse(record) else {
        return missed(seq, 1);
    };
    if let Some(first) = line.note("first") {
        if let Some(next) = *seq {
            missed(seq, first.saturating_sub(next));
        }
        *seq = Some(first);
    } else if let Some(lost) = line.note("lost") {
        missed(seq, lost);
    } else if line.stream != Stream::Rkt {
        let number = seq.unwrap_or(0);
        if number >= *from && line.time_ns >= *since {
            emit(Event::Line(line));
        }
        *seq = Some(number + u64::from(!line.partial));
    }
}

fn stat(dir: &OwnedFd, name: &str) -> rustix::io::Result<Option<Stat>> {
    match fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => Ok(Some(stat)),
        Err(Errno::NOENT) => Ok(None),
        Err(err) => Err(err),
    }
}

fn id(stat: &Stat) -> (u64, u64) {
    (stat.st_dev, stat.st_ino)
}

/// Tells when a log directory changes: poll its fd, [`Watch::clear`] it, read.
#[derive(Debug)]
pub struct Watch(OwnedFd);

impl Watch {
    /// `None` where the kernel has no inotify to give or `/proc` is missing:
    /// look every 100 ms instead.
    pub fn open(dir: impl AsFd) -> Option<Watch> {
        let notify =
            inotify::init(inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK).ok()?;
        let path = format!("/proc/self/fd/{}", dir.as_fd().as_raw_fd());
        let what = inotify::WatchFlags::MODIFY
            | inotify::WatchFlags::CREATE
            | inotify::WatchFlags::MOVED_TO;
        inotify::add_watch(&notify, path, what).ok()?;
        Some(Watch(notify))
    }

    /// Takes all pending events off.
    pub fn clear(&self) {
        let mut buf = [0; 4096];
        while matches!(rustix::io::read(&self.0, &mut buf), Ok(got) if got > 0) {}
    }
}

impl AsFd for Watch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl crate::Pod {
    /// Opens `P/log`; `None` if the pod has none.
    pub fn log_dir(&self) -> Result<Option<OwnedFd>> {
        match files::open_dir(self, crate::layout::LOG) {
            Ok(dir) => Ok(Some(dir)),
            Err(Errno::NOENT) => Ok(None),
            Err(err) => Err(self.io("open the log of", err)),
        }
    }

    /// Opens `P/log`, making it where it lacks.
    pub fn make_log_dir(&self) -> Result<OwnedFd> {
        files::walk_creating(self, crate::layout::LOG, crate::layout::DIR_MODE)
            .map_err(|err| self.io("make the log directory of", err))
    }
}
