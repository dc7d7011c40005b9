//! What PID 1 has to do with the pod's network: wait until the outer process
//! has made it, tell the apps of it, and keep alive what has to live with it.
//!
//! A network without links lives as long as its leash is held, which PID 1 does.
//!
//! What the kernel does not forward reaches the sockets that hold the host's
//! ports. The process that serves them is started by the first connection:
//! most pods never need it. Leases have one from the start.
//!
//! The text on the channel has four fields, divided by NUL: `resolv.conf`, the
//! metadata service's URL, the addresses that ports lead to, and the leases to
//! be renewed; an empty field is none.

use std::net::IpAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use model::{Fault, fault::Result};
use net::firewall::Firewall;
use net::ipam::dhcp::Lease;
use net::keeper;
use net::ports::Reserved;
use sys::clone::{Forked, Namespaces, fork_into};
use sys::process;

use crate::apply::pod_root;

/// Of the network, what PID 1 holds: while it lives, so do the rules (which go
/// with their socket) and the claim on the host's ports.
#[derive(Debug)]
pub struct Held {
    #[expect(dead_code, reason = "held for its socket, which owns the rules")]
    firewall: Option<Firewall>,
    #[expect(dead_code, reason = "held for whoever watches the other end")]
    leash: Option<OwnedFd>,
    reserved: Vec<Reserved>,
    targets: Vec<IpAddr>,
    leases: Vec<Lease>,
    keeper: Option<i32>,
    /// How often a keeper may still be started.
    starts: u32,
}

/// NET_BIND_SERVICE, NET_ADMIN, NET_RAW: what renewing an address takes.
const NETWORK: u64 = 1 << 10 | 1 << 12 | 1 << 13;

/// SYS_CHROOT: what starting the keeper takes.
pub const KEEPER: u64 = 1 << 18;

/// Whoever makes it fall over again and again must not keep PID 1 busy.
const MOST_STARTS: u32 = 100;

/// What the outer process tells once the network is there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Joined {
    pub resolv_conf: Option<String>,
    pub metadata_url: Option<String>,
    /// Where connections to the reserved ports go.
    pub targets: Vec<IpAddr>,
    pub leases: Vec<Lease>,
}

impl Joined {
    pub fn to_text(&self) -> String {
        let plain = |text: &Option<String>| text.clone().unwrap_or_default();
        let targets: Vec<_> = self.targets.iter().map(IpAddr::to_string).collect();
        let leases: Vec<_> = self.leases.iter().map(Lease::to_text).collect();
        let fields = [
            plain(&self.resolv_conf),
            plain(&self.metadata_url),
            targets.join(","),
            leases.join("\n"),
        ];
        fields.join("\0")
    }

    pub fn parse(text: &str) -> Result<Joined> {
        let bad = || Fault::corrupt("the outer process sent a damaged message");
        let fields: Vec<&str> = text.split('\0').collect();
        let [resolv_conf, url, targets, leases] = fields[..] else {
            return Err(bad());
        };
        let some = |text: &str| Some(text.to_string()).filter(|text| !text.is_empty());
        let targets = targets.split(',').filter(|text| !text.is_empty());
        Ok(Joined {
            resolv_conf: some(resolv_conf),
            metadata_url: some(url),
            targets: targets
                .map(|text| text.parse().map_err(|_| bad()))
                .collect::<Result<_>>()?,
            leases: leases.lines().map(Lease::parse).collect::<Result<_>>()?,
        })
    }
}

impl Held {
    pub fn new(
        firewall: Option<Firewall>,
        leash: Option<OwnedFd>,
        reserved: Vec<Reserved>,
    ) -> Held {
        Held {
            firewall,
            leash,
            reserved,
            targets: Vec::new(),
            leases: Vec::new(),
            keeper: None,
            starts: MOST_STARTS,
        }
    }

