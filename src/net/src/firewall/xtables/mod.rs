//! `Rules` by the legacy interface of iptables and ip6tables, for kernels without
//! nf_tables.
//!
//! A pod's rules go into tables that are shared with everyone: `nat` of both
//! families, `raw` of IPv4 for guarded interfaces. Each rule bears the pod's ID in its
//! comment, by which all of them are found again. A change of a table is one
//! step for packets; everything in it that is not ours stays as it was,
//! counters included.
//!
//! `plan` (what is to be there) and `blob`, `rule`, `edit` (bytes) are pure, `kernel`
//! does it. Nothing is asked of a table that does not exist yet when there is
//! only something to be removed, since asking makes it.

mod blob;
mod edit;
mod kernel;
mod layout;
mod plan;
mod rule;
#[cfg(test)]
mod tests;

use super::localnet;
use crate::Rules;
use model::{Fault, fault::Result};
use plan::Change;
use std::io;
use sys::sockopt::{Extension, Family};

/// Whether this kernel does it, or why not. Makes the empty table `nat` in this
/// network namespace if it was not there.
pub fn available() -> Result<(), String> {
    match kernel::open(Family::V4, "nat") {
        Ok(_) => Ok(()),
        Err(fault) => Err(match fault.hint {
            Some(hint) => format!("{} ({hint})", fault.cause),
            None => fault.cause,
        }),
    }
}

/// Makes all rules of `id`, in place of those that it may have. On failure none
/// are left.
pub fn install(id: &str, rules: &Rules, notes: &mut dyn FnMut(String)) -> Result<()> {
    plan::check_id(id)?;
    let raw = plan::raw(rules)?;
    let nat = [
        (Family::V4, plan::nat(Family::V4, id, rules)?),
        (Family::V6, plan::nat(Family::V6, id, rules)?),
    ];
    let _lock = kernel::lock(notes)?;
    let done = nat
        .iter()
        .try_for_each(|(family, changes)| set(*family, "nat", id, changes));
    if let Err(fault) = done {
        // The cause is worth more than what fails on the way back.
        let _ = remove_all(id);
        return Err(fault);
    }
    if let Err(fault) = guard(id, plan::guarded(rules), &raw) {
        let _ = guard(id, &[], &[]);
        notes(format!(
            "forwarded ports are not reachable over the host's loopback: {}",
            fault.cause
        ));
    }
    Ok(())
}

/// Removes them. What is not there is no failure.
pub fn remove(id: &str) -> Result<()> {
    plan::check_id(id)?;
    let tables = [
        (Family::V4, "nat"),
        (Family::V6, "nat"),
        (Family::V4, "raw"),
    ];
    if !tables
        .iter()
        .any(|(family, table)| kernel::present(*family, table))
    {
        return Ok(());
    }
    let _lock = kernel::lock(&mut |_| ())?;
    remove_all(id)
}

/// All tables are tried, the first failure is told.
fn remove_all(id: &str) -> Result<()> {
    let v4 = set(Family::V4, "nat", id, &[]);
    let v6 = set(Family::V6, "nat", id, &[]);
    let raw = guard(id, &[], &[]);
    v4.and(v6).and(raw)
}

/// Leaves exactly these rules of `id` in a table.
fn set(family: Family, table: &str, id: &str, changes: &[Change]) -> Result<()> {
    if changes.is_empty() && !kernel::present(family, table) {
        return Ok(());
    }
    let sockets = kernel::open(family, table)?;
    let newest = !changes.is_empty() && sockets.knows(Extension::Target, "DNAT", 2);
    kernel::change(&sockets, table, &mut |table| {
        let had = edit::forget(table, id);
        edit::apply(table, id, changes, newest)?;
        Ok(had || !changes.is_empty())
    })
}

/// Leaves exactly these guards of `id`. An interface is guarded before it lets
/// packets for 127.0.0.0/8 cross, and until it does so no more.
fn guard(id: &str, interfaces: &[String], changes: &[Change]) -> Result<()> {
    if changes.is_empty() && !kernel::present(Family::V4, "raw") {
        return Ok(());
    }
    let sockets = kernel::open(Family::V4, "raw")?;
    kernel::change(&sockets, "raw", &mut |table| {
        let (ours, others) = edit::guards(table, id);
        for name in ours {
            if !others.contains(&name) && !interfaces.contains(&name) {
                forbid(&name)?;
            }
        }
        let had = edit::forget(table, id);
        edit::apply(table, id, changes, true)?;
        Ok(had || !changes.is_empty())
    })?;
    interfaces.iter().try_for_each(|name| localnet::allow(name))
}

/// Nothing would guard the interface any more. One that is gone is done.
fn forbid(interface: &str) -> Result<()> {
    let path = format!("/proc/sys/net/ipv4/conf/{interface}/route_localnet");
    match std::fs::write(&path, "0") {
        Err(err) if err.kind() != io::ErrorKind::NotFound => {
            Err(Fault::io("write", format!("\"{path}\""), err))
        }
        _ => Ok(()),
    }
}
