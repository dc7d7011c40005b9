//! A host with a network around it, inside a test's own namespaces.
//!
//! The test's network namespace is the host. `Lab::new` joins it by a veth pair (`world` here, `far0` there) to a second
//! namespace, the far side: the rest of the world. The host's default route leads there; the far side has no route to
//! the pods' ranges, so what comes back had the host's address. Nothing leaves the machine.
//!
//! `/run`, `/var/lib` and `/dev/shm` are tmpfs of the test's own: leases and namespace files are this test's, and `Traces`
//! sees every one of them. Call it inside `isolated`; what it makes goes with the test's namespaces.

use crate::Scratch;
use crate::isolated::find;
use rustix::mount::{MountFlags, mount};
use std::fs::File;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsFd, AsRawFd};
use std::path::{Path, PathBuf};
use std::process::Command;
use sys::clone::Namespaces;

pub const HOST4: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
pub const FAR4: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 2));
pub const HOST6: IpAddr = IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1));
pub const FAR6: IpAddr = IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 2));

#[derive(Debug)]
pub struct Lab {
    pub scratch: Scratch,
    far: File,
}

impl Lab {
    /// The host and its far side, or why this machine cannot have them.
    pub fn new(name: &str) -> Result<Lab, String> {
        if find("ip").is_none() || find("nsenter").is_none() {
            return Err("needs `ip` and `nsenter` (Debian: iproute2, util-linux)".to_owned());
        }
        for dir in ["/run", "/var/lib", "/dev/shm"] {
            let text = |e| format!("cannot mount a tmpfs on {dir}: {e}");
            mount(
                "tmpfs",
                dir,
                "tmpfs",
                MountFlags::empty(),
                Some(c"mode=755"),
            )
            .map_err(text)?;
        }
        let far = fresh_netns().map_err(|e| format!("cannot make a network namespace: {e}"))?;
        let lab = Lab {
            scratch: Scratch::new(name),
            far,
        };
        lab.cable()?;
        Ok(lab)
    }

    /// Both ends of the cable, their addresses, and the host's default routes. `nodad`: usable at once.
    fn cable(&self) -> Result<(), String> {
        let far = self.far_path();
        ip(&format!(
            "link add world type veth peer name far0 netns {}
             addr add 192.0.2.1/24 dev world
             addr add 2001:db8::1/64 dev world nodad
             link set world up",
            far.display()
        ))?;
        batch(
            Command::new("nsenter")
                .arg(format!("--net={}", far.display()))
                .arg("ip"),
            "link set lo up
             addr add 192.0.2.2/24 dev far0
             addr add 2001:db8::2/64 dev far0 nodad
             link set far0 up
             link show far0",
        )?;
        // Links pass packets a moment after they are up, or when somebody asks for them.
        ip("link show world")?;
        ip("-4 route add default via 192.0.2.2\n-6 route add default via 2001:db8::2")
    }

    pub fn path(&self) -> &Path {
        self.scratch.path()
    }

    /// The far side's namespace as a file to be opened.
    pub fn far_path(&self) -> PathBuf {
        PathBuf::from(format!(
            "/proc/{}/fd/{}",
            std::process::id(),
            self.far.as_raw_fd()
        ))
    }

    /// Does it on the far side.
    #[track_caller]
    pub fn far<T: Send>(&self, body: impl FnOnce() -> T + Send) -> T {
        within(&self.far_path(), body)
    }
}

/// A network namespace that lives as long as the file.
fn fresh_netns() -> std::io::Result<File> {
    let made = std::thread::spawn(|| {
        sys::ns::unshare(Namespaces::NET)?;
        File::open("/proc/thread-self/ns/net")
    });
    made.join()
        .unwrap_or_else(|_| Err(std::io::Error::other("the thread panicked")))
}

