//! The doors: `rkt stage1 <word>`, one file per entry point.

mod enter;
mod gc;
mod run;
mod stop;

use std::ffi::OsString;

use model::{Fault, fault::Result};
use pod::entry::Entry;

/// Runs an entry point; the exit status of the process.
pub fn main(words: &[OsString]) -> i32 {
    // Before anything else: from here on nobody without CAP_SYS_PTRACE can
    // open a thing under /proc/<our pid>.
    let hidden = sys::creds::set_dumpable(false);
    let result = hidden
        .map_err(|err| Fault::io("cannot hide", "this process", err))
        .and_then(|()| dispatch(words));
    result.unwrap_or_else(|fault| crate::say::fault("stage1", &fault))
}

fn dispatch(words: &[OsString]) -> Result<i32> {
    let words: Vec<String> = words
        .iter()
        .map(|word| word.clone().into_string())
        .collect::<std::result::Result<_, _>>()
        .map_err(|word| Fault::usage(format!("{word:?} is not UTF-8")))?;
    let (first, rest) = words
        .split_first()
        .ok_or_else(|| Fault::usage("no entry point named"))?;
    match Entry::from_word(first) {
        Some(Entry::Run) => run::run(rest),
        Some(Entry::Enter) => enter::enter(rest),
        Some(Entry::Gc) => gc::gc(rest),
        Some(Entry::Stop) => stop::stop(rest),
        _ => Err(Fault::usage(format!(
            "\"{first}\" is no entry point of this stage1"
        ))),
    }
}
