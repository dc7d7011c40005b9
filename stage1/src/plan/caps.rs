//! Capabilities of an app: isolators in, one set out.
//!
//! The set is what the app's bounding, permitted and effective sets become;
//! inheritable and ambient stay empty (CVE-2022-24769, CVE-2018-1000400).
//! Several isolators of one kind are united, as rkt does; a retain-set together
//! with a remove-set is an error. Names are the kernel's, whatever the case of
//! their letters; a name that no kernel has is an error, never skipped.

use model::{Fault, isolator::Isolator, isolator::Known};
use std::fmt;

/// The kernel's names without `CAP_`, by number (include/uapi/linux/capability.h
/// of Linux 5.9; none was added since).
const NAMES: [&str; 41] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "KILL",
    "SETGID",
    "SETUID",
    "SETPCAP",
    "LINUX_IMMUTABLE",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_ADMIN",
    "NET_RAW",
    "IPC_LOCK",
    "IPC_OWNER",
    "SYS_MODULE",
    "SYS_RAWIO",
    "SYS_CHROOT",
    "SYS_PTRACE",
    "SYS_PACCT",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_NICE",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "MKNOD",
    "LEASE",
    "AUDIT_WRITE",
    "AUDIT_CONTROL",
    "SETFCAP",
    "MAC_OVERRIDE",
    "MAC_ADMIN",
    "SYSLOG",
    "WAKE_ALARM",
    "BLOCK_SUSPEND",
    "AUDIT_READ",
    "PERFMON",
    "BPF",
    "CHECKPOINT_RESTORE",
];

/// One capability; made from its name only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cap(u8);

impl Cap {
    pub const DAC_READ_SEARCH: Cap = Cap(2);
    pub const SYS_MODULE: Cap = Cap(16);
    pub const SYS_RAWIO: Cap = Cap(17);
    pub const SYS_CHROOT: Cap = Cap(18);
    pub const SYS_PTRACE: Cap = Cap(19);
    pub const SYS_PACCT: Cap = Cap(20);
    pub const SYS_ADMIN: Cap = Cap(21);
    pub const SYS_BOOT: Cap = Cap(22);
    pub const SYS_NICE: Cap = Cap(23);
    pub const SYS_TIME: Cap = Cap(25);
    pub const SYS_TTY_CONFIG: Cap = Cap(26);
    pub const MKNOD: Cap = Cap(27);
    pub const SYSLOG: Cap = Cap(34);
    pub const PERFMON: Cap = Cap(38);
    pub const BPF: Cap = Cap(39);

    /// `CAP_SYS_ADMIN`, in any case of letters.
    pub fn named(name: &str) -> Result<Cap, Fault> {
        let bare = name
            .get(..4)
            .filter(|head| head.eq_ignore_ascii_case("CAP_"))
            .map(|_| &name[4..]);
        bare.and_then(|bare| {
            NAMES
                .iter()
                .position(|known| known.eq_ignore_ascii_case(bare))
        })
        .map(|number| Cap(number as u8))
        .ok_or_else(|| {
            Fault::invalid(format!("unknown capability {name:?}"))
                .hint(format!("the known ones are {}", CapSet::ALL))
        })
    }
}

impl fmt::Display for Cap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CAP_{}", NAMES[self.0 as usize])
    }
}

/// A set of capabilities, as the kernel's bit mask.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct CapSet(u64);

impl CapSet {
    pub const EMPTY: CapSet = CapSet(0);
    pub const ALL: CapSet = CapSet((1 << NAMES.len()) - 1);
    /// What an app without a capability isolator gets, 14 of them: CHOWN,
    /// DAC_OVERRIDE, FOWNER, FSETID, KILL, SETGID, SETUID, SETPCAP,
    /// NET_BIND_SERVICE, NET_RAW, SYS_CHROOT, MKNOD, AUDIT_WRITE, SETFCAP
    /// (appc spec, "os/linux/capabilities-remove-set").
    pub const DEFAULT: CapSet = CapSet(0xa804_25fb);

