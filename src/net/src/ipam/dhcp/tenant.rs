//! A lease that is kept while the pod lives: renewed in time, and when it is
//! lost the address goes from the interface and another one is asked for.
//!
//! Called in the interface's network namespace. Nothing here fails for good:
//! without the interface it is looked for again from time to time.

use super::client::{Client, Held, News, Task};
use super::device::{BUFFER, Device, Line};
use super::{Lease, now, random};
use std::net::IpAddr;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

/// After a failure that is not the server's.
const RETRY: Duration = Duration::from_secs(30);
/// Messages and tasks before somebody else's turn.
const BATCH: usize = 32;

#[derive(Debug)]
pub(crate) struct Tenant {
    lease: Lease,
    /// None until there is something to do.
    active: Option<(Device, Client)>,
    line: Option<Line>,
    retry: Option<Duration>,
    /// The address that was lost last.
    lost: Option<IpAddr>,
}

/// The pod's address is another one than before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Moved {
    pub(crate) from: IpAddr,
    pub(crate) to: IpAddr,
}

impl Tenant {
    /// `None` for a lease without end: there is nothing to do.
    pub(crate) fn new(lease: Lease) -> Option<Tenant> {
        lease.times?;
        Some(Tenant {
            lease,
            active: None,
            line: None,
            retry: None,
            lost: None,
        })
    }

    /// How long until [`Tenant::turn`] has something to do.
    pub(crate) fn rest(&self) -> Duration {
        let due = match (self.retry, &self.active) {
            (Some(retry), _) => Some(retry),
            (None, Some((_, client))) => client.due(),
            (None, None) => self.lease.times.map(|times| self.lease.since + times.renew),
        };
        due.map_or(Duration::MAX, |due| due.saturating_sub(now()))
    }

    /// Readable when [`Tenant::turn`] has something to do.
    pub(crate) fn socket(&self) -> Option<BorrowedFd<'_>> {
        self.line.as_ref().map(|line| line.socket.as_fd())
    }

    pub(crate) fn turn(&mut self) -> Option<Moved> {
        if self.line.is_none() && !self.rest().is_zero() {
            return None;
        }
        self.retry = None;
        let mut moved = None;
        let mut buffer = [0; BUFFER];
        for _ in 0..BATCH {
            if self.activate().is_err() {
                self.pause();
                break;
            }
            let Some((device, client)) = &mut self.active else {
                break;
            };
            match client.tick(now()) {
                Task::Drop(address) => {
                    self.drop_address(address);
                    continue;
                }
                Task::Send(message, to) => {
                    if listening(device, client, &mut self.line).is_err() {
                        self.pause();
                        break;
                    }
                    if let Some(line) = &self.line {
                        // It counts as lost, and is sent again.
                        let _ = device.send(line, &message, to);
                    }
                    continue;
                }
                Task::Nothing => {}
            }
            let Some(bytes) = self
                .line
                .as_ref()
                .and_then(|line| line.receive(&mut buffer))
            else {
                break;
            };
            match client.receive(now(), bytes) {
                News::None => {}
                News::Renewed => self.line = None,
                News::Lost(address) => self.drop_address(address),
                News::Granted(terms, held) => {
                    self.line = None;
                    if device.add(terms.address, terms.routes()).is_err() {
                        // Asked for again from the start.
                        self.active = None;
                        self.lease = lost(&self.lease, now());
                        self.pause();
                        break;
                    }
                    moved = self.moved(held.address.ip);
                    self.lease = Lease {
                        server: held.server,
                        address: held.address,
                        since: held.since,
                        times: held.times,
                        ..self.lease.clone()
                    };
                }
            }
        }
        moved
    }

    /// Finds the interface, the first time and after it was lost.
    fn activate(&mut self) -> model::fault::Result<()> {
        if self.active.is_some() {
            return Ok(());
        }
        let device = Device::open(&self.lease.if_name)?;
        let held = Held {
            address: self.lease.address,
            server: self.lease.server,
            since: self.lease.since,
            times: self.lease.times,
        };
        let client =
            Client::new(device.mac, self.lease.client_id.clone(), random, now()).holding(held);
        self.active = Some((device, client));
        Ok(())
    }

    fn pause(&mut self) {
        self.line = None;
        self.retry = Some(now() + RETRY);
    }

    fn drop_address(&mut self, address: crate::Cidr) {
        self.line = None;
        self.lost = Some(address.ip);
        if let Some((device, _)) = &mut self.active {
            // Gone already: the app removed it, or the interface.
            let _ = device.remove(address);
        }
    }

    fn moved(&mut self, to: IpAddr) -> Option<Moved> {
        let from = self.lost.take()?;
        (from != to).then_some(Moved { from, to })
    }
}

/// The lease as one that has run out.
fn lost(lease: &Lease, now: Duration) -> Lease {
    let since = lease
        .times
        .map_or(now, |times| now.saturating_sub(times.expire));
    Lease {
        since,
        ..lease.clone()
    }
}

/// The socket that fits what the client is at.
fn listening(
    device: &Device,
    client: &Client,
    line: &mut Option<Line>,
) -> model::fault::Result<()> {
    let ear = client.ear();
    if line.as_ref().map(|line| line.ear) != ear {
        *line = None;
        *line = ear.map(|ear| device.listen(ear)).transpose()?;
    }
    Ok(())
}
