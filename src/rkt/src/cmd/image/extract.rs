//! `rkt image extract`: an image as it came.

use crate::command::{Call, Command, Outcome, Words};

pub static COMMAND: Command = Command {
    name: "extract",
    short: "unpack an image into a directory",
    usage: "rkt image extract IMAGE OUTPUT_DIR",
    long: "Writes the files of this one image, without those that it depends on. They are\n\
           plain copies: rm -r removes them.",
    flags: &[&[super::OVERWRITE, super::ROOTFS_ONLY]],
    run: Some(run),
    words: Words::Images,
    ..Command::EMPTY
};

fn run(call: Call) -> Outcome {
    super::unpack(call.mixed()?, COMMAND.name, stage0::images::extract)
}
