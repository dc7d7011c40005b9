//! `rkt image render`: an image as an app would see it.

use crate::command::{Call, Command, Outcome, Words};

pub static COMMAND: Command = Command {
    name: "render",
    short: "write an image with all that it depends on into a directory",
    usage: "rkt image render IMAGE OUTPUT_DIR",
    long: "Writes the files as an app started from this image would find them. They are plain\n\
           copies: rm -r removes them.",
    flags: &[&[super::OVERWRITE, super::ROOTFS_ONLY]],
    run: Some(run),
    words: Words::Images,
    ..Command::EMPTY
};

fn run(call: Call) -> Outcome {
    super::unpack(call.mixed()?, COMMAND.name, stage0::images::render)
}
