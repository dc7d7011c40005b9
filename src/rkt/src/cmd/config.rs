//! `rkt config`: the configuration as it is in force.

use crate::command::{Call, Command, Outcome};
use crate::flags::groups;
use crate::output::{self, json::Form};

pub static COMMAND: Command = Command {
    name: "config",
    short: "print the configuration that is in force",
    usage: "rkt config",
    long: "Prints one JSON document. Below \"stage0\" stands a list of entries, each of which\n\
           has the form of a configuration file.",
    flags: &[groups::PRETTY],
    run: Some(run),
    ..Command::EMPTY
};

fn run(call: Call) -> Outcome {
    let args = call.mixed()?;
    let env = super::env(&args.flags, COMMAND.name)?;
    let document = stage0::config::document(&env);
    let form = if args.flags.bool(&groups::PRETTY[0]) {
        Form::Pretty
    } else {
        Form::Compact
    };
    output::out(&form.render(&document))?;
    Ok(0)
}
