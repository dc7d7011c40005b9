//! From a table of verdicts to classic BPF: equal neighbours become ranges,
//! ranges a binary search, and every way out is shared (88 instructions for the
//! default filter, seven compares for a call).
//!
//! A jump reaches 255 instructions and only forward, so the program is emitted
//! from its end: every jump goes to what is already there, over a stepping
//! stone if that is too far.

use super::{Check, Verdict};
use sys::seccomp::Insn;

pub(super) const RET_ALLOW: u32 = 0x7fff_0000;
pub(super) const RET_KILL_PROCESS: u32 = 0x8000_0000;
pub(super) const RET_ERRNO: u32 = 0x0005_0000;
const ENOSYS: u32 = 38;

/// CLONE_NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET.
const NAMESPACE_FLAGS: u32 = 0x7e02_0000;

// Classic BPF: load a word of the call's data, compare, and, return.
pub(super) const LOAD: u16 = 0x20;
pub(super) const IF_EQUAL: u16 = 0x15;
pub(super) const IF_AT_LEAST: u16 = 0x35;
pub(super) const IF_ANY_BIT: u16 = 0x45;
pub(super) const GO: u16 = 0x05;
pub(super) const AND: u16 = 0x54;
pub(super) const RETURN: u16 = 0x06;
// Offsets in `struct seccomp_data`; every architecture here is little-endian.
pub(super) const NUMBER: u32 = 0;
pub(super) const ARCH: u32 = 4;
pub(super) const ARGUMENT: u32 = 16;

/// `verdicts[n]` is on number n; a number above them all is absent. `deny` is
/// what the filter returns to deny. Another architecture kills: its numbers
/// mean other calls.
pub(super) fn compile(audit: u32, deny: u32, verdicts: &[Verdict]) -> Vec<Insn> {
    let mut ranges: Vec<(u32, Verdict)> = Vec::new();
    for (number, verdict) in verdicts
        .iter()
        .copied()
        .chain([Verdict::Absent])
        .enumerate()
    {
        if ranges.last().is_none_or(|(_, last)| *last != verdict) {
            ranges.push((number as u32, verdict));
        }
    }
    let mut program = Backwards {
        code: Vec::new(),
        ends: Vec::new(),
        deny,
    };
    let search = program.search(&ranges);
    program.arrive(search);
    program.push(LOAD, 0, 0, NUMBER);
    program.push(RETURN, 0, 0, RET_KILL_PROCESS);
    program.push(IF_EQUAL, 1, 0, audit);
    program.push(LOAD, 0, 0, ARCH);
    program.code.reverse();
    program.code
}

/// A program under construction, its last instruction first.
struct Backwards {
    code: Vec<Insn>,
    /// The newest copy of each end.
    ends: Vec<(Verdict, usize)>,
    deny: u32,
}

/// A jump reaches 255 instructions; one that is pushed beside another keeps
/// two in reserve.
const REACH: usize = 253;

impl Backwards {
    fn push(&mut self, code: u16, jt: u8, jf: u8, k: u32) -> usize {
        self.code.push(Insn { code, jt, jf, k });
        self.code.len() - 1
    }

    /// How many instructions the next one would skip to get to `target`.
    fn skip(&self, target: usize) -> usize {
        self.code.len() - 1 - target
    }

    fn branch(&mut self, code: u16, k: u32, yes: usize, no: usize) -> usize {
        let (yes, no) = (self.near(yes), self.near(no));
        let (jt, jf) = (self.skip(yes) as u8, self.skip(no) as u8);
        self.push(code, jt, jf, k)
    }

    /// `target`, or a stepping stone to it.
    fn near(&mut self, target: usize) -> usize {
        match self.skip(target) {
            skip if skip > REACH => self.push(GO, 0, 0, skip as u32),
            _ => target,
        }
    }

    /// What is pushed next falls through to `target`.
    fn arrive(&mut self, target: usize) {
        match self.skip(target) {
            0 => {}
            skip => {
                self.push(GO, 0, 0, skip as u32);
            }
        }
    }

    fn search(&mut self, ranges: &[(u32, Verdict)]) -> usize {
        match ranges {
            [(_, verdict)] => self.end(*verdict),
            _ => {
                let (low, high) = ranges.split_at(ranges.len() / 2);
                let at = high[0].0;
                let (high, low) = (self.search(high), self.search(low));
                self.branch(IF_AT_LEAST, at, high, low)
            }
        }
    }

    /// Where a verdict is carried out: a copy within reach, or a new one.
    fn end(&mut self, verdict: Verdict) -> usize {
        if let Some((_, at)) = self
            .ends
            .iter()
            .find(|(known, at)| *known == verdict && self.skip(*at) <= REACH / 2)
        {
            return *at;
        }
        let at = match verdict {
            Verdict::Allow => self.push(RETURN, 0, 0, RET_ALLOW),
            Verdict::Deny => self.push(RETURN, 0, 0, self.deny),
            Verdict::Absent => self.push(RETURN, 0, 0, RET_ERRNO | ENOSYS),
            Verdict::If(check) => self.check(check),
        };
        self.ends.retain(|(known, _)| *known != verdict);
        self.ends.push((verdict, at));
        at
    }

    fn check(&mut self, check: Check) -> usize {
        let (allow, deny) = (self.end(Verdict::Allow), self.end(Verdict::Deny));
        let first = match check {
            Check::Clone => self.branch(IF_ANY_BIT, NAMESPACE_FLAGS, deny, allow),
            Check::Socket => {
                let vsock = self.branch(IF_EQUAL, 40, deny, allow);
                self.branch(IF_EQUAL, 38, deny, vsock)
            }
            Check::Personality => {
                // PER_LINUX, PER_LINUX32, each with UNAME26 or without.
                let known = self.branch(IF_EQUAL, 0, allow, deny);
                let masked = self.push(AND, 0, 0, !0x0002_0008);
                debug_assert_eq!(masked, known + 1);
                self.branch(IF_EQUAL, 0xffff_ffff, allow, masked)
            }
        };
        self.arrive(first);
        self.push(LOAD, 0, 0, ARGUMENT)
    }
}
