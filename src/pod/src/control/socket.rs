//! The socket under the frames: bind, connect, accept, and the two ends.
//!
//! A socket's path has 108 bytes at most, a data directory may be longer. So
//! the name goes through `/proc/self/fd/<pod dir>`; where `/proc` is missing,
//! the process steps into the directory for the moment of the call.

use model::{Fault, fault::Result};
use rustix::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use rustix::fs::{self, AtFlags, Mode, OFlags};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketAddrUnix, SocketFlags, SocketType, sockopt,
};
use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::time::Duration;

use super::{MAX_FDS, MAX_FRAME, Reply, Request};
use crate::layout;

type Io<T> = rustix::io::Result<T>;

/// Makes the socket `P/control`, in place of one that a killed run left. Only
/// the holder of the pod's lock may.
pub fn bind(pod_dir: impl AsFd) -> Result<OwnedFd> {
    let dir = pod_dir.as_fd();
    let bind = || {
        match fs::unlinkat(dir, layout::CONTROL, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(err) => return Err(err),
        }
        let socket = socket(SocketFlags::CLOEXEC | SocketFlags::NONBLOCK)?;
        at_control(dir, |name| rustix::net::bind(&socket, name))?;
        // Until listen nobody gets in, so the umask does not matter.
        fs::chmodat(
            dir,
            layout::CONTROL,
            Mode::from_raw_mode(0o600),
            AtFlags::empty(),
        )?;
        rustix::net::listen(&socket, 16)?;
        Ok(socket)
    };
    bind().map_err(|err| Fault::io("bind", layout::CONTROL, err))
}

/// Connects to a pod's supervisor.
pub fn connect(pod_dir: impl AsFd, timeout: Option<Duration>) -> Result<Client> {
    let connect = || {
        let socket = socket(SocketFlags::CLOEXEC)?;
        sockopt::set_socket_timeout(&socket, sockopt::Timeout::Recv, timeout)?;
        sockopt::set_socket_timeout(&socket, sockopt::Timeout::Send, timeout)?;
        at_control(pod_dir.as_fd(), |name| rustix::net::connect(&socket, name))?;
        Ok(socket)
    };
    match connect() {
        Ok(socket) => Ok(Client {
            socket,
            frames: Frames::new(),
        }),
        Err(err @ (Errno::NOENT | Errno::CONNREFUSED)) => {
            Err(Fault::io("connect to", "the pod's supervisor", err)
                .hint("the pod has ended or is just starting"))
        }
        Err(err) => Err(Fault::io("connect to", "the pod's supervisor", err)),
    }
}

fn socket(flags: SocketFlags) -> Io<OwnedFd> {
    rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)
}

/// Calls with an address that leads to `control` in the pod's directory.
fn at_control(dir: BorrowedFd<'_>, call: impl Fn(&SocketAddrUnix) -> Io<()>) -> Io<()> {
    let through = format!("/proc/self/fd/{}/{}", dir.as_raw_fd(), layout::CONTROL);
    if fs::access(
        format!("/proc/self/fd/{}", dir.as_raw_fd()),
        fs::Access::EXISTS,
    )
    .is_ok()
    {
        return call(&SocketAddrUnix::new(through)?);
    }
    inside(dir, || call(&SocketAddrUnix::new(layout::CONTROL)?))
}

