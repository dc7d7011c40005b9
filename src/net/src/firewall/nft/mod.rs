//! nf_tables, spoken over its socket.
//!
//! All of a pod's tables are made, or removed, in one transaction. A table of
//! the same name that an earlier process left is replaced in it. When the
//! kernel refuses, it names every message that it does not like, from which
//! follows what it lacks.
//!
//! A drop in another table cannot be overruled: where the host's own rules drop
//! what is forwarded, they have to let the pod's addresses pass.

mod expression;
pub(super) mod message;
mod ruleset;
pub(super) mod socket;
#[cfg(test)]
mod tests;

use crate::Rules;
use crate::netlink::Batch;
use crate::netlink::message::{NLM_F_ACK, NLM_F_CREATE, NLM_F_EXCL};
use expression::Expression;
use message::{Family, Reply};
use model::fault::errno_text;
use model::{Fault, Kind};
use ruleset::{Rule, Table};
use rustix::io::Errno;
use std::os::fd::BorrowedFd;
use std::{fmt, io};

const NEWTABLE: u16 = message::NFTABLES;
const GETTABLE: u16 = message::NFTABLES + 1;
const DELTABLE: u16 = message::NFTABLES + 2;
const NEWCHAIN: u16 = message::NFTABLES + 3;
const NEWRULE: u16 = message::NFTABLES + 6;

const TABLE_DORMANT: u32 = 1;
const TABLE_OWNER: u32 = 2;

/// Why the kernel did not do it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    pub why: String,
    /// `Unsupported` where another way may do; else it is the last word.
    pub kind: Kind,
    /// Only the flag `owner` was refused.
    owner: bool,
    family: Option<Family>,
}

/// What works.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tried {
    pub owned: bool,
    /// What does not, or is empty.
    pub why: String,
}

/// What a message of a transaction is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part<'a> {
    /// Begin, end, and making way for the table.
    Frame,
    Table(Family),
    Chain(Family, &'a ruleset::Chain),
    Rule(Family, &'a Rule),
}

/// A transaction under construction; part n belongs to message n.
#[derive(Debug, Default)]
struct Transaction<'a> {
    batch: Batch,
    parts: Vec<Part<'a>>,
}

/// `rkt-` and 26 hex digits: names had at most 31 bytes before Linux 4.14.
pub fn table_name(id: &str) -> String {
    let digits = id.chars().filter(char::is_ascii_hexdigit);
    format!("rkt-{}", digits.take(26).collect::<String>())
}

/// Makes the tables of `id`; returns why they are not owned, if they are not.
pub fn install(socket: BorrowedFd<'_>, id: &str, rules: &Rules) -> Result<Option<String>, Refusal> {
    let tables = ruleset::tables(rules);
    if tables.is_empty() {
        return Ok(None);
    }
    let name = table_name(id);
    owned_or_not(|flags| {
        let mut transaction = Transaction::new();
        for table in &tables {
            transaction.make_way(&name, table.family);
            transaction.table(&name, id, flags, table);
        }
        transaction.commit(socket)
    })
}

/// The same for one of everything, dormant and removed in the transaction that
/// makes it; the second family is let go when it alone is refused.
pub fn probe(socket: BorrowedFd<'_>) -> Result<Tried, Refusal> {
    let specimens = [Family::V4, Family::V6].map(ruleset::specimen);
    let tried = |unowned: Option<String>| Tried {
        owned: unowned.is_none(),
        why: unowned.unwrap_or_default(),
    };
    match attempt(socket, &specimens) {
        Err(refusal) if refusal.family == Some(Family::V6) => {
            let without = attempt(socket, &specimens[..1])?;
            let mut tried = tried(without);
            if tried.owned {
                tried.why = refusal.to_string();
            }
            Ok(tried)
        }
        other => other.map(tried),
    }
}

fn attempt(socket: BorrowedFd<'_>, specimens: &[Table]) -> Result<Option<String>, Refusal> {
    const NAME: &str = "rkt-probe";
    owned_or_not(|flags| {
        let mut transaction = Transaction::new();
        for table in specimens {
            transaction.table(NAME, "probe", flags | TABLE_DORMANT, table);
            transaction.delete(NAME, table.family, NLM_F_ACK);
        }
        transaction.commit(socket)
    })
}

