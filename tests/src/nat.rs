//! Which packets a host masquerades, read from its rules, whoever wrote them.
//!
//! `from_nft` reads `nft list ruleset` (its JSON breaks off at tables with an owner in nft 1.0.6), `from_save` the text of
//! `iptables-save`; both become chains of rules over a packet's two addresses, and `masquerades` walks them as the kernel
//! would. A word that is not understood here ends the test: a verdict that rests on a guess would be none.

use std::collections::BTreeMap;
use std::net::IpAddr;

/// `10.1.0.0/16`
type Network = (IpAddr, u8);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Source,
    Destination,
}

/// The address lies in one of the networks, or in none if `not`.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Test {
    end: End,
    not: bool,
    networks: Vec<Network>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Verdict {
    Go(String),
    Masquerade,
    /// Accept at the top, return in a chain: the packet stays as it is.
    Spare,
    Return,
    None,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Rule {
    tests: Vec<Test>,
    verdict: Verdict,
}

#[derive(Debug, Default)]
pub struct Rules {
    /// Chains that packets on their way out enter by.
    entries: Vec<String>,
    chains: BTreeMap<String, Vec<Rule>>,
}

impl Rules {
    pub fn masquerades(&self, source: IpAddr, destination: IpAddr) -> bool {
        let verdicts = self
            .entries
            .iter()
            .map(|chain| self.walk(chain, source, destination));
        verdicts
            .into_iter()
            .any(|verdict| verdict == Verdict::Masquerade)
    }

    fn walk(&self, chain: &str, source: IpAddr, destination: IpAddr) -> Verdict {
        for rule in self.chains.get(chain).into_iter().flatten() {
            let fits = |test: &Test| {
                let address = match test.end {
                    End::Source => source,
                    End::Destination => destination,
                };
                test.networks.iter().any(|n| contains(*n, address)) != test.not
            };
            if !rule.tests.iter().all(fits) {
                continue;
            }
            match &rule.verdict {
                Verdict::None => {}
                Verdict::Return => return Verdict::Return,
                Verdict::Go(next) => match self.walk(next, source, destination) {
                    Verdict::Return | Verdict::None => {}
                    end => return end,
                },
                end => return end.clone(),
            }
        }
        Verdict::None
    }

    /// The nat tables of `iptables-save -t nat` or its sister.
    #[track_caller]
    pub fn from_save(text: &str) -> Rules {
        let mut rules = Rules {
            entries: vec!["POSTROUTING".to_owned()],
            chains: BTreeMap::new(),
        };
        for line in text.lines() {
            let words = words(line);
            let mut words = words.iter().map(String::as_str);
            if words.next() != Some("-A") {
                continue;
            }
            let chain = words.next().unwrap_or("").to_owned();
            let mut rule = Rule {
                tests: Vec::new(),
                verdict: Verdict::None,
            };
            let mut not = false;
            while let Some(word) = words.next() {
                let mut value = || words.next().unwrap_or("").to_owned();
                match word {
                    "!" => not = true,
                    "-s" | "-d" => {
                        let end = if word == "-s" {
                            End::Source
                        } else {
                            End::Destination
                        };
                        rule.tests.push(Test {
                            end,
                            not: std::mem::take(&mut not),
                            networks: vec![network(&value())],
                        });
                    }
                    "-m" | "--comment" => drop(value()),
                    "-j" => rule.verdict = verdict(&value()),
                    other => panic!("{other:?} is not understood in {line:?}"),
                }
            }
            rules.chains.entry(chain).or_default().push(rule);
        }
        rules
    }

    /// The tables of one address family (`ip`, `ip6`) whose names begin with `prefix`.
    #[track_caller]
    pub fn from_nft(text: &str, family: &str, prefix: &str) -> Rules {
        let mut rules = Rules::default();
        let (mut table, mut chain) = (None, String::new());
        for line in text.lines() {
            let words = words(line.trim());
            let words: Vec<&str> = words.iter().map(String::as_str).collect();
            match words[..] {
                ["table", of, name, ..] => {
                    table = (of == family && name.starts_with(prefix)).then(|| name.to_owned());
                }
                ["chain", name, ..] => chain = name.to_owned(),
                _ if table.is_none() => {}
                [] | ["}", ..] | ["flags", ..] => {}
                ["type", kind, "hook", hook, ..] => {
                    if (kind, hook) == ("nat", "postrouting") {
                        rules.entries.push(key(table.as_deref(), &chain));
                    }
                }
                _ => {
                    let rule = nft_rule(&words, table.as_deref(), family);
                    let place = rules.chains.entry(key(table.as_deref(), &chain));
                    place.or_default().extend(rule);
                }
            }
        }
        rules
    }
}

/// A chain's name with its table's.
fn key(table: Option<&str>, chain: &str) -> String {
    format!("{}/{chain}", table.unwrap_or(""))
}

/// Nothing for a rule over more than two addresses: ports, interfaces, connections that a port was forwarded for.
#[track_caller]
fn nft_rule(words: &[&str], table: Option<&str>, family: &str) -> Option<Rule> {
    let mut rule = Rule {
        tests: Vec::new(),
        verdict: Verdict::None,
    };
    let mut words = words.iter().copied();
    while let Some(word) = words.next() {
        match word {
            _ if word == family => {
                let end = match words.next() {
                    Some("saddr") => End::Source,
                    Some("daddr") => End::Destination,
                    other => panic!("{other:?} is not understood"),
                };
                let mut value = words.next().unwrap_or("");
                let not = value == "!=";
                if not {
                    value = words.next().unwrap_or("");
                }
                let mut networks = Vec::new();
                if value == "{" {
                    let set = words.by_ref().take_while(|w| *w != "}");
                    networks.extend(set.map(|w| network(w.trim_end_matches(','))));
                } else {
                    networks.push(network(value));
                }
                rule.tests.push(Test { end, not, networks });
            }
            "counter" => drop(words.nth(3)),
            "comment" => drop(words.next()),
            "masquerade" => rule.verdict = Verdict::Masquerade,
            "accept" => rule.verdict = Verdict::Spare,
            "return" => rule.verdict = Verdict::Return,
            "jump" | "goto" => {
                rule.verdict = Verdict::Go(key(table, words.next().unwrap_or("")));
            }
            "iifname" | "oifname" | "tcp" | "udp" | "fib" | "ct" | "meta" => return None,
            other => panic!("{other:?} is not understood"),
        }
    }
    Some(rule)
}

fn verdict(target: &str) -> Verdict {
    match target {
        "ACCEPT" => Verdict::Spare,
        "RETURN" => Verdict::Return,
        "MASQUERADE" => Verdict::Masquerade,
        chain => Verdict::Go(chain.to_owned()),
    }
}

#[track_caller]
fn network(text: &str) -> Network {
    let (address, len) = text.split_once('/').map_or((text, None), |(a, l)| {
        (a, Some(l.parse().expect("the length of a prefix")))
    });
    let address: IpAddr = address
        .parse()
        .unwrap_or_else(|_| panic!("{text:?} is no network"));
    (
        address,
        len.unwrap_or(if address.is_ipv4() { 32 } else { 128 }),
    )
}

fn contains((network, len): Network, address: IpAddr) -> bool {
    let bits = |ip: IpAddr| match ip {
        IpAddr::V4(ip) => (u128::from(ip.to_bits()) << 96, 32),
        IpAddr::V6(ip) => (ip.to_bits(), 128),
    };
    let ((a, width), (b, other)) = (bits(network), bits(address));
    width == other && (len == 0 || (a ^ b) >> (128 - u32::from(len)) == 0)
}

/// Split at blanks, with `"…"` kept together and `\"` inside it.
fn words(line: &str) -> Vec<String> {
    let mut out = vec![String::new()];
    let (mut quoted, mut escaped) = (false, false);
    for c in line.chars() {
        let word = out.last_mut().expect("it never gets empty");
        match c {
            _ if escaped => {
                word.push(c);
                escaped = false;
            }
            '\\' => escaped = true,
            '"' => quoted = !quoted,
            ' ' if !quoted => out.push(String::new()),
            c => word.push(c),
        }
    }
    out.retain(|w| !w.is_empty());
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAVED: &str = r#"*nat
:POSTROUTING ACCEPT [0:0]
-A POSTROUTING -s 10.22.0.5/32 -m comment --comment "name: \"n\" id: \"x\"" -j CNI-bd
-A CNI-bd -d 10.22.0.0/24 -m comment --comment "name: \"n\" id: \"x\"" -j ACCEPT
-A CNI-bd ! -d 224.0.0.0/4 -m comment --comment "name: \"n\" id: \"x\"" -j MASQUERADE
COMMIT"#;

    const LISTED: &str = r#"table ip other {
	chain post {
		type nat hook postrouting priority srcnat; policy accept;
		masquerade
	}
}
table ip mine-1 { # progname rkt-pod
	flags owner

	chain guard {
		type filter hook prerouting priority raw; policy accept;
		iifname "veth258b1dbd" ip daddr 127.0.0.0/8 counter packets 0 bytes 0 drop comment "mine"
	}

	chain post {
		type nat hook postrouting priority srcnat; policy accept;
		ip saddr 10.22.0.0/24 ip daddr 10.22.0.5 ct status dnat counter packets 0 bytes 0 masquerade
		ip saddr 10.22.0.5 ip daddr != { 10.22.0.0/24, 224.0.0.0/4 } counter packets 3 bytes 180 masquerade comment "mine x"
	}
}"#;

    #[test]
    fn both_notations_mean_the_same() {
        let (saved, listed) = (
            Rules::from_save(SAVED),
            Rules::from_nft(LISTED, "ip", "mine-"),
        );
        let cases = [
            ("10.22.0.5", "192.0.2.2", true),
            ("10.22.0.5", "10.22.0.9", false),
            ("10.22.0.5", "224.0.0.251", false),
            ("10.22.0.6", "192.0.2.2", false),
        ];
        for (source, destination, expected) in cases {
            let (source, destination) = (network(source).0, network(destination).0);
            for rules in [&saved, &listed] {
                let got = rules.masquerades(source, destination);
                assert_eq!(got, expected, "{source} {destination}");
            }
        }
    }

    #[test]
    fn prefixes_contain_their_family_only() {
        let all4 = network("0.0.0.0/0");
        assert!(contains(all4, network("1.2.3.4").0));
        assert!(!contains(all4, network("::1").0));
        assert!(contains(network("fd00::/64"), network("fd00::9").0));
        assert!(!contains(network("fd00::/64"), network("fd00:0:0:1::9").0));
    }
}