/// Does something with the directory as the working directory. That one
/// belongs to the whole process; both stages have one thread only.
fn inside(dir: BorrowedFd<'_>, call: impl FnOnce() -> Io<()>) -> Io<()> {
    let back = fs::openat(fs::CWD, ".", OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
    rustix::process::fchdir(dir)?;
    let done = call();
    rustix::process::fchdir(&back)?;
    done
}

/// Takes the next connection of somebody whom `admit` lets in; others are
/// turned away. `None`: nobody waits.
///
/// `admit` looks at SO_PEERCRED: root or the pod's owner may give orders. The
/// call is the caller's because rustix reads the answer into a pid that is
/// never zero, and zero is what a supervisor in its own pid namespace gets for
/// every peer outside. In a user namespace the host's root shows as the
/// overflow uid; there the mode of the socket is what keeps others out.
pub fn accept(
    listener: impl AsFd,
    mut admit: impl FnMut(BorrowedFd<'_>) -> bool,
) -> Result<Option<OwnedFd>> {
    loop {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = match rustix::net::accept_with(&listener, flags) {
            Ok(socket) => socket,
            Err(Errno::AGAIN) => return Ok(None),
            // It went away before we came; EINTR: once more.
            Err(Errno::CONNABORTED | Errno::INTR) => continue,
            Err(err) => return Err(Fault::io("accept", "a control connection", err)),
        };
        if admit(socket.as_fd()) {
            return Ok(Some(socket));
        }
        // A peer that does not listen is no concern of ours.
        let refusal = Reply::Error("permission denied".to_string());
        let _ = send(&socket, &refusal.encode(), &[]);
    }
}

/// Sends a frame, with fds beside its first byte. On a socket that does not
/// block, a peer that takes nothing is `EAGAIN`: hang up on it.
pub fn send(socket: impl AsFd, body: &[u8], fds: &[BorrowedFd<'_>]) -> Result<()> {
    let io = |err| Fault::io("send", "a control frame", err);
    if body.len() > MAX_FRAME || fds.len() > MAX_FDS {
        return Err(Fault::invalid("control frame is too long"));
    }
    let mut frame = Vec::with_capacity(4 + body.len());
    frame.extend_from_slice(&(body.len() as u32).to_be_bytes());
    frame.extend_from_slice(body);
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FDS))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !fds.is_empty() && !control.push(SendAncillaryMessage::ScmRights(fds)) {
        return Err(Fault::invalid("too many fds for a control frame"));
    }
    let mut rest = &frame[..];
    while !rest.is_empty() {
        let sent = rustix::io::retry_on_intr(|| {
            rustix::net::sendmsg(
                &socket,
                &[IoSlice::new(rest)],
                &mut control,
                SendFlags::NOSIGNAL,
            )
        })
        .map_err(io)?;
        rest = &rest[sent..];
        control.clear();
    }
    Ok(())
}

/// Puts frames together from what a socket gives. Holds at most one frame and
/// the fds that came with it.
#[derive(Debug, Default)]
pub struct Frames {
    bytes: Vec<u8>,
    fds: Vec<OwnedFd>,
}

/// What a look at the socket gave.
#[derive(Debug)]
enum Got {
    Frame(Vec<u8>, Vec<OwnedFd>),
    /// More must come first.
    Part,
    End,
}

impl Frames {
    pub fn new() -> Frames {
        Frames::default()
    }

    /// Reads what is there. `Ok(None)`: not a whole frame yet. A peer that is
    /// done is `Err` with no frame begun and none to come: drop the connection
    /// on any error. Fds that come with requests are closed.
    pub fn request(&mut self, socket: impl AsFd) -> Result<Option<Request>> {
        match self.next(socket)? {
            Got::Frame(body, _) => Request::decode(&body).map(Some),
            Got::Part => Ok(None),
            Got::End => Err(Fault::not_found("the connection was closed")),
        }
    }

    fn next(&mut self, socket: impl AsFd) -> Result<Got> {
        loop {
            let want = self.missing()?;
            if want == 0 {
                let body = self.bytes.split_off(4);
                self.bytes.clear();
                return Ok(Got::Frame(body, std::mem::take(&mut self.fds)));
            }
            let start = self.bytes.len();
            self.bytes.resize(start + want, 0);
            let got = receive(&socket, &mut self.bytes[start..], &mut self.fds);
            self.bytes.truncate(start + got.unwrap_or(0));
            if self.fds.len() > MAX_FDS {
                return Err(Fault::invalid("too many fds came with a control frame"));
            }
            match got {
                Ok(0) if start == 0 => return Ok(Got::End),
                Ok(0) => return Err(Fault::invalid("the connection was closed within a frame")),
                Ok(_) => {}
                Err(Errno::AGAIN) => return Ok(Got::Part),
                Err(err) => return Err(Fault::io("receive", "a control frame", err)),
            }
        }
    }

    /// Bytes to the end of the length, then of the frame. Never more, so the
    /// next frame's fds cannot be mixed up with this one's.
    fn missing(&self) -> Result<usize> {
        let Some(head) = self.bytes.first_chunk::<4>() else {
            return Ok(4 - self.bytes.len());
        };
        let len = u32::from_be_bytes(*head) as usize;
        if len == 0 || len > MAX_FRAME {
            return Err(Fault::invalid(format!("a control frame of {len} bytes")));
        }
        Ok(4 + len - self.bytes.len())
    }
}

fn receive(socket: impl AsFd, bytes: &mut [u8], fds: &mut Vec<OwnedFd>) -> Io<usize> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FDS))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let message = rustix::io::retry_on_intr(|| {
        let mut parts = [IoSliceMut::new(bytes)];
        rustix::net::recvmsg(&socket, &mut parts, &mut control, RecvFlags::CMSG_CLOEXEC)
    })?;
    for part in control.drain() {
        if let RecvAncillaryMessage::ScmRights(rights) = part {
            fds.extend(rights);
        }
    }
    Ok(message.bytes)
}

