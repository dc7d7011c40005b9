//! Requests as they come off the wire, whole, in pieces and hostile.

use crate::metadata::form;
use crate::metadata::request::{Progress, Reader, Request};

const LIMIT: usize = 1000;

/// All of `bytes` at once.
fn read(bytes: impl AsRef<[u8]>) -> Progress {
    let mut reader = Reader::new(LIMIT);
    reader.feed(bytes.as_ref());
    reader.next()
}

fn whole(bytes: impl AsRef<[u8]>) -> Request {
    match read(bytes.as_ref()) {
        Progress::Whole(request) => request,
        other => panic!("{:?}: {other:?}", String::from_utf8_lossy(bytes.as_ref())),
    }
}

fn refused(bytes: impl AsRef<[u8]>) -> u16 {
    match read(bytes.as_ref()) {
        Progress::Refused(reply) => reply.status,
        other => panic!("{:?}: {other:?}", String::from_utf8_lossy(bytes.as_ref())),
    }
}

const GET: &str = "GET /t/acMetadata/v1/pod/uuid?x=1 HTTP/1.1\r\nHost: a\r\n\r\n";
const POST: &str = "POST /p HTTP/1.1\r\nhost: a\r\nContent-Type: \
    application/x-www-form-urlencoded; charset=utf-8\r\nContent-Length: 9\r\n\r\ncontent=x";
const CHUNKED: &str = "POST /p HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n\
    4;ext=1\r\ncont\r\n5\r\nent=x\r\n0\r\nTrailer: y\r\n\r\n";

#[test]
fn whole_requests() {
    let get = whole(GET);
    assert_eq!(
        (&*get.method, &*get.target),
        ("GET", "/t/acMetadata/v1/pod/uuid?x=1")
    );
    assert!(get.keep_alive && !get.form && get.body.is_empty());
    let post = whole(POST);
    assert!(post.form);
    assert_eq!(post.body, b"content=x");
    let chunked = whole(CHUNKED);
    assert_eq!(chunked.body, b"content=x");
    assert!(!chunked.form);
    let closing = whole("GET / HTTP/1.1\r\nHost: a\r\nConnection: x, Close\r\n\r\n");
    assert!(!closing.keep_alive);
    let old = whole("GET / HTTP/1.0\r\n\r\n");
    assert!(!old.keep_alive);
    assert_eq!(
        whole("GET http://h:1/x?y HTTP/1.1\nHost: a\n\n").target,
        "/x?y"
    );
}

#[test]
fn the_size_of_the_pieces_does_not_matter() {
    let stream = [GET, POST, CHUNKED, "\r\n", GET].concat();
    for size in [1, 2, 3, 7, 50, 1000] {
        let mut reader = Reader::new(LIMIT);
        let mut seen = Vec::new();
        for piece in stream.as_bytes().chunks(size) {
            reader.feed(piece);
            loop {
                match reader.next() {
                    Progress::Whole(request) => seen.push(request),
                    Progress::More => break,
                    other => panic!("{other:?}"),
                }
            }
        }
        assert!(reader.is_idle(), "{size}");
        let want = [GET, POST, CHUNKED, GET].map(whole);
        assert_eq!(seen, want, "{size}");
    }
}

#[test]
fn a_client_that_waits_is_told_to_go_on_once() {
    let head = "POST /p HTTP/1.1\r\nHost: a\r\nExpect: 100-Continue\r\nContent-Length: 2\r\n\r\n";
    let mut reader = Reader::new(LIMIT);
    reader.feed(head.as_bytes());
    assert_eq!(reader.next(), Progress::Continue);
    assert_eq!(reader.next(), Progress::More);
    reader.feed(b"ab");
    assert!(matches!(reader.next(), Progress::Whole(request) if request.body == b"ab"));
    // The body is here already, or there is none: nobody waits.
    assert_eq!(whole(format!("{head}ab")).body, b"ab");
    whole(head.replace("2\r\n\r\n", "0\r\n\r\n"));
    assert_eq!(refused(head.replace("100-Continue", "something")), 417);
    assert_eq!(refused(head.replace(" 2\r\n\r\n", " 1001\r\n\r\n")), 413);
}

