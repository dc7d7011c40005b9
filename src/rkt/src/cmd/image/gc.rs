//! `rkt image gc`: remove images that nobody uses.

use crate::cmd::{Report, gc};
use crate::command::{Call, Command, Outcome};
use crate::flags::Flag;

const GRACE_PERIOD: Flag = Flag::duration(
    "grace-period",
    "24h0m0s",
    "how long an image stays after its last use",
);

pub static COMMAND: Command = Command {
    name: "gc",
    short: "remove images that were not used for some time",
    usage: "rkt image gc",
    long: "Meant for a timer or a cron job. With --grace-period=0s every image goes that no pod\n\
           needs.",
    flags: &[&[GRACE_PERIOD]],
    run: Some(run),
    ..Command::EMPTY
};

fn run(call: Call) -> Outcome {
    let args = call.mixed()?;
    let env = crate::cmd::env(&args.flags, COMMAND.name)?;
    stage0::rootless::for_images(&env)?;
    let grace = gc::span(&args.flags, &GRACE_PERIOD);
    let mut report = Report::new(COMMAND.name);
    let result = stage0::images::gc(&env, grace, &mut |line| report.line(line));
    report.end(result)
}
