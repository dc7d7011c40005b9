//! `rkt service`: pods as services of an init system.
//!
//! A command line of `run` goes in, a complete service for one init comes out.
//! On the way it is plain data: `line` takes the words apart, `request` settles
//! what the service is called and executes, `unit` makes the files of it
//! without looking at anything, and `place` prints or writes them.

mod detect;
mod generate;
mod line;
mod place;
mod quote;
mod request;
mod unit;

use crate::command::Command;

pub static COMMAND: Command = Command {
    name: "service",
    short: "make pods services of an init system",
    usage: "rkt service [command]",
    long: "A service runs a pod in place of whoever would type the command: at boot, and again\n\
           when it ends.",
    children: &[&generate::COMMAND],
    ..Command::EMPTY
};
