//! Resource limits of an app's processes: what its isolators ask for is set while
//! this process may still raise a limit; all else is as rkt was started with, for
//! `enter` too, whose caller may have others.

use model::isolator::{Resource, Rlimit};
use model::{Fault, fault::Result};
use pod::layout;
use rustix::process::{self, getrlimit, setrlimit};

/// Each in turn; the kernel's refusals are told with what would help.
pub fn set(limits: &[Rlimit]) -> Result<()> {
    for limit in limits {
        let wanted = process::Rlimit {
            current: limit.soft,
            maximum: limit.hard,
        };
        setrlimit(number(limit.resource), wanted).map_err(|err| {
            let fault = Fault::io("cannot set", format!("the limit \"{limit}\""), err);
            match getrlimit(number(limit.resource)).maximum {
                // What happens here is told to the supervisor as one text.
                Some(here) if limit.hard.is_none_or(|hard| hard > here) => Fault::refused(format!(
                    "{fault} (the hard limit here is {here}: raising it takes CAP_SYS_RESOURCE, and for nofile a higher fs.nr_open)"
                )),
                _ => fault,
            }
        })?;
    }
    Ok(())
}

/// The limits of the pod in the current directory: its supervisor's.
pub fn of_pod() -> Result<Vec<Rlimit>> {
    let read =
        |path: &str| std::fs::read_to_string(path).map_err(|err| Fault::io("read", path, err));
    let pid = read(layout::PID)?;
    let pid = pid.trim().parse::<i32>().ok().filter(|pid| *pid > 0);
    let pid = pid.ok_or_else(|| Fault::corrupt(format!("\"{}\" holds no pid", layout::PID)))?;
    Ok(parse(&read(&format!("/proc/{pid}/limits"))?))
}

/// `/proc/PID/limits`: a name of up to 25 characters, the soft limit, the hard one.
fn parse(table: &str) -> Vec<Rlimit> {
    let limit = |word: &str| match word {
        "unlimited" => Some(None),
        number => number.parse().ok().map(Some),
    };
    let line = |line: &str| {
        let (name, rest) = line.split_at_checked(25)?;
        let mut words = rest.split_whitespace();
        let (soft, hard) = (limit(words.next()?)?, limit(words.next()?)?);
        let (_, resource) = TITLES.iter().find(|(title, _)| *title == name.trim())?;
        Some(Rlimit {
            resource: *resource,
            soft,
            hard,
        })
    };
    table.lines().filter_map(line).collect()
}

/// Takes on these limits, or as much of them as may be had: a hard limit that is
/// lower here stays.
pub fn follow(limits: &[Rlimit]) {
    for limit in limits {
        let number = number(limit.resource);
        let wanted = |most: Option<u64>| process::Rlimit {
            current: least(limit.soft, most),
            maximum: least(limit.hard, most),
        };
        if setrlimit(number, wanted(None)).is_err() {
            // Lowering is always allowed.
            let _ = setrlimit(number, wanted(getrlimit(number).maximum));
        }
    }
}

fn least(one: Option<u64>, other: Option<u64>) -> Option<u64> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}

/// The kernel's titles.
const TITLES: [(&str, Resource); 16] = [
    ("Max cpu time", Resource::Cpu),
    ("Max file size", Resource::Fsize),
    ("Max data size", Resource::Data),
    ("Max stack size", Resource::Stack),
    ("Max core file size", Resource::Core),
    ("Max resident set", Resource::Rss),
    ("Max processes", Resource::Nproc),
    ("Max open files", Resource::Nofile),
    ("Max locked memory", Resource::Memlock),
    ("Max address space", Resource::As),
    ("Max file locks", Resource::Locks),
    ("Max pending signals", Resource::Sigpending),
    ("Max msgqueue size", Resource::Msgqueue),
    ("Max nice priority", Resource::Nice),
    ("Max realtime priority", Resource::Rtprio),
    ("Max realtime timeout", Resource::Rttime),
];

fn number(resource: Resource) -> process::Resource {
    match resource {
        Resource::As => process::Resource::As,
        Resource::Core => process::Resource::Core,
        Resource::Cpu => process::Resource::Cpu,
        Resource::Data => process::Resource::Data,
        Resource::Fsize => process::Resource::Fsize,
        Resource::Locks => process::Resource::Locks,
        Resource::Memlock => process::Resource::Memlock,
        Resource::Msgqueue => process::Resource::Msgqueue,
        Resource::Nice => process::Resource::Nice,
        Resource::Nofile => process::Resource::Nofile,
        Resource::Nproc => process::Resource::Nproc,
        Resource::Rss => process::Resource::Rss,
        Resource::Rtprio => process::Resource::Rtprio,
        Resource::Rttime => process::Resource::Rttime,
        Resource::Sigpending => process::Resource::Sigpending,
        Resource::Stack => process::Resource::Stack,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_table_is_read_as_getrlimit_has_it() {
        let table = std::fs::read_to_string("/proc/self/limits");
        let limits = parse(&table.expect("procfs is there"));
        assert_eq!(limits.len(), 16, "{limits:?}");
        for limit in limits {
            let own = getrlimit(number(limit.resource));
            assert_eq!(
                (limit.soft, limit.hard),
                (own.current, own.maximum),
                "{limit}"
            );
        }
    }
}
