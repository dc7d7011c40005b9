//! Which programs there are, and their command lines as data.
//!
//! The pod's network namespace is the program's stdin: both open it as
//! `/proc/self/fd/0`, which asks for no right over another process and which
//! no profile of an LSM sees as a path. The host's loopback services stay out of
//! the pod's reach, and the program forwards no port in either direction.

use super::{
    GATEWAY_V4, NAMES_V4, PASTA_GATEWAY_V6, PASTA_NAMES_V6, PASTA_POD_V6, POD_V4, SLIRP_NAMES_V6,
    SUBNET_V4,
};
use rustix::fs::{Access, AtFlags, CWD};
use std::net::IpAddr;
use std::path::{Path, PathBuf};

/// Not a PATH: what is executed must not depend on whose environment this is.
const DIRS: [&str; 6] = [
    "/usr/bin",
    "/usr/local/bin",
    "/bin",
    "/usr/sbin",
    "/sbin",
    "/usr/local/sbin",
];
const NETNS: &str = "/proc/self/fd/0";
const MTU: &str = "65520";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Program {
    Pasta,
    Slirp4netns,
}

/// The faster one first.
const ALL: [Program; 2] = [Program::Pasta, Program::Slirp4netns];

/// A program that is installed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    pub program: Program,
    pub path: PathBuf,
}

pub fn find() -> Vec<Found> {
    find_in(&DIRS.map(Path::new))
}

fn find_in(dirs: &[&Path]) -> Vec<Found> {
    let executable = |path: &PathBuf| {
        path.is_file() && rustix::fs::accessat(CWD, path, Access::EXEC_OK, AtFlags::EACCESS).is_ok()
    };
    let place = |program: Program| {
        let paths = dirs.iter().map(|dir| dir.join(program.name()));
        let path = paths.into_iter().find(executable)?;
        Some(Found { program, path })
    };
    ALL.into_iter().filter_map(place).collect()
}

/// Where the pod's packets can go on from the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Families {
    pub(super) v4: bool,
    pub(super) v6: bool,
}

/// What a command line is made for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ask<'a> {
    /// Of the pod's link.
    pub(super) if_name: &'a str,
    pub(super) families: Families,
    /// Queries to these go to the host's own name server, at most one of a family.
    pub(super) forward: &'a [IpAddr],
    /// The descriptor that slirp4netns tells its readiness on. pasta, which closes
    /// all but the first three, uses its stdout.
    pub(super) ready: i32,
}

impl Program {
    pub fn name(self) -> &'static str {
        match self {
            Program::Pasta => "pasta",
            Program::Slirp4netns => "slirp4netns",
        }
    }

    /// Where queries for the host's own name server go, by family.
    pub(super) fn name_servers(self) -> [IpAddr; 2] {
        match self {
            Program::Pasta => [NAMES_V4, PASTA_NAMES_V6],
            Program::Slirp4netns => [NAMES_V4, SLIRP_NAMES_V6],
        }
    }

    /// The words, the program's name first.
    pub(super) fn words(self, ask: &Ask<'_>) -> Vec<String> {
        match self {
            Program::Pasta => pasta(ask),
            Program::Slirp4netns => slirp4netns(ask),
        }
    }
}

/// Words that Debian 12's pasta (March 2023) knows. Each family is configured
/// where the host has a route for it, whatever is said here.
fn pasta(ask: &Ask<'_>) -> Vec<String> {
    let mut words = strings(&["pasta", "--foreground", "--quiet"]);
    words.extend(strings(&["--config-net", "--ns-ifname", ask.if_name]));
    words.extend(["--address".into(), POD_V4.to_string()]);
    words.extend(strings(&["--netmask", "24"]));
    words.extend(["--gateway".into(), GATEWAY_V4.to_string()]);
    words.extend(["--address".into(), PASTA_POD_V6.to_string()]);
    words.extend(["--gateway".into(), PASTA_GATEWAY_V6.to_string()]);
    // Not where it is not asked for: answers of the host's name server would seem to
    // come from there, whoever was asked.
    for ip in ask.forward {
        words.extend(["--dns-forward".into(), ip.to_string()]);
    }
    // Nothing is led over the loopbacks of pod and host.
    for ports in ["--tcp-ports", "--udp-ports", "--tcp-ns", "--udp-ns"] {
        words.extend(strings(&[ports, "none"]));
    }
    words.extend(strings(&["--no-map-gw"]));
    words.extend(strings(&["--no-dhcp", "--no-dhcpv6", "--no-ra"]));
    words.extend(strings(&["--mtu", MTU]));
    words.extend(strings(&["--no-netns-quit", "--netns", NETNS]));
    words.extend(strings(&["--pid", "/proc/self/fd/1"]));
    words
}

