//! The client against servers that are wrong in all the ways that matter. Downloads
//! are in `tests/bodies.rs`.

mod bodies;

use super::testing::{Asked, Out, Scratch, Server, Speaks, give};
use super::*;
use crate::Silent;
use model::fault::Kind;
use std::io::Write;

const PLAIN: Speaks = Speaks::Plain;
const TLS: Speaks = Speaks::Tls;

fn quick() -> ClientOptions {
    ClientOptions {
        allow_http: true,
        retry_base: Duration::from_millis(1),
        retry_cap: Duration::from_millis(5),
        ..ClientOptions::default()
    }
}

fn client(options: ClientOptions) -> Client<'static> {
    Client::with(options, Environment::default(), &Silent)
}

/// Believes the CA of the test servers.
fn trusting(ca: &Scratch, options: ClientOptions) -> Client<'static> {
    let environment = Environment {
        cert_file: Some(ca.path().to_path_buf()),
        ..Environment::default()
    };
    Client::with(options, environment, &Silent)
}

fn secret(url: String) -> Request {
    let mut request = Request::get(url).header("Accept", "x/y");
    request.secret_headers = vec![("Authorization".into(), "Basic c2VjcmV0".into())];
    request
}

#[test]
fn an_exchange_carries_headers_both_ways() {
    let server = Server::start(PLAIN, |_, out: Out| {
        let headers =
            "WWW-Authenticate: Bearer a=\"1\"\r\nX: \u{e9}\r\nWWW-Authenticate: Basic b\r\n";
        give(out, 401, headers, b"no");
    });
    let request = Request::get(server.url("/a?b=c#d")).header("Accept", "x/y");
    let response = client(quick()).send(&request).expect("an answer");
    assert_eq!(response.status, 401);
    let challenges: Vec<_> = response.header_values("www-authenticate").collect();
    assert_eq!(challenges, ["Bearer a=\"1\"", "Basic b"]);
    assert_eq!(response.read(2).expect("the body"), b"no");
    let asked = server.asked();
    // A 401 is asked once: no loop.
    assert_eq!(asked.len(), 1);
    assert_eq!(asked[0].path, "/a?b=c");
    assert_eq!(asked[0].header("accept"), Some("x/y"));
    assert_eq!(asked[0].header("accept-encoding"), Some("identity"));
    let agent = asked[0].header("user-agent").expect("a user agent");
    assert_eq!(agent, concat!("rkt/", env!("CARGO_PKG_VERSION")));
}

#[test]
fn a_body_beyond_the_bound_is_an_error() {
    let server = Server::start(PLAIN, |_, out: Out| {
        let _ = out.write_all(b"HTTP/1.1 200 OK\r\n\r\n");
        // Until the client has enough.
        while out.write_all(&[b'x'; 4096]).is_ok() {}
    });
    let request = Request::get(server.url("/"));
    let response = client(quick()).send(&request).expect("an answer");
    let fault = response.read(10_000).expect_err("endless");
    assert!(
        fault.to_string().contains("longer than 10000 bytes"),
        "{fault}"
    );
}

#[test]
fn plain_http_is_refused_unless_allowed() {
    let server = Server::start(PLAIN, |_, out: Out| give(out, 200, "", b""));
    let mut request = secret(server.url("/"));
    let options = ClientOptions {
        allow_http: false,
        ..quick()
    };
    let fault = client(options).send(&request).err().expect("refused");
    assert_eq!(fault.kind, Kind::Refused);
    assert_eq!(
        fault.hint.as_deref(),
        Some("--insecure-options=http allows it")
    );
    assert!(server.asked().is_empty());
    request.plain_http_ok = true;
    assert_eq!(
        client(options).send(&request).expect("an answer").status,
        200
    );
    client(quick()).send(&request).expect("an answer");
    // Neither way with the secret.
    for asked in server.asked() {
        assert_eq!(asked.header("authorization"), None);
    }
}