/// Does it in the network namespace behind `netns`, on a thread of its own.
#[track_caller]
pub fn within<T: Send>(netns: &Path, body: impl FnOnce() -> T + Send) -> T {
    let file = File::open(netns).unwrap_or_else(|e| panic!("{}: {e}", netns.display()));
    let inside = std::thread::scope(|scope| {
        let run = || {
            sys::ns::set(file.as_fd(), Namespaces::NET)
                .unwrap_or_else(|e| panic!("cannot join {}: {e}", netns.display()));
            body()
        };
        scope.spawn(run).join()
    });
    inside.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// Several lines of `ip`, all or an error, in the current namespace.
pub fn ip(lines: &str) -> Result<(), String> {
    batch(&mut Command::new(find("ip").ok_or("no `ip`")?), lines)
}

/// Line by line: `ip -batch` has one address family for the whole of it.
fn batch(command: &mut Command, lines: &str) -> Result<(), String> {
    for line in lines.lines().map(str::trim).filter(|l| !l.is_empty()) {
        let mut one = Command::new(command.get_program());
        one.args(command.get_args())
            .args(line.split(' ').filter(|w| !w.is_empty()));
        let output = one.output().map_err(|e| format!("{one:?}: {e}"))?;
        if !output.status.success() {
            return Err(format!(
                "{line}: {}",
                String::from_utf8_lossy(&output.stderr).trim()
            ));
        }
    }
    Ok(())
}

/// What a program of the host prints; an error is the test's end.
#[track_caller]
pub fn tool(program: &str, args: &[&str]) -> String {
    let path = find(program).unwrap_or_else(|| panic!("no {program} on this machine"));
    let output = Command::new(&path)
        .args(args)
        .output()
        .unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    assert!(
        output.status.success(),
        "{program} {args:?}: {}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// A test with a lab, once (`/` private) or in the given modes: at its end everything is collected, and the host is
/// compared with what it was.
#[macro_export]
macro_rules! net_test {
    ($(#[$meta:meta])* fn $name:ident($lab:ident) $body:block) => {
        $crate::net_test! { in &[$crate::isolated::Mode::Private], $(#[$meta])* fn $name($lab) $body }
    };
    (in $modes:expr, $(#[$meta:meta])* fn $name:ident($lab:ident) $body:block) => {
        $(#[$meta])*
        #[test]
        fn $name() {
            fn body($lab: &$crate::lab::Lab) $body
            fn inner() {
                let lab = match $crate::lab::Lab::new(stringify!($name)) {
                    Ok(lab) => lab,
                    Err(reason) => $crate::skip!("{reason}"),
                };
                let before = $crate::host::Traces::now(lab.path());
                body(&lab);
                $crate::isolated::sweep(&lab.scratch);
                $crate::host::assert_nothing_left(&before, lab.path());
            }
            let test = $crate::isolated::path(module_path!(), stringify!($name));
            $crate::isolated::isolated_in($modes, &test, inner);
        }
    };
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::talk::{Protocol, ask, serve_everywhere};

    /// The cable works, both ways and for both families, and the far side knows no way to a pod's range.
    #[test]
    fn host_and_far_side_talk() {
        crate::isolated::isolated_in(
            &[crate::isolated::Mode::Private],
            "lab::tests::host_and_far_side_talk",
            || {
                let lab = Lab::new("lab").expect("a lab");
                serve_everywhere(7).expect("a server on the host");
                lab.far(|| serve_everywhere(7))
                    .expect("a server on the far side");
                for protocol in Protocol::ALL {
                    for (host, far) in [(HOST4, FAR4), (HOST6, FAR6)] {
                        assert_eq!(ask(protocol, (far, 7).into()).ok(), Some(host));
                        let seen = lab.far(|| ask(protocol, (host, 7).into()));
                        assert_eq!(seen.ok(), Some(far));
                    }
                }
                let lost = lab.far(|| ask(Protocol::Udp, ([172, 16, 28, 2], 7).into()));
                assert!(lost.is_err(), "{lost:?}");
            },
        );
    }

    /// The comparison after every test sees what a network may leave, and lets a bridge stay.
    #[test]
    fn what_is_left_is_seen() {
        crate::isolated::isolated_in(
            &[crate::isolated::Mode::Private],
            "lab::tests::what_is_left_is_seen",
            || {
                let lab = Lab::new("left").expect("a lab");
                let before = crate::host::Traces::now(lab.path());
                let dir = Path::new("/var/lib/cni/networks/n");
                std::fs::create_dir_all(dir).expect("a tmpfs of this test's own");
                for name in ["10.0.0.2", "lock", "last_reserved_ip.0"] {
                    std::fs::write(dir.join(name), "").expect("a file of this test's own");
                }
                ip("link add br0 type bridge\nlink add left type veth peer name over")
                    .expect("links");
                let now = crate::host::Traces::now(lab.path());
                let new = |now: &std::collections::BTreeSet<String>, then| {
                    now.difference(then).cloned().collect::<Vec<_>>()
                };
                assert_eq!(new(&now.links, &before.links), ["left", "over"]);
                assert_eq!(
                    new(&now.leases, &before.leases),
                    ["/var/lib/cni/networks/n/10.0.0.2"]
                );
                if find("nft").is_some() {
                    tool("nft", &["add table ip6 rkt-left"]);
                    let now = crate::host::Traces::now(lab.path());
                    assert_eq!(new(&now.tables, &before.tables), ["ip6 rkt-left"]);
                }
            },
        );
    }
}
