//! What an ordinary user's namespace would be like: a child enters one, looks
//! around and reports, since there is no way back out of it.

use super::maps::Plan;
use model::{Fault, fault::Result};
use rustix::pipe::{PipeFlags, pipe_with};
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::path::Path;
use sys::clone::{Forked, Namespaces, fork_into};
use sys::exe::Way;
use sys::mount::{self, Flags};
use sys::process;
use sys::userns::{IdMap, own_gids, own_uids};

/// What the child found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Found {
    pub uids: IdMap,
    pub gids: IdMap,
    /// Why the user's own id is the only one.
    pub one_id: Option<String>,
    /// Why there are no overlays; only looked at with a directory.
    pub no_overlay: Option<String>,
    pub own_binary: Option<Way>,
}

/// `dir`, if given, is the data directory or what exists of it. The error says
/// why no namespace could be had.
pub(crate) fn probe(dir: Option<&Path>) -> Result<Found> {
    let failed = |err: std::io::Error| Fault::io("cannot fork", "to try user namespaces", err);
    let (words, say) = pipe_with(PipeFlags::CLOEXEC).map_err(|err| failed(err.into()))?;
    match fork_into(Namespaces::NONE, None).map_err(failed)? {
        Forked::Child => {
            drop(words);
            let report = match super::enter_unchecked() {
                Ok(plan) => look(&plan, dir),
                Err(fault) => format!(
                    "fault {fault}\nhint {}\n",
                    fault.hint.as_deref().unwrap_or("")
                ),
            };
            let _ = std::fs::File::from(say).write_all(report.as_bytes());
            process::exit_now(0)
        }
        Forked::Parent(pid) => {
            drop(say);
            let report = read(words);
            process::wait(pid).map_err(failed)?;
            understand(&report)
        }
    }
}

fn look(plan: &Plan, dir: Option<&Path>) -> String {
    let mut report = String::new();
    for (key, map) in [("uids", own_uids()), ("gids", own_gids())] {
        for line in map.text().lines() {
            report += &format!("{key} {line}\n");
        }
    }
    if let Plan::OneId { why } = plan {
        report += &format!("one-id {why}\n");
    }
    report += match sys::exe::protected() {
        Ok((_, Way::DetachedBind)) => "binary bind\n",
        Ok((_, Way::SealedCopy)) => "binary copy\n",
        Ok((_, Way::ClassicBind)) => "binary classic\n",
        Err(_) => "",
    };
    // The last: it hides what else is in there.
    let refused = dir.and_then(|dir| crate::overlay::unsupported(dir).or_else(overlay));
    if let Some(why) = refused {
        report += &format!("no-overlay {why}\n");
    }
    report + "end \n"
}

/// An overlay as pods have it, in a mount namespace that ends with this process.
fn overlay() -> Option<String> {
    let tried = || -> std::io::Result<()> {
        mount::mount("tmpfs", "/tmp", "tmpfs", Flags::NONE, "")?;
        for name in ["lower", "upper", "work", "merged"] {
            std::fs::create_dir(format!("/tmp/{name}"))?;
        }
        let data = "userxattr,lowerdir=/tmp/lower,upperdir=/tmp/upper,workdir=/tmp/work";
        mount::mount("overlay", "/tmp/merged", "overlay", Flags::NONE, data)
    };
    let text = model::fault::errno_text(&tried().err()?);
    Some(format!(
        "the kernel lets no user namespace mount one ({text}); needs Linux 5.11"
    ))
}

fn read(words: OwnedFd) -> String {
    let mut report = String::new();
    let _ = std::fs::File::from(words)
        .take(64 << 10)
        .read_to_string(&mut report);
    report
}

fn understand(report: &str) -> Result<Found> {
    let all = |key: &str| -> Vec<&str> {
        let lines = report.lines().filter_map(|line| line.split_once(' '));
        lines
            .filter(|(word, _)| *word == key)
            .map(|(_, rest)| rest)
            .collect()
    };
    let one = |key: &str| all(key).first().map(|text| text.to_string());
    if let Some(text) = one("fault") {
        return Err(Fault::unsupported(text).hint(one("hint").unwrap_or_default()));
    }
    if one("end").is_none() {
        return Err(Fault::unsupported("a user namespace could not be tried"));
    }
    Ok(Found {
        uids: IdMap::parse(&all("uids").join("\n")),
        gids: IdMap::parse(&all("gids").join("\n")),
        one_id: one("one-id"),
        no_overlay: one("no-overlay"),
        own_binary: one("binary").map(|word| match word.as_str() {
            "bind" => Way::DetachedBind,
            "classic" => Way::ClassicBind,
            _ => Way::SealedCopy,
        }),
    })
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn reports_are_understood() {
        let report =
            "uids 0 5151 1\nuids 1 100000 65536\ngids 0 5151 1\none-id no range for joe\nend \n";
        let found = understand(report).unwrap();
        assert_eq!((found.uids.len(), found.gids.len()), (65537, 1));
        assert_eq!(found.one_id.as_deref(), Some("no range for joe"));
        assert_eq!(found.no_overlay, None);
        let fault = understand("fault not allowed: why\nhint do that\n").unwrap_err();
        assert_eq!(
            (fault.cause.as_str(), fault.hint.as_deref()),
            ("not allowed: why", Some("do that"))
        );
        assert!(understand("").is_err());
    }
}
