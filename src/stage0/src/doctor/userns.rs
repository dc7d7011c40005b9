//! Rows about privileges: whether there are user namespaces, which ids an
//! ordinary user gets in one, and who writes their map. For an ordinary user all
//! of it is tried, in a child.

use super::{Health, Row, row};
use crate::env::Env;
use crate::rootless::{self, Found};
use model::Fault;
use model::fault::Result;
use std::path::Path;
use sys::userns::IdMap;

/// What an ordinary user's namespace turned out to be; `None` for root.
pub(super) type Tried = Option<Result<Found>>;

pub(super) fn try_it(env: &Env) -> Tried {
    if rustix::process::geteuid().is_root() {
        return None;
    }
    // The data directory may not exist yet: its nearest parent shares the fs.
    let dir = env.dir.ancestors().find(|dir| dir.exists());
    Some(rootless::probe(dir))
}

pub(super) fn privileges(tried: &Tried) -> Row {
    const NAME: &str = "privileges";
    let missing = || {
        row(
            NAME,
            Health::Missing,
            "images can be read",
            "pods need root",
        )
    };
    match tried {
        None => row(NAME, Health::Ok, "root", ""),
        Some(Ok(_)) => row(NAME, Health::Ok, "pods run as this user", ""),
        Some(Err(_)) => missing(),
    }
}

pub(super) fn rows(tried: &Tried) -> Vec<Row> {
    const NAME: &str = "user namespaces";
    match tried {
        None => vec![of_root(NAME)],
        Some(Err(fault)) => vec![row(NAME, Health::Missing, "none", reason(fault))],
        Some(Ok(found)) => {
            let [program, maps] = of_user(found, rootless::mapping_program());
            let allowed = row(NAME, Health::Ok, "allowed to this user", "");
            vec![allowed, program, maps]
        }
    }
}

fn reason(fault: &Fault) -> String {
    match &fault.hint {
        Some(hint) => format!("{fault}; {hint}"),
        None => fault.to_string(),
    }
}

fn of_root(name: &'static str) -> Row {
    let none = |why| row(name, Health::Missing, "none", why);
    if !Path::new("/proc/self/uid_map").exists() {
        return none("kernel compiled without user namespace support");
    }
    let most = std::fs::read_to_string("/proc/sys/user/max_user_namespaces").unwrap_or_default();
    if most.trim() == "0" {
        return none("user.max_user_namespaces is 0");
    }
    row(name, Health::Ok, "available", "")
}

fn of_user(found: &Found, program: Option<String>) -> [Row; 2] {
    let program = match program {
        Some(path) => row("newuidmap", Health::Ok, path, ""),
        None => row(
            "newuidmap",
            Health::Fallback,
            "only the user's own id is mapped",
            "not installed (package uidmap)",
        ),
    };
    let shown = format!("uids {}; gids {}", text(&found.uids), text(&found.gids));
    let maps = match &found.one_id {
        None => row("id maps", Health::Ok, shown, ""),
        Some(why) => row(
            "id maps",
            Health::Fallback,
            shown,
            format!(
                "apps can only run as root of the pod: {why}; install uidmap and add ranges to \
                 /etc/subuid and /etc/subgid"
            ),
        ),
    };
    [program, maps]
}

/// `0=5151, 1-65536=100000-165535`: in the pod, on the host.
fn text(map: &IdMap) -> String {
    let span = |first: u32, count: u32| match count {
        1 => first.to_string(),
        _ => format!("{first}-{}", u64::from(first) + u64::from(count) - 1),
    };
    let ranges = map.0.iter().map(|range| {
        let inside = span(range.inside, range.count);
        format!("{inside}={}", span(range.outside, range.count))
    });
    ranges.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_id_is_a_fallback_that_says_what_to_do() {
        let found = Found {
            uids: IdMap::parse("0 5151 1\n1 100000 65536\n"),
            gids: IdMap::parse("0 5151 1\n"),
            one_id: Some("/etc/subgid has no range for joe".into()),
            ..Found::default()
        };
        let [program, maps] = of_user(&found, None);
        assert_eq!(program.status, Health::Fallback);
        assert_eq!(maps.status, Health::Fallback);
        assert_eq!(maps.way, "uids 0=5151, 1-65536=100000-165535; gids 0=5151");
        assert!(maps.why.contains("subgid has no range"), "{}", maps.why);
        let refused = Some(Err(Fault::unsupported("no").hint("do that")));
        assert_eq!(privileges(&refused).status, Health::Missing);
        assert_eq!(rows(&refused)[0].why, "no; do that");
    }
}
