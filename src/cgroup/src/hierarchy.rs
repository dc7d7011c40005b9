//! Where this host keeps its cgroups, and where in them we are.
//!
//! `/proc/self/cgroup` says which hierarchies exist and our place in each; one
//! statfs(2) per hierarchy that the pod needs confirms the usual mount point.
//! The mount table, thousands of lines on some hosts, is read only when one is
//! not where everybody puts it (a bind mount in a container, an odd init).

use crate::controller::{Controller, Controllers};
use crate::tree::{self, Level, Site};
use model::{Fault, fault::Result};
use std::path::{Path, PathBuf};

/// How the host mounts its cgroups.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// One cgroup2 tree with every controller.
    V2,
    /// v1 controllers, with a cgroup2 tree beside them.
    Hybrid,
    V1,
    /// Nothing is mounted.
    None,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    V1,
    V2,
}

/// One mounted hierarchy: `mount` with `own`, our cgroup in it, below.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hierarchy {
    pub version: Version,
    /// Of the controllers that we use, those bound to this hierarchy (v1), or
    /// usable at our place (v2; empty unless limits were asked for).
    pub controllers: Controllers,
    pub mount: PathBuf,
    /// Absolute within the mount: `/` or `/user.slice/…`.
    pub own: String,
}

impl Hierarchy {
    /// The directory of our own cgroup.
    pub fn place(&self) -> PathBuf {
        below(&self.mount, &self.own)
    }
}

/// We are not root of the first user namespace: only cgroups that were given
/// to us can be written, v1 cannot be delegated, and no list of devices can be
/// loaded (nor is one needed: a user namespace has no device nodes of its own).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ordinary {
    /// Our uid as the one sees it who has to give us a cgroup.
    pub uid: u32,
    /// systemd runs the host, and hands out cgroups.
    pub systemd: bool,
}

impl Ordinary {
    pub(crate) fn probe() -> Option<Ordinary> {
        let euid = rustix::process::geteuid();
        let map = sys::userns::own_uids();
        if euid.is_root() && map.is_identity() {
            return None;
        }
        let euid = euid.as_raw();
        let range = map.0.iter().find(|range| {
            euid.checked_sub(range.inside)
                .is_some_and(|offset| offset < range.count)
        });
        Some(Ordinary {
            uid: range.map_or(euid, |range| range.outside + (euid - range.inside)),
            systemd: Path::new("/run/systemd/system").exists(),
        })
    }
}

/// What planning needs to know of the host's cgroups.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    pub mode: Mode,
    pub unified: Option<Hierarchy>,
    pub v1: Vec<Hierarchy>,
    /// The v2 tree from our own cgroup up to the root; empty unless limits
    /// were asked for and the tree has a controller that enforces one, or we
    /// are ordinary.
    pub levels: Vec<Level>,
    pub ordinary: Option<Ordinary>,
}

const CGROUP_V1: u64 = 0x0027_e0eb;
const CGROUP_V2: u64 = 0x6367_7270;
const USUAL: &str = "/sys/fs/cgroup";

/// Which kind of cgroupfs, if any, a path is on.
pub(crate) fn version_of(magic: u64) -> Option<Version> {
    match magic {
        CGROUP_V1 => Some(Version::V1),
        CGROUP_V2 => Some(Version::V2),
        _ => None,
    }
}

/// The questions that looking asks; the tests answer from tables.
pub(crate) struct Host<'a> {
    pub statfs: &'a dyn Fn(&Path) -> Option<Version>,
    pub mounts: &'a dyn Fn() -> String,
}

impl Facts {
    /// Looks at this host for the hierarchies of the controllers in `needs`
    /// (those of the limits, see `Limits::needs`; devices are always wanted).
    pub fn probe(needs: Controllers) -> Result<Facts> {
        let text = match std::fs::read_to_string("/proc/self/cgroup") {
            Ok(text) => text,
            // A kernel without cgroups.
            Err(err) if err.kind() == std::io::ErrorKind::NotFound => String::new(),
            Err(err) => return Err(Fault::io("read", "/proc/self/cgroup", err)),
        };
        let host = Host {
            statfs: &|path| {
                rustix::fs::statfs(path)
                    .ok()
                    .and_then(|fs| version_of(fs.f_type as u64))
            },
            mounts: &|| std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default(),
        };
        let mut facts = Facts::look(&text, needs, &host);
        facts.ordinary = Ordinary::probe();
        let limits = needs.without(Controllers::EMPTY.with(Controller::Devices));
        let elsewhere = facts
            .v1
            .iter()
            .fold(Controllers::EMPTY, |all, tree| all.union(tree.controllers));
        let limited = !limits.without(elsewhere).is_empty();
        let ordinary = facts.ordinary.is_some();
        if let Some(unified) = &mut facts.unified
            && (ordinary || limited)
        {
            facts.levels = match tree::levels(unified, ordinary) {
                // What we may not even read was not given to us, and is not needed.
                Err(_) if !limited => Vec::new(),
                levels => levels?,
            };
            unified.controllers = facts
                .levels
                .first()
                .map_or(Controllers::EMPTY, |level| level.available);
        }
        Ok(facts)
    }

