//! The filter against its meaning: every number and many arguments are run
//! through the emitted program, and asked of the sets of names directly.
#![expect(clippy::unwrap_used, reason = "tests")]

use super::super::seccomp_names::{AARCH64_ARCH, RISCV64_ARCH, X86_64_ARCH};
use super::program::*;
use super::*;
use std::collections::{BTreeMap, BTreeSet};

pub(super) const ARCHES: [&Arch; 3] = [&X86_64_ARCH, &AARCH64_ARCH, &RISCV64_ARCH];

/// Isolators as a manifest brings them.
pub(crate) fn isolators(list: Vec<Known>) -> Vec<Isolator> {
    list.into_iter()
        .map(|known| Isolator {
            name: model::AcIdentifier::new("os/linux/under-test").unwrap(),
            value: model::Value::Null,
            known,
        })
        .collect()
}

fn retain(set: &[&str], errno: Option<&str>) -> Vec<Isolator> {
    let set = set.iter().map(|name| name.to_string()).collect();
    isolators(vec![Known::SeccompRetain {
        set,
        errno: errno.map(str::to_string),
    }])
}

fn remove(set: &[&str], errno: Option<&str>) -> Vec<Isolator> {
    let set = set.iter().map(|name| name.to_string()).collect();
    isolators(vec![Known::SeccompRemove {
        set,
        errno: errno.map(str::to_string),
    }])
}

fn caps(list: &[Cap]) -> CapSet {
    list.iter().fold(CapSet::DEFAULT, |set, cap| set.with(*cap))
}

/// Runs a program as the kernel would.
pub(super) fn run(code: &[Insn], arch: u32, number: u32, argument: u64) -> u32 {
    // As seccompiler has it beside what is ours.
    const IF_ABOVE: u16 = 0x25;
    const ARGUMENT_HIGH: u32 = ARGUMENT + 4;
    let mut accumulator = 0u32;
    let mut at = 0;
    loop {
        let one = code[at];
        at += 1;
        let jump = |yes: bool| usize::from(if yes { one.jt } else { one.jf });
        at += match one.code {
            LOAD => {
                accumulator = match one.k {
                    NUMBER => number,
                    ARCH => arch,
                    ARGUMENT => argument as u32,
                    ARGUMENT_HIGH => (argument >> 32) as u32,
                    other => unreachable!("offset {other}"),
                };
                0
            }
            IF_EQUAL => jump(accumulator == one.k),
            IF_AT_LEAST => jump(accumulator >= one.k),
            IF_ABOVE => jump(accumulator > one.k),
            IF_ANY_BIT => jump(accumulator & one.k != 0),
            GO => one.k as usize,
            AND => {
                accumulator &= one.k;
                0
            }
            RETURN => return one.k,
            other => unreachable!("operation {other:#x}"),
        };
    }
}

pub(super) const ARGUMENTS: [u64; 14] = [
    0,
    1,
    2,
    8,
    17,
    38,
    39,
    40,
    41,
    0x2_0000,
    0x2_0008,
    0x1000_0000,
    0x7e02_0000,
    0xffff_ffff,
];
const EPERM_VALUE: u32 = RET_ERRNO | 1;
const ENOSYS_VALUE: u32 = RET_ERRNO | 38;

/// Compares program and table with `expected(name, argument)` for all numbers.
fn check(
    arch: &'static Arch,
    isolators: &[Isolator],
    caps: CapSet,
    expected: &dyn Fn(&str, u64) -> u32,
) -> Vec<Insn> {
    let code = Policy::on(arch, isolators, &caps)
        .unwrap()
        .unwrap()
        .compile();
    let names: BTreeMap<u32, &str> = arch
        .numbers
        .iter()
        .map(|(name, number)| (u32::from(*number), *name))
        .collect();
    for number in (0..600).chain([
        0x3fff_ffff,
        0x4000_0000,
        0x4000_0001,
        0x4000_003b,
        0x7fff_ffff,
        0xffff_ffff,
    ]) {
        for argument in ARGUMENTS {
            let expected = names
                .get(&number)
                .map_or(ENOSYS_VALUE, |name| expected(name, argument));
            let got = run(&code, arch.audit, number, argument);
            assert_eq!(
                got,
                expected,
                "{number} {:?} {argument:#x}",
                names.get(&number)
            );
        }
    }
    for other in [0, 0x4000_0003, arch.audit ^ 1, 0x4000_0028] {
        assert_eq!(run(&code, other, 0, 0), RET_KILL_PROCESS);
    }
    code
}

