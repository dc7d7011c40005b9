//! Random isolators from a seed: what an image or a user could ask for.
//!
//! `RKT_SEED` repeats a run; whoever fails prints the seed.

use super::super::caps::CapSet;
use super::super::seccomp_names::{Arch, HOST, SYSTEMD};
use super::tests::isolators;
use model::isolator::{Isolator, Known};

/// splitmix64.
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Dice {
        Dice(seed)
    }

    /// The seed of this run, of `RKT_SEED` if that is set.
    pub(crate) fn seed() -> u64 {
        std::env::var("RKT_SEED")
            .ok()
            .and_then(|text| text.parse().ok())
            .unwrap_or(20_161_124)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    pub(crate) fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }

    /// True `count` times in a hundred.
    pub(crate) fn percent(&mut self, count: usize) -> bool {
        self.below(100) < count
    }

    pub(crate) fn pick<'a, T: ?Sized>(&mut self, list: &[&'a T]) -> &'a T {
        list[self.below(list.len())]
    }

    /// No seccomp isolator, a retain-set or a remove-set, with names of this
    /// architecture and others, wildcards, and an errno or none.
    pub(in crate::plan) fn seccomp(&mut self, arch: &Arch) -> Vec<Isolator> {
        let retain = match self.below(10) {
            0 => return Vec::new(),
            number => number % 2 == 0,
        };
        let mut set = Vec::new();
        for _ in 0..=self.below(24) {
            set.push(match self.below(20) {
                0..=15 => arch.numbers[self.below(arch.numbers.len())].0.to_string(),
                16 => self
                    .pick(&["mmap2", "riscv_hwprobe", "stat64", "open", "_llseek"])
                    .to_string(),
                17 => self.whole(retain),
                _ => self.wildcard(),
            });
        }
        const ERRNOS: [&str; 8] = [
            "EPERM",
            "EACCES",
            "ENOSYS",
            "EHWPOISON",
            "EDOTDOT",
            "EACCESS",
            "ENOTNAM",
            "ESRMNT",
        ];
        let errno = (!self.percent(20)).then(|| self.pick(&ERRNOS).to_string());
        isolators(vec![match retain {
            true => Known::SeccompRetain { set, errno },
            false => Known::SeccompRemove { set, errno },
        }])
    }

    /// For the architecture that the tests run on.
    pub(crate) fn seccomp_here(&mut self) -> Vec<Isolator> {
        self.seccomp(HOST.expect("tests run where filters can be made"))
    }

    fn wildcard(&mut self) -> String {
        match self.below(3) {
            0 => format!("@{}/default-whitelist", self.pick(&["rkt", "docker"])),
            1 => format!("@{}/default-blacklist", self.pick(&["rkt", "docker"])),
            _ => format!("@systemd/{}", SYSTEMD[self.below(SYSTEMD.len())].0),
        }
    }

    /// Rarely the one that overrides all others of its set.
    fn whole(&mut self, retain: bool) -> String {
        match (self.percent(15), retain) {
            (true, true) => "@appc.io/all".to_string(),
            (true, false) => "@appc.io/empty".to_string(),
            _ => self.wildcard(),
        }
    }

    /// Up to three capability isolators of one kind, and the set that they mean
    /// (appc: a retain-set is exact, a remove-set is taken from the default).
    pub(crate) fn capabilities(&mut self) -> (Vec<Isolator>, u64) {
        let kind = self.below(3);
        let mut named = 0u64;
        let mut list = Vec::new();
        let all = CapSet::ALL.to_string();
        let names: Vec<&str> = all.split(' ').collect();
        if kind > 0 {
            for _ in 0..=self.below(3) {
                let mut set = Vec::new();
                for _ in 0..=self.below(12) {
                    let number = self.below(names.len());
                    named |= 1 << number;
                    let name = names[number];
                    set.push(match self.percent(20) {
                        true => name.to_lowercase(),
                        false => name.to_string(),
                    });
                }
                list.push(match kind {
                    1 => Known::CapabilitiesRetain(set),
                    _ => Known::CapabilitiesRemove(set),
                });
            }
        }
        let meant = match kind {
            1 => named,
            _ => 0xa804_25fb & !named,
        };
        (isolators(list), meant)
    }
}
