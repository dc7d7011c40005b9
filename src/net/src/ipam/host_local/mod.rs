//! The IPAM `host-local`: addresses of ranges that this host gives on its own.
//!
//! `config` reads what is asked for, `choose` decides, `leases` keeps it in files
//! that CNI's plugin of this name shares. One lock covers a whole call, so that
//! either all range sets give an address or none does. An attachment that holds
//! an address already gets the same again: its set-up was killed and is tried
//! once more. However many addresses are held, only those are read that the
//! attachment claims. Nothing is synced: a power cut ends the pods, and `gc` frees.

mod choose;
mod config;
mod leases;
#[cfg(test)]
mod tests;

use crate::attach::Call;
use crate::conf::read_regular;
use crate::ipam::{place, values};
use crate::{Cidr, Dns, Ip, Outcome};
use choose::Choice;
use config::{Config, RangeSet};
use leases::{Holder, Leases};
use model::text::quote;
use model::{Fault, Kind, fault::Result};
use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::Path;

const MAX_RESOLV_CONF: usize = 64 << 10;

pub(super) fn add(call: &Call<'_>) -> Result<Outcome> {
    let (site, network) = (call.site, call.network);
    // Speaks of the command line, so no file is named.
    let asked = config::asked_by_args(&network.args)?;
    let config = Config::read(network, call.plugin, &site.dirs.leases, asked)
        .map_err(|fault| place(call, fault))?;
    let dns = match &config.resolv_conf {
        Some(path) => resolv_conf(path).map_err(|fault| place(call, fault))?,
        None => Dns::default(),
    };
    let requested = choose::requested(&config.sets, &config.requested)?;
    let allocation = Allocation {
        leases: Leases::open(&config.dir, site.patience)?,
        network: &network.name,
        id: site.id,
        if_name: call.if_name,
        sets: &config.sets,
    };
    let choices = allocation.run(&requested)?;
    Ok(Outcome {
        ips: choices
            .iter()
            .map(|choice| Ip {
                address: Cidr {
                    ip: choice.ip,
                    len: choice.range.subnet.len,
                },
                gateway: Some(choice.range.gateway),
                interface: None,
            })
            .collect(),
        routes: config.routes,
        dns,
        ..Outcome::default()
    })
}

/// Frees every address of the attachment, whatever the ranges are by now.
pub(super) fn del(call: &Call<'_>) -> Result<()> {
    let site = call.site;
    let dir = config::lease_dir(call.network, call.plugin, &site.dirs.leases)
        .map_err(|fault| place(call, fault))?;
    let Some(leases) = Leases::existing(&dir, site.patience)? else {
        return Ok(());
    };
    let claim = leases.claim(site.id, call.if_name)?;
    let ours = |ip: &IpAddr| leases.holder(*ip, site.id, call.if_name);
    let held: Vec<IpAddr> = match claim {
        Some(claimed) => {
            let all = claimed.into_iter();
            all.filter(|ip| ours(ip) != Holder::Other).collect()
        }
        // Given by another program.
        None => {
            let all = leases.names()?.into_iter().map(|ip| (ours(&ip), ip));
            let all: Vec<_> = all.filter(|(holder, _)| *holder != Holder::Other).collect();
            // A record without an interface may be another one's, if ours has its own.
            let exact = all.iter().any(|(holder, _)| *holder == Holder::Us);
            let spared = |holder| exact && holder == Holder::OurId;
            let all = all.into_iter().filter(|(holder, _)| !spared(*holder));
            all.map(|(_, ip)| ip).collect()
        }
    };
    let mut outcome = Ok(());
    for ip in held {
        outcome = outcome.and(leases.free(ip));
    }
    outcome.and_then(|()| leases.drop_claim(site.id, call.if_name))
}

/// One `add` under the lock.
struct Allocation<'a> {
    leases: Leases,
    network: &'a str,
    id: &'a str,
    if_name: &'a str,
    sets: &'a [RangeSet],
}

