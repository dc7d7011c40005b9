//! The pod's network as the outer process makes it: what is decided before the
//! fork, what is joined beside a PID 1 that builds its root meanwhile, and how
//! all of it is left again.
//!
//! What is about to be done is written down before it is done: `net-info.json`
//! and the copies of the configurations in `net`, by which `leave` (also from
//! gc, after a kill at any point) finds what to undo. A network without links,
//! `usermode`, leaves nothing to undo.

use std::cell::RefCell;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::Duration;

use model::json::Cursor;
use model::{Fault, Kind, fault::Result};
use net::attach::{self, Attachment, Dirs, Site};
use net::firewall::Firewall;
use net::ports::{self, Mapping, Reserved};
use net::{Forward, Network, Outcome, Rules, Selection, netns};
use pod::entry::{DnsMode, RunArgs};
use pod::{NetInfo, layout};
use rustix::fs::{Mode, OFlags, StatVfsMountFlags};

use super::reclaim::reclaim;
use super::{expose, leave, usermode};
use crate::load::{self, Loaded};
use crate::pid1::network::{Held, Joined};

const STATE: &str = "/var/lib/cni";
const STATE_OF_READ_ONLY: &str = "/run/cni";
/// Besides the directory of the configurations.
const PLUGINS: &str = "/usr/lib/rkt/plugins/net";
/// For one CNI program. Nothing of rkt's waited at all; a program that hangs
/// would hold the pod's start for ever.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);
/// The metadata service's, whatever port it was told.
const METADATA_PORT: u16 = 18112;

/// What is known and held before the pod has a process.
#[derive(Debug)]
pub struct Prepared {
    way: Way,
    mappings: Vec<Mapping>,
    reserved: Vec<Reserved>,
}

/// How the pod's packets get out.
#[derive(Debug)]
enum Way {
    Links {
        networks: Vec<Network>,
        firewall: Firewall,
    },
    UserMode(usermode::Prepared),
}

/// Reads the configuration and takes the host's ports; nothing else is touched.
/// `None`: the pod has the host's network, or loopback alone.
pub fn prepare(args: &RunArgs, loaded: &Loaded) -> Result<Option<Prepared>> {
    let Selection::Named(wanted) = Selection::parse(&args.net)? else {
        return Ok(None);
    };
    if !cfg!(feature = "net") {
        return Err(absent());
    }
    if net::usermode::needed() {
        let way = usermode::prepare(&wanted, args.mds_token.is_some()).map_err(failed)?;
        let mappings = expose::mappings(loaded)?;
        return Ok(Some(Prepared {
            way: Way::UserMode(way),
            reserved: ports::reserve(&mappings).map_err(failed)?,
            mappings,
        }));
    }
    let mut notes = Vec::new();
    let networks = net::conf::load(
        &config_dir(args.local_config.as_deref()),
        &wanted,
        &mut |note| {
            notes.push(note);
        },
    );
    for note in &notes {
        crate::say::err(format_args!("networking: {note}"));
    }
    let mappings = expose::mappings(loaded)?;
    let networks = networks.map_err(failed)?;
    let reserved = ports::reserve(&mappings).map_err(failed)?;
    let firewall = Firewall::open().map_err(failed)?;
    Ok(Some(Prepared {
        way: Way::Links { networks, firewall },
        mappings,
        reserved,
    }))
}

pub(super) fn absent() -> Fault {
    Fault::unsupported("this build of rkt has no networks for pods")
        .hint("--net=host shares the host's network, --net=none gives loopback only")
}

/// All that goes wrong with a network is told this way, as rkt does.
pub(super) fn failed(fault: Fault) -> Fault {
    fault.message("failed to setup network")
}

fn config_dir(local: Option<&str>) -> PathBuf {
    PathBuf::from(local.unwrap_or("/etc/rkt")).join("net.d")
}

pub(super) fn dirs(local: Option<&str>) -> Dirs {
    Dirs {
        plugins: vec![config_dir(local), PLUGINS.into()],
        leases: state_dir().join("networks"),
        results: state_dir().join("results"),
    }
}

