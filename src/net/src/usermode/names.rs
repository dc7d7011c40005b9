//! The pod's name servers, from the host's `resolv.conf`.
//!
//! Those that the pod can reach as well stay as they are. One on the host's
//! loopback, as systemd-resolved or dnsmasq have it, is out of the pod's reach;
//! the program's own address stands for it. The programs pass queries on to the
//! host's first server of each family, so only that one can be meant. Search list
//! and options are the host's.

use super::program::Families;
use crate::Dns;
use std::net::IpAddr;

/// What the C library reads of them.
const MOST_SERVERS: usize = 3;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Names {
    pub(super) dns: Dns,
    /// The program's own that are among them, at most one of each family.
    pub(super) forward: Vec<IpAddr>,
}

/// `own`: the program's addresses for IPv4 and IPv6.
pub(super) fn plan(resolv_conf: &str, families: Families, own: [IpAddr; 2]) -> Names {
    let mut names = Names::default();
    let mut first = [true; 2];
    let mut domain = None;
    for line in resolv_conf.lines() {
        let mut words = line.split_whitespace();
        match words.next() {
            Some("nameserver") => {
                let server = words.next().and_then(|word| word.parse().ok());
                if let Some(server) = server {
                    let at = usize::from(IpAddr::is_ipv6(&server));
                    let own = std::mem::take(&mut first[at]).then_some(own[at]);
                    names.take(server, families, own);
                }
            }
            Some("search") => names.dns.search = plain(words),
            Some("domain") => domain = plain(words).into_iter().next(),
            Some("options") => names.dns.options.extend(plain(words)),
            _ => {}
        }
    }
    if names.dns.nameservers.is_empty() {
        return Names::default();
    }
    if names.dns.search.is_empty() {
        names.dns.search.extend(domain);
    }
    names
}

impl Names {
    fn take(&mut self, server: IpAddr, families: Families, own: Option<IpAddr>) {
        // Unspecified means this host, for the C library too.
        let stub = server.is_loopback() || server.is_unspecified();
        let reachable = match server {
            IpAddr::V4(_) => families.v4,
            // A link-local one means nothing in the pod.
            IpAddr::V6(ip) => families.v6 && !ip.is_unicast_link_local(),
        };
        let server = if stub { own } else { Some(server) };
        let Some(server) = server.filter(|_| reachable) else {
            return;
        };
        let text = server.to_string();
        let servers = &mut self.dns.nameservers;
        if servers.len() < MOST_SERVERS && !servers.contains(&text) {
            servers.push(text);
            self.forward.extend(stub.then_some(server));
        }
    }
}

/// Printable words, as many as the C library reads.
fn plain<'a>(words: impl Iterator<Item = &'a str>) -> Vec<String> {
    words
        .take_while(|word| !word.starts_with(['#', ';']))
        .filter(|word| word.len() <= 255 && word.bytes().all(|byte| byte.is_ascii_graphic()))
        .take(6)
        .map(str::to_string)
        .collect()
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    const BOTH: Families = Families { v4: true, v6: true };
    const V4: Families = Families {
        v4: true,
        v6: false,
    };

    fn planned(text: &str, families: Families) -> Names {
        let own = ["172.16.28.3", "fd00::3"].map(|ip| ip.parse().unwrap());
        plan(text, families, own)
    }

    #[test]
    fn a_stub_on_the_loopback_is_asked_through_the_program() {
        let text =
            "# stub\nnameserver 127.0.0.53\noptions edns0 trust-ad\nsearch lan corp.example\n";
        let names = planned(text, BOTH);
        assert_eq!(names.forward, ["172.16.28.3".parse::<IpAddr>().unwrap()]);
        assert_eq!(names.dns.nameservers, ["172.16.28.3"]);
        assert_eq!(names.dns.options, ["edns0", "trust-ad"]);
        assert_eq!(names.dns.search, ["lan", "corp.example"]);
        let several =
            "nameserver ::1\nnameserver 127.0.0.1\nnameserver 0.0.0.0\nnameserver 192.0.2.9";
        let servers = ["fd00::3", "172.16.28.3", "192.0.2.9"];
        assert_eq!(planned(several, BOTH).dns.nameservers, servers);
        assert_eq!(planned(several, BOTH).forward.len(), 2);
        assert_eq!(planned(several, V4).dns.nameservers, servers[1..]);
    }

    #[test]
    fn a_stub_behind_another_server_is_not_the_one_that_would_be_asked() {
        let names = planned(
            "nameserver 192.0.2.9\nnameserver 127.0.0.1\nnameserver ::1\n",
            BOTH,
        );
        assert_eq!(names.dns.nameservers, ["192.0.2.9", "fd00::3"]);
        assert_eq!(names.forward, ["fd00::3".parse::<IpAddr>().unwrap()]);
    }

    #[test]
    fn others_are_asked_directly_where_the_pod_gets_to_them() {
        let text = "nameserver 192.0.2.1 # one\nnameserver 2001:db8::1\nnameserver fe80::1\n\
                    nameserver fe80::1%eth0\nnameserver nonsense\nnameserver\ndomain lan\n";
        let names = planned(text, BOTH);
        assert_eq!(names.forward, [] as [IpAddr; 0]);
        assert_eq!(names.dns.nameservers, ["192.0.2.1", "2001:db8::1"]);
        assert_eq!(names.dns.search, ["lan"]);
        assert_eq!(planned(text, V4).dns.nameservers, ["192.0.2.1"]);
    }

    #[test]
    fn without_a_server_there_is_nothing_to_write() {
        for text in [
            "",
            "search lan\n",
            "nameserver fe80::1%2\noptions x\n",
            "\0\u{1}",
        ] {
            assert_eq!(planned(text, BOTH), Names::default(), "{text:?}");
        }
        let long = format!(
            "nameserver 192.0.2.1\nsearch {} a\u{7}b\n",
            "x ".repeat(1000)
        );
        assert_eq!(planned(&long, BOTH).dns.search.len(), 6);
    }
}