impl<'a> Allocation<'a> {
    fn run(&self, requested: &[Option<Choice<'a>>]) -> Result<Vec<Choice<'a>>> {
        let mut own = self.own()?;
        let mut taken = self.leases.names()?;
        let mut choices = Vec::with_capacity(self.sets.len());
        for (set, requested) in self.sets.iter().zip(requested) {
            let choice = match requested {
                Some(choice) => self.the_requested(*choice, &mut own, &mut taken)?,
                None => self.any(set, &own, &mut taken)?,
            };
            choices.push(choice);
        }
        let new = |ip: &IpAddr| !own.contains(ip);
        let mut claimed: Vec<IpAddr> = choices.iter().map(|choice| choice.ip).collect();
        if claimed.iter().any(new) {
            claimed.extend(own.iter().filter(|ip| !taken_by(&choices, ip)));
            self.leases.set_claim(self.id, self.if_name, &claimed)?;
        }
        let mut made = Vec::new();
        let done = self.take(&choices, &own, &mut made);
        done.inspect_err(|_| {
            // What made the first failure may well prevent this as well; the
            // caller frees once more by `del`.
            for ip in made {
                let _ = self.leases.free(ip);
            }
            if own.is_empty() {
                let _ = self.leases.drop_claim(self.id, self.if_name);
            }
        })?;
        Ok(choices)
    }

    /// What an earlier attempt was given.
    fn own(&self) -> Result<Vec<IpAddr>> {
        let mut own = Vec::new();
        let claim = self.leases.claim(self.id, self.if_name)?;
        for ip in claim.into_iter().flatten() {
            if self.is_own(ip)? {
                own.push(ip);
            }
        }
        Ok(own)
    }

    /// A record of old becomes one of now.
    fn is_own(&self, ip: IpAddr) -> Result<bool> {
        match self.leases.holder(ip, self.id, self.if_name) {
            Holder::Us => Ok(true),
            Holder::OurId => {
                self.leases.renew(ip, self.id, self.if_name)?;
                Ok(true)
            }
            Holder::Nobody | Holder::Other => Ok(false),
        }
    }

    fn the_requested(
        &self,
        choice: Choice<'a>,
        own: &mut Vec<IpAddr>,
        taken: &mut BTreeSet<IpAddr>,
    ) -> Result<Choice<'a>> {
        let ip = choice.ip;
        if own.contains(&ip) || !taken.contains(&ip) {
            return Ok(choice);
        }
        if self.is_own(ip)? {
            own.push(ip);
            return Ok(choice);
        }
        match self.leases.holder(ip, self.id, self.if_name) {
            Holder::Nobody => {
                self.leases.free(ip)?;
                taken.remove(&ip);
                Ok(choice)
            }
            _ => Err(self.not_available(ip)),
        }
    }

    fn any(
        &self,
        set: &'a RangeSet,
        own: &[IpAddr],
        taken: &mut BTreeSet<IpAddr>,
    ) -> Result<Choice<'a>> {
        let again = own.iter().find_map(|ip| {
            let range = set.range_of(*ip)?;
            (!choose::is_gateway(self.sets, *ip)).then_some(Choice { ip: *ip, range })
        });
        if let Some(choice) = again {
            return Ok(choice);
        }
        let last = self.leases.last(set.index);
        if let Some(choice) = choose::next(self.sets, set, last, taken) {
            return Ok(choice);
        }
        self.sweep(taken)?;
        choose::next(self.sets, set, last, taken).ok_or_else(|| {
            Fault::new(
                Kind::Exhausted,
                format!("no IP addresses available in network: {}", self.network),
            )
            .hint("rkt gc frees the addresses of pods that were killed")
        })
    }

    /// Removes files that hold nothing.
    fn sweep(&self, taken: &mut BTreeSet<IpAddr>) -> Result<()> {
        for ip in taken.clone() {
            if self.leases.holder(ip, self.id, self.if_name) == Holder::Nobody {
                self.leases.free(ip)?;
                taken.remove(&ip);
            }
        }
        Ok(())
    }

    fn take(&self, choices: &[Choice<'_>], own: &[IpAddr], made: &mut Vec<IpAddr>) -> Result<()> {
        for (set, choice) in self.sets.iter().zip(choices) {
            let ip = choice.ip;
            if own.contains(&ip) {
                continue;
            }
            if !self.leases.take(ip, self.id, self.if_name)? {
                return Err(self.not_available(ip));
            }
            made.push(ip);
            self.leases.set_last(set.index, ip)?;
        }
        Ok(())
    }

    fn not_available(&self, ip: IpAddr) -> Fault {
        Fault::conflict(format!(
            "requested IP address {} is not available in network: {}",
            quote(&ip.to_string()),
            self.network
        ))
    }
}

fn taken_by(choices: &[Choice<'_>], ip: &IpAddr) -> bool {
    choices.iter().any(|choice| choice.ip == *ip)
}

fn resolv_conf(path: &Path) -> Result<Dns> {
    let at = |fault: Fault| Fault {
        cause: format!("ipam.resolvConf: {}: {}", path.display(), fault.cause),
        ..fault
    };
    match read_regular(path, MAX_RESOLV_CONF).map_err(at)? {
        Some(text) => Ok(values::resolv_conf(&String::from_utf8_lossy(&text))),
        None => Err(at(Fault::invalid("is a directory"))),
    }
}
