//! What an app does with what an init gave it: says that it is ready, answers on a socket that was handed over.

use std::io::Write;
use std::net::TcpListener;
use std::os::fd::AsFd;
use std::os::unix::net::UnixDatagram;

/// To `$NOTIFY_SOCKET`, `\n` in the text being a new line.
pub fn notify(text: &str) -> Result<(), String> {
    let address = std::env::var("NOTIFY_SOCKET").map_err(|_| "NOTIFY_SOCKET is not set")?;
    let socket = UnixDatagram::unbound().map_err(|e| e.to_string())?;
    let sent = socket.send_to(text.replace("\\n", "\n").as_bytes(), &address);
    sent.map(drop).map_err(|e| format!("{address}: {e}"))
}

/// s6's way.
pub fn line(number: i32) -> Result<(), String> {
    let fd = sys::process::inherited(number).map_err(|e| format!("fd {number}: {e}"))?;
    std::fs::File::from(fd)
        .write_all(b"\n")
        .map_err(|e| e.to_string())
}

/// Answers one connection at each of the sockets with its place and name.
pub fn answer() -> Result<(), String> {
    let variable = |name| std::env::var(name).unwrap_or_default();
    let own = std::process::id().to_string();
    println!("listen.fds={}", variable("LISTEN_FDS"));
    println!("listen.names={}", variable("LISTEN_FDNAMES"));
    println!("listen.pid-is-mine={}", variable("LISTEN_PID") == own);
    let count: i32 = variable("LISTEN_FDS").parse().unwrap_or(0);
    for number in 3..3 + count {
        let fd = sys::process::inherited(number).map_err(|e| format!("fd {number}: {e}"))?;
        rustix::io::ioctl_fionbio(fd.as_fd(), false).map_err(|e| e.to_string())?;
        let (mut asked, _) = TcpListener::from(fd).accept().map_err(|e| e.to_string())?;
        write!(asked, "{number}").map_err(|e| e.to_string())?;
    }
    Ok(())
}
