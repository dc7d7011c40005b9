//! The configuration of host-local: ranges, requested addresses, routes. Pure.
//!
//! An address is given from each range set. The sets are numbered, and the
//! numbers name files, so that a set that is switched off keeps its number.

use crate::ipam::values;
use crate::outcome::Spec;
use crate::{Cidr, Network, Plugin, Route, address};
use model::json::{Cursor, Fields};
use model::text::quote;
use model::{Fault, fault::Result};
use std::fmt;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

/// Most ranges of all sets together: each pair is compared.
const MAX_RANGES: usize = 256;
/// Each gives an address, and a claim names them all.
const MAX_SETS: usize = 64;

#[derive(Clone, Debug)]
pub(super) struct Config {
    /// Where the addresses' files are.
    pub dir: PathBuf,
    pub sets: Vec<RangeSet>,
    pub requested: Vec<IpAddr>,
    pub routes: Vec<Route>,
    pub resolv_conf: Option<PathBuf>,
}

/// Ranges of one family of which one address is given.
#[derive(Clone, Debug)]
pub(super) struct RangeSet {
    pub index: usize,
    /// At least one.
    pub ranges: Vec<Range>,
}

/// From `start` to `end`, both included; neither the network's own address nor
/// the broadcast address is in it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Range {
    pub subnet: Cidr,
    pub start: u128,
    pub end: u128,
    pub gateway: IpAddr,
}

impl Config {
    /// `asked` is what `CNI_ARGS` asks for, see [`asked_by_args`].
    pub(super) fn read(
        network: &Network,
        plugin: &Plugin,
        leases: &Path,
        asked: Option<IpAddr>,
    ) -> Result<Config> {
        let mut fields = Cursor::new(&plugin.object).fields()?;
        let mut ipam = fields.need("ipam")?.fields()?;
        let ipv6 = match fields.take("ipv6") {
            Some(ipv6) => ipv6.bool()?,
            None => true,
        };
        let mut sets = runtime_ranges(&mut fields)?;
        sets.extend(flat_range(&mut ipam)?);
        sets.extend(ipam.list_of("ranges", |set| range_set(&set))?);
        if sets.is_empty() {
            return Err(ipam.fault("no IP ranges specified"));
        }
        check_sets(&sets, &ipam, network)?;
        let mut sets = number(sets);
        let mut routes = values::routes(&mut ipam)?;
        if !ipv6 {
            sets.retain(RangeSet::is_v4);
            routes.retain(|route| route.dst.is_v4());
        }
        if sets.is_empty() {
            return Err(ipam.fault("no IP ranges are left without IPv6"));
        }
        Ok(Config {
            dir: directory(&mut ipam, leases)?.join(&network.name),
            sets,
            requested: requested(asked, &mut fields)?,
            routes,
            resolv_conf: match ipam.text("resolvConf")?.as_str() {
                "" => None,
                path => Some(path.into()),
            },
        })
    }
}

/// The directory alone: to free addresses nothing else has to be right.
pub(super) fn lease_dir(network: &Network, plugin: &Plugin, leases: &Path) -> Result<PathBuf> {
    let mut fields = Cursor::new(&plugin.object).fields()?;
    let mut ipam = fields.need("ipam")?.fields()?;
    Ok(directory(&mut ipam, leases)?.join(&network.name))
}

fn directory(ipam: &mut Fields<'_>, leases: &Path) -> Result<PathBuf> {
    let Some(dir) = ipam.take("dataDir") else {
        return Ok(leases.to_path_buf());
    };
    match dir.c_string()? {
        path if path.is_empty() => Ok(leases.to_path_buf()),
        path if path.starts_with('/') => Ok(path.into()),
        _ => Err(dir.fault("must be an absolute path")),
    }
}

fn runtime_ranges(plugin: &mut Fields<'_>) -> Result<Vec<Vec<Range>>> {
    match plugin.take("runtimeConfig") {
        Some(runtime) => runtime.fields()?.list_of("ipRanges", |set| range_set(&set)),
        None => Ok(Vec::new()),
    }
}

/// The form of old, beside or instead of `ranges`.
fn flat_range(ipam: &mut Fields<'_>) -> Result<Option<Vec<Range>>> {
    match ipam.take("subnet") {
        Some(_) => Ok(Some(vec![range(ipam)?])),
        None => {
            let lone = ["rangeStart", "rangeEnd", "gateway"];
            match lone.into_iter().find_map(|key| ipam.take(key)) {
                Some(field) => Err(field.fault("has no meaning without a subnet beside it")),
                None => Ok(None),
            }
        }
    }
}

fn range_set(set: &Cursor<'_>) -> Result<Vec<Range>> {
    let ranges: Vec<Range> = set.list_of(|one| range(&mut one.fields()?))?;
    let Some(first) = ranges.first() else {
        return Err(set.fault("empty range set"));
    };
    if ranges
        .iter()
        .any(|range| range.subnet.is_v4() != first.subnet.is_v4())
    {
        return Err(set.fault("mixed address families"));
    }
    Ok(ranges)
}

