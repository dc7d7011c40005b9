//! Random filters against two others: their meaning as sets of names, and what
//! seccompiler makes of that meaning, on every architecture.

use super::dice::Dice;
use super::program::*;
use super::tests::{ARCHES, ARGUMENTS, run};
use super::*;
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, TargetArch,
};
use std::collections::{BTreeMap, BTreeSet};

/// What may become of a call, and what a condition of it says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Meaning {
    Allowed,
    Denied,
    Absent,
    Checked,
}

impl Policy {
    /// What the filter answers to a call, read off the table.
    pub(crate) fn says(&self, number: u32, argument: u64) -> u32 {
        let verdict = self.verdicts.get(number as usize);
        match verdict.copied().unwrap_or(Verdict::Absent) {
            Verdict::Allow => RET_ALLOW,
            Verdict::Deny => self.denial.value(),
            Verdict::Absent => RET_ERRNO | 38,
            Verdict::If(check) if passes(check, argument) => RET_ALLOW,
            Verdict::If(_) => self.denial.value(),
        }
    }

    /// Does it deny by a signal?
    pub(crate) fn kills(&self) -> bool {
        self.denial == Denial::Kill
    }

    /// Of a call that is judged by its argument.
    pub(crate) fn number(&self, name: &str) -> Option<u32> {
        self.arch.number(name).map(u32::from)
    }
}

fn passes(check: Check, argument: u64) -> bool {
    let argument = argument as u32;
    match check {
        Check::Clone => argument & 0x7e02_0000 == 0,
        Check::Personality => [0, 8, 0x2_0000, 0x2_0008, !0].contains(&argument),
        Check::Socket => ![38, 40].contains(&argument),
    }
}

fn check_of(name: &str) -> Check {
    match name {
        "clone" => Check::Clone,
        "personality" => Check::Personality,
        _ => Check::Socket,
    }
}

/// Sets of names, as the words of the isolators have them.
#[derive(Default)]
struct Sets {
    retain: Option<bool>,
    /// Outright.
    named: BTreeSet<&'static str>,
    default: bool,
    black: bool,
}

impl Sets {
    /// The sets with the denial; `None`: no filter.
    fn of(isolators: &[Isolator]) -> Option<(Sets, u32)> {
        let (retain, set, errno) = match isolators.first().map(|isolator| &isolator.known) {
            Some(Known::SeccompRetain { set, errno }) => (true, set, errno),
            Some(Known::SeccompRemove { set, errno }) => (false, set, errno),
            _ => return Some((Sets::default(), RET_ERRNO | 1)),
        };
        let errno = errno.as_deref().and_then(errno_number);
        let deny = errno.map_or(RET_KILL_PROCESS, |errno| RET_ERRNO | u32::from(errno));
        let has = |word: &str| set.iter().any(|entry| entry == word);
        if retain && has("@appc.io/all") {
            return None;
        }
        if has("@appc.io/empty") {
            let deny = errno.map_or(RET_ERRNO | 1, |errno| RET_ERRNO | u32::from(errno));
            return Some((Sets::default(), deny));
        }
        let mut sets = Sets {
            retain: Some(retain),
            ..Sets::default()
        };
        if retain {
            sets.named.extend(SYSTEMD[0].1.split_whitespace());
        }
        for entry in set {
            match entry
                .strip_prefix('@')
                .and_then(|word| word.split_once('/'))
            {
                None => drop(sets.named.insert(Box::leak(entry.clone().into_boxed_str()))),
                Some(("systemd", group)) => {
                    let group = SYSTEMD.iter().find(|(name, _)| *name == group);
                    sets.named
                        .extend(group.map_or("", |(_, names)| *names).split_whitespace());
                }
                Some((_, "default-whitelist")) if retain => sets.default = true,
                Some((_, "default-whitelist")) => sets.named.extend(DEFAULT.split_whitespace()),
                Some(_) => {
                    sets.named.extend(BLACK.split_whitespace());
                    sets.black = !retain;
                }
            }
        }
        Some((sets, deny))
    }

    fn of_call(&self, name: &str, caps: &CapSet) -> Meaning {
        let plain = self.plain(name, caps);
        if name != "clone3" {
            return plain;
        }
        match (plain, self.plain("clone", caps)) {
            (Meaning::Allowed, Meaning::Allowed) => Meaning::Allowed,
            _ => Meaning::Absent,
        }
    }

    fn plain(&self, name: &str, caps: &CapSet) -> Meaning {
        let named = self.named.contains(name);
        let checked = ["clone", "personality", "socket"].contains(&name);
        let by_default = || {
            let granted = BY_CAPABILITY
                .iter()
                .any(|(cap, names)| caps.contains(*cap) && has_word(names, name));
            match granted || has_word(DEFAULT, name) {
                true => Meaning::Allowed,
                false if checked => Meaning::Checked,
                false => Meaning::Denied,
            }
        };
        match self.retain {
            None => by_default(),
            Some(true) if named => Meaning::Allowed,
            Some(true) if self.default => by_default(),
            Some(true) => Meaning::Denied,
            Some(false) if named => Meaning::Denied,
            Some(false) if self.black && name == "clone" && !caps.contains(Cap::SYS_ADMIN) => {
                Meaning::Checked
            }
            Some(false) if self.black && name == "personality" => Meaning::Checked,
            Some(false) => Meaning::Allowed,
        }
    }
}

fn has_word(list: &str, word: &str) -> bool {
    list.split_whitespace().any(|known| known == word)
}

