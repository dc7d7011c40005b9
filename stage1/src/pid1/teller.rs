//! Where an app says that it is ready: a socket for `READY=1`, or a pipe for a line.
//!
//! One is made for each start of an app. After the word a pipe is closed and a socket tosses what comes: an app cannot
//! keep the supervisor busy with what it sends later.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use model::Fault;
use model::options::Readiness;
use rustix::fs::{AtFlags, CWD, Mode};
use rustix::io::Errno;
use rustix::net::{AddressFamily, RecvFlags, SocketAddrUnix, SocketFlags, SocketType};
use rustix::pipe::PipeFlags;
use sys::clone::{Forked, Namespaces, fork_into};
use sys::signal;

use crate::apply::app_root;

/// Longest message that is looked at; what is longer is cut.
const LONGEST: usize = 4096;
/// Messages without the word that are read in one turn.
const PATIENCE: usize = 16;

/// The supervisor's end.
#[derive(Debug)]
pub enum Teller {
    Socket(OwnedFd),
    Pipe(OwnedFd),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Word {
    NotYet,
    Ready,
    /// It cannot tell any more.
    Never,
}

/// The end that goes to the app: nothing for the socket, which it finds by name.
pub type AppEnd = Option<(OwnedFd, i32)>;

impl Teller {
    /// For a start of the app; none for one that is ready when it runs.
    pub fn make(app: &str, readiness: Readiness) -> Result<Option<(Teller, AppEnd)>, Fault> {
        let fail = |err: Errno| {
            Fault::io(
                "cannot set up",
                format!("the readiness of app \"{app}\""),
                err,
            )
        };
        Ok(match readiness {
            Readiness::Exec => None,
            Readiness::Notify => Some((Teller::Socket(bind(app).map_err(fail)?), None)),
            Readiness::Fd(number) => {
                let (reader, writer) =
                    rustix::pipe::pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)
                        .map_err(fail)?;
                // The app's end blocks, as any other.
                rustix::io::ioctl_fionbio(&writer, false).map_err(fail)?;
                Some((Teller::Pipe(reader), Some((writer, number))))
            }
        })
    }

    /// Heard enough. A socket stays, since an app takes note when it is told that nobody listens, but costs nothing
    /// whatever is sent to it.
    pub fn hush(self) -> Option<OwnedFd> {
        let Teller::Socket(socket) = self else {
            return None;
        };
        if sys::packet::toss_all(socket.as_fd()).is_err() {
            let_go(vec![socket], leash());
            return None;
        }
        // Whoever waits for room is let through.
        while receive(&socket, &mut [0]).is_ok() {}
        Some(socket)
    }

    /// The app has ended.
    pub fn close(self) {
        if let Teller::Socket(socket) = self {
            let_go(vec![socket], leash());
        }
    }

    /// What the app has said since the last time.
    pub fn hear(&self) -> Word {
        let mut buffer = [0; LONGEST];
        for _ in 0..PATIENCE {
            let read = match self {
                Teller::Socket(socket) => receive(socket, &mut buffer),
                Teller::Pipe(pipe) => rustix::io::read(pipe, &mut buffer)
                    .map(|length| (length, true))
                    .map_err(Into::into),
            };
            let said = match (self, read) {
                (Teller::Pipe(_), Ok((0, _))) => return Word::Never,
                (_, Ok((_, false))) => return Word::Never,
                (_, Ok((length, true))) => &buffer[..length],
                (_, Err(_)) => return Word::NotYet,
            };
            let ready = match self {
                Teller::Socket(_) => said
                    .split(|byte| *byte == b'\n')
                    .any(|line| line == b"READY=1"),
                Teller::Pipe(_) => said.contains(&b'\n'),
            };
            if ready {
                return Word::Ready;
            }
        }
        Word::NotYet
    }
}

/// The next message, without what came along; false where nothing more may come.
fn receive(socket: &OwnedFd, buffer: &mut [u8]) -> std::io::Result<(usize, bool)> {
    let waiting = RecvFlags::PEEK | RecvFlags::DONTWAIT;
    rustix::net::recv(socket, &mut [0; 1], waiting)?;
    // First, since there may be no room for it afterwards.
    let leash = leash();
    // What finds no room is closed on the way here, which may take as long as any close.
    let (length, fds) =
        signal::hurried(|| sys::scm::receive_from_stranger(socket.as_fd(), buffer))?;
    // At once, so that there is room for the next.
    Ok((length, let_go(fds, leash)))
}

