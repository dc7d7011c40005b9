//! `rkt metadata-service` as its clients see it: registered by hand over its unix socket, asked over TCP, and attacked.
//!
//! Each test has namespaces of its own: `/run` is a fresh tmpfs, the loopback is all the network there is.

mod hostile;
mod life;
mod pages;

use rustix::mount::{MountFlags, mount};
use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, SocketAddrV4, TcpStream};
use std::os::unix::net::UnixStream;
use std::time::Duration;
use tests::Rkt;
use tests::proc::eventually;
use tests::rkt::Running;

const SOCKET: &str = "/run/rkt/metadata-svc.sock";
const PORT: u16 = 18112;
/// Longer than any of the service's own time-outs.
const PATIENCE: Duration = Duration::from_secs(60);

const UUID: &str = "6d30845e-5d5c-4dcb-b565-b304e87f5e7b";
const TOKEN: &str = "00112233445566778899aabbccddeeff";
const ASCII: &str = "text/plain; charset=us-ascii";
const JSON: &str = "application/json";

/// A test in namespaces of its own.
macro_rules! mds_test {
    (fn $name:ident() $body:block) => {
        #[test]
        fn $name() {
            fn inner() {
                crate::fresh_run();
                $body
            }
            let test = tests::isolated::path(module_path!(), stringify!($name));
            tests::isolated::isolated_in(&[tests::isolated::Mode::Private], &test, inner);
        }
    };
}
use mds_test;

fn fresh_run() {
    mount(
        "tmpfs",
        "/run",
        "tmpfs",
        MountFlags::empty(),
        Some(c"mode=755"),
    )
    .expect("root may mount in a namespace of its own");
}

/// The service, once it says that it runs.
#[track_caller]
fn service() -> Running {
    let running = Rkt::plain().arg("metadata-service").spawn();
    said(&running, "metadata-service: metadata service running...\n");
    running
}

/// Waits until stderr holds `part`.
#[track_caller]
fn said(running: &Running, part: &str) {
    eventually(part, || running.stderr().contains(part).then_some(()));
}

/// An answer as it came.
#[derive(Debug)]
struct Answer {
    status: u16,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Answer {
    fn header(&self, name: &str) -> Option<&str> {
        let found = self
            .headers
            .iter()
            .find(|(given, _)| given.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }

    fn kind(&self) -> &str {
        self.header("Content-Type").unwrap_or_default()
    }

    fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("answers are text")
    }

    /// Status, type and text.
    fn parts(&self) -> (u16, &str, &str) {
        (self.status, self.kind(), self.text())
    }
}

/// The next answer on a connection; `None` when there is none.
fn answer(stream: &mut impl BufRead) -> Option<Answer> {
    let mut line = String::new();
    stream.read_line(&mut line).ok().filter(|n| *n > 0)?;
    let status = line.strip_prefix("HTTP/1.1 ")?.split(' ').next()?;
    let status = status.parse().ok()?;
    let mut headers = Vec::new();
    loop {
        let mut line = String::new();
        stream.read_line(&mut line).ok().filter(|n| *n > 0)?;
        let Some((name, value)) = line.trim_end().split_once(": ") else {
            break;
        };
        headers.push((name.to_owned(), value.to_owned()));
    }
    let mut answer = Answer {
        status,
        headers,
        body: Vec::new(),
    };
    let length = answer.header("Content-Length").and_then(|l| l.parse().ok());
    answer.body = vec![0; length.unwrap_or(0)];
    stream.read_exact(&mut answer.body).ok()?;
    Some(answer)
}

/// A connection to the public side.
fn connect() -> TcpStream {
    connect_from(Ipv4Addr::LOCALHOST)
}

/// The same from another address of the loopback.
fn connect_from(own: Ipv4Addr) -> TcpStream {
    use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, connect, socket_with};
    let socket = socket_with(
        AddressFamily::INET,
        SocketType::STREAM,
        SocketFlags::CLOEXEC,
        None,
    )
    .expect("a TCP socket");
    bind(&socket, &SocketAddrV4::new(own, 0)).expect("every 127.x.y.z is ours");
    connect(&socket, &SocketAddrV4::new(Ipv4Addr::LOCALHOST, PORT)).expect("the service listens");
    let stream = TcpStream::from(socket);
    stream
        .set_read_timeout(Some(PATIENCE))
        .expect("a time-out can be set");
    stream
}

/// The bytes, and the first answer to them.
#[track_caller]
fn send(bytes: impl AsRef<[u8]>) -> Answer {
    let mut stream = connect();
    // The service may refuse before it has read all.
    let _ = stream.write_all(bytes.as_ref());
    answer(&mut BufReader::new(stream)).expect("an answer")
}

fn page(page: &str) -> String {
    format!("/{TOKEN}/acMetadata/v1{page}")
}

#[track_caller]
fn get(target: &str) -> Answer {
    send(format!(
        "GET {target} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
    ))
}

#[track_caller]
fn post(target: &str, form: &str) -> Answer {
    send(format!(
        "POST {target} HTTP/1.1\r\nHost: a\r\nContent-Type: application/x-www-form-urlencoded\r\n\
         Content-Length: {}\r\n\r\n{form}",
        form.len()
    ))
}

/// A request on the unix socket.
#[track_caller]
fn register(method: &str, target: &str, body: &str) -> Answer {
    let mut stream = UnixStream::connect(SOCKET).expect("the service listens");
    let head = format!(
        "{method} {target} HTTP/1.1\r\nHost: unixsock\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    stream
        .write_all(&[head.as_bytes(), body.as_bytes()].concat())
        .expect("the service reads");
    answer(&mut BufReader::new(stream)).expect("an answer")
}

fn image_id() -> String {
    format!("sha512-{}", "5a".repeat(32))
}

fn pod_manifest() -> String {
    format!(
        "{{\"acVersion\":\"0.8.11\",\"acKind\":\"PodManifest\",\"apps\":[{{\"name\":\"web\",\"image\":{{\
         \"id\":\"{}\"}},\"annotations\":[{{\"name\":\"b\",\"value\":\"of the pod\"}}]}}],\"volumes\":null,\
         \"isolators\":null,\"annotations\":[{{\"name\":\"role\",\"value\":\"shop\"}}],\"ports\":[]}}",
        image_id()
    )
}

const IMAGE: &str = "{\"acKind\":\"ImageManifest\",\"acVersion\":\"0.8.11\",\"name\":\"example.com/web\",\
    \"annotations\":[{\"name\":\"a\",\"value\":\"of the image\"},{\"name\":\"b\",\"value\":\"x\"}]}";

/// Registers the pod `UUID` with its app.
#[track_caller]
fn register_pod() {
    for (target, body) in [
        (format!("/pods/{UUID}?token={TOKEN}"), pod_manifest()),
        (format!("/pods/{UUID}/web"), IMAGE.to_owned()),
    ] {
        let answer = register("PUT", &target, &body);
        assert_eq!((answer.status, answer.text()), (200, ""), "{target}");
    }
}

/// Still answers.
#[track_caller]
fn alive() {
    assert_eq!(get(&page("/pod/uuid")).parts(), (200, ASCII, UUID));
}
