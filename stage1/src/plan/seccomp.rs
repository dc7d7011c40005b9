//! The system call filter of an app: isolators and capabilities in, a classic
//! BPF program out (pure; loading it is `sys::seccomp`).
//!
//! Three steps: sets of names become one `Verdict` for each number (`Policy`),
//! equal neighbours become ranges, ranges become a binary search with shared
//! ends (`compile`). Calls of another architecture kill the process; the x32
//! numbers are above all that has a name.
//!
//! * No isolator: what is known and not on the list fails with EPERM.
//! * A number that has no name here fails with ENOSYS under every filter:
//!   nobody can have named it, and a libc probing for it must fall back.
//! * clone3 hides its flags behind a pointer: it is ENOSYS, which sends libcs to
//!   clone, unless both it and clone are allowed outright.
//! * A retain-set implies systemd's `@default` group, as it did under rkt 1.30:
//!   execve (it starts the app itself), exit, sigreturn, clocks and the like. A
//!   remove-set that names execve is refused: no app could start under it.

mod program;

use super::caps::{Cap, CapSet};
use super::seccomp_names::{Arch, BLACK, DEFAULT, HOST, NEWEST, SYSTEMD, exists};
use model::{Fault, isolator::Isolator, isolator::Known};
use program::{RET_ERRNO, RET_KILL_PROCESS};
use std::fmt;
pub use sys::seccomp::Insn;

/// What an app with a capability may call besides (moby's profile; the calls
/// on rkt's blacklist that it leaves out stand with the capability they need).
const BY_CAPABILITY: [(Cap, &str); 14] = [
    (Cap::DAC_READ_SEARCH, "open_by_handle_at name_to_handle_at"),
    (
        Cap::SYS_ADMIN,
        "bpf clone clone3 fanotify_init fsconfig fsmount fsopen fspick listns lookup_dcookie lsm_get_self_attr \
         lsm_list_modules lsm_set_self_attr mount mount_setattr move_mount open_tree open_tree_attr perf_event_open \
         quotactl quotactl_fd setdomainname sethostname setns syslog umount umount2 unshare",
    ),
    (Cap::SYS_BOOT, "reboot"),
    (Cap::SYS_CHROOT, "chroot"),
    (Cap::SYS_MODULE, "delete_module init_module finit_module"),
    (Cap::SYS_PACCT, "acct"),
    (
        Cap::SYS_PTRACE,
        "kcmp pidfd_getfd process_madvise process_vm_readv process_vm_writev ptrace",
    ),
    (Cap::SYS_RAWIO, "iopl ioperm"),
    (
        Cap::SYS_TIME,
        "settimeofday stime clock_settime clock_settime64 adjtimex clock_adjtime clock_adjtime64",
    ),
    (Cap::SYS_TTY_CONFIG, "vhangup"),
    (
        Cap::SYS_NICE,
        "get_mempolicy mbind set_mempolicy set_mempolicy_home_node",
    ),
    (Cap::SYSLOG, "syslog"),
    (Cap::BPF, "bpf"),
    (Cap::PERFMON, "perf_event_open"),
];

/// A call that is judged by its first argument. The kernel reads only the low
/// half of each of these, and so does the filter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Check {
    /// No new namespace.
    Clone,
    /// Linux or its 32-bit face, with or without UNAME26, or just asking.
    Personality,
    /// Neither AF_ALG (38) nor AF_VSOCK (40), which reach past a container.
    Socket,
}

impl Check {
    const ALL: [(Check, &str); 3] = [
        (Check::Clone, "clone"),
        (Check::Personality, "personality"),
        (Check::Socket, "socket"),
    ];
}

/// What becomes of one system call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Allow,
    Deny,
    /// ENOSYS: as if this kernel did not have it.
    Absent,
    If(Check),
}

/// What denying does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Denial {
    Errno(u16),
    /// SIGSYS to the whole process.
    Kill,
}

const EPERM: u16 = 1;

impl Denial {
    fn value(self) -> u32 {
        match self {
            Denial::Errno(errno) => RET_ERRNO | u32::from(errno),
            Denial::Kill => RET_KILL_PROCESS,
        }
    }
}

/// The verdict on every number from 0 to the newest; above it all are absent.
pub struct Policy {
    arch: &'static Arch,
    denial: Denial,
    verdicts: Vec<Verdict>,
}

