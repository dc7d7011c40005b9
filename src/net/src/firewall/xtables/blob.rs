//! A table's bytes ⇄ chains of rules. Pure.
//!
//! In the kernel a table is a row of entries. Each chain of a hook starts where
//! the hook points to and ends with the entry of its policy; each chain of a user
//! starts with an entry whose target is ERROR and bears its name, and ends with
//! an unconditional return; one more ERROR ends the table. A jump is the
//! offset of a chain's first rule.
//!
//! `decode` keeps each entry's bytes and turns jumps into numbers of chains,
//! `encode` gives them their offsets anew. A table that is not changed comes out as
//! it went in. Bytes that do not fit together are an error, never a guess.

use super::layout::{self, ALIGN, EXTENSION_HEAD, EXTENSION_NAME, Layout};
use model::{Fault, fault::Result};
use std::borrow::Cow;
use std::collections::HashMap;
use sys::sockopt::{Family, Info};

/// Names of the hooks, by their numbers.
const HOOKS: [&str; 5] = ["PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING"];

/// No table that is read or written is larger.
pub const MAX_SIZE: usize = 64 << 20;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table<'a> {
    pub family: Family,
    info: Info,
    pub chains: Vec<Chain<'a>>,
    tail: Rule<'a>,
    next_number: u32,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chain<'a> {
    /// Stays the same while chains come and go; jumps name it.
    pub number: u32,
    pub name: Vec<u8>,
    start: Start<'a>,
    pub rules: Vec<Rule<'a>>,
    /// The policy, or the return of a user's chain.
    end: Rule<'a>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Start<'a> {
    Hook(usize),
    Named(Rule<'a>),
}

/// One entry. A jump's offset in `bytes` counts for nothing: `goes` does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule<'a> {
    pub bytes: Cow<'a, [u8]>,
    pub goes: Goes,
    /// Which entry of the decoded table it was: its counters go along.
    pub origin: Option<usize>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Goes {
    /// What the target in `bytes` says.
    Target,
    /// To the next rule: a rule that only counts.
    On,
    /// To the chain of this number; also a goto, which is a flag in `bytes`.
    Chain(u32),
}

/// What the kernel is given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Encoded {
    pub info: Info,
    pub entries: Vec<u8>,
    /// For each entry, which one of the decoded table it was.
    pub origins: Vec<Option<usize>>,
}

fn bad(at: usize, what: &str) -> Fault {
    Fault::invalid(format!("iptables entry at {at}: {what}"))
}

impl<'a> Chain<'a> {
    pub fn is_hook(&self) -> bool {
        matches!(self.start, Start::Hook(_))
    }

    /// The rules, and what follows the last one.
    pub fn to_the_end(&self) -> impl Iterator<Item = &Rule<'a>> {
        self.rules.iter().chain(std::iter::once(&self.end))
    }
}

impl<'a> Table<'a> {
    pub fn decode(family: Family, info: &Info, entries: &'a [u8]) -> Result<Table<'a>> {
        if entries.len() != info.size as usize || entries.len() > MAX_SIZE {
            return Err(bad(entries.len(), "the table's size is not what it says"));
        }
        let mut raw = Raw {
            layout: Layout::of(family),
            info,
            entries,
            firsts: HashMap::new(),
            jumps: Vec::new(),
        };
        let (mut chains, tail, count) = raw.chains()?;
        if count != info.num_entries as usize {
            return Err(bad(entries.len(), "the number of entries is wrong"));
        }
        raw.resolve(&mut chains)?;
        let next_number = chains.len() as u32;
        Ok(Table {
            family,
            info: *info,
            chains,
            tail,
            next_number,
        })
    }

    pub fn chain(&mut self, name: &str) -> Option<&mut Chain<'a>> {
        self.chains
            .iter_mut()
            .find(|chain| chain.name == name.as_bytes())
    }

