//! One question over TCP or UDP, and the answer "from whom do you see me coming".
//!
//! `serve` binds both protocols at one address, in whatever network namespace its caller is, and answers for as long as
//! the process lives; `ask` returns the address that the other side saw. The probe does the same inside pods, so the
//! two ends of every test speak one language.
//!
//! A question carries a word that has to come back: an answer out of nowhere (an old datagram, another server) is an
//! error, never a success.

use std::fmt;
use std::io::{self, BufRead, BufReader, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// How long one try may take; a datagram is sent again after it.
const PATIENCE: Duration = Duration::from_secs(4);
const AGAIN: Duration = Duration::from_millis(400);
const TRIES: u32 = 10;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    Tcp,
    Udp,
}

impl Protocol {
    pub const ALL: [Protocol; 2] = [Protocol::Tcp, Protocol::Udp];

    pub fn parse(word: &str) -> Option<Protocol> {
        Protocol::ALL.into_iter().find(|p| p.to_string() == word)
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Protocol::Tcp => "tcp",
            Protocol::Udp => "udp",
        })
    }
}

/// Answers at this address, TCP and UDP, until the process ends. The sockets belong to the network namespace of the
/// calling thread.
pub fn serve(address: SocketAddr) -> io::Result<()> {
    let listener = TcpListener::bind(address)?;
    let datagrams = UdpSocket::bind(address)?;
    answer_connections(listener);
    answer_datagrams(datagrams);
    Ok(())
}

/// At every address of both families, or of IPv4 where the kernel has no IPv6.
pub fn serve_everywhere(port: u16) -> io::Result<()> {
    serve((Ipv6Addr::UNSPECIFIED, port).into())
        .or_else(|_| serve((Ipv4Addr::UNSPECIFIED, port).into()))
}

fn answer_connections(listener: TcpListener) {
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || answer_one(&stream));
        }
    });
}

fn answer_one(stream: &TcpStream) -> io::Result<()> {
    let peer = stream.peer_addr()?.ip().to_canonical();
    let mut word = String::new();
    BufReader::new(stream).read_line(&mut word)?;
    let mut out = stream;
    out.write_all(format!("{} {peer}\n", word.trim()).as_bytes())
}

fn answer_datagrams(socket: UdpSocket) {
    std::thread::spawn(move || {
        let mut buffer = [0; 512];
        while let Ok((len, peer)) = socket.recv_from(&mut buffer) {
            let word = String::from_utf8_lossy(&buffer[..len]);
            let text = format!("{} {}\n", word.trim(), peer.ip().to_canonical());
            let _ = socket.send_to(text.as_bytes(), peer);
        }
    });
}

/// Asks, and returns the address that the other side saw.
pub fn ask(protocol: Protocol, address: SocketAddr) -> io::Result<IpAddr> {
    ask_for(protocol, address, PATIENCE)
}

/// As `ask`, for a question that should stay without an answer: waits no longer than needed to be sure.
pub fn ask_briefly(protocol: Protocol, address: SocketAddr) -> io::Result<IpAddr> {
    ask_for(protocol, address, Duration::from_millis(1200))
}

fn ask_for(protocol: Protocol, address: SocketAddr, patience: Duration) -> io::Result<IpAddr> {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let word = format!(
        "w{}-{}",
        std::process::id(),
        NEXT.fetch_add(1, Ordering::Relaxed)
    );
    match protocol {
        Protocol::Tcp => ask_tcp(address, &word, patience),
        Protocol::Udp => ask_udp(address, &word, patience),
    }
}

fn ask_tcp(address: SocketAddr, word: &str, patience: Duration) -> io::Result<IpAddr> {
    let stream = TcpStream::connect_timeout(&address, patience)?;
    stream.set_read_timeout(Some(patience))?;
    (&stream).write_all(format!("{word}\n").as_bytes())?;
    let mut line = String::new();
    BufReader::new(&stream).read_line(&mut line)?;
    seen(&line, word)
}

fn ask_udp(address: SocketAddr, word: &str, patience: Duration) -> io::Result<IpAddr> {
    let own: IpAddr = match address {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((own, 0))?;
    // Connected, so that an answer from another address than the one asked counts for nothing.
    socket.connect(address)?;
    socket.set_read_timeout(Some(AGAIN))?;
    let tries = (patience.as_millis() / AGAIN.as_millis()).clamp(1, TRIES.into());
    let mut buffer = [0; 512];
    let mut last = io::Error::from(io::ErrorKind::TimedOut);
    for _ in 0..tries {
        socket.send(word.as_bytes())?;
        match socket.recv(&mut buffer) {
            Ok(len) => return seen(&String::from_utf8_lossy(&buffer[..len]), word),
            Err(e) if e.kind() == io::ErrorKind::ConnectionRefused => return Err(e),
            Err(e) => last = e,
        }
    }
    Err(last)
}

fn seen(line: &str, word: &str) -> io::Result<IpAddr> {
    line.trim()
        .split_once(' ')
        .filter(|(came, _)| *came == word)
        .and_then(|(_, ip)| ip.parse().ok())
        .ok_or_else(|| io::Error::other(format!("a strange answer: {line:?}")))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn both_protocols_say_who_asked() {
        let port = crate::proc::free_port();
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        serve(address).unwrap();
        for protocol in Protocol::ALL {
            assert_eq!(ask(protocol, address).unwrap(), Ipv4Addr::LOCALHOST);
        }
    }

    #[test]
    fn nobody_there_is_an_error_at_once() {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, crate::proc::free_port()));
        for protocol in Protocol::ALL {
            let kind = ask(protocol, address).unwrap_err().kind();
            assert_eq!(kind, io::ErrorKind::ConnectionRefused, "{protocol}");
        }
    }

    #[test]
    fn an_answer_to_another_question_is_none() {
        assert!(seen("w1 192.0.2.1", "w2").is_err());
        assert!(seen("", "w2").is_err());
        assert_eq!(
            seen("w2 192.0.2.1\n", "w2").unwrap(),
            Ipv4Addr::new(192, 0, 2, 1)
        );
    }
}
