//! Between clone and exec: a process of an app on its way into its sandbox.
//!
//! Order matters: cgroup first, so that
//! set-up is accounted; the root next; then identity; the filter last, with
//! CAP_SYS_ADMIN still held, because exec itself drops what the bounding set
//! does not hold. A failure goes to the supervisor through a pipe that exec
//! closes.

pub mod identity;
pub mod program;
pub mod rlimits;

#[cfg(test)]
mod random;

use std::ffi::CString;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use cgroup::AppCgroup;
use model::Fault;
use rustix::fs::{Mode, OFlags};
use sys::clone::Namespaces;
use sys::fs::InRoot;
use sys::{caps, creds, ns, process, seccomp, signal, tty};

use crate::apply::{app_root, label};
use crate::plan::{AppPlan, Users};
use identity::Identity;

/// Of the capabilities that lead out of the sandbox the one that needs no tool.
const PTRACE: u64 = 1 << caps::SYS_PTRACE;

/// What the supervisor reads from the report pipe instead of end-of-file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The sandbox could not be built: rkt failed (254).
    SetUp(String),
    /// The app's program cannot be executed: rkt writes 203 for it, and a
    /// line on stdout.
    Execute(String),
    /// Its working directory is not there: 200.
    Directory(String),
}

/// All that can fail but the program itself is done. End-of-file alone would not tell an exec from a process that was
/// killed on the way there.
pub const ABOUT_TO_EXECUTE: u8 = b'!';

const SET_UP: u8 = b'S';
const EXECUTE: u8 = b'X';
const DIRECTORY: u8 = b'D';

impl Failure {
    /// One write of at most PIPE_BUF bytes: never torn.
    pub fn send(&self, pipe: BorrowedFd<'_>) {
        let (tag, text) = match self {
            Failure::SetUp(text) => (SET_UP, text),
            Failure::Execute(text) => (EXECUTE, text),
            Failure::Directory(text) => (DIRECTORY, text),
        };
        let mut bytes = vec![tag];
        bytes.extend(text.bytes().take(4000));
        // Nobody is left to tell if the supervisor is gone.
        let _ = rustix::io::write(pipe, &bytes);
    }

    /// What happened, without where.
    pub fn text(&self) -> &str {
        match self {
            Failure::SetUp(text) | Failure::Execute(text) | Failure::Directory(text) => text,
        }
    }

    /// `None` for end-of-file, after [`ABOUT_TO_EXECUTE`] or without it.
    pub fn receive(bytes: &[u8]) -> Option<Failure> {
        let bytes = bytes.strip_prefix(&[ABOUT_TO_EXECUTE]).unwrap_or(bytes);
        let (tag, text) = bytes.split_first()?;
        let text = String::from_utf8_lossy(text).into_owned();
        Some(match *tag {
            EXECUTE => Failure::Execute(text),
            DIRECTORY => Failure::Directory(text),
            _ => Failure::SetUp(text),
        })
    }
}

/// Standard streams of an app's process.
#[derive(Debug)]
pub struct Streams<'a> {
    pub stdin: BorrowedFd<'a>,
    pub stdout: BorrowedFd<'a>,
    pub stderr: BorrowedFd<'a>,
    /// The streams are this terminal of the pod (`/dev/pts/<n>`): make it the
    /// controlling one.
    pub terminal: Option<u32>,
}

/// What an app gets beside its streams.
#[derive(Clone, Copy, Debug)]
pub struct Given<'a> {
    /// From descriptor 3 on, with their names.
    pub sockets: Option<(&'a [OwnedFd], &'a str)>,
    /// Where it writes a line when it is ready, under this number.
    pub ready: Option<(BorrowedFd<'a>, i32)>,
    /// It has a socket in the pod's root to say so.
    pub notify: bool,
}

