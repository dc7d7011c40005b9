//! `probe report [ns.KIND=LINK…] [word=TEXT…] [env=NAME…]`: everything that confines this process, as `key=value` lines
//! in a fixed order, keys dotted, one fact a line.
//!
//! The words say what the host's namespaces are called, which texts would give the host's paths away, and what the
//! caller's environment holds. Facts that hold for one machine or one run only (inode numbers, limits, names of cgroups)
//! have keys that begin with `raw.`; all others are the same wherever the same runtime is asked on the same kernel.
//!
//! `probe report calls`: the part on system calls alone, which is the one to ask outside a pod for what the kernel has.
//!
//! Every attempt is harmless if it succeeds: files are opened and closed, settings are written as they are, system calls
//! are made in a child that ends. But a host's `/dev` has nodes that act when they are opened (watchdogs).

mod calls;
mod devices;
mod mounts;
mod paths;
mod process;

use std::collections::BTreeMap;

/// What the caller said of the host.
#[derive(Debug, Default)]
struct Host {
    /// `mnt` to `mnt:[4026531841]`.
    namespaces: BTreeMap<String, String>,
    words: Vec<String>,
    /// Variables of the caller's environment.
    names: Vec<String>,
}

pub(crate) fn all(args: &[&str]) -> Result<(), String> {
    // What the kernel itself answers, which can be asked on the host as well.
    if args == ["calls"] {
        calls::all();
        return Ok(());
    }
    let mut host = Host::default();
    for arg in args {
        match arg.split_once('=') {
            Some(("word", text)) => host.words.push(text.to_owned()),
            Some(("env", name)) => host.names.push(name.to_owned()),
            Some((key, link)) if key.starts_with("ns.") => {
                host.namespaces.insert(key[3..].to_owned(), link.to_owned());
            }
            _ => return Err(format!("{arg:?} says nothing of the host")),
        }
    }
    process::all(&host);
    mounts::all(&host);
    paths::all();
    devices::all();
    calls::all();
    Ok(())
}

fn say(key: &str, value: impl std::fmt::Display) {
    println!("{key}={value}");
}
