//! The process that the user started: terminal, signals, output, exit status.
//!
//! It builds what needs the host in view (cgroups, the pod's pid file), forks
//! PID 1 into the pod's namespaces, then follows. The apps' output is read back
//! from their logs, so that a terminal that does not read never blocks an app.

mod expose;
mod follow;
mod fork;
pub mod leave;
pub mod network;
mod reclaim;
pub mod screen;
pub mod sink;
mod tail;
mod usermode;

use std::os::fd::{AsFd, OwnedFd};

use cgroup::{Access, Device, DeviceKind, Devices, Facts, PodCgroup, Request};
use model::options::Readiness;
use model::{Fault, fault::Result};
use pod::entry::{IpcMode, RunArgs};
use pod::{Status, layout};
use rustix::fs::{FileType, Mode, OFlags};
use sys::clone::{Forked, Namespaces};
use sys::process;
use sys::signal::{self, Signals};
use sys::{creds, ns};

use crate::apply::{label, pod_root};
use crate::child::FIRST_SOCKET;
use crate::load::{self, EtcFiles, Loaded};
use crate::pid1::network::Joined;
use crate::pid1::{Channel, Growth, Listener, Message, Supervisor, Supplies};
use crate::plan::caps::CapSet;
use crate::plan::{self, Plan, PodSpec, Source, Unconfined, Users};
use crate::runtime;
use crate::starter::{Sockets, Starter};
use follow::Outer;
use net::Selection;
use network::{Prepared, Standing};
use tail::Tail;

/// Runs the pod in the current directory, whose lock the caller holds; the exit
/// status of `rkt run`.
pub fn run(args: &RunArgs, mut starter: Starter) -> Result<i32> {
    let signals = Signals::take(&[
        signal::CHLD,
        signal::TERM,
        signal::INT,
        signal::HUP,
        signal::QUIT,
        signal::WINCH,
    ])
    .map_err(|err| Fault::io("cannot read", "signals", err))?;
    let loaded = load::load()?;
    let mut plan = decide(args, &loaded)?;
    label::check(&plan)?;
    let sockets = hand_out(&mut starter, &loaded, &mut plan)?;
    let prepared = network::prepare(args, &loaded)?;
    for warning in &plan.warnings {
        crate::say::err(format_args!("stage1: {warning}"));
    }
    // What later entry points need to know of this run.
    load::write(
        &loaded.dir,
        layout::RUNTIME_CONFIG,
        runtime::to_json(args, None).as_bytes(),
    )?;
    let cgroups = make_cgroups(args, &plan, &loaded)?;
    if !cgroups.devices_confined {
        plan.forbid_device_nodes();
    }
    let (status, standing) = match start(args, plan, loaded, &cgroups, prepared, (starter, sockets))
    {
        Ok((outer, standing)) => {
            let pid1 = outer.pid1;
            // `rkt rm` is executed from a mount of its own.
            shed(standing.as_ref().is_some_and(Standing::takes_rights) || args.rm);
            // Nobody would follow the pod any more: it must not outlive its rules.
            let status = outer.follow(signals).inspect_err(|_| abandon(pid1));
            (status, standing)
        }
        Err(fault) => (Err(fault), None),
    };
    if args.detach && matches!(status, Ok(0)) {
        return Ok(0);
    }
    // The pod is over whatever happened, and its processes with it.
    if let Some(Err(fault)) = standing.map(Standing::leave) {
        crate::say::err(format_args!(
            "networking: warning: {fault} (rkt gc tries again)"
        ));
    }
    if let Err(fault) = cgroups.remove() {
        crate::say::err(format_args!(
            "stage1: warning: {fault} (rkt gc tries again)"
        ));
    }
    status
}

/// The sockets that rkt was handed, to the apps that they are for.
fn hand_out(starter: &mut Starter, loaded: &Loaded, plan: &mut Plan) -> Result<Vec<Sockets>> {
    let apps = loaded.manifest.apps.iter().zip(&loaded.apps);
    let apps: Vec<_> = apps
        .filter_map(|(runtime, spec)| {
            let app = runtime.app.as_ref().or(spec.image.app.as_ref())?;
            Some((runtime.name.as_str(), app))
        })
        .collect();
    let (sockets, warnings) = starter.share(&apps, &loaded.manifest.ports)?;
    plan.warnings.extend(warnings);
    for (app, sockets) in plan.apps.iter().zip(&sockets) {
        let end = FIRST_SOCKET + sockets.fds.len() as i32;
        if let Readiness::Fd(number) = app.readiness
            && number < end
        {
            return Err(Fault::conflict(format!(
                "app \"{}\": descriptor {number} of its readiness is one of its sockets (LISTEN_FDS)",
                app.name
            ))
            .hint(format!("use --readiness=fd:{end}")));
        }
    }
    Ok(sockets)
}

