//! The pod's PID 1: an event loop around the pure `machine`.
//!
//! Signals, children's reports, their output, the outer process and the control
//! socket come in as events; the machine answers with actions, which are
//! carried out here. Every orphan is reaped. After start-up nothing may end
//! this process but the end of the pod: what fails is noted, not propagated.

mod channel;
mod control;
mod ends;
pub mod machine;
pub mod network;
mod output;
mod reports;
mod spawn;
mod teller;

pub use channel::{Channel, MAX as MAX_MESSAGE, Message};

use std::os::fd::{AsFd, OwnedFd};

use cgroup::{AppCgroup, PodCgroup};
use model::options::Readiness;
use model::{AcName, Fault};
use pod::Status;
use pod::entry::RunArgs;
use rustix::event::{PollFd, PollFlags, Timespec};
use sys::signal::{self, Signals};

use crate::apply::pod_root;
use crate::plan::caps::CapSet;
use crate::plan::{AppPlan, Plan, VolumePlan};
use crate::starter::Sockets;
use crate::{load, outer};
use channel::Outer;
use machine::{Action, AppId, Event, Force, Machine, Stage};
use output::Output;
use teller::Teller;

/// Signals and ended processes that are dealt with in one turn: an app can make more of either as fast as they are read.
const MOST_SIGNALS: usize = 16;
const MOST_ENDED: usize = 64;

/// Until the outer process is told again what its full queue has not taken.
const RETRY_NS: i64 = 100_000_000;

/// Between SIGTERM and SIGKILL. systemd's default, which rkt's users know.
const STOP_TIMEOUT_NS: i64 = 90_000_000_000;

/// Everything that PID 1 opened while the host was still in view.
pub struct Supplies {
    /// One per app of the plan.
    pub groups: Vec<AppCgroup>,
    /// Likewise: what rkt was handed for it.
    pub sockets: Vec<Sockets>,
    pub status: Status,
    /// The directory `P/log`; none for an interactive pod.
    pub logs: Option<OwnedFd>,
    pub null: OwnedFd,
    /// The caller's streams, for an interactive pod without a terminal.
    pub streams: Option<[OwnedFd; 3]>,
    /// Give the app a terminal and hand its master to the outer process.
    pub terminal: bool,
    /// Its size, from before the app is there to ask.
    pub window: Option<rustix::termios::Winsize>,
    pub channel: Channel,
    pub control: Option<control::Listener>,
    pub detached: bool,
    /// None for the host's network, and for loopback alone.
    pub network: Option<network::Held>,
}

impl Supplies {
    /// Makes `uid` the owner of the directories that PID 1 writes to.
    pub fn give_to(&self, uid: u32) -> Result<(), Fault> {
        let fail = |err| Fault::io("cannot give away", "the pod's log and status", err);
        let owner = Some(rustix::fs::Uid::from_raw(uid));
        let logs = self.logs.as_ref();
        logs.map_or(Ok(()), |logs| rustix::fs::fchown(logs, owner, None))
            .map_err(fail)?;
        self.status.give_to(uid)
    }
}

pub use control::{Listener, NAMESPACES};

/// A process of ours, and what it is.
struct Process {
    pid: i32,
    app: AppId,
    stage: Stage,
    /// End-of-file here means that it executed its program.
    report: Option<OwnedFd>,
}

/// What it takes to add apps to a running, mutable pod.
#[derive(Clone, Copy)]
pub struct Growth<'a> {
    pub args: &'a RunArgs,
    pub cgroups: &'a PodCgroup,
}

pub struct Supervisor<'a> {
    apps: Vec<AppPlan>,
    volumes: Vec<VolumePlan>,
    growth: Option<Growth<'a>>,
    names: Vec<AcName>,
    supplies: Supplies,
    signals: Signals,
    machine: Machine,
    processes: Vec<Process>,
    outputs: Vec<Output>,
    /// Of the apps that have not said yet that they are ready.
    tellers: Vec<(AppId, Teller)>,
    /// Of those that have.
    hushed: Vec<(AppId, OwnedFd)>,
    outer_gone: bool,
    deadline_ns: Option<i64>,
    /// There may be more to reap.
    unreaped: bool,
    /// The outer process does not know that the pod is ready.
    untold: bool,
    exit: Option<i32>,
    metadata_url: Option<String>,
}

