//! The service without a socket: bytes to requests, requests to answers.
#![expect(clippy::unwrap_used, reason = "tests")]

mod parser;
mod routes;

use super::reply::Reply;
use super::request::Request;

/// A request with a form in its body, if that is not empty.
fn request(method: &str, target: &str, body: impl AsRef<[u8]>) -> Request {
    Request {
        method: method.to_string(),
        target: target.to_string(),
        form: true,
        body: body.as_ref().to_vec(),
        keep_alive: true,
    }
}

/// Status, type and text of an answer.
fn parts(reply: &Reply) -> (u16, &'static str, String) {
    let text = String::from_utf8(reply.body.to_vec()).unwrap();
    (reply.status, reply.kind, text)
}