fn slirp4netns(ask: &Ask<'_>) -> Vec<String> {
    let mut words = strings(&["slirp4netns", "--configure", "--disable-host-loopback"]);
    words.extend(strings(&["--enable-sandbox", "--enable-seccomp"]));
    words.push(format!("--mtu={MTU}"));
    words.push(format!("--cidr={SUBNET_V4}"));
    if ask.families.v6 {
        words.push("--enable-ipv6".into());
    }
    if ask.forward.is_empty() {
        words.push("--disable-dns".into());
    }
    words.push(format!("--ready-fd={}", ask.ready));
    words.extend(strings(&["--netns-type=path", NETNS, ask.if_name]));
    words
}

fn strings(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| word.to_string()).collect()
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn line(program: Program, v6: bool, forward: &[IpAddr]) -> String {
        let ask = Ask {
            if_name: "eth0",
            families: Families { v4: true, v6 },
            forward,
            ready: 7,
        };
        program.words(&ask).join(" ")
    }

    #[test]
    fn pasta_gives_the_pod_addresses_of_its_own() {
        assert_eq!(
            line(Program::Pasta, true, &[]),
            "pasta --foreground --quiet --config-net --ns-ifname eth0 \
             --address 172.16.28.100 --netmask 24 --gateway 172.16.28.2 \
             --address fd72:6b74:1c::100 --gateway fe80::1 \
             --tcp-ports none --udp-ports none --tcp-ns none --udp-ns none --no-map-gw \
             --no-dhcp --no-dhcpv6 --no-ra --mtu 65520 \
             --no-netns-quit --netns /proc/self/fd/0 --pid /proc/self/fd/1"
        );
        let stub = line(Program::Pasta, true, &Program::Pasta.name_servers());
        assert!(stub.contains(" --dns-forward 172.16.28.3 --dns-forward fd72:6b74:1c::3 "));
    }

    #[test]
    fn slirp4netns_runs_in_its_sandbox() {
        assert_eq!(
            line(Program::Slirp4netns, true, &[NAMES_V4]),
            "slirp4netns --configure --disable-host-loopback --enable-sandbox --enable-seccomp \
             --mtu=65520 --cidr=172.16.28.0/24 --enable-ipv6 --ready-fd=7 \
             --netns-type=path /proc/self/fd/0 eth0"
        );
        let plain = line(Program::Slirp4netns, false, &[]);
        assert!(plain.contains("--disable-dns") && !plain.contains("ipv6"));
    }

    #[test]
    fn the_first_place_counts_and_only_programs_do() {
        let dir = ::tests::Scratch::new("usermode-search");
        let [a, b] = ["a", "b"].map(|name| dir.path().join(name));
        let make = |path: PathBuf, mode| {
            std::fs::write(&path, "").unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        };
        std::fs::create_dir_all(a.join("slirp4netns")).unwrap();
        std::fs::create_dir_all(&b).unwrap();
        assert_eq!(find_in(&[&a, &b]), []);
        make(a.join("pasta"), 0o644);
        make(b.join("pasta"), 0o755);
        make(b.join("slirp4netns"), 0o755);
        let found = find_in(&[&a, &b]);
        let paths: Vec<&Path> = found.iter().map(|found| found.path.as_path()).collect();
        assert_eq!(paths, [b.join("pasta"), b.join("slirp4netns")]);
    }
}
