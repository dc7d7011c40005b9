//! `rkt export`: an app of a pod that has exited becomes an image file.

use crate::command::{Call, Command, Outcome, Stop, Words};
use crate::flags::Flag;
use stage0::export::ExportRequest;
use std::path::PathBuf;

const APP: Flag = Flag::text("app", "", "the app to export, where the pod has several");
const OVERWRITE: Flag = Flag::bool("overwrite", false, "replace the file if it exists");

pub static COMMAND: Command = Command {
    name: "export",
    short: "write an app of an exited pod to an ACI file",
    usage: "rkt export [--app=APPNAME] UUID OUTPUT_ACI_FILE",
    long: "UUID names a pod that has exited; what its app changed is part of the image.",
    flags: &[&[APP, OVERWRITE]],
    run: Some(run),
    words: Words::Pods(&["exited"]),
    ..Command::EMPTY
};

fn run(call: Call) -> Outcome {
    let args = call.mixed()?;
    let Ok([pod, file]) = <[String; 2]>::try_from(args.texts()?) else {
        return Err(Stop::Usage);
    };
    let env = super::env(&args.flags, COMMAND.name)?;
    stage0::rootless::as_owner(&env)?;
    let request = ExportRequest {
        pod,
        app: args.flags.filled(APP.name),
        file: PathBuf::from(file),
        overwrite: args.flags.bool(&OVERWRITE),
    };
    stage0::export::export(&env, &request)?;
    Ok(0)
}
