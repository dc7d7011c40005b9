//! The expressions that rules are made of, and their attributes.
//!
//! Data is loaded into register 1, compared or changed there; the first
//! comparison that fails ends the rule. Everything has been in the kernel since
//! Linux 4.10, `Fib` being the youngest.

use super::message::{Family, nest};
use crate::address::octets;
use crate::netlink::Batch;
use std::net::IpAddr;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expression {
    /// The transport protocol's number.
    Protocol,
    Payload {
        base: Base,
        offset: u32,
        len: u32,
    },
    /// Register 1 against data; with `not` a difference goes on.
    Compare {
        not: bool,
        data: Vec<u8>,
    },
    /// Keeps the bits of the mask in register 1.
    Mask(Vec<u8>),
    /// The state of the connection, as bits.
    ConnectionStatus,
    /// The destination's kind of address: what `RTN_LOCAL` is one of.
    FibDestinationType,
    Counter,
    Jump(&'static str),
    /// Loads the two into registers 1 and 2.
    Destination {
        to: IpAddr,
        port: u16,
    },
    Masquerade,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Base {
    Network = 1,
    Transport = 2,
}

const REGISTER_VERDICT: u32 = 0;
const REGISTER_1: u32 = 1;
const REGISTER_2: u32 = 2;
const NFT_JUMP: i32 = -3;
const ELEMENT: u16 = 1;
const VALUE: u16 = 1;

impl Expression {
    /// Its name in the kernel, which a module may be called after.
    pub fn name(&self) -> &'static str {
        match self {
            Expression::Protocol => "meta",
            Expression::Payload { .. } => "payload",
            Expression::Compare { .. } => "cmp",
            Expression::Mask(_) => "bitwise",
            Expression::ConnectionStatus => "ct",
            Expression::FibDestinationType => "fib",
            Expression::Counter => "counter",
            Expression::Jump(_) => "immediate",
            Expression::Destination { .. } => "nat",
            Expression::Masquerade => "masq",
        }
    }

    /// As elements of an open list of expressions.
    pub fn encode(&self, batch: &mut Batch) {
        match self {
            Expression::Destination { to, port } => {
                immediate(batch, REGISTER_1, &octets(*to));
                immediate(batch, REGISTER_2, &port.to_be_bytes());
                let family = match to {
                    IpAddr::V4(_) => Family::V4,
                    IpAddr::V6(_) => Family::V6,
                };
                element(batch, "nat", |batch| destination(batch, family));
            }
            _ => element(batch, self.name(), |batch| self.attributes(batch)),
        }
    }

    fn attributes(&self, batch: &mut Batch) {
        match self {
            Expression::Protocol => {
                const KEY: u32 = 16;
                batch.be32(2, KEY);
                batch.be32(1, REGISTER_1);
            }
            Expression::Payload { base, offset, len } => {
                batch.be32(1, REGISTER_1);
                batch.be32(2, *base as u32);
                batch.be32(3, *offset);
                batch.be32(4, *len);
            }
            Expression::Compare { not, data } => {
                batch.be32(1, REGISTER_1);
                batch.be32(2, u32::from(*not));
                value(batch, 3, data);
            }
            Expression::Mask(mask) => {
                batch.be32(1, REGISTER_1);
                batch.be32(2, REGISTER_1);
                batch.be32(3, mask.len() as u32);
                value(batch, 4, mask);
                value(batch, 5, &vec![0; mask.len()]);
            }
            Expression::ConnectionStatus => {
                const STATUS: u32 = 2;
                batch.be32(2, STATUS);
                batch.be32(1, REGISTER_1);
            }
            Expression::FibDestinationType => {
                const DESTINATION: u32 = 2;
                const ADDRESS_TYPE: u32 = 3;
                batch.be32(3, DESTINATION);
                batch.be32(2, ADDRESS_TYPE);
                batch.be32(1, REGISTER_1);
            }
            Expression::Jump(chain) => jump(batch, chain),
            Expression::Counter | Expression::Destination { .. } | Expression::Masquerade => {}
        }
    }
}

fn element(batch: &mut Batch, name: &str, attributes: impl FnOnce(&mut Batch)) {
    let element = nest(batch, ELEMENT);
    batch.text(1, name);
    let data = nest(batch, 2);
    attributes(batch);
    batch.end(data);
    batch.end(element);
}

fn immediate(batch: &mut Batch, register: u32, data: &[u8]) {
    element(batch, "immediate", |batch| {
        batch.be32(1, register);
        value(batch, 2, data);
    });
}

fn value(batch: &mut Batch, kind: u16, data: &[u8]) {
    let nested = nest(batch, kind);
    batch.attr(VALUE, data);
    batch.end(nested);
}

fn jump(batch: &mut Batch, chain: &str) {
    batch.be32(1, REGISTER_VERDICT);
    let data = nest(batch, 2);
    let verdict = nest(batch, 2);
    batch.be32(1, NFT_JUMP as u32);
    batch.text(2, chain);
    batch.end(verdict);
    batch.end(data);
}

/// To the address in register 1 and the port in register 2.
fn destination(batch: &mut Batch, family: Family) {
    const DESTINATION_NAT: u32 = 1;
    const PORT_GIVEN: u32 = 2;
    batch.be32(1, DESTINATION_NAT);
    batch.be32(2, family as u32);
    batch.be32(3, REGISTER_1);
    batch.be32(5, REGISTER_2);
    batch.be32(7, PORT_GIVEN);
}
