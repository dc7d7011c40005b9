//! The face of rkt: from the words of a command line to a verb of stage0, and
//! from what the verb returns to lines on the terminal and an exit status.
//!
//! The binary has several faces, one per name under which it is called, and a
//! hidden one: `stage1 …`, the entry points that stage0 executes inside a pod's
//! life. Results go to stdout, everything else to stderr. Exit statuses: 0,
//! 254 for every failure of rkt itself, 2 for a missing command, and after
//! `run` and `enter` whatever the app or stage1 says.
#![forbid(unsafe_code)]

mod cmd;
mod command;
mod completion;
mod flags;
mod help;
mod lookup;
mod man;
mod output;
mod pod_line;

use crate::command::{Call, Outcome, Stop};
use crate::help::Asked;
use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;

/// What a program name stands for: words in, exit status out.
type Applet = fn(Vec<OsString>) -> u8;

/// musl's allocator gives every size class a mapping of its own, and gives it
/// back as soon as it is empty: 90 calls and a millisecond in each start.
#[global_allocator]
static ALLOCATOR: dlmalloc::GlobalDlmalloc = dlmalloc::GlobalDlmalloc;

/// Program names and what they stand for; any other name is rkt.
const APPLETS: &[(&str, Applet)] = &[
    ("rkt", rkt),
    #[cfg(feature = "init")]
    ("init", |_| init::main()),
];

/// Exit status of rkt's own failures.
const FAILED: u8 = 254;

fn main() -> ExitCode {
    sys::signal::expect_children();
    let mut words: Vec<OsString> = std::env::args_os().collect();
    let program = if words.is_empty() {
        OsString::new()
    } else {
        words.remove(0)
    };
    // Before anything else: by `rdinit=` the kernel executes us under any name, with words that it did not understand.
    #[cfg(feature = "init")]
    if init::started_by_the_kernel() {
        return ExitCode::from(init::main());
    }
    // The entry points take no flags of ours.
    if words.first().is_some_and(|word| word == "stage1") {
        return ExitCode::from(low_byte(stage1::main(&words[1..])));
    }
    let name = Path::new(&program).file_name().unwrap_or_default();
    let applet = APPLETS.iter().find(|(applet, _)| name == *applet);
    let main = applet.map_or(rkt as Applet, |(_, main)| *main);
    ExitCode::from(main(words))
}

/// An exit status is what the kernel keeps of it.
fn low_byte(status: i32) -> u8 {
    status.to_le_bytes()[0]
}

/// The verbs of rkt.
fn rkt(words: Vec<OsString>) -> u8 {
    let found = lookup::find(&cmd::ROOT, words);
    let command = found.command();
    if found.path.len() == 1
        && let Some(word) = lookup::first_word(command, &found.words)
    {
        output::err_line(&format!("Error: {}", lookup::unknown(command, &word)));
        output::err_line("Run 'rkt --help' for usage.");
        return FAILED;
    }
    let call = Call {
        command,
        words: found.words,
    };
    let outcome = match command.run {
        Some(run) => run(call),
        None => parent(call),
    };
    let screen = |asked| help::screen(&found.path, asked);
    let printed = match outcome {
        Ok(status) => return status,
        Err(Stop::Help) => output::out(&screen(Asked::Plainly)).map(|()| 0),
        Err(Stop::Bare) => output::out(&screen(Asked::Bare)).map(|()| 0),
        Err(Stop::Usage) => output::out(&screen(Asked::Plainly)).map(|()| FAILED),
        Err(Stop::Flags(text)) => {
            output::err_line(&format!("Error: {text}\n"));
            output::out(&screen(Asked::Plainly)).map(|()| FAILED)
        }
        Err(Stop::Fault(fault)) => Err(fault),
    };
    printed.unwrap_or_else(|fault| {
        output::fault(command.name, &fault);
        fault.exit
    })
}

/// A command that only holds others shows them.
fn parent(call: Call) -> Outcome {
    call.mixed()?;
    Err(Stop::Bare)
}
