//! Makes pods known to the metadata service, and forgotten again.
//!
//! HTTP/1.1 over the service's unix socket, one request per connection. The
//! service is the caller's own, but it may be slow or not there: every wait has an
//! end.

use super::socket;
use model::fault::{Result, errno_text};
use model::{Context, Fault};
use pod::{Pod, layout};
use rustix::fs::{AtFlags, unlinkat};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

/// Attempts while the service cannot be reached, one second apart: it may just
/// be starting.
const ATTEMPTS: u32 = 3;
const PAUSE: Duration = Duration::from_secs(1);
/// For each read and write.
const PATIENCE: Duration = Duration::from_secs(10);
/// Of an answer, which has no more than a line to say.
const MAX_ANSWER: u64 = 64 << 10;

/// Refuses early when nobody listens.
pub(crate) fn check_available() -> Result<()> {
    let socket = socket()?;
    attempt(ATTEMPTS, || connect(&socket)).map(drop)
}

/// Registers a pod and its apps; gives the token by which the apps are known.
/// What was registered when something fails is taken back.
pub(crate) fn register(pod: &Pod) -> Result<String> {
    register_at(&socket()?, pod).message(|| "failed to register the pod".into())
}

fn register_at(socket: &Path, pod: &Pod) -> Result<String> {
    let mut bytes = [0; 16];
    crate::random::fill(&mut bytes)?;
    let token = model::digest::hex(&bytes);
    let path = format!("/pods/{}", pod.uuid().as_str());
    let manifest = pod.manifest_bytes()?;
    // The mark comes first: a pod that dies in the middle is known to gc.
    pod.write_file(layout::MDS_REGISTERED, b"")?;
    let query = format!("?token={token}");
    let done = call(socket, ATTEMPTS, "PUT", &path, &query, &manifest).and_then(|()| {
        pod.manifest()?.apps.iter().try_for_each(|app| {
            let image = pod.image_manifest_bytes(&app.name)?;
            let path = format!("{path}/{}", app.name.as_str());
            call(socket, ATTEMPTS, "PUT", &path, "", &image)
        })
    });
    if let Err(fault) = done {
        // The first failure is the one to tell of. A mark that stays makes gc try again.
        if unregister_at(socket, pod).is_ok() {
            let _ = unlinkat(pod.dir(), layout::MDS_REGISTERED, AtFlags::empty());
        }
        return Err(fault);
    }
    Ok(token)
}

/// Takes the registration of a marked pod back. A service that knows nothing
/// of it, having been started anew, is as good.
pub(crate) fn unregister(pod: &Pod) -> Result<()> {
    match pod.read_file(layout::MDS_REGISTERED)? {
        Some(_) => unregister_at(&socket()?, pod),
        None => Ok(()),
    }
}

fn unregister_at(socket: &Path, pod: &Pod) -> Result<()> {
    let path = format!("/pods/{}", pod.uuid().as_str());
    // Once: gc of many pods must not wait for each.
    match attempt(1, || exchange(socket, "DELETE", &path, &[]))? {
        200 | 404 => Ok(()),
        status => Err(refused("DELETE", &path, status)),
    }
}

fn call(
    socket: &Path,
    attempts: u32,
    method: &str,
    path: &str,
    query: &str,
    body: &[u8],
) -> Result<()> {
    let target = format!("{path}{query}");
    match attempt(attempts, || exchange(socket, method, &target, body))? {
        200 => Ok(()),
        // Without the query: the token is nobody's to read.
        status => Err(refused(method, path, status)),
    }
}

fn refused(method: &str, path: &str, status: u16) -> Fault {
    Fault::refused(format!("{method} {path} returned {status}"))
}

/// Tries so often.
fn attempt<T>(attempts: u32, mut try_it: impl FnMut() -> io::Result<T>) -> Result<T> {
    let mut left = attempts;
    loop {
        left -= 1;
        match try_it() {
            Ok(value) => return Ok(value),
            Err(err) if left == 0 => return Err(unreachable(&err)),
            Err(_) => std::thread::sleep(PAUSE),
        }
    }
}