impl<'a> Supervisor<'a> {
    /// Gives the supplies back with the fault, so that it can be told.
    pub fn new(
        plan: Plan,
        supplies: Supplies,
        growth: Option<Growth<'a>>,
        metadata_url: Option<String>,
    ) -> Result<Supervisor<'a>, (Box<Supplies>, Fault)> {
        let parts = (|| {
            let signals = Signals::take(&[signal::CHLD, signal::TERM, signal::INT, signal::HUP])
                .map_err(|err| Fault::io("cannot read", "signals", err))?;
            let names = plan
                .apps
                .iter()
                .map(|app| AcName::new(&app.name))
                .collect::<Result<Vec<_>, _>>()?;
            let outputs = match &supplies.logs {
                Some(logs) => names
                    .iter()
                    .map(|name| Output::open(logs, name))
                    .collect::<Result<_, _>>()?,
                None => Vec::new(),
            };
            Ok((signals, names, outputs))
        })();
        let (signals, names, outputs) = match parts {
            Ok(parts) => parts,
            Err(fault) => return Err((Box::new(supplies), fault)),
        };
        Ok(Supervisor {
            apps: plan.apps,
            volumes: plan.volumes,
            growth,
            names,
            supplies,
            signals,
            machine: Machine::default(),
            processes: Vec::new(),
            outputs,
            tellers: Vec::new(),
            hushed: Vec::new(),
            outer_gone: false,
            deadline_ns: None,
            unreaped: false,
            untold: false,
            exit: None,
            metadata_url,
        })
    }

    /// Starts the pod's apps and stays until it is over; the exit status.
    pub fn run(mut self) -> i32 {
        for app in 0..self.apps.len() {
            self.take(self.added(app));
        }
        for app in 0..self.apps.len() {
            self.take(Event::StartApp(app));
        }
        if self.growth.is_none() {
            self.take(Event::Seal);
        } else {
            self.perform(Action::Ready);
        }
        loop {
            if let Some(status) = self.exit {
                self.finish();
                return status;
            }
            self.turn();
        }
    }

    fn added(&self, app: AppId) -> Event {
        let app = &self.apps[app];
        Event::AddApp {
            pre_start: app.pre_start.is_some(),
            post_stop: app.post_stop.is_some(),
            tells: app.readiness != Readiness::Exec,
        }
    }

    /// Takes up an app that stage0 has prepared in the pod's directory.
    pub(super) fn add_app(&mut self, name: &AcName) -> Result<(), Fault> {
        let growth = self.growth.ok_or_else(|| Fault::refused("immutable pod"))?;
        if self.machine.apps().any(|(app, _)| self.names[app] == *name) {
            return Err(Fault::conflict(format!(
                "app \"{name}\" is in the pod already"
            )));
        }
        let loaded = load::load_from(pod_root::POD_IN_VIEW)?;
        let mut plan = outer::decide(growth.args, &loaded)?;
        plan.tell_metadata_url(self.metadata_url.as_deref());
        let at = plan.apps.iter().position(|app| app.name == name.as_str());
        let app = plan.apps.swap_remove(
            at.ok_or_else(|| Fault::not_found(format!("nonexistent app \"{name}\"")))?,
        );
        let first = self.volumes.len();
        if !plan.volumes.starts_with(&self.volumes) {
            return Err(Fault::conflict(
                "the pod's manifest changed in other ways than by this app",
            ));
        }
        pod_root::add(&app, &plan.volumes, first)?;
        let group = growth.cgroups.add_app(&app.name, &app.limits)?;
        if let Some(logs) = &self.supplies.logs {
            self.outputs.push(Output::open(logs, name)?);
        }
        self.supplies.groups.push(group);
        self.supplies.sockets.push(Sockets::default());
        self.volumes = plan.volumes;
        self.names.push(name.clone());
        self.apps.push(app);
        self.take(self.added(self.apps.len() - 1));
        Ok(())
    }

    /// Forgets an app whose processes are gone; its place stays empty.
    pub(super) fn forget_app(&mut self, app: AppId) -> Result<(), Fault> {
        let name = self.apps[app].name.clone();
        pod_root::remove(&name)?;
        self.growth
            .map_or(Ok(()), |growth| growth.cgroups.remove_app(&name))
    }

    /// Waits for something to happen, and deals with all that did.
    fn turn(&mut self) {
        let left = self
            .deadline_ns
            .map(|at| (at - sys::time::monotonic_ns()).max(0));
        let left = match (self.unreaped, self.untold) {
            (true, _) => Some(0),
            (_, true) => Some(left.unwrap_or(RETRY_NS).min(RETRY_NS)),
            _ => left,
        };
        let timeout = left.map(|left| Timespec {
            tv_sec: left / 1_000_000_000,
            tv_nsec: left % 1_000_000_000,
        });
        let ready = self.poll(timeout.as_ref());
        self.read_reports();
        self.read_tellers();
        self.read_outputs();
        if ready.signals {
            for _ in 0..MOST_SIGNALS {
                let Some(received) = self.signals.next() else {
                    break;
                };
                self.signalled(received);
            }
        }
        if self.unreaped {
            self.reap();
        }
        if self.untold {
            self.tell_ready();
        }
        if ready.outer {
            self.hear_outer();
        }
        if ready.control {
            self.serve_control();
        }
        if ready.ports {
            self.serve_ports();
        }
        if self
            .deadline_ns
            .is_some_and(|at| sys::time::monotonic_ns() >= at)
        {
            self.deadline_ns = None;
            self.take(Event::TimeOut);
        }
    }

    fn poll(&self, timeout: Option<&Timespec>) -> Ready {
        let apps = self.processes.len() + 2 * self.outputs.len() + self.tellers.len();
        let mut fds = Vec::with_capacity(4 + apps);
        fds.push(PollFd::new(&self.signals, PollFlags::IN));
        let outer = (!self.outer_gone).then(|| {
            fds.push(PollFd::new(&self.supplies.channel, PollFlags::IN));
            fds.len() - 1
        });
        let control = self.supplies.control.as_ref().map(|control| {
            let first = fds.len();
            fds.extend(
                control
                    .fds()
                    .map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN)),
            );
            first..fds.len()
        });
        let ports = self.supplies.network.as_ref().map(|network| {
            let first = fds.len();
            let waiting = network.fds();
            fds.extend(waiting.map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN)));
            first..fds.len()
        });
        let reports = self
            .processes
            .iter()
            .filter_map(|process| process.report.as_ref().map(AsFd::as_fd));
        // Their end is news, what is in them is not.
        fds.extend(reports.map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::empty())));
        let pipes = self.outputs.iter().flat_map(Output::fds);
        let pipes = pipes.chain(self.tellers.iter().map(|(_, teller)| teller.as_fd()));
        fds.extend(pipes.map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN)));
        // EINTR: signals are blocked, so only a debugger does it; go round.
        let _ = rustix::event::poll(&mut fds, timeout);
        let has = |index: usize| !fds[index].revents().is_empty();
        Ready {
            signals: has(0),
            outer: outer.is_some_and(has),
            control: control.is_some_and(|mut range| range.any(has)),
            ports: ports.is_some_and(|mut range| range.any(has)),
        }
    }

    fn serve_ports(&mut self) {
        let network = self.supplies.network.as_mut();
        if let Some(Err(fault)) = network.map(network::Held::serve) {
            let text = format!("warning: forwarded ports: {fault}");
            self.supplies.channel.send(&Message::Complaint(&text));
        }
    }

    fn signalled(&mut self, received: signal::Received) {
        match received.signal {
            signal::CHLD => self.unreaped = true,
            // Processes of the pod may signal PID 1, but not command it.
            _ if received.sender != 0 => {}
            _ => self.take(Event::StopPod(Force::No)),
        }
    }

    /// When the outer process is gone, whoever started it will start the pod
    /// again, so this one must not go on beside it.
    fn hear_outer(&mut self) {
        match self.supplies.channel.hear_outer() {
            Outer::Silent => {}
            Outer::AsksToStop => self.take(Event::StopPod(Force::No)),
            Outer::Gone => {
                self.outer_gone = true;
                // A detached pod lives on only if somebody got its name.
                if !self.supplies.detached || !self.machine.is_ready() {
                    self.take(Event::StopPod(Force::No));
                }
            }
        }
    }

    fn read_outputs(&mut self) {
        let mut written = false;
        for output in &mut self.outputs {
            written |= output.pump();
        }
        if written {
            self.supplies.channel.send(&Message::Output);
        }
    }

    fn take(&mut self, event: Event) {
        for action in self.machine.handle(event) {
            self.perform(action);
        }
    }

    fn perform(&mut self, action: Action) {
        match action {
            Action::Spawn(app, stage) => self.spawn(app, stage),
            Action::TermApp(app) => self.signal_app(app, self.stop_signal(app)),
            Action::KillApp(app) => {
                let killed = self
                    .supplies
                    .groups
                    .get(app)
                    .is_some_and(|group| group.kill().unwrap_or(false));
                if !killed {
                    self.signal_app(app, signal::KILL);
                }
            }
            // -1 reaches every process of this pid namespace but ourselves.
            // ESRCH: there is none.
            Action::TermAll => self.term_all(),
            Action::KillAll => drop(signal::send(-1, signal::KILL)),
            Action::WriteStatus(app, status) => {
                if let (Some(name), Err(fault)) =
                    (self.names.get(app), self.write_status(app, status))
                {
                    self.supplies.channel.send(&Message::Complaint(&format!(
                        "status of \"{name}\": {fault}"
                    )));
                }
            }
            Action::Ready => {
                // Readiness that cannot be shown is still told to outer.
                let _ = self.supplies.status.set_ready();
                self.tell_ready();
            }
            Action::Started => self.shed(),
            Action::ArmTimer => {
                self.deadline_ns = Some(sys::time::monotonic_ns() + STOP_TIMEOUT_NS);
            }
            Action::Exit(status) => self.exit = Some(status),
        }
    }

    /// Gives up what only the start of an app takes, when there is none to come. A
    /// failure would leave what was there before.
    fn shed(&self) {
        if self.growth.is_some() || self.apps.iter().any(|app| app.post_stop.is_some()) {
            return;
        }
        let network = self.supplies.network.as_ref();
        let keep = CapSet::WATCHER.bits()
            | network.map_or(0, |network| network::KEEPER | network.capabilities());
        if let Ok(held) = sys::caps::permitted() {
            let _ = sys::caps::set(held & keep);
        }
    }

    fn tell_ready(&mut self) {
        self.untold = !self.supplies.channel.send(&Message::Ready);
    }

    fn write_status(&self, app: AppId, status: i32) -> Result<(), Fault> {
        self.names
            .get(app)
            .map_or(Ok(()), |name| self.supplies.status.write(name, status))
    }

    fn stop_signal(&self, app: AppId) -> i32 {
        self.apps
            .get(app)
            .map_or(signal::TERM, |plan| plan.stop_signal)
    }

    /// An app whose image wants another signal must not get SIGTERM, so then
    /// each is told on its own; what apps have left behind ends with the pod.
    fn term_all(&self) {
        if self
            .apps
            .iter()
            .all(|plan| plan.stop_signal == signal::TERM)
        {
            drop(signal::send(-1, signal::TERM));
            return;
        }
        for app in 0..self.apps.len() {
            self.signal_app(app, self.stop_signal(app));
        }
    }

    fn signal_app(&self, app: AppId, number: i32) {
        for process in self.processes.iter().filter(|process| process.app == app) {
            // Each leads a session, so its group is found by its pid; one that
            // has not come so far is signalled alone. ESRCH: it is gone.
            if signal::send(-process.pid, number).is_err() {
                let _ = signal::send(process.pid, number);
            }
        }
    }

    fn spawn(&mut self, app: AppId, stage: Stage) {
        match spawn::spawn(
            &self.apps[app],
            app,
            stage,
            &self.supplies,
            self.outputs.get_mut(app),
        ) {
            Ok((pid, report, teller)) => {
                self.tellers.extend(teller.map(|teller| (app, teller)));
                self.supplies.channel.send(&Message::Started(app, pid));
                self.processes.push(Process {
                    pid,
                    app,
                    stage,
                    report: Some(report),
                });
            }
            Err(fault) => {
                self.supplies
                    .channel
                    .send(&Message::Broken(&crate::say::whole(&fault)));
                self.take(Event::Broken(app));
            }
        }
    }

    /// The last output of processes that outlived their app is still in the
    /// pipes.
    fn finish(&mut self) {
        self.read_outputs();
        for output in &mut self.outputs {
            output.close();
        }
        let _ = self.supplies.status.clear_ready();
        if self.untold {
            self.tell_ready();
        }
        self.supplies.channel.send(&Message::Output);
    }
}

struct Ready {
    signals: bool,
    outer: bool,
    control: bool,
    /// Somebody wants a port that the kernel does not forward.
    ports: bool,
}