    pub(crate) fn look(text: &str, needs: Controllers, host: &Host<'_>) -> Facts {
        let needs = needs.with(Controller::Devices);
        let mut mounts: Option<Vec<MountLine>> = None;
        let mut table = |version, controllers: Option<Controllers>, own: &str| {
            let lines = mounts.get_or_insert_with(|| {
                (host.mounts)()
                    .lines()
                    .filter_map(MountLine::parse)
                    .collect()
            });
            lines
                .iter()
                .filter(|line| {
                    line.version == version && controllers.is_none_or(|all| line.controllers == all)
                })
                .find_map(|line| line.place(own))
        };

        let usual_v2 = (host.statfs)(Path::new(USUAL)) == Some(Version::V2);
        let mut unified = None;
        let mut v1 = Vec::new();
        for line in text.lines() {
            let mut parts = line.splitn(3, ':');
            let (Some(id), Some(names), Some(own)) = (parts.next(), parts.next(), parts.next())
            else {
                continue;
            };
            if id == "0" && names.is_empty() {
                let usual = if usual_v2 {
                    USUAL.to_string()
                } else {
                    format!("{USUAL}/unified")
                };
                unified = usual_place(host, Version::V2, &[usual], own)
                    .or_else(|| usual_v2.then(|| table(Version::V2, None, own)).flatten())
                    .map(|(mount, own)| Hierarchy {
                        version: Version::V2,
                        controllers: Controllers::EMPTY,
                        mount,
                        own,
                    });
                continue;
            }
            let controllers = Controllers::among(names, ',');
            if needs.iter().all(|need| !controllers.contains(need)) {
                continue;
            }
            let usual: Vec<String> = std::iter::once(names)
                .chain(names.split(','))
                .map(|name| format!("{USUAL}/{name}"))
                .collect();
            if let Some((mount, own)) = usual_place(host, Version::V1, &usual, own)
                .or_else(|| table(Version::V1, Some(controllers), own))
            {
                v1.push(Hierarchy {
                    version: Version::V1,
                    controllers,
                    mount,
                    own,
                });
            }
        }
        // The v2 tree at an odd place matters only when there is nothing else.
        if unified.is_none() && v1.is_empty() {
            let own = text.lines().find_map(|line| line.strip_prefix("0::"));
            unified = own
                .and_then(|own| table(Version::V2, None, own))
                .map(|(mount, own)| Hierarchy {
                    version: Version::V2,
                    controllers: Controllers::EMPTY,
                    mount,
                    own,
                });
        }
        let mode = match (&unified, v1.is_empty()) {
            (Some(_), true) => Mode::V2,
            (Some(_), false) => Mode::Hybrid,
            (None, false) => Mode::V1,
            (None, true) => Mode::None,
        };
        Facts {
            mode,
            unified,
            v1,
            levels: Vec::new(),
            ordinary: None,
        }
    }

    /// Where in the v2 tree a pod with limits by `controllers` would go.
    pub fn site(&self, controllers: Controllers) -> Result<Site> {
        tree::choose(&self.levels, controllers, self.ordinary)
    }

    /// The v1 hierarchy of `controller`.
    pub fn v1_of(&self, controller: Controller) -> Option<&Hierarchy> {
        self.v1
            .iter()
            .find(|tree| tree.controllers.contains(controller))
    }
}

fn below(mount: &Path, own: &str) -> PathBuf {
    match own.trim_start_matches('/') {
        "" => mount.to_path_buf(),
        rest => mount.join(rest),
    }
}

/// A path of `/proc/self/cgroup` that can be followed: one that is not outside
/// of our cgroup namespace (`/../x`) and was not removed under us.
fn followable(own: &str) -> bool {
    own.starts_with('/') && !own.ends_with(" (deleted)") && own.split('/').all(|part| part != "..")
}

/// One statfs(2) answers both: is it mounted there, is our cgroup below it.
fn usual_place(
    host: &Host<'_>,
    version: Version,
    mounts: &[String],
    own: &str,
) -> Option<(PathBuf, String)> {
    if !followable(own) {
        return None;
    }
    mounts
        .iter()
        .map(PathBuf::from)
        .find(|mount| (host.statfs)(&below(mount, own)) == Some(version))
        .map(|mount| (mount, own.to_string()))
}

/// What a line of `/proc/self/mountinfo` says of a cgroup mount.
struct MountLine {
    version: Version,
    controllers: Controllers,
    root: String,
    mount: PathBuf,
}

impl MountLine {
    fn parse(line: &str) -> Option<MountLine> {
        let (head, tail) = line.split_once(" - ")?;
        let mut head = head.split(' ').skip(3);
        let (root, mount) = (unescape(head.next()?), unescape(head.next()?));
        let mut tail = tail.split(' ');
        let version = match tail.next()? {
            "cgroup" => Version::V1,
            "cgroup2" => Version::V2,
            _ => return None,
        };
        let controllers = Controllers::among(tail.nth(1)?, ',');
        Some(MountLine {
            version,
            controllers,
            root,
            mount: PathBuf::from(mount),
        })
    }

    /// Our place below this mount: it shows the hierarchy from `root` on.
    fn place(&self, own: &str) -> Option<(PathBuf, String)> {
        // Without a cgroup namespace a container sees its cgroup as the root
        // of the mount; `/..` means the mount's root is as near as we get.
        let rest = if self.root == "/" || self.root.starts_with("/..") {
            own
        } else {
            own.strip_prefix(self.root.as_str())
                .filter(|rest| rest.is_empty() || rest.starts_with('/'))?
        };
        let rest = if rest.is_empty() || !followable(rest) {
            "/"
        } else {
            rest
        };
        Some((self.mount.clone(), rest.to_string()))
    }
}

/// mountinfo writes blanks and backslashes as three octal digits.
fn unescape(text: &str) -> String {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.as_bytes();
    while let Some((&first, rest)) = bytes.split_first() {
        let octal = rest
            .get(..3)
            .filter(|digits| digits.iter().all(|digit| (b'0'..=b'7').contains(digit)));
        match octal {
            Some(digits) if first == b'\\' => {
                out.push(digits.iter().fold(0u8, |value, digit| {
                    value.wrapping_mul(8).wrapping_add(digit - b'0')
                }));
                bytes = &rest[3..];
            }
            _ => {
                out.push(first);
                bytes = rest;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}