fn personality_is_usual(argument: u64) -> bool {
    [0, 8, 0x2_0000, 0x2_0008, 0xffff_ffff].contains(&argument)
}

/// What the default filter says, without its tables of verdicts.
fn default_says(caps: CapSet, deny: u32) -> impl Fn(&str, u64) -> u32 {
    let mut allowed: BTreeSet<&str> = DEFAULT.split_whitespace().collect();
    for (cap, names) in &BY_CAPABILITY {
        if caps.contains(*cap) {
            allowed.extend(names.split_whitespace());
        }
    }
    move |name, argument| {
        let yes = match name {
            _ if allowed.contains(name) => true,
            "clone3" => return ENOSYS_VALUE,
            "clone" => argument & 0x7e02_0000 == 0,
            "personality" => personality_is_usual(argument),
            "socket" => argument != 38 && argument != 40,
            _ => false,
        };
        if yes { RET_ALLOW } else { deny }
    }
}

#[test]
fn the_default_filter_means_its_lists() {
    let all = [
        Cap::SYS_ADMIN,
        Cap::SYS_PTRACE,
        Cap::SYS_TIME,
        Cap::SYS_NICE,
        Cap::SYSLOG,
        Cap::BPF,
        Cap::DAC_READ_SEARCH,
    ];
    for arch in ARCHES {
        for set in [
            CapSet::DEFAULT,
            CapSet::EMPTY,
            CapSet::ALL,
            caps(&all),
            caps(&[Cap::SYS_ADMIN]),
        ] {
            check(arch, &[], set, &default_says(set, EPERM_VALUE));
        }
    }
}

#[test]
fn the_default_filter_is_short() {
    let code = filter(&[], &CapSet::DEFAULT).unwrap().unwrap();
    assert!(code.len() <= 150, "{} instructions", code.len());
}

#[test]
fn nothing_of_the_blacklist_is_in_the_default_without_its_capability() {
    let policy = Policy::on(&X86_64_ARCH, &[], &CapSet::DEFAULT)
        .unwrap()
        .unwrap();
    for name in BLACK.split_whitespace() {
        assert!(
            matches!(policy.verdict(name), None | Some(Verdict::Deny)),
            "{name}"
        );
    }
}

#[test]
fn a_retain_set_is_that_and_what_starting_takes() {
    for arch in ARCHES {
        let implied: BTreeSet<&str> = SYSTEMD[0].1.split_whitespace().collect();
        let says = |name: &str, _| match name {
            "read" | "openat" => RET_ALLOW,
            "clone3" => ENOSYS_VALUE,
            _ if implied.contains(name) => RET_ALLOW,
            _ => RET_KILL_PROCESS,
        };
        // stat64 has a number on other architectures only.
        check(
            arch,
            &retain(&["read", "openat", "stat64"], None),
            CapSet::DEFAULT,
            &says,
        );
    }
    assert!(SYSTEMD[0].0 == "default-whitelist");
    for name in [
        "execve",
        "exit",
        "exit_group",
        "rt_sigreturn",
        "getrlimit",
        "clock_gettime",
        "nanosleep",
    ] {
        assert!(
            SYSTEMD[0].1.split_whitespace().any(|known| known == name),
            "{name}"
        );
    }
}

#[test]
fn a_retained_default_denies_with_the_users_errno() {
    let implied: BTreeSet<&str> = SYSTEMD[0].1.split_whitespace().collect();
    let default = default_says(CapSet::DEFAULT, RET_ERRNO | 13);
    let says = |name: &str, argument| match name {
        "clone" | "ptrace" => RET_ALLOW,
        _ if implied.contains(name) => RET_ALLOW,
        _ => default(name, argument),
    };
    // A plain clone in the set is wider than the default's, wherever it stands.
    for set in [
        ["clone", "@rkt/default-whitelist", "ptrace"],
        ["@docker/default-whitelist", "ptrace", "clone"],
    ] {
        check(
            &X86_64_ARCH,
            &retain(&set, Some("EACCES")),
            CapSet::DEFAULT,
            &says,
        );
    }
}

