//! Decompression of any of the formats that `sniff` knows, as a `Read`.
//!
//! Concatenated members (gzip, bzip2, xz, zstd frames) are one stream. Windows
//! are bounded: a header that asks for more memory is an error. A format that
//! this build leaves out is an error that names the feature.

use std::io::{self, BufReader, Read};
use std::sync::{Arc, OnceLock};

use flate2::bufread::MultiGzDecoder;
use model::fault::{Fault, Result};

use crate::sniff::{Format, SNIFF_LEN, Sniff, sniff};

/// The compressed side is read in pieces of this size.
const BUFFER: usize = 64 << 10;

/// The sniffed head, then the rest.
type Source<R> = BufReader<io::Chain<io::Cursor<Vec<u8>>, Watched<R>>>;

/// The uncompressed bytes of an archive.
pub struct Decoder<R: Read> {
    format: Format,
    stream: Stream<R>,
    /// How the source failed. Decompressors wrap or lose such an error.
    failed: Arc<OnceLock<Fault>>,
}

/// A source whose failure is remembered.
struct Watched<R> {
    inner: R,
    failed: Arc<OnceLock<Fault>>,
}

impl<R: Read> Read for Watched<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.inner.read(buf).inspect_err(|err| {
            if err.kind() != io::ErrorKind::Interrupted {
                let _ = self.failed.set(read_fault(err, None));
            }
        })
    }
}

enum Stream<R: Read> {
    Tar(Source<R>),
    Gzip(Box<MultiGzDecoder<Source<R>>>),
    #[cfg(feature = "bzip2")]
    Bzip2(Box<bzip2::bufread::MultiBzDecoder<Source<R>>>),
    #[cfg(feature = "xz")]
    Xz(Box<crate::xz::XzStream<Source<R>>>),
    #[cfg(feature = "zstd")]
    Zstd(Box<crate::zstd::ZstdStream<Source<R>>>),
}

impl<R: Read> Decoder<R> {
    /// Reads the head, decides, and prepares. Fails as `sniff` does.
    pub fn new(source: R) -> Result<Decoder<R>> {
        Decoder::sniffed(source, sniff)
    }

    pub(crate) fn sniffed(mut source: R, sniff: Sniff) -> Result<Decoder<R>> {
        let mut head = Vec::with_capacity(SNIFF_LEN);
        source
            .by_ref()
            .take(SNIFF_LEN as u64)
            .read_to_end(&mut head)
            .map_err(|err| read_fault(&err, None))?;
        let format = sniff(&head)?;
        let failed = Arc::new(OnceLock::new());
        let source = Watched {
            inner: source,
            failed: Arc::clone(&failed),
        };
        let source = BufReader::with_capacity(BUFFER, io::Cursor::new(head).chain(source));
        let stream = match format {
            Format::Tar => Stream::Tar(source),
            Format::Gzip => Stream::Gzip(Box::new(MultiGzDecoder::new(source))),
            #[cfg(feature = "bzip2")]
            Format::Bzip2 => Stream::Bzip2(Box::new(bzip2::bufread::MultiBzDecoder::new(source))),
            #[cfg(feature = "xz")]
            Format::Xz => Stream::Xz(Box::new(crate::xz::XzStream::new(source))),
            #[cfg(feature = "zstd")]
            Format::Zstd => Stream::Zstd(Box::new(crate::zstd::ZstdStream::new(source))),
            #[cfg(not(all(feature = "bzip2", feature = "xz", feature = "zstd")))]
            other => {
                let name = other.name();
                return Err(
                    Fault::unsupported(format!("this rkt cannot read {name} archives"))
                        .hint(format!("it was built without the feature \"{name}\"")),
                );
            }
        };
        Ok(Decoder {
            format,
            stream,
            failed,
        })
    }

    pub fn format(&self) -> Format {
        self.format
    }

    /// Words a failure of `read`. If the source failed, and not the format,
    /// it is the source's: the very `Fault` if it sent one as an `io::Error`.
    pub fn fault(&self, err: io::Error) -> Fault {
        match self.failed.get() {
            Some(fault) => fault.clone(),
            None => read_fault(&err, Some(self.format)),
        }
    }
}

impl<R: Read> Read for Decoder<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        match &mut self.stream {
            Stream::Tar(stream) => stream.read(buf),
            Stream::Gzip(stream) => stream.read(buf),
            #[cfg(feature = "bzip2")]
            Stream::Bzip2(stream) => stream.read(buf),
            #[cfg(feature = "xz")]
            Stream::Xz(stream) => stream.read(buf),
            #[cfg(feature = "zstd")]
            Stream::Zstd(stream) => stream.read(buf),
        }
    }
}

/// A source may carry its own `Fault` inside the `io::Error`: that one counts.
fn read_fault(err: &io::Error, format: Option<Format>) -> Fault {
    if let Some(fault) = err
        .get_ref()
        .and_then(|inner| inner.downcast_ref::<Fault>())
    {
        return fault.clone();
    }
    if let Some(errno) = err.raw_os_error() {
        return Fault::io("read", "image", io::Error::from_raw_os_error(errno));
    }
    if err.kind() == io::ErrorKind::UnexpectedEof {
        return Fault::invalid("unexpected EOF");
    }
    match format {
        Some(format) => Fault::invalid(format!("{}: {err}", format.name())),
        None => Fault::invalid(format!("read image: {}", model::fault::errno_text(err))),
    }
}
