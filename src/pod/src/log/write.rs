//! Writing an app's log: whole records only, bounded, never in the app's way.
//!
//! A write that fails (a full disk above all) drops the lines and counts them;
//! the next write that works says so first. What a short write left behind is
//! cut off again, so a file always ends with a whole record.

use model::{AcName, Fault, fault::Result};
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{self, Mode, OFlags};
use rustix::io::Errno;

use super::line::{Line, MAX_RECORD, Stream};
use super::split::Part;
use crate::files;

/// Bounds of a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// A file that would grow larger is put aside as `<app>.1`; at most two of
    /// this size exist.
    pub file: u64,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits { file: 10 << 20 }
    }
}

/// The log of one app, open for writing by its supervisor.
#[derive(Debug)]
pub struct LogFile {
    dir: OwnedFd,
    name: String,
    file: OwnedFd,
    size: u64,
    limits: Limits,
    /// Records that wait for [`LogFile::flush`], and how many lines they end.
    batch: Vec<u8>,
    batch_lines: u64,
    /// Lines so far, written or lost.
    lines: u64,
    /// Lines lost that no record tells of yet.
    lost: u64,
    /// Time of the latest line.
    now_ns: i64,
}

const APPEND: OFlags = OFlags::RDWR
    .union(OFlags::APPEND)
    .union(OFlags::CREATE)
    .union(OFlags::CLOEXEC)
    .union(OFlags::NOFOLLOW);
/// Records are collected up to this size.
const BATCH: usize = 64 << 10;

impl LogFile {
    /// Opens `<app>` in the directory `P/log`, or goes on with what is there.
    pub fn open(dir: impl AsFd, app: &AcName, limits: Limits, now_ns: i64) -> Result<LogFile> {
        let name = app.as_str().to_string();
        let io = |err| Fault::io("open", format!("log of app {name:?}"), err);
        let dir = dir
            .as_fd()
            .try_clone_to_owned()
            .map_err(|err| io(files::io_errno(err)))?;
        let file = fs::openat(&dir, &*name, APPEND, Mode::from_raw_mode(0o640)).map_err(io)?;
        let limits = Limits {
            file: limits.file.max(4 * MAX_RECORD as u64),
        };
        let mut log = LogFile {
            dir,
            file,
            size: 0,
            limits,
            batch: Vec::new(),
            batch_lines: 0,
            lines: 0,
            lost: 0,
            now_ns,
            name: name.clone(),
        };
        log.resume().map_err(io)?;
        Ok(log)
    }

    /// Counts what the file holds and cuts off a torn last record.
    fn resume(&mut self) -> rustix::io::Result<()> {
        let mut buf = vec![0; 2 * MAX_RECORD];
        let (mut end, mut at) = (0_u64, 0_usize);
        loop {
            let got = rustix::io::pread(&self.file, &mut buf[at..], end + at as u64)?;
            if got == 0 {
                break;
            }
            let filled = at + got;
            let mut start = 0;
            while let Some(len) = buf[start..filled].iter().position(|byte| *byte == b'\n') {
                self.count(Line::parse(&buf[start..start + len]));
                start += len + 1;
            }
            end += start as u64;
            buf.copy_within(start..filled, 0);
            at = filled - start;
            if at == buf.len() {
                // No record is so long: not ours.
                break;
            }
        }
        if at > 0 {
            fs::ftruncate(&self.file, end)?;
        }
        self.size = end;
        if end == 0 {
            self.head();
        }
        Ok(())
    }

    fn count(&mut self, line: Option<Line<'_>>) {
        let Some(line) = line else { return };
        if let Some(first) = line.note("first") {
            self.lines = first;
        } else if let Some(lost) = line.note("lost") {
            self.lines += lost;
        } else if line.stream != Stream::Rkt && !line.partial {
            self.lines += 1;
        }
    }

    /// The record that opens a file goes out with the first batch.
    fn head(&mut self) {
        let mut head = Vec::new();
        note(self.now_ns, "first", self.lines, &mut head);
        self.batch.splice(0..0, head);
    }

    /// Adds a line, to be written with the next [`LogFile::flush`] or when
    /// many have come together.
    pub fn append(&mut self, time_ns: i64, stream: Stream, part: Part<'_>) {
        self.now_ns = time_ns;
        Line {
            time_ns,
            stream,
            partial: part.partial,
            text: part.text,
        }
        .write(&mut self.batch);
        self.batch_lines += u64::from(!part.partial);
        if self.batch.len() >= BATCH {
            self.flush();
        }
    }

