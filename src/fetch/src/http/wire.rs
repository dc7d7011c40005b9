//! Sockets under ureq: resolving, connecting and waiting in slices, so that each
//! wait ends when the user gives up, when its time is over or when the server
//! sends too little.
//!
//! ureq speaks HTTP/1.1 and TLS above; this is its connector for TCP and its
//! resolver. Only the time spent waiting for the server counts against its
//! pace: a slow disk on our side does not make it slow.

use super::{ClientOptions, url::shown};
use crate::interrupt::{self, SLICE};
use model::fault::{Fault, Kind, errno_text};
use model::text::quote;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{AddressFamily, SocketFlags, SocketType};
use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream, ToSocketAddrs};
use std::os::fd::AsFd;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};
use ureq::Error;
use ureq::config::Config;
use ureq::http::Uri;
use ureq::unversioned::resolver::{ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{
    Buffers, ConnectProxyConnector, ConnectionDetails, Connector, Either, LazyBuffers, NextTimeout,
    RustlsConnector, Transport,
};

/// Bytes of an answer's headers; tokens and signed redirects are long.
const MAX_HEADERS: usize = 48 << 10;
const INPUT: usize = 64 << 10;
const OUTPUT: usize = 16 << 10;

/// An agent with `tls` for https, through `proxy` or straight.
pub(super) fn agent(
    options: &ClientOptions,
    tls: ureq::tls::TlsConfig,
    proxy: Option<ureq::Proxy>,
) -> ureq::Agent {
    let config = Config::builder()
        .http_status_as_error(false)
        .max_redirects(0)
        .max_redirects_will_error(false)
        .user_agent(concat!("rkt/", env!("CARGO_PKG_VERSION")))
        .accept_encoding("identity")
        .max_response_header_size(MAX_HEADERS)
        .input_buffer_size(INPUT)
        .output_buffer_size(OUTPUT)
        .max_idle_connections(8)
        .max_idle_connections_per_host(4)
        .timeout_resolve(Some(options.connect_timeout))
        .timeout_connect(Some(options.connect_timeout))
        .timeout_send_request(Some(options.answer_timeout))
        .timeout_send_body(Some(options.answer_timeout))
        .timeout_recv_response(Some(options.answer_timeout))
        .tls_config(tls)
        .proxy(proxy)
        .build();
    let connector =
        ().chain(ConnectProxyConnector::default())
            .chain(Tcp(*options))
            .chain(RustlsConnector::default());
    ureq::Agent::with_parts(config, connector, Names)
}

#[derive(Debug)]
struct Names;

impl Resolver for Names {
    fn resolve(
        &self,
        uri: &Uri,
        _: &Config,
        timeout: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, Error> {
        let host = uri.host().unwrap_or_default();
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let https = uri.scheme_str() == Some("https");
        let port = uri.port_u16().unwrap_or(if https { 443 } else { 80 });
        let mut found = self.empty();
        if let Ok(ip) = host.parse::<IpAddr>() {
            found.push(SocketAddr::new(ip, port));
            return Ok(found);
        }
        for addr in look_up(host.to_string(), port, timeout)?
            .into_iter()
            .take(16)
        {
            found.push(addr);
        }
        match found.is_empty() {
            true => Err(Error::HostNotFound),
            false => Ok(found),
        }
    }
}

/// The system's resolver cannot be interrupted: it is left behind in its thread.
fn look_up(host: String, port: u16, timeout: NextTimeout) -> Result<Vec<SocketAddr>, Error> {
    let (tell, told) = mpsc::sync_channel(1);
    std::thread::Builder::new().spawn(move || {
        let found = (host.as_str(), port).to_socket_addrs();
        // Nobody waits any more: fine.
        let _ = tell.send(found.map(Vec::from_iter));
    })?;
    let start = Instant::now();
    loop {
        interrupt::check()?;
        match told.recv_timeout(SLICE.min(*timeout.after)) {
            Ok(Ok(found)) => return Ok(found),
            // Another kind than a broken connection: this is not tried again.
            Ok(Err(err)) => {
                let text = err.to_string();
                let text = text.rsplit(": ").next().unwrap_or(&text).to_lowercase();
                return Err(io::Error::new(io::ErrorKind::NotFound, text).into());
            }
            Err(RecvTimeoutError::Timeout) if start.elapsed() < *timeout.after => {}
            Err(_) => return Err(Error::Timeout(timeout.reason)),
        }
    }
}

#[derive(Debug)]
struct Tcp(ClientOptions);

impl<In: Transport> Connector<In> for Tcp {
    type Out = Either<In, Socket>;

    fn connect(
        &self,
        details: &ConnectionDetails,
        chained: Option<In>,
    ) -> Result<Option<Self::Out>, Error> {
        if let Some(tunnel) = chained {
            return Ok(Some(Either::A(tunnel)));
        }
        let mut left = self.0.connect_timeout.min(*details.timeout.after);
        let mut last = Error::HostNotFound;
        for (index, addr) in details.addrs.iter().enumerate() {
            let others = index + 1 < details.addrs.len();
            let time = if others { left / 2 } else { left };
            let start = Instant::now();
            match connect(*addr, time) {
                Ok(stream) => return Ok(Some(Either::B(Socket::new(stream, &self.0)))),
                Err(err) if err.get_ref().is_some_and(|inner| inner.is::<Fault>()) => {
                    return Err(err.into());
                }
                Err(err) if err.kind() == io::ErrorKind::TimedOut => {
                    last = Error::Timeout(ureq::Timeout::Connect);
                }
                Err(err) => last = err.into(),
            }
            left = left.saturating_sub(start.elapsed());
        }
        Err(last)
    }
}

fn connect(addr: SocketAddr, time: Duration) -> io::Result<TcpStream> {
    let family = match addr {
        SocketAddr::V4(_) => AddressFamily::INET,
        SocketAddr::V6(_) => AddressFamily::INET6,
    };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = rustix::net::socket_with(family, SocketType::STREAM, flags, None)?;
    match rustix::net::connect(&socket, &addr) {
        Ok(()) => {}
        Err(rustix::io::Errno::INPROGRESS) => {
            let mut waited = Duration::ZERO;
            while !ready(&socket, PollFlags::OUT, &mut waited)? {
                if waited >= time {
                    return Err(io::ErrorKind::TimedOut.into());
                }
            }
            rustix::net::sockopt::socket_error(&socket)??;
        }
        Err(err) => return Err(err.into()),
    }
    let stream = TcpStream::from(socket);
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Waits for a slice of time at most, and adds what it took to `waited`.
fn ready(fd: impl AsFd, flags: PollFlags, waited: &mut Duration) -> io::Result<bool> {
    interrupt::check()?;
    let start = Instant::now();
    let slice = Timespec::try_from(SLICE).map_err(|_| io::ErrorKind::InvalidInput)?;
    let mut fds = [PollFd::new(&fd, flags)];
    let ready = match poll(&mut fds, Some(&slice)) {
        Ok(count) => count > 0,
        Err(rustix::io::Errno::INTR) => false,
        Err(err) => return Err(err.into()),
    };
    *waited += start.elapsed();
    Ok(ready)
}

struct Socket {
    stream: TcpStream,
    buffers: LazyBuffers,
    window: Duration,
    rate: u64,
    /// Time spent waiting for the server since the window began.
    waited: Duration,
    /// Bytes received in the window.
    received: u64,
}

impl std::fmt::Debug for Socket {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Socket").field(&self.stream).finish()
    }
}

impl Socket {
    fn new(stream: TcpStream, options: &ClientOptions) -> Socket {
        Socket {
            stream,
            buffers: LazyBuffers::new(INPUT, OUTPUT),
            window: options.stall_window,
            rate: options.slowest_rate,
            waited: Duration::ZERO,
            received: 0,
        }
    }

    /// Fails when a window of waiting is over and brought too little.
    fn check_pace(&mut self) -> Result<(), Error> {
        if self.waited < self.window {
            return Ok(());
        }
        let seconds = self.waited.as_secs_f64();
        let rate = self.received as f64 / seconds;
        if rate < self.rate as f64 {
            let text = format!("{rate:.0} bytes/s over the last {seconds:.0} s are too slow");
            return Err(io::Error::new(io::ErrorKind::TimedOut, text).into());
        }
        self.waited = Duration::ZERO;
        self.received = 0;
        Ok(())
    }
}

impl Transport for Socket {
    fn buffers(&mut self) -> &mut dyn Buffers {
        &mut self.buffers
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), Error> {
        self.waited = Duration::ZERO;
        self.received = 0;
        let mut waited = Duration::ZERO;
        let mut sent = 0;
        while sent < amount {
            match self.stream.write(&self.buffers.output()[sent..amount]) {
                Ok(0) => return Err(io::Error::from(io::ErrorKind::WriteZero).into()),
                Ok(count) => sent += count,
                Err(err) if err.kind() == io::ErrorKind::WouldBlock => {
                    ready(&self.stream, PollFlags::OUT, &mut waited)?;
                    if waited >= *timeout.after {
                        return Err(Error::Timeout(timeout.reason));
                    }
                }
                Err(err) if err.kind() == io::ErrorKind::Interrupted => interrupt::check()?,
                Err(err) => return Err(err.into()),
            }
        }
        Ok(())
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, Error> {
        let mut waited = Duration::ZERO;
        loop {
            match self.stream.read(self.buffers.input_append_buf()) {
                Ok(count) => {
                    self.buffers.input_appended(count);
                    self.received += count as u64;
                    return Ok(count > 0);
                }
                Err(err) if err.kind() == io::ErrorKind::WouldBlock => {}
                Err(err) if err.kind() == io::ErrorKind::Interrupted => {}
                Err(err) => return Err(err.into()),
            }
            let before = waited;
            ready(&self.stream, PollFlags::IN, &mut waited)?;
            self.waited += waited - before;
            if waited >= *timeout.after {
                return Err(Error::Timeout(timeout.reason));
            }
            self.check_pace()?;
        }
    }

    fn is_open(&mut self) -> bool {
        // Between two exchanges there is nothing to read: neither an end nor data
        // that nobody asked for.
        let peeked = self.stream.peek(&mut [0]);
        matches!(peeked, Err(err) if err.kind() == io::ErrorKind::WouldBlock)
    }
}

/// A failure of the network in words, and whether another try may help.
pub(super) fn fault(url: &str, err: Error) -> (Fault, bool) {
    let of = quote(&shown(url));
    let plain = |kind, text: String| (Fault::new(kind, format!("fetching {of}: {text}")), false);
    match err {
        Error::Io(err) => io_fault(&of, err),
        Error::Rustls(err) => (tls_fault(&of, &err), false),
        Error::HostNotFound => plain(Kind::NotFound, "no such host".into()),
        Error::Timeout(phase) => {
            let what = match phase {
                ureq::Timeout::Resolve => "the name server did not answer in time",
                ureq::Timeout::Connect => "no connection in time",
                ureq::Timeout::SendRequest | ureq::Timeout::SendBody => {
                    "the server did not take the request in time"
                }
                _ => "the server did not answer in time",
            };
            plain(Kind::TimedOut, what.into())
        }
        Error::ConnectProxyFailed(text) => {
            let (fault, again) = plain(Kind::Invalid, text);
            (
                fault.hint("check https_proxy, http_proxy and no_proxy"),
                again,
            )
        }
        Error::LargeResponseHeader(..) => plain(
            Kind::Invalid,
            format!("headers of more than {MAX_HEADERS} bytes"),
        ),
        Error::Protocol(err) => plain(Kind::Invalid, format!("not an answer in HTTP: {err}")),
        err => plain(Kind::Invalid, err.to_string()),
    }
}

/// The same for an error that came out of a body.
pub(super) fn body_fault(url: &str, err: io::Error) -> (Fault, bool) {
    match err.downcast::<Error>() {
        Ok(err) => fault(url, err),
        Err(err) => io_fault(&quote(&shown(url)), err),
    }
}

pub(super) fn read_fault(url: &str, err: io::Error) -> Fault {
    body_fault(url, err).0
}

fn io_fault(of: &str, err: io::Error) -> (Fault, bool) {
    if let Some(inner) = err.get_ref() {
        if let Some(fault) = inner.downcast_ref::<Fault>() {
            return (fault.clone(), false);
        }
        if let Some(tls) = inner.downcast_ref::<rustls::Error>() {
            return (tls_fault(of, tls), false);
        }
    }
    let again = super::retry::broken(&err);
    let kind = match err.kind() {
        io::ErrorKind::TimedOut => Kind::TimedOut,
        io::ErrorKind::NotFound => Kind::NotFound,
        // What the kernel calls a reset, said by the end of the stream.
        io::ErrorKind::UnexpectedEof => Kind::Os(rustix::io::Errno::CONNRESET.raw_os_error()),
        _ => err.raw_os_error().map_or(Kind::Invalid, Kind::Os),
    };
    let text = match err.kind() {
        io::ErrorKind::UnexpectedEof => "the connection was closed too early".to_string(),
        _ => errno_text(&err),
    };
    (Fault::new(kind, format!("fetching {of}: {text}")), again)
}

fn tls_fault(of: &str, err: &rustls::Error) -> Fault {
    use rustls::{CertificateError as C, Error as E};
    let (text, hint) = match err {
        E::InvalidCertificate(C::UnknownIssuer) => (
            "its certificate was issued by nobody known".to_string(),
            "SSL_CERT_FILE may name the issuer's certificate; --insecure-options=tls skips the check",
        ),
        E::InvalidCertificate(C::Expired | C::ExpiredContext { .. }) => (
            "its certificate has expired".to_string(),
            "check this machine's clock; --insecure-options=tls skips the check",
        ),
        E::InvalidCertificate(C::NotValidForName | C::NotValidForNameContext { .. }) => (
            "its certificate is for another host".to_string(),
            "--insecure-options=tls skips the check",
        ),
        E::InvalidMessage(_) => {
            let text = format!("TLS with {of}: the server does not speak TLS");
            return Fault::unsupported(text).hint("plain http takes --insecure-options=http");
        }
        err => (
            err.to_string(),
            "--insecure-options=tls skips the check of certificates",
        ),
    };
    Fault::refused(format!("TLS with {of}: {text}")).hint(hint)
}
