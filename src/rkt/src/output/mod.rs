//! What goes out: results on stdout, everything else on stderr.
//!
//! A reader that went away is no error: output into a broken pipe is dropped
//! and the work goes on. Any other failure to write a result is reported,
//! since a script must not take half a list for a whole one.

pub mod block;
pub mod images;
pub mod json;
pub mod pods;
pub mod progress;
pub mod question;
pub mod table;
pub mod when;

use model::text::is_invisible;
use model::{Fault, fault::Result};
use std::io::Write;
use std::sync::atomic::{AtomicBool, Ordering};

/// Whether `--debug` was read so far on this command line. Kept here because
/// a failure may have to be printed before there is anything else to keep it.
static DEBUG: AtomicBool = AtomicBool::new(false);

pub fn set_debug(on: bool) {
    DEBUG.store(on, Ordering::Relaxed);
}

/// Writes a result.
pub fn out(text: &str) -> Result<()> {
    out_bytes(text.as_bytes())
}

pub fn out_bytes(bytes: &[u8]) -> Result<()> {
    out_alive(bytes).map(drop)
}

/// The same, and tells whether anybody still reads.
pub fn out_alive(bytes: &[u8]) -> Result<bool> {
    let mut stdout = std::io::stdout().lock();
    match stdout.write_all(bytes).and_then(|()| stdout.flush()) {
        Ok(()) => Ok(true),
        Err(e) if e.kind() == std::io::ErrorKind::BrokenPipe => Ok(false),
        Err(e) => Err(Fault::io("write", "/dev/stdout", e)),
    }
}

/// Writes to stderr; `false` where that fails.
pub fn err_bytes(bytes: &[u8]) -> bool {
    std::io::stderr().lock().write_all(bytes).is_ok()
}

/// Writes one line to stderr; where even that fails there is nobody to tell.
pub fn err_line(text: &str) {
    err_bytes(format!("{text}\n").as_bytes());
}

/// One remark with the prefix of a command or a subsystem.
pub fn remark(prefix: &str, text: &str) {
    err_line(&format!("{prefix}: {text}"));
}

/// Prints a failure: what was attempted and the cause on one line, or, with
/// `--debug`, the whole chain between them; then the hint, if there is one.
pub fn fault(prefix: &str, fault: &Fault) {
    for line in fault_lines(prefix, fault, DEBUG.load(Ordering::Relaxed)) {
        err_line(&line);
    }
}

fn fault_lines(prefix: &str, fault: &Fault, debug: bool) -> Vec<String> {
    let mut lines = Vec::new();
    if debug {
        let message = fault.message.iter().filter(|message| !message.is_empty());
        let chain = message.chain(&fault.links).chain([&fault.cause]);
        for (depth, text) in chain.enumerate() {
            match depth {
                0 => lines.push(format!("{prefix}: {text}")),
                _ => lines.push(format!("{}└─{text}", "  ".repeat(depth))),
            }
        }
    } else {
        lines.push(format!("{prefix}: {fault}"));
    }
    if let Some(last) = lines.last_mut()
        && last.ends_with('\n')
    {
        last.pop();
    }
    if let Some(hint) = &fault.hint {
        lines.push(format!("{prefix}: hint: {hint}"));
    }
    lines
}

/// A text from a manifest or a file, fit for a line on a terminal: what would
/// move the cursor or end the line becomes `?`.
pub fn tame(text: &str) -> String {
    text.chars()
        .map(|c| match c.is_control() || is_invisible(c) {
            true => '?',
            false => c,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_shows_its_ends_and_with_debug_its_chain() {
        let fault = Fault::not_found("no image IDs found")
            .link("cannot resolve image ID")
            .message("cannot find image")
            .hint("see `rkt image list`");
        assert_eq!(
            fault_lines("run", &fault, false),
            [
                "run: cannot find image: no image IDs found",
                "run: hint: see `rkt image list`"
            ]
        );
        assert_eq!(
            fault_lines("run", &fault, true),
            [
                "run: cannot find image",
                "  └─cannot resolve image ID",
                "    └─no image IDs found",
                "run: hint: see `rkt image list`"
            ]
        );
        assert_eq!(fault_lines("gc", &Fault::usage("x\n"), true), ["gc: x"]);
    }

    #[test]
    fn control_characters_do_not_reach_a_terminal() {
        assert_eq!(tame("a\u{1b}[2Jb\tc"), "a?[2Jb?c");
        assert_eq!(tame("a\u{9b}m\u{202e}b"), "a?m?b");
    }
}
