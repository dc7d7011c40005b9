#![expect(clippy::unwrap_used, reason = "tests")]
//! The keeper between real sockets of this machine's loopback.

use super::*;
use crate::Protocol;
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;

const LOCAL: (Ipv4Addr, u16) = (Ipv4Addr::LOCALHOST, 0);

/// A keeper in a thread of its own, until it is dropped.
struct Rig {
    at: SocketAddr,
    stop: Arc<AtomicBool>,
    connections: Arc<AtomicUsize>,
    flows: Arc<AtomicUsize>,
    thread: Option<JoinHandle<()>>,
}

impl Rig {
    fn tcp(target: u16, most: Option<usize>) -> Rig {
        let listener = TcpListener::bind(LOCAL).unwrap();
        let at = listener.local_addr().unwrap();
        Rig::start(listener.into(), Protocol::Tcp, at, target, most)
    }

    fn udp(target: u16, most: Option<usize>) -> Rig {
        let socket = UdpSocket::bind(LOCAL).unwrap();
        let at = socket.local_addr().unwrap();
        Rig::start(socket.into(), Protocol::Udp, at, target, most)
    }

    fn start(
        socket: std::os::fd::OwnedFd,
        protocol: Protocol,
        at: SocketAddr,
        pod_port: u16,
        most: Option<usize>,
    ) -> Rig {
        let mut keeper = Keeper::new(Work {
            reserved: vec![Reserved {
                socket,
                protocol,
                v6: false,
                pod_port,
            }],
            targets: vec![Ipv4Addr::LOCALHOST.into()],
            leases: Vec::new(),
        });
        if let Some(most) = most {
            keeper.proxy.limit(most);
        }
        let mut rig = Rig {
            at,
            stop: Arc::default(),
            connections: Arc::default(),
            flows: Arc::default(),
            thread: None,
        };
        let (stop, connections, flows) =
            (rig.stop.clone(), rig.connections.clone(), rig.flows.clone());
        let thread = std::thread::spawn(move || {
            while !stop.load(Ordering::SeqCst) {
                keeper.turn(Some(Duration::from_millis(20)));
                let counts = keeper.proxy.counts();
                connections.store(counts.0, Ordering::SeqCst);
                flows.store(counts.1, Ordering::SeqCst);
            }
        });
        rig.thread = Some(thread);
        rig
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.at).unwrap();
        let patience = Some(Duration::from_secs(20));
        stream.set_read_timeout(patience).unwrap();
        stream.set_write_timeout(patience).unwrap();
        stream
    }

    /// Waits until so many connections are open.
    fn settles_at(&self, connections: usize) {
        for _ in 0..2000 {
            if self.connections.load(Ordering::SeqCst) == connections {
                return;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        panic!("{:?} connections are open", self.connections);
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }
}

/// A server that hands each connection to `serve`; its port.
fn server(serve: fn(TcpStream)) -> u16 {
    let listener = TcpListener::bind(LOCAL).unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || serve(stream));
        }
    });
    port
}

fn echo(mut stream: TcpStream) {
    let mut buffer = [0; 4096];
    while let Ok(len @ 1..) = stream.read(&mut buffer) {
        if stream.write_all(&buffer[..len]).is_err() {
            return;
        }
    }
}

/// Bytes that no two places have in common for long.
fn pattern(len: usize, seed: u32) -> Vec<u8> {
    let mut state = seed;
    (0..len)
        .map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        })
        .collect()
}

#[test]
fn bytes_go_there_and_back() {
    let rig = Rig::tcp(server(echo), None);
    let mut stream = rig.connect();
    for text in ["one", "two", "three"] {
        stream.write_all(text.as_bytes()).unwrap();
        let mut back = vec![0; text.len()];
        stream.read_exact(&mut back).unwrap();
        assert_eq!(back, text.as_bytes());
    }
    drop(stream);
    rig.settles_at(0);
}

