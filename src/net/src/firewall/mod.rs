//! Carries out `Rules`: nf_tables, or the legacy xtables.
//!
//! With nf_tables all rules of a pod are one table per family, named after its
//! ID, made in one transaction. The table belongs to the socket that made it
//! (`owner`, Linux 5.12): when the last process that holds the socket is gone,
//! the kernel removes it, and another program's `flush ruleset` spares it.
//!
//! Neither leads packets for the host's loopback to a pod: what the host sends
//! there reaches the sockets that `ports` reserved. Neither can overrule what
//! others drop: where the host's own policy is not to forward, its rules have to
//! let the pods' addresses pass.

pub mod conntrack;
mod nft;
pub mod xtables;

use crate::Rules;
use model::fault::{Context, errno_text};
use model::{Fault, Kind, fault::Result};
use nft::Refusal;
use rustix::io::Errno;
use rustix::pipe::PipeFlags;
use std::os::fd::{AsFd, OwnedFd};
use sys::clone::{Forked, Namespaces, fork_into};
use sys::process;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    NfTables,
    XTables,
    /// Neither: ports go through `proxy`, masquerading is refused.
    None,
}

/// What this host can do, and why not better.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    pub way: Way,
    /// Rules go with their pod, even when it is killed.
    pub owned: bool,
    /// Why it is not nf_tables with owned tables; empty when it is.
    pub why: String,
}

/// The socket, made before the pod's first process so that this inherits it.
#[derive(Debug)]
pub struct Firewall {
    /// Or why there is none.
    socket: std::result::Result<OwnedFd, Refusal>,
    /// What `install` took.
    taken: Option<Way>,
}

/// Tries on a socket of its own what works; leaves nothing behind.
pub fn probe() -> Facts {
    let tried = match nft::socket::open() {
        Ok(socket) => nft::probe(socket.as_fd()),
        Err(err) => Err(Refusal::socket(&err)),
    };
    let facts = |way, why| Facts {
        way,
        owned: false,
        why,
    };
    match tried {
        Ok(tried) => Facts {
            owned: tried.owned,
            ..facts(Way::NfTables, tried.why)
        },
        Err(refusal) => match xtables::available() {
            Ok(()) => facts(Way::XTables, refusal.to_string()),
            Err(why) => facts(Way::None, neither(&refusal, &why)),
        },
    }
}

impl Firewall {
    /// In the current network namespace. Cheap: nothing is tried yet.
    pub fn open() -> Result<Firewall> {
        let lacking = [
            Errno::PROTONOSUPPORT,
            Errno::AFNOSUPPORT,
            Errno::SOCKTNOSUPPORT,
        ];
        let socket = match nft::socket::open() {
            Ok(socket) => Ok(socket),
            Err(err) if Errno::from_io_error(&err).is_some_and(|e| lacking.contains(&e)) => {
                Err(Refusal::socket(&err))
            }
            Err(err) => return Err(Fault::io("open", "a socket to netfilter", err)),
        };
        Ok(Firewall {
            socket,
            taken: None,
        })
    }

    /// Makes all rules of `id` at once; returns the way that was taken. `Way::None`
    /// when there is no way for forwarded ports, or nothing to do; masquerading
    /// is an error when there is no way for it.
    pub fn install(
        &mut self,
        id: &str,
        rules: &Rules,
        notes: &mut dyn FnMut(String),
    ) -> Result<Way> {
        check(id)?;
        if rules.is_empty() {
            return Ok(Way::None);
        }
        let done = match &self.socket {
            Ok(socket) => nft::install(socket.as_fd(), id, rules),
            Err(refusal) => Err(refusal.clone()),
        };
        let way = match done {
            Ok(unowned) => {
                self.taken = Some(Way::NfTables);
                if let Some(why) = unowned {
                    notes(format!(
                        "rules stay when the pod is killed, until gc: {why}"
                    ));
                }
                Way::NfTables
            }
            Err(refusal) if refusal.kind != Kind::Unsupported => return Err(refusal.fault()),
            Err(refusal) => {
                self.taken = Some(Way::XTables);
                fall_back(id, rules, &refusal, notes)?
            }
        };
        if way != Way::None
            && let Err(err) = conntrack::flush(rules)
        {
            let why = errno_text(&err);
            notes(format!(
                "UDP clients from before may not be forwarded: {why}"
            ));
        }
        Ok(way)
    }

    /// Removes them again, without waiting for the kernel's grace periods.
    pub fn remove(&mut self, id: &str) -> Result<()> {
        check(id)?;
        let nft = match &self.socket {
            Ok(socket) => nft::remove(socket.as_fd(), id).map_err(Refusal::fault),
            Err(_) => Ok(()),
        };
        let xtables = match self.taken.take() {
            Some(Way::NfTables) => Ok(()),
            _ => xtables::remove(id),
        };
        nft.and(xtables)
    }

    /// Lets go of the socket without waiting. Where rules of this network
    /// namespace were removed a moment ago, the kernel makes the last one who
    /// closes it wait for a grace period of 10 or 20 ms; so a process with
    /// nothing else does. The caller has to have one thread, or waits itself.
    ///
    /// Returns when that process holds nothing else any more: neither the lock
    /// of a pod nor the pipe that somebody reads to its end.
    pub fn close(self) {
        let Ok(socket) = self.socket else {
            return;
        };
        let Ok((ours, theirs)) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC) else {
            return;
        };
        match fork_into(Namespaces::NONE, None) {
            Ok(Forked::Child) => {
                for stream in 0..3 {
                    let _ = process::become_std(socket.as_fd(), stream);
                }
                let _ = rustix::process::chdir("/");
                process::close_all_except(&[]);
                process::exit_now(0);
            }
            Ok(Forked::Parent(_)) => {
                // Before that process ends: the last one waits.
                drop((socket, theirs));
                let _ = rustix::io::read(&ours, &mut [0; 1]);
            }
            Err(_) => {}
        }
    }
}

/// Removes what a killed pod left, whichever way it was made. Nothing there is
/// no failure; a pod that still runs is.
pub fn remove(id: &str) -> Result<()> {
    Firewall::open()?.remove(id)
}

/// Names are made of the ID's hexadecimal digits.
fn check(id: &str) -> Result<()> {
    match id.bytes().filter(u8::is_ascii_hexdigit).count() {
        8.. => Ok(()),
        _ => Err(Fault::invalid(format!(
            "\"{id}\" cannot name a pod's rules"
        ))),
    }
}

fn neither(nft: &Refusal, xtables: &str) -> String {
    format!("{nft}; xtables: {xtables}")
}

/// By xtables, or not at all.
fn fall_back(
    id: &str,
    rules: &Rules,
    refusal: &Refusal,
    notes: &mut dyn FnMut(String),
) -> Result<Way> {
    let why = match xtables::available() {
        Ok(()) => {
            notes(format!("rules are made by xtables: {refusal}"));
            xtables::install(id, rules, notes).link(|| refusal.to_string())?;
            return Ok(Way::XTables);
        }
        Err(why) => neither(refusal, &why),
    };
    if !rules.masquerade.is_empty() {
        return Err(
            Fault::unsupported(format!("masquerading is not possible: {why}"))
                .hint("use a network without \"ipMasq\", or --net=host"),
        );
    }
    if !rules.forwards.is_empty() {
        notes(format!("ports are forwarded in user space: {why}"));
    }
    Ok(Way::None)
}