/// CNI's own place, or below `/run` on a host where that is read-only.
fn state_dir() -> &'static Path {
    let usual = Path::new(STATE);
    let mut places = usual.ancestors();
    match places.find_map(|place| rustix::fs::statvfs(place).ok()) {
        Some(fs) if fs.f_flag.contains(StatVfsMountFlags::RDONLY) => Path::new(STATE_OF_READ_ONLY),
        _ => usual,
    }
}

/// A pod's network that stands.
#[derive(Debug)]
pub enum Standing {
    Links(Links),
    /// Ends with the pod.
    UserMode,
}

/// A network of links.
#[derive(Debug)]
pub struct Links {
    firewall: Firewall,
    dir: OwnedFd,
    netns: OwnedFd,
    local_config: Option<String>,
    id: String,
    debug: bool,
    pid1: i32,
}

impl Prepared {
    /// PID 1's part, by the fork: rules, ports and programs go with the pod.
    pub fn held(self) -> Held {
        match self.way {
            Way::Links { firewall, .. } => Held::new(Some(firewall), None, self.reserved),
            Way::UserMode(way) => Held::new(None, Some(way.held()), self.reserved),
        }
    }

    /// Joins all networks and tells what PID 1 has to know. After a failure
    /// nothing of it is left.
    pub fn join(self, args: &RunArgs, dir: &OwnedFd, pid1: i32) -> Result<(Standing, Joined)> {
        // Here and below: so that nothing of it is linked.
        if !cfg!(feature = "net") {
            return Err(absent());
        }
        let netns = open_netns(&format!("/proc/{pid1}/ns/net"))?;
        let (networks, firewall) = match self.way {
            Way::Links { networks, firewall } => (networks, firewall),
            Way::UserMode(way) => {
                let joined = way.join(args, dir, &netns, !self.mappings.is_empty());
                return Ok((Standing::UserMode, joined.map_err(failed)?));
            }
        };
        let links = Links {
            firewall,
            dir: rustix::io::fcntl_dupfd_cloexec(dir, 3)
                .map_err(|err| Fault::io("open", "the pod directory", err))?,
            netns,
            local_config: args.local_config.clone(),
            id: args.uuid.as_str().to_string(),
            debug: args.debug,
            pid1,
        };
        let work = Work {
            networks: &networks,
            mappings: &self.mappings,
            args,
        };
        let (links, joined) = links.join(&work)?;
        Ok((Standing::Links(links), joined))
    }
}

impl Standing {
    /// Whether taking it down takes rights over the host's network.
    pub fn takes_rights(&self) -> bool {
        matches!(self, Standing::Links(_))
    }

    /// Undoes all of it that outlives the pod's processes.
    pub fn leave(self) -> Result<()> {
        if !cfg!(feature = "net") {
            return Err(absent());
        }
        match self {
            Standing::Links(links) => links.leave(),
            Standing::UserMode => Ok(()),
        }
    }
}

/// What there is to join.
struct Work<'a> {
    networks: &'a [Network],
    mappings: &'a [Mapping],
    args: &'a RunArgs,
}

impl Links {
    fn join(mut self, work: &Work<'_>) -> Result<(Links, Joined)> {
        match self.try_join(work) {
            Ok(joined) => Ok((self, joined)),
            Err(fault) => {
                // The first failure is the one to tell.
                let debug = self.debug;
                if let Err(left) = self.leave()
                    && debug
                {
                    crate::say::err(format_args!("networking: {left}"));
                }
                Err(failed(fault))
            }
        }
    }

