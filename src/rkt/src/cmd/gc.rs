//! `rkt gc`: collect pods that are over.

use super::Report;
use crate::command::{Call, Command, Outcome};
use crate::flags::{Flag, Values};
use stage0::gc::GcRequest;
use std::time::Duration;

const EXPIRE_PREPARED: Flag = Flag::duration(
    "expire-prepared",
    "24h0m0s",
    "how long a prepared pod waits for its run",
);
const GRACE_PERIOD: Flag = Flag::duration(
    "grace-period",
    "30m0s",
    "how long a pod stays after it was marked",
);
const MARK_ONLY: Flag = Flag::bool(
    "mark-only",
    false,
    "mark pods that are over, remove nothing",
);

pub static COMMAND: Command = Command {
    name: "gc",
    short: "remove pods that ended some time ago",
    usage: "rkt gc [--grace-period=duration] [--expire-prepared=duration]",
    long: "Meant for a timer or a cron job. The first call marks the pods that are over; a later\n\
           one removes those that were marked longer ago than the grace period.\n\
           \n\
           With --grace-period=0s one call does both.",
    flags: &[&[EXPIRE_PREPARED, GRACE_PERIOD, MARK_ONLY]],
    run: Some(run),
    ..Command::EMPTY
};

fn run(call: Call) -> Outcome {
    let args = call.mixed()?;
    let env = super::env(&args.flags, COMMAND.name)?;
    stage0::rootless::for_pods(&env)?;
    let request = GcRequest {
        grace: span(&args.flags, &GRACE_PERIOD),
        grace_text: model::duration::to_text(args.flags.duration(&GRACE_PERIOD)),
        expire_prepared: span(&args.flags, &EXPIRE_PREPARED),
        mark_only: args.flags.bool(&MARK_ONLY),
    };
    let mut report = Report::new(COMMAND.name);
    let result = stage0::gc::gc(&env, &request, &mut |line| report.line(line));
    report.end(result)
}

/// A span that ended before it began is over.
pub fn span(flags: &Values, flag: &'static Flag) -> Duration {
    Duration::from_nanos(u64::try_from(flags.duration(flag)).unwrap_or(0))
}
