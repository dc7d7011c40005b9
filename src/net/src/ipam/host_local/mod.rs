//! The IPAM `host-local`: addresses of ranges that this host gives on its own.
//!
//! `config` reads what is asked for, `choose` decides, `leases` keeps it in files
//! that CNI's plugin of this name shares. One lock covers a whole call, so that
//! either all range sets give an address or none does. An attachment that holds
//! an address already gets the same again: its set-up was killed and is tried
//! once more. Nothing is synced: a power cut ends the pods, and `gc` frees.

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
use model::{Fault, fault::Result};
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
    let mut allocation = Allocation {
        leases: Leases::open(&config.dir, site.patience)?,
        network: &network.name,
        id: site.id,
        if_name: call.if_name,
        sets: &config.sets,
        held: Vec::new(),
        made: Vec::new(),
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
    let held = leases.scan(site.id, call.if_name)?;
    // A record without an interface may be another one's, if ours has its own.
    let ours = match held.iter().any(|(_, holder)| *holder == Holder::Us) {
        true => Holder::Us,
        false => Holder::OurId,
    };
    let mut outcome = Ok(());
    for (ip, _) in held.iter().filter(|(_, holder)| *holder == ours) {
        outcome = outcome.and(leases.free(*ip));
    }
    outcome
}

/// One `add` under the lock.
struct Allocation<'a> {
    leases: Leases,
    network: &'a str,
    id: &'a str,
    if_name: &'a str,
    sets: &'a [RangeSet],
    held: Vec<(IpAddr, Holder)>,
    /// By this call: what a failure has to free.
    made: Vec<IpAddr>,
}

impl<'a> Allocation<'a> {
    fn run(&mut self, requested: &[Option<Choice<'a>>]) -> Result<Vec<Choice<'a>>> {
        self.held = self.leases.scan(self.id, self.if_name)?;
        let taken = self.held.iter().map(|(ip, _)| *ip).collect();
        let sets = self.sets.iter().zip(requested);
        let choices = sets
            .map(|(set, requested)| match requested {
                Some(choice) => self.the_requested(set, *choice),
                None => self.any(set, &taken),
            })
            .collect();
        if let (Err(_), made) = (&choices, std::mem::take(&mut self.made)) {
            for ip in made {
                // What made the first failure may well prevent this as well; the
                // caller frees once more by `del`.
                let _ = self.leases.free(ip);
            }
        }
        choices
    }

    fn the_requested(&mut self, set: &RangeSet, choice: Choice<'a>) -> Result<Choice<'a>> {
        let ip = choice.ip;
        match self.holder_of(ip) {
            Some(Holder::Other) => Err(self.not_available(ip)),
            Some(_) => self.again(choice),
            None if self.make(set, ip)? => Ok(choice),
            None => Err(self.not_available(ip)),
        }
    }

    fn any(&mut self, set: &'a RangeSet, taken: &BTreeSet<IpAddr>) -> Result<Choice<'a>> {
        let own = self.held.iter().find_map(|(ip, holder)| {
            let range = set.range_of(*ip)?;
            let usable = *holder != Holder::Other && !choose::is_gateway(self.sets, *ip);
            usable.then_some(Choice { ip: *ip, range })
        });
        if let Some(choice) = own {
            return self.again(choice);
        }
        let last = self.leases.last(set.index);
        let choice = choose::next(self.sets, set, last, taken);
        match choice {
            Some(choice) if self.make(set, choice.ip)? => Ok(choice),
            _ => Err(Fault::conflict(format!(
                "no IP addresses available in network: {}",
                self.network
            ))
            .hint("rkt gc frees the addresses of pods that were killed")),
        }
    }

    fn holder_of(&self, ip: IpAddr) -> Option<Holder> {
        let found = self.held.iter().find(|(held, _)| *held == ip);
        found.map(|(_, holder)| *holder)
    }

    fn again(&mut self, choice: Choice<'a>) -> Result<Choice<'a>> {
        if self.holder_of(choice.ip) == Some(Holder::OurId) {
            self.leases.renew(choice.ip, self.id, self.if_name)?;
        }
        Ok(choice)
    }

    fn make(&mut self, set: &RangeSet, ip: IpAddr) -> Result<bool> {
        let made = self.leases.take(ip, self.id, self.if_name)?;
        if made {
            self.made.push(ip);
            self.leases.set_last(set.index, ip)?;
        }
        Ok(made)
    }

    fn not_available(&self, ip: IpAddr) -> Fault {
        Fault::conflict(format!(
            "requested IP address {} is not available in network: {}",
            quote(&ip.to_string()),
            self.network
        ))
    }
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
