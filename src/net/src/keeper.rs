//! The process that stays with a pod's network when something has to be done
//! for as long as the pod lives: forwarding in user space, renewing leases.
//!
//! One thread waits for everything at once; nothing that goes wrong with a
//! connection or a lease ends it.

use crate::ipam::dhcp::{Lease, Tenant};
use crate::ports::Reserved;
use crate::proxy::{Proxy, Token};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::net::IpAddr;
use std::time::{Duration, Instant};

/// Leases run on while the machine sleeps, poll's time-out does not: with
/// leases it looks up this often.
const GLANCE: Duration = Duration::from_secs(60);
/// Without memory for a poll set, and when it is refused.
const PAUSE: Duration = Duration::from_millis(100);

/// What there is to do.
#[derive(Debug, Default)]
pub struct Work {
    pub reserved: Vec<Reserved>,
    /// The pod's addresses that ports lead to, at most one per family.
    pub targets: Vec<IpAddr>,
    pub leases: Vec<Lease>,
}

/// Works until it is killed with the pod. Called in a fresh process of one
/// thread that lives in the pod's network and pid namespaces, has an empty
/// root and no descriptor but those in `work`.
pub fn run(work: Work) -> i32 {
    // A client that is gone is no reason to die.
    sys::signal::ignore(sys::signal::PIPE);
    let mut keeper = Keeper::new(work);
    loop {
        keeper.turn(None);
    }
}

/// All that is looked after.
#[derive(Debug)]
struct Keeper {
    proxy: Proxy,
    tenants: Vec<Tenant>,
}

impl Keeper {
    fn new(work: Work) -> Keeper {
        Keeper {
            proxy: Proxy::new(work.reserved, &work.targets),
            tenants: work.leases.into_iter().filter_map(Tenant::new).collect(),
        }
    }

    /// Waits once, at most for `limit`, and does what there is to do.
    fn turn(&mut self, limit: Option<Duration>) {
        let ready = self.wait(limit);
        let now = Instant::now();
        for (token, events) in ready {
            self.proxy.ready(token, events, now);
        }
        self.proxy.sweep(now);
        for tenant in &mut self.tenants {
            if let Some(moved) = tenant.turn() {
                self.proxy.retarget(moved.from, moved.to);
            }
        }
    }

    fn wait(&self, limit: Option<Duration>) -> Vec<(Token, PollFlags)> {
        let (mut fds, mut tokens) = (Vec::new(), Vec::new());
        self.proxy.watch(&mut fds, &mut tokens);
        for tenant in &self.tenants {
            // Behind the tokens: every turn asks each tenant anyway.
            fds.extend(
                tenant
                    .socket()
                    .map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN)),
            );
        }
        let time = self.rest(limit).map(|time| Timespec {
            tv_sec: time.as_secs() as i64,
            tv_nsec: time.subsec_nanos().into(),
        });
        match poll(&mut fds, time.as_ref()) {
            Ok(_) => {}
            Err(rustix::io::Errno::INTR) => return Vec::new(),
            Err(_) => {
                std::thread::sleep(PAUSE);
                return Vec::new();
            }
        }
        let events = fds.iter().map(PollFd::revents);
        tokens
            .into_iter()
            .zip(events)
            .filter(|(_, events)| !events.is_empty())
            .collect()
    }

    /// Until the next thing is due.
    fn rest(&self, limit: Option<Duration>) -> Option<Duration> {
        let now = Instant::now();
        let proxy = self
            .proxy
            .due()
            .map(|due| due.saturating_duration_since(now));
        let tenants = self.tenants.iter().map(|it| it.rest().min(GLANCE));
        proxy.into_iter().chain(tenants).chain(limit).min()
    }
}

#[cfg(test)]
#[path = "keeper_tests.rs"]
mod tests;