    /// Writes what has been added. Never fails and never waits for a reader:
    /// what cannot be written is counted, see [`LogFile::lost`].
    pub fn flush(&mut self) {
        if self.batch.is_empty() {
            return;
        }
        if self.lost > 0 {
            let mut notice = Vec::new();
            note(self.now_ns, "lost", self.lost, &mut notice);
            if self.write(&notice).0 == notice.len() {
                self.lines += self.lost;
                self.lost = 0;
            }
        }
        let batch = std::mem::take(&mut self.batch);
        let (done, kept) = if self.lost > 0 {
            // Not even the notice went out, so the order would be wrong.
            (0, 0)
        } else {
            self.write(&batch)
        };
        let lines = self.batch_lines;
        let written = if done == batch.len() {
            lines
        } else {
            count_lines(&batch[..kept])
        };
        self.lines += written;
        self.lost += lines - written;
        self.batch_lines = 0;
        self.batch = batch;
        self.batch.clear();
    }

    /// Lines that were lost and not yet reported in the file.
    pub fn lost(&self) -> u64 {
        self.lost
    }

    /// Puts another file under the writer, to see it fail.
    #[cfg(test)]
    pub(crate) fn swap_file(&mut self, file: OwnedFd) {
        self.file = file;
    }

    /// Writes records, rotating first if they do not fit. Returns how many
    /// bytes were written, and how many of them are whole records and stay.
    fn write(&mut self, records: &[u8]) -> (usize, usize) {
        if self.size > 0 && self.size + records.len() as u64 > self.limits.file {
            // On failure the lines are lost; growing on is no way out.
            match self.rotate() {
                Ok(mut head) => {
                    head.extend_from_slice(records);
                    let fixed = head.len() - records.len();
                    let (done, kept) = self.put(&head);
                    return (done.saturating_sub(fixed), kept.saturating_sub(fixed));
                }
                Err(_) => return (0, 0),
            }
        }
        self.put(records)
    }

    fn put(&mut self, records: &[u8]) -> (usize, usize) {
        let mut done = 0;
        while done < records.len() {
            match rustix::io::write(&self.file, &records[done..]) {
                Ok(0) => break,
                Ok(more) => done += more,
                Err(Errno::INTR) => {}
                Err(_) => break,
            }
        }
        let kept = if done == records.len() {
            done
        } else {
            records[..done]
                .iter()
                .rposition(|byte| *byte == b'\n')
                .map_or(0, |at| at + 1)
        };
        if kept < done && fs::ftruncate(&self.file, self.size + kept as u64).is_err() {
            // The torn record stays; end it, so that it spoils no other.
            let _ = rustix::io::write(&self.file, b"\n");
        }
        self.size += kept as u64;
        (done, kept)
    }

    /// Puts the file aside and opens a new one; returns its opening record.
    fn rotate(&mut self) -> rustix::io::Result<Vec<u8>> {
        match fs::renameat(
            &self.dir,
            &*self.name,
            &self.dir,
            format!("{}.1", self.name),
        ) {
            // Put aside by an attempt that then could not make the new file.
            Ok(()) | Err(Errno::NOENT) => {}
            Err(err) => return Err(err),
        }
        self.file = fs::openat(&self.dir, &*self.name, APPEND, Mode::from_raw_mode(0o640))?;
        self.size = 0;
        let mut head = Vec::new();
        note(self.now_ns, "first", self.lines, &mut head);
        Ok(head)
    }
}

impl Drop for LogFile {
    fn drop(&mut self) {
        self.flush();
    }
}

fn note(time_ns: i64, word: &str, number: u64, out: &mut Vec<u8>) {
    let text = format!("{word} {number}");
    Line {
        time_ns,
        stream: Stream::Rkt,
        partial: false,
        text: text.as_bytes(),
    }
    .write(out);
}

fn count_lines(records: &[u8]) -> u64 {
    let whole = |record: &&[u8]| {
        Line::parse(record).is_some_and(|line| line.stream != Stream::Rkt && !line.partial)
    };
    records.split(|byte| *byte == b'\n').filter(whole).count() as u64
}