    /// Takes in what was told, in the pod's new root and with all capabilities.
    pub fn settle(&mut self, joined: Joined) -> Result<()> {
        if let Some(text) = &joined.resolv_conf {
            pod_root::write_resolv_conf(text)?;
        }
        self.targets = joined.targets;
        self.leases = joined.leases;
        match self.leases.is_empty() {
            true => Ok(()),
            false => self.serve(),
        }
    }

    /// What a first connection shows on; nothing while a keeper serves it.
    pub fn fds(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        let idle = self.keeper.is_none() && self.starts > 0 && !self.targets.is_empty();
        let waiting = if idle { &self.reserved[..] } else { &[] };
        waiting.iter().map(|port| port.socket.as_fd())
    }

    /// Whether that was the keeper. Somebody has killed it, since it never ends
    /// by itself.
    pub fn ended(&mut self, pid: i32) -> bool {
        let was = self.keeper == Some(pid);
        if was {
            self.keeper = None;
            // Leases do not wait for a connection. Without a keeper they run out,
            // and there is nobody to tell.
            if !self.leases.is_empty() && self.starts > 0 {
                let _ = self.serve();
            }
        }
        was
    }

    /// What its keeper takes, which PID 1 therefore has to hold.
    pub fn capabilities(&self) -> u64 {
        if self.leases.is_empty() { 0 } else { NETWORK }
    }

    /// Forks the process that forwards and renews. It dies with the pod, as all
    /// of the pod's processes do.
    pub fn serve(&mut self) -> Result<()> {
        self.starts = self.starts.saturating_sub(1);
        // A build without networks has nobody who would have made this.
        if !cfg!(feature = "net") {
            return Ok(());
        }
        match fork_into(Namespaces::NONE, None) {
            Ok(Forked::Child) => process::exit_now(self.keep_up()),
            Ok(Forked::Parent(pid)) => {
                self.keeper = Some(pid);
                Ok(())
            }
            Err(err) => Err(Fault::io("cannot fork", "the network's keeper", err)),
        }
    }

    fn keep_up(&self) -> i32 {
        let wanted = if self.targets.is_empty() {
            &[]
        } else {
            &self.reserved[..]
        };
        let Ok(reserved) = wanted
            .iter()
            .map(copy)
            .collect::<rustix::io::Result<Vec<_>>>()
        else {
            return 254;
        };
        if confine(&reserved, !self.leases.is_empty()).is_err() {
            return 254;
        }
        keeper::run(keeper::Work {
            reserved,
            targets: self.targets.clone(),
            leases: self.leases.clone(),
        })
    }
}

fn copy(port: &Reserved) -> rustix::io::Result<Reserved> {
    Ok(Reserved {
        socket: rustix::io::fcntl_dupfd_cloexec(&port.socket, 3)?,
        protocol: port.protocol,
        v6: port.v6,
        pod_port: port.pod_port,
    })
}

/// An empty root, no other descriptor, and no capability but what renewing an
/// address takes: what it reads comes from strangers.
fn confine(reserved: &[Reserved], renews: bool) -> std::io::Result<()> {
    sys::creds::set_name(c"rkt-net")?;
    rustix::process::chroot("/empty")?;
    rustix::process::chdir("/")?;
    let keep: Vec<BorrowedFd<'_>> = reserved.iter().map(|port| port.socket.as_fd()).collect();
    process::close_all_except(&keep);
    sys::caps::set(if renews { NETWORK } else { 0 })
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn what_is_told_is_understood() {
        let joined = Joined {
            resolv_conf: Some("# x\n\nnameserver 10.0.0.1\n".into()),
            metadata_url: Some("http://10.0.0.1:18112/ab".into()),
            targets: vec!["10.0.0.2".parse().unwrap(), "fd00::2".parse().unwrap()],
            leases: Vec::new(),
        };
        for joined in [joined, Joined::default()] {
            assert_eq!(Joined::parse(&joined.to_text()).unwrap(), joined);
        }
        for text in ["", "\0\0", "\0\0x\0", "\0\0\0\0"] {
            assert!(Joined::parse(text).is_err(), "{text:?}");
        }
    }
}
