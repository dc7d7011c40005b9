//! Which address a pod gets, by what is held already. Pure.
//!
//! The next free one behind the last that was given, round and round, so that
//! an address rests as long as possible. Only held addresses and gateways are
//! stepped over, however large a range is.

use super::config::{Range, RangeSet};
use crate::address;
use model::{Fault, fault::Result};
use std::collections::BTreeSet;
use std::net::IpAddr;

/// An address and the range whose prefix and gateway go with it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Choice<'a> {
    pub ip: IpAddr,
    pub range: &'a Range,
}

/// For each set the requested address that it has to give, if any.
pub(super) fn requested<'a>(
    sets: &'a [RangeSet],
    requested: &[IpAddr],
) -> Result<Vec<Option<Choice<'a>>>> {
    let mut open: Vec<IpAddr> = requested.to_vec();
    let mut choices: Vec<Option<Choice<'a>>> = vec![None; sets.len()];
    // A range says what is given unasked. Asked for, any host of the subnet will
    // do, but a set whose range has it comes first.
    let fits: [fn(&Range, IpAddr) -> bool; 2] = [Range::contains, Range::has_host];
    for fit in fits {
        for (set, choice) in sets.iter().zip(&mut choices) {
            if choice.is_some() {
                continue;
            }
            let found = open.iter().enumerate().find_map(|(at, &ip)| {
                let range = set.ranges.iter().find(|range| fit(range, ip))?;
                Some((at, Choice { ip, range }))
            });
            if let Some((at, found)) = found {
                open.remove(at);
                *choice = Some(found);
            }
        }
    }
    if let Some(&ip) = open.first() {
        return Err(unmet(sets, ip, &open));
    }
    match choices.iter().flatten().any(|one| is_gateway(sets, one.ip)) {
        true => Err(Fault::invalid("requested IP must differ gateway IP")),
        false => Ok(choices),
    }
}

fn unmet(sets: &[RangeSet], ip: IpAddr, open: &[IpAddr]) -> Fault {
    let ranges = || sets.iter().flat_map(|set| &set.ranges);
    if ranges().any(|range| range.has_host(ip)) {
        let list: Vec<String> = open.iter().map(IpAddr::to_string).collect();
        return Fault::invalid(format!(
            "failed to allocate all requested IPs: {}",
            list.join(" ")
        ))
        .hint("each range set of the network gives one address");
    }
    let mut subnets: Vec<String> = ranges().map(|range| range.subnet.to_string()).collect();
    subnets.dedup();
    let subnets = subnets.join(", ");
    Fault::invalid(match ranges().any(|range| range.subnet.contains(ip)) {
        true => format!("{ip} is no address of a host in network: {subnets}"),
        false => format!("{ip} not in network: {subnets}"),
    })
}

pub(super) fn is_gateway(sets: &[RangeSet], ip: IpAddr) -> bool {
    sets.iter()
        .flat_map(|set| &set.ranges)
        .any(|range| range.gateway == ip)
}

/// `None` when all are held. `last` is what was given before.
pub(super) fn next<'a>(
    sets: &[RangeSet],
    set: &'a RangeSet,
    last: Option<IpAddr>,
    held: &BTreeSet<IpAddr>,
) -> Option<Choice<'a>> {
    let ranges = &set.ranges;
    let v4 = set.is_v4();
    let behind = last.and_then(|last| {
        let at = ranges.iter().position(|range| range.contains(last))?;
        Some((at, address::to_bits(last)))
    });
    // The first range is walked twice, if it was begun in its middle.
    let (first, begin) = match behind {
        Some((at, last)) if last < ranges[at].end => (at, last + 1),
        Some((at, _)) => {
            let next = (at + 1) % ranges.len();
            (next, ranges[next].start)
        }
        None => (0, ranges[0].start),
    };
    let whole = (first + 1..ranges.len()).chain(0..first);
    let walks = std::iter::once((first, begin, ranges[first].end))
        .chain(whole.map(|at| (at, ranges[at].start, ranges[at].end)))
        .chain((begin > ranges[first].start).then(|| (first, ranges[first].start, begin - 1)));
    for (at, start, end) in walks {
        let mut bits = start;
        loop {
            let ip = address::from_bits(bits, v4);
            if !held.contains(&ip) && !is_gateway(sets, ip) {
                let range = &ranges[at];
                return Some(Choice { ip, range });
            }
            if bits == end {
                break;
            }
            bits += 1;
        }
    }
    None
}
