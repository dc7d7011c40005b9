//! What CNI programs print: results of every version, which are kept with the pod, told to other programs in any
//! version, and read again.

use model::json::{parse, to_compact};
use net::conf::VERSIONS;
use net::{Outcome, cni};

use super::network::told;
use super::plant::plant;

/// Most entries of one list, as `net` reads it.
const MOST: usize = 256;

pub fn result(data: &[u8]) {
    if let Err(fault) = cni::outcome(data) {
        told(&fault);
        assert!(
            fault.cause.len() < 64 << 10,
            "an error of {} bytes",
            fault.cause.len()
        );
    }
    let Ok(value) = parse(data) else {
        return;
    };
    let outcome = match Outcome::from_json(&value) {
        Ok(outcome) => outcome,
        Err(fault) => return told(&fault),
    };
    sound(&outcome);
    for version in VERSIONS {
        let text = to_compact(&outcome.to_json(version));
        let value = parse(text.as_bytes()).expect("what is written is JSON");
        let again = Outcome::from_json(&value).expect("what is written can be read");
        sound(&again);
        let newest = version == VERSIONS[VERSIONS.len() - 1];
        assert!(!newest || again == outcome, "{text} is another result");
        let twice = to_compact(&again.to_json(version));
        assert_eq!(twice, text, "it changes on its way in version {version}");
    }
    let met = outcome.interfaces.len() == 3 && outcome.ips.len() == 4;
    plant(met, "three interfaces and four addresses");
}

/// What everyone counts on who is given an outcome.
pub fn sound(outcome: &Outcome) {
    let lists = [
        outcome.interfaces.len(),
        outcome.ips.len(),
        outcome.routes.len(),
    ];
    assert!(lists.iter().all(|len| *len <= MOST), "{lists:?} entries");
    for ip in &outcome.ips {
        let width = if ip.address.is_v4() { 32 } else { 128 };
        assert!(ip.address.len <= width, "{} has no such prefix", ip.address);
        let there = |index| index < outcome.interfaces.len();
        assert!(
            ip.interface.is_none_or(there),
            "an interface that is not there"
        );
    }
    for route in &outcome.routes {
        assert!(route.dst.is_network(), "{} has host bits set", route.dst);
    }
    let dns = &outcome.dns;
    let lists = [&dns.nameservers, &dns.search, &dns.options];
    let names = outcome.interfaces.iter();
    let names = names.flat_map(|one| [&one.name, &one.mac, &one.sandbox]);
    for text in lists
        .into_iter()
        .flatten()
        .chain([&dns.domain])
        .chain(names)
    {
        assert!(!text.contains(char::is_control), "{text:?} is not one line");
    }
}