impl Given<'_> {
    pub const NOTHING: Given<'static> = Given {
        sockets: None,
        ready: None,
        notify: false,
    };

    fn sockets(&self) -> impl Iterator<Item = (BorrowedFd<'_>, i32)> {
        let sockets = self.sockets.map_or(&[][..], |(fds, _)| fds);
        sockets.iter().map(AsFd::as_fd).zip(FIRST_SOCKET..)
    }

    /// Each with its number.
    fn fds(&self) -> impl Iterator<Item = (BorrowedFd<'_>, i32)> {
        self.sockets().chain(self.ready)
    }

    /// For the app's environment.
    fn variables(&self) -> Vec<(&'static str, String)> {
        let mut variables = Vec::new();
        if let Some((fds, names)) = self.sockets.filter(|(fds, _)| !fds.is_empty()) {
            variables.push(("LISTEN_FDS", fds.len().to_string()));
            // This process is to be the app, and its number is the pod's.
            variables.push(("LISTEN_PID", std::process::id().to_string()));
            variables.push(("LISTEN_FDNAMES", names.to_string()));
        }
        if self.notify {
            variables.push(("NOTIFY_SOCKET", app_root::NOTIFY_IN_APP.to_string()));
        }
        variables
    }
}

/// Of sd_listen_fds(3).
pub const FIRST_SOCKET: i32 = 3;

/// What is executed: the app itself, or one of its handlers as root.
#[derive(Clone, Copy, Debug)]
pub struct Command<'a> {
    pub exec: &'a [String],
    pub as_root: bool,
    /// Killed when the process that started it ends: nobody waits for it then.
    pub die_with_parent: bool,
    pub given: &'a Given<'a>,
}

/// Runs in the forked child; ends in the app's program, or in a report.
pub fn enter_and_execute(
    app: &AppPlan,
    command: Command<'_>,
    group: Option<(&AppCgroup, bool)>,
    streams: &Streams<'_>,
    report: OwnedFd,
) -> ! {
    let report = match build(app, group, streams, command.given.notify) {
        Ok(()) => report,
        Err(failure) => give_up(&failure, &report),
    };
    confine(app, command, report)
}

enum Never {}

fn set_up(what: &'static str) -> impl FnOnce(std::io::Error) -> Failure {
    move |err| Failure::SetUp(Fault::io("cannot set up", what, err).to_string())
}

fn fault(fault: Fault) -> Failure {
    Failure::SetUp(crate::say::whole(&fault))
}

/// Into the app's cgroup, streams, mounts and session.
fn build(
    app: &AppPlan,
    group: Option<(&AppCgroup, bool)>,
    streams: &Streams<'_>,
    notify: bool,
) -> Result<(), Failure> {
    signal::reset();
    // Modes below are meant as written, whatever the user's umask.
    rustix::process::umask(Mode::empty());
    rustix::process::setsid().map_err(|err| set_up("a session")(err.into()))?;
    if let Some((group, born)) = group {
        group.join(!born).map_err(fault)?;
    }
    // The app sees its own cgroup as the root, not the host's path to it.
    // Before Linux 4.6 there is no such namespace, and nothing is lost.
    let _ = ns::unshare(Namespaces::CGROUP);
    for (fd, number) in [(streams.stdin, 0), (streams.stdout, 1), (streams.stderr, 2)] {
        process::become_std(fd, number).map_err(set_up("standard streams"))?;
    }
    app_root::build(app, streams.terminal, notify).map_err(fault)?;
    if streams.terminal.is_some() {
        tty::control(rustix::stdio::stdin()).map_err(set_up("the controlling terminal"))?;
    }
    Ok(())
}

/// The part that `enter` shares: this process is in the app's namespaces and
/// root already, and takes on everything else that bounds the app.
pub fn confine(app: &AppPlan, command: Command<'_>, report: OwnedFd) -> ! {
    // From here on paths of the image are walked: nothing of the host and of
    // the supervisor may be open any more.
    let (report, given) = match keep(report, command.given) {
        Ok(kept) => kept,
        Err(_) => process::exit_now(254),
    };
    match confine_and_execute(app, command, &given, &report) {
        Ok(never) => match never {},
        Err(failure) => give_up(&failure, &report),
    }
}

