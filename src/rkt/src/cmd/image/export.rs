//! `rkt image export`: the exact bytes of an image.

use crate::command::{Call, Command, Outcome, Stop, Words};
use crate::flags::Flag;
use std::path::Path;

const OVERWRITE: Flag = Flag::bool("overwrite", false, "replace the file if it exists");

pub static COMMAND: Command = Command {
    name: "export",
    short: "write an image to an ACI file",
    usage: "rkt image export IMAGE OUTPUT_ACI_FILE",
    long: "IMAGE is an image ID or a name. The file is not compressed, so that its SHA-512 is\n\
           the image ID.",
    flags: &[&[OVERWRITE]],
    run: Some(run),
    words: Words::Images,
    ..Command::EMPTY
};

fn run(call: Call) -> Outcome {
    let args = call.mixed()?;
    let Ok([image, file]) = <[String; 2]>::try_from(args.texts()?) else {
        return Err(Stop::Usage);
    };
    let env = crate::cmd::env(&args.flags, COMMAND.name)?;
    stage0::rootless::for_images(&env)?;
    stage0::images::export(&env, &image, Path::new(&file), args.flags.bool(&OVERWRITE))?;
    Ok(0)
}
