//! `rkt stop`: ask pods to end.

use super::Report;
use crate::command::{Call, Command, Outcome, Stop, Words};
use crate::flags::{Flag, groups};

const FORCE: Flag = Flag::bool(
    "force",
    false,
    "kill the apps instead of asking them to end",
);

pub static COMMAND: Command = Command {
    name: "stop",
    short: "stop running pods",
    usage: "rkt stop --uuid-file=FILE | UUID ...",
    flags: &[&[FORCE], groups::UUID_FILE],
    run: Some(run),
    words: Words::Pods(&["running"]),
    ..Command::EMPTY
};

fn run(call: Call) -> Outcome {
    let args = call.mixed()?;
    let names = super::pod_names(&args.flags, args.texts()?);
    if names.is_empty() {
        return Err(Stop::Usage);
    }
    let env = super::env(&args.flags, COMMAND.name)?;
    let mut report = Report::new(COMMAND.name);
    let force = args.flags.bool(&FORCE);
    let result = stage0::stop::stop(&env, &names, force, &mut |line| report.line(line));
    report.end(result)
}
