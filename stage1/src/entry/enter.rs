//! `enter`: a command in a running app's surroundings, bounded as the app is.
//!
//! rkt's own enter left capabilities, filter, cgroup and user behind
//! (CVE-2019-10144, -10145, -10147). Here the command goes the app's own way
//! from `child::confine` on; only namespaces are joined instead of made.
//!
//! The supervisor hands out the app's mount namespace. Everything of the host
//! that is needed is read before it is entered, this process is not dumpable,
//! and it runs from a binary that the pod cannot write.

use std::os::fd::{AsFd, OwnedFd};

use cgroup::Limits;
use model::{AcName, Fault, fault::Result};
use pod::control::{Reply, Request};
use pod::entry::EnterArgs;
use pod::layout;
use rustix::event::{PollFd, PollFlags};
use rustix::fs::{Mode, OFlags};
use sys::clone::{Forked, Namespaces, fork_into};
use sys::process::{self, Ended};
use sys::signal::{self, Signals};
use sys::{creds, ns};

use crate::child::{self, Command, Failure, Given};
use crate::flavor::{self, Flavor};
use crate::load;
use crate::outer::screen::{Screen, Wish};
use crate::outer::sink::{self, Carrier};
use crate::pid1::NAMESPACES;
use crate::plan::Users;
use crate::{outer, runtime};

pub fn enter(words: &[String]) -> Result<i32> {
    let args = EnterArgs::parse(words)?;
    if flavor::of_pod() == Flavor::Fly {
        return flavor::fly::enter(&args);
    }
    let loaded = load::load()?;
    let uuid = uuid_of(&loaded)?;
    let (run, metadata_url) = runtime::read(loaded.dir.as_fd(), uuid.clone())?;
    let mut plan = outer::decide(&run, &loaded)?;
    plan.tell_metadata_url(metadata_url.as_deref());
    // Without it the command would be outside of what bounds the app.
    let record = load::read_if_there(loaded.dir.as_fd(), layout::CGROUPS)?.unwrap_or_default();
    let record = String::from_utf8_lossy(&record);
    let groups = cgroup::open(&record, &uuid)?;
    if !groups.devices_confined {
        // As it was decided for the app.
        plan.forbid_device_nodes();
    }
    let name = args.app.as_str();
    let app = plan.apps.iter().find(|app| app.name == name);
    let app = app.ok_or_else(|| Fault::not_found(format!("nonexistent app \"{name}\"")))?;

    let limits = child::rlimits::of_pod()?;
    let namespaces = ask_for_namespaces(&loaded, &args.app)?;
    let group = groups.app(name)?;
    if group.is_none() && !record.is_empty() {
        return Err(Fault::not_found(format!(
            "the cgroup of app \"{name}\" is gone"
        )));
    }
    match group.join(true) {
        // An ordinary user's other cgroups may have no way there; where nothing
        // is bounded, nothing is lost.
        Err(_) if sys::userns::confined() && app.limits == Limits::default() => {}
        joined => joined?,
    }
    let fail = |err| Fault::io("cannot join", "the app's namespaces", err);
    for (kind, fd) in &namespaces {
        // The others' pods are in this process' own user namespace.
        if *kind == Namespaces::USER && !matches!(plan.users, Users::Private { .. }) {
            continue;
        }
        ns::set(fd.as_fd(), *kind).map_err(fail)?;
        if *kind == Namespaces::USER {
            // Nobody in there knows the host's root.
            creds::set_groups(0, &[]).map_err(fail)?;
            creds::set_user(0).map_err(fail)?;
        }
    }
    drop((namespaces, group, groups, loaded));

    // The caller's terminal is not handed out: what runs in the pod could type
    // into it (TIOCSTI), or go on reading it after we are gone.
    let (streams, terminal, carriers) = streams()?;
    let (report, reporter) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)
        .map_err(|err| Fault::io("cannot make", "a pipe", err))?;
    let signals = Signals::take(&[signal::CHLD, signal::WINCH, signal::TERM, signal::HUP])
        .map_err(|err| Fault::io("cannot read", "signals", err))?;
    signal::ignore(signal::INT);
    signal::ignore(signal::QUIT);
    // Only a child is inside the pod's pid namespace.
    let forked = fork_into(Namespaces::NONE, None)
        .map_err(|err| Fault::io("cannot fork", "into the pod", err))?;
    match forked {
        Forked::Child => {
            drop(report);
            signal::reset();
            let ready = take_streams(&streams, terminal.is_some());
            if let Err(fault) = ready {
                Failure::SetUp(fault.to_string()).send(reporter.as_fd());
                process::exit_now(254)
            }
            child::rlimits::follow(&limits);
            let command = Command {
                given: &Given::NOTHING,
                exec: &args.command,
                as_root: false,
                die_with_parent: true,
            };
            child::confine(app, command, reporter)
        }
        Forked::Parent(pid) => {
            drop((reporter, streams));
            let screen = terminal.map(Screen::take).transpose()?;
            follow(pid, &report, &signals, screen, carriers)
        }
    }
}