    fn try_join(&mut self, work: &Work<'_>) -> Result<Joined> {
        let mut infos: Vec<NetInfo> = work.networks.iter().enumerate().map(intended).collect();
        record(&self.dir, &infos, work.networks)?;
        let path = self.mount_netns()?;
        let dirs = dirs(self.local_config.as_deref());
        let site = Site {
            id: &self.id,
            netns: Some(self.netns.as_fd()),
            netns_path: &path,
            dirs: &dirs,
            mappings: work.mappings,
            patience: PATIENCE,
            notes: RefCell::default(),
        };
        if dirs.leases.starts_with(STATE_OF_READ_ONLY) {
            site.note(format!(
                "{STATE} is read-only: addresses are noted in {STATE_OF_READ_ONLY}"
            ));
        }
        let mut attachments = Vec::with_capacity(work.networks.len());
        for (network, info) in work.networks.iter().zip(&mut infos) {
            let attachment = self.attach(&site, network, &info.if_name)?;
            complete(info, &attachment);
            attachments.push(attachment);
        }
        let target = target(work.networks, &attachments);
        self.install(&rules(work, &attachments, target))?;
        write_infos(&self.dir, &infos)?;
        Ok(Joined {
            resolv_conf: resolv_conf(work, &attachments),
            metadata_url: work.args.mds_token.as_ref().and_then(|token| {
                let gateway = gateway(&attachments[target?])?;
                Some(metadata_url(&gateway, token))
            }),
            // Whatever the kernel does not lead elsewhere reaches these sockets.
            targets: match work.mappings.is_empty() {
                true => Vec::new(),
                false => target.map_or_else(Vec::new, |target| addresses(&attachments[target])),
            },
            leases: attachments
                .iter()
                .flat_map(|attachment| attachment.added.leases.iter().cloned())
                .collect(),
        })
    }

    fn attach(&self, site: &Site<'_>, network: &Network, if_name: &str) -> Result<Attachment> {
        let attempt = || {
            let attachment = attach::add(site, network, if_name);
            tell(self.debug, site);
            attachment
        };
        match attempt() {
            // Some addresses may be of pods that are over.
            Err(fault) if fault.kind == Kind::Exhausted => {
                match reclaim(&network.name, self.local_config.as_deref(), self.debug) {
                    true => attempt(),
                    false => Err(fault),
                }
            }
            other => other,
        }
    }

    /// Where CNI programs and `ip netns` find it. A host without a place for it
    /// has pods all the same: the built-in plugins need no path.
    fn mount_netns(&self) -> Result<String> {
        // Its name is the pod's, so that it is found even if this is not written.
        match netns::mount(self.netns.as_fd(), &self.id) {
            Ok(path) => {
                load::write(&self.dir, layout::NETNS, path.as_bytes())?;
                Ok(path)
            }
            Err(fault) => {
                if self.debug {
                    crate::say::err(format_args!(
                        "networking: no file for the network namespace: {fault}"
                    ));
                }
                Ok(format!("/proc/{}/ns/net", self.pid1))
            }
        }
    }

    fn install(&mut self, rules: &Rules) -> Result<()> {
        let debug = self.debug;
        let way = self.firewall.install(&self.id, rules, &mut |note| {
            if debug {
                crate::say::err(format_args!("networking: {note}"));
            }
        });
        way.map(drop)
    }

    fn leave(mut self) -> Result<()> {
        let rules = self.firewall.remove(&self.id);
        self.firewall.close();
        let rest = leave::leave(
            &self.dir,
            Some(self.netns.as_fd()),
            &self.id,
            self.local_config.as_deref(),
            self.debug,
        );
        rules.and(rest)
    }
}

pub(super) fn tell(debug: bool, site: &Site<'_>) {
    for note in site.notes.take() {
        if debug {
            crate::say::err(format_args!("networking: {note}"));
        }
    }
}

/// As an entry of `net-info.json` before there is an address.
fn intended((index, network): (usize, &Network)) -> NetInfo {
    NetInfo {
        name: network.name.clone(),
        conf: format!("{}/{}", layout::NET, network.file),
        if_name: format!("eth{index}"),
        args: network.args.clone(),
        ..NetInfo::default()
    }
}

pub(super) fn complete(info: &mut NetInfo, attachment: &Attachment) {
    info.plugin = attachment.plugin_path.clone();
    let outcome = &attachment.added.outcome;
    if let Some(ip) = outcome.first_v4() {
        info.ip = ip.address.ip.to_string();
        info.mask = ip.address.mask().to_string();
    }
    if let Some(ip) = outcome.first_v6() {
        info.ip6 = ip.address.ip.to_string();
        info.mask6 = ip.address.mask().to_string();
    }
}

