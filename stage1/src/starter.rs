//! What rkt was given by whoever started it, an init or a supervisor: somebody to tell that the pod is ready, and
//! sockets for its apps.
//!
//! In: `NOTIFY_SOCKET` (sd_notify(3)), `--notify-fd` (s6's way), `LISTEN_FDS`, `LISTEN_PID` and `LISTEN_FDNAMES`
//! (sd_listen_fds(3)). Only sockets are taken on: an app that got a directory or a file of the host would be out of
//! its root.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use model::{App, Fault, fault::Result};
use pod::entry::RunArgs;
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SendFlags, SocketAddrUnix, SocketFlags, SocketType, sockopt};

use crate::plan::activation::{self, Handed, Protocol};

/// The first descriptor of sd_listen_fds(3).
const FIRST: i32 = 3;
/// More than this nobody hands over; each costs every app's start.
const MOST: usize = 64;

#[derive(Debug, Default)]
pub struct Starter {
    /// Connected to `NOTIFY_SOCKET`.
    socket: Option<OwnedFd>,
    /// A line is written to it, once.
    line: Option<OwnedFd>,
    handed: Vec<(Handed, OwnedFd)>,
}

impl Starter {
    /// Takes over what the environment and the flags name. Wishes that cannot be met are refused, but for a notify
    /// socket that nobody listens at: the pod is worth more than the news of it.
    pub fn take(args: &RunArgs) -> Result<Starter> {
        let variable = |name| std::env::var(name).ok().filter(|text| !text.is_empty());
        let line = args
            .notify_fd
            .map(sys::process::inherited)
            .transpose()
            .map_err(|err| Fault::io("cannot take over", "the descriptor of --notify-fd", err))?;
        let socket = variable("NOTIFY_SOCKET").and_then(|address| {
            connect(&address)
                .map_err(|err| {
                    crate::say::err(format_args!(
                        "stage1: warning: NOTIFY_SOCKET \"{}\" cannot be told that the pod is ready: {}",
                        address.escape_default(),
                        model::fault::errno_text(&err.into())
                    ));
                })
                .ok()
        });
        let own = std::process::id();
        let count = count(
            variable("LISTEN_FDS").as_deref(),
            variable("LISTEN_PID").as_deref(),
            own,
        )?;
        let names = variable("LISTEN_FDNAMES").unwrap_or_default();
        let handed = take_sockets(count, &names, args.notify_fd)?;
        Ok(Starter {
            socket,
            line,
            handed,
        })
    }

    /// What has to stay open until the pod's processes are there.
    pub fn fds(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        let handed = self.handed.iter().map(|(_, fd)| fd);
        let told = self.socket.iter().chain(&self.line);
        handed.chain(told).map(AsFd::as_fd)
    }

    /// The sockets of each app, with their names; and what is to be said. They are this process' no longer.
    pub fn share(
        &mut self,
        apps: &[(&str, &App)],
        exposed: &[model::ExposedPort],
    ) -> Result<(Vec<Sockets>, Vec<String>)> {
        let (kinds, fds): (Vec<_>, Vec<_>) = std::mem::take(&mut self.handed).into_iter().unzip();
        let (shares, warnings) = activation::share(&kinds, apps, exposed)?;
        let mut fds: Vec<Option<OwnedFd>> = fds.into_iter().map(Some).collect();
        let shares = shares
            .into_iter()
            .map(|share| Sockets {
                names: share
                    .iter()
                    .map(|at| kinds[*at].name.as_str())
                    .collect::<Vec<_>>()
                    .join(":"),
                fds: share.iter().filter_map(|at| fds[*at].take()).collect(),
            })
            .collect();
        Ok((shares, warnings))
    }

    pub fn has_sockets(&self) -> bool {
        !self.handed.is_empty()
    }

    /// The pod is ready. `main`: the process to watch from now on, when that is not this one.
    pub fn ready(&mut self, uuid: &str, main: Option<i32>) {
        let main = main.map_or_else(String::new, |pid| format!("MAINPID={pid}\n"));
        self.tell(&format!("{main}READY=1\nSTATUS=pod {uuid} is ready"));
        // A reader that has left has no use for it, and one that does not read must not keep the pod from being stopped.
        if let Some(line) = self.line.take().filter(takes_more) {
            let _ = rustix::io::retry_on_intr(|| rustix::io::write(&line, b"\n"));
        }
    }

    pub fn stopping(&mut self) {
        self.tell("STOPPING=1\nSTATUS=the pod is being stopped");
    }

    fn tell(&self, text: &str) {
        if let Some(socket) = &self.socket {
            let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
            let _ = rustix::net::send(socket, text.as_bytes(), flags);
        }
    }
}

/// Whether a write returns at once. It is not made non-blocking for that: others may share it.
fn takes_more(fd: &OwnedFd) -> bool {
    let mut fds = [PollFd::new(fd, PollFlags::OUT)];
    let now = Timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    rustix::io::retry_on_intr(|| rustix::event::poll(&mut fds, Some(&now)))
        .is_ok_and(|ready| ready > 0)
}

/// Sockets of one app.
#[derive(Debug, Default)]
pub struct Sockets {
    pub fds: Vec<OwnedFd>,
    /// As `LISTEN_FDNAMES` has them.
    pub names: String,
}

fn connect(address: &str) -> rustix::io::Result<OwnedFd> {
    let there = match address.strip_prefix('@') {
        Some(name) => SocketAddrUnix::new_abstract_name(name.as_bytes())?,
        None if address.starts_with('/') => SocketAddrUnix::new(address)?,
        None => return Err(Errno::AFNOSUPPORT),
    };
    let kind = (AddressFamily::UNIX, SocketType::DGRAM, SocketFlags::CLOEXEC);
    let socket = rustix::net::socket_with(kind.0, kind.1, kind.2, None)?;
    rustix::net::connect(&socket, &there)?;
    Ok(socket)
}

