//! What is fuzzed: every parser of bytes that a stranger wrote, and what must hold whatever they are.
//!
//! A target takes any bytes, gives them to the real code and panics where an invariant is broken: nothing is made
//! outside the directory of an extraction, what is printed parses to the same again, what is written can be read. The
//! fuzzer (`tests/fuzz/run`) and the replay of the corpora (`tests/tests/fuzz_replay.rs`) share them.
//!
//! Each target has a bug planted (`plant`), which lies behind a property that only well-formed input has.

mod cni;
mod dhcp;
mod image;
mod index;
mod layer;
mod manifest;
mod netlink;
mod network;
pub mod plant;
mod registry;
mod room;
mod signature;
mod words;
mod xtables;

use crate::mutate::{self, Mutate};

pub struct Target {
    /// Also of its corpus, a directory below `tests/fuzz/corpus`.
    pub name: &'static str,
    pub run: fn(&[u8]),
    /// Mutations that know the format.
    pub mutate: Mutate,
}

pub const TARGETS: &[Target] = &[
    of("layer", layer::layer, mutate::tar),
    of("aci", image::aci, mutate::tar),
    of("index", index::index, mutate::index),
    of("image_manifest", manifest::image, mutate::json),
    of("pod_manifest", manifest::pod, mutate::json),
    of("registry_json", registry::json, mutate::json),
    of("challenge", registry::challenges, mutate::words),
    of("image_string", words::image_string, mutate::words),
    of("page", words::page, mutate::words),
    of("signature", signature::signature, mutate::signature),
    of("network", network::network, mutate::network),
    of("cni_result", cni::result, mutate::network),
    of("dhcp", dhcp::dhcp, mutate::dhcp),
    of("netlink", netlink::netlink, mutate::netlink),
    of("xtables", xtables::xtables, mutate::xtables),
];

const fn of(name: &'static str, run: fn(&[u8]), mutate: Mutate) -> Target {
    Target { name, run, mutate }
}

/// Puts the checksums of tar headers right, as far as they stand at blocks: no mutation would find them.
pub fn mend(data: &[u8]) -> Vec<u8> {
    let mut bytes = data.to_vec();
    for head in bytes
        .chunks_exact_mut(512)
        .filter(|block| block[257..262] == *b"ustar")
    {
        head[148..156].fill(b' ');
        let sum: u32 = head.iter().map(|byte| u32::from(*byte)).sum();
        head[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    }
    bytes
}
