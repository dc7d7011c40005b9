//! Starting a pod's user-mode network, as the process sees it that made the pod.
//!
//! Each program that is installed is tried in turn, the pod waits for the first
//! that is ready. The process that attends it tells on a pipe: the pod's addresses
//! line by line, or what went wrong, then an empty byte.

use super::attend::{Job, attend};
use super::names::{self, Names};
use super::program::{Ask, Found, Program};
use super::{GATEWAY_V4, OTHERS, PASTA_GATEWAY_V6, SLIRP_GATEWAY_V6, links};
use crate::attach::{Added, Attachment, LOOK, interrupted};
use crate::{Cidr, Ip, Outcome};
use model::{Fault, fault::Result};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, pipe_with};
use std::os::fd::{BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};
use sys::clone::{Forked, Namespaces, fork_into};
use sys::process;

/// For a program to be ready. They take some hundredths of a second.
const PATIENCE: Duration = Duration::from_secs(30);
const MAX_REPORT: usize = 16 << 10;
const RESOLV_CONF: &str = "/etc/resolv.conf";
/// Where systemd-resolved keeps the servers that its stub asks.
const UPLINK_RESOLV_CONF: &str = "/run/systemd/resolve/resolv.conf";
const MAX_RESOLV_CONF: u64 = 64 << 10;

/// What the network is for.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// The pod's, made in this process' user namespace.
    pub netns: BorrowedFd<'a>,
    /// The reading end of a pipe: the network ends when nobody can write to it.
    /// This process must not be able to any more.
    pub leash: BorrowedFd<'a>,
    /// `eth0`
    pub if_name: &'a str,
    pub programs: &'a [Found],
}

/// Returns when the pod has its network, which from then on ends with the leash
/// alone. Needs one thread, in the host's network namespace. `notes` hears which
/// program could not be used.
pub fn start(request: &Request<'_>, notes: &mut dyn FnMut(String)) -> Result<Attachment> {
    let families = links::families()?;
    let mut faults: Vec<Fault> = Vec::new();
    for found in request.programs {
        let program = found.program;
        let names = host_names(program, families);
        let job = Job {
            found,
            netns: request.netns,
            leash: request.leash,
            ask: Ask {
                if_name: request.if_name,
                families,
                forward: &names.forward,
                ready: 0,
            },
        };
        match fork(&job) {
            Ok(addresses) => return Ok(attachment(found, request.if_name, addresses, names)),
            Err(fault) if interrupted() => return Err(fault),
            Err(fault) => {
                notes(fault.to_string());
                faults.push(fault);
            }
        }
    }
    let causes: Vec<String> = faults.iter().map(Fault::to_string).collect();
    Err(Fault::invalid(causes.join("; ")).hint(OTHERS))
}

fn host_names(program: Program, families: super::program::Families) -> Names {
    let read = |path| {
        let plan = |text: &str| names::plan(text, families, program.name_servers());
        read_some(path).map_or_else(Names::default, |text| plan(&text))
    };
    match read(RESOLV_CONF) {
        // Such as a stub on 127.0.0.53 of a host that has IPv6 alone.
        names if names.dns.is_empty() => read(UPLINK_RESOLV_CONF),
        names => names,
    }
}

fn read_some(path: &str) -> Option<String> {
    use std::io::Read;
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path).ok()?;
    file.take(MAX_RESOLV_CONF).read_to_end(&mut bytes).ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

fn fork(job: &Job<'_>) -> Result<Vec<Cidr>> {
    let name = job.found.program.name();
    let fail = |err: std::io::Error| Fault::io("cannot start", name, err);
    let (report, reporter) = pipe_with(PipeFlags::CLOEXEC).map_err(|err| fail(err.into()))?;
    match fork_into(Namespaces::PID, None).map_err(fail)? {
        Forked::Child => {
            drop(report);
            process::exit_now(attend(job, &reporter))
        }
        Forked::Parent(pid) => {
            drop(reporter);
            hear(&report)
                .and_then(|text| addresses(&text))
                .map_err(|fault| {
                    // The next program's link has the same name, so this one's has
                    // to be gone; and an init that is killed takes all along.
                    let _ = sys::signal::send(pid, sys::signal::KILL);
                    let _ = process::wait(pid);
                    Fault::new(fault.kind, format!("{name}: {fault}"))
                })
        }
    }
}

/// The report, without the byte that ends it.
fn hear(report: &OwnedFd) -> Result<String> {
    let deadline = Instant::now() + PATIENCE;
    let (mut bytes, mut buffer) = (Vec::new(), [0; 1024]);
    while bytes.last() != Some(&0) {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(Fault::new(model::Kind::TimedOut, "is not ready in time"));
        }
        if interrupted() {
            return Err(Fault::conflict("interrupted"));
        }
        if !wait(report, left.min(LOOK)) {
            continue;
        }
        match rustix::io::read(report, &mut buffer) {
            Ok(0) => return Err(Fault::conflict("was killed")),
            Ok(count) if bytes.len() + count <= MAX_REPORT => {
                bytes.extend_from_slice(&buffer[..count]);
            }
            Err(Errno::INTR) => {}
            Ok(_) => return Err(Fault::invalid("told too much")),
            Err(err) => return Err(Fault::io("read", "what it told", err)),
        }
    }
    bytes.pop();
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn wait(fd: &OwnedFd, limit: Duration) -> bool {
    let limit = Timespec {
        tv_sec: limit.as_secs().cast_signed(),
        tv_nsec: limit.subsec_nanos().into(),
    };
    let mut fds = [PollFd::new(fd, PollFlags::IN)];
    matches!(poll(&mut fds, Some(&limit)), Ok(1..))
}

fn addresses(text: &str) -> Result<Vec<Cidr>> {
    match text.strip_prefix("ready\n") {
        Some(lines) => lines.lines().map(Cidr::parse).collect(),
        None => Err(Fault::invalid(text)),
    }
}

fn attachment(found: &Found, if_name: &str, addresses: Vec<Cidr>, names: Names) -> Attachment {
    let gateway_v6 = match found.program {
        Program::Pasta => PASTA_GATEWAY_V6,
        Program::Slirp4netns => SLIRP_GATEWAY_V6,
    };
    let ip = |address: Cidr| Ip {
        address,
        gateway: Some(if address.is_v4() {
            GATEWAY_V4
        } else {
            gateway_v6
        }),
        interface: Some(0),
    };
    let outcome = Outcome {
        interfaces: vec![crate::Interface {
            name: if_name.into(),
            ..crate::Interface::default()
        }],
        ips: addresses.into_iter().map(ip).collect(),
        dns: names.dns,
        ..Outcome::default()
    };
    Attachment {
        plugin_path: found.path.display().to_string(),
        added: Added {
            outcome,
            ..Added::default()
        },
        ports_mapped: false,
    }
}
