//! Reading and replacing a table of the running kernel, and the lock that all
//! programs of iptables take meanwhile.
//!
//! A table is replaced as a whole. The kernel only checks that the old one has
//! as many entries as were read, so without the lock another program's
//! change could be lost; with it, EAGAIN means a program that takes no lock, and
//! reading starts anew.

use super::blob::{Encoded, MAX_SIZE, Table};
use super::rule::EXTENSIONS;
use model::fault::errno_text;
use model::{Fault, Kind, fault::Result};
use rustix::fs::{FlockOperation, Mode, OFlags};
use rustix::io::Errno;
use std::fs::File;
use std::io;
use std::time::{Duration, Instant};
use sys::sockopt::{Counters, Extension, Family, XTables};

const LOCK: &str = "/run/xtables.lock";
/// How long another program may hold the lock.
const PATIENCE: Duration = Duration::from_secs(30);
/// How often a table may change between reading and writing.
const ATTEMPTS: u32 = 20;

/// Held while tables are read and written; None where there can be no lock file.
pub fn lock(notes: &mut dyn FnMut(String)) -> Result<Option<File>> {
    let flags = OFlags::CREATE | OFlags::RDWR | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = match rustix::fs::open(LOCK, flags, Mode::RUSR | Mode::WUSR) {
        Ok(fd) => File::from(fd),
        Err(err) => {
            let why = errno_text(&err.into());
            notes(format!("changing iptables rules without \"{LOCK}\": {why}"));
            return Ok(None);
        }
    };
    let start = Instant::now();
    loop {
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(Some(file)),
            Err(Errno::INTR) => {}
            Err(Errno::WOULDBLOCK) if start.elapsed() < PATIENCE => {
                std::thread::sleep(Duration::from_millis(2));
            }
            Err(Errno::WOULDBLOCK) => {
                let cause = format!("another program holds the lock \"{LOCK}\"");
                return Err(Fault::new(Kind::TimedOut, cause)
                    .hint("see with `fuser -v /run/xtables.lock` which one, and end it"));
            }
            Err(err) => return Err(Fault::io("lock", LOCK, err)),
        }
    }
}

/// Whether this network namespace has the table already. Asking the socket
/// would make it.
pub fn present(family: Family, table: &str) -> bool {
    let list = match family {
        Family::V4 => "/proc/thread-self/net/ip_tables_names",
        Family::V6 => "/proc/thread-self/net/ip6_tables_names",
    };
    std::fs::read_to_string(list).is_ok_and(|names| names.lines().any(|name| name == table))
}

/// The tables of a family, with the reason when there are none.
pub fn open(family: Family, table: &str) -> Result<XTables> {
    let word = word(family);
    let sockets = XTables::open(family).map_err(|err| match Errno::from_io_error(&err) {
        Some(Errno::AFNOSUPPORT) => Fault::unsupported(format!(
            "{word}: this kernel does not have the address family"
        )),
        _ => Fault::io("open", format!("a raw socket for {word}"), err),
    })?;
    match sockets.info(table) {
        Ok(_) => Ok(sockets),
        Err(err) => Err(lacking(family, table, err)),
    }
}

fn lacking(family: Family, table: &str, err: io::Error) -> Fault {
    let word = word(family);
    let module = match family {
        Family::V4 => "iptable",
        Family::V6 => "ip6table",
    };
    match Errno::from_io_error(&err) {
        Some(Errno::NOPROTOOPT | Errno::NOENT) => {
            Fault::unsupported(format!("{word}: this kernel has no table \"{table}\""))
                .hint(format!("load the kernel module {module}_{table}"))
        }
        _ => Fault::io("read", format!("table \"{table}\" of {word}"), err),
    }
}

