//! `rkt run`: make a pod and run it.

use super::fetch::QUIET;
use super::prepare::{PULL_POLICY, RULES, begin, request};
use super::run_prepared;
use crate::command::{Call, Command, Outcome, Words};
use crate::flags::{Flag, groups};
use crate::pod_line::PodLine;
use model::Fault;
use stage0::run::RunRequest;

const DETACH: Flag = Flag::bool(
    "detach",
    false,
    "print the UUID and return once the pod runs",
);
const RM: Flag = Flag::bool("rm", false, "remove the pod when it has ended");
const UUID_FILE_SAVE: Flag = Flag::text("uuid-file-save", "", "write the pod's UUID to this file");

pub static COMMAND: Command = Command {
    name: "run",
    short: "run images in a pod",
    usage: "rkt run [--volume=name,kind=host,...] [--mount volume=VOL,target=PATH] IMAGE [-- image-args...[---]]...",
    long: "IMAGE is an image ID, a file, a URL or a name. The images' apps run together in one\n\
           pod; rkt ends when all have ended, with the exit status of the first that failed.\n\
           \n\
           Flags about an image follow it. --mount before the first image is for all images,\n\
           and gives way to an image's own mount at the same path. Every mount names a volume,\n\
           which --volume declares.\n\
           \n\
           What stands between \"--\" and \"---\" is handed to the app of the image before it;\n\
           without \"---\" that is the rest of the line.",
    flags: &[
        &[DETACH, PULL_POLICY, QUIET, RM, UUID_FILE_SAVE],
        groups::APP,
        groups::DNS,
        groups::POD,
        groups::RUN,
        groups::SIGNATURE,
        groups::STAGE1,
        groups::STORE,
    ],
    run: Some(run),
    words: Words::Images,
    ..Command::EMPTY
};

fn run(call: Call) -> Outcome {
    let line = PodLine::read(call, RULES)?;
    let flags = &line.flags;
    let env = super::env(flags, COMMAND.name)?;
    begin(&env, flags)?;
    let mut options = run_prepared::options(flags)?;
    options.rm = flags.bool(&RM);
    options.detach = flags.bool(&DETACH);
    if options.interactive && options.detach {
        return Err(Fault::usage("--interactive and --detach exclude each other").into());
    }
    if options.rm && options.detach {
        return Err(Fault::usage("--rm and --detach exclude each other")
            .hint("rkt gc removes pods that have ended")
            .into());
    }
    let request = RunRequest {
        prepare: request(&line)?,
        options,
    };
    Err(stage0::run::run(&env, &request).into())
}
