//! Network configurations: `*.conf` and `*.conflist` of a directory, and the
//! two networks that are built in.
//!
//! A `.conf` describes one plugin, a `.conflist` several that are chained. All
//! files are read, also those of networks that nobody wants: a broken one is an
//! error that names file and field. Files' base names give the order.
//!
//! The built-in networks have addresses of both families, `default` masquerades
//! both and leads everywhere. `"ipv6": false` beside a network's name switches
//! the IPv6 ranges and routes of its built-in host-local off. The built-in files
//! themselves are changed by a file that defines a network of the same name:
//! it replaces them, so what it does not say is not there.

mod decode;
mod files;
#[cfg(test)]
pub(crate) mod tests;

use crate::selection::Wanted;
use model::Value;
use model::text::quote;
use model::{Fault, fault::Result};
use std::path::Path;

pub(crate) use files::read_regular;

/// One network, as its file describes it.
#[derive(Clone, Debug)]
pub struct Network {
    pub name: String,
    /// Base name of the file: `99-default.conf`.
    pub file: String,
    /// For messages: the file's path, or `built-in 99-default.conf`.
    pub origin: String,
    /// The file's bytes as they are: the copy that taking down goes by. Of a
    /// list to which plugins from a directory were added, the list with them.
    pub text: Vec<u8>,
    /// `cniVersion` that is spoken with its plugins: the greatest that both know.
    pub version: String,
    /// One of a `.conf`; all of a `.conflist`, in order.
    pub plugins: Vec<Plugin>,
    /// `IP=10.1.0.7;K=V` of `--net=name:ARGS`, or empty.
    pub args: String,
}

/// One plugin of a network.
#[derive(Clone, Debug)]
pub struct Plugin {
    /// `type`: a file name without any `/`.
    pub kind: String,
    /// The whole object, with keys that are unknown here.
    pub object: Value,
}

/// The versions of CNI that are known, oldest first.
pub const VERSIONS: [&str; 7] = [
    "0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0",
];

/// Base name and text. A single plugin has no later `cniVersion` than 0.4.0, and
/// results of both families none earlier than 0.3.0.
const BUILT_IN: [(&str, &str); 2] = [
    (
        "99-default-restricted.conf",
        r#"{
	"cniVersion": "0.4.0",
	"name": "default-restricted",
	"type": "ptp",
	"ipMasq": false,
	"ipam": {
		"type": "host-local",
		"ranges": [
			[{"subnet": "172.31.0.0/16"}],
			[{"subnet": "fd72:6b74:1f::/64"}]
		]
	}
}
"#,
    ),
    (
        "99-default.conf",
        r#"{
	"cniVersion": "0.4.0",
	"name": "default",
	"type": "ptp",
	"ipMasq": true,
	"ipam": {
		"type": "host-local",
		"ranges": [
			[{"subnet": "172.16.28.0/24"}],
			[{"subnet": "fd72:6b74:1c::/64"}]
		],
		"routes": [{"dst": "0.0.0.0/0"}, {"dst": "::/0"}]
	}
}
"#,
    ),
];

/// The wanted networks in the order of their files' names: index i is `eth<i>`.
/// `dir` need not exist. Notices (`overriding "default" network with one from
/// DIR`, …) go to `notes`.
pub fn load(dir: &Path, wanted: &[Wanted], notes: &mut dyn FnMut(String)) -> Result<Vec<Network>> {
    let mut networks = Vec::new();
    for (file, text) in BUILT_IN {
        networks.push(parse(file, &format!("built-in {file}"), text.as_bytes())?);
    }
    networks.retain(|network| is_wanted(wanted, &network.name));
    let built_in = networks.len();
    for network in files::read_dir(dir)? {
        if !is_wanted(wanted, &network.name) {
            continue;
        }
        let same = |other: &Network| other.name == network.name;
        let name = quote(&network.name);
        if networks[built_in..].iter().any(same) {
            let file = &network.origin;
            notes(format!("{name} network already defined, ignoring {file}"));
            continue;
        }
        if networks[..built_in].iter().any(same) {
            let dir = dir.display();
            notes(format!("overriding {name} network with one from {dir}"));
        }
        networks.push(network);
    }
    // Of two with one name the later is the directory's.
    let mut chosen: Vec<Network> = Vec::with_capacity(networks.len());
    for network in networks {
        match chosen.iter_mut().find(|other| other.name == network.name) {
            Some(built_in) => *built_in = network,
            None => chosen.push(network),
        }
    }
    chosen.sort_by(|a, b| a.file.cmp(&b.file));
    check_all_found(wanted, &chosen, dir)?;
    check_file_names(&chosen)?;
    for network in &mut chosen {
        let entry = wanted.iter().find(|entry| entry.name == network.name);
        network.args = entry.map_or_else(String::new, |entry| entry.args.clone());
    }
    Ok(chosen)
}

fn is_wanted(wanted: &[Wanted], name: &str) -> bool {
    wanted
        .iter()
        .any(|entry| entry.name == "all" || entry.name == name)
}

fn check_all_found(wanted: &[Wanted], found: &[Network], dir: &Path) -> Result<()> {
    let is_there = |name: &str| name == "all" || found.iter().any(|network| network.name == name);
    let missing: Vec<&str> = wanted
        .iter()
        .map(|entry| entry.name.as_str())
        .filter(|name| !is_there(name))
        .collect();
    match missing[..] {
        [] => Ok(()),
        _ => Err(
            Fault::not_found(format!("networks not found: {}", missing.join(", "))).hint(format!(
                "a network is described by a .conf or .conflist file in {}",
                dir.display()
            )),
        ),
    }
}

/// The pod keeps copies under these names. Only a file of the directory and a
/// built-in one can have the same, and only for networks of different names.
fn check_file_names(sorted: &[Network]) -> Result<()> {
    match sorted.windows(2).find(|pair| pair[0].file == pair[1].file) {
        None => Ok(()),
        Some(pair) => Err(Fault::conflict(format!(
            "the networks {} and {} are both wanted, and both described by a file {}",
            quote(&pair[0].name),
            quote(&pair[1].name),
            quote(&pair[0].file)
        ))
        .hint("one of the files is built in: rename the other")),
    }
}

/// One file, as it was copied when the network was joined. Whether it is a list
/// goes by the end of the name `file`.
pub fn parse(file: &str, origin: &str, text: &[u8]) -> Result<Network> {
    decode::network(file, origin, text, &mut |_| Ok(Vec::new()))
        .map_err(|fault| loading(origin, fault))
}

/// `error loading F: …`: what is shown even if the links are not.
fn loading(origin: &str, fault: Fault) -> Fault {
    Fault {
        cause: format!("error loading {origin}: {}", fault.cause),
        ..fault
    }
}
