//! `rkt doctor`: what this kernel and host offer, and which way each feature
//! takes here. Each row comes from a real attempt at the call, not from a
//! version number, so a filter that answers ENOSYS shows as well.

mod calls;
mod lsm;
mod network;
mod userns;

use crate::env::Env;
use rustix::io::Errno;
use std::path::Path;

pub(crate) use calls::{tell, tell_own_binary};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Health {
    /// The modern way works.
    Ok,
    /// Works, by an older way.
    Fallback,
    /// Does not work here.
    Missing,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    pub name: &'static str,
    pub status: Health,
    /// What is used here.
    pub way: String,
    /// Why it is not the modern way; empty when it is.
    pub why: String,
}

pub fn doctor(env: &Env) -> Vec<Row> {
    let tried = userns::try_it(env);
    let inside = tried.as_ref().and_then(|tried| tried.as_ref().ok());
    let mut rows = vec![kernel(), userns::privileges(&tried), data_dir(env)];
    rows.push(store(env));
    rows.push(overlay(match inside {
        Some(found) => found.no_overlay.clone(),
        None => unsupported_overlay(env),
    }));
    let own = inside.map_or_else(calls::own_binary_way, |found| found.own_binary);
    rows.extend(calls::rows());
    rows.push(calls::own_binary(own));
    rows.extend(cgroups());
    rows.push(seccomp());
    rows.extend(userns::rows(&tried));
    rows.push(lsm::labels());
    rows.extend([propagation(), groups()]);
    rows.extend(network::rows());
    rows.extend([certificates(), signatures()]);
    rows
}

fn row(name: &'static str, status: Health, way: impl Into<String>, why: impl Into<String>) -> Row {
    Row {
        name,
        status,
        way: way.into(),
        why: why.into(),
    }
}

/// A call that the kernel knows, whatever it thought of our arguments.
fn known<T>(result: &Result<T, Errno>) -> bool {
    !matches!(result, Err(Errno::NOSYS))
}

fn kernel() -> Row {
    let uname = rustix::system::uname();
    let text = |part: &std::ffi::CStr| part.to_string_lossy().into_owned();
    let way = format!("Linux {} {}", text(uname.release()), text(uname.machine()));
    row("kernel", Health::Ok, way, "")
}

fn data_dir(env: &Env) -> Row {
    let dir = env.dir.display();
    if !env.dir.exists() {
        return row(
            "data directory",
            Health::Ok,
            format!("{dir} (not made yet)"),
            "",
        );
    }
    let writable = |dir: &Path| rustix::fs::access(dir, rustix::fs::Access::WRITE_OK);
    match writable(&env.dir) {
        Ok(()) => row("data directory", Health::Ok, dir.to_string(), ""),
        Err(Errno::ROFS) if writable(&pod::layout::pods(&env.dir)).is_ok() => {
            let way = format!("{dir} is read-only; pods are written to {dir}/pods");
            row("data directory", Health::Ok, way, "")
        }
        Err(Errno::ROFS) => {
            let way = format!("{dir} is read-only, and so is {dir}/pods");
            let why = "a writable file system is to be mounted on pods";
            row("data directory", Health::Missing, way, why)
        }
        Err(e) => row("data directory", Health::Missing, dir.to_string(), text(e)),
    }
}

fn store(env: &Env) -> Row {
    match crate::fetch::open_store(env) {
        Ok(store) if store.is_read_only() => {
            let way = "read-only: pods run, images are neither fetched nor removed";
            row("store", Health::Ok, way, "")
        }
        Ok(_) => row("store", Health::Ok, "writable", ""),
        Err(fault) => row("store", Health::Missing, "", fault.cause),
    }
}

fn text(errno: Errno) -> String {
    model::fault::errno_text(&errno.into())
}

fn unsupported_overlay(env: &Env) -> Option<String> {
    // The data directory may not exist yet: its nearest parent shares the fs.
    let dir = env
        .dir
        .ancestors()
        .find(|dir| dir.exists())
        .unwrap_or(Path::new("/"));
    crate::overlay::unsupported(dir)
}

fn overlay(unsupported: Option<String>) -> Row {
    match unsupported {
        None => row("overlay", Health::Ok, "layers are stacked", ""),
        Some(why) => row(
            "overlay",
            Health::Fallback,
            "images are copied into each pod",
            why,
        ),
    }
}

