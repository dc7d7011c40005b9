//! A server for tests: one thread per connection, one exchange each, on loopback.
//!
//! A handler gets what was asked and writes the raw answer, so that it can be as
//! wrong as a test needs; the connection ends when it returns. With `Tls` it
//! speaks as `localhost`, `registry.test` and 127.0.0.1, with a certificate of
//! the CA in `testdata`.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

#[derive(Clone, Debug, Default)]
pub struct Asked {
    pub method: String,
    pub path: String,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    /// The how-manieth request of this server, from 0.
    pub number: usize,
}

impl Asked {
    pub fn header(&self, name: &str) -> Option<&str> {
        super::find(&self.headers, name)
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Speaks {
    Plain,
    Tls,
}

pub type Out<'o> = &'o mut dyn Write;

pub struct Server {
    pub port: u16,
    speaks: Speaks,
    asked: Arc<Mutex<Vec<Asked>>>,
    stop: Arc<AtomicBool>,
    address: String,
}

impl Server {
    pub fn start(speaks: Speaks, handler: impl Fn(&Asked, Out) + Send + Sync + 'static) -> Server {
        Server::start_on("127.0.0.1", speaks, handler)
    }

    pub fn start_on(
        ip: &str,
        speaks: Speaks,
        handler: impl Fn(&Asked, Out) + Send + Sync + 'static,
    ) -> Server {
        let listener = TcpListener::bind((ip, 0)).expect("a port on loopback");
        let address = listener.local_addr().expect("its address");
        let server = Server {
            port: address.port(),
            speaks,
            asked: Arc::default(),
            stop: Arc::default(),
            address: address.to_string(),
        };
        let (asked, stop) = (Arc::clone(&server.asked), Arc::clone(&server.stop));
        let handler = Arc::new(handler);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                if stop.load(Ordering::Relaxed) {
                    return;
                }
                let Ok(stream) = stream else { continue };
                let (asked, handler) = (Arc::clone(&asked), Arc::clone(&handler));
                std::thread::spawn(move || serve(stream, speaks, &asked, &*handler));
            }
        });
        server
    }

    pub fn url(&self, path: &str) -> String {
        let scheme = if self.speaks == Speaks::Tls {
            "https"
        } else {
            "http"
        };
        format!("{scheme}://{}{path}", self.address)
    }

    pub fn asked(&self) -> Vec<Asked> {
        self.asked.lock().expect("no handler panicked").clone()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        // Wakes the thread that accepts.
        let _ = TcpStream::connect(&self.address);
    }
}

fn serve(
    mut stream: TcpStream,
    speaks: Speaks,
    asked: &Mutex<Vec<Asked>>,
    handler: &(dyn Fn(&Asked, Out) + Send + Sync),
) {
    if speaks == Speaks::Plain {
        answer(&mut stream, asked, handler);
        // What was not read would turn the end into a reset.
        let _ = stream.shutdown(std::net::Shutdown::Write);
        return;
    }
    let Ok(tls) = rustls::ServerConnection::new(tls_config()) else {
        return;
    };
    let mut stream = rustls::StreamOwned::new(tls, stream);
    answer(&mut stream, asked, handler);
    stream.conn.send_close_notify();
    let _ = stream.flush();
}

fn answer(
    stream: &mut (impl Read + Write),
    asked: &Mutex<Vec<Asked>>,
    handler: &(dyn Fn(&Asked, Out) + Send + Sync),
) {
    let Some(mut request) = read_request(stream) else {
        return;
    };
    {
        let mut asked = asked.lock().expect("no handler panicked");
        request.number = asked.len();
        asked.push(request.clone());
    }
    handler(&request, stream);
    let _ = stream.flush();
}

fn read_request(stream: &mut impl Read) -> Option<Asked> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).ok()?;
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).ok()?;
    let mut lines = head.trim_end().split("\r\n");
    let mut words = lines.next()?.split(' ');
    let mut asked = Asked {
        method: words.next()?.to_string(),
        path: words.next()?.to_string(),
        ..Asked::default()
    };
    for line in lines {
        let (name, value) = line.split_once(": ")?;
        asked.headers.push((name.to_string(), value.to_string()));
    }
    let length = asked
        .header("content-length")
        .map_or(Some(0), |length| length.parse().ok())?;
    asked.body = vec![0; length];
    stream.read_exact(&mut asked.body).ok()?;
    Some(asked)
}

fn tls_config() -> Arc<rustls::ServerConfig> {
    use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
    let cert = CertificateDer::from_pem_slice(include_bytes!("testdata/server.pem"));
    let key = PrivateKeyDer::from_pem_slice(include_bytes!("testdata/server.key"));
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions of TLS")
        .with_no_client_auth()
        .with_single_cert(vec![cert.expect("a certificate")], key.expect("a key"))
        .expect("a pair");
    Arc::new(config)
}

/// An answer with a body whose length is given. It announces that the connection
/// ends: a client that kept it would spend a try on finding that out, or not, as
/// the threads happen to run.
pub fn give(out: Out, status: u16, headers: &str, body: &[u8]) {
    let length = body.len();
    let head = format!(
        "HTTP/1.1 {status} X\r\n{headers}Connection: close\r\nContent-Length: {length}\r\n\r\n"
    );
    // A client that went away is part of some tests.
    let _ = out
        .write_all(head.as_bytes())
        .and_then(|()| out.write_all(body));
}

/// A client that believes the CA in the file and no other, and does not wait long
/// before it asks again.
pub fn believing<'a>(
    ca: &Path,
    options: super::ClientOptions,
    notes: &'a dyn crate::Notes,
) -> super::Client<'a> {
    let options = super::ClientOptions {
        retry_base: std::time::Duration::from_millis(1),
        retry_cap: std::time::Duration::from_millis(5),
        ..options
    };
    let environment = super::Environment {
        cert_file: Some(ca.to_path_buf()),
        ..super::Environment::default()
    };
    super::Client::with(options, environment, notes)
}

/// A file of this test's own, gone with the value.
pub struct Scratch(PathBuf);

impl Scratch {
    pub fn file(content: &[u8]) -> Scratch {
        let mut random = [0u8; 8];
        rustix::rand::getrandom(&mut random, rustix::rand::GetRandomFlags::empty())
            .expect("random bytes");
        let name = format!("rkt-test-{:016x}", u64::from_ne_bytes(random));
        let path = std::env::temp_dir().join(name);
        std::fs::write(&path, content).expect("a file");
        Scratch(path)
    }

    pub fn ca() -> Scratch {
        Scratch::file(include_bytes!("testdata/ca.pem"))
    }

    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}
