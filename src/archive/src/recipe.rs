//! The recipe: what makes the exact bytes of a tar again, given its tree.
//!
//! A file of frames behind a magic: `kind u8 | id u32 | length u32 | bytes`
//! (little endian). The bytes of all frames of kind MAIN are one zlib stream of
//! steps; those of kind LOST with the same id are one zlib stream with the
//! content of the file of that number, which a later entry overwrote. Frames of
//! the two kinds may alternate, because a loss shows only when it happens.
//!
//! Steps: LITERAL n bytes · FILE path, size, segments (none: all of it) · END
//! size, digest. Numbers are LEB128. Files are numbered by their FILE steps.

use std::fs::File;
use std::io::{self, Read, Write};

use flate2::Compression;
use flate2::write::ZlibEncoder;
use model::fault::{Fault, Result};

use crate::entry::Tee;
use crate::sparse::Segment;

pub(crate) const MAGIC: &[u8; 8] = b"tarrcp1\n";
pub(crate) const MAIN: u8 = 0;
pub(crate) const LOST: u8 = 1;
pub(crate) const END: u8 = 0;
pub(crate) const LITERAL: u8 = 1;
pub(crate) const FILE: u8 = 2;
/// Bytes of a frame at most, and of a literal.
pub(crate) const FRAME: usize = 64 << 10;

/// Writes a recipe while an archive is unpacked.
pub(crate) struct Recipe<'f> {
    file: &'f File,
    main: ZlibEncoder<Frames<'f>>,
    literal: Vec<u8>,
    files: u32,
}

impl<'f> Recipe<'f> {
    pub(crate) fn new(mut file: &'f File) -> Result<Recipe<'f>> {
        file.write_all(MAGIC).map_err(failed)?;
        let main = ZlibEncoder::new(Frames::new(file, MAIN, 0), Compression::fast());
        Ok(Recipe {
            file,
            main,
            literal: Vec::with_capacity(FRAME),
            files: 0,
        })
    }

    /// Content that stands in the tree at `path` below the root file system;
    /// the number of the file.
    pub(crate) fn file(
        &mut self,
        path: &[u8],
        size: u64,
        segments: Option<&[Segment]>,
    ) -> Result<u32> {
        self.flush_literal()?;
        let mut step = vec![FILE];
        put(&mut step, path.len() as u64);
        step.extend_from_slice(path);
        put(&mut step, size);
        match segments {
            None => step.push(0),
            Some(segments) => {
                step.push(1);
                put(&mut step, segments.len() as u64);
                for segment in segments {
                    put(&mut step, segment.offset);
                    put(&mut step, segment.len);
                }
            }
        }
        self.main.write_all(&step).map_err(failed)?;
        let number = self.files;
        self.files = number
            .checked_add(1)
            .ok_or_else(|| Fault::invalid("too many files"))?;
        Ok(number)
    }

    /// Keeps by value what file `number` had: it is about to be overwritten.
    pub(crate) fn lost(&mut self, number: u32, content: &mut dyn Read) -> Result<()> {
        let frames = Frames::new(self.file, LOST, number);
        let mut packed = ZlibEncoder::new(frames, Compression::fast());
        io::copy(content, &mut packed).map_err(failed)?;
        packed.finish().and_then(Frames::end).map_err(failed)
    }

    /// The last step. The recipe is not synced; its directory's owner does it.
    pub(crate) fn finish(mut self, size: u64, digest: &[u8; 64]) -> Result<()> {
        self.flush_literal()?;
        let mut step = vec![END];
        put(&mut step, size);
        step.extend_from_slice(digest);
        self.main.write_all(&step).map_err(failed)?;
        self.main.finish().and_then(Frames::end).map_err(failed)
    }

    fn flush_literal(&mut self) -> Result<()> {
        if self.literal.is_empty() {
            return Ok(());
        }
        let mut step = vec![LITERAL];
        put(&mut step, self.literal.len() as u64);
        self.main
            .write_all(&step)
            .and_then(|()| self.main.write_all(&self.literal))
            .map_err(failed)?;
        self.literal.clear();
        Ok(())
    }
}

impl Tee for Recipe<'_> {
    fn literal(&mut self, mut bytes: &[u8]) -> Result<()> {
        while !bytes.is_empty() {
            let (now, later) = bytes.split_at(bytes.len().min(FRAME - self.literal.len()));
            self.literal.extend_from_slice(now);
            if self.literal.len() == FRAME {
                self.flush_literal()?;
            }
            bytes = later;
        }
        Ok(())
    }
}

/// Collects bytes into whole frames of one kind and number.
struct Frames<'f> {
    file: &'f File,
    kind: u8,
    id: u32,
    buffer: Vec<u8>,
}

const FRAME_HEAD: usize = 9;

impl<'f> Frames<'f> {
    fn new(file: &'f File, kind: u8, id: u32) -> Frames<'f> {
        Frames {
            file,
            kind,
            id,
            buffer: Vec::new(),
        }
    }

    fn end(mut self) -> io::Result<()> {
        self.put_frame()
    }

    fn put_frame(&mut self) -> io::Result<()> {
        if self.buffer.len() <= FRAME_HEAD {
            return Ok(());
        }
        let len = (self.buffer.len() - FRAME_HEAD) as u32;
        self.buffer[0] = self.kind;
        self.buffer[1..5].copy_from_slice(&self.id.to_le_bytes());
        self.buffer[5..9].copy_from_slice(&len.to_le_bytes());
        // One write: frames of two kinds never mix.
        self.file.write_all(&self.buffer)?;
        self.buffer.clear();
        Ok(())
    }
}

impl Write for Frames<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.buffer.is_empty() {
            self.buffer.resize(FRAME_HEAD, 0);
        }
        let n = bytes.len().min(FRAME_HEAD + FRAME - self.buffer.len());
        self.buffer.extend_from_slice(&bytes[..n]);
        if self.buffer.len() == FRAME_HEAD + FRAME {
            self.put_frame()?;
        }
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// LEB128.
fn put(to: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        to.push(number as u8 | 0x80);
        number >>= 7;
    }
    to.push(number as u8);
}

fn failed(err: io::Error) -> Fault {
    Fault::io("write", "the recipe", err)
}
