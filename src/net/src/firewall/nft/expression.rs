//! The expressions that rules are made of, and their attributes.
//!
//! Data is loaded into register 1, compared or changed there; the first
//! comparison that fails ends the rule. Everything has been in the kernel since
//! Linux 4.10, `Fib` being the youngest.

use super::message::{Batch, Family};
use std::net::IpAddr;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expression {
    Meta(Key),
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
    Drop,
    Jump(&'static str),
    /// Loads the two into registers 1 and 2.
    Destination {
        to: IpAddr,
        port: u16,
    },
    Masquerade,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Key {
    InterfaceIn = 6,
    Protocol = 16,
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
const NF_DROP: i32 = 0;
const ELEMENT: u16 = 1;
const VALUE: u16 = 1;

impl Expression {
    /// Its name in the kernel, which a module may be called after.
    pub fn name(&self) -> &'static str {
        match self {
            Expression::Meta(_) => "meta",
            Expression::Payload { .. } => "payload",
            Expression::Compare { .. } => "cmp",
            Expression::Mask(_) => "bitwise",
            Expression::ConnectionStatus => "ct",
            Expression::FibDestinationType => "fib",
            Expression::Counter => "counter",
            Expression::Drop | Expression::Jump(_) => "immediate",
            Expression::Destination { .. } => "nat",
            Expression::Masquerade => "masq",
        }
    }

    /// As elements of an open list of expressions.
    pub fn encode(&self, batch: &mut Batch) {
        match self {
            Expression::Destination { to, port } => {
                match to {
                    IpAddr::V4(ip) => immediate(batch, REGISTER_1, &ip.octets()),
                    IpAddr::V6(ip) => immediate(batch, REGISTER_1, &ip.octets()),
                }
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
            Expression::Meta(key) => {
                batch.put_u32(2, *key as u32);
                batch.put_u32(1, REGISTER_1);
            }
            Expression::Payload { base, offset, len } => {
                batch.put_u32(1, REGISTER_1);
                batch.put_u32(2, *base as u32);
                batch.put_u32(3, *offset);
                batch.put_u32(4, *len);
            }
            Expression::Compare { not, data } => {
                batch.put_u32(1, REGISTER_1);
                batch.put_u32(2, u32::from(*not));
                value(batch, 3, data);
            }
            Expression::Mask(mask) => {
                batch.put_u32(1, REGISTER_1);
                batch.put_u32(2, REGISTER_1);
                batch.put_u32(3, mask.len() as u32);
                value(batch, 4, mask);
                value(batch, 5, &vec![0; mask.len()]);
            }
            Expression::ConnectionStatus => {
                const STATUS: u32 = 2;
                batch.put_u32(2, STATUS);
                batch.put_u32(1, REGISTER_1);
            }
            Expression::FibDestinationType => {
                const DESTINATION: u32 = 2;
                const ADDRESS_TYPE: u32 = 3;
                batch.put_u32(3, DESTINATION);
                batch.put_u32(2, ADDRESS_TYPE);
                batch.put_u32(1, REGISTER_1);
            }
            Expression::Drop => verdict(batch, NF_DROP, None),
            Expression::Jump(chain) => verdict(batch, NFT_JUMP, Some(chain)),
            Expression::Counter | Expression::Destination { .. } | Expression::Masquerade => {}
        }
    }
}

fn element(batch: &mut Batch, name: &str, attributes: impl FnOnce(&mut Batch)) {
    let element = batch.nest(ELEMENT);
    batch.put_text(1, name);
    let data = batch.nest(2);
    attributes(batch);
    batch.close(data);
    batch.close(element);
}

fn immediate(batch: &mut Batch, register: u32, data: &[u8]) {
    element(batch, "immediate", |batch| {
        batch.put_u32(1, register);
        value(batch, 2, data);
    });
}

fn value(batch: &mut Batch, kind: u16, data: &[u8]) {
    let nest = batch.nest(kind);
    batch.put(VALUE, data);
    batch.close(nest);
}

fn verdict(batch: &mut Batch, code: i32, chain: Option<&str>) {
    batch.put_u32(1, REGISTER_VERDICT);
    let data = batch.nest(2);
    let nest = batch.nest(2);
    batch.put_u32(1, code as u32);
    if let Some(chain) = chain {
        batch.put_text(2, chain);
    }
    batch.close(nest);
    batch.close(data);
}

/// To the address in register 1 and the port in register 2.
fn destination(batch: &mut Batch, family: Family) {
    const DESTINATION_NAT: u32 = 1;
    const PORT_GIVEN: u32 = 2;
    batch.put_u32(1, DESTINATION_NAT);
    batch.put_u32(2, family as u32);
    batch.put_u32(3, REGISTER_1);
    batch.put_u32(5, REGISTER_2);
    batch.put_u32(7, PORT_GIVEN);
}
