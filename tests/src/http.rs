//! A web server inside the test, plain or with TLS, that does what it is told: well-behaved or hostile.
//!
//! It listens on the loopback of the test's own network namespace, answers each request by a closure, and keeps what
//! was asked, so that a test can say which requests and which credentials went where.

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// One request as it came.
#[derive(Clone, Debug)]
pub struct Asked {
    pub method: String,
    /// With the query.
    pub path: String,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Asked {
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self
            .headers
            .iter()
            .find(|(given, _)| given.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }
}

/// What follows the headers.
#[derive(Clone, Debug)]
pub enum Body {
    /// The bytes, with their length.
    Whole(Vec<u8>),
    /// The bytes under another Content-Length; then the connection ends.
    Claiming(u64, Vec<u8>),
    /// The bytes again and again, without a length, until the client goes.
    Endless(Vec<u8>),
    /// One byte at a time, with pauses.
    Trickle(Vec<u8>, Duration),
    /// Nothing more, and the connection stays open for a while.
    Silence(Duration),
    /// Instead of any answer: these bytes.
    Raw(Vec<u8>),
    /// The same, and then nothing more, while the connection stays open.
    Stuck(Vec<u8>, Duration),
}

#[derive(Clone, Debug)]
pub struct Reply {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Body,
}

impl Reply {
    pub fn new(status: u16) -> Reply {
        Reply {
            status,
            headers: Vec::new(),
            body: Body::Whole(Vec::new()),
        }
    }

    pub fn ok(bytes: impl Into<Vec<u8>>) -> Reply {
        Reply::new(200).body(Body::Whole(bytes.into()))
    }

    pub fn redirect(status: u16, to: &str) -> Reply {
        Reply::new(status).header("Location", to)
    }

    pub fn header(mut self, name: &str, value: &str) -> Reply {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    pub fn body(mut self, body: Body) -> Reply {
        self.body = body;
        self
    }
}

type Answer = dyn Fn(&Asked) -> Reply + Send + Sync;

/// Listens until it is dropped.
pub struct Server {
    port: u16,
    scheme: &'static str,
    asked: Arc<Mutex<Vec<Asked>>>,
    closing: Arc<AtomicBool>,
}

impl Server {
    /// http on a free port.
    pub fn plain(answer: impl Fn(&Asked) -> Reply + Send + Sync + 'static) -> Server {
        Server::start(0, None, Arc::new(answer))
    }

    /// http on a port.
    pub fn plain_at(port: u16, answer: impl Fn(&Asked) -> Reply + Send + Sync + 'static) -> Server {
        Server::start(port, None, Arc::new(answer))
    }

    /// https on a port (0: a free one) with `server.pem` and `server.key` of a directory, as
    /// [`crate::registry::certificate`] makes them.
    pub fn tls(
        dir: &Path,
        port: u16,
        answer: impl Fn(&Asked) -> Reply + Send + Sync + 'static,
    ) -> Server {
        let chain: Vec<CertificateDer<'static>> =
            CertificateDer::pem_file_iter(dir.join("server.pem"))
                .expect("a certificate file")
                .map(|one| one.expect("a certificate"))
                .collect();
        let key = PrivateKeyDer::from_pem_file(dir.join("server.key")).expect("a key");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("ring has the default versions")
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .expect("the key fits the certificate");
        Server::start(port, Some(Arc::new(config)), Arc::new(answer))
    }

    fn start(port: u16, tls: Option<Arc<ServerConfig>>, answer: Arc<Answer>) -> Server {
        let listener =
            TcpListener::bind(("127.0.0.1", port)).expect("the loopback is up and the port free");
        let server = Server {
            port: listener.local_addr().expect("a bound socket").port(),
            scheme: if tls.is_some() { "https" } else { "http" },
            asked: Arc::default(),
            closing: Arc::default(),
        };
        let (asked, closing) = (server.asked.clone(), server.closing.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if closing.load(Ordering::Relaxed) {
                    return;
                }
                let (tls, answer, asked) = (tls.clone(), answer.clone(), asked.clone());
                // A client that goes away in the middle is none of the server's business.
                std::thread::spawn(move || {
                    let _ = stream.set_read_timeout(Some(Duration::from_secs(60)));
                    match tls {
                        None => serve(stream, &*answer, &asked),
                        Some(config) => {
                            if let Ok(connection) = ServerConnection::new(config) {
                                serve(StreamOwned::new(connection, stream), &*answer, &asked);
                            }
                        }
                    }
                });
            }
        });
        server
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// `localhost:port`
    pub fn host(&self) -> String {
        format!("localhost:{}", self.port)
    }