    /// What PID 1 needs to build sandboxes, to signal and to hand out the
    /// namespaces of its apps, and no more: CHOWN, DAC_OVERRIDE, FOWNER, FSETID,
    /// KILL, SETGID, SETUID, SETPCAP, SYS_CHROOT, SYS_PTRACE, SYS_ADMIN,
    /// SYS_RESOURCE, MKNOD. An app's own set comes from its bounding set at exec.
    pub const SUPERVISOR: CapSet = CapSet(0x092c_01fb);

    /// What PID 1 keeps once it has no more sandbox to build: KILL, and SYS_PTRACE
    /// for the namespaces that `enter` asks for.
    pub const WATCHER: CapSet = CapSet(1 << 5 | 1 << 19);

    /// What the outer process keeps while the pod is up: KILL, and DAC_OVERRIDE for
    /// the removal of what others may have touched.
    pub const FOLLOWER: CapSet = CapSet(1 << 5 | 1 << 1);

    /// And to take a network down: NET_BIND_SERVICE, NET_ADMIN, NET_RAW, SYS_ADMIN.
    pub const NETWORK: CapSet = CapSet(1 << 10 | 1 << 12 | 1 << 13 | 1 << 21);

    /// Each of these is as good as the host's root: DAC_READ_SEARCH, SYS_MODULE,
    /// SYS_RAWIO, SYS_PTRACE (the supervisor is in reach), SYS_ADMIN, BPF.
    pub const DANGEROUS: CapSet = CapSet(1 << 2 | 1 << 16 | 1 << 17 | 1 << 19 | 1 << 21 | 1 << 39);

    /// Those of this set that are in the other one, as text.
    pub fn names_in(&self, other: &CapSet) -> String {
        CapSet(self.0 & other.0).to_string()
    }

    /// Bit N is capability N.
    pub fn bits(self) -> u64 {
        self.0
    }
    pub fn contains(self, cap: Cap) -> bool {
        self.0 >> cap.0 & 1 == 1
    }
    pub fn with(self, cap: Cap) -> CapSet {
        CapSet(self.0 | 1 << cap.0)
    }
    pub fn without(self, other: CapSet) -> CapSet {
        CapSet(self.0 & !other.0)
    }
    pub fn union(self, other: CapSet) -> CapSet {
        CapSet(self.0 | other.0)
    }
    pub fn iter(self) -> impl Iterator<Item = Cap> {
        (0..NAMES.len() as u8)
            .map(Cap)
            .filter(move |cap| self.contains(*cap))
    }

    fn named(self, names: &[String]) -> Result<CapSet, Fault> {
        names
            .iter()
            .try_fold(self, |set, name| Ok(set.with(Cap::named(name)?)))
    }
}

/// Names with a space between.
impl fmt::Display for CapSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, cap) in self.iter().enumerate() {
            write!(f, "{}{cap}", if index > 0 { " " } else { "" })?;
        }
        Ok(())
    }
}

