//! `rkt enter`: execute a command inside a running pod.

use crate::command::{Call, Command, Outcome, Stop, Words, text};
use crate::flags::Flag;
use stage0::enter::EnterRequest;

const APP: Flag = Flag::text("app", "", "the app whose surroundings the command gets");

pub static COMMAND: Command = Command {
    name: "enter",
    short: "execute a command in a running pod",
    usage: "rkt enter [--app=APPNAME] UUID [CMD [ARGS ...]]",
    long: "UUID names a running pod. Without CMD the command is /bin/bash.\n\
           \n\
           Whatever follows UUID belongs to the command.",
    flags: &[&[APP]],
    run: Some(run),
    words: Words::Pods(&["running"]),
    ..Command::EMPTY
};

fn run(call: Call) -> Outcome {
    let args = call.first_word()?;
    let env = super::env(&args.flags, COMMAND.name)?;
    stage0::rootless::check(&env)?;
    let mut words = args.words.into_iter();
    let pod = text(&words.next().ok_or(Stop::Usage)?)?;
    let request = EnterRequest {
        pod,
        app: args.flags.filled(APP.name),
        command: words.collect(),
    };
    Err(stage0::enter::enter(&env, &request).into())
}