#[test]
fn a_closed_half_leaves_the_other_open() {
    // Answers only when the request has ended.
    let rig = Rig::tcp(
        server(|mut stream| {
            let mut request = Vec::new();
            stream.read_to_end(&mut request).unwrap();
            std::thread::sleep(Duration::from_millis(50));
            stream
                .write_all(format!("{} bytes", request.len()).as_bytes())
                .unwrap();
        }),
        None,
    );
    let mut stream = rig.connect();
    stream.write_all(&[7; 100_000]).unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert_eq!(answer, "100000 bytes");
    rig.settles_at(0);
}

#[test]
fn ten_megabytes_each_way_at_once() {
    const LEN: usize = 10 << 20;
    let rig = Rig::tcp(
        server(|stream| {
            let mut writer = stream.try_clone().unwrap();
            let sender = std::thread::spawn(move || {
                writer.write_all(&pattern(LEN, 2)).unwrap();
                writer.shutdown(Shutdown::Write).unwrap();
            });
            let mut got = Vec::new();
            (&stream).read_to_end(&mut got).unwrap();
            assert!(got == pattern(LEN, 1), "what was sent arrived changed");
            sender.join().unwrap();
        }),
        None,
    );
    let stream = rig.connect();
    let mut writer = stream.try_clone().unwrap();
    let sender = std::thread::spawn(move || {
        writer.write_all(&pattern(LEN, 1)).unwrap();
        writer.shutdown(Shutdown::Write).unwrap();
    });
    let mut got = Vec::new();
    (&stream).read_to_end(&mut got).unwrap();
    assert!(got == pattern(LEN, 2), "what was answered arrived changed");
    sender.join().unwrap();
    rig.settles_at(0);
}

#[test]
fn a_refused_target_ends_the_connection() {
    // Bound and gone: nobody listens there.
    let target = TcpListener::bind(LOCAL).unwrap().local_addr().unwrap();
    let rig = Rig::tcp(target.port(), None);
    for _ in 0..20 {
        let mut stream = rig.connect();
        match stream.read(&mut [0; 1]) {
            Ok(0) => {}
            Err(err) if err.kind() == ErrorKind::ConnectionReset => {}
            other => panic!("{other:?}"),
        }
    }
    rig.settles_at(0);
}

#[test]
fn many_connections_at_once() {
    let rig = Rig::tcp(server(echo), None);
    let mut streams: Vec<TcpStream> = (0..100).map(|_| rig.connect()).collect();
    for (at, stream) in streams.iter_mut().enumerate().rev() {
        stream.write_all(&pattern(5000, at as u32)).unwrap();
    }
    for (at, stream) in streams.iter_mut().enumerate() {
        let mut back = vec![0; 5000];
        stream.read_exact(&mut back).unwrap();
        assert!(back == pattern(5000, at as u32), "connection {at}");
    }
    rig.settles_at(100);
    drop(streams);
    rig.settles_at(0);
}

#[test]
fn clients_that_break_off_leave_nothing() {
    let rig = Rig::tcp(server(echo), None);
    for _ in 0..50 {
        let mut stream = rig.connect();
        stream.write_all(&[1; 30_000]).unwrap();
        // Unread answers make this a reset.
        stream.peek(&mut [0; 1]).unwrap();
        drop(stream);
    }
    let mut stream = rig.connect();
    stream.write_all(b"still there").unwrap();
    stream.read_exact(&mut [0; 11]).unwrap();
    drop(stream);
    rig.settles_at(0);
}

#[test]
fn who_does_not_read_is_not_buffered_for() {
    static READ: AtomicBool = AtomicBool::new(false);
    let rig = Rig::tcp(
        server(|mut stream| {
            while !READ.load(Ordering::SeqCst) {
                std::thread::sleep(Duration::from_millis(1));
            }
            let mut all = Vec::new();
            stream.read_to_end(&mut all).unwrap();
            stream.write_all(&(all.len() as u64).to_be_bytes()).unwrap();
        }),
        None,
    );
    let mut stream = rig.connect();
    let limit = Some(Duration::from_millis(200));
    stream.set_write_timeout(limit).unwrap();
    let mut sent = 0;
    let stuck = loop {
        match stream.write(&[3; 65536]) {
            Ok(len) => sent += len as u64,
            Err(err) => break err.kind(),
        }
        assert!(sent < 64 << 20, "it goes on and on");
    };
    assert_eq!(stuck, ErrorKind::WouldBlock);
    READ.store(true, Ordering::SeqCst);
    stream.shutdown(Shutdown::Write).unwrap();
    let mut count = [0; 8];
    stream.read_exact(&mut count).unwrap();
    assert_eq!(u64::from_be_bytes(count), sent);
}

