//! The life of process 1: a loop around the pure `machine`.
//!
//! Signals, ends of children, their output and timers come in as events; the machine
//! answers with actions, which are carried out here. Every orphan is reaped. Nothing
//! ends this process: a pod that cannot be started has failed with 254, a panic ends
//! the machine as it was told to end, and where not even that works it waits. To the
//! machine a pod whose rkt was killed ends when a cleaner has stopped what it left.

mod cleaning;

use crate::cleaner::Step;
use crate::console::{Console, Output};
use crate::finish;
use crate::machine::{Action, Event, Machine, PodId};
use crate::pods::{Listing, Plan};
use crate::prepare;
use crate::rescue::{self, Rescue};
use crate::settings::{End, Last, Settings};
use model::{Fault, PodUuid};
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::process::Signal;
use rustix::system::RebootCommand;
use std::collections::VecDeque;
use std::ffi::CString;
use std::fs::OpenOptions;
use std::os::fd::AsFd;
use std::path::Path;
use std::time::{Duration, Instant};
use sys::process::{self, Ended, Program};
use sys::signal::{self, Signals};

/// Exit status of rkt's own failures.
const FAILED: i32 = 254;
/// Who reads the console should see why the machine ends.
const TO_READ: Duration = Duration::from_secs(5);
/// After a kill.
const KILL_TIMEOUT: Duration = Duration::from_secs(10);
const PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// What a child is to us.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Role {
    Pod(PodId),
    /// At this step, for what was left of this pod.
    Cleaner(PodId, Step, PodUuid),
    Collector,
    Rescue,
}

struct Child {
    pid: i32,
    role: Role,
    started: Instant,
}

struct Supervisor {
    settings: Settings,
    plans: Vec<Plan>,
    console: Console,
    signals: Signals,
    machine: Machine,
    children: Vec<Child>,
    outputs: Vec<Output>,
    /// `Ended` among them is a pod that is being cleaned up, and takes no longer than that.
    timers: Vec<(Instant, Event)>,
    /// Where the UUID of each pod's present start is, if that is known.
    uuid_files: Vec<Option<String>>,
    rescues: VecDeque<Rescue>,
    env: Vec<CString>,
}

/// Never returns: where the kernel does not end the machine, this waits.
pub(crate) fn run() -> ! {
    let mut console = Console::open();
    let mut settings = prepare::settings(&mut console);
    let last = settings.end.last();
    std::panic::set_hook(Box::new(move |panic| {
        eprintln!("rkt: error: {panic}");
        rustix::fs::sync();
        std::thread::sleep(TO_READ);
        finish::power(last);
    }));
    // ^Alt-Del asks this process, instead of cutting the machine off.
    let _ = rustix::system::reboot(RebootCommand::CadOff);
    let numbers = [
        Signal::CHILD,
        Signal::TERM,
        Signal::INT,
        Signal::USR1,
        Signal::USR2,
        Signal::POWER,
    ]
    .map(Signal::as_raw);
    let signals = match Signals::take(&numbers) {
        Ok(signals) => signals,
        Err(err) => give_up(
            &mut console,
            &Fault::io("cannot read", "signals", err),
            last,
        ),
    };
    if let Err(fault) = prepare::machine(&mut settings, &mut console) {
        if settings.rescue.is_none() && settings.end != End::Rescue {
            give_up(&mut console, &fault, last);
        }
        console.complain(&fault);
        settings.rescue.get_or_insert(None);
    }
    let plans = plans(&settings, &mut console);
    let mut supervisor = Supervisor {
        machine: Machine::new(&plans, settings.end, settings.rescue.is_some()),
        uuid_files: vec![None; plans.len()],
        plans,
        console,
        signals,
        children: Vec::new(),
        outputs: Vec::new(),
        timers: Vec::new(),
        rescues: VecDeque::new(),
        env: environment(),
        settings,
    };
    supervisor.begin();
    loop {
        supervisor.turn();
    }
}

fn plans(settings: &Settings, console: &mut Console) -> Vec<Plan> {
    if settings.rescue.is_some() {
        return Vec::new();
    }
    let (listing, mut complaints) = Listing::read(&settings.pods);
    let (plans, more) = listing.plan(&settings.pods, settings);
    complaints.extend(more);
    for complaint in &complaints {
        console.complain(complaint);
    }
    if plans.is_empty() {
        console.say(&format!("there is no pod to run in {}", settings.pods));
    }
    if plans.is_empty() || !complaints.is_empty() {
        console.drain(TO_READ);
        std::thread::sleep(TO_READ);
    }
    plans
}

/// Says why, leaves time to read it, and ends the machine.
fn give_up(console: &mut Console, fault: &Fault, last: Last) -> ! {
    console.complain(fault);
    console.drain(TO_READ);
    std::thread::sleep(TO_READ);
    end(console, last)
}

