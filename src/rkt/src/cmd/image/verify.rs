//! `rkt image verify`: have the files of images changed?

use crate::cmd::Report;
use crate::command::{Call, Command, Outcome, Words};

pub static COMMAND: Command = Command {
    name: "verify",
    short: "check images in the store against their hashes",
    usage: "rkt image verify IMAGE...",
    long: "For the suspicion that a disk or a program damaged the store. What is damaged and\n\
           can be made anew is made anew.",
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
    let result = stage0::images::verify(&env, &images, &mut |line| report.line(line));
    report.end(result)
}