/// The program for an app; `None`: it asked to run without a filter.
pub fn filter(isolators: &[Isolator], caps: &CapSet) -> Result<Option<Vec<Insn>>, Fault> {
    Ok(Policy::of(isolators, caps)?.map(|policy| policy.compile()))
}

impl Policy {
    /// The filter as a table; `None`: none at all.
    pub fn of(isolators: &[Isolator], caps: &CapSet) -> Result<Option<Policy>, Fault> {
        let arch = HOST.ok_or_else(|| {
            Fault::unsupported("no system call filter can be made for this architecture")
                .hint("run with --insecure-options=seccomp")
        })?;
        Policy::on(arch, isolators, caps)
    }

    fn on(
        arch: &'static Arch,
        isolators: &[Isolator],
        caps: &CapSet,
    ) -> Result<Option<Policy>, Fault> {
        let mut sets = isolators
            .iter()
            .filter_map(|isolator| match &isolator.known {
                Known::SeccompRetain { set, errno } => Some((true, set, errno)),
                Known::SeccompRemove { set, errno } => Some((false, set, errno)),
                _ => None,
            });
        let (first, second) = (sets.next(), sets.next());
        if second.is_some() {
            return Err(Fault::invalid("too many seccomp isolators specified"));
        }
        let has = |set: &[String], wildcard: &str| set.iter().any(|entry| entry == wildcard);
        let mut policy = match first {
            None => Policy::default_of(arch, Denial::Errno(EPERM), caps),
            Some((true, set, _)) if has(set, "@appc.io/all") => return Ok(None),
            Some((false, set, errno)) if has(set, "@appc.io/empty") => {
                // Asked for the default filter with this errno; without one
                // the default's own stays.
                let denial = errno
                    .as_deref()
                    .map_or(Ok(Denial::Errno(EPERM)), |name| denial(Some(name)))?;
                Policy::default_of(arch, denial, caps)
            }
            Some((true, set, errno)) => {
                let mut policy = Policy::all(arch, denial(errno.as_deref())?, Verdict::Deny);
                policy.set_names(SYSTEMD[0].1, Verdict::Allow);
                for entry in set {
                    policy.retain(entry, caps)?;
                }
                policy
            }
            Some((false, set, errno)) => {
                let mut policy = Policy::all(arch, denial(errno.as_deref())?, Verdict::Allow);
                for entry in set {
                    policy.remove(entry, caps)?;
                }
                if policy.verdict("execve") != Some(Verdict::Allow) {
                    return Err(Fault::invalid("os/linux/seccomp-remove-set names \"execve\", which starts the app itself")
                        .hint("leave execve out, or list what the app may call in os/linux/seccomp-retain-set"));
                }
                policy
            }
        };
        policy.close_clone3();
        Ok(Some(policy))
    }

    /// Every number that has a name gets `verdict`.
    fn all(arch: &'static Arch, denial: Denial, verdict: Verdict) -> Policy {
        let mut verdicts = vec![Verdict::Absent; usize::from(NEWEST) + 1];
        for (_, number) in arch.numbers {
            verdicts[usize::from(*number)] = verdict;
        }
        Policy {
            arch,
            denial,
            verdicts,
        }
    }

    fn default_of(arch: &'static Arch, denial: Denial, caps: &CapSet) -> Policy {
        let mut policy = Policy::all(arch, denial, Verdict::Deny);
        policy.allow_default(caps);
        policy
    }

    fn allow_default(&mut self, caps: &CapSet) {
        for (check, name) in Check::ALL {
            // A user's own plain `clone` in the same set is wider and stays.
            if self.verdict(name) == Some(Verdict::Deny) {
                self.set(name, Verdict::If(check));
            }
        }
        self.set_names(DEFAULT, Verdict::Allow);
        for (cap, names) in &BY_CAPABILITY {
            if caps.contains(*cap) {
                self.set_names(names, Verdict::Allow);
            }
        }
    }

    fn verdict(&self, name: &str) -> Option<Verdict> {
        self.arch
            .number(name)
            .map(|number| self.verdicts[usize::from(number)])
    }

    /// A name of another architecture changes nothing here.
    fn set(&mut self, name: &str, verdict: Verdict) {
        if let Some(number) = self.arch.number(name) {
            self.verdicts[usize::from(number)] = verdict;
        }
    }

