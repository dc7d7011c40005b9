//! Requests over http and https: safe redirects, proxies, retries, resumption.
//!
//! A [`Request`] in, a [`Response`] of any status or a checked [`Download`] out.
//! `wire` waits for the network, `exchange` follows one request to its answer,
//! `download` streams a body, `retry`, `proxy`, `url` and `roots` decide, and
//! `status` finds the words for failures.
//!
//! Invariants: a secret header goes to the scheme, host and port of its request
//! alone and never over plain http; https is never left for http; each wait has a
//! time-out and can be interrupted ([`crate::interrupt`]); an answer is bounded
//! before it is read.

mod download;
mod exchange;
mod proxy;
mod retry;
mod roots;
mod status;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
mod url;
mod wire;

pub use download::Download;
pub use roots::roots_source;
pub use status::status_fault;
pub(crate) use url::Url;

use crate::Notes;
use exchange::Wire;
use model::digest::Digest;
use model::fault::{Fault, Result};
use model::text::quote;
use std::io::Read;
use std::sync::Arc;
use std::time::Duration;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Method {
    #[default]
    Get,
    Head,
    Post,
}

/// What is asked of a server.
#[derive(Clone, Debug, Default)]
pub struct Request {
    pub method: Method,
    pub url: String,
    /// Sent to every host that a redirect leads to; nothing secret.
    pub headers: Vec<(String, String)>,
    /// Sent to the URL's own scheme, host and port only, never over plain http:
    /// `Authorization` and the like.
    pub secret_headers: Vec<(String, String)>,
    /// A form, for `Post`.
    pub body: Option<Vec<u8>>,
    /// Plain http will do for this one, as for an image whose signature is
    /// checked; the caller decides. Else `ClientOptions::allow_http` does.
    pub plain_http_ok: bool,
    /// A connection that fails is not tried again: the caller has another way.
    pub once: bool,
    /// Only what follows the first so many bytes is wanted, since they are here
    /// already. An answer of 206 has that, one of 200 begins at the start.
    pub range_from: Option<u64>,
    /// The strong ETag or the date of what is here already; goes with
    /// `range_from`.
    pub if_range: Option<String>,
}

impl Request {
    pub fn get(url: impl Into<String>) -> Request {
        Request {
            url: url.into(),
            ..Request::default()
        }
    }

    /// One header more that is no secret.
    pub fn header(mut self, name: &str, value: &str) -> Request {
        self.headers.push((name.to_string(), value.to_string()));
        self
    }
}

/// What a download has to be.
#[derive(Clone, Debug, Default)]
pub struct Expected {
    pub size: Option<u64>,
    pub digest: Option<Digest>,
    /// The bound, where the size is not known.
    pub max: u64,
}

/// An answer, whatever its status; redirects are followed by then.
pub struct Response {
    pub status: u16,
    /// The URL that answered.
    pub url: String,
    /// In the order they came, with duplicates (several `WWW-Authenticate`).
    pub headers: Vec<(String, String)>,
    body: Box<dyn Read + Send>,
}

impl Response {
    pub fn header(&self, name: &str) -> Option<&str> {
        find(&self.headers, name)
    }

    /// All values of a header that may come several times.
    pub fn header_values<'r>(&'r self, name: &'r str) -> impl Iterator<Item = &'r str> {
        self.headers
            .iter()
            .filter(move |(given, _)| given.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }

    /// The whole body; more than `max` bytes are an error.
    pub fn read(self, max: u64) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        let mut body = self.body.take(max.saturating_add(1));
        body.read_to_end(&mut bytes)
            .map_err(|err| wire::read_fault(&self.url, err))?;
        if bytes.len() as u64 > max {
            return Err(Fault::invalid(format!(
                "the answer of {} is longer than {max} bytes",
                quote(&self.url)
            )));
        }
        Ok(bytes)
    }

    /// What is wrong with this status: URL, status, the server's own words and
    /// what to do.
    pub fn fault(self) -> Fault {
        let (status, url) = (self.status, self.url.clone());
        let mut excerpt = Vec::new();
        // What the server says is a help, no more: a failure to read it is none.
        let _ = self.body.take(64 << 10).read_to_end(&mut excerpt);
        status_fault(status, &url, &excerpt)
    }
}

