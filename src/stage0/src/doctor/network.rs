//! Rows about pods' networks: which way masquerading and forwarded ports take.

use super::{Health, Row, row};
use net::firewall::{self, Facts, Way};

pub(super) fn rows() -> [Row; 2] {
    if !cfg!(feature = "net") {
        let why = "this build has no networks for pods";
        return ["port forwarding", "masquerading"]
            .map(|name| row(name, Health::Missing, "none", why));
    }
    if !rustix::process::geteuid().is_root() {
        let why = "only root can try";
        return ["port forwarding", "masquerading"]
            .map(|name| row(name, Health::Missing, "unknown", why));
    }
    let facts = firewall::probe();
    [ports(&facts), masquerading(&facts)]
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
