//! Recipe and tree back into the exact bytes of the archive.
//!
//! A recipe is our own file, yet read as if a stranger had written it: lengths
//! are bounded, files are opened below the tree and must be regular and of the
//! recorded size. The digest is made again on the way out, so a file that was
//! changed since shows at the latest at the end.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufReader, Read, Write};
use std::os::fd::BorrowedFd;
use std::os::unix::fs::FileExt;

use flate2::bufread::ZlibDecoder;
use model::fault::{Fault, Result};
use rustix::fs::{FileType, Mode, OFlags, fstat};
use sha2::{Digest, Sha512};
use sys::fs::InRoot;

use crate::name::{PATH_MAX, shown};
use crate::recipe::{END, FILE, FRAME, LITERAL, LOST, MAGIC, MAIN};
use crate::sparse::{MAX_SEGMENTS, Segment};

/// What came out.
#[derive(Clone, Debug)]
pub struct Rebuilt {
    pub digest: [u8; 64],
    pub size: u64,
}

/// Writes the uncompressed archive that `unpack_aci` saw. `dir` is the
/// directory that holds `rootfs`. Fails with `Kind::Corrupt` when a file was
/// changed; bytes may have been written by then.
pub fn rebuild(recipe: &File, dir: BorrowedFd<'_>, out: &mut dyn Write) -> Result<Rebuilt> {
    let frames = index(recipe)?;
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let rootfs = rustix::fs::openat(dir, "rootfs", flags, Mode::empty())
        .map_err(|err| Fault::io("open", "rootfs", err))?;
    let mut steps = Steps {
        steps: stream(recipe, frames.get(&(MAIN, 0)).map_or(&[], Vec::as_slice)),
    };
    let mut out = Out {
        out,
        sha: Sha512::new(),
        size: 0,
        buffer: vec![0; 256 << 10],
    };
    let root = InRoot::new(rootfs);
    let mut number = 0;
    loop {
        match steps.byte()? {
            LITERAL => {
                let len = steps.number(FRAME as u64)?;
                out.copy(&mut steps.steps, len)?;
            }
            FILE => {
                let wanted = steps.file()?;
                match frames.get(&(LOST, number)) {
                    Some(pieces) => {
                        let mut kept = stream(recipe, pieces);
                        for segment in &wanted.segments {
                            out.copy(&mut kept, segment.len)?;
                        }
                    }
                    None => from_tree(&root, &wanted, &mut out)?,
                }
                number += 1;
            }
            END => {
                let size = steps.number(u64::MAX)?;
                let mut told = [0; 64];
                steps.steps.read_exact(&mut told).map_err(damaged)?;
                out.out.flush().map_err(written)?;
                let digest: [u8; 64] = out.sha.finalize().into();
                if size != out.size || told != digest {
                    return Err(Fault::corrupt("a file of the image was changed"));
                }
                return Ok(Rebuilt { digest, size });
            }
            _ => return Err(Fault::corrupt("the recipe has an unknown step")),
        }
    }
}

struct Wanted {
    path: Vec<u8>,
    size: u64,
    segments: Vec<Segment>,
}

fn from_tree(root: &InRoot, wanted: &Wanted, out: &mut Out<'_>) -> Result<()> {
    use std::os::unix::ffi::OsStrExt;
    let path = std::ffi::OsStr::from_bytes(&wanted.path);
    // Not to be stuck in a FIFO that somebody put there.
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY;
    let name = shown(&wanted.path);
    let fd = root
        .open(path, flags, Mode::empty())
        .map_err(|err| Fault::io("open", format!("\"{name}\""), err))?;
    let stat = fstat(&fd).map_err(|err| Fault::io("stat", format!("\"{name}\""), err))?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Err(Fault::corrupt(format!(
            "\"{name}\" is no longer a regular file"
        )));
    }
    if stat.st_size.cast_unsigned() != wanted.size {
        return Err(Fault::corrupt(format!(
            "\"{name}\" was changed: it has {} bytes, the image has {}",
            stat.st_size, wanted.size
        )));
    }
    let file = File::from(fd);
    for segment in &wanted.segments {
        out.copy(
            &mut Window {
                file: &file,
                at: segment.offset,
            },
            segment.len,
        )?;
    }
    Ok(())
}

struct Out<'o> {
    out: &'o mut dyn Write,
    sha: Sha512,
    size: u64,
    buffer: Vec<u8>,
}