/// While the pod is up this process reads what the pod writes, and needs few rights
/// for it. A failure would leave those that were there.
fn shed(network: bool) {
    let network = match network {
        true => CapSet::NETWORK,
        false => CapSet::EMPTY,
    };
    if let Ok(held) = sys::caps::permitted() {
        let _ = sys::caps::set(held & CapSet::FOLLOWER.union(network).bits());
    }
}

/// Decides the pod's sandbox from what stage0 asked for.
pub fn decide(args: &RunArgs, loaded: &Loaded) -> Result<Plan> {
    let host_network = Selection::parse(&args.net)? == Selection::Host;
    let users = match args.private_users {
        Some((first, count)) => Users::Private { first, count },
        None if sys::userns::confined() => Users::Inherited,
        None => Users::Host,
    };
    if args.mutable && matches!(users, Users::Private { .. }) {
        return Err(
            Fault::unsupported("apps cannot be added to a pod with user IDs of its own")
                .hint("run it without --private-users"),
        );
    }
    plan::plan(&PodSpec {
        uuid: &args.uuid,
        manifest: &loaded.manifest,
        apps: &loaded.apps,
        unconfined: Unconfined {
            capabilities: args.disable_capabilities,
            paths: args.disable_paths,
            seccomp: args.disable_seccomp,
        },
        hostname: args.hostname.as_deref(),
        host_network,
        host_ipc: args.ipc == Some(IpcMode::Parent),
        interactive: args.interactive,
        users,
        labels: loaded.labels.as_ref(),
    })
}

fn make_cgroups(args: &RunArgs, plan: &Plan, loaded: &Loaded) -> Result<PodCgroup> {
    let mut devices = Devices::default();
    for volume in &plan.volumes {
        if let Source::Host(path) = &volume.source {
            allow_node(&mut devices, path);
        }
    }
    let apps: Vec<_> = plan
        .apps
        .iter()
        .map(|app| (app.name.clone(), app.limits.clone()))
        .collect();
    let request = Request {
        uuid: &args.uuid,
        apps: &apps,
        devices: &devices,
        grows: args.mutable,
        owner: match plan.users {
            Users::Private { first, .. } => Some(first),
            Users::Host | Users::Inherited => None,
        },
    };
    let groups = cgroup::Plan::of(&Facts::probe(request.needs())?, &request)?;
    // Before the first effect: gc undoes what a kill leaves.
    let record = groups.record();
    load::write(&loaded.dir, layout::CGROUPS, record.as_bytes())?;
    let made = groups.create()?;
    // What could not be made and is not needed must not be missed by `enter`.
    if made.record() != record {
        load::write(&loaded.dir, layout::CGROUPS, made.record().as_bytes())?;
    }
    if args.debug {
        for note in &made.notes {
            crate::say::err(format_args!("stage1: {note}"));
        }
    }
    Ok(made)
}

/// A volume that is a device node is of use only if the device may be used.
/// Only nodes below `/dev` count: one anywhere else may have been made by an
/// app that was given the directory as a volume.
fn allow_node(devices: &mut Devices, path: &str) {
    let real = std::fs::canonicalize(path)
        .ok()
        .filter(|real| real.starts_with("/dev"));
    let Some(Ok(stat)) = real.map(|real| rustix::fs::stat(&real)) else {
        return;
    };
    let kind = match FileType::from_raw_mode(stat.st_mode) {
        FileType::CharacterDevice => DeviceKind::Char,
        FileType::BlockDevice => DeviceKind::Block,
        _ => return,
    };
    let (major, minor) = (
        rustix::fs::major(stat.st_rdev),
        rustix::fs::minor(stat.st_rdev),
    );
    devices.allow(Device {
        kind,
        major: Some(major),
        minor: Some(minor),
        access: Access::ALL,
    });
}

