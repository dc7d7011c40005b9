//! Downloads: bounds, digests, breaks and what follows them.

use super::*;
use sha2::Digest as _;

fn blob(size: usize) -> Vec<u8> {
    (0..size)
        .map(|at| (at as u32).wrapping_mul(2_654_435_761).to_le_bytes()[3])
        .collect()
}

fn digest(bytes: &[u8]) -> Digest {
    Digest::from_bytes(
        model::digest::Algorithm::Sha256,
        &sha2::Sha256::digest(bytes),
    )
    .expect("a digest")
}

fn expect(bytes: &[u8]) -> Expected {
    Expected {
        size: Some(bytes.len() as u64),
        digest: Some(digest(bytes)),
        max: 0,
    }
}

/// What came before the end or the failure.
fn fetch(client: &Client, url: &str, expected: &Expected) -> (Vec<u8>, Result<()>) {
    let mut download = match client.download(&Request::get(url), expected) {
        Ok(download) => download,
        Err(fault) => return (Vec::new(), Err(fault)),
    };
    let mut bytes = Vec::new();
    match download.read_to_end(&mut bytes) {
        Ok(_) => (bytes, Ok(())),
        Err(err) => {
            let fault = err.downcast::<Fault>().expect("a fault travels inside");
            // It stays failed.
            assert!(download.read(&mut [0]).is_err());
            (bytes, Err(fault))
        }
    }
}

#[test]
fn whole_bodies_arrive() {
    for size in [0, 1, 131_072, 131_073, 3_000_000] {
        for speaks in [PLAIN, TLS] {
            let bytes = blob(size);
            let sent = bytes.clone();
            let server = Server::start(speaks, move |_, out: Out| {
                give(out, 200, "ETag: \"e\"\r\n", &sent)
            });
            let ca = Scratch::ca();
            let client = trusting(&ca, quick());
            let (got, end) = fetch(&client, &server.url("/"), &expect(&bytes));
            end.expect("the right bytes");
            assert!(got == bytes, "{size}");
        }
    }
    // In chunks, and ended by the connection.
    let server = Server::start(PLAIN, |asked, out: Out| {
        let body: &[u8] = match asked.path.as_str() {
            "/chunks" => b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n",
            _ => b"\r\nabcde",
        };
        let _ = out
            .write_all(b"HTTP/1.1 200 OK\r\n")
            .and_then(|()| out.write_all(body));
    });
    for path in ["/chunks", "/rest"] {
        let (got, end) = fetch(&client(quick()), &server.url(path), &expect(b"abcde"));
        end.expect("the right bytes");
        assert_eq!(got, b"abcde");
    }
}

#[test]
fn wrong_bytes_fail_at_the_end() {
    let bytes = blob(200_000);
    let mut other = bytes.clone();
    other[100_000] ^= 1;
    let server = Server::start(PLAIN, move |asked, out: Out| match asked.path.as_str() {
        "/other" => give(out, 200, "", &other),
        "/longer" => give(out, 200, "", &[&other[..], b"x"].concat()),
        "/shorter" => give(out, 200, "", &other[1..]),
        _ => {
            let _ = out.write_all(b"HTTP/1.1 200 OK\r\n\r\n");
            while out.write_all(&other).is_ok() {}
        }
    });
    let client = client(quick());
    let unknown = Expected {
        max: 150_000,
        ..Expected::default()
    };
    for (path, expected, words) in [
        ("/other", &expect(&bytes), "wrong digest"),
        (
            "/longer",
            &expect(&bytes),
            "200001 bytes long, expected 200000",
        ),
        (
            "/shorter",
            &expect(&bytes),
            "199999 bytes long, expected 200000",
        ),
        ("/endless", &expect(&bytes), "longer than 200000 bytes"),
        ("/endless", &unknown, "longer than 150000 bytes"),
        ("/other", &unknown, "longer than 150000 bytes"),
    ] {
        let (got, end) = fetch(&client, &server.url(path), expected);
        let fault = end.expect_err(path);
        assert!(fault.to_string().contains(words), "{path}: {fault}");
        assert!(
            fault.to_string().contains(&server.url(path)),
            "{path}: {fault}"
        );
        assert!(got.len() <= 200_000, "{path}: {}", got.len());
    }
    let (_, end) = fetch(&client, &server.url("/other"), &expect(&bytes));
    let fault = end.expect_err("wrong").to_string();
    assert!(fault.contains(digest(&bytes).as_str()), "{fault}");
}

