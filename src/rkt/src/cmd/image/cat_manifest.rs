//! `rkt image cat-manifest`: what an image says of itself.

use crate::command::{Call, Command, Outcome, Stop, Words};
use crate::flags::groups;
use crate::output;

pub static COMMAND: Command = Command {
    name: "cat-manifest",
    short: "print the manifest of an image",
    usage: "rkt image cat-manifest IMAGE",
    long: "IMAGE is an image ID or a name.",
    flags: &[groups::PRETTY],
    run: Some(run),
    words: Words::Images,
    ..Command::EMPTY
};

fn run(call: Call) -> Outcome {
    let args = call.mixed()?;
    let Ok([image]) = <[String; 1]>::try_from(args.texts()?) else {
        return Err(Stop::Usage);
    };
    let env = crate::cmd::env(&args.flags, COMMAND.name)?;
    let manifest = stage0::images::cat_manifest(&env, &image)?;
    let text = match args.flags.bool(&groups::PRETTY[0]) {
        true => manifest.pretty(),
        false => manifest.compact(),
    };
    output::out(&format!("{text}\n"))?;
    Ok(0)
}
