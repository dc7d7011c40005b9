//! What joining a network gave: CNI's result, in one form for all versions.
//!
//! Read from and written as the JSON of any version of the specification;
//! kept with the pod, so that taking down needs nothing else.

pub(crate) mod read;
#[cfg(test)]
mod tests;
mod version;
mod write;

pub(crate) use version::Spec;

use crate::{Cidr, Route};
use std::net::IpAddr;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    pub interfaces: Vec<Interface>,
    pub ips: Vec<Ip>,
    pub routes: Vec<Route>,
    pub dns: Dns,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Interface {
    pub name: String,
    /// `22:93:a0:74:f0:34`, or empty.
    pub mac: String,
    /// Path of the network namespace; empty for an interface of the host.
    pub sandbox: String,
    pub mtu: Option<u32>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ip {
    pub address: Cidr,
    pub gateway: Option<IpAddr>,
    /// Which of the interfaces has it.
    pub interface: Option<usize>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Dns {
    pub nameservers: Vec<String>,
    pub domain: String,
    pub search: Vec<String>,
    pub options: Vec<String>,
}

impl Dns {
    pub fn is_empty(&self) -> bool {
        *self == Dns::default()
    }
}

impl Outcome {
    pub fn first_v4(&self) -> Option<&Ip> {
        self.ips.iter().find(|ip| ip.address.is_v4())
    }

    pub fn first_v6(&self) -> Option<&Ip> {
        self.ips.iter().find(|ip| !ip.address.is_v4())
    }
}