/// The app's namespaces as fds, mounts last: with them the host is out of
/// reach. They come from the supervisor, which cannot mistake a pid that is in
/// use again for the app.
fn ask_for_namespaces(loaded: &load::Loaded, app: &AcName) -> Result<Vec<(Namespaces, OwnedFd)>> {
    let timeout = std::time::Duration::from_secs(10);
    let mut supervisor = pod::control::connect(loaded.dir.as_fd(), Some(timeout))?;
    let (reply, fds) = supervisor.call(&Request::Enter { app: app.clone() })?;
    let Reply::Entered { fds: names, .. } = reply else {
        return Err(Fault::corrupt("the pod's supervisor sent no namespaces"));
    };
    let mut namespaces = Vec::with_capacity(fds.len());
    for (name, fd) in names.iter().zip(fds) {
        let kind = NAMESPACES
            .iter()
            .find(|(known, _)| known == name)
            .map(|(_, kind)| *kind);
        let kind = kind.ok_or_else(|| {
            Fault::corrupt(format!("the pod's supervisor sent a \"{name}\" namespace"))
        })?;
        namespaces.push((kind, fd));
    }
    if namespaces.last().map(|(kind, _)| *kind) != Some(Namespaces::MOUNT) {
        return Err(Fault::corrupt(
            "the pod's supervisor sent no mount namespace",
        ));
    }
    Ok(namespaces)
}

/// A fresh terminal of the pod. Its `/dev` is the app's to change, its
/// `/dev/pts` is not: that one is checked to be what it should, and from there on
/// nothing is looked up by a path that another app could lead elsewhere.
fn open_terminal() -> Result<(OwnedFd, OwnedFd)> {
    const DEVPTS: u64 = 0x1cd1;
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW;
    let pts = sys::fs::InRoot::at("/")
        .and_then(|root| root.open("dev/pts", flags, Mode::empty()))
        .ok()
        .filter(|pts| rustix::fs::fstatfs(pts).is_ok_and(|found| found.f_type as u64 == DEVPTS))
        .ok_or_else(|| Fault::refused("\"/dev/pts\" of the app is not what it was given"))?;
    sys::tty::open_pair(pts.as_fd())
        .map(|(master, slave, _)| (master, slave))
        .map_err(|err| Fault::io("cannot open", "a terminal in the pod", err))
}

/// In the child: a session of its own, its streams, and the fresh terminal if
/// they are one.
fn take_streams(streams: &[OwnedFd; 3], terminal: bool) -> Result<()> {
    let fail = |err: std::io::Error| Fault::io("cannot set up", "the streams", err);
    rustix::process::setsid().map_err(|err| fail(err.into()))?;
    for (number, stream) in (0..).zip(streams) {
        process::become_std(stream.as_fd(), number).map_err(fail)?;
    }
    if terminal {
        sys::tty::control(rustix::stdio::stdin()).map_err(fail)?;
    }
    Ok(())
}

/// What the command gets as its streams: a terminal of the pod in place of the
/// caller's (and its master for us), or the caller's own streams, those that
/// are terminals by way of us.
fn streams() -> Result<([OwnedFd; 3], Option<OwnedFd>, Vec<Carrier>)> {
    if !sys::tty::is_terminal(rustix::stdio::stdin()) {
        let (streams, carriers) = sink::own_streams()?;
        return Ok((streams, None, carriers));
    }
    let (master, slave) = open_terminal()?;
    // From before the command is there to ask.
    let _ = sys::tty::copy_size(rustix::stdio::stdin(), master.as_fd());
    let copy = || {
        let copied = slave.try_clone();
        copied.map_err(|err| Fault::io("cannot set up", "the streams", err))
    };
    Ok(([copy()?, copy()?, slave], Some(master), Vec::new()))
}

fn uuid_of(loaded: &load::Loaded) -> Result<model::PodUuid> {
    let here = rustix::fs::readlinkat(
        rustix::fs::CWD,
        format!(
            "/proc/self/fd/{}",
            std::os::fd::AsRawFd::as_raw_fd(&loaded.dir)
        ),
        Vec::new(),
    )
    .map_err(|err| Fault::io("cannot find", "the pod directory", err))?;
    let here = here.to_string_lossy();
    model::PodUuid::new(here.rsplit('/').next().unwrap_or(""))
}

/// Relays the terminal and waits for the command.
fn follow(
    pid: i32,
    report: &OwnedFd,
    signals: &Signals,
    mut screen: Option<Screen>,
    mut carriers: Vec<Carrier>,
) -> Result<i32> {
    let ended = loop {
        let mut fds = vec![PollFd::new(signals, PollFlags::IN)];
        if let Some(screen) = &screen {
            screen.poll_fds(&mut fds);
        }
        for carrier in &carriers {
            carrier.poll_fds(&mut fds);
        }
        // EINTR: go round.
        let _ = rustix::event::poll(&mut fds, None);
        drop(fds);
        for carrier in &mut carriers {
            carrier.carry();
        }
        if let Some(screen) = &mut screen
            && screen.relay() == Wish::Kill
        {
            let _ = signal::send(pid, signal::KILL);
        }
        let mut ended = None;
        while let Some(received) = signals.next() {
            match received.signal {
                signal::CHLD => {
                    while let Some((child, how)) = process::reap_any() {
                        ended = ended.or((child == pid).then_some(how));
                    }
                }
                signal::WINCH => {
                    if let Some(screen) = &screen {
                        screen.resize();
                    }
                }
                number => drop(signal::send(pid, number)),
            }
        }
        if let Some(ended) = ended {
            break ended;
        }
    };
    if let Some(screen) = &mut screen {
        screen.drain();
        screen.restore();
    }
    for carrier in &mut carriers {
        carrier.finish();
    }
    let mut bytes = [0; 4096];
    let length = rustix::io::retry_on_intr(|| rustix::io::read(report, &mut bytes)).unwrap_or(0);
    match Failure::receive(&bytes[..length]) {
        Some(Failure::Execute(text)) => Err(Fault::not_found(text)),
        Some(Failure::SetUp(text) | Failure::Directory(text)) => Err(Fault::invalid(text)),
        None => Ok(match ended {
            Ended::Exited(status) => status,
            Ended::Signalled(number) => 128 + number,
        }),
    }
}
