//! `narrow nf_tables|netfilter PROGRAM ARGS…`: runs the program as on a kernel that was built without nf_tables, or
//! without any packet filter at all.
//!
//! A seccomp filter gives the errors that such a kernel gives: no netlink socket of netfilter (EPROTONOSUPPORT), and for
//! `netfilter` none of the socket options 64 to 67 by which the legacy xtables are read and written (ENOPROTOOPT).
//! Filters are inherited, so all that the program starts lives on that kernel too.

use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};
use sys::seccomp::{Insn, load};

const LOAD: u16 = 0x20;
const EQUAL: u16 = 0x15;
const AT_LEAST: u16 = 0x35;
const RETURN: u16 = 0x06;
const ALLOW: u32 = 0x7fff_0000;
const ERRNO: u32 = 0x0005_0000;

const NUMBER: u32 = 0;
/// The low half of an argument; both architectures are little-endian.
const fn argument(index: u32) -> u32 {
    16 + 8 * index
}

const SOCKET: u32 = if cfg!(target_arch = "x86_64") {
    41
} else {
    198
};
const SETSOCKOPT: u32 = if cfg!(target_arch = "x86_64") {
    54
} else {
    208
};
const GETSOCKOPT: u32 = if cfg!(target_arch = "x86_64") {
    55
} else {
    209
};

const AF_NETLINK: u32 = 16;
const NETLINK_NETFILTER: u32 = 12;
const SOL_IP: u32 = 0;
const SOL_IPV6: u32 = 41;
const EPROTONOSUPPORT: u32 = 93;
const ENOPROTOOPT: u32 = 92;

fn filter(no_xtables: bool) -> Vec<Insn> {
    let insn = |code, jt, jf, k| Insn { code, jt, jf, k };
    let load = |k| insn(LOAD, 0, 0, k);
    let end = |k| insn(RETURN, 0, 0, k);
    let mut all = vec![
        load(NUMBER),
        // socket(AF_NETLINK, …, NETLINK_NETFILTER)
        insn(EQUAL, 0, 6, SOCKET),
        load(argument(0)),
        insn(EQUAL, 0, 3, AF_NETLINK),
        load(argument(2)),
        insn(EQUAL, 0, 1, NETLINK_NETFILTER),
        end(ERRNO | EPROTONOSUPPORT),
        end(ALLOW),
    ];
    if no_xtables {
        all.extend([
            // {get,set}sockopt(…, SOL_IP or SOL_IPV6, 64…67, …)
            insn(EQUAL, 1, 0, SETSOCKOPT),
            insn(EQUAL, 0, 7, GETSOCKOPT),
            load(argument(1)),
            insn(EQUAL, 1, 0, SOL_IP),
            insn(EQUAL, 0, 4, SOL_IPV6),
            load(argument(2)),
            insn(AT_LEAST, 0, 2, 64),
            insn(AT_LEAST, 1, 0, 68),
            end(ERRNO | ENOPROTOOPT),
        ]);
    }
    all.push(end(ALLOW));
    all
}

fn main() -> ExitCode {
    let mut words = std::env::args_os().skip(1);
    let no_xtables = match words.next() {
        Some(word) if word == "nf_tables" => false,
        Some(word) if word == "netfilter" => true,
        _ => {
            eprintln!("usage: narrow nf_tables|netfilter PROGRAM ARGS…");
            return ExitCode::from(2);
        }
    };
    let Some(program) = words.next() else {
        eprintln!("usage: narrow nf_tables|netfilter PROGRAM ARGS…");
        return ExitCode::from(2);
    };
    if let Err(e) = load(&filter(no_xtables)) {
        eprintln!("narrow: cannot load the filter: {e}");
        return ExitCode::from(125);
    }
    let e = Command::new(&program).args(words).exec();
    eprintln!("narrow: cannot execute {}: {e}", program.display());
    ExitCode::from(126)
}