fn unreachable(err: &io::Error) -> Fault {
    const ENOTSOCK: i32 = rustix::io::Errno::NOTSOCK.raw_os_error();
    let absent = matches!(
        err.kind(),
        ErrorKind::NotFound | ErrorKind::ConnectionRefused
    ) || err.raw_os_error() == Some(ENOTSOCK);
    match absent {
        true => Fault::not_found("could not reach the metadata service.")
            .hint("start it with `rkt metadata-service`, or leave out --mds-register"),
        false => Fault::io(
            "talk to",
            "the metadata service",
            io::Error::new(err.kind(), errno_text(err)),
        ),
    }
}

fn connect(socket: &Path) -> io::Result<UnixStream> {
    let stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    Ok(stream)
}

/// One request; the status of its answer.
fn exchange(socket: &Path, method: &str, target: &str, body: &[u8]) -> io::Result<u16> {
    let mut stream = connect(socket)?;
    let head = format!(
        "{method} {target} HTTP/1.1\r\nHost: unixsock\r\nConnection: close\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    // A service that refuses early need not take the whole body.
    let sent = stream
        .write_all(head.as_bytes())
        .and_then(|()| stream.write_all(body));
    let mut answer = Vec::new();
    let read = stream.take(MAX_ANSWER).read_to_end(&mut answer);
    match status(&answer) {
        Some(status) => Ok(status),
        None => {
            sent?;
            read?;
            Err(io::Error::new(
                ErrorKind::InvalidData,
                "it does not speak HTTP",
            ))
        }
    }
}

/// `HTTP/1.1 200 OK`
fn status(answer: &[u8]) -> Option<u16> {
    let line = answer.split(|b| *b == b'\n').next()?;
    let mut words = std::str::from_utf8(line).ok()?.split_ascii_whitespace();
    words.next().filter(|word| word.starts_with("HTTP/1."))?;
    words.next()?.parse().ok()
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use std::os::unix::net::UnixListener;

    #[test]
    fn status_lines() {
        for (answer, want) in [
            ("HTTP/1.1 200 OK\r\n\r\n", Some(200)),
            ("HTTP/1.0 404\n", Some(404)),
            ("HTTP/1.1", None),
            ("SSH-2.0 200 x", None),
            ("", None),
            ("\u{0}\u{1}", None),
        ] {
            assert_eq!(status(answer.as_bytes()), want, "{answer}");
        }
    }

    #[test]
    fn a_service_that_is_not_there_or_says_no() {
        let dir = std::env::temp_dir().join(format!("rkt-test-mdc-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let socket = dir.join("s");
        let fault = call(&socket, 1, "PUT", "/pods/x", "?token=t", b"").unwrap_err();
        assert!(
            fault
                .cause
                .starts_with("could not reach the metadata service.")
        );
        std::fs::write(&socket, "").unwrap();
        let fault = call(&socket, 1, "PUT", "/pods/x", "", b"").unwrap_err();
        assert!(
            fault
                .cause
                .starts_with("could not reach the metadata service.")
        );
        std::fs::remove_file(&socket).unwrap();
        let listener = UnixListener::bind(&socket).unwrap();
        let server = std::thread::spawn(move || {
            for answer in ["HTTP/1.1 400 Bad\r\n\r\n", "gibberish"] {
                let (mut stream, _) = listener.accept().unwrap();
                let mut asked = [0; 512];
                let _ = stream.read(&mut asked).unwrap();
                stream.write_all(answer.as_bytes()).unwrap();
            }
        });
        let fault = call(&socket, 1, "PUT", "/pods/x", "?token=t", b"").unwrap_err();
        assert_eq!(fault.cause, "PUT /pods/x returned 400");
        let fault = call(&socket, 1, "PUT", "/pods/x", "?token=t", b"").unwrap_err();
        assert_eq!(
            fault.cause,
            "talk to the metadata service: it does not speak HTTP"
        );
        server.join().unwrap();
        std::fs::remove_dir_all(&dir).unwrap();
    }
}