    /// `https://localhost:port/path`
    pub fn url(&self, path: &str) -> String {
        format!("{}://{}{path}", self.scheme, self.host())
    }

    /// All requests so far.
    pub fn asked(&self) -> Vec<Asked> {
        self.asked
            .lock()
            .expect("no thread panics while it holds this lock")
            .clone()
    }

    /// `GET /path` of all requests so far.
    pub fn lines(&self) -> Vec<String> {
        self.asked()
            .iter()
            .map(|asked| format!("{} {}", asked.method, asked.path))
            .collect()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.closing.store(true, Ordering::Relaxed);
        // Wakes the thread that accepts.
        let _ = TcpStream::connect(("127.0.0.1", self.port));
    }
}

fn serve(stream: impl Read + Write, answer: &Answer, kept: &Mutex<Vec<Asked>>) {
    let mut stream = BufReader::new(stream);
    // A client that speaks TLS to a plain server hears so at once, as real servers do.
    if stream
        .fill_buf()
        .is_ok_and(|begun| begun.first() == Some(&0x16))
    {
        let _ = stream
            .get_mut()
            .write_all(b"HTTP/1.0 400 Bad Request\r\n\r\nthis server speaks plain http\n");
        return;
    }
    while let Some(asked) = read(&mut stream) {
        kept.lock()
            .expect("no thread panics while it holds this lock")
            .push(asked.clone());
        let reply = answer(&asked);
        let stays = matches!(reply.body, Body::Whole(_));
        if write(stream.get_mut(), &asked, reply).is_err() || !stays {
            return;
        }
    }
}

fn read(stream: &mut impl BufRead) -> Option<Asked> {
    let mut line = String::new();
    stream.read_line(&mut line).ok().filter(|n| *n > 0)?;
    let mut words = line.split_whitespace();
    let (method, path) = (words.next()?.to_owned(), words.next()?.to_owned());
    let mut headers = Vec::new();
    loop {
        let mut line = String::new();
        stream.read_line(&mut line).ok().filter(|n| *n > 0)?;
        let Some((name, value)) = line.trim_end().split_once(':') else {
            break;
        };
        headers.push((name.to_owned(), value.trim().to_owned()));
    }
    let mut asked = Asked {
        method,
        path,
        headers,
        body: Vec::new(),
    };
    let length = asked
        .header("Content-Length")
        .and_then(|text| text.parse().ok())
        .unwrap_or(0);
    asked.body = vec![0; length];
    stream.read_exact(&mut asked.body).ok()?;
    Some(asked)
}

fn write(stream: &mut impl Write, asked: &Asked, reply: Reply) -> std::io::Result<()> {
    if let Body::Raw(bytes) = &reply.body {
        stream.write_all(bytes)?;
        return stream.flush();
    }
    if let Body::Stuck(bytes, pause) = &reply.body {
        stream.write_all(bytes)?;
        stream.flush()?;
        std::thread::sleep(*pause);
        return Ok(());
    }
    let mut head = format!("HTTP/1.1 {} Status\r\n", reply.status);
    for (name, value) in &reply.headers {
        head += &format!("{name}: {value}\r\n");
    }
    match &reply.body {
        Body::Whole(bytes) => head += &format!("Content-Length: {}\r\n\r\n", bytes.len()),
        Body::Claiming(length, _) => {
            head += &format!("Content-Length: {length}\r\nConnection: close\r\n\r\n")
        }
        Body::Trickle(bytes, _) => {
            head += &format!(
                "Content-Length: {}\r\nConnection: close\r\n\r\n",
                bytes.len()
            )
        }
        _ => head += "Connection: close\r\n\r\n",
    }
    stream.write_all(head.as_bytes())?;
    if asked.method == "HEAD" {
        return stream.flush();
    }
    match reply.body {
        Body::Whole(bytes) | Body::Claiming(_, bytes) => stream.write_all(&bytes)?,
        Body::Endless(bytes) => loop {
            stream.write_all(&bytes)?;
        },
        Body::Trickle(bytes, pause) => {
            for byte in bytes {
                stream.write_all(&[byte])?;
                stream.flush()?;
                std::thread::sleep(pause);
            }
        }
        Body::Silence(pause) => {
            stream.flush()?;
            std::thread::sleep(pause);
        }
        Body::Raw(_) | Body::Stuck(..) => {}
    }
    stream.flush()
}