type Leash = std::io::Result<(OwnedFd, OwnedFd)>;

fn leash() -> Leash {
    Ok(rustix::pipe::pipe_with(PipeFlags::CLOEXEC)?)
}

/// Gives up descriptors that an app has sent, or that may hold such: closing a socket for the last time waits for as
/// long as its sender likes (SO_LINGER), except in a process that ends. So a child has them last. Where the app kills
/// it before that, or there can be no child (false), the waits are cut short.
fn let_go(fds: Vec<OwnedFd>, leash: Leash) -> bool {
    if fds.is_empty() {
        return true;
    }
    let parted = leash.and_then(|ends| Ok((ends, fork_into(Namespaces::NONE, None)?)));
    if let Ok(((closed, parent), Forked::Child)) = parted {
        drop(parent);
        // Until the parent has closed its own.
        let _ = rustix::io::read(&closed, &mut [0]);
        sys::process::exit_now(0)
    }
    signal::hurried(|| drop(fds));
    parted.is_ok()
}

/// In the pod's root, which no app has in view; each app's own is shown in its `/dev`.
fn bind(app: &str) -> rustix::io::Result<OwnedFd> {
    match rustix::fs::mkdir(app_root::NOTIFY, Mode::from_raw_mode(0o700)) {
        Ok(()) | Err(Errno::EXIST) => {}
        Err(err) => return Err(err),
    }
    let path = format!("{}/{app}", app_root::NOTIFY);
    // Of the app's last start.
    match rustix::fs::unlink(&path) {
        Ok(()) | Err(Errno::NOENT) => {}
        Err(err) => return Err(err),
    }
    let socket = rustix::net::socket_with(
        AddressFamily::UNIX,
        SocketType::DGRAM,
        SocketFlags::CLOEXEC | SocketFlags::NONBLOCK,
        None,
    )?;
    // A socket's address has room for 107 bytes, an app's name for more.
    let held = rustix::fs::open(
        app_root::NOTIFY,
        rustix::fs::OFlags::PATH | rustix::fs::OFlags::CLOEXEC,
        Mode::empty(),
    )?;
    rustix::process::fchdir(&held)?;
    let bound = bind_here(&socket, app);
    rustix::process::chdir("/")?;
    bound?;
    // Any user of the app.
    rustix::fs::chmodat(CWD, &path, Mode::from_raw_mode(0o666), AtFlags::empty())?;
    Ok(socket)
}

fn bind_here(socket: &OwnedFd, app: &str) -> rustix::io::Result<()> {
    const SHORT: &str = ".new";
    match rustix::fs::unlink(SHORT) {
        Ok(()) | Err(Errno::NOENT) => {}
        Err(err) => return Err(err),
    }
    rustix::net::bind(socket, &SocketAddrUnix::new(SHORT)?)?;
    rustix::fs::rename(SHORT, app)
}

impl AsFd for Teller {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Teller::Socket(fd) | Teller::Pipe(fd) => fd.as_fd(),
        }
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn a_line_on_the_pipe() {
        let (teller, end) = Teller::make("a", Readiness::Fd(3)).unwrap().unwrap();
        let (writer, number) = end.unwrap();
        assert_eq!(number, 3);
        assert_eq!(teller.hear(), Word::NotYet);
        rustix::io::write(&writer, b"nearly").unwrap();
        assert_eq!(teller.hear(), Word::NotYet);
        rustix::io::write(&writer, b"\n").unwrap();
        assert_eq!(teller.hear(), Word::Ready);
        drop(writer);
        assert_eq!(teller.hear(), Word::Never);
    }

    #[test]
    fn the_word_on_the_socket_is_a_line_of_its_own() {
        let (socket, app) = rustix::net::socketpair(
            AddressFamily::UNIX,
            SocketType::DGRAM,
            SocketFlags::CLOEXEC,
            None,
        )
        .unwrap();
        let teller = Teller::Socket(socket);
        let say = |text: &str| {
            rustix::net::send(&app, text.as_bytes(), rustix::net::SendFlags::NOSIGNAL).unwrap()
        };
        say("STATUS=READY=1 soon");
        say("XREADY=1\nREADY=10");
        say("");
        assert_eq!(teller.hear(), Word::NotYet);
        say("STATUS=up\nREADY=1\n");
        assert_eq!(teller.hear(), Word::Ready);
        let held = teller.hush().unwrap();
        for _ in 0..1000 {
            // More than the queue holds: it would wait for ever if it were kept.
            say("WATCHDOG=1");
        }
        drop(held);
    }
}
