//! A body that is streamed, counted, hashed and, when its connection breaks,
//! taken up again.
//!
//! A thread reads the network and hashes, the caller reads what it left in a few
//! buffers: so inflating and writing go on meanwhile. The last `read` fails
//! unless the size and the digest are the expected ones; no byte beyond the bound
//! is handed out. Dropping a download ends its thread.
//!
//! Memory: four buffers of 128 KiB and those of the connection.

use super::exchange::{Attempt, Wire};
use super::url::shown;
use super::{Expected, Request, Response, find, retry, wire};
use crate::Silent;
use crate::image::Hasher;
use crate::interrupt::{self, SLICE};
use model::digest::Digest;
use model::fault::{Fault, Kind, Result};
use model::text::quote;
use std::io::{self, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender, SyncSender};

const BUFFER: usize = 128 << 10;
/// Between the two threads; one more is in the hands of each.
const WAITING: usize = 2;
/// So much between two breaks, and the connection is worth the next try at once.
const PROGRESS: u64 = 1 << 20;

/// The body of a successful answer: checked against its size and digest, the
/// last `read` fails if they are wrong. A connection that breaks is taken up
/// again where it broke.
pub struct Download {
    /// Of the answer that came first.
    pub headers: Vec<(String, String)>,
    /// Of the whole thing, what `start` leaves out included.
    pub total: Option<u64>,
    pub url: String,
    /// Where the bytes begin: 0, or `Request::range_from` when the server
    /// agreed.
    pub start: u64,
    pieces: Receiver<Piece>,
    /// Buffers on their way back.
    empty: Sender<Vec<u8>>,
    piece: Vec<u8>,
    used: usize,
    end: Option<Result<()>>,
    cancel: Arc<AtomicBool>,
}

enum Piece {
    Bytes(Vec<u8>),
    End(Result<()>),
}

impl Download {
    pub(super) fn open(
        wire: Arc<Wire>,
        request: &Request,
        response: Response,
        expected: &Expected,
    ) -> Result<Download> {
        let (start, total) = extent(&response, request.range_from)?;
        let bound = expected.size.unwrap_or(expected.max);
        if let Some(total) = total {
            if expected.size.is_some_and(|size| size != total) {
                return Err(wrong_length(&response.url, total, bound));
            }
            if total > bound {
                return Err(too_long(&response.url, bound));
            }
        }
        if start > 0 && expected.digest.is_some() {
            let url = quote(&shown(&response.url));
            return Err(Fault::unsupported(format!(
                "checking a digest from the middle of {url}"
            )));
        }
        let (give, pieces) = mpsc::sync_channel(WAITING);
        let (empty, taken) = mpsc::channel();
        let cancel = Arc::new(AtomicBool::new(false));
        let (url, headers) = (response.url, response.headers);
        let mut source = Source {
            validator: validator(&headers),
            hash: expected
                .digest
                .clone()
                .map(|want| (Hasher::new(want.algorithm()), want)),
            request: request.clone(),
            url: url.clone(),
            expected_size: expected.size,
            wire,
            position: start,
            total,
            bound,
            body: response.body,
            mark: start,
            breaks: 0,
        };
        let stop = Arc::clone(&cancel);
        std::thread::Builder::new()
            .name("download".into())
            .spawn(move || {
                interrupt::stop_on(stop);
                let end = source.run(&give, &taken);
                // Nobody reads any more: fine.
                let _ = give.send(Piece::End(end));
            })
            .map_err(|err| Fault::io("start", "a thread", err))?;
        Ok(Download {
            headers,
            total,
            url,
            start,
            pieces,
            empty,
            piece: Vec::new(),
            used: 0,
            end: None,
            cancel,
        })
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        find(&self.headers, name)
    }
}

impl Drop for Download {
    fn drop(&mut self) {
        self.cancel.store(true, Ordering::Relaxed);
    }
}