#[test]
fn a_remove_set_takes_away_only_that() {
    let says = |name: &str, _| match name {
        "mkdir" | "socket" => RET_ERRNO | 22,
        _ => RET_ALLOW,
    };
    check(
        &X86_64_ARCH,
        &remove(&["mkdir", "socket"], Some("EINVAL")),
        CapSet::DEFAULT,
        &says,
    );
    // Without clone, clone3 must not be the way around.
    let says = |name: &str, _| match name {
        "clone" => RET_KILL_PROCESS,
        "clone3" => ENOSYS_VALUE,
        _ => RET_ALLOW,
    };
    check(
        &X86_64_ARCH,
        &remove(&["clone"], None),
        CapSet::DEFAULT,
        &says,
    );
}

#[test]
fn a_removed_blacklist_leaves_fork() {
    let black: BTreeSet<&str> = BLACK.split_whitespace().collect();
    let says = |name: &str, argument: u64| match name {
        "clone3" => ENOSYS_VALUE,
        "clone" if argument & 0x7e02_0000 != 0 => RET_KILL_PROCESS,
        "personality" if !personality_is_usual(argument) => RET_KILL_PROCESS,
        _ if black.contains(name) => RET_KILL_PROCESS,
        _ => RET_ALLOW,
    };
    for arch in ARCHES {
        check(
            arch,
            &remove(&["@rkt/default-blacklist"], None),
            CapSet::DEFAULT,
            &says,
        );
    }
}

#[test]
fn the_longest_program_still_jumps_right() {
    // Every second call denied: more ranges than one jump can span.
    let mut calls: Vec<(u16, &str)> = X86_64_ARCH
        .numbers
        .iter()
        .map(|(name, number)| (*number, *name))
        .collect();
    calls.sort_unstable();
    let set: Vec<&str> = calls
        .iter()
        .filter(|(number, name)| number % 2 == 1 && *name != "execve")
        .map(|(_, name)| *name)
        .collect();
    let mut with_groups = set.clone();
    with_groups.push("@rkt/default-blacklist");
    let black: BTreeSet<&str> = BLACK.split_whitespace().collect();
    let removed: BTreeSet<&str> = set.into_iter().collect();
    let says = |name: &str, argument: u64| match name {
        "clone3" => ENOSYS_VALUE,
        "clone" if argument & 0x7e02_0000 == 0 => RET_ALLOW,
        "clone" => RET_ERRNO | 1,
        _ if removed.contains(name) || black.contains(name) => RET_ERRNO | 1,
        "personality" if !personality_is_usual(argument) => RET_ERRNO | 1,
        _ => RET_ALLOW,
    };
    let code = check(
        &X86_64_ARCH,
        &remove(&with_groups, Some("EPERM")),
        CapSet::DEFAULT,
        &says,
    );
    assert!(code.len() > 255, "{} instructions test nothing", code.len());
    assert!(code.len() < 4096);
}

#[test]
fn wildcards_that_override() {
    assert!(
        filter(&retain(&["read", "@appc.io/all"], None), &CapSet::DEFAULT)
            .unwrap()
            .is_none()
    );
    let default = filter(&[], &CapSet::DEFAULT).unwrap();
    assert_eq!(
        filter(&remove(&["read", "@appc.io/empty"], None), &CapSet::DEFAULT).unwrap(),
        default
    );
    let says = default_says(CapSet::DEFAULT, ENOSYS_VALUE);
    check(
        &X86_64_ARCH,
        &remove(&["@appc.io/empty"], Some("ENOSYS")),
        CapSet::DEFAULT,
        &says,
    );
}