    /// An empty chain of that name, made in its place by the alphabet, which other
    /// programs count on.
    pub fn add_chain(&mut self, name: &str, head: Vec<u8>, end: Vec<u8>) -> &mut Chain<'a> {
        let wanted = name.as_bytes();
        if let Some(at) = self.chains.iter().position(|chain| chain.name == wanted) {
            return &mut self.chains[at];
        }
        let later = |chain: &Chain<'_>| !chain.is_hook() && chain.name.as_slice() > wanted;
        let at = self.chains.iter().position(later);
        let at = at.unwrap_or(self.chains.len());
        let chain = Chain {
            number: self.next_number,
            name: name.into(),
            start: Start::Named(Rule::new(head, Goes::Target)),
            rules: Vec::new(),
            end: Rule::new(end, Goes::Target),
        };
        self.next_number += 1;
        self.chains.insert(at, chain);
        &mut self.chains[at]
    }

    pub fn encode(&self) -> Result<Encoded> {
        let mut info = self.info;
        let mut firsts = HashMap::new();
        let mut at = 0;
        for chain in &self.chains {
            let first = match &chain.start {
                Start::Hook(_) => at,
                Start::Named(head) => at + head.bytes.len(),
            };
            firsts.insert(chain.number, first);
            let rules: usize = chain.rules.iter().map(|rule| rule.bytes.len()).sum();
            let end = first + rules;
            if let Start::Hook(hook) = chain.start {
                info.hook_entry[hook] = first as u32;
                info.underflow[hook] = end as u32;
            }
            at = end + chain.end.bytes.len();
            if at > MAX_SIZE {
                return Err(Fault::refused(
                    "the iptables table would be larger than 64 MB",
                ));
            }
        }
        let mut entries = Vec::with_capacity(at + self.tail.bytes.len());
        let mut origins = Vec::new();
        for rule in self.rules() {
            let start = entries.len();
            entries.extend_from_slice(&rule.bytes);
            origins.push(rule.origin);
            let verdict = match rule.goes {
                Goes::Target => continue,
                Goes::On => entries.len(),
                Goes::Chain(number) => *firsts
                    .get(&number)
                    .ok_or_else(|| bad(start, "a jump to a chain that is gone"))?,
            };
            let target = target_of(Layout::of(self.family), &rule.bytes)
                .ok_or_else(|| bad(start, "no target"))?;
            let field = start + target + EXTENSION_HEAD;
            entries[field..field + 4].copy_from_slice(&(verdict as i32).to_ne_bytes());
        }
        info.size = entries.len() as u32;
        info.num_entries = origins.len() as u32;
        Ok(Encoded {
            info,
            entries,
            origins,
        })
    }

    /// All entries in their order.
    fn rules(&self) -> impl Iterator<Item = &Rule<'a>> {
        let chains = self.chains.iter().flat_map(|chain| {
            let head = match &chain.start {
                Start::Hook(_) => None,
                Start::Named(head) => Some(head),
            };
            head.into_iter().chain(chain.to_the_end())
        });
        chains.chain(std::iter::once(&self.tail))
    }
}

impl Rule<'_> {
    pub fn new(bytes: Vec<u8>, goes: Goes) -> Self {
        Rule {
            bytes: Cow::Owned(bytes),
            goes,
            origin: None,
        }
    }
}

fn target_of(layout: Layout, entry: &[u8]) -> Option<usize> {
    let target = layout::u16_at(entry, layout.target_offset)?;
    (target >= layout.head && target + EXTENSION_HEAD <= entry.len()).then_some(target)
}

/// A table while it is decoded.
struct Raw<'a, 'i> {
    layout: Layout,
    info: &'i Info,
    entries: &'a [u8],
    /// Offset of a user's chain's first entry → its number.
    firsts: HashMap<usize, u32>,
    /// Chain, rule, offset: where that rule goes to.
    jumps: Vec<(usize, usize, usize)>,
}