/// Forks; what only PID 1 needs is gone from this process afterwards.
fn start(
    args: &RunArgs,
    mut plan: Plan,
    loaded: Loaded,
    cgroups: &PodCgroup,
    prepared: Option<Prepared>,
    (starter, sockets): (Starter, Vec<Sockets>),
) -> Result<(Outer, Option<Standing>)> {
    let io = |what: &'static str| move |err: std::io::Error| Fault::io("cannot set up", what, err);
    let etc = load::etc_files(loaded.dir.as_fd(), args, &plan.hostname)?;
    let null = rustix::fs::open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())
        .map_err(|err| Fault::io("open", "/dev/null", err))?;
    let (inside, channel) = Channel::pair().map_err(io("a socket pair"))?;
    let terminal = plan.interactive && sys::tty::is_terminal(rustix::stdio::stdin());
    let (streams, carriers) = match plan.interactive && !terminal {
        true => sink::own_streams().map(|(streams, carriers)| (Some(streams), carriers))?,
        false => (None, Vec::new()),
    };
    let logs = if plan.interactive {
        None
    } else {
        Some(open_logs(&loaded)?)
    };
    let tail = match &logs {
        Some(logs) if !args.detach => Some(Tail::new(logs, &plan)?),
        _ => None,
    };
    let groups = plan
        .apps
        .iter()
        .map(|app| cgroups.app(&app.name))
        .collect::<Result<Vec<_>>>()?;
    if let Some(token) = args.mds_token.as_ref().filter(|_| plan.host_network) {
        let url = network::metadata_url(&"127.0.0.1", token);
        plan.tell_metadata_url(Some(&url));
        tell_later(args, &loaded, &url)?;
    }
    let mut supplies = Supplies {
        groups,
        sockets,
        status: Status::create(&loaded.dir)?,
        logs,
        null,
        streams,
        terminal,
        window: rustix::termios::tcgetwinsize(rustix::stdio::stdin()).ok(),
        channel: inside,
        control: Some(Listener::bind(loaded.dir.as_fd(), plan.users)?),
        detached: args.detach,
        network: None,
    };
    let mut namespaces = Namespaces::MOUNT.and(Namespaces::PID).and(Namespaces::UTS);
    if !plan.host_ipc {
        namespaces = namespaces.and(Namespaces::IPC);
    }
    if !plan.host_network {
        if prepared.is_none() {
            crate::say::err(format_args!(
                "networking: networking namespace with loopback only"
            ));
        }
        namespaces = namespaces.and(Namespaces::NET);
    }
    if let Users::Private { first, .. } = plan.users {
        // PID 1 writes these as the pod's root.
        supplies.give_to(first)?;
    }
    let supervisor = cgroups.supervisor()?;
    match fork::pid1(&plan, namespaces, supervisor.born_into())? {
        Forked::Child => {
            drop((channel, starter));
            supplies.network = prepared.map(Prepared::held);
            process::exit_now(pid1(plan, &etc, supplies, args, cgroups))
        }
        Forked::Parent(pid) => {
            // Only PID 1 answers to these.
            drop(supplies);
            load::write(&loaded.dir, layout::PID, format!("{pid}\n").as_bytes())?;
            let standing = prepared
                .map(|prepared| join(prepared, args, &loaded, pid, &channel))
                .transpose()
                .inspect_err(|_| abandon(pid))?;
            let uuid = args.uuid.as_str().to_string();
            let outer = Outer {
                pid1: pid,
                channel,
                tail,
                carriers,
                detach: args.detach,
                uuid,
                starter,
                asked: 0,
                ready: false,
                listening: true,
            };
            Ok((outer, standing))
        }
    }
}

/// Makes the network while PID 1 builds the pod's root, and tells it.
fn join(
    prepared: Prepared,
    args: &RunArgs,
    loaded: &Loaded,
    pid1: i32,
    channel: &Channel,
) -> Result<Standing> {
    let (standing, joined) = prepared.join(args, &loaded.dir, pid1)?;
    if let Err(fault) = tell(args, loaded, &joined, channel) {
        // The first failure is the one to tell.
        drop(standing.leave());
        return Err(fault);
    }
    Ok(standing)
}

fn tell(args: &RunArgs, loaded: &Loaded, joined: &Joined, channel: &Channel) -> Result<()> {
    if let Some(url) = &joined.metadata_url {
        tell_later(args, loaded, url)?;
    }
    match channel.tell_network(&joined.to_text()) {
        Err(err) if err.raw_os_error() == Some(rustix::io::Errno::MSGSIZE.raw_os_error()) => Err(
            Fault::invalid("failed to setup network: the networks' DNS configuration is too long"),
        ),
        // A PID 1 that is gone has said why, and that is read next.
        _ => Ok(()),
    }
}

