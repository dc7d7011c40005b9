//! `rkt completion`: what a shell needs to complete rkt's command line.

use super::ROOT;
use crate::command::{Call, Command, Outcome, Words};
use crate::{completion, output};
use model::Fault;

const SHELLS: &[&str] = &["bash"];

pub static COMMAND: Command = Command {
    name: "completion",
    short: "print a completion script for a shell",
    usage: "rkt completion SHELL",
    long: "The only SHELL so far is bash. For the shell at hand:\n\
           \n\
           \t$ source <(rkt completion bash)\n\
           \n\
           For every shell to come, where bash-completion is installed:\n\
           \n\
           \t$ rkt completion bash > /etc/bash_completion.d/rkt",
    run: Some(run),
    words: Words::Fixed(SHELLS),
    ..Command::EMPTY
};

fn run(call: Call) -> Outcome {
    let args = call.mixed()?;
    match args.texts()?.as_slice() {
        [] => Err(Fault::usage("shell type is not specified").into()),
        [shell] if SHELLS.contains(&shell.as_str()) => {
            output::out(&completion::bash(&ROOT))?;
            Ok(0)
        }
        [shell] => Err(Fault::usage(format!("'{shell}' shell is not supported")).into()),
        _ => Err(Fault::usage("too many arguments, only shell type is expected").into()),
    }
}
