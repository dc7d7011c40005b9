//! Zstandard frames, one after the other, skippable ones left out.
//!
//! The decoder underneath takes one frame and trusts the window size of the
//! first, so the frame header is read here and the window bounded before the
//! decoder sees it (RFC 8878 §3.1.1).

use std::io::{self, BufRead, Read};

use ruzstd::decoding::{BlockDecodingStrategy, FrameDecoder};

/// What `zstd` itself takes without being asked to.
const MAX_WINDOW: u64 = 128 << 20;
const MAGIC: u32 = 0xfd2f_b528;

pub(crate) struct ZstdStream<R> {
    source: R,
    frame: Option<FrameDecoder>,
}

impl<R: BufRead> ZstdStream<R> {
    pub(crate) fn new(source: R) -> ZstdStream<R> {
        ZstdStream {
            source,
            frame: None,
        }
    }

    /// Starts the next frame; None at the end of the input.
    fn next_frame(&mut self) -> io::Result<Option<FrameDecoder>> {
        loop {
            if self.source.fill_buf()?.is_empty() {
                return Ok(None);
            }
            let mut magic = [0; 4];
            self.source.read_exact(&mut magic)?;
            match u32::from_le_bytes(magic) {
                MAGIC => break,
                0x184d_2a50..=0x184d_2a5f => {
                    let mut len = [0; 4];
                    self.source.read_exact(&mut len)?;
                    let len = u64::from(u32::from_le_bytes(len));
                    let skipped = io::copy(&mut (&mut self.source).take(len), &mut io::sink())?;
                    if skipped != len {
                        return Err(io::ErrorKind::UnexpectedEof.into());
                    }
                }
                _ => return Err(invalid("data after the last frame")),
            }
        }
        let header = self.frame_header()?;
        let mut frame = FrameDecoder::new();
        frame.init(header.as_slice()).map_err(io::Error::other)?;
        Ok(Some(frame))
    }

    /// The raw frame header with its magic, if its window is affordable.
    fn frame_header(&mut self) -> io::Result<Vec<u8>> {
        let mut header = MAGIC.to_le_bytes().to_vec();
        let mut take = |n: usize| -> io::Result<Vec<u8>> {
            let mut bytes = vec![0; n];
            self.source.read_exact(&mut bytes)?;
            header.extend_from_slice(&bytes);
            Ok(bytes)
        };
        let descriptor = take(1)?[0];
        let single = descriptor & 0x20 != 0;
        let mut window = 0;
        if !single {
            let byte = take(1)?[0];
            let base = 1_u64 << (10 + (byte >> 3));
            window = base + base / 8 * u64::from(byte & 7);
        }
        take([0, 1, 2, 4][usize::from(descriptor & 3)])?;
        let size_len = match (descriptor >> 6, single) {
            (0, false) => 0,
            (0, true) => 1,
            (1, _) => 2,
            (2, _) => 4,
            _ => 8,
        };
        let mut size = [0; 8];
        size[..size_len].copy_from_slice(&take(size_len)?);
        if single {
            window = u64::from_le_bytes(size);
        }
        if window > MAX_WINDOW {
            return Err(invalid("a frame asks for too large a window"));
        }
        Ok(header)
    }
}

impl<R: BufRead> Read for ZstdStream<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if buf.is_empty() {
            return Ok(0);
        }
        loop {
            let Some(frame) = &mut self.frame else {
                self.frame = self.next_frame()?;
                if self.frame.is_none() {
                    return Ok(0);
                }
                continue;
            };
            while frame.can_collect() < buf.len() && !frame.is_finished() {
                let want = buf.len() - frame.can_collect();
                frame
                    .decode_blocks(&mut self.source, BlockDecodingStrategy::UptoBytes(want))
                    .map_err(io::Error::other)?;
            }
            let n = frame.read(buf)?;
            if n > 0 {
                return Ok(n);
            }
            let (told, found) = (
                frame.get_checksum_from_data(),
                frame.get_calculated_checksum(),
            );
            if told.is_some() && told != found {
                return Err(invalid("the checksum of a frame is wrong"));
            }
            self.frame = None;
        }
    }
}

fn invalid(text: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, text)
}