/// What `enter` has to know as well.
fn tell_later(args: &RunArgs, loaded: &Loaded, metadata_url: &str) -> Result<()> {
    load::write(
        &loaded.dir,
        layout::RUNTIME_CONFIG,
        runtime::to_json(args, Some(metadata_url)).as_bytes(),
    )
}

/// Ends a pod that cannot go on: its network will not come, or nobody follows it.
fn abandon(pid: i32) {
    let _ = signal::send(pid, signal::KILL);
    let _ = process::wait(pid);
}

/// Life of the child: the pod's namespaces are new, nothing is built yet.
fn pid1(
    mut plan: Plan,
    etc: &EtcFiles,
    mut supplies: Supplies,
    args: &RunArgs,
    cgroups: &PodCgroup,
) -> i32 {
    let broken = |channel: &Channel, fault: &Fault| {
        channel.send(&Message::Broken(&crate::say::whole(fault)));
        254
    };
    let metadata_url = match settle_in(&plan, etc, &mut supplies, args.mutable) {
        Ok(url) => url,
        Err(fault) => return broken(&supplies.channel, &fault),
    };
    plan.tell_metadata_url(metadata_url.as_deref());
    let growth = args.mutable.then_some(Growth { args, cgroups });
    match Supervisor::new(plan, supplies, growth, metadata_url) {
        Ok(supervisor) => supervisor.run(),
        Err((supplies, fault)) => broken(&supplies.channel, &fault),
    }
}

/// Builds the pod's root, then waits for its network; where the metadata service
/// is found.
fn settle_in(
    plan: &Plan,
    etc: &EtcFiles,
    supplies: &mut Supplies,
    mutable: bool,
) -> Result<Option<String>> {
    let io = |what: &'static str| move |err: std::io::Error| Fault::io("cannot set up", what, err);
    // Away from the user's terminal: its ^C goes to the outer process only.
    rustix::process::setsid().map_err(|err| io("a session")(err.into()))?;
    rustix::process::umask(Mode::empty());
    creds::set_name(c"rkt-pod").map_err(io("the process name"))?;
    for number in 0..3 {
        process::become_std(supplies.null.as_fd(), number).map_err(io("standard streams"))?;
    }
    ns::set_hostname(&plan.hostname).map_err(|err| {
        Fault::io(
            "cannot set the host name",
            format!("\"{}\"", plan.hostname),
            err,
        )
    })?;
    if !plan.host_network {
        sys::net::loopback_up().map_err(io("the loopback device"))?;
    }
    pod_root::build(plan, etc, mutable)?;
    let mut metadata_url = None;
    if let Some(network) = &mut supplies.network {
        let told = supplies.channel.wait_for_network();
        let text = told.map_err(io("the network"))?;
        let text = text.ok_or_else(|| Fault::conflict("rkt is gone, or wants the pod's end"))?;
        let joined = Joined::parse(&text)?;
        metadata_url = joined.metadata_url.clone();
        network.settle(joined)?;
    }
    crate::apply::sysctl::write(&plan.sysctls, plan.users.confined())?;
    // Not dumpable, and without what building sandboxes does not need.
    let held = sys::caps::permitted().map_err(io("capabilities"))?;
    let network = supplies.network.as_ref();
    // An app that gains a capability by exec is not dumpable, and could then not open
    // its own files below /proc where root is another user's.
    let of_apps = plan.apps.iter().fold(0, |all, app| all | app.bounding);
    let wanted = plan::caps::CapSet::SUPERVISOR.bits()
        | network.map_or(0, |network| network.capabilities())
        | of_apps;
    sys::caps::set(held & wanted).map_err(io("capabilities"))?;
    Ok(metadata_url)
}

fn open_logs(loaded: &Loaded) -> Result<OwnedFd> {
    let fail = |err| Fault::io("open", layout::LOG, err);
    match rustix::fs::mkdirat(
        &loaded.dir,
        layout::LOG,
        Mode::from_raw_mode(layout::DIR_MODE),
    ) {
        Ok(()) | Err(rustix::io::Errno::EXIST) => {}
        Err(err) => return Err(Fault::io("mkdir", layout::LOG, err)),
    }
    let flags = OFlags::DIRECTORY | OFlags::RDONLY | OFlags::CLOEXEC;
    rustix::fs::openat(&loaded.dir, layout::LOG, flags, Mode::empty()).map_err(fail)
}