/// The asking end; it waits for each answer.
#[derive(Debug)]
pub struct Client {
    socket: OwnedFd,
    frames: Frames,
}

impl Client {
    /// Sends a request and waits for its reply. A refusal of the supervisor is
    /// an error with its words.
    pub fn call(&mut self, request: &Request) -> Result<(Reply, Vec<OwnedFd>)> {
        send(&self.socket, &request.encode(), &[])?;
        match self.frames.next(&self.socket)? {
            Got::Frame(body, fds) => match Reply::decode(&body)? {
                Reply::Error(text) => Err(Fault::refused(text)),
                Reply::Entered { fds: names, .. } if names.len() != fds.len() => {
                    Err(Fault::invalid("fds were lost on the way"))
                }
                reply => Ok((reply, fds)),
            },
            Got::Part => Err(Fault::new(
                model::fault::Kind::TimedOut,
                "the pod's supervisor does not answer",
            )),
            Got::End => Err(Fault::not_found("the pod has ended")),
        }
    }
}

impl AsFd for Client {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::files;
    use crate::testing::TempData;
    use model::AcName;
    use std::io::Write;
    use std::os::unix::net::UnixStream;

    /// Answers one request with `reply` and `fds` fds.
    fn serve(dir: OwnedFd, reply: Reply, fds: usize) -> std::thread::JoinHandle<Request> {
        let listener = bind(&dir).unwrap();
        std::thread::spawn(move || {
            let socket = loop {
                match accept(&listener, |_| true).unwrap() {
                    Some(socket) => break socket,
                    None => std::thread::yield_now(),
                }
            };
            let mut frames = Frames::new();
            let request = loop {
                match frames.request(&socket).unwrap() {
                    Some(request) => break request,
                    None => std::thread::yield_now(),
                }
            };
            let handed = vec![dir.as_fd(); fds];
            send(&socket, &reply.encode(), &handed).unwrap();
            request
        })
    }

    fn dir(data: &TempData) -> OwnedFd {
        files::open_dir_path(data.path()).unwrap()
    }

    #[test]
    fn a_request_gets_its_reply_and_fds() {
        let data = TempData::new();
        let reply = Reply::Entered {
            pid: 4,
            fds: vec!["mnt".into(), "root".into()],
        };
        let server = serve(dir(&data), reply.clone(), 2);
        let request = Request::Enter {
            app: AcName::new("a").unwrap(),
        };
        let mut client = connect(dir(&data), None).unwrap();
        let (got, fds) = client.call(&request).unwrap();
        assert_eq!((got, fds.len()), (reply, 2));
        let ours = fs::fstat(dir(&data)).unwrap();
        assert!(
            fds.iter()
                .all(|fd| fs::fstat(fd).unwrap().st_ino == ours.st_ino)
        );
        let flags = rustix::io::fcntl_getfd(&fds[0]).unwrap();
        assert!(flags.contains(rustix::io::FdFlags::CLOEXEC));
        assert_eq!(server.join().unwrap(), request);
    }