fn cgroups() -> Vec<Row> {
    use cgroup::{Mode as CgroupMode, Version};
    let facts = match cgroup::Facts::probe(cgroup::Controller::ALL.into_iter().collect()) {
        Ok(facts) => facts,
        Err(fault) => return vec![row("cgroup", Health::Missing, "", fault.to_string())],
    };
    let (status, way, why) = match facts.mode {
        CgroupMode::V2 => (Health::Ok, "v2", ""),
        CgroupMode::Hybrid => (Health::Ok, "hybrid: v1 controllers, v2 beside", ""),
        CgroupMode::V1 => (Health::Fallback, "v1", "no cgroup2 tree is mounted"),
        CgroupMode::None => (
            Health::Missing,
            "",
            "no cgroup file system is mounted: no limits",
        ),
    };
    let mut rows = vec![row("cgroup", status, way, why)];
    if facts.ordinary.is_some() {
        rows.push(limits(&facts));
    }
    for tree in facts.v1.iter().chain(&facts.unified) {
        let names: Vec<&str> = tree.controllers.iter().map(|one| one.name()).collect();
        let names = if names.is_empty() {
            "no controllers of ours".into()
        } else {
            names.join(", ")
        };
        let name = if tree.version == Version::V2 {
            "cgroup v2"
        } else {
            "cgroup v1"
        };
        rows.push(row(
            name,
            Health::Ok,
            format!("{names} at {}", tree.place().display()),
            "",
        ));
    }
    if let Some(unified) = &facts.unified {
        // The root cgroup alone lacks the file; any child tells.
        let has_kill = unified.place().join("cgroup.kill").exists()
            || std::fs::read_dir(&unified.mount).is_ok_and(|entries| {
                entries
                    .flatten()
                    .any(|entry| entry.path().join("cgroup.kill").exists())
            });
        rows.push(if has_kill {
            row("cgroup.kill", Health::Ok, "a cgroup dies at one write", "")
        } else {
            row(
                "cgroup.kill",
                Health::Fallback,
                "processes are killed one by one",
                "no cgroup2 directory here has the file (Linux 5.14), or there is none but the root",
            )
        });
    }
    rows
}

/// What an ordinary user can bound a pod by: each controller may be handed down
/// or not.
fn limits(facts: &cgroup::Facts) -> Row {
    use cgroup::{Controller, Controllers};
    const NAME: &str = "limits";
    let mut names = Vec::new();
    let mut why = String::new();
    for controller in [Controller::Memory, Controller::Cpu] {
        if facts.v1_of(controller).is_some() {
            why = format!("the {controller} controller is in a v1 tree, which cannot be delegated");
            continue;
        }
        match facts.site(Controllers::EMPTY.with(controller)) {
            Ok(_) => names.push(controller.name()),
            Err(fault) => {
                let hint = fault.hint.as_deref().unwrap_or_default();
                why = format!("{fault} (hint: {hint})");
            }
        }
    }
    match names.len() {
        0 => row(NAME, Health::Missing, "pods run without", why),
        2 => row(NAME, Health::Ok, "a delegated cgroup", ""),
        _ => row(
            NAME,
            Health::Fallback,
            format!("{} alone", names.join(", ")),
            why,
        ),
    }
}

fn seccomp() -> Row {
    let actions = std::fs::read_to_string("/proc/sys/kernel/seccomp/actions_avail");
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    if let Ok(actions) = actions {
        row(
            "seccomp",
            Health::Ok,
            format!("filters ({})", actions.trim()),
            "",
        )
    } else if status.lines().any(|line| line.starts_with("Seccomp:")) {
        row("seccomp", Health::Ok, "filters", "")
    } else {
        row(
            "seccomp",
            Health::Missing,
            "",
            "kernel without CONFIG_SECCOMP",
        )
    }
}

/// Both kinds work; it says who sees which mounts.
fn propagation() -> Row {
    let info = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let root = info
        .lines()
        .rfind(|line| line.split(' ').nth(4) == Some("/"));
    let shared = root.is_some_and(|line| {
        line.split(' ')
            .skip(6)
            .take_while(|field| *field != "-")
            .any(|f| f.starts_with("shared:"))
    });
    let way = if shared { "shared" } else { "private" };
    row("propagation of /", Health::Ok, way, "")
}

fn groups() -> Row {
    match crate::group::lookup("rkt") {
        Some(gid) => row("group rkt", Health::Ok, format!("gid {gid}"), ""),
        None => row(
            "group rkt",
            Health::Fallback,
            "only root sees images and pods",
            "not in /etc/group",
        ),
    }
}

/// Whom https believes; read as a fetch would read it.
#[cfg(feature = "fetch")]
fn certificates() -> Row {
    const NAME: &str = "certificates";
    match ::fetch::http::roots_source() {
        Ok(source) => row(NAME, Health::Ok, source, ""),
        Err(fault) => row(NAME, Health::Missing, "", fault.to_string()),
    }
}

#[cfg(not(feature = "fetch"))]
fn certificates() -> Row {
    row(
        "certificates",
        Health::Fallback,
        "images come from local files",
        "built without the feature fetch",
    )
}

fn signatures() -> Row {
    const NAME: &str = "signatures";
    if cfg!(feature = "trust") {
        return row(NAME, Health::Ok, "OpenPGP and cosign are checked", "");
    }
    row(
        NAME,
        Health::Fallback,
        "images need --insecure-options=image",
        "built without the feature trust",
    )
}
