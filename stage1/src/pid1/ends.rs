//! The ends of processes: every orphan is reaped, and what became of an app's
//! own process is told to the machine.

use std::os::fd::OwnedFd;

use sys::process::{self, Ended};
use sys::signal;

use super::machine::{AppId, Event, Stage};
use super::teller::Teller;
use super::{MOST_ENDED, Message, Supervisor};
use crate::child::Failure;

impl Supervisor<'_> {
    pub(super) fn reap(&mut self) {
        for _ in 0..MOST_ENDED {
            let Some((pid, ended)) = process::reap_any() else {
                self.unreaped = false;
                return;
            };
            if let Some(network) = &mut self.supplies.network
                && network.ended(pid)
            {
                continue;
            }
            let Some(at) = self.processes.iter().position(|process| process.pid == pid) else {
                continue;
            };
            let mut process = self.processes.swap_remove(at);
            if process.stage == Stage::Main {
                // Its last word may have come with its end.
                self.read_tellers();
                let of_it = |(app, _): &mut (AppId, Teller)| *app == process.app;
                self.tellers
                    .extract_if(.., of_it)
                    .for_each(|(_, teller)| teller.close());
                // Who was about to send when it was hushed may have sent.
                let of_it = |(app, _): &mut (AppId, OwnedFd)| *app == process.app;
                self.hushed
                    .extract_if(.., of_it)
                    .for_each(|(_, socket)| Teller::Socket(socket).close());
            }
            let failure = process
                .report
                .take()
                .and_then(|report| self.read_report(&process, &report));
            let app = process.app;
            let (status, by_term) = match (failure, ended) {
                (Some(Failure::SetUp(text)), _) => {
                    self.supplies.channel.send(&Message::Broken(&text));
                    self.take(Event::Broken(app));
                    continue;
                }
                (Some(Failure::Execute(text)), _) => {
                    self.supplies.channel.send(&Message::Diagnostic(&text));
                    (203, false)
                }
                (Some(Failure::Directory(text)), _) => {
                    self.supplies.channel.send(&Message::Complaint(&text));
                    (200, false)
                }
                (None, Ended::Exited(code)) => (code, false),
                (None, Ended::Signalled(signal::KILL)) if self.was_oom(app) => (137, false),
                (None, Ended::Signalled(number)) => (
                    number,
                    number == signal::TERM || number == self.stop_signal(app),
                ),
            };
            self.take(Event::Ended {
                app,
                stage: process.stage,
                status,
                by_term,
            });
        }
    }

    /// Killed by the kernel for its memory limit, and not by somebody.
    fn was_oom(&self, app: AppId) -> bool {
        self.supplies
            .groups
            .get(app)
            .is_some_and(|group| group.oom_kills().is_some_and(|kills| kills > 0))
    }
}
