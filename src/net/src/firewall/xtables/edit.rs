//! Takes our rules out of a table, puts new ones in. Pure.
//!
//! Ours is what bears our ID in its comment. A chain with a name of ours goes as
//! soon as a rule of ours was in it or led to it and nothing leads to it any
//! more: what another program put in there could never match again.

use super::blob::{Goes, Rule, Table};
use super::plan::{Change, PREFIXES};
use super::rule::{self, Action, Spec};
use model::{Fault, fault::Result};
use std::collections::HashSet;

/// Removes what belongs to `id`; whether there was anything.
pub fn forget(table: &mut Table<'_>, id: &str) -> bool {
    let family = table.family;
    let comment = rule::comment(id);
    let mut touched = HashSet::new();
    for chain in &mut table.chains {
        let before = chain.rules.len();
        chain.rules.retain(|rule| {
            let ours = rule::comment_of(family, rule) == Some(comment.as_bytes());
            if ours && let Goes::Chain(number) = rule.goes {
                touched.insert(number);
            }
            !ours
        });
        if chain.rules.len() != before {
            touched.insert(chain.number);
        }
    }
    let any = !touched.is_empty();
    drop_chains(table, touched);
    any
}

fn drop_chains(table: &mut Table<'_>, touched: HashSet<u32>) {
    let used: HashSet<u32> = table
        .chains
        .iter()
        .flat_map(|chain| chain.to_the_end())
        .filter_map(|rule| match rule.goes {
            Goes::Chain(number) => Some(number),
            _ => None,
        })
        .collect();
    table.chains.retain(|chain| {
        let ours = PREFIXES
            .iter()
            .any(|prefix| chain.name.starts_with(prefix.as_bytes()));
        let unused = touched.contains(&chain.number) && !used.contains(&chain.number);
        chain.is_hook() || !ours || !unused
    });
}

/// Puts in what `plan` says, in the name of `id`; `newest` as in `rule::encode`.
pub fn apply(table: &mut Table<'_>, id: &str, changes: &[Change], newest: bool) -> Result<()> {
    for change in changes {
        let (name, spec) = match change {
            Change::Insert(name, spec) => (*name, spec),
            Change::Append(name, spec) => (name.as_str(), spec),
        };
        let rule = make(table, id, spec, newest);
        if PREFIXES.iter().any(|prefix| name.starts_with(prefix)) {
            ensure(table, name);
        }
        let chain = table.chain(name).ok_or_else(|| {
            Fault::unsupported(format!("the iptables table has no chain \"{name}\""))
        })?;
        match change {
            Change::Insert(..) => chain.rules.insert(0, rule),
            Change::Append(..) => chain.rules.push(rule),
        }
    }
    Ok(())
}

fn make(table: &mut Table<'_>, id: &str, spec: &Spec, newest: bool) -> Rule<'static> {
    let goes = match &spec.action {
        Action::Jump(name) => Goes::Chain(ensure(table, name)),
        _ => Goes::Target,
    };
    Rule::new(rule::encode(table.family, newest, id, spec), goes)
}

/// The number of that user's chain, which is made if need be.
fn ensure(table: &mut Table<'_>, name: &str) -> u32 {
    let (head, end) = rule::chain_ends(table.family, name);
    table.add_chain(name, head, end).number
}
