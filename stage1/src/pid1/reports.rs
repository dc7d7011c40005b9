//! What an app's process tells of its start: how far it came on the way to its
//! program, and then, if it says so itself, that it is ready.

use std::os::fd::{AsFd, OwnedFd};

use super::machine::Event;
use super::teller::Word;
use super::{Process, Supervisor, spawn};
use crate::child::Failure;

impl Supervisor<'_> {
    pub(super) fn read_reports(&mut self) {
        let mut executed = Vec::new();
        for process in &mut self.processes {
            let Some(report) = &process.report else {
                continue;
            };
            // Only success is dealt with here: a failure is read when its
            // process is reaped, so that nothing is told twice.
            if spawn::executed(report.as_fd()) {
                process.report = None;
                executed.push((process.app, process.stage));
            }
        }
        for (app, stage) in executed {
            self.take(Event::Executed(app, stage));
        }
    }

    pub(super) fn read_tellers(&mut self) {
        for (app, teller) in std::mem::take(&mut self.tellers) {
            match teller.hear() {
                Word::NotYet => self.tellers.push((app, teller)),
                Word::Never => teller.close(),
                Word::Ready => {
                    self.hushed.extend(teller.hush().map(|fd| (app, fd)));
                    self.take(Event::Told(app));
                }
            }
        }
    }

    pub(super) fn read_report(&mut self, process: &Process, report: &OwnedFd) -> Option<Failure> {
        let mut bytes = [0; 4096];
        match rustix::io::read(report, &mut bytes) {
            // Killed on the way.
            Ok(0) | Err(_) => None,
            Ok(length) => {
                let failure = Failure::receive(&bytes[..length]);
                if failure.is_none() {
                    self.take(Event::Executed(process.app, process.stage));
                }
                failure
            }
        }
    }
}