#[test]
fn past_the_limit_connections_wait() {
    let rig = Rig::tcp(server(echo), Some(2));
    let (first, second) = (rig.connect(), rig.connect());
    rig.settles_at(2);
    let mut third = rig.connect();
    third.write_all(b"x").unwrap();
    let brief = Some(Duration::from_millis(200));
    third.set_read_timeout(brief).unwrap();
    let kept_waiting = third.read(&mut [0; 1]).unwrap_err();
    assert_eq!(kept_waiting.kind(), ErrorKind::WouldBlock);
    drop(first);
    let patience = Some(Duration::from_secs(20));
    third.set_read_timeout(patience).unwrap();
    third.read_exact(&mut [0; 1]).unwrap();
    drop(second);
}

fn udp_echo() -> u16 {
    let socket = UdpSocket::bind(LOCAL).unwrap();
    let port = socket.local_addr().unwrap().port();
    std::thread::spawn(move || {
        let mut buffer = [0; 65536];
        while let Ok((len, from)) = socket.recv_from(&mut buffer) {
            let _ = socket.send_to(&buffer[..len], from);
        }
    });
    port
}

fn udp_client(rig: &Rig) -> UdpSocket {
    let client = UdpSocket::bind(LOCAL).unwrap();
    client.connect(rig.at).unwrap();
    let patience = Some(Duration::from_secs(20));
    client.set_read_timeout(patience).unwrap();
    client
}

fn ask(client: &UdpSocket, datagram: &[u8]) {
    client.send(datagram).unwrap();
    let mut buffer = [0; 65536];
    let len = client.recv(&mut buffer).unwrap();
    assert_eq!(&buffer[..len], datagram);
}

#[test]
fn each_udp_client_gets_its_own_answers() {
    let rig = Rig::udp(udp_echo(), None);
    let clients: Vec<UdpSocket> = (0..40).map(|_| udp_client(&rig)).collect();
    for round in 0..3 {
        for (at, client) in clients.iter().enumerate() {
            ask(client, format!("{round} {at}").as_bytes());
        }
    }
    ask(&clients[0], b"");
    ask(&clients[0], &pattern(60_000, 1));
    assert_eq!(rig.flows.load(Ordering::SeqCst), 40);
}

#[test]
fn the_oldest_udp_flow_makes_room() {
    let rig = Rig::udp(udp_echo(), Some(3));
    let clients: Vec<UdpSocket> = (0..10).map(|_| udp_client(&rig)).collect();
    for client in clients.iter().chain(&clients) {
        ask(client, b"x");
        assert!(rig.flows.load(Ordering::SeqCst) <= 3);
    }
}

#[test]
fn a_silent_udp_target_harms_nobody() {
    // Nobody is bound there: what is sent comes back as refused.
    let target = UdpSocket::bind(LOCAL).unwrap().local_addr().unwrap();
    let rig = Rig::udp(target.port(), None);
    let client = udp_client(&rig);
    for _ in 0..5 {
        client.send(b"x").unwrap();
    }
    let socket = UdpSocket::bind(target).unwrap();
    for _ in 0..20 {
        client.send(b"now").unwrap();
        let brief = Some(Duration::from_millis(500));
        socket.set_read_timeout(brief).unwrap();
        let mut buffer = [0; 8];
        if let Ok((len, _)) = socket.recv_from(&mut buffer) {
            assert!([&b"x"[..], b"now"].contains(&&buffer[..len]));
            return;
        }
    }
    panic!("nothing arrived");
}
