//! `Rules` by the legacy interface of iptables and ip6tables, for kernels without
//! nf_tables.
//!
//! A pod's rules go into tables that are shared with everyone: `nat` of both
//! families. Each rule bears the pod's ID in its comment, by which all of them
//! are found again. A change of a table is one step for packets; everything in it that is not ours stays as it was,
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

use crate::Rules;
use model::fault::Result;
use plan::Change;
use sys::sockopt::{Extension, Family, Info};

const NAT: &str = "nat";

/// Whether this kernel does it, or why not. Makes the empty table `nat` in this
/// network namespace if it was not there.
pub fn available() -> Result<(), String> {
    match kernel::open(Family::V4, NAT) {
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
    let nat = [
        (Family::V4, plan::nat(Family::V4, id, rules)?),
        (Family::V6, plan::nat(Family::V6, id, rules)?),
    ];
    let _lock = kernel::lock(notes)?;
    let done = nat
        .iter()
        .try_for_each(|(family, changes)| set(*family, id, changes));
    if let Err(fault) = done {
        // The cause is worth more than what fails on the way back.
        let _ = remove_all(id);
        return Err(fault);
    }
    Ok(())
}

/// Removes them. What is not there is no failure.
pub fn remove(id: &str) -> Result<()> {
    plan::check_id(id)?;
    let families = [Family::V4, Family::V6];
    if !families.iter().any(|family| kernel::present(*family, NAT)) {
        return Ok(());
    }
    let _lock = kernel::lock(&mut |_| ())?;
    remove_all(id)
}

/// Both tables are tried, the first failure is told.
fn remove_all(id: &str) -> Result<()> {
    let v4 = set(Family::V4, id, &[]);
    let v6 = set(Family::V6, id, &[]);
    v4.and(v6)
}

/// The table `nat` with exactly these rules of `id`, bytes in and out as the
/// kernel has them. Pure.
pub fn rewritten(
    family: Family,
    info: &Info,
    entries: &[u8],
    id: &str,
    rules: &Rules,
) -> Result<(Info, Vec<u8>)> {
    let changes = plan::nat(family, id, rules)?;
    let mut table = blob::Table::decode(family, info, entries)?;
    edit::forget(&mut table, id);
    edit::apply(&mut table, id, &changes, true)?;
    let new = table.encode()?;
    Ok((new.info, new.entries))
}

/// Leaves exactly these rules of `id` in the table `nat`.
fn set(family: Family, id: &str, changes: &[Change]) -> Result<()> {
    if changes.is_empty() && !kernel::present(family, NAT) {
        return Ok(());
    }
    let sockets = kernel::open(family, NAT)?;
    let newest = !changes.is_empty() && sockets.knows(Extension::Target, "DNAT", 2);
    kernel::change(&sockets, NAT, &mut |table| {
        let had = edit::forget(table, id);
        edit::apply(table, id, changes, newest)?;
        Ok(had || !changes.is_empty())
    })
}