impl Read for Download {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if buf.is_empty() {
            return Ok(0);
        }
        while self.used == self.piece.len() {
            interrupt::check()?;
            match &self.end {
                Some(Ok(())) => return Ok(0),
                Some(Err(fault)) => return Err(io::Error::other(fault.clone())),
                None => {}
            }
            match self.pieces.recv_timeout(SLICE) {
                Ok(Piece::Bytes(piece)) => {
                    // The thread may have ended by now; then it needs no buffer.
                    let _ = self.empty.send(std::mem::replace(&mut self.piece, piece));
                    self.used = 0;
                }
                Ok(Piece::End(end)) => self.end = Some(end),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => {
                    let text = format!("the download of {} ended", quote(&shown(&self.url)));
                    self.end = Some(Err(Fault::corrupt(text)));
                }
            }
        }
        let rest = &self.piece[self.used..];
        let count = rest.len().min(buf.len());
        buf[..count].copy_from_slice(&rest[..count]);
        self.used += count;
        Ok(count)
    }
}

/// The side of the network.
struct Source {
    wire: Arc<Wire>,
    request: Request,
    url: String,
    body: Box<dyn Read + Send>,
    /// With what it has to come to.
    hash: Option<(Hasher, Digest)>,
    position: u64,
    total: Option<u64>,
    expected_size: Option<u64>,
    bound: u64,
    /// What tells that the server still has the same thing, without a digest.
    validator: Option<String>,
    /// Where the last break was.
    mark: u64,
    breaks: u32,
}

impl Source {
    fn run(&mut self, give: &SyncSender<Piece>, taken: &Receiver<Vec<u8>>) -> Result<()> {
        loop {
            let mut buffer = taken.try_recv().unwrap_or_default();
            buffer.resize(BUFFER, 0);
            let count = self.fill(&mut buffer)?;
            buffer.truncate(count);
            if count == 0 {
                return self.finish();
            }
            if give.send(Piece::Bytes(buffer)).is_err() {
                return Ok(());
            }
        }
    }

    /// A full buffer, unless this is the end.
    fn fill(&mut self, buffer: &mut [u8]) -> Result<usize> {
        let mut filled = 0;
        while filled < buffer.len() {
            let count = match self.body.read(&mut buffer[filled..]) {
                Ok(0) if self.short() => {
                    self.again((self.truncated(), true))?;
                    continue;
                }
                Ok(0) => break,
                Ok(count) => count,
                Err(err) => {
                    let failure = wire::body_fault(&self.url, err);
                    self.again(failure)?;
                    continue;
                }
            };
            let bytes = &buffer[filled..filled + count];
            if self.position + count as u64 > self.bound {
                return Err(too_long(&self.url, self.bound));
            }
            if let Some((hash, _)) = &mut self.hash {
                hash.update(bytes);
            }
            self.position += count as u64;
            filled += count;
        }
        Ok(filled)
    }

    /// A body that is delimited by its connection may end too early unseen.
    fn short(&self) -> bool {
        let whole = self.total.or(self.expected_size);
        whole.is_some_and(|whole| self.position < whole)
    }

    fn truncated(&self) -> Fault {
        Fault::invalid(format!(
            "{} ended after {} of {} bytes",
            quote(&shown(&self.url)),
            self.position,
            self.total.or(self.expected_size).unwrap_or(self.bound)
        ))
    }

    /// After a break: a body that goes on at `position`, or the failure.
    fn again(&mut self, mut failure: (Fault, bool)) -> Result<()> {
        loop {
            let (fault, worth) = failure;
            if !worth || (self.hash.is_none() && self.validator.is_none()) {
                return Err(fault);
            }
            if self.position - self.mark >= PROGRESS {
                self.breaks = 0;
            }
            self.breaks += 1;
            self.mark = self.position;
            if self.breaks >= retry::TRIES {
                let text = format!("{} tries brought less than 1 MiB each", retry::TRIES);
                return Err(fault.link(text));
            }
            if self.breaks > 1 {
                let options = &self.wire.options;
                let pause = retry::pause(self.breaks, options.retry_base, options.retry_cap, None);
                interrupt::sleep(pause).map_err(|err| wire::read_fault(&self.url, err))?;
            }
            match self.reopen() {
                Ok(()) => return Ok(()),
                Err(next) => failure = next,
            }
        }
    }