fn end(console: &mut Console, last: Last) -> ! {
    let err = finish::all(console, last);
    let text = model::fault::errno_text(&err);
    console.complain(
        &Fault::unsupported(format!("the kernel does not end the machine: {text}"))
            .hint("switch it off"),
    );
    loop {
        console.drain(TO_READ);
        while process::reap_any().is_some() {}
        std::thread::sleep(TO_READ);
    }
}

/// What children see: the kernel's own variables, and a path.
fn environment() -> Vec<CString> {
    let term = std::env::var("TERM").unwrap_or_else(|_| "linux".to_string());
    let all = [
        PATH.to_string(),
        "HOME=/".to_string(),
        format!("TERM={term}"),
    ];
    all.into_iter()
        .filter_map(|variable| CString::new(variable).ok())
        .collect()
}

impl Supervisor {
    fn begin(&mut self) {
        // What an earlier life of this machine left on a disk.
        if Path::new(&self.settings.dir).join("pods").is_dir() && self.settings.rescue.is_none() {
            // All of it: nothing of it runs, and without a clock a period of grace may never end.
            let words = ["gc", "--grace-period=0s"].map(str::to_string);
            let collected = self.start("gc", Role::Collector, &words);
            if let Err(fault) = collected {
                self.console.complain(&fault);
            }
        }
        self.take(Event::Begin);
    }

    /// Waits for something to happen, and deals with all that did.
    fn turn(&mut self) {
        let next = self.timers.iter().map(|(at, _)| *at).min();
        let mut wait = next.map(|at| at.saturating_duration_since(Instant::now()));
        if self.console.is_full() {
            wait = Some(wait.unwrap_or(Duration::MAX).min(Duration::from_secs(1)));
        }
        let timeout = wait.and_then(|wait| Timespec::try_from(wait).ok());
        let mut fds = vec![PollFd::new(&self.signals, PollFlags::IN)];
        fds.extend(
            self.console
                .wants()
                .map(|terminal| PollFd::from_borrowed_fd(terminal, PollFlags::OUT)),
        );
        if !self.console.is_full() {
            fds.extend(
                self.outputs
                    .iter()
                    .map(|output| PollFd::from_borrowed_fd(output.fd(), PollFlags::IN)),
            );
        }
        // EINTR: signals are blocked, so only a debugger does it; go round.
        let _ = rustix::event::poll(&mut fds, timeout.as_ref());
        drop(fds);
        self.console.reopen();
        self.pass_outputs();
        while let Some(received) = self.signals.next() {
            self.signalled(received.signal);
        }
        self.timers_are_due();
    }

    fn timers_are_due(&mut self) {
        let now = Instant::now();
        while let Some(due) = self.timers.iter().position(|(at, _)| *at <= now) {
            let (_, event) = self.timers.swap_remove(due);
            if let Event::Ended { pod, .. } = event {
                self.give_up_cleaning(pod);
            }
            self.take(event);
        }
    }

    fn pass_outputs(&mut self) {
        let console = &mut self.console;
        self.outputs.retain_mut(|output| output.pass(console));
    }

    fn signalled(&mut self, number: i32) {
        let last = match Signal::from_named_raw(number) {
            Some(Signal::CHILD) => return self.reap(),
            Some(Signal::TERM | Signal::INT) => Last::Reboot,
            Some(Signal::USR2 | Signal::POWER) => Last::PowerOff,
            Some(Signal::USR1) => Last::Halt,
            _ => return,
        };
        self.take(Event::Told(last));
    }

    fn reap(&mut self) {
        while let Some((pid, ended)) = process::reap_any() {
            let Some(place) = self.children.iter().position(|child| child.pid == pid) else {
                continue;
            };
            let child = self.children.swap_remove(place);
            // Its last words come before ours.
            self.pass_outputs();
            self.ended(&child, ended);
        }
    }

    fn ended(&mut self, child: &Child, ended: Ended) {
        let (status, text) = match ended {
            Ended::Exited(status) => (status, format!("with status {status}")),
            Ended::Signalled(signal) => (128 + signal, format!("by signal {signal}")),
        };
        match &child.role {
            Role::Pod(pod) => {
                let name = &self.plans[*pod].name;
                self.console.say(&format!("pod \"{name}\" ended {text}"));
                let event = Event::Ended {
                    pod: *pod,
                    status,
                    lasted: child.started.elapsed(),
                };
                match ended {
                    Ended::Exited(_) => self.take(event),
                    Ended::Signalled(_) => self.clean_up(*pod, event),
                }
            }
            Role::Cleaner(pod, step, uuid) => {
                if status != 0 {
                    let (name, step) = (&self.plans[*pod].name, step.name());
                    self.console
                        .say(&format!("warning: pod \"{name}\": rkt {step} ended {text}"));
                }
                let next = step.next(status == 0, self.plans[*pod].removed);
                self.clean_on(*pod, next, uuid);
            }
            Role::Collector if status != 0 => {
                self.console.say(&format!("warning: rkt gc ended {text}"))
            }
            Role::Collector => {}
            Role::Rescue => {
                self.console.reopen();
                self.console.say(&format!("the rescue ended {text}"));
                // rkt could not run the image: the next one may do.
                if status != FAILED || !self.next_rescue() {
                    self.take(Event::RescueOver);
                }
            }
        }
    }

