//! The network of an ordinary user's pod, as the outer process has it made:
//! `net::usermode` starts a program for it, which ends with the pod.
//!
//! PID 1 holds one end of a pipe, the leash, whose other end the process that
//! attends the program watches. So there is nothing to be undone, here or by gc,
//! and `net-info.json`, which names no configuration for it, is for listings alone.

use std::os::fd::{AsFd, OwnedFd};

use model::{Fault, fault::Result};
use net::attach::Attachment;
use net::selection::Wanted;
use net::usermode::{self, Found, Request};
use pod::NetInfo;
use pod::entry::{DnsMode, RunArgs};
use rustix::pipe::{PipeFlags, pipe_with};

use super::expose;
use super::network::{addresses, complete, write_infos};
use crate::pid1::network::Joined;

const NAME: &str = "default";
const IF_NAME: &str = "eth0";

/// What is known before the pod has a process.
#[derive(Debug)]
pub struct Prepared {
    programs: Vec<Found>,
    /// What is watched, and what PID 1 holds.
    leash: OwnedFd,
    held: OwnedFd,
}

pub fn prepare(wanted: &[Wanted], metadata: bool) -> Result<Prepared> {
    let programs = usermode::check(wanted, metadata)?;
    let (leash, held) =
        pipe_with(PipeFlags::CLOEXEC).map_err(|err| Fault::io("cannot make", "a pipe", err))?;
    Ok(Prepared {
        programs,
        leash,
        held,
    })
}

impl Prepared {
    /// PID 1's end of the leash.
    pub fn held(self) -> OwnedFd {
        self.held
    }

    /// Returns when packets pass.
    pub fn join(
        self,
        args: &RunArgs,
        dir: &OwnedFd,
        netns: &OwnedFd,
        forwards: bool,
    ) -> Result<Joined> {
        // Only the pod's processes are to hold it.
        drop(self.held);
        let request = Request {
            netns: netns.as_fd(),
            leash: self.leash.as_fd(),
            if_name: IF_NAME,
            programs: &self.programs,
        };
        let attachment = usermode::start(&request, &mut |note| {
            if args.debug {
                crate::say::err(format_args!("networking: {note}"));
            }
        })?;
        let mut info = NetInfo {
            name: NAME.into(),
            if_name: IF_NAME.into(),
            ..NetInfo::default()
        };
        complete(&mut info, &attachment);
        write_infos(dir, &[info])?;
        Ok(joined(args, &attachment, forwards))
    }
}

/// Connections to the host's ports are brought to the pod's address by the keeper.
fn joined(args: &RunArgs, attachment: &Attachment, forwards: bool) -> Joined {
    let dns = &attachment.added.outcome.dns;
    let wanted = args.resolv_conf == DnsMode::Default && !dns.is_empty();
    Joined {
        resolv_conf: wanted.then(|| expose::resolv_conf(NAME, dns)),
        targets: match forwards {
            true => addresses(attachment),
            false => Vec::new(),
        },
        ..Joined::default()
    }
}