    fn reopen(&mut self) -> Attempt<()> {
        let fixed = |fault: Fault| (fault, false);
        self.request.range_from = Some(self.position);
        self.request.if_range = self.validator.clone();
        let response = self.wire.once(&self.request, &Silent)?;
        let (status, method) = (response.status, self.request.method);
        if status != 200 && status != 206 {
            return Err((response.fault(), retry::status(status, method)));
        }
        let (start, total) = extent(&response, Some(self.position)).map_err(fixed)?;
        let changed = || {
            let url = quote(&shown(&self.url));
            Fault::invalid(format!("{url} changed while it was fetched")).hint("try again")
        };
        if self.total.is_some() && total.is_some() && total != self.total {
            return Err(fixed(changed()));
        }
        if self.hash.is_none() && validator(&response.headers) != self.validator {
            return Err(fixed(changed()));
        }
        self.body = response.body;
        if start == 0 && self.position > 0 {
            self.skip()?;
        }
        Ok(())
    }

    /// The server began anew: what is here already is read and dropped.
    fn skip(&mut self) -> Attempt<()> {
        let mut left = self.position;
        let mut waste = vec![0; 32 << 10];
        while left > 0 {
            let most = waste.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            match self.body.read(&mut waste[..most]) {
                Ok(0) => return Err((self.truncated(), true)),
                Ok(count) => left -= count as u64,
                Err(err) => return Err(wire::body_fault(&self.url, err)),
            }
        }
        Ok(())
    }

    fn finish(&mut self) -> Result<()> {
        if let Some(size) = self.expected_size
            && size != self.position
        {
            return Err(wrong_length(&self.url, self.position, size));
        }
        let Some((hash, want)) = self.hash.take() else {
            return Ok(());
        };
        let got = hash.finish();
        if want == got {
            return Ok(());
        }
        let url = quote(&shown(&self.url));
        Err(Fault::new(
            Kind::Invalid,
            format!("wrong digest of {url}: expected {want}, got {got}"),
        )
        .hint("the server, a mirror or a proxy gave other bytes than were asked for"))
    }
}

fn wrong_length(url: &str, got: u64, want: u64) -> Fault {
    let url = quote(&shown(url));
    Fault::invalid(format!("{url} is {got} bytes long, expected {want}"))
}

fn too_long(url: &str, bound: u64) -> Fault {
    let url = quote(&shown(url));
    Fault::invalid(format!("{url} is longer than {bound} bytes"))
}

/// Where the body begins and how long the whole is. A part has to be exactly the
/// one that was asked for.
fn extent(response: &Response, from: Option<u64>) -> Result<(u64, Option<u64>)> {
    if response.status != 206 {
        let length = response.header("content-length");
        return Ok((0, length.and_then(|length| length.trim().parse().ok())));
    }
    let given = response.header("content-range").unwrap_or("nothing");
    let wrong = || {
        let url = quote(&shown(&response.url));
        let want = from.map_or("no part".to_string(), |from| format!("bytes {from}-"));
        let given = quote(&given.chars().take(80).collect::<String>());
        Fault::invalid(format!("{url}: asked for {want}, got {given}"))
    };
    let parse = || {
        let (range, total) = given.trim().strip_prefix("bytes ")?.split_once('/')?;
        let (start, end) = range.split_once('-')?;
        let (start, end): (u64, u64) = (start.parse().ok()?, end.parse().ok()?);
        let total = match total {
            "*" => None,
            total => Some(total.parse::<u64>().ok()?),
        };
        // All that is left, not a part of it.
        let whole = total.is_none_or(|total| end.checked_add(1) == Some(total));
        (Some(start) == from && end >= start && whole).then_some((start, total))
    };
    parse().ok_or_else(wrong)
}

/// A strong ETag, else the date.
fn validator(headers: &[(String, String)]) -> Option<String> {
    let strong = find(headers, "etag").filter(|etag| !etag.starts_with("W/"));
    strong
        .or(find(headers, "last-modified"))
        .map(str::to_string)
}