#[test]
fn bounds() {
    let long = "x".repeat(16 << 10);
    assert_eq!(
        refused(format!("GET /{long} HTTP/1.1\r\nHost: a\r\n\r\n")),
        431
    );
    assert_eq!(refused(format!("GET /{long}")), 431);
    assert_eq!(
        refused(format!("GET / HTTP/1.1\r\nHost: a\r\nX: {long}")),
        431
    );
    let many = "X: y\r\n".repeat(65);
    assert_eq!(refused(format!("GET / HTTP/1.1\r\n{many}\r\n")), 431);
    let post = "POST / HTTP/1.1\r\nHost: a\r\n";
    assert_eq!(refused(format!("{post}Content-Length: 1001\r\n\r\n")), 413);
    assert_eq!(
        refused(format!(
            "{post}Content-Length: 18446744073709551615\r\n\r\n"
        )),
        413
    );
    let chunked = format!("{post}Transfer-Encoding: chunked\r\n\r\n");
    assert_eq!(refused(format!("{chunked}3e9\r\n")), 413);
    assert_eq!(refused(format!("{chunked}ffffffffffffffff\r\n")), 413);
    let half = format!("1f4\r\n{}\r\n", "x".repeat(500));
    assert_eq!(read(format!("{chunked}{half}{half}")), Progress::More);
    assert_eq!(refused(format!("{chunked}{half}{half}1\r\n")), 413);
    assert_eq!(refused(format!("{chunked}1;{}", "x".repeat(300))), 400);
    assert_eq!(refused(format!("{chunked}0\r\n{long}x")), 431);
    let trailers = "X: y\r\n".repeat(3000);
    assert_eq!(refused(format!("{chunked}0\r\n{trailers}")), 431);
}

#[test]
fn what_two_readers_could_read_differently_is_refused() {
    let post = "POST / HTTP/1.1\r\nHost: a\r\n";
    for headers in [
        "Content-Length: 1\r\nContent-Length: 2\r\n",
        "Content-Length: 1\r\nContent-Length: 1\r\n",
        "Content-Length: 1, 1\r\n",
        "Content-Length: +1\r\n",
        "Content-Length: -1\r\n",
        "Content-Length: 0x1\r\n",
        "Content-Length:\r\n",
        "Content-Length: 99999999999999999999\r\n",
        "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n",
        "Host: b\r\n",
        "Content-Length : 1\r\n",
        " folded: 1\r\n",
    ] {
        assert_eq!(refused(format!("{post}{headers}\r\n")), 400, "{headers}");
    }
    for coding in [
        "gzip",
        "gzip, chunked",
        "chunked, chunked",
        "identity",
        "xchunked",
    ] {
        let head = format!("{post}Transfer-Encoding: {coding}\r\n\r\n");
        assert_eq!(refused(head), 501, "{coding}");
    }
    assert_eq!(
        refused("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n"),
        400
    );
    let chunked = format!("{post}Transfer-Encoding: chunked\r\n\r\n");
    for body in ["x\r\n", "1\r\nabc", "-1\r\n", "\r\n", "1 2\r\n"] {
        assert_eq!(refused(format!("{chunked}{body}")), 400, "{body:?}");
    }
}

#[test]
fn garbage_never_panics() {
    for bytes in [
        &b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\r\n\r\n"[..],
        b"GET\r\n\r\n",
        b"GET /\r\n\r\n",
        b"GET / HTTP/2.0\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"GET * HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET ftp://x/y HTTP/1.1\r\nHost: a\r\n\r\n",
        b"CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\n\x00: b\r\n\r\n",
        b"GET /\x01 HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET /a b HTTP/1.1\r\nHost: a\r\n\r\n",
    ] {
        assert_eq!(refused(bytes), 400, "{:?}", String::from_utf8_lossy(bytes));
    }
    // Every prefix and every one-byte change of a stream of requests.
    let stream = [CHUNKED, POST, GET].concat();
    for at in 0..stream.len() {
        let mut changed = stream.clone().into_bytes();
        for byte in [0, b'\n', b'\r', b' ', b'9', b'f', b':', 0xff] {
            changed[at] = byte;
            let mut reader = Reader::new(LIMIT);
            for piece in changed.chunks(11) {
                reader.feed(piece);
                while matches!(reader.next(), Progress::Whole(_)) {}
            }
        }
    }
}

#[test]
fn percent_signs() {
    let segments = |target: &str| form::segments(target);
    let parts = |list: &[&str]| Some(list.iter().map(|s| s.to_string()).collect());
    assert_eq!(segments("/a/b%2Fc/?x/y"), parts(&["a", "b/c", ""]));
    assert_eq!(segments("/a+b%20c"), parts(&["a+b c"]));
    assert_eq!(segments("/%c3%A9"), parts(&["é"]));
    for bad in ["/%", "/%4", "/%zz", "/%ff", "/%+1", ""] {
        assert_eq!(segments(bad), None, "{bad}");
    }
    assert_eq!(form::query("/?a=1&b=%26+%3d&b=2", "b"), b"& =");
    assert_eq!(form::query("/?b=%zz&b=2", "b"), b"2");
    assert_eq!(form::query("/?b", "b"), b"");
    assert_eq!(form::query("/", "b"), b"");
}
