//! Following a pod that was started: its output, its terminal, the signals of
//! whoever started it, and its end.

use model::{Fault, fault::Result};
use rustix::event::{PollFd, PollFlags, Timespec};
use sys::process::{self, Ended};
use sys::signal::{self, Signals};

use super::screen::{self, Screen};
use super::sink::Carrier;
use super::tail::Tail;
use crate::pid1::{Channel, Message};
use crate::starter::Starter;

const NOW: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 0,
};
/// What the exit status is when PID 1 was killed: 128 + SIGKILL.
const PID1_KILLED: i32 = 137;
/// rkt's own failure.
const NEVER_UP: i32 = 254;
/// What rkt's users know for a pod killed from its terminal.
const KILLED_FROM_TERMINAL: i32 = 1;

/// The outer process' side of a started pod.
pub struct Outer {
    pub pid1: i32,
    pub channel: Channel,
    pub tail: Option<Tail>,
    pub carriers: Vec<Carrier>,
    pub detach: bool,
    pub uuid: String,
    /// Who is told how the pod is.
    pub starter: Starter,
    /// The user asked for the pod's end, so many times.
    pub asked: u32,
    pub ready: bool,
    pub listening: bool,
}

impl Outer {
    /// Stays until the pod is over, or (detached) up.
    pub fn follow(mut self, signals: Signals) -> Result<i32> {
        let mut screen: Option<Screen> = None;
        let mut buffer = [0; crate::pid1::MAX_MESSAGE];
        loop {
            let (mut on_channel, mut on_signals) = (false, false);
            {
                let mut fds = vec![PollFd::new(&signals, PollFlags::IN)];
                // After its end only SIGCHLD is news.
                if self.listening {
                    fds.push(PollFd::new(&self.channel, PollFlags::IN));
                }
                if let Some(screen) = &screen {
                    screen.poll_fds(&mut fds);
                }
                for carrier in &self.carriers {
                    carrier.poll_fds(&mut fds);
                }
                let mut timeout = None;
                if let Some(tail) = &self.tail {
                    match tail.waits_for() {
                        Some(stdout) => fds.push(PollFd::new(stdout, PollFlags::OUT)),
                        None if tail.is_behind() => timeout = Some(&NOW),
                        None => {}
                    }
                }
                if rustix::event::poll(&mut fds, timeout).is_ok() {
                    on_signals = !fds[0].revents().is_empty();
                    on_channel = self.listening && !fds[1].revents().is_empty();
                }
            }
            if on_channel {
                loop {
                    match self.channel.receive(&mut buffer) {
                        Ok(Some((Message::Terminal, Some(master)))) => {
                            screen = Some(Screen::take(master)?)
                        }
                        Ok(Some((message, _))) => self.hear(&message),
                        Ok(None) => {
                            self.listening = false;
                            break;
                        }
                        Err(_) => break,
                    }
                }
                if self.detach && self.ready {
                    crate::say::out(format_args!("{}", self.uuid));
                    return Ok(0);
                }
            }
            if let Some(tail) = self.tail.as_mut().filter(|tail| tail.is_behind()) {
                tail.write();
                tail.read();
            }
            for carrier in &mut self.carriers {
                carrier.carry();
            }
            if let Some(screen) = &mut screen
                && screen.relay() == screen::Wish::Kill
            {
                self.kill();
                screen.restore();
                crate::say::err(format_args!(
                    "Container rkt-{} terminated by signal KILL.",
                    self.uuid
                ));
                process::wait(self.pid1).map_err(|err| Fault::io("wait for", "the pod", err))?;
                return Ok(KILLED_FROM_TERMINAL);
            }
            if on_signals {
                while let Some(received) = signals.next() {
                    match received.signal {
                        signal::CHLD => {
                            if let Some(ended) = self.reap() {
                                if let Some(screen) = &mut screen {
                                    screen.drain();
                                }
                                let status = self.end(ended, &signals);
                                return Ok(self.never_up(status));
                            }
                        }
                        signal::WINCH => {
                            if let Some(screen) = &screen {
                                screen.resize();
                            }
                        }
                        _ => self.ask_to_stop(),
                    }
                }
            }
        }
    }

    /// 0 says of a detached pod that it is up.
    fn never_up(&self, status: i32) -> i32 {
        if !self.detach || self.ready || status != 0 {
            return status;
        }
        crate::say::err(format_args!(
            "stage1: the pod ended before it was ready (rkt logs {} may say why)",
            self.uuid
        ));
        NEVER_UP
    }

    fn hear(&mut self, message: &Message<'_>) {
        match message {
            Message::Output => self.show(),
            Message::Ready => {
                self.ready = true;
                // A detached pod is watched through its own first process.
                let main = self.detach.then_some(self.pid1);
                if self.asked == 0 {
                    self.starter.ready(&self.uuid, main);
                }
            }
            // Text of the image's making is shown, not obeyed by the terminal.
            Message::Broken(text) | Message::Complaint(text) => {
                crate::say::err(format_args!("stage1: {}", printable(text)));
            }
            // On stdout, as rkt 1.30 has it, unless that is for the UUID.
            Message::Diagnostic(text) if self.detach => {
                crate::say::err(format_args!("{}", printable(text)))
            }
            Message::Diagnostic(text) => crate::say::out(format_args!("{}", printable(text))),
            Message::Started(app, pid) => {
                if let Some(tail) = &mut self.tail {
                    tail.started(*app, *pid);
                }
            }
            Message::Terminal => {}
        }
    }

    fn show(&mut self) {
        if let Some(tail) = &mut self.tail {
            tail.read();
            tail.write();
        }
    }

    /// The last lines of a pod that is over, as long as somebody wants them.
    fn show_rest(&mut self, signals: &Signals) {
        self.show();
        while let Some(tail) = self.tail.as_mut().filter(|tail| tail.is_behind()) {
            if let Some(stdout) = tail.waits_for() {
                let mut fds = [
                    PollFd::new(signals, PollFlags::IN),
                    PollFd::new(stdout, PollFlags::OUT),
                ];
                let _ = rustix::event::poll(&mut fds, None);
                while let Some(received) = signals.next() {
                    if ![signal::CHLD, signal::WINCH].contains(&received.signal) {
                        return;
                    }
                }
            }
            tail.write();
            tail.read();
        }
    }

    fn reap(&mut self) -> Option<Ended> {
        while let Some((pid, ended)) = process::reap_any() {
            if pid == self.pid1 {
                return Some(ended);
            }
        }
        None
    }

    fn end(&mut self, ended: Ended, signals: &Signals) -> i32 {
        let mut buffer = [0; crate::pid1::MAX_MESSAGE];
        while let Ok(Some((message, _))) = self.channel.receive(&mut buffer) {
            self.hear(&message);
        }
        self.show_rest(signals);
        for carrier in &mut self.carriers {
            carrier.finish();
        }
        match ended {
            Ended::Exited(status) => status,
            Ended::Signalled(_) => PID1_KILLED,
        }
    }

    /// The first time in order, the second time at once.
    fn ask_to_stop(&mut self) {
        self.asked += 1;
        if self.asked == 1 {
            self.starter.stopping();
            // Not by a signal: the pod's processes could drown it in theirs.
            self.channel.ask_to_stop();
        } else {
            self.kill();
        }
    }

    fn kill(&self) {
        let _ = signal::send(self.pid1, signal::KILL);
    }
}

fn printable(text: &str) -> String {
    text.chars()
        .flat_map(|c| {
            if c.is_control() {
                c.escape_default().collect()
            } else {
                vec![c]
            }
        })
        .collect()
}
