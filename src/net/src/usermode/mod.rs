//! A pod's network where no links can be made: `pasta` or `slirp4netns`, started
//! for an ordinary user, carries the pod's packets over sockets of that user.
//!
//! `program` finds them and decides their command lines, `names` the pod's name
//! servers, both as data. `start` forks the process that `attend`s the program,
//! and returns when packets pass.
//!
//! That process is the init of a pid namespace of its own, so the program cannot
//! outlive it, and it ends when nobody holds the other end of its leash: the pod's
//! PID 1 does. Whoever is killed, nothing stays, and nothing has to be found again.
//!
//! Ports of the host are not the program's: `ports` and `keeper` do without links.

mod attend;
mod links;
mod names;
mod program;
mod watch;

pub use program::{Found, Program, find};
pub use watch::{Request, start};

use crate::selection::Wanted;
use model::text::quote;
use model::{Fault, fault::Result};
use rustix::fs::{Mode, OFlags};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

const TUN: &str = "/dev/net/tun";
/// What is left to somebody who has no network of their own.
const OTHERS: &str = "--net=host shares the host's network, --net=none gives loopback only";

/// The pod's network, the same in every pod: none sees another.
const SUBNET_V4: &str = "172.16.28.0/24";
const POD_V4: IpAddr = IpAddr::V4(Ipv4Addr::new(172, 16, 28, 100));
const GATEWAY_V4: IpAddr = IpAddr::V4(Ipv4Addr::new(172, 16, 28, 2));
/// Queries to this address are the host's own name server's to answer.
const NAMES_V4: IpAddr = IpAddr::V4(Ipv4Addr::new(172, 16, 28, 3));

/// pasta's as well as ours.
const PASTA_POD_V6: IpAddr = IpAddr::V6(Ipv6Addr::new(0xfd72, 0x6b74, 0x1c, 0, 0, 0, 0, 0x100));
const PASTA_GATEWAY_V6: IpAddr = IpAddr::V6(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1));
const PASTA_NAMES_V6: IpAddr = IpAddr::V6(Ipv6Addr::new(0xfd72, 0x6b74, 0x1c, 0, 0, 0, 0, 3));

/// Built into slirp4netns.
const SLIRP_POD_V6: IpAddr = IpAddr::V6(Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 0x100));
const SLIRP_GATEWAY_V6: IpAddr = IpAddr::V6(Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 2));
const SLIRP_NAMES_V6: IpAddr = IpAddr::V6(Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 3));

/// Whether this process has to do without links: it is root in a user namespace
/// only, and the network it is in is not that namespace's.
pub fn needed() -> bool {
    sys::userns::confined() && !links::may_make()
}

/// Refuses what there is not without links; the programs that can be tried, in
/// this order.
pub fn check(wanted: &[Wanted], metadata: bool) -> Result<Vec<Found>> {
    for entry in wanted {
        let name = quote(&entry.name);
        if entry.name != "default" {
            return Err(Fault::refused(format!("network {name} needs root"))
                .hint(format!("ordinary users have --net=default; {OTHERS}")));
        }
        if !entry.args.is_empty() {
            return Err(
                Fault::refused(format!("arguments for network {name} need root"))
                    .hint("ordinary users have --net=default, without arguments"),
            );
        }
    }
    if metadata {
        return Err(Fault::refused(
            "the metadata service cannot be reached from an ordinary user's pod",
        )
        .hint("run without --mds-register"));
    }
    let found = find();
    if found.is_empty() {
        return Err(Fault::unsupported(
            "an ordinary user's pod needs pasta or slirp4netns for its network, and neither is installed",
        )
        .hint(format!(
            "install the package passt or the package slirp4netns; {OTHERS}"
        )));
    }
    open_tun()?;
    Ok(found)
}

/// Both programs need the device, and say little when they cannot have it.
fn open_tun() -> Result<()> {
    let flags = OFlags::RDWR | OFlags::NONBLOCK | OFlags::CLOEXEC;
    match rustix::fs::open(TUN, flags, Mode::empty()) {
        Ok(_) => Ok(()),
        Err(err) => Err(Fault::io("open", TUN, err).hint(format!(
            "the kernel needs tun, and the device everybody's access (mode 0666); {OTHERS}"
        ))),
    }
}

/// What is missing for a network without links, for `rkt doctor`; else what is used.
pub fn probe() -> Result<Vec<Found>> {
    check(&[], false)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use crate::Selection;

    fn refusal(list: &str, metadata: bool) -> String {
        let Selection::Named(wanted) = Selection::of_list(list).unwrap() else {
            unreachable!("{list}")
        };
        check(&wanted, metadata).unwrap_err().to_string()
    }

    #[test]
    fn only_the_default_network_is_everybodys() {
        assert_eq!(refusal("default,db", false), "network \"db\" needs root");
        assert_eq!(refusal("all", false), "network \"all\" needs root");
        assert_eq!(
            refusal("default-restricted", false),
            "network \"default-restricted\" needs root"
        );
        assert_eq!(
            refusal("default:IP=172.16.28.9", false),
            "arguments for network \"default\" need root"
        );
        assert!(refusal("default", true).starts_with("the metadata service"));
    }

    #[test]
    fn addresses_lie_in_their_network() {
        let subnet = crate::Cidr::parse(SUBNET_V4).unwrap();
        for ip in [POD_V4, GATEWAY_V4, NAMES_V4] {
            assert_eq!(crate::Cidr::new(ip, subnet.len).unwrap().network(), subnet);
        }
    }
}