    /// Our own lists hold only names that exist; the tests see to it. They are
    /// sorted, as the table is, so one walk over both serves: this runs at
    /// every start of an app. (An unsorted list only takes longer.)
    fn set_names(&mut self, names: &str, verdict: Verdict) {
        let (mut rest, mut last) = (self.arch.numbers, "");
        for name in names.split_whitespace() {
            if name < last {
                rest = self.arch.numbers;
            }
            last = name;
            let before = rest.iter().take_while(|(next, _)| *next < name).count();
            rest = &rest[before..];
            if let Some((found, number)) = rest.first()
                && *found == name
            {
                self.verdicts[usize::from(*number)] = verdict;
            }
        }
    }

    fn retain(&mut self, entry: &str, caps: &CapSet) -> Result<(), Fault> {
        match Entry::of(entry)? {
            Entry::Call(name) => self.set(name, Verdict::Allow),
            Entry::Group(names) => self.set_names(names, Verdict::Allow),
            Entry::Default => self.allow_default(caps),
            Entry::Black => self.set_names(BLACK, Verdict::Allow),
            Entry::All | Entry::Empty => {
                return Err(misplaced(entry, "os/linux/seccomp-retain-set"));
            }
        }
        Ok(())
    }

    fn remove(&mut self, entry: &str, caps: &CapSet) -> Result<(), Fault> {
        match Entry::of(entry)? {
            Entry::Call(name) => self.set(name, Verdict::Deny),
            Entry::Group(names) => self.set_names(names, Verdict::Deny),
            Entry::Default => self.set_names(DEFAULT, Verdict::Deny),
            Entry::Black => {
                self.set_names(BLACK, Verdict::Deny);
                // Removed outright no app could fork: what the list means is
                // no new namespaces and no odd personalities.
                for (check, name) in &Check::ALL[..2] {
                    let free = *check == Check::Clone && caps.contains(Cap::SYS_ADMIN);
                    if !free && self.verdict(name) == Some(Verdict::Allow) {
                        self.set(name, Verdict::If(*check));
                    }
                }
            }
            Entry::All | Entry::Empty => {
                return Err(misplaced(entry, "os/linux/seccomp-remove-set"));
            }
        }
        Ok(())
    }

    fn close_clone3(&mut self) {
        let open = ["clone", "clone3"]
            .iter()
            .all(|name| self.verdict(name) == Some(Verdict::Allow));
        if !open {
            self.set("clone3", Verdict::Absent);
        }
    }

    /// The program that carries the policy out.
    pub fn compile(&self) -> Vec<Insn> {
        program::compile(self.arch.audit, self.denial.value(), &self.verdicts)
    }
}

/// Stable text for tests and `--debug`: the denial, then the names allowed,
/// those judged by argument and those absent, in the order of their numbers.
impl fmt::Display for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.denial {
            Denial::Errno(errno) => write!(f, "deny: errno {errno}")?,
            Denial::Kill => write!(f, "deny: kill")?,
        }
        let mut names: Vec<(u16, &str)> = self
            .arch
            .numbers
            .iter()
            .map(|(name, number)| (*number, *name))
            .collect();
        names.sort_unstable();
        for title in ["allow", "by argument", "absent"] {
            write!(f, "\n{title}:")?;
            for (number, name) in &names {
                let group = match self.verdicts[usize::from(*number)] {
                    Verdict::Allow => "allow",
                    Verdict::If(_) => "by argument",
                    Verdict::Absent => "absent",
                    Verdict::Deny => continue,
                };
                if group == title {
                    write!(f, " {name}")?;
                }
            }
        }
        Ok(())
    }
}

/// What an entry of a user's set stands for.
enum Entry<'a> {
    Call(&'a str),
    Group(&'static str),
    Default,
    Black,
    All,
    Empty,
}

impl Entry<'_> {
    fn of(text: &str) -> Result<Entry<'_>, Fault> {
        let Some(wildcard) = text.strip_prefix('@') else {
            if exists(text) {
                return Ok(Entry::Call(text));
            }
            return Err(Fault::invalid(format!(
                "unknown system call {text:?} in a seccomp isolator"
            ))
            .hint("names are the kernel's, in lower case, e.g. \"openat\""));
        };
        let group = |name| {
            SYSTEMD
                .iter()
                .find(|(group, _)| *group == name)
                .map(|(_, names)| Entry::Group(names))
        };
        match wildcard.split_once('/') {
            Some(("rkt" | "docker", "default-whitelist")) => Some(Entry::Default),
            Some(("rkt" | "docker", "default-blacklist")) => Some(Entry::Black),
            Some(("appc.io", "all")) => Some(Entry::All),
            Some(("appc.io", "empty")) => Some(Entry::Empty),
            Some(("systemd", name)) => group(name),
            _ => None,
        }
        .ok_or_else(|| {
            let groups: Vec<&str> = SYSTEMD.iter().map(|(name, _)| *name).collect();
            Fault::invalid(format!("unknown seccomp wildcard {text:?}")).hint(format!(
                "the known ones are @appc.io/all, @appc.io/empty, @rkt/ and @docker/ with default-whitelist and \
                 default-blacklist, @systemd/ with {}",
                groups.join(", ")
            ))
        })
    }
}

