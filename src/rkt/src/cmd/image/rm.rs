//! `rkt image rm`: remove images.

use crate::cmd::Report;
use crate::command::{Call, Command, Outcome, Words};

pub static COMMAND: Command = Command {
    name: "rm",
    short: "remove images from the store",
    usage: "rkt image rm IMAGE...",
    long: "Removes just these images, where gc takes those that nobody used for long.",
    run: Some(run),
    words: Words::Images,
    ..Command::EMPTY
};

fn run(call: Call) -> Outcome {
    let args = call.mixed()?;
    let images = args.texts()?;
    let env = crate::cmd::env(&args.flags, COMMAND.name)?;
    stage0::rootless::for_images(&env)?;
    let mut report = Report::new(COMMAND.name);
    let result = stage0::images::rm(&env, &images, &mut |line| report.line(line));
    report.end(result)
}