/// Closes all but these; the app's own are then above the numbers that they will have.
fn keep(report: OwnedFd, given: &Given<'_>) -> std::io::Result<(OwnedFd, Vec<(OwnedFd, i32)>)> {
    let Some(last) = given.fds().map(|(_, number)| number).max() else {
        return Ok((process::close_all_but(report)?, Vec::new()));
    };
    let numbers: Vec<i32> = given.fds().map(|(_, number)| number).collect();
    let mut fds = vec![report];
    for (fd, _) in given.fds() {
        fds.push(fd.try_clone_to_owned()?);
    }
    let mut kept = process::keep_only(fds, last + 1)?;
    let report = kept.remove(0);
    Ok((report, kept.into_iter().zip(numbers).collect()))
}

fn give_up(failure: &Failure, report: &OwnedFd) -> ! {
    failure.send(report.as_fd());
    process::exit_now(203)
}

fn confine_and_execute(
    app: &AppPlan,
    command: Command<'_>,
    given: &[(OwnedFd, i32)],
    report: &OwnedFd,
) -> Result<Never, Failure> {
    // Paths that the image chose come next; with this one they could lead into
    // the supervisor. It stays permitted: under no-new-privileges exec gives nothing
    // that is not.
    let held = caps::permitted().map_err(set_up("capabilities"))?;
    caps::set_apart(held & !PTRACE, held).map_err(set_up("capabilities"))?;
    let identity = if command.as_root {
        Identity {
            uid: 0,
            gid: 0,
            groups: Vec::new(),
        }
    } else {
        identity::resolve(app).map_err(fault)?
    };
    if app.users.confined() {
        identity.exists().map_err(fault)?;
    }
    if let Some(adjustment) = app.oom_score_adj {
        adjust_oom(adjustment, app.users)?;
    }
    rustix::process::umask(Mode::from_raw_mode(0o022));
    label::at_exec(&app.label).map_err(fault)?;
    process::fresh_keyring();
    step_into(&app.working_directory)?;
    let program = program::find(&command.exec[0], app).map_err(fault)?;
    let argv = texts(command.exec.iter().cloned()).map_err(fault)?;
    let given_env = command.given.variables();
    let is_given = |name: &str| given_env.iter().any(|(given, _)| *given == name);
    let own = app.env.iter().filter(|(name, _)| !is_given(name));
    let env = own.map(|(name, value)| format!("{name}={value}"));
    let more = given_env
        .iter()
        .map(|(name, value)| format!("{name}={value}"));
    let env = texts(env.chain(more)).map_err(fault)?;
    let path = texts(std::iter::once(program.clone()))
        .map_err(fault)?
        .remove(0);
    // Before the filter is on, which may forbid the report of a failure.
    rustix::fs::access(program.as_str(), rustix::fs::Access::EXEC_OK)
        .map_err(|err| not_executed(&program, &err.into()))?;

    rlimits::set(&app.rlimits).map_err(fault)?;
    take_on(app, &identity, command.die_with_parent)?;
    for (fd, number) in given {
        process::place(fd.as_fd(), *number).map_err(set_up("the app's descriptors"))?;
    }
    rustix::io::write(report, &[ABOUT_TO_EXECUTE])
        .map_err(|err| set_up("the report")(err.into()))?;
    if let Some(filter) = &app.seccomp {
        seccomp::load(filter).map_err(set_up("the seccomp filter"))?;
    }
    let err = process::exec(&path, &argv, &env);
    let blamed = label::blame(&app.label, &program, &err).map(Failure::Execute);
    Err(blamed.unwrap_or_else(|| not_executed(&program, &err)))
}