/// Tries tables that belong to the socket, then ones that belong to nobody.
fn owned_or_not(attempt: impl Fn(u32) -> Result<(), Refusal>) -> Result<Option<String>, Refusal> {
    match attempt(TABLE_OWNER) {
        Ok(()) => Ok(None),
        Err(refusal) if refusal.owner => attempt(0)
            .map(|()| Some("nf_tables: tables that go with their process need Linux 5.12".into())),
        Err(refusal) => Err(refusal),
    }
}

/// Removes the tables of `id` that there are.
pub fn remove(socket: BorrowedFd<'_>, id: &str) -> Result<(), Refusal> {
    let name = table_name(id);
    let mut transaction = Transaction::new();
    for family in [Family::V4, Family::V6] {
        if exists(socket, &name, family)? {
            transaction.delete(&name, family, NLM_F_ACK);
        }
    }
    match transaction.parts.len() {
        1 => Ok(()),
        _ => transaction.commit(socket),
    }
}

/// Asked outside of a transaction: one that fails waits for a grace period.
fn exists(socket: BorrowedFd<'_>, name: &str, family: Family) -> Result<bool, Refusal> {
    let mut batch = Batch::new();
    message::start(&mut batch, GETTABLE, 0, family);
    batch.text(1, name);
    let mut found = false;
    let mut failed = None;
    let sent = socket::exchange(socket, &mut batch, |reply| match reply {
        Reply::Data { .. } => found = true,
        Reply::Status { errno, .. } => failed = Some(errno),
        Reply::Done => {}
    });
    sent.map_err(|err| Refusal::sending(&err))?;
    match failed.map(Errno::from_raw_os_error) {
        Some(Errno::PERM) => Err(Refusal::denied()),
        // Also where a kernel has no tables of this family, or none at all.
        _ => Ok(found),
    }
}

impl<'a> Transaction<'a> {
    fn new() -> Transaction<'a> {
        let mut transaction = Transaction::default();
        message::begin_transaction(&mut transaction.batch);
        transaction.parts.push(Part::Frame);
        transaction
    }

    /// Makes sure that there is no such table: what is not there cannot be
    /// deleted, so it is made first.
    fn make_way(&mut self, name: &str, family: Family) {
        self.start(NEWTABLE, NLM_F_CREATE, Part::Table(family));
        self.batch.text(1, name);
        self.delete(name, family, 0);
    }

    fn delete(&mut self, name: &str, family: Family, flags: u16) {
        self.start(DELTABLE, flags, Part::Table(family));
        self.batch.text(1, name);
    }

    fn table(&mut self, name: &str, id: &str, flags: u32, table: &'a Table) {
        let family = table.family;
        let create = NLM_F_CREATE | NLM_F_EXCL;
        self.start(NEWTABLE, create | NLM_F_ACK, Part::Table(family));
        self.batch.text(1, name);
        self.batch.be32(2, flags);
        for chain in &table.chains {
            self.start(NEWCHAIN, NLM_F_CREATE, Part::Chain(family, chain));
            self.batch.text(1, name);
            self.batch.text(3, chain.name);
            if let Some(hook) = chain.hook {
                self.batch.text(7, "nat");
                let nest = message::nest(&mut self.batch, 4);
                self.batch.be32(1, hook.number);
                self.batch.be32(2, hook.priority as u32);
                self.batch.end(nest);
            }
        }
        for rule in &table.rules {
            self.rule(name, id, family, rule);
        }
    }

    fn rule(&mut self, name: &str, id: &str, family: Family, rule: &'a Rule) {
        let flags = NLM_F_CREATE | message::APPEND;
        self.start(NEWRULE, flags, Part::Rule(family, rule));
        self.batch.text(1, name);
        self.batch.text(2, rule.chain);
        let list = message::nest(&mut self.batch, 4);
        for expression in &rule.expressions {
            expression.encode(&mut self.batch);
        }
        self.batch.end(list);
        self.batch.attr(7, &comment(id));
    }

    fn start(&mut self, kind: u16, flags: u16, part: Part<'a>) {
        message::start(&mut self.batch, kind, flags, message_family(part));
        self.parts.push(part);
    }

    fn commit(mut self, socket: BorrowedFd<'_>) -> Result<(), Refusal> {
        message::end_transaction(&mut self.batch);
        self.parts.push(Part::Frame);
        let mut statuses = Vec::new();
        let sent = socket::exchange(socket, &mut self.batch, |reply| {
            if let Reply::Status { number, errno } = reply {
                statuses.push((number, errno));
            }
        });
        sent.map_err(|err| Refusal::sending(&err))?;
        match verdict(&self.parts, &statuses) {
            None => Ok(()),
            Some(refusal) => Err(refusal),
        }
    }
}