impl Out<'_> {
    fn copy(&mut self, from: &mut dyn Read, len: u64) -> Result<()> {
        let mut left = len;
        while left > 0 {
            let want =
                usize::try_from(left).map_or(self.buffer.len(), |n| n.min(self.buffer.len()));
            let n = match from.read(&mut self.buffer[..want]) {
                Ok(0) => return Err(damaged(io::ErrorKind::UnexpectedEof.into())),
                Ok(n) => n,
                Err(err) if err.kind() == io::ErrorKind::Interrupted => continue,
                Err(err) => return Err(damaged(err)),
            };
            let bytes = &self.buffer[..n];
            self.sha.update(bytes);
            self.out.write_all(bytes).map_err(written)?;
            self.size += n as u64;
            left -= n as u64;
        }
        Ok(())
    }
}

/// The steps of the main stream, field by field.
struct Steps<'f> {
    steps: Inflated<'f>,
}

impl Steps<'_> {
    fn byte(&mut self) -> Result<u8> {
        let mut byte = [0];
        self.steps.read_exact(&mut byte).map_err(damaged)?;
        Ok(byte[0])
    }

    fn number(&mut self, max: u64) -> Result<u64> {
        let mut number = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7f);
            if bits << shift >> shift != bits {
                break;
            }
            number |= bits << shift;
            if byte & 0x80 == 0 && number <= max {
                return Ok(number);
            }
        }
        Err(Fault::corrupt("the recipe has a number out of range"))
    }

    fn file(&mut self) -> Result<Wanted> {
        let mut path = vec![0; self.number(PATH_MAX as u64)? as usize];
        self.steps.read_exact(&mut path).map_err(damaged)?;
        let size = self.number(i64::MAX as u64)?;
        let mut segments = Vec::new();
        if self.byte()? == 0 {
            segments.push(Segment {
                offset: 0,
                len: size,
            });
        } else {
            for _ in 0..self.number(MAX_SEGMENTS as u64)? {
                let (offset, len) = (self.number(size)?, self.number(size)?);
                segments.push(Segment { offset, len });
            }
        }
        Ok(Wanted {
            path,
            size,
            segments,
        })
    }
}

/// Where the frames of each stream stand: offset and length of their bytes.
type Frames = HashMap<(u8, u32), Vec<(u64, u32)>>;

fn index(file: &File) -> Result<Frames> {
    let len = file.metadata().map_err(damaged)?.len();
    let mut head = [0; 9];
    file.read_exact_at(&mut head[..8], 0).map_err(damaged)?;
    if head[..8] != *MAGIC {
        return Err(Fault::corrupt("the recipe is of an unknown format"));
    }
    let mut frames = Frames::new();
    let mut at = 8;
    while at < len {
        file.read_exact_at(&mut head, at).map_err(damaged)?;
        let [kind, id @ .., l0, l1, l2, l3] = head;
        let size = u32::from_le_bytes([l0, l1, l2, l3]);
        at += 9;
        frames
            .entry((kind, u32::from_le_bytes(id)))
            .or_default()
            .push((at, size));
        at += u64::from(size);
    }
    Ok(frames)
}

type Inflated<'f> = BufReader<ZlibDecoder<BufReader<Pieces<'f>>>>;

fn stream<'f>(file: &'f File, pieces: &'f [(u64, u32)]) -> Inflated<'f> {
    let pieces = Pieces {
        file,
        pieces,
        done: 0,
    };
    BufReader::with_capacity(
        FRAME,
        ZlibDecoder::new(BufReader::with_capacity(FRAME, pieces)),
    )
}

/// The bytes of the frames of one stream.
struct Pieces<'f> {
    file: &'f File,
    pieces: &'f [(u64, u32)],
    done: u32,
}

impl Read for Pieces<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        while let Some((&(at, len), rest)) = self.pieces.split_first() {
            if self.done == len {
                (self.pieces, self.done) = (rest, 0);
                continue;
            }
            let want = buf.len().min((len - self.done) as usize);
            let n = self
                .file
                .read_at(&mut buf[..want], at + u64::from(self.done))?;
            self.done += n as u32;
            return Ok(n);
        }
        Ok(0)
    }
}

/// A file read from a position on.
struct Window<'f> {
    file: &'f File,
    at: u64,
}

impl Read for Window<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let n = self.file.read_at(buf, self.at)?;
        self.at += n as u64;
        Ok(n)
    }
}

fn damaged(err: io::Error) -> Fault {
    if err.raw_os_error().is_some() {
        return Fault::io("read", "the image", err);
    }
    Fault::corrupt(format!("the recipe is damaged: {err}"))
}

fn written(err: io::Error) -> Fault {
    Fault::io("write", "the archive", err)
}