fn misplaced(entry: &str, place: &str) -> Fault {
    let other = if entry.ends_with("all") {
        "os/linux/seccomp-retain-set"
    } else {
        "os/linux/seccomp-remove-set"
    };
    Fault::invalid(format!("{entry:?} has no meaning in {place}"))
        .hint(format!("it belongs into {other}"))
}

fn denial(errno: Option<&str>) -> Result<Denial, Fault> {
    match errno.filter(|name| !name.is_empty()) {
        None => Ok(Denial::Kill),
        Some(name) => errno_number(name).map(Denial::Errno).ok_or_else(|| {
            Fault::invalid(format!("unknown errno {name:?} in a seccomp isolator"))
                .hint("e.g. \"EPERM\" or \"ENOSYS\"")
        }),
    }
}

/// All of Linux' names, the same numbers on every architecture that we filter.
fn errno_number(name: &str) -> Option<u16> {
    // The appc spec's own sample says EACCESS.
    const ALIASES: [(&str, u16); 5] = [
        ("EACCESS", 13),
        ("EWOULDBLOCK", 11),
        ("EDEADLOCK", 35),
        ("ENOTSUP", 95),
        ("ENOATTR", 61),
    ];
    const NAMES: &str = "EPERM ENOENT ESRCH EINTR EIO ENXIO E2BIG ENOEXEC EBADF ECHILD EAGAIN ENOMEM EACCES EFAULT \
         ENOTBLK EBUSY EEXIST EXDEV ENODEV ENOTDIR EISDIR EINVAL ENFILE EMFILE ENOTTY ETXTBSY EFBIG ENOSPC ESPIPE \
         EROFS EMLINK EPIPE EDOM ERANGE EDEADLK ENAMETOOLONG ENOLCK ENOSYS ENOTEMPTY ELOOP - ENOMSG EIDRM ECHRNG \
         EL2NSYNC EL3HLT EL3RST ELNRNG EUNATCH ENOCSI EL2HLT EBADE EBADR EXFULL ENOANO EBADRQC EBADSLT - EBFONT \
         ENOSTR ENODATA ETIME ENOSR ENONET ENOPKG EREMOTE ENOLINK EADV ESRMNT ECOMM EPROTO EMULTIHOP EDOTDOT EBADMSG \
         EOVERFLOW ENOTUNIQ EBADFD EREMCHG ELIBACC ELIBBAD ELIBSCN ELIBMAX ELIBEXEC EILSEQ ERESTART ESTRPIPE EUSERS \
         ENOTSOCK EDESTADDRREQ EMSGSIZE EPROTOTYPE ENOPROTOOPT EPROTONOSUPPORT ESOCKTNOSUPPORT EOPNOTSUPP \
         EPFNOSUPPORT EAFNOSUPPORT EADDRINUSE EADDRNOTAVAIL ENETDOWN ENETUNREACH ENETRESET ECONNABORTED ECONNRESET \
         ENOBUFS EISCONN ENOTCONN ESHUTDOWN ETOOMANYREFS ETIMEDOUT ECONNREFUSED EHOSTDOWN EHOSTUNREACH EALREADY \
         EINPROGRESS ESTALE EUCLEAN ENOTNAM ENAVAIL EISNAM EREMOTEIO EDQUOT ENOMEDIUM EMEDIUMTYPE ECANCELED ENOKEY \
         EKEYEXPIRED EKEYREVOKED EKEYREJECTED EOWNERDEAD ENOTRECOVERABLE ERFKILL EHWPOISON";
    let alias = ALIASES
        .iter()
        .find(|(known, _)| *known == name)
        .map(|(_, number)| *number);
    alias.or_else(|| {
        let index = NAMES
            .split_whitespace()
            .position(|known| known == name && known != "-")?;
        u16::try_from(index + 1).ok()
    })
}

#[cfg(test)]
pub(crate) mod dice;
#[cfg(test)]
pub(crate) mod oracle;
#[cfg(test)]
pub(crate) mod tests;
