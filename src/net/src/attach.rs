//! Joining a network namespace to one network, and leaving it.
//!
//! A network's plugins run in order; each sees what the ones before it gave.
//! A plugin is a CNI program where one of that name lies in one of the
//! directories for it, else the built-in of that name.

#[cfg(test)]
mod tests;

use crate::cni::{self, Told, cache};
use crate::{Masquerade, Network, Outcome, Plugin, builtin, conf, ports::Mapping};
use model::text::quote;
use model::{Context, Fault, Kind, Value, fault::Result};
use rustix::io::Errno;
use std::os::fd::BorrowedFd;
use std::path::PathBuf;
use std::time::Duration;

/// How often whoever waits looks for what interrupts.
pub(crate) const LOOK: Duration = Duration::from_millis(100);

/// Whether a signal that ends the pod waits: the caller holds it back meanwhile
/// and takes it up afterwards. What undoes something goes on all the same.
pub(crate) fn interrupted() -> bool {
    use sys::signal::{HUP, INT, QUIT, TERM, is_pending};
    is_pending(&[TERM, INT, HUP, QUIT])
}

/// Where the host keeps what networks need.
#[derive(Clone, Debug)]
pub struct Dirs {
    /// Searched for CNI programs, in this order; also `CNI_PATH`.
    pub plugins: Vec<PathBuf>,
    /// `/var/lib/cni/networks`: a directory per network, a file per address.
    pub leases: PathBuf,
    /// `/var/lib/cni/results`: what CNI programs answered.
    pub results: PathBuf,
}

/// One network namespace to be attached, and what surrounds it.
#[derive(Debug)]
pub struct Site<'a> {
    /// `CNI_CONTAINERID`: the pod's UUID.
    pub id: &'a str,
    /// None when it is gone: taking down works without.
    pub netns: Option<BorrowedFd<'a>>,
    /// Where it is mounted; empty when it is gone.
    pub netns_path: &'a str,
    pub dirs: &'a Dirs,
    /// `portMappings` for plugins that have this capability.
    pub mappings: &'a [Mapping],
    /// For a CNI program to answer.
    pub patience: Duration,
    /// Which slower or weaker way was taken, and notices; see [`Site::note`].
    pub notes: std::cell::RefCell<Vec<String>>,
}

impl Site<'_> {
    /// A line for `--debug`.
    pub fn note(&self, text: impl Into<String>) {
        self.notes.borrow_mut().push(text.into());
    }
}

/// One plugin's part in an attachment.
#[derive(Clone, Copy, Debug)]
pub struct Call<'a> {
    pub site: &'a Site<'a>,
    pub network: &'a Network,
    pub plugin: &'a Plugin,
    /// `eth0`
    pub if_name: &'a str,
    /// Of the plugins before; when leaving, the recorded outcome of all.
    pub previous: Option<&'a Outcome>,
}

/// What one plugin did.
#[derive(Clone, Debug, Default)]
pub struct Added {
    /// Of this plugin and the ones before it.
    pub outcome: Outcome,
    /// Left to the pod's rules.
    pub masquerade: Vec<Masquerade>,
    /// The host's interface that packets from the pod come in by, if this
    /// plugin made it.
    pub host_end: Option<String>,
    /// To be renewed while the pod lives.
    pub leases: Vec<crate::ipam::dhcp::Lease>,
}

/// An attachment as it stands.
#[derive(Clone, Debug)]
pub struct Attachment {
    /// Of the first plugin: its path, or `stage1/rootfs/usr/lib/rkt/plugins/net/ptp`.
    pub plugin_path: String,
    pub added: Added,
    /// A plugin of this network was given the port mappings.
    pub ports_mapped: bool,
}

/// Who does a plugin's work.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Way {
    Program(PathBuf),
    BuiltIn,
}

/// What a network's plugins have given so far.
#[derive(Debug, Default)]
struct Given {
    outcome: Option<Outcome>,
    /// The same as CNI programs are told it.
    result: Option<Value>,
}

/// What leaving goes by.
struct Record<'a> {
    given: &'a Given,
    capabilities: &'a Value,
    /// Whether it is known who joined: the same programs that are there now.
    sure: bool,
}

/// Joins the network. After a failure everything is undone.
pub fn add(site: &Site<'_>, network: &Network, if_name: &str) -> Result<Attachment> {
    join(site, network, if_name)
        .map_err(|fault| about(network, fault))
        .link(|| format!("error adding network {}", quote(&network.name)))
}