    /// Lets the machine decide, and does what it says. What an action brings about at once is its next event.
    fn take(&mut self, event: Event) {
        let mut events = VecDeque::from([event]);
        while let Some(event) = events.pop_front() {
            for action in self.machine.handle(event) {
                events.extend(self.perform(action));
            }
        }
    }

    fn perform(&mut self, action: Action) -> Option<Event> {
        match action {
            Action::Start(pod) => {
                let plan = self.plans[pod].clone();
                let mut words = vec!["run".to_string()];
                words.extend(self.save_uuid(pod));
                words.extend(plan.words);
                if let Err(fault) = self.start(&plan.name, Role::Pod(pod), &words) {
                    self.console
                        .complain(&fault.message(format!("pod \"{}\"", plan.name)));
                    return Some(Event::Ended {
                        pod,
                        status: FAILED,
                        lasted: Duration::ZERO,
                    });
                }
            }
            Action::Pause(pod, pause) => {
                let name = &self.plans[pod].name;
                self.console.say(&format!(
                    "pod \"{name}\" starts again in {} s",
                    pause.as_secs()
                ));
                self.timers
                    .push((Instant::now() + pause, Event::PauseOver(pod)));
            }
            Action::GiveUp(pod, failures) => {
                let name = &self.plans[pod].name;
                self.console.say(&format!(
                    "pod \"{name}\" failed {failures} times in a row and is given up"
                ));
            }
            Action::Stop(pod) => self.signal(pod, signal::TERM, self.settings.stop),
            Action::Kill(pod) => self.signal(pod, signal::KILL, KILL_TIMEOUT),
            Action::Rescue => {
                let image = self.settings.rescue.clone().flatten();
                match rescue::for_this_machine(image.as_deref(), &self.settings.dir) {
                    Ok(all) => self.rescues = all.into(),
                    Err(fault) => self.console.complain(&fault),
                }
                if !self.next_rescue() {
                    self.console.drain(TO_READ);
                    std::thread::sleep(TO_READ);
                    return Some(Event::RescueOver);
                }
            }
            Action::Finish(last) => end(&mut self.console, last),
        }
        None
    }

    /// Starts `rkt` with these words, its output to the console.
    fn start(&mut self, name: &str, role: Role, words: &[String]) -> Result<(), Fault> {
        let fail = |err| Fault::io("cannot start", "rkt", err);
        let (output, theirs) = Output::pipe(name)?;
        let null = OpenOptions::new().read(true).write(true).open("/dev/null");
        let null = null.map_err(|err| Fault::io("open", "/dev/null", err))?;
        // On stdout it names the pod that is no more, which no console needs.
        let quiet = matches!(role, Role::Cleaner(..));
        let stdout = if quiet { null.as_fd() } else { theirs.as_fd() };
        let mut argv = vec!["rkt".to_string(), format!("--dir={}", self.settings.dir)];
        argv.extend_from_slice(words);
        let argv = argv
            .into_iter()
            .map(|word| CString::new(word).map_err(|_| Fault::invalid("a word with a NUL")));
        let argv = argv.collect::<Result<Vec<_>, _>>()?;
        let pid = process::spawn(&Program {
            path: &CString::from(c"/proc/self/exe"),
            argv: &argv,
            env: &self.env,
            streams: [null.as_fd(), stdout, theirs.as_fd()],
        })
        .map_err(fail)?;
        self.outputs.push(output);
        self.children.push(Child {
            pid,
            role,
            started: Instant::now(),
        });
        Ok(())
    }

    fn signal(&mut self, pod: PodId, number: i32, wait: Duration) {
        if let Some(child) = self
            .children
            .iter()
            .find(|child| child.role == Role::Pod(pod))
        {
            self.console
                .say(&format!("pod \"{}\" is stopped", self.plans[pod].name));
            // It has ended and is about to be reaped, at worst.
            let _ = signal::send(child.pid, number);
        }
        self.timers
            .push((Instant::now() + wait, Event::StopTimeOut(pod)));
    }

    /// Starts the next thing that may help; false: there is none.
    fn next_rescue(&mut self) -> bool {
        while let Some(rescue) = self.rescues.pop_front() {
            self.console
                .say(&format!("rescue: {}", rescue.words.join(" ")));
            self.console.drain(TO_READ);
            match rescue::start(&rescue, &self.env) {
                Ok(pid) => {
                    self.children.push(Child {
                        pid,
                        role: Role::Rescue,
                        started: Instant::now(),
                    });
                    return true;
                }
                Err(fault) => self.console.complain(&fault),
            }
        }
        false
    }
}
