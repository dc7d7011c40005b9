//! `rkt rm`: remove pods that are over.

use super::Report;
use crate::command::{Call, Command, Outcome, Stop, Words};
use crate::flags::{Flag, groups};
use stage0::Line;

/// The pod's own exit status, with which `run --rm` ends.
const EXIT_STATUS: Flag = Flag::word("exit-status", "0", "end with this status")
    .checked(|value| exit_status(value).map(drop))
    .hide();
/// For `run --rm`, whose stdout belongs to the apps.
const QUIET: Flag = Flag::bool("quiet", false, "print no UUID").hide();

pub static COMMAND: Command = Command {
    name: "rm",
    short: "remove pods that have ended, with all that they left",
    usage: "rkt rm --uuid-file=FILE | UUID ...",
    long: "Removes just these pods and at once, where gc takes whatever has waited long enough.",
    flags: &[&[EXIT_STATUS, QUIET], groups::UUID_FILE],
    run: Some(run),
    words: Words::Pods(&["prepare", "exited"]),
    ..Command::EMPTY
};

fn run(call: Call) -> Outcome {
    let args = call.mixed()?;
    let env = super::env(&args.flags, COMMAND.name)?;
    stage0::rootless::for_pods(&env)?;
    let names = super::pod_names(&args.flags, args.texts()?);
    if names.is_empty() {
        return Err(Stop::Usage);
    }
    let mut report = Report::new(COMMAND.name);
    let quiet = args.flags.bool(&QUIET);
    let result = stage0::rm::rm(&env, &names, &mut |line| match line {
        Line::Out(_) if quiet => {}
        line => report.line(line),
    });
    let own = exit_status(args.flags.text(&EXIT_STATUS)).expect("judged when parsed");
    match report.end(result) {
        Ok(0) => Ok(own),
        // What the app came to is more than that its pod is still there.
        Err(Stop::Fault(fault)) if own != 0 => Err(fault.exit(own).into()),
        outcome => outcome,
    }
}

fn exit_status(value: &str) -> Result<u8, String> {
    value.parse().map_err(|_| "not an exit status".to_string())
}