fn range(fields: &mut Fields<'_>) -> Result<Range> {
    let place = fields.need("subnet")?;
    let subnet = values::network(&place)?;
    let v4 = subnet.is_v4();
    if subnet.len > if v4 { 30 } else { 126 } {
        return Err(place.fault(format!("network {subnet} too small to allocate from")));
    }
    let first = address::to_bits(subnet.ip) + 1;
    let last = address::to_bits(subnet.last()) - u128::from(v4);
    let gateway = match fields.take("gateway") {
        Some(field) => {
            let ip = values::ip(&field)?;
            if ip.is_ipv4() != v4 {
                return Err(field.fault(format!("{ip} is of another family than {subnet}")));
            }
            ip
        }
        None => address::from_bits(first, v4),
    };
    let mut end_of = |key, default: u128| -> Result<u128> {
        let Some(field) = fields.take(key) else {
            return Ok(default);
        };
        let ip = values::ip(&field)?;
        match subnet.contains(ip) {
            true => Ok(address::to_bits(ip).clamp(first, last)),
            false => Err(field.fault(format!("{key} {ip} not in network {subnet}"))),
        }
    };
    let start = end_of("rangeStart", first)?;
    let end = end_of("rangeEnd", last)?;
    if start > end {
        return Err(fields.fault(format!(
            "rangeEnd {} is before rangeStart {}",
            address::from_bits(end, v4),
            address::from_bits(start, v4)
        )));
    }
    Ok(Range {
        subnet,
        start,
        end,
        gateway,
    })
}

fn check_sets(sets: &[Vec<Range>], ipam: &Fields<'_>, network: &Network) -> Result<()> {
    let all: Vec<(usize, &Range)> = sets
        .iter()
        .enumerate()
        .flat_map(|(at, set)| set.iter().map(move |range| (at, range)))
        .collect();
    if sets.len() > MAX_SETS {
        return Err(ipam.fault(format!("more than {MAX_SETS} range sets")));
    }
    if all.len() > MAX_RANGES {
        return Err(ipam.fault(format!("more than {MAX_RANGES} ranges")));
    }
    for (at, (set, one)) in all.iter().enumerate() {
        for (other_set, other) in &all[at + 1..] {
            if !one.overlaps(other) {
                continue;
            }
            return Err(ipam.fault(match set == other_set {
                true => format!("ranges {one} and {other} of range set {set} overlap"),
                false => format!(
                    "range set {set} overlaps with {other_set}: {one} and {other} have addresses \
                     in common"
                ),
            }));
        }
    }
    let v4 = sets.iter().filter(|set| set[0].subnet.is_v4()).count();
    if (v4 > 1 || sets.len() - v4 > 1) && Spec::of(&network.version) < Spec::V0_3 {
        return Err(ipam.fault(format!(
            "CNI version {} does not support more than 1 address per family",
            network.version
        )));
    }
    Ok(())
}

fn number(sets: Vec<Vec<Range>>) -> Vec<RangeSet> {
    let numbered = sets.into_iter().enumerate();
    numbered
        .map(|(index, ranges)| RangeSet { index, ranges })
        .collect()
}

/// `IP` of `CNI_ARGS`.
pub(super) fn asked_by_args(cni_args: &str) -> Result<Option<IpAddr>> {
    let [ip] = values::cni_args(cni_args, ["IP"])?;
    match with_or_without_prefix(ip) {
        Some(ip) => Ok(Some(ip)),
        None if ip.is_empty() => Ok(None),
        None => Err(Fault::invalid(format!(
            "ARGS: error parsing value of pair {}: invalid IP address: {ip}",
            quote(&format!("IP={ip}"))
        ))),
    }
}

/// All addresses that are asked for, whoever asks; each once.
fn requested(asked: Option<IpAddr>, plugin: &mut Fields<'_>) -> Result<Vec<IpAddr>> {
    let mut ips = Vec::from_iter(asked);
    let (of_args, of_runtime) = values::asked_ips(plugin)?;
    for list in [of_args, of_runtime].into_iter().flatten() {
        for field in list.list()? {
            let text = field.str()?;
            let Some(ip) = with_or_without_prefix(text) else {
                return Err(field.fault(format!("invalid IP address: {}", quote(text))));
            };
            if !ips.contains(&ip) {
                ips.push(ip);
            }
            if ips.len() > MAX_RANGES {
                return Err(list.fault(format!("more than {MAX_RANGES} addresses")));
            }
        }
    }
    Ok(ips)
}

fn with_or_without_prefix(text: &str) -> Option<IpAddr> {
    let ip = match text.contains('/') {
        true => Cidr::parse(text).ok()?.ip,
        false => text.parse().ok()?,
    };
    Some(ip.to_canonical())
}

impl Range {
    pub(super) fn contains(&self, ip: IpAddr) -> bool {
        self.subnet.is_v4() == ip.is_ipv4()
            && (self.start..=self.end).contains(&address::to_bits(ip))
    }

    /// Whether a pod of the subnet could have it, in the range or not.
    pub(super) fn has_host(&self, ip: IpAddr) -> bool {
        let is_broadcast = self.subnet.is_v4() && ip == self.subnet.last();
        self.subnet.contains(ip) && ip != self.subnet.ip && !is_broadcast
    }

    fn overlaps(&self, other: &Range) -> bool {
        self.subnet.is_v4() == other.subnet.is_v4()
            && self.start <= other.end
            && other.start <= self.end
    }
}

impl RangeSet {
    pub(super) fn is_v4(&self) -> bool {
        self.ranges[0].subnet.is_v4()
    }

    pub(super) fn range_of(&self, ip: IpAddr) -> Option<&Range> {
        self.ranges.iter().find(|range| range.contains(ip))
    }
}

impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let v4 = self.subnet.is_v4();
        let ip = |bits| address::from_bits(bits, v4);
        write!(f, "{}-{}", ip(self.start), ip(self.end))
    }
}