/// The conditions under which seccompiler shall let a call pass.
fn rules(check: Check) -> Vec<SeccompRule> {
    let condition = |operation, value| {
        SeccompCondition::new(0, SeccompCmpArgLen::Dword, operation, value)
            .expect("argument 0 is one")
    };
    let rule = |conditions| SeccompRule::new(conditions).expect("there are conditions");
    match check {
        Check::Clone => vec![rule(vec![condition(
            SeccompCmpOp::MaskedEq(0x7e02_0000),
            0,
        )])],
        Check::Personality => [0, 8, 0x2_0000, 0x2_0008, 0xffff_ffff]
            .map(|value| rule(vec![condition(SeccompCmpOp::Eq, value)]))
            .into(),
        Check::Socket => vec![rule(
            [38, 40]
                .map(|family| condition(SeccompCmpOp::Ne, family))
                .into(),
        )],
    }
}

fn program(
    rules: BTreeMap<i64, Vec<SeccompRule>>,
    mismatch: SeccompAction,
    matched: SeccompAction,
    arch: TargetArch,
) -> Vec<Insn> {
    let filter = SeccompFilter::new(rules, mismatch, matched, arch).expect("a valid filter");
    let program: BpfProgram = filter.try_into().expect("a filter that fits");
    let insn = |one: &seccompiler::sock_filter| Insn {
        code: one.code,
        jt: one.jt,
        jf: one.jf,
        k: one.k,
    };
    program.iter().map(insn).collect()
}

/// One verdict by two programs: seccompiler knows one answer besides the usual.
struct Oracle {
    /// Allows, or answers with the errno E2BIG.
    allows: Vec<Insn>,
    /// ENOSYS, or allows.
    absent: Vec<Insn>,
}

impl Oracle {
    fn of(arch: &Arch, target: TargetArch, meaning: &dyn Fn(&str) -> Meaning) -> Oracle {
        let (mut allowed, mut known) = (BTreeMap::new(), BTreeMap::new());
        for (name, number) in arch.numbers {
            let number = i64::from(*number);
            match meaning(name) {
                Meaning::Allowed => drop(allowed.insert(number, Vec::new())),
                Meaning::Checked => drop(allowed.insert(number, rules(check_of(name)))),
                Meaning::Denied | Meaning::Absent => {}
            }
            if meaning(name) != Meaning::Absent {
                known.insert(number, Vec::new());
            }
        }
        let (allow, errno) = (SeccompAction::Allow, SeccompAction::Errno);
        Oracle {
            allows: program(allowed, errno(7), allow.clone(), target),
            absent: program(known, errno(38), allow, target),
        }
    }

    fn says(&self, audit: u32, number: u32, argument: u64, deny: u32) -> u32 {
        match run(&self.absent, audit, number, argument) {
            RET_ALLOW => match run(&self.allows, audit, number, argument) {
                0x0005_0007 => deny,
                other => other,
            },
            other => other,
        }
    }
}

#[test]
fn seccompiler_agrees_on_random_sets() {
    const SETS: usize = 150;
    let seed = Dice::seed();
    let mut dice = Dice::new(seed);
    let targets = [TargetArch::x86_64, TargetArch::aarch64, TargetArch::riscv64];
    let (mut made, mut longest, mut questions) = (0, 0, 0usize);
    while made < SETS {
        let place = made % ARCHES.len();
        let arch = ARCHES[place];
        let isolators = dice.seccomp(arch);
        let caps = effective_of(&mut dice);
        let set = made;
        let told = || format!("RKT_SEED={seed} set {set} {isolators:?} with {caps}");
        let policy = match Policy::on(arch, &isolators, &caps) {
            Ok(policy) => policy,
            Err(fault) => {
                assert!(
                    fault.cause.contains("names \"execve\""),
                    "{fault} {}",
                    told()
                );
                continue;
            }
        };
        let meant = Sets::of(&isolators);
        assert_eq!(policy.is_some(), meant.is_some(), "{}", told());
        made += 1;
        let Some((policy, (sets, deny))) = policy.zip(meant) else {
            continue;
        };
        let ours = policy.compile();
        longest = longest.max(ours.len());
        let oracle = Oracle::of(arch, targets[place], &|name| sets.of_call(name, &caps));
        let odd = [0x3fff_ffff, 0x4000_0000, 0x4000_003b, 0xffff_ffff];
        for number in (0..500).chain(odd) {
            let judged = ["clone", "personality", "socket"]
                .iter()
                .any(|name| policy.number(name) == Some(number));
            let arguments = if judged {
                &ARGUMENTS[..]
            } else {
                &ARGUMENTS[..1]
            };
            for &argument in arguments {
                questions += 1;
                let got = run(&ours, arch.audit, number, argument);
                let asked = || format!("{number} {argument:#x} {}", told());
                assert_eq!(got, policy.says(number, argument), "the table: {}", asked());
                let theirs = oracle.says(arch.audit, number, argument, deny);
                assert_eq!(got, theirs, "seccompiler: {}", asked());
            }
        }
        assert_eq!(run(&ours, arch.audit ^ 1, 0, 0), RET_KILL_PROCESS);
        assert_eq!(run(&oracle.allows, arch.audit ^ 1, 0, 0), RET_KILL_PROCESS);
    }
    eprintln!("{made} sets, {questions} questions, at most {longest} instructions");
}

fn effective_of(dice: &mut Dice) -> CapSet {
    let (isolators, _) = dice.capabilities();
    super::super::caps::effective(&isolators).expect("one kind of isolator, known names")
}
