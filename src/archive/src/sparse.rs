//! Maps of sparse files: where in the file the bytes of the archive belong.
//!
//! Four encodings (old GNU, PAX 0.0, 0.1, 1.0) end in one checked list:
//! ascending, without overlap, inside the real size, and as long in sum as the
//! archive says. A map that lies is an error before a byte is written.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;

use model::fault::Result;

use crate::header::invalid;

/// Segments that one file may have: 1 GiB of every second 4 KiB block.
pub(crate) const MAX_SEGMENTS: usize = 1 << 17;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Segment {
    pub(crate) offset: u64,
    pub(crate) len: u64,
}

/// Checks a map against the real size and the stored bytes; drops empty
/// segments, which only mark the end.
pub(crate) fn checked(segments: Vec<Segment>, size: u64, stored: u64) -> Result<Vec<Segment>> {
    if segments.len() > MAX_SEGMENTS {
        return Err(invalid());
    }
    let (mut at, mut sum) = (0_u64, 0_u64);
    for segment in &segments {
        let end = segment
            .offset
            .checked_add(segment.len)
            .ok_or_else(invalid)?;
        if segment.offset < at || end > size {
            return Err(invalid());
        }
        at = end;
        sum += segment.len;
    }
    if sum != stored || i64::try_from(size).is_err() {
        return Err(invalid());
    }
    Ok(segments
        .into_iter()
        .filter(|segment| segment.len > 0)
        .collect())
}

/// Offsets and lengths in turn.
pub(crate) fn paired(numbers: &[u64]) -> Result<Vec<Segment>> {
    let pairs = numbers.chunks_exact(2);
    if !pairs.remainder().is_empty() {
        return Err(invalid());
    }
    Ok(pairs
        .map(|pair| Segment {
            offset: pair[0],
            len: pair[1],
        })
        .collect())
}

/// The stored bytes of a file: all of it, or its segments one after the other.
pub(crate) struct Segments {
    file: File,
    segments: Option<std::vec::IntoIter<Segment>>,
    now: Segment,
}

impl Segments {
    pub(crate) fn new(file: File, segments: Option<Vec<Segment>>) -> Segments {
        Segments {
            file,
            segments: segments.map(Vec::into_iter),
            now: Segment { offset: 0, len: 0 },
        }
    }
}

impl Read for Segments {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let Some(segments) = &mut self.segments else {
            return self.file.read(buf);
        };
        while self.now.len == 0 {
            let Some(next) = segments.next() else {
                return Ok(0);
            };
            self.now = next;
        }
        let want = usize::try_from(self.now.len).map_or(buf.len(), |len| len.min(buf.len()));
        let n = self.file.read_at(&mut buf[..want], self.now.offset)?;
        self.now = Segment {
            offset: self.now.offset + n as u64,
            len: self.now.len - n as u64,
        };
        Ok(n)
    }
}
