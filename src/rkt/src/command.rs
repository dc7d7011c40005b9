//! What a command is: a row of `const` data with a function behind it.
//!
//! The rows form a tree that the look-up, the help screens, the manual and the
//! completion walk; nothing about a command is said twice.

use crate::flags::parse::{Extent, Failure, Sink, parse};
use crate::flags::{Flag, Values, groups};
use model::Fault;
use std::ffi::OsString;

pub struct Command {
    pub name: &'static str,
    /// Usable, but on no screen.
    pub hidden: bool,
    /// The line behind the name.
    pub short: &'static str,
    /// The USAGE line.
    pub usage: &'static str,
    /// The DESCRIPTION; empty for none.
    pub long: &'static str,
    /// The command's own flags, in groups that several commands share.
    pub flags: &'static [&'static [Flag]],
    pub children: &'static [&'static Command],
    /// `None`: only a parent of commands, answers with its help screen.
    pub run: Option<fn(Call) -> Outcome>,
    /// What the completion offers for a word.
    pub words: Words,
}

/// What stands where a command takes a word; for the completion.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Words {
    Nothing,
    Images,
    /// Pods whose row in `rkt list` holds one of these words (empty: all).
    Pods(&'static [&'static str]),
    Fixed(&'static [&'static str]),
}

/// How a command ends when it does not fail: its exit status.
pub type Outcome = Result<u8, Stop>;

/// Every other way to end.
#[derive(Debug)]
pub enum Stop {
    /// The help screen on stdout, exit 0.
    Help,
    /// The same, for a command that only holds others.
    Bare,
    /// The help screen on stdout, nothing else; for words that make no sense.
    Usage,
    /// `Error: …` on stderr and the help screen on stdout.
    Flags(String),
    Fault(Fault),
}

impl From<Fault> for Stop {
    fn from(fault: Fault) -> Stop {
        Stop::Fault(fault)
    }
}

impl From<Failure> for Stop {
    fn from(failure: Failure) -> Stop {
        match failure {
            Failure::Help => Stop::Help,
            Failure::Bad(text) => Stop::Flags(text),
        }
    }
}

impl Command {
    /// A row to be completed with `..Command::EMPTY`.
    pub const EMPTY: Command = Command {
        name: "",
        hidden: false,
        short: "",
        usage: "",
        long: "",
        flags: &[],
        children: &[],
        run: None,
        words: Words::Nothing,
    };

    /// The command's own flags, sorted by name.
    pub fn own_flags(&self) -> Vec<&'static Flag> {
        let mut flags: Vec<&'static Flag> = self.flags.iter().copied().flatten().collect();
        flags.sort_by_key(|flag| flag.name);
        flags
    }

    /// Everything that may stand on its command line.
    pub fn all_flags(&self) -> Vec<&'static Flag> {
        let mut flags = self.own_flags();
        flags.extend(groups::GLOBAL);
        flags
    }
}

/// One call of a command: its row and the words without those that named it.
pub struct Call {
    pub command: &'static Command,
    pub words: Vec<OsString>,
}

/// Flags and words of a call, taken apart.
pub struct Args {
    pub flags: Values,
    pub words: Vec<OsString>,
}

impl Call {
    /// Flags and words in any order.
    pub fn mixed(self) -> Result<Args, Stop> {
        self.simple(Extent::Mixed)
    }

    /// The first word ends the flags.
    pub fn first_word(self) -> Result<Args, Stop> {
        self.simple(Extent::FirstWord)
    }

    fn simple(self, extent: Extent) -> Result<Args, Stop> {
        let mut flags = Values::default();
        let words = self.parse(extent, &mut flags)?;
        Ok(Args { flags, words })
    }

    /// For commands that listen to the flags while they are read.
    pub fn parse(self, extent: Extent, sink: &mut dyn Sink) -> Result<Vec<OsString>, Stop> {
        Ok(parse(&self.command.all_flags(), self.words, extent, sink)?)
    }
}

impl Args {
    /// The words as text.
    pub fn texts(&self) -> Result<Vec<String>, Stop> {
        self.words.iter().map(|word| Ok(text(word)?)).collect()
    }
}

/// A word that must be text.
pub fn text(word: &OsString) -> Result<String, Fault> {
    match word.to_str() {
        Some(text) => Ok(text.to_string()),
        None => Err(Fault::usage(format!(
            "argument {word:?} is not valid UTF-8"
        ))),
    }
}

/// For tests of command lines: what would be printed of a failure.
#[cfg(test)]
pub(crate) fn said<T>(read: Result<T, Stop>) -> String {
    match read {
        Err(Stop::Fault(fault)) => fault.to_string(),
        Err(Stop::Flags(text)) => format!("Error: {text}"),
        Err(stop) => format!("{stop:?}"),
        Ok(_) => "understood".to_string(),
    }
}
