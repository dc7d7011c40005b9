//! The uncompressed bytes as blocks and as pieces that lie in memory already.
//!
//! A tape runs over filled buffers that somebody else makes (the pipeline, or a
//! test) and hands out slices of them, so that a file's content goes from the
//! inflater's buffer to `write(2)` without a copy in between.

use model::fault::{Fault, Result};

/// The unit of a tar.
pub(crate) const BLOCK: usize = 512;

/// A buffer, filled up to `len`.
pub(crate) struct Chunk {
    pub(crate) bytes: Box<[u8]>,
    pub(crate) len: usize,
}

/// Where filled buffers come from.
pub(crate) trait Feed {
    /// The next buffer, never an empty one; None at the end. `used` may be
    /// filled again.
    fn next(&mut self, used: Option<Chunk>) -> Result<Option<Chunk>>;
}

pub(crate) struct Tape<'f> {
    feed: &'f mut dyn Feed,
    chunk: Option<Chunk>,
    at: usize,
    ended: bool,
}

impl<'f> Tape<'f> {
    pub(crate) fn new(feed: &'f mut dyn Feed) -> Tape<'f> {
        Tape {
            feed,
            chunk: None,
            at: 0,
            ended: false,
        }
    }

    /// Makes sure there are bytes at `at`; false at the end.
    fn ready(&mut self) -> Result<bool> {
        if self.chunk.as_ref().is_some_and(|chunk| self.at < chunk.len) {
            return Ok(true);
        }
        if !self.ended {
            self.chunk = self.feed.next(self.chunk.take())?;
            self.at = 0;
            self.ended = self.chunk.is_none();
        }
        Ok(!self.ended)
    }

    /// At most `max` bytes as they lie in memory; empty only at the end.
    pub(crate) fn piece(&mut self, max: u64) -> Result<&[u8]> {
        if max == 0 || !self.ready()? {
            return Ok(&[]);
        }
        let Some(chunk) = &self.chunk else {
            return Ok(&[]);
        };
        let left = chunk.len - self.at;
        let n = usize::try_from(max).map_or(left, |max| max.min(left));
        let piece = &chunk.bytes[self.at..self.at + n];
        self.at += n;
        Ok(piece)
    }

    /// Fills as much of `buf` as there are bytes; how many.
    pub(crate) fn fill(&mut self, buf: &mut [u8]) -> Result<usize> {
        let mut done = 0;
        while done < buf.len() {
            let piece = self.piece((buf.len() - done) as u64)?;
            if piece.is_empty() {
                break;
            }
            let n = piece.len();
            buf[done..done + n].copy_from_slice(piece);
            done += n;
        }
        Ok(done)
    }

    /// The next block; None at the end, an error within a block.
    pub(crate) fn block(&mut self) -> Result<Option<[u8; BLOCK]>> {
        let mut block = [0; BLOCK];
        match self.fill(&mut block)? {
            0 => Ok(None),
            BLOCK => Ok(Some(block)),
            _ => Err(cut_short()),
        }
    }

    /// Hands `n` bytes on, piece by piece.
    pub(crate) fn each(&mut self, n: u64, mut to: impl FnMut(&[u8]) -> Result<()>) -> Result<()> {
        let mut left = n;
        while left > 0 {
            let piece = self.piece(left)?;
            if piece.is_empty() {
                return Err(cut_short());
            }
            left -= piece.len() as u64;
            to(piece)?;
        }
        Ok(())
    }
}

/// The archive ends where it must not.
pub(crate) fn cut_short() -> Fault {
    Fault::invalid("unexpected EOF")
}

/// How many bytes follow `n` bytes of content up to the next block.
pub(crate) fn padding(n: u64) -> u64 {
    n.wrapping_neg() % BLOCK as u64
}
