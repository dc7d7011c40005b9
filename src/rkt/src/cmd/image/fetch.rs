//! `rkt image fetch`: `rkt fetch` under its other name.

use crate::cmd::fetch;
use crate::command::Command;

pub static COMMAND: Command = Command {
    hidden: true,
    usage: "rkt image fetch IMAGE_URL...",
    name: fetch::COMMAND.name,
    short: fetch::COMMAND.short,
    long: fetch::COMMAND.long,
    flags: fetch::COMMAND.flags,
    children: &[],
    run: fetch::COMMAND.run,
    words: fetch::COMMAND.words,
};
