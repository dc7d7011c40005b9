//! HTTP/1.1 requests out of bytes that come in pieces of any size.
//!
//! `feed` takes what was read, `next` says what it amounts to. Bounds: 16 KiB
//! for request line and headers, 64 headers, the body as the listener allows.
//! What two parsers could read differently (a length given twice, a length
//! beside a transfer coding) is refused. After a refusal the connection is over.

use super::reply::Reply;

/// Request line and headers together; the trailers of a chunked body as well.
const MAX_HEAD: usize = 16 << 10;
const MAX_HEADERS: usize = 64;
/// One line with a chunk's size.
const MAX_CHUNK_LINE: usize = 256;

/// A whole request.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Request {
    pub method: String,
    /// As sent, with the query; begins with `/`.
    pub target: String,
    /// The body is a form (`application/x-www-form-urlencoded`).
    pub form: bool,
    pub body: Vec<u8>,
    /// The client may send another request on this connection.
    pub keep_alive: bool,
}

/// What the bytes so far amount to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Progress {
    /// Part of a request, or nothing.
    More,
    /// The client waits to be told to send the body.
    Continue,
    Whole(Request),
    /// To be answered so; then the connection is over.
    Refused(Reply),
}

/// How the rest of a body comes.
#[derive(Debug)]
enum Rest {
    Length(usize),
    ChunkSize,
    Chunk(usize),
    ChunkEnd,
    Trailers(usize),
}

#[derive(Debug)]
pub(super) struct Reader {
    max_body: usize,
    input: Vec<u8>,
    /// Up to here there is no end of a head.
    scanned: usize,
    begun: Option<(Request, Rest)>,
}

impl Reader {
    pub fn new(max_body: usize) -> Reader {
        Reader {
            max_body,
            input: Vec::new(),
            scanned: 0,
            begun: None,
        }
    }

    pub fn feed(&mut self, bytes: &[u8]) {
        self.input.extend_from_slice(bytes);
    }

    /// Nothing of a request has come yet.
    pub fn is_idle(&self) -> bool {
        self.begun.is_none() && self.input.is_empty()
    }

    /// The next request, if it is whole.
    pub fn next(&mut self) -> Progress {
        self.step().unwrap_or_else(Progress::Refused)
    }

    fn step(&mut self) -> Result<Progress, Reply> {
        if self.begun.is_none() {
            let Some(head) = self.head()? else {
                return Ok(Progress::More);
            };
            let waits = head.expects && self.input.is_empty();
            self.begun = Some((head.request, head.rest));
            if waits && !self.body()? {
                return Ok(Progress::Continue);
            }
        }
        if !self.body()? {
            return Ok(Progress::More);
        }
        match self.begun.take() {
            Some((request, _)) => Ok(Progress::Whole(request)),
            None => Ok(Progress::More),
        }
    }

    /// Takes the head off the input once its last line is there.
    fn head(&mut self) -> Result<Option<Head>, Reply> {
        // A stray line end after the last body is harmless (RFC 9112, 2.2).
        let blank = self.input.iter().take_while(|b| matches!(b, b'\r' | b'\n'));
        let blank = blank.count();
        if blank > 0 {
            self.input.drain(..blank);
            self.scanned = 0;
        }
        // Parsed once, not anew for each byte of a client that sends one at a time.
        let Some(end) = head_end(&self.input, self.scanned) else {
            self.scanned = self.input.len().saturating_sub(2);
            return match self.input.len() > MAX_HEAD {
                true => Err(too_large()),
                false => Ok(None),
            };
        };
        if end > MAX_HEAD {
            return Err(too_large());
        }
        let head = Head::parse(&self.input[..end], self.max_body)?;
        self.input.drain(..end);
        self.scanned = 0;
        Ok(Some(head))
    }

    /// Moves what has come of the body; true when it is whole.
    fn body(&mut self) -> Result<bool, Reply> {
        let Some((request, rest)) = &mut self.begun else {
            return Ok(false);
        };
        let mut at = 0;
        let done = loop {
            let input = &self.input[at..];
            match rest {
                Rest::Length(left) | Rest::Chunk(left) if *left > 0 => {
                    let take = input.len().min(*left);
                    request.body.extend_from_slice(&input[..take]);
                    at += take;
                    *left -= take;
                    if *left > 0 {
                        break false;
                    }
                }
                Rest::Length(_) => break true,
                Rest::Chunk(_) => *rest = Rest::ChunkEnd,
                Rest::ChunkEnd => match input {
                    [b'\r', b'\n', ..] => {
                        at += 2;
                        *rest = Rest::ChunkSize;
                    }
                    [] | [b'\r'] => break false,
                    _ => return Err(bad("malformed chunk")),
                },
                Rest::ChunkSize => {
                    let Some((used, size)) = chunk_size(input)? else {
                        break false;
                    };
                    if size > self.max_body - request.body.len() {
                        return Err(too_long());
                    }
                    at += used;
                    *rest = match size {
                        0 => Rest::Trailers(0),
                        size => Rest::Chunk(size),
                    };
                }
                Rest::Trailers(seen) => {
                    let Some(line) = input.iter().position(|b| *b == b'\n') else {
                        if input.len() > MAX_HEAD {
                            return Err(too_large());
                        }
                        break false;
                    };
                    at += line + 1;
                    *seen += line + 1;
                    if *seen > MAX_HEAD {
                        return Err(too_large());
                    }
                    if matches!(&input[..line], [] | [b'\r']) {
                        break true;
                    }
                }
            }
        };
        self.input.drain(..at);
        Ok(done)
    }
}