#[test]
fn certificates_are_checked() {
    let handler = |_: &Asked, out: Out| give(out, 200, "", b"fine");
    let server = Server::start(TLS, handler);
    // The certificate is for 127.0.0.1.
    let other = Server::start_on("127.0.0.2", TLS, handler);
    let ca = Scratch::ca();
    let trusting = trusting(&ca, quick());
    let request = secret(server.url("/"));
    assert_eq!(trusting.send(&request).expect("an answer").status, 200);
    assert_eq!(
        server.asked()[0].header("authorization"),
        Some("Basic c2VjcmV0")
    );
    // What a server without TLS says to a greeting in TLS.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port on loopback");
    let port = listener.local_addr().expect("its address").port();
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("a client");
        stream
            .write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            .expect("an open connection");
        // Not closed before it was read.
        let _ = std::io::copy(&mut stream, &mut std::io::sink());
    });
    let to_plain = format!("https://127.0.0.1:{port}/");
    for (client, url, kind, hint) in [
        (
            &client(quick()),
            server.url("/"),
            Kind::Refused,
            "SSL_CERT_FILE",
        ),
        (
            &trusting,
            other.url("/"),
            Kind::Refused,
            "--insecure-options=tls",
        ),
        (
            &trusting,
            to_plain,
            Kind::Unsupported,
            "--insecure-options=http",
        ),
    ] {
        let fault = client.send(&Request::get(&url)).err().expect("refused");
        assert_eq!(fault.kind, kind, "{fault}");
        assert!(fault.to_string().contains(&url), "{fault}");
        assert!(
            fault
                .hint
                .as_deref()
                .is_some_and(|text| text.contains(hint)),
            "{fault:?}"
        );
    }
    assert_eq!(other.asked().len(), 0);
    let no_check = ClientOptions {
        no_tls_check: true,
        ..quick()
    };
    let response = client(no_check)
        .send(&Request::get(other.url("/")))
        .expect("an answer");
    assert_eq!(response.read(9).expect("the body"), b"fine");
}

#[test]
fn roots_that_cannot_be_used_are_no_silent_fallback() {
    let (empty, dir) = (Scratch::file(b"no PEM"), std::env::temp_dir());
    for file in [empty.path(), &dir.join("rkt-is-not-here"), &dir] {
        let environment = Environment {
            cert_file: Some(file.to_path_buf()),
            ..Environment::default()
        };
        let fault = roots::load(&environment).expect_err("a fault");
        assert!(
            fault.to_string().contains(&file.display().to_string()),
            "{fault}"
        );
    }
    let ca = Scratch::ca();
    let environment = Environment {
        cert_file: Some(ca.path().to_path_buf()),
        ..Environment::default()
    };
    let (_, source) = roots::load(&environment).expect("roots");
    assert!(
        source.ends_with("(SSL_CERT_FILE): 1 certificates"),
        "{source}"
    );
}

#[test]
fn secrets_stay_with_their_origin() {
    let there = Server::start(TLS, |_, out: Out| give(out, 200, "", b""));
    let away = there.url("/x");
    let here = Server::start(TLS, move |asked, out: Out| {
        let to = match asked.path.as_str() {
            "/same" => "/end",
            "/away" => &away,
            _ => return give(out, 200, "", b""),
        };
        give(out, 307, &format!("Location: {to}\r\n"), b"moved");
    });
    let ca = Scratch::ca();
    let client = trusting(&ca, quick());
    let response = client.send(&secret(here.url("/same"))).expect("an answer");
    assert_eq!(response.url, here.url("/end"));
    assert_eq!(
        here.asked()[1].header("authorization"),
        Some("Basic c2VjcmV0")
    );
    let response = client.send(&secret(here.url("/away"))).expect("an answer");
    assert_eq!(response.url, there.url("/x"));
    // Another port is another host; what is no secret goes along.
    assert_eq!(there.asked()[0].header("authorization"), None);
    assert_eq!(there.asked()[0].header("accept"), Some("x/y"));
}

#[test]
fn redirects_end() {
    let plain = Server::start(PLAIN, |_, out: Out| give(out, 200, "", b""));
    let down = plain.url("/");
    let server = Server::start(TLS, move |asked, out: Out| {
        let to = match asked.path.as_str() {
            "/self" => "/self".to_string(),
            "/a" => "/b".to_string(),
            "/b" => "/a".to_string(),
            "/down" => down.clone(),
            "/file" => "file:///etc/passwd".to_string(),
            "/nowhere" => return give(out, 302, "", b"no location"),
            path => format!("{path}x"),
        };
        give(out, 302, &format!("Location: {to}\r\n"), b"");
    });
    let ca = Scratch::ca();
    let client = trusting(&ca, quick());
    for (path, words, hits) in [
        ("/self", "in a circle", 1),
        ("/a", "in a circle", 2),
        ("/ever", "too many redirects", 11),
        ("/down", "from https to plain http", 1),
        ("/file", "only https and http", 1),
    ] {
        let before = server.asked().len();
        let fault = client
            .send(&Request::get(server.url(path)))
            .err()
            .expect(path);
        assert!(fault.to_string().contains(words), "{path}: {fault}");
        assert_eq!(server.asked().len() - before, hits, "{path}");
    }
    assert!(plain.asked().is_empty());
    // Without a location it is an answer like any other.
    let response = client
        .send(&Request::get(server.url("/nowhere")))
        .expect("an answer");
    assert_eq!(response.status, 302);
}

