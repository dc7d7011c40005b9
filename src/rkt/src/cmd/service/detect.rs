//! Which init system a service is for: the one that was asked for, else the one
//! that runs here.

use model::fault::{Fault, Result};
use model::text::quote;
use std::path::Path;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Init {
    OpenRc,
    Runit,
    S6,
    Dinit,
    Sysvinit,
    Systemd,
}

/// Names as `--init` takes them.
pub const NAMES: &[(&str, Init)] = &[
    ("openrc", Init::OpenRc),
    ("runit", Init::Runit),
    ("s6", Init::S6),
    ("dinit", Init::Dinit),
    ("sysvinit", Init::Sysvinit),
    ("systemd", Init::Systemd),
];

/// What a running init leaves behind; the first that is there counts. The last
/// ones may be there without being in charge.
const TRACES: &[(&str, Init)] = &[
    ("/run/systemd/system", Init::Systemd),
    ("/run/openrc", Init::OpenRc),
    ("/run/s6-rc", Init::S6),
    ("/run/s6", Init::S6),
    ("/run/s6-linux-init-container-results", Init::S6),
    ("/run/service/.s6-svscan", Init::S6),
    ("/run/dinitctl", Init::Dinit),
    ("/run/runit", Init::Runit),
    ("/run/runit.stopit", Init::Runit),
    ("/etc/runit", Init::Runit),
    ("/etc/inittab", Init::Sysvinit),
];

impl Init {
    pub fn named(word: &str) -> Result<Init> {
        let found = NAMES.iter().find(|(name, _)| *name == word);
        found.map(|(_, init)| *init).ok_or_else(|| {
            Fault::usage(format!("there is no init system {}", quote(word))).hint(choices())
        })
    }

    pub fn name(self) -> &'static str {
        let own = NAMES.iter().find(|(_, init)| *init == self);
        own.map_or("", |(name, _)| name)
    }

    /// The init of this machine, and what gave it away.
    pub fn running() -> Result<(Init, &'static str)> {
        found(&|path| Path::new(path).exists()).ok_or_else(|| {
            Fault::not_found("cannot tell which init system runs here").hint(choices())
        })
    }
}

fn found(exists: &dyn Fn(&str) -> bool) -> Option<(Init, &'static str)> {
    let trace = TRACES.iter().find(|(path, _)| exists(path));
    trace.map(|(path, init)| (*init, *path))
}

fn choices() -> String {
    let names: Vec<&str> = NAMES.iter().map(|(name, _)| *name).collect();
    format!("--init= takes {}", names.join(", "))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn whoever_is_in_charge_comes_first() {
        let at = |paths: &'static [&'static str]| {
            found(&|path| paths.contains(&path)).map(|(init, _)| init)
        };
        assert_eq!(at(&["/etc/inittab", "/run/openrc"]), Some(Init::OpenRc));
        assert_eq!(
            at(&["/etc/runit", "/run/systemd/system"]),
            Some(Init::Systemd)
        );
        assert_eq!(at(&["/etc/runit"]), Some(Init::Runit));
        assert_eq!(at(&["/etc/inittab"]), Some(Init::Sysvinit));
        assert_eq!(at(&[]), None);
    }

    #[test]
    fn a_wrong_name_gets_the_choices() {
        for (name, init) in NAMES {
            assert_eq!(Init::named(name).unwrap(), *init);
            assert_eq!(init.name(), *name);
        }
        let fault = Init::named("upstart").unwrap_err();
        assert!(fault.hint.unwrap().contains("openrc, runit, s6"));
    }
}