/// Reads the table, lets `edit` change it, and puts it in place. `edit` says
/// whether there is anything to be written.
pub fn change(
    sockets: &XTables,
    table: &str,
    edit: &mut dyn FnMut(&mut Table<'_>) -> Result<bool>,
) -> Result<()> {
    let family = sockets.family();
    let what = || format!("table \"{table}\" of {}", word(family));
    for _ in 0..ATTEMPTS {
        let info = sockets
            .info(table)
            .map_err(|err| lacking(family, table, err))?;
        if info.size as usize > MAX_SIZE {
            return Err(Fault::refused(format!("{} is larger than 64 MB", what())));
        }
        let entries = match sockets.entries(table, info.size) {
            Ok(entries) => entries,
            Err(err) if again(&err) => continue,
            Err(err) => return Err(Fault::io("read", what(), err)),
        };
        let mut decoded =
            Table::decode(family, &info, &entries).map_err(|fault| fault.link(what()))?;
        if !edit(&mut decoded)? {
            return Ok(());
        }
        let new = decoded.encode()?;
        match sockets.replace(table, &new.info, &new.entries, info.num_entries) {
            Ok(old) => {
                keep_counters(sockets, table, &new, &old);
                return Ok(());
            }
            Err(err) if again(&err) => {}
            Err(err) => return Err(refused(sockets, &what(), err)),
        }
    }
    Err(Fault::conflict(format!(
        "{} is being changed by another program all the time",
        what()
    )))
}

fn again(err: &io::Error) -> bool {
    Errno::from_io_error(err) == Some(Errno::AGAIN)
}

/// The rules are in place; when someone replaced them since, the kernel
/// refuses the numbers, and these are the only loss.
fn keep_counters(sockets: &XTables, table: &str, new: &Encoded, old: &[Counters]) {
    let counters: Vec<Counters> = new
        .origins
        .iter()
        .map(|origin| origin.and_then(|at| old.get(at)).copied().unwrap_or([0; 2]))
        .collect();
    if counters.iter().any(|pair| *pair != [0; 2]) {
        let _ = sockets.add_counters(table, &counters);
    }
}

/// Says which extension the kernel lacks, which the errno does not.
fn refused(sockets: &XTables, what: &str, err: io::Error) -> Fault {
    let missing = match Errno::from_io_error(&err) {
        Some(Errno::NOENT) => missing(sockets.family(), |kind, name, revision| {
            sockets.knows(kind, name, revision)
        }),
        _ => None,
    };
    missing.unwrap_or_else(|| Fault::io("replace", what, err))
}

fn missing(family: Family, knows: impl Fn(Extension, &str, u8) -> bool) -> Option<Fault> {
    let (mut names, mut modules) = (Vec::new(), Vec::new());
    for (kind, name, revision, only) in EXTENSIONS {
        if only.is_some_and(|only| only != family) || knows(kind, name, revision) {
            continue;
        }
        let kind = match kind {
            Extension::Match => "match",
            Extension::Target => "target",
        };
        names.push(format!("{kind} \"{name}\""));
        modules.push(match name {
            "tcp" | "udp" => "xt_tcpudp",
            "DNAT" => "xt_nat",
            "MASQUERADE" => "xt_MASQUERADE",
            "addrtype" => "xt_addrtype",
            "conntrack" => "xt_conntrack",
            _ => "xt_comment",
        });
    }
    if names.is_empty() {
        return None;
    }
    modules.dedup();
    let cause = format!(
        "{}: this kernel has no {}",
        word(family),
        names.join(", no ")
    );
    Some(Fault::unsupported(cause).hint(format!("load the kernel modules {}", modules.join(", "))))
}

fn word(family: Family) -> &'static str {
    match family {
        Family::V4 => "iptables",
        Family::V6 => "ip6tables",
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn what_the_kernel_lacks_is_named() {
        assert!(missing(Family::V4, |_, _, _| true).is_none());
        let fault = missing(Family::V6, |_, name, _| name != "udp" && name != "addrtype").unwrap();
        assert_eq!(
            fault.cause,
            "ip6tables: this kernel has no match \"addrtype\", no match \"udp\""
        );
        assert_eq!(
            fault.hint.unwrap(),
            "load the kernel modules xt_addrtype, xt_tcpudp"
        );
        // Each family has one revision of DNAT.
        let fault = missing(Family::V4, |_, name, _| name != "DNAT").unwrap();
        assert_eq!(fault.cause, "iptables: this kernel has no target \"DNAT\"");
    }

    #[test]
    fn a_table_that_is_not_there_is_unsupported() {
        for errno in [Errno::NOPROTOOPT, Errno::NOENT] {
            let fault = lacking(Family::V6, "nat", errno.into());
            assert_eq!(fault.kind, Kind::Unsupported);
            assert_eq!(fault.cause, "ip6tables: this kernel has no table \"nat\"");
            assert_eq!(fault.hint.unwrap(), "load the kernel module ip6table_nat");
        }
        let fault = lacking(Family::V4, "nat", Errno::PERM.into());
        assert_eq!(fault.errno(), Some(Errno::PERM.raw_os_error()));
    }
}