/// Names the configuration, where the failure does not.
fn about(network: &Network, mut fault: Fault) -> Fault {
    let origin = &network.origin;
    if !fault.cause.contains(origin.as_str()) {
        let hint = fault
            .hint
            .take()
            .map_or_else(String::new, |hint| format!("{hint}; "));
        fault.hint = Some(format!("{hint}the network is configured in {origin}"));
    }
    fault
}

fn join(site: &Site<'_>, network: &Network, if_name: &str) -> Result<Attachment> {
    check_names(site, network, if_name)?;
    if site.netns_path.is_empty() {
        return Err(Fault::not_found("the pod has no network namespace"));
    }
    let ways = ways(site, network)?;
    let capabilities = cni::request::capability_args(site.mappings);
    let external = ways.iter().any(|way| *way != Way::BuiltIn);
    let save = |given: &Given| match external {
        true => cache::save(site, network, if_name, &capabilities, given.result.as_ref()),
        false => Ok(()),
    };
    let mut given = Given::default();
    // Before the first program runs: whoever cleans up after a killed start
    // needs the arguments.
    save(&given)?;
    let mut all = Added::default();
    for (plugin, way) in network.plugins.iter().zip(&ways) {
        let call = Call {
            site,
            network,
            plugin,
            if_name,
            previous: given.outcome.as_ref(),
        };
        let step = run(&call, way, given.result.as_ref(), &capabilities);
        let step = step.and_then(|(added, result)| {
            given = Given {
                outcome: Some(added.outcome.clone()),
                result: external.then(|| match result {
                    Some(result) => result,
                    None => added.outcome.to_json(&network.version),
                }),
            };
            save(&given)?;
            Ok(added)
        });
        match step {
            Ok(added) => merge(&mut all, added),
            Err(fault) => {
                let record = Record {
                    given: &given,
                    capabilities: &capabilities,
                    sure: true,
                };
                let undone = leave(site, network, if_name, &record);
                cni::note_failed(site, "undo what was joined", undone);
                return Err(fault);
            }
        }
    }
    let first = network.plugins.iter().zip(&ways).next();
    Ok(Attachment {
        plugin_path: first
            .map(|(plugin, way)| way.path(plugin))
            .unwrap_or_default(),
        added: all,
        ports_mapped: takes_ports(network, &ways, &capabilities),
    })
}

/// One plugin; of a program the result as it wrote it, too.
fn run(
    call: &Call<'_>,
    way: &Way,
    previous: Option<&Value>,
    capabilities: &Value,
) -> Result<(Added, Option<Value>)> {
    let Way::Program(path) = way else {
        return Ok((builtin::add(call)?, None));
    };
    let told = Told {
        previous,
        capabilities,
    };
    let (outcome, result) = cni::add(call, path, &told)?;
    let host_end = outcome
        .interfaces
        .iter()
        .find(|interface| interface.sandbox.is_empty() && cni::is_interface(&interface.name))
        .filter(|_| call.previous.is_none())
        .map(|interface| interface.name.clone());
    let added = Added {
        outcome,
        host_end,
        ..Added::default()
    };
    Ok((added, Some(result)))
}

fn merge(all: &mut Added, next: Added) {
    all.outcome = next.outcome;
    all.masquerade.extend(next.masquerade);
    all.leases.extend(next.leases);
    all.host_end = all.host_end.take().or(next.host_end);
}

/// Whether a program that maps ports was given them.
fn takes_ports(network: &Network, ways: &[Way], capabilities: &Value) -> bool {
    network.plugins.iter().zip(ways).any(|(plugin, way)| {
        let config = cni::request::runtime_config(&plugin.object, capabilities);
        *way != Way::BuiltIn && config.is_some_and(|config| config.get("portMappings").is_some())
    })
}

/// Leaves it: all plugins in reverse order, all of them whatever fails; the
/// first failure is returned. What is gone already is no failure.
pub fn del(site: &Site<'_>, network: &Network, if_name: &str) -> Result<()> {
    check_names(site, network, if_name)
        .and_then(|()| part(site, network, if_name))
        .link(|| format!("error deleting {}", quote(&network.name)))
}

