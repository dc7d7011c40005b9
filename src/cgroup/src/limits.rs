//! What an app may use: isolators in, one `Limits` out.
//!
//! Of several isolators of one name the last wins, as in rkt. Only limits count:
//! a request is a wish that rkt has never acted on. An isolator that bounds
//! something and that no controller of ours enforces refuses the run.

use crate::controller::{Controller, Controllers};
use crate::hierarchy::Version;
use crate::{cpu, memory, pids};
use model::isolator::{Isolator, Known};
use model::{Fault, fault::Result};

/// The bounds of one app; `None` is unbounded.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Limits {
    /// Bytes. Swap is not bounded with it, as with rkt.
    pub memory_max: Option<u64>,
    /// Thousandths of a core.
    pub cpu_quota_milli: Option<u64>,
    /// In v1's scale, 2 to 262144; 1024 is the usual share.
    pub cpu_shares: Option<u64>,
    pub pids_max: Option<u64>,
}

/// One value to write into a control file of a cgroup, and to find there again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    pub controller: Controller,
    pub file: &'static str,
    pub value: String,
}

impl Limits {
    pub fn of(isolators: &[Isolator]) -> Result<Limits> {
        let mut limits = Limits::default();
        for isolator in isolators {
            let name = isolator.name.as_str();
            match &isolator.known {
                Known::Memory { limit, .. } => limits.memory_max = positive(name, *limit)?,
                Known::Cpu { limit, .. } => limits.cpu_quota_milli = positive(name, *limit)?,
                Known::CpuShares(shares) => limits.cpu_shares = Some(*shares),
                Known::Throttle { .. } => {
                    return Err(Fault::unsupported(format!(
                        "the isolator {name:?} cannot be enforced"
                    ))
                    .hint(
                        "remove it from the image (actool patch-manifest) or from the pod manifest",
                    ));
                }
                _ => {}
            }
        }
        Ok(limits)
    }

    /// The controllers that enforce them.
    pub fn needs(&self) -> Controllers {
        [
            (Controller::Memory, self.memory_max.is_some()),
            (
                Controller::Cpu,
                self.cpu_quota_milli.is_some() || self.cpu_shares.is_some(),
            ),
            (Controller::Pids, self.pids_max.is_some()),
        ]
        .into_iter()
        .filter_map(|(controller, needed)| needed.then_some(controller))
        .collect()
    }

    /// What to write for `controller`, in the order in which to write it.
    pub(crate) fn settings(
        &self,
        version: Version,
        controller: Controller,
    ) -> Result<Vec<Setting>> {
        let list = match controller {
            Controller::Memory => self
                .memory_max
                .map(|bytes| memory::settings(version, bytes))
                .transpose()?,
            Controller::Cpu => Some(cpu::settings(
                version,
                self.cpu_quota_milli,
                self.cpu_shares,
            )),
            Controller::Pids => self.pids_max.map(pids::settings),
            Controller::Devices => None,
        };
        Ok(list.unwrap_or_default())
    }
}

fn positive(name: &str, limit: Option<i64>) -> Result<Option<u64>> {
    match limit {
        None => Ok(None),
        Some(limit) => match u64::try_from(limit) {
            Ok(limit) if limit > 0 => Ok(Some(limit)),
            _ => Err(Fault::invalid(format!(
                "the limit \"{limit}\" of isolator {name:?} is not above zero"
            ))),
        },
    }
}