#[test]
fn a_form_is_posted_to_its_own_host_alone() {
    let there = Server::start(TLS, |_, out: Out| give(out, 200, "", b""));
    let away = there.url("/x");
    let here = Server::start(TLS, move |asked, out: Out| match asked.path.as_str() {
        "/see" => give(out, 303, &format!("Location: {away}\r\n"), b""),
        "/same" => give(out, 307, "Location: /end\r\n", b""),
        "/away" => give(out, 307, &format!("Location: {away}\r\n"), b""),
        _ => give(out, 200, "", b""),
    });
    let ca = Scratch::ca();
    let client = trusting(&ca, quick());
    let post = |path: &str| Request {
        method: Method::Post,
        body: Some(b"password=x".to_vec()),
        ..secret(here.url(path))
    };
    client.send(&post("/same")).expect("an answer");
    assert_eq!(here.asked()[1].body, b"password=x");
    client.send(&post("/see")).expect("an answer");
    let seen = &there.asked()[0];
    assert_eq!((seen.method.as_str(), seen.body.len()), ("GET", 0));
    assert_eq!(seen.header("authorization"), None);
    let fault = client.send(&post("/away")).err().expect("refused");
    assert!(
        fault.to_string().contains("a form to another host"),
        "{fault}"
    );
    assert_eq!(there.asked().len(), 1);
}

#[test]
fn what_is_tried_again() {
    for (status, headers, bad_ones, hits, want) in [
        (503, "", 2, 3, 200),
        (500, "", 4, 5, 200),
        (504, "", 9, 5, 504),
        (408, "", 1, 2, 200),
        (429, "Retry-After: 0\r\n", 1, 2, 200),
        (429, "Retry-After: 100000\r\n", 1, 2, 200),
        (
            429,
            "Retry-After: Fri, 01 Jan 2100 00:00:00 GMT\r\n",
            1,
            2,
            200,
        ),
        (429, "Retry-After: soon\r\n", 9, 5, 429),
        (400, "", 9, 1, 400),
        (401, "", 9, 1, 401),
        (403, "", 9, 1, 403),
        (404, "", 9, 1, 404),
        (405, "", 9, 1, 405),
        (416, "", 9, 1, 416),
        (501, "", 9, 1, 501),
    ] {
        let server = Server::start(PLAIN, move |asked, out: Out| {
            let status = if asked.number < bad_ones { status } else { 200 };
            give(out, status, headers, b"");
        });
        let response = client(quick())
            .send(&Request::get(server.url("/")))
            .expect("an answer");
        assert_eq!(response.status, want, "{status}");
        assert_eq!(server.asked().len(), hits, "{status} {headers}");
    }
}

#[test]
fn a_connection_that_breaks_is_tried_again() {
    for speaks in [PLAIN, TLS] {
        let server = Server::start(speaks, |asked, out: Out| {
            if asked.number == 2 {
                give(out, 200, "", b"");
            }
        });
        let ca = Scratch::ca();
        let client = trusting(&ca, quick());
        let request = Request::get(server.url("/"));
        assert_eq!(client.send(&request).expect("an answer").status, 200);
        assert_eq!(server.asked().len(), 3);
        // From now on there is never an answer.
        let fault = client.send(&request).err().expect("no answer");
        assert!(fault.to_string().contains(&server.url("/")), "{fault}");
        assert_eq!(server.asked().len(), 8);
    }
}

#[test]
fn nobody_listens() {
    let server = Server::start(PLAIN, |_, _| {});
    let url = server.url("/");
    drop(server);
    let fault = client(quick())
        .send(&Request::get(url))
        .err()
        .expect("refused");
    assert!(fault.to_string().contains("connection refused"), "{fault}");
}

#[test]
fn nonsense_is_an_error() {
    for nonsense in [
        &b"SSH-2.0-OpenSSH_9.2\r\n\r\n"[..],
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nx",
        b"HTTP/1.1 999999 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n no name\r\n\r\n",
        b"\0\0\0\0\0\0\0\0\r\n\r\n",
    ] {
        let server = Server::start(PLAIN, move |_, out: Out| {
            let _ = out.write_all(nonsense);
        });
        let sent = client(quick()).send(&Request::get(server.url("/")));
        let fault = sent
            .and_then(|response| response.read(99))
            .expect_err("nonsense");
        assert!(fault.to_string().contains(&server.url("/")), "{fault}");
    }
}

