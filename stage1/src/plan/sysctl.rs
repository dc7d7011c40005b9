//! Settings of the kernel that a pod asks for: its isolators in, what to write
//! below `/proc/sys` out.
//!
//! Only what belongs to a namespace of the pod's own may be set. Everything else
//! would change the host (CVE-2022-0532, CVE-2022-0811), also with `--net=host` or
//! `--ipc=parent`, where the pod shares the host's.

use model::Fault;
use model::isolator::{Isolator, Known};

/// One value for one file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    /// As the user wrote it.
    pub key: String,
    /// Below `/proc/sys`, of plain names.
    pub path: String,
    pub value: String,
}

/// Which namespaces are the host's.
#[derive(Clone, Copy, Debug, Default)]
pub struct Shared {
    pub network: bool,
    pub ipc: bool,
}

pub fn of(isolators: &[Isolator], shared: Shared) -> Result<Vec<Setting>, Fault> {
    let mut lists = isolators
        .iter()
        .filter_map(|isolator| match &isolator.known {
            Known::Sysctl(list) => Some(list),
            _ => None,
        });
    let (first, second) = (lists.next(), lists.next());
    if second.is_some() {
        return Err(Fault::invalid(
            "isolator \"os/unix/sysctl\" is given more than once",
        ));
    }
    first
        .into_iter()
        .flatten()
        .map(|(key, value)| {
            let path = path(key);
            judge(key, &path, shared)?;
            Ok(Setting {
                key: key.clone(),
                path,
                value: value.clone(),
            })
        })
        .collect()
}

/// As sysctl(8) reads a key: the first separator is the one between names, and the
/// other one stands for itself (`net.ipv4.conf.eth0/100.rp_filter` is that of the
/// link `eth0.100`).
fn path(key: &str) -> String {
    if key
        .find(['.', '/'])
        .is_none_or(|at| key[at..].starts_with('/'))
    {
        return key.to_string();
    }
    let swap = |c| match c {
        '.' => '/',
        '/' => '.',
        c => c,
    };
    key.chars().map(swap).collect()
}

fn judge(key: &str, path: &str, shared: Shared) -> Result<(), Fault> {
    let own = "a pod may set net.*, kernel.shm*, kernel.msg*, kernel.sem and fs.mqueue.*";
    let refused = |why: &str| Fault::refused(format!("sysctl \"{key}\" {why}"));
    let names: Vec<&str> = path.split('/').collect();
    // A part that begins with a dot could climb; nothing there is named so.
    if names
        .iter()
        .any(|name| name.is_empty() || name.starts_with('.'))
    {
        return Err(Fault::invalid(format!(
            "\"{key}\" is not the name of a sysctl"
        )));
    }
    match names[..] {
        ["net", _, ..] if shared.network => Err(refused("would change the host's network")
            .hint("leave --net=host out, or set it on the host")),
        ["net", _, ..] => Ok(()),
        ["kernel", "hostname"] => Err(refused("is rkt's to set").hint("use --hostname")),
        ["kernel", "domainname"] => {
            Err(refused("is rkt's to set").hint("a domain for look-ups is --dns-domain"))
        }
        ["kernel", name] if is_ipc(name) => of_ipc(shared, &refused),
        ["fs", "mqueue", _] => of_ipc(shared, &refused),
        _ => Err(refused("is not of a namespace: it would change the whole host").hint(own)),
    }
}

/// A setting of System V IPC; a dot in such a name would be a slash of the user's.
fn is_ipc(name: &str) -> bool {
    let known = name.starts_with("shm") || name.starts_with("msg") || name == "sem";
    known && !name.contains('.')
}

fn of_ipc(shared: Shared, refused: &dyn Fn(&str) -> Fault) -> Result<(), Fault> {
    if shared.ipc {
        return Err(refused("would change the host's IPC")
            .hint("leave --ipc=parent out, or set it on the host"));
    }
    Ok(())
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use model::isolator::SYSCTL;

    fn one(key: &str, shared: Shared) -> Result<Vec<Setting>, Fault> {
        let value = model::json::parse(format!("{{{key:?}: \"1\"}}").as_bytes()).unwrap();
        of(&[Isolator::new(SYSCTL, value).unwrap()], shared)
    }

    #[test]
    fn what_is_the_pods_own_may_be_set() {
        for (key, path) in [
            ("net.core.somaxconn", "net/core/somaxconn"),
            ("net/ipv4/ip_forward", "net/ipv4/ip_forward"),
            (
                "net.ipv4.conf.eth0/100.rp_filter",
                "net/ipv4/conf/eth0.100/rp_filter",
            ),
            (
                "net/ipv4/conf/eth0.100/rp_filter",
                "net/ipv4/conf/eth0.100/rp_filter",
            ),
            ("kernel.shmmax", "kernel/shmmax"),
            ("kernel.msgmnb", "kernel/msgmnb"),
            ("kernel.sem", "kernel/sem"),
            ("fs.mqueue.msg_max", "fs/mqueue/msg_max"),
        ] {
            let made = one(key, Shared::default()).unwrap();
            assert_eq!(
                made,
                [Setting {
                    key: key.into(),
                    path: path.into(),
                    value: "1".into()
                }]
            );
        }
        assert!(of(&[], Shared::default()).unwrap().is_empty());
    }

    #[test]
    fn what_would_change_the_host_is_refused() {
        let whole = "is not of a namespace: it would change the whole host";
        for (key, why) in [
            ("kernel.core_pattern", whole),
            ("kernel/core_pattern", whole),
            ("kernel.modprobe", whole),
            ("kernel.semaphore", whole),
            ("kernel.shm/x", whole),
            ("kernel.shm.x", whole),
            ("kernel", whole),
            ("net", whole),
            ("fs.mqueue", whole),
            ("fs.file-max", whole),
            ("vm.swappiness", whole),
            ("user.max_user_namespaces", whole),
            ("NET.core.somaxconn", whole),
            ("kernel.hostname", "is rkt's to set"),
            ("kernel/domainname", "is rkt's to set"),
        ] {
            let fault = one(key, Shared::default()).unwrap_err();
            assert_eq!(fault.cause, format!("sysctl \"{key}\" {why}"), "{key}");
            assert!(fault.hint.is_some());
        }
        let shared = Shared {
            network: true,
            ipc: true,
        };
        for (key, whose) in [
            ("net.core.somaxconn", "network"),
            ("kernel.sem", "IPC"),
            ("fs.mqueue.msg_max", "IPC"),
        ] {
            assert_eq!(
                one(key, shared).unwrap_err().cause,
                format!("sysctl \"{key}\" would change the host's {whose}")
            );
        }
    }

    #[test]
    fn one_isolator_per_pod() {
        let made = Isolator::new(SYSCTL, model::json::parse(b"{}").unwrap()).unwrap();
        let fault = of(&[made.clone(), made], Shared::default()).unwrap_err();
        assert!(fault.cause.contains("more than once"));
    }
}