/// Takes on the app's identity, and gives up what the app shall not have.
fn take_on(app: &AppPlan, identity: &Identity, die_with_parent: bool) -> Result<(), Failure> {
    let held = caps::permitted().map_err(set_up("capabilities"))?;
    caps::bound(app.bounding).map_err(set_up("the capability bounding set"))?;
    creds::keep_caps().map_err(set_up("capabilities"))?;
    if app.users.confined() && !sys::userns::can_set_groups() {
        // There is one group to be in, and those outside cannot be left.
        creds::set_gid(identity.gid).map_err(set_up("the group"))?;
    } else {
        let mut groups = vec![identity.gid];
        groups.extend(identity.groups.iter().filter(|gid| **gid != identity.gid));
        creds::set_groups(identity.gid, &groups).map_err(set_up("groups"))?;
    }
    creds::set_user(identity.uid).map_err(set_up("the user"))?;
    if die_with_parent {
        // Not before: the change of user would clear it.
        creds::die_with_parent(signal::KILL).map_err(set_up("the parent's watch"))?;
    }
    let admin = 1 << caps::SYS_ADMIN;
    let keep = held
        & match identity.uid {
            0 => app.bounding | admin,
            _ => admin,
        };
    caps::set_apart(keep & !PTRACE, keep).map_err(set_up("capabilities"))?;
    // A program that is not root's could not have loaded the filter itself,
    // and rkt let it gain nothing by exec either.
    if app.no_new_privs || (app.seccomp.is_some() && identity.uid != 0) {
        creds::no_new_privs().map_err(set_up("no-new-privileges"))?;
    }
    Ok(())
}

/// Steps into the working directory, past no link of procfs: `/proc/1/root`
/// would lead to the supervisor's view, and this process still could open it.
pub fn step_into(directory: &str) -> Result<(), Failure> {
    let fail = |err: std::io::Error| {
        Failure::Directory(Fault::io("chdir", format!("\"{directory}\""), err).to_string())
    };
    let root = InRoot::at("/").map_err(fail)?;
    let flags = OFlags::PATH | OFlags::DIRECTORY;
    let there = root.open(directory, flags, Mode::empty()).map_err(fail)?;
    rustix::process::fchdir(&there).map_err(|err| fail(err.into()))?;
    // The kernel's own word that it lies below the root.
    match std::env::current_dir() {
        Ok(path) if path.is_absolute() => Ok(()),
        _ => Err(fail(std::io::ErrorKind::NotFound.into())),
    }
}

fn not_executed(program: &str, err: &std::io::Error) -> Failure {
    Failure::Execute(match err.raw_os_error() {
        Some(errno) if errno == rustix::io::Errno::ACCESS.raw_os_error() => {
            format!("Error: \"{program}\" is not executable")
        }
        _ => format!("Error: Unable to open \"{program}\": {}", capitalised(err)),
    })
}

/// rkt's diagnostic prints strerror's own capitals.
fn capitalised(err: &std::io::Error) -> String {
    let text = err.to_string();
    text.split(" (os error").next().unwrap_or(&text).to_string()
}

fn adjust_oom(adjustment: i32, users: Users) -> Result<(), Failure> {
    let fail = |err: std::io::Error| {
        Failure::SetUp(format!(
            "cannot set the oom score adjustment to {adjustment}: {} (lowering it needs CAP_SYS_RESOURCE)",
            model::fault::errno_text(&err)
        ))
    };
    // Files of a process that is not dumpable belong to the first namespace's root.
    // This process is the app's own, but for what it may do besides, which takes
    // more than the app has to make use of.
    let dumpable = |dumpable| match users {
        Users::Private { .. } => creds::set_dumpable(dumpable).map_err(set_up("this process")),
        _ => Ok(()),
    };
    dumpable(true)?;
    // Another app of the pod may have put something in the place of `/proc`.
    let opened = sys::procfs::own_file("oom_score_adj");
    dumpable(false)?;
    let file = opened.map_err(fail)?;
    rustix::io::write(&file, adjustment.to_string().as_bytes()).map_err(|err| fail(err.into()))?;
    Ok(())
}

/// Words for exec; a NUL inside one is an error.
pub fn texts(words: impl Iterator<Item = String>) -> Result<Vec<CString>, Fault> {
    words
        .map(|word| {
            CString::new(word).map_err(|err| {
                let word = String::from_utf8_lossy(&err.into_vec()).into_owned();
                Fault::invalid(format!(
                    "{word:?} has a NUL byte, which no program can be given"
                ))
            })
        })
        .collect()
}
