//! `Rules` as tables, chains and rules of nf_tables. Pure.
//!
//! A table per address family, `ip` and `ip6` and not `inet`, which does NAT
//! since Linux 5.2 only. Of the NAT chains `prerouting`, `input`, `output` and
//! `postrouting` all are made, some of them empty: before Linux 4.18 the way
//! back of a translated connection is translated only at hooks with a chain.
//! Every rule that decides has a counter.

use super::expression::{Base, Expression};
use super::message::Family;
use crate::Cidr;
use crate::address::octets;
use crate::rules::{Forward, LOOPBACK, LOOPBACK_V6, Masquerade, Protocol, Rules};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    pub family: Family,
    pub chains: Vec<Chain>,
    pub rules: Vec<Rule>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chain {
    pub name: &'static str,
    /// Without one it is jumped to.
    pub hook: Option<Hook>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hook {
    pub number: u32,
    pub priority: i32,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    pub chain: &'static str,
    pub expressions: Vec<Expression>,
}

const DESTINATION: i32 = -100;
const SOURCE: i32 = 100;

const PORTS: Chain = Chain {
    name: "ports",
    hook: None,
};
const PREROUTING: Chain = base("prerouting", 0, DESTINATION);
const INPUT: Chain = base("input", 1, SOURCE);
const OUTPUT: Chain = base("output", 3, DESTINATION);
const POSTROUTING: Chain = base("postrouting", 4, SOURCE);

const fn base(name: &'static str, number: u32, priority: i32) -> Chain {
    Chain {
        name,
        hook: Some(Hook { number, priority }),
    }
}

/// The tables that there is something for.
pub fn tables(rules: &Rules) -> Vec<Table> {
    [Family::V4, Family::V6]
        .into_iter()
        .filter_map(|family| table(rules, family))
        .collect()
}

/// One of each chain and each expression that `tables` can make, for a try.
pub fn specimen(family: Family) -> Table {
    let (ip, len) = match family {
        Family::V4 => (IpAddr::V4(Ipv4Addr::LOCALHOST), 20),
        Family::V6 => (IpAddr::V6(Ipv6Addr::LOCALHOST), 20),
    };
    let within = Cidr { ip, len }.network();
    let forward = Forward {
        protocol: Protocol::Tcp,
        host_ip: None,
        host_port: 1,
        to: ip,
        to_port: 1,
    };
    let rules = Rules {
        masquerade: vec![Masquerade {
            address: ip,
            within,
        }],
        forwards: vec![forward],
        targets: Vec::new(),
    };
    table(&rules, family).expect("there are rules of this family")
}

fn table(rules: &Rules, family: Family) -> Option<Table> {
    let of_family = |ip: IpAddr| ip.is_ipv4() == (family == Family::V4);
    let masquerade = || rules.masquerade.iter().filter(|m| of_family(m.address));
    let forwards: Vec<&Forward> = rules
        .forwards
        .iter()
        .filter(|f| of_family(f.to) && !f.is_of_loopback())
        .filter(|f| {
            f.host_ip
                .is_none_or(|ip| ip.is_unspecified() || of_family(ip))
        })
        .collect();
    let mut table = Table {
        family,
        chains: Vec::new(),
        rules: Vec::new(),
    };
    if masquerade().next().is_some() || !forwards.is_empty() {
        table.chains.extend([PREROUTING, INPUT, POSTROUTING]);
    }
    if !forwards.is_empty() {
        table.chains.extend([OUTPUT, PORTS]);
        table.rules.extend(forwards.iter().map(|f| forward(f)));
        table.rules.extend(to_ports(family));
        let mut own: Vec<IpAddr> = rules.targets.clone();
        own.extend(rules.masquerade.iter().map(|m| m.address));
        own.retain(|ip| of_family(*ip));
        let mut targets: Vec<IpAddr> = forwards.iter().map(|f| f.to).collect();
        targets.sort_unstable();
        targets.dedup();
        table.rules.extend(returning(&targets, own));
        table
            .rules
            .extend(masquerade().flat_map(|m| neighbours(&targets, m)));
    }
    table.rules.extend(masquerade().filter_map(leaving));
    (!table.chains.is_empty()).then_some(table)
}

/// What is for an address of the host may be for a forwarded port. Not its
/// loopback, which has a process of its own to serve it: a frame from anywhere
/// can be addressed to that, and would be led on before the kernel sees how
/// odd it is.
fn to_ports(family: Family) -> [Rule; 2] {
    let loopback = match family {
        Family::V4 => LOOPBACK,
        Family::V6 => LOOPBACK_V6,
    };
    [PREROUTING, OUTPUT].map(|chain| {
        let mut expressions = to(loopback, true);
        expressions.extend([
            Expression::FibDestinationType,
            Expression::Compare {
                not: false,
                data: RTN_LOCAL.to_ne_bytes().to_vec(),
            },
            Expression::Jump(PORTS.name),
        ]);
        Rule {
            chain: chain.name,
            expressions,
        }
    })
}

const RTN_LOCAL: u32 = 2;

fn forward(forward: &Forward) -> Rule {
    let mut expressions = Vec::new();
    if let Some(ip) = forward.host_ip.filter(|ip| !ip.is_unspecified()) {
        expressions.extend(to(Cidr::host(ip), false));
    }
    expressions.extend([
        Expression::Protocol,
        Expression::Compare {
            not: false,
            data: vec![forward.protocol.number()],
        },
        Expression::Payload {
            base: Base::Transport,
            offset: 2,
            len: 2,
        },
        Expression::Compare {
            not: false,
            data: forward.host_port.to_be_bytes().to_vec(),
        },
        Expression::Counter,
        Expression::Destination {
            to: forward.to,
            port: forward.to_port,
        },
    ]);
    Rule {
        chain: PORTS.name,
        expressions,
    }
}

/// Connections whose answers would not pass the host again: from the pod to
/// itself. Only a forwarded port can have led
/// packets of these addresses here, so the port is not looked at.
fn returning(targets: &[IpAddr], own: Vec<IpAddr>) -> Vec<Rule> {
    let mut sources: Vec<Cidr> = own.into_iter().map(Cidr::host).collect();
    sources.extend(targets.iter().copied().map(Cidr::host));
    sources.sort_unstable();
    sources.dedup();
    let pairs = targets
        .iter()
        .flat_map(|to| sources.iter().map(move |from| (*from, *to)));
    pairs
        .map(|(source, target)| {
            let mut expressions = from(source);
            expressions.extend(to(Cidr::host(target), false));
            masquerading(expressions)
        })
        .collect()
}

/// The same of the target's neighbours, which on a bridge are answered without
/// the host; what they send to it directly stays as it is.
fn neighbours(targets: &[IpAddr], masquerade: &Masquerade) -> Vec<Rule> {
    const DESTINATION_TRANSLATED: u32 = 1 << 5;
    let within = masquerade.within.network();
    let near = targets
        .iter()
        .filter(|to| within.len > 0 && within.contains(**to));
    near.map(|target| {
        let mut expressions = from(within);
        expressions.extend(to(Cidr::host(*target), false));
        expressions.extend([
            Expression::ConnectionStatus,
            Expression::Mask(DESTINATION_TRANSLATED.to_ne_bytes().to_vec()),
            Expression::Compare {
                not: true,
                data: vec![0; 4],
            },
        ]);
        masquerading(expressions)
    })
    .collect()
}

fn masquerading(mut expressions: Vec<Expression>) -> Rule {
    expressions.extend([Expression::Counter, Expression::Masquerade]);
    Rule {
        chain: POSTROUTING.name,
        expressions,
    }
}

/// None when the network is the whole world: nothing leaves it.
fn leaving(masquerade: &Masquerade) -> Option<Rule> {
    if masquerade.within.len == 0 {
        return None;
    }
    let mut expressions = from(Cidr::host(masquerade.address));
    expressions.extend(to(masquerade.within.network(), true));
    expressions.extend(to(masquerade.multicast(), true));
    Some(masquerading(expressions))
}

fn from(network: Cidr) -> Vec<Expression> {
    let offset = if network.is_v4() { 12 } else { 8 };
    address(offset, network, false)
}

fn to(network: Cidr, not: bool) -> Vec<Expression> {
    let offset = if network.is_v4() { 16 } else { 24 };
    address(offset, network, not)
}

/// Whether the address at `offset` lies in the network; whole bytes of the
/// prefix are compared as they are, as nft does.
fn address(offset: u32, network: Cidr, not: bool) -> Vec<Expression> {
    let mut data = octets(network.ip);
    let whole = network.len.is_multiple_of(8);
    if whole {
        data.truncate(usize::from(network.len / 8));
    }
    let mut expressions = vec![Expression::Payload {
        base: Base::Network,
        offset,
        len: data.len() as u32,
    }];
    if !whole {
        expressions.push(Expression::Mask(octets(network.mask())));
    }
    expressions.push(Expression::Compare { not, data });
    expressions
}