#[test]
fn a_status_is_no_body() {
    let server = Server::start(PLAIN, |_, out: Out| {
        give(
            out,
            404,
            "",
            br#"{"errors":[{"code":"BLOB_UNKNOWN","message":"not here"}]}"#,
        );
    });
    let (_, end) = fetch(&client(quick()), &server.url("/"), &expect(b""));
    let fault = end.expect_err("no body");
    assert_eq!(fault.kind, Kind::NotFound);
    assert!(
        fault.to_string().ends_with("blob_unknown: not here"),
        "{fault}"
    );
    assert!(fault.hint.is_some());
}

/// Breaks its first answer after `cut` bytes, and then answers a range as `how`
/// says.
fn breaking(speaks: Speaks, bytes: &[u8], cut: usize, how: &'static str) -> Server {
    let bytes = bytes.to_vec();
    Server::start(speaks, move |asked, out: Out| {
        let total = bytes.len();
        let etag = match how {
            "no etag" => "",
            "new etag" if asked.number > 0 => "ETag: \"new\"\r\n",
            "weak" => "ETag: W/\"e\"\r\n",
            _ => "ETag: \"e\"\r\n",
        };
        let from = asked.header("range").map_or(0, |range| {
            let digits: String = range.chars().filter(char::is_ascii_digit).collect();
            digits.parse().expect("a number")
        });
        let (status, range) = match (asked.number, how) {
            (0, _) | (_, "whole") => (200, String::new()),
            (_, "416") => return give(out, 416, "", b""),
            (_, "404") => return give(out, 404, "", b""),
            (_, "no range") => (206, String::new()),
            (_, "wrong start") => (206, format!("bytes {}-{}/{total}", from + 1, total - 1)),
            (_, "wrong total") => (206, format!("bytes {from}-{total}/{}", total + 1)),
            (_, "a part") => (206, format!("bytes {from}-{from}/{total}")),
            (_, "words") => (206, "items 1-2/3".to_string()),
            _ => (206, format!("bytes {from}-{}/{total}", total - 1)),
        };
        let body = if status == 200 {
            &bytes[..]
        } else {
            &bytes[from..]
        };
        let range = match range.is_empty() {
            true => range,
            false => format!("Content-Range: {range}\r\n"),
        };
        let length = body.len();
        let head = format!("HTTP/1.1 {status} X\r\n{etag}{range}Content-Length: {length}\r\n\r\n");
        let end = match (asked.number, how) {
            (0, _) => cut,
            (_, "never further") => 0,
            (number, "often") if number < 12 => (2 << 20).min(length),
            _ => length,
        };
        let _ = out
            .write_all(head.as_bytes())
            .and_then(|()| out.write_all(&body[..end]));
    })
}

#[test]
fn a_break_is_mended_where_it_was() {
    let small = blob(300_000);
    for speaks in [PLAIN, TLS] {
        for (how, cut) in [
            ("right", 0),
            ("right", 1),
            ("right", 200_000),
            ("whole", 200_000),
            ("weak", 9),
        ] {
            let server = breaking(speaks, &small, cut, how);
            let ca = Scratch::ca();
            let client = trusting(&ca, quick());
            let (got, end) = fetch(&client, &server.url("/"), &expect(&small));
            end.expect(how);
            assert!(got == small, "{how} {cut}");
            let asked = server.asked();
            assert_eq!(asked.len(), 2, "{how} {cut}");
            let range = format!("bytes={cut}-");
            assert_eq!(asked[1].header("range"), Some(range.as_str()));
        }
    }
    // Any number of breaks, as long as each try brings something.
    let large = blob(26 << 20);
    let server = breaking(PLAIN, &large, 2 << 20, "often");
    let (got, end) = fetch(&client(quick()), &server.url("/"), &expect(&large));
    end.expect("patience");
    assert!(got == large);
    assert_eq!(server.asked().len(), 13);
}

