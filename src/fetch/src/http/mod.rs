//! Requests over http and https: safe redirects, proxies, retries, resumption.

use crate::Notes;
use model::digest::Digest;
use model::fault::{Fault, Result};
use std::io::Read;

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
    pub headers: Vec<(String, String)>,
    body: Box<dyn Read + Send>,
}

impl Response {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(given, _)| given.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }

    /// The whole body; more than `max` bytes are an error.
    pub fn read(self, max: u64) -> Result<Vec<u8>> {
        let _ = (max, self.body);
        Err(Fault::unsupported("http"))
    }
}

/// The body of a successful answer: checked against its size and digest, the
/// last `read` fails if they are wrong. A connection that breaks is taken up
/// again where it broke.
pub struct Download {
    /// Of the answer that came first.
    pub headers: Vec<(String, String)>,
    pub total: Option<u64>,
    pub url: String,
    body: Box<dyn Read + Send>,
}

impl Read for Download {
    fn read(&mut self, buf: &mut [u8]) -> std::io::Result<usize> {
        self.body.read(buf)
    }
}

/// May be shared by threads.
pub struct Client<'a> {
    notes: &'a dyn Notes,
}

#[derive(Clone, Copy, Debug, Default)]
pub struct ClientOptions {
    /// `--insecure-options=tls`: certificates are not checked.
    pub no_tls_check: bool,
    /// `--insecure-options=http`: plain http is allowed.
    pub allow_http: bool,
}

impl<'a> Client<'a> {
    /// Reads the proxy variables and the CA roots when they are first needed.
    pub fn new(options: ClientOptions, notes: &'a dyn Notes) -> Client<'a> {
        let _ = options;
        Client { notes }
    }

    /// One exchange; retried where that may help.
    pub fn send(&self, request: &Request) -> Result<Response> {
        self.notes.debug(&request.url);
        Err(Fault::unsupported("http"))
    }

    /// Opens a body for streaming. A status other than 200 is a fault that names
    /// the URL, the status and what to do.
    pub fn download(&self, request: &Request, expected: &Expected) -> Result<Download> {
        let _ = (request, expected);
        Err(Fault::unsupported("http"))
    }
}