fn message_family(part: Part<'_>) -> Family {
    match part {
        Part::Table(family) | Part::Chain(family, _) | Part::Rule(family, _) => family,
        Part::Frame => Family::V4,
    }
}

/// As `nft` writes and shows it: type 0, length, text with its NUL.
fn comment(id: &str) -> Vec<u8> {
    let text = id.chars().filter(char::is_ascii_graphic).take(100);
    let mut value = vec![0, 0];
    value.extend_from_slice(b"rkt ");
    value.extend(text.map(|c| c as u8));
    value.push(0);
    value[1] = (value.len() - 2) as u8;
    value
}

/// What the kernel's answers mean; none is success.
fn verdict(parts: &[Part<'_>], statuses: &[(u32, i32)]) -> Option<Refusal> {
    let failed = || statuses.iter().filter(|(_, errno)| *errno != 0);
    let Some(&(number, errno)) = failed().min_by_key(|(number, _)| *number) else {
        return statuses
            .is_empty()
            .then(|| Refusal::new("the kernel did not answer".into()));
    };
    let because = errno_text(&io::Error::from_raw_os_error(errno));
    let failed: Vec<u32> = failed().map(|(number, _)| *number).collect();
    let part = parts.get(number as usize).copied().unwrap_or(Part::Frame);
    let denied = errno == Errno::PERM.raw_os_error();
    Some(match part {
        Part::Frame if denied => Refusal::denied(),
        Part::Frame => Refusal::new(format!("not in this kernel: {because}")),
        Part::Table(_) if denied => Refusal {
            kind: Kind::Conflict,
            ..Refusal::new("the table belongs to a process that still runs".into())
        },
        Part::Table(family) => Refusal {
            // Before Linux 5.12 the flag is unknown; no other can be wrong.
            owner: [Errno::INVAL, Errno::OPNOTSUPP]
                .iter()
                .any(|e| e.raw_os_error() == errno),
            ..Refusal::new(format!("tables of {}: {because}", word(family))).of(family)
        },
        Part::Chain(family, chain) => {
            let kind = chain.hook.map_or("plain", |_| "nat");
            Refusal::new(format!("{kind} chains of {}: {because}", word(family))).of(family)
        }
        Part::Rule(family, rule) => {
            let lacking = lacking(parts, &failed, rule).join(", ");
            Refusal::new(format!("{lacking} for {}: {because}", word(family))).of(family)
        }
    })
}

/// The expressions of a refused rule that no accepted rule has.
fn lacking(parts: &[Part<'_>], failed: &[u32], rule: &Rule) -> Vec<&'static str> {
    let names = |rule: &Rule| -> Vec<&'static str> {
        // A jump is in every kernel that has rules.
        let expressions = rule.expressions.iter();
        let optional = expressions.filter(|one| !matches!(one, Expression::Jump(_)));
        optional.map(Expression::name).collect()
    };
    let mut accepted = Vec::new();
    for (number, part) in parts.iter().enumerate() {
        if let Part::Rule(_, other) = part
            && !failed.contains(&(number as u32))
        {
            accepted.extend(names(other));
        }
    }
    let mut all = names(rule);
    all.dedup();
    let lacking: Vec<_> = all
        .iter()
        .copied()
        .filter(|name| !accepted.contains(name))
        .collect();
    if lacking.is_empty() { all } else { lacking }
}

fn word(family: Family) -> &'static str {
    match family {
        Family::V4 => "IPv4",
        Family::V6 => "IPv6",
    }
}

impl Refusal {
    fn new(why: String) -> Refusal {
        Refusal {
            why,
            kind: Kind::Unsupported,
            owner: false,
            family: None,
        }
    }

    fn of(self, family: Family) -> Refusal {
        Refusal {
            family: Some(family),
            ..self
        }
    }

    pub fn socket(err: &io::Error) -> Refusal {
        Refusal::new(format!("opening a socket: {}", errno_text(err)))
    }

    pub fn fault(self) -> Fault {
        let fault = Fault::new(self.kind, self.to_string());
        match self.kind {
            Kind::Refused => fault.hint("run as root"),
            _ => fault,
        }
    }

    fn denied() -> Refusal {
        Refusal {
            kind: Kind::Refused,
            ..Refusal::new("changing it takes CAP_NET_ADMIN over this network namespace".into())
        }
    }

    fn sending(err: &io::Error) -> Refusal {
        Refusal::new(format!("sending: {}", errno_text(err)))
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "nf_tables: {}", self.why)
    }
}
