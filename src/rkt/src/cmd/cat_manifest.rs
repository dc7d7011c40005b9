//! `rkt cat-manifest`: the manifest of a pod.

use crate::command::{Call, Command, Outcome, Stop, Words};
use crate::flags::groups;
use crate::output::{self, json::Form};

pub static COMMAND: Command = Command {
    name: "cat-manifest",
    short: "print the manifest of a pod",
    usage: "rkt cat-manifest --uuid-file=FILE | UUID ...",
    long: "UUID names the pod; its first characters are enough where no other pod has them.",
    flags: &[groups::PRETTY, groups::UUID_FILE],
    run: Some(run),
    words: Words::Pods(&[]),
    ..Command::EMPTY
};

fn run(call: Call) -> Outcome {
    let args = call.mixed()?;
    let name = super::pod_name(&args.flags, args.texts()?).ok_or(Stop::Usage)?;
    let env = super::env(&args.flags, COMMAND.name)?;
    let manifest = stage0::pods::cat_manifest(&env, &name)?;
    if args.flags.bool(&groups::PRETTY[0]) {
        output::out(&Form::Pretty.render(&model::json::parse(&manifest)?))?;
    } else {
        output::out_bytes(&manifest)?;
        output::out("\n")?;
    }
    Ok(0)
}
