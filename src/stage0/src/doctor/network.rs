//! Rows about pods' networks: which way masquerading and forwarded ports take, and
//! what carries the packets of ordinary users' pods.

use super::{Health, Row, row};
use model::fault::Result;
use net::firewall::{self, Facts, Way};
use net::usermode::{self, Found};

pub(super) fn rows() -> [Row; 3] {
    if !cfg!(feature = "net") {
        let why = "this build has no networks for pods";
        return ["port forwarding", "masquerading", "user-mode network"]
            .map(|name| row(name, Health::Missing, "none", why));
    }
    let [ports, masquerading] = of_links();
    [ports, masquerading, without_links(usermode::probe())]
}

fn of_links() -> [Row; 2] {
    if !rustix::process::geteuid().is_root() || usermode::needed() {
        let why = "only root can try";
        return ["port forwarding", "masquerading"]
            .map(|name| row(name, Health::Missing, "unknown", why));
    }
    let facts = firewall::probe();
    [ports(&facts), masquerading(&facts)]
}

/// For root it says what ordinary users' pods have.
fn without_links(probed: Result<Vec<Found>>) -> Row {
    let (health, way, why) = match probed {
        Ok(found) => {
            let names = found.iter().map(|found| found.program.name());
            let names: Vec<&str> = names.collect();
            (Health::Ok, names.join(", "), String::new())
        }
        Err(fault) => (Health::Missing, "none".into(), fault.to_string()),
    };
    row("user-mode network", health, way, why)
}

fn ports(facts: &Facts) -> Row {
    let (health, way) = match facts.way {
        Way::None => (Health::Fallback, "a process of the pod, in user space"),
        _ => kernel(facts),
    };
    row("port forwarding", health, way, facts.why.as_str())
}

fn masquerading(facts: &Facts) -> Row {
    let (health, way) = match facts.way {
        Way::None => (Health::Missing, "networks with ipMasq are refused"),
        _ => kernel(facts),
    };
    row("masquerading", health, way, facts.why.as_str())
}

fn kernel(facts: &Facts) -> (Health, &'static str) {
    match (facts.way, facts.owned) {
        (Way::NfTables, true) => (Health::Ok, "nf_tables, rules that go with their pod"),
        (Way::NfTables, false) => (Health::Fallback, "nf_tables, rules that rkt removes"),
        _ => (Health::Fallback, "legacy xtables"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_for_ordinary_users_are_named_or_missed() {
        let found = [usermode::Program::Pasta, usermode::Program::Slirp4netns];
        let found = found.map(|program| Found {
            program,
            path: "/usr/bin/x".into(),
        });
        assert_eq!(without_links(Ok(found.into())).way, "pasta, slirp4netns");
        let none = without_links(Err(model::Fault::unsupported("neither is installed")));
        assert_eq!(none.status, Health::Missing);
        assert_eq!(none.why, "neither is installed");
    }

    #[test]
    fn no_way_in_the_kernel_leaves_ports_but_not_masquerading() {
        let facts = Facts {
            way: Way::None,
            owned: false,
            why: "no nf_tables, no xtables".into(),
        };
        assert_eq!(ports(&facts).status, Health::Fallback);
        assert_eq!(masquerading(&facts).status, Health::Missing);
        assert!(masquerading(&facts).why.contains("xtables"));
    }
}
