//! Where the service listens: TCP for pods, a unix socket for root.
//!
//! The unix socket is handed over by the service manager (`LISTEN_FDS`), or made
//! here with mode 0660 (of an ordinary user's service, in that user's own
//! directory). One that a killed service left behind is replaced; one
//! that is answered is left alone. A lock on the directory keeps two services
//! that start at once apart.

use super::socket;
use model::Fault;
use model::fault::{Result, errno_text};
use rustix::fs::{self, AtFlags, CWD, FileType, FlockOperation, Mode, OFlags};
use rustix::io::Errno;
use rustix::net::{self, AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
use std::net::{Ipv4Addr, TcpListener};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

const BACKLOG: i32 = 128;
/// The first fd that a service manager hands over (sd_listen_fds(3)).
const FIRST_FD: i32 = 3;

pub(super) struct Listeners {
    pub public: OwnedFd,
    pub registration: OwnedFd,
    /// The socket's file, if it is ours to remove.
    made: Option<PathBuf>,
}

impl Listeners {
    pub fn open(port: u16) -> Result<Listeners> {
        let variable = |name| std::env::var(name).ok();
        let (fds, pid) = (variable("LISTEN_FDS"), variable("LISTEN_PID"));
        let given = handed_over(fds.as_deref(), pid.as_deref(), std::process::id())?;
        let public = public(port)?;
        if given {
            return Ok(Listeners {
                public,
                registration: inherited()?,
                made: None,
            });
        }
        let path = socket()?;
        Ok(Listeners {
            public,
            registration: bind(&path)?,
            made: Some(path),
        })
    }
}

impl Drop for Listeners {
    fn drop(&mut self) {
        if let Some(path) = &self.made {
            // Who comes next would replace it anyway.
            let _ = fs::unlink(path);
        }
    }
}

/// Whether the variables of a service manager are there, and meant for us.
fn handed_over(fds: Option<&str>, pid: Option<&str>, own: u32) -> Result<bool> {
    let Some(fds) = fds.filter(|fds| !fds.is_empty()) else {
        return Ok(false);
    };
    if pid.is_some_and(|pid| pid != own.to_string()) {
        return Ok(false);
    }
    let count: i16 = fds
        .parse()
        .map_err(|_| Fault::usage("error parsing LISTEN_FDS env var"))?;
    match count {
        1.. => Ok(true),
        _ => Err(Fault::usage("LISTEN_FDS < 1")),
    }
}

/// The socket that was handed over. Registration over anything but a unix
/// socket would be open to the pods.
fn inherited() -> Result<OwnedFd> {
    let fd = sys::process::inherited(FIRST_FD).map_err(|e| Fault::io("take over", "fd 3", e))?;
    let unix = net::sockopt::socket_domain(&fd) == Ok(AddressFamily::UNIX);
    let stream = net::sockopt::socket_type(&fd) == Ok(SocketType::STREAM);
    if !unix || !stream || net::sockopt::socket_acceptconn(&fd) != Ok(true) {
        return Err(Fault::invalid("fd 3 is not a listening unix stream socket")
            .hint("LISTEN_FDS is set: the service manager has to hand over one such socket"));
    }
    rustix::io::ioctl_fionbio(&fd, true).map_err(|e| Fault::io("set up", "fd 3", e))?;
    Ok(fd)
}

fn public(port: u16) -> Result<OwnedFd> {
    let failed = |err: std::io::Error| {
        Fault::io(
            &format!("error listening on port {port}: listen tcp4"),
            format!("0.0.0.0:{port}"),
            err,
        )
    };
    let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).map_err(failed)?;
    listener.set_nonblocking(true).map_err(failed)?;
    Ok(listener.into())
}

fn bind(path: &Path) -> Result<OwnedFd> {
    let dir = path.parent().unwrap_or(Path::new("/"));
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o755)
        .create(dir)
        .map_err(|e| Fault::io("mkdir", dir.display(), e))?;
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let held = fs::open(dir, flags, Mode::empty())
        .and_then(lock)
        .map_err(|e| Fault::io("lock", dir.display(), e))?;
    let bound = bind_locked(path).map_err(|(verb, err)| {
        let what = format!("{}: {verb}", path.display());
        let text = errno_text(&err.into());
        Fault::new(
            model::fault::Kind::Os(err.raw_os_error()),
            format!("listen unix {what}: {text}"),
        )
    });
    drop(held);
    bound
}