#[test]
fn what_cannot_be_meant_is_refused() {
    let no_caps = CapSet::DEFAULT;
    for (isolators, text) in [
        (
            retain(&["opennat"], None),
            "unknown system call \"opennat\" in a seccomp isolator",
        ),
        (
            retain(&[""], None),
            "unknown system call \"\" in a seccomp isolator",
        ),
        (
            retain(&["@rkt/nothing"], None),
            "unknown seccomp wildcard \"@rkt/nothing\"",
        ),
        (
            retain(&["@systemd"], None),
            "unknown seccomp wildcard \"@systemd\"",
        ),
        (
            remove(&["@appc.io/all"], None),
            "\"@appc.io/all\" has no meaning in os/linux/seccomp-remove-set",
        ),
        (
            retain(&["@appc.io/empty"], None),
            "\"@appc.io/empty\" has no meaning in os/linux/seccomp-retain-set",
        ),
        (
            retain(&["read"], Some("EFOO")),
            "unknown errno \"EFOO\" in a seccomp isolator",
        ),
        (
            retain(&["read"], Some("-")),
            "unknown errno \"-\" in a seccomp isolator",
        ),
        (
            remove(&["execve"], None),
            "os/linux/seccomp-remove-set names \"execve\", which starts the app itself",
        ),
        (
            [retain(&["read"], None), remove(&["read"], None)].concat(),
            "too many seccomp isolators specified",
        ),
        (
            [retain(&["@appc.io/all"], None), retain(&["read"], None)].concat(),
            "too many seccomp isolators specified",
        ),
    ] {
        let fault = filter(&isolators, &no_caps).unwrap_err();
        assert_eq!(fault.to_string(), text);
    }
}

#[test]
fn errnos_are_the_kernels() {
    for (name, number) in [
        ("EPERM", 1),
        ("EACCES", 13),
        ("EACCESS", 13),
        ("EINVAL", 22),
        ("ENOSYS", 38),
        ("ELOOP", 40),
        ("ENOMSG", 42),
        ("EBFONT", 59),
        ("EOVERFLOW", 75),
        ("EILSEQ", 84),
        ("EOPNOTSUPP", 95),
        ("ENOTSUP", 95),
        ("ETIMEDOUT", 110),
        ("ECANCELED", 125),
        ("EHWPOISON", 133),
    ] {
        assert_eq!(errno_number(name), Some(number), "{name}");
    }
}

#[test]
fn tables_are_sorted_and_lists_hold_real_names() {
    for arch in ARCHES {
        assert!(arch.numbers.windows(2).all(|pair| pair[0].0 < pair[1].0));
        let numbers: BTreeSet<u16> = arch.numbers.iter().map(|(_, number)| *number).collect();
        assert_eq!(numbers.len(), arch.numbers.len());
        assert_eq!(numbers.last(), Some(&NEWEST));
    }
    let lists = [DEFAULT, BLACK]
        .into_iter()
        .chain(SYSTEMD.iter().map(|(_, names)| *names));
    for name in lists
        .chain(BY_CAPABILITY.iter().map(|(_, names)| *names))
        .flat_map(str::split_whitespace)
    {
        assert!(exists(name), "{name}");
    }
    for (name, number) in [("read", 0), ("execve", 59), ("clone3", 435), ("mseal", 462)] {
        assert_eq!(X86_64_ARCH.number(name), Some(number));
    }
    for (name, number) in [
        ("read", 63),
        ("execve", 221),
        ("clone3", 435),
        ("openat", 56),
    ] {
        assert_eq!(AARCH64_ARCH.number(name), Some(number));
    }
    for (name, number) in [
        ("riscv_hwprobe", 258),
        ("riscv_flush_icache", 259),
        ("renameat2", 276),
        ("setrlimit", 164),
    ] {
        assert_eq!(RISCV64_ARCH.number(name), Some(number));
    }
    for name in ["open", "riscv_hwprobe"] {
        assert_eq!(AARCH64_ARCH.number(name), None);
    }
    assert_eq!(RISCV64_ARCH.number("renameat"), None);
}

#[test]
fn the_text_of_a_filter_is_stable() {
    let policy = Policy::on(
        &X86_64_ARCH,
        &retain(&["read", "socket"], Some("EPERM")),
        &CapSet::DEFAULT,
    );
    let text = policy.unwrap().unwrap().to_string();
    assert!(
        text.starts_with("deny: errno 1\nallow: read mmap mprotect munmap "),
        "{text}"
    );
    assert!(text.ends_with("\nby argument:\nabsent: clone3"), "{text}");
}
