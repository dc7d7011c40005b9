//! Clients that are slow, greedy or wrong. Whatever they do, the next one is answered.

use crate::{
    Answer, UUID, alive, answer, connect, connect_from, mds_test, page, post, register_pod, send,
    service,
};
use std::io::{BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use tests::shell::sh;

mds_test! {
    fn slow_clients_hold_up_nobody() {
        let mut running = service();
        register_pod();
        let mut slow: Vec<TcpStream> = Vec::new();
        // Addresses to come from: those of the loopback count as one.
        sh("ip route add local 10.0.0.0/8 dev lo");
        // Far more than there are places, from one address and from many.
        for n in 0..200_u8 {
            for own in [Ipv4Addr::new(127, 0, 0, 1), Ipv4Addr::new(10, 0, 1, n)] {
                let mut stream = connect_from(own);
                stream.write_all(b"GET / HTTP/1.1\r\nHo").expect("the service took the connection");
                slow.push(stream);
            }
            if n % 50 == 0 {
                alive();
            }
        }
        // A crowd of one address leaves the request of another alone.
        let mut other = connect_from(Ipv4Addr::new(10, 0, 9, 9));
        let request = format!("GET {} HTTP/1.1\r\nHost: a\r\n\r\n", page("/pod/uuid"));
        let (begin, end) = request.split_at(20);
        other.write_all(begin.as_bytes()).expect("the service took the connection");
        for _ in 0..100 {
            let mut stream = connect();
            stream.write_all(b"POST").expect("the service took the connection");
            slow.push(stream);
        }
        other.write_all(end.as_bytes()).expect("the connection is still there");
        assert_eq!(answer(&mut BufReader::new(other)).map(|a| a.status), Some(200));
        alive();
        // Those that lost their place were told by the end of the connection; none was answered.
        let first = slow.first_mut().expect("there are hundreds");
        let mut rest = Vec::new();
        let _ = first.read_to_end(&mut rest);
        assert_eq!(rest, b"");
        assert!(running.alive());
    }
}

mds_test! {
    fn a_client_that_does_not_read() {
        let _running = service();
        register_pod();
        let many = format!("GET {} HTTP/1.1\r\nHost: a\r\n\r\n", page("/pod/manifest")).repeat(2000);
        let mut deaf: Vec<TcpStream> = (0..10).map(|_| connect()).collect();
        for stream in &mut deaf {
            stream.set_nonblocking(true).expect("a socket can be non-blocking");
            // As much as goes in.
            while stream.write(many.as_bytes()).is_ok() {}
        }
        alive();
    }
}

mds_test! {
    fn pipelined_requests_are_answered_in_order() {
        let _running = service();
        register_pod();
        let get = |at: &str| format!("GET {} HTTP/1.1\r\nHost: a\r\n\r\n", page(at));
        let form = "content=x";
        let post = format!(
            "POST {} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\
             Content-Type: application/x-www-form-urlencoded\r\n\r\n9\r\n{form}\r\n0\r\n\r\n",
            page("/pod/hmac/sign")
        );
        let last = get("/pod/uuid").replace("Host: a", "Host: a\r\nConnection: close");
        let all = [get("/pod/uuid"), post, get("/nothing"), last].concat();
        // In one piece and byte by byte.
        for piece in [all.len(), 1] {
            let mut stream = connect();
            stream.set_nodelay(true).expect("a TCP socket");
            for bytes in all.as_bytes().chunks(piece) {
                stream.write_all(bytes).expect("the service reads");
            }
            let mut stream = BufReader::new(stream);
            let answers: Vec<Answer> = std::iter::from_fn(|| answer(&mut stream)).collect();
            let statuses: Vec<u16> = answers.iter().map(|a| a.status).collect();
            assert_eq!(statuses, [200, 200, 404, 200]);
            assert_eq!(answers[3].text(), UUID);
            assert_eq!(answers[3].header("Connection"), Some("close"));
            assert_eq!(answers[0].header("Connection"), None);
        }
    }
}

mds_test! {
    fn too_much_and_too_wrong() {
        let mut running = service();
        register_pod();
        let huge = "x".repeat(1 << 20);
        let head = "POST /t HTTP/1.1\r\nHost: a\r\n";
        for (bytes, status) in [
            (format!("GET /{huge} HTTP/1.1\r\nHost: a\r\n\r\n"), 431),
            (format!("GET / HTTP/1.1\r\nHost: a\r\nX: {huge}\r\n\r\n"), 431),
            (format!("GET / HTTP/1.1\r\n{}\r\n", "A: b\r\n".repeat(100)), 431),
            (format!("{head}Content-Length: 1048577\r\n\r\n{huge}xx"), 413),
            (format!("{head}Transfer-Encoding: chunked\r\n\r\n100001\r\n{huge}"), 413),
            (format!("{head}Content-Length: 1\r\nContent-Length: 2\r\n\r\nab"), 400),
            (format!("{head}Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"), 400),
            (format!("{head}Content-Length: minus\r\n\r\n"), 400),
            (format!("{head}Transfer-Encoding: chunked\r\n\r\nzz\r\n"), 400),
            (format!("{head}Transfer-Encoding: gzip\r\n\r\n"), 501),
            ("\u{16}\u{3}\u{1}\u{2}\r\n\r\n".to_owned(), 400),
            ("GET / HTTP/1.1\r\n\r\n".to_owned(), 400),
        ] {
            let got = send(&bytes);
            let shown: String = bytes.chars().take(80).collect();
            assert_eq!(got.status, status, "{shown:?}");
            assert_eq!(got.header("Connection"), Some("close"), "{shown:?}");
        }
        // Half a request, and gone.
        for bytes in ["", "\r\n\r\n", "GET", "POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nabc"] {
            drop(connect().write_all(bytes.as_bytes()));
        }
        // Exactly as much as is allowed.
        let form = format!("content={}", "y".repeat((1 << 20) - 8));
        assert_eq!(post(&page("/pod/hmac/sign"), &form).status, 200);
        // The log is one line per request, whatever the client writes.
        let got = send("GET /%1b[2J%0ametadata-service:%20x HTTP/1.1\r\nHost: a\r\n\r\n");
        assert_eq!(got.status, 404);
        alive();
        assert!(running.alive());
        let log = running.stderr();
        assert!(!log.contains('\u{1b}') && !log.lines().any(|l| l.len() > 400), "{log}");
    }
}

mds_test! {
    fn a_client_that_waits_is_told_to_go_on() {
        let _running = service();
        register_pod();
        let mut stream = connect();
        let head = format!(
            "POST {} HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 9\r\n\
             Content-Type: application/x-www-form-urlencoded\r\n\r\n",
            page("/pod/hmac/sign")
        );
        stream.write_all(head.as_bytes()).expect("the service reads");
        let mut go = [0; 25];
        stream.read_exact(&mut go).expect("an interim answer");
        assert_eq!(&go, b"HTTP/1.1 100 Continue\r\n\r\n");
        stream.write_all(b"content=x").expect("the service reads");
        assert_eq!(answer(&mut BufReader::new(stream)).map(|a| a.status), Some(200));
    }
}