/// The set an app runs with.
pub fn effective(isolators: &[Isolator]) -> Result<CapSet, Fault> {
    let (mut retain, mut remove) = (None, None);
    for isolator in isolators {
        match &isolator.known {
            Known::CapabilitiesRetain(names) => {
                retain = Some(retain.unwrap_or(CapSet::EMPTY).named(names)?)
            }
            Known::CapabilitiesRemove(names) => {
                remove = Some(remove.unwrap_or(CapSet::EMPTY).named(names)?)
            }
            _ => {}
        }
    }
    match (retain, remove) {
        (Some(_), Some(_)) => Err(Fault::invalid(
            "cannot have both os/linux/capabilities-retain-set and os/linux/capabilities-remove-set",
        )),
        (Some(retain), None) => Ok(retain),
        (None, remove) => Ok(CapSet::DEFAULT.without(remove.unwrap_or(CapSet::EMPTY))),
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use model::isolator::Known::{CapabilitiesRemove as Remove, CapabilitiesRetain as Retain};

    fn isolators(list: Vec<Known>) -> Vec<Isolator> {
        crate::plan::seccomp::tests::isolators(list)
    }

    fn names(list: &[&str]) -> Vec<String> {
        list.iter().map(|name| name.to_string()).collect()
    }

    #[test]
    fn the_default_are_these_14() {
        let set = effective(&[]).unwrap();
        assert_eq!(
            set.to_string(),
            "CAP_CHOWN CAP_DAC_OVERRIDE CAP_FOWNER CAP_FSETID CAP_KILL CAP_SETGID CAP_SETUID CAP_SETPCAP \
             CAP_NET_BIND_SERVICE CAP_NET_RAW CAP_SYS_CHROOT CAP_MKNOD CAP_AUDIT_WRITE CAP_SETFCAP"
        );
        assert_eq!(set.iter().count(), 14);
    }

    #[test]
    fn numbers_are_the_kernels() {
        assert_eq!(Cap::named("CAP_SYS_ADMIN").unwrap(), Cap::SYS_ADMIN);
        assert_eq!(Cap::named("cap_bpf").unwrap(), Cap::BPF);
        assert_eq!(Cap::named("CAP_CHECKPOINT_RESTORE").unwrap(), Cap(40));
        for (cap, name) in [
            (Cap::DAC_READ_SEARCH, "DAC_READ_SEARCH"),
            (Cap::SYS_MODULE, "SYS_MODULE"),
            (Cap::SYS_RAWIO, "SYS_RAWIO"),
            (Cap::SYS_CHROOT, "SYS_CHROOT"),
            (Cap::SYS_PTRACE, "SYS_PTRACE"),
            (Cap::SYS_PACCT, "SYS_PACCT"),
            (Cap::SYS_BOOT, "SYS_BOOT"),
            (Cap::SYS_NICE, "SYS_NICE"),
            (Cap::SYS_TIME, "SYS_TIME"),
            (Cap::SYS_TTY_CONFIG, "SYS_TTY_CONFIG"),
            (Cap::MKNOD, "MKNOD"),
            (Cap::SYSLOG, "SYSLOG"),
            (Cap::PERFMON, "PERFMON"),
        ] {
            assert_eq!(cap.to_string(), format!("CAP_{name}"));
        }
        assert_eq!(CapSet::ALL.bits(), 0x1ff_ffff_ffff);
    }

    #[test]
    fn retain_is_exact_and_remove_is_from_the_default() {
        let set = effective(&isolators(vec![Retain(names(&["CAP_NET_ADMIN"]))])).unwrap();
        assert_eq!(set.bits(), 1 << 12);
        let set = effective(&isolators(vec![Remove(names(&[
            "CAP_MKNOD",
            "CAP_SYS_ADMIN",
        ]))]))
        .unwrap();
        assert_eq!(set.bits(), CapSet::DEFAULT.bits() & !(1 << 27));
    }

    #[test]
    fn several_of_one_kind_are_united() {
        let set = effective(&isolators(vec![
            Retain(names(&["CAP_KILL"])),
            Retain(names(&["CAP_CHOWN"])),
        ]))
        .unwrap();
        assert_eq!(set.to_string(), "CAP_CHOWN CAP_KILL");
    }

    #[test]
    fn both_kinds_or_an_unknown_name_fail() {
        let both = isolators(vec![
            Retain(names(&["CAP_KILL"])),
            Remove(names(&["CAP_CHOWN"])),
        ]);
        assert_eq!(
            effective(&both).unwrap_err().to_string(),
            "cannot have both os/linux/capabilities-retain-set and os/linux/capabilities-remove-set"
        );
        for bad in ["CAP_FOO", "KILL", "", "CAP_", "caé"] {
            let fault = effective(&isolators(vec![Remove(names(&[bad]))])).unwrap_err();
            assert!(
                fault.cause.contains(&format!("unknown capability {bad:?}")),
                "{fault}"
            );
            assert!(fault.hint.unwrap().contains("CAP_CHOWN"));
        }
    }
}
