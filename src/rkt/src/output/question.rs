//! A question to whoever sits at the terminal: on stderr, so that results stay
//! alone on stdout; the answer is a line of stdin.

use super::err_bytes;
use model::{Fault, fault::Result};
use std::io::{BufRead, IsTerminal, Read};

/// No answer is longer.
const MAX: u64 = 1024;

/// `None` if nobody is there: stdin or stderr is no terminal.
pub fn ask(question: &str) -> Result<Option<String>> {
    let stdin = std::io::stdin();
    if !stdin.is_terminal() || !std::io::stderr().is_terminal() {
        return Ok(None);
    }
    err_bytes(format!("{question}\n").as_bytes());
    let mut line = String::new();
    let read = stdin.lock().take(MAX).read_line(&mut line);
    match read.map_err(|e| Fault::io("read", "/dev/stdin", e))? {
        0 => Err(Fault::refused("no answer: the input has ended")),
        _ => Ok(Some(line)),
    }
}