/// A head taken apart.
struct Head {
    request: Request,
    rest: Rest,
    /// `Expect: 100-continue`, and there is a body to wait for.
    expects: bool,
}

impl Head {
    fn parse(bytes: &[u8], max_body: usize) -> Result<Head, Reply> {
        let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
        let mut parsed = httparse::Request::new(&mut headers);
        match parsed.parse(bytes) {
            Ok(httparse::Status::Complete(_)) => {}
            Err(httparse::Error::TooManyHeaders) => return Err(too_large()),
            Ok(httparse::Status::Partial) | Err(_) => return Err(bad("malformed request")),
        }
        let modern = parsed.version == Some(1);
        let fields = Fields::read(parsed.headers)?;
        if modern && fields.hosts != 1 {
            return Err(bad("exactly one Host header is required"));
        }
        let rest = match (fields.length, fields.chunked) {
            (Some(_), true) => return Err(bad("both Content-Length and Transfer-Encoding")),
            (None, true) if !modern => return Err(bad("chunked in HTTP/1.0")),
            (None, true) => Rest::ChunkSize,
            (Some(length), false) if length > max_body as u64 => return Err(too_long()),
            (Some(length), false) => Rest::Length(length as usize),
            (None, false) => Rest::Length(0),
        };
        let body = !matches!(rest, Rest::Length(0));
        Ok(Head {
            request: Request {
                method: parsed.method.unwrap_or_default().to_string(),
                target: origin_form(parsed.path.unwrap_or_default())?,
                form: fields.form,
                body: Vec::new(),
                keep_alive: modern && !fields.close,
            },
            rest,
            expects: modern && fields.expects && body,
        })
    }
}

/// What matters here of the headers.
#[derive(Default)]
struct Fields {
    hosts: usize,
    length: Option<u64>,
    chunked: bool,
    close: bool,
    expects: bool,
    form: bool,
}

impl Fields {
    fn read(headers: &[httparse::Header<'_>]) -> Result<Fields, Reply> {
        let mut fields = Fields::default();
        for header in headers {
            let value = header.value.trim_ascii();
            let is = |name: &str| header.name.eq_ignore_ascii_case(name);
            if is("Host") {
                fields.hosts += 1;
            } else if is("Content-Length") {
                if fields.length.replace(decimal(value)?).is_some() {
                    return Err(bad("more than one Content-Length"));
                }
            } else if is("Transfer-Encoding") {
                if fields.chunked || !value.eq_ignore_ascii_case(b"chunked") {
                    return Err(Reply::plain(501, "unsupported transfer encoding\n"));
                }
                fields.chunked = true;
            } else if is("Connection") {
                let mut words = value.split(|b| *b == b',').map(<[u8]>::trim_ascii);
                fields.close |= words.any(|word| word.eq_ignore_ascii_case(b"close"));
            } else if is("Expect") {
                if !value.eq_ignore_ascii_case(b"100-continue") {
                    return Err(Reply::plain(417, "unknown expectation\n"));
                }
                fields.expects = true;
            } else if is("Content-Type") {
                let kind = value.split(|b| *b == b';').next().unwrap_or_default();
                fields.form = kind
                    .trim_ascii()
                    .eq_ignore_ascii_case(b"application/x-www-form-urlencoded");
            }
        }
        Ok(fields)
    }
}

/// Digits alone: a sign or a list would mean different things to different
/// readers.
fn decimal(value: &[u8]) -> Result<u64, Reply> {
    let text = std::str::from_utf8(value).ok();
    let digits = text.filter(|text| text.bytes().all(|b| b.is_ascii_digit()));
    let number = digits.and_then(|text| text.parse().ok());
    number.ok_or_else(|| bad("malformed Content-Length"))
}

/// `/path`, also from the form that names the server (`http://host/path`).
fn origin_form(target: &str) -> Result<String, Reply> {
    if target.starts_with('/') {
        return Ok(target.to_string());
    }
    let below = target
        .get(..7)
        .filter(|s| s.eq_ignore_ascii_case("http://"));
    match below.and_then(|_| target[7..].find('/')) {
        Some(at) => Ok(target[7 + at..].to_string()),
        None => Err(bad("malformed request target")),
    }
}

/// Bytes of the size line, and the size.
fn chunk_size(input: &[u8]) -> Result<Option<(usize, usize)>, Reply> {
    // An empty size would pass for the last chunk.
    if input.first().is_some_and(|b| !b.is_ascii_hexdigit()) {
        return Err(bad("malformed chunk"));
    }
    match httparse::parse_chunk_size(input) {
        Ok(httparse::Status::Complete((used, size))) if used <= MAX_CHUNK_LINE => {
            Ok(Some((used, usize::try_from(size).unwrap_or(usize::MAX))))
        }
        Ok(httparse::Status::Partial) if input.len() <= MAX_CHUNK_LINE => Ok(None),
        _ => Err(bad("malformed chunk")),
    }
}

/// One past the empty line that ends the head, looking from `from` on.
fn head_end(input: &[u8], from: usize) -> Option<usize> {
    (from..input.len()).find_map(|at| match &input[at..] {
        [b'\n', b'\r', b'\n', ..] => Some(at + 3),
        [b'\n', b'\n', ..] => Some(at + 2),
        _ => None,
    })
}

fn bad(what: &str) -> Reply {
    Reply::plain(400, format!("400 Bad Request: {what}\n"))
}

fn too_large() -> Reply {
    Reply::plain(431, "431 Request Header Fields Too Large\n")
}

fn too_long() -> Reply {
    Reply::plain(413, "413 Request Entity Too Large\n")
}