    #[test]
    fn lost_fds_and_refusals_are_errors() {
        let data = TempData::new();
        for (reply, fds) in [
            (
                Reply::Entered {
                    pid: 4,
                    fds: vec!["mnt".into()],
                },
                0,
            ),
            (Reply::Error("immutable pod".into()), 0),
        ] {
            let server = serve(dir(&data), reply, fds);
            let mut client = connect(dir(&data), None).unwrap();
            assert!(client.call(&Request::List).is_err());
            server.join().unwrap();
        }
    }

    #[test]
    fn strangers_are_turned_away() {
        let data = TempData::new();
        let listener = bind(dir(&data)).unwrap();
        let mut client = connect(dir(&data), None).unwrap();
        assert!(accept(&listener, |_| false).unwrap().is_none());
        let fault = client.call(&Request::List).unwrap_err();
        assert!(
            ["permission denied", "send"]
                .iter()
                .any(|w| fault.to_string().contains(w))
        );
    }

    #[test]
    fn a_path_longer_than_a_socket_address_works() {
        let data = TempData::new();
        let deep = "d".repeat(120);
        let dir = files::walk_creating(dir(&data), &deep, 0o700).unwrap();
        let server = serve(dir.try_clone().unwrap(), Reply::Ok, 0);
        connect(&dir, None)
            .unwrap()
            .call(&Request::Stop { force: true })
            .unwrap();
        server.join().unwrap();
        let mode = files::stat(&dir, layout::CONTROL).unwrap().unwrap().st_mode;
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn without_proc_the_directory_is_entered() {
        let data = TempData::new();
        inside(dir(&data).as_fd(), || {
            fs::mkdirat(fs::CWD, "made-inside", Mode::from_raw_mode(0o700))
        })
        .unwrap();
        assert!(data.path().join("made-inside").exists());
    }

    #[test]
    fn nobody_there_is_a_fault_with_a_hint() {
        let data = TempData::new();
        assert!(connect(dir(&data), None).unwrap_err().hint.is_some());
        drop(bind(dir(&data)).unwrap());
        assert!(connect(dir(&data), None).unwrap_err().hint.is_some());
    }

    #[test]
    fn hostile_bytes_end_the_connection() {
        for bytes in [
            &[0, 0, 0, 0][..],
            &[0xff, 0xff, 0xff, 0xff],
            &[0, 1, 0, 1],
            &[0, 0, 0, 1, 99],
            &[0, 0, 0, 2, 5],
            b"GET / HTTP/1.0\r\n",
        ] {
            let (mut ours, theirs) = UnixStream::pair().unwrap();
            ours.write_all(bytes).unwrap();
            drop(ours);
            let mut frames = Frames::new();
            assert!(frames.request(&theirs).is_err(), "{bytes:?}");
        }
    }

    #[test]
    fn frames_come_in_any_pieces() {
        let (mut ours, theirs) = UnixStream::pair().unwrap();
        theirs.set_nonblocking(true).unwrap();
        let mut bytes = Vec::new();
        for request in [Request::List, Request::Stop { force: true }] {
            let body = request.encode();
            bytes.extend_from_slice(&(body.len() as u32).to_be_bytes());
            bytes.extend_from_slice(&body);
        }
        let mut frames = Frames::new();
        let mut got = Vec::new();
        for byte in bytes {
            ours.write_all(&[byte]).unwrap();
            got.extend(frames.request(&theirs).unwrap());
        }
        assert_eq!(got, [Request::List, Request::Stop { force: true }]);
    }
}
