//! Why this kernel or host gives an ordinary user no namespace, and what its
//! administrator can do about it.

use model::Fault;
use rustix::io::Errno;
use std::io;

/// What may be behind a refusal.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Facts {
    /// `user.max_user_namespaces` and `user.max_mnt_namespaces`.
    pub most_user: Option<String>,
    pub most_mount: Option<String>,
    /// `kernel.unprivileged_userns_clone`, a patch of Debian's and Arch's.
    pub clone: Option<String>,
    /// `kernel.apparmor_restrict_unprivileged_userns`, Ubuntu's.
    pub apparmor: Option<String>,
    /// A seccomp filter is on this process, as in a container.
    pub filtered: bool,
}

impl Facts {
    pub fn read() -> Facts {
        let sysctl = |name: &str| {
            let text = std::fs::read_to_string(format!("/proc/sys/{name}")).ok()?;
            Some(text.trim().to_string())
        };
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        let field = |line: &str| line.strip_prefix("Seccomp:").map(|mode| mode.trim() == "2");
        Facts {
            most_user: sysctl("user/max_user_namespaces"),
            most_mount: sysctl("user/max_mnt_namespaces"),
            clone: sysctl("kernel/unprivileged_userns_clone"),
            apparmor: sysctl("kernel/apparmor_restrict_unprivileged_userns"),
            filtered: status.lines().find_map(field).unwrap_or(false),
        }
    }

    fn restricted(&self) -> bool {
        self.apparmor.as_deref().is_some_and(|value| value != "0")
    }

    /// What to do after the namespace was refused with this error.
    fn hint(&self, errno: Option<Errno>) -> String {
        let none = |value: &Option<String>| value.as_deref() == Some("0");
        let allow = |setting: &str| format!("root can allow them: sysctl -w {setting}");
        if none(&self.clone) {
            return allow("kernel.unprivileged_userns_clone=1");
        }
        if none(&self.most_user) {
            return allow("user.max_user_namespaces=15000");
        }
        if none(&self.most_mount) {
            return allow("user.max_mnt_namespaces=15000");
        }
        match errno {
            Some(Errno::NOSPC | Errno::USERS) => format!(
                "this user has as many as user.max_user_namespaces ({}) or user.max_mnt_namespaces \
                 allows, or they are nested too deep",
                self.most_user.as_deref().unwrap_or("unknown")
            ),
            Some(Errno::INVAL | Errno::NOSYS) => "the kernel was built without CONFIG_USER_NS".into(),
            _ if self.restricted() => restricted_hint(),
            _ if self.filtered => {
                "the seccomp filter of the surrounding container forbids it; run rkt outside, or allow \
                 unshare and mount there"
                    .into()
            }
            _ => "a chroot or a security module may be the reason; root can run pods".into(),
        }
    }
}

fn restricted_hint() -> String {
    "root can allow them: sysctl -w kernel.apparmor_restrict_unprivileged_userns=0, or an AppArmor \
     profile for rkt with the rule \"userns,\""
        .into()
}

/// unshare(2) said no.
pub(super) fn of_namespace(err: &io::Error) -> Fault {
    explain(err, &Facts::read())
}

fn explain(err: &io::Error, facts: &Facts) -> Fault {
    let errno = err.raw_os_error().map(Errno::from_raw_os_error);
    Fault::unsupported(format!(
        "user namespaces are not allowed here: {}",
        model::fault::errno_text(err)
    ))
    .hint(facts.hint(errno))
}

/// Something in the new namespace was forbidden.
pub(super) fn inside(verb: &str, what: &str, err: &io::Error) -> Fault {
    let raw = io::Error::from_raw_os_error(err.raw_os_error().unwrap_or(0));
    let fault = Fault::io(&format!("cannot {verb}"), what, raw);
    match err.kind() == io::ErrorKind::PermissionDenied && Facts::read().restricted() {
        true => fault.hint(restricted_hint()),
        false => fault,
    }
}

/// Ubuntu hands out namespaces in which nothing is allowed. Whether rkt has a
/// profile that allows it shows in a child only: there is no way back.
pub(super) fn beforehand() -> Option<Fault> {
    let facts = Facts::read();
    if !facts.restricted() {
        return None;
    }
    let fault = super::probe(None).err()?;
    Some(Fault::unsupported(fault.to_string()).hint(restricted_hint()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(errno: Errno, facts: Facts) -> String {
        let fault = explain(&errno.into(), &facts);
        assert_eq!(fault.kind, model::Kind::Unsupported);
        format!("{} {}", fault.cause, fault.hint.unwrap_or_default())
    }

    #[test]
    fn the_hint_names_what_forbids_it() {
        let zero = || Some("0".to_string());
        let cases = [
            (
                Errno::NOSPC,
                Facts {
                    most_user: zero(),
                    ..Facts::default()
                },
                "user.max_user_namespaces=",
            ),
            (
                Errno::NOSPC,
                Facts {
                    most_mount: zero(),
                    ..Facts::default()
                },
                "user.max_mnt_namespaces=",
            ),
            (
                Errno::PERM,
                Facts {
                    clone: zero(),
                    ..Facts::default()
                },
                "kernel.unprivileged_userns_clone=1",
            ),
            (
                Errno::ACCESS,
                Facts {
                    apparmor: Some("1".into()),
                    ..Facts::default()
                },
                "apparmor_restrict_unprivileged_userns=0",
            ),
            (
                Errno::PERM,
                Facts {
                    filtered: true,
                    ..Facts::default()
                },
                "seccomp",
            ),
            (Errno::INVAL, Facts::default(), "CONFIG_USER_NS"),
            (Errno::NOSPC, Facts::default(), "nested too deep"),
            (Errno::PERM, Facts::default(), "chroot"),
        ];
        for (errno, facts, word) in cases {
            let text = said(errno, facts);
            assert!(text.contains(word), "{text}");
        }
    }
}