/// How many sockets are meant for this process.
fn count(fds: Option<&str>, pid: Option<&str>, own: u32) -> Result<usize> {
    let Some(fds) = fds.filter(|_| pid.is_none_or(|pid| pid == own.to_string())) else {
        return Ok(0);
    };
    fds.parse()
        .ok()
        .filter(|count| *count <= MOST)
        .ok_or_else(|| {
            Fault::usage(format!(
                "LISTEN_FDS is \"{}\", which is no number from 0 to {MOST}",
                fds.escape_default()
            ))
            .hint("unset it, or let a service manager set it")
        })
}

fn take_sockets(
    count: usize,
    names: &str,
    notify_fd: Option<i32>,
) -> Result<Vec<(Handed, OwnedFd)>> {
    let mut names = names.split(':');
    (FIRST..)
        .take(count)
        .map(|number| {
            let name = names.next().filter(|name| is_name(name));
            let fail = |err| {
                Fault::io(
                    "cannot take over",
                    format!("descriptor {number} of LISTEN_FDS"),
                    err,
                )
            };
            if notify_fd == Some(number) {
                return Err(Fault::usage(format!(
                    "descriptor {number} is one of LISTEN_FDS and cannot be that of --notify-fd"
                )));
            }
            let fd = sys::process::inherited(number).map_err(fail)?;
            let handed = Handed {
                name: name.unwrap_or("unknown").to_string(),
                port: port(&fd).map_err(|err| fail(err.into()))?,
            };
            Ok((handed, fd))
        })
        .collect()
}

/// A name that cannot be taken for two, or for a line.
fn is_name(name: &str) -> bool {
    let plain = |c: char| c.is_ascii() && !c.is_ascii_control();
    !name.is_empty() && name.len() <= 255 && name.chars().all(plain)
}

/// What it is bound to; ENOTSOCK for anything but a socket.
fn port(fd: &OwnedFd) -> rustix::io::Result<Option<(Protocol, u16)>> {
    let family = sockopt::socket_domain(fd)?;
    let protocol = match sockopt::socket_type(fd)? {
        SocketType::STREAM => Protocol::Tcp,
        SocketType::DGRAM => Protocol::Udp,
        _ => return Ok(None),
    };
    if ![AddressFamily::INET, AddressFamily::INET6].contains(&family) {
        return Ok(None);
    }
    let address = std::net::SocketAddr::try_from(rustix::net::getsockname(fd)?)?;
    Ok(Some((protocol, address.port())))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn variables_of_somebody_else_are_left_alone() {
        assert_eq!(count(None, None, 7).unwrap(), 0);
        assert_eq!(count(Some("2"), Some("8"), 7).unwrap(), 0);
        assert_eq!(count(Some("2"), Some("7"), 7).unwrap(), 2);
        assert_eq!(count(Some("2"), None, 7).unwrap(), 2);
        for bad in ["-1", "x", "65", "99999999999999999999"] {
            assert!(count(Some(bad), Some("7"), 7).is_err(), "{bad}");
        }
    }

    #[test]
    fn only_sockets_and_their_ports() {
        let tcp = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let number = tcp.local_addr().unwrap().port();
        assert_eq!(port(&tcp.into()).unwrap(), Some((Protocol::Tcp, number)));
        let udp = std::net::UdpSocket::bind("[::1]:0").unwrap();
        let number = udp.local_addr().unwrap().port();
        assert_eq!(port(&udp.into()).unwrap(), Some((Protocol::Udp, number)));
        let (unix, _other) = std::os::unix::net::UnixStream::pair().unwrap();
        assert_eq!(port(&unix.into()).unwrap(), None);
        let directory = std::fs::File::open("/").unwrap();
        assert_eq!(port(&directory.into()), Err(Errno::NOTSOCK));
    }

    #[test]
    fn who_started_us_is_told() {
        let dir = std::env::temp_dir().join(format!("rkt-test-notify-{}", std::process::id()));
        let there = std::os::unix::net::UnixDatagram::bind(&dir).unwrap();
        let (reader, writer) = rustix::pipe::pipe().unwrap();
        let mut starter = Starter {
            socket: Some(connect(dir.to_str().unwrap()).unwrap()),
            line: Some(writer),
            handed: Vec::new(),
        };
        std::fs::remove_file(&dir).unwrap();
        starter.ready("u-u-i-d", Some(12));
        let mut buffer = [0; 200];
        let length = there.recv(&mut buffer).unwrap();
        assert_eq!(
            std::str::from_utf8(&buffer[..length]).unwrap(),
            "MAINPID=12\nREADY=1\nSTATUS=pod u-u-i-d is ready"
        );
        let length = rustix::io::read(&reader, &mut buffer).unwrap();
        assert_eq!(&buffer[..length], b"\n");
        assert_eq!(
            rustix::io::read(&reader, &mut buffer).unwrap(),
            0,
            "it is closed"
        );
        assert!(connect("relative").is_err());
    }

    #[test]
    fn a_reader_that_does_not_read_holds_up_nobody() {
        let (reader, writer) = rustix::pipe::pipe().unwrap();
        rustix::io::ioctl_fionbio(&writer, true).unwrap();
        while rustix::io::write(&writer, &[0; 4096]).is_ok() {}
        rustix::io::ioctl_fionbio(&writer, false).unwrap();
        let mut starter = Starter {
            line: Some(writer),
            ..Starter::default()
        };
        starter.ready("u-u-i-d", None);
        assert!(starter.line.is_none(), "it is closed");
        drop(reader);
    }
}
