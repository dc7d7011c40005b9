//! Words for the user. A reader that is gone is no failure of ours: a pod goes
//! on whether anybody listens or not.

use std::io::Write;

use model::Fault;

/// A line on stderr.
pub fn err(line: impl std::fmt::Display) {
    let _ = writeln!(std::io::stderr().lock(), "{line}");
}

/// A line on stdout.
pub fn out(line: impl std::fmt::Display) {
    let mut stdout = std::io::stdout().lock();
    let _ = writeln!(stdout, "{line}").and_then(|()| stdout.flush());
}

/// A failure and its hint as one text, for those who print it after `stage1: `.
pub fn whole(fault: &Fault) -> String {
    match &fault.hint {
        Some(hint) => format!("{fault}\nstage1: hint: {hint}"),
        None => fault.to_string(),
    }
}

/// A failure in the name of `who`, with what to do next; its exit status.
pub fn fault(who: &str, fault: &Fault) -> i32 {
    err(format_args!("{who}: {fault}"));
    if let Some(hint) = &fault.hint {
        err(format_args!("{who}: hint: {hint}"));
    }
    i32::from(fault.exit)
}
