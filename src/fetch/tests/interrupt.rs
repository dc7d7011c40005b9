//! ^C in the middle of a download. A process of its own, without the harness of
//! tests: a signal is the whole process's.

use fetch::http::{Client, ClientOptions, Expected, Request};
use fetch::progress::Silent;
use model::Fault;
use std::io::{Read, Write};
use std::net::TcpListener;

fn main() {
    let watch = fetch::interrupt::watch().expect("handlers of signals");
    // Begins a body and never goes on.
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port on loopback");
    let port = listener.local_addr().expect("its address").port();
    std::thread::spawn(move || {
        let mut open = Vec::new();
        for stream in listener.incoming() {
            let mut stream = stream.expect("a client");
            let head = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nx";
            stream.write_all(head).expect("an open connection");
            open.push(stream);
        }
    });
    let options = ClientOptions {
        allow_http: true,
        ..ClientOptions::default()
    };
    let client = Client::new(options, &Silent);
    let expected = Expected {
        size: Some(2),
        ..Expected::default()
    };
    let request = Request::get(format!("http://127.0.0.1:{port}/"));
    let mut download = client.download(&request, &expected).expect("a body");
    std::thread::spawn(|| {
        // The read below may not wait yet, and has to fail either way.
        let pid = i32::try_from(std::process::id()).expect("a pid");
        sys::signal::send(pid, sys::signal::INT).expect("a signal to ourselves");
    });
    let err = download
        .read_to_end(&mut Vec::new())
        .expect_err("interrupted");
    let fault = err.downcast::<Fault>().expect("a fault travels inside");
    assert_eq!((fault.cause.as_str(), fault.exit), ("interrupted", 130));
    // Nothing begins anew.
    let fault = client.send(&request).err().expect("interrupted");
    assert_eq!(fault.cause, "interrupted");
    drop(watch);
}