fn record(dir: &OwnedFd, infos: &[NetInfo], networks: &[Network]) -> Result<()> {
    write_infos(dir, infos)?;
    match rustix::fs::mkdirat(dir, layout::NET, Mode::from_raw_mode(0o755)) {
        Ok(()) | Err(rustix::io::Errno::EXIST) => {}
        Err(err) => return Err(Fault::io("mkdir", layout::NET, err)),
    }
    for network in networks {
        load::write(
            dir,
            &format!("{}/{}", layout::NET, network.file),
            &network.text,
        )?;
    }
    Ok(())
}

pub(super) fn write_infos(dir: &OwnedFd, infos: &[NetInfo]) -> Result<()> {
    load::write(
        dir,
        layout::NET_INFO,
        pod::netinfo::to_text(infos).as_bytes(),
    )
}

/// Ports lead to the first network that is masqueraded, else to the last one.
fn target(networks: &[Network], attachments: &[Attachment]) -> Option<usize> {
    // Keys match as the plugins read them, without case.
    let asks = |plugin: &net::Plugin| Cursor::new(&plugin.object).fields()?.flag("ipMasq");
    let masqueraded = |network: &Network| {
        let first = network.plugins.first();
        first.is_some_and(|plugin| asks(plugin).unwrap_or(false))
    };
    let last = attachments.len().checked_sub(1);
    networks.iter().position(masqueraded).or(last)
}

/// The first address of each family.
pub(super) fn addresses(attachment: &Attachment) -> Vec<std::net::IpAddr> {
    let outcome = &attachment.added.outcome;
    [outcome.first_v4(), outcome.first_v6()]
        .into_iter()
        .flatten()
        .map(|ip| ip.address.ip)
        .collect()
}

/// The pod's rules. A port of the host that is of a family which the pod has no
/// address of gets none: only a process can join the two.
fn rules(work: &Work<'_>, attachments: &[Attachment], target: Option<usize>) -> Rules {
    let mappings = work.mappings;
    let mut rules = Rules {
        masquerade: attachments
            .iter()
            .flat_map(|attachment| attachment.added.masquerade.iter().copied())
            .collect(),
        ..Rules::default()
    };
    let Some(target) =
        target.filter(|target| !mappings.is_empty() && !attachments[*target].ports_mapped)
    else {
        return rules;
    };
    rules.targets = addresses(&attachments[target]);
    for mapping in mappings {
        let host_ip = mapping.host_ip.filter(|ip| !ip.is_unspecified());
        for to in &rules.targets {
            if host_ip.is_some_and(|ip| ip.is_ipv4() != to.is_ipv4()) {
                continue;
            }
            rules.forwards.push(Forward {
                protocol: mapping.protocol,
                host_ip,
                host_port: mapping.host_port,
                to: *to,
                to_port: mapping.pod_port,
            });
        }
    }
    rules
}

/// The host's end of the network, which the pod's packets go to.
fn gateway(attachment: &Attachment) -> Option<std::net::IpAddr> {
    attachment.added.outcome.first_v4()?.gateway
}

pub fn metadata_url(host: &impl std::fmt::Display, token: &str) -> String {
    format!("http://{host}:{METADATA_PORT}/{token}")
}

/// What the first network with anything to say about DNS says.
fn resolv_conf(work: &Work<'_>, attachments: &[Attachment]) -> Option<String> {
    if work.args.resolv_conf != DnsMode::Default {
        return None;
    }
    let mut found: Option<String> = None;
    for (network, attachment) in work.networks.iter().zip(attachments) {
        let outcome: &Outcome = &attachment.added.outcome;
        if outcome.dns.is_empty() {
            continue;
        }
        if found.is_some() {
            crate::say::err(format_args!(
                "networking: Warning: network {} plugin specified DNS configuration, but DNS already supplied",
                network.name
            ));
            continue;
        }
        found = Some(expose::resolv_conf(&network.name, &outcome.dns));
    }
    found
}

fn open_netns(path: &str) -> Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    rustix::fs::open(path, flags, Mode::empty())
        .map_err(|err| Fault::io("open", "the pod's network namespace", err))
}