#[test]
fn headers_are_bounded() {
    let server = Server::start(PLAIN, |_, out: Out| {
        let _ = out.write_all(b"HTTP/1.1 200 OK\r\nX: ");
        while out.write_all(&[b'x'; 4096]).is_ok() {}
    });
    let fault = client(quick())
        .send(&Request::get(server.url("/")))
        .err()
        .expect("too much");
    assert!(
        fault.to_string().contains("headers of more than"),
        "{fault}"
    );
}

#[test]
fn a_silent_server_and_endless_headers_run_out_of_time() {
    let options = ClientOptions {
        answer_timeout: Duration::from_millis(300),
        ..quick()
    };
    for drip in [false, true] {
        let server = Server::start(PLAIN, move |_, out: Out| {
            let line = if drip {
                &b"HTTP/1.1 100 Continue\r\n\r\n"[..]
            } else {
                b""
            };
            while out.write_all(line).is_ok_and(|()| drip) {
                std::thread::sleep(Duration::from_millis(10));
            }
            std::thread::sleep(Duration::from_secs(1));
        });
        let fault = client(options)
            .send(&Request::get(server.url("/")))
            .err()
            .expect("late");
        assert_eq!(fault.kind, Kind::TimedOut, "{fault}");
        assert_eq!(server.asked().len(), 1);
    }
}

/// A proxy for one connection: its port, and what it was asked. Any name leads
/// to `target`.
fn proxy(target: u16, answer: &'static str) -> (u16, std::sync::mpsc::Receiver<String>) {
    use std::io::copy;
    use std::net::{Shutdown, TcpListener, TcpStream};
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port on loopback");
    let port = listener.local_addr().expect("its address").port();
    let (tell, told) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let (mut client, _) = listener.accept().expect("a client");
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            client.read_exact(&mut byte).expect("a request");
            head.push(byte[0]);
        }
        let _ = tell.send(String::from_utf8(head).expect("text"));
        client
            .write_all(answer.as_bytes())
            .expect("an open connection");
        let mut server = TcpStream::connect(("127.0.0.1", target)).expect("the server");
        let (mut up, mut on) = (
            client.try_clone().expect("fd"),
            server.try_clone().expect("fd"),
        );
        std::thread::spawn(move || copy(&mut up, &mut on));
        let _ = copy(&mut server, &mut client);
        let _ = client.shutdown(Shutdown::Write);
    });
    (port, told)
}

#[test]
fn https_goes_through_a_proxy_by_connect() {
    let server = Server::start(TLS, |_, out: Out| give(out, 200, "", b"behind"));
    let ca = Scratch::ca();
    let through = |port: u16| Environment {
        https_proxy: Some(format!("http://us%40er:pa%3Ass@127.0.0.1:{port}")),
        cert_file: Some(ca.path().to_path_buf()),
        ..Environment::default()
    };
    let (port, told) = proxy(server.port, "HTTP/1.1 200 Fine\r\n\r\n");
    // No name server knows this one: the proxy gets the name.
    let request = secret("https://registry.test:5000/x".into());
    let client = Client::with(quick(), through(port), &Silent);
    let response = client.send(&request).expect("an answer");
    assert_eq!(response.read(9).expect("the body"), b"behind");
    let asked = told.recv().expect("what the proxy was asked");
    assert!(
        asked.starts_with("CONNECT registry.test:5000 HTTP/1.1\r\n"),
        "{asked}"
    );
    // us@er:pa:ss
    assert!(
        asked.contains("Proxy-Authorization: Basic dXNAZXI6cGE6c3M=\r\n"),
        "{asked}"
    );
    assert!(!asked.contains("c2VjcmV0"), "{asked}");
    assert_eq!(
        server.asked()[0].header("authorization"),
        Some("Basic c2VjcmV0")
    );
    assert_eq!(server.asked()[0].header("proxy-authorization"), None);

    let (port, _told) = proxy(server.port, "HTTP/1.1 407 No\r\n\r\n");
    let client = Client::with(quick(), through(port), &Silent);
    let fault = client.send(&request).err().expect("refused");
    assert!(fault.to_string().contains("407"), "{fault}");
    assert!(fault.hint.is_some_and(|hint| hint.contains("https_proxy")));
}

#[test]
fn a_proxy_that_is_none_is_an_error_without_its_password() {
    for (proxy, why) in [
        ("socks5://u:secret@p", "SOCKS is not spoken"),
        ("http://u:secret@", "not a URL"),
    ] {
        let environment = Environment {
            http_proxy: Some(proxy.to_string()),
            ..Environment::default()
        };
        let client = Client::with(quick(), environment, &Silent);
        let fault = client
            .send(&Request::get("http://registry.test/"))
            .err()
            .expect("a fault");
        assert!(fault.to_string().contains(why), "{fault}");
        assert!(!fault.to_string().contains("secret"), "{fault}");
    }
}