#[test]
fn a_break_that_cannot_be_mended_is_an_error() {
    let bytes = blob(300_000);
    let unpinned = Expected {
        max: 1 << 20,
        ..Expected::default()
    };
    for (how, expected, words, hits) in [
        ("wrong start", &expect(&bytes), "asked for bytes 1000-", 2),
        ("wrong total", &expect(&bytes), "changed while", 2),
        ("a part", &expect(&bytes), "asked for bytes 1000-", 2),
        ("words", &expect(&bytes), "asked for bytes 1000-", 2),
        ("no range", &expect(&bytes), "got \"nothing\"", 2),
        ("416", &expect(&bytes), "416", 2),
        ("404", &expect(&bytes), "404", 2),
        ("never further", &expect(&bytes), "closed too early", 5),
        // Without a digest the server has to say that it is the same thing still.
        ("new etag", &unpinned, "changed while", 2),
        ("no etag", &unpinned, "closed too early", 1),
    ] {
        let server = breaking(PLAIN, &bytes, 1000, how);
        let (_, end) = fetch(&client(quick()), &server.url("/"), expected);
        let fault = end.expect_err(how);
        assert!(fault.to_string().contains(words), "{how}: {fault}");
        assert_eq!(server.asked().len(), hits, "{how}");
    }
    let server = breaking(PLAIN, &bytes, 1000, "right");
    let (got, end) = fetch(&client(quick()), &server.url("/"), &unpinned);
    end.expect("the same etag");
    assert!(got == bytes);
    assert_eq!(server.asked()[1].header("if-range"), Some("\"e\""));
}

#[test]
fn a_part_that_is_here_is_not_fetched_again() {
    let bytes = blob(5000);
    for (how, start) in [("right", 2000), ("whole", 0)] {
        let server = breaking(PLAIN, &bytes, 0, how);
        let client = client(quick());
        // The first answer of this server is the broken one.
        client
            .send(&Request::get(server.url("/")))
            .expect("an answer");
        let request = Request {
            range_from: Some(2000),
            if_range: Some("\"e\"".into()),
            ..Request::get(server.url("/"))
        };
        let expected = Expected {
            size: Some(5000),
            ..Expected::default()
        };
        let mut download = client.download(&request, &expected).expect("a body");
        assert_eq!((download.start, download.total), (start, Some(5000)));
        let mut got = Vec::new();
        download.read_to_end(&mut got).expect("the rest");
        assert!(got == bytes[start as usize..], "{how}");
    }
}

#[test]
fn a_trickle_is_given_up() {
    let server = Server::start(PLAIN, |_, out: Out| {
        let _ = out.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n");
        while out.write_all(b"x").is_ok() {
            std::thread::sleep(Duration::from_millis(10));
        }
    });
    let options = ClientOptions {
        stall_window: Duration::from_millis(300),
        slowest_rate: 10_000,
        ..quick()
    };
    let expected = Expected {
        size: Some(100_000),
        ..Expected::default()
    };
    let (_, end) = fetch(&client(options), &server.url("/"), &expected);
    let fault = end.expect_err("too slow");
    assert_eq!(fault.kind, Kind::TimedOut);
    assert!(fault.to_string().contains("are too slow"), "{fault}");
    assert!(fault.to_string().contains(&server.url("/")), "{fault}");
}

#[test]
fn a_slow_reader_is_not_the_servers_fault() {
    let bytes = blob(2_000_000);
    let sent = bytes.clone();
    let server = Server::start(PLAIN, move |_, out: Out| give(out, 200, "", &sent));
    let options = ClientOptions {
        stall_window: Duration::from_secs(1),
        slowest_rate: 1 << 30,
        ..quick()
    };
    let client = client(options);
    let mut download = client
        .download(&Request::get(server.url("/")), &expect(&bytes))
        .expect("a body");
    let mut got = vec![0; 1000];
    download.read_exact(&mut got).expect("the beginning");
    // Longer than the window: if it counted, no rate would do.
    std::thread::sleep(Duration::from_millis(1200));
    download.read_to_end(&mut got).expect("the rest");
    assert!(got == bytes);
}