/// Leaves by what was recorded when joining, where that is more than is known now.
fn part(site: &Site<'_>, network: &Network, if_name: &str) -> Result<()> {
    let entry = cache::load(site, network, if_name);
    let sure = entry.is_some();
    let entry = entry.unwrap_or_default();
    let mut network = network.clone();
    if sure && entry.config != network.text {
        match conf::parse(&network.file, &network.origin, &entry.config) {
            Ok(then) if then.name == network.name => network = then,
            Ok(_) => site.note("ignoring a cached configuration of another network"),
            Err(fault) => site.note(format!("ignoring a cached configuration: {fault}")),
        }
    }
    if sure {
        network.args = entry.args;
    }
    let outcome = entry.result.as_ref().map(Outcome::from_json).transpose();
    let given = match outcome {
        Ok(outcome) => Given {
            outcome,
            result: entry.result,
        },
        Err(fault) => {
            site.note(format!("ignoring a cached result: {fault}"));
            Given::default()
        }
    };
    let capabilities = match sure {
        true => entry.capabilities,
        false => cni::request::capability_args(site.mappings),
    };
    let record = Record {
        given: &given,
        capabilities: &capabilities,
        sure,
    };
    leave(site, &network, if_name, &record)
}

fn leave(site: &Site<'_>, network: &Network, if_name: &str, record: &Record<'_>) -> Result<()> {
    let mut first = Ok(());
    for plugin in network.plugins.iter().rev() {
        let call = Call {
            site,
            network,
            plugin,
            if_name,
            previous: record.given.outcome.as_ref(),
        };
        first = first.and(undo(&call, record));
    }
    // As long as something is left, it is known how to undo it.
    first.and_then(|()| cache::remove(site, network, if_name))
}

const NOEXEC: i32 = Errno::NOEXEC.raw_os_error();
const ACCES: i32 = Errno::ACCESS.raw_os_error();
const NOENT: i32 = Errno::NOENT.raw_os_error();

fn undo(call: &Call<'_>, record: &Record<'_>) -> Result<()> {
    let kind = call.plugin.kind.as_str();
    let path = match Way::of(call.site, kind) {
        Ok(Way::Program(path)) => path,
        Ok(Way::BuiltIn) => {
            return match builtin::del(call) {
                // It was not joined with a configuration that cannot be read.
                Err(fault) if fault.kind == Kind::Invalid => nothing_to_undo(call, &fault),
                other => other,
            };
        }
        // What is recorded is recorded before a first program runs.
        Err(fault) if !record.sure => return nothing_to_undo(call, &fault),
        Err(fault) => return Err(fault),
    };
    let result = record.given.result.as_ref();
    let told = Told {
        previous: result.filter(|_| cni::request::tells_del(call)),
        capabilities: record.capabilities,
    };
    let done = cni::del(call, &path, &told);
    // One that cannot even be started has never given a result.
    let done = match done {
        Err(fault) if result.is_none() && matches!(fault.errno(), Some(NOEXEC | ACCES | NOENT)) => {
            nothing_to_undo(call, &fault)
        }
        other => other,
    };
    // The program may have come after a built-in plugin joined.
    if !record.sure && builtin::has(kind) {
        return done.and(builtin::del(call));
    }
    done
}

fn nothing_to_undo(call: &Call<'_>, fault: &Fault) -> Result<()> {
    call.site.note(format!("nothing to undo: {fault}"));
    Ok(())
}

/// Who does what; a plugin that nobody can do is found before anything is done.
fn ways(site: &Site<'_>, network: &Network) -> Result<Vec<Way>> {
    if network.plugins.is_empty() {
        let origin = &network.origin;
        return Err(Fault::invalid(format!(
            "{origin}: plugins: no plugin at all"
        )));
    }
    let mut ways = Vec::with_capacity(network.plugins.len());
    for (index, plugin) in network.plugins.iter().enumerate() {
        let kind = plugin.kind.as_str();
        let way = Way::of(site, kind)?;
        if index > 0 && way == Way::BuiltIn && kind != "loopback" {
            return Err(Fault::invalid(format!(
                "{}: plugins[{index}]: {} makes an interface, it can only be the first plugin",
                network.origin,
                quote(kind)
            )));
        }
        ways.push(way);
    }
    Ok(ways)
}

impl Way {
    fn of(site: &Site<'_>, kind: &str) -> Result<Way> {
        match cni::find(site.dirs, kind) {
            Some(path) => Ok(Way::Program(path)),
            None if builtin::has(kind) => Ok(Way::BuiltIn),
            None => Err(cni::missing(site.dirs, kind)),
        }
    }

    fn path(&self, plugin: &Plugin) -> String {
        match self {
            Way::Program(path) => path.display().to_string(),
            Way::BuiltIn => format!("stage1/rootfs/usr/lib/rkt/plugins/net/{}", plugin.kind),
        }
    }
}

/// All of them become parts of file names.
fn check_names(site: &Site<'_>, network: &Network, if_name: &str) -> Result<()> {
    cni::check_identifier("network name", &network.name)?;
    cni::check_identifier("container ID", site.id)?;
    cni::check_interface(if_name)
}
