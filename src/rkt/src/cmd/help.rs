//! `rkt help`: the help screen of any command.

use super::ROOT;
use crate::command::{Call, Command, Outcome};
use crate::help::{self, Asked};
use crate::{lookup, output};
use std::io::Write;

pub static COMMAND: Command = Command {
    name: "help",
    short: "explain a command",
    usage: "rkt help [command]",
    long: "Prints the help screen of the command that the words name, else rkt's own.",
    run: Some(run),
    ..Command::EMPTY
};

fn run(call: Call) -> Outcome {
    let args = call.mixed()?;
    let found = lookup::find(&ROOT, args.words);
    let lost = found.path.len() == 1 && lookup::first_word(&ROOT, &found.words).is_some();
    if lost {
        let topic: Vec<String> = found
            .words
            .iter()
            .map(|word| format!("`{}`", output::tame(&word.to_string_lossy())))
            .collect();
        let text = format!("Unknown help topic [{}].", topic.join(" "));
        // Without a newline; a terminal that is gone hears nothing.
        let _ = std::io::stderr().write_all(text.as_bytes());
    }
    output::out(&help::screen(&found.path, Asked::Plainly))?;
    Ok(0)
}