fn find<'h>(headers: &'h [(String, String)], name: &str) -> Option<&'h str> {
    headers
        .iter()
        .find(|(given, _)| given.eq_ignore_ascii_case(name))
        .map(|(_, value)| value.as_str())
}

/// May be shared by threads.
pub struct Client<'a> {
    notes: &'a dyn Notes,
    wire: Arc<Wire>,
}

#[derive(Clone, Copy, Debug)]
pub struct ClientOptions {
    /// `--insecure-options=tls`: certificates are not checked.
    pub no_tls_check: bool,
    /// `--insecure-options=http`: plain http is allowed.
    pub allow_http: bool,
    /// The first pause before a retry; it doubles.
    pub retry_base: Duration,
    /// The longest pause, whatever `Retry-After` says.
    pub retry_cap: Duration,
    pub connect_timeout: Duration,
    /// Until the headers of an answer are complete.
    pub answer_timeout: Duration,
    /// A server that is waited for so long in one go must have sent
    /// `slowest_rate` bytes for each second of it.
    pub stall_window: Duration,
    pub slowest_rate: u64,
}

impl Default for ClientOptions {
    fn default() -> ClientOptions {
        ClientOptions {
            no_tls_check: false,
            allow_http: false,
            retry_base: Duration::from_secs(1),
            retry_cap: Duration::from_secs(60),
            connect_timeout: Duration::from_secs(30),
            answer_timeout: Duration::from_secs(60),
            stall_window: Duration::from_secs(60),
            slowest_rate: 1024,
        }
    }
}

impl<'a> Client<'a> {
    /// Reads the proxy variables; the CA roots are read when first needed.
    pub fn new(options: ClientOptions, notes: &'a dyn Notes) -> Client<'a> {
        let environment = Environment::read();
        Client::with(options, environment, notes)
    }

    fn with(options: ClientOptions, environment: Environment, notes: &'a dyn Notes) -> Client<'a> {
        Client {
            notes,
            wire: Arc::new(Wire::new(options, environment)),
        }
    }

    /// One exchange; retried where that may help.
    pub fn send(&self, request: &Request) -> Result<Response> {
        self.wire.send(request, self.notes)
    }

    /// Opens a body for streaming. A status other than 200, or 206 where a part
    /// was asked for, is a fault that names the URL, the status and what to do.
    pub fn download(&self, request: &Request, expected: &Expected) -> Result<Download> {
        let response = self.send(request)?;
        match response.status {
            200 => {}
            206 if request.range_from.is_some() => {}
            _ => return Err(response.fault()),
        }
        self.stream(request, response, expected)
    }

    /// The body of an answer to `request` with status 200 or 206 as a checked
    /// download; for callers that look at the status themselves (304, 202).
    pub fn stream(
        &self,
        request: &Request,
        response: Response,
        expected: &Expected,
    ) -> Result<Download> {
        Download::open(Arc::clone(&self.wire), request, response, expected)
    }
}

/// The variables that matter here, read once.
#[derive(Clone, Debug, Default)]
struct Environment {
    https_proxy: Option<String>,
    http_proxy: Option<String>,
    no_proxy: String,
    cert_file: Option<std::path::PathBuf>,
    cert_dir: Option<std::ffi::OsString>,
}

impl Environment {
    fn read() -> Environment {
        let one = |names: &[&str]| {
            names
                .iter()
                .filter_map(|name| std::env::var(name).ok())
                .find(|value| !value.is_empty())
        };
        let os = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
        // In a CGI program HTTP_PROXY is what the client's header `Proxy` says
        // (CVE-2016-5385); the name in lower case cannot come that way.
        let cgi = std::env::var_os("REQUEST_METHOD").is_some();
        Environment {
            https_proxy: one(&["https_proxy", "HTTPS_PROXY"]),
            http_proxy: match cgi {
                true => one(&["http_proxy"]),
                false => one(&["http_proxy", "HTTP_PROXY"]),
            },
            no_proxy: one(&["no_proxy", "NO_PROXY"]).unwrap_or_default(),
            cert_file: os("SSL_CERT_FILE").map(Into::into),
            cert_dir: os("SSL_CERT_DIR"),
        }
    }
}
