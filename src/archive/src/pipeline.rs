//! Inflating and hashing on one core, extracting on the other.
//!
//! The first megabyte is made by the caller's own thread: an archive that ends
//! there never pays for a thread. What is larger goes to a scoped thread that
//! fills recycled buffers through a bounded channel, so memory stays at a few
//! buffers. Whichever side fails, both end before `run` returns.

use std::collections::VecDeque;
use std::io::{self, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::thread;

use model::digest::Algorithm;
use model::fault::{Fault, Result};

use crate::decode::Decoder;
use crate::hash::HashingReader;
use crate::options::Options;
use crate::sniff::Sniff;
use crate::tape::{Chunk, Feed, Tape};

/// Bytes of a buffer: a multiple of a block, small enough for the L2 cache.
const CHUNK: usize = 256 << 10;
/// Buffers that are filled before a thread is worth it.
const HEAD: usize = 4;
/// Filled buffers that may wait for the extraction.
const AHEAD: usize = 8;

/// The whole stream's digest and length.
pub(crate) struct Sum {
    pub(crate) digest: Vec<u8>,
    pub(crate) size: u64,
}

/// Runs `work` over the uncompressed bytes of `source`. `work` has to read to
/// the end, otherwise the sum is of less than the archive. The source is read
/// until it says that it has ended, also behind the archive: a source that
/// verifies itself has its last word before `work` returns.
pub(crate) fn run<R: Read + Send, T>(
    source: R,
    sniff: Sniff,
    algorithm: Algorithm,
    options: &Options,
    work: impl FnOnce(&mut Tape<'_>) -> Result<T>,
) -> Result<(T, Sum)> {
    let mut maker = Maker::new(source, sniff, algorithm, options)?;
    let mut head = VecDeque::new();
    while head.len() < HEAD {
        let chunk = Chunk {
            bytes: vec![0; CHUNK].into_boxed_slice(),
            len: 0,
        };
        match maker.fill(chunk)? {
            Some(chunk) => head.push_back(chunk),
            None => {
                let mut feed = Buffers { head, live: None };
                let made = work(&mut Tape::new(&mut feed))?;
                return Ok((made, maker.finish()));
            }
        }
    }
    thread::scope(|scope| {
        let (full, filled) = sync_channel(AHEAD);
        let (used, empty) = channel();
        let thread = thread::Builder::new()
            .name("inflate".into())
            .spawn_scoped(scope, move || produce(maker, &full, &empty))
            .map_err(|err| Fault::io("start", "a thread", err))?;
        let mut feed = Buffers {
            head,
            live: Some((filled, used)),
        };
        let made = work(&mut Tape::new(&mut feed));
        // Hang up: a producer that waits for room must not wait for ever.
        drop(feed);
        let sum = thread
            .join()
            .map_err(|_| Fault::invalid("the decompressor crashed"))?;
        Ok((made?, sum))
    })
}

fn produce<R: Read>(
    mut maker: Maker<R>,
    full: &SyncSender<Result<Chunk>>,
    empty: &Receiver<Chunk>,
) -> Sum {
    loop {
        let chunk = empty.try_recv().unwrap_or_else(|_| Chunk {
            bytes: vec![0; CHUNK].into_boxed_slice(),
            len: 0,
        });
        match maker.fill(chunk).transpose() {
            None => break,
            Some(made) => {
                let failed = made.is_err();
                if full.send(made).is_err() || failed {
                    break;
                }
            }
        }
    }
    maker.finish()
}

/// The extraction's end: first what was made up front, then the channel.
struct Buffers {
    head: VecDeque<Chunk>,
    live: Option<(Receiver<Result<Chunk>>, Sender<Chunk>)>,
}

impl Feed for Buffers {
    fn next(&mut self, used: Option<Chunk>) -> Result<Option<Chunk>> {
        if let (Some(chunk), Some((_, back))) = (used, &self.live) {
            // The producer may be gone already: nobody needs the buffer then.
            let _ = back.send(chunk);
        }
        if let Some(chunk) = self.head.pop_front() {
            return Ok(Some(chunk));
        }
        match &self.live {
            Some((filled, _)) => filled.recv().ok().transpose(),
            None => Ok(None),
        }
    }
}

/// Inflates, hashes and watches the bounds.
struct Maker<R: Read> {
    stream: HashingReader<Decoder<Counted<R>>>,
    packed: Arc<AtomicU64>,
    max_bytes: u64,
    max_ratio: u64,
    ratio_from: u64,
}

impl<R: Read> Maker<R> {
    fn new(source: R, sniff: Sniff, algorithm: Algorithm, options: &Options) -> Result<Maker<R>> {
        let packed = Arc::new(AtomicU64::new(0));
        let counted = Counted {
            inner: source,
            count: Arc::clone(&packed),
        };
        Ok(Maker {
            stream: HashingReader::new(Decoder::sniffed(counted, sniff)?, algorithm),
            packed,
            max_bytes: options.max_bytes,
            max_ratio: options.max_ratio,
            ratio_from: options.ratio_from,
        })
    }

    /// Fills the buffer to the brim unless the stream ends; None at the end.
    fn fill(&mut self, mut chunk: Chunk) -> Result<Option<Chunk>> {
        chunk.len = 0;
        while chunk.len < chunk.bytes.len() {
            match self.stream.read(&mut chunk.bytes[chunk.len..]) {
                Ok(0) => break,
                Ok(n) => chunk.len += n,
                Err(err) if err.kind() == io::ErrorKind::Interrupted => {}
                Err(err) => return Err(self.stream.get_ref().fault(err)),
            }
        }
        let made = self.stream.count();
        if made > self.max_bytes {
            let max = self.max_bytes;
            return Err(Fault::refused(format!(
                "the image unpacks to more than {max} bytes"
            )));
        }
        let packed = self.packed.load(Ordering::Relaxed).max(1);
        if made > self.ratio_from && made / packed > self.max_ratio {
            let ratio = made / packed;
            return Err(Fault::refused(format!(
                "the image unpacks to {ratio} times its size: a decompression bomb"
            )));
        }
        Ok((chunk.len > 0).then_some(chunk))
    }

    fn finish(self) -> Sum {
        let (digest, size) = self.stream.finish();
        Sum { digest, size }
    }
}

/// Counts the compressed bytes.
struct Counted<R> {
    inner: R,
    count: Arc<AtomicU64>,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(buf)?;
        self.count.fetch_add(n as u64, Ordering::Relaxed);
        Ok(n)
    }
}