/// Anybody can lock a directory that anybody can open, so nobody waits long.
fn lock(dir: OwnedFd) -> Result<OwnedFd, Errno> {
    for _ in 0..100 {
        match fs::flock(&dir, FlockOperation::NonBlockingLockExclusive) {
            Err(Errno::WOULDBLOCK) => std::thread::sleep(std::time::Duration::from_millis(10)),
            other => return other.map(|()| dir),
        }
    }
    Err(Errno::WOULDBLOCK)
}

fn bind_locked(path: &Path) -> Result<OwnedFd, (&'static str, Errno)> {
    let at = |verb: &'static str| move |err: Errno| (verb, err);
    let address = SocketAddrUnix::new(path).map_err(at("bind"))?;
    let socket = stream_socket().map_err(at("socket"))?;
    match net::bind(&socket, &address) {
        Err(Errno::ADDRINUSE) if is_stale(path, &address) => {
            fs::unlink(path).map_err(at("unlink"))?;
            net::bind(&socket, &address).map_err(at("bind"))?;
        }
        other => other.map_err(at("bind"))?,
    }
    // Before it listens nobody gets in, whatever the umask was.
    fs::chmod(path, Mode::from_raw_mode(0o660)).map_err(at("chmod"))?;
    net::listen(&socket, BACKLOG).map_err(at("listen"))?;
    Ok(socket)
}

fn stream_socket() -> rustix::io::Result<OwnedFd> {
    net::socket_with(
        AddressFamily::UNIX,
        SocketType::STREAM,
        SocketFlags::CLOEXEC | SocketFlags::NONBLOCK,
        None,
    )
}

/// A socket file behind which nobody listens.
fn is_stale(path: &Path, address: &SocketAddrUnix) -> bool {
    let is_socket = fs::statat(CWD, path, AtFlags::SYMLINK_NOFOLLOW)
        .is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Socket);
    is_socket
        && stream_socket()
            .and_then(|socket| net::connect(socket.as_fd(), address))
            .is_err_and(|err| err == Errno::CONNREFUSED)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;
    use std::os::unix::net::UnixStream;

    #[test]
    fn variables_of_a_service_manager() {
        let own = 7;
        for (fds, pid, want) in [
            (None, None, Ok(false)),
            (Some(""), None, Ok(false)),
            (Some("1"), None, Ok(true)),
            (Some("2"), Some("7"), Ok(true)),
            (Some("1"), Some("8"), Ok(false)),
            (Some("0"), None, Err("LISTEN_FDS < 1")),
            (Some("-1"), Some("7"), Err("LISTEN_FDS < 1")),
            (Some("x"), None, Err("error parsing LISTEN_FDS env var")),
            (Some("99999"), None, Err("error parsing LISTEN_FDS env var")),
        ] {
            let got = handed_over(fds, pid, own).map_err(|fault| fault.cause);
            assert_eq!(got, want.map_err(str::to_string), "{fds:?} {pid:?}");
        }
    }

    #[test]
    fn a_dead_socket_is_replaced_and_a_live_one_is_not() {
        let dir = std::env::temp_dir().join(format!("rkt-test-mds-{}", std::process::id()));
        let path = dir.join("below").join("svc.sock");
        let first = bind(&path).unwrap();
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o7777, 0o660);
        UnixStream::connect(&path).unwrap();
        let fault = bind(&path).unwrap_err();
        let text = format!("listen unix {}: bind: ", path.display());
        assert!(fault.to_string().starts_with(&text), "{fault}");
        UnixStream::connect(&path).unwrap();
        drop(first);
        assert!(UnixStream::connect(&path).is_err());
        drop(bind(&path).unwrap());
        // What is no socket is nobody's to remove.
        std::fs::remove_file(&path).unwrap();
        std::fs::write(&path, "kept").unwrap();
        assert!(bind(&path).is_err());
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "kept");
        std::fs::remove_dir_all(&dir).unwrap();
    }
}