impl<'a> Raw<'a, '_> {
    fn chains(&mut self) -> Result<(Vec<Chain<'a>>, Rule<'a>, usize)> {
        let mut chains: Vec<Chain<'a>> = Vec::new();
        let mut open: Option<(Start<'a>, Vec<u8>, Vec<Rule<'a>>)> = None;
        let (mut at, mut index) = (0, 0);
        while at < self.entries.len() {
            let mut rule = self.entry(at, index)?;
            let next = at + rule.bytes.len();
            let error = self.error_name(&rule);
            let hook = self.hook_at(at);
            if (error.is_some() || hook.is_some())
                && let Some(open) = open.take()
            {
                chains.push(self.close(open, chains.len(), at)?);
            }
            match (error, hook) {
                (Some(_), None) if next == self.entries.len() => {
                    self.check_hooks(&chains)?;
                    return Ok((chains, rule, index + 1));
                }
                (Some(name), None) => {
                    self.firsts.insert(next, chains.len() as u32);
                    open = Some((Start::Named(rule), name, Vec::new()));
                }
                (Some(_), Some(_)) => return Err(bad(at, "a hook points to an ERROR entry")),
                (None, _) => {
                    if let Some(hook) = hook {
                        open = Some((Start::Hook(hook), HOOKS[hook].into(), Vec::new()));
                    }
                    let Some((_, _, rules)) = &mut open else {
                        return Err(bad(at, "a rule outside of all chains"));
                    };
                    if let Some(to) = self.jump(at, next, &mut rule)? {
                        self.jumps.push((chains.len(), rules.len(), to));
                    }
                    rules.push(rule);
                }
            }
            at = next;
            index += 1;
        }
        Err(bad(at, "the table has no end"))
    }

    /// One entry with everything in it inside its bounds.
    fn entry(&self, at: usize, index: usize) -> Result<Rule<'a>> {
        let rest = &self.entries[at..];
        let len = layout::u16_at(rest, self.layout.next_offset)
            .filter(|len| len.is_multiple_of(ALIGN) && *len >= self.layout.head + EXTENSION_HEAD)
            .ok_or_else(|| bad(at, "a wrong length"))?;
        let bytes = rest.get(..len).ok_or_else(|| bad(at, "cut off"))?;
        let target = target_of(self.layout, bytes).ok_or_else(|| bad(at, "no target"))?;
        let mut part = self.layout.head;
        while part < len {
            let size = layout::u16_at(bytes, part).unwrap_or(0);
            let fits = match part < target {
                true => part + size <= target,
                false => part == target && part + size == len,
            };
            if size < EXTENSION_HEAD || !size.is_multiple_of(ALIGN) || !fits {
                return Err(bad(at, "a match or target of a wrong size"));
            }
            part += size;
        }
        Ok(Rule {
            bytes: Cow::Borrowed(bytes),
            goes: Goes::Target,
            origin: Some(index),
        })
    }

    fn hook_at(&self, at: usize) -> Option<usize> {
        (0..HOOKS.len()).find(|hook| {
            self.info.valid_hooks & (1 << hook) != 0 && self.info.hook_entry[*hook] as usize == at
        })
    }

    fn error_name(&self, rule: &Rule<'a>) -> Option<Vec<u8>> {
        let target = target_of(self.layout, &rule.bytes)?;
        if layout::text_at(&rule.bytes, target + 2, EXTENSION_NAME)? != b"ERROR" {
            return None;
        }
        let name = layout::text_at(&rule.bytes, target + EXTENSION_HEAD, layout::ERROR_NAME)?;
        Some(name.to_vec())
    }

    /// Where the rule jumps to, if it does.
    fn jump(&self, at: usize, next: usize, rule: &mut Rule<'a>) -> Result<Option<usize>> {
        let target = target_of(self.layout, &rule.bytes).ok_or_else(|| bad(at, "no target"))?;
        if layout::text_at(&rule.bytes, target + 2, EXTENSION_NAME) != Some(b"") {
            return Ok(None);
        }
        let verdict = layout::i32_at(&rule.bytes, target + EXTENSION_HEAD)
            .ok_or_else(|| bad(at, "no verdict"))?;
        match usize::try_from(verdict) {
            Err(_) => Ok(None),
            Ok(to) if to == next => {
                rule.goes = Goes::On;
                Ok(None)
            }
            Ok(to) => Ok(Some(to)),
        }
    }

    fn close(
        &self,
        (start, name, mut rules): (Start<'a>, Vec<u8>, Vec<Rule<'a>>),
        number: usize,
        at: usize,
    ) -> Result<Chain<'a>> {
        let end = rules
            .pop()
            .ok_or_else(|| bad(at, "a chain without an end"))?;
        if let Start::Hook(hook) = start
            && self.info.underflow[hook] as usize != at - end.bytes.len()
        {
            return Err(bad(at, "a chain that does not end with its policy"));
        }
        Ok(Chain {
            number: number as u32,
            name,
            start,
            rules,
            end,
        })
    }

    fn check_hooks(&self, chains: &[Chain<'a>]) -> Result<()> {
        for (hook, name) in HOOKS.iter().enumerate() {
            let found = chains
                .iter()
                .any(|chain| matches!(chain.start, Start::Hook(number) if number == hook));
            if found != (self.info.valid_hooks & (1 << hook) != 0) {
                return Err(bad(0, &format!("no chain of its own for {name}")));
            }
        }
        Ok(())
    }

    /// Turns offsets into chains, now that all chains are known.
    fn resolve(&self, chains: &mut [Chain<'a>]) -> Result<()> {
        for (chain, index, to) in &self.jumps {
            let number = self
                .firsts
                .get(to)
                .ok_or_else(|| bad(*to, "a jump that does not lead to a chain"))?;
            let chain = &mut chains[*chain];
            let rule = match chain.rules.get_mut(*index) {
                Some(rule) => rule,
                None => &mut chain.end,
            };
            rule.goes = Goes::Chain(*number);
        }
        Ok(())
    }
}
