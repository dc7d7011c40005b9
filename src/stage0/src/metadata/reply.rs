//! Answers: status, type and body, and their bytes on the wire.

use std::rc::Rc;

pub(super) const JSON: &str = "application/json";
/// To the letter: clients compare it.
pub(super) const ASCII: &str = "text/plain; charset=us-ascii";
const UTF8: &str = "text/plain; charset=utf-8";

/// Told to a client that waits with its body.
pub(super) const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Reply {
    pub status: u16,
    pub kind: &'static str,
    /// Shared, so that a client which reads slowly costs no copy of a manifest.
    pub body: Rc<[u8]>,
}

impl Reply {
    pub fn new(status: u16, kind: &'static str, body: impl Into<Rc<[u8]>>) -> Reply {
        Reply {
            status,
            kind,
            body: body.into(),
        }
    }

    /// A word to people: an error, mostly.
    pub fn plain(status: u16, text: impl Into<String>) -> Reply {
        Reply::new(status, UTF8, text.into().into_bytes())
    }

    pub fn empty(status: u16) -> Reply {
        Reply::plain(status, "")
    }

    /// A path or method that nothing answers to.
    pub fn no_such_page() -> Reply {
        Reply::plain(404, "404 page not found\n")
    }

    /// Status line and headers.
    pub fn head(&self, keep_alive: bool) -> Vec<u8> {
        let (status, kind, length) = (self.status, self.kind, self.body.len());
        let reason = reason(status);
        let close = match keep_alive {
            true => "",
            false => "Connection: close\r\n",
        };
        format!(
            "HTTP/1.1 {status} {reason}\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n{close}\r\n"
        )
        .into_bytes()
    }
}

fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        413 => "Request Entity Too Large",
        417 => "Expectation Failed",
        431 => "Request Header Fields Too Large",
        501 => "Not Implemented",
        _ => "Error",
    }
}
