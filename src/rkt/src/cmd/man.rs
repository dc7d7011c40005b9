//! `rkt man`: manual pages for packagers, hidden from everybody else.

use super::ROOT;
use crate::command::{Call, Command, Outcome};
use crate::{lookup, man, output};
use model::Fault;

pub static COMMAND: Command = Command {
    name: "man",
    hidden: true,
    short: "print a manual page",
    usage: "rkt man [command]",
    long: "Prints the page of a command, or rkt's own, for man(1).",
    run: Some(run),
    ..Command::EMPTY
};

fn run(call: Call) -> Outcome {
    let args = call.mixed()?;
    let found = lookup::find(&ROOT, args.words);
    if let Some(word) = lookup::first_word(&ROOT, &found.words) {
        return Err(Fault::not_found(lookup::unknown(&ROOT, &word)).into());
    }
    output::out(&man::page(&found.path))?;
    Ok(0)
}
