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

/// The same, from processes that end at once and leave the last hold of a TCP socket in the message. Its close waits for
/// hours: it has bytes for a peer that reads none. Several, since a receiver that is quick has it while they still do.
pub fn notify_lingering(text: &str) -> Result<(), String> {
    let listener = TcpListener::bind("127.0.0.1:0").map_err(|e| e.to_string())?;
    let port = listener.local_addr().map_err(|e| e.to_string())?.port();
    for _ in 0..8 {
        let sender = std::process::Command::new("/proc/self/exe")
            .args(["linger", &port.to_string(), text])
            .status();
        if !sender.map_err(|e| e.to_string())?.success() {
            return Err("a sender has failed".to_string());
        }
    }
    std::mem::forget(listener);
    Ok(())
}

/// One of them.
pub fn linger(port: u16, text: &str) -> Result<(), String> {
    let said = |e: std::io::Error| e.to_string();
    let address = std::env::var("NOTIFY_SOCKET").map_err(|_| "NOTIFY_SOCKET is not set")?;
    let socket = UnixDatagram::unbound().map_err(said)?;
    socket.connect(&address).map_err(said)?;
    let mut stuck = std::net::TcpStream::connect(("127.0.0.1", port)).map_err(said)?;
    let hours = std::time::Duration::from_secs(65_535);
    rustix::net::sockopt::set_socket_linger(&stuck, Some(hours)).map_err(|e| e.to_string())?;
    stuck.set_nonblocking(true).map_err(said)?;
    while stuck.write(&[0; 65_536]).is_ok() {}
    stuck.set_nonblocking(false).map_err(said)?;
    // Last of as many as a message can have: what finds no room is closed by the receiver's system call.
    let null = std::fs::File::open("/dev/null").map_err(said)?;
    let mut fds = vec![null.as_fd(); 252];
    fds.push(stuck.as_fd());
    let mut space = vec![std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(253))];
    let mut control = rustix::net::SendAncillaryBuffer::new(&mut space);
    control.push(rustix::net::SendAncillaryMessage::ScmRights(&fds));
    let bytes = [std::io::IoSlice::new(text.as_bytes())];
    let flags = rustix::net::SendFlags::NOSIGNAL;
    loop {
        match rustix::net::sendmsg(&socket, &bytes, &mut control, flags) {
            Ok(_) => break,
            // So many may be on their way at a time, of all processes of a user.
            Err(rustix::io::Errno::TOOMANYREFS) => {
                std::thread::sleep(std::time::Duration::from_millis(20));
            }
            Err(e) => return Err(e.to_string()),
        }
    }
    // Which closes without waiting, where it is the last after all.
    sys::process::exit_now(0)
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
