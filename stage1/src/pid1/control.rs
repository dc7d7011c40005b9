//! The pod's control socket: orders from root or the pod's owner.
//!
//! A peer never makes PID 1 wait: sockets do not block, a slow or broken one is
//! hung up on, and there are few at a time.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use model::{AcName, Fault, fault::Result};
use pod::control::{AppStatus, Frames, Reply, Request, accept, bind, send};
use rustix::fs::{Mode, OFlags};

use sys::clone::Namespaces;

use super::Supervisor;
use super::machine::{AppId, AppState, Event, Force, Stage};
use crate::plan::Users;

/// More peers than this at once are nobody's honest wish.
const MOST: usize = 32;

/// What an app's process lives in. The user namespace first: it brings the rights
/// over the others. Mounts last: who joins them has left the host's behind.
pub const NAMESPACES: [(&str, Namespaces); 7] = [
    ("user", Namespaces::USER),
    ("cgroup", Namespaces::CGROUP),
    ("uts", Namespaces::UTS),
    ("ipc", Namespaces::IPC),
    ("net", Namespaces::NET),
    ("pid", Namespaces::PID),
    ("mnt", Namespaces::MOUNT),
];

/// How a user without a number here shows, the host's root above all. The mode of
/// the socket, 0600, is what keeps others out then.
const OVERFLOW: u32 = 65534;

pub struct Listener {
    socket: OwnedFd,
    owner: u32,
    users: Users,
    peers: Vec<(OwnedFd, Frames)>,
}

impl Listener {
    /// Makes `P/control`; its owner may give orders beside root.
    pub fn bind(pod: BorrowedFd<'_>, users: Users) -> Result<Listener> {
        let owner = rustix::fs::fstat(pod)
            .map_err(|err| Fault::io("stat", "the pod directory", err))?
            .st_uid;
        Ok(Listener {
            socket: bind(pod)?,
            owner,
            users,
            peers: Vec::new(),
        })
    }

    pub fn fds(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        std::iter::once(self.socket.as_fd()).chain(self.peers.iter().map(|(peer, _)| peer.as_fd()))
    }
}

impl Supervisor<'_> {
    /// Takes new peers in and answers what the others ask.
    pub(super) fn serve_control(&mut self) {
        let Some(mut listener) = self.supplies.control.take() else {
            return;
        };
        let (owner, confined) = (listener.owner, listener.users.confined());
        let admit = |peer: BorrowedFd<'_>| {
            sys::scm::peer_uid(peer)
                .is_ok_and(|uid| uid == 0 || uid == owner || confined && uid == OVERFLOW)
        };
        while let Ok(Some(socket)) = accept(&listener.socket, admit) {
            if listener.peers.len() < MOST {
                listener.peers.push((socket, Frames::new()));
            }
        }
        listener.peers.retain_mut(|(socket, frames)| {
            loop {
                match frames.request(&*socket) {
                    Ok(None) => return true,
                    Ok(Some(request)) => {
                        let (reply, fds) = self.answer(&request);
                        let fds: Vec<BorrowedFd<'_>> = fds.iter().map(AsFd::as_fd).collect();
                        if send(&*socket, &reply.encode(), &fds).is_err() {
                            return false;
                        }
                    }
                    Err(_) => return false,
                }
            }
        });
        self.supplies.control = Some(listener);
    }

    fn answer(&mut self, request: &Request) -> (Reply, Vec<OwnedFd>) {
        match self.obey(request) {
            Ok(answer) => answer,
            Err(fault) => (Reply::Error(fault.to_string()), Vec::new()),
        }
    }

    fn obey(&mut self, request: &Request) -> Result<(Reply, Vec<OwnedFd>)> {
        let done = Ok((Reply::Ok, Vec::new()));
        match request {
            Request::List => Ok((Reply::Apps(self.statuses()), Vec::new())),
            Request::Enter { app } => self.hand_out(app),
            Request::Stop { force } => {
                self.take(Event::StopPod(forced(*force)));
                done
            }
            Request::AddApp { app } => {
                self.add_app(app)?;
                done
            }
            Request::StartApp { app } => {
                let app = self.changeable(app)?;
                self.take(Event::StartApp(app));
                done
            }
            Request::StopApp { app, force } => {
                let app = self.changeable(app)?;
                self.take(Event::StopApp(app, forced(*force)));
                done
            }
            Request::RemoveApp { app } => {
                let app = self.changeable(app)?;
                self.take(Event::RemoveApp(app));
                match self.machine.state(app) {
                    Some(AppState::Removed) => {
                        self.forget_app(app)?;
                        done
                    }
                    _ => Err(Fault::conflict(format!(
                        "app \"{}\" is still running",
                        self.names[app]
                    ))),
                }
            }
        }
    }

    fn find(&self, name: &AcName) -> Result<AppId> {
        let in_pod = |(app, _): &(AppId, AppState)| self.names[*app] == *name;
        let found = self.machine.apps().find(in_pod).map(|(app, _)| app);
        found.ok_or_else(|| Fault::not_found(format!("nonexistent app \"{name}\"")))
    }

    fn changeable(&self, name: &AcName) -> Result<AppId> {
        let app = self.find(name)?;
        if self.machine.is_sealed() {
            Err(Fault::refused("immutable pod"))
        } else {
            Ok(app)
        }
    }

    fn main_pid(&self, app: AppId) -> Option<i32> {
        let of_app = |process: &&super::Process| process.app == app && process.stage == Stage::Main;
        self.processes
            .iter()
            .find(of_app)
            .map(|process| process.pid)
    }

    fn statuses(&self) -> Vec<AppStatus> {
        let status = |(app, state)| {
            let (state, exit) = match state {
                AppState::Added
                | AppState::PreStarting
                | AppState::Starting
                | AppState::Removed => (pod::control::AppState::Created, None),
                AppState::Running => (pod::control::AppState::Running, None),
                AppState::PostStopping(exit) | AppState::Done(exit) => {
                    (pod::control::AppState::Exited, Some(exit))
                }
            };
            let pid = if exit.is_none() {
                self.main_pid(app)
            } else {
                None
            };
            AppStatus {
                app: self.names[app].clone(),
                state,
                pid,
                exit,
            }
        };
        self.machine.apps().map(status).collect()
    }

    /// The app's namespaces, for `enter`.
    fn hand_out(&mut self, name: &AcName) -> Result<(Reply, Vec<OwnedFd>)> {
        let app = self.find(name)?;
        let running = self.machine.state(app) == Some(AppState::Running);
        let pid = self.main_pid(app).filter(|_| running);
        let pid = pid.ok_or_else(|| Fault::not_found(format!("app \"{name}\" is not running")))?;
        let mut names = Vec::with_capacity(NAMESPACES.len());
        let mut fds = Vec::with_capacity(NAMESPACES.len());
        for (kind, _) in NAMESPACES {
            let path = format!("/proc/{pid}/ns/{kind}");
            match rustix::fs::open(
                path.as_str(),
                OFlags::RDONLY | OFlags::CLOEXEC,
                Mode::empty(),
            ) {
                Ok(fd) => {
                    names.push(kind.to_string());
                    fds.push(fd);
                }
                // A kernel without this kind (cgroup: before Linux 4.6).
                Err(rustix::io::Errno::NOENT) => {}
                Err(err) => return Err(Fault::io("open", path, err)),
            }
        }
        Ok((Reply::Entered { pid, fds: names }, fds))
    }
}

fn forced(force: bool) -> Force {
    if force { Force::Yes } else { Force::No }
}
